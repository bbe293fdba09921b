package main

import "testing"

// TestCollectorBreathes has room while much is allocated, and gives it back afterwards.
func TestCollectorBreathes(t *testing.T) {
	const live = 8 << 20
	var c collector
	for i, step := range []struct {
		allocated, live uint64 // more than at the look before
		percent         int
		release         bool
	}{
		{allocated: busyBytes - 1, live: live},
		{allocated: busyBytes, live: live, percent: 800},
		{allocated: 100 << 20, live: live},
		{allocated: 100 << 20, live: live + live/8}, // not worth to stop the world
		{allocated: 100 << 20, live: 2 * live, percent: 400},
		{allocated: 100 << 20, live: 1 << 30, percent: 100},
		{allocated: 1000, live: live},
		{allocated: busyBytes, live: live, percent: 800},
		{allocated: 1000, live: live},
		{allocated: 1000, live: live},
		{allocated: 1000, live: live, percent: 100, release: true},
		{allocated: 1000, live: live},
	} {
		percent, release := c.look(c.allocated+step.allocated, step.live)
		if percent != step.percent || release != step.release {
			t.Errorf("look %d: percent %d, release %v; want %d, %v", i, percent, release, step.percent, step.release)
		}
	}
}
