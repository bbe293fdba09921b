package sip_test

import (
	"bytes"
	"testing"
	"time"

	"pbx/event"
	"pbx/sip"
	"pbx/sip/siptest"
)

// P-REG-06: a phone that is gone is found out within 30 seconds and not rung any
// more; with its next word it is back. Phones that are there are measured.
func TestDeadPhone(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		bubble(t, func(w *world) {
			over := func(c *siptest.PhoneConfig) { c.Transport = transport }
			w.registered("alice", over)
			bob := w.registered("bob", over)
			time.Sleep(time.Minute)
			for _, user := range []string{"alice", "bob"} {
				if b := w.binding(user); b.RTT != 2*time.Millisecond || b.Unreachable {
					t.Errorf("%s over %s: round trip %v, unreachable %v", user, transport, b.RTT, b.Unreachable)
				}
			}
			news := w.bus.Reader()
			bob.Vanish()
			time.Sleep(30 * time.Second)
			if n := len(w.server.BindingsOfUser("usr_bob")); n != 0 {
				t.Errorf("over %s: after 30s %d bindings are rung", transport, n)
			}
			if all := w.server.BindingsOfDevice("dev_bob"); len(all) != 1 || !all[0].Unreachable {
				t.Errorf("over %s: the device is bound as %+v", transport, all)
			}
			if n := w.server.Stats().Unreachable; n != 1 {
				t.Errorf("over %s: %d phones do not answer", transport, n)
			}
			w.binding("alice")
			bob.Return()
			if transport == "udp" {
				if err := bob.Register(w.ctx, time.Hour); err != nil {
					t.Fatal(err)
				}
			} else {
				time.Sleep(30 * time.Second) // it answers the next question
			}
			if b := w.binding("bob"); b.Unreachable {
				t.Errorf("over %s: %+v is back", transport, b)
			}
			time.Sleep(time.Second)
			var told []bool
			for range 2 {
				n, err := news.Next(w.ctx)
				if err != nil {
					t.Fatal(err)
				}
				if r, ok := n.Data.(event.Registration); ok && r.LineID == "lin_bob" {
					told = append(told, r.Online)
				}
			}
			if len(told) != 2 || told[0] || !told[1] {
				t.Errorf("over %s: told online %v, want false and true", transport, told)
			}
		})
	}
}

// A phone that never answers questions is judged by calls alone, and what it says
// itself counts. An answer that somebody else makes up does not.
func TestMutePhone(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.callee()
		defer p.close()
		time.Sleep(5 * time.Minute)
		w.binding("bob")
		l, _ := w.invite("bob")
		time.Sleep(7 * time.Second)
		if n := len(w.server.BindingsOfUser("usr_bob")); n != 0 {
			t.Errorf("a phone that does not hear of a call is rung at %d bindings", n)
		}
		p.respond(p.demand("INVITE"), "x", 180, "Ringing", "")
		time.Sleep(time.Second)
		w.binding("bob")
		l.HangUp(sip.Cause{Code: 487})
		p.respond(p.demand("CANCEL"), "x", 200, "OK", "")
	})
}

// Questions come at most every 25 seconds for each phone, down the way that it
// registered by, however many lines it has; they are small.
func TestQuestions(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.callee()
		defer p.close()
		var at []time.Time
		for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
			data := p.readAny(time.Until(end))
			if data == nil {
				break
			}
			if !bytes.HasPrefix(data, []byte("OPTIONS sip:")) || len(data) > 500 {
				t.Fatalf("question of %d octets:\n%s", len(data), data)
			}
			at = append(at, time.Now())
			p.respond(string(data), "q", 405, "Method Not Allowed", "") // alive is alive
		}
		if len(at) < 12 || len(at) > 15 {
			t.Errorf("%d questions in five minutes", len(at))
		}
		for i := range at[1:] {
			if gap := at[i+1].Sub(at[i]); gap < probeLeast || gap > 25*time.Second {
				t.Errorf("question %d came %v after the one before", i+1, gap)
			}
		}
		w.binding("bob")
	})
}

const probeLeast = 20 * time.Second
