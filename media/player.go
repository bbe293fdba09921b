package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// player is a right to speak; see outlet.
type player struct{ _ byte }

// pacer beats time without drift: each beat is reckoned from the first.
type pacer struct {
	timer *time.Timer
	next  time.Time
	step  time.Duration
}

// maxLag is how far a pacer may fall behind, on a machine that stood still, before it
// gives up the lost beats instead of sending them all at once.
const maxLag = 200 * time.Millisecond

func newPacer(step time.Duration) *pacer {
	return &pacer{timer: time.NewTimer(step), next: time.Now().Add(step), step: step}
}

func (p *pacer) stop() { p.timer.Stop() }

// wait returns at the next beat, or earlier with an error.
func (p *pacer) wait(ctx context.Context, done <-chan struct{}) error {
	return p.waitStep(ctx, done, p.step)
}

// restart makes the next beat come one step from now.
func (p *pacer) restart() {
	p.next = time.Now().Add(p.step)
	p.timer.Reset(p.step)
}

// waitFor is wait for somebody who has no context.
func (p *pacer) waitFor(done <-chan struct{}) error {
	return p.waitStep(context.Background(), done, p.step)
}

func (p *pacer) waitStep(ctx context.Context, done <-chan struct{}, following time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		return ErrClosed
	case <-p.timer.C:
	}
	now := time.Now()
	p.next = p.next.Add(following)
	if now.Sub(p.next) > maxLag {
		p.next = now
	}
	p.timer.Reset(p.next.Sub(now))
	return nil
}

// Play sends src to the peer in real time, in the caller's goroutine. It ends with src
// or with ctx. Meanwhile nothing of a bridge is sent; of two players the newer is heard.
func (s *Session) Play(ctx context.Context, src Source) error {
	p := &player{}
	s.out.enter(p)
	s.userSpace()
	defer s.out.leave(p)
	pace := newPacer(0)
	defer pace.stop()
	var (
		frame   Frame
		pending []int16 // read but not sent
		ended   bool
	)
	for {
		ptime := defaultPtime
		if t := s.terms.Load(); t != nil {
			ptime = t.ptime
		}
		want := ptime * SampleRate / 1000
		for len(pending) < want && !ended {
			switch err := src.ReadFrame(&frame); {
			case err == nil:
				pending = append(pending, frame[:]...)
			case errors.Is(err, io.EOF):
				ended = true
			default:
				return fmt.Errorf("play: %w", err)
			}
		}
		if err := pace.waitStep(ctx, s.done, time.Duration(ptime)*time.Millisecond); err != nil {
			return err
		}
		if len(pending) == 0 {
			return nil // now that the last packet has had its time
		}
		for len(pending) < want {
			pending = append(pending, 0)
		}
		s.out.speak(p, pending[:want])
		pending = pending[:copy(pending, pending[want:])]
	}
}
