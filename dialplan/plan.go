// Package dialplan decides where a call goes. Its Plan is compiled from the rows of one account and
// never changes; Route is a pure function of plan and query, so that the engine, the
// simulator and a reader of old call records all see the same story.
//
// It does no input or output, starts no goroutine and asks no clock; it knows nothing of
// registrations or engaged phones. Those are branches of a Decision, taken at run time.
package dialplan

import (
	"fmt"
	"time"

	"pbx/store"
)

// Plan is all routing rules of an account, compiled. It is immutable.
type Plan struct {
	users      map[store.ID]*store.User
	extensions map[string]rule
	codes      map[string]*Code
	inside     map[store.ID]rule // users by id, with an extension or without

	account store.Account
	home    home
	trunks  []store.Trunk // ordered by id
	numbers map[string]*store.Number
	owned   map[store.ID]*store.Number
}

// rule is what happens to calls for one extension.
type rule struct {
	user     *store.User
	reasons  []store.Reason // what leads to decision
	decision Decision       // for a call from anybody else
}

// Compile makes the plan of a snapshot. Its error refuses the change that led to the snapshot.
func Compile(s *store.Snapshot) (*Plan, error) {
	p := &Plan{
		users:      make(map[store.ID]*store.User, len(s.Users)),
		extensions: make(map[string]rule, len(s.Users)),
		codes:      make(map[string]*Code, len(codes)),
		inside:     make(map[store.ID]rule, len(s.Users)),
		account:    s.Account,
		trunks:     s.Trunks,
		numbers:    make(map[string]*store.Number, len(s.Numbers)),
		owned:      make(map[store.ID]*store.Number, len(s.Numbers)),
	}
	for i := range s.Numbers {
		n := &s.Numbers[i]
		p.numbers[n.Number], p.owned[n.ID] = n, n
	}
	p.home = homeOf(s.Account.Country, p.areaOf(s.Account.DefaultOutboundNumberID))
	for i := range codes {
		p.codes[codes[i].Number] = &codes[i]
	}
	for i := range s.Users {
		u := &s.Users[i]
		p.users[u.ID] = u
		p.inside[u.ID] = compileUser(u, len(s.LinesOf(u.ID)))
		if u.Extension == "" {
			continue
		}
		if Normalize(u.Extension) != u.Extension {
			return nil, fmt.Errorf("compile plan: extension %q of %s cannot be dialled", u.Extension, u.ID)
		}
		if c := p.codes[u.Extension]; c != nil {
			return nil, fmt.Errorf("compile plan: extension %s of %s is the code for %s", u.Extension, u.ID, c.Name)
		}
		if other, taken := p.extensions[u.Extension]; taken {
			return nil, fmt.Errorf("compile plan: extension %s belongs to %s and to %s", u.Extension, other.user.ID, u.ID)
		}
		p.extensions[u.Extension] = p.inside[u.ID]
	}
	return p, nil
}

// compileUser makes the rule of a user who has so many lines.
func compileUser(u *store.User, lines int) rule {
	id := "user " + string(u.ID)
	r := rule{user: u, reasons: []store.Reason{{Rule: id, Detail: fmt.Sprintf("Extension %s is %s", u.Extension, u.Name)}}}
	if u.Extension == "" {
		r.reasons[0].Detail = u.Name + " has no extension"
	}
	switch {
	case u.DoNotDisturb:
		m := busy // as a busy phone, but the greeting does not lie
		m.when, m.greeting = "does not want to be disturbed", NotAvailable
		r.decision = otherwise(u, m)
	case lines == 0:
		m := unreachable
		m.when = "has no phone"
		r.decision = otherwise(u, m)
	default:
		r.decision = Ring{
			Groups: []Group{{
				Targets: []Target{{User: u.ID, Name: u.Name, Extension: u.Extension}},
				Timeout: u.RingTimeout,
			}},
			Busy:        otherwise(u, busy),
			Declined:    otherwise(u, declined),
			NoAnswer:    otherwise(u, noAnswer),
			Unreachable: otherwise(u, unreachable),
			Because: store.Reason{
				Rule:   id + " ring_timeout_s",
				Detail: fmt.Sprintf("The phones of %s ring for %s", u.Name, spell(u.RingTimeout)),
			},
		}
	}
	r.reasons = append(r.reasons, Because(r.decision))
	return r
}

// A miss is a way not to reach a user: with a mailbox it leads there, without one to a refusal.
type miss struct {
	outcome  store.Outcome
	when     string // in words, after the user's name
	greeting Greeting
	code     int
	reason   string
	say      Announcement
}

// RFC 3261 §21.4.24, §21.4.19, §21.6.2: what the caller is told.
var (
	busy        = miss{store.OutcomeBusy, "is busy", OnThePhone, 486, "Busy Here", SayNothing}
	declined    = miss{store.OutcomeDeclined, "declines", NotAvailable, 603, "Decline", SayNothing}
	noAnswer    = miss{store.OutcomeNoAnswer, "does not answer", NotAvailable, 480, "No answer", SayNotAvailable}
	unreachable = miss{store.OutcomeUnreachable, "has no phone on line", NotAvailable, 480, "Not reachable", SayNotReachable}
)

func otherwise(u *store.User, m miss) Decision {
	because := store.Reason{Rule: "user " + string(u.ID) + " voicemail"}
	if u.Voicemail.Enabled {
		because.Detail = u.Name + " " + m.when + " and has voicemail"
		return Voicemail{
			Mailbox: u.ID, Name: u.Name, Extension: u.Extension,
			Greeting: m.greeting, Outcome: m.outcome, Because: because,
		}
	}
	because.Detail = u.Name + " " + m.when + " and has no voicemail"
	return Reject{
		Code: m.code, Reason: m.reason, Outcome: m.outcome,
		Say: m.say, Extension: u.Extension, Because: because,
	}
}

// spell writes whole seconds as people do.
func spell(d time.Duration) string {
	if d == time.Second {
		return "1 second"
	}
	return fmt.Sprintf("%d seconds", int(d/time.Second))
}
