package media

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// Side is one of the two sides of a recording.
type Side int

// The sides: the caller is left, the callee right.
const (
	Left Side = iota
	Right
)

// Stretch is a part of a recording.
type Stretch struct{ From, To time.Duration }

// Tape records a call to a file of two sides. It follows the parties through hold and transfer, can be paused, and takes
// what is played to them. Its methods are safe for concurrent use.
type Tape struct {
	mu       sync.Mutex
	wanted   [2]*Session
	heard    [2]*hearing
	played   [2][]Source
	paused   bool
	silenced bool
	gaps     []Stretch
	written  time.Duration
	start    time.Time // of Run; zero: not yet
}

// NewTape makes a tape; Run records with it.
func NewTape() *Tape { return &Tape{} }

// Follow says whom to record on each side from now on; nil is nobody. What is recorded already stays.
func (t *Tape) Follow(left, right *Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wanted = [2]*Session{left, right}
	if !t.start.IsZero() {
		t.listen()
	}
}

// listen hears those who are wanted.
func (t *Tape) listen() {
	for i, s := range t.wanted {
		switch h := t.heard[i]; {
		case h == nil && s == nil, h != nil && h.session == s:
			continue
		case h != nil:
			h.end()
			t.heard[i] = nil
		}
		if s != nil {
			t.heard[i] = hear(s, recordDelay, max(recordDelay-time.Since(t.start), 0))
		}
	}
}

// On says which side a session is on; false: none.
func (t *Tape) On(s *Session) (Side, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, w := range t.wanted {
		if w != nil && w == s {
			return Side(i), true
		}
	}
	return 0, false
}

// Pause keeps nothing until it is called with false: the file is silent there, and Gaps tells where.
func (t *Tape) Pause(paused bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case paused == t.paused:
	case paused:
		t.gaps = append(t.gaps, Stretch{From: t.written, To: -1})
	default:
		t.gaps[len(t.gaps)-1].To = t.written
	}
	t.paused = paused
}

// Silence keeps nothing of what the parties say, but what is played to them, until it is called with false.
func (t *Tape) Silence(silenced bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.silenced = silenced
}

// Mix adds src to a side from now on, until it ends: what is played to the other side's party.
func (t *Tape) Mix(side Side, src Source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.played[side] = append(t.played[side], src)
}

// Gaps are the stretches in which the tape was paused.
func (t *Tape) Gaps() []Stretch {
	t.mu.Lock()
	defer t.mu.Unlock()
	gaps := append([]Stretch(nil), t.gaps...)
	if n := len(gaps); n > 0 && gaps[n-1].To < 0 {
		gaps[n-1].To = t.written
	}
	return gaps
}

// Duration is how long the recording is so far.
func (t *Tape) Duration() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written
}

// Run records to w, a file of two sides, in the caller's goroutine until ctx ends, which is no error, or the disk refuses.
// The parties never wait for it. The caller closes w.
func (t *Tape) Run(ctx context.Context, w *WAVWriter) error {
	defer t.Follow(nil, nil)
	t.mu.Lock()
	t.start = time.Now()
	t.listen()
	t.mu.Unlock()
	pace := newPacer(frameTime)
	defer pace.stop()
	var sides [2]Frame
	for {
		ending := pace.wait(ctx, nil)
		until := time.Since(t.start)
		if ending == nil {
			until -= recordDelay
		}
		for t.Duration()+frameTime <= until {
			t.frame(&sides)
			if err := w.WriteSides(&sides[Left], &sides[Right]); err != nil {
				return fmt.Errorf("record call: %w", err)
			}
		}
		if ending != nil {
			return nil
		}
	}
}

// frame is the next 20 ms of both sides.
func (t *Tape) frame(sides *[2]Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written += frameTime
	for i := range sides {
		f := &sides[i]
		if h := t.heard[i]; h != nil {
			h.next(f)
		}
		if t.heard[i] == nil || t.paused || t.silenced {
			clear(f[:])
		}
		t.played[i] = mixInto(f, t.played[i], t.paused)
	}
}

// mixInto adds what sources give, and returns those that have more.
func mixInto(f *Frame, sources []Source, discard bool) []Source {
	left := sources[:0]
	var more Frame
	for _, src := range sources {
		if src.ReadFrame(&more) != nil {
			continue
		}
		left = append(left, src)
		if discard {
			continue
		}
		for i, v := range more {
			f[i] = clamp(float32(f[i]) + float32(v))
		}
	}
	return left
}

// overDelay is how far behind one hears the other while something is played over them.
const overDelay = 40 * time.Millisecond

// over is what a session says, with something else over it.
type over struct {
	heard *hearing
	src   Source
}

func (o *over) ReadFrame(f *Frame) error {
	o.heard.next(f)
	if len(mixInto(f, []Source{o.src}, false)) == 0 {
		return io.EOF
	}
	return nil
}

// PlayOver plays src to the peer while it goes on to hear other, in the caller's goroutine, until src or ctx ends.
func (s *Session) PlayOver(ctx context.Context, other *Session, src Source) error {
	o := &over{heard: hear(other, overDelay, 0), src: src}
	defer o.heard.end()
	return s.Play(ctx, o)
}

// NoticeTone tells a party that the call is recorded: 1400 Hz for half a second, as Federal Standard 1037C describes it.
// It has to be heard every NoticePeriod.
func NoticeTone() Source { return Tone(1400, 500*time.Millisecond) }

// NoticePeriod is the time from one notice tone to the next.
const NoticePeriod = 15 * time.Second
