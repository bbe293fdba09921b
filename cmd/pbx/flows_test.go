//go:build phones

package main

import (
	"net"
	"strconv"
	"testing"
	"time"
)

// TestPhonesFlows: the flows of RFC 3665 that a house between two phones sees, and PRACK, with SIPp
// at both ends.
func TestPhonesFlows(t *testing.T) {
	p, ada, bob, _ := acme(t)
	p.api("PATCH", "/accounts/default/users/"+bob.id, map[string]any{"voicemail": map[string]any{"enabled": false}})
	const caller, callee = "127.0.0.62", "127.0.0.63"
	callerPort, calleePort := freePort(t, caller), freePort(t, callee)
	sipp(t, p, "register", "udp", caller, callerPort, ada, "")
	sipp(t, p, "register", "udp", callee, calleePort, bob, "")
	p.online(bob)
	for _, flow := range []struct{ caller, callee, outcome string }{
		{"caller", "callee", "answered"},                          // RFC 3665 §3.1
		{"caller-late", "callee", "answered"},                     // §3.6
		{"caller-reinvite", "callee", "answered"},                 // §3.7
		{"caller-cancel", "callee-cancelled", "cancelled"},        // §3.8
		{"caller-busy", "callee-busy", "busy"},                    // §3.9
		{"caller-unavailable", "callee-unavailable", "no_answer"}, // §3.11
		{"caller-prack", "callee", "answered"},                    // RFC 3262
	} {
		t.Run(flow.caller, func(t *testing.T) {
			other := startSIPp(t, p, flow.callee, "udp", callee, calleePort, bob, "")
			eventually(t, 5*time.Second, "SIPp listens", func() bool {
				c, err := net.ListenPacket("udp", net.JoinHostPort(callee, strconv.Itoa(calleePort)))
				if err == nil {
					c.Close()
				}
				return err != nil
			})
			sipp(t, p, flow.caller, "udp", caller, callerPort, ada, "102")
			if err := other.Wait(); err != nil {
				t.Errorf("callee: %v; see %s", err, artifacts(t))
			}
			p.lastCall(flow.outcome)
		})
	}
}
