package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pbx/store"
)

// stage makes a staged sound.
func (h *house) stage() string {
	h.t.Helper()
	f, err := h.StageSound()
	must(h.t, err)
	_, err = f.WriteString("RIFF")
	must(h.t, errors.Join(err, f.Close()))
	return f.Name()
}

func (h *house) clip(account store.ID, name string) store.AudioClip {
	h.t.Helper()
	c := store.AudioClip{Name: name, Duration: 1500 * time.Millisecond, Rate: 16000, Size: 4, Loudness: -20.5, Peaks: []byte{1, 2, 3}}
	h.update(account, func(tx *Tx) error { return tx.CreateClip(&c, h.stage()) })
	return c
}

func TestClips(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	ctx := t.Context()
	account, _, bob := h.office("one")
	two, _, _ := h.office("two")
	c := h.clip(account, "Raga")
	got, err := h.Clip(ctx, account, c.ID)
	must(t, err)
	equal(t, "clip", fmt.Sprint(got), fmt.Sprint(c))
	if !exists(h.ClipPath(c.ID)) {
		t.Error("the clip has no sound")
	}
	_, err = h.Clip(ctx, two, c.ID)
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("clip of another account: %v", err)
	}
	for what, fn := range map[string]func(tx *Tx) error{
		"save":   func(tx *Tx) error { other := c; return tx.SaveClip(&other, 0) },
		"delete": func(tx *Tx) error { return tx.DeleteClip(c.ID, 0) },
	} {
		if err := h.Update(ctx, ada, two, fn); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s of another account: %v", what, err)
		}
	}
	var fields store.FieldErrors
	err = h.Update(ctx, ada, two, func(tx *Tx) error { a := tx.Account(); a.HoldMusicClipID = c.ID; return tx.SaveAccount(&a, 0) })
	if !errors.As(err, &fields) {
		t.Errorf("hold music of another account: %v", err)
	}

	h.update(account, func(tx *Tx) error {
		a := tx.Account()
		u, err := tx.User(bob)
		must(t, err)
		n := newNumber("+4930123456", "user", bob)
		a.HoldMusicClipID, u.HoldMusicClipID, n.HoldMusicClipID = c.ID, c.ID, c.ID
		return errors.Join(tx.SaveAccount(&a, 0), tx.SaveUser(&u, 0), tx.CreateNumber(n))
	})
	err = h.Update(ctx, ada, account, func(tx *Tx) error { return tx.DeleteClip(c.ID, 0) })
	if !errors.Is(err, store.ErrConflict) || !strings.Contains(err.Error(), "the account, Bob, +4930123456") {
		t.Errorf("deleted while it plays: %v", err)
	}
	h.update(account, func(tx *Tx) error {
		a := tx.Account()
		u, err := tx.User(bob)
		must(t, err)
		n := tx.Numbers()[0]
		a.HoldMusicClipID, u.HoldMusicClipID, n.HoldMusicClipID = "", "", ""
		return errors.Join(tx.SaveAccount(&a, 0), tx.SaveUser(&u, 0), tx.SaveNumber(&n, 0), tx.DeleteClip(c.ID, 1))
	})
	if exists(h.ClipPath(c.ID)) {
		t.Error("the sound of a deleted clip is there")
	}

	// A change that fails leaves neither row nor file.
	var lost store.AudioClip
	boom := errors.New("boom")
	err = h.Update(ctx, ada, account, func(tx *Tx) error {
		lost = store.AudioClip{Name: "Lost"}
		return errors.Join(tx.CreateClip(&lost, h.stage()), boom)
	})
	if !errors.Is(err, boom) || exists(h.ClipPath(lost.ID)) {
		t.Errorf("%v; file: %v", err, exists(h.ClipPath(lost.ID)))
	}
	items, _, err := h.Clips(ctx, account, Page{})
	must(t, err)
	equal(t, "clips", len(items), 0)

	// What a crash leaves behind goes at the next start.
	kept := h.clip(account, "Kept")
	staged, orphan := h.stage(), h.ClipPath(store.NewID(store.PrefixClip))
	must(t, os.WriteFile(orphan, []byte("RIFF"), 0o600))
	foreign := filepath.Join(filepath.Dir(orphan), "notes.txt")
	must(t, os.WriteFile(foreign, nil, 0o600))
	must(t, h.Close())
	h = openHouse(t, dir)
	for path, want := range map[string]bool{staged: false, orphan: false, foreign: true, h.ClipPath(kept.ID): true} {
		equal(t, path, exists(path), want)
	}
}

// record keeps a recording of size octets that began at.
func (h *house) record(account, user store.ID, at time.Time, size int) store.Recording {
	h.t.Helper()
	r := store.Recording{
		AccountID: account, CallID: store.NewID(store.PrefixCall), StartedAt: at.UTC().Truncate(time.Microsecond), Users: []store.ID{user},
		Left: store.CallParty{Name: "Grace", Number: "+15550100"}, Right: store.CallParty{UserID: user, Name: "Bob"}, Rule: "always", Notice: "tone",
		Gaps: []store.Gap{{From: time.Second, To: 2 * time.Second}},
	}
	must(h.t, h.BeginRecording(h.t.Context(), &r))
	must(h.t, os.WriteFile(h.RecordingPath(r.ID), make([]byte, size), 0o600))
	r.Duration = 3 * time.Second
	must(h.t, h.FinishRecording(h.t.Context(), &r))
	return r
}

func TestRecordings(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	ctx := t.Context()
	account, adaID, bob := h.office("one")
	two, _, _ := h.office("two")

	open := store.Recording{AccountID: account, CallID: store.NewID(store.PrefixCall), StartedAt: now()}
	must(t, h.BeginRecording(ctx, &open))
	if err := h.FinishRecording(ctx, &open); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("finished without sound: %v", err)
	}
	unfinished, err := h.UnfinishedRecordings(ctx)
	must(t, err)
	equal(t, "unfinished", len(unfinished), 1)
	must(t, h.DropRecording(ctx, open.ID))

	seq := h.bus.Seq()
	r := h.record(account, bob, time.Now(), 100)
	equalSlices(t, "news", kinds(h.news(seq)), []string{"object.changed recording"})
	got, err := h.Recording(ctx, account, r.ID)
	must(t, err)
	equal(t, "recording", fmt.Sprint(got), fmt.Sprint(r))
	_, err = h.Recording(ctx, two, r.ID)
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("recording of another account: %v", err)
	}
	for _, c := range []struct {
		filter store.RecordingFilter
		query  string
		want   int
	}{
		{store.RecordingFilter{}, "", 1},
		{store.RecordingFilter{User: bob}, "GRACE", 1},
		{store.RecordingFilter{User: adaID}, "", 0},
		{store.RecordingFilter{Call: r.CallID}, "", 1},
		{store.RecordingFilter{Call: "cal_x"}, "", 0},
		{store.RecordingFilter{From: time.Now().Add(time.Hour)}, "", 0},
		{store.RecordingFilter{To: time.Now().Add(time.Hour)}, "", 1},
		{store.RecordingFilter{}, "nobody", 0},
	} {
		items, _, err := h.Recordings(ctx, account, c.filter, Page{Query: c.query})
		must(t, err)
		equal(t, fmt.Sprintf("%+v %s", c.filter, c.query), len(items), c.want)
	}
	// The record of the call knows it, as long as there is one.
	call := &store.CallRecord{ID: r.CallID, AccountID: account, StartedAt: now(), Outcome: store.OutcomeAnswered}
	must(t, h.StartCall(ctx, call))
	record, err := h.CallRecord(ctx, account, r.CallID)
	must(t, err)
	equal(t, "recording of the call", record.RecordingID, r.ID)
	if err := h.Update(ctx, ada, two, func(tx *Tx) error { return tx.DeleteRecording(r.ID, 0) }); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted by another account: %v", err)
	}
	h.update(account, func(tx *Tx) error { return tx.DeleteRecording(r.ID, r.Version) })
	record, err = h.CallRecord(ctx, account, r.CallID)
	must(t, err)
	equal(t, "recording of the call", record.RecordingID, store.ID(""))
	if exists(h.RecordingPath(r.ID)) {
		t.Error("the sound of a deleted recording is there")
	}
}

// TestOldRecordingsGo: by age, and by room the oldest first.
func TestOldRecordingsGo(t *testing.T) {
	h := openHouse(t, t.TempDir())
	ctx := t.Context()
	account, _, bob := h.office("one")
	other, _, zed := h.office("two")
	foreign := h.record(other, zed, time.Now().AddDate(-1, 0, 0), 600_000)
	policy := func(days, mb int) {
		h.update(account, func(tx *Tx) error {
			a := tx.Account()
			a.Recording.RetentionDays, a.Recording.QuotaMB = days, mb
			return tx.SaveAccount(&a, 0)
		})
	}
	var all []store.Recording
	for i := range 4 {
		all = append(all, h.record(account, bob, time.Now().AddDate(0, 0, -10*(4-i)), 600_000))
	}
	left := func() (ids []store.ID) {
		items, _, err := h.Recordings(ctx, account, store.RecordingFilter{}, Page{})
		must(t, err)
		for i := range items {
			ids = append(ids, items[len(items)-1-i].ID)
			equal(t, "file", exists(h.RecordingPath(items[i].ID)), true)
		}
		return ids
	}
	must(t, h.TrimRecordings(ctx, account))
	equal(t, "kept without limits", len(left()), 4)
	policy(35, 0)
	must(t, h.TrimRecordings(ctx, account))
	equalSlices(t, "younger than 35 days", left(), []store.ID{all[1].ID, all[2].ID, all[3].ID})
	policy(35, 1)
	newest := h.record(account, bob, time.Now(), 600_000) // makes room by itself
	equalSlices(t, "in a megabyte", left(), []store.ID{newest.ID})
	if exists(h.RecordingPath(all[3].ID)) {
		t.Error("the sound of a recording that went is there")
	}
	if !exists(h.RecordingPath(foreign.ID)) {
		t.Error("another account's recording went")
	}
	entries, _, err := h.Activity(ctx, account, store.ActivityFilter{Event: []string{"recording.delete"}}, Page{})
	must(t, err)
	equal(t, "entries", len(entries), 4)
	if free, err := h.RecordingFree(); err != nil || free <= 0 {
		t.Errorf("free: %d, %v", free, err)
	}
}
