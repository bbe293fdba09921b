package sip_test

import (
	"testing"
	"testing/synctest"

	"pbx/event"
)

// News that was missed is caught up with: a line whose password changed meanwhile is not reached any more.
func TestMissedNews(t *testing.T) {
	bubble(t, func(w *world) {
		w.registered("alice")
		w.registered("bob")
		changed := line("alice")
		changed.Password = "another"
		w.dir.set(changed)
		w.bus.Publish(make([]event.News, 3000)...) // more than the ring holds, at once
		synctest.Wait()
		if n := len(w.server.BindingsOfUser("usr_alice")); n != 0 {
			t.Errorf("%d bindings with old credentials, want 0", n)
		}
		if n := len(w.server.BindingsOfUser("usr_bob")); n != 1 {
			t.Errorf("%d bindings of a line that did not change, want 1", n)
		}
	})
}
