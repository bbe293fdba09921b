package media

import (
	"context"
	"sync"
	"time"
)

const (
	tapSlots   = 256 // packets that may wait while a disk is slow: 5 s
	tapPayload = 480 // 60 ms
)

// tap is a queue from the read loop to a goroutine that listens.
type tap struct {
	mu    sync.Mutex
	slots [tapSlots]heard
	first int
	count int
}

// heard is the sound of one packet.
type heard struct {
	at     time.Time
	stream uint32
	ts     uint32
	kind   kind
	n      int
	data   [tapPayload]byte
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
	h.n = copy(h.data[:], p.payload())
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

const (
	lineSamples = 2 * narrowRate // the longest the timeline looks ahead
	lineFrames  = lineSamples / narrowFrame
	misfitLimit = 3 // packets in a row that fit nowhere: the peer's clock was set anew
	concealed   = 2 // frames in a row that are guessed rather than silent
)

// timeline lays the packets of G.711 out where their timestamps say, so that loss, disorder and
// silence never shorten what is heard.
type timeline struct {
	samples  [lineSamples]int16
	filled   [lineFrames]int
	emitted  int64 // samples handed out
	anchored bool
	stream   uint32
	anchorTS uint32
	anchor   int64 // the position of anchorTS
	misfits  int
	last     [narrowFrame]int16 // the last frame that was heard, for guessing
	guesses  int
}

// place puts h on the line; now is the position at which it arrived.
func (l *timeline) place(h *heard, now int64) {
	if !l.anchored || h.stream != l.stream {
		l.setAnchor(h, now)
	}
	pos := l.anchor + int64(int32(h.ts-l.anchorTS))
	if pos+int64(h.n) <= l.emitted || pos > now+lineSamples/4 || pos+int64(h.n) > l.emitted+lineSamples {
		if l.misfits++; l.misfits < misfitLimit {
			return
		}
		l.setAnchor(h, now)
		pos = l.anchor
		if pos+int64(h.n) > l.emitted+lineSamples {
			return
		}
	}
	l.misfits = 0
	var pcm [tapPayload]int16
	n := h.kind.decode(pcm[:], h.data[:h.n])
	for i, v := range pcm[:n] {
		if at := pos + int64(i); at >= l.emitted {
			l.samples[at%lineSamples] = v
			l.filled[at/narrowFrame%lineFrames]++
		}
	}
	if pos > l.anchor {
		l.anchor, l.anchorTS = pos, h.ts // keeps the difference small for ever
	}
}

// setAnchor begins anew at a whole frame, so that one packet is one frame.
func (l *timeline) setAnchor(h *heard, now int64) {
	pos := max(now, l.emitted)
	l.anchor = (pos + narrowFrame - 1) / narrowFrame * narrowFrame
	l.anchorTS, l.stream, l.anchored, l.misfits = h.ts, h.stream, true, 0
}

// next takes the next frame off the line. A short gap is filled with a fading repetition
// of what was heard before, a longer one with silence.
func (l *timeline) next(f *[narrowFrame]int16) {
	slot := l.emitted / narrowFrame % lineFrames
	at := l.emitted % lineSamples
	got := l.filled[slot]
	copy(f[:], l.samples[at:at+narrowFrame])
	clear(l.samples[at : at+narrowFrame])
	l.filled[slot] = 0
	l.emitted += narrowFrame
	switch {
	case got > 0:
		l.last, l.guesses = *f, 0
	case l.guesses < concealed:
		l.guesses++
		for i := range f {
			fade := concealed*narrowFrame - (l.guesses-1)*narrowFrame - i
			f[i] = int16(int(l.last[i]) * fade / (concealed * narrowFrame))
		}
	}
}

// listen hands all that the peer says to to, frame by frame in real time, at most delay
// behind. It runs in the caller's goroutine until ctx or the session ends, or to fails.
func (s *Session) listen(ctx context.Context, to Sink, delay time.Duration) error {
	start := time.Now()
	t := &tap{}
	s.addTap(t)
	defer s.removeTap(t)
	pace := newPacer(frameTime)
	defer pace.stop()
	var (
		line   timeline
		narrow [narrowFrame]int16
		twice  doubler
		frame  Frame
	)
	for {
		ending := pace.wait(ctx, s.done)
		t.drain(func(h *heard) { line.place(h, ticksIn(h.at.Sub(start))) })
		until := ticksIn(time.Since(start))
		if ending == nil {
			until -= ticksIn(delay)
		}
		for line.emitted+narrowFrame <= until {
			line.next(&narrow)
			twice.double(frame[:], narrow[:])
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
