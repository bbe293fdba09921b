package media

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
)

// Session is one RTP peer. Its read loop runs from Open to Close and is never paused;
// what happens with the sound is decided by atomic stores. All methods are safe for
// concurrent use. It offers, answers and accepts SDP.
type Session struct {
	engine *Engine
	log    *slog.Logger
	rtp    conn
	rtcp   conn
	local  netip.AddrPort // where we listen
	public netip.AddrPort // what we tell the peer
	id     uint64         // of our SDP

	neg        sync.Mutex // offer and answer
	version    uint64
	plain      []byte     // our last SDP with version 0
	said       *statement // the same before it was written
	offered    *statement
	claimed    netip.AddrPort // the last address of the peer's SDP
	wish       atomic.Pointer[wish]
	policy     atomic.Pointer[[]format] // what is offered to this peer, in order
	numbers    numbering                // of payloads
	considered atomic.Pointer[wish]     // what the peer offers, before it is answered
	terms      atomic.Pointer[terms]
	gate       atomic.Pointer[gate] // nil: packets are plain

	security Security // this and what follows is guarded by neg
	keys     map[suite]*sealer
	sealed   *sealer // the one in force
	changed  chan struct{}

	fast    handover
	in      inlet
	out     *outlet
	reports reporter
	gauge   gauge
	finder  finder
	sink    atomic.Pointer[link]
	taps    atomic.Pointer[[]*tap]
	tapsMu  sync.Mutex
	finger  finger
	inband  inband
	hand    packet // the one that the read loop deals with
	ours    uint32 // our SSRC, for the read loop
	renamed bool
	digits  chan rune

	watch  watch
	done   chan struct{}
	closer sync.Once
	wg     sync.WaitGroup
}

// watch tells when a peer fell silent.
type watch struct {
	mu          sync.Mutex
	established bool
	silent      chan struct{}
	over        bool // silent is closed
}

const digitsLimit = 64

func newSession(e *Engine, p pair) *Session {
	s := &Session{
		engine: e, log: e.cfg.Log.With("rtp", p.local.String()),
		rtp: p.rtp, rtcp: p.rtcp, local: p.local, public: p.local,
		// RFC 8866 §5.2 allows 64 bits; some phones count with 31.
		id: uint64(rand.Uint32() >> 1), version: uint64(rand.Uint32() >> 2),
		changed: make(chan struct{}, 1), digits: make(chan rune, digitsLimit),
		numbers: make(numbering), out: newOutlet(p.rtp), done: make(chan struct{}),
	}
	s.ours = s.out.ssrc
	s.watch.silent = make(chan struct{})
	if a := e.cfg.Advertise; a.IsValid() && (a.Is4() == p.local.Addr().Is4() || p.local.Addr().IsUnspecified()) {
		s.public = netip.AddrPortFrom(a, p.local.Port())
	}
	s.reports.init(s)
	s.gauge.init(time.Now())
	s.finder.changed = make(chan struct{}, 1)
	return s
}

func (s *Session) start() {
	s.read(s.rtp, s.takeRTP)
	s.read(s.rtcp, s.takeRTCP)
}

// read has each packet of c handed to take, one at a time, until c is closed: by the engine's poller, or where there is none
// by a goroutine.
func (s *Session) read(c conn, take func(b []byte, from netip.AddrPort)) {
	if polled, ok := c.(*socket); ok {
		polled.watch(take)
		return
	}
	s.wg.Go(func() { s.loop(c, take) })
}

// Close ends the session, says goodbye to the peer and waits for the read loops. Play,
// Listen and Record return.
func (s *Session) Close() {
	s.closer.Do(func() {
		close(s.done)
		s.leaveKernel()
		s.reports.bye()
		s.rtp.Close()
		s.rtcp.Close()
		s.wg.Wait()
		s.engine.forget(s)
	})
}

// Local is where the session listens for RTP.
func (s *Session) Local() netip.AddrPort { return s.local }

// Expect tells where the peer's signalling comes from. Sound from that host is believed
// before sound from others, when the address in its SDP leads nowhere.
func (s *Session) Expect(signalling netip.Addr) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.in.signalling = signalling.Unmap()
}

// Changed says that something was negotiated: look at Held and Codec.
func (s *Session) Changed() <-chan struct{} { return s.changed }

// Held reports whether the peer put us on hold.
func (s *Session) Held() bool {
	t := s.terms.Load()
	return t != nil && t.held
}

// Codec is the name of the codec, "PCMU", "G722" or "opus", and "" before negotiation.
func (s *Session) Codec() string {
	t := s.terms.Load()
	if t == nil {
		return ""
	}
	if t.other != "" {
		name, _, _ := strings.Cut(t.other, "/")
		return name
	}
	return t.audio.name()
}

// Rate is how many samples a second of the peer's sound are worth keeping: 8000 or 16000.
func (s *Session) Rate() int {
	if t := s.terms.Load(); t == nil || t.audio.law() {
		return narrowRate
	}
	return SampleRate
}

// clock is the rate of the timestamps that we send, in Hz.
func (s *Session) clock() int {
	if t := s.terms.Load(); t != nil {
		return t.audio.clock()
	}
	return clockRate
}

// Digits gives the keys that the peer pressed, one for each press: RFC 4733.
func (s *Session) Digits() <-chan rune { return s.digits }

// Silent is closed when nothing came for the time-out although it should. When the peer
// is heard again, later calls give a new channel.
func (s *Session) Silent() <-chan struct{} {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	return s.watch.silent
}

// Established says that the call was answered: from now on the peer has to be heard.
// Before, only a peer that was heard once can fall silent.
func (s *Session) Established() {
	now := time.Now()
	s.in.quiet(now, false)
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	if !s.watch.established {
		s.finder.start(now)
	}
	s.watch.established = true
	s.watch.heard()
}

func (w *watch) heard() {
	if w.over {
		w.silent, w.over = make(chan struct{}), false
	}
}

// sweep is called once a second.
func (s *Session) sweep(now time.Time) {
	s.reports.sweep(now)
	s.measure(now)
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	t := s.terms.Load()
	// Nothing is due from a peer that holds us or only listens: RFC 3264 §8.4.
	due := t != nil && !t.held && t.direction&dirReceive != 0 && (s.watch.established || s.in.begun())
	quiet := s.in.quiet(now, due)
	s.look(now, due && s.watch.established)
	switch {
	case quiet < s.engine.cfg.Timeout:
		s.watch.heard()
	case !s.watch.over:
		s.watch.over = true
		close(s.watch.silent)
		s.log.Info("peer fell silent", "for", quiet)
	}
}

const (
	readErrors = 100 // in a row, after which a socket is taken for broken
)

// loop is a read loop of its own.
func (s *Session) loop(c conn, take func(b []byte, from netip.AddrPort)) {
	buf := make([]byte, packetSize+sealRoom)
	failed := 0
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf[:packetSize])
		if err != nil {
			if failed++; s.isDone() || errors.Is(err, net.ErrClosed) || failed > readErrors {
				return
			}
			continue
		}
		failed = 0
		take(buf[:n], from)
	}
}

func (s *Session) takeRTP(b []byte, from netip.AddrPort) {
	p := &s.hand
	p.buf, p.at = b, time.Now()
	p.from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	s.take(p)
	p.buf = nil
}

func (s *Session) isDone() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// take does with a packet all that is done with it.
func (s *Session) take(p *packet) {
	if t := s.terms.Load(); t != nil && t.mux && isReport(p.buf) {
		s.takeReport(p.buf, p.from, p.at)
		return
	}
	if g := s.gate.Load(); g != nil && !g.admit(p) {
		s.in.refuse(p.at)
		return
	}
	if !p.parse() {
		s.in.reject()
		return
	}
	p.kind = s.kindOf(p.number)
	v := s.in.judge(p)
	for v == takeBack {
		s.leftToUs()
		v = s.in.judge(p)
	}
	switch v {
	case drop:
		return
	case passAndAim:
		s.out.aim(p.from)
		s.log.Debug("source proven", "from", p.from)
	}
	if p.ssrc == s.ours && !s.renamed {
		s.rename()
	}
	switch p.kind {
	case kindEvent, kindEvent48:
		p.clock = p.kind.clock()
		s.press(p)
	case kindPCMU, kindPCMA, kindG722, kindOpus, kindNoise:
		if taps := s.taps.Load(); taps != nil {
			for _, t := range *taps {
				t.push(p)
			}
		}
	}
	l := s.sink.Load()
	if p.kind.law() && s.listensForTones() {
		s.hearKeys(p, l)
	}
	if l != nil && l.to.out.relay(l, p) {
		s.turn(l, p)
	}
}

// rename takes another SSRC, for the peer uses ours: RFC 3550 §8.2. Once only, since some peers
// send our own packets back.
func (s *Session) rename() {
	s.renamed = true
	s.reports.send(time.Now(), &rtcp.Goodbye{Sources: []uint32{s.ours}})
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	for s.out.ssrc == s.ours {
		s.out.ssrc = rand.Uint32()
	}
	s.out.owner = nil // whoever sends next begins a stretch
}

// kindOf is what a payload number means. Before negotiation only the fixed ones do:
// a callee may speak before its answer is here, RFC 3264 §5.1.
func (s *Session) kindOf(number uint8) kind {
	t := s.terms.Load()
	switch {
	case t != nil:
		return t.recv[number]
	case number == 0:
		return kindPCMU
	case number == 8:
		return kindPCMA
	case number == 9:
		return kindG722
	}
	return kindNone
}

func (s *Session) press(p *packet) {
	digit, ok := s.finger.feel(p, p.clock)
	if !ok {
		return
	}
	select {
	case s.digits <- digit:
	default: // nobody reads
	}
}

// SessionStats are the numbers of one session.
type SessionStats struct {
	Codec              string
	Remote             netip.AddrPort // where we send
	Sent, Received     uint64         // packets
	Lost               uint64         // missing in the peer's sequence numbers
	Duplicates, Late   uint64
	Stray              uint64 // from sources that were not believed
	Malformed, Unknown uint64 // no RTP; RTP with a payload that was not agreed
	Unopened           uint64 // not protected with the key that was agreed
	Jitter             time.Duration
	RoundTrip          time.Duration // as the peer's last report lets us reckon
	RemoteLost         uint64        // what the peer misses of ours
	RemoteJitter       time.Duration
	RemoteLossNow      float64 // fraction in its last report
	Faults             uint64  // times without sound in one direction
	BadReports         uint64  // RTCP that was none, or not the peer's
}

// Stats counts.
func (s *Session) Stats() SessionStats {
	s.settle()
	st := SessionStats{Codec: s.Codec()}
	s.in.mu.Lock()
	in := s.in.stats
	st.Received, st.Duplicates, st.Late = in.received, in.duplicates, in.late
	st.Stray, st.Malformed, st.Unknown = in.stray, in.malformed, in.unknown
	st.Unopened = in.unopened
	st.Lost = uint64(s.in.lostBefore + s.in.lost())
	st.Jitter = s.in.jittered()
	s.in.mu.Unlock()
	s.out.mu.Lock()
	st.Sent, st.Remote = s.out.packets, s.out.dest
	s.out.mu.Unlock()
	s.reports.fill(&st)
	st.Faults = s.finder.count()
	return st
}
