package store

import (
	"net/netip"
	"time"
)

// Ban is a source address that signalling does not listen to.
type Ban struct {
	Addr   netip.Addr // of IPv6 the network of 64 bits
	Reason string     // in words
	By     string     // who banned it; empty: the guard
	Since  time.Time
	Until  time.Time
	// Times is how often the address was banned; each time lasts longer.
	Times int
	// Hits counts the messages that were not listened to.
	Hits uint64
	// Evidence is what led to it: first lines of messages, at most MaxEvidence.
	Evidence []string
}

// MaxEvidence is how many lines of evidence a ban has.
const MaxEvidence = 5

// MaxBanReason is how long the reason of a ban may be.
const MaxBanReason = 200
