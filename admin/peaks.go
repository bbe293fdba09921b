package admin

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// errNoSound says that a file is no WAV file of ours.
var errNoSound = errors.New("not a 16-bit PCM WAV file")

// wavPeaks returns the loudest sample of each of n equal parts of a 16-bit WAV file, between 0 and 1.
// Of a shorter sound there is one peak a sample.
func wavPeaks(f io.ReadSeeker, n int) ([]float64, error) {
	sides, err := wavSides(f, n)
	if err != nil {
		return nil, err
	}
	peaks := sides[0]
	for _, side := range sides[1:] {
		for i, p := range side {
			peaks[i] = max(peaks[i], p)
		}
	}
	return peaks, nil
}

// wavSides is wavPeaks for each channel by itself.
func wavSides(f io.ReadSeeker, n int) ([][]float64, error) {
	samples, channels, err := seekSamples(f)
	if err != nil {
		return nil, fmt.Errorf("read wave form: %w", err)
	}
	n = int(min(int64(n), samples))
	sides := make([][]float64, channels)
	for c := range sides {
		sides[c] = make([]float64, n)
	}
	r := bufio.NewReaderSize(f, 64<<10)
	b := make([]byte, 2*channels)
	for i := range samples {
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, fmt.Errorf("read wave form: %w", err)
		}
		part := int(i * int64(n) / samples)
		for c := range sides {
			v := math.Abs(float64(int16(binary.LittleEndian.Uint16(b[2*c:])))) / 32768
			sides[c][part] = max(sides[c][part], v)
		}
	}
	for _, peaks := range sides {
		for i, p := range peaks {
			peaks[i] = math.Round(p*1000) / 1000
		}
	}
	return sides, nil
}

// seekSamples finds the samples of a WAV file and returns how many there are in each channel. The file's end counts more
// than its header, which may be older.
func seekSamples(f io.ReadSeeker) (samples int64, channels int, err error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, err
	}
	var head [12]byte
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, 0, err
	}
	if _, err := io.ReadFull(f, head[:]); err != nil || string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return 0, 0, errNoSound
	}
	at := int64(len(head))
	for {
		var chunk [8]byte
		if _, err := io.ReadFull(f, chunk[:]); err != nil {
			return 0, 0, errNoSound
		}
		at += int64(len(chunk))
		length := int64(binary.LittleEndian.Uint32(chunk[4:]))
		switch string(chunk[:4]) {
		case "fmt ":
			var format [16]byte
			if _, err := io.ReadFull(f, format[:]); err != nil || length < 16 {
				return 0, 0, errNoSound
			}
			channels = int(binary.LittleEndian.Uint16(format[2:]))
			if binary.LittleEndian.Uint16(format[0:]) != 1 || channels < 1 || channels > 2 || binary.LittleEndian.Uint16(format[14:]) != 16 {
				return 0, 0, errNoSound
			}
		case "data":
			if channels == 0 {
				return 0, 0, errNoSound
			}
			return min(length, size-at) / int64(2*channels), channels, nil
		}
		at += length + length%2
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			return 0, 0, err
		}
	}
}
