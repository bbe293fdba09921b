package sqlite

import (
	"errors"
	"testing"

	"pbx/store"
)

// TestAccountsNeverSeeEachOther asks for everything of one account in the name of the other.
func TestAccountsNeverSeeEachOther(t *testing.T) {
	h := openHouse(t, t.TempDir())
	ctx := t.Context()
	one, ada1, bob1 := h.office("one")
	two, ada2, _ := h.office("two")
	h.update(one, func(tx *Tx) error {
		d := newPhone("Desk", "001565aabbcc", bob1)
		return errors.Join(tx.CreateDevice(d),
			tx.CreateSession(&store.Session{UserID: ada1, TokenHash: store.HashToken("t"), ExpiresAt: now().Add(1e12)}),
			tx.CreateAPIKey(&store.APIKey{UserID: ada1, Name: "k", KeyHash: store.HashToken("k")}))
	})
	message := h.leaveMessage(one, bob1)
	call := &store.CallRecord{ID: store.NewID(store.PrefixCall), AccountID: one, StartedAt: now()}
	must(t, h.StartCall(ctx, call))
	device := h.firstDevice(one, bob1)
	must(t, h.SaveProvisionFetch(ctx, store.ProvisionFetch{AccountID: one, DeviceID: device.ID, File: "a.cfg"}))
	trunk, number := h.withTrunk(one, bob1, "+4930123456")
	sessions, err := h.Sessions(ctx, one, ada1)
	must(t, err)
	keys, err := h.APIKeys(ctx, one, ada1)
	must(t, err)
	equal(t, "sessions of one", len(sessions), 1)
	equal(t, "keys of one", len(keys), 1)

	notFound := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: got %v, want not found", what, err)
		}
	}
	_, err = h.User(ctx, two, bob1)
	notFound("user", err)
	_, err = h.Device(ctx, two, device.ID)
	notFound("device", err)
	_, err = h.Message(ctx, two, message)
	notFound("message", err)
	_, err = h.CallRecord(ctx, two, call.ID)
	notFound("call", err)
	_, err = h.Trunk(ctx, two, trunk.ID)
	notFound("trunk", err)
	_, err = h.Number(ctx, two, number.ID)
	notFound("number", err)
	notFound("mark read", h.MarkRead(ctx, ada, two, message, true))
	notFound("remove message", h.RemoveMessage(ctx, ada, two, message))
	stolen := *call
	stolen.AccountID = two
	notFound("save call", h.SaveCall(ctx, &stolen))
	notFound("begin message", h.BeginMessage(ctx, &store.Message{AccountID: two, Mailbox: bob1}))
	for what, fn := range map[string]func(tx *Tx) error{
		"delete user":    func(tx *Tx) error { return tx.DeleteUser(bob1, 0) },
		"delete device":  func(tx *Tx) error { return tx.DeleteDevice(device.ID, 0) },
		"save device":    func(tx *Tx) error { return tx.SaveDevice(&device, 0) },
		"rotate line":    func(tx *Tx) error { _, err := tx.RotateLine(device.ID, device.Lines[0].ID); return err },
		"delete session": func(tx *Tx) error { return tx.DeleteSession(sessions[0].ID) },
		"delete key":     func(tx *Tx) error { return tx.DeleteAPIKey(keys[0].ID) },
		"create session": func(tx *Tx) error { return tx.CreateSession(&store.Session{UserID: bob1, TokenHash: []byte("x")}) },
		"create key":     func(tx *Tx) error { return tx.CreateAPIKey(&store.APIKey{UserID: bob1, KeyHash: []byte("x")}) },
		"save trunk":     func(tx *Tx) error { c := *trunk; return tx.SaveTrunk(&c, 0) },
		"delete trunk":   func(tx *Tx) error { return tx.DeleteTrunk(trunk.ID, 0) },
		"save number":    func(tx *Tx) error { c := *number; return tx.SaveNumber(&c, 0) },
		"delete number":  func(tx *Tx) error { return tx.DeleteNumber(number.ID, 0) },
		"save account": func(tx *Tx) error {
			a, err := h.Account(ctx, one)
			return errors.Join(err, tx.SaveAccount(&a, 0))
		},
	} {
		notFound(what, h.Update(ctx, ada, two, fn))
	}
	h.update(two, func(tx *Tx) error { return tx.DeleteSessionsOf(ada1, "") })
	must(t, h.TouchSession(ctx, two, sessions[0].ID, now(), now()))
	must(t, h.Flush(ctx))
	_, err = h.SessionByToken(ctx, "t")
	must(t, err)

	if _, ok := h.DeviceByMAC(two, "001565aabbcc"); ok {
		t.Error("device found by MAC address")
	}
	if _, ok := h.DeviceByMAC(one, "00:15:65:AA:BB:CC"); !ok {
		t.Error("device not found in its own account")
	}
	equal(t, "counts", h.MailboxCounts(two, bob1), store.MailboxCounts{})
	users, _, err := h.Users(ctx, two, Page{})
	must(t, err)
	equal(t, "users", len(users), 2)
	devices, _, err := h.Devices(ctx, two, DeviceFilter{User: bob1}, Page{})
	must(t, err)
	equal(t, "devices", len(devices), 0)
	trunks, _, err := h.TrunksOf(ctx, two, Page{})
	must(t, err)
	equal(t, "trunks", len(trunks), 0)
	numbers, _, err := h.Numbers(ctx, two, store.NumberFilter{Trunk: trunk.ID}, Page{})
	must(t, err)
	equal(t, "numbers", len(numbers), 0)
	messages, _, err := h.Messages(ctx, two, []store.ID{bob1}, Page{})
	must(t, err)
	equal(t, "messages", len(messages), 0)
	messages, _, err = h.Messages(ctx, two, nil, Page{})
	must(t, err)
	equal(t, "all messages", len(messages), 0)
	calls, _, err := h.CallRecords(ctx, two, CallFilter{}, Page{})
	must(t, err)
	equal(t, "calls", len(calls), 0)
	fetches, _, err := h.ProvisionFetches(ctx, two, device.ID, Page{})
	must(t, err)
	equal(t, "fetches", len(fetches), 0)
	sessions, err = h.Sessions(ctx, two, ada1)
	must(t, err)
	equal(t, "sessions", len(sessions), 0)
	keys, err = h.APIKeys(ctx, two, ada1)
	must(t, err)
	equal(t, "keys", len(keys), 0)
	log, _, err := h.Activity(ctx, two, ActivityFilter{}, Page{Limit: 500})
	must(t, err)
	for _, a := range log {
		equal(t, "account of "+a.Event, a.AccountID, two)
	}
	for token, want := range map[string]store.ID{"token-of-one": one, "token-of-two": two, "token-of-": "", "": ""} {
		got, ok := h.AccountByProvisioningToken(token)
		equal(t, "account of token "+token, got, want)
		equal(t, "found token "+token, ok, want != "")
	}
	u, err := h.UserByLogin(ctx, " ADA@two.example.com")
	must(t, err)
	equal(t, "login", u.ID, ada2)
}
