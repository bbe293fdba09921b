package call

import (
	"cmp"
	"fmt"
	"slices"

	"pbx/dialplan"
	"pbx/sip"
	"pbx/store"
)

// maxDiversions bounds how often phones may send one call on.
const maxDiversions = 5

// diverted ends a fork whose user sent the call on: it is an error as others that say why nobody answered.
type diverted struct {
	by   store.CallParty
	to   sip.Redirection
	rang bool
}

func (d *diverted) Error() string { return "diverted to " + d.to.To }

// diversion is one user who sent the call on, as others are told.
type diversion struct {
	by store.CallParty
	sip.Diversion
}

// divert follows a phone that sends the call on, as its divert key does (RFC 3261 §8.1.3.4). The phone only says a number:
// where that leads says the plan, asked with the rights of the phone's user.
func (c *Call) divert(s ringing, d *diverted) Step {
	number := dialplan.Normalize(d.to.To)
	c.because(store.Reason{Rule: "diversion", Detail: fmt.Sprintf("The phone of %s sends the call on to %s", named(d.by), number)})
	reason := "unconditional"
	if d.rang {
		reason = "deflection"
	}
	told := sip.Diversion{User: shown(d.by).User, Display: d.by.Name, Reason: cmp.Or(d.to.Reason, reason)}
	c.diversions = append(c.diversions, diversion{by: d.by, Diversion: told})
	switch {
	case number == d.by.Extension || number == c.plan.Code(dialplan.KeyVoicemail):
		return c.branch(s.party, s.NoAnswer) // to their own messages: nobody is lent those to hear them
	case len(c.diversions) > maxDiversions:
		return c.branch(s.party, loopDetected("The call was sent on too often"))
	}
	if s.party.Leg != nil && !s.party.answered {
		_ = s.party.Leg.Forwarded() // who is gone hears nothing
	}
	return routing{party: s.party, dialed: d.to.To, rights: d.by.UserID, diverted: true}
}

// RFC 5393 §1: what goes in circles ends.
func loopDetected(detail string) dialplan.Reject {
	return dialplan.Reject{
		Code: 482, Reason: "Loop Detected", Outcome: store.OutcomeFailed,
		Because: store.Reason{Rule: "diversion", Detail: detail},
	}
}

// afterDiversion looks at where a call goes that a phone sent on: not back to who sent it on already, and to the outside
// in the name of who did.
func (c *Call) afterDiversion(d dialplan.Decision) dialplan.Decision {
	switch d := d.(type) {
	case dialplan.Ring:
		for _, g := range d.Groups {
			for _, t := range g.Targets {
				if slices.ContainsFunc(c.diversions, func(v diversion) bool { return v.by.UserID == t.User }) {
					r := loopDetected(t.Name + " sent this call on already")
					c.because(r.Because)
					return r
				}
			}
		}
	case dialplan.Outside:
		if !d.Emergency {
			d.Forwarder = d.Shown.Number
		}
		return d
	}
	return d
}

// tellDiversions says who sent the call on, the latest first. Carriers are told numbers and no extensions: of theirs
// the latest forwarder is known already.
func (c *Call) tellDiversions(o *sip.Outgoing, caller *Party) {
	n := len(c.diversions)
	if o.Trunk != "" {
		if n > 0 && len(o.Diverted) > 0 {
			o.Diverted[0].Reason, o.Diverted[0].Code = c.diversions[n-1].Reason, 0
		}
		return
	}
	for _, d := range slices.Backward(c.diversions) {
		o.Diverted = append(o.Diverted, d.Diversion)
	}
	if caller != nil {
		o.Diverted = append(o.Diverted, caller.Leg.Diverted()...) // as the carrier told
	}
}
