package media

import (
	"context"
	"sync"
	"time"
)

const tapSlots = 256 // packets that may wait while a disk is slow: 5 s

// tap is a queue from the read loop to a goroutine that listens.
type tap struct {
	mu    sync.Mutex
	slots [tapSlots]heard
	first int
	count int
}

func (t *tap) push(p *packet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == tapSlots {
		t.first, t.count = (t.first+1)%tapSlots, t.count-1 // the oldest sound is the least missed
	}
	h := &t.slots[(t.first+t.count)%tapSlots]
	t.count++
	h.at, h.stream, h.ts, h.kind = p.at, p.stream, p.ts, p.kind
	h.data = append(h.data[:0], p.payload()...)
}

// drain hands each waiting packet to f.
func (t *tap) drain(f func(h *heard)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; t.count > 0; t.count-- {
		f(&t.slots[t.first])
		t.first = (t.first + 1) % tapSlots
	}
}

func (s *Session) addTap(t *tap) {
	s.tapsMu.Lock()
	defer s.tapsMu.Unlock()
	var list []*tap
	if old := s.taps.Load(); old != nil {
		list = append(list, *old...)
	}
	list = append(list, t)
	s.taps.Store(&list)
	s.userSpace()
}

func (s *Session) removeTap(t *tap) {
	s.tapsMu.Lock()
	defer s.tapsMu.Unlock()
	var list []*tap
	for _, other := range *s.taps.Load() {
		if other != t {
			list = append(list, other)
		}
	}
	if list == nil {
		s.taps.Store(nil)
		return
	}
	s.taps.Store(&list)
}

// listen hands all that the peer says to to, frame by frame in real time, at most delay
// behind unless the network needs more. It runs in the caller's goroutine until ctx or the session ends, or to fails.
func (s *Session) listen(ctx context.Context, to Sink, delay time.Duration) error {
	start := time.Now()
	t := &tap{}
	s.addTap(t)
	defer s.removeTap(t)
	pace := newPacer(frameTime)
	defer pace.stop()
	behind := samplesIn(delay)
	from := receiver{delay: behind, guard: frameSamples}
	var frame Frame
	for {
		ending := pace.wait(ctx, s.done)
		t.drain(func(h *heard) { from.place(h, samplesIn(h.at.Sub(start))-behind) })
		until := samplesIn(time.Since(start))
		if ending == nil {
			until -= behind
		}
		for from.emitted+frameSamples <= until {
			from.next(&frame)
			if err := to.WriteFrame(&frame); err != nil {
				return err
			}
		}
		if ending != nil {
			return ending
		}
	}
}

const (
	earDelay    = 60 * time.Millisecond
	recordDelay = 200 * time.Millisecond // nobody waits for a recording, so latecomers may
)

// Listen hands all that the peer says to to, frame by frame in real time, in the caller's
// goroutine. It ends with ctx, with the session, or when to fails.
func (s *Session) Listen(ctx context.Context, to Sink) error {
	return s.listen(ctx, to, earDelay)
}
