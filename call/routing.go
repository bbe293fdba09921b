package call

import (
	"context"
	"strings"
	"time"

	"pbx/dialplan"
	"pbx/store"
)

// routing asks the plan.
type routing struct {
	party  *Party
	dialed string
	rights store.ID // of the user who sent the party here; empty: the party's own
	trunk  store.ID // of the stranger who sent the party here: who calls from outside has no rights to lend

	diverted bool // a phone of that user sent the call on
}

func (s routing) Parties() []*Party { return []*Party{s.party} }
func (s routing) String() string    { return "routing" }

func (s routing) Run(_ context.Context, c *Call) Step {
	d, reasons := c.plan.Route(dialplan.Query{From: s.from(c), Dialed: s.dialed, At: time.Now()})
	c.because(reasons...)
	if s.diverted {
		d = c.afterDiversion(d)
	}
	return c.follow(s.party, d)
}

// from is with whose rights the plan is asked. Who transfers somebody to their own number or mailbox does not lend
// them their own messages.
func (s routing) from(c *Call) dialplan.Caller {
	if s.trunk != "" {
		return dialplan.Caller{Trunk: s.trunk}
	}
	own := s.party.caller()
	u, number := c.rows.User(s.rights), dialplan.Normalize(s.dialed)
	switch {
	case u == nil:
		return own
	case number == u.Extension || strings.HasPrefix(number, "*"):
		own.Trunk = "" // what is dialled is not what a carrier calls
		return own
	}
	return dialplan.Caller{User: u.ID, Number: u.Extension}
}

// branch follows a decision that a run-time event led to, and remembers why.
func (c *Call) branch(p *Party, d dialplan.Decision) Step {
	c.because(dialplan.Because(d))
	return c.follow(p, d)
}

// follow turns a decision into the step that lives it.
func (c *Call) follow(p *Party, d dialplan.Decision) Step {
	switch d := d.(type) {
	case dialplan.Ring:
		if len(d.Groups) > 0 && len(d.Groups[0].Targets) > 0 && d.RingGroup == "" {
			t := d.Groups[0].Targets[0]
			c.meant(store.CallParty{UserID: t.User, Name: t.Name, Extension: t.Extension})
		}
		return ringing{p, d}
	case dialplan.Outside:
		return dialing{p, d}
	case dialplan.Voicemail:
		c.outcome(d.Outcome)
		c.meant(store.CallParty{UserID: d.Mailbox, Name: d.Name, Extension: d.Extension})
		return recording{p, d}
	case dialplan.Mailbox:
		c.meant(store.CallParty{Number: "voicemail", Name: "Voicemail"})
		return mailbox{p, d.Owner}
	case dialplan.Pickup:
		who := store.CallParty{Name: d.Name, Extension: d.Extension}
		if len(d.Users) == 1 {
			who.UserID = d.Users[0]
		}
		c.meant(who)
		return c.pickUp(p, d)
	case dialplan.Park:
		c.meant(store.CallParty{Number: "parking", Name: "Parking"})
		return parking{party: p, slots: d.Slots, by: c.sender()}
	case dialplan.Slot:
		c.meant(store.CallParty{Number: d.Number, Name: "Parking"})
		return c.slot(p, d)
	case dialplan.AnyMailbox:
		c.meant(store.CallParty{Number: "voicemail", Name: "Voicemail"})
		return anyMailbox{p}
	case dialplan.Setting:
		return c.setting(p, d)
	case dialplan.Intercom:
		c.meant(store.CallParty{UserID: d.Target.User, Name: d.Target.Name, Extension: d.Target.Extension})
		return intercom{p, d}
	case dialplan.CallBack:
		return c.callBack(c.ctx, p, d)
	case dialplan.CampOn:
		return c.campOn(p, d)
	case dialplan.Flip:
		return c.flip(p, d)
	case dialplan.WakeUp:
		return c.wakeUp(p, d)
	case dialplan.Clock:
		c.meant(store.CallParty{Number: "clock", Name: "Speaking clock"})
		return c.clock(p)
	case dialplan.WhoAmI:
		return c.whoAmI(p, d)
	case dialplan.Echo:
		c.meant(store.CallParty{Number: "echo", Name: "Echo test"})
		return echoing{p}
	case dialplan.Reject:
		c.outcome(d.Outcome)
		if u := c.rows.UserByExtension(d.Extension); u != nil {
			c.meant(identify(c.rows, u.ID, ""))
		}
		return rejecting{p, d}
	}
	return nil
}
