package sip_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pbx/sip"
	"pbx/sip/siptest"
)

// RFC 3261 §13.2.2.4: a second phone behind one binding that answers is acknowledged
// and hung up on, also when the call has ended meanwhile; each repetition of its 200
// gets the ACK again, and no second BYE.
func TestLateForkAfterTheEnd(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, _ := w.invite("bob")
		invite := c.next("INVITE")
		c.respond(invite, "one", 200, "OK", answerSDP)
		c.demand("ACK")
		within(t, time.Second, l.Answered(), "answer")
		l.HangUp(sip.Cause{})
		c.respond(c.demand("BYE"), "", 200, "OK", "")
		time.Sleep(10 * time.Second)
		if n := w.server.Stats().Legs; n != 0 {
			t.Fatalf("%d legs are left", n)
		}
		c.respond(invite, "two", 200, "OK", answerSDP, "Record-Route: <sip:p1.example;lr>")
		ack, bye := c.demand("ACK"), c.demand("BYE")
		for _, got := range []string{ack, bye} {
			if !strings.HasSuffix(field(got, "To"), ";tag=two") || !strings.Contains(got, " sip:ctwo@") || field(got, "Route") != "<sip:p1.example;lr>" {
				t.Errorf("for the second fork came\n%s", got)
			}
		}
		c.respond(bye, "", 200, "OK", "")
		c.respond(invite, "two", 200, "OK", answerSDP)
		if got := string(c.read(time.Second)); got != ack {
			t.Errorf("want the ACK again, have\n%s", got)
		}
		if got := c.quiet(5 * time.Second); got != "" {
			t.Errorf("more came\n%s", got)
		}
	})
}

// RFC 3261 §12.1.2: of several early dialogs each has its own target, route set and
// order of requests; the one that answers keeps what it had.
func TestEarlyDialogsApart(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, s := w.invite("bob")
		invite := c.next("INVITE")
		for _, tag := range []string{"one", "two", "three"} {
			c.respond(invite, tag, 183, "Progress", strings.Replace(answerSDP, "4000", map[string]string{"one": "4000", "two": "4100", "three": "4200"}[tag], 1), "Record-Route: <sip:"+tag+".example;lr>")
			within(t, time.Second, l.Progress(), "progress")
		}
		info := func(tag string, cseq int) int {
			k := &caller{peer: c.peer, cseq: cseq}
			text := string(k.request("INFO", fmt.Sprint(tag, cseq), ""))
			text = strings.Replace(text, field(text, "Call-ID"), field(invite, "Call-ID"), 1)
			text = strings.Replace(text, "From: "+field(text, "From"), "From: "+field(invite, "To")+";tag="+tag, 1)
			text = strings.Replace(text, "To: "+field(text, "To"), "To: "+field(invite, "From"), 1)
			c.send([]byte(text))
			code, _ := c.status(time.Second)
			return code
		}
		for _, tc := range []struct {
			tag        string
			cseq, want int
		}{{"one", 100, 200}, {"two", 7, 200}, {"one", 99, 500}, {"two", 8, 200}, {"four", 1, 481}} {
			if got := info(tc.tag, tc.cseq); got != tc.want {
				t.Errorf("INFO %d of %s answered %d, want %d", tc.cseq, tc.tag, got, tc.want)
			}
		}
		c.respond(invite, "two", 200, "OK", "", "Record-Route: <sip:two.example;lr>") // said in the 183 before
		if ack := c.demand("ACK"); !strings.HasPrefix(ack, "ACK sip:ctwo@") || field(ack, "Route") != "<sip:two.example;lr>" {
			t.Errorf("ACK is\n%s", ack)
		}
		within(t, time.Second, l.Answered(), "answer")
		if _, answers := s.Heard(); answers != 4 { // three early ones, then that of the winner again
			t.Errorf("%d answers were accepted, want 4", answers)
		}
		if got := info("two", 8); got != 500 && got != 200 {
			t.Errorf("repeated INFO answered %d", got)
		}
		if got := info("two", 6); got != 500 {
			t.Errorf("lower CSeq answered %d, want 500", got)
		}
		if got := info("one", 101); got != 481 {
			t.Errorf("INFO of the one that lost answered %d, want 481", got)
		}
		l.HangUp(sip.Cause{})
		c.respond(c.demand("BYE"), "", 200, "OK", "")
	})
}

// RFC 3261 §15.1.2: a re-INVITE that waits for an ACK is answered 487 when the call ends.
func TestReinviteThatWaitsWhenTheCallEnds(t *testing.T) {
	for _, who := range []string{"caller", "house"} {
		t.Run(who, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.dial(answerSDP)
				defer c.close()
				l.Attach(sound())
				go l.Answer(w.ctx)
				c.learn(c.await(200))
				c.ask("INVITE", "re", answerSDP) // its ACK was lost
				time.Sleep(10 * time.Millisecond)
				if who == "house" {
					l.HangUp(sip.Cause{})
				} else {
					c.ask("BYE", "bye", "")
				}
				if got := c.await(487); field(got, "CSeq") != "3 INVITE" {
					t.Errorf("487 is\n%s", got)
				}
				within(t, time.Second, l.Done(), "end")
				c.cseq = 3
				c.send(c.request("ACK", "re", ""))
				if who == "house" {
					c.cseq = 2
					c.send(c.request("ACK", "late", ""))
					c.respond(c.demand("BYE"), "", 200, "OK", "")
				}
			})
		})
	}
}

// RFC 7339 §5.10, RFC 5057 §5.1: in overload new work gets 503, running calls 500, and what ends work is served.
func TestOverload(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.established(answerSDP)
		defer c.close()
		stranger := &caller{peer: w.peer(5062), cseq: 1}
		defer stranger.close()
		w.server.Crowd(30000)
		defer w.server.Crowd(-30000)
		stranger.send(stranger.request("INVITE", "s", answerSDP))
		if got := stranger.await(503); field(got, "Retry-After") == "" {
			t.Errorf("no Retry-After in\n%s", got)
		}
		c.ask("INFO", "i", "")
		if got := c.await(500); field(got, "Retry-After") == "" {
			t.Errorf("no Retry-After in\n%s", got)
		}
		c.ask("BYE", "b", "")
		c.await(200)
		within(t, time.Second, l.Done(), "end")
	})
}

// RFC 3261 §8.2.2.2: of copies that race along different ways one makes the call, and
// each other gets 482.
func TestCopiesRace(t *testing.T) {
	bubble(t, func(w *world) {
		c := &caller{peer: w.peer(5060), cseq: 1}
		defer c.close()
		c.send(c.request("INVITE", "i1", answerSDP))
		challenge := c.await(401)
		c.send(c.request("ACK", "i1", ""))
		c.cseq = 2
		auth := c.authorize(challenge, "INVITE", "sip:201@pbx.test")
		var copies sync.WaitGroup
		for i := range 5 {
			data := c.request("INVITE", fmt.Sprint("copy", i), answerSDP, auth)
			copies.Go(func() { c.send(data) })
		}
		copies.Wait()
		for range 4 {
			code, answer := c.status(time.Second)
			if code != 482 {
				t.Errorf("a copy got %d\n%s", code, answer)
			}
		}
		l := within(t, time.Second, w.house, "call")
		if len(w.house) != 0 {
			t.Error("a second call came in")
		}
		l.HangUp(sip.Cause{Code: 486, Reason: "Busy Here"})
		c.await(486)
	})
}

// RFC 3261 §17.2.1, RFC 6026 §7.1: 100 comes at once; a repeated INVITE gets the last answer
// again while there is none final, and starts nothing once there is.
func TestRepeatedInvite(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP)
		defer c.close()
		l.Attach(sound())
		start := time.Now()
		c.await(100)
		if d := time.Since(start); d > 200*time.Millisecond {
			t.Errorf("100 after %v", d)
		}
		again := c.request("INVITE", "i2", answerSDP, c.challenge)
		c.send(again)
		c.await(100)
		l.Ring(false)
		c.await(180)
		c.send(again)
		c.await(180)
		go l.Answer(w.ctx)
		ok := c.await(200)
		for range 3 {
			c.send(again)
		}
		if got := c.quiet(400 * time.Millisecond); got != "" { // RFC 6026 §7.1: the core repeats the 200, not the transaction
			t.Errorf("a repeated INVITE brought\n%s", got)
		}
		c.confirm(ok, "")
		time.Sleep(20 * time.Second)
		c.send(again)
		if got := c.quiet(5 * time.Second); got != "" {
			t.Errorf("20 s later it brought\n%s", got)
		}
		if len(w.house) != 0 {
			t.Error("a second call came in")
		}
		c.ask("BYE", "b", "")
		c.await(200)
	})
}

// RFC 3261 §17.1.1.2, §17.1.2.2: what nobody answers is sent again at these times.
func TestTimesOfOurRequests(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		times := func(method string, start time.Time, until time.Duration) string {
			var at []string
			for end := start.Add(until); ; {
				data := string(c.read(time.Until(end)))
				if data == "" {
					return strings.Join(at, " ")
				}
				if strings.HasPrefix(data, method+" ") {
					at = append(at, time.Since(start).Truncate(100*time.Millisecond).String())
				}
			}
		}
		l, _ := w.invite("bob")
		if got, want := times("INVITE", time.Now(), 33*time.Second), "0s 500ms 1.5s 3.5s 7.5s 15.5s 31.5s"; got != want {
			t.Errorf("INVITE at %s, want %s", got, want)
		}
		within(t, time.Millisecond, l.Done(), "end")
		if l.Cause().Code != 408 {
			t.Errorf("cause %+v", l.Cause())
		}
		l, _ = w.invite("bob")
		c.next("INVITE")
		c.reply("INVITE", "a", 200, "OK", answerSDP)
		c.next("ACK")
		within(t, time.Second, l.Answered(), "answer")
		l.HangUp(sip.Cause{})
		if got, want := times("BYE", time.Now(), 40*time.Second), "0s 500ms 1.5s 3.5s 7.5s 11.5s 15.5s 19.5s 23.5s 27.5s 31.5s"; got != want {
			t.Errorf("BYE at %s, want %s", got, want)
		}
		l, _ = w.invite("bob")
		c.next("INVITE")
		c.reply("INVITE", "a", 180, "Ringing", "")
		within(t, time.Second, l.Progress(), "ringing")
		l.HangUp(sip.Cause{})
		if got, want := times("CANCEL", time.Now(), 40*time.Second), "0s 500ms 1.5s 3.5s 7.5s 11.5s 15.5s 19.5s 23.5s 27.5s 31.5s"; got != want {
			t.Errorf("CANCEL at %s, want %s", got, want)
		}
	})
}

// RFC 3261 §17.2.1: a refusal that is not acknowledged is sent again at these times, over UDP.
func TestTimesOfARefusal(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP)
		defer c.close()
		l.Refuse(486, "Busy Here")
		c.await(486)
		start := time.Now()
		var at []string
		for {
			data := c.read(40 * time.Second)
			if data == nil {
				break
			}
			if statusOf(data) == 486 {
				at = append(at, time.Since(start).Truncate(100*time.Millisecond).String())
			}
		}
		if got, want := strings.Join(at, " "), "500ms 1.5s 3.5s 7.5s 11.5s 15.5s 19.5s 23.5s 27.5s 31.5s"; got != want {
			t.Errorf("486 at %s, want %s", got, want)
		}
	})
}

// RFC 4320 §4.1, §4.2: no 408 to a request other than INVITE, no provisional answer to it at
// once, and what comes too late for our own is dropped.
func TestNonInvite(t *testing.T) {
	bubble(t, func(w *world) {
		bad := 0
		w.net.Drop(func(m siptest.Message) bool {
			if m.From.Addr() == pbxAddr && m.Status != 0 && m.Method != "INVITE" && (m.Status < 200 || m.Status == 408) {
				bad++
			}
			return false
		})
		c, l := w.established(answerSDP, "Allow: INVITE, ACK, BYE, UPDATE")
		defer c.close()
		for i, method := range []string{"INFO", "UPDATE", "OPTIONS", "NOTIFY", "PRACK"} {
			c.ask(method, fmt.Sprint("n", i), "")
			c.status(time.Second)
		}
		result := make(chan error, 1)
		go func() { result <- l.Present(w.ctx, zoe) }()
		update := c.demand("UPDATE")
		if err := <-result; err != sip.ErrOver { // Timer F
			t.Errorf("an UPDATE without answer: %v", err)
		}
		bye := c.demand("BYE")
		c.respond(update, "", 200, "OK", "") // too late
		c.respond(bye, "", 200, "OK", "")
		c.respond(bye, "", 200, "OK", "")
		if got := c.quiet(5*time.Second, bye, update); got != "" {
			t.Errorf("a late answer brought\n%s", got)
		}
		if bad != 0 {
			t.Errorf("%d answers that RFC 4320 forbids", bad)
		}
	})
}

// RFC 3581 §4, RFC 3261 §18.2.2: an answer goes to where the request came from when the phone asks for that.
func TestRport(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP)
		defer c.close()
		trying := c.await(100)
		if got := field(trying, "Via"); !strings.Contains(got, ";rport=5060") || !strings.Contains(got, ";received=10.0.0.99") {
			t.Errorf("Via is %q", got)
		}
		l.HangUp(sip.Cause{})
		c.await(480)
		w.registered("bob")
		out, _ := w.invite("bob")
		bob := within(t, time.Second, w.phones[0].Incoming(), "call")
		if got := bob.Header("Via"); !strings.Contains(got, ";rport;") {
			t.Errorf("our own Via is %q", got)
		}
		bob.Refuse(486)
		within(t, time.Second, out.Done(), "end")
	})
}

// RFC 3261 §13.3.1.1: while it rings, the caller is told again each minute.
func TestRingsOn(t *testing.T) {
	for _, header := range []string{"Supported: timer", "Require: 100rel"} {
		t.Run(header, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.dial(answerSDP, header)
				defer c.close()
				l.Attach(sound())
				l.Ring(false)
				start := time.Now()
				var at []string
				for time.Since(start) < 5*time.Minute {
					ringing := c.await(180)
					at = append(at, time.Since(start).Round(time.Second).String())
					c.learn(ringing)
					if field(ringing, "RSeq") != "" {
						c.ask("PRACK", "p"+fmt.Sprint(len(at)), "", rack(ringing))
						c.await(200)
					}
				}
				if got := fmt.Sprint(at); got != "[0s 1m0s 2m0s 3m0s 4m0s 5m0s]" {
					t.Errorf("180 at %s", got)
				}
				l.Refuse(480, "Temporarily Unavailable")
				c.await(480)
				if got := c.quiet(100 * time.Millisecond); strings.Contains(got, " 180 ") {
					t.Errorf("it rings on:\n%s", got)
				}
			})
		})
	}
}

// RFC 3261 §17.2.2: a BYE that comes again gets the answer it got, also when nothing is left of the call, and not for ever.
func TestRepeatedBye(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.established(answerSDP)
		defer c.close()
		c.cseq++
		bye := c.request("BYE", "b", "")
		c.send(bye)
		first := c.await(200)
		<-l.Done()
		for _, wait := range []time.Duration{time.Second, 10 * time.Second} {
			time.Sleep(wait)
			c.send(bye)
			if again := c.await(200); again != first {
				t.Errorf("answered before\n%s\nand now\n%s", first, again)
			}
		}
		time.Sleep(33 * time.Second)
		c.send(bye)
		c.await(481)
	})
}
