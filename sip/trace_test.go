package sip_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// traces keeps what the database would.
type traces struct {
	mu   sync.Mutex
	all  map[store.ID]store.Trace
	fail error
}

func (k *traces) SaveTraces(_ context.Context, all []store.Trace) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return k.fail
	}
	for _, t := range all {
		k.all[t.CallID] = t
	}
	return nil
}

func (k *traces) of(call store.ID) (store.Trace, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.all[call]
	return t, ok
}

func keeping(k *traces) func(*sip.Config) { return func(c *sip.Config) { c.Traces = k } }

// lines tells a trace as a ladder.
func lines(t store.Trace) string {
	var b strings.Builder
	for _, m := range t.Messages {
		start, _, _ := strings.Cut(string(m.Raw), "\r\n")
		if f := strings.Fields(start); f[0] != "SIP/2.0" {
			start = f[0]
		}
		way, again := "<-", ""
		if m.Sent {
			way = "->"
		}
		if m.Again {
			again = " again"
		}
		fmt.Fprintf(&b, "%d %s %s %s%s\n", m.Leg, way, m.Remote.Addr(), strings.TrimPrefix(start, "SIP/2.0 "), again)
	}
	return b.String()
}

func TestTraceOfACall(t *testing.T) {
	kept := &traces{all: make(map[store.ID]store.Trace)}
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		w.registered("bob", autoRing, overTCP)
		lost := false
		w.net.Drop(func(m siptest.Message) bool { // the first answer is lost
			drop := m.Status == 200 && m.Method == "INVITE" && m.To.Addr() == aliceAddr && !lost
			lost = lost || drop
			return drop
		})
		line, l := w.call(alice, "201")
		l.Trace("cal_1")
		out, err := w.server.Invite(w.ctx, sip.Outgoing{To: w.binding("bob"), From: sip.Identity{User: "100"}, Called: sip.Identity{User: "201"}, Sound: sound(), Call: "cal_1"})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		out.HangUp(sip.Cause{Code: 480, Reason: "Nobody"})
		if tr, ok := w.server.Trace("cal_1"); !ok || len(tr.Messages) < 6 || tr.AccountID != "acc_1" {
			t.Errorf("trace of the running call: %v %d messages", ok, len(tr.Messages))
		}
		w.server.EndTrace("acc_1", "cal_1")
		if err := line.Bye(w.ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		tr, ok := kept.of("cal_1")
		if !ok {
			t.Fatal("no trace was kept")
		}
		if tr.AccountID != "acc_1" || len(tr.Legs) != 2 || tr.Legs[0].UserID != "usr_alice" || tr.Legs[1].DeviceID != "dev_bob" || tr.Dropped != 0 {
			t.Errorf("trace %s of %s, legs %+v, dropped %d", tr.CallID, tr.AccountID, tr.Legs, tr.Dropped)
		}
		want := `0 <- 10.0.0.11 INVITE
0 -> 10.0.0.11 401 Unauthorized
0 <- 10.0.0.11 ACK
0 <- 10.0.0.11 INVITE
0 -> 10.0.0.11 100 Trying
0 -> 10.0.0.11 200 OK
1 -> 10.0.0.12 INVITE
1 <- 10.0.0.12 180 Ringing
0 -> 10.0.0.11 200 OK again
0 <- 10.0.0.11 ACK
1 -> 10.0.0.12 CANCEL
0 <- 10.0.0.11 BYE
0 -> 10.0.0.11 200 OK
1 <- 10.0.0.12 200 OK
1 <- 10.0.0.12 487 Request Terminated
1 -> 10.0.0.12 ACK
`
		if got := lines(tr); got != want {
			t.Errorf("trace:\n%s\nwant:\n%s", got, want)
		}
		for _, m := range tr.Messages {
			if bytes.Contains(m.Raw, []byte("Authorization: Digest")) && !bytes.Contains(m.Raw, []byte(`response="*`)) {
				t.Errorf("credentials are not masked:\n%s", m.Raw)
			}
			if m.Leg == 1 && m.Transport != "tcp" || m.Leg == 0 && m.Transport != "udp" || m.Local != netip.AddrPortFrom(pbxAddr, 5060) {
				t.Errorf("leg %d went by %s from %s", m.Leg, m.Transport, m.Local)
			}
		}
		if n, octets := w.server.TraceSize(); n != 0 || octets != 0 {
			t.Errorf("%d legs and %d octets are still remembered", n, octets)
		}
	}, keeping(kept))
}

// What is not part of a call is not remembered, and INVITEs of strangers push each other out.
func TestTraceOfStrangersIsBounded(t *testing.T) {
	kept := &traces{all: make(map[store.ID]store.Trace)}
	bubble(t, func(w *world) {
		w.registered("alice")
		if n, _ := w.server.TraceSize(); n != 0 {
			t.Errorf("a registration left %d traces", n)
		}
		evil := netip.MustParseAddrPort("10.0.9.9:5060")
		conn, err := w.net.Host(evil.Addr()).ListenPacket(w.ctx, evil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for i := range 2500 {
			invite := fmt.Sprintf("INVITE sip:1@pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.9.9:5060;branch=z9hG4bK%d\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:1@x>\r\nCall-ID: c%d\r\nCSeq: 1 INVITE\r\nContact: <sip:a@10.0.9.9>\r\nContent-Length: 0\r\nX-Padding: %s\r\n\r\n", i, i, strings.Repeat("x", 3000))
			conn.WriteTo([]byte(invite), net.UDPAddrFromAddrPort(netip.AddrPortFrom(pbxAddr, 5060)))
			if i%100 == 0 {
				time.Sleep(time.Second)
			}
		}
		time.Sleep(time.Second)
		if n, octets := w.server.TraceSize(); n == 0 || n > 1100 || octets > 5<<20 {
			t.Errorf("strangers left %d traces with %d octets", n, octets)
		}
	}, keeping(kept))
}
