package store

import "time"

// Page asks for one page of a list. The zero value asks for the first of the usual length.
type Page struct {
	Limit  int    // 0: 50; at most 500
	Cursor string // of the page before; empty: the first
	Query  string // words to search for
}

// DeviceFilter narrows a list of devices. Empty fields do not.
type DeviceFilter struct {
	User ID // has a line of this user
	Kind DeviceKind
	Base ID // handsets of this base
}

// NumberFilter narrows a list of numbers. Empty fields do not.
type NumberFilter struct {
	Trunk ID // delivered by this trunk
	User  ID // leads to this user or their mailbox
}

// CallFilter narrows a list of call records. Empty fields do not.
type CallFilter struct {
	User      ID        // calls in which this user took part
	From, To  time.Time // started not before From, before To
	Outcome   Outcome
	Direction string
}

// ActivityFilter narrows a list of activity. Empty fields do not.
type ActivityFilter struct {
	From, To                    time.Time // not before From, before To
	Event                       []string  // any of these
	ResourcePrefix, ActorPrefix string
	Outcome                     ActivityOutcome
	IP                          string // start of the address
}
