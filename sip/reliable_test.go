package sip_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pbx/sip"
)

// rack is what acknowledges a reliable answer.
func rack(answer string) string {
	return "RAck: " + field(answer, "RSeq") + " " + field(answer, "CSeq")
}

// ring lets the leg ring and returns the 18x, from which the caller learns the dialog.
func (c *caller) rings(l *sip.Leg, early bool, code int) string {
	c.w.t.Helper()
	if err := l.Ring(early); err != nil {
		c.w.t.Fatal(err)
	}
	answer := c.await(code)
	c.learn(answer)
	return answer
}

// RFC 3262 §3: what is sent reliably depends on what the caller can and on what is said.
func TestReliableOrNot(t *testing.T) {
	for _, tc := range []struct {
		name, header string
		early        bool
		want         bool
	}{
		{"required, 180", "Require: 100rel", false, true},
		{"required, 183", "Require: 100rel", true, true},
		{"supported, 180", "Supported: 100rel", false, false},
		{"supported, 183", "Supported: replaces, 100rel", true, true},
		{"unknown, 180", "Supported: timer", false, false},
		{"unknown, 183", "Supported: timer", true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.dial(answerSDP, tc.header)
				defer c.close()
				l.Attach(sound())
				answer := c.rings(l, tc.early, map[bool]int{true: 183, false: 180}[tc.early])
				reliable := field(answer, "Require") == "100rel" && field(answer, "RSeq") != ""
				if reliable != tc.want {
					t.Errorf("reliable: %v, want %v, in\n%s", reliable, tc.want, answer)
				}
				if n, err := strconv.Atoi(field(answer, "RSeq")); reliable && (err != nil || n < 1 || n >= 1<<31) {
					t.Errorf("RSeq is %q", field(answer, "RSeq"))
				}
				l.HangUp(sip.Cause{Code: 486, Reason: "Busy Here"})
				c.await(486)
			})
		})
	}
}

// RFC 3262 §3: T1 doubling without bound, and 5xx after 64·T1 without PRACK.
func TestReliableIsRepeated(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP, "Require: 100rel")
		defer c.close()
		l.Attach(sound())
		l.Ring(true)
		start := time.Now()
		first := c.await(183)
		var at []string
		for {
			data := string(c.read(time.Minute))
			if statusOf([]byte(data)) == 504 {
				break
			}
			if data != first {
				t.Fatalf("want the 183 again or a 504, have\n%s", data)
			}
			at = append(at, time.Since(start).Truncate(100*time.Millisecond).String())
		}
		if got, want := fmt.Sprint(at), "[500ms 1.5s 3.5s 7.5s 15.5s 31.5s]"; got != want {
			t.Errorf("repeated at %v, want %v", got, want)
		}
		if got := time.Since(start).Round(time.Second); got != 32*time.Second {
			t.Errorf("given up after %v, want 32s", got)
		}
		within(t, time.Second, l.Done(), "end")
		if l.Cause().Code != 504 {
			t.Errorf("cause %+v", l.Cause())
		}
		c.send(c.request("ACK", "i2", ""))
	})
}

// RFC 3262 §3: the next reliable answer waits for the PRACK of the one before, and so does the 200.
func TestReliableOneAfterAnother(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP, "Require: 100rel")
		defer c.close()
		l.Attach(sound())
		ringing := c.rings(l, false, 180)
		l.Ring(true)
		result := make(chan error, 1)
		if got := c.quiet(400 * time.Millisecond); got != "" {
			t.Errorf("before the PRACK came\n%s", got)
		}
		c.ask("PRACK", "p0", "", "RAck: 1 2 INVITE") // RFC 3262 §3: no match
		if got := c.await(481); field(got, "CSeq") != "3 PRACK" {
			t.Errorf("481 is\n%s", got)
		}
		prack := c.request("PRACK", "p1", "", rack(ringing))
		c.ask("PRACK", "p1", "", rack(ringing))
		c.await(200)
		progress := c.await(183)
		a, _ := strconv.Atoi(field(ringing, "RSeq"))
		if b, _ := strconv.Atoi(field(progress, "RSeq")); b != a+1 {
			t.Errorf("RSeq %d after %d", b, a)
		}
		go func() { result <- l.Answer(w.ctx) }()
		if got := c.quiet(20*time.Second, progress); got != "" {
			t.Errorf("while the 183 is open came\n%s", got)
		}
		c.send(prack) // an old one, whose transaction is long over
		c.ask("PRACK", "p2", "", rack(progress))
		for {
			ok := c.await(200)
			if field(ok, "CSeq") != "2 INVITE" {
				continue
			}
			if strings.Contains(ok, "m=audio") {
				t.Errorf("the description is said again in\n%s", ok) // RFC 6337 §2.1
			}
			c.confirm(ok, "")
			break
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

// A caller that gives up, or a house that does, while a PRACK is awaited.
func TestEndBeforePRACK(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(c *caller, l *sip.Leg)
		want int
	}{
		{"cancelled", func(c *caller, l *sip.Leg) {
			tag, target := c.toTag, c.target
			c.toTag, c.target = "", ""
			c.send(c.request("CANCEL", "i2", ""))
			c.toTag, c.target = tag, target
		}, 487},
		{"refused", func(c *caller, l *sip.Leg) { l.Refuse(486, "Busy Here") }, 486},
		{"hung up", func(c *caller, l *sip.Leg) { l.HangUp(sip.Cause{Code: 480, Reason: "Gone"}) }, 480},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.dial(answerSDP, "Supported: 100rel")
				defer c.close()
				l.Attach(sound())
				progress := c.rings(l, true, 183)
				result := make(chan error, 1)
				go func() { result <- l.Answer(w.ctx) }()
				time.Sleep(10 * time.Millisecond)
				tc.end(c, l)
				c.await(tc.want)
				if err := <-result; err == nil {
					t.Error("answered all the same")
				}
				within(t, time.Second, l.Done(), "end")
				c.cseq++
				c.send(c.request("PRACK", "p", "", rack(progress)))
				if code, _ := c.status(100 * time.Millisecond); code != 200 && code != 481 && code != tc.want {
					t.Errorf("late PRACK answered %d", code)
				}
			})
		})
	}
}

// RFC 3262 §5: without an offer in the INVITE the reliable 183 makes it, and the PRACK has the answer.
func TestOfferInReliable(t *testing.T) {
	for _, tc := range []struct {
		name, prack string
		want        int
	}{{"answered", answerSDP, 200}, {"not answered", "", 488}} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.dial("", "Supported: 100rel")
				defer c.close()
				s := sound()
				l.Attach(s)
				progress := c.rings(l, true, 183)
				if !strings.Contains(progress, "m=audio") || field(progress, "RSeq") == "" {
					t.Errorf("want a reliable offer in\n%s", progress)
				}
				c.ask("UPDATE", "u", answerSDP)
				if got := c.await(491); field(got, "CSeq") != "3 UPDATE" { // RFC 3311 §5.2: our offer is open
					t.Errorf("UPDATE answered\n%s", got)
				}
				c.ask("PRACK", "p", tc.prack, rack(progress))
				c.await(tc.want)
				if tc.want != 200 {
					c.await(488)
					within(t, time.Second, l.Done(), "end")
					return
				}
				if _, answers := s.Heard(); answers != 1 {
					t.Errorf("%d answers were accepted, want 1", answers)
				}
				go l.Answer(w.ctx)
				ok := c.await(200)
				if strings.Contains(ok, "m=audio") {
					t.Errorf("a second offer in\n%s", ok)
				}
				c.confirm(ok, "")
				l.HangUp(sip.Cause{})
				c.respond(c.demand("BYE"), "", 200, "OK", "")
			})
		})
	}
}

// A caller that cannot acknowledge and makes no offer hears 180, never a description.
func TestNoOfferWithoutReliability(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial("")
		defer c.close()
		l.Attach(sound())
		if ringing := c.rings(l, true, 180); strings.Contains(ringing, "m=audio") {
			t.Errorf("description in\n%s", ringing)
		}
		l.HangUp(sip.Cause{})
		c.await(480)
	})
}

// RFC 3262 §5, RFC 3311 §5.1: once the first exchange is settled reliably, PRACK and UPDATE may
// change the session before it is answered.
func TestOffersBeforeTheAnswer(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP, "Supported: 100rel")
		defer c.close()
		s := sound()
		l.Attach(s)
		progress := c.rings(l, true, 183)
		c.ask("UPDATE", "u0", answerSDP)
		if got := c.await(500); field(got, "Retry-After") == "" { // RFC 3311 §5.2: no answer of ours yet
			t.Errorf("no Retry-After in\n%s", got)
		}
		c.ask("PRACK", "p", answerSDP, rack(progress))
		if got := c.await(200); !strings.Contains(got, "m=audio") {
			t.Errorf("no answer to the offer in\n%s", got)
		}
		held := strings.Replace(answerSDP, "t=0 0\r\n", "t=0 0\r\na=sendonly\r\n", 1)
		c.ask("UPDATE", "u1", held)
		if got := c.await(200); !strings.Contains(got, "m=audio") {
			t.Errorf("no answer to the UPDATE in\n%s", got)
		}
		if offers, _ := s.Heard(); offers != 3 {
			t.Errorf("heard %d offers, want 3", offers)
		}
		s.Refuse = true
		c.ask("UPDATE", "u2", answerSDP)
		c.await(488) // nothing has changed
		s.Refuse = false
		go l.Answer(w.ctx)
		c.confirm(c.await(200), "")
		l.HangUp(sip.Cause{})
		c.respond(c.demand("BYE"), "", 200, "OK", "")
	})
}

// As caller: each reliable 18x gets its PRACK, in its own dialog and along its own route;
// repetitions and those out of order get none.
func TestWePRACK(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, s := w.invite("bob")
		invite := c.next("INVITE")
		if !strings.Contains(field(invite, "Supported"), "100rel") {
			t.Errorf("Supported is %q", field(invite, "Supported"))
		}
		reliable := func(tag string, code, rseq int, sdp string) {
			c.respond(invite, tag, code, "Progress", sdp, "Require: 100rel", fmt.Sprint("RSeq: ", rseq), "Record-Route: <sip:p1."+tag+";lr>", "Allow: UPDATE")
		}
		reliable("one", 183, 7, answerSDP)
		prack := c.demand("PRACK")
		if field(prack, "RAck") != "7 1 INVITE" || !strings.HasPrefix(prack, "PRACK sip:cone@") || field(prack, "Route") != "<sip:p1.one;lr>" || !strings.HasSuffix(field(prack, "To"), ";tag=one") {
			t.Errorf("PRACK is\n%s", prack)
		}
		c.respond(prack, "", 200, "OK", "")
		if p := within(t, time.Second, l.Progress(), "progress"); !p.Sound || p.Code != 183 {
			t.Errorf("progress %+v", p)
		}
		reliable("one", 183, 7, answerSDP) // again
		reliable("one", 180, 9, "")        // one is missing
		reliable("two", 180, 100, "")      // RFC 3262 §4: another dialog counts for itself
		other := c.demand("PRACK")
		if field(other, "RAck") != "100 1 INVITE" || !strings.HasPrefix(other, "PRACK sip:ctwo@") || field(other, "Route") != "<sip:p1.two;lr>" {
			t.Errorf("PRACK of the second fork is\n%s", other)
		}
		c.respond(other, "", 200, "OK", "")
		reliable("one", 180, 8, "")
		third := c.demand("PRACK")
		if field(third, "RAck") != "8 1 INVITE" || !strings.HasSuffix(field(third, "To"), ";tag=one") {
			t.Errorf("third PRACK is\n%s", third)
		}
		c.respond(third, "", 200, "OK", "")
		// What is settled reliably is not looked at again.
		c.respond(invite, "one", 200, "OK", strings.Replace(answerSDP, "4000", "4002", 1))
		c.demand("ACK")
		within(t, time.Second, l.Answered(), "answer")
		if _, answers := s.Heard(); answers != 1 {
			t.Errorf("%d answers were accepted, want 1", answers)
		}
		l.HangUp(sip.Cause{})
		c.respond(c.demand("BYE"), "", 200, "OK", "")
	})
}

// A callee that makes the offer itself: RFC 3261 §13.2.2.4 in the ACK, RFC 3262 §5 in the PRACK.
func TestLateOfferOfOurs(t *testing.T) {
	for _, tc := range []struct {
		name            string
		reliable, offer bool
	}{{"in the 200", false, true}, {"in a reliable 183", true, true}, {"nowhere", false, false}} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := w.callee()
				defer c.close()
				s := sound()
				l, err := w.server.Invite(w.ctx, sip.Outgoing{To: w.binding("bob"), From: sip.Identity{User: "100"}, Called: sip.Identity{User: "201"}, Sound: s, Late: true})
				if err != nil {
					t.Fatal(err)
				}
				invite := c.next("INVITE")
				if strings.Contains(invite, "m=audio") || field(invite, "Content-Length") != "0" {
					t.Errorf("INVITE is\n%s", invite)
				}
				c.respond(invite, "a", 183, "Progress", answerSDP) // not reliable: no offer
				final := answerSDP
				if tc.reliable {
					c.respond(invite, "a", 183, "Progress", answerSDP, "Require: 100rel", "RSeq: 1")
					prack := c.demand("PRACK")
					if !strings.Contains(prack, "m=audio") {
						t.Errorf("no answer in\n%s", prack)
					}
					c.respond(prack, "", 200, "OK", "")
					final = ""
				}
				if !tc.offer {
					final = ""
				}
				c.respond(invite, "a", 200, "OK", final)
				ack := c.demand("ACK")
				if strings.Contains(ack, "m=audio") != (final != "") {
					t.Errorf("ACK is\n%s", ack)
				}
				if !tc.offer {
					c.respond(c.demand("BYE"), "", 200, "OK", "")
					within(t, time.Second, l.Done(), "end")
					return
				}
				within(t, time.Second, l.Answered(), "answer")
				if offers, answers := s.Heard(); offers != 1 || answers != 0 {
					t.Errorf("heard %d offers and %d answers, want one offer", offers, answers)
				}
				l.HangUp(sip.Cause{})
				c.respond(c.demand("BYE"), "", 200, "OK", "")
			})
		})
	}
}

// RFC 3311 §5.2 as the caller: an UPDATE of the callee before its answer.
func TestUpdateFromACallee(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, s := w.invite("bob")
		invite := c.next("INVITE")
		update := func(cseq int, sdp string) int {
			k := &caller{peer: c.peer, cseq: cseq}
			text := string(k.request("UPDATE", fmt.Sprint("u", cseq), sdp))
			text = strings.Replace(text, field(text, "Call-ID"), field(invite, "Call-ID"), 1)
			text = strings.Replace(text, "From: "+field(text, "From"), "From: "+field(invite, "To")+";tag=a", 1)
			text = strings.Replace(text, "To: "+field(text, "To"), "To: "+field(invite, "From"), 1)
			c.send([]byte(text))
			code, _ := c.status(time.Second)
			return code
		}
		if code := update(5, ""); code != 481 {
			t.Errorf("before any dialog: %d, want 481", code)
		}
		c.respond(invite, "a", 180, "Ringing", "")
		within(t, time.Second, l.Progress(), "ringing")
		if code := update(6, answerSDP); code != 491 {
			t.Errorf("while our offer is open: %d, want 491", code)
		}
		if code := update(7, ""); code != 200 {
			t.Errorf("without an offer: %d, want 200", code)
		}
		c.respond(invite, "a", 183, "Progress", answerSDP, "Require: 100rel", "RSeq: 1")
		c.respond(c.demand("PRACK"), "", 200, "OK", "")
		if code := update(8, answerSDP); code != 200 {
			t.Errorf("once it is settled: %d, want 200", code)
		}
		if code := update(8, answerSDP); code != 0 && code != 200 {
			t.Errorf("again: %d", code)
		}
		if offers, _ := s.Heard(); offers != 1 {
			t.Errorf("heard %d offers, want 1", offers)
		}
		c.respond(invite, "a", 200, "OK", "")
		c.demand("ACK")
		within(t, time.Second, l.Answered(), "answer")
		if code := update(4, ""); code != 500 {
			t.Errorf("lower CSeq: %d, want 500", code)
		}
		l.HangUp(sip.Cause{})
		c.respond(c.demand("BYE"), "", 200, "OK", "")
	})
}

// RFC 4916 in early dialogs: the phones that ring learn who calls them now.
func TestPresentWhileRinging(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, _ := w.invite("bob")
		invite := c.next("INVITE")
		c.respond(invite, "one", 180, "Ringing", "", "Allow: INVITE, UPDATE")
		c.respond(invite, "two", 180, "Ringing", "", "Allow: INVITE, ACK")
		within(t, time.Second, l.Progress(), "ringing")
		within(t, time.Second, l.Progress(), "ringing")
		if err := l.Present(w.ctx, zoe); err != nil {
			t.Fatal(err)
		}
		update := c.demand("UPDATE")
		if !strings.HasSuffix(field(update, "To"), ";tag=one") || field(update, "P-Asserted-Identity") != `"Zoë" <sip:205@10.0.0.1>` {
			t.Errorf("UPDATE is\n%s", update)
		}
		c.respond(update, "", 200, "OK", "")
		c.respond(invite, "two", 200, "OK", answerSDP) // the one that could not be told
		c.demand("ACK")
		re := c.demand("INVITE")
		if field(re, "P-Asserted-Identity") != `"Zoë" <sip:205@10.0.0.1>` {
			t.Errorf("re-INVITE is\n%s", re)
		}
		c.respond(re, "", 200, "OK", answerSDP)
		c.demand("ACK")
		l.HangUp(sip.Cause{})
		c.respond(c.demand("BYE"), "", 200, "OK", "")
	})
}
