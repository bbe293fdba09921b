package sip_test

import (
	"testing"
	"time"

	"pbx/sip"
)

// wantLadder compares the conversation so far with what it should be.
func (w *world) wantLadder(want string) {
	w.t.Helper()
	if got := "\n" + w.net.Ladder(names); got != want {
		w.t.Errorf("ladder is%swant%s", got, want)
	}
}

func TestBasicCall(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		bob := w.registered("bob", autoRing)
		time.Sleep(2 * time.Second) // lamps
		w.net.Restart()

		line, caller := w.call(alice, "201")
		if got := caller.Dialed(); got != "201" {
			t.Errorf("dialed %q, want 201", got)
		}
		if got := caller.Line().UserID; got != "usr_alice" {
			t.Errorf("caller is %s, want usr_alice", got)
		}
		if got := caller.Caller().Display; got != "alice" {
			t.Errorf("caller shows %q, want alice", got)
		}
		callee, _ := w.invite("bob")
		p := within(t, time.Second, callee.Progress(), "progress")
		if p.Code != 180 || p.Sound {
			t.Errorf("progress is %+v, want 180 without sound", p)
		}
		if err := caller.Ring(false); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, line.Ringing(), "ringing")
		ring := within(t, time.Second, bob.Incoming(), "call at bob")
		if got := ring.Remote(); got != (sip.Identity{Display: "The House", User: "100"}) {
			t.Errorf("bob sees %+v", got)
		}
		time.Sleep(5*time.Second - time.Since(w.net.Start()))
		if err := ring.Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, callee.Answered(), "answer of bob")
		if err := caller.Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, line.Answered(), "answer at alice")
		time.Sleep(15*time.Second - time.Since(w.net.Start()))
		if err := line.Bye(w.ctx); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, caller.Done(), "end of the caller's leg")
		if c := caller.Cause(); c.Code != 0 || !c.Remote {
			t.Errorf("cause is %+v, want BYE of the peer", c)
		}
		callee.HangUp(sip.Cause{})
		within(t, time.Second, ring.Done(), "end at bob")
		within(t, time.Second, callee.Done(), "end of the callee's leg")
		w.wantLadder(`
       0s  alice -> pbx    INVITE 201
      1ms  pbx   -> alice  401 Unauthorized
      2ms  alice -> pbx    ACK
      2ms  alice -> pbx    INVITE 201
      3ms  pbx   -> alice  100 Trying
      3ms  pbx   -> bob    INVITE
      4ms  bob   -> pbx    180 Ringing
      5ms  pbx   -> alice  180 Ringing
       5s  bob   -> pbx    200 OK
   5.001s  pbx   -> bob    ACK
   5.002s  pbx   -> alice  200 OK
   5.003s  alice -> pbx    ACK
      15s  alice -> pbx    BYE
  15.001s  pbx   -> alice  200 OK (BYE)
  15.002s  pbx   -> bob    BYE
  15.003s  bob   -> pbx    200 OK (BYE)
`)
	})
}
