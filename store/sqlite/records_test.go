package sqlite

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"pbx/event"
	"pbx/store"
)

// leaveMessage records a message of three seconds.
func (h *house) leaveMessage(account, box store.ID) store.ID {
	h.t.Helper()
	ctx := h.t.Context()
	m := &store.Message{AccountID: account, Mailbox: box, CallerName: "Grace Hopper", CallerNumber: "104"}
	must(h.t, h.BeginMessage(ctx, m))
	must(h.t, os.WriteFile(h.MessagePath(m.ID), []byte("RIFF"), 0o600))
	must(h.t, h.FinishMessage(ctx, m.ID, 3*time.Second))
	return m.ID
}

func TestMessages(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	ctx := t.Context()
	account, _, bob := h.office("one")
	seq := h.bus.Seq()

	m := &store.Message{AccountID: account, Mailbox: bob, CallerName: "Grace\xff" + strings.Repeat("x", 200)}
	must(t, h.BeginMessage(ctx, m))
	equal(t, "name", m.CallerName, "Grace\uFFFD"+strings.Repeat("x", 94))
	if err := h.FinishMessage(ctx, m.ID, time.Second); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("finished without sound: %v", err)
	}
	must(t, os.WriteFile(h.MessagePath(m.ID), []byte("RIFF"), 0o600))
	items, _, err := h.Messages(ctx, account, nil, Page{})
	must(t, err)
	equal(t, "messages while the caller speaks", len(items), 0)
	equal(t, "counts while the caller speaks", h.MailboxCounts(account, bob), store.MailboxCounts{})
	open, err := h.Unfinished(ctx)
	must(t, err)
	equal(t, "unfinished", len(open), 1)
	equal(t, "news while the caller speaks", h.bus.Seq(), seq)

	must(t, h.FinishMessage(ctx, m.ID, 1234*time.Millisecond))
	second := h.leaveMessage(account, bob)
	got, err := h.Message(ctx, account, m.ID)
	must(t, err)
	want := *m
	want.Version, want.Recording, want.Duration = 2, false, 1234*time.Millisecond
	equal(t, "message", got, want)
	news := h.news(seq)
	equalSlices(t, "news", kinds(news), []string{event.VoicemailReceived, event.VoicemailReceived})
	equal(t, "data", news[1].Data.(event.Voicemail), event.Voicemail{Mailbox: bob, MessageID: second, New: 2})
	equalSlices(t, "concerned", news[0].Users, []store.ID{bob})
	if err := h.FinishMessage(ctx, m.ID, time.Second); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("finished twice: %v", err)
	}
	if err := h.DropMessage(ctx, m.ID); !errors.Is(err, store.ErrNotFound) || !exists(h.MessagePath(m.ID)) {
		t.Errorf("dropped a finished message: %v", err)
	}

	seq = h.bus.Seq()
	must(t, h.MarkRead(ctx, ada, account, m.ID, true))
	must(t, h.MarkRead(ctx, ada, account, m.ID, true)) // changes nothing
	equal(t, "counts", h.MailboxCounts(account, bob), store.MailboxCounts{New: 1, Old: 1})
	news = h.news(seq)
	equalSlices(t, "news of reading", kinds(news), []string{"object.changed message", event.VoicemailChanged, "activity.added activity"})
	equal(t, "data", news[1].Data.(event.Voicemail), event.Voicemail{Mailbox: bob, MessageID: m.ID, New: 1, Old: 1})

	items, next, err := h.Messages(ctx, account, []store.ID{bob}, Page{Limit: 1, Query: "GRACE"})
	must(t, err)
	equal(t, "cursor", next, string(items[0].ID))
	items, next, err = h.Messages(ctx, account, []store.ID{bob}, Page{Limit: 1, Cursor: next})
	must(t, err)
	equal(t, "second page", len(items), 1)
	equal(t, "end", next, "")

	seq = h.bus.Seq()
	must(t, h.RemoveMessage(ctx, ada, account, m.ID))
	equalSlices(t, "news of deleting", kinds(h.news(seq)), []string{"object.changed message deleted", event.VoicemailChanged, "activity.added activity"})
	if exists(h.MessagePath(m.ID)) {
		t.Error("the sound is still there")
	}
	third := &store.Message{AccountID: account, Mailbox: bob}
	must(t, h.BeginMessage(ctx, third))
	must(t, os.WriteFile(h.MessagePath(third.ID), nil, 0o600))
	must(t, h.DropMessage(ctx, third.ID))
	if exists(h.MessagePath(third.ID)) {
		t.Error("the sound of the dropped message is still there")
	}

	left := h.MessagePath("msg_left")
	must(t, os.WriteFile(left, nil, 0o600))
	must(t, h.Close())
	again := openHouse(t, dir)
	equal(t, "counts after a restart", again.MailboxCounts(account, bob), store.MailboxCounts{New: 1})
	if exists(left) || !exists(again.MessagePath(second)) {
		t.Error("leftovers were not told from messages")
	}
}

// TestMessagesOfManyMailboxes is the administrator of a large account, who may open them all.
func TestMessagesOfManyMailboxes(t *testing.T) {
	h := openHouse(t, t.TempDir())
	account, ada, bob := h.office("Acme")
	left := h.leaveMessage(account, bob)
	h.leaveMessage(account, ada)
	boxes := []store.ID{bob}
	for range 40_000 {
		boxes = append(boxes, store.NewID(store.PrefixUser))
	}
	items, _, err := h.Messages(t.Context(), account, boxes, Page{})
	must(t, err)
	if len(items) != 1 || items[0].ID != left {
		t.Errorf("messages %v", items)
	}
	items, _, err = h.Messages(t.Context(), account, []store.ID{}, Page{})
	must(t, err)
	equal(t, "messages of no mailbox", len(items), 0)
}

func TestMailboxDeletedWhileTheCallerSpeaks(t *testing.T) {
	h := openHouse(t, t.TempDir())
	account, _, bob := h.office("one")
	m := &store.Message{AccountID: account, Mailbox: bob}
	must(t, h.BeginMessage(t.Context(), m))
	h.update(account, func(tx *Tx) error { return tx.DeleteUser(bob, 0) })
	must(t, os.WriteFile(h.MessagePath(m.ID), nil, 0o600))
	if err := h.FinishMessage(t.Context(), m.ID, time.Second); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if exists(h.MessagePath(m.ID)) {
		t.Error("the sound is still there")
	}
}

func TestCallRecords(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	ctx := t.Context()
	account, adaID, bob := h.office("one")
	start := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	r := &store.CallRecord{
		ID: store.NewID(store.PrefixCall), AccountID: account, StartedAt: start, Direction: "outbound", Outcome: store.OutcomeOngoing,
		Caller: store.CallParty{UserID: adaID, DeviceID: "dev_1", Name: "Ada Lovelace", Extension: "101"},
		Callee: store.CallParty{UserID: bob, Name: "Bob", Extension: "102"}, Dialed: "102",
		Route:    []store.Reason{{Rule: "user " + string(bob), Detail: "Extension 102 is Bob"}},
		Segments: []store.Segment{{Step: "ringing", Detail: "Bob (102): 1 phone", StartedAt: start}},
	}
	must(t, h.StartCall(ctx, r))
	must(t, h.StartCall(ctx, r)) // a second time is the same call
	r.AnsweredAt, r.EndedAt, r.Outcome, r.HangupBy, r.HangupCause = start.Add(time.Second), start.Add(time.Minute), store.OutcomeAnswered, "caller", "normal"
	r.Direction = "internal" // where it leads is known after its beginning
	r.Segments[0].EndedAt = r.AnsweredAt
	r.Segments = append(r.Segments, store.Segment{Step: "talking", StartedAt: r.AnsweredAt, EndedAt: r.EndedAt})
	r.Quality = &store.CallQuality{
		MOS: 4.1, LossPct: 0.5, JitterMS: 3,
		Legs: []store.LegQuality{{
			Side: "caller", Codec: "PCMU", StartedAt: start, StepS: 5, From: store.FlowQuality{MOS: 4.1, Packets: 3000}, Points: []store.QualityPoint{{410, 50, 30, 430, 0, 20, 12}},
		}},
		Faults: []store.AudioFault{{Side: "callee", Direction: "from", Class: "private", Address: "10.0.0.7:4000", BeganAt: start.Add(2 * time.Second)}},
	}
	must(t, h.SaveCall(ctx, r))
	got, err := h.CallRecord(ctx, account, r.ID)
	must(t, err)
	if !reflect.DeepEqual(got, *r) {
		t.Errorf("got  %+v\nwant %+v", got, *r)
	}

	for i := range 5 {
		other := &store.CallRecord{
			ID: store.NewID(store.PrefixCall), AccountID: account, StartedAt: start.Add(time.Duration(i+1) * time.Hour),
			Direction: "inbound", Outcome: store.OutcomeBusy, Caller: store.CallParty{Number: fmt.Sprintf("+3581%d", i)}, Callee: store.CallParty{UserID: adaID},
		}
		must(t, h.SaveCall(ctx, other)) // StartCall was lost: still one row
	}
	for _, c := range []struct {
		name string
		f    CallFilter
		q    string
		want int
	}{
		{"all", CallFilter{}, "", 6},
		{"of Bob", CallFilter{User: bob}, "", 1},
		{"of Ada", CallFilter{User: adaID}, "", 6},
		{"busy", CallFilter{Outcome: store.OutcomeBusy}, "", 5},
		{"internal", CallFilter{Direction: "internal"}, "", 1},
		{"from", CallFilter{From: start.Add(3 * time.Hour)}, "", 3},
		{"from and to", CallFilter{From: start, To: start.Add(3 * time.Hour)}, "", 3},
		{"name", CallFilter{}, "LOVELACE", 1},
		{"number", CallFilter{}, "+35814", 1},
		{"nothing", CallFilter{}, "nobody", 0},
	} {
		items, _, err := h.CallRecords(ctx, account, c.f, Page{Query: c.q})
		must(t, err)
		equal(t, c.name, len(items), c.want)
	}
	seen := map[store.ID]bool{}
	pages := 0
	for cursor := ""; ; pages++ {
		items, next, err := h.CallRecords(ctx, account, CallFilter{}, Page{Limit: 2, Cursor: cursor})
		must(t, err)
		for _, r := range items {
			seen[r.ID] = true
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	equal(t, "calls on all pages", len(seen), 6)
	equal(t, "pages after the first", pages, 2)
}

func TestInterruptedCalls(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	ctx := t.Context()
	account, _, _ := h.office("one")
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := &store.CallRecord{
		ID: store.NewID(store.PrefixCall), AccountID: account, StartedAt: start, Outcome: store.OutcomeOngoing,
		Segments: []store.Segment{{Step: "ringing", StartedAt: start, EndedAt: start.Add(5 * time.Second)}, {Step: "talking", StartedAt: start.Add(5 * time.Second)}},
	}
	must(t, h.StartCall(ctx, r))
	must(t, h.Close())
	again := openHouse(t, dir)
	n, err := again.CloseInterruptedCalls(ctx)
	must(t, err)
	equal(t, "interrupted calls", n, 1)
	got, err := again.CallRecord(ctx, account, r.ID)
	must(t, err)
	equal(t, "outcome", got.Outcome, store.OutcomeInterrupted)
	equal(t, "end", got.EndedAt, start.Add(5*time.Second))
	equal(t, "end of talking", got.Segments[1].EndedAt, start.Add(5*time.Second))
	n, err = again.CloseInterruptedCalls(ctx)
	must(t, err)
	equal(t, "interrupted calls the second time", n, 0)
}

func TestActivity(t *testing.T) {
	h := openHouse(t, t.TempDir())
	ctx := t.Context()
	account, adaID, _ := h.office("one")
	at := time.Date(2026, 3, 1, 12, 0, 10, 0, time.UTC)
	read := store.Activity{At: at, Event: "user.list", Resource: "users", Actor: ada}
	for i := range 5 {
		read.At = at.Add(time.Duration(i) * time.Second)
		must(t, h.Record(ctx, account, read))
	}
	read.At = at.Add(time.Minute)
	must(t, h.Record(ctx, account, read))
	denied := store.Activity{At: at.Add(time.Hour), Event: "user.delete", Resource: "user/usr_1", Outcome: store.Denied, Actor: store.Actor{Kind: "user", ID: "usr_eve", Name: "Eve", IP: "203.0.113.9"}}
	for range 3 {
		must(t, h.Record(ctx, account, denied)) // refusals are never merged
	}
	must(t, h.Flush(ctx))
	h.update(account, func(tx *Tx) error {
		tx.Note("backup.create", "backup", map[string]any{"path": "x"})
		return nil
	})
	list := func(f ActivityFilter) []store.Activity {
		t.Helper()
		items, _, err := h.Activity(ctx, account, f, Page{})
		must(t, err)
		return items
	}
	reads := list(ActivityFilter{Event: []string{"user.list"}})
	equal(t, "merged reads", len(reads), 2)
	equal(t, "count", reads[1].Count, 5)
	equal(t, "newest count", reads[0].Count, 1)
	for _, c := range []struct {
		name string
		f    ActivityFilter
		want int
	}{
		{"denied", ActivityFilter{Outcome: "denied"}, 3},
		{"two events", ActivityFilter{Event: []string{"user.list", "user.delete"}}, 5},
		{"prefix of an event", ActivityFilter{Event: []string{"backup"}}, 1},
		{"not in the middle of an event", ActivityFilter{Event: []string{"list"}}, 0},
		{"resource", ActivityFilter{ResourcePrefix: "user/usr_1"}, 3},
		{"actor in any case", ActivityFilter{ActorPrefix: "eVe"}, 3},
		{"actor by id", ActivityFilter{ActorPrefix: "usr_eve"}, 3},
		{"part of an address", ActivityFilter{IP: "203.0."}, 3},
		{"from", ActivityFilter{From: at.Add(time.Minute), To: at.Add(2 * time.Hour)}, 4},
		{"percent sign is no pattern", ActivityFilter{ResourcePrefix: "%"}, 0},
		{"created user", ActivityFilter{ResourcePrefix: "user/" + string(adaID)}, 1},
	} {
		equal(t, c.name, len(list(c.f)), c.want)
	}
	all := list(ActivityFilter{})
	var paged []store.ID
	for cursor := ""; ; {
		items, next, err := h.Activity(ctx, account, ActivityFilter{}, Page{Limit: 3, Cursor: cursor})
		must(t, err)
		for _, a := range items {
			paged = append(paged, a.ID)
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	var ids []store.ID
	for _, a := range all {
		ids = append(ids, a.ID)
	}
	equalSlices(t, "ids on all pages", paged, ids)
	equal(t, "newest", all[0].Event, "backup.create")
	if _, _, err := h.Activity(ctx, account, ActivityFilter{}, Page{Cursor: "x"}); err == nil {
		t.Error("a senseless cursor was accepted")
	}
	if err := h.Record(ctx, "acc_x", read); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("recorded for nobody: %v", err)
	}
}

func TestSessionsAndKeys(t *testing.T) {
	h := openHouse(t, t.TempDir())
	ctx := t.Context()
	account, adaID, bob := h.office("one")
	expires := now().Add(time.Hour)
	session := func(user store.ID, token string, expires time.Time) *store.Session {
		s := &store.Session{UserID: user, TokenHash: store.HashToken(token), IP: "192.0.2.1", UserAgent: "browser", ExpiresAt: expires}
		h.update(account, func(tx *Tx) error { return tx.CreateSession(s) })
		return s
	}
	first := session(adaID, "first", expires)
	session(adaID, "second", expires)
	session(bob, "bob", expires)
	session(bob, "old", now().Add(-time.Second))
	got, err := h.SessionByToken(ctx, "first")
	must(t, err)
	if !reflect.DeepEqual(got, *first) {
		t.Errorf("got %+v, want %+v", got, *first)
	}
	for _, token := range []string{"old", "", "third"} {
		if _, err := h.SessionByToken(ctx, token); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("session %q: %v", token, err)
		}
	}
	seen := now().Add(time.Minute)
	must(t, h.TouchSession(ctx, account, first.ID, seen, expires.Add(time.Hour)))
	must(t, h.Flush(ctx))
	got, err = h.SessionByToken(ctx, "first")
	must(t, err)
	equal(t, "seen", got.SeenAt, seen)
	equal(t, "expires", got.ExpiresAt, expires.Add(time.Hour))
	h.update(account, func(tx *Tx) error { return tx.DeleteSessionsOf(adaID, first.ID) })
	all, err := h.Sessions(ctx, account, adaID)
	must(t, err)
	equal(t, "sessions left", len(all), 1)
	_, err = h.SessionByToken(ctx, "bob")
	must(t, err)
	seq := h.bus.Seq()
	h.update(account, func(tx *Tx) error { return tx.DeleteSession(first.ID) })
	equalSlices(t, "news of signing out", kinds(h.news(seq)), []string{"object.changed session deleted", "activity.added activity"})
	for i := range maxSessions + 5 {
		session(bob, fmt.Sprint("many ", i), expires)
	}
	all, err = h.Sessions(ctx, account, bob)
	must(t, err)
	equal(t, "most sessions of a user", len(all), maxSessions)

	key := &store.APIKey{UserID: bob, Name: "script", Prefix: "pbx_ab", KeyHash: store.HashToken("pbx_abc")}
	h.update(account, func(tx *Tx) error { return tx.CreateAPIKey(key) })
	must(t, h.TouchAPIKey(ctx, account, key.ID, "192.0.2.7"))
	must(t, h.Flush(ctx))
	k, err := h.APIKeyByToken(ctx, "pbx_abc")
	must(t, err)
	equal(t, "key", k.ID, key.ID)
	equal(t, "used from", k.UsedIP, "192.0.2.7")
	h.update(account, func(tx *Tx) error { return tx.DeleteAPIKey(key.ID) })
	if _, err := h.APIKeyByToken(ctx, "pbx_abc"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("revoked key: %v", err)
	}
	if err := h.Update(ctx, ada, account, func(tx *Tx) error {
		return tx.CreateAPIKey(&store.APIKey{UserID: bob, KeyHash: []byte("x")})
	}); err == nil {
		t.Error("a key without a name was made")
	}
}

func bindingOf(l store.Line) store.Binding {
	return store.Binding{
		ID: store.NewID(store.PrefixBinding), AccountID: l.AccountID, LineID: l.ID, DeviceID: l.DeviceID, UserID: l.UserID,
		Contact: "sip:" + l.Username + "@192.0.2.7:5060;line=1", Source: "192.0.2.7:5060", Local: "192.0.2.1:5060", Transport: "udp",
		UserAgent: "Yealink", CallID: "abc", CSeq: 4294967295, Path: []string{"<sip:p1;lr>", "<sip:p2;lr>"}, Instance: "urn:uuid:1", RegID: 1, Q: 500, Features: ";audio;+sip.rendering=\"no\"",
		RegisteredAt: now(), ExpiresAt: now().Add(time.Hour),
	}
}

func TestBindings(t *testing.T) {
	h := openHouse(t, t.TempDir())
	ctx := t.Context()
	account, adaID, bob := h.office("one")
	device := h.firstDevice(account, bob)
	a, b := bindingOf(h.firstDevice(account, adaID).Lines[0]), bindingOf(device.Lines[0])
	expired, lost := bindingOf(device.Lines[0]), bindingOf(store.Line{ID: "lin_gone", AccountID: account})
	expired.ExpiresAt = now().Add(-time.Second)
	must(t, h.SaveBindings(ctx, []store.Binding{a, b, expired, lost}, nil))
	a.Source, a.CSeq = "192.0.2.8:5060", 1
	must(t, h.SaveBindings(ctx, []store.Binding{a}, nil))
	got, err := h.LoadBindings(ctx)
	must(t, err)
	want := []store.Binding{a, b}
	if a.ID > b.ID {
		want = []store.Binding{b, a}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	h.update(account, func(tx *Tx) error { return tx.DeleteDevice(device.ID, 0) })
	must(t, h.SaveBindings(ctx, []store.Binding{b}, []store.ID{a.ID, "bnd_unknown"}))
	got, err = h.LoadBindings(ctx)
	must(t, err)
	equal(t, "bindings of deleted lines", len(got), 0)
	must(t, h.Flush(ctx))
	var rows int
	must(t, h.read.QueryRow(`SELECT count(*) FROM bindings`).Scan(&rows))
	equal(t, "rows, expired ones included", rows, 0)
}

func TestProvisionFetches(t *testing.T) {
	h := openHouse(t, t.TempDir())
	ctx := t.Context()
	account, _, bob := h.office("one")
	device := h.firstDevice(account, bob)
	for i := range maxFetches + 10 {
		must(t, h.SaveProvisionFetch(ctx, store.ProvisionFetch{AccountID: account, DeviceID: device.ID, File: fmt.Sprintf("%03d.cfg", i), Source: "192.0.2.7", Status: 200, Bytes: 1 << 40}))
	}
	items, next, err := h.ProvisionFetches(ctx, account, device.ID, Page{Limit: 150})
	must(t, err)
	equal(t, "newest", items[0].File, "209.cfg")
	equal(t, "octets", items[0].Bytes, int64(1<<40))
	rest, end, err := h.ProvisionFetches(ctx, account, device.ID, Page{Limit: 150, Cursor: next})
	must(t, err)
	equal(t, "kept of a device", len(items)+len(rest), maxFetches)
	equal(t, "end", end, "")
	equal(t, "order", rest[0].File, "059.cfg")
}

func TestDevices(t *testing.T) {
	h := openHouse(t, t.TempDir())
	ctx := t.Context()
	account, adaID, bob := h.office("one")
	d := newPhone("Desk", "00:15:65:AA:BB:CC", bob, adaID)
	d.Vendor = "Yealink"
	d.Lines[1].Index = 1
	h.update(account, func(tx *Tx) error { return tx.CreateDevice(d) })
	equal(t, "MAC address", d.MAC, "001565aabbcc")
	equal(t, "vendor", d.Vendor, "yealink")
	equal(t, "user of line 1", d.Lines[0].UserID, adaID)
	equal(t, "index of the other", d.Lines[1].Index, 2)
	line, ok := h.Line(d.Lines[1].Username)
	if !ok || line != d.Lines[1] || len(line.Password) != 20 {
		t.Errorf("line found: %t, %+v", ok, line)
	}
	must(t, h.SaveBindings(ctx, []store.Binding{bindingOf(line)}, nil))

	old := d.Lines[1]
	seq := h.bus.Seq()
	h.update(account, func(tx *Tx) error {
		got, err := tx.RotateLine(d.ID, old.ID)
		if got.Password == old.Password || got.Username != old.Username {
			t.Error("rotation must change the password and nothing else")
		}
		return err
	})
	equalSlices(t, "news of a rotation", kinds(h.news(seq)), []string{"object.changed device", "activity.added activity"})
	bindings, err := h.LoadBindings(ctx)
	must(t, err)
	equal(t, "bindings after a rotation", len(bindings), 0)
	line, _ = h.Line(old.Username)
	if line.Password == old.Password {
		t.Error("the old password still works")
	}
	log, _, err := h.Activity(ctx, account, ActivityFilter{Event: []string{"device.rotate"}}, Page{})
	must(t, err)
	equal(t, "detail", string(log[0].Detail), `{"before":{"sip_passwords":"[redacted]"},"after":{"sip_passwords":"[redacted]"}}`)

	save, err := h.Device(ctx, account, d.ID)
	must(t, err)
	save.Lines[0].Password, save.Lines[0].Label = "forged", "New label" // credentials are not the caller's to choose
	save.Lines = save.Lines[:1]
	h.update(account, func(tx *Tx) error { return tx.SaveDevice(&save, save.Version) })
	got, err := h.Device(ctx, account, d.ID)
	must(t, err)
	equal(t, "lines", len(got.Lines), 1)
	equal(t, "label", got.Lines[0].Label, "New label")
	equal(t, "password", string(got.Lines[0].Password), string(d.Lines[0].Password))
	got.Lines[0].Label = "changed by a reader"
	equal(t, "snapshot", h.Snapshot(account).Device(d.ID).Lines[0].Label, "New label")

	for q, want := range map[string]int{"desk": 1, "00-15-65-AA": 1, "5aabb": 1, "t54w": 3, "nothing": 0, "": 3} {
		items, _, err := h.Devices(ctx, account, DeviceFilter{}, Page{Query: q})
		must(t, err)
		equal(t, "devices for "+q, len(items), want)
	}
	base := newPhone("Base", "")
	base.Kind = store.DECTBase
	set := newPhone("Handset", "")
	set.Kind, set.IPEI = store.DECTHandset, "0123456789"
	h.update(account, func(tx *Tx) error {
		if err := tx.CreateDevice(base); err != nil {
			return err
		}
		set.BaseID = base.ID
		return tx.CreateDevice(set)
	})
	err = h.Update(ctx, ada, account, func(tx *Tx) error { return tx.DeleteDevice(base.ID, 0) })
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("a base was deleted under its handset: %v", err)
	}
	sets, _, err := h.Devices(ctx, account, DeviceFilter{Base: base.ID, Kind: store.DECTHandset}, Page{})
	must(t, err)
	equal(t, "handsets", len(sets), 1)
	h.update(account, func(tx *Tx) error { return errors.Join(tx.DeleteDevice(set.ID, 1), tx.DeleteDevice(base.ID, 1)) })
}

func TestUsersListAndSearch(t *testing.T) {
	h := openHouse(t, t.TempDir())
	ctx := t.Context()
	account, _, _ := h.office("one")
	h.update(account, func(tx *Tx) error {
		for i := range 7 {
			u := newUser(fmt.Sprint("Émile ", i), "", fmt.Sprint(300+i), store.Member)
			u.Username = fmt.Sprint("emile.", i)
			must(t, tx.CreateUser(u))
		}
		return nil
	})
	for q, want := range map[string]int{"": 9, "ÉMILE": 7, "emile.3": 1, "305": 1, "ada@": 1, "lovelace": 1, "x": 2} {
		items, _, err := h.Users(ctx, account, Page{Query: q})
		must(t, err)
		equal(t, "users for "+q, len(items), want)
	}
	var all []store.ID
	for cursor := ""; ; {
		items, next, err := h.Users(ctx, account, Page{Limit: 4, Cursor: cursor})
		must(t, err)
		for _, u := range items {
			if len(all) > 0 && u.ID >= all[len(all)-1] {
				t.Error("not newest first")
			}
			all = append(all, u.ID)
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	equal(t, "users on all pages", len(all), 9)
	has, err := h.HasUsers(ctx)
	must(t, err)
	equal(t, "has users", has, true)
	equalSlices(t, "accounts", h.Accounts(), []store.ID{account})
	if _, err := h.UserByLogin(ctx, ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("nobody's login: %v", err)
	}
}
