package media

import (
	"encoding/binary"
	"time"
)

const (
	turnDelay = 40 * time.Millisecond // how long sound waits for its turn, when the network is good
	turnIdle  = 50                    // frames of nothing after which a turner waits for a packet instead of the clock
)

// turner turns what one session hears into the codec of the other: out of a receive buffer, at the pace of our clock.
// Its goroutine belongs to the session that hears.
type turner struct {
	tap     tap
	poke    chan struct{} // something came
	pending []int16       // not enough for a packet yet

	keyTS   uint32 // of the press that is passed on, at its sender
	ourTS   uint32 // and at ours
	pressed bool
}

// turn gives p to the turner of l. It belongs to the read loop.
func (s *Session) turn(l *link, p *packet) {
	if l.turner == nil {
		if s.isDone() {
			return
		}
		t := &turner{poke: make(chan struct{}, 1)}
		l.to.out.mu.Lock()
		l.turner = t
		l.to.out.mu.Unlock()
		s.wg.Go(func() { t.run(l) })
	}
	l.turner.tap.push(p)
	select {
	case l.turner.poke <- struct{}{}:
	default:
	}
}

// run turns until the sessions are parted or the first is closed.
func (t *turner) run(l *link) {
	start := time.Now()
	from := &receiver{delay: samplesIn(turnDelay), guard: frameSamples}
	pace := newPacer(frameTime)
	defer pace.stop()
	var frame Frame
	for idle := 0; !l.over.Load(); {
		if idle > turnIdle {
			if !t.rest(l) {
				return
			}
			idle, start = 0, time.Now()
			*from = receiver{delay: from.delay, guard: from.guard}
			pace.restart()
		}
		if err := pace.waitFor(l.from.done); err != nil {
			return
		}
		t.tap.drain(func(h *heard) { from.place(h, samplesIn(h.at.Sub(start))) })
		for until := samplesIn(time.Since(start)); from.emitted+frameSamples <= until; {
			if from.next(&frame) {
				idle = 0
				l.to.out.turned(l, &frame)
			} else {
				idle++
				t.pending = t.pending[:0]
			}
		}
	}
}

// rest waits until there is something to do, and reports whether there is.
func (t *turner) rest(l *link) bool {
	look := time.NewTicker(sweepTime)
	defer look.Stop()
	for {
		select {
		case <-t.poke:
			return true
		case <-l.from.done:
			return false
		case <-look.C:
			if l.over.Load() {
				return false
			}
		}
	}
}

// turned sends a frame that came by way of l's turner.
func (o *outlet) turned(l *link, f *Frame) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := l.turner
	if l.over.Load() || len(o.players) > 0 || !o.ready() || !o.terms.audio.known() {
		t.pending = t.pending[:0]
		return
	}
	t.pending = append(t.pending, f[:]...)
	want := o.terms.ptime * SampleRate / 1000
	for len(t.pending) >= want {
		marker := o.owner != t
		now := time.Now()
		if marker || o.behind(now) {
			marker = true
			o.begin(t, now)
		}
		o.say(marker, t.pending[:want])
		t.pending = t.pending[:copy(t.pending, t.pending[want:])]
	}
}

// behind reports whether there was a pause since the last sound: RFC 3551 §4.1 wants a marker after it.
func (o *outlet) behind(now time.Time) bool {
	clock := o.first + uint32(ticksIn(now.Sub(o.start), o.clock))
	return int32(clock-o.ts) > int32(o.clock/5)
}

// key passes on a packet of a press into a stream that we number ourselves.
func (t *turner) key(o *outlet, p *packet) {
	first := !t.pressed || t.keyTS != p.ts
	if first {
		o.begin(t, p.at)
		t.pressed, t.keyTS, t.ourTS = true, p.ts, o.ts
	}
	rescale(p.payload(), p.kind, o.terms.keys)
	h := header{marker: first, number: o.terms.event, seq: o.seq, ts: t.ourTS, ssrc: o.ssrc}
	o.seq++
	o.send(&h, p.buf[p.start-headerSize:p.end])
}

// rescale brings the duration of a press from one clock to the other: RFC 4733 §2.3.5.
func rescale(payload []byte, from, to kind) {
	if from == to || len(payload) < 4 {
		return
	}
	duration := int(binary.BigEndian.Uint16(payload[2:])) * to.clock() / from.clock()
	binary.BigEndian.PutUint16(payload[2:], uint16(min(duration, 0xffff)))
}

// ticks is how far the clock of its stream goes in a packet of sound. Of a codec that we only pass on it is what was
// agreed.
func (p *packet) ticks(ptime int) uint32 {
	switch {
	case p.kind.even():
		return uint32(p.end - p.start)
	case p.kind == kindOpus:
		return opusTicks(p.payload())
	}
	return uint32(ptime * p.kind.clock() / 1000)
}

// opusTicks is the length of a packet of Opus by its first octets: RFC 6716 §3.1.
func opusTicks(payload []byte) uint32 {
	if len(payload) == 0 {
		return 0
	}
	var frame uint32
	switch config := payload[0] >> 3; {
	case config < 12: // SILK
		frame = []uint32{480, 960, 1920, 2880}[config%4]
	case config < 16: // hybrid
		frame = []uint32{480, 960}[config%2]
	default: // CELT
		frame = []uint32{120, 240, 480, 960}[config%4]
	}
	switch payload[0] & 3 {
	case 0:
		return frame
	case 1, 2:
		return 2 * frame
	}
	if len(payload) < 2 {
		return frame
	}
	return min(frame*uint32(payload[1]&0x3f), 5760)
}
