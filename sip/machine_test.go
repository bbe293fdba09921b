package sip_test

import (
	"strings"
	"testing"
	"time"

	"pbx/sip"
	"pbx/sip/siptest"
)

// The machine of an incoming leg as a table: where it stands, what the peer
// sends, what it gets, and whether the leg is over then.
func TestIncomingMachine(t *testing.T) {
	ring := func(w *world, c *caller, l *sip.Leg) {
		if err := l.Ring(false); err != nil {
			w.t.Fatal(err)
		}
		for {
			data := string(c.read(time.Second))
			if statusOf([]byte(data)) == 180 {
				c.toTag = strings.TrimPrefix(field(data, "To"), "<sip:201@pbx.test>;tag=")
				c.target = strings.Trim(field(data, "Contact"), "<>")
				return
			}
		}
	}
	answer := func(w *world, c *caller, l *sip.Leg) {
		ring(w, c, l)
		go l.Answer(w.ctx)
		if code, _ := c.status(time.Second); code != 200 {
			w.t.Fatalf("answered %d", code)
		}
	}
	confirm := func(w *world, c *caller, l *sip.Leg) {
		answer(w, c, l)
		c.send(c.request("ACK", "ack", ""))
		time.Sleep(5 * time.Millisecond)
	}
	linger := func(w *world, c *caller, l *sip.Leg) { // our BYE is on its way, unanswered
		confirm(w, c, l)
		l.HangUp(sip.Cause{})
		<-l.Done()
		c.read(time.Second)
	}
	for _, tc := range []struct {
		state  string
		reach  func(*world, *caller, *sip.Leg)
		method string
		sdp    string
		want   int
		over   bool
	}{
		{"ringing", ring, "CANCEL", "", 200, true},
		{"ringing", ring, "BYE", "", 200, true},
		{"ringing", ring, "INVITE", answerSDP, 500, false},
		{"ringing", ring, "UPDATE", "", 200, false},
		{"ringing", ring, "UPDATE", answerSDP, 500, false},
		{"ringing", ring, "INFO", "", 200, false},
		{"ringing", ring, "ACK", "", 0, false},
		{"answered", answer, "CANCEL", "", 200, false},
		{"answered", answer, "BYE", "", 200, true},
		{"answered", answer, "UPDATE", answerSDP, 200, false}, // RFC 3311 §5.2: no offer is open,
		{"answered", answer, "INFO", "", 200, false},
		{"confirmed", confirm, "CANCEL", "", 200, false},
		{"confirmed", confirm, "BYE", "", 200, true},
		{"confirmed", confirm, "INVITE", answerSDP, 200, false},
		{"confirmed", confirm, "UPDATE", answerSDP, 200, false},
		{"confirmed", confirm, "ACK", "", 0, false},
		{"over", linger, "BYE", "", 200, true},
		{"over", linger, "INVITE", answerSDP, 481, true},
		{"over", linger, "UPDATE", "", 481, true},
		{"over", linger, "INFO", "", 481, true},
		{"over", linger, "CANCEL", "", 200, true},
	} {
		t.Run(tc.state+" "+tc.method+map[bool]string{true: " with offer"}[tc.sdp != ""], func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.dial(answerSDP)
				defer c.close()
				l.Attach(sound())
				tc.reach(w, c, l)
				branch := "m"
				if tc.method == "CANCEL" {
					branch = "i2"
					c.toTag, c.target = "", ""
				} else if tc.method != "ACK" {
					c.cseq++
				}
				c.send(c.request(tc.method, branch, tc.sdp))
				got := 0
				for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
					data := string(c.read(time.Until(end)))
					if statusOf([]byte(data)) >= 200 && strings.HasSuffix(field(data, "CSeq"), " "+tc.method) {
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

// The same for an outgoing leg.
func TestOutgoingMachine(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps func(c *callee, l *sip.Leg)
		sent  []string // requests of ours after that
		code  int      // of the cause
	}{
		{"refused at once", func(c *callee, l *sip.Leg) { c.reply("INVITE", "a", 486, "Busy Here", "") }, []string{"ACK"}, 486},
		{"refused while ringing", func(c *callee, l *sip.Leg) {
			c.reply("INVITE", "a", 180, "Ringing", "")
			c.reply("INVITE", "a", 603, "Decline", "")
		}, []string{"ACK"}, 603},
		{"hung up, then rings, then 487", func(c *callee, l *sip.Leg) {
			invite := c.invite
			l.HangUp(sip.Cause{Code: 480, Reason: "x"})
			<-l.Done()
			c.reply("INVITE", "a", 180, "Ringing", "")
			c.next("CANCEL")
			c.reply("CANCEL", "", 200, "OK", "")
			c.invite = invite
			c.reply("INVITE", "a", 487, "Request Terminated", "")
		}, []string{"ACK"}, 480},
		{"hung up, then answers at once", func(c *callee, l *sip.Leg) {
			l.HangUp(sip.Cause{Code: 480, Reason: "x"})
			<-l.Done()
			c.reply("INVITE", "a", 200, "OK", answerSDP)
		}, []string{"ACK", "BYE"}, 480},
		{"hung up, CANCEL crosses 200", func(c *callee, l *sip.Leg) {
			c.reply("INVITE", "a", 180, "Ringing", "")
			invite := c.invite
			time.Sleep(10 * time.Millisecond)
			l.HangUp(sip.Cause{})
			c.next("CANCEL")
			c.reply("CANCEL", "", 481, "Gone", "")
			c.invite = invite
			c.reply("INVITE", "a", 200, "OK", answerSDP)
		}, []string{"ACK", "BYE"}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := w.callee()
				defer c.close()
				l, _ := w.invite("bob")
				c.next("INVITE")
				tc.steps(c, l)
				for _, method := range tc.sent {
					got := c.next(method)
					if method == "BYE" {
						c.reply("BYE", "", 200, "OK", "")
					}
					if !strings.HasPrefix(got, method) {
						t.Errorf("sent %.20q, want %s", got, method)
					}
				}
				within(t, time.Second, l.Done(), "end")
				if got := l.Cause().Code; got != tc.code {
					t.Errorf("cause is %+v, want %d", l.Cause(), tc.code)
				}
			})
		})
	}
}

// A callee that falls silent after CANCEL is not waited for longer than 64·T1.
func TestSilenceAfterCancel(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, _ := w.invite("bob")
		c.next("INVITE")
		c.reply("INVITE", "a", 180, "Ringing", "")
		time.Sleep(10 * time.Millisecond)
		l.HangUp(sip.Cause{})
		c.next("CANCEL")
		time.Sleep(31 * time.Second)
		if n := w.server.Stats().Legs; n != 1 {
			t.Errorf("%d legs after 31s, want 1", n)
		}
		time.Sleep(2 * time.Second)
		if n := w.server.Stats().Legs; n != 0 {
			t.Errorf("%d legs after 33s, want 0", n)
		}
	})
}

// What the rest of the house relies on in sipgo, or must be protected from.
// Each of these once went wrong there (the numbers are those of the survey).
func TestSipgoFindings(t *testing.T) {
	// 5: every answer above 100 to one INVITE has one To-tag, and so has the 200 to its CANCEL.
	t.Run("one tag", func(t *testing.T) {
		bubble(t, func(w *world) {
			tags := make(map[string]bool)
			w.net.Drop(func(m siptest.Message) bool {
				if m.Status > 100 && m.Status != 401 && (m.Method == "INVITE" || m.Method == "CANCEL") {
					_, tag, _ := strings.Cut(field(string(m.Data), "To"), "tag=")
					tags[tag] = true
				}
				return false
			})
			alice := w.registered("alice")
			line, l := w.call(alice, "201")
			l.Ring(false)
			within(t, time.Second, line.Ringing(), "ringing")
			line.Cancel()
			within(t, time.Second, line.Done(), "end")
			if len(tags) != 1 {
				t.Errorf("To-tags are %v", tags)
			}
		})
	})
	// An answer of the house that crosses the CANCEL must not be sent, not even in
	// place of a repeated 487.
	t.Run("answer crosses CANCEL", func(t *testing.T) {
		bubble(t, func(w *world) {
			c, l := w.dial(answerSDP)
			defer c.close()
			l.Attach(sound())
			c.send(c.request("CANCEL", "i2", ""))
			<-l.Done()
			if err := l.Answer(w.ctx); err == nil {
				t.Error("a cancelled call was answered")
			}
			repeated := 0
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
				data := string(c.read(time.Until(end)))
				if strings.HasSuffix(field(data, "CSeq"), "INVITE") && statusOf([]byte(data)) >= 200 {
					repeated++
					if code := statusOf([]byte(data)); code != 487 {
						t.Errorf("answered %d", code)
					}
				}
			}
			if repeated < 5 {
				t.Errorf("487 came %d times without ACK, want it repeated", repeated)
			}
		})
	})
	// 2: what is meant for one connection never goes to another.
	t.Run("no misdelivery", func(t *testing.T) {
		bubble(t, func(w *world) {
			alice, bob := w.registered("alice", overTCP), w.registered("bob", overTCP)
			w.settled()
			b := w.binding("alice")
			for len(bob.Notices()) > 0 {
				<-bob.Notices()
			}
			alice.Close()
			if err := w.server.Notify(w.ctx, b, "check-sync", "", nil); err == nil {
				t.Error("a closed connection was written to")
			}
			time.Sleep(time.Second)
			if n := len(bob.Notices()); n != 0 {
				t.Errorf("bob got %d requests meant for alice", n)
			}
		})
	})
	// 3: requests leave from the address that phones know.
	t.Run("source of requests", func(t *testing.T) {
		bubble(t, func(w *world) {
			strange := 0
			w.net.Drop(func(m siptest.Message) bool {
				if m.From.Addr() == pbxAddr && m.From.Port() != 5060 {
					strange++
				}
				return false
			})
			bob := w.registered("bob")
			l, _ := w.invite("bob")
			ring := within(t, time.Second, bob.Incoming(), "call")
			if err := ring.Answer(w.ctx); err != nil {
				t.Fatal(err)
			}
			within(t, time.Second, l.Answered(), "answer")
			l.HangUp(sip.Cause{})
			within(t, time.Second, ring.Done(), "BYE")
			if strange != 0 {
				t.Errorf("%d messages left from another port", strange)
			}
		})
	})
}
