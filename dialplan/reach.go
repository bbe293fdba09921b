package dialplan

import (
	"fmt"
	"slices"
	"time"

	"pbx/store"
)

// This file follows a call to users, ring groups and mailboxes, wherever those send it on. Each is passed once: a second
// time is a loop, and ends the call.

// passed notes that the call reached an object, and reports whether that is a loop.
func (q *query) passed(id store.ID) (loop bool) {
	if slices.Contains(q.path, id) || len(q.path) > maxHops {
		return true
	}
	q.path = append(slices.Clone(q.path), id) // branches of one call share no path
	return false
}

// looped ends a call that would go round.
func looped(rule, name string) (Decision, []store.Reason) {
	// RFC 5393 §4: 482 is what a loop is told by.
	d := Reject{
		Code: 482, Reason: "Loop Detected", Outcome: store.OutcomeFailed, Say: SayNotReachable,
		Because: store.Reason{Rule: rule, Detail: "The call came round to " + name + " again"},
	}
	return d, []store.Reason{d.Because}
}

// toExtension follows an extension of ours.
func (p *Plan) toExtension(h holder, q query) (Decision, []store.Reason) {
	switch {
	case h.group != nil:
		return p.toGroup(h.group, q)
	case h.box != nil:
		return p.toMailbox(h.box)
	}
	return p.toUser(h.user, q)
}

// toUser reaches a user of ours, or follows where they want their calls.
func (p *Plan) toUser(u *store.User, q query) (Decision, []store.Reason) {
	id := "user " + string(u.ID)
	is := store.Reason{Rule: id, Detail: fmt.Sprintf("Extension %s is %s", u.Extension, u.Name)}
	if u.Extension == "" {
		is.Detail = u.Name + " has no extension"
	}
	if q.From.User == u.ID && len(q.path) == 0 {
		d := p.callToSelf(u)
		return d, []store.Reason{is, Because(d)}
	}
	if q.From.User == u.ID || q.passed(u.ID) {
		return looped(id, u.Name)
	}
	d, reasons := p.reach(u, q)
	return d, append([]store.Reason{is}, reasons...)
}

// reach decides for a call to a user, by what the user set.
func (p *Plan) reach(u *store.User, q query) (Decision, []store.Reason) {
	id := "user " + string(u.ID)
	switch {
	case u.RejectAnonymous && q.From.Trunk != "" && q.From.Number == "":
		// RFC 5079: who withholds the number is told why they are refused.
		d := Reject{
			Code: 433, Reason: "Anonymity Disallowed", Outcome: store.OutcomeDeclined, Say: SayNotAvailable,
			Because: store.Reason{Rule: id + " reject_anonymous", Detail: u.Name + " takes no calls without a number"},
		}
		return d, []store.Reason{d.Because}
	case u.DoNotDisturb:
		m := busy // as a busy phone, but the greeting does not lie
		m.when, m.greeting = "does not want to be disturbed", NotAvailable
		d := p.otherwise(u, m, q)
		return d, []store.Reason{Because(d)}
	case u.Forward.Always != "":
		return p.forwarded(u, u.Forward.Always, "unconditional", "forward.always", "all calls", q)
	case u.FindMe.Enabled:
		return p.find(u, q)
	case p.lines[u.ID] == 0:
		m := unreachable
		m.when = "has no phone"
		d, reasons := p.missed(u, m, q)
		return d, reasons
	}
	patience := u.RingTimeout
	if u.Forward.NoAnswer != "" && u.Forward.NoAnswerTimeout > 0 {
		patience = u.Forward.NoAnswerTimeout
	}
	ring := Ring{
		Groups: []Group{{Targets: []Target{targetOf(u)}, Timeout: patience}},
		Because: store.Reason{
			Rule:   id + " ring_timeout_s",
			Detail: fmt.Sprintf("The phones of %s ring for %s", u.Name, spell(patience)),
		},
	}
	ring.Busy, _ = p.missed(u, busy, q)
	ring.Declined = p.otherwise(u, declined, q)
	ring.NoAnswer, _ = p.missed(u, noAnswer, q)
	ring.Unreachable, _ = p.missed(u, unreachable, q)
	return ring, []store.Reason{ring.Because}
}

func targetOf(u *store.User) Target {
	return Target{User: u.ID, Name: u.Name, Extension: u.Extension, OneCall: u.OneCall}
}

// missed follows the forwarding for a way not to reach a user, or ends at the mailbox.
func (p *Plan) missed(u *store.User, m miss, q query) (Decision, []store.Reason) {
	to, field, what, reason := "", "", "", ""
	switch m.outcome {
	case store.OutcomeBusy:
		to, field, what, reason = u.Forward.Busy, "forward.busy", "calls while busy", "user-busy"
	case store.OutcomeNoAnswer:
		to, field, what, reason = u.Forward.NoAnswer, "forward.no_answer", "unanswered calls", "no-answer"
	case store.OutcomeUnreachable:
		to, field, what, reason = u.Forward.Unreachable, "forward.unreachable", "calls without a phone on line", "unavailable"
	}
	if to != "" {
		return p.forwarded(u, to, reason, field, what, q)
	}
	d := p.otherwise(u, m, q)
	return d, []store.Reason{Because(d)}
}

// otherwise is where a call to a user ends that did not reach them: the mailbox with the greeting of their own that fits.
func (p *Plan) otherwise(u *store.User, m miss, q query) Decision {
	d := otherwise(u, m)
	if box, ok := d.(Voicemail); ok {
		box.Clip = greetingOf(u.Voicemail.Greetings, m.greeting, q.At)
		return box
	}
	return d
}

// greetingOf picks the clip of a user's own; empty: ours.
func greetingOf(g store.Greetings, why Greeting, at time.Time) store.ID {
	switch {
	case g.Temporary != "" && (g.TemporaryUntil.IsZero() || at.Before(g.TemporaryUntil)):
		return g.Temporary
	case why == OnThePhone && g.Busy != "":
		return g.Busy
	}
	return g.Unavailable
}

// forwarded sends a call to where a user wants it, with the user's rights. The number is followed as if the user dialled it.
func (p *Plan) forwarded(u *store.User, to, reason, field, what string, q query) (Decision, []store.Reason) {
	because := store.Reason{Rule: "user " + string(u.ID) + " " + field, Detail: fmt.Sprintf("%s forwards %s to %s", u.Name, what, to)}
	d, reasons := p.sent(u, Normalize(to), reason, because, q)
	return d, append([]store.Reason{because}, reasons...)
}

// sent follows a number that a user sends a call to.
func (p *Plan) sent(u *store.User, to, reason string, because store.Reason, q query) (Decision, []store.Reason) {
	if _, help := p.emergency(to); help {
		return forbidden(store.Reason{Rule: because.Rule, Detail: "Calls are not sent on to emergency numbers"})
	}
	if h, known := p.extensions[to]; known {
		if h.user == u {
			d := p.otherwise(u, noAnswer, q)
			return d, []store.Reason{Because(d)}
		}
		return p.toExtension(h, q)
	}
	number, ok := p.home.e164(to)
	if !ok {
		if !p.home.isShort(to) {
			return notInService(query{Query: Query{Dialed: to}})
		}
		number = to
	}
	if n := p.numbers[number]; n != nil {
		return p.toNumber(n, q)
	}
	return p.away(u, number, reason, because)
}

// away takes a call of a user out of the house again.
func (p *Plan) away(u *store.User, number, reason string, because store.Reason) (Decision, []store.Reason) {
	if refused, ok := p.permits(u, number); !ok {
		return forbidden(refused)
	}
	caller := p.shown(u)
	choices, skipped := p.choices(number, p.trunkOf(caller.Number))
	d := Outside{Number: number, Trunks: choices, Shown: caller, Forwarder: caller.Number, Diversion: reason, Because: because}
	return p.call(d, append(skipped, caller.Because))
}

// find looks for a user step by step.
func (p *Plan) find(u *store.User, q query) (Decision, []store.Reason) {
	id := "user " + string(u.ID) + " find_me"
	ring := Ring{Because: store.Reason{Rule: id, Detail: fmt.Sprintf("%s is looked for in %s", u.Name, steps(len(u.FindMe.Steps)))}}
	reasons := []store.Reason{ring.Because}
	for i, s := range u.FindMe.Steps {
		targets, why := p.targets(u, s.Targets, fmt.Sprintf("%s step %d", id, i+1), q)
		reasons = append(reasons, why...)
		if len(targets) > 0 {
			ring.Groups = append(ring.Groups, Group{Targets: targets, Timeout: s.Timeout})
		}
	}
	after := p.fallback(u, q)
	if len(ring.Groups) == 0 {
		return after, append(reasons, Because(after))
	}
	ring.Busy, ring.Declined, ring.NoAnswer, ring.Unreachable = after, after, after, after
	return ring, reasons
}

func steps(n int) string {
	if n == 1 {
		return "1 step"
	}
	return fmt.Sprintf("%d steps", n)
}

// targets are those of a list that may be rung now. owner's rights are asked for numbers of the public network; nil: the account's.
func (p *Plan) targets(owner *store.User, list []store.Target, rule string, q query) (targets []Target, skipped []store.Reason) {
	skip := func(format string, args ...any) {
		skipped = append(skipped, store.Reason{Rule: rule, Detail: fmt.Sprintf(format, args...)})
	}
	for _, t := range list {
		if t.Type == "external" {
			if owner != nil {
				if because, ok := p.permits(owner, t.Number); !ok {
					skip("%s", because.Detail)
					continue
				}
			}
			caller := p.shown(owner)
			choices, _ := p.choices(t.Number, p.trunkOf(caller.Number))
			if len(choices) == 0 {
				skip("No trunk leads to %s", t.Number)
				continue
			}
			because := store.Reason{Rule: rule, Detail: t.Number + " is rung"}
			of := store.ID("")
			if owner != nil {
				of = owner.ID
			}
			targets = append(targets, Target{
				Name: t.Number, Of: of, Screening: t.Screening,
				Outside: &Outside{Number: t.Number, Trunks: choices, Shown: caller, Forwarder: caller.Number, Diversion: "unconditional", Because: because},
			})
			continue
		}
		switch u := p.users[t.ID]; {
		case u == nil:
		case u.ID == q.From.User:
			skip("%s calls", u.Name)
		case u.DoNotDisturb:
			skip("%s does not want to be disturbed", u.Name)
		case p.lines[u.ID] == 0:
			skip("%s has no phone", u.Name)
		default:
			targets = append(targets, targetOf(u))
		}
	}
	return targets, skipped
}

// fallback is where a user's calls go when nobody was found.
func (p *Plan) fallback(u *store.User, q query) Decision {
	rule := "user " + string(u.ID) + " find_me.fallback"
	switch u.FindMe.Fallback.Action {
	case "hangup":
		return Reject{Code: noAnswer.code, Reason: noAnswer.reason, Outcome: store.OutcomeNoAnswer, Because: store.Reason{Rule: rule, Detail: u.Name + " was not found, and the call ends"}}
	case "route":
		d, _ := p.toDestination(u.FindMe.Fallback.Destination, store.Reason{Rule: rule, Detail: u.Name + " was not found"}, u, q)
		return d
	}
	return p.otherwise(u, noAnswer, q)
}

// toGroup rings the members of a group.
func (p *Plan) toGroup(g *store.RingGroup, q query) (Decision, []store.Reason) {
	rule := "ring group " + string(g.ID)
	is := store.Reason{Rule: rule, Detail: g.Name + " is a ring group"}
	if g.Extension != "" {
		is.Detail = fmt.Sprintf("Extension %s is the ring group %s", g.Extension, g.Name)
	}
	if q.passed(g.ID) {
		return looped(rule, g.Name)
	}
	targets, skipped := p.targets(nil, g.Members, rule, q)
	reasons := append([]store.Reason{is}, skipped...)
	after, why := p.toDestination(g.Fallback, store.Reason{Rule: rule + " fallback", Detail: "Nobody of " + g.Name + " took the call"}, nil, q)
	if len(targets) == 0 {
		return after, append(append(reasons, store.Reason{Rule: rule, Detail: g.Name + " has nobody to ring"}), why...)
	}
	ring := Ring{
		RingGroup: g.ID, Strategy: g.Strategy, Prefix: g.Prefix,
		Busy: after, Declined: after, NoAnswer: after, Unreachable: after,
		Because: store.Reason{Rule: rule + " strategy", Detail: fmt.Sprintf("%s rings %s, %s", g.Name, orders[g.Strategy], spell(g.Timeout))},
	}
	if g.Strategy == "simultaneous" {
		ring.Groups = []Group{{Targets: targets, Timeout: g.Timeout}}
	} else {
		for _, t := range targets {
			ring.Groups = append(ring.Groups, Group{Targets: []Target{t}, Timeout: g.Timeout})
		}
	}
	return ring, append(reasons, ring.Because)
}

// orders tell strategies in words.
var orders = map[string]string{
	"simultaneous": "all members together",
	"sequential":   "one member after another",
	"round_robin":  "one member after another, each call beginning with the next",
	"random":       "one member after another by chance",
	"least_recent": "one member after another, who answered longest ago first",
}

// toMailbox takes a message for a shared mailbox.
func (p *Plan) toMailbox(m *store.Mailbox) (Decision, []store.Reason) {
	d := Voicemail{
		Mailbox: m.ID, Name: m.Name, Extension: m.Extension, Greeting: NotAvailable, Outcome: store.OutcomeNoAnswer,
		Because: store.Reason{Rule: "mailbox " + string(m.ID), Detail: "The call goes to the mailbox " + m.Name},
	}
	return d, []store.Reason{d.Because}
}

// toDestination follows a destination that an admin or a user chose. by is the user whose rights are asked; nil: the account's.
func (p *Plan) toDestination(d store.Destination, because store.Reason, by *store.User, q query) (Decision, []store.Reason) {
	with := func(to Decision, reasons []store.Reason) (Decision, []store.Reason) {
		return to, append([]store.Reason{because}, reasons...)
	}
	switch d.Type {
	case "user":
		if u := p.users[d.ID]; u != nil {
			return with(p.toUser(u, q))
		}
	case "ring_group":
		if g := p.groups[d.ID]; g != nil {
			return with(p.toGroup(g, q))
		}
	case "mailbox":
		if m := p.boxes[d.ID]; m != nil {
			return with(p.toMailbox(m))
		}
		if u := p.users[d.ID]; u != nil {
			because.Detail += ": the mailbox of " + u.Name
			if box, ok := p.otherwise(u, unreachable, q).(Voicemail); ok {
				box.Because = because
				return box, []store.Reason{because}
			}
			because.Detail += ", who has no voicemail"
			end := Reject{Code: 480, Reason: "No voicemail", Outcome: store.OutcomeFailed, Because: because}
			return end, []store.Reason{because}
		}
	case "external":
		if n := p.numbers[d.Number]; n != nil {
			return with(p.toNumber(n, q))
		}
		if by == nil {
			by = &store.User{OutboundCountries: []string{"*"}} // the account chose where it leads: no right of a user is asked
		}
		return with(p.away(by, d.Number, "unconditional", because))
	case "parking":
		return with(p.parking(d.Number, because))
	}
	because.Detail += ", and the call ends"
	end := Reject{Code: 603, Reason: "Decline", Outcome: store.OutcomeDeclined, Because: because}
	return end, []store.Reason{because}
}

// parking leads to a slot, or to the next free one.
func (p *Plan) parking(slot string, because store.Reason) (Decision, []store.Reason) {
	if slot != "" {
		d := Slot{Number: slot, Because: because}
		return d, []store.Reason{because}
	}
	d := Park{Slots: p.codes.slots, Because: because}
	return d, []store.Reason{because}
}
