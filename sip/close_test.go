package sip_test

import (
	"context"
	"testing"
	"time"

	"pbx/sip"
)

// Close waits for phones to answer, and for nothing else.
func TestCloseAfterTraffic(t *testing.T) {
	bubble(t, func(w *world) {
		alice, bob := w.registered("alice"), w.registered("bob", autoRing)
		line, l := w.up(alice)
		out, _ := w.invite("bob")
		ring := within(t, time.Second, bob.Incoming(), "call")
		if err := ring.Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, out.Answered(), "answer")
		if err := line.Hold(w.ctx); err != nil {
			t.Fatal(err)
		}
		l.HangUp(sip.Cause{})
		within(t, time.Second, line.Done(), "BYE")
		if err := ring.Bye(w.ctx); err != nil {
			t.Fatal(err)
		}
		busy, in := w.call(alice, "202")
		in.Refuse(486, "Busy Here")
		within(t, time.Second, busy.Done(), "end")
		start := time.Now()
		if err := w.server.Close(context.WithoutCancel(w.ctx)); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("closing took %v", d)
		}
	})
}

// A phone that vanished with a call up costs Close a few seconds, not the 32 of its timers.
func TestCloseWithVanishedPhones(t *testing.T) {
	bubble(t, func(w *world) {
		alice, bob := w.registered("alice"), w.registered("bob")
		w.up(alice)
		w.invite("bob")
		within(t, time.Second, bob.Incoming(), "call")
		alice.Vanish()
		bob.Vanish()
		start := time.Now()
		if err := w.server.Close(context.WithoutCancel(w.ctx)); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d < 4*time.Second || d > 6*time.Second {
			t.Errorf("closing took %v, want about 5s", d)
		}
	})
}
