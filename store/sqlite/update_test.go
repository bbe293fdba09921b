package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pbx/event"
	"pbx/store"
)

func TestUpdateLeavesVersionActivityAndNews(t *testing.T) {
	h := openHouse(t, t.TempDir())
	account, _, bob := h.office("one")
	seq := h.bus.Seq()

	h.update(account, func(tx *Tx) error {
		u, err := tx.User(bob)
		if err != nil {
			return err
		}
		u.Name, u.PasswordHash, u.Voicemail.PINHash = "Robert", "hash one", "hash two"
		if err := tx.SaveUser(&u, 1); err != nil {
			return err
		}
		equal(t, "version in the hand of the caller", u.Version, int64(2))
		return nil
	})

	u, err := h.User(t.Context(), account, bob)
	must(t, err)
	equal(t, "name", u.Name, "Robert")
	equal(t, "version", u.Version, int64(2))
	equal(t, "name in the snapshot", h.Snapshot(account).UserByExtension("102").Name, "Robert")

	news := h.news(seq)
	equalSlices(t, "news", kinds(news), []string{"object.changed user", "activity.added activity"})
	equalSlices(t, "whom it concerns", news[0].Users, []store.ID{bob})
	equal(t, "object", news[0].Data.(event.Object), event.Object{Type: "user", ID: bob, Version: 2, Actor: "ada@example.com"})

	log, _, err := h.Activity(t.Context(), account, ActivityFilter{ResourcePrefix: "user/" + string(bob)}, Page{})
	must(t, err)
	if len(log) != 2 {
		t.Fatalf("%d entries, want create and update", len(log))
	}
	equal(t, "event", log[0].Event, "user.update")
	equal(t, "actor", log[0].Actor, ada)
	equal(t, "outcome", log[0].Outcome, store.Success)
	equal(t, "detail", string(log[0].Detail),
		`{"before":{"name":"Bob","password":"","voicemail.pin":""},"after":{"name":"Robert","password":"[redacted]","voicemail.pin":"[redacted]"}}`)
	if !json.Valid(log[1].Detail) {
		t.Errorf("detail is no JSON: %s", log[1].Detail)
	}
}

func TestUpdateShowsNothingBeforeTheCommit(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	account, _, bob := h.office("one")
	seq, before := h.bus.Seq(), h.Snapshot(account)

	refused := errors.New("no plan can be made of this")
	h.check = func(s *store.Snapshot) error {
		equal(t, "name in the new snapshot", s.User(bob).Name, "Robert")
		equal(t, "name that others see", h.Snapshot(account).User(bob).Name, "Bob")
		equal(t, "news", h.bus.Seq(), seq)
		return refused
	}
	rename := func(tx *Tx) error {
		u, err := tx.User(bob)
		if err != nil {
			return err
		}
		u.Name = "Robert"
		return tx.SaveUser(&u, 0)
	}
	if err := h.Update(t.Context(), ada, account, rename); !errors.Is(err, refused) {
		t.Fatalf("got %v, want the refusal of the check", err)
	}
	failed := errors.New("changed my mind")
	err := h.Update(t.Context(), ada, account, func(tx *Tx) error { return errors.Join(rename(tx), failed) })
	if !errors.Is(err, failed) {
		t.Fatalf("got %v, want the error of the function", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = h.Update(t.Context(), ada, account, func(tx *Tx) error {
			must(t, rename(tx))
			panic("a bug")
		})
	}()
	if h.Snapshot(account) != before || h.bus.Seq() != seq {
		t.Error("a refused change was seen")
	}
	log, _, err := h.Activity(t.Context(), account, ActivityFilter{Event: []string{"user.update"}}, Page{})
	must(t, err)
	equal(t, "entries of refused changes", len(log), 0)
	must(t, h.Close())
	again := openHouse(t, dir)
	equal(t, "name on disk", again.Snapshot(account).User(bob).Name, "Bob")
}

func TestUpdateRefusals(t *testing.T) {
	h := openHouse(t, t.TempDir())
	account, adaID, bob := h.office("one")
	other, _, _ := h.office("two")
	h.update(account, func(tx *Tx) error {
		u := newUser("Carol", "", "103", store.Member)
		u.Username = "carol"
		return errors.Join(tx.CreateUser(u), tx.CreateDevice(newPhone("Reception", "00:15:65:AA:BB:CC", u.ID)))
	})
	edit := func(id store.ID, change func(*store.User)) func(tx *Tx) error {
		return func(tx *Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			change(&u)
			return tx.SaveUser(&u, 0)
		}
	}
	create := func(name, email, username, extension string) func(tx *Tx) error {
		return func(tx *Tx) error {
			u := newUser(name, email, extension, store.Member)
			u.Username = username
			return tx.CreateUser(u)
		}
	}
	for _, c := range []struct {
		name    string
		account store.ID
		fn      func(tx *Tx) error
		is      error
		field   string
		text    string
	}{
		{"extension taken", account, create("Dan", "dan@example.com", "", "101"), store.ErrConflict, "extension", "Extension 101 is already used by Ada Lovelace."},
		{"email taken", account, create("Dan", "ADA@one.example.com", "", "104"), store.ErrConflict, "email", "A user with this email already exists."},
		{"email taken in another account", other, create("Dan", "ada@one.example.com", "", "104"), store.ErrConflict, "email", "A user with this email already exists."},
		{"username taken", account, create("Dan", "", "carol", "104"), store.ErrConflict, "username", "A user with this username already exists."},
		{"username taken in another account", other, create("Dan", "", "carol", "104"), store.ErrConflict, "username", "A user with this username already exists."},
		{"last admin demoted", account, edit(adaID, func(u *store.User) { u.Role = store.Member }), store.ErrConflict, "role", "The last admin of an account cannot be demoted."},
		{"last admin deleted", account, func(tx *Tx) error { return tx.DeleteUser(adaID, 0) }, store.ErrConflict, "role", "The last admin of an account cannot be deleted."},
		{"extension too long", account, edit(bob, func(u *store.User) { u.Extension = "1020" }), store.FieldErrors{}, "extension", "Extension must have exactly 3 digits."},
		{"stale save", account, func(tx *Tx) error { u, _ := tx.User(bob); return tx.SaveUser(&u, 7) }, store.ErrStale, "", ""},
		{"stale delete", account, func(tx *Tx) error { return tx.DeleteUser(bob, 7) }, store.ErrStale, "", ""},
		{"user of another account", other, edit(bob, func(*store.User) {}), store.ErrNotFound, "", ""},
		{"unknown account", "acc_x", func(*Tx) error { return nil }, store.ErrNotFound, "", ""},
		{"no account", "", create("Dan", "dan@example.com", "", "104"), store.ErrNotFound, "", ""},
		{"extension length", account, func(tx *Tx) error {
			a := tx.Account()
			a.ExtensionLength = 4
			return tx.SaveAccount(&a, 0)
		}, store.ErrConflict, "extension_length", "Extension length cannot be 4 while these extensions exist: 101 (Ada Lovelace), 102 (Bob), 103 (Carol)."},
		{"MAC taken", account, func(tx *Tx) error { return tx.CreateDevice(newPhone("Desk", "001565aabbcc")) }, store.ErrConflict, "mac", "MAC address 001565aabbcc is already used by Reception."},
		{"MAC taken in another account", other, func(tx *Tx) error { return tx.CreateDevice(newPhone("Desk", "00-15-65-aa-bb-cc")) }, store.ErrConflict, "mac", "MAC address 001565aabbcc is already in use."},
		{"line of a stranger", other, func(tx *Tx) error { return tx.CreateDevice(newPhone("Desk", "", bob)) }, store.FieldErrors{}, "user_ids", fmt.Sprintf("User %s does not exist.", bob)},
		{"two lines of one user", account, func(tx *Tx) error { return tx.CreateDevice(newPhone("Desk", "", bob, bob)) }, store.FieldErrors{}, "user_ids", "Each user has one line on a device."},
		{"line that does not exist", account, func(tx *Tx) error {
			d := newPhone("Desk", "", bob)
			d.Lines[0].ID = "lin_x"
			return tx.CreateDevice(d)
		}, store.FieldErrors{}, "lines", "Line lin_x does not exist on this device."},
		{"handset without base", account, func(tx *Tx) error {
			d := newPhone("Handset", "")
			d.Kind, d.BaseID = store.DECTHandset, "dev_x"
			return tx.CreateDevice(d)
		}, store.FieldErrors{}, "base_id", "This DECT base does not exist."},
	} {
		t.Run(c.name, func(t *testing.T) {
			seq := h.bus.Seq()
			err := h.Update(t.Context(), ada, c.account, c.fn)
			var fields store.FieldErrors
			var conflict store.ConflictError
			field, text := "", ""
			switch {
			case errors.As(err, &fields):
				field, text = fields[0].Field, fields[0].Problem
			case errors.As(err, &conflict):
				field, text = conflict.Field, conflict.Problem
			}
			if _, want := c.is.(store.FieldErrors); want != (fields != nil) || !want && !errors.Is(err, c.is) {
				t.Errorf("got %v, want %v", err, c.is)
			}
			equal(t, "field", field, c.field)
			equal(t, "text", text, c.text)
			equal(t, "news", h.bus.Seq(), seq)
		})
	}
}

func TestManyExtensionsAreCounted(t *testing.T) {
	h := openHouse(t, t.TempDir())
	account, _, _ := h.office("one")
	err := h.Update(t.Context(), ada, account, func(tx *Tx) error {
		for i := range 20 {
			must(t, tx.CreateUser(newUser("U", fmt.Sprintf("u%d@example.com", i), fmt.Sprint(200+i), store.Member)))
		}
		a := tx.Account()
		a.ExtensionLength = 5
		return tx.SaveAccount(&a, 0)
	})
	if err == nil || !strings.Contains(err.Error(), "207 (U) and 12 more.") {
		t.Errorf("got %v", err)
	}
}

func TestAdminMayGoWhenAnotherStays(t *testing.T) {
	h := openHouse(t, t.TempDir())
	account, adaID, bob := h.office("one")
	h.update(account, func(tx *Tx) error {
		u, err := tx.User(bob)
		u.Role = store.Admin
		return errors.Join(err, tx.SaveUser(&u, 0), tx.DeleteUser(adaID, 1))
	})
	equal(t, "users left", len(h.Snapshot(account).Users), 1)
}

func TestDeleteUserTakesAllButHistory(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	ctx := t.Context()
	account, adaID, bob := h.office("one")
	line := h.firstDevice(account, bob).Lines[0]
	message := h.leaveMessage(account, bob)
	must(t, h.SaveBindings(ctx, []store.Binding{bindingOf(line)}, nil))
	call := &store.CallRecord{ID: store.NewID(store.PrefixCall), AccountID: account, StartedAt: now(), Caller: store.CallParty{UserID: bob}, Outcome: store.OutcomeAnswered}
	must(t, h.StartCall(ctx, call))
	h.update(account, func(tx *Tx) error {
		return errors.Join(
			tx.CreateSession(&store.Session{UserID: bob, TokenHash: store.HashToken("t"), ExpiresAt: now().Add(time.Hour)}),
			tx.CreateAPIKey(&store.APIKey{UserID: bob, Name: "script", KeyHash: store.HashToken("k")}))
	})
	equal(t, "messages before", h.MailboxCounts(account, bob), store.MailboxCounts{New: 1})

	h.update(account, func(tx *Tx) error { return tx.DeleteUser(bob, 0) })

	if exists(h.MessagePath(message)) {
		t.Error("the sound of the message is still there")
	}
	if _, ok := h.Line(line.Username); ok {
		t.Error("the line is still there")
	}
	equal(t, "messages", h.MailboxCounts(account, bob), store.MailboxCounts{})
	if _, err := h.SessionByToken(ctx, "t"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("session: %v", err)
	}
	if _, err := h.APIKeyByToken(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("key: %v", err)
	}
	bindings, err := h.LoadBindings(ctx)
	must(t, err)
	equal(t, "bindings", len(bindings), 0)
	_, err = h.CallRecord(ctx, account, call.ID)
	must(t, err)
	devices, _, err := h.Devices(ctx, account, DeviceFilter{}, Page{Query: "bob"})
	must(t, err)
	equal(t, "version of the telephone left behind", devices[0].Version, int64(2))
	equal(t, "its lines", len(devices[0].Lines), 0)
	equal(t, "Ada's lines", len(h.Snapshot(account).LinesOf(adaID)), 1)
	log, _, err := h.Activity(ctx, account, ActivityFilter{ResourcePrefix: "user/" + string(bob)}, Page{})
	must(t, err)
	equal(t, "last event", log[0].Event, "user.delete")
	must(t, h.CheckIntegrity(ctx))
}

// TestMemoryIsTheDisk makes many changes and compares what is in memory with what is read back.
func TestMemoryIsTheDisk(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	account, _, bob := h.office("one")
	h.update(account, func(tx *Tx) error {
		a := tx.Account()
		a.PhoneAdminPassword, a.BillingAddress, a.RecordingEnabled = "s3cret", "Here", true
		a.OutboundCountries = []string{"US", "CA", "US"}
		base := newPhone("Base", "001565000001", bob)
		base.Kind = store.DECTBase
		must(t, errors.Join(tx.SaveAccount(&a, 0), tx.CreateDevice(base)))
		set := newPhone("Handset", "")
		set.Kind, set.BaseID, set.IPEI = store.DECTHandset, base.ID, "0123456789"
		must(t, tx.CreateDevice(set))
		for i := range 30 {
			u := newUser(fmt.Sprint("User ", i), fmt.Sprintf("u%d@example.com", i), fmt.Sprint(300+i), store.Member)
			d := newPhone(fmt.Sprint("Phone ", i), fmt.Sprintf("0015651%05d", i))
			must(t, tx.CreateUser(u))
			d.Lines = []store.Line{{UserID: bob, Index: 3, Label: "third"}, {UserID: u.ID}}
			must(t, tx.CreateDevice(d))
			switch i % 3 {
			case 0:
				must(t, tx.DeleteUser(u.ID, 0))
			case 1:
				_, err := tx.RotateLine(d.ID, d.Lines[0].ID)
				must(t, err)
			case 2:
				u.DoNotDisturb, u.RingTimeout, u.Voicemail = true, 7*time.Second, store.Voicemail{PINHash: "x"}
				d.Lines = d.Lines[1:]
				u.OutboundCountries = [][]string{nil, {}, {"*"}}[i/3%3]
				must(t, errors.Join(tx.SaveUser(u, 1), tx.SaveDevice(d, 1)))
				trunk := newTrunk(fmt.Sprint("Carrier ", i))
				must(t, tx.CreateTrunk(trunk))
				n := newNumber(fmt.Sprintf("+49301234%d", i), "user", u.ID)
				n.TrunkID = trunk.ID
				must(t, tx.CreateNumber(n))
				u.OutboundNumberID, a.DefaultOutboundNumberID = n.ID, n.ID
				trunk.Password = "changed"
				must(t, errors.Join(tx.SaveUser(u, 0), tx.SaveAccount(&a, 0), tx.SaveTrunk(trunk, 1)))
				if i%2 == 0 {
					must(t, tx.DeleteTrunk(trunk.ID, 0))
				}
			}
		}
		return nil
	})
	before := asJSON(t, h.Snapshot(account))
	must(t, h.Close())
	after := asJSON(t, openHouse(t, dir).Snapshot(account))
	if before != after {
		t.Errorf("memory:\n%s\ndisk:\n%s", before, after)
	}
}

// asJSON shows a snapshot with its secrets.
func asJSON(t *testing.T, s *store.Snapshot) string {
	t.Helper()
	type plain struct {
		S        *store.Snapshot
		Secrets  []string
		Accounts []string
	}
	p := plain{S: s, Accounts: []string{string(s.Account.ProvisioningToken), string(s.Account.PhoneAdminPassword)}}
	for _, d := range s.Devices {
		for _, l := range d.Lines {
			p.Secrets = append(p.Secrets, string(l.Password))
		}
	}
	for _, trunk := range s.Trunks {
		p.Secrets = append(p.Secrets, string(trunk.Password))
	}
	text, err := json.MarshalIndent(p, "", " ")
	must(t, err)
	return string(text)
}

func TestUpdateWaitsForItsTurnButNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHouse(t, t.TempDir())
		account, _, _ := h.office("one")
		h.turn <- struct{}{}
		nothing := func(*Tx) error { return nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Update(ctx, ada, account, nothing); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		start := time.Now()
		if err := h.Update(t.Context(), ada, account, nothing); !errors.Is(err, store.ErrBusy) {
			t.Errorf("got %v", err)
		}
		equal(t, "waited", time.Since(start), patience/2)
		h.yield()
		must(t, h.Update(t.Context(), ada, account, nothing))
	})
}
