package event

import (
	"time"

	"pbx/store"
)

// Kinds of news about how calls sound.
const (
	CallQuality = "call.quality" // Data: Quality; every 5 s of calls that somebody looks at
	CallTrouble = "call.trouble" // Data: Call, whose faults tell what is new
)

// Quality is how a call sounds now.
type Quality struct {
	CallID store.ID     `json:"call_id"`
	At     time.Time    `json:"at"`
	Legs   []LegQuality `json:"legs"`
}

// LegQuality is how one leg sounds now.
type LegQuality struct {
	Side        string  `json:"side"` // "caller" or "callee"
	Name        string  `json:"name"`
	Codec       string  `json:"codec"`
	RoundTripMS float64 `json:"round_trip_ms"` // 0: not known
	From        Flow    `json:"from"`          // from the phone, as it arrives here
	To          Flow    `json:"to"`            // to the phone, as it reports
}

// Flow is how one direction sounds now.
type Flow struct {
	MOS      float64 `json:"mos"` // 0: not known
	LossPct  float64 `json:"loss_pct"`
	JitterMS float64 `json:"jitter_ms"`
}

// Fault is a direction without sound.
type Fault struct {
	Side      string     `json:"side"`      // "caller" or "callee"
	Direction string     `json:"direction"` // "from" the phone or "to" it
	Class     string     `json:"class"`
	BeganAt   time.Time  `json:"began_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Repaired  bool       `json:"repaired"`
}
