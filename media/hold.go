package media

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Hold is the music of those who wait, which may be changed while they do: path is asked once a second for the WAV file
// to play. Where it is empty, or the file cannot be played, there is our own music. All who hear one file hear the same
// moment of it, and cost one reader. It never ends.
func (l *Library) Hold(path func() string) Source {
	return &hold{library: l, path: path, own: music{library: l}}
}

// hold is a place in somebody's hold music.
type hold struct {
	library *Library
	path    func() string
	own     music
	station *station // nil: our own music
	at      int64    // samples since the epoch
	frames  int
}

func (h *hold) ReadFrame(f *Frame) error {
	if h.frames == 0 {
		h.at = samplesIn(time.Since(h.library.epoch)) / frameSamples * frameSamples
	}
	if h.frames%musicCheck == 0 {
		h.station = h.library.station(h.path())
	}
	h.frames++
	h.at += frameSamples
	if s := h.station; s != nil {
		if err := s.read(h.at, f); err == nil {
			h.own.frames = 0 // when it is heard again, at the right moment
			return nil
		}
		h.station = nil
	}
	return h.own.ReadFrame(f)
}

// station plays one file in an endless loop to all who listen. Of the file, two seconds are in memory.
type station struct {
	format *wavFormat
	path   string
	info   os.FileInfo
	used   time.Time

	mu     sync.Mutex
	pieces [2]piece
}

// piece is a second of a file, or its rest.
type piece struct {
	number  int64
	samples []int16 // nil: none
}

// maxStations bounds how many files are on the air; those whom nobody hears go first.
const maxStations = 64

// station finds the station that plays a file; nil when it cannot be played.
func (l *Library) station(path string) *station {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > wavLimit*2 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if s := l.stations[path]; s != nil && s.info.Size() == info.Size() && s.info.ModTime().Equal(info.ModTime()) {
		s.used = now
		return s
	}
	format, err := formatOf(path, info.Size())
	if err != nil || format.length() < frameTime {
		return nil
	}
	for other, s := range l.stations {
		if len(l.stations) >= maxStations || now.Sub(s.used) > time.Minute {
			delete(l.stations, other) // who still hears it keeps it
		}
	}
	if l.stations == nil {
		l.stations = make(map[string]*station)
	}
	s := &station{format: format, path: path, info: info, used: now}
	l.stations[path] = s
	return s
}

func formatOf(path string, size int64) (*wavFormat, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readWAVFormat(f, size)
}

// length is how many samples a turn has, at the rate of the house.
func (s *station) length() int64 {
	return s.format.size / int64(s.format.block()) * SampleRate / int64(s.format.rate)
}

// read gives the 20 ms at a moment.
func (s *station) read(at int64, f *Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	length := s.length()
	for i := 0; i < len(f); {
		pos := (at + int64(i)) % length
		p, err := s.piece(pos / SampleRate)
		if err != nil {
			return err
		}
		n := copy(f[i:], p[pos%SampleRate:])
		i += n
	}
	return nil
}

// piece is one second of the file; the caller holds the lock.
func (s *station) piece(number int64) ([]int16, error) {
	p := &s.pieces[number%2]
	if p.samples != nil && p.number == number {
		return p.samples, nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// A bit of what comes before lets the filter swing in; at the beginning of the file it is silence.
	const before = 4 // frames
	w := *s.format
	frame := int64(w.rate / 50 * w.block())
	first := max(number*50-before, 0)
	r := &wavReader{wavFormat: &w, at: first * frame, open: func() (io.ReaderAt, func() error, error) {
		return f, func() error { return nil }, nil
	}}
	samples := p.samples[:0]
	var sound Frame
	for k := first; k < number*50+50; k++ {
		if err := r.ReadFrame(&sound); err != nil {
			break
		}
		if k >= number*50 {
			samples = append(samples, sound[:]...)
		}
	}
	want := min(SampleRate, s.length()-number*SampleRate)
	if int64(len(samples)) < want {
		return nil, fmt.Errorf("%s became shorter", s.path)
	}
	p.number, p.samples = number, samples[:want]
	return p.samples, nil
}
