package sip

import (
	"context"
	"errors"
	"strings"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// renegotiator is one wish to change the session.
type renegotiator struct {
	ctx    context.Context
	result chan error // cap 1
	req    *sipmsg.Request
	told   bool
	who    *Identity // what the peer is to be told; nil: the session is to change
	offer  bool      // our offer is open
}

func (r *renegotiator) done(err error) {
	if !r.told {
		r.told = true
		r.result <- err
	}
}

// renegotiate starts a re-INVITE, or queues it while another INVITE is under
// way in either direction (RFC 3261 §14.1).
func (l *Leg) renegotiate(r *renegotiator) {
	switch {
	case l.state == over:
		r.done(ErrOver)
	case l.state != confirmed && l.state != answered:
		r.done(ErrState)
	case l.changing != nil || l.accepted != nil:
		l.enqueue(r)
	case r.ctx.Err() != nil:
		r.done(r.ctx.Err())
		l.resume()
	case l.announced(r):
		r.done(nil)
		l.resume()
	case r.who != nil && l.session.update:
		l.changing = r
		l.become(r)
		l.update(r)
	default:
		l.changing = r
		l.become(r)
		l.reinvite(r)
	}
}

// enqueue lets a wish wait for its turn.
func (l *Leg) enqueue(r *renegotiator) {
	if len(l.queued) >= 16 {
		r.done(ErrState)
		return
	}
	l.queued = append(l.queued, r)
}

// settled waits for the end of a wish.
func (l *Leg) settled(ctx context.Context, r *renegotiator) error {
	select {
	case err := <-r.result:
		return err
	case <-l.gone:
		return ErrOver
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resume starts the next wish once nothing is under way.
func (l *Leg) resume() {
	if l.state == confirmed && l.changing == nil && l.accepted == nil && len(l.queued) > 0 {
		r := l.queued[0]
		l.queued = l.queued[1:]
		l.renegotiate(r)
	}
}

func (l *Leg) reinvite(r *renegotiator) {
	offer, err := l.sound.Offer()
	if err != nil {
		l.changed(r, err)
		return
	}
	req := l.next(sipmsg.INVITE)
	for _, f := range append(l.fields(), l.identity()...) {
		req.AppendHeader(sipmsg.NewHeader(f.name, f.value))
	}
	l.session.renew(req)
	describe(req, offer)
	r.req, r.offer = req, true
	tx, err := l.s.send(l.s.ctx, req)
	if err != nil {
		l.changed(r, err)
		return
	}
	hop := l.hop
	tx.OnRetransmission(func(res *sipmsg.Response) { l.repeated(res, req, hop) })
	l.watch(tx, func(res *sipmsg.Response) { l.reinviteAnswered(r, res) })
}

// changed ends a wish.
func (l *Leg) changed(r *renegotiator, err error) {
	if l.changing == r {
		l.changing = nil
	}
	var refused *Refusal
	if r.who != nil && errors.As(err, &refused) {
		err = nil // a peer that does not want to know who is there
	}
	r.done(err)
	l.resume()
}

func (l *Leg) reinviteAnswered(r *renegotiator, res *sipmsg.Response) {
	switch {
	case res != nil && res.StatusCode < 200:
	case res != nil && res.StatusCode < 300:
		l.ack(&l.dialog, r.req, l.hop, nil)
		if l.state == over {
			return // our BYE crossed it
		}
		l.dialog.refresh(res)
		l.session.agreed(l, res)
		err := errors.New("2xx to a re-INVITE without a description")
		if isSDP(res) {
			err = l.sound.Accept(res.Body())
		}
		if err != nil {
			c := Cause{Code: 488, Reason: "Not Acceptable Here"}
			l.bye(c)
			l.end(c)
			return
		}
		l.changed(r, nil)
	case l.state == over:
	case res != nil && res.StatusCode == 422 && l.session.larger(res):
		l.reinvite(r)
	case res != nil && res.StatusCode == 491:
		l.again(r)
	case res == nil || res.StatusCode == 408 || res.StatusCode == 481:
		// RFC 3261 §12.2.1.2: the peer is gone, or knows nothing of the dialog.
		c := Cause{Code: 408, Reason: "Request Timeout"}
		if res != nil {
			c = Cause{Code: res.StatusCode, Reason: clip(res.Reason, 80)}
		}
		l.bye(c)
		l.end(c)
	default: // RFC 6141 §3.6: the session stays as it was, and the peer is there
		l.session.start(l)
		l.changed(r, &Refusal{res.StatusCode, clip(res.Reason, 80)})
	}
}

// again repeats a wish that met one of the peer's, once both had time to end.
func (l *Leg) again(r *renegotiator) {
	l.after(l.backoff(), func() {
		if l.state != confirmed || l.changing != r {
			return
		}
		l.changing, r.offer = nil, false
		if l.announced(r) {
			l.shown = Identity{} // it was not heard
		}
		l.renegotiate(r)
	})
}

// deferred is a re-INVITE that waits for the ACK that was sent before it.
type deferred struct{ serve, end func() }

// reinvited serves a re-INVITE of the peer.
func (l *Leg) reinvited(req *sipmsg.Request, tx *sipmsg.ServerTx, respond func(int, string, ...field), served func()) {
	switch {
	case l.state == ringing || l.state == calling:
		respond(500, "Request Pending", retryAfter()) // RFC 3261 §14.2: the first INVITE has no final answer yet
		return
	case l.changing != nil && l.changing.offer:
		respond(491, "Request Pending") // RFC 3261 §14.2: glare
		return
	case l.accepted != nil && l.deferred == nil:
		// The ACK may come after the re-INVITE that followed it: wait for it.
		l.deferred = &deferred{
			serve: func() { l.reinvited(req, tx, respond, served) },
			end:   func() { respond(487, "Request Terminated") },
		}
		return
	case l.accepted != nil:
		respond(500, "Request Pending", retryAfter())
		return
	case l.state == over:
		respond(481, "Call/Transaction Does Not Exist")
		return
	case len(req.Body()) > 0 && !isSDP(req):
		respond(415, "Unsupported Media Type", field{"Accept", "application/sdp"})
		return
	}
	if sessionTooSmall(req) {
		respond(422, "Session Interval Too Small", leastSession())
		return
	}
	var sdp []byte
	var err error
	late := !isSDP(req)
	if late {
		sdp, err = l.negotiator().Offer()
	} else {
		sdp, err = l.negotiator().Answer(req.Body())
	}
	if err != nil {
		respond(488, "Not Acceptable Here") // RFC 3261 §14.2: and nothing has changed
		return
	}
	l.dialog.refresh(req)
	l.supports(req)
	res := l.s.answer(req, 200, "OK", nil, append(l.fields(), l.identity()...)...)
	l.session.accept(req, res)
	describe(res, sdp)
	l.accept(&accepted{tx: tx, res: res, seq: req.CSeq().SeqNo, late: late, served: served})
	l.session.start(l)
}

// updated serves an UPDATE (RFC 3311).
func (l *Leg) updated(req *sipmsg.Request, tx *sipmsg.ServerTx, respond func(int, string, ...field), served func()) {
	if sessionTooSmall(req) {
		respond(422, "Session Interval Too Small", leastSession())
		return
	}
	offer := isSDP(req)
	tag := tagOf(req.From().Params)
	ours, theirs := l.offerOpen(tag)
	switch {
	case len(req.Body()) > 0 && !offer:
		respond(415, "Unsupported Media Type", field{"Accept", "application/sdp"})
		return
	case offer && ours:
		respond(491, "Request Pending") // RFC 3311 §5.2: our offer is open
		return
	case offer && theirs:
		respond(500, "Request Pending", retryAfter()) // RFC 3311 §5.2: theirs is
		return
	}
	var sdp []byte
	if offer {
		var err error
		if sdp, err = l.negotiator().Answer(req.Body()); err != nil {
			respond(488, "Not Acceptable Here")
			return
		}
	}
	l.dialogOf(tag).refresh(req)
	l.supports(req)
	res := l.s.answer(req, 200, "OK", nil, append(l.fields(), l.identity()...)...)
	if l.state == confirmed {
		l.session.accept(req, res)
		l.session.start(l)
	}
	if offer {
		describe(res, sdp)
	}
	if err := tx.Respond(res); err != nil {
		l.log.Debug("answer not sent", "code", 200, "error", err)
	}
	served()
}

// offerOpen reports whose offer waits for its answer in the dialog with that tag.
func (l *Leg) offerOpen(tag string) (ours, theirs bool) {
	switch {
	case l.changing != nil && l.changing.offer:
		return true, false
	case l.accepted != nil:
		return l.accepted.late, false
	case l.state == ringing && l.uas:
		return l.unproven != nil && l.unproven.offer, !l.agreed
	case l.state == ringing || l.state == calling:
		for _, f := range l.forks {
			if f.remoteTag == tag {
				return !f.agreed, false
			}
		}
		return true, false
	}
	return false, false
}

// informed serves an INFO (RFC 6086, and the digits of older phones).
func (l *Leg) informed(req *sipmsg.Request, respond func(int, string, ...field)) {
	if header(req, "Info-Package") != "" {
		respond(469, "Bad Info Package", field{"Recv-Info", ""}) // RFC 6086 §4.2.2: none is understood
		return
	}
	kind, _, _ := strings.Cut(strings.ToLower(header(req, "Content-Type")), ";")
	body := string(req.Body())
	switch trim(kind) {
	case "application/dtmf-relay":
		signal := ""
		for line := range strings.Lines(body) {
			name, value, _ := strings.Cut(line, "=")
			if strings.EqualFold(trim(name), "Signal") {
				signal = trim(value)
			}
		}
		l.press(signal)
	case "application/dtmf":
		l.press(trim(body))
	default:
		if len(body) > 0 {
			respond(415, "Unsupported Media Type", field{"Accept", "application/dtmf-relay, application/dtmf"})
			return
		}
	}
	respond(200, "OK")
}

// press takes one key: its character, or the event number of RFC 4733.
func (l *Leg) press(key string) {
	numbers := map[string]string{"10": "*", "11": "#", "12": "A", "13": "B", "14": "C", "15": "D"}
	if k, ok := numbers[key]; ok {
		key = k
	}
	key = strings.ToUpper(key)
	if len(key) != 1 || !strings.Contains("0123456789*#ABCD", key) {
		return
	}
	select {
	case l.digits <- rune(key[0]):
	default: // nobody listens
	}
}

// Session timers, RFC 4028.
const (
	sessionInterval = 30 * time.Minute
	minSession      = 90 * time.Second
	maxSession      = 24 * time.Hour
)

// sessionTimer finds out in time that a peer is gone. Where the peer leaves the
// choice to us we refresh, with and without its support of the extension.
type sessionTimer struct {
	interval time.Duration // 0: not agreed
	floor    time.Duration // what a 422, or the peer's Min-SE, asked for
	raised   int           // how often a 422 did
	ours     bool          // we refresh
	update   bool          // the peer takes UPDATE
	timer    *time.Timer
	turn     int // counts timers, so that a stopped one that fired already does nothing
}

// sessionTooSmall finds intervals that would make work without use: 422 (RFC 4028 §9),
// unless the peer would not know what that means.
func sessionTooSmall(req *sipmsg.Request) bool {
	text, _, _ := strings.Cut(header(req, "Session-Expires"), ";")
	return text != "" && seconds(text, sessionInterval) < minSession && hasOption(req, "Supported", "timer")
}

// leastSession is what a 422 says.
func leastSession() field { return field{"Min-SE", secondsText(minSession)} }

// ask puts our wish into an INVITE.
func (t *sessionTimer) ask(req *sipmsg.Request) {
	if t.interval == 0 {
		t.interval = sessionInterval
	}
	req.AppendHeader(sipmsg.NewHeader("Session-Expires", secondsText(t.interval)))
	if t.floor > 0 {
		req.AppendHeader(sipmsg.NewHeader("Min-SE", secondsText(t.floor)))
	}
}

// larger takes the minimum that a 422 asks for (RFC 4028 §7.3). One on the way after
// another may ask for more, but not for ever.
func (t *sessionTimer) larger(res *sipmsg.Response) bool {
	floor := seconds(header(res, "Min-SE"), 0)
	if t.raised == 4 || floor <= t.interval || floor > maxSession {
		return false
	}
	t.raised++
	t.interval, t.floor = floor, floor
	return true
}

// renew puts what was agreed into a request that refreshes (RFC 4028 §7.4).
func (t *sessionTimer) renew(req *sipmsg.Request) {
	if t.interval == 0 {
		return
	}
	role := "uas"
	if t.ours {
		role = "uac"
	}
	req.AppendHeader(sipmsg.NewHeader("Session-Expires", secondsText(t.interval)+";refresher="+role))
	// RFC 4028 §7.4: never less than what a 422 of this call asked for.
	req.AppendHeader(sipmsg.NewHeader("Min-SE", secondsText(max(minSession, t.floor))))
}

// accept reads the wish of a request and puts the agreement into our 2xx (RFC 4028 §9).
func (t *sessionTimer) accept(req *sipmsg.Request, res *sipmsg.Response) {
	text, rest, _ := strings.Cut(header(req, "Session-Expires"), ";")
	t.interval, t.ours = sessionInterval, true
	if floor := seconds(header(req, "Min-SE"), 0); floor <= maxSession {
		t.floor = max(t.floor, floor)
		t.interval = max(t.interval, floor) // RFC 4028 §9: also where the peer leaves the interval to us
	}
	if text != "" {
		t.interval = min(max(seconds(text, sessionInterval), minSession, t.floor), maxSession)
		if ps, ok := parseParams(rest); ok {
			who, _ := ps.get("refresher")
			t.ours = !strings.EqualFold(who, "uac") || !hasOption(req, "Supported", "timer")
		}
	}
	role := "uas"
	if !t.ours {
		role = "uac"
		res.AppendHeader(sipmsg.NewHeader("Require", "timer"))
	}
	res.AppendHeader(sipmsg.NewHeader("Session-Expires", secondsText(t.interval)+";refresher="+role))
}

// agreed reads the agreement in a 2xx of the peer (RFC 4028 §7.2).
func (t *sessionTimer) agreed(l *Leg, res *sipmsg.Response) {
	l.supports(res)
	text, rest, _ := strings.Cut(header(res, "Session-Expires"), ";")
	t.ours = true // a peer without timers is asked by us all the same
	if t.interval == 0 {
		t.interval = sessionInterval
	}
	if text != "" {
		t.interval = min(max(seconds(text, sessionInterval), minSession), maxSession)
		if ps, ok := parseParams(rest); ok {
			who, _ := ps.get("refresher")
			t.ours = !strings.EqualFold(who, "uas")
		}
	}
	t.start(l)
}

// start counts from now: half the interval until we refresh, or until the peer
// is given up for missing its refresh (RFC 4028 §10).
func (t *sessionTimer) start(l *Leg) {
	t.stop()
	if t.interval == 0 || l.state != confirmed {
		return
	}
	t.turn++
	turn := t.turn
	d := t.interval / 2
	if !t.ours {
		d = t.interval - min(32*time.Second, t.interval/3)
	}
	t.timer = l.after(d, func() {
		if t.turn != turn || l.state != confirmed {
			return
		}
		if t.ours {
			l.refreshSession()
			return
		}
		c := Cause{Code: 408, Reason: "Session Expired"}
		l.bye(c)
		l.end(c)
	})
}

func (t *sessionTimer) stop() {
	t.turn++
	if t.timer != nil {
		t.timer.Stop()
	}
}

// refreshSession asks the peer whether it is still there: by UPDATE if it knows
// that, else by a re-INVITE.
func (l *Leg) refreshSession() {
	if l.changing != nil || l.accepted != nil {
		l.session.start(l) // something else is refreshing it
		return
	}
	if !l.session.update {
		l.renegotiate(&renegotiator{ctx: l.s.ctx, result: make(chan error, 1)})
		return
	}
	l.update(nil)
}

// update sends an UPDATE without an offer: it refreshes the session and, for a
// wish, tells who is there.
func (l *Leg) update(r *renegotiator) {
	req := l.next(sipmsg.UPDATE)
	for _, f := range append(l.fields(), l.identity()...) {
		req.AppendHeader(sipmsg.NewHeader(f.name, f.value))
	}
	l.session.renew(req)
	req.SetBody(nil)
	tx, err := l.s.send(l.s.ctx, req)
	if err != nil {
		l.log.Debug("update not sent", "error", err)
		l.end(Cause{Code: 408, Reason: "Connection Lost"})
		return
	}
	l.watch(tx, func(res *sipmsg.Response) { l.updateAnswered(r, res) })
}

func (l *Leg) updateAnswered(r *renegotiator, res *sipmsg.Response) {
	var err error
	switch {
	case l.state != confirmed || res != nil && res.StatusCode < 200:
		return
	case res == nil || res.StatusCode == 408 || res.StatusCode == 481:
		c := Cause{Code: 408, Reason: "Session Expired"}
		l.bye(c)
		l.end(c)
		return
	case res.StatusCode < 300:
		l.dialog.refresh(res)
		l.session.agreed(l, res)
	case res.StatusCode == 422 && l.session.larger(res):
		l.update(r)
		return
	case res.StatusCode == 491 && r != nil:
		l.again(r)
		return
	case res.StatusCode == 405 || res.StatusCode == 501: // it said it knew UPDATE
		l.session.update = false
		l.session.start(l)
		if r != nil {
			l.reinvite(r)
			return
		}
	default: // it is there, and does not like to be asked this way
		l.session.start(l)
		err = &Refusal{res.StatusCode, clip(res.Reason, 80)}
	}
	if r != nil {
		l.changed(r, err)
	}
}

// hasOption reports whether a list of option tags has one.
func hasOption(m sipmsg.Message, name, option string) bool {
	for _, item := range headerList(m, name) {
		if strings.EqualFold(item, option) {
			return true
		}
	}
	return false
}

// allows reports whether a message lists a method in Allow.
func allows(m sipmsg.Message, method string) bool {
	for _, item := range headerList(m, "Allow") {
		if item == method {
			return true
		}
	}
	return false
}
