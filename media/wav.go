package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"
)

const (
	wavHeader  = 44
	wavLimit   = 64 << 20 // octets of the largest file we read
	codePCM    = 1
	codeALaw   = 6
	codeULaw   = 7
	codeExtend = 0xfffe
	flushEach  = 4 // times a second a recording reaches the system
	syncEach   = 1 // and the disk
)

// WAVWriter writes sound to a file, 16 bits at 8 or 16 kHz, so that the file is whole at any
// moment: the header is renewed four times a second and synced once, always after the
// samples that it counts.
type WAVWriter struct {
	file    *os.File
	rate    int
	half    *halver // nil: the file is wide
	other   *halver // of the right side
	sides   int     // channels
	buf     []byte
	written int64 // samples in the file, of all channels
	synced  int64
	closed  bool
}

// CreateWAV makes a new file of sound at rate Hz, 8000 or 16000. It must not exist.
func CreateWAV(path string, rate int) (*WAVWriter, error) { return createWAV(path, rate, 1) }

// CreateStereoWAV makes a new file of two sides, for WriteSides.
func CreateStereoWAV(path string, rate int) (*WAVWriter, error) { return createWAV(path, rate, 2) }

func createWAV(path string, rate, sides int) (*WAVWriter, error) {
	if rate != narrowRate && rate != SampleRate {
		return nil, fmt.Errorf("create recording: %d Hz", rate)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create recording: %w", err)
	}
	w := &WAVWriter{file: f, rate: rate, sides: sides, buf: make([]byte, 0, 2*sides*(rate/flushEach+frameSamples))}
	if rate == narrowRate {
		w.half, w.other = &halver{}, &halver{}
	}
	if err := writeHeader(f, rate, sides, 0); err != nil {
		f.Close()
		os.Remove(path)
		return nil, fmt.Errorf("create recording: %w", err)
	}
	return w, nil
}

// WriteFrame adds f.
func (w *WAVWriter) WriteFrame(f *Frame) error {
	if w.half == nil {
		return w.Write(f[:])
	}
	var narrow [narrowFrame]int16
	w.half.halve(narrow[:], f[:])
	return w.Write(narrow[:])
}

// WriteSides adds 20 ms of both sides to a file of two.
func (w *WAVWriter) WriteSides(left, right *Frame) error {
	a, b := left[:], right[:]
	if w.half != nil {
		var narrow [2][narrowFrame]int16
		w.half.halve(narrow[0][:], a)
		w.other.halve(narrow[1][:], b)
		a, b = narrow[0][:], narrow[1][:]
	}
	var both [2 * frameSamples]int16
	for i := range a {
		both[2*i], both[2*i+1] = a[i], b[i]
	}
	return w.Write(both[:2*len(a)])
}

// Write adds samples of the file's own rate; of two sides, the left and the right in turn.
func (w *WAVWriter) Write(samples []int16) error {
	for _, v := range samples {
		w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(v))
		if len(w.buf) >= 2*w.sides*w.rate/flushEach {
			if err := w.flush(); err != nil {
				return fmt.Errorf("write recording: %w", err)
			}
		}
	}
	return nil
}

// Duration is how long the sound is so far.
func (w *WAVWriter) Duration() time.Duration {
	return lengthOf((w.written+int64(len(w.buf)/2))/int64(w.sides), w.rate)
}

// flush hands the samples to the system, then the header that counts them.
func (w *WAVWriter) flush() error {
	n, err := w.file.WriteAt(w.buf, wavHeader+2*w.written)
	w.written += int64(n / 2)
	w.buf = w.buf[:copy(w.buf, w.buf[n/2*2:])]
	// Even when the disk is full: what reached it counts, and the header needs no new room.
	if err := errors.Join(err, writeHeader(w.file, w.rate, w.sides, w.written)); err != nil {
		return err
	}
	if w.written-w.synced < int64(w.sides*w.rate/syncEach) {
		return nil
	}
	w.synced = w.written
	return w.file.Sync()
}

// Close finishes the file and syncs it. It may be called twice.
func (w *WAVWriter) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	err := w.flush()
	err = errors.Join(err, w.file.Sync(), w.file.Close())
	if err != nil {
		return fmt.Errorf("close recording: %w", err)
	}
	return nil
}

// lengthOf is how long n samples at rate Hz last.
func lengthOf(n int64, rate int) time.Duration {
	return time.Duration(n) * (time.Second / time.Duration(rate))
}

// writeHeader writes the header of a file with n samples of all sides at rate Hz.
func writeHeader(f *os.File, rate, sides int, n int64) error {
	size := uint32(min(2*n, math.MaxUint32-wavHeader))
	h := make([]byte, 0, wavHeader)
	h = append(h, "RIFF"...)
	h = binary.LittleEndian.AppendUint32(h, wavHeader-8+size)
	h = append(h, "WAVEfmt "...)
	h = binary.LittleEndian.AppendUint32(h, 16)
	h = binary.LittleEndian.AppendUint16(h, codePCM)
	h = binary.LittleEndian.AppendUint16(h, uint16(sides))
	h = binary.LittleEndian.AppendUint32(h, uint32(rate))
	h = binary.LittleEndian.AppendUint32(h, uint32(2*sides*rate))
	h = binary.LittleEndian.AppendUint16(h, uint16(2*sides))
	h = binary.LittleEndian.AppendUint16(h, 16)
	h = append(h, "data"...)
	h = binary.LittleEndian.AppendUint32(h, size)
	_, err := f.WriteAt(h, 0)
	return err
}

// RepairWAV finishes a recording that was cut off: the header is made to tell the file's
// true length, which is returned.
func RepairWAV(path string) (time.Duration, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, fmt.Errorf("repair recording: %w", err)
	}
	n, rate, sides, err := repair(f)
	err = errors.Join(err, f.Close())
	if err != nil {
		return 0, fmt.Errorf("repair recording: %w", err)
	}
	return lengthOf(n/int64(sides), rate), nil
}

// repair writes a true header and tells how many samples there are in all, of what rate and of how many sides.
func repair(f *os.File) (samples int64, rate, sides int, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, 0, err
	}
	rate, sides = narrowRate, 1
	samples = max(info.Size()-wavHeader, 0) / 2
	if info.Size() >= wavHeader {
		var head [wavHeader]byte
		if _, err := f.ReadAt(head[:], 0); err != nil {
			return 0, 0, 0, err
		}
		if m := string(head[:4]); m != "RIFF" && m != "\x00\x00\x00\x00" { // zeros: the length reached the disk before the header
			return 0, 0, 0, errNoWAV
		}
		if binary.LittleEndian.Uint32(head[24:]) == SampleRate {
			rate = SampleRate
		}
		if binary.LittleEndian.Uint16(head[22:]) == 2 {
			sides = 2
			samples -= samples % 2
		}
	}
	if err := writeHeader(f, rate, sides, samples); err != nil {
		return 0, 0, 0, err
	}
	if err := f.Truncate(wavHeader + 2*samples); err != nil {
		return 0, 0, 0, err
	}
	return samples, rate, sides, f.Sync()
}

var errNoWAV = errors.New("not a WAV file that can be played")

// wavFormat is what a WAV file holds and where.
type wavFormat struct {
	code, channels, bits int
	rate                 int
	offset, size         int64 // of the samples
}

func (w *wavFormat) block() int { return w.channels * w.bits / 8 }

// length is how long the sound is.
func (w *wavFormat) length() time.Duration {
	return time.Duration(w.size/int64(w.block())) * time.Second / time.Duration(w.rate)
}

// readWAVFormat finds the format and the samples. Sizes in the file are believed no further
// than the file goes.
func readWAVFormat(r io.ReaderAt, size int64) (*wavFormat, error) {
	var head [12]byte
	if _, err := r.ReadAt(head[:], 0); err != nil || string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return nil, errNoWAV
	}
	w := &wavFormat{}
	for at := int64(12); at+8 <= size; {
		var chunk [8]byte
		if _, err := r.ReadAt(chunk[:], at); err != nil {
			return nil, errNoWAV
		}
		n := int64(binary.LittleEndian.Uint32(chunk[4:]))
		at += 8
		switch string(chunk[:4]) {
		case "fmt ":
			if err := w.readFormat(r, at, n); err != nil {
				return nil, err
			}
		case "data":
			if w.rate == 0 {
				return nil, errNoWAV
			}
			w.offset, w.size = at, min(n, size-at)
			w.size -= w.size % int64(w.block())
			return w, nil
		}
		at += n + n%2
	}
	return nil, errNoWAV
}

func (w *wavFormat) readFormat(r io.ReaderAt, at, n int64) error {
	var b [26]byte
	if n < 16 {
		return errNoWAV
	}
	if _, err := r.ReadAt(b[:min(n, 26)], at); err != nil {
		return errNoWAV
	}
	w.code = int(binary.LittleEndian.Uint16(b[0:]))
	w.channels = int(binary.LittleEndian.Uint16(b[2:]))
	w.rate = int(binary.LittleEndian.Uint32(b[4:]))
	w.bits = int(binary.LittleEndian.Uint16(b[14:]))
	if w.code == codeExtend && n >= 26 {
		w.code = int(binary.LittleEndian.Uint16(b[24:]))
	}
	known := w.code == codePCM && w.bits == 16 || (w.code == codeULaw || w.code == codeALaw) && w.bits == 8
	switch {
	case !known, w.channels != 1 && w.channels != 2:
		return fmt.Errorf("%w: coding %d with %d bits and %d channels", errNoWAV, w.code, w.bits, w.channels)
	case w.rate != narrowRate && w.rate != SampleRate:
		return fmt.Errorf("%w: %d Hz, use 8000 or 16000", errNoWAV, w.rate)
	}
	return nil
}

// decode turns raw blocks into samples of one channel, two being mixed.
func (w *wavFormat) decode(dst []int16, raw []byte) int {
	n := min(len(dst), len(raw)/w.block())
	for i := range n {
		sum := 0
		for c := range w.channels {
			at := (i*w.channels + c) * w.bits / 8
			switch w.code {
			case codePCM:
				sum += int(int16(binary.LittleEndian.Uint16(raw[at:])))
			case codeULaw:
				sum += int(ulawDecode[raw[at]])
			default:
				sum += int(alawDecode[raw[at]])
			}
		}
		dst[i] = int16(sum / w.channels)
	}
	return n
}

// wavReader reads the sound of a WAV file.
type wavReader struct {
	*wavFormat
	open   func() (io.ReaderAt, func() error, error) // for each piece anew, so that no file stays open
	at     int64
	raw    []byte // a piece of the file
	double doubler
}

// pieceTime is how much is read from the disk at once.
const pieceTime = 1 // second

func (r *wavReader) ReadFrame(f *Frame) error {
	want := r.rate / 50
	if len(r.raw) < want*r.block() {
		if err := r.fill(); err != nil {
			return err
		}
	}
	if len(r.raw) == 0 {
		return io.EOF
	}
	var sound Frame // what the file does not fill is silence
	n := r.decode(sound[:want], r.raw)
	r.raw = r.raw[n*r.block():]
	if r.rate == SampleRate {
		*f = sound
		return nil
	}
	r.double.double(f[:], sound[:narrowFrame])
	return nil
}

// fill reads the next piece behind what is left of the last one.
func (r *wavReader) fill() error {
	n := min(int64(r.rate*r.block()*pieceTime), r.size-r.at)
	if n <= 0 {
		return nil
	}
	src, done, err := r.open()
	if err != nil {
		return err
	}
	piece := make([]byte, len(r.raw)+int(n))
	left := copy(piece, r.raw)
	got, err := src.ReadAt(piece[left:], r.offset+r.at)
	if err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(err, done())
	}
	if got == 0 {
		r.at = r.size // the file became shorter
	}
	r.at += int64(got)
	r.raw = piece[:left+got]
	return done()
}

// OpenWAV is the sound of a WAV file (PCM of 16 bits, µ-law or A-law; 8 or 16 kHz; one or
// two channels) and how long it lasts. It keeps no file open.
func OpenWAV(path string) (Source, time.Duration, error) {
	w, err := statWAV(path)
	if err != nil {
		return nil, 0, fmt.Errorf("open %s: %w", path, err)
	}
	open := func() (io.ReaderAt, func() error, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, nil, err
		}
		return f, f.Close, nil
	}
	return &wavReader{wavFormat: w, open: open}, w.length(), nil
}

func statWAV(path string) (*wavFormat, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > wavLimit {
		return nil, fmt.Errorf("file of %d octets", info.Size())
	}
	return readWAVFormat(f, info.Size())
}

// peaksLimit bounds what a caller may ask for.
const peaksLimit = 10000

// Peaks is the greatest loudness, 0 to 1, in each of n equal parts of a WAV file: what
// draws a wave form.
func Peaks(path string, n int) ([]float32, error) {
	if n < 1 || n > peaksLimit {
		return nil, fmt.Errorf("peaks: %d parts", n)
	}
	src, length, err := OpenWAV(path)
	if err != nil {
		return nil, fmt.Errorf("peaks: %w", err)
	}
	peaks := make([]float32, n)
	total := max(samplesIn(length), 1)
	var f Frame
	for at := int64(0); at < total; at += frameSamples {
		err := src.ReadFrame(&f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("peaks: %w", err)
		}
		for i, v := range f {
			part := (at + int64(i)) * int64(n) / total
			if part < int64(n) {
				peaks[part] = max(peaks[part], float32(math.Abs(float64(v)))/-math.MinInt16)
			}
		}
	}
	return peaks, nil
}
