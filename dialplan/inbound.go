package dialplan

import (
	"fmt"

	"pbx/store"
)

// maxHops bounds how many numbers of ours forward a call to one another.
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
	q.hops++
	rule := "number " + string(n.ID)
	name := n.Number
	if n.Label != "" {
		name += " (" + n.Label + ")"
	}
	reason := func(format string, args ...any) store.Reason {
		return store.Reason{Rule: rule, Detail: name + " " + fmt.Sprintf(format, args...)}
	}
	switch d := n.Destination; d.Type {
	case "user":
		if r, known := p.inside[d.ID]; known {
			decision, reasons := p.toUser(r, q)
			return decision, append([]store.Reason{reason("leads to %s", r.user.Name)}, reasons...)
		}
	case "mailbox":
		if u := p.users[d.ID]; u != nil {
			because := reason("leads to the mailbox of %s", u.Name)
			if box, ok := otherwise(u, unreachable).(Voicemail); ok {
				box.Because = because
				return box, []store.Reason{because}
			}
			end := Reject{Code: 480, Reason: "No voicemail", Outcome: store.OutcomeFailed, Because: reason("leads to the mailbox of %s, who has no voicemail", u.Name)}
			return end, []store.Reason{end.Because}
		}
	case "external":
		return p.forward(n, q, reason("forwards to %s", d.Number))
	}
	end := Reject{Code: 603, Reason: "Decline", Outcome: store.OutcomeDeclined, Because: reason("takes no calls")}
	return end, []store.Reason{end.Because}
}

// forward sends a call out again. The account owns the number and chose where it leads, so no right of a user is asked for.
func (p *Plan) forward(n *store.Number, q query, because store.Reason) (Decision, []store.Reason) {
	to, ok := p.home.e164(n.Destination.Number)
	if !ok || q.hops > maxHops {
		end := Reject{Code: 482, Reason: "Loop Detected", Outcome: store.OutcomeFailed, Because: store.Reason{Rule: because.Rule, Detail: because.Detail + ", which leads nowhere"}}
		return end, []store.Reason{because, end.Because}
	}
	if next := p.numbers[to]; next != nil {
		d, reasons := p.toNumber(next, q)
		return d, append([]store.Reason{because}, reasons...)
	}
	caller := p.callerID(n.ID, because.Rule, "the forwarding line")
	choices, skipped := p.choices(to, n.TrunkID)
	return p.call(Outside{Number: to, Trunks: choices, Shown: caller, Forwarder: n.Number, Because: because}, append(skipped, caller.Because))
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
