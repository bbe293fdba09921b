package call

import (
	"context"
	"sync/atomic"
	"time"

	"pbx/dialplan"
	"pbx/sip"
	"pbx/store"
)

// picking waits until its party has the place in another call that it wants. The other call decides and is not waited
// for: what it does not answer in time it refused.
type picking struct {
	party *Party
	of    *Party
	in    *Call
	early bool
	slot  string // of is parked there; empty: of rings, or talks
}

// pickPatience is how long a call may take to hear a wish.
const pickPatience = 3 * time.Second

func (s picking) Parties() []*Party { return []*Party{s.party} }
func (s picking) String() string    { return "picking up" }

func (s picking) Run(ctx context.Context, c *Call) Step {
	c.note(named(s.of.Who))
	c.parting = &parting{"caller", "took the call of " + named(s.of.Who)}
	v := verdict{refused: make(chan sip.Cause, 1)}
	offer := new(atomic.Bool)
	var want Wish = takeOver{of: s.of, by: s.party, early: s.early, told: v, offer: offer}
	if s.slot != "" {
		want = retrieve{by: s.party, told: v, offer: offer}
	}
	if !s.in.ask(want) {
		v.Done(481, "Call/Transaction Does Not Exist")
	}
	late := time.NewTimer(pickPatience)
	defer late.Stop()
	for {
		select {
		case <-s.party.Done():
			_ = c.gone(s.party)
			return nil
		case <-ctx.Done():
			_ = c.stopped()
			return nil
		case w := <-c.wishes:
			if c.declined(w) {
				c.outcome(store.OutcomeAnswered)
				c.answeredAt(time.Now())
				return nil
			}
		case no := <-v.refused:
			return c.nothingThere(s.party, no)
		case <-late.C:
			if !offer.CompareAndSwap(false, true) {
				continue // it is being decided: the other call lets in, or refuses, at once
			}
			return c.nothingThere(s.party, sip.Cause{Code: 480, Reason: "Temporarily Unavailable"})
		}
	}
}

// verdict is the report to somebody who waits to be let in.
type verdict struct{ refused chan sip.Cause }

// Progress is no verdict.
func (verdict) Progress(int, string) {}

// Done tells a refusal; who is let in learns it by leaving.
func (v verdict) Done(code int, reason string) {
	if code >= 300 {
		select {
		case v.refused <- sip.Cause{Code: code, Reason: reason}:
		default:
		}
	}
}

// nothingThere ends an attempt to pick up.
func (c *Call) nothingThere(p *Party, no sip.Cause) Step {
	return c.branch(p, dialplan.Reject{
		Code: no.Code, Reason: no.Reason, Outcome: store.OutcomeFailed,
		Because: store.Reason{Rule: "pickup", Detail: "There was nothing to pick up any more"},
	})
}

// first is the first step of a call that comes in: it goes where the plan says, unless its INVITE asks for the place of
// somebody in another call.
func (e *Engine) first(c *Call, p *Party) Step {
	leg, early := p.Leg.Replaces()
	if leg == nil {
		return routing{party: p, dialed: p.Leg.Dialed()}
	}
	of, at := e.board.at(leg)
	no := dialplan.Reject{
		Code: 481, Reason: "Call/Transaction Does Not Exist", Outcome: store.OutcomeFailed,
		Because: store.Reason{Rule: "pickup", Detail: "There was nothing to pick up any more"},
	}
	slot := ""
	if of != nil {
		slot = e.lot.slotOf(of)
	}
	switch {
	case of == nil || at.call.account != c.account:
		return rejecting{p, no}
	case slot != "" && p.Who.UserID != "": // whoever sees the lamp of a slot may fetch who waits there
		c.record.Callee = of.Who
		return picking{party: p, of: of, in: at.call, slot: slot}
	case p.Who.UserID == "", !at.rings && of.Who.UserID != p.Who.UserID:
		// RFC 3891 §3: a call that is up moves only between the phones of one person.
		no.Code, no.Reason, no.Because.Detail = 403, "Forbidden", "Calls move only between the phones of one person"
		return rejecting{p, no}
	}
	c.record.Callee = of.Who
	return picking{party: p, of: of, in: at.call, early: early}
}

// pickUp is the step of somebody who dialled to take what rings for somebody else.
func (c *Call) pickUp(p *Party, d dialplan.Pickup) Step {
	of, in := c.engine.board.ringingFor(c.account, d.Users...)
	if of == nil {
		return c.branch(p, dialplan.Reject{
			Code: 480, Reason: "Nothing to pick up", Outcome: store.OutcomeFailed,
			Because: store.Reason{Rule: "pickup", Detail: "No phone of " + named(store.CallParty{Name: d.Name, Extension: d.Extension}) + " rings"},
		})
	}
	return picking{party: p, of: of, in: in, early: true}
}
