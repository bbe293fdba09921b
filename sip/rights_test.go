package sip_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pbx/sip"
	"pbx/store"
)

// Who watches a phone that rings learns what names its dialog for a pickup, and not what speaks within it: else
// a colleague could end, move or transfer the call once it is answered.
func TestWatchersCannotSpeakForThePhone(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		watch, _ := w.watch(alice, "202")
		bob := w.registered("bob", autoRing)
		leg, _ := w.invite("bob")
		within(t, time.Second, leg.Progress(), "180")
		w.busy("bob", sip.DialogState{ID: "cal_1-r", Direction: "recipient", State: "early", Leg: leg})
		d := readDialogs(t, within(t, time.Second, watch.Notices(), "ringing")).Dialogs[0]
		for _, id := range []sip.DialogID{
			{CallID: d.CallID, LocalTag: d.RemoteTag, RemoteTag: d.LocalTag}, // RFC 3891: its to-tag is ours
			{CallID: d.CallID, LocalTag: d.LocalTag, RemoteTag: d.RemoteTag}, // and as some phones have it
		} {
			if w.server.Find(id) != leg {
				t.Errorf("%+v finds nothing to pick up", id)
			}
		}
		if id := (sip.DialogID{CallID: d.CallID, LocalTag: d.RemoteTag, RemoteTag: "guessed"}); w.server.Find(id) != nil {
			t.Error("half of the name is enough")
		}
		if err := within(t, time.Second, bob.Incoming(), "call").Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, leg.Answered(), "answer")

		evil := w.stranger(netip.AddrPortFrom(bobAddr, 7777).String()) // even in the same house
		defer evil.conn.Close()
		for _, tags := range [][2]string{{d.LocalTag, d.RemoteTag}, {d.RemoteTag, d.LocalTag}} {
			for i, method := range []string{"REFER", "INFO", "BYE"} {
				m := fmt.Sprintf("%s sip:x@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKe%d%s;rport\r\nFrom: <sip:202@pbx.test>;tag=%s\r\nTo: <sip:100@pbx.test>;tag=%s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:x@%s>\r\nRefer-To: <sip:+49900@pbx.test>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
					method, evil.at, i, tags[0], tags[0], tags[1], d.CallID, 100+i, method, evil.at)
				evil.conn.WriteTo([]byte(m), net.UDPAddrFromAddrPort(netip.AddrPortFrom(pbxAddr, 5060)))
				buf := make([]byte, 65536)
				evil.conn.SetReadDeadline(time.Now().Add(time.Second))
				n, _, err := evil.conn.ReadFrom(buf)
				if err != nil || !strings.HasPrefix(string(buf[:n]), "SIP/2.0 481 ") {
					t.Errorf("%s by a colleague is answered %q %v", method, buf[:min(n, 60)], err)
				}
			}
		}
		select {
		case <-leg.Done():
			t.Error("a colleague ended the call")
		default:
		}
		leg.HangUp(sip.Cause{})
	})
}

// A network that an administrator gave a carrier may have phones in it. Those stay phones.
func TestPhonesInTheNetworkOfACarrier(t *testing.T) {
	trunkBubble(t, []store.Trunk{trunkRow(func(r *store.Trunk) { r.Sources = []string{"10.0.0.0/24"} })}, func(w *trunkWorld) {
		alice := w.registered("alice")
		_, l := w.call(alice, "201")
		if l.Trunk() != "" || l.Line().UserID != "usr_alice" {
			t.Errorf("the call of a phone is taken for one of trunk %q, user %q", l.Trunk(), l.Line().UserID)
		}
		l.HangUp(sip.Cause{Code: 486})
		w.settled()
	})
}

func TestMasked(t *testing.T) {
	for name, tt := range map[string]struct{ msg, secret string }{
		"folded":               {"Authorization:\r\n Digest username=\"a\",\r\n\tresponse=\"s3cret\"", "s3cret"},
		"folded value":         {"Authorization: Digest username=\"a\", response=\r\n \"s3cret\"", "s3cret"},
		"quote in a name":      {`Authorization: Digest username="a\"b", realm="r", response="s3cret"`, "s3cret"},
		"two schemes":          {`Proxy-Authorization: Digest username="a", Digest response="s3cret"`, "s3cret"},
		"space before colon":   {"AUTHORIZATION \t: Digest response=s3cret", "s3cret"},
		"basic":                {"Authorization: Basic czNjcmV0=", "czNjcmV0"},
		"nonce":                {`Proxy-Authenticate: Digest realm="r", nonce="s3cret"`, "s3cret"},
		"nextnonce":            {`Authentication-Info: nextnonce="s3cret", qop=auth`, "s3cret"},
		"password in a URI":    {"Refer-To: <SIP:bob:s3cret@x.test>", "s3cret"},
		"password in a link":   {"Alert-Info: <http://bob:s3cret@x.test/ring>", "s3cret"},
		"credentials in a URI": {"Refer-To: <sip:bob@x.test?Authorization=Digest%20response%3D%22s3cret%22>", "s3cret"},
		"crypto":               {"X: y\r\n\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:s3cret|2^20|1:4;inline:S4CRET\r\n", "s3cret"},
		"second key":           {"X: y\r\n\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:a|2^20|1:4;inline:s3cret\r\n", "s3cret"},
		"key management":       {"X: y\r\n\r\na=key-mgmt:mikey s3cret\r\n", "s3cret"},
		"key of a session":     {"X: y\r\n\r\nv=0\r\nk=base64:s3cret\r\n", "s3cret"},
		"ICE":                  {"X: y\r\n\r\na=ice-pwd:s3cret\r\n", "s3cret"},
		"admin password":       {"X: y\r\n\r\n<adminPassword>s3cret</adminPassword>", "s3cret"},
		"digits":               {"X: y\r\n\r\nSignal= 7\r\nDuration=160\r\n", "7"},
		"KPML":                 {"X: y\r\n\r\n<kpml-response code=\"200\" digits=\"4711\"/>", "4711"},
	} {
		msg := "INVITE sip:b@x SIP/2.0\r\n" + tt.msg
		if !strings.Contains(tt.msg, "\r\n\r\n") {
			msg += "\r\nCall-ID: kept\r\n\r\n"
		}
		got := sip.Masked(msg)
		if len(got) != len(msg) || strings.Contains(got, tt.secret) || strings.Contains(msg, "kept") && !strings.Contains(got, "Call-ID: kept") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	if got := sip.Masked("MESSAGE sip:b@x SIP/2.0\r\n\r\nmeet me at five"); strings.Contains(got, "five") {
		t.Errorf("a text is kept:\n%s", got)
	}
	const harmless = "INVITE sip:b@x SIP/2.0\r\nFrom: \"Spin: 5\" <sip:a@x:5060>\r\nTo: <sip:b@x;user=phone>, <sip:c@y>\r\n\r\na=spin:5\r\nm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
	if got := sip.Masked(harmless); got != harmless {
		t.Errorf("masked although nothing is secret:\n%s", got)
	}
}

// Anybody can have a carrier's next address banned while nothing is known of it; that must not outlast the
// moment when the house learns whose it is.
func TestBansEndWhereCarriersAppear(t *testing.T) {
	carriers := &books{}
	bubble(t, func(w *world) {
		x := w.stranger("203.0.113.50:5060")
		defer x.conn.Close()
		for range 4 {
			x.send(x.at, "OPTIONS", "sip:10.0.0.1", "User-Agent: sipvicious")
		}
		w.settled()
		if _, banned := w.bannedFor("203.0.113.50"); !banned {
			t.Fatal("a scanner of nobody is not banned")
		}
		if _, err := w.server.Ban(netip.MustParseAddr("203.0.113.51"), 24*time.Hour, "known thief", "Ada"); err != nil {
			t.Fatal(err)
		}
		carriers.mu.Lock()
		carriers.rows = []store.Trunk{trunkRow(func(r *store.Trunk) { r.Host, r.Sources = "203.0.113.50", []string{"203.0.113.51"} })}
		carriers.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if b, banned := w.bannedFor("203.0.113.50"); banned {
			t.Errorf("the new carrier is still banned: %+v", b)
		}
		if code := x.says("OPTIONS", "sip:10.0.0.1"); code == 0 {
			t.Error("the new carrier is not heard")
		}
		if _, banned := w.bannedFor("203.0.113.51"); !banned {
			t.Error("what an administrator banned was let go")
		}
	}, func(c *sip.Config) { c.Trunks = carriers })
}

// Datagrams of invented sources make few bans: none is worth more than a short look at a table, and those of
// true thieves must not drown.
func TestSpoofedFloodMakesFewBans(t *testing.T) {
	bubble(t, func(w *world) {
		x := w.stranger("203.0.113.9:5060")
		defer x.conn.Close()
		for i := range 2000 {
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 5060)
			y := w.stranger(at.String())
			for range 3 {
				y.send(at, "OPTIONS", "sip:10.0.0.1", "User-Agent: sipvicious")
			}
			y.conn.Close()
		}
		time.Sleep(time.Second)
		if n := len(w.server.Bans()); n == 0 || n > 300 {
			t.Errorf("a second of spoofed scanners made %d bans", n)
		}
	})
}
