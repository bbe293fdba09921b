package audiofile

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"
)

// Limits of an upload.
const (
	MaxSize   = 20 << 20         // octets
	MaxLength = 30 * time.Minute // of the sound
	minLength = 100 * time.Millisecond
)

// What is wrong with an upload.
var (
	ErrFormat = errors.New("no WAV, MP3, FLAC or Ogg file")
	ErrBroken = errors.New("the file is damaged")
	ErrLong   = fmt.Errorf("longer than %d minutes", int(MaxLength/time.Minute))
	ErrShort  = errors.New("shorter than a tenth of a second")
	ErrSilent = errors.New("nothing can be heard in it")
)

// Parts is how many peaks a converted file has.
const Parts = 400

// Sound is what became of an upload.
type Sound struct {
	Duration time.Duration
	Rate     int     // samples a second
	Size     int64   // octets of the WAV file
	Loudness float64 // dBFS, as the file has it now
	Peaks    []byte  // the loudest of each of its equal parts, 255 for full scale
}

// stream is decoded sound, mixed to one channel, between -1 and 1.
type stream struct {
	rate int
	// next returns the next samples, valid until the next call, or io.EOF.
	next func() ([]float32, error)
}

// The rates of our files, and the least that may be uploaded and the greatest.
const (
	wide       = 16000
	narrow     = 8000
	lowestRate = 4000
	highest    = 192000
)

// Convert reads an upload from src and writes it to dst as WAV: one channel, 16 bits, 16 kHz (8 kHz where there is no more
// in it), as loud as all others. dst is synced.
func Convert(ctx context.Context, src io.ReaderAt, size int64, dst *os.File) (s Sound, err error) {
	defer func() {
		if p := recover(); p != nil { // a decoder met what its author did not think of
			s, err = Sound{}, fmt.Errorf("convert sound: %w: %v", ErrBroken, p)
		}
	}()
	in, err := open(io.NewSectionReader(src, 0, min(size, MaxSize)))
	if err != nil {
		return Sound{}, fmt.Errorf("convert sound: %w", err)
	}
	if in.rate < lowestRate || in.rate > highest {
		return Sound{}, fmt.Errorf("convert sound: %w: %d Hz", ErrFormat, in.rate)
	}
	c := &converter{ctx: ctx, in: in, dst: dst, rate: wide}
	if in.rate <= narrow {
		c.rate = narrow
	}
	if err := c.decode(); err != nil {
		return Sound{}, fmt.Errorf("convert sound: %w", err)
	}
	if s, err = c.level(); err != nil {
		return Sound{}, fmt.Errorf("convert sound: %w", err)
	}
	return s, nil
}

// open finds out what a file is.
func open(r *io.SectionReader) (*stream, error) {
	r, err := skipID3(r)
	if err != nil {
		return nil, err
	}
	var magic [12]byte
	if n, err := r.ReadAt(magic[:], 0); err != nil && n < len(magic) {
		return nil, ErrFormat
	}
	switch {
	case string(magic[:4]) == "RIFF" && string(magic[8:]) == "WAVE":
		return openWAV(r)
	case string(magic[:4]) == "fLaC":
		return openFLAC(r, magic)
	case string(magic[:4]) == "OggS":
		return openOgg(r)
	case magic[0] == 0xff && magic[1]&0xe0 == 0xe0:
		return openMP3(r)
	}
	return nil, ErrFormat
}

// skipID3 takes the tag off the beginning: it is no sound, and it may claim any length.
func skipID3(r *io.SectionReader) (*io.SectionReader, error) {
	for range 4 { // some files have more than one
		var h [10]byte
		if _, err := r.ReadAt(h[:], 0); err != nil || string(h[:3]) != "ID3" {
			return r, nil
		}
		n := int64(10) + int64(h[6]&0x7f)<<21 + int64(h[7]&0x7f)<<14 + int64(h[8]&0x7f)<<7 + int64(h[9]&0x7f)
		if n >= r.Size() {
			return nil, ErrBroken
		}
		r = io.NewSectionReader(r, n, r.Size()-n)
	}
	return nil, ErrBroken
}

// converter writes the file in two passes: the level can be known only after the first.
type converter struct {
	ctx  context.Context
	in   *stream
	dst  *os.File
	rate int

	meter   meter
	samples int64
}

// headroom is how much quieter the first pass is, so that what a lossy codec lets overshoot is not clipped.
const headroom = 0.5

const header = 44

// decode is the first pass: everything is decoded, resampled, measured and written.
func (c *converter) decode() error {
	if err := c.dst.Truncate(0); err != nil {
		return err
	}
	if _, err := c.dst.Seek(header, io.SeekStart); err != nil {
		return err
	}
	w := bufio.NewWriterSize(c.dst, 1<<16)
	c.meter.block = c.rate / 10
	re := newResampler(c.in.rate, c.rate)
	most := int64(MaxLength/time.Second) * int64(c.rate)
	put := func(samples []float32) error {
		for _, v := range samples {
			if v != v { // not a number
				v = 0
			}
			v = max(-2, min(2, v))
			c.meter.add(float64(v))
			var b [2]byte
			binary.LittleEndian.PutUint16(b[:], uint16(int16(math.Round(float64(v)*headroom*math.MaxInt16))))
			if _, err := w.Write(b[:]); err != nil {
				return err
			}
		}
		if c.samples += int64(len(samples)); c.samples > most {
			return ErrLong
		}
		return c.ctx.Err()
	}
	for {
		samples, err := c.in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := put(re.feed(samples)); err != nil {
			return err
		}
	}
	if err := put(re.flush()); err != nil {
		return err
	}
	return w.Flush()
}

// The level that all clips get, and the greatest peak: that of our own music and phrases.
const (
	wantedLevel = -20.0 // dBFS, of what is not silence
	wantedPeak  = 0.89  // -1 dBFS
	maxGain     = 30.0  // dB: what is quieter than that is noise
)

// level is the second pass: everything as loud as it should be, and the wave form.
func (c *converter) level() (Sound, error) {
	switch {
	case time.Duration(c.samples)*time.Second/time.Duration(c.rate) < minLength:
		return Sound{}, ErrShort
	case c.meter.silent():
		return Sound{}, ErrSilent
	}
	loudness := c.meter.loudness()
	gain := math.Pow(10, min(wantedLevel-loudness, maxGain)/20)
	gain = min(gain, wantedPeak/c.meter.peak)
	s := Sound{
		Duration: time.Duration(c.samples) * time.Second / time.Duration(c.rate), Rate: c.rate,
		Size: header + 2*c.samples, Loudness: loudness + 20*math.Log10(gain), Peaks: make([]byte, Parts),
	}
	buf := make([]byte, 1<<16)
	for at := int64(0); at < c.samples; {
		if err := c.ctx.Err(); err != nil {
			return Sound{}, err
		}
		piece := buf[:min(int64(len(buf)), 2*(c.samples-at))]
		if _, err := c.dst.ReadAt(piece, header+2*at); err != nil {
			return Sound{}, err
		}
		for i := 0; i < len(piece); i += 2 {
			v := math.Round(float64(int16(binary.LittleEndian.Uint16(piece[i:]))) * gain / headroom)
			v = max(math.MinInt16, min(math.MaxInt16, v))
			binary.LittleEndian.PutUint16(piece[i:], uint16(int16(v)))
			part := (at + int64(i/2)) * Parts / c.samples
			s.Peaks[part] = max(s.Peaks[part], byte(math.Round(math.Abs(v)/math.MaxInt16*255*0.999)))
		}
		if _, err := c.dst.WriteAt(piece, header+2*at); err != nil {
			return Sound{}, err
		}
		at += int64(len(piece) / 2)
	}
	if _, err := c.dst.WriteAt(wavHeader(c.rate, c.samples), 0); err != nil {
		return Sound{}, err
	}
	return s, c.dst.Sync()
}

// meter measures how loud sound is where it is not silence, in blocks of a tenth of a second.
type meter struct {
	block int

	peak   float64
	sum    float64
	n      int
	blocks []float32 // the mean square of each
}

func (m *meter) add(v float64) {
	m.peak = max(m.peak, math.Abs(v))
	m.sum += v * v
	if m.n++; m.n == m.block {
		m.blocks = append(m.blocks, float32(m.sum/float64(m.n)))
		m.sum, m.n = 0, 0
	}
}

// quietest is the level below which a block is silence, and quieter the distance below the mean at which it is a pause.
const (
	quietest = -55.0 // dBFS
	quieter  = 10.0  // dB
)

func (m *meter) silent() bool {
	return m.peak < math.Pow(10, quietest/20) || math.IsInf(m.loudness(), -1)
}

// loudness is the level in dBFS of the blocks that are neither silence nor a pause, as ITU-R BS.1770 gates.
func (m *meter) loudness() float64 {
	blocks := m.blocks
	if m.n > 0 {
		blocks = append(blocks, float32(m.sum/float64(m.n)))
	}
	gate := math.Pow(10, quietest/10)
	for range 2 {
		sum, n := 0.0, 0
		for _, b := range blocks {
			if float64(b) >= gate {
				sum += float64(b)
				n++
			}
		}
		if n == 0 {
			return math.Inf(-1)
		}
		mean := sum / float64(n)
		if relative := mean * math.Pow(10, -quieter/10); relative > gate {
			gate = relative
			continue
		}
		return 10 * math.Log10(mean)
	}
	sum, n := 0.0, 0
	for _, b := range blocks {
		if float64(b) >= gate {
			sum += float64(b)
			n++
		}
	}
	return 10 * math.Log10(sum/float64(n))
}

// wavHeader is the header of one channel with 16 bits.
func wavHeader(rate int, samples int64) []byte {
	h := make([]byte, 0, header)
	h = append(h, "RIFF"...)
	h = binary.LittleEndian.AppendUint32(h, uint32(header-8+2*samples))
	h = append(h, "WAVEfmt "...)
	h = binary.LittleEndian.AppendUint32(h, 16)
	h = binary.LittleEndian.AppendUint16(h, 1)
	h = binary.LittleEndian.AppendUint16(h, 1)
	h = binary.LittleEndian.AppendUint32(h, uint32(rate))
	h = binary.LittleEndian.AppendUint32(h, uint32(2*rate))
	h = binary.LittleEndian.AppendUint16(h, 2)
	h = binary.LittleEndian.AppendUint16(h, 16)
	h = append(h, "data"...)
	return binary.LittleEndian.AppendUint32(h, uint32(2*samples))
}
