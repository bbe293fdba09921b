package main

import (
	"context"
	"time"

	"pbx/store"
)

const (
	soon  = 10 * time.Second // between looks at the wake-up calls
	later = time.Hour        // between looks at what is kept too long
)

// doChores does what comes due by the clock, until ctx ends.
func (h *house) doChores(ctx context.Context) {
	tick := time.NewTicker(soon)
	defer tick.Stop()
	var tidied time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := h.calls.WakeUp(ctx, now); err != nil && ctx.Err() == nil {
				h.log.Error("wake-up calls not made", "err", err)
			}
			if now.Sub(tidied) < later {
				continue
			}
			tidied = now
			n, err := h.db.ExpireMessages(ctx, store.Actor{Kind: "system", Name: "retention"}, now)
			if err != nil && ctx.Err() == nil {
				h.log.Error("old messages not removed", "err", err)
			}
			if n > 0 {
				h.log.Info("old messages removed", "messages", n)
			}
		}
	}
}
