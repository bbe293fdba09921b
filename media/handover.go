package media

import (
	"net/netip"
	"sync"
	"time"
)

// A call is relayed by the kernel while nothing of it needs us: two plain sessions that are joined, in one codec and one packet
// length, both sources proven and both streams running. First the kernel only watches, so that it is known to see the packets.
// Whoever needs packets, and every packet that the kernel leaves to us, takes the call back; counters, numbers and timestamps go
// on where the other side stopped.

// phase is where a session is on that way.
type phase uint8

const (
	ours phase = iota
	watched
	handed
)

const (
	settled   = 64 // packets that the relay must have run before; those before them are too late for anything
	watchTime = 8 * time.Second
	waitFirst = 2 * time.Second // after the kernel left a packet to us; doubled each time
	waitMost  = time.Minute
	longTerm  = time.Minute // in the kernel, after which the wait is short again
)

// handover is the kernel's part of a session. It is guarded by kernelSide.mu of the engine.
type handover struct {
	phase  phase
	port   KernelPort
	peer   *Session
	link   *link // what the session hears
	stream KernelStream
	since  time.Time // of the phase
	next   time.Time // not before
	wait   time.Duration

	received uint64 // as folded in last
	ticks    uint32 // of one packet
}

// kernelSide is what an engine knows of its kernel.
type kernelSide struct {
	mu     sync.Mutex
	handed int // sessions
}

// shift is called once a second: it hands a call on by one step, or reads how the kernel fares.
func (e *Engine) shift(s *Session, now time.Time) {
	if e.cfg.Kernel == nil {
		return
	}
	e.kernel.mu.Lock()
	defer e.kernel.mu.Unlock()
	h := &s.fast
	switch {
	case s.isDone():
	case h.phase == handed:
		s.fold(h.port.State(), false)
		h.peer.fold(h.peer.fast.port.State(), false) // what we sent is what came from there
		if now.Sub(h.since) > longTerm {
			h.wait = 0
		}
	case h.phase == ours:
		s.watchBoth(now)
	case s.leads(h.peer):
		s.handBoth(now)
	}
}

// leads picks one of two.
func (s *Session) leads(other *Session) bool { return s.local.Compare(other.local) < 0 }

// watchBoth begins with a pair that may be handed over.
func (s *Session) watchBoth(now time.Time) {
	l := s.sink.Load()
	if l == nil || l.to == s || l.to.engine != s.engine || l.to.isDone() || !s.leads(l.to) || now.Before(s.fast.next) || now.Before(l.to.fast.next) {
		return
	}
	back := l.to.sink.Load()
	if back == nil || back.to != s || l.to.fast.phase != ours {
		return
	}
	pair := [2]*Session{s, l.to}
	for i, one := range []*link{l, back} {
		x := pair[i]
		stream, ok := x.relayable(one)
		if !ok {
			return
		}
		if x.fast.port == nil {
			x.fast.port = x.engine.cfg.Kernel.Port(x.local)
		}
		if x.fast.port == nil {
			x.fast.next = now.Add(waitMost)
			return
		}
		x.fast.stream, x.fast.link, x.fast.peer = stream, one, one.to
	}
	for _, x := range pair {
		x.fast.port.Watch(x.fast.stream)
		x.fast.phase, x.fast.since = watched, now
	}
}

// handBoth hands a pair over when the kernel has seen both streams.
func (s *Session) handBoth(now time.Time) {
	peer := s.fast.peer
	for _, x := range []*Session{s, peer} {
		if stream, ok := x.relayable(x.fast.link); !ok || stream != x.fast.stream {
			s.back(now, 0)
			return
		}
	}
	if !s.fast.port.Watched() || !peer.fast.port.Watched() {
		if now.Sub(s.fast.since) > watchTime {
			s.back(now, waitMost) // its packets come another way
		}
		return
	}
	if !s.give(now) || !peer.give(now) {
		s.back(now, 0)
	}
}

// relayable reports whether what l carries needs nothing but to be sent on, and what it looks like.
func (s *Session) relayable(l *link) (KernelStream, bool) {
	peer := l.to
	t, other := s.terms.Load(), peer.terms.Load()
	switch {
	case t == nil || other == nil, t.held || other.held, t.direction != both || other.direction != both,
		t.secured || other.secured, s.gate.Load() != nil, s.taps.Load() != nil, s.sink.Load() != l, s.listensForTones():
		return KernelStream{}, false
	}
	peer.in.mu.Lock()
	source, aimed := peer.in.source, peer.in.aimed
	peer.in.mu.Unlock()
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	peer.out.mu.Lock()
	defer peer.out.mu.Unlock()
	in, o := &s.in, peer.out
	switch {
	case !in.started, !in.timed, !in.aimed, in.rate != clockRate, !in.shape.plain, in.ssrc == s.ours,
		t.recv[in.shape.number] != other.audio, t.other != other.other, l.turner != nil,
		!aimed || source != o.dest, !linkable(in.source, s.local), !linkable(source, peer.local),
		len(o.players) > 0, !o.ready(), o.seal != nil,
		o.owner != l, l.stream != in.stream, l.packing, in.highest-l.base < settled:
		return KernelStream{}, false
	}
	return KernelStream{Source: in.source, SSRC: in.ssrc, Payload: in.shape.number, Size: in.shape.size}, true
}

// linkable reports whether the address is one that the kernel can be given: whole, and of the family of ours.
func linkable(a, local netip.AddrPort) bool {
	return a.IsValid() && a.Addr().Zone() == "" && a.Addr().Is4() == local.Addr().Unmap().Is4()
}

// give leaves one direction to the kernel.
func (s *Session) give(now time.Time) bool {
	h := &s.fast
	peer := h.peer
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	peer.out.mu.Lock()
	defer peer.out.mu.Unlock()
	in, o := &s.in, peer.out
	if o.owner != h.link || h.link.stream != in.stream || len(o.players) > 0 {
		return false
	}
	// The packet after the latest one follows it by so much, as the relay reckoned.
	h.ticks = o.ts - (in.lastTS + h.link.tsOff)
	if h.ticks == 0 || h.ticks > clockRate/10 {
		return false
	}
	h.received = in.stats.received
	h.port.Relay(peer.fast.port, KernelTarget{
		Remote: o.dest, SSRC: o.ssrc, Payload: o.terms.number, Seq: h.link.seqOff, TS: h.link.tsOff,
	}, KernelState{
		Highest: in.highest, Cycles: in.cycles, Seen: in.seen,
		Received: in.stats.received, Octets: in.stats.octets, Duplicates: in.stats.duplicates, Late: in.stats.late,
		Clock: in.clock, Transit: in.transit, Jitter: in.jitter, LastTS: in.lastTS, Last: in.heard,
	})
	in.kernel = true
	h.phase, h.since = handed, now
	s.engine.kernel.handed++
	return true
}

// fold takes over what the kernel counted.
func (s *Session) fold(st KernelState, last bool) {
	h := &s.fast
	n := st.Received - h.received
	h.received = st.Received
	in := &s.in
	in.mu.Lock()
	in.highest, in.cycles, in.seen = st.Highest, st.Cycles, st.Seen
	in.got += uint32(n)
	in.stats.received, in.stats.octets, in.stats.duplicates, in.stats.late = st.Received, st.Octets, st.Duplicates, st.Late
	in.transit, in.jitter, in.lastTS, in.lastAt = st.Transit, st.Jitter, st.LastTS, st.Last
	in.heard = later(in.heard, st.Last)
	if n > 0 {
		in.signs.audio, in.signs.noise = later(in.signs.audio, st.Last), false
	}
	if last {
		in.kernel = false
	}
	in.mu.Unlock()

	o, l := h.peer.out, h.link
	o.mu.Lock()
	defer o.mu.Unlock()
	o.packets += n
	o.octets += n * uint64(h.stream.Size)
	if n == 0 {
		return
	}
	if next := st.Highest + l.seqOff + 1; int16(next-o.seq) > 0 {
		o.seq = next
	}
	o.advance(st.LastTS + l.tsOff + h.ticks)
	if int16(st.Highest-l.base) > 2*maxMisorder {
		l.base = st.Highest - maxMisorder
	}
}

// back takes a pair from the kernel. It is not handed over again before wait.
func (s *Session) back(now time.Time, wait time.Duration) {
	for _, x := range []*Session{s, s.fast.peer} {
		h := &x.fast
		st := h.port.Stop()
		if h.phase == handed {
			x.fold(st, true)
			s.engine.kernel.handed--
		}
		h.phase, h.next, h.wait = ours, now.Add(max(wait, sweepTime)), wait
	}
	for _, x := range []*Session{s, s.fast.peer} {
		x.fast.peer, x.fast.link = nil, nil
	}
}

// userSpace takes the call back, for somebody needs its packets. What made it necessary is done before, so that the call is not
// handed over again meanwhile.
func (s *Session) userSpace() {
	if s.engine.cfg.Kernel == nil {
		return
	}
	s.engine.kernel.mu.Lock()
	defer s.engine.kernel.mu.Unlock()
	if s.fast.phase != ours {
		s.back(time.Now(), 0)
	}
}

// leftToUs takes the call back for a packet that the kernel did not know what to do with.
func (s *Session) leftToUs() {
	s.engine.kernel.mu.Lock()
	defer s.engine.kernel.mu.Unlock()
	if s.fast.phase == handed {
		s.back(time.Now(), min(max(2*s.fast.wait, waitFirst), waitMost))
	}
}

// settle brings the counters up to date.
func (s *Session) settle() {
	if s.engine.cfg.Kernel == nil {
		return
	}
	s.engine.kernel.mu.Lock()
	defer s.engine.kernel.mu.Unlock()
	if s.fast.phase == handed {
		s.fold(s.fast.port.State(), false)
		s.fast.peer.fold(s.fast.peer.fast.port.State(), false) // what we sent is what came from there
	}
}

// leaveKernel ends the session's place there.
func (s *Session) leaveKernel() {
	s.userSpace()
	if s.engine.cfg.Kernel == nil {
		return
	}
	s.engine.kernel.mu.Lock()
	defer s.engine.kernel.mu.Unlock()
	if s.fast.port != nil {
		s.fast.port.Close()
		s.fast.port = nil
	}
}

// shape is how the latest packet with sound looked.
type shape struct {
	number uint8
	plain  bool // no contributing sources, no extension, no padding
	size   int  // of its payload
}
