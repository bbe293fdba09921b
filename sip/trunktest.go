package sip

import "time"

// TrunkTest is what came of asking a carrier whether it is there.
type TrunkTest struct {
	Targets   []string // "udp 192.0.2.7:5060", in the order to be tried
	Reachable bool     // it answered
	Code      int      // the status of its answer; 0: none
	Reason    string   // in words
	RTT       time.Duration
}
