package store

import "time"

// CallQuality is how a call sounded.
type CallQuality struct {
	MOS      float64 // of the worse direction of the worse leg, 1 to 4.5; 0: not known
	LossPct  float64
	JitterMS float64
	Legs     []LegQuality
	Faults   []AudioFault
}

// LegQuality is how one leg of a call sounded.
type LegQuality struct {
	Side        string // "caller", "callee"
	Name        string
	Codec       string
	Remote      string // where its sound went
	RoundTripMS float64
	From, To    FlowQuality // from the phone as we measured it; to the phone as it reported
	StartedAt   time.Time
	StepS       float64 // between two of Points
	Points      []QualityPoint
}

// FlowQuality is how one direction of a leg sounded.
type FlowQuality struct {
	MOS, WorstMOS   float64 // 0: not known
	LossPct         float64
	JitterMS        float64
	WorstLossPct    float64
	WorstJitterMS   float64
	Packets, Missed uint64
}

// QualityPoint is a stretch of a leg in whole numbers, for there are many: hundredths of a score and of a per cent,
// tenths of a millisecond, milliseconds; from the phone, then to it, then the round trip.
type QualityPoint [7]int

// AudioFault is a time without sound in one direction of a leg.
type AudioFault struct {
	Side      string // "caller", "callee"
	Direction string // "from" the phone or "to" it
	Class     string // "nothing", "elsewhere", "private", "codec", "encryption", "blocked"
	Address   string
	BeganAt   time.Time
	EndedAt   time.Time // zero: not while the call was up
	Repaired  bool      // the way of the sound was found
}
