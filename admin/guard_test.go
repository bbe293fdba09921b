package admin

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestGuardWaitsLonger(t *testing.T) {
	g, now := newGuard(), time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	try := func() time.Duration { return g.enter(now, limit{"k", 5}) }
	for i := range 5 {
		if wait := try(); wait != 0 {
			t.Fatalf("try %d waits %v", i, wait)
		}
	}
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute} {
		if wait := try(); wait != want {
			t.Errorf("waits %v, want %v", wait, want)
		}
		now = now.Add(want)
		if wait := try(); wait != 0 {
			t.Errorf("after it waits %v", wait)
		}
	}
	now = now.Add(forgetAfter + longestWait)
	for i := range 5 {
		if wait := try(); wait != 0 {
			t.Errorf("forgotten, but try %d waits %v", i, wait)
		}
	}
}

func TestGuardCountsTriesBeforehand(t *testing.T) {
	g, now := newGuard(), time.Now()
	var passed sync.Map
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if g.enter(now, limit{"k", 5}) == 0 {
				passed.Store(i, true)
			}
		})
	}
	all.Wait()
	n := 0
	passed.Range(func(any, any) bool { n++; return true })
	if n != 5 {
		t.Errorf("%d tries at once got through", n)
	}
}

func TestGuardIsBounded(t *testing.T) {
	g, now := newGuard(), time.Now()
	for i := range maxGuarded + 500 {
		g.enter(now, limit{fmt.Sprint(i), 5})
	}
	if len(g.keys) != maxGuarded || g.used.Len() != maxGuarded {
		t.Errorf("%d keys, %d places", len(g.keys), g.used.Len())
	}
}

func TestGuardLeave(t *testing.T) {
	g, now := newGuard(), time.Now()
	for range 3 {
		for range 4 {
			g.enter(now, limit{"k", 5})
		}
		g.leave("k")
	}
	if wait := g.enter(now, limit{"k", 5}); wait != 0 {
		t.Errorf("waits %v", wait)
	}
}

func TestNetwork(t *testing.T) {
	for ip, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "": "", "x": "x"} {
		if got := network(ip); got != want {
			t.Errorf("%q: %q", ip, got)
		}
	}
}
