package dialplan

import (
	"fmt"

	"pbx/store"
)

// maxHops bounds how many numbers, users and groups of ours send a call on to one another.
const maxHops = 5

// inbound decides for a call from a carrier. It reaches the numbers of the account and nothing else:
// no extension, no feature code, and the outside only where a number of ours is set to forward there.
func (p *Plan) inbound(q Query) (Decision, []store.Reason) {
	called := Normalize(q.Dialed)
	for _, reading := range p.home.readings(called) {
		if n := p.numbers[reading]; n != nil {
			return p.toNumber(n, query{Query: q, dialed: called})
		}
	}
	d := Reject{
		Code: 404, Reason: "Not in service", Outcome: store.OutcomeFailed,
		Because: store.Reason{Rule: "numbers", Detail: "No number of this account is written " + quote(q.Dialed)},
	}
	return d, []store.Reason{d.Because}
}

// toNumber follows the destination of a number of ours.
func (p *Plan) toNumber(n *store.Number, q query) (Decision, []store.Reason) {
	rule := "number " + string(n.ID)
	name := n.Number
	if n.Label != "" {
		name += " (" + n.Label + ")"
	}
	if q.passed(n.ID) {
		return looped(rule, name)
	}
	reason := func(format string, args ...any) store.Reason {
		return store.Reason{Rule: rule, Detail: name + " " + fmt.Sprintf(format, args...)}
	}
	switch d := n.Destination; d.Type {
	case "user":
		if u := p.users[d.ID]; u != nil {
			decision, reasons := p.toUser(u, q)
			return decision, append([]store.Reason{reason("leads to %s", u.Name)}, reasons...)
		}
	case "ring_group":
		if g := p.groups[d.ID]; g != nil {
			decision, reasons := p.toGroup(g, q)
			return decision, append([]store.Reason{reason("leads to the ring group %s", g.Name)}, reasons...)
		}
	case "mailbox":
		if m := p.boxes[d.ID]; m != nil {
			decision, reasons := p.toMailbox(m)
			return decision, append([]store.Reason{reason("leads to the mailbox %s", m.Name)}, reasons...)
		}
		if u := p.users[d.ID]; u != nil {
			because := reason("leads to the mailbox of %s", u.Name)
			if box, ok := p.otherwise(u, unreachable, q).(Voicemail); ok {
				box.Because = because
				return box, []store.Reason{because}
			}
			end := Reject{Code: 480, Reason: "No voicemail", Outcome: store.OutcomeFailed, Because: reason("leads to the mailbox of %s, who has no voicemail", u.Name)}
			return end, []store.Reason{end.Because}
		}
	case "parking":
		return p.parking(d.Number, reason("leads to parking"))
	case "external":
		return p.forward(n, q, reason("forwards to %s", d.Number))
	}
	end := Reject{Code: 603, Reason: "Decline", Outcome: store.OutcomeDeclined, Because: reason("takes no calls")}
	return end, []store.Reason{end.Because}
}

// forward sends a call out again. The account owns the number and chose where it leads, so no right of a user is asked for.
func (p *Plan) forward(n *store.Number, q query, because store.Reason) (Decision, []store.Reason) {
	to, ok := p.home.e164(n.Destination.Number)
	if !ok {
		end := Reject{Code: 404, Reason: "Not in service", Outcome: store.OutcomeFailed, Because: store.Reason{Rule: because.Rule, Detail: because.Detail + ", which leads nowhere"}}
		return end, []store.Reason{because, end.Because}
	}
	if next := p.numbers[to]; next != nil {
		d, reasons := p.toNumber(next, q)
		return d, append([]store.Reason{because}, reasons...)
	}
	caller := p.callerID(n.ID, because.Rule, "the forwarding line")
	choices, skipped := p.choices(to, n.TrunkID)
	return p.call(Outside{Number: to, Trunks: choices, Shown: caller, Forwarder: n.Number, Diversion: "unconditional", Because: because}, append(skipped, caller.Because))
}

// Canonical brings the number that a carrier tells of a caller into E.164, if it is one; else it is as it came.
func (p *Plan) Canonical(number string) string {
	digits := Normalize(number)
	if n, ok := p.home.e164(digits); ok {
		return n
	}
	if n, ok := valid("+" + digits); ok && p.home.code != "" && Country(n) == p.home.iso {
		return n // 4930…, without the plus
	}
	return digits
}
