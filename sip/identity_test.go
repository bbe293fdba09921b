package sip_test

import (
	"strings"
	"testing"
	"time"

	"pbx/sip"
)

var (
	zoe = sip.Identity{Display: "Zoë", User: "205"}
	mia = sip.Identity{Display: "Mia", User: "206"}
)

// answerCall calls bob from the house, who answers.
func answerCall(w *world, c *callee, headers ...string) *sip.Leg {
	w.t.Helper()
	l, _ := w.invite("bob")
	c.next("INVITE")
	c.reply("INVITE", "a", 200, "OK", answerSDP, headers...)
	c.next("ACK")
	within(w.t, time.Second, l.Answered(), "answer")
	return l
}

// RFC 4916 §4.4: a peer that knows UPDATE is told by it, in From only if it said that it can take that.
func TestPresentByUpdate(t *testing.T) {
	for _, tc := range []struct{ supported, from string }{
		{"Supported: from-change", `"Zoë" <sip:205@10.0.0.1>`},
		{"Supported: timer", `"The House" <sip:100@10.0.0.1>`},
	} {
		t.Run(tc.supported, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := w.callee()
				defer c.close()
				l := answerCall(w, c, "Allow: INVITE, ACK, BYE, UPDATE", tc.supported)
				done := make(chan error, 1)
				go func() { done <- l.Present(w.ctx, zoe) }()
				update := c.next("UPDATE")
				if got := field(update, "From"); !strings.HasPrefix(got, tc.from+";tag=") {
					t.Errorf("From is %q, want %q", got, tc.from)
				}
				if got := field(update, "P-Asserted-Identity"); got != `"Zoë" <sip:205@10.0.0.1>` {
					t.Errorf("P-Asserted-Identity is %q", got)
				}
				if got := field(update, "Remote-Party-ID"); got != `"Zoë" <sip:205@10.0.0.1>;party=calling;privacy=off;screen=yes` {
					t.Errorf("Remote-Party-ID is %q", got)
				}
				if strings.Contains(update, "m=audio") || field(update, "Session-Expires") == "" {
					t.Errorf("want no offer, and the session timer kept, in\n%s", update)
				}
				c.reply("UPDATE", "", 200, "OK", "")
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				if err := l.Present(w.ctx, zoe); err != nil { // told already: nothing is sent
					t.Fatal(err)
				}
				l.HangUp(sip.Cause{})
				bye := string(c.read(time.Second))
				if !strings.HasPrefix(bye, "BYE ") {
					t.Errorf("want a BYE next, have\n%s", bye)
				}
				c.respond(bye, "", 200, "OK", "")
			})
		})
	}
}

// Where the peer knows no UPDATE, a re-INVITE says it, with the offer unchanged.
func TestPresentByReinvite(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l := answerCall(w, c)
		done := make(chan error, 1)
		go func() { done <- l.Present(w.ctx, zoe) }()
		re := c.next("INVITE")
		if field(re, "P-Asserted-Identity") != `"Zoë" <sip:205@10.0.0.1>` || !strings.Contains(re, "m=audio") {
			t.Errorf("re-INVITE is\n%s", re)
		}
		c.reply("INVITE", "", 488, "Not Acceptable Here", "") // it does not want to know: no harm
		c.next("ACK")
		if err := <-done; err != nil {
			t.Error(err)
		}
		select {
		case <-l.Done():
			t.Errorf("call ended: %+v", l.Cause())
		default:
		}
	})
}

// A peer that says it knows UPDATE and then does not is told by a re-INVITE; one that is
// busy with an offer of its own, a little later.
func TestPresentRefused(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l := answerCall(w, c, "Allow: INVITE, ACK, BYE, UPDATE")
		done := make(chan error, 1)
		go func() { done <- l.Present(w.ctx, zoe) }()
		c.next("UPDATE")
		c.reply("UPDATE", "", 491, "Request Pending", "")
		start := time.Now()
		c.next("UPDATE")
		if d := time.Since(start); d < 2100*time.Millisecond || d > 4100*time.Millisecond {
			t.Errorf("told again after %v, want 2.1 to 4s", d) // RFC 3261 §14.1: the Call-ID is ours
		}
		c.reply("UPDATE", "", 501, "Not Implemented", "")
		c.next("INVITE")
		c.reply("INVITE", "", 200, "OK", answerSDP)
		c.next("ACK")
		if err := <-done; err != nil {
			t.Error(err)
		}
		go func() { done <- l.Present(w.ctx, mia) }()
		c.next("INVITE")
		c.reply("INVITE", "", 481, "Gone", "")
		c.next("ACK")
		if err := <-done; err != sip.ErrOver {
			t.Errorf("present to a peer that is gone: %v, want ErrOver", err)
		}
	})
}

// Before an incoming call is answered, ringing and answer say who is there; what is told
// while the call comes up is told once it is up.
func TestPresentInAnswers(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP, "Allow: INVITE, ACK, BYE, UPDATE")
		defer c.close()
		l.Attach(sound())
		if err := l.Present(w.ctx, zoe); err != nil {
			t.Fatal(err)
		}
		l.Ring(false)
		ringing := c.await(180)
		if got := field(ringing, "P-Asserted-Identity"); got != `"Zoë" <sip:205@10.0.0.1>` {
			t.Errorf("180 has P-Asserted-Identity %q", got)
		}
		if err := l.Present(w.ctx, mia); err != nil {
			t.Fatal(err)
		}
		go l.Answer(w.ctx)
		ok := c.await(200)
		if got := field(ok, "Remote-Party-ID"); got != `"Mia" <sip:206@10.0.0.1>;party=called;privacy=off;screen=yes` {
			t.Errorf("200 has Remote-Party-ID %q", got)
		}
		done := make(chan error, 1)
		go func() { done <- l.Present(w.ctx, zoe) }()
		time.Sleep(10 * time.Millisecond)
		c.confirm(ok, "")
		update := c.demand("UPDATE")
		if got := field(update, "P-Asserted-Identity"); got != `"Zoë" <sip:205@10.0.0.1>` {
			t.Errorf("want an UPDATE about Zoë, have\n%s", update)
		}
		c.respond(update, "", 200, "OK", "")
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
