package event

import (
	"time"

	"pbx/store"
)

// Registration tells that a line came or went.
type Registration struct {
	DeviceID  store.ID `json:"device_id"`
	LineID    store.ID `json:"line_id"`
	UserID    store.ID `json:"user_id"`
	Online    bool     `json:"online"` // the line has at least one binding
	UserAgent string   `json:"user_agent"`
	Source    string   `json:"source"`
}

// Party is one side of a live call.
type Party struct {
	UserID    store.ID `json:"user_id"`
	DeviceID  store.ID `json:"device_id"`
	Name      string   `json:"name"`
	Extension string   `json:"extension"`
	Number    string   `json:"number"`
	Held      bool     `json:"held"` // this party put the call on hold
	Codec     string   `json:"codec"`
	Encrypted string   `json:"encrypted"` // what protects its sound; empty: nothing
}

// Call is a live call as the portal shows it.
type Call struct {
	ID         store.ID   `json:"id"`
	State      string     `json:"state"` // "ringing", "talking", "held", "voicemail", "echo", …, "ended"
	Direction  string     `json:"direction"`
	Caller     Party      `json:"caller"`
	Callee     Party      `json:"callee"`
	Dialed     string     `json:"dialed"`
	StartedAt  time.Time  `json:"started_at"`
	AnsweredAt *time.Time `json:"answered_at"`
	// Recording is "recording" or "paused" while the call is recorded.
	Recording string `json:"recording,omitempty"`
	// Outcome is set once the call has ended.
	Outcome store.Outcome `json:"outcome,omitempty"`
	MOS     float64       `json:"mos"`    // how it sounds; 0: not known yet
	Faults  []Fault       `json:"faults"` // directions without sound now
	// Watched are the users whose lamps this may change: more than the two who talk while a group is rung.
	Watched []store.ID `json:"-"`
}

// Lamps tells that what users are busy with changed, though nothing that the portal shows of a call did.
type Lamps struct{ Users []store.ID }

// Parked is a call that waits in a parking slot; a slot without a call is free again.
type Parked struct {
	Slot      string     `json:"slot"`
	CallID    store.ID   `json:"call_id"`
	Caller    Party      `json:"caller"`
	ParkedBy  Party      `json:"parked_by"`
	Since     time.Time  `json:"since"`
	ReturnsAt *time.Time `json:"returns_at"`
}

// Voicemail tells that a mailbox changed.
type Voicemail struct {
	Mailbox   store.ID `json:"mailbox"`
	MessageID store.ID `json:"message_id"`
	New       int      `json:"new"`
	Old       int      `json:"old"`
}

// Trunk tells how a trunk stands now.
type Trunk struct {
	TrunkID    store.ID  `json:"trunk_id"`
	Name       string    `json:"name"`
	Registered bool      `json:"registered"`
	Reachable  bool      `json:"reachable"`
	Alarm      bool      `json:"alarm"` // it should carry calls and cannot
	Reason     string    `json:"reason"`
	Since      time.Time `json:"since"`
	RTTMS      int64     `json:"rtt_ms"`
	Target     string    `json:"target"`
}

// Ban tells that an address is listened to no more, or again.
type Ban struct {
	IP     string    `json:"ip"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
}

// Object tells that a record was created, changed or deleted.
type Object struct {
	Type    string   `json:"type"` // "user"
	ID      store.ID `json:"id"`
	Version int64    `json:"version"`
	Deleted bool     `json:"deleted"`
	Actor   string   `json:"actor"`
}
