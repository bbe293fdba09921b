package sip_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// TestRedirection: what a phone that sends its caller elsewhere is understood to say. The user of an address is all that
// counts: the house dials it, and never the address.
func TestRedirection(t *testing.T) {
	for _, tc := range []struct {
		code    int
		headers []string
		to      string // empty: it is no redirection
		reason  string
	}{
		{302, []string{"Contact: <sip:203@pbx.test>"}, "203", ""},
		{302, []string{"Contact: sip:203@pbx.test;q=0.7"}, "203", ""},
		{300, []string{"m: <sip:203@evil.example;transport=tcp?Replaces=x&Subject=y>"}, "203", ""},
		{301, []string{"Contact: <tel:+1-201-555-0101;phone-context=x>"}, "+12015550101", ""},
		{302, []string{"Contact: <sip:201@pbx.test>;q=0.2, <sip:204@pbx.test>;q=0.75, <sip:203@pbx.test>;q=0.9"}, "203", ""},
		{302, []string{"Contact: <sip:201@pbx.test>;q=x", "Contact: <sip:204@pbx.test>"}, "201", ""},
		{302, []string{"Contact: <mailto:bob@pbx.test>, <sip:pbx.test>, <sip:205@pbx.test;method=MESSAGE>, <sip:203@pbx.test>"}, "203", ""},
		{302, []string{"Contact: <sip:203@pbx.test>", `Diversion: "Bob" <sip:202@pbx.test>;reason="user-busy";counter=1`}, "203", "user-busy"},
		{302, []string{"Contact: <sip:203@pbx.test>", "Diversion: <sip:202@pbx.test>;reason=because-i-say-so"}, "203", ""},
		{302, []string{"Contact: *"}, "", ""},
		{302, nil, "", ""},
		{305, []string{"Contact: <sip:203@pbx.test>"}, "", ""},
		{380, []string{"Contact: <sip:203@pbx.test>"}, "", ""},
		{486, []string{"Contact: <sip:203@pbx.test>"}, "", ""},
	} {
		t.Run(fmt.Sprint(tc.code, tc.headers), func(t *testing.T) {
			bubble(t, func(w *world) {
				bob := w.registered("bob")
				l, _ := w.invite("bob")
				if err := within(t, time.Second, bob.Incoming(), "call").RefuseWith(tc.code, tc.headers...); err != nil {
					t.Fatal(err)
				}
				within(t, time.Second, l.Done(), "end of the leg")
				var got sip.Redirection
				if m := l.Cause().Moved; m != nil {
					got = *m
				}
				if got != (sip.Redirection{To: tc.to, Reason: tc.reason}) {
					t.Errorf("understood %+v, want %q because of %q", got, tc.to, tc.reason)
				}
			})
		})
	}
}

// TestDiversionAtPhones: a phone is told who sent the call on to it, and why.
func TestDiversionAtPhones(t *testing.T) {
	bubble(t, func(w *world) {
		bob := w.registered("bob")
		o := sip.Outgoing{To: w.binding("bob"), From: sip.Identity{User: "100"}, Called: sip.Identity{User: "201"}, Sound: sound()}
		o.Diverted = []sip.Diversion{{User: "202", Display: `Bob "B"`, Reason: "deflection"}, {User: "+12015550101", Code: 486}}
		l, err := w.server.Invite(w.ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		ring := within(t, time.Second, bob.Incoming(), "call")
		want := `"Bob \"B\"" <sip:202@10.0.0.1>;reason=deflection;counter=1;privacy=off, <sip:+12015550101@10.0.0.1>;reason=user-busy;counter=1;privacy=off`
		if got := ring.Header("Diversion"); got != want {
			t.Errorf("told %s\nwant %s", got, want)
		}
		l.HangUp(sip.Cause{})
		within(t, time.Second, l.Done(), "end")
	})
}

// TestForwardedIsTold: the caller's phone hears 181 while the call goes on, and not where that would have to be acknowledged.
func TestForwardedIsTold(t *testing.T) {
	for _, tc := range []struct {
		headers []string
		want    int
	}{{nil, 1}, {[]string{"Require: 100rel"}, 0}} {
		bubble(t, func(w *world) {
			alice := w.phone("alice")
			line, err := alice.CallWith(w.ctx, "201", tc.headers...)
			if err != nil {
				t.Fatal(err)
			}
			l := within(t, time.Second, w.house, "incoming call")
			if err := l.Forwarded(); err != nil {
				t.Error(err)
			}
			if err := l.Refuse(482, "Loop Detected"); err != nil {
				t.Error(err)
			}
			within(t, time.Second, line.Done(), "end")
			if got := strings.Count(w.net.Ladder(names), "181 Call Is Being Forwarded"); got != tc.want {
				t.Errorf("told %d times with %q, want %d", got, tc.headers, tc.want)
			}
			if err := l.Forwarded(); err != sip.ErrState && err != sip.ErrOver {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// redirects has a carrier send on each call that it gets.
func redirects(contact func(n int) string) func(c *siptest.Carrier) {
	return func(c *siptest.Carrier) {
		n := 0
		c.Script(func(r siptest.Received) []siptest.Reply {
			if r.Method != "INVITE" {
				return c.Obliging(r)
			}
			if !c.Authorized(r) {
				return []siptest.Reply{c.Challenge()}
			}
			n++
			return []siptest.Reply{{Code: 100, Reason: "Trying"}, {Code: 302, Reason: "Moved Temporarily", Headers: []string{"Contact: " + contact(n)}}}
		})
	}
}

// TestTrunkRedirects: a trusted carrier sends calls on to places of its own, up to five times; nobody else does.
func TestTrunkRedirects(t *testing.T) {
	to := func(contact string) func(c *siptest.Carrier) {
		return redirects(func(int) string { return contact })
	}
	for _, tc := range []struct {
		name    string
		trusted bool
		one     func(c *siptest.Carrier)
		uri     string // of the INVITE that is answered at last; empty: the call fails with 302
		invites int    // that the first place got, without those that it asked for credentials
	}{
		{"to another place of it", true, to("<sip:+4930999@192.0.2.2:5060;user=phone?X=y>"), "sip:+4930999@192.0.2.2:5060;user=phone", 1},
		{"the most wanted first", true, to("<sip:1@192.0.2.9>;q=0.9, <sip:2@192.0.2.2>;q=0.1, <sip:3@192.0.2.2>;q=0.5"), "sip:3@192.0.2.2", 1},
		{"by name", true, redirects(func(n int) string {
			if n == 1 {
				return "<sip:+4930999@CARRIER.test>"
			}
			return "<sip:+4930999@192.0.2.2>"
		}), "sip:+4930999@192.0.2.2", 2},
		{"five times", true, redirects(func(n int) string {
			if n < 5 {
				return fmt.Sprintf("<sip:%d@192.0.2.1>", n)
			}
			return "<sip:5@192.0.2.2>"
		}), "sip:5@192.0.2.2", 5},
		{"six times", true, redirects(func(n int) string { return fmt.Sprintf("<sip:%d@192.0.2.1>", n) }), "", 6},
		{"in circles", true, to("<sip:+4930123456@carrier.test>"), "", 1},
		{"to a stranger", true, to("<sip:+4930999@203.0.113.5>"), "", 1},
		{"to somebody by name", true, to("<sip:+4930999@evil.example>"), "", 1},
		{"by TLS", true, to("<sips:+4930999@192.0.2.2>"), "", 1},
		{"to a telephone number", true, to("<tel:+4930999>"), "", 1},
		{"of a carrier that is not trusted", false, to("<sip:+4930999@192.0.2.2>"), "", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			trunkBubble(t, []store.Trunk{trunkRow(func(r *store.Trunk) { r.TrustIdentity = tc.trusted })}, func(w *trunkWorld) {
				tc.one(w.one)
				stranger := w.stranger("203.0.113.5:5060")
				defer stranger.Close()
				l := w.mustDial(nil)
				authorized := func(c *siptest.Carrier) (all []siptest.Received) {
					for _, r := range c.Got("INVITE") {
						if c.Authorized(r) {
							all = append(all, r)
						}
					}
					return all
				}
				if tc.uri == "" {
					within(t, 5*time.Second, l.Done(), "end")
					if c := l.Cause(); c.Code != 302 || c.Moved != nil {
						t.Errorf("ended with %+v", c)
					}
					if n := len(w.two.Got("")); n != 0 {
						t.Errorf("the second place got %d requests", n)
					}
				} else {
					within(t, 5*time.Second, l.Answered(), "answer")
					all, first := authorized(w.two), w.one.Got("INVITE")[0]
					if len(all) != 1 || all[0].URI != tc.uri {
						t.Fatalf("the second place got %+v", all)
					}
					if r := all[0]; r.Header("To") != first.Header("To") || r.Header("From") != first.Header("From") || r.Header("Call-ID") != first.Header("Call-ID") {
						t.Errorf("another call than the first:\n%s", r.Text) // RFC 3261 §8.1.3.4
					}
					l.HangUp(sip.Cause{})
					within(t, time.Second, l.Done(), "end")
				}
				if n := len(authorized(w.one)); n != tc.invites {
					t.Errorf("the first place got %d calls, want %d", n, tc.invites)
				}
				if n := len(stranger.Got("")); n != 0 {
					t.Errorf("a stranger got %d requests", n)
				}
				time.Sleep(time.Second)
				if st := w.status(); st.Calls != 0 {
					t.Errorf("%d calls are left", st.Calls)
				}
			})
		})
	}
}

// TestTrunkRedirectCrossesCancel: who has hung up is not called anew where the carrier sends the call.
func TestTrunkRedirectCrossesCancel(t *testing.T) {
	trunkBubble(t, []store.Trunk{trunkRow(func(r *store.Trunk) { r.TrustIdentity = true })}, func(w *trunkWorld) {
		w.one.Script(func(r siptest.Received) []siptest.Reply {
			if r.Method != "INVITE" {
				return nil
			}
			return []siptest.Reply{{Code: 100, Reason: "Trying"}, {Code: 302, Reason: "Moved Temporarily", Headers: []string{"Contact: <sip:1@carrier.test>"}, After: time.Second}}
		})
		l := w.mustDial(nil)
		time.Sleep(time.Second)
		l.HangUp(sip.Cause{})
		within(t, time.Second, l.Done(), "end")
		time.Sleep(40 * time.Second)
		if n := len(w.one.Got("INVITE")); n != 1 {
			t.Errorf("called %d times", n)
		}
	})
}
