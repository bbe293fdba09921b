package store

import "time"

// Outcome is how a call ended, in one word.
type Outcome string

// The outcomes.
const (
	OutcomeOngoing     Outcome = "ongoing"
	OutcomeAnswered    Outcome = "answered"
	OutcomeVoicemail   Outcome = "voicemail"
	OutcomeCancelled   Outcome = "cancelled" // the caller gave up
	OutcomeBusy        Outcome = "busy"
	OutcomeNoAnswer    Outcome = "no_answer"
	OutcomeUnreachable Outcome = "unreachable"
	OutcomeDeclined    Outcome = "declined"
	OutcomeFailed      Outcome = "failed"
	OutcomeInterrupted Outcome = "interrupted" // we stopped in the middle of it
)

// CallRecord is one call: one row however many phones rang.
type CallRecord struct {
	ID        ID
	AccountID ID

	StartedAt  time.Time
	AnsweredAt time.Time // zero: never
	EndedAt    time.Time // zero: not yet

	Direction string // "internal", "inbound", "outbound"
	Caller    CallParty
	Callee    CallParty // who was meant, later who answered
	Dialed    string

	RecordingID ID // empty: there is none. Read only

	Outcome     Outcome
	HangupBy    string // "caller", "callee", "system"
	HangupCause string // in words

	Segments []Segment // in order of time
	Route    []Reason  // why it went where it went

	Quality *CallQuality // nil: not measured
}

// CallParty is one side of a call as shown to people.
type CallParty struct {
	UserID    ID
	DeviceID  ID
	Name      string
	Extension string
	Number    string // what was shown, when it is no extension

	// Of a caller whom a carrier checked: "passed", "failed" or "none", and how well the caller's own carrier knows them, "A", "B" or "C".
	Verstat     string `json:",omitempty"`
	Attestation string `json:",omitempty"`
	Encrypted   string `json:",omitempty"` // what protected the sound of this side, "AES_CM_128_HMAC_SHA1_80"; empty: nothing
}

// Segment is one stretch of a call: ringing, talking, voicemail.
type Segment struct {
	Step      string // "ringing"
	Detail    string // "Ada Lovelace (101): 2 phones"
	StartedAt time.Time
	EndedAt   time.Time
}

// Reason names the rule that led to a decision, in words.
type Reason struct {
	Rule   string // "user usr_…"
	Detail string // "Extension 101 is Ada Lovelace"
}
