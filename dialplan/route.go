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

// Caller is who calls: a user, a carrier, or nobody of ours with the number they show.
type Caller struct {
	User   store.ID
	Trunk  store.ID // the call comes from outside
	Number string
}

// query is a Query as it is worked on.
type query struct {
	Query
	dialed   string     // normalized
	withheld bool       // the called party is not to be told who calls
	path     []store.ID // numbers, users and groups of ours that were passed
}

// Route is pure: same plan, same query, same answer. The reasons lead to the decision; its
// branches carry their own, which join them when a branch is taken.
func (p *Plan) Route(q Query) (Decision, []store.Reason) {
	if q.From.Trunk != "" {
		return p.inbound(q)
	}
	return p.route(query{Query: q, dialed: Normalize(q.Dialed)})
}

// route decides for callers of our own.
func (p *Plan) route(q query) (Decision, []store.Reason) {
	// Emergency numbers come before everything else that could hide them.
	if number, ok := p.emergency(q.dialed); ok {
		return p.emergencyCall(q, number)
	}
	if h, known := p.extensions[q.dialed]; known {
		return p.toExtension(h, q)
	}
	if d, reasons, ok := p.byCode(q); ok {
		return d, reasons
	}
	if number, ok := p.home.e164(q.dialed); ok {
		return p.outside(q, number)
	}
	if p.home.isShort(q.dialed) {
		return p.outside(q, q.dialed)
	}
	return notInService(q)
}

func notInService(q query) (Decision, []store.Reason) {
	d := Reject{
		Code: 404, Reason: "Not in service", Outcome: store.OutcomeFailed, Say: SayNotInService,
		Because: store.Reason{Rule: "numbers", Detail: "Nobody has the number " + quote(q.Dialed)},
	}
	return d, []store.Reason{d.Because}
}

// callToSelf leads callers of their own extension to their messages, as most phones' users
// expect, rather than to their own other phones; without voicemail they are as busy as they sound.
func (p *Plan) callToSelf(u *store.User) Decision {
	because := store.Reason{Rule: "user " + string(u.ID) + " self", Detail: u.Name + " calls their own number"}
	if u.Voicemail.Enabled {
		return Mailbox{Owner: u.ID, Name: u.Name, Because: because}
	}
	return Reject{Code: busy.code, Reason: busy.reason, Outcome: store.OutcomeBusy, Extension: u.Extension, Because: because}
}

// quote shows a number that a caller made up: bounded, and without characters that do harm in a page or log.
func quote(s string) string {
	if runes := []rune(s); len(runes) > maxDialed {
		s = string(runes[:maxDialed]) + "…"
	}
	return strconv.Quote(s)
}
