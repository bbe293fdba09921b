package sip

import (
	"context"
	"fmt"
	"time"

	"pbx/store"
)

// TrunkTest is what came of asking a carrier whether it is there.
type TrunkTest struct {
	Targets   []string // "udp 192.0.2.7:5060", in the order to be tried
	Reachable bool     // it answered
	Code      int      // the status of its answer; 0: none
	Reason    string   // in words
	RTT       time.Duration
}

// TestTrunk looks a carrier up and asks it by OPTIONS, one place after another until one answers. It changes nothing of what is known of
// the trunk, which may be switched off or not saved yet.
func (s *Server) TestTrunk(ctx context.Context, row store.Trunk) TrunkTest {
	ctx, stop := context.WithTimeout(ctx, maxTargets*targetTime)
	defer stop()
	host, port, transport := nextHop(row)
	targets, err := s.locate(ctx, host, port, transport)
	if err != nil {
		return TrunkTest{Reason: rootOf(err)}
	}
	var v TrunkTest
	for _, to := range targets {
		v.Targets = append(v.Targets, to.String())
	}
	k := newKeeper(&trunk{s: s}, row, newContact())
	for _, to := range targets {
		res, err := k.askAt(ctx, to, k.question)
		if err != nil {
			v.Reason = rootOf(err)
			continue
		}
		v.Reachable, v.Code, v.RTT = true, res.StatusCode, k.rtt
		v.Reason = fmt.Sprintf("%d %s", res.StatusCode, clip(res.Reason, 60))
		if res.StatusCode != 503 && res.StatusCode != 408 {
			break
		}
		v.Reachable = false
	}
	return v
}
