package audiofile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"

	"github.com/zaf/g711"
)

// wavFormat is what a WAV file holds and where.
type wavFormat struct {
	code, channels, bits, rate int
	at, size                   int64 // of the samples
}

// readFormat finds the format and the samples.
func readFormat(r io.ReaderAt, size int64) (format wavFormat, err error) {
	for at := int64(12); ; {
		var h [8]byte
		if _, err := r.ReadAt(h[:], at); err != nil {
			return format, ErrBroken
		}
		n := int64(binary.LittleEndian.Uint32(h[4:]))
		at += 8
		switch string(h[:4]) {
		case "fmt ":
			var b [26]byte
			if n < 16 {
				return format, ErrBroken
			}
			if _, err := r.ReadAt(b[:min(n, int64(len(b)))], at); err != nil {
				return format, ErrBroken
			}
			format.code = int(binary.LittleEndian.Uint16(b[0:]))
			format.channels = int(binary.LittleEndian.Uint16(b[2:]))
			format.rate = int(binary.LittleEndian.Uint32(b[4:]))
			format.bits = int(binary.LittleEndian.Uint16(b[14:]))
			if format.code == 0xfffe && n >= 26 {
				format.code = int(binary.LittleEndian.Uint16(b[24:]))
			}
		case "data":
			format.at, format.size = at, min(n, size-at)
			return format, nil
		}
		at += n + n%2
	}
}

// mixedDown says that all channels are wanted as one.
const mixedDown = -1

// openWAV reads PCM of 8 to 32 bits, floating point, µ-law and A-law, of one to eight channels.
func openWAV(r *io.SectionReader) (*stream, error) { return openSide(r, mixedDown) }

// openSide reads one channel of a WAV file.
func openSide(r *io.SectionReader, side int) (*stream, error) {
	format, err := readFormat(r, r.Size())
	if err != nil {
		return nil, err
	}
	sample := sampleReader(format.code, format.bits)
	if sample == nil || format.channels < 1 || format.channels > 8 {
		return nil, ErrFormat
	}
	from, to := 0, format.channels
	if side != mixedDown {
		from, to = side, side+1
	}
	width := format.bits / 8
	block := width * format.channels
	data := bufio.NewReaderSize(io.NewSectionReader(r, format.at, format.size), 1<<16)
	raw := make([]byte, block*1024)
	out := make([]float32, 1024)
	return &stream{rate: format.rate, next: func() ([]float32, error) {
		got, err := io.ReadFull(data, raw)
		frames := got / block
		if frames == 0 {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = io.EOF
			}
			return nil, err
		}
		for i := range frames {
			var sum float32
			for c := from; c < to; c++ {
				sum += sample(raw[i*block+c*width:])
			}
			out[i] = sum / float32(to-from)
		}
		return out[:frames], nil
	}}, nil
}

// channelsOf tells how many channels a WAV file of ours has, and its rate.
func channelsOf(f *os.File) (channels, rate int, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	format, err := readFormat(f, info.Size())
	if err != nil {
		return 0, 0, err
	}
	if format.channels < 1 || format.channels > 2 {
		return 0, 0, ErrFormat
	}
	return format.channels, format.rate, nil
}

// sampleReader reads one sample of a coding; nil for what we do not know.
func sampleReader(code, bits int) func([]byte) float32 {
	le := binary.LittleEndian
	switch [2]int{code, bits} {
	case [2]int{1, 8}:
		return func(b []byte) float32 { return (float32(b[0]) - 128) / 128 }
	case [2]int{1, 16}:
		return func(b []byte) float32 { return float32(int16(le.Uint16(b))) / (1 << 15) }
	case [2]int{1, 24}:
		return func(b []byte) float32 { return float32(int32(b[0])<<8|int32(b[1])<<16|int32(b[2])<<24) / (1 << 31) }
	case [2]int{1, 32}:
		return func(b []byte) float32 { return float32(int32(le.Uint32(b))) / (1 << 31) }
	case [2]int{3, 32}:
		return func(b []byte) float32 { return math.Float32frombits(le.Uint32(b)) }
	case [2]int{3, 64}:
		return func(b []byte) float32 { return float32(math.Float64frombits(le.Uint64(b))) }
	case [2]int{6, 8}:
		return func(b []byte) float32 { return float32(g711.DecodeAlawFrame(b[0])) / (1 << 15) }
	case [2]int{7, 8}:
		return func(b []byte) float32 { return float32(g711.DecodeUlawFrame(b[0])) / (1 << 15) }
	}
	return nil
}
