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

// wavPeaks returns the loudest sample of each of n equal parts of a 16-bit mono WAV file, between 0 and 1.
// Of a shorter sound there is one peak a sample.
func wavPeaks(f io.ReadSeeker, n int) ([]float64, error) {
	samples, err := seekSamples(f)
	if err != nil {
		return nil, fmt.Errorf("read wave form: %w", err)
	}
	n = int(min(int64(n), samples))
	peaks := make([]float64, n)
	r := bufio.NewReaderSize(f, 32<<10)
	var b [2]byte
	for i := range samples {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return nil, fmt.Errorf("read wave form: %w", err)
		}
		v := math.Abs(float64(int16(binary.LittleEndian.Uint16(b[:])))) / 32768
		part := int(i * int64(n) / samples)
		peaks[part] = max(peaks[part], v)
	}
	for i, p := range peaks {
		peaks[i] = math.Round(p*1000) / 1000
	}
	return peaks, nil
}

// seekSamples finds the samples of a WAV file and returns how many there are. The file's end counts more than its header,
// which may be older.
func seekSamples(f io.ReadSeeker) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	var head [12]byte
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(f, head[:]); err != nil || string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return 0, errNoSound
	}
	at := int64(len(head))
	for {
		var chunk [8]byte
		if _, err := io.ReadFull(f, chunk[:]); err != nil {
			return 0, errNoSound
		}
		at += int64(len(chunk))
		length := int64(binary.LittleEndian.Uint32(chunk[4:]))
		switch string(chunk[:4]) {
		case "fmt ":
			var format [16]byte
			if _, err := io.ReadFull(f, format[:]); err != nil || length < 16 {
				return 0, errNoSound
			}
			if binary.LittleEndian.Uint16(format[0:]) != 1 || binary.LittleEndian.Uint16(format[2:]) != 1 || binary.LittleEndian.Uint16(format[14:]) != 16 {
				return 0, errNoSound
			}
		case "data":
			return min(length, size-at) / 2, nil
		}
		at += length + length%2
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			return 0, err
		}
	}
}
