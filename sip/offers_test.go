package sip_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pbx/sip"
)

// The machine of an incoming leg where offers are open: where it stands, what the
// peer sends, what it gets, and whether the leg is over then. RFC 3261 §14, RFC
// 3262 §3, RFC 3311 §5.2, RFC 6337 §3.
func TestMachineOfOffers(t *testing.T) {
	type reach func(w *world, c *caller, l *sip.Leg) (rack string)
	confirmed := func(w *world, c *caller, l *sip.Leg) string {
		go l.Answer(w.ctx)
		c.confirm(c.await(200), "")
		time.Sleep(5 * time.Millisecond)
		return "RAck: 1 2 INVITE"
	}
	reliable := func(w *world, c *caller, l *sip.Leg) string { return rack(c.rings(l, true, 183)) }
	reached := map[string]reach{
		"18x open": reliable,
		"18x settled": func(w *world, c *caller, l *sip.Leg) string {
			rack := reliable(w, c, l)
			c.ask("PRACK", "settle", "", rack)
			c.await(200)
			return rack
		},
		"200 waits": func(w *world, c *caller, l *sip.Leg) string {
			rack := reliable(w, c, l)
			go l.Answer(w.ctx)
			time.Sleep(5 * time.Millisecond)
			return rack
		},
		"confirmed": confirmed,
		"our re-INVITE": func(w *world, c *caller, l *sip.Leg) string {
			rack := confirmed(w, c, l)
			go l.Renegotiate(w.ctx)
			c.demand("INVITE")
			return rack
		},
		"our UPDATE": func(w *world, c *caller, l *sip.Leg) string {
			rack := confirmed(w, c, l)
			go l.Present(w.ctx, zoe)
			c.demand("UPDATE")
			return rack
		},
		"their re-INVITE": func(w *world, c *caller, l *sip.Leg) string {
			rack := confirmed(w, c, l)
			c.ask("INVITE", "theirs", answerSDP)
			c.await(200)
			return rack
		},
		"their re-INVITE without offer": func(w *world, c *caller, l *sip.Leg) string {
			rack := confirmed(w, c, l)
			c.ask("INVITE", "theirs", "")
			c.await(200)
			return rack
		},
	}
	for _, tc := range []struct {
		state, send string // PRACK?: one that matches nothing; +: with an offer
		want        int    // 0: nothing yet
		over        bool
	}{
		{"18x open", "PRACK", 200, false},
		{"18x open", "PRACK+", 200, false},
		{"18x open", "PRACK?", 481, false},
		{"18x open", "UPDATE", 200, false},
		{"18x open", "UPDATE+", 500, false},
		{"18x open", "INVITE+", 500, false},
		{"18x open", "INFO", 200, false},
		{"18x open", "BYE", 200, true},
		{"18x open", "CANCEL", 200, true},
		{"18x settled", "PRACK", 481, false},
		{"18x settled", "UPDATE", 200, false},
		{"18x settled", "UPDATE+", 200, false},
		{"18x settled", "INVITE+", 500, false},
		{"18x settled", "BYE", 200, true},
		{"18x settled", "CANCEL", 200, true},
		{"200 waits", "PRACK", 200, false},
		{"200 waits", "PRACK?", 481, false},
		{"200 waits", "UPDATE+", 500, false},
		{"200 waits", "BYE", 200, true},
		{"200 waits", "CANCEL", 200, true},
		{"confirmed", "PRACK", 481, false},
		{"our re-INVITE", "INVITE+", 491, false},
		{"our re-INVITE", "INVITE", 491, false},
		{"our re-INVITE", "UPDATE+", 491, false},
		{"our re-INVITE", "UPDATE", 200, false},
		{"our re-INVITE", "INFO", 200, false},
		{"our re-INVITE", "BYE", 200, true},
		{"our UPDATE", "INVITE+", 200, false},
		{"our UPDATE", "UPDATE+", 200, false},
		{"our UPDATE", "BYE", 200, true},
		{"their re-INVITE", "INVITE+", 0, false}, // until the ACK
		{"their re-INVITE", "UPDATE+", 200, false},
		{"their re-INVITE", "BYE", 200, true},
		{"their re-INVITE without offer", "UPDATE+", 491, false},
		{"their re-INVITE without offer", "UPDATE", 200, false},
		{"their re-INVITE without offer", "BYE", 200, true},
	} {
		t.Run(tc.state+", "+tc.send, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.dial(answerSDP, "Supported: 100rel", "Allow: INVITE, ACK, BYE, UPDATE")
				defer c.close()
				l.Attach(sound())
				rack := reached[tc.state](w, c, l)
				method := strings.TrimRight(tc.send, "+?")
				sdp, branch := "", "m"
				if strings.HasSuffix(tc.send, "+") {
					sdp = answerSDP
				}
				if strings.HasSuffix(tc.send, "?") {
					rack = "RAck: 1 2 INVITE"
				}
				if method == "CANCEL" {
					branch, c.cseq = "i2", 2
					c.toTag, c.target = "", ""
				} else {
					c.cseq++
				}
				c.send(c.request(method, branch, sdp, rack))
				got := 0
				for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
					data := string(c.read(time.Until(end)))
					if statusOf([]byte(data)) >= 200 && field(data, "CSeq") == fmt.Sprint(c.cseq, " ", method) {
						got = statusOf([]byte(data))
					}
				}
				if got != tc.want {
					t.Errorf("answered %d, want %d", got, tc.want)
				}
				over := false
				select {
				case <-l.Done():
					over = true
				default:
				}
				if over != tc.over {
					t.Errorf("leg is over: %v, want %v", over, tc.over)
				}
			})
		})
	}
}

// ACKs that belong to nothing, or come again, do nothing (RFC 3261 §13.3.1.4, §17.1.1.3).
func TestStrayACKs(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP)
		defer c.close()
		l.Attach(sound())
		c.send(c.request("ACK", "i2", "")) // before any answer
		time.Sleep(5 * time.Millisecond)
		go l.Answer(w.ctx)
		ok := c.await(200)
		c.learn(ok)
		c.cseq = 7
		c.send(c.request("ACK", "wrong", "")) // of another INVITE
		c.cseq = 2
		if got := c.await(200); got != ok {
			t.Errorf("want the 200 again, have\n%s", got)
		}
		for range 3 {
			c.confirm(ok, "")
		}
		if got := c.quiet(10 * time.Second); got != "" {
			t.Errorf("after the ACK came\n%s", got)
		}
		c.ask("INFO", "alive", "")
		c.await(200)
		stranger := &caller{peer: c.peer, cseq: 1, toTag: "nobody"}
		stranger.send(stranger.request("ACK", "s", ""))
		if got := c.quiet(time.Second); got != "" {
			t.Errorf("an ACK was answered\n%s", got)
		}
		c.ask("BYE", "b", "")
		c.await(200)
	})
}

// RFC 3261 §9.2: a CANCEL that matches nothing gets 481; one that comes after the answer gets 200
// and changes nothing; all its answers have one tag.
func TestCancelOfWhat(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP)
		defer c.close()
		l.Attach(sound())
		c.send(c.request("CANCEL", "other", ""))
		c.await(481)
		go l.Answer(w.ctx)
		ok := c.await(200)
		c.send(c.request("CANCEL", "i2", ""))
		for {
			got := c.await(200)
			if field(got, "CSeq") == "2 CANCEL" {
				if field(got, "To") != field(ok, "To") {
					t.Errorf("To is %q, want %q", field(got, "To"), field(ok, "To"))
				}
				break
			}
		}
		c.confirm(ok, "")
		c.ask("BYE", "b", "")
		c.await(200)
		within(t, time.Second, l.Done(), "end")
		if l.Cause().Code != 0 {
			t.Errorf("cause %+v", l.Cause())
		}
	})
}

// RFC 2976, RFC 6086: keys by INFO in both ways of writing them, and what else an INFO may be.
func TestInfo(t *testing.T) {
	for _, tc := range []struct {
		kind, body string
		want       int
		key        rune
	}{
		{"application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", 200, '5'},
		{"application/dtmf-relay", "Signal= *\r\nDuration= 250", 200, '*'},
		{"application/dtmf-relay", "signal=11\n", 200, '#'},
		{"application/dtmf-relay; charset=utf-8", "Signal=a\r\n", 200, 'A'},
		{"application/dtmf-relay", "Signal=99\r\n", 200, 0},
		{"application/dtmf", "7", 200, '7'},
		{"application/dtmf", "10", 200, '*'},
		{"Application/DTMF", "#\r\n", 200, '#'},
		{"text/plain", "hello", 415, 0},
		{"application/media_control+xml", "<x/>", 415, 0},
		{"", "", 200, 0},
	} {
		t.Run(tc.kind+" "+tc.body, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.established(answerSDP)
				defer c.close()
				c.cseq++
				text := string(c.request("INFO", "i", ""))
				if tc.body != "" {
					text = strings.Replace(text, "Content-Length: 0\r\n\r\n", fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s", tc.kind, len(tc.body), tc.body), 1)
				}
				c.send([]byte(text))
				if code, answer := c.status(time.Second); code != tc.want {
					t.Errorf("answered %d\n%s", code, answer)
				}
				time.Sleep(10 * time.Millisecond)
				var key rune
				select {
				case key = <-l.Digits():
				default:
				}
				if key != tc.key {
					t.Errorf("heard %q, want %q", key, tc.key)
				}
				l.HangUp(sip.Cause{})
				c.respond(c.demand("BYE"), "", 200, "OK", "")
			})
		})
	}
}
