package mediatest

import (
	"context"
	"fmt"
	"math"
	"sync"

	"pbx/media"
)

const (
	rate   = media.SampleRate
	lowest = 100.0  // Hz, of what is looked for
	narrow = 3800.0 // where the telephones of old end
	top    = 7600.0
	coarse = 20.0
	// pure is the share of the whole energy that a tone must have to be one.
	pure = 0.6
	// hush is the level below which nothing is heard, -50 dBFS.
	hush = -50.0
)

// Say is an endless tone of freq Hz.
func Say(freq float64) media.Source { return media.Tone(freq, 0) }

// Hear is the frequency of the tone in samples to the nearest Hz, and 0 when there is
// silence or no single tone.
func Hear(samples []int16) float64 {
	if Level(samples) < hush {
		return 0
	}
	if found := hearIn(samples, lowest, narrow); found > 0 {
		return found
	}
	return hearIn(samples, narrow, top)
}

// hearIn looks for a tone from from to to Hz: on a grid first, then in the neighbourhood of its best point. The
// grid is finer than the main lobe of 50 ms.
func hearIn(samples []int16, from, to float64) float64 {
	part := samples[:min(len(samples), rate/20)]
	best, power := 0.0, 0.0
	for f := from; f <= to; f += coarse {
		if p := goertzel(part, f); p > power {
			best, power = f, p
		}
	}
	whole := samples[:min(len(samples), rate/4)]
	found, power := 0.0, 0.0
	for f := best - coarse; f <= best+coarse; f++ {
		if p := goertzel(whole, f); p > power {
			found, power = f, p
		}
	}
	if power < pure*energy(whole) {
		return 0
	}
	return found
}

// Hears reports whether samples hold a tone of freq Hz, alone or with others.
func Hears(samples []int16, freq float64) bool {
	return Level(samples) >= hush && goertzel(samples, freq) > pure/3*energy(samples)
}

// Level is the loudness of samples in dBFS, -Inf for silence.
func Level(samples []int16) float64 {
	if len(samples) == 0 {
		return math.Inf(-1)
	}
	return 10 * math.Log10(energy(samples)/float64(len(samples))/(math.MaxInt16*math.MaxInt16))
}

func energy(samples []int16) float64 {
	sum := 0.0
	for _, v := range samples {
		sum += float64(v) * float64(v)
	}
	return sum
}

// goertzel is the energy of samples at freq, so that a pure tone has all of it. The samples are the caller's own copy; that
// the race detector looks at each of them a hundred times would take most of the time of the tests that listen.
//
//go:norace
func goertzel(samples []int16, freq float64) float64 {
	c := 2 * math.Cos(2*math.Pi*freq/rate)
	var a, b float64
	for _, v := range samples {
		a, b = float64(v)+c*a-b, a
	}
	return (a*a + b*b - c*a*b) * 2 / float64(len(samples))
}

// Ear is a media.Sink that remembers the last quarter of a second it heard.
type Ear struct {
	mu    sync.Mutex
	last  []int16
	total int64
	next  chan struct{} // closed at the next frame
}

const memory = rate / 4

// NewEar makes an ear; hand it to a session's Listen.
func NewEar() *Ear { return &Ear{next: make(chan struct{})} }

// WriteFrame hears f.
func (e *Ear) WriteFrame(f *media.Frame) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last = append(e.last, f[:]...)
	if over := len(e.last) - memory; over > 0 {
		e.last = append(e.last[:0], e.last[over:]...)
	}
	e.total += int64(len(f))
	close(e.next)
	e.next = make(chan struct{})
	return nil
}

// Samples is what was heard last, at most a quarter of a second.
func (e *Ear) Samples() []int16 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]int16(nil), e.last...)
}

// Freq is the tone that is heard now, 0 for none.
func (e *Ear) Freq() float64 { return Hear(e.Samples()) }

// Level is how loud it is now, in dBFS.
func (e *Ear) Level() float64 { return Level(e.Samples()) }

// Wait returns once the tone of freq Hz is heard, within 5 Hz.
func (e *Ear) Wait(ctx context.Context, freq float64) error {
	return e.WaitFor(ctx, fmt.Sprintf("%.0f Hz", freq), func(s []int16) bool {
		return math.Abs(Hear(s)-freq) <= 5
	})
}

// WaitSound returns once anything but silence and single tones is heard: speech or music.
func (e *Ear) WaitSound(ctx context.Context) error {
	return e.WaitFor(ctx, "speech or music", func(s []int16) bool {
		return Level(s) > hush && Hear(s) == 0
	})
}

// WaitSilence returns once nothing is heard.
func (e *Ear) WaitSilence(ctx context.Context) error {
	return e.WaitFor(ctx, "silence", func(s []int16) bool { return Level(s) <= hush })
}

// WaitFor returns once the last quarter of a second is what is wanted.
func (e *Ear) WaitFor(ctx context.Context, what string, is func(samples []int16) bool) error {
	for {
		e.mu.Lock()
		next, enough := e.next, len(e.last) == memory
		e.mu.Unlock()
		if enough && is(e.Samples()) {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return fmt.Errorf("waiting to hear %s, heard %.0f Hz at %.0f dBFS: %w", what, e.Freq(), e.Level(), ctx.Err())
		}
	}
}
