package admin

import (
	"cmp"
	"strings"
	"time"

	"pbx/admin/contract"
	"pbx/dialplan"
	"pbx/store"
)

// This file shows and reads how a user is reached: find me, forwarding, greetings, speed dials.

func findMeView(f store.FindMe) contract.FindMe {
	steps := make([]contract.FindMeStep, len(f.Steps))
	for i, s := range f.Steps {
		steps[i] = contract.FindMeStep{TimeoutS: int(s.Timeout / time.Second), Targets: targetViews(s.Targets)}
	}
	to := contract.FindMeFallback{Action: contract.FindMeFallbackAction(cmp.Or(f.Fallback.Action, "voicemail"))}
	if to.Action == "route" {
		d := destinationView(f.Fallback.Destination)
		to.Destination = &d
	}
	return contract.FindMe{Enabled: &f.Enabled, Steps: &steps, Fallback: &to}
}

// findMe reads find me; plan brings numbers into E.164.
func findMe(in *contract.FindMe, plan *dialplan.Plan) store.FindMe {
	if in == nil {
		return store.FindMe{}
	}
	f := store.FindMe{Enabled: value(in.Enabled)}
	for _, s := range value(in.Steps) {
		f.Steps = append(f.Steps, store.FindStep{Timeout: time.Duration(s.TimeoutS) * time.Second, Targets: targets(s.Targets, plan)})
	}
	if in.Fallback != nil {
		f.Fallback = store.Fallback{Action: string(in.Fallback.Action)}
		if in.Fallback.Destination != nil {
			f.Fallback.Destination = destination(*in.Fallback.Destination, plan)
		}
	}
	return f
}

func targetViews(targets []store.Target) []contract.RingTarget {
	views := make([]contract.RingTarget, len(targets))
	for i, t := range targets {
		views[i] = contract.RingTarget{Type: contract.RingTargetType(t.Type), ID: optional(string(t.ID)), Number: optional(t.Number)}
		if t.Screening != "" {
			screening := contract.RingTargetScreening(t.Screening)
			views[i].Screening = &screening
		}
	}
	return views
}

func targets(in []contract.RingTarget, plan *dialplan.Plan) []store.Target {
	var list []store.Target
	for _, t := range in {
		target := store.Target{Type: string(t.Type), ID: store.ID(value(t.ID)), Number: value(t.Number), Screening: string(value(t.Screening))}
		switch target.Type {
		case "external":
			target.ID, target.Number = "", canonical(plan, target.Number)
			target.Screening = cmp.Or(target.Screening, "none")
		default:
			target.Number, target.Screening = "", ""
		}
		list = append(list, target)
	}
	return list
}

// canonical is a number as it is kept, however people wrote it.
func canonical(plan *dialplan.Plan, number string) string {
	if plan == nil || number == "" {
		return number
	}
	return plan.Canonical(number)
}

// destination reads a destination.
func destination(in contract.Destination, plan *dialplan.Plan) store.Destination {
	d := store.Destination{Type: string(in.Type), ID: store.ID(value(in.ID)), Number: value(in.Number)}
	if d.Type == "external" {
		d.Number = canonical(plan, d.Number)
	}
	return d
}

func forwardView(f store.Forward) contract.Forward {
	v := contract.Forward{Always: optional(f.Always), Busy: optional(f.Busy), NoAnswer: optional(f.NoAnswer), Unreachable: optional(f.Unreachable)}
	if f.NoAnswerTimeout > 0 {
		s := int(f.NoAnswerTimeout / time.Second)
		v.NoAnswerTimeoutS = &s
	}
	return v
}

// forward reads forwarding. Numbers are kept as they are dialled, without what people write to read them better.
func forward(in *contract.Forward) store.Forward {
	if in == nil {
		return store.Forward{}
	}
	plain := func(number *string) string {
		if n := dialplan.Normalize(value(number)); n != "" {
			return n
		}
		return strings.TrimSpace(value(number)) // refused as it was written
	}
	return store.Forward{
		Always: plain(in.Always), Busy: plain(in.Busy), NoAnswer: plain(in.NoAnswer), Unreachable: plain(in.Unreachable),
		NoAnswerTimeout: time.Duration(value(in.NoAnswerTimeoutS)) * time.Second,
	}
}

func dialViews(dials []store.SpeedDial) []contract.SpeedDial {
	views := make([]contract.SpeedDial, len(dials))
	for i, d := range dials {
		views[i] = contract.SpeedDial{Index: d.Index, Number: d.Number, Name: optional(d.Name)}
	}
	return views
}

func speedDials(in []contract.SpeedDial) []store.SpeedDial {
	var dials []store.SpeedDial
	for _, d := range in {
		number := dialplan.Normalize(d.Number)
		if number == "" {
			number = strings.TrimSpace(d.Number)
		}
		dials = append(dials, store.SpeedDial{Index: d.Index, Number: number, Name: strings.TrimSpace(value(d.Name))})
	}
	return dials
}

// voicemailSettings is how a user's mailbox is set, as a patch finds it.
func voicemailSettings(v *store.Voicemail) *contract.VoicemailSettingsPatch {
	g := v.Greetings
	return &contract.VoicemailSettingsPatch{
		Enabled: &v.Enabled, GreetingClipID: optional(string(g.Unavailable)), BusyGreetingClipID: optional(string(g.Busy)),
		TemporaryGreetingClipID: optional(string(g.Temporary)), TemporaryUntil: optionalTime(g.TemporaryUntil),
	}
}

func voicemailView(v *store.Voicemail) contract.VoicemailSettings {
	g := v.Greetings
	return contract.VoicemailSettings{
		Enabled: v.Enabled, HasPin: v.HasPIN(), GreetingClipID: optional(string(g.Unavailable)), BusyGreetingClipID: optional(string(g.Busy)),
		TemporaryGreetingClipID: optional(string(g.Temporary)), TemporaryUntil: optionalTime(g.TemporaryUntil),
	}
}

func greetings(in *contract.VoicemailSettingsPatch) store.Greetings {
	return store.Greetings{
		Unavailable: store.ID(value(in.GreetingClipID)), Busy: store.ID(value(in.BusyGreetingClipID)),
		Temporary: store.ID(value(in.TemporaryGreetingClipID)), TemporaryUntil: value(in.TemporaryUntil),
	}
}
