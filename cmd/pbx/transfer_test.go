//go:build phones

package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestPhonesSIPpTransfer: three user agents of another make live the flow of RFC 5589 §6.1, over UDP.
func TestPhonesSIPpTransfer(t *testing.T) {
	p, ada, bob, carol := acme(t)
	listens := func(ip string, port int) {
		eventually(t, 5*time.Second, "SIPp listens", func() bool {
			c, err := net.ListenPacket("udp", net.JoinHostPort(ip, strconv.Itoa(port)))
			if err == nil {
				c.Close()
			}
			return err != nil
		})
	}
	adaPort, bobPort, carolPort := freePort(t, "127.0.0.60"), freePort(t, "127.0.0.61"), freePort(t, "127.0.0.62")
	sipp(t, p, "register", "udp", "127.0.0.60", adaPort, ada, "")
	sipp(t, p, "register", "udp", "127.0.0.61", bobPort, bob, "")
	sipp(t, p, "register", "udp", "127.0.0.62", carolPort, carol, "")
	b := startSIPp(t, p, "callee", "udp", "127.0.0.61", bobPort, bob, "")
	c := startSIPp(t, p, "callee", "udp", "127.0.0.62", carolPort, carol, "")
	listens("127.0.0.61", bobPort)
	listens("127.0.0.62", carolPort)
	sipp(t, p, "transferor", "udp", "127.0.0.60", adaPort, ada, "102;103")

	calls := p.api("GET", "/accounts/default/calls", nil).items()
	if len(calls) != 1 || calls[0].at("caller.name") != bob.name || calls[0].at("callee.name") != carol.name {
		t.Fatalf("live calls: %v", calls)
	}
	p.api("DELETE", "/accounts/default/calls/"+calls[0].at("id"), nil)
	for _, phone := range []interface{ Wait() error }{b, c} {
		if err := phone.Wait(); err != nil {
			t.Errorf("callee: %v", err)
		}
	}
	p.lastCall("answered")
}

// TestPhonesBlindTransfer: a baresip transfers its call to another one, which then talks to who was left.
func TestPhonesBlindTransfer(t *testing.T) {
	p, ada, bob, carol := acme(t)
	a := phoneOf(t, p, ada, 6, adaTone, "PCMU", "udp", false)
	b := phoneOf(t, p, bob, 7, bobTone, "PCMA", "tcp", true)
	c := phoneOf(t, p, carol, 8, carolTone, "PCMU", "udp", true)

	a.do("dial", "102")
	a.expect("CALL_ESTABLISHED", 0, 5*time.Second)
	pause(2 * time.Second)
	a.do("transfer", "103")
	c.expect("CALL_ESTABLISHED", 0, 5*time.Second)
	a.expect("CALL_CLOSED", 0, 5*time.Second)
	pause(4 * time.Second)
	calls := p.api("GET", "/accounts/default/calls", nil).items()
	if len(calls) != 1 || calls[0].at("caller.name") != bob.name || calls[0].at("callee.name") != carol.name {
		t.Fatalf("live calls: %v", calls)
	}
	b.do("hangup", "")
	c.expect("CALL_CLOSED", 0, 5*time.Second)
	p.lastCall("answered")
	b.stop()
	c.stop()
	if s := secondsOf(b.heard(), carolTone); s < 1.5 {
		t.Errorf("Bob heard Carol's tone for %.2f s", s)
	}
	if s := secondsOf(c.heard(), bobTone); s < 1.5 {
		t.Errorf("Carol heard Bob's tone for %.2f s", s)
	}
}

const carolTone = 880.0

// TestPhonesLinphoneTransfers: a linphone transfers a call without asking first, and another one after talking to the target.
func TestPhonesLinphoneTransfers(t *testing.T) {
	p, ada, bob, carol := acme(t)
	a := phoneOf(t, p, ada, 9, adaTone, "PCMU", "udp", true)
	c := phoneOf(t, p, carol, 10, carolTone, "PCMU", "udp", true)
	l := startLinphone(t, p, bob, "127.0.0.71", 47100, bobTone)

	l.do("call 101")
	l.expect("Media streams established", 1)
	pause(time.Second)
	l.do("transfer 103")
	c.expect("CALL_ESTABLISHED", 0, 10*time.Second)
	pause(3 * time.Second)
	calls := p.api("GET", "/accounts/default/calls", nil).items()
	if len(calls) != 1 || calls[0].at("caller.name") != ada.name || calls[0].at("callee.name") != carol.name {
		t.Fatalf("live calls after the blind transfer: %v", calls)
	}
	seen := a.seen()
	c.do("hangup", "")
	a.expect("CALL_CLOSED", seen-1, 5*time.Second)
	p.lastCall("answered")

	seen = c.seen()
	l.do("call 101")
	l.expect("Media streams established", 2)
	pause(time.Second)
	l.do("pause")
	pause(time.Second)
	l.do("call 103")
	c.expect("CALL_ESTABLISHED", seen, 10*time.Second)
	l.expect("Media streams established", 3)
	pause(time.Second)
	l.do("transfer 2 --to-call 3")
	eventually(t, 10*time.Second, "two calls become one", func() bool {
		calls = p.api("GET", "/accounts/default/calls", nil).items()
		return len(calls) == 1
	})
	if calls[0].at("caller.name") != ada.name || calls[0].at("callee.name") != carol.name {
		t.Fatalf("live calls after the attended transfer: %v", calls)
	}
	pause(4 * time.Second)
	c.do("hangup", "")
	p.lastCall("answered")
	l.stop()
	a.stop()
	c.stop()
	if s := secondsOf(a.heard(), carolTone); s < 1.5 {
		t.Errorf("Ada heard Carol's tone for %.2f s", s)
	}
	if s := secondsOf(c.heard(), adaTone); s < 1.5 {
		t.Errorf("Carol heard Ada's tone for %.2f s", s)
	}
	if _, err := os.Stat(filepath.Join(artifacts(t), "linphone.out")); err != nil {
		t.Error(err)
	}
}
