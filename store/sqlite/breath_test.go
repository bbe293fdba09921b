package sqlite

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pbx/store"
)

// TestBreathAfterASharedCommit has calls that come one by one written at once, and what comes after a commit of several gathered.
func TestBreathAfterASharedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, t.TempDir())
		account, _, _ := h.office("one")
		must(t, h.Flush(t.Context()))
		time.Sleep(breath)
		call := func(i int) error {
			return h.StartCall(t.Context(), &store.CallRecord{ID: store.ID(fmt.Sprint("cal_", i)), AccountID: account})
		}
		start := time.Now()
		must(t, call(1))
		must(t, call(2))
		equal(t, "wait of calls that come one by one", time.Since(start), 0)

		h.turn <- struct{}{}
		var wg sync.WaitGroup
		wg.Go(func() { must(t, call(3)) })
		synctest.Wait() // it has a commit to itself, which waits for the turn
		for i := range 3 {
			wg.Go(func() { must(t, call(4+i)) })
		}
		synctest.Wait()
		h.yield()
		wg.Wait()
		equal(t, "wait of calls that share a commit", time.Since(start), 0)
		must(t, call(7))
		equal(t, "wait after a shared commit", time.Since(start), breath)
		must(t, call(8))
		equal(t, "wait of the next", time.Since(start), breath)
	})
}
