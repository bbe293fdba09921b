package store

import (
	"slices"
	"time"
)

// RingGroup is an extension that rings several people.
type RingGroup struct {
	ID        ID
	AccountID ID
	Version   int64

	Name      string
	Extension string // empty: reached by numbers and fallbacks only
	Strategy  string // see Strategies
	Members   []Target
	// Timeout is how long the members ring: all of them together, or each in turn.
	Timeout time.Duration
	// Prefix is put before the caller's name on the members' phones, "Sales: ".
	Prefix string
	// Fallback is where the call goes that nobody took.
	Fallback Destination

	CreatedAt time.Time
	UpdatedAt time.Time
}

// Strategies are the orders in which a group rings its members: all at once; one after another as listed; the same, each
// call beginning one further; in an order by chance; who answered longest ago first.
var Strategies = []string{"simultaneous", "sequential", "round_robin", "random", "least_recent"}

// Validate returns FieldErrors, or nil. extensionLength is the account's.
func (g *RingGroup) Validate(extensionLength int) error {
	var e FieldErrors
	checkName(&e, "name", g.Name)
	if g.Extension != "" {
		checkExtension(&e, "extension", g.Extension, extensionLength)
		checkNotEmergency(&e, "extension", g.Extension)
	}
	oneOf(&e, "strategy", "Strategy", g.Strategy, Strategies)
	checkTargets(&e, "members", g.Members, maxMembers)
	checkRing(&e, "timeout_s", g.Timeout)
	if !plainText(g.Prefix, 20) {
		e.Add("caller_prefix", "Prefix must have at most 20 characters and no control characters.")
	}
	g.Fallback.check(&e, "fallback")
	return e.Err()
}

func checkNotEmergency(e *FieldErrors, field, extension string) {
	if slices.Contains(emergencyNumbers, extension) {
		e.Add(field, extension+" is an emergency number and cannot be an extension.")
	}
}

// Mailbox is voicemail that several people share.
type Mailbox struct {
	ID        ID
	AccountID ID
	Version   int64

	Name      string
	Extension string // empty: reached by numbers and fallbacks only
	// PINHash is the argon2id string of the PIN; empty: only members hear it, on their own phones.
	PINHash string
	// MemberIDs are the users who hear the messages and whose phones show that there are some.
	MemberIDs []ID

	CreatedAt time.Time
	UpdatedAt time.Time
}

// HasPIN reports whether messages can be heard with a PIN.
func (m *Mailbox) HasPIN() bool { return m.PINHash != "" }

// Validate returns FieldErrors, or nil. extensionLength is the account's.
func (m *Mailbox) Validate(extensionLength int) error {
	var e FieldErrors
	checkName(&e, "name", m.Name)
	if m.Extension != "" {
		checkExtension(&e, "extension", m.Extension, extensionLength)
		checkNotEmergency(&e, "extension", m.Extension)
	}
	if len(m.MemberIDs) > maxMembers {
		e.Add("member_ids", "A mailbox has at most 100 members.")
	}
	return e.Err()
}
