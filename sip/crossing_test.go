package sip_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"pbx/sip"
)

// onward sends the call of an incoming leg on to bob, and returns the INVITE that arrives there.
func (w *world) onward(c *callee, l *sip.Leg, change ...func(o *sip.Outgoing)) (string, *sip.Leg) {
	w.t.Helper()
	o := sip.Outgoing{To: w.binding("bob"), From: sip.Identity{Display: "Alice", User: "201"}, Called: sip.Identity{User: "202"}, Sound: sound(), Carried: l.Carried(), MaxForwards: l.MaxForwards() - 1}
	for _, f := range change {
		f(&o)
	}
	out, err := w.server.Invite(w.ctx, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.next("INVITE"), out
}

// ofCaller finds what names the caller's side. Whole words: random tags of ours may hold any three letters.
var ofCaller = regexp.MustCompile(`\b(Secret|secret|raw|z9hG4bKi2|u-alice|boss|http)\b`)

// What goes with a call from one leg to the next, as a table: all that a caller may send.
func TestCrossing(t *testing.T) {
	for _, tc := range []struct {
		header string // of the INVITE that came
		as     string // how it goes on; empty: not at all
	}{
		{"Subject: Lunch?", "Subject: Lunch?"},
		{"Subject: " + strings.Repeat("x", 300), ""},
		{"Priority: urgent", "Priority: urgent"},
		{"Priority: a b", ""},
		{"User-to-User: 0123;encoding=hex", ""}, // unless a setting says so, below
		{"Alert-Info: <http://10.0.0.99/ring.wav>", ""},
		{"Call-Info: <http://10.0.0.99/me.png>;purpose=icon", ""},
		{"User-Agent: Secret/1.0", ""},
		{"Organization: Secret", ""},
		{"P-Asserted-Identity: <sip:boss@example.com>", ""}, // RFC 7315, RFC 3325: never believed from a phone
		{"P-Preferred-Identity: <sip:boss@example.com>", ""},
		{"P-Charging-Vector: icid-value=1", ""},
		{"P-Access-Network-Info: secret", ""},
		{"Remote-Party-ID: <sip:boss@example.com>", ""},
		{"Privacy: none", ""},
		{"Geolocation: <http://10.0.0.99/here>", ""}, // RFC 6442: not followed, not passed on
		{"Geolocation-Routing: yes", ""},
		{"Accept-Contact: *;audio;require", ""}, // RFC 3841: may be ignored
		{"Reject-Contact: *;automata", ""},
		{"Request-Disposition: no-fork", ""},
		{"Join: x;to-tag=1;from-tag=2", ""}, // RFC 3911: ignored
		{"History-Info: <sip:secret@10.0.0.99>;index=1", ""},
		{"Diversion: <sip:secret@10.0.0.99>", ""},
		{"Record-Route: <sip:10.0.0.98;lr>", ""},
		{"X-Secret: 1", ""},
		{"Warning: 399 secret \"x\"", ""},
		{"Date: Sat, 13 Nov 2010 23:29:00 GMT", ""},
	} {
		name, _, _ := strings.Cut(tc.header, ":")
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.dial(answerSDP, tc.header)
				defer c.close()
				b := &callee{peer: w.peer(5070)}
				defer b.close()
				r := registration{callID: "reg", cseq: 1, user: "u-bob", password: "secret of bob", contacts: []string{"<sip:u-bob@10.0.0.99:5070>"}}
				if code, answer := r.ask(b.peer); code != 200 {
					t.Fatalf("register: %d\n%s", code, answer)
				}
				b.next("NOTIFY")
				b.reply("NOTIFY", "", 200, "OK", "")
				invite, out := w.onward(b, l)
				if tc.as != "" && !strings.Contains(invite, "\r\n"+tc.as+"\r\n") {
					t.Errorf("want %q in\n%s", tc.as, invite)
				}
				if tc.as == "" && strings.Contains(invite, "\r\n"+name+":") && !strings.HasPrefix(name, "User-Agent") {
					t.Errorf("%s went on in\n%s", name, invite)
				}
				// Nothing tells of the other side: RFC 3261 §6, a B2BUA.
				if secret := ofCaller.FindString(invite); secret != "" {
					t.Errorf("%q of the caller in\n%s", secret, invite)
				}
				if strings.Count(invite, "\r\nVia:") != 1 || strings.Count(invite, "\r\nContact:") != 1 || field(invite, "Max-Forwards") != "69" {
					t.Errorf("want one Via, one Contact and Max-Forwards 69 in\n%s", invite)
				}
				out.HangUp(sip.Cause{})
				b.reply("INVITE", "a", 486, "Busy Here", "")
				l.HangUp(sip.Cause{})
			})
		})
	}
}

// RFC 7433: data of the peers for each other go on where a setting says so. Alert-Info is the house's own.
func TestUserToUser(t *testing.T) {
	bubble(t, func(w *world) {
		w.server.Close(w.ctx)
		w.config = append(w.config, func(c *sip.Config) { c.UserToUser = true })
		w.server = w.start()
		b := w.callee()
		alice := &caller{peer: w.peer(5061), cseq: 1}
		defer b.close()
		defer alice.close()
		l := alice.calls("User-to-User: 0123;encoding=hex")
		invite, out := w.onward(b, l, func(o *sip.Outgoing) { o.Alert = "<urn:alert:source:external>" })
		if field(invite, "User-to-User") != "0123;encoding=hex" || field(invite, "Alert-Info") != "<urn:alert:source:external>" {
			t.Errorf("INVITE is\n%s", invite)
		}
		out.HangUp(sip.Cause{})
		b.reply("INVITE", "a", 486, "Busy Here", "")
		l.HangUp(sip.Cause{})
	})
}

// RFC 3326, RFC 6432: why a call ended is told in both directions, in the words of telephone networks.
func TestCausesCross(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.established(answerSDP)
		defer c.close()
		c.ask("BYE", "b", "", `Reason: SIP;cause=200, Q.850;cause=31;text="Normal, unspecified"`)
		c.await(200)
		within(t, time.Second, l.Done(), "end")
		if got := l.Cause(); got.Q850 != 31 || !got.Remote || got.Code != 0 {
			t.Errorf("cause %+v", got)
		}
	})
	for _, tc := range []struct {
		cause sip.Cause
		want  string // of the BYE
	}{
		{sip.Cause{}, "Q.850;cause=16"},
		{sip.Cause{Q850: 31}, "Q.850;cause=31"},
		{sip.Cause{Code: 408, Reason: "Session Expired"}, `SIP;cause=408;text="Session Expired"`},
	} {
		bubble(t, func(w *world) {
			c, l := w.established(answerSDP)
			defer c.close()
			l.HangUp(tc.cause)
			bye := c.demand("BYE")
			if got := field(bye, "Reason"); got != tc.want {
				t.Errorf("BYE for %+v has Reason %q, want %q", tc.cause, got, tc.want)
			}
			c.respond(bye, "", 200, "OK", "")
		})
	}
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP)
		defer c.close()
		l.HangUp(sip.Cause{Code: 404, Reason: "Not Found", Q850: 3})
		if got := field(c.await(404), "Reason"); got != "Q.850;cause=3" {
			t.Errorf("404 has Reason %q", got)
		}
	})
	// RFC 8688, RFC 8197: refusals that are new are refusals.
	for _, code := range []int{607, 608} {
		bubble(t, func(w *world) {
			b := w.callee()
			defer b.close()
			l, _ := w.invite("bob")
			b.next("INVITE")
			b.reply("INVITE", "a", code, "Unwanted", "", "Reason: Q.850;cause=21")
			b.next("ACK")
			within(t, time.Second, l.Done(), "end")
			if got := l.Cause(); got.Code != code || got.Q850 != 21 {
				t.Errorf("cause %+v, want %d", got, code)
			}
		})
	}
}

// calls sends an authenticated INVITE to a number and returns the leg.
func (c *caller) calls(headers ...string) *sip.Leg {
	c.w.t.Helper()
	c.invite(headers...)
	return within(c.w.t, time.Second, c.w.house, "incoming call")
}

// invite sends an authenticated INVITE in a dialog of its own.
func (c *caller) invite(headers ...string) {
	c.w.t.Helper()
	c.w.serial++
	id := fmt.Sprint("i", c.w.serial)
	again := func(branch string, more ...string) []byte {
		text := string(c.request("INVITE", branch, answerSDP, append(headers, more...)...))
		return []byte(strings.Replace(text, "Call-ID: raw", "Call-ID: "+id, 1))
	}
	c.send(again(id))
	challenge := c.await(401)
	c.cseq++
	c.send(again(id+"a", c.authorize(challenge, "INVITE", "sip:201@pbx.test")))
}

// RFC 5393 §4: a call that comes back to us after we sent it on is refused, once it would go the same way again.
func TestLoop(t *testing.T) {
	bubble(t, func(w *world) {
		b := w.callee()
		c := &caller{peer: w.peer(5061), cseq: 1}
		defer b.close()
		defer c.close()
		l := c.calls()
		invite, out := w.onward(b, l)
		passed := field(invite, "X-Passed")
		if passed == "" || strings.Contains(passed, "alice") {
			t.Errorf("X-Passed is %q", passed)
		}
		c.invite("X-Passed: " + passed)
		start := time.Now()
		c.await(482)
		if d := time.Since(start); d > time.Second {
			t.Errorf("refused after %v", d)
		}
		other := c.calls("X-Passed: 0123456789abcdef") // through somebody else of our kind
		if again, out := w.onward(b, other); !strings.HasPrefix(field(again, "X-Passed"), "0123456789abcdef, ") {
			t.Errorf("X-Passed is %q", field(again, "X-Passed"))
		} else {
			out.HangUp(sip.Cause{})
			b.reply("INVITE", "a", 486, "Busy Here", "")
		}
		c.invite("X-Passed: " + strings.TrimSuffix(strings.Repeat("0123456789abcdef, ", 41), ", "))
		c.await(482)
		other.HangUp(sip.Cause{})
		l.HangUp(sip.Cause{})
		out.HangUp(sip.Cause{})
		b.invite = invite
		b.reply("INVITE", "a", 486, "Busy Here", "")
	})
}

// A loop through somebody who keeps nothing of ours is found by its likeness.
func TestLoopWithoutMarks(t *testing.T) {
	bubble(t, func(w *world) {
		c := &caller{peer: w.peer(5061), cseq: 1}
		defer c.close()
		var all []*sip.Leg
		for range 16 {
			all = append(all, c.calls())
		}
		c.invite()
		c.await(482)
		all[0].HangUp(sip.Cause{}) // what has ended does not count
		all = append(all, c.calls())
		c.invite()
		c.await(482)
		for _, l := range all {
			l.HangUp(sip.Cause{Code: 480})
		}
		time.Sleep(time.Minute)
		c.calls().HangUp(sip.Cause{Code: 480})
	})
}

// RFC 5393 §5.3.3: the breadth of a call is shared out among its branches, and none is opened beyond it.
func TestMaxBreadth(t *testing.T) {
	bubble(t, func(w *world) {
		b := w.callee()
		c := &caller{peer: w.peer(5061), cseq: 1}
		defer b.close()
		defer c.close()
		c.invite("Max-Breadth: 0")
		c.await(440)
		l := c.calls("Max-Breadth: 7")
		carried, n := l.Carried().Split(3)
		if n != 3 {
			t.Errorf("%d branches, want 3", n)
		}
		invite, out := w.onward(b, l, func(o *sip.Outgoing) { o.Carried = carried })
		if got := field(invite, "Max-Breadth"); got != "2" {
			t.Errorf("Max-Breadth is %q, want 2", got)
		}
		if _, n := l.Carried().Split(20); n != 7 {
			t.Errorf("%d branches, want 7", n)
		}
		out.HangUp(sip.Cause{})
		b.reply("INVITE", "a", 486, "Busy Here", "")
		l.HangUp(sip.Cause{})
	})
}
