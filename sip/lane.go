package sip

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// The side lane: what keeps lamps right (SUBSCRIBE, PUBLISH, the answers to our NOTIFYs) waits here for its turn, so that
// a thousand phones which ask for twenty lamps each never stand before a call. Calls go past it, straight to the stack.
//
// It is served by half of the processors at most, and what phones are told is made by the same: a request takes its turn
// behind the NOTIFYs that are due (see events.turns), so what was asked for is told before more is asked. What comes twice
// while it waits is served once, and what finds the lane full is asked to come back later.
const (
	maxWaiting  = 4096    // messages
	maxWaited   = 4 << 20 // octets of them
	perTurn     = 8       // messages served in one turn
	maxOfFlow   = 64      // messages of one connection; then it is not read any further
	maxAnswers  = 4096
	refuseRate  = 200 // a second that are told to come back, for each such answer takes time too; others hear nothing
	refuseBurst = 200
	minComeBack = 2 // seconds
	maxComeBack = 8
)

type lane struct {
	s      *Server
	mark   string // begins the branch of each NOTIFY that a lamp gets, and nothing else
	parser *sipmsg.Parser
	quiet  *slog.Logger

	asks    chan *errand
	answers chan *errand
	refusal limiter
	served  repeats // PUBLISH; a subscription knows its SUBSCRIBE by itself

	mu     sync.Mutex
	octets int
	prints map[uint64]struct{} // of datagrams that wait
}

// errand is a message that waits.
type errand struct {
	data  []byte
	hop   hop
	way   replier
	print uint64 // of a datagram
}

func newLane(s *Server) *lane {
	return &lane{
		s: s, mark: cookie + "l" + token()[:8], parser: sipmsg.NewParser(sipmsg.WithHeadersParsers(parsed())), quiet: slog.New(slog.DiscardHandler),
		asks: make(chan *errand, maxWaiting), answers: make(chan *errand, maxAnswers), prints: make(map[uint64]struct{}),
	}
}

// laneWorkers is how many goroutines may compute for lamps at one time.
func laneWorkers() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// newBranch makes the key of a NOTIFY that a lamp gets.
func (l *lane) newBranch() string { return l.mark + token() }

// takes reports whether a message is none of a call, and sees to it then.
func (l *lane) takes(data []byte, h hop, way replier) bool {
	switch {
	case bytes.HasPrefix(data, []byte("SIP/2.0 ")):
		if !bytes.Contains(data, []byte(l.mark)) {
			return false
		}
		l.post(l.answers, &errand{data: bytes.Clone(data), hop: h, way: way})
		return true
	case bytes.HasPrefix(data, []byte("SUBSCRIBE ")):
		if isReferText(data) {
			return false // it asks how a transfer goes, within a call
		}
	case !bytes.HasPrefix(data, []byte("PUBLISH ")):
		return false
	}
	t := &errand{data: data, hop: h, way: way}
	if h.transport == "udp" {
		t.print = l.s.printOf(data, h.remote)
	}
	switch l.enter(t) {
	case full:
		l.turnAway(data, h, way)
	case admitted:
		if !l.post(l.asks, t) {
			l.left(t)
		}
	}
	return true
}

// post puts an errand into its place. Only a connection is made to wait for that.
func (l *lane) post(to chan *errand, t *errand) bool {
	f, ok := t.way.(*flow)
	if !ok {
		select {
		case to <- t:
			return true
		default:
			return false // it comes again
		}
	}
	if to == l.asks {
		select {
		case f.room() <- struct{}{}:
		case <-l.s.ctx.Done():
			return false
		}
	}
	select {
	case to <- t:
		return true
	case <-l.s.ctx.Done():
		return false
	}
}

// How an errand is received.
type reception int

const (
	admitted reception = iota
	twin               // the same waits already
	full
)

// enter counts an errand and takes a copy of it.
func (l *lane) enter(t *errand) reception {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, waits := l.prints[t.print]; waits && t.print != 0 {
		return twin
	}
	waiting := len(l.asks)
	switch {
	case waiting >= maxWaiting-laneWorkers(), l.octets+len(t.data) > maxWaited:
		return full
	case waiting > maxWaiting/2 && !l.s.guard.knows(t.hop.remote.Addr()):
		return full // strangers leave room for the phones of the house
	}
	t.data = bytes.Clone(t.data)
	l.octets += len(t.data)
	if t.print != 0 {
		l.prints[t.print] = struct{}{}
	}
	return admitted
}

// left takes an errand off the count.
func (l *lane) left(t *errand) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.octets -= len(t.data)
	delete(l.prints, t.print)
}

// turnAway answers what finds no room, if there is time for that; a phone asks again by itself in half a second. What
// stands within a dialog must not hear 503, which would end it (RFC 5057 §5.1).
func (l *lane) turnAway(data []byte, h hop, way replier) {
	s := l.s
	s.stats.lampsShed.Add(1)
	if h.transport == "udp" && !l.refusal.take(time.Now(), refuseRate, refuseBurst) {
		return
	}
	m, why := splitMessage(data)
	if why != "" {
		return
	}
	hops, ok := m.vias()
	if !ok {
		return
	}
	received(hops[0], h.remote)
	code, reason := 503, "Service Unavailable"
	if to, ok := readAddress(m.value("To")); ok {
		if _, tagged := to.params.get("tag"); tagged {
			code, reason = 500, "Overloaded"
		}
	}
	// When they come back is spread, or they would all come at once.
	later := strconv.Itoa(minComeBack + rand.IntN(maxComeBack-minComeBack))
	reply := m.refusal(code, reason, hops, []field{{"Retry-After", later}})
	if limit := limitOf(m.size, h.transport); limit > 0 && len(reply) > limit {
		return
	}
	if err := way.reply(reply, replyAddr(hops[0], h.remote, h.transport)); err != nil {
		s.log.Debug("answer not sent", "peer", h.remote, "error", err)
	}
}

// work serves what asks for something, until the server stops.
func (l *lane) work() {
	for {
		select {
		case t := <-l.asks:
			l.turn(t)
		case <-l.s.ctx.Done():
			return
		}
	}
}

// turn serves some of those that wait, t first, once it is their turn.
func (l *lane) turn(t *errand) {
	l.s.events.turns <- struct{}{}
	defer func() { <-l.s.events.turns }()
	for served := 1; ; served++ {
		l.left(t)
		l.serve(t)
		if served == perTurn {
			return
		}
		select {
		case t = <-l.asks:
		default:
			return
		}
	}
}

// hear takes the answers to NOTIFYs, until the server stops. They wait for nothing: a phone that is not heard is told all again.
func (l *lane) hear() {
	for {
		select {
		case t := <-l.answers:
			l.heard(t.data)
		case <-l.s.ctx.Done():
			return
		}
	}
}

// heard reads as much of an answer as is of use.
func (l *lane) heard(data []byte) {
	m, why := splitMessage(data)
	if why != "" {
		return
	}
	hops, ok := m.vias()
	if !ok || len(hops) != 1 || len(m.start) < 11 { // RFC 3261 §18.1.2: else it is not for us
		return
	}
	branch, _ := hops[0].params.get("branch")
	code, err := strconv.Atoi(m.start[8:11])
	if err != nil || code < 100 || code > 699 {
		return
	}
	l.s.events.answered(branch, code, m.value("Retry-After"))
}

// serve serves one SUBSCRIBE or PUBLISH, as the stack would but for the transaction.
func (l *lane) serve(t *errand) {
	s := l.s
	defer func() {
		if p := recover(); p != nil { // a bug: this request ends, the house stands
			s.log.Error("request handler panicked", "source", t.hop.remote, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	out := &onceConn{s: s, hop: t.hop, way: t.way}
	defer out.done()
	data := s.read(t.data, t.hop, out)
	if data == nil {
		return
	}
	msg, err := l.parser.ParseSIP(data)
	req, ok := msg.(*sipmsg.Request)
	if err != nil || !ok {
		s.log.Debug("message not read", "source", t.hop.remote, "error", err)
		return
	}
	h := t.hop
	req.SetTransport("TCP") // to the stack all streams are one
	if h.transport == "udp" {
		req.SetTransport("UDP")
		h.remote = listensAt(req, h.remote)
	}
	req.SetSource(t.hop.remote.String())
	out.hop = h
	if known := l.served.find(t.print); known != nil {
		out.send(known)
		return
	}
	tx := sipmsg.NewServerTx("", req, out, l.quiet) // in no table: it carries the answer, and is gone
	missing := unsupported(req)
	switch {
	case missing != "": // RFC 3261 §8.2.2.3
		s.replyOnce(req, tx, 420, "Bad Extension", field{"Unsupported", missing})
	case req.Method == sipmsg.SUBSCRIBE:
		s.events.subscribe(req, tx, h)
	case tagOf(req.To().Params) != "":
		s.replyOnce(req, tx, 481, "Call/Transaction Does Not Exist")
	default:
		s.onPublish(req, tx, h)
		if t.print != 0 && out.sent != nil {
			l.served.keep(t.print, out.sent)
		}
	}
}

// isReferText reports whether the Event of a request is refer.
func isReferText(data []byte) bool {
	for line := range bytes.Lines(data) {
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			if len(bytes.TrimSpace(line)) == 0 {
				return false // the header is over
			}
			continue
		}
		if name = bytes.TrimSpace(name); bytes.EqualFold(name, []byte("Event")) || bytes.EqualFold(name, []byte("o")) {
			value, _, _ = bytes.Cut(value, []byte(";"))
			return bytes.EqualFold(bytes.TrimSpace(value), []byte("refer"))
		}
	}
	return false
}

// onceConn is what the stack takes for the connection that one answer leaves by.
type onceConn struct {
	s       *Server
	hop     hop // where the peer listens
	way     replier
	sent    []byte
	writing bool
}

var errNoResponse = errors.New("no response")

// WriteMsg sends the answer.
func (c *onceConn) WriteMsg(msg sipmsg.Message) error {
	res, ok := msg.(*sipmsg.Response)
	if !ok {
		return errNoResponse
	}
	c.send([]byte(res.String()))
	return nil
}

func (c *onceConn) send(answer []byte) {
	c.sent = answer
	if c.hop.transport == "udp" {
		c.s.trace.sent(answer, c.hop) // a stream notes what it sends
	}
	if err := c.reply(answer, c.hop.remote); err != nil {
		c.s.log.Debug("answer not sent", "peer", c.hop.remote, "error", err)
	}
}

// reply never waits: a connection whose peer reads nothing takes up to writeTime, and that is its own matter.
func (c *onceConn) reply(answer []byte, to netip.AddrPort) error {
	if _, ok := c.way.(*flow); !ok {
		return c.way.reply(answer, to)
	}
	c.writing = true
	c.s.tasks.Go(func() {
		defer c.leave()
		if err := c.way.reply(answer, to); err != nil {
			c.s.log.Debug("answer not sent", "peer", to, "error", err)
		}
	})
	return nil
}

// done gives the place of the errand on its connection back, unless its answer still does.
func (c *onceConn) done() {
	if !c.writing {
		c.leave()
	}
}

func (c *onceConn) leave() {
	if f, ok := c.way.(*flow); ok {
		<-f.slots
	}
}

// The rest of a connection, of which there is none.

// LocalAddr is where we listen.
func (c *onceConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.hop.local) }

// Ref counts nothing.
func (c *onceConn) Ref(int) int { return 1 }

// TryClose closes nothing.
func (c *onceConn) TryClose() (int, error) { return 1, nil }

// Close closes nothing.
func (c *onceConn) Close() error { return nil }

// room is where the letters of a connection are counted. Only its reader calls it.
func (f *flow) room() chan<- struct{} {
	if f.slots == nil {
		f.slots = make(chan struct{}, maxOfFlow)
	}
	return f.slots
}
