package sip_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pbx/sip"
)

// RFC 4028 §9 and its table 2: what we make of the wishes of a caller.
func TestSessionAgreedAsCallee(t *testing.T) {
	const timer = "Supported: timer"
	for _, tc := range []struct {
		name    string
		headers []string
		expires string // of the 200
		require bool
		after   time.Duration // our refresh; negative: our BYE, for the peer refreshes
	}{
		{"no timer", nil, "1800;refresher=uas", false, 900 * time.Second},
		{"timer, no wish", []string{timer}, "1800;refresher=uas", false, 900 * time.Second},
		{"Min-SE alone", []string{timer, "Min-SE: 3600"}, "3600;refresher=uas", false, 1800 * time.Second},
		{"interval", []string{timer, "Session-Expires: 600"}, "600;refresher=uas", false, 300 * time.Second},
		{"compact", []string{"k: timer", "x: 600"}, "600;refresher=uas", false, 300 * time.Second},
		{"we refresh", []string{timer, "Session-Expires: 600;refresher=uas"}, "600;refresher=uas", false, 300 * time.Second},
		{"they refresh", []string{timer, "Session-Expires: 600;refresher=uac"}, "600;refresher=uac", true, -568 * time.Second},
		{"they refresh often", []string{timer, "Session-Expires: 90;refresher=uac"}, "90;refresher=uac", true, -60 * time.Second},
		{"put in on the way", []string{"Session-Expires: 600;refresher=uac"}, "600;refresher=uas", false, 300 * time.Second},
		{"less than the minimum, put in on the way", []string{"Session-Expires: 20"}, "90;refresher=uas", false, 45 * time.Second},
		{"for ever", []string{timer, "Session-Expires: 4294967295"}, "86400;refresher=uas", false, 12 * time.Hour},
		{"no number", []string{timer, "Session-Expires: soon"}, "1800;refresher=uas", false, 900 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.dial(answerSDP, append(tc.headers, "Allow: INVITE, ACK, BYE, UPDATE")...)
				defer c.close()
				l.Attach(sound())
				go l.Answer(w.ctx)
				ok := c.await(200)
				if got := field(ok, "Session-Expires"); got != tc.expires {
					t.Errorf("Session-Expires is %q, want %q", got, tc.expires)
				}
				if got := field(ok, "Require") == "timer"; got != tc.require {
					t.Errorf("Require is %q", field(ok, "Require"))
				}
				c.confirm(ok, "")
				start := time.Now()
				method, want := "UPDATE", tc.after
				if want < 0 {
					method, want = "BYE", -want
				}
				req := c.demand(method)
				if d := time.Since(start).Round(time.Second); d != want {
					t.Errorf("%s after %v, want %v", method, d, want)
				}
				if method == "BYE" {
					c.respond(req, "", 200, "OK", "")
					within(t, time.Second, l.Done(), "end")
					return
				}
				interval, _, _ := strings.Cut(tc.expires, ";")
				if got := field(req, "Session-Expires"); got != interval+";refresher=uac" { // the roles of this request
					t.Errorf("refresh has Session-Expires %q", got)
				}
				c.respond(req, "", 200, "OK", "", "Session-Expires: "+interval+";refresher=uac")
				l.HangUp(sip.Cause{})
				c.respond(c.demand("BYE"), "", 200, "OK", "")
			})
		})
	}
}

// RFC 4028 §7.2: what a callee makes of our wish.
func TestSessionAgreedAsCaller(t *testing.T) {
	for _, tc := range []struct {
		name, answer string
		after        time.Duration // as above
	}{
		{"without timer", "", 900 * time.Second},
		{"less", "Session-Expires: 600;refresher=uac", 300 * time.Second},
		{"they refresh", "Session-Expires: 600;refresher=uas", -568 * time.Second},
		{"nobody said who", "Session-Expires: 600", 300 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := w.callee()
				defer c.close()
				headers := []string{"Allow: UPDATE"}
				if tc.answer != "" {
					headers = append(headers, tc.answer, "Require: timer")
				}
				l := answerCall(w, c, headers...)
				start := time.Now()
				method, want := "UPDATE", tc.after
				if want < 0 {
					method, want = "BYE", -want
				}
				req := c.demand(method)
				if d := time.Since(start).Round(time.Second); d != want {
					t.Errorf("%s after %v, want %v", method, d, want)
				}
				c.respond(req, "", 200, "OK", "")
				if method == "UPDATE" {
					l.HangUp(sip.Cause{})
					c.respond(c.demand("BYE"), "", 200, "OK", "")
				}
			})
		})
	}
}

// RFC 4028 §7.3, §7.4: a 422 on the way raises the interval, of the first request and of a refresh, a
// few times; and it is never forgotten in this call.
func TestSessionIntervalRaised(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l := answerCall(w, c, "Allow: UPDATE", "Session-Expires: 600;refresher=uac", "Require: timer")
		update := c.demand("UPDATE")
		c.respond(update, "", 422, "Session Interval Too Small", "", "Min-SE: 700")
		update = c.demand("UPDATE")
		if field(update, "Session-Expires") != "700;refresher=uac" || field(update, "Min-SE") != "700" {
			t.Errorf("second UPDATE is\n%s", update)
		}
		c.respond(update, "", 405, "Method Not Allowed", "") // so be it
		start := time.Now()
		re := c.demand("INVITE")
		if d := time.Since(start).Round(time.Second); d != 350*time.Second || field(re, "Min-SE") != "700" {
			t.Errorf("after %v came\n%s", d, re)
		}
		c.respond(re, "", 422, "Session Interval Too Small", "", "Min-SE: 800")
		c.demand("ACK")
		re = c.demand("INVITE")
		if field(re, "Session-Expires") != "800;refresher=uac" || field(re, "Min-SE") != "800" {
			t.Errorf("second re-INVITE is\n%s", re)
		}
		c.respond(re, "", 200, "OK", answerSDP, "Session-Expires: 800;refresher=uac", "Require: timer")
		c.demand("ACK")
		l.HangUp(sip.Cause{})
		c.respond(c.demand("BYE"), "", 200, "OK", "")
	})
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, _ := w.invite("bob")
		for i := range 5 { // somebody who is never content
			invite := c.next("INVITE")
			c.respond(invite, "a", 422, "Session Interval Too Small", "", fmt.Sprint("Min-SE: ", 2000+i))
			c.demand("ACK")
		}
		within(t, time.Second, l.Done(), "end")
		if l.Cause().Code != 422 {
			t.Errorf("cause %+v", l.Cause())
		}
	})
}

// RFC 4028 §10: the refreshes of a peer keep the call up, whichever way it does them.
func TestPeerRefreshes(t *testing.T) {
	bubble(t, func(w *world) {
		expires := "Session-Expires: 90;refresher=uac"
		c, l := w.established(answerSDP, "Supported: timer", expires)
		defer c.close()
		for i := range 20 {
			time.Sleep(50 * time.Second)
			if i%2 == 0 {
				c.ask("UPDATE", fmt.Sprint("u", i), "", "Supported: timer", expires)
				c.await(200)
				continue
			}
			c.ask("INVITE", fmt.Sprint("u", i), answerSDP, "Supported: timer", expires)
			c.confirm(c.await(200), "")
		}
		start := time.Now()
		c.respond(c.demand("BYE"), "", 200, "OK", "")
		if d := time.Since(start).Round(time.Second); d != 60*time.Second {
			t.Errorf("given up after %v, want 60s", d)
		}
		within(t, time.Second, l.Done(), "end")
	})
}

// A refresh that is refused shows that the peer is there: the call goes on, and is asked again.
func TestRefusedRefresh(t *testing.T) {
	for _, update := range []bool{true, false} {
		t.Run(fmt.Sprint("UPDATE ", update), func(t *testing.T) {
			bubble(t, func(w *world) {
				c := w.callee()
				defer c.close()
				headers, method := []string{"Session-Expires: 600;refresher=uac", "Require: timer"}, "INVITE"
				if update {
					headers, method = append(headers, "Allow: UPDATE"), "UPDATE"
				}
				l := answerCall(w, c, headers...)
				for range 3 {
					c.respond(c.demand(method), "", 500, "Server Internal Error", "")
				}
				select {
				case <-l.Done():
					t.Errorf("call ended: %+v", l.Cause())
				default:
				}
				l.HangUp(sip.Cause{})
				c.respond(c.demand("BYE"), "", 200, "OK", "")
			})
		})
	}
}

// RFC 3261 §14.1: after a 491 the owner of the Call-ID waits 2.1 to 4 s, the other 0 to 2 s.
func TestTimesAfterGlare(t *testing.T) {
	for _, owner := range []bool{true, false} {
		t.Run(fmt.Sprint("owner ", owner), func(t *testing.T) {
			for range 20 {
				bubble(t, func(w *world) {
					var p *peer
					var l *sip.Leg
					if owner {
						c := w.callee()
						l, p = answerCall(w, c), c.peer
					} else {
						c, in := w.established(answerSDP)
						l, p = in, c.peer
					}
					defer p.close()
					done := make(chan error, 1)
					go func() { done <- l.Renegotiate(w.ctx) }()
					p.respond(p.demand("INVITE"), "", 491, "Request Pending", "")
					p.demand("ACK")
					start := time.Now()
					again := p.demand("INVITE")
					d := time.Since(start)
					if low, high := 2100*time.Millisecond, 4100*time.Millisecond; owner && (d < low-time.Millisecond || d > high) {
						t.Errorf("tried again after %v, want 2.1 to 4s", d)
					} else if !owner && d > 2010*time.Millisecond {
						t.Errorf("tried again after %v, want 0 to 2s", d)
					}
					p.respond(again, "", 200, "OK", answerSDP)
					p.demand("ACK")
					if err := <-done; err != nil {
						t.Error(err)
					}
					l.HangUp(sip.Cause{})
					p.respond(p.demand("BYE"), "", 200, "OK", "")
				})
			}
		})
	}
}

// RFC 3261 §14.2: a second offer while one is open gets 500 with Retry-After of 0 to 10 s; one that
// crosses ours gets 491. RFC 6141 §3.6: none of that changes the session.
func TestOfferWhileOneIsOpen(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP)
		defer c.close()
		l.Attach(sound())
		l.Ring(false)
		c.learn(c.await(180))
		c.ask("INVITE", "early", answerSDP)
		refused := c.await(500)
		var wait int
		if n, err := fmt.Sscan(field(refused, "Retry-After"), &wait); n != 1 || err != nil || wait < 0 || wait > 10 {
			t.Errorf("Retry-After is %q", field(refused, "Retry-After"))
		}
		c.send(c.request("ACK", "early", ""))
		go l.Answer(w.ctx)
		ok := c.await(200)
		c.ask("INVITE", "second", answerSDP) // before the ACK: it waits
		time.Sleep(10 * time.Millisecond)
		c.ask("INVITE", "third", answerSDP)
		if got := c.await(500); field(got, "CSeq") != "5 INVITE" || field(got, "Retry-After") == "" {
			t.Errorf("500 is\n%s", got)
		}
		c.confirm(ok, "")
		c.confirm(c.await(200), "")
		done := make(chan error, 1)
		go func() { done <- l.Renegotiate(w.ctx) }()
		re := c.demand("INVITE")
		c.ask("INVITE", "glare", answerSDP)
		c.await(491)
		c.ask("UPDATE", "glare2", answerSDP)
		c.await(491)
		c.respond(re, "", 488, "Not Acceptable Here", "")
		var r *sip.Refusal
		if err := <-done; !errors.As(err, &r) || r.Code != 488 {
			t.Errorf("refused: %v", err)
		}
		c.ask("INVITE", "again", answerSDP)
		c.confirm(c.await(200), "")
		c.ask("BYE", "b", "")
		c.await(200)
	})
}

// RFC 6141 §4: a target refresh takes effect with the request that makes it when that is
// answered 2xx, and not when it is refused; an UPDATE refreshes too.
func TestTargetRefresh(t *testing.T) {
	for _, tc := range []struct {
		name   string
		method string
		refuse bool
		want   string
	}{
		{"re-INVITE", "INVITE", false, "sip:moved@"},
		{"refused re-INVITE", "INVITE", true, "sip:u-alice@"},
		{"UPDATE", "UPDATE", false, "sip:moved@"},
		{"refused UPDATE", "UPDATE", true, "sip:u-alice@"},
		{"INFO", "INFO", false, "sip:u-alice@"}, // no target refresh request
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.dial(answerSDP)
				defer c.close()
				s := sound()
				l.Attach(s)
				go l.Answer(w.ctx)
				c.confirm(c.await(200), "")
				time.Sleep(10 * time.Millisecond)
				s.Refuse = tc.refuse
				c.cseq++
				sdp := answerSDP
				if tc.method == "INFO" {
					sdp = ""
				}
				c.send([]byte(strings.Replace(string(c.request(tc.method, "t", sdp)), "Contact: <sip:u-alice@", "Contact: <sip:moved@", 1)))
				code, answer := c.status(time.Second)
				if want := map[bool]int{true: 488, false: 200}[tc.refuse]; code != want {
					t.Fatalf("answered %d\n%s", code, answer)
				}
				if tc.method == "INVITE" && !tc.refuse {
					c.confirm(string(answer), "")
				} else if tc.method == "INVITE" {
					c.send(c.request("ACK", "t", ""))
				}
				time.Sleep(10 * time.Millisecond)
				l.HangUp(sip.Cause{})
				bye := c.demand("BYE")
				if !strings.HasPrefix(bye, "BYE "+tc.want) {
					t.Errorf("BYE is\n%s", bye)
				}
				c.respond(bye, "", 200, "OK", "")
			})
		})
	}
}

// RFC 3264 §5, RFC 6337 §2: a re-INVITE without an offer gets ours, and its ACK has the answer;
// one without ends the call, for nobody knows what holds then.
func TestReinviteWithoutOffer(t *testing.T) {
	for _, answered := range []bool{true, false} {
		t.Run(fmt.Sprint(answered), func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.dial(answerSDP)
				defer c.close()
				s := sound()
				l.Attach(s)
				go l.Answer(w.ctx)
				c.confirm(c.await(200), "")
				c.ask("INVITE", "re", "")
				ok := c.await(200)
				if !strings.Contains(ok, "m=audio") {
					t.Errorf("no offer in\n%s", ok)
				}
				c.ask("UPDATE", "u", answerSDP)
				c.await(491) // RFC 3311 §5.2: our offer is open
				c.cseq--
				if !answered {
					c.confirm(ok, "")
					c.respond(c.demand("BYE"), "", 200, "OK", "")
					within(t, time.Second, l.Done(), "end")
					return
				}
				c.confirm(ok, answerSDP)
				time.Sleep(10 * time.Millisecond)
				if offers, answers := s.Heard(); offers != 1 || answers != 1 {
					t.Errorf("heard %d offers and %d answers, want one each", offers, answers)
				}
				l.HangUp(sip.Cause{})
				c.respond(c.demand("BYE"), "", 200, "OK", "")
			})
		})
	}
}
