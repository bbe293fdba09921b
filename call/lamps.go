package call

import (
	"cmp"
	"slices"
	"strings"

	"pbx/dialplan"
	"pbx/event"
	"pbx/sip"
	"pbx/store"
)

// This file tells signalling what the lamps of phones show. It reads the board and nothing else: a lamp is never
// more or less than who is in which call.

// Dialogs returns what a user is busy with, oldest first.
func (e *Engine) Dialogs(account, user store.ID) []sip.DialogState {
	if slot, is := strings.CutPrefix(string(user), slotPrefix); is {
		return e.slotDialogs(account, slot)
	}
	var all []sip.DialogState
	for _, at := range e.board.presences(user) {
		if at.call.account != account {
			continue
		}
		d := at.call.shownAs(at)
		// All phones of a user that ring for one call are one dialog to those who watch.
		if i := slices.IndexFunc(all, func(o sip.DialogState) bool { return o.ID == d.ID }); i >= 0 {
			if d.State == "confirmed" {
				all[i] = d
			}
			continue
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b sip.DialogState) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// shownAs is a party of the call as those see it who watch its user.
func (c *Call) shownAs(at presence) sip.DialogState {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := at.party
	d := sip.DialogState{ID: string(c.id) + "-r", Direction: "recipient", State: "confirmed", Since: c.record.StartedAt}
	remote := c.record.Caller
	switch {
	case p == c.caller, at.rings && c.caller == nil: // the latter asked in the portal for this call
		d.ID, d.Direction = string(c.id)+"-i", "initiator"
		remote = c.record.Callee
		switch {
		case at.rings:
			d.State = "early"
		case !c.record.AnsweredAt.IsZero():
		case c.state == "routing":
			d.State = "trying"
		default:
			d.State = "early"
		}
	case at.rings:
		d.State, d.Leg = "early", p.Leg
	}
	if !at.rings {
		d.Held = p.Sound != nil && p.Sound.Held()
		if at.other != nil {
			remote = at.other.Who
		}
	}
	d.Remote = shown(remote)
	return d
}

// watched returns whose lamps show the call, or did at the latest news.
func (c *Call) watched() []store.ID {
	now := c.engine.board.crew(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(now)
	for _, u := range c.lit {
		if !slices.Contains(all, u) {
			all = append(all, u)
		}
	}
	c.lit = now
	return all
}

// relight tells those who watch that a phone began or ceased to ring.
func (c *Call) relight() {
	if c.engine.Bus != nil {
		c.engine.Bus.Publish(event.News{Kind: event.LampsChanged, Account: c.account, Data: event.Lamps{Users: c.watched()}})
	}
}

// light shows that the phone of p rings.
func (c *Call) light(p *Party, progress sip.Progress) {
	if progress.Code >= 180 && c.engine.board.ring(c, p) {
		c.relight()
	}
}

// darken ends that.
func (c *Call) darken(p *Party) {
	if c.engine.board.quiet(p) {
		c.relight()
	}
}

// Person finds whom an extension belongs to.
func (e *Engine) Person(account store.ID, extension string) (sip.Person, bool) {
	plan, rows := e.Plan(account)
	if rows == nil {
		return sip.Person{}, false
	}
	if u := rows.UserByExtension(extension); u != nil {
		return personOf(u)
	}
	return slotAsPerson(plan, extension)
}

// PersonOf finds a user of the account, or a parking slot.
func (e *Engine) PersonOf(account, user store.ID) (sip.Person, bool) {
	plan, rows := e.Plan(account)
	if rows == nil {
		return sip.Person{}, false
	}
	if slot, is := strings.CutPrefix(string(user), slotPrefix); is {
		return slotAsPerson(plan, slot)
	}
	return personOf(rows.User(user))
}

// slotAsPerson is a parking slot, which lamps show as they show users.
func slotAsPerson(plan *dialplan.Plan, slot string) (sip.Person, bool) {
	if !slices.Contains(plan.Slots(), slot) {
		return sip.Person{}, false
	}
	return sip.Person{ID: store.ID(slotPrefix + slot), Extension: slot, Name: "Parking " + slot}, true
}

// People returns the users of an account that have an extension, in order of it.
func (e *Engine) People(account store.ID) []sip.Person {
	_, rows := e.Plan(account)
	if rows == nil {
		return nil
	}
	var all []sip.Person
	for i := range rows.Users {
		if p, ok := personOf(&rows.Users[i]); ok && p.Extension != "" {
			all = append(all, p)
		}
	}
	return all
}

func personOf(u *store.User) (sip.Person, bool) {
	if u == nil {
		return sip.Person{}, false
	}
	return sip.Person{ID: u.ID, Extension: u.Extension, Name: u.Name, Admin: u.Role == store.Admin}, true
}

// VoicemailNumber is what users dial to hear their messages.
func (e *Engine) VoicemailNumber(account store.ID) string {
	plan, _ := e.Plan(account)
	if plan == nil {
		return ""
	}
	return plan.Code(dialplan.KeyVoicemail)
}
