package sqlite

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pbx/event"
	"pbx/store"
)

// TestEverythingAtOnce lets settings, calls, messages, logs and readers run
// together. Afterwards memory is what the disk says, and the news came in the order of the commits.
func TestEverythingAtOnce(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	ctx := t.Context()
	account, adaID, bob := h.office("one")
	const rounds = 20
	var wg sync.WaitGroup
	run := func(what string, fn func(i int) error) {
		wg.Go(func() {
			for i := range rounds {
				if err := fn(i); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	seq := h.bus.Seq()
	for _, id := range []store.ID{adaID, bob} {
		run("save user", func(i int) error {
			return h.Update(ctx, ada, account, func(tx *Tx) error {
				u, err := tx.User(id)
				u.Name = fmt.Sprint("Name ", i)
				return errors.Join(err, tx.SaveUser(&u, int64(i+1)))
			})
		})
		run("leave message", func(i int) error {
			m := &store.Message{AccountID: account, Mailbox: id}
			return errors.Join(h.BeginMessage(ctx, m), os.WriteFile(h.MessagePath(m.ID), nil, 0o600),
				h.FinishMessage(ctx, m.ID, time.Second), h.MarkRead(ctx, ada, account, m.ID, i%2 == 0))
		})
		run("call", func(i int) error {
			r := &store.CallRecord{ID: store.NewID(store.PrefixCall), AccountID: account, Caller: store.CallParty{UserID: id}}
			return errors.Join(h.StartCall(ctx, r), h.SaveCall(ctx, r))
		})
		run("log and list", func(i int) error {
			_, _, err := h.Activity(ctx, account, ActivityFilter{}, Page{})
			_, _, err2 := h.Messages(ctx, account, []store.ID{id}, Page{})
			h.MailboxCounts(account, id)
			h.Snapshot(account).LinesOf(id)
			return errors.Join(err, err2, h.Record(ctx, account, store.Activity{Event: "activity.list", Actor: ada}))
		})
	}
	wg.Wait()
	last := make(map[store.ID]int64)
	for _, n := range h.news(seq) {
		if o, ok := n.Data.(event.Object); ok && o.Type == "user" {
			if o.Version <= last[o.ID] {
				t.Errorf("news of version %d after %d", o.Version, last[o.ID])
			}
			last[o.ID] = o.Version
		}
	}
	equal(t, "last version told", last[bob], int64(rounds+1))
	equal(t, "counts", h.MailboxCounts(account, bob), store.MailboxCounts{New: rounds / 2, Old: rounds / 2})
	before := asJSON(t, h.Snapshot(account))
	must(t, h.CheckIntegrity(ctx))
	must(t, h.Close())
	again := openHouse(t, dir)
	equal(t, "counts after a restart", again.MailboxCounts(account, bob), store.MailboxCounts{New: rounds / 2, Old: rounds / 2})
	if asJSON(t, again.Snapshot(account)) != before {
		t.Error("memory was not what the disk says")
	}
}

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	h.office("one")
	must(t, Inspect(t.Context(), dir)) // while another process uses it
	must(t, h.Close())
	must(t, Inspect(t.Context(), dir))
	must(t, os.Remove(filepath.Join(dir, keyFile)))
	if err := Inspect(t.Context(), dir); !errors.Is(err, ErrKey) {
		t.Errorf("without a key: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, databaseFile), []byte("no database, but long enough for a header of one hundred octets, which SQLite reads first of all, so that it sees"), 0o600))
	if err := Inspect(t.Context(), dir); err == nil {
		t.Error("a letter passed as a database")
	}
	if err := Inspect(t.Context(), t.TempDir()); err == nil {
		t.Error("nothing passed as a database")
	}
}

var makeSample = flag.Bool("make-sample", false, "write testdata/schema1 anew: only before schema 1 is released")

// TestOldestSample opens a database that the first schema wrote, so that every migration is tried on real rows for ever.
func TestOldestSample(t *testing.T) {
	const sample = "testdata/schema1"
	if *makeSample {
		writeSample(t, sample)
	}
	dir := t.TempDir()
	for _, name := range []string{databaseFile, keyFile} {
		content, err := os.ReadFile(filepath.Join(sample, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	h := openHouse(t, dir)
	ctx := t.Context()
	must(t, h.CheckIntegrity(ctx))
	u, err := h.UserByLogin(ctx, "ada@sample.example.com")
	must(t, err)
	equal(t, "name", u.Name, "Ada Lovelace")
	if line := h.firstDevice(u.AccountID, u.ID).Lines[0]; len(line.Password) != 20 {
		t.Error("the SIP password is lost")
	}
	if _, ok := h.AccountByProvisioningToken("token-of-sample"); !ok {
		t.Error("the provisioning token is lost")
	}
	equal(t, "messages", h.MailboxCounts(u.AccountID, u.ID), store.MailboxCounts{New: 1})
	calls, _, err := h.CallRecords(ctx, u.AccountID, CallFilter{User: u.ID}, Page{})
	must(t, err)
	equal(t, "calls", len(calls), 1)
	equal(t, "segments", len(calls[0].Segments), 1)
	log, _, err := h.Activity(ctx, u.AccountID, ActivityFilter{Event: []string{"user.create"}}, Page{})
	must(t, err)
	equal(t, "activity", len(log), 2)
}

func writeSample(t *testing.T, sample string) {
	t.Helper()
	dir := t.TempDir()
	h := openHouse(t, dir)
	account, adaID, _ := h.office("sample")
	h.leaveMessage(account, adaID)
	must(t, h.SaveBindings(context.Background(), []store.Binding{bindingOf(h.firstDevice(account, adaID).Lines[0])}, nil))
	must(t, h.StartCall(context.Background(), &store.CallRecord{
		ID: store.NewID(store.PrefixCall), AccountID: account, StartedAt: now(), Outcome: store.OutcomeOngoing,
		Caller: store.CallParty{UserID: adaID}, Segments: []store.Segment{{Step: "ringing", StartedAt: now()}},
	}))
	must(t, h.Close())
	must(t, os.MkdirAll(sample, 0o700))
	for _, name := range []string{databaseFile, keyFile} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(sample, name), content, 0o600))
	}
}
