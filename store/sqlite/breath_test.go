package sqlite

import (
	"errors"
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

// TestStatesOfOneCallShareAWrite: of the states of a record that wait together, the latest is what is written.
func TestStatesOfOneCallShareAWrite(t *testing.T) {
	h := openHouse(t, t.TempDir())
	account, _, _ := h.office("one")
	other, _, _ := h.office("two")
	must(t, h.SaveCall(t.Context(), &store.CallRecord{ID: "cal_2", AccountID: other, Dialed: "theirs"}))
	var batch []*job
	add := func(account, id store.ID, dialed string) {
		j, err := h.callJob("save call", &store.CallRecord{ID: id, AccountID: account, Dialed: dialed})
		must(t, err)
		batch = append(batch, j)
	}
	add(account, "cal_1", "first")
	add(account, "cal_2", "stolen")
	add(account, "cal_1", "last")
	add(account, "cal_2", "stolen again")
	h.queue.commit(batch)
	for i, j := range batch {
		equal(t, "superseded", j.by != nil, i < 2)
	}
	for id, want := range map[store.ID]string{"cal_1": "last", "cal_2": ""} {
		r, err := h.CallRecord(t.Context(), account, id)
		equal(t, "dialed", r.Dialed, want)
		equal(t, "found", err == nil, want != "")
	}
	r, err := h.CallRecord(t.Context(), other, "cal_2")
	must(t, err)
	equal(t, "of the other account", r.Dialed, "theirs")
	equal(t, "refused, and what it superseded", errors.Is(batch[1].err, store.ErrNotFound) && errors.Is(batch[3].err, store.ErrNotFound), true)
}
