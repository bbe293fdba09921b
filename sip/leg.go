package sip

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// ErrOver says that the leg has ended.
var ErrOver = errors.New("leg is over")

// ErrState says that the leg is not where this can be asked of it.
var ErrState = errors.New("not possible in this state of the leg")

// state is where a leg stands.
type state int

const (
	calling   state = iota // our INVITE was sent, nothing came back
	ringing                // an INVITE waits for its final answer, theirs or ours
	answered               // incoming: our 200 waits for its ACK
	confirmed              // both sides agree that the call is up
	over                   // the house was told the end; what the protocol still owes is being done
)

var stateNames = [...]string{"calling", "ringing", "answered", "confirmed", "over"}

func (s state) String() string { return stateNames[s] }

// Leg is one dialog with one endpoint: no headers, no timers, no sequence
// numbers are seen from above. All methods are safe for concurrent use.
//
// A leg is a machine with one owner, its loop. Requests of the peer, answers to
// ours, timers and wishes of the house reach it as functions, one at a time; so
// the order in which sipgo's goroutines bring them does not matter.
type Leg struct {
	s    *Server
	log  *slog.Logger
	uas  bool // the peer called us
	line store.Line

	near, far   netip.Addr    // us and the peer, when the leg began
	self        string        // user part of our Contact
	binding     store.Binding // outgoing
	trunk       store.Trunk   // as it was when the leg began; no ID: a phone's leg
	asserted    Identity      // incoming
	anonymous   bool          // incoming: asked for
	verified    Verification  // incoming: of the caller
	diverted    []Diversion   // incoming
	extra       []field       // outgoing: what its INVITE has beyond others
	release     func()        // of a trunk: gives its place back
	dialed      string        // incoming
	caller      Identity      // incoming
	maxForwards int
	userAgent   string
	callID      string
	localTag    string
	pickupTag   string // outgoing: see ringingTags

	inbox    chan func()
	gone     chan struct{} // closed when the loop has ended
	progress chan Progress
	answer   chan struct{}
	digits   chan rune
	done     chan struct{}

	setup atomic.Bool // the house has done nothing about it yet
	mu    sync.Mutex  // guards what the loop shares
	sound Negotiator
	cause Cause
	acks  map[ackID]*sipmsg.Request // of 2xx to INVITEs of ours; nil: declined
	// rangTag is the To-tag of the latest early dialog, for those who pick up.
	rangTag  string
	peerTags []string // of the peer, early dialogs included
	taken200 bool     // incoming: we answered 200

	replaces  *Leg // incoming: see Replaces
	earlyOnly bool

	seq atomic.Uint32 // CSeq of our newest request

	// What follows belongs to the loop.
	state   state
	dialog  dialog
	hop     hop // the way to the peer
	pending int // transactions that the protocol still owes an end

	invite   *sipmsg.Request  // incoming, the first one
	inviteTx *sipmsg.ServerTx // of it
	early    []byte           // incoming: the description sent in a 183
	agreed   bool             // and its PRACK came: the 200 has none
	rseq     uint32           // incoming: of our newest reliable 18x
	unproven *reliable        // that waits for its PRACK
	rings    []bool           // what Ring wants to say after it
	rung     int              // how often it rang
	// ringAgain says so once more; owner is the leg for as long as it has a loop.
	ringAgain *time.Timer
	owner     *atomic.Pointer[Leg]
	taking    chan<- error // Answer waits for it

	outgoing   *sipmsg.Request // the INVITE we sent
	outgoingTx *sipmsg.ClientTx
	dials      int     // counts the INVITEs that were built
	course     *course // over a trunk
	wantCancel bool
	sentCancel bool
	cancelWhy  Cause
	lateOffer  bool    // our INVITE has no description
	forks      []*fork // the dialogs that our INVITE made
	heardFork  *fork   // whose description we took last

	accepted *accepted     // a 2xx of ours that waits for its ACK
	byeOwed  *Cause        // hung up while accepted: BYE follows the ACK
	deferred *deferred     // a re-INVITE that came before that ACK
	changing *renegotiator // a re-INVITE of ours that is under way
	queued   []*renegotiator
	session  sessionTimer

	carried Carried // incoming: goes with the call; outgoing: was given with it
	alert   string  // outgoing
	auto    bool    // outgoing: the phone is to answer by itself
	counted bool    // incoming: among those that are alike

	shown      Identity    // who the peer was told it talks to
	fromChange bool        // it takes another From within the dialog (RFC 4916)
	transfers  []*Transfer // that the peer asked for and that are under way
	moved      bool        // one of them went well
	lingering  *time.Timer // after that: until the BYE that the peer owes
}

// newLeg makes a leg with everything but its dialog.
func (s *Server) newLeg(h hop) *Leg {
	return &Leg{
		s: s, log: s.log, hop: h, near: h.local.Addr(), far: h.remote.Addr(),
		localTag: token(),
		inbox:    make(chan func()),
		gone:     make(chan struct{}),
		progress: make(chan Progress, 8),
		answer:   make(chan struct{}),
		digits:   make(chan rune, 32),
		done:     make(chan struct{}),
		acks:     make(map[ackID]*sipmsg.Request),
	}
}

// ID returns the Call-ID.
func (l *Leg) ID() string { return l.callID }

// Line returns the line of the authenticated caller, or of the called binding.
func (l *Leg) Line() store.Line { return l.line }

// Trunk returns the trunk that an incoming leg came from or an outgoing one goes to; "" for phones.
func (l *Leg) Trunk() store.ID { return l.trunk.ID }

// Account returns the owner of the line or of the trunk.
func (l *Leg) Account() store.ID {
	if l.trunk.ID != "" {
		return l.trunk.AccountID
	}
	return l.line.AccountID
}

// Asserted returns who calls as far as the trunk's carrier is trusted (its P-Asserted-Identity, else
// Remote-Party-ID, else From), and whether the caller asked to stay anonymous. Of a phone only the latter is known.
func (l *Leg) Asserted() (who Identity, anonymous bool) { return l.asserted, l.anonymous }

// Diverted returns who forwarded the call before it came here, as a carrier told; the latest first.
func (l *Leg) Diverted() []Diversion { return l.diverted }

// Binding returns where an outgoing leg goes.
func (l *Leg) Binding() store.Binding { return l.binding }

// Offer returns the session description of an incoming leg's INVITE; nil when it came without one.
func (l *Leg) Offer() []byte {
	if l.invite == nil || !isSDP(l.invite) {
		return nil
	}
	return l.invite.Body()
}

// Dialed returns what the caller dialed: the user part of the Request-URI, unescaped.
func (l *Leg) Dialed() string { return l.dialed }

// Offered returns the description that came with the first INVITE of a peer, or nil. It must not be changed.
func (l *Leg) Offered() []byte {
	if l.invite == nil || !isSDP(l.invite) {
		return nil
	}
	return l.invite.Body()
}

// Caller returns the name that the caller's phone sent. It is shown and never trusted.
func (l *Leg) Caller() Identity { return l.caller }

// MaxForwards returns how often the call may still be sent on.
func (l *Leg) MaxForwards() int { return l.maxForwards }

// UserAgent returns what the phone calls itself, as far as it told.
func (l *Leg) UserAgent() string { return l.userAgent }

// Local returns our address as this peer sees it.
func (l *Leg) Local() netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.near
}

// Peer returns the address of the peer.
func (l *Leg) Peer() netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.far
}

// Progress yields the provisional answers of a callee; when nobody reads, the newest are kept.
func (l *Leg) Progress() <-chan Progress { return l.progress }

// Answered is closed when the callee took the call and its description was accepted.
func (l *Leg) Answered() <-chan struct{} { return l.answer }

// Digits yields the keys that came by INFO.
func (l *Leg) Digits() <-chan rune { return l.digits }

// Done is closed when the leg has ended; then Cause is set.
func (l *Leg) Done() <-chan struct{} { return l.done }

// Cause returns why the leg ended; the zero Cause before that.
func (l *Leg) Cause() Cause {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// Attach gives an incoming leg its sound side; it must happen before Ring(true) and Answer.
func (l *Leg) Attach(n Negotiator) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sound = n
}

func (l *Leg) negotiator() Negotiator {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sound
}

// Ring tells the caller that the callee's phone rings: 180, or 183 with our
// description when early sound is to be heard. A caller that can acknowledges the
// latter (RFC 3262); to one that cannot and made no offer, 180 is all there is to say.
func (l *Leg) Ring(early bool) error {
	var err error
	l.looked()
	if !l.ask(func() { err = l.ring(early) }) {
		return ErrOver
	}
	return err
}

// Answer takes an incoming call. It returns when the caller has acknowledged
// that, or with what came between. The 200 goes on being repeated when ctx ends first.
func (l *Leg) Answer(ctx context.Context) error {
	acked := make(chan error, 1)
	var err error
	l.looked()
	if !l.ask(func() { err = l.take(acked) }) {
		return ErrOver
	}
	if err != nil {
		return err
	}
	select {
	case err := <-acked:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-l.gone:
		return ErrOver
	}
}

// Refuse declines an incoming call with a status of 300 and above.
func (l *Leg) Refuse(code int, reason string) error {
	var err error
	if !l.ask(func() {
		if !l.uas || l.state != ringing {
			err = ErrState
			return
		}
		l.refuse(code, reason)
		l.end(Cause{Code: code, Reason: reason})
	}) {
		return ErrOver
	}
	return err
}

// HangUp ends the leg by CANCEL, BYE or a refusal, whichever fits. It returns at once.
func (l *Leg) HangUp(c Cause) {
	l.s.tasks.Go(func() { l.post(func() { l.hangUp(c) }) })
}

// Renegotiate changes the session by a re-INVITE with a new offer. A refusal of
// the peer is a *Refusal and leaves the session as it was (RFC 6141 §3.6).
func (l *Leg) Renegotiate(ctx context.Context) error {
	r := &renegotiator{ctx: ctx, result: make(chan error, 1)}
	if !l.ask(func() { l.renegotiate(r) }) {
		return ErrOver
	}
	return l.settled(ctx, r)
}

// post hands f to the loop; it reports false when the loop has ended.
func (l *Leg) post(f func()) bool {
	select {
	case l.inbox <- f:
		return true
	case <-l.gone:
		return false
	}
}

// ask has f run by the loop and waits until it did.
func (l *Leg) ask(f func()) bool {
	ran := make(chan struct{})
	if !l.post(func() { defer close(ran); f() }) {
		return false
	}
	select {
	case <-ran:
		return true
	case <-l.gone:
		select {
		case <-ran:
			return true
		default:
			return false
		}
	}
}

// loop runs the leg until it is over and owes nothing.
func (l *Leg) loop() {
	defer l.s.leave(l)
	defer close(l.gone)
	defer func() {
		if l.accepted != nil {
			l.settle(ErrOver)
		}
	}()
	defer func() {
		if p := recover(); p != nil { // a bug: this call ends, the house stands
			l.log.Error("leg panicked", "call_id", l.callID, "panic", p, "stack", string(debug.Stack()))
			if l.uas && l.state == ringing {
				l.s.respond(l.invite, l.inviteTx, 500, "Server Internal Error")
			}
			l.end(Cause{Code: 500, Reason: "Server Internal Error"})
		}
	}()
	var acks <-chan *sipmsg.Request
	if l.inviteTx != nil {
		acks = l.inviteTx.Acks() // of phones that reuse the branch of their INVITE
	}
	for l.state != over || l.pending > 0 {
		select {
		case f := <-l.inbox:
			f()
		case ack := <-acks:
			l.acknowledged(ack)
		case <-l.s.ctx.Done(): // the server does not wait for the peer any longer
			l.end(Cause{Code: 503, Reason: "Service Unavailable"})
			return
		}
	}
}

// after has f run by the loop once d has passed.
func (l *Leg) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() { l.post(f) })
}

// end tells the house that the leg is over.
func (l *Leg) end(c Cause) {
	if l.state == over {
		return
	}
	l.log.Debug("leg ended", "call_id", l.callID, "state", l.state, "code", c.Code, "reason", clip(c.Reason, 80), "remote", c.Remote)
	l.state = over
	l.looked()
	l.free()
	l.s.uncount(l)
	l.session.stop()
	l.unproven.stop()
	if l.ringAgain != nil {
		l.ringAgain.Stop()
	}
	if l.deferred != nil {
		l.deferred.end() // RFC 3261 §15.1.2
		l.deferred = nil
	}
	if l.taking != nil {
		l.taking <- ErrOver
		l.taking = nil
	}
	for _, r := range append(slices.Clone(l.queued), l.changing) {
		if r != nil {
			r.done(ErrOver)
		}
	}
	l.queued, l.changing = nil, nil
	l.mu.Lock()
	l.cause = c
	l.mu.Unlock()
	close(l.done)
}

// hangUp ends the leg from our side.
func (l *Leg) hangUp(c Cause) {
	switch l.state {
	case over:
	case calling, ringing:
		if l.uas {
			if c.Code < 300 {
				c.Code, c.Reason = 480, "Temporarily Unavailable"
			}
			l.refuse(c.Code, c.Reason, c.Q850)
		} else {
			l.cancel(c)
		}
		l.end(c)
	case answered:
		// RFC 3261 §15: the callee must not send BYE before the ACK.
		l.byeOwed = &c
		l.end(c)
	case confirmed:
		if l.accepted != nil {
			l.settle(nil) // a re-INVITE of theirs: BYE ends that too
		}
		if l.hasMoved() {
			l.linger(c)
		} else {
			l.bye(c)
		}
		l.end(c)
	}
}

// join enters a leg into the tables; it reports false when the server is closing.
func (s *Server) join(l *Leg) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() && l.uas || s.ctx.Err() != nil {
		return false
	}
	s.legs[l.callID+"\x00"+l.localTag] = l
	if !l.uas {
		l.pickupTag = token()
		s.pickups[l.callID+"\x00"+l.pickupTag] = l
	}
	if l.uas {
		s.invites[s.front.transactionKey(l.invite)] = l
	}
	s.stats.legs.Add(1)
	s.trace.opened(l.callID, +1)
	return true
}

// free gives the place that a leg takes on a trunk back.
func (l *Leg) free() {
	if l.release != nil {
		l.release()
	}
}

// leave takes a leg out of the tables.
func (s *Server) leave(l *Leg) {
	l.free()
	if l.owner != nil {
		l.owner.Store(nil)
	}
	l.mu.Lock()
	l.sound = nil // transactions may hold the leg for a while yet
	l.mu.Unlock()
	s.trace.opened(l.callID, -1)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.legs, l.callID+"\x00"+l.localTag)
	delete(s.pickups, l.callID+"\x00"+l.pickupTag)
	s.past.add(l.callID+"\x00"+l.localTag, l.callID+"\x00"+l.pickupTag)
	if l.uas {
		delete(s.invites, s.front.transactionKey(l.invite))
	}
	if s.idle != nil && len(s.legs) == 0 {
		close(s.idle)
		s.idle = nil
	}
}

// reserve takes the name of an INVITE for as long as it is served; it reports false
// when a copy of it is being served.
func (s *Server) reserve(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.calls[name]; taken {
		return false
	}
	s.calls[name] = struct{}{}
	return true
}

func (s *Server) free(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, name)
}

// callKey is the same for copies of one INVITE that took different ways (RFC 3261 §8.2.2.2).
func callKey(req *sipmsg.Request) string {
	return req.CallID().Value() + "\x00" + tagOf(req.From().Params) + "\x00" + req.CSeq().Value()
}

// legOf finds the leg of an in-dialog request.
func (s *Server) legOf(req *sipmsg.Request) *Leg {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.legs[req.CallID().Value()+"\x00"+tagOf(req.To().Params)]
}
