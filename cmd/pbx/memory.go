package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A house at rest takes little memory, and a busy one spends little time on collecting what it left behind: the
// heap of so small a program would be full many times a second. So while much is allocated it may grow by some
// room beyond what is in use, and when that is over, what it grew by goes back to the machine.
const (
	memoryWatch = 200 * time.Millisecond
	busyBytes   = 1 << 20  // allocated between two looks
	busyRoom    = 64 << 20 // what may be left behind before it is collected
	quietLooks  = 3        // until the house counts as at rest
)

// collector decides how often memory is collected.
type collector struct {
	allocated uint64 // by the latest look
	quiet     int    // looks since the house was busy
	percent   int    // of SetGCPercent; 0: as it was
}

// look returns what is to be done: set the percentage, if it is not 0, and give memory back.
func (c *collector) look(allocated, live uint64) (percent int, release bool) {
	grown := allocated - c.allocated
	c.allocated = allocated
	switch {
	case grown >= busyBytes:
		c.quiet = 0
		want := max(100, int(100*busyRoom/max(live, 1<<20)))
		if d := want - c.percent; d*4 > c.percent || d*4 < -c.percent { // to set it stops the world
			c.percent = want
			return want, false
		}
	case c.percent != 0:
		if c.quiet++; c.quiet >= quietLooks {
			c.percent, c.quiet = 0, 0
			return 100, true
		}
	}
	return 0, false
}

// mindMemory lets the heap breathe until ctx ends. Who sets GOGC has decided that.
func mindMemory(ctx context.Context) {
	debug.FreeOSMemory() // what reading the contract and filling the snapshots left behind
	if os.Getenv("GOGC") != "" {
		return
	}
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	c := collector{allocated: samples[0].Value.Uint64()}
	tick := time.NewTicker(memoryWatch)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			debug.SetGCPercent(100)
			return
		}
		metrics.Read(samples)
		percent, release := c.look(samples[0].Value.Uint64(), samples[1].Value.Uint64())
		if percent != 0 {
			debug.SetGCPercent(percent)
		}
		if release {
			debug.FreeOSMemory()
		}
	}
}
