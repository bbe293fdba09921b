package audiofile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/hajimehoshi/go-mp3"
)

// openMP3 reads MPEG-1 and MPEG-2 layer III. The decoder gives two channels of 16 bits, whatever is in the file.
func openMP3(r *io.SectionReader) (*stream, error) {
	// Not a Seeker: it would read the whole file for its length.
	d, err := mp3.NewDecoder(struct{ io.Reader }{bufio.NewReaderSize(r, 1<<16)})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	raw := make([]byte, 4*1024)
	out := make([]float32, 1024)
	return &stream{rate: d.SampleRate(), next: func() ([]float32, error) {
		n, err := io.ReadFull(d, raw)
		if n < 4 {
			if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, io.EOF
			}
			return nil, fmt.Errorf("%w: %w", ErrBroken, err)
		}
		for i := range n / 4 {
			left := int16(binary.LittleEndian.Uint16(raw[4*i:]))
			right := int16(binary.LittleEndian.Uint16(raw[4*i+2:]))
			out[i] = (float32(left) + float32(right)) / (1 << 16)
		}
		return out[:n/4], nil
	}}, nil
}
