package store

import (
	"net/netip"
	"time"
)

// Trace is what went over the wire for one call. Secrets are masked.
type Trace struct {
	CallID    ID // of the call record
	AccountID ID
	Legs      []TraceLeg
	Messages  []TraceMessage // in order of time
	Dropped   int            // messages beyond the limits, which are not here
}

// TraceLeg is one SIP dialog of a traced call, and whose it was as far as that is known.
type TraceLeg struct {
	SIPCallID string
	UserID    ID
	DeviceID  ID
	TrunkID   ID
}

// TraceMessage is one SIP message of a traced call.
type TraceMessage struct {
	At        time.Time
	Sent      bool   // by us
	Transport string // "udp", "tcp", "tls", "ws", "wss"
	Local     netip.AddrPort
	Remote    netip.AddrPort
	Leg       int  // index in Trace.Legs
	Again     bool // a repetition of one before, octet for octet
	Raw       []byte
}
