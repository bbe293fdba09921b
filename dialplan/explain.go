package dialplan

import (
	"fmt"
	"strings"
	"time"

	"pbx/store"
)

// Step is one line of an explained decision.
type Step struct {
	At      time.Duration // after the call began
	Action  string        // "ring", "outside", "voicemail", "mailbox", "echo", "reject"
	Detail  string        // what is done, in words; a branch begins with its condition
	Because string        // the rule that says so
}

// Explain tells a decision in words, branches included, in the order in which they would be met.
func Explain(d Decision, r []store.Reason) []Step {
	why := make([]string, len(r))
	for i, reason := range r {
		why[i] = reason.Detail
	}
	return explain(nil, 0, "", d, strings.Join(why, ". "))
}

// spoken shows how a number is written to a carrier, and what it means if that is not plain to see.
func spoken(written, number string) string {
	if written == number || "+"+written == number {
		return written
	}
	return written + " (" + number + ")"
}

func (c CallerID) spoken(t TrunkChoice) string {
	switch {
	case c.Anonymous:
		return "no number"
	case c.Number == "":
		return "no number of ours"
	}
	return spoken(t.Spell(c.Number), c.Number)
}

func explain(steps []Step, at time.Duration, condition string, d Decision, because string) []Step {
	add := func(action, detail string) {
		steps = append(steps, Step{At: at, Action: action, Detail: condition + detail, Because: because})
	}
	switch d := d.(type) {
	case Ring:
		start := at
		for _, g := range d.Groups {
			names := make([]string, len(g.Targets))
			for i, t := range g.Targets {
				if names[i] = t.Name; t.Extension != "" {
					names[i] += " (" + t.Extension + ")"
				}
			}
			add("ring", fmt.Sprintf("%s: all phones for %s", strings.Join(names, ", "), spell(g.Timeout)))
			at += g.Timeout
		}
		for _, b := range []struct {
			at        time.Duration
			condition string
			then      Decision
		}{
			{start, "If no phone is on line: ", d.Unreachable},
			{start, "If busy: ", d.Busy},
			{start, "If declined: ", d.Declined},
			{at, "If nobody answers: ", d.NoAnswer},
		} {
			steps = explain(steps, b.at, condition+b.condition, b.then, Because(b.then).Detail)
		}
	case Outside:
		for i, t := range d.Trunks {
			detail := fmt.Sprintf("call %s over %s, showing %s", spoken(t.Number, d.Number), t.Name, d.Shown.spoken(t))
			if i > 0 {
				detail = "If " + d.Trunks[i-1].Name + " fails: " + detail
			}
			why := t.Because.Detail
			if i == 0 && because != "" {
				why = because + ". " + why
			}
			steps = append(steps, Step{At: at, Action: "outside", Detail: condition + detail, Because: why})
		}
		steps = explain(steps, at, condition+"If no carrier takes the call: ", d.Failed, Because(d.Failed).Detail)
	case Pickup:
		add("pickup", fmt.Sprintf("take the call that rings for %s (%s)", d.Name, d.Extension))
	case Voicemail:
		add("voicemail", fmt.Sprintf("take a message for %s (%s), greeting “%s”", d.Name, d.Extension, d.Greeting))
	case Mailbox:
		add("mailbox", fmt.Sprintf("play the messages of %s after the PIN", d.Name))
	case Echo:
		add("echo", "send the caller's sound back")
	case Reject:
		detail := fmt.Sprintf("refuse with %d %s", d.Code, d.Reason)
		if d.Say != SayNothing {
			detail += fmt.Sprintf(", saying “%s”", d.Say)
		}
		add("reject", detail)
	}
	return steps
}
