package media

import (
	"net/netip"
	"sync"
	"time"
)

// FaultClass is why there is no sound.
type FaultClass string

// The classes of faults.
const (
	FaultNothing    FaultClass = "nothing"    // nothing at all arrives
	FaultElsewhere  FaultClass = "elsewhere"  // packets come from another address than the one that is believed
	FaultPrivate    FaultClass = "private"    // the SDP names an address that leads nowhere from here
	FaultCodec      FaultClass = "codec"      // what comes is in a codec that was not agreed
	FaultEncryption FaultClass = "encryption" // what comes is encrypted, and we have no key for it
	FaultBlocked    FaultClass = "blocked"    // reports get through, sound does not
)

// Fault is a time without sound in one direction of a session.
type Fault struct {
	FromPeer bool // nothing is heard of the peer; else the peer hears nothing of us
	Class    FaultClass
	Began    time.Time
	Ended    time.Time      // zero: not yet
	Address  netip.AddrPort // where the sound should be, or where it comes from instead
	Repaired bool           // we found out where the sound comes from
}

const (
	faultAfter = 1900 * time.Millisecond // with the second between two looks: within 3 s
	faultSigns = 2 * time.Second         // how old a sign may be
	faultLimit = 16                      // of a session
	oddInRow   = 25                      // packets of a length that only encryption makes
)

// signs are what the inlet saw beside good sound. They are kept under its lock.
type signs struct {
	audio    time.Time // the latest good packet
	noise    bool      // it said that silence follows: RFC 3389
	unknown  time.Time // a payload that was not agreed
	stray    time.Time // a packet of a source that is not believed
	strayer  netip.AddrPort
	unopened time.Time // a packet that our key does not open
	odd      int       // packets in a row that look encrypted
	moved    bool      // the source was found where nobody said it is
}

// good takes note of a packet that is passed on.
func (g *signs) good(p *packet) {
	switch {
	case p.kind == kindNone:
		g.unknown = p.at
		return
	case p.kind == kindEvent:
		g.audio = p.at
		return
	}
	g.audio, g.noise = p.at, p.kind == kindNoise
	switch tag := (p.end - p.start) % 80; {
	case p.kind != kindPCMU && p.kind != kindPCMA || p.end-p.start < 80:
	case tag == 4 || tag == 10 || tag == 16:
		// G.711 comes in whole tens of milliseconds. The rest is the tag of RFC 3711 §4.2 or RFC 7714 §13.
		g.odd++
	default:
		g.odd = 0
	}
}

// bad takes note of a packet that is not passed on for where it comes from.
func (g *signs) bad(p *packet, plausible bool) {
	if p.kind == kindNone && plausible {
		g.unknown = p.at
		return
	}
	g.stray, g.strayer = p.at, p.from
}

// finder looks once a second whether there is sound.
type finder struct {
	mu      sync.Mutex
	since   time.Time // sound is due since then; zero: it is not due
	open    [2]*Fault // from the peer, to it
	faults  []*Fault
	found   uint64
	changed chan struct{}

	told uint64 // reports of the peer that were looked at
	sent uint64 // packets of ours then
}

// Trouble says that a fault began or ended: look at Faults.
func (s *Session) Trouble() <-chan struct{} { return s.finder.changed }

// Faults are those of the session so far, the oldest first.
func (s *Session) Faults() []Fault {
	f := &s.finder
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Fault, len(f.faults))
	for i, one := range f.faults {
		all[i] = *one
	}
	return all
}

// start says that sound is due from now on.
func (f *finder) start(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.since = now
}

func (f *finder) count() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.found
}

// look finds faults and their ends. due: the peer is to be heard.
func (s *Session) look(now time.Time, due bool) {
	t := s.terms.Load()
	f := &s.finder
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !due || t == nil:
		f.since = time.Time{}
		f.end(0, now, false)
		f.end(1, now, false)
		return
	case f.since.IsZero():
		f.since = now
	}
	s.in.mu.Lock()
	g, claimed, signalling, source := s.in.signs, s.in.claimed, s.in.signalling, s.in.source
	s.in.mu.Unlock()
	sending := s.reports.saidToSend()

	encrypted := g.odd >= oddInRow
	silent := now.Sub(later(f.since, g.audio)) >= faultAfter
	if g.noise && g.audio.After(f.since) {
		silent = false // RFC 3389 §4: until it speaks again, nothing is due
	}
	recent := func(at time.Time) bool { return !at.IsZero() && now.Sub(at) < faultSigns }
	switch {
	case encrypted:
		f.begin(0, Fault{FromPeer: true, Class: FaultEncryption, Address: source}, now)
	case !silent:
		f.end(0, now, g.moved)
	case recent(g.unopened):
		f.begin(0, Fault{FromPeer: true, Class: FaultEncryption, Address: source}, now)
	case recent(g.unknown):
		f.begin(0, Fault{FromPeer: true, Class: FaultCodec, Address: source}, now)
	case recent(g.stray):
		f.begin(0, Fault{FromPeer: true, Class: FaultElsewhere, Address: g.strayer}, now)
	case sending.After(later(f.since, g.audio).Add(time.Second)):
		f.begin(0, Fault{FromPeer: true, Class: FaultBlocked, Address: claimed}, now)
	case !source.IsValid() && unreachable(claimed.Addr(), signalling):
		f.begin(0, Fault{FromPeer: true, Class: FaultPrivate, Address: claimed}, now)
	default:
		f.begin(0, Fault{FromPeer: true, Class: FaultNothing, Address: claimed}, now)
	}
	s.lookBack(now, t, claimed, signalling)
}

// leastSent is how much must have been sent between two reports to judge that nothing of it arrives.
const leastSent = 50

// lookBack judges what the peer hears of us. Only the peer knows, and says it in reports.
func (s *Session) lookBack(now time.Time, t *terms, claimed netip.AddrPort, signalling netip.Addr) {
	f := &s.finder
	heard, _ := s.reports.heard()
	s.out.mu.Lock()
	sent, dest := s.out.packets, s.out.dest
	s.out.mu.Unlock()
	if !t.sends() || heard.count == f.told {
		return
	}
	enough := sent-f.sent >= leastSent
	f.told, f.sent = heard.count, sent
	switch {
	case enough && heard.loss >= 98 && dest == claimed && unreachable(dest.Addr(), signalling):
		f.begin(1, Fault{Class: FaultPrivate, Address: dest}, now)
	case enough && heard.loss >= 98:
		f.begin(1, Fault{Class: FaultBlocked, Address: dest}, now)
	case heard.loss < 98:
		f.end(1, now, false)
	}
}

// begin notes a fault. The class of one that goes on may become clearer.
func (f *finder) begin(way int, found Fault, now time.Time) {
	if open := f.open[way]; open != nil {
		if open.Class != found.Class && open.Class == FaultNothing {
			open.Class, open.Address = found.Class, found.Address
			f.tell()
		}
		return
	}
	found.Began = now
	f.found++
	if len(f.faults) == faultLimit {
		f.faults = append(f.faults[:1], f.faults[2:]...) // the first and the latest say most
	}
	f.open[way] = &found
	f.faults = append(f.faults, &found)
	f.tell()
}

func (f *finder) end(way int, now time.Time, repaired bool) {
	if open := f.open[way]; open != nil {
		open.Ended, open.Repaired = now, repaired
		f.open[way] = nil
		f.tell()
	}
}

func (f *finder) tell() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// shared are the addresses between carriers and their customers: RFC 6598.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// unreachable reports whether an SDP names an address of a private network though the peer is not in it with us.
func unreachable(claimed, signalling netip.Addr) bool {
	private := func(a netip.Addr) bool {
		return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || shared.Contains(a)
	}
	return claimed.IsValid() && signalling.IsValid() && claimed != signalling && private(claimed) && !private(signalling)
}
