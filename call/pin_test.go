package call

import (
	"testing"
	"time"
)

func TestGuardBacksOff(t *testing.T) {
	var g guard
	now := time.Unix(0, 0)
	for i := range pinTries - 1 {
		if g.wrong("box", now) || g.locked("box", now) {
			t.Fatalf("locked after %d wrong PINs", i+1)
		}
	}
	want := pinLock
	for range 12 {
		if !g.wrong("box", now) {
			t.Fatal("not locked")
		}
		if g.locked("box", now.Add(want)) || !g.locked("box", now.Add(want-1)) {
			t.Fatalf("not locked for %s", want)
		}
		if g.locked("other", now) {
			t.Fatal("another mailbox is locked too")
		}
		now = now.Add(want)
		want = min(2*want, maxPINLock)
	}
	g.right("box")
	if g.locked("box", now) || g.wrong("box", now) {
		t.Fatal("the right PIN did not forgive")
	}
}
