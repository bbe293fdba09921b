package audiofile

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/mewkiz/flac"
)

// openFLAC reads FLAC. The first block must be the one that the format prescribes (RFC 9639 §8.2): any other might ask
// for much memory.
func openFLAC(r *io.SectionReader, magic [12]byte) (*stream, error) {
	if magic[4]&0x7f != 0 || magic[5] != 0 || magic[6] != 0 || magic[7] != 34 {
		return nil, ErrBroken
	}
	d, err := flac.New(bufio.NewReaderSize(r, 1<<16))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	bits, channels := int(d.Info.BitsPerSample), int(d.Info.NChannels)
	if bits < 4 || bits > 32 || channels < 1 || channels > 8 {
		return nil, ErrBroken
	}
	scale := 1 / float32(int64(1)<<(bits-1)) / float32(channels)
	var out []float32
	return &stream{rate: int(d.Info.SampleRate), next: func() ([]float32, error) {
		f, err := d.ParseNext()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, io.EOF // a file that was cut off plays as far as it goes
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBroken, err)
		}
		if len(f.Subframes) != channels {
			return nil, ErrBroken
		}
		n := len(f.Subframes[0].Samples)
		out = append(out[:0], make([]float32, n)...)
		for _, sub := range f.Subframes {
			for i, v := range sub.Samples[:n] {
				out[i] += float32(v) * scale
			}
		}
		return out, nil
	}}, nil
}
