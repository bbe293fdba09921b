package call

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"pbx/dialplan"
	"pbx/media"
	"pbx/sip"
	"pbx/store"
)

// A report is how somebody who asked for a transfer learns what becomes of it: *sip.Transfer, or nobody's.
type report interface {
	Progress(code int, reason string)
	Done(code int, reason string)
}

// unreported is the transfer of somebody who watches the call anyway.
type unreported struct{}

func (unreported) Progress(int, string) {}
func (unreported) Done(int, string)     {}

// refer is the wish of a party that the other one talks to somebody else.
type refer struct {
	by       *Party
	to       string        // blind: whom to dial
	instead  *sip.DialogID // attended: the call of by that the other one is to take over
	into     *sip.Leg      // the same, as the house knows it
	early    bool          // and only before it is answered
	told     report
	referrer string // who the phone says it refers for; shown, never trusted
}

// takeOver is the wish that a party of another call takes the place of one of this call.
type takeOver struct {
	of, by *Party
	back   *Party // who transferred by, in the call that by comes from; nil when by came on its own
	early  bool   // only if of was not answered yet
	told   report
	offer  *atomic.Bool // by waits for this no longer than it can; whoever sets it decides. nil: by waits for nothing
}

// taken moves by into c, unless they gave up or went elsewhere meanwhile.
func (w takeOver) taken(c *Call) bool {
	return (w.offer == nil || w.offer.CompareAndSwap(false, true)) && c.engine.board.Take(w.by, c)
}

func (refer) wish()    {}
func (takeOver) wish() {}

// handover is a transfer under way: somebody was sent on, and the one who did that waits for what becomes of it. The
// transferor stays a party of the call, whatever its step, until that is known: a target that cannot be reached leads
// back (RFC 5589 §6.3).
type handover struct {
	by     *Party // nil once they hung up
	caller bool   // by had the caller's place
	who    store.CallParty
	left   *Party // who was sent on
	told   report
	first  *[2]store.CallParty // what the record says, unless it leads back
}

// seeking is a step that still looks for somebody to talk to.
type seeking interface{ seeking() }

func (routing) seeking() {}
func (ringing) seeking() {}
func (dialing) seeking() {}

// Asked takes a wish of a peer.
func (e *Engine) Asked(l *sip.Leg, a sip.Ask) {
	t, ok := a.(*sip.Transfer)
	if !ok {
		return
	}
	p, at := e.board.at(l)
	if p == nil || at.rings || !at.call.ask(refer{by: p, to: t.To, instead: t.Replaces, early: t.EarlyOnly, told: t, referrer: t.ReferredBy}) {
		t.Done(480, "Temporarily Unavailable")
	}
}

// ErrNotTalking says that a call is not in a state where it can be transferred.
var ErrNotTalking = errors.New("nobody is talking in this call")

// Side names one of the two parties of a call.
type Side string

// The sides.
const (
	CallerSide Side = "caller"
	CalleeSide Side = "callee"
)

// Transfer connects one side of a call with somebody else, dialled with the rights of the other side, who leaves once the
// target answers. Without a side it is whoever talks to user, else the caller, who is sent on.
func (e *Engine) Transfer(account, call, user store.ID, side Side, to string) error {
	c := e.board.call(call)
	if c == nil || c.account != account {
		return fmt.Errorf("transfer %s: %w", call, store.ErrNotFound)
	}
	both := c.talkers()
	if both == nil {
		return fmt.Errorf("transfer %s: %w", call, ErrNotTalking)
	}
	by := both[1]
	if side == CalleeSide || side == "" && both[0].Who.UserID == user {
		by = both[0]
	}
	if !c.ask(refer{by: by, to: to, told: unreported{}}) {
		return fmt.Errorf("transfer %s: %w", call, ErrNotTalking)
	}
	return nil
}

// granted hears a wish while two talk. It returns the next step and whether there is one; nil ends the call.
func (s talking) granted(c *Call, w Wish) (next Step, moves bool) {
	switch w := w.(type) {
	case left:
		c.parted(w.party)
		return nil, true
	case refer:
		other := s.other(w.by)
		switch {
		case other == nil:
			w.told.Done(480, "Temporarily Unavailable")
		case w.instead != nil:
			w.into = c.engine.SIP.Find(*w.instead)
			c.handTo(w, other)
		case w.into != nil:
			c.handTo(w, other)
		default:
			return c.sendOn(w, other), true
		}
	case parkHere:
		if other := s.other(w.by); other != nil {
			return parking{party: other, slots: c.plan.Slots(), by: w.by.Who, tell: w.by}, true
		}
	case takeOver:
		other := s.other(w.of)
		switch {
		case other == nil || other == w.by:
			w.told.Done(481, "Call/Transaction Does Not Exist")
		case w.early:
			w.told.Done(486, "Busy Here") // RFC 3891 §3: it is answered by now
		case !w.taken(c):
			w.told.Done(481, "Call/Transaction Does Not Exist")
		default:
			c.seat(w)
			w.told.Done(200, "OK")
			if w.of == s.a {
				return talking{w.by, other}, true
			}
			return talking{other, w.by}, true
		}
	}
	return nil, false
}

// other returns whom p talks to; nil if p is not here.
func (s talking) other(p *Party) *Party {
	switch p {
	case s.a:
		return s.b
	case s.b:
		return s.a
	}
	return nil
}

// declined hears a wish that the call cannot grant now; it reports whether somebody left.
func (c *Call) declined(w Wish) bool {
	switch w := w.(type) {
	case left:
		if h := c.handover; h != nil && h.by == w.party {
			h.by = nil
			return false
		}
		c.parted(w.party)
		return true
	case refer:
		w.told.Done(603, "Decline")
	case takeOver:
		w.told.Done(481, "Call/Transaction Does Not Exist")
	case back:
		c.nobodyWaits(w.by)
	case retrieve:
		w.told.Done(481, "Call/Transaction Does Not Exist")
	}
	return false
}

// parted notes that a party went on in another call.
func (c *Call) parted(p *Party) {
	why := c.parting
	if why == nil {
		why = &parting{c.role(p), "moved to another call"}
	}
	c.over(why.by, why.cause)
}

// parting is whose doing it is that a party leaves, and how the record says so.
type parting struct{ by, cause string }

// sendOn is a blind transfer: other is routed to where by wants, with the rights of by.
func (c *Call) sendOn(w refer, other *Party) Step {
	c.transferred()
	c.because(store.Reason{
		Rule:   "transfer",
		Detail: fmt.Sprintf("%s transferred %s to %s%s", named(w.by.Who), named(other.Who), dialplan.Normalize(w.to), claimed(w)),
	})
	h := &handover{by: w.by, who: w.by.Who, left: other, told: w.told}
	c.mu.Lock()
	h.caller = c.caller == w.by
	c.caller, c.callee = other, nil
	c.record.Caller, c.record.Callee = other.Who, store.CallParty{Number: dialplan.Normalize(w.to)}
	c.mu.Unlock()
	c.handover = h
	return routing{party: other, dialed: w.to, rights: w.by.acts(), trunk: w.by.lends()}
}

// claimed is what a phone says of whom it refers for (RFC 3892), if that tells anything.
func claimed(w refer) string {
	if own := ":" + w.by.Who.Extension + "@"; w.referrer == "" || strings.Contains(w.referrer, own) {
		return ""
	}
	return " (referred by " + w.referrer + ")"
}

// handTo is an attended transfer: other is to take the place of by in another call of by. That call decides.
func (c *Call) handTo(w refer, other *Party) {
	of, at := c.engine.board.at(w.into)
	switch {
	case of == nil || at.call == c || at.call.account != c.account:
		w.told.Done(481, "Call/Transaction Does Not Exist")
		return
	case of.Who.UserID != w.by.Who.UserID || of.Who.UserID == "":
		w.told.Done(403, "Forbidden") // nobody gives away what belongs to others
		return
	}
	c.parting = &parting{c.role(w.by), "transferred"}
	if partner := c.engine.board.partner(of); partner != nil {
		c.parting.cause += " to " + named(partner.Who)
	}
	if !at.call.ask(takeOver{of: of, by: other, back: w.by, early: w.early, told: w.told}) {
		w.told.Done(480, "Temporarily Unavailable")
	}
}

// seat notes that by is where of was, and how that came.
func (c *Call) seat(w takeOver) {
	if !c.record.AnsweredAt.IsZero() { // else it is only answered by another phone than was meant
		c.transferred()
	}
	how := fmt.Sprintf("%s took the place of %s", named(w.by.Who), named(w.of.Who))
	if w.back != nil {
		how = fmt.Sprintf("%s was transferred here by %s", named(w.by.Who), named(w.back.Who))
	}
	c.because(store.Reason{Rule: "transfer", Detail: how})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remark = how
	if c.caller == w.of || c.caller == nil {
		c.caller, c.record.Caller = w.by, w.by.Who
	} else {
		c.callee, c.record.Callee = w.by, w.by.Who
	}
}

// transferred fixes what the record says: who called, and whom. Who else came to talk is told by its segments.
func (c *Call) transferred() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil {
		c.first = &[2]store.CallParty{c.record.Caller, c.record.Callee}
	}
}

// carriedOn looks at the step after the present one while a transfer is under way: what it tells the transferor, and
// whether it leads back to them.
func (c *Call) carriedOn(next Step) Step {
	h := c.handover
	if h == nil {
		return next
	}
	switch n := next.(type) {
	case seeking:
		return next
	case rejecting:
		h.told.Done(n.Code, n.Reason)
		c.handover = nil
		return c.goneBack(h, n)
	case nil:
		h.told.Done(487, "Request Terminated")
	default:
		h.told.Done(200, "OK")
	}
	c.handover = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remark = "transferred by " + named(h.who)
	if c.first == nil {
		c.first = h.first
	}
	return next
}

// goneBack leads somebody whose target could not be reached back to the transferor, who still listens, or is rung again.
func (c *Call) goneBack(h *handover, why rejecting) Step {
	detail := fmt.Sprintf("%s, so %s goes back to %s", why.Because.Detail, named(h.left.Who), named(h.who))
	c.because(store.Reason{Rule: "transfer", Detail: detail})
	if h.by != nil && h.by.here() {
		c.mu.Lock()
		c.remark = "back with " + named(h.who)
		c.record.Caller, c.record.Callee = h.left.Who, h.who
		c.caller, c.callee = h.left, h.by
		if h.caller {
			c.record.Caller, c.record.Callee = h.who, h.left.Who
			c.caller, c.callee = h.by, h.left
		}
		c.mu.Unlock()
		if h.caller {
			return talking{h.by, h.left}
		}
		return talking{h.left, h.by}
	}
	if h.who.Extension == "" {
		return why
	}
	return routing{party: h.left, dialed: h.who.Extension, rights: h.who.UserID}
}

// here reports whether the party has not hung up.
func (p *Party) here() bool {
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

// transferorDone is ready once the one who asked for the transfer under way hung up.
func (c *Call) transferorDone() <-chan struct{} {
	if c.handover == nil || c.handover.by == nil {
		return nil
	}
	return c.handover.by.Done()
}

// transferorLeft lets the transferor go, as most phones do as soon as the transfer is accepted.
func (c *Call) transferorLeft() {
	p := c.handover.by
	c.handover.by = nil
	if c.engine.board.release(c, p) {
		p.drop(c.causeOfEnd())
	}
	c.changed()
}

// present is who is in the call: the parties of the step, those who took the place of one of them meanwhile, and a
// transferor who waits for the outcome.
func (c *Call) present(s Step) []*Party {
	if s == nil {
		return nil
	}
	var all []*Party
	for _, p := range s.Parties() {
		all = append(all, c.instead(p))
	}
	if h := c.handover; h != nil && h.by != nil {
		all = append(all, h.by)
	}
	return all
}

// instead returns who is where p was.
func (c *Call) instead(p *Party) *Party {
	for c.replaced[p] != nil {
		p = c.replaced[p]
	}
	return p
}

// swap puts by in the place of the caller of a fork: a transfer to somebody whose phone still rings. The phones ring on.
func (f *fork) swap(ctx context.Context, w takeOver) bool {
	c, old := f.call, f.caller
	if w.back == nil || !w.by.answered || c.handover != nil || !w.taken(c) {
		return false
	}
	was := c.copyRecord()
	h := &handover{who: w.back.Who, left: w.by, told: w.told, caller: true, first: &[2]store.CallParty{was.Caller, was.Callee}}
	if c.engine.board.Take(w.back, c) {
		h.by = w.back
	}
	c.seat(w)
	if c.replaced == nil {
		c.replaced = make(map[*Party]*Party)
	}
	c.replaced[old] = w.by
	c.handover, f.caller = h, w.by
	f.quiet()
	if c.engine.board.release(c, old) {
		old.drop(sip.Cause{Code: 487, Reason: "Request Terminated", Elsewhere: true})
	}
	if f.rang {
		h.told.Progress(180, "Ringing")
	}
	for _, p := range c.engine.board.ringing(c) {
		c.introduce(ctx, p, w.by)
	}
	f.comfort(ctx)
	c.changed()
	return true
}

// comfort lets somebody who is connected already hear how far it is: music, then ringing, then what the phone says.
func (f *fork) comfort(ctx context.Context) {
	p := f.caller
	switch {
	case p == nil || !p.answered || f.sound != nil:
	case f.speaks != nil:
		f.quiet()
		f.sound = media.Join(p.Sound, f.speaks.Sound)
	case f.rang && !f.rings:
		f.quiet()
		f.rings, f.heard = true, f.call.background(ctx, p, media.Ringback())
	case f.heard == nil && f.call.handover != nil:
		f.heard = f.call.background(ctx, p, f.call.holdMusic(""))
	}
}

// asked hears a wish while phones ring. A party that it returns has answered instead of them.
func (f *fork) asked(ctx context.Context, w Wish) (*Party, error) {
	c := f.call
	take, ok := w.(takeOver)
	if !ok {
		if c.declined(w) {
			return nil, errHungUp
		}
		return nil, nil
	}
	switch {
	case take.of == f.caller:
		if f.swap(ctx, take) {
			return nil, nil
		}
	case c.engine.board.rings(c, take.of) && take.taken(c):
		c.seat(take)
		take.told.Done(200, "OK")
		return take.by, nil
	}
	take.told.Done(481, "Call/Transaction Does Not Exist")
	return nil, nil
}

// named is a party for people who read records.
func named(who store.CallParty) string {
	switch {
	case who.Name != "" && who.Extension != "":
		return who.Name + " (" + who.Extension + ")"
	case who.Name != "":
		return who.Name
	}
	return shown(who).User
}
