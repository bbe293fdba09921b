package sip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// Invite places a call to one binding, or over a trunk. It returns once the INVITE was sent, over a trunk before that.
func (s *Server) Invite(ctx context.Context, o Outgoing) (*Leg, error) {
	if s.ctx.Err() != nil || !s.started.Load() {
		return nil, fmt.Errorf("invite: %w", errClosed)
	}
	if o.Sound == nil {
		return nil, errors.New("invite: no sound side")
	}
	if o.Trunk != "" {
		return s.inviteTrunk(o)
	}
	h, ok := s.route(o.To)
	if !ok {
		return nil, fmt.Errorf("invite %s: %w", o.To.LineID, errNoDial)
	}
	if _, ok := parseURI(o.To.Contact); !ok {
		return nil, fmt.Errorf("invite %s: contact %q cannot be used", o.To.LineID, clip(o.To.Contact, 80))
	}
	var offer []byte
	if !o.Late {
		var err error
		if offer, err = o.Sound.Offer(); err != nil {
			return nil, fmt.Errorf("invite %s: offer: %w", o.To.LineID, err)
		}
	}
	l := s.newLeg(h)
	l.log = s.log.With("call", o.Call)
	l.binding = o.To
	l.line, _, ok = s.registrar.line(o.To.LineID)
	if !ok {
		l.line = store.Line{ID: o.To.LineID, AccountID: o.To.AccountID, DeviceID: o.To.DeviceID, UserID: o.To.UserID}
	}
	l.caller, l.self, l.shown = o.From, o.From.User, o.From
	l.callID = token() + token()
	l.sound, l.lateOffer = o.Sound, o.Late
	l.carried, l.alert, l.auto = o.Carried, o.Alert, o.AutoAnswer
	l.userAgent = o.To.UserAgent
	l.maxForwards = o.MaxForwards
	if l.maxForwards <= 0 || l.maxForwards > 255 {
		l.maxForwards = 70
	}
	host, _ := s.host(h)
	l.extra = divertedFields(host, o.Diverted)
	if o.Verified.Result != "" {
		l.extra = append(l.extra, field{"P-Asserted-Identity", o.Verified.shownWith(nameAddr(o.From, host))})
	}
	if o.Referrer.User != "" {
		l.extra = append(l.extra, field{"Referred-By", nameAddr(o.Referrer, host)}) // RFC 3892 §2.1, in our words: what the phone wrote is not to be trusted
	}
	l.dialog = dialog{
		local: nameAddr(o.From, host), remote: nameAddr(o.Called, host),
		target: o.To.Contact, routes: slices.Clone(o.To.Path), // RFC 3327 §5.3: the way back to the phone
	}
	l.Trace(o.Call)
	if !s.join(l) {
		return nil, fmt.Errorf("invite %s: %w", o.To.LineID, errClosed)
	}
	if err := l.dial(ctx, offer); err != nil {
		close(l.gone) // who found it meanwhile must not wait for a loop that never runs
		s.leave(l)
		return nil, fmt.Errorf("invite %s: %w", o.To.LineID, err)
	}
	s.tasks.Go(l.loop)
	return l, nil
}

// dial sends the INVITE, for the first time or with another session interval.
func (l *Leg) dial(ctx context.Context, offer []byte) error {
	hop := l.hop
	l.forks, l.heardFork = nil, nil
	req := l.draft(&l.dialog, sipmsg.INVITE, l.seq.Add(1))
	*req.MaxForwards() = sipmsg.MaxForwardsHeader(l.maxForwards)
	for _, f := range l.fields() {
		req.AppendHeader(sipmsg.NewHeader(f.name, f.value))
	}
	for _, f := range l.extra {
		req.AppendHeader(sipmsg.NewHeader(f.name, f.value))
	}
	for _, f := range l.carried.headers() {
		req.AppendHeader(sipmsg.NewHeader(f.name, f.value))
	}
	if l.auto {
		// RFC 5373 §4.1, and what makers had before it: Call-Info with answer-after, Alert-Info with info=alert-autoanswer.
		req.AppendHeader(sipmsg.NewHeader("Answer-Mode", "Auto"))
		req.AppendHeader(sipmsg.NewHeader("Call-Info", "<sip:"+hop.local.String()+">;answer-after=0"))
		if l.alert == "" {
			req.AppendHeader(sipmsg.NewHeader("Alert-Info", "<sip:"+hop.local.String()+">;info=alert-autoanswer;delay=0"))
		}
	}
	if l.alert != "" {
		req.AppendHeader(sipmsg.NewHeader("Alert-Info", l.alert))
	}
	l.session.ask(req)
	if offer != nil {
		describe(req, offer)
	} else {
		req.SetBody(nil)
	}
	if wider := l.fit(ctx, req); wider != hop {
		hop, l.hop = wider, wider
		req.ReplaceHeader(sipmsg.NewHeader("Contact", l.s.contact(hop, l.self)))
	}
	l.s.request(req, hop, newBranch())
	l.s.health.calling(hop)
	tx, err := l.s.send(ctx, req)
	if err != nil {
		return err
	}
	l.outgoing, l.outgoingTx = req, tx
	tx.OnRetransmission(func(res *sipmsg.Response) { l.repeated(res, req, hop) })
	l.dials++
	n := l.dials
	l.watch(tx, func(res *sipmsg.Response) { l.answeredBy(n, res) })
	return nil
}

// route returns the way to a binding; over TCP only a connection that is up is one.
func (s *Server) route(b store.Binding) (hop, bool) {
	h, ok := hopTo(b)
	if !ok {
		return h, false
	}
	if h.transport != "udp" {
		return h, s.flows.find(h) != nil
	}
	return h, s.listening(b.Local)
}

// send starts a client transaction.
func (s *Server) send(ctx context.Context, req *sipmsg.Request) (*sipmsg.ClientTx, error) {
	return s.txl.Request(ctx, req)
}

// watch brings the answers of a client transaction to the loop: each provisional
// one, then the final one, or nil if there was none. sipgo holds up its timers
// until an answer is taken, so somebody must always be there to take it.
func (l *Leg) watch(tx *sipmsg.ClientTx, on func(*sipmsg.Response)) {
	l.watchAgain(tx, 0, on)
}

// watchAgain watches a request that was refused before for want of credentials.
func (l *Leg) watchAgain(tx *sipmsg.ClientTx, refusals int, on func(*sipmsg.Response)) {
	l.pending++
	l.s.tasks.Go(func() {
		drain(tx, func(res *sipmsg.Response) { l.post(func() { l.heard(tx, res, refusals, on) }) })
	})
}

func (l *Leg) heard(tx *sipmsg.ClientTx, res *sipmsg.Response, refusals int, on func(*sipmsg.Response)) {
	if res == nil || res.StatusCode >= 200 {
		l.pending--
	}
	if res != nil {
		unpack(res)
	}
	if !l.challenged(tx, res, refusals, on) {
		on(res)
	}
}

// drain reads a client transaction to its final answer (nil if none came).
func drain(tx *sipmsg.ClientTx, on func(*sipmsg.Response)) {
	for {
		select {
		case res := <-tx.Responses():
			on(res)
			if res.StatusCode >= 200 {
				letGo(tx)
				return
			}
		case <-tx.Done():
			on(nil)
			return
		}
	}
}

// letGo ends a transaction of ours that has its final answer. Timer K (RFC 3261 §17.1.2.2) would hold it for the sake of
// repeated answers; those that come without a transaction mean nothing to anybody. An INVITE is needed for longer.
func letGo(tx *sipmsg.ClientTx) {
	if tx.Origin().IsInvite() {
		return
	}
	_ = tx.Err() // it waits for the step in which the answer came
	tx.Terminate()
}

// progressed takes an answer to our INVITE.
func (l *Leg) progressed(res *sipmsg.Response) {
	switch {
	case res == nil: // timer B (32 s) or the transport
		l.end(Cause{Code: 408, Reason: "Request Timeout"})
	case res.StatusCode < 200:
		l.provisional(res)
	case res.StatusCode < 300:
		l.taken(res)
	case res.StatusCode == 422 && l.state != over && l.session.larger(res):
		if err := l.dial(l.s.ctx, l.outgoing.Body()); err != nil { // RFC 4028 §7.3
			l.end(Cause{Code: 408, Reason: "Connection Lost"})
		}
	case l.redirected(res):
	default: // sipgo has sent the ACK
		c := Cause{Code: res.StatusCode, Reason: clip(res.Reason, 80), Remote: true, Q850: q850Of(res)}
		if l.course == nil {
			c.Moved = redirection(res)
		}
		if res.StatusCode == 430 {
			l.s.registrar.flowFailed(l.binding.ID)
		}
		l.end(c)
	}
}

func (l *Leg) provisional(res *sipmsg.Response) {
	if l.state == calling {
		l.state = ringing
	}
	if l.wantCancel && !l.sentCancel {
		l.sendCancel() // RFC 3261 §9.1: not before the first answer
	}
	if l.state == over {
		return
	}
	if res.StatusCode == 100 {
		if l.trunk.ID != "" { // that a carrier is there at all matters to the house
			l.report(Progress{Code: 100, Reason: clip(res.Reason, 80)})
		}
		return
	}
	p := Progress{Code: res.StatusCode, Reason: clip(res.Reason, 80)}
	if tag := tagOf(res.To().Params); tag != "" {
		f := l.forkOf(tag)
		if f == nil {
			return
		}
		l.meet(tag)
		l.rang(tag)
		f.learn(res)
		prack, ok := f.reliably(res)
		if !ok {
			return
		}
		var answer []byte
		p.Sound, answer = l.hearEarly(f, res, prack)
		if prack {
			l.prack(f, res, answer)
		}
		l.presentEarly()
	}
	l.report(p)
}

// report hands a provisional answer to the house. When nobody reads, the newest are kept.
func (l *Leg) report(p Progress) {
	for {
		select {
		case l.progress <- p:
			return
		default:
		}
		select {
		case <-l.progress: // the oldest makes room
		default:
		}
	}
}

// hearEarly takes the description of an 18x. Where our INVITE made no offer, a
// reliable one is the offer, and the answer goes into its PRACK (RFC 3262 §5).
func (l *Leg) hearEarly(f *fork, res *sipmsg.Response, reliable bool) (sound bool, answer []byte) {
	if !isSDP(res) || f.agreed {
		return false, nil // RFC 3261 §13.2.1: later descriptions mean nothing
	}
	body := bytes.Clone(res.Body())
	switch {
	case l.lateOffer && !reliable:
		return false, nil
	case l.lateOffer:
		var err error
		if answer, err = l.sound.Answer(body); err != nil {
			return false, nil
		}
	case l.heardFork == f && bytes.Equal(f.body, body):
	default:
		if err := l.sound.Accept(body); err != nil {
			return false, nil
		}
	}
	l.heardFork, f.body, f.agreed = f, body, reliable
	return true, answer
}

// taken takes the first 2xx: the call is up, or it is too late.
func (l *Leg) taken(res *sipmsg.Response) {
	tag := tagOf(res.To().Params)
	l.meet(tag)
	f := l.forkOf(tag)
	if f == nil {
		f = &fork{dialog: l.dialog}
		f.remoteTag = tag
	}
	f.learn(res)
	if f.shown != (Identity{}) {
		l.shown = f.shown
	}
	l.dialog = f.dialog
	var answer []byte
	err := ErrOver
	if l.state != over {
		answer, err = l.hearFinal(f, res)
	}
	l.ack(&l.dialog, l.outgoing, l.hop, answer)
	switch {
	case l.state == over:
		l.bye(l.cancelWhy) // the 200 crossed our CANCEL
		return
	case err != nil:
		c := Cause{Code: 488, Reason: "Not Acceptable Here"}
		l.bye(c)
		l.end(c)
		return
	}
	l.state = confirmed
	l.forks = nil
	l.session.agreed(l, res)
	close(l.answer)
	l.resume()
}

// hearFinal takes the description of the 2xx; that of an 18x may have said it already.
func (l *Leg) hearFinal(f *fork, res *sipmsg.Response) (answer []byte, err error) {
	switch {
	case f.agreed && (l.heardFork == f || l.lateOffer):
		return nil, nil
	case f.agreed:
		return nil, l.sound.Accept(f.body)
	case l.lateOffer && isSDP(res):
		return l.sound.Answer(res.Body())
	case l.lateOffer:
		return nil, errors.New("200 without an offer")
	case l.heardFork == f && (!isSDP(res) || bytes.Equal(f.body, res.Body())):
		return nil, nil
	case isSDP(res):
		return nil, l.sound.Accept(res.Body())
	case f.body != nil:
		return nil, l.sound.Accept(f.body)
	}
	return nil, errors.New("200 without a description")
}

// ack acknowledges a 2xx (RFC 3261 §13.2.2.4) and keeps the ACK: each
// repetition of the 2xx gets it again.
func (l *Leg) ack(d *dialog, invite *sipmsg.Request, h hop, answer []byte) {
	seq := invite.CSeq().SeqNo
	ack := l.draft(d, sipmsg.ACK, seq)
	if answer != nil {
		describe(ack, answer)
	} else {
		ack.SetBody(nil)
	}
	for _, name := range []string{"Authorization", "Proxy-Authorization"} { // RFC 3261 §22.1: the ACK has the credentials of its INVITE
		for _, h := range invite.GetHeaders(name) {
			ack.AppendHeader(sipmsg.NewHeader(name, h.Value()))
		}
	}
	l.s.request(ack, h, newBranch())
	l.mu.Lock()
	if len(l.acks) >= maxACKs { // re-INVITEs of a long call, all settled long since
		clear(l.acks)
	}
	l.acks[ackID{d.remoteTag, seq}] = ack
	l.mu.Unlock()
	l.s.write(ack)
}

// maxACKs bounds the ACKs kept for one call.
const maxACKs = 32

// ackID names an ACK: by the dialog of the 2xx and the number of the INVITE.
type ackID struct {
	tag string
	seq uint32
}

// write sends an ACK, the one request without transaction.
func (s *Server) write(ack *sipmsg.Request) {
	if err := s.tpl.WriteMsg(ack.Clone()); err != nil {
		s.log.Debug("ack not sent", "error", err)
	}
}

// repeated takes a 2xx that is not the first to an INVITE of ours: a repetition
// gets its ACK again, one of another phone (a fork) gets ACK and BYE. It runs
// outside the loop, since such answers may come after its end.
func (l *Leg) repeated(res *sipmsg.Response, invite *sipmsg.Request, h hop) {
	if res.StatusCode < 200 || res.StatusCode > 299 || res.CSeq() == nil || res.To() == nil {
		return
	}
	id := ackID{tagOf(res.To().Params), invite.CSeq().SeqNo}
	l.mu.Lock()
	ack, known := l.acks[id]
	decline := !known && tagOf(invite.To().Params) == "" && l.acknowledgedAny(id.seq) && len(l.acks) < maxACKs
	if decline {
		l.acks[id] = nil // its repetitions are not declined once more
	}
	l.mu.Unlock()
	switch {
	case ack != nil:
		l.s.write(ack)
	case decline:
		l.decline(res, id.tag, invite, h)
	}
}

// acknowledgedAny reports whether a 2xx to that INVITE was acknowledged; before that
// nobody knows which one wins. Called with mu held.
func (l *Leg) acknowledgedAny(seq uint32) bool {
	for id := range l.acks {
		if id.seq == seq {
			return true
		}
	}
	return false
}

// decline ends the dialog that a second callee of a fork made: RFC 3261 §13.2.2.4.
func (l *Leg) decline(res *sipmsg.Response, tag string, invite *sipmsg.Request, h hop) {
	d := dialog{local: bare(invite.From().Value()), remote: bare(invite.To().Value()), remoteTag: tag, target: invite.Recipient.String(), routes: recordedRoutes(res, true)}
	d.refresh(res)
	l.ack(&d, invite, h, nil)
	bye := l.draft(&d, sipmsg.BYE, l.seq.Add(1))
	bye.SetBody(nil)
	l.s.request(bye, h, newBranch())
	tx, err := l.s.send(l.s.ctx, bye)
	if err != nil {
		l.log.Debug("bye not sent", "error", err)
		return
	}
	l.s.tasks.Go(func() { drain(tx, func(*sipmsg.Response) {}) })
}

// cancel gives an unanswered INVITE up.
func (l *Leg) cancel(c Cause) {
	l.wantCancel, l.cancelWhy = true, c
	if l.state == ringing {
		l.sendCancel()
	}
}

// sendCancel sends the CANCEL (RFC 3261 §9.1). An INVITE that has no final answer
// after 64·T1 is taken for cancelled.
func (l *Leg) sendCancel() {
	l.sentCancel = true
	req := sipmsg.NewRequest(sipmsg.CANCEL, *l.outgoing.Recipient.Clone())
	req.AppendHeader(l.outgoing.Via().Clone())
	for _, h := range l.outgoing.GetHeaders("Route") {
		req.AppendHeader(sipmsg.HeaderClone(h))
	}
	maxForwards := sipmsg.MaxForwardsHeader(70)
	req.AppendHeader(&maxForwards)
	for _, name := range []string{"From", "To", "Call-ID"} {
		req.AppendHeader(sipmsg.NewHeader(name, header(l.outgoing, name)))
	}
	req.AppendHeader(&sipmsg.CSeqHeader{SeqNo: l.outgoing.CSeq().SeqNo, MethodName: sipmsg.CANCEL})
	for _, f := range reasonFields(l.cancelWhy) {
		req.AppendHeader(sipmsg.NewHeader(f.name, f.value))
	}
	req.SetBody(nil)
	l.s.steer(req, l.hop)
	tx, err := l.s.send(l.s.ctx, req)
	if err != nil {
		l.log.Debug("cancel not sent", "error", err)
	} else {
		l.watch(tx, func(*sipmsg.Response) {})
	}
	invite := l.outgoingTx
	l.after(64*t1, invite.Terminate) // harmless once it has ended
}

// bye ends a confirmed dialog.
func (l *Leg) bye(c Cause) {
	req := l.next(sipmsg.BYE)
	for _, f := range reasonFields(c) {
		req.AppendHeader(sipmsg.NewHeader(f.name, f.value))
	}
	req.SetBody(nil)
	tx, err := l.s.send(l.s.ctx, req)
	if err != nil {
		l.log.Debug("bye not sent", "error", err)
		return
	}
	l.watch(tx, func(*sipmsg.Response) {}) // whatever the answer, the dialog is over
}

func randomSeconds(n int) int { return rand.IntN(n) }

// backoff is how long to wait after a 491 (RFC 3261 §14.1): the owner of the
// Call-ID waits longer, so that the two sides do not meet again.
func (l *Leg) backoff() time.Duration {
	steps := rand.IntN(200) // of 10 ms
	if !l.uas {
		steps = 210 + rand.IntN(190)
	}
	return time.Duration(steps) * 10 * time.Millisecond
}
