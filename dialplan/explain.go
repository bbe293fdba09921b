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
	Action  string        // "ring", "outside", "voicemail", "mailbox", "park", "setting", …, "reject"
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
			add("ring", fmt.Sprintf("%s: all phones for %s", g.names(), spell(g.Timeout)))
			at += g.Timeout
		}
		if same(d) {
			return explain(steps, at, condition+"If nobody answers: ", d.NoAnswer, Because(d.NoAnswer).Detail)
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
		name := d.Name
		if d.Extension != "" {
			name += " (" + d.Extension + ")"
		}
		add("pickup", "take the call that rings for "+name)
	case Park:
		add("park", "park in the next free slot, and say which")
	case Slot:
		add("slot", fmt.Sprintf("take back who is parked in slot %s", d.Number))
	case AnyMailbox:
		add("mailbox", "ask for an extension and its PIN, and play the messages")
	case Setting:
		what := map[bool]string{true: "switch on", false: "switch off"}[d.On] + " " + settings[d.What]
		if d.Number != "" {
			what += " to " + d.Number
		}
		add("setting", what+" for "+d.Name)
	case Intercom:
		add("intercom", fmt.Sprintf("speak to %s (%s), whose phone answers by itself", d.Target.Name, d.Target.Extension))
		steps = explain(steps, at, condition+"If that cannot be: ", d.Refused, Because(d.Refused).Detail)
	case CallBack:
		add("call_back", "call who called "+d.Name+" last")
	case CampOn:
		if d.Target.User == "" {
			add("camp_on", "forget about calling back")
			return steps
		}
		add("camp_on", fmt.Sprintf("ring both when %s (%s) is free", d.Target.Name, d.Target.Extension))
	case Flip:
		add("flip", "take the call of "+d.Name+" from their other phone")
	case WakeUp:
		if d.Cancel {
			add("wake_up", "cancel the wake-up call")
		} else {
			add("wake_up", fmt.Sprintf("call at %02d:%02d", d.Hour, d.Minute))
		}
	case Clock:
		add("clock", "say the time")
	case WhoAmI:
		add("who_am_i", "say the extension "+d.Extension)
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

// settings tell what a code changes.
var settings = map[string]string{
	"do_not_disturb":      "do not disturb",
	"forward.always":      "forwarding of all calls",
	"forward.busy":        "forwarding while busy",
	"forward.no_answer":   "forwarding of unanswered calls",
	"forward.unreachable": "forwarding while no phone is on line",
}

// names lists who is rung together.
func (g Group) names() string {
	names := make([]string, len(g.Targets))
	for i, t := range g.Targets {
		names[i] = t.Name
		if t.Extension != "" {
			names[i] += " (" + t.Extension + ")"
		}
		if t.Screening != "" && t.Screening != "none" {
			names[i] += ", who " + screenings[t.Screening]
		}
	}
	return strings.Join(names, ", ")
}

// screenings tell how a number proves to be a person.
var screenings = map[string]string{
	"press_1": "must press 1",
	"amd":     "must not be a machine",
	"both":    "must not be a machine and must press 1",
}

// same reports whether all ways of not reaching anybody end alike.
func same(d Ring) bool {
	because := Because(d.NoAnswer)
	return (d.RingGroup != "" || len(d.Groups) > 1) && Because(d.Busy) == because && Because(d.Declined) == because && Because(d.Unreachable) == because
}
