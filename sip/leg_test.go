package sip_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pbx/event"
	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// settled waits until lamps were set after registrations, and starts the ladder anew.
func (w *world) settled() {
	time.Sleep(2 * time.Second)
	w.net.Restart()
}

func TestCallerCancels(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		w.settled()
		line, l := w.call(alice, "201")
		if err := l.Ring(false); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, line.Ringing(), "ringing")
		if err := line.Cancel(); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, line.Done(), "end at alice")
		if line.Code() != 487 {
			t.Errorf("alice got %d, want 487", line.Code())
		}
		within(t, time.Second, l.Done(), "end of the leg")
		if c := l.Cause(); c.Code != 487 || !c.Remote {
			t.Errorf("cause %+v", c)
		}
		if err := l.Answer(w.ctx); !errors.Is(err, sip.ErrOver) {
			t.Errorf("answer afterwards: %v, want ErrOver", err)
		}
		time.Sleep(10 * time.Second)
		w.wantLadder(`
       0s  alice -> pbx    INVITE 201
      1ms  pbx   -> alice  401 Unauthorized
      2ms  alice -> pbx    ACK
      2ms  alice -> pbx    INVITE 201
      3ms  pbx   -> alice  100 Trying
      3ms  pbx   -> alice  180 Ringing
      4ms  alice -> pbx    CANCEL
      5ms  pbx   -> alice  200 OK (CANCEL)
      5ms  pbx   -> alice  487 Request Terminated
      6ms  alice -> pbx    ACK
`)
	})
}

func TestRefuse(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		line, l := w.call(alice, "404404")
		if err := l.Refuse(404, "Not Found"); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, line.Done(), "end at alice")
		if line.Code() != 404 {
			t.Errorf("alice got %d, want 404", line.Code())
		}
		if c := l.Cause(); c.Code != 404 || c.Remote {
			t.Errorf("cause %+v", c)
		}
	})
}

// An answer that is lost is repeated until the ACK comes: T1 doubling up to T2.
func TestLostAnswerIsRepeated(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		w.settled()
		lost := 0
		w.net.Drop(func(m siptest.Message) bool {
			if m.Status == 200 && m.Method == "INVITE" && lost < 5 {
				lost++
				return true
			}
			return false
		})
		line, l := w.call(alice, "201")
		start := time.Now()
		if err := l.Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		// 0.5 + 1 + 2 + 4 + 4 s and a round trip
		if got := time.Since(start).Round(10 * time.Millisecond); got != 11500*time.Millisecond {
			t.Errorf("acknowledged after %v, want 11.5s", got)
		}
		within(t, time.Second, line.Answered(), "answer")
		if err := line.Bye(w.ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// RFC 3261 §13.3.1.4: without ACK the call ends with BYE after 64·T1.
func TestNoACK(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		line, l := w.call(alice, "201")
		w.net.Drop(func(m siptest.Message) bool { return m.Method == "ACK" })
		start := time.Now()
		if err := l.Answer(w.ctx); err == nil {
			t.Error("answered without ACK")
		}
		if got := time.Since(start); got != 32*time.Second {
			t.Errorf("given up after %v, want 32s", got)
		}
		within(t, time.Second, line.Done(), "BYE at alice")
		within(t, time.Second, l.Done(), "end of the leg")
	})
}

// RFC 3261 §15: BYE must not be sent before the ACK.
func TestHangUpBeforeACK(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		line, l := w.call(alice, "201")
		w.settled()
		w.net.Delay(3*time.Second, func(m siptest.Message) bool { return m.Method == "ACK" })
		go l.Answer(w.ctx)
		time.Sleep(time.Second)
		l.HangUp(sip.Cause{})
		within(t, time.Second, l.Done(), "end of the leg")
		within(t, 10*time.Second, line.Done(), "BYE at alice")
		w.wantLadder(`
       0s  pbx   -> alice  200 OK
      1ms  alice -> pbx    ACK
    500ms  pbx   -> alice  200 OK
    501ms  alice -> pbx    ACK
     1.5s  pbx   -> alice  200 OK
   1.501s  alice -> pbx    ACK
   3.002s  pbx   -> alice  BYE
   3.003s  alice -> pbx    200 OK (BYE)
`)
	})
}

func TestHangUpWhileRinging(t *testing.T) {
	bubble(t, func(w *world) {
		w.registered("bob", autoRing)
		w.settled()
		l, _ := w.invite("bob")
		within(t, time.Second, l.Progress(), "ringing")
		bob := within(t, time.Second, w.phones[0].Incoming(), "call at bob")
		l.HangUp(sip.Cause{Elsewhere: true})
		within(t, time.Second, l.Done(), "end of the leg")
		within(t, time.Second, bob.Done(), "end at bob")
		if got := bob.Reason(); !strings.Contains(got, `SIP;cause=200;text="Call completed elsewhere"`) {
			t.Errorf("bob's CANCEL has Reason %q", got)
		}
		time.Sleep(10 * time.Second)
		w.wantLadder(`
       0s  pbx   -> bob    INVITE
      1ms  bob   -> pbx    180 Ringing
      2ms  pbx   -> bob    CANCEL
      3ms  bob   -> pbx    200 OK (CANCEL)
      3ms  bob   -> pbx    487 Request Terminated
      4ms  pbx   -> bob    ACK
`)
	})
}

// RFC 3261 §9.1: a CANCEL waits for the first answer.
func TestCancelWaitsForProvisional(t *testing.T) {
	bubble(t, func(w *world) {
		bob := w.registered("bob")
		w.settled()
		l, _ := w.invite("bob")
		ring := within(t, time.Second, bob.Incoming(), "call at bob")
		l.HangUp(sip.Cause{})
		within(t, time.Second, l.Done(), "end of the leg")
		time.Sleep(100 * time.Millisecond)
		if strings.Contains(w.net.Ladder(names), "CANCEL") {
			t.Error("CANCEL before any answer")
		}
		ring.Ring(false)
		within(t, time.Second, ring.Done(), "CANCEL at bob")
	})
}

// A 200 that crosses the CANCEL is acknowledged and ended by BYE.
func TestCancelCrosses200(t *testing.T) {
	bubble(t, func(w *world) {
		bob := w.registered("bob", autoRing)
		w.settled()
		l, _ := w.invite("bob")
		ring := within(t, time.Second, bob.Incoming(), "call at bob")
		within(t, time.Second, l.Progress(), "ringing")
		w.net.Delay(5*time.Millisecond, func(m siptest.Message) bool { return m.Method == "CANCEL" })
		l.HangUp(sip.Cause{})
		if err := ring.Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, l.Done(), "end of the leg")
		within(t, time.Second, ring.Done(), "BYE at bob")
		select {
		case <-l.Answered():
			t.Error("a leg that was hung up was answered")
		default:
		}
		if got := w.net.Ladder(names); strings.Count(got, "ACK") != 1 || strings.Count(got, "-> bob    BYE") != 1 {
			t.Errorf("want one ACK and one BYE in\n%s", got)
		}
	})
}

func TestBusyAndRedirect(t *testing.T) {
	for _, code := range []int{302, 401, 407, 486, 603} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			bubble(t, func(w *world) {
				bob := w.registered("bob")
				l, _ := w.invite("bob")
				ring := within(t, time.Second, bob.Incoming(), "call at bob")
				if err := ring.Refuse(code); err != nil {
					t.Fatal(err)
				}
				within(t, time.Second, l.Done(), "end of the leg")
				if c := l.Cause(); c.Code != code || !c.Remote {
					t.Errorf("cause %+v, want %d", c, code)
				}
			})
		})
	}
}

// A phone that is gone answers nothing for 32 s.
func TestVanishedPhone(t *testing.T) {
	bubble(t, func(w *world) {
		bob := w.registered("bob")
		bob.Vanish()
		start := time.Now()
		l, _ := w.invite("bob")
		within(t, time.Minute, l.Done(), "end of the leg")
		if c := l.Cause(); c.Code != 408 || c.Remote {
			t.Errorf("cause %+v, want 408", c)
		}
		if got := time.Since(start); got != 32*time.Second {
			t.Errorf("ended after %v, want 32s", got)
		}
	})
}

func TestLostBYE(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		line, l := w.up(alice)
		lost := 0
		w.net.Drop(func(m siptest.Message) bool {
			if m.Method == "BYE" && m.Status == 0 && lost < 2 {
				lost++
				return true
			}
			return false
		})
		l.HangUp(sip.Cause{})
		within(t, time.Second, l.Done(), "end of the leg")
		within(t, 5*time.Second, line.Done(), "BYE at alice")
	})
}

// The 200 of the phone is lost: the phone repeats it, and each gets the ACK.
func TestLostACK(t *testing.T) {
	bubble(t, func(w *world) {
		bob := w.registered("bob", autoRing)
		lost := 0
		w.net.Drop(func(m siptest.Message) bool {
			if m.Method == "ACK" && m.To.Addr() == bobAddr && lost < 3 {
				lost++
				return true
			}
			return false
		})
		l, _ := w.invite("bob")
		ring := within(t, time.Second, bob.Incoming(), "call at bob")
		if err := ring.Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, l.Answered(), "answer")
		if lost != 3 {
			t.Errorf("%d ACKs were lost, want 3", lost)
		}
		l.HangUp(sip.Cause{})
		within(t, time.Second, ring.Done(), "BYE at bob")
	})
}

func TestEarlySound(t *testing.T) {
	bubble(t, func(w *world) {
		bob := w.registered("bob")
		l, sound := w.invite("bob")
		ring := within(t, time.Second, bob.Incoming(), "call at bob")
		if err := ring.Ring(true); err != nil {
			t.Fatal(err)
		}
		if p := within(t, time.Second, l.Progress(), "progress"); p.Code != 183 || !p.Sound {
			t.Errorf("progress %+v, want 183 with sound", p)
		}
		if err := ring.Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, l.Answered(), "answer")
		if _, answers := sound.Heard(); answers != 1 {
			t.Errorf("%d answers were accepted, want the early one alone", answers)
		}

		alice := w.registered("alice")
		line, in := w.call(alice, "201")
		if err := in.Ring(true); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, line.Ringing(), "183 at alice")
		if err := in.Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, line.Answered(), "answer at alice")
	})
}

func TestNoCommonCodec(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		line, l := w.call(alice, "201")
		l.Attach(&siptest.Silence{Refuse: true})
		var r *sip.Refusal
		if err := l.Answer(w.ctx); !errors.As(err, &r) || r.Code != 488 {
			t.Errorf("answer: %v, want 488", err)
		}
		within(t, time.Second, line.Done(), "end at alice")
		if line.Code() != 488 {
			t.Errorf("alice got %d, want 488", line.Code())
		}

		bob := w.registered("bob")
		out, _ := w.server.Invite(w.ctx, sip.Outgoing{To: w.binding("bob"), Sound: &siptest.Silence{Refuse: true}})
		ring := within(t, time.Second, bob.Incoming(), "call at bob")
		go ring.Answer(w.ctx)
		within(t, time.Second, out.Done(), "end of the leg")
		if c := out.Cause(); c.Code != 488 {
			t.Errorf("cause %+v, want 488", c)
		}
		within(t, time.Second, ring.Done(), "BYE at bob")
	})
}

func TestHoldAndResume(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		line, l := w.call(alice, "201")
		s := sound()
		l.Attach(s)
		if err := l.Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, line.Answered(), "answer")
		if err := line.Hold(w.ctx); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(s.LastOffer(), "a=sendonly") {
			t.Errorf("offer of the hold is %q", s.LastOffer())
		}
		if err := line.Resume(w.ctx); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(s.LastOffer(), "a=sendrecv") {
			t.Errorf("offer of the resume is %q", s.LastOffer())
		}
		s.Refuse = true
		var r *sip.Refusal
		if err := line.Hold(w.ctx); !errors.As(err, &r) || r.Code != 488 {
			t.Errorf("hold with a bad offer: %v, want 488", err)
		}
		s.Refuse = false
		if err := line.Resume(w.ctx); err != nil { // RFC 6141: the session goes on
			t.Fatal(err)
		}
		if err := line.Bye(w.ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRenegotiate(t *testing.T) {
	for _, way := range []string{"incoming", "outgoing"} {
		t.Run(way, func(t *testing.T) {
			bubble(t, func(w *world) {
				alice := w.registered("alice")
				var l *sip.Leg
				var line *siptest.Line
				if way == "incoming" {
					line, l = w.up(alice)
				} else {
					l, _ = w.invite("alice")
					line = within(t, time.Second, alice.Incoming(), "call")
					if err := line.Answer(w.ctx); err != nil {
						t.Fatal(err)
					}
				}
				heard := line.Sound().(*siptest.Silence)
				before, _ := heard.Heard()
				if err := l.Renegotiate(w.ctx); err != nil {
					t.Fatal(err)
				}
				if after, _ := heard.Heard(); after != before+1 {
					t.Errorf("the phone heard %d offers, want %d", after, before+1)
				}
				heard.Refuse = true
				var r *sip.Refusal
				if err := l.Renegotiate(w.ctx); !errors.As(err, &r) || r.Code != 488 {
					t.Errorf("refused re-INVITE: %v, want 488", err)
				}
				heard.Refuse = false
				if err := l.Renegotiate(w.ctx); err != nil {
					t.Fatal(err)
				}
				l.HangUp(sip.Cause{})
				within(t, time.Second, line.Done(), "BYE at the phone")
			})
		})
	}
}

// RFC 3261 §14.1: when re-INVITEs cross, both are refused, and the sides try
// again after times that cannot meet.
func TestGlare(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		line, l := w.up(alice)
		w.settled()
		held := make(chan error, 1)
		go func() { held <- line.Hold(w.ctx) }()
		start := time.Now()
		if err := l.Renegotiate(w.ctx); err != nil {
			t.Fatal(err)
		}
		var r *sip.Refusal
		if err := <-held; !errors.As(err, &r) || r.Code != 491 {
			t.Errorf("hold: %v, want 491", err)
		}
		if d := time.Since(start); d > 2100*time.Millisecond { // alice owns the Call-ID
			t.Errorf("tried again after %v, want at most 2s", d)
		}
		if err := line.Hold(w.ctx); err != nil {
			t.Fatal(err)
		}
		if got := w.net.Ladder(names); strings.Count(got, "491 Request Pending") != 2 {
			t.Errorf("want two 491 in\n%s", got)
		}
	})
}

func TestDigitsByInfo(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		line, l := w.up(alice)
		for _, d := range "1*#9A" {
			if err := line.SendInfo(w.ctx, d); err != nil {
				t.Fatal(err)
			}
			if got := within(t, time.Second, l.Digits(), "digit"); got != d {
				t.Errorf("heard %c, want %c", got, d)
			}
		}
	})
}

func TestDrain(t *testing.T) {
	bubble(t, func(w *world) {
		alice, bob := w.registered("alice"), w.registered("bob")
		line, l := w.up(alice)
		w.server.Drain()
		second, err := bob.Call(w.ctx, "201")
		if err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, second.Done(), "refusal")
		if second.Code() != 503 {
			t.Errorf("new call got %d, want 503", second.Code())
		}
		if err := line.Hold(w.ctx); err != nil {
			t.Errorf("running call: %v", err)
		}
		if err := bob.Register(w.ctx, time.Hour); err != nil {
			t.Errorf("registration: %v", err)
		}
		l.HangUp(sip.Cause{})
		within(t, time.Second, line.Done(), "BYE")
	})
}

// Close hangs up what is left.
func TestCloseHangsUp(t *testing.T) {
	bubble(t, func(w *world) {
		alice, bob := w.registered("alice"), w.registered("bob")
		line, l := w.up(alice)
		out, _ := w.invite("bob")
		ring := within(t, time.Second, bob.Incoming(), "call at bob")
		ring.Ring(false)
		time.Sleep(time.Second)
		if err := w.server.Close(w.ctx); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, line.Done(), "BYE at alice")
		within(t, time.Second, ring.Done(), "CANCEL at bob")
		within(t, time.Second, l.Done(), "end")
		within(t, time.Second, out.Done(), "end")
		if _, err := w.server.Invite(w.ctx, sip.Outgoing{Sound: sound()}); err == nil {
			t.Error("a closed server still calls")
		}
	})
}

// Everything works over TCP, also when each octet comes alone.
func TestCallOverTCP(t *testing.T) {
	for _, segment := range []int{0, 1, 7} {
		t.Run(fmt.Sprint(segment), func(t *testing.T) {
			bubble(t, func(w *world) {
				w.net.Segment(segment)
				alice, bob := w.registered("alice", overTCP), w.registered("bob", overTCP)
				line, l := w.up(alice)
				out, _ := w.invite("bob")
				ring := within(t, time.Second, bob.Incoming(), "call at bob")
				if err := ring.Answer(w.ctx); err != nil {
					t.Fatal(err)
				}
				within(t, time.Second, out.Answered(), "answer")
				if err := line.Hold(w.ctx); err != nil {
					t.Fatal(err)
				}
				if err := out.Renegotiate(w.ctx); err != nil {
					t.Fatal(err)
				}
				l.HangUp(sip.Cause{})
				within(t, time.Second, line.Done(), "BYE at alice")
				if err := ring.Bye(w.ctx); err != nil {
					t.Fatal(err)
				}
				within(t, time.Second, out.Done(), "end")
			})
		})
	}
}

// A phone whose connection broke is reached over its new one.
func TestConnectionBreaksInACall(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice", overTCP)
		line, l := w.up(alice)
		if err := alice.Reconnect(w.ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := len(w.server.BindingsOfUser("usr_alice")); n != 0 {
			t.Errorf("%d bindings on a dead connection", n)
		}
		if err := alice.Register(w.ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		l.HangUp(sip.Cause{})
		within(t, time.Second, line.Done(), "BYE at alice")
	})
}

// broken is a house with a bug.
type broken struct{}

func (broken) Incoming(*sip.Leg) { panic("bug") }

func (broken) Asked(*sip.Leg, sip.Ask) {}

// A bug in the house costs one call: it is answered 500, and the next request is served.
func TestPanicInTheHouse(t *testing.T) {
	bubble(t, func(w *world) {
		w.server.Close(w.ctx)
		w.server = w.startWith(broken{})
		alice := w.registered("alice")
		line, err := alice.Call(w.ctx, "201")
		if err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, line.Done(), "end")
		if line.Code() != 500 {
			t.Errorf("alice got %d, want 500", line.Code())
		}
		if code, err := alice.Options(w.ctx); err != nil || code != 200 {
			t.Errorf("options afterwards: %d, %v", code, err)
		}
		if n := w.server.Stats().Legs; n != 0 {
			t.Errorf("%d legs are left", n)
		}
	})
}

// bomb is a sound side with a bug.
type bomb struct{ *siptest.Silence }

func (bomb) Answer([]byte) ([]byte, error) { panic("bug") }

func TestPanicInALeg(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		line, l := w.call(alice, "201")
		l.Attach(bomb{sound()})
		if err := l.Answer(w.ctx); err == nil {
			t.Error("answered with a bug")
		}
		within(t, time.Second, line.Done(), "end at alice")
		if line.Code() != 500 {
			t.Errorf("alice got %d, want 500", line.Code())
		}
		within(t, time.Second, l.Done(), "end of the leg")
	})
}

// A call between IPv6 addresses, along a Path, over both transports.
func TestCallOverIPv6(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := siptest.NewNet()
				at := addrPort(netip.MustParseAddr("2001:db8::1"), 5060)
				house := make(legs, 1)
				dir := &directory{lines: map[string]store.Line{"u-bob": line("bob")}}
				s, err := sip.New(sip.Config{UDP: []netip.AddrPort{at}, TCP: []netip.AddrPort{at}, Network: n.Host(at.Addr())}, dir, &bindings{rows: make(map[store.ID]store.Binding)}, &mailboxes{}, event.NewBus())
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Start(t.Context(), house); err != nil {
					t.Fatal(err)
				}
				defer s.Close(context.WithoutCancel(t.Context()))
				bobAt := netip.MustParseAddr("2001:db8::12")
				bob, err := siptest.NewPhone(t.Context(), siptest.PhoneConfig{Network: n.Host(bobAt), Local: addrPort(bobAt, 5060), Server: at, Transport: transport, Username: "u-bob", Password: "secret of bob"})
				if err != nil {
					t.Fatal(err)
				}
				defer bob.Close()
				if err := bob.Register(t.Context(), time.Hour); err != nil {
					t.Fatal(err)
				}
				b := s.BindingsOfUser("usr_bob")[0]
				b.Path = []string{"<sip:edge.example;lr>"}
				out, err := s.Invite(t.Context(), sip.Outgoing{To: b, From: sip.Identity{Display: `"Zoë"`, User: "100"}, Called: sip.Identity{User: "201"}, Sound: sound()})
				if err != nil {
					t.Fatal(err)
				}
				ring := within(t, time.Second, bob.Incoming(), "call")
				if got := ring.Header("Route"); got != "<sip:edge.example;lr>" {
					t.Errorf("Route is %q", got)
				}
				if got := ring.Header("Contact"); !strings.HasPrefix(got, "<sip:100@[2001:db8::1]:5060") {
					t.Errorf("Contact is %q", got)
				}
				if err := ring.Answer(t.Context()); err != nil {
					t.Fatal(err)
				}
				within(t, time.Second, out.Answered(), "answer")
				if err := ring.Bye(t.Context()); err != nil {
					t.Fatal(err)
				}
				within(t, time.Second, out.Done(), "end")
				call, err := bob.Call(t.Context(), "*97")
				if err != nil {
					t.Fatal(err)
				}
				in := within(t, time.Second, house, "incoming call")
				if in.Dialed() != "*97" || in.Peer() != bobAt || in.Local() != at.Addr() {
					t.Errorf("dialed %q from %v to %v", in.Dialed(), in.Peer(), in.Local())
				}
				in.Refuse(486, "Busy Here")
				within(t, time.Second, call.Done(), "end")
			})
		})
	}
}
