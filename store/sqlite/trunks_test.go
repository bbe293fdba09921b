package sqlite

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pbx/event"
	"pbx/store"
)

func newTrunk(name string) *store.Trunk {
	return &store.Trunk{
		Name: name, Enabled: true, Host: "SIP.carrier.example", Port: 5061, Transport: "tls", OutboundProxy: "proxy.carrier.example:5080",
		Register: true, Username: "4930123", Password: "trunk-secret", AuthUsername: "auth", FromDomain: "carrier.example",
		Expiry: 5 * time.Minute, Sources: []string{"198.51.100.0/24", "192.0.2.7", "192.0.2.7"}, Options: true,
		Identity: "pai", TrustIdentity: true, TrustVerstat: true, Diversion: "history-info", Format: "00", Prefixes: []string{"+49", "+4"},
		Priority: 7, Rates: []store.Rate{{Prefix: "+49", PerMinute: 100}, {Prefix: "+4", PerMinute: 200}},
		Codecs: []string{"PCMU", "PCMA"}, MaxCalls: 10, MaxIn: 9, MaxOut: 8, EmergencyReserve: 1, Messages: true,
	}
}

func newNumber(number, kind string, id store.ID) *store.Number {
	return &store.Number{Number: number, Label: "Front desk", Kind: "managed", Status: "active", Destination: store.Destination{Type: kind, ID: id}}
}

// withTrunk gives an account a trunk and a number that leads to Bob.
func (h *house) withTrunk(account, bob store.ID, number string) (*store.Trunk, *store.Number) {
	h.t.Helper()
	trunk, n := newTrunk("Carrier"), newNumber(number, "user", bob)
	h.update(account, func(tx *Tx) error {
		if err := tx.CreateTrunk(trunk); err != nil {
			return err
		}
		n.TrunkID = trunk.ID
		return tx.CreateNumber(n)
	})
	return trunk, n
}

func TestTrunksAndNumbers(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	ctx := t.Context()
	account, _, bob := h.office("one")
	seq := h.bus.Seq()
	trunk, n := h.withTrunk(account, bob, "+4930123456")
	equalSlices(t, "news", kinds(h.news(seq)), []string{"object.changed trunk", "object.changed number", "activity.added activity", "activity.added activity"})

	// Lists are kept in one way, the host in lower case; codecs keep their order.
	equal(t, "host", trunk.Host, "sip.carrier.example")
	equalSlices(t, "sources", trunk.Sources, []string{"192.0.2.7", "198.51.100.0/24"})
	equalSlices(t, "prefixes", trunk.Prefixes, []string{"+4", "+49"})
	equalSlices(t, "codecs", trunk.Codecs, []string{"PCMU", "PCMA"})
	got, err := h.Trunk(ctx, account, trunk.ID)
	must(t, err)
	if !reflect.DeepEqual(got, *trunk) {
		t.Errorf("trunk\n%+v, want\n%+v", got, *trunk)
	}
	equal(t, "trunks of all", len(h.Trunks()), 1)
	if s := h.Snapshot(account); s.Trunk(trunk.ID) != &s.Trunks[0] || s.NumberByE164("+4930123456") != &s.Numbers[0] || s.Number(n.ID) != &s.Numbers[0] {
		t.Error("look-ups of the snapshot")
	}

	// The password is in no activity and no news, not even whether it was a good one.
	trunk.Password, trunk.Name = "other-secret", "Carrier 2"
	h.update(account, func(tx *Tx) error { return tx.SaveTrunk(trunk, 1) })
	log, _, err := h.Activity(ctx, account, ActivityFilter{ResourcePrefix: "trunk/"}, Page{})
	must(t, err)
	equal(t, "entries", len(log), 2)
	if detail := string(log[0].Detail); strings.Contains(detail, "secret") || !strings.Contains(detail, "Carrier 2") || !strings.Contains(detail, redacted) {
		t.Errorf("detail %s", detail)
	}

	// Pages and search.
	items, next, err := h.TrunksOf(ctx, account, Page{Query: "CARRIER 2", Limit: 1})
	must(t, err)
	equal(t, "trunks found", len(items), 1)
	equal(t, "end of list", next, "")
	h.update(account, func(tx *Tx) error {
		return errors.Join(tx.CreateNumber(newNumber("+4930123457", "mailbox", bob)), tx.CreateNumber(&store.Number{
			Number: "+4930123458", Kind: "unmanaged", Status: "pending_verification",
			Destination: store.Destination{Type: "external", Number: "+15550100", ID: bob},
		}))
	})
	numbers, next, err := h.Numbers(ctx, account, store.NumberFilter{}, Page{Limit: 2})
	must(t, err)
	equal(t, "numbers of the first page", len(numbers), 2)
	equal(t, "destination keeps what it needs", h.Snapshot(account).NumberByE164("+4930123458").Destination, store.Destination{Type: "external", Number: "+15550100"})
	numbers, _, err = h.Numbers(ctx, account, store.NumberFilter{}, Page{Limit: 2, Cursor: next})
	must(t, err)
	equal(t, "numbers of the second page", len(numbers), 1)
	for q, want := range map[string]int{"0123 45-8": 1, "front": 2, "+49": 3, "zzz": 0} {
		numbers, _, err = h.Numbers(ctx, account, store.NumberFilter{}, Page{Query: q})
		must(t, err)
		equal(t, "numbers found for "+q, len(numbers), want)
	}
	numbers, _, err = h.Numbers(ctx, account, store.NumberFilter{Trunk: trunk.ID, User: bob}, Page{})
	must(t, err)
	equal(t, "numbers of the trunk", len(numbers), 1)

	// What was read back is what was written.
	must(t, h.Close())
	h = openHouse(t, dir)
	got, err = h.Trunk(ctx, account, trunk.ID)
	must(t, err)
	if !reflect.DeepEqual(got, *trunk) {
		t.Errorf("after a restart\n%+v, want\n%+v", got, *trunk)
	}
	var kept string
	must(t, h.read.QueryRow(`SELECT group_concat(hex(password_sealed)) FROM trunks`).Scan(&kept))
	if kept == "" || strings.Contains(kept, "6F746865722D736563726574") { // the octets of "other-secret"
		t.Error("the password is kept as it is")
	}

	// Without the trunk its number stays.
	seq = h.bus.Seq()
	h.update(account, func(tx *Tx) error { return tx.DeleteTrunk(trunk.ID, 2) })
	equalSlices(t, "news of deleting", kinds(h.news(seq)),
		[]string{"object.changed number", "object.changed trunk deleted", "activity.added activity", "activity.added activity"})
	left, err := h.Number(ctx, account, n.ID)
	must(t, err)
	equal(t, "trunk of the number", left.TrunkID, "")
	equal(t, "version of the number", left.Version, 2)
	equal(t, "trunks left", len(h.Trunks()), 0)
	if object := h.news(seq)[1].Data.(event.Object); object.ID != trunk.ID {
		t.Errorf("news %+v", object)
	}
}

func TestTrunkRefusals(t *testing.T) {
	h := openHouse(t, t.TempDir())
	account, adaID, bob := h.office("one")
	other, _, bob2 := h.office("two")
	trunk, n := h.withTrunk(account, bob, "+4930123456")
	trunk2, n2 := h.withTrunk(other, bob2, "+4940123456")
	h.update(account, func(tx *Tx) error {
		pending := newNumber("+4930999", "hangup", "")
		pending.Status = "pending_verification"
		return tx.CreateNumber(pending)
	})
	pending := h.Snapshot(account).NumberByE164("+4930999")
	user := func(change func(u *store.User)) func(tx *Tx) error {
		return func(tx *Tx) error {
			u, err := tx.User(adaID)
			change(&u)
			return errors.Join(err, tx.SaveUser(&u, 0))
		}
	}
	trunkWith := func(change func(c *store.Trunk)) func(tx *Tx) error {
		return func(tx *Tx) error {
			c, err := tx.Trunk(trunk.ID)
			change(&c)
			return errors.Join(err, tx.SaveTrunk(&c, 0))
		}
	}
	for what, c := range map[string]struct {
		fn    func(tx *Tx) error
		is    error
		field string
	}{
		"stale trunk":               {func(tx *Tx) error { c := *trunk; return tx.SaveTrunk(&c, 9) }, store.ErrStale, ""},
		"stale number":              {func(tx *Tx) error { c := *n; return tx.SaveNumber(&c, 9) }, store.ErrStale, ""},
		"delete stale trunk":        {func(tx *Tx) error { return tx.DeleteTrunk(trunk.ID, 9) }, store.ErrStale, ""},
		"delete stale number":       {func(tx *Tx) error { return tx.DeleteNumber(n.ID, 9) }, store.ErrStale, ""},
		"name twice":                {func(tx *Tx) error { return tx.CreateTrunk(newTrunk("carrier")) }, store.ErrConflict, "name"},
		"number twice":              {func(tx *Tx) error { return tx.CreateNumber(newNumber(n.Number, "hangup", "")) }, store.ErrConflict, "number"},
		"number of another account": {func(tx *Tx) error { return tx.CreateNumber(newNumber(n2.Number, "hangup", "")) }, store.ErrConflict, "number"},
		"trunk of another account": {func(tx *Tx) error {
			c := newNumber("+4930777", "hangup", "")
			c.TrunkID = trunk2.ID
			return tx.CreateNumber(c)
		}, nil, "trunk_id"},
		"user of another account":          {func(tx *Tx) error { return tx.CreateNumber(newNumber("+4930777", "user", bob2)) }, nil, "destination"},
		"show a number of another account": {user(func(u *store.User) { u.OutboundNumberID = n2.ID }), nil, "outbound_number_id"},
		"show a number not proven":         {user(func(u *store.User) { u.OutboundNumberID = pending.ID }), nil, "outbound_number_id"},
		"an emergency number":              {user(func(u *store.User) { u.Extension = "112" }), nil, "extension"},
		"country":                          {user(func(u *store.User) { u.OutboundCountries = []string{"Germany"} }), nil, "outbound_countries"},
		"account shows another's": {func(tx *Tx) error {
			a := tx.Account()
			a.DefaultOutboundNumberID = n2.ID
			return tx.SaveAccount(&a, 0)
		}, nil, "default_outbound_number_id"},
		"two prices":               {trunkWith(func(c *store.Trunk) { c.Rates = append(c.Rates, c.Rates[0]) }), nil, "rates"},
		"nothing but a reserve":    {trunkWith(func(c *store.Trunk) { c.MaxCalls, c.EmergencyReserve = 1, 1 }), nil, "emergency_reserve"},
		"delete the number's user": {func(tx *Tx) error { return tx.DeleteUser(bob, 0) }, store.ErrConflict, "destination"},
		"delete a number that is shown": {func(tx *Tx) error {
			return errors.Join(user(func(u *store.User) { u.OutboundNumberID = n.ID })(tx), tx.DeleteNumber(n.ID, 0))
		}, store.ErrConflict, "number"},
		"delete a number that all show": {func(tx *Tx) error {
			a := tx.Account()
			a.DefaultOutboundNumberID = n.ID
			return errors.Join(tx.SaveAccount(&a, 0), tx.DeleteNumber(n.ID, 0))
		}, store.ErrConflict, "number"},
	} {
		err := h.Update(t.Context(), ada, account, c.fn)
		var fields store.FieldErrors
		var conflict store.ConflictError
		switch {
		case err == nil:
			t.Errorf("%s was accepted", what)
		case c.is != nil && !errors.Is(err, c.is):
			t.Errorf("%s: %v, want %v", what, err, c.is)
		case c.is == nil && (!errors.As(err, &fields) || fields[0].Field != c.field):
			t.Errorf("%s: %v, want an error of %s", what, err, c.field)
		case errors.As(err, &conflict) && conflict.Field != c.field:
			t.Errorf("%s: conflict of %s, want %s", what, conflict.Field, c.field)
		}
	}
	if text, err := json.Marshal(h.Snapshot(account).Trunks); err != nil || strings.Contains(string(text), "secret") {
		t.Errorf("a trunk as JSON shows its password: %s %v", text, err)
	}
}
