package audiofile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	shine "github.com/braheezy/shine-mp3/pkg/mp3"
)

// bitrate of our MP3 files for each channel, in kbit/s: speech needs no more.
const bitrate = 48

// MP3 writes a WAV file of ours to w as MP3 at 16 kHz, for mail and for players that know nothing else. Two channels stay two.
func MP3(ctx context.Context, w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("encode MP3: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("encode MP3: %w", err)
	}
	channels, rate, err := channelsOf(f)
	if err != nil {
		return fmt.Errorf("encode MP3: %w", err)
	}
	e := newEncoder(w, channels)
	sides := make([]*stream, channels)
	resamplers := make([]*resampler, channels)
	for c := range sides {
		if sides[c], err = openSide(io.NewSectionReader(f, 0, info.Size()), c); err != nil {
			return fmt.Errorf("encode MP3: %w", err)
		}
		resamplers[c] = newResampler(rate, wide)
	}
	for ended := false; !ended; {
		for c, s := range sides {
			samples, err := s.next()
			switch {
			case errors.Is(err, io.EOF):
				ended = true
				samples = resamplers[c].flush()
			case err != nil:
				return fmt.Errorf("encode MP3: %w", err)
			default:
				samples = resamplers[c].feed(samples)
			}
			e.add(c, samples)
		}
		if err := e.write(ended); err != nil {
			return fmt.Errorf("encode MP3: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("encode MP3: %w", err)
		}
	}
	return nil
}

// encoder is the one place that knows the MP3 encoder: it takes whole frames only, whatever its own Write says.
type encoder struct {
	w     io.Writer
	enc   *shine.Encoder
	sides [][]int16
	frame []int16
}

func newEncoder(w io.Writer, channels int) *encoder {
	enc := shine.NewEncoder(wide, channels)
	// The encoder knows one bit rate. Ours is set as NewEncoder sets its own: ISO 13818-3, layer III, index 6 is 48 kbit/s,
	// index 10 is 96.
	m := &enc.Mpeg
	m.Bitrate, m.BitrateIndex = bitrate, 6
	if channels == 2 {
		m.Bitrate, m.BitrateIndex = 2*bitrate, 10
	}
	slots := float64(m.GranulesPerFrame) * shine.GRANULE_SIZE / wide * float64(m.Bitrate) * 1000 / 8
	m.WholeSlotsPerFrame = int64(slots)
	m.FracSlotsPerFrame = slots - float64(m.WholeSlotsPerFrame)
	m.Slot_lag = -m.FracSlotsPerFrame
	size := int(m.GranulesPerFrame) * shine.GRANULE_SIZE * channels
	// The encoder's pointer ends behind the frame; there must be something of ours, or the collector stops the program.
	frame := make([]int16, size+2*channels)[:size]
	return &encoder{w: w, enc: enc, sides: make([][]int16, channels), frame: frame}
}

func (e *encoder) add(c int, samples []float32) {
	for _, v := range samples {
		e.sides[c] = append(e.sides[c], int16(max(-1, min(1, v))*32767))
	}
}

// write encodes the frames that are whole; at the end the last one is filled with silence.
func (e *encoder) write(ended bool) error {
	channels := len(e.sides)
	size := len(e.frame) / channels
	for len(e.sides[0]) >= size || ended && len(e.sides[0]) > 0 {
		clear(e.frame)
		for c, side := range e.sides {
			n := min(size, len(side))
			for i, v := range side[:n] {
				e.frame[i*channels+c] = v
			}
			e.sides[c] = side[:copy(side, side[n:])]
		}
		if err := e.enc.Write(e.w, e.frame); err != nil {
			return err
		}
	}
	return nil
}
