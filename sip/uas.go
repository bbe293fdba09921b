package sip

import (
	"errors"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// RFC 3261 §17: the round-trip estimate and the longest interval.
const (
	t1 = 500 * time.Millisecond
	t2 = 4 * time.Second
)

// onInvite serves a new INVITE. Its goroutine becomes the loop of the leg.
func (s *Server) onInvite(req *sipmsg.Request, tx *sipmsg.ServerTx, h hop) {
	if s.draining.Load() {
		s.replyOnce(req, tx, 503, "Service Unavailable", field{"Retry-After", "30"})
		return
	}
	if s.load.crowded() {
		s.shed(req, tx)
		return
	}
	if len(req.Body()) > 0 && !isSDP(req) {
		s.replyOnce(req, tx, 415, "Unsupported Media Type", field{"Accept", "application/sdp"})
		return
	}
	if req.MaxForwards() != nil && req.MaxForwards().Val() == 0 {
		s.replyOnce(req, tx, 483, "Too Many Hops") // a call is always sent on
		return
	}
	// The name is taken before the credentials are looked at: a copy has the same.
	name := callKey(req)
	if !s.reserve(name) {
		s.replyOnce(req, tx, 482, "Loop Detected") // RFC 3261 §8.2.2.2: a copy that took another way
		return
	}
	defer s.free(name)
	carrier, line, ok := s.trunks.from(req, h), store.Line{}, true
	if carrier == nil {
		line, ok = s.authenticated(req, tx, h)
	}
	if ok && ofTrunk(line) {
		carrier, line = s.trunks.find(line.ID), store.Line{}
		if ok = carrier != nil && carrier.takes(h.transport); !ok {
			s.replyOnce(req, tx, 403, "Forbidden")
		}
	}
	if !ok {
		return
	}
	target := contactOf(req)
	if target == "" {
		s.replyOnce(req, tx, 400, "Missing Contact") // RFC 3261 §8.1.1.8
		return
	}
	replaced, earlyOnly, bad := s.replaced(req)
	if bad != nil {
		s.replyOnce(req, tx, bad.Code, bad.Reason)
		return
	}
	if sessionTooSmall(req) {
		s.replyOnce(req, tx, 422, "Session Interval Too Small", leastSession())
		return
	}
	l := s.newLeg(h)
	l.uas = true
	l.state = ringing
	l.line = line
	l.self = line.Username
	l.replaces, l.earlyOnly = replaced, earlyOnly
	l.callID = req.CallID().Value()
	l.invite, l.inviteTx = req, tx
	l.supports(req)
	l.dialed = userOf(&req.Recipient)
	from := req.From()
	display, ok := unquote(`"` + from.DisplayName + `"`)
	if !ok {
		display = ""
	}
	l.caller = Identity{Display: clip(display, 80), User: clip(userOf(&from.Address), 80)}
	l.maxForwards = 70
	if m := req.MaxForwards(); m != nil {
		l.maxForwards = int(m.Val())
	}
	l.userAgent = clip(header(req, "User-Agent"), 200)
	if carrier != nil && !l.arrived(carrier, req) {
		s.replyOnce(req, tx, 486, "Busy Here") // all the lines of this trunk are taken
		return
	}
	if carrier == nil {
		_, l.anonymous = assertedBy(req, false)
	}
	// Every answer above 100 has the one tag (RFC 3261 §8.2.6.2): it goes into the
	// request that sipgo copies from, before the first answer.
	req.To().Params.Add("tag", l.localTag)
	l.dialog = dialog{
		local: bare(req.To().Value()), remote: bare(from.Value()), remoteTag: tagOf(from.Params),
		remoteSeq: req.CSeq().SeqNo, heard: true,
		target: target, routes: recordedRoutes(req, false),
	}
	l.meet(l.dialog.remoteTag)
	l.carried = s.carry(req)
	if carrier != nil && l.trunk.TrustIdentity {
		l.carried.identities = identitiesOf(req)
	}
	switch {
	case header(req, "Max-Breadth") == "0":
		l.free()
		s.replyOnce(req, tx, 440, "Max-Breadth Exceeded") // RFC 5393 §5.3.1
		return
	case !s.passes(l) || !s.admit(l):
		l.free()
		l.log.Info("call loops", "source", h.remote, "dialed", clip(l.dialed, 40))
		s.replyOnce(req, tx, 482, "Loop Detected")
		return
	}
	if !l.begun() {
		l.free()
		s.uncount(l)
		s.shed(req, tx)
		return
	}
	if !s.join(l) {
		l.looked()
		l.free()
		s.uncount(l)
		s.replyOnce(req, tx, 503, "Service Unavailable", field{"Retry-After", "30"})
		return
	}
	l.pending++ // the INVITE wants a final answer
	if err := tx.Respond(sipmsg100(s, req)); err != nil {
		l.log.Debug("answer not sent", "code", 100, "error", err)
	}
	// A phone that cannot be answered any more has lost the call.
	owner := new(atomic.Pointer[Leg]) // the transaction may outlive the leg by far, and must not hold it
	owner.Store(l)
	l.owner = owner
	tx.OnTerminate(func(_ string, err error) {
		if l := owner.Load(); l != nil && errors.Is(err, sipmsg.ErrTransactionTransport) {
			s.tasks.Go(func() { l.post(l.unreachable) })
		}
	})
	if s.announce(l) {
		l.loop()
	}
}

// announce hands a leg to the house. A bug there costs this call only.
func (s *Server) announce(l *Leg) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("incoming call panicked", "call_id", l.callID, "panic", p, "stack", string(debug.Stack()))
			s.respond(l.invite, l.inviteTx, 500, "Server Internal Error")
			l.end(Cause{Code: 500, Reason: "Server Internal Error"})
			close(l.gone)
			s.leave(l)
		}
	}()
	s.handler.Incoming(l)
	return true
}

// sipmsg100 builds the 100: RFC 3261 §17.2.1, at once, for the house may take its time.
func sipmsg100(s *Server, req *sipmsg.Request) *sipmsg.Response {
	res := s.answer(req, 100, "Trying", nil)
	res.To().Params.Remove("tag")
	return res
}

// bare returns an address header without its parameters.
func bare(s string) string {
	a, ok := parseAddress(s)
	if !ok {
		return s
	}
	a.params = nil
	return a.String()
}

// unreachable ends a leg whose INVITE transaction broke.
func (l *Leg) unreachable() {
	if l.state != ringing || !l.uas {
		return
	}
	l.pending--
	l.end(Cause{Code: 408, Reason: "Connection Lost", Remote: true})
}

// fields are what answers of ours that make or change the dialog carry.
func (l *Leg) fields() []field {
	return []field{{"Contact", l.s.contact(l.hop, l.self)}, {"Allow", allow}, {"Supported", extensions}}
}

func (l *Leg) ring(early bool) error {
	if !l.uas || l.state != ringing || l.taking != nil {
		return ErrState
	}
	if early && l.negotiator() == nil {
		return ErrState
	}
	if l.unproven != nil { // RFC 3262 §3: not before the PRACK for the one before
		if len(l.rings) < 4 {
			l.rings = append(l.rings, early)
		}
		return nil
	}
	can, must := l.mayRely()
	sdp, offer, err := []byte(nil), false, error(nil)
	switch {
	case !early:
	case l.early != nil:
		sdp = l.early
	case isSDP(l.invite):
		sdp, err = l.negotiator().Answer(l.invite.Body())
	case can: // RFC 3262 §5: the first reliable message has the offer
		sdp, err = l.negotiator().Offer()
		offer = true
	}
	if err != nil {
		l.refuse(488, "Not Acceptable Here")
		l.end(Cause{Code: 488, Reason: "Not Acceptable Here"})
		return &Refusal{488, "Not Acceptable Here"}
	}
	if sdp != nil {
		l.early = sdp
	}
	code, reason := 180, "Ringing"
	if sdp != nil {
		code, reason = 183, "Session Progress"
	}
	if l.agreed {
		sdp = nil // RFC 6337 §2.1: said once, and for all
	}
	l.ringOn(early)
	res := l.s.answer(l.invite, code, reason, nil, append(l.fields(), l.identity()...)...)
	if sdp != nil {
		describe(res, sdp)
	} else {
		res.SetBody(nil)
	}
	if must || can && sdp != nil {
		return l.rely(res, sdp != nil, offer)
	}
	return l.inviteTx.Respond(res)
}

// ringOn says again each minute that it rings: RFC 3261 §13.3.1.1, for the last word may
// have been lost, and what is between may lose patience.
func (l *Leg) ringOn(early bool) {
	l.rung++
	rung := l.rung
	if l.ringAgain != nil {
		l.ringAgain.Stop()
	}
	l.ringAgain = l.after(time.Minute, func() {
		if l.state == ringing && l.taking == nil && l.rung == rung {
			if err := l.ring(early); err != nil {
				l.log.Debug("answer not repeated", "error", err)
			}
		}
	})
}

// refuse gives the INVITE a final answer of 300 and above.
func (l *Leg) refuse(code int, reason string, q850 ...int) {
	if reason == "" {
		reason = "Declined"
	}
	l.pending--
	l.unproven.stop()
	c := Cause{Code: code}
	if len(q850) > 0 {
		c.Q850 = q850[0]
	}
	l.s.respond(l.invite, l.inviteTx, code, reason, c.q850()...) // RFC 6432 §3
}

// accepted is a 2xx to an INVITE of the peer that waits for its ACK. RFC 3261
// §13.3.1.4: it is repeated until then, over every transport.
type accepted struct {
	tx       *sipmsg.ServerTx
	res      *sipmsg.Response
	seq      uint32
	late     bool // it carries our offer, the ACK the answer
	interval time.Duration
	again    *time.Timer
	giveUp   *time.Timer
	acked    chan<- error // told the result; may be nil
	served   func()       // lets the request handler return; may be nil
}

// take answers the INVITE with 200.
func (l *Leg) take(acked chan<- error) error {
	if !l.uas || l.state != ringing || l.taking != nil {
		return ErrState
	}
	sound := l.negotiator()
	if sound == nil {
		return ErrState
	}
	if l.unproven != nil && l.unproven.sdp {
		l.taking = acked // RFC 3262 §3: no 2xx while a reliable 18x with a description is open
		return nil
	}
	l.unproven.stop()
	sdp, late, err := l.early, false, error(nil)
	switch {
	case l.agreed:
		sdp = nil // RFC 6337 §2.1: said reliably before
	case sdp != nil:
	case isSDP(l.invite):
		sdp, err = sound.Answer(l.invite.Body())
	default:
		sdp, err = sound.Offer()
		late = true
	}
	if err != nil {
		l.refuse(488, "Not Acceptable Here") // RFC 3261 §13.3.1.3
		l.end(Cause{Code: 488, Reason: "Not Acceptable Here"})
		return &Refusal{488, "Not Acceptable Here"}
	}
	res := l.s.answer(l.invite, 200, "OK", nil, append(l.fields(), l.identity()...)...)
	l.session.accept(l.invite, res)
	if sdp != nil {
		describe(res, sdp)
	} else {
		res.SetBody(nil)
	}
	l.state = answered
	l.s.uncount(l)
	l.mu.Lock()
	l.taken200 = true
	l.mu.Unlock()
	l.accept(&accepted{tx: l.inviteTx, res: res, seq: l.invite.CSeq().SeqNo, late: late, acked: acked})
	l.pending-- // accept counts it again until the ACK
	return nil
}

// accept sends a 2xx and repeats it until its ACK, T1 doubling up to T2, for 64·T1.
func (l *Leg) accept(a *accepted) {
	l.accepted = a
	l.pending++
	if err := a.tx.Respond(a.res); err != nil {
		l.log.Debug("answer not sent", "code", 200, "error", err)
	}
	a.interval = t1
	a.again = l.after(a.interval, func() { l.repeat(a) })
	a.giveUp = l.after(64*t1, func() { l.unacknowledged(a) })
}

func (l *Leg) repeat(a *accepted) {
	if l.accepted != a {
		return
	}
	if err := a.tx.Respond(a.res); err != nil {
		l.log.Debug("answer not repeated", "code", 200, "error", err)
	}
	a.interval = min(2*a.interval, t2)
	a.again.Reset(a.interval)
}

// unacknowledged gives up waiting for an ACK: RFC 3261 §13.3.1.4, BYE.
func (l *Leg) unacknowledged(a *accepted) {
	if l.accepted != a {
		return
	}
	l.settle(ErrOver)
	c := Cause{Code: 408, Reason: "No ACK"}
	l.bye(c)
	l.end(c)
}

// settle ends the waiting for an ACK.
func (l *Leg) settle(err error) *accepted {
	a := l.accepted
	if a == nil {
		return nil
	}
	l.accepted = nil
	l.pending--
	a.again.Stop()
	a.giveUp.Stop()
	if a.acked != nil {
		a.acked <- err
	}
	if a.served != nil {
		a.served()
	}
	return a
}

// acknowledged takes the ACK of a 2xx.
func (l *Leg) acknowledged(ack *sipmsg.Request) {
	a := l.accepted
	if a == nil || ack.CSeq().SeqNo != a.seq {
		return
	}
	var bad error
	if a.late && l.state != over {
		// RFC 3264 §4: the ACK has the answer to the offer that our 2xx made.
		bad = errors.New("no answer in the ACK")
		if sound := l.negotiator(); sound != nil && isSDP(ack) {
			bad = sound.Accept(ack.Body())
		}
	}
	if bad != nil {
		l.settle(&Refusal{488, "Not Acceptable Here"})
		c := Cause{Code: 488, Reason: "Not Acceptable Here"}
		l.bye(c)
		l.end(c)
		return
	}
	if l.state == answered {
		l.state = confirmed
		l.session.start(l)
	}
	l.settle(nil)
	l.s.absorb(a.tx)
	if l.byeOwed != nil {
		l.bye(*l.byeOwed)
		l.byeOwed = nil
	}
	if d := l.deferred; d != nil && l.state == confirmed {
		l.deferred = nil
		d.serve()
	}
	l.resume()
}

// onCancel serves a CANCEL (RFC 3261 §9.2).
func (s *Server) onCancel(req *sipmsg.Request, tx *sipmsg.ServerTx) {
	s.mu.Lock()
	l := s.invites[s.front.transactionKey(req)]
	s.mu.Unlock()
	if l == nil {
		s.replyOnce(req, tx, 481, "Call/Transaction Does Not Exist")
		return
	}
	req.To().Params.Add("tag", l.localTag)
	s.respond(req, tx, 200, "OK") // also when it comes too late to change anything
	l.post(func() { l.cancelled(req) })
}

// cancelled ends an INVITE that its caller does not want any more.
func (l *Leg) cancelled(req *sipmsg.Request) {
	if l.state != ringing {
		return // our final answer crossed the CANCEL
	}
	l.refuse(487, "Request Terminated")
	l.end(Cause{Code: 487, Reason: reasonText(req), Remote: true, Elsewhere: completedElsewhere(req), Q850: q850Of(req)})
}

// serve lets the loop answer an in-dialog request and returns when that is done.
func (l *Leg) serve(req *sipmsg.Request, tx *sipmsg.ServerTx, h hop) {
	served := make(chan struct{})
	if !l.post(func() { l.receive(req, tx, h, func() { close(served) }) }) {
		l.s.replyOnce(req, tx, 481, "Call/Transaction Does Not Exist")
		return
	}
	select {
	case <-served:
	case <-l.gone:
	}
}

// receive serves an in-dialog request; served must be called once it has its final answer.
func (l *Leg) receive(req *sipmsg.Request, tx *sipmsg.ServerTx, h hop, served func()) {
	respond := func(code int, reason string, fields ...field) {
		l.s.respond(req, tx, code, reason, fields...)
		served()
	}
	tag := tagOf(req.From().Params)
	d := l.dialogOf(tag)
	if d == nil {
		respond(481, "Call/Transaction Does Not Exist")
		return
	}
	seq := req.CSeq().SeqNo
	if d.heard && seq <= d.remoteSeq {
		respond(500, "CSeq Out Of Order") // RFC 3261 §12.2.2
		return
	}
	d.remoteSeq, d.heard = seq, true
	if l.state >= answered {
		l.hop = h // the phone may have moved: another network, another connection, a NAT that forgot
	}
	if req.Method == sipmsg.BYE {
		l.ended(req, respond)
		return
	}
	if l.state == over && req.Method != sipmsg.SUBSCRIBE {
		respond(481, "Call/Transaction Does Not Exist")
		return
	}
	switch req.Method {
	case sipmsg.INVITE:
		l.reinvited(req, tx, respond, served)
	case sipmsg.UPDATE:
		l.updated(req, tx, respond, served)
	case sipmsg.INFO:
		l.informed(req, respond)
	case sipmsg.OPTIONS:
		respond(200, "OK", field{"Allow", allow}, field{"Accept", "application/sdp"}, field{"Supported", extensions})
	case sipmsg.PRACK:
		l.pracked(req, tx, respond, served)
	case sipmsg.NOTIFY:
		respond(481, "Call/Transaction Does Not Exist") // no subscription of ours
	case sipmsg.REFER:
		l.referred(req, tx, h, served)
	case sipmsg.SUBSCRIBE:
		l.resubscribed(req, respond)
	case sipmsg.MESSAGE, sipmsg.PUBLISH:
		respond(405, "Method Not Allowed", field{"Allow", allow})
	default:
		respond(501, "Not Implemented", field{"Allow", allow})
	}
}

// dialogOf returns the dialog with the peer that has this tag; nil if there is none.
func (l *Leg) dialogOf(tag string) *dialog {
	if l.dialog.remoteTag != "" || l.uas {
		if tag == l.dialog.remoteTag {
			return &l.dialog
		}
		return nil
	}
	for _, f := range l.forks { // early dialogs of an outgoing INVITE
		if f.remoteTag == tag {
			return &f.dialog
		}
	}
	return nil
}

// ended serves a BYE.
func (l *Leg) ended(req *sipmsg.Request, respond func(int, string, ...field)) {
	respond(200, "OK")
	switch l.state {
	case over:
		l.depart() // the BYE that was waited for
		return
	case ringing, calling:
		if l.uas { // RFC 3261 §15.1.2: the INVITE is answered 487
			l.refuse(487, "Request Terminated")
		} else {
			l.cancel(Cause{})
		}
	case answered:
		l.settle(ErrOver)
	}
	if l.accepted != nil {
		l.settle(nil)
	}
	l.end(Cause{Reason: reasonText(req), Remote: true, Q850: q850Of(req)})
}

// retryAfter is a time after which glare has passed (RFC 3261 §14.2).
func retryAfter() field { return field{"Retry-After", strconv.Itoa(randomSeconds(10))} }
