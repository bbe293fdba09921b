//go:build phones

package main

import (
	"testing"
	"time"
)

// protect sets how the sound of a person's phone is protected.
func (p *pbx) protect(who person, policy string) {
	p.t.Helper()
	p.api("PATCH", "/accounts/default/devices/"+who.device, map[string]any{"srtp": policy})
}

// TestPhonesEncrypted: a phone that insists on encryption and a plain one hear each other, whoever calls and over a hold;
// what the portal shows is true; a plain phone that has to encrypt is refused, and says so in the record.
func TestPhonesEncrypted(t *testing.T) {
	p, ada, bob, carol := acme(t)
	p.protect(ada, "required")
	p.protect(carol, "required")
	a := securePhoneOf(t, p, ada, 11, adaTone, "srtp-mand")
	b := phoneOf(t, p, bob, 12, bobTone, "PCMU", "tcp", true)
	c := phoneOf(t, p, carol, 13, 880, "PCMU", "udp", false)

	a.do("dial", "102")
	a.expect("CALL_ESTABLISHED", 0, 10*time.Second)
	pause(3 * time.Second)
	live := p.api("GET", "/accounts/default/calls", nil).items()
	if len(live) != 1 || live[0].at("caller.encrypted") != "AES_CM_128_HMAC_SHA1_80" || live[0].at("callee.encrypted") != "" {
		t.Errorf("live calls: %v", live)
	}
	a.do("hold", "")
	pause(2 * time.Second)
	a.do("resume", "")
	pause(3 * time.Second)
	seen := b.seen()
	a.do("hangup", "")
	b.expect("CALL_CLOSED", seen-1, 5*time.Second)
	if r := p.lastCall("answered"); r.at("caller.encrypted") != "AES_CM_128_HMAC_SHA1_80" || r.at("callee.encrypted") != "" {
		t.Errorf("record: %v", r)
	}

	seen = c.seen()
	c.do("dial", "102")
	c.expect("CALL_CLOSED", seen, 5*time.Second)
	if r := p.lastCall("failed"); r.at("hangup_cause") != "Encrypted sound is required by the settings, and none was offered" {
		t.Errorf("record: %v", r)
	}
	a.stop()
	b.stop()
	if s := secondsOf(a.heard(), bobTone); s < 1.5 {
		t.Errorf("Ada heard Bob's tone for %.2f s", s)
	}
	if s := secondsOf(b.heard(), adaTone); s < 1.5 {
		t.Errorf("Bob heard Ada's tone for %.2f s", s)
	}
}
