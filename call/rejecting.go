package call

import (
	"context"
	"errors"
	"time"

	"pbx/dialplan"
	"pbx/media"
	"pbx/store"
)

// busyTone is how long somebody who is already connected hears that it was in vain.
const busyTone = 3 * time.Second

// rejecting refuses the call, with words where a tone would not tell enough.
type rejecting struct {
	party *Party
	dialplan.Reject
}

func (s rejecting) Parties() []*Party { return []*Party{s.party} }
func (s rejecting) String() string    { return "rejecting" }

func (s rejecting) Run(ctx context.Context, c *Call) Step {
	c.note(s.Because.Detail)
	// RFC 3960 §3: what is said before the refusal is early media, and costs the caller nothing.
	if s.Say != dialplan.SayNothing && (s.party.answered || s.party.Leg.Ring(true) == nil) {
		if _, err := c.say(ctx, s.party, c.announcement(s.Reject)...); errors.Is(err, errHungUp) {
			return nil
		}
	}
	c.over(s.by(), s.Because.Detail)
	if s.party.answered {
		ctx, enough := context.WithTimeout(ctx, busyTone)
		defer enough()
		_, _ = c.play(ctx, s.party, allKeys, media.Busy())
		return nil
	}
	if err := s.party.Leg.Refuse(s.Code, s.Reason); err != nil {
		c.log.Info("refusal not sent", "err", err)
	}
	return nil
}

// by says whose doing the refusal is.
func (s rejecting) by() string {
	switch s.Outcome {
	case store.OutcomeBusy, store.OutcomeDeclined, store.OutcomeNoAnswer:
		return "callee"
	}
	return "system"
}

// announcement is the phrases of what a refused caller hears.
func (c *Call) announcement(r dialplan.Reject) []string {
	switch r.Say {
	case dialplan.SayNotInService:
		return []string{"number-not-in-service"}
	case dialplan.SayNotReachable:
		return []string{"not-reachable"}
	case dialplan.SayNoSlot:
		return []string{"no-slot-free"}
	case dialplan.SayNobodyParked:
		return []string{"nobody-parked"}
	case dialplan.SayNotAvailable:
		return c.aboutPerson(r.Extension, "is-not-available")
	}
	return nil
}

// aboutPerson says something of the person at an extension.
func (c *Call) aboutPerson(extension string, phrases ...string) []string {
	about := append([]string{"person-at-extension"}, c.engine.Library.Digits(extension)...)
	return append(about, phrases...)
}
