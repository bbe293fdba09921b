package dialplan

import (
	"strconv"
	"time"

	"pbx/store"
)

// Query is all that routing may know.
type Query struct {
	From   Caller
	Dialed string    // in any spelling; see Normalize
	At     time.Time // given, never asked for
}

// Caller is who calls: a user, or nobody of ours with the number they show.
type Caller struct {
	User   store.ID
	Number string
}

// Route is pure: same plan, same query, same answer. The reasons lead to the decision; its
// branches carry their own, which join them when a branch is taken.
func (p *Plan) Route(q Query) (Decision, []store.Reason) {
	number := Normalize(q.Dialed)
	if c := p.codes[number]; c != nil {
		d := c.decide(p, q.From, store.Reason{Rule: "code " + c.Number, Detail: c.Number + " is the code for " + c.Name})
		return d, []store.Reason{Because(d)}
	}
	r, known := p.extensions[number]
	switch {
	case !known:
		d := Reject{
			Code: 404, Reason: "Not in service", Outcome: store.OutcomeFailed, Say: SayNotInService,
			Because: store.Reason{Rule: "numbers", Detail: "Nobody has the number " + quote(q.Dialed)},
		}
		return d, []store.Reason{d.Because}
	case q.From.User == r.user.ID:
		d := p.callToSelf(r)
		return d, []store.Reason{r.reasons[0], Because(d)}
	}
	return r.decision, r.reasons[:len(r.reasons):len(r.reasons)]
}

// callToSelf leads callers of their own extension to their messages, as most phones' users
// expect, rather than to their own other phones; without voicemail they are as busy as they sound.
func (p *Plan) callToSelf(r rule) Decision {
	because := store.Reason{Rule: "user " + string(r.user.ID) + " self", Detail: r.user.Name + " calls their own number"}
	if r.user.Voicemail.Enabled {
		return Mailbox{Owner: r.user.ID, Name: r.user.Name, Because: because}
	}
	return Reject{Code: busy.code, Reason: busy.reason, Outcome: store.OutcomeBusy, Extension: r.user.Extension, Because: because}
}

// quote shows a number that a caller made up: bounded, and without characters that do harm in a page or log.
func quote(s string) string {
	if runes := []rune(s); len(runes) > maxDialed {
		s = string(runes[:maxDialed]) + "…"
	}
	return strconv.Quote(s)
}
