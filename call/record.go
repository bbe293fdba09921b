package call

import (
	"context"
	"slices"
	"time"

	"pbx/event"
	"pbx/sip"
	"pbx/store"
)

// This file is the call's memory of itself: what the record will say and what the portal shows
// meanwhile. Steps only tell what they saw.

// over notes who ended the call and why; the first to be noted counts.
func (c *Call) over(by, cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.record.HangupBy == "" {
		c.record.HangupBy, c.record.HangupCause = by, cause
	}
}

// gone notes that p ended the call, and returns errHungUp.
func (c *Call) gone(p *Party) error {
	cause := p.Leg.Cause()
	if c.q850 == 0 {
		c.q850 = cause.Q850
	}
	switch {
	case cause.Remote:
		c.over(c.role(p), inWords(cause))
	case cause.Code == 408:
		c.over("system", "the "+c.role(p)+"'s phone stopped answering")
	default:
		c.over("system", inWords(cause))
	}
	return errHungUp
}

// silent notes that the sound of p stopped, and returns errHungUp.
func (c *Call) silent(p *Party) error {
	c.over("system", "no sound from the "+c.role(p)+"'s phone")
	return errHungUp
}

// stopped notes that the call was ended from above, and returns errHungUp.
func (c *Call) stopped() error {
	cause := "ended"
	if err := context.Cause(c.ctx); err != nil {
		cause = err.Error()
	}
	c.over("system", cause)
	return errHungUp
}

func (c *Call) role(p *Party) string {
	if p == c.caller {
		return "caller"
	}
	return "callee"
}

// inWords tells people why a leg ended.
func inWords(cause sip.Cause) string {
	switch {
	case cause.Remote && cause.Code == 0:
		return "hung up"
	case cause.Remote && cause.Code == 487:
		return "gave up"
	case cause.Reason != "":
		return cause.Reason
	}
	return "ended"
}

// outcome notes how the call will be remembered, unless something better happens.
func (c *Call) outcome(o store.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.record.Outcome != store.OutcomeAnswered { // who talked, talked, wherever a transfer led afterwards
		c.record.Outcome = o
	}
}

// because adds to the reasons why the call went where it went.
func (c *Call) because(reasons ...store.Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record.Route = append(c.record.Route, reasons...)
}

// meant notes whom the caller wants.
func (c *Call) meant(who store.CallParty) {
	c.mu.Lock()
	c.record.Callee = who
	c.mu.Unlock()
	c.keep()
	c.publish(event.CallChanged)
}

// joined notes who answered.
func (c *Call) joined(p *Party) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.callee, c.record.Callee = p, p.Who
	c.sealed()
	c.engine.rota.answered(p.Who.UserID)
}

// took notes which phone of the caller was answered.
func (c *Call) took(p *Party) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.caller, c.record.Caller = p, p.Who
}

// answeredAt notes when the caller got through.
func (c *Call) answeredAt(at time.Time) {
	c.mu.Lock()
	if c.record.AnsweredAt.IsZero() {
		c.record.AnsweredAt = at
	}
	c.sealed()
	c.mu.Unlock()
	c.keep()
	c.publish(event.CallChanged)
}

// note adds detail to the present segment.
func (c *Call) note(detail string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.record.Segments); n > 0 {
		c.record.Segments[n-1].Detail = detail
	}
}

// changed tells the portal that something about the parties is new.
func (c *Call) changed() {
	c.mu.Lock()
	c.sealed()
	c.mu.Unlock()
	c.publish(event.CallChanged)
}

// closeSegment ends the present segment. The caller holds c.mu.
func (c *Call) closeSegment(at time.Time) {
	if n := len(c.record.Segments); n > 0 {
		c.record.Segments[n-1].EndedAt = at
	}
}

func (c *Call) copyRecord() store.CallRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.record
	if c.first != nil {
		r.Caller, r.Callee = c.first[0], c.first[1]
	}
	r.Segments, r.Route = slices.Clone(r.Segments), slices.Clone(r.Route)
	return r
}

// view is the call as the portal shows it.
func (c *Call) view() event.Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.record
	v := event.Call{
		ID: c.id, State: c.state, Direction: r.Direction, Dialed: r.Dialed, StartedAt: r.StartedAt,
		Caller: viewOf(r.Caller, c.caller), Callee: viewOf(r.Callee, c.callee),
	}
	if !r.AnsweredAt.IsZero() {
		v.AnsweredAt = &r.AnsweredAt
	}
	v.MOS, v.Faults = c.mos(), c.faults()
	v.Recording = c.taping
	switch {
	case c.state == "ended":
		v.Recording, v.Outcome = "", r.Outcome
	case c.state == "talking" && (v.Caller.Held || v.Callee.Held):
		v.State = "held"
	}
	return v
}

func viewOf(who store.CallParty, p *Party) event.Party {
	v := event.Party{UserID: who.UserID, DeviceID: who.DeviceID, Name: who.Name, Extension: who.Extension, Number: who.Number}
	if p != nil {
		v.Held, v.Codec, v.Encrypted = p.Sound.Held(), p.Sound.Codec(), p.Sound.Encrypted()
	}
	return v
}

// publish tells the world; members hear of their own calls only.
func (c *Call) publish(kind string) {
	if c.engine.Bus == nil {
		return
	}
	v := c.view()
	v.Watched = c.watched()
	c.engine.Bus.Publish(event.News{Kind: kind, Account: c.account, Users: usersOf(v.Caller.UserID, v.Callee.UserID), Data: v})
}

// members are the users who may know of the call.
func (c *Call) members() []store.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return usersOf(c.record.Caller.UserID, c.record.Callee.UserID)
}

func usersOf(ids ...store.ID) (users []store.ID) {
	for _, id := range ids {
		if id != "" && !slices.Contains(users, id) {
			users = append(users, id)
		}
	}
	return users
}
