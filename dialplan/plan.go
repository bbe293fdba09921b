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
	lines      map[store.ID]int // how many lines a user has
	groups     map[store.ID]*store.RingGroup
	boxes      map[store.ID]*store.Mailbox
	extensions map[string]holder
	codes      codeTable

	account store.Account
	home    home
	trunks  []store.Trunk // ordered by id
	numbers map[string]*store.Number
	owned   map[store.ID]*store.Number
}

// holder is who has an extension: exactly one of the three.
type holder struct {
	user  *store.User
	group *store.RingGroup
	box   *store.Mailbox
}

func (h holder) String() string {
	switch {
	case h.group != nil:
		return "the ring group " + h.group.Name
	case h.box != nil:
		return "the mailbox " + h.box.Name
	}
	return h.user.Name
}

// Compile makes the plan of a snapshot. Its error refuses the change that led to the snapshot.
func Compile(s *store.Snapshot) (*Plan, error) {
	p := &Plan{
		users:      make(map[store.ID]*store.User, len(s.Users)),
		lines:      make(map[store.ID]int, len(s.Users)),
		groups:     make(map[store.ID]*store.RingGroup, len(s.Groups)),
		boxes:      make(map[store.ID]*store.Mailbox, len(s.Mailboxes)),
		extensions: make(map[string]holder, len(s.Users)+len(s.Groups)+len(s.Mailboxes)),
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
	for i := range s.Users {
		u := &s.Users[i]
		p.users[u.ID], p.lines[u.ID] = u, len(s.LinesOf(u.ID))
		if err := p.settle(u.Extension, u.ID, holder{user: u}); err != nil {
			return nil, err
		}
	}
	for i := range s.Groups {
		g := &s.Groups[i]
		p.groups[g.ID] = g
		if err := p.settle(g.Extension, g.ID, holder{group: g}); err != nil {
			return nil, err
		}
	}
	for i := range s.Mailboxes {
		m := &s.Mailboxes[i]
		p.boxes[m.ID] = m
		if err := p.settle(m.Extension, m.ID, holder{box: m}); err != nil {
			return nil, err
		}
	}
	var err error
	if p.codes, err = p.compileCodes(s.Account.FeatureCodes); err != nil {
		return nil, err
	}
	return p, nil
}

// settle gives an extension to who has it.
func (p *Plan) settle(extension string, id store.ID, h holder) error {
	if extension == "" {
		return nil
	}
	if Normalize(extension) != extension {
		return fmt.Errorf("compile plan: extension %q of %s cannot be dialled", extension, id)
	}
	if other, taken := p.extensions[extension]; taken {
		return fmt.Errorf("compile plan: extension %s belongs to %s and to %s", extension, other, h)
	}
	p.extensions[extension] = h
	return nil
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

// otherwise is what a caller meets who does not reach a user.
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
