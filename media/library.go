package media

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// sounds are the phrases and the music that we bring along; see prompts/CREDITS.md.
//
//go:embed prompts/en/*.wav
var sounds embed.FS

const musicName = "music"

// Library is the phrases that the house speaks and the music it plays. A WAV file of the
// same name in the override directory takes the place of ours, at once and without a
// restart; one that cannot be played does not.
type Library struct {
	dir   string
	epoch time.Time              // when the music began
	tape  func() (*sound, error) // our own music, found when it is first heard

	mu       sync.Mutex
	loaded   map[string]*sound
	stations map[string]*station // by path
}

// sound is a phrase in memory, or the place of our music in the program file.
type sound struct {
	samples []int16
	size    int64 // of the overriding file, 0 for our own
	changed time.Time

	file   io.ReaderAt // nil: the samples are in memory
	format *wavFormat
}

// NewLibrary makes a library; overrideDir may be empty or not exist.
func NewLibrary(overrideDir string) *Library {
	return &Library{dir: overrideDir, epoch: time.Now(), tape: sync.OnceValues(openMusic), loaded: make(map[string]*sound)}
}

// Has reports whether there is a phrase of that name.
func (l *Library) Has(name string) bool {
	_, err := l.sound(name)
	return err == nil
}

// sound finds a phrase. Names are file names without a path.
func (l *Library) sound(name string) (*sound, error) {
	if name == "" || name != filepath.Base(name) || !filepath.IsLocal(name) {
		return nil, fmt.Errorf("no phrase %q", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.loaded[name]
	if s, ok := l.override(name, have); ok {
		l.loaded[name] = s
		return s, nil
	}
	if have != nil && have.size == 0 {
		return have, nil
	}
	f, err := sounds.Open("prompts/en/" + name + ".wav")
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("no phrase %q", name)
		}
		return nil, fmt.Errorf("phrase %q: %w", name, err)
	}
	defer f.Close()
	s, err := load(f, name == musicName)
	if err != nil {
		return nil, fmt.Errorf("phrase %q: %w", name, err)
	}
	l.loaded[name] = s
	return s, nil
}

// override finds the overriding file, which may be loaded already.
func (l *Library) override(name string, have *sound) (*sound, bool) {
	if l.dir == "" {
		return nil, false
	}
	path := filepath.Join(l.dir, name+".wav")
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 || info.Size() > wavLimit {
		return nil, false
	}
	if have != nil && have.size == info.Size() && have.changed.Equal(info.ModTime()) {
		return have, true
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	s, err := load(f, name == musicName)
	if err != nil || len(s.samples) == 0 {
		return nil, false
	}
	s.size, s.changed = info.Size(), info.ModTime()
	return s, true
}

// load reads a file into memory. What loops is filtered as a loop: its beginning follows its end.
func load(f fs.File, loops bool) (*sound, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errNoWAV
	}
	w, err := readWAVFormat(r, info.Size())
	if err != nil {
		return nil, err
	}
	src := &wavReader{wavFormat: w, open: func() (io.ReaderAt, func() error, error) {
		return r, func() error { return nil }, nil
	}}
	s := &sound{samples: make([]int16, 0, samplesIn(w.length())+frameSamples)}
	var frame Frame
	for {
		err := src.ReadFrame(&frame)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		s.samples = append(s.samples, frame[:]...)
	}
	if src.at = 0; loops && src.ReadFrame(&frame) == nil {
		copy(s.samples, frame[:])
	}
	return s, nil
}

// music returns what is played to those who wait: the file of the house, or our own.
func (l *Library) music() (*sound, error) {
	l.mu.Lock()
	s, ok := l.override(musicName, l.loaded[musicName])
	if ok {
		l.loaded[musicName] = s
	}
	l.mu.Unlock()
	if ok {
		return s, nil
	}
	return l.tape()
}

// openMusic finds our own music in the program file. It is read from there while it is played: in memory it would be a
// quarter of what the house has in use at rest. So it must be as the house speaks, which needs no filter.
func openMusic() (*sound, error) {
	f, err := sounds.Open("prompts/en/" + musicName + ".wav") // stays open: it is a part of the program
	if err != nil {
		return nil, fmt.Errorf("hold music: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("hold music: %w", err)
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, fmt.Errorf("hold music: %w", errNoWAV)
	}
	w, err := readWAVFormat(r, info.Size())
	if err != nil {
		return nil, fmt.Errorf("hold music: %w", err)
	}
	if w.code != codePCM || w.channels != 1 || w.rate != SampleRate || w.size == 0 {
		return nil, fmt.Errorf("hold music: %w", errNoWAV)
	}
	return &sound{file: r, format: w}, nil
}

// loop gives the 20 ms at a moment of what is played again and again; raw is room for them.
func (s *sound) loop(at int64, f *Frame, raw *[2 * frameSamples]byte) error {
	if s.file == nil {
		for i := range f {
			f[i] = s.samples[(at+int64(i))%int64(len(s.samples))]
		}
		return nil
	}
	for n := 0; n < len(raw); {
		pos := (2*at + int64(n)) % s.format.size
		got, err := s.file.ReadAt(raw[n:min(int64(len(raw)), int64(n)+s.format.size-pos)], s.format.offset+pos)
		if err != nil {
			return fmt.Errorf("hold music: %w", err)
		}
		n += got
	}
	s.format.decode(f[:], raw[:])
	return nil
}

// phrases says phrases one after another.
type phrases struct {
	library *Library
	names   []string
	left    []int16
}

func (p *phrases) ReadFrame(f *Frame) error {
	for len(p.left) == 0 {
		if len(p.names) == 0 {
			return io.EOF
		}
		s, err := p.library.sound(p.names[0])
		if err != nil {
			return err
		}
		p.left, p.names = s.samples, p.names[1:]
	}
	n := copy(f[:], p.left)
	clear(f[n:])
	p.left = p.left[n:]
	return nil
}

// Prompt says the phrases of the given names, one after another. An unknown name is an
// error when its turn comes.
func (l *Library) Prompt(names ...string) Source {
	return &phrases{library: l, names: append([]string(nil), names...)}
}

// Digits is the names of the phrases that say s digit by digit. What is no digit, star or
// pound is left out.
func (l *Library) Digits(s string) []string {
	var names []string
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			names = append(names, "digit-"+string(r))
		case r == '*':
			names = append(names, "star")
		case r == '#':
			names = append(names, "pound")
		}
	}
	return names
}

// Number is the names of the phrases that say n as one speaks it, up to 999 999 999; a
// greater one is said digit by digit. A negative one is 0.
func (l *Library) Number(n int) []string {
	switch {
	case n <= 0:
		return []string{"digit-0"}
	case n > 999_999_999:
		return l.Digits(fmt.Sprint(n))
	}
	var names []string
	for _, unit := range []struct {
		size int
		name string
	}{{1_000_000, "million"}, {1000, "thousand"}} {
		if n >= unit.size {
			names = append(belowThousand(names, n/unit.size), unit.name)
			n %= unit.size
		}
	}
	return belowThousand(names, n)
}

func belowThousand(names []string, n int) []string {
	if n >= 100 {
		names = append(names, fmt.Sprintf("digit-%d", n/100), "hundred")
		n %= 100
	}
	if n >= 20 {
		names = append(names, fmt.Sprintf("number-%d", n/10*10))
		n %= 10
	}
	switch {
	case n >= 10:
		names = append(names, fmt.Sprintf("number-%d", n))
	case n > 0:
		names = append(names, fmt.Sprintf("digit-%d", n))
	}
	return names
}

// music is a place in the hold music.
type music struct {
	library *Library
	sound   *sound
	at      int64 // samples since the epoch
	frames  int   // read
	raw     [2 * frameSamples]byte
}

// musicCheck is how many frames pass before a new override of the music is looked for.
const musicCheck = 50

func (m *music) ReadFrame(f *Frame) error {
	if m.frames == 0 {
		m.at = samplesIn(time.Since(m.library.epoch)) / frameSamples * frameSamples
	}
	if m.frames%musicCheck == 0 {
		s, err := m.library.music()
		if err != nil {
			return err
		}
		m.sound = s
	}
	if err := m.sound.loop(m.at, f, &m.raw); err != nil {
		return err
	}
	m.at += frameSamples
	m.frames++
	return nil
}

// Music is the hold music. It never ends, and all who wait hear the same moment of it.
func (l *Library) Music() Source { return &music{library: l} }

// Preload reads hold music of the house's own into memory, so that the first caller on hold does not wait for it to be
// filtered, which takes a small board a moment. Phrases are short and are read when they are first said.
func (l *Library) Preload() error {
	if _, err := l.music(); err != nil {
		return fmt.Errorf("preload sounds: %w", err)
	}
	return nil
}
