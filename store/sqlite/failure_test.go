package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pbx/store"
)

// fill makes the disk full: the database may not grow by a page.
func (h *house) fill() {
	h.t.Helper()
	_, err := h.write.Exec(`PRAGMA max_page_count = 1`) // at least the present size
	must(h.t, err)
}

func (h *house) empty() {
	h.t.Helper()
	_, err := h.write.Exec(`PRAGMA max_page_count = 1000000`)
	must(h.t, err)
}

func TestFullDisk(t *testing.T) {
	h := openHouse(t, t.TempDir())
	ctx := t.Context()
	account, _, bob := h.office("one")
	h.fill()
	var first error
	calls := 0
	for ; first == nil && calls < 1000; calls++ {
		first = h.StartCall(ctx, &store.CallRecord{ID: store.NewID(store.PrefixCall), AccountID: account, StartedAt: now(), HangupCause: fmt.Sprintf("%200d", calls)})
	}
	if !errors.Is(first, store.ErrFull) {
		t.Fatalf("after %d calls: %v", calls, first)
	}
	var wg sync.WaitGroup // together in one batch
	for range 20 {
		wg.Go(func() {
			err := h.StartCall(ctx, &store.CallRecord{ID: store.NewID(store.PrefixCall), AccountID: account, HangupCause: fmt.Sprintf("%200d", 1)})
			if !errors.Is(err, store.ErrFull) {
				t.Errorf("start call: %v", err)
			}
		})
	}
	wg.Wait()
	seq := h.bus.Seq()
	err := h.Update(ctx, ada, account, func(tx *Tx) error {
		for i := range 100 {
			if err := tx.CreateUser(newUser("U", fmt.Sprintf("u%d@example.com", i), "", store.Member)); err != nil {
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, store.ErrFull) {
		t.Errorf("update: %v", err)
	}
	// Reading goes on, and nothing that failed is seen.
	users, _, err := h.Users(ctx, account, Page{})
	must(t, err)
	equal(t, "users", len(users), 2)
	equal(t, "news", h.bus.Seq(), seq)
	_, _, err = h.Activity(ctx, account, ActivityFilter{}, Page{})
	must(t, err)
	var rows int
	must(t, h.read.QueryRow(`SELECT count(*) FROM call_records`).Scan(&rows))
	equal(t, "calls acknowledged", rows, calls-1)
	must(t, h.CheckIntegrity(ctx))

	h.empty() // space returns: no restart is needed
	h.leaveMessage(account, bob)
	must(t, h.StartCall(ctx, &store.CallRecord{ID: store.NewID(store.PrefixCall), AccountID: account}))
}

func TestSoundThatCannotBeSyncedIsNoMessage(t *testing.T) {
	h := openHouse(t, t.TempDir())
	account, _, bob := h.office("one")
	m := &store.Message{AccountID: account, Mailbox: bob}
	must(t, h.BeginMessage(t.Context(), m))
	if err := h.FinishMessage(t.Context(), m.ID, time.Second); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	open, err := h.Unfinished(t.Context())
	must(t, err)
	equal(t, "unfinished", len(open), 1)
}

// TestLockedDatabase lets another process hold the database: writers give up, readers do not notice.
func TestLockedDatabase(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	ctx := t.Context()
	account, _, bob := h.office("one")
	_, err := h.write.Exec(`PRAGMA busy_timeout = 50`) // SQLite waits in real time, even in a bubble
	must(t, err)
	thief, err := connect(filepath.Join(dir, databaseFile), 1, "")
	must(t, err)
	defer thief.Close()
	hold, err := thief.BeginTx(context.Background(), nil)
	must(t, err)

	if err := h.StartCall(ctx, &store.CallRecord{ID: "cal_1", AccountID: account}); !errors.Is(err, store.ErrBusy) {
		t.Errorf("start call: %v", err)
	}
	if err := h.Update(ctx, ada, account, func(tx *Tx) error { return tx.DeleteUser(bob, 0) }); !errors.Is(err, store.ErrBusy) {
		t.Errorf("update: %v", err)
	}
	equal(t, "users", len(h.Snapshot(account).Users), 2)
	_, _, err = h.CallRecords(ctx, account, CallFilter{}, Page{})
	must(t, err)
	must(t, hold.Rollback())
	must(t, h.StartCall(ctx, &store.CallRecord{ID: "cal_2", AccountID: account}))
}

// TestFullQueue holds the writer up: what does not fit is refused at once, and what was given up is not written later.
func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, t.TempDir())
		account, _, _ := h.office("one")
		h.turn <- struct{}{}
		var wg sync.WaitGroup
		var mu sync.Mutex
		errs := make(map[error]int)
		for i := range queueSize + batchSize + 100 {
			wg.Go(func() {
				err := h.StartCall(t.Context(), &store.CallRecord{ID: store.ID(fmt.Sprint("cal_", i)), AccountID: account})
				mu.Lock()
				defer mu.Unlock()
				for _, known := range []error{store.ErrBusy, context.Canceled} {
					if errors.Is(err, known) {
						errs[known]++
					}
				}
			})
		}
		synctest.Wait()
		mu.Lock()
		if errs[store.ErrBusy] < 100 {
			t.Errorf("%d were refused at once, want at least 100", errs[store.ErrBusy])
		}
		mu.Unlock()
		start := time.Now()
		wg.Wait()
		equal(t, "time until all gave up", time.Since(start), patience)
		equal(t, "refused or given up", errs[store.ErrBusy], queueSize+batchSize+100)
		h.yield()
		must(t, h.Flush(t.Context()))
		var rows int
		must(t, h.read.QueryRow(`SELECT count(*) FROM call_records`).Scan(&rows))
		if rows > batchSize {
			t.Errorf("%d calls were written although nobody waited for them any more", rows)
		}
	})
}

// TestOneBadRecordDoesNotSpoilTheBatch puts a wrong record between good ones.
func TestOneBadRecordDoesNotSpoilTheBatch(t *testing.T) {
	h := openHouse(t, t.TempDir())
	ctx := t.Context()
	account, _, bob := h.office("one")
	h.turn <- struct{}{} // all of them wait and share a batch
	results := make(chan error, 5)
	var queued sync.WaitGroup
	for i := range 5 {
		queued.Add(1)
		m := &store.Message{ID: store.ID(fmt.Sprint("msg_", i%4)), AccountID: account, Mailbox: bob} // 0 comes twice
		go func() {
			queued.Done()
			results <- h.BeginMessage(ctx, m)
		}()
	}
	queued.Wait()
	h.yield()
	failed := 0
	for range 5 {
		if err := <-results; err != nil {
			failed++
		}
	}
	equal(t, "failed", failed, 1)
	open, err := h.Unfinished(ctx)
	must(t, err)
	equal(t, "written", len(open), 4)
}

// TestBubble is what the call scenarios rely on: a database lives inside a bubble, with its time.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		h := openHouse(t, dir)
		ctx := t.Context()
		account, _, bob := h.office("one")
		begun := time.Now()
		time.Sleep(72 * time.Hour) // fake: the bubble is idle
		h.update(account, func(tx *Tx) error {
			u, err := tx.User(bob)
			u.Name = "Robert"
			return errors.Join(err, tx.SaveUser(&u, 0))
		})
		message := h.leaveMessage(account, bob)
		must(t, h.StartCall(ctx, &store.CallRecord{ID: "cal_1", AccountID: account, StartedAt: time.Now()}))
		must(t, h.Close())
		again := openHouse(t, dir)
		u, err := again.User(ctx, account, bob)
		must(t, err)
		equal(t, "fake time of the change", u.UpdatedAt, begun.Add(72*time.Hour).UTC())
		equal(t, "counts", again.MailboxCounts(account, bob), store.MailboxCounts{New: 1})
		_, err = again.Message(ctx, account, message)
		must(t, err)
	})
}
