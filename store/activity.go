package store

import "time"

// Actor is who does something: a person in the portal, a program with a key, a phone, or the system itself.
type Actor struct {
	Kind string // "user", "api_key", "device", "system"
	ID   ID
	Name string // login, key name, device name
	IP   string
}

// System is the actor of what nobody asked for.
var System = Actor{Kind: "system", Name: "system"}

// ActivityOutcome is how an operation ended.
type ActivityOutcome string

// The outcomes of operations.
const (
	Success ActivityOutcome = "success"
	Failure ActivityOutcome = "failure"
	Denied  ActivityOutcome = "denied"
)

// Activity is one line of the account's log of operations.
type Activity struct {
	ID        ID
	AccountID ID
	At        time.Time
	Event     string // "user.create"
	Resource  string // "user/usr_…"
	Actor     Actor
	Outcome   ActivityOutcome
	// Detail is a small JSON object, secrets already replaced by "[redacted]". May be empty.
	Detail []byte
	// Count is how often the same thing happened within the minute; reads are counted so.
	Count int
}
