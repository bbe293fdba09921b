package sip

import (
	"slices"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

const (
	timerT1 = 500 * time.Millisecond // RFC 3261 §17.1.1.1
	timerT2 = 4 * time.Second
	timerF  = 64 * timerT1

	// lampWindow is how many NOTIFY requests may be on their way to one phone. The next ones wait for its answers, so a
	// phone with sixty lamps is not flooded; one that answers nothing is asked with a single one.
	lampWindow = 8
	// maxFlying is how many NOTIFY requests may be on their way to all phones together before one has few of them only.
	maxFlying, fewFlying = 1024, 2
	// lampGather is how long news waits for more of it: what a call does in one instant is one NOTIFY, not three.
	lampGather = 20 * time.Millisecond
	// lampPatience is how long the first NOTIFY waits before its lamp is told anew, by a request of its own.
	lampPatience = 4 * timerT1
	// lampRest is how often a lamp is tried whose phone is registered but answers nothing.
	lampRest = time.Minute
)

// phoneKey is a line at one place.
type phoneKey struct {
	line store.ID
	hop  hop
}

// phone is where a line watches from. While it has news to be told, one goroutine tells them.
type phone struct {
	line   store.Line
	hop    hop
	subs   int
	queue  []*subscription // with news, in order of their coming; those whose NOTIFY waits for its answer too
	window int             // how many may wait
	silent time.Time       // since when it answers nothing; zero: it answers
	tries  int             // how often it was asked since
	asked  time.Time       // the last time
	due    time.Time       // not before then again
	busy   bool            // the goroutine runs
	wake   chan struct{}   // cap 1
}

// flight is a NOTIFY that waits for its answer. It is our own client transaction of RFC 3261 §17.1.2: one of the stack
// would keep two goroutines, and lingers for five seconds.
type flight struct {
	branch   string
	req      *sipmsg.Request
	phone    *phone
	line     store.ID
	sent     time.Time
	again    time.Time // when it is repeated
	interval time.Duration
	giveUp   time.Time
	last     bool // it ends the subscription
}

// phoneOf returns where a line watches from; mu is held.
func (e *events) phoneOf(line store.Line, h hop) *phone {
	key := phoneKey{line.ID, h}
	p := e.phones[key]
	if p == nil {
		p = &phone{hop: h, window: lampWindow, wake: make(chan struct{}, 1)}
		e.phones[key] = p
	}
	p.line = line
	return p
}

// leave takes one subscription from a phone; mu is held.
func (e *events) leave(p *phone) {
	if p.subs--; p.subs == 0 && !p.busy {
		e.forget(p)
	}
}

// lives notes that something came from the phone. What it was not heard to answer while it was silent is repeated at once.
func (p *phone) lives() {
	if p.tries > 0 {
		now := time.Now()
		for _, sub := range p.queue {
			if f := sub.flight; f != nil && p.hop.transport == "udp" {
				f.again = now
			}
		}
	}
	p.window, p.silent, p.tries, p.due = lampWindow, time.Time{}, 0, time.Time{}
	signal(p.wake)
}

// patience is how long a NOTIFY waits for its answer: longer and longer, until the phone is only looked for now and then.
func (p *phone) patience() time.Duration {
	if p.tries > 4 {
		return 4 * lampPatience
	}
	return min(lampPatience<<p.tries, timerF)
}

func (e *events) forget(p *phone) {
	if key := (phoneKey{p.line.ID, p.hop}); e.phones[key] == p {
		delete(e.phones, key)
	}
}

// move has a subscription told by another way; mu is held. A NOTIFY on the former way is not waited for.
func (e *events) move(sub *subscription, to *phone) {
	from := sub.phone
	e.land(sub)
	if sub.queued {
		sub.queued = false
		from.queue = slices.DeleteFunc(from.queue, func(o *subscription) bool { return o == sub })
	}
	sub.phone = to
	to.subs++
	e.leave(from)
	e.want(sub, true)
}

// land ends the wait for the answer to a NOTIFY; mu is held.
func (e *events) land(sub *subscription) {
	if sub.flight != nil {
		delete(e.flights, sub.flight.branch)
		sub.flight = nil
	}
}

// want has the state told, forced or only if it is news; mu is held.
func (e *events) want(sub *subscription, forced bool) {
	if soon := time.Now().Add(lampGather); !forced && !sub.wanted && sub.pkg.gathers && sub.due.Before(soon) {
		sub.due = soon
	}
	sub.wanted, sub.forced = true, sub.forced || forced
	p := sub.phone
	if !sub.queued {
		sub.queued = true
		p.queue = append(p.queue, sub)
	}
	if p.busy {
		signal(p.wake)
		return
	}
	p.busy = true
	e.s.tasks.Go(func() { e.tell(p) })
}

// tell sends a phone its news until there are none.
func (e *events) tell(p *phone) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		f, worked, wait := e.turn(p)
		switch {
		case f != nil: // without a turn: a connection that is not read takes its time
			e.send(f)
			continue
		case worked:
			continue
		case wait == 0:
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-p.wake:
		case <-e.s.ctx.Done():
		}
	}
}

// turn does one piece of work for a phone, once it is its turn: what is to be sent then, if anything, whether that was all
// of it, and else how long there is nothing to do; 0: for good.
func (e *events) turn(p *phone) (f *flight, worked bool, wait time.Duration) {
	e.turns <- struct{}{}
	defer func() { <-e.turns }()
	e.mu.Lock()
	sub, again, wait := e.next(p, time.Now())
	if sub == nil && again == nil && len(p.queue) == 0 || e.s.ctx.Err() != nil {
		p.busy = false
		if p.subs == 0 {
			e.forget(p)
		}
		e.mu.Unlock()
		return nil, false, 0
	}
	e.mu.Unlock()
	switch {
	case again != nil:
		return again, true, 0
	case sub != nil:
		return e.notify(p, sub), true, 0
	}
	return nil, false, max(wait, time.Nanosecond)
}

// send sends a NOTIFY, or sends it again.
func (e *events) send(f *flight) {
	err := e.s.tpl.WriteMsg(f.req.Clone())
	if err == nil {
		return
	}
	e.s.log.Debug("notify not sent", "line", f.line, "error", err)
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if sub := e.flights[f.branch]; sub != nil && sub.flight == f {
		f.giveUp = now // the connection is gone: another way is looked for at once
		if f.phone.tries > 0 {
			f.phone.due = now.Add(f.phone.patience())
		}
	}
}

// next picks what is to be done for a phone now: a subscription to be told, a NOTIFY to be repeated, or how long there is
// nothing to do; mu is held.
func (e *events) next(p *phone, now time.Time) (sub *subscription, again *flight, wait time.Duration) {
	flying := 0
	wait = time.Hour
	for _, sub := range slices.Clone(p.queue) {
		f := sub.flight
		switch {
		case f == nil:
			continue
		case !f.giveUp.After(now), sub.wanted && !f.last && !f.again.After(now): // what it says is old by now
			e.unanswered(sub, now)
			continue
		case !f.again.After(now):
			if f.phone.hop.transport == "udp" {
				f.interval = min(2*f.interval, timerT2)
				f.again = now.Add(f.interval)
				e.repaired(sub)
				return nil, f, 0
			}
			f.again = f.giveUp
		}
		flying++
		wait = min(wait, f.again.Sub(now), f.giveUp.Sub(now))
	}
	kept := p.queue[:0]
	for _, o := range p.queue {
		if o.flight == nil && (!o.wanted || o.ended) {
			o.queued = false
			continue
		}
		kept = append(kept, o)
		switch {
		case sub != nil, o.flight != nil, flying >= p.window, flying >= fewFlying && len(e.flights) > maxFlying:
		case o.due.After(now), p.due.After(now):
			wait = min(wait, max(o.due.Sub(now), p.due.Sub(now)))
		default:
			sub = o
		}
	}
	clear(p.queue[len(kept):])
	p.queue = kept
	return sub, nil, wait
}

// repaired counts that a lamp had to be told again because the phone did not say that it heard; mu is held.
func (e *events) repaired(sub *subscription) {
	sub.repairs++
	e.repairs.Add(1)
}

// unanswered takes note that nothing came back; mu is held.
//
// RFC 6665 §4.2.2 ends a subscription whose NOTIFY times out. A lamp that goes out for an hour because some packets were
// lost is what people call a broken telephone, and the phone would go on believing in its subscription. So it ends only
// when the line is not registered any more either, or the phone says 481; until then the state is told again, by a new
// transaction each time and ever more seldom.
func (e *events) unanswered(sub *subscription, now time.Time) {
	f := sub.flight
	outdated := f.giveUp.After(now)
	e.land(sub)
	if f.last {
		return
	}
	e.repaired(sub)
	sub.wanted, sub.forced = true, true
	if outdated {
		return
	}
	p := sub.phone
	p.window = 1
	if p.silent.IsZero() {
		p.silent = f.giveUp
	}
	if !f.sent.Before(p.asked) { // of several that were under way together one counts
		p.tries, p.asked = p.tries+1, now
	}
	h, reachable := e.reroute(p)
	switch {
	case !reachable && now.Sub(p.silent) >= timerF-2*lampPatience:
		e.s.log.Info("subscriptions ended", "line", p.line.ID, "source", p.hop.remote, "why", "no answer")
		for _, o := range slices.Clone(e.lines[p.line.ID]) {
			if o.phone == p {
				o.wanted = false
				e.drop(o)
			}
		}
		return
	case p.tries > 4:
		p.due = now.Add(lampRest)
	}
	if reachable && h != p.hop {
		e.move(sub, e.phoneOf(p.line, h))
	}
}

// reroute returns where a line is registered now: at its place, or else where it came up last.
func (e *events) reroute(p *phone) (hop, bool) {
	_, bindings, _ := e.s.registrar.line(p.line.ID)
	now := time.Now()
	found, ok := hop{}, false
	var newest time.Time
	for _, b := range bindings {
		h, up := e.s.route(b)
		if !up || !b.ExpiresAt.After(now) {
			continue
		}
		if h == p.hop {
			return h, true
		}
		if !ok || b.RegisteredAt.After(newest) {
			found, newest, ok = h, b.RegisteredAt, true
		}
	}
	return found, ok
}

// notify makes the NOTIFY that tells one subscription how things stand; nil: there is no news. Only the goroutine of its
// phone does.
func (e *events) notify(p *phone, sub *subscription) *flight {
	e.mu.Lock()
	if sub.phone != p || sub.ended {
		e.mu.Unlock()
		return nil
	}
	sub.wanted = false
	forced := sub.forced
	sub.forced = false
	view := sub.view() // the document is made without the lock, for the call engine is asked
	e.mu.Unlock()
	doc := sub.pkg.composeFor(e, view)
	e.mu.Lock()
	if sub.ended || sub.phone != p {
		if sub.list != nil {
			sub.list.full = true // what the document said was not sent
		}
		e.mu.Unlock()
		return nil
	}
	if !forced && doc.mark == sub.mark && !sub.acked.IsZero() {
		e.mu.Unlock()
		return nil
	}
	req := e.draft(sub, doc)
	now := time.Now()
	f := &flight{
		branch: e.s.lane.newBranch(), req: req, phone: p, line: p.line.ID, interval: timerT1, sent: now, again: now.Add(timerT1),
		giveUp: now.Add(p.patience()), last: sub.why != "",
	}
	if p.hop.transport != "udp" {
		f.again = f.giveUp // RFC 3261 §17.1.2.2: nothing is repeated on a stream
	}
	e.s.request(req, p.hop, f.branch)
	sub.flight, e.flights[f.branch] = f, sub
	sub.version++
	sub.sent, sub.sentAt, sub.mark, sub.acked = doc.state, now, doc.mark, time.Time{}
	sub.shown = doc.ids
	for _, id := range doc.ids {
		if !slices.Contains(sub.known, id) {
			sub.known = append(slices.Clip(sub.known), id)
		}
	}
	if f.last {
		e.drop(sub)
	}
	e.mu.Unlock()
	return f
}

// composeFor makes the document of a subscription, whatever it watches.
func (pkg *eventPackage) composeFor(e *events, sub *subscription) document {
	if sub.list != nil {
		return composeList(e, sub)
	}
	return pkg.compose(e, sub)
}

// draft writes a NOTIFY; mu is held.
func (e *events) draft(sub *subscription, doc document) *sipmsg.Request {
	sub.dialog.localSeq++
	state := "active;expires=" + secondsText(max(0, time.Until(sub.expires)))
	if sub.why != "" {
		state = "terminated;reason=" + sub.why
	}
	d := &sub.dialog
	req := draftRequest(sipmsg.NOTIFY, d.target, d.routes, e.s)
	req.AppendHeader(sipmsg.NewHeader("From", d.local+";tag="+sub.tag))
	req.AppendHeader(sipmsg.NewHeader("To", d.remote+";tag="+d.remoteTag))
	callID := sipmsg.CallIDHeader(sub.callID)
	req.AppendHeader(&callID)
	req.AppendHeader(&sipmsg.CSeqHeader{SeqNo: d.localSeq, MethodName: sipmsg.NOTIFY})
	event := sub.pkg.name
	if sub.id != "" {
		event += ";id=" + sub.id
	}
	fields := []field{{"Contact", e.s.contact(sub.phone.hop, sub.phone.line.Username)}, {"Event", event}, {"Subscription-State", state}}
	if sub.list != nil {
		fields = append(fields, field{"Require", "eventlist"}) // RFC 4662 §4.1
	}
	if len(doc.body) > 0 {
		fields = append(fields, field{"Content-Type", doc.contentType})
	}
	for _, f := range fields {
		req.AppendHeader(sipmsg.NewHeader(f.name, f.value))
	}
	req.SetBody(doc.body)
	return req
}

// answered takes the answer to a NOTIFY of a subscription. It may be one that nobody waits for any more.
func (e *events) answered(branch string, code int, retryAfter string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sub := e.flights[branch]
	if sub == nil || code < 200 {
		return
	}
	f := sub.flight
	e.land(sub)
	f.phone.lives()
	sub.due = time.Time{}
	now := time.Now()
	switch {
	case code < 300:
		sub.acked = now
		sub.known = sub.shown
	case endsUsage[code]: // RFC 6665 §4.2.2, RFC 5057 §5.1
		e.s.log.Debug("subscription ended", "line", sub.phone.line.ID, "event", sub.pkg.name, "code", code)
		sub.wanted = false
		e.drop(sub)
	case code == 408, code == 491, code >= 500:
		// It did not hear, but it is there.
		e.repaired(sub)
		after := lampPatience
		if retryAfter != "" {
			after = min(max(seconds(retryAfter, after), time.Second), lampRest)
		}
		sub.wanted, sub.forced, sub.due = true, true, now.Add(after)
	default:
		sub.acked = now // it heard, and will not like it better next time
	}
}

// endsUsage are the answers to a NOTIFY that end its subscription.
var endsUsage = map[int]bool{404: true, 405: true, 410: true, 416: true, 480: true, 481: true, 484: true, 485: true, 489: true, 501: true, 604: true}
