package admin

import (
	"context"
	"strings"
	"testing"
	"time"

	"pbx/sip"
	"pbx/store"
	"pbx/store/sqlite"
)

// fakeTrunks is signalling that knows one thing of every trunk.
type fakeTrunks struct{ asked []store.Trunk }

func (f *fakeTrunks) TrunkStatus(id store.ID) (store.TrunkStatus, bool) {
	return store.TrunkStatus{
		TrunkID: id, Registered: true, Reachable: true, Reason: "registered", Since: time.Unix(1_700_000_000, 0), RTT: 12_300 * time.Microsecond,
		Target: "udp 192.0.2.7:5060", Calls: 2,
	}, true
}

func (f *fakeTrunks) TestTrunk(_ context.Context, t store.Trunk) sip.TrunkTest {
	f.asked = append(f.asked, t)
	return sip.TrunkTest{Targets: []string{"udp 192.0.2.7:5060"}, Reachable: true, Code: 200, Reason: "200 OK", RTT: 8 * time.Millisecond}
}

func TestTrunkLife(t *testing.T) {
	h := newHouse(t)
	trunks := &fakeTrunks{}
	h.server.Trunks = trunks
	list := "/accounts/default/trunks"
	a := h.admin.post(list, map[string]any{"name": " Carrier ", "host": "SIP.carrier.example"}).want(201)
	path := "/accounts/" + string(h.account) + "/trunks/" + a.text("id")
	if a.header.Get("Location") != basePath+path || a.text("name") != "Carrier" || a.text("host") != "sip.carrier.example" {
		t.Errorf("%s", a.body)
	}
	for field, want := range map[string]any{
		"enabled": true, "options": true, "register": false, "identity": "from", "diversion": "none", "format": "e164", "expiry_s": 600.0, "port": nil,
		"transport": nil, "auth.has_password": false, "status.registered": true, "status.rtt_ms": 12.3, "status.target": "udp 192.0.2.7:5060", "status.calls": 2.0,
	} {
		if got := a.json(field); got != want {
			t.Errorf("%s is %v, want %v", field, got, want)
		}
	}
	all := map[string]any{
		"enabled": true, "port": 5061, "transport": "tls", "outbound_proxy": "proxy.carrier.example", "register": true, "expiry_s": 300,
		"auth": map[string]any{"username": "4930123", "password": "s3cret-of-trunk", "auth_username": "auth"}, "from_domain": "carrier.example",
		"sources": []string{"192.0.2.0/24"}, "options": false, "identity": "pai", "trust_identity": true, "trust_verstat": true, "diversion": "history-info", "format": "national",
		"prefixes": []string{"+49"}, "priority": 3, "rates": []any{map[string]any{"prefix": "+49", "per_minute": 150}}, "codecs": []string{"PCMU", "PCMA"}, "srtp": "required",
		"max_calls": 10, "max_in": 8, "max_out": 6, "emergency_reserve": 1, "messages": true,
	}
	a = h.admin.patch(path, all).want(200)
	for field, want := range all {
		if field == "auth" {
			continue
		}
		got := a.json(field)
		switch want := want.(type) {
		case int:
			if got != float64(want) {
				t.Errorf("%s is %v", field, got)
			}
		case string, bool:
			if got != want {
				t.Errorf("%s is %v", field, got)
			}
		default:
			if len(got.([]any)) == 0 {
				t.Errorf("%s is empty", field)
			}
		}
	}
	if a.json("auth.has_password") != true || a.text("auth.username") != "4930123" || a.text("codecs.0") != "PCMU" || a.text("srtp") != "required" {
		t.Errorf("%s", a.body)
	}
	// The password is write-only; what is not sent stays, "" removes it, null takes other values away.
	a = h.admin.patch(path, map[string]any{"port": nil, "transport": nil, "auth": map[string]any{"auth_username": nil}}).want(200)
	if a.json("port") != nil || a.json("transport") != nil || a.json("auth.auth_username") != nil || a.json("auth.has_password") != true {
		t.Errorf("%s", a.body)
	}
	if kept, err := h.db.Trunk(t.Context(), h.account, store.ID(a.text("id"))); err != nil || kept.Password != "s3cret-of-trunk" {
		t.Errorf("the password is lost: %v", err)
	}
	for _, p := range []string{list, path, "/accounts/default/activity"} {
		if strings.Contains(string(h.admin.get(p).want(200).body), "s3cret") {
			t.Errorf("%s shows the password", p)
		}
	}
	if a = h.admin.patch(path, map[string]any{"auth": map[string]any{"password": ""}}).want(200); a.json("auth.has_password") != false {
		t.Errorf("%s", a.body)
	}
	if got := h.admin.get(list + "?q=CARRIER").want(200).json("items").([]any); len(got) != 1 {
		t.Errorf("found %d trunks", len(got))
	}

	// A test of the trunk: what the carrier says, and how a number would be written.
	h.admin.patch("/accounts/default", map[string]any{"country": "DE"}).want(200)
	a = h.admin.post(path+"/test", map[string]any{"number": "030 123456"}).want(200)
	if a.json("reachable") != true || a.json("code") != 200.0 || a.text("targets.0") != "udp 192.0.2.7:5060" || a.text("number.e164") != "+4930123456" ||
		a.text("number.written") != "030123456" || a.json("number.served") != true || a.json("number.caller") != nil || len(trunks.asked) != 1 {
		t.Errorf("%s", a.body)
	}
	if a = h.admin.post(path+"/test", map[string]any{"number": "nonsense"}).want(200); a.text("number.e164") != "" || a.json("number.served") != false {
		t.Errorf("%s", a.body)
	}
	h.server.Trunks = nil
	h.admin.post(path+"/test", map[string]any{}).want(503)
	if got := h.admin.get(path).want(200).text("status.reason"); got != "not known yet" {
		t.Errorf("status: %s", got)
	}
	if got := h.admin.patch(path, map[string]any{"enabled": false}).want(200).text("status.reason"); got != "switched off" {
		t.Errorf("status: %s", got)
	}

	h.admin.with("If-Match", `"1"`).patch(path, map[string]any{"name": "Late"}).want(412)
	h.admin.with("If-Match", `"1"`).remove(path).want(412)
	h.admin.remove(path).want(204)
	h.admin.get(path).want(404)
}

func TestTrunkRefusals(t *testing.T) {
	h := newHouse(t)
	list := "/accounts/default/trunks"
	h.admin.post(list, map[string]any{"name": "Taken", "host": "192.0.2.1"}).want(201)
	for name, test := range map[string]struct {
		body   map[string]any
		status int
		field  string
	}{
		"no host":            {map[string]any{"name": "A"}, 422, "host"},
		"a bad host":         {map[string]any{"name": "A", "host": "a b"}, 422, "host"},
		"a bad transport":    {map[string]any{"name": "A", "host": "h", "transport": "pigeon"}, 422, "transport"},
		"nobody registers":   {map[string]any{"name": "A", "host": "h", "register": true}, 422, "auth.username"},
		"no network":         {map[string]any{"name": "A", "host": "h", "sources": []string{"everybody"}}, 422, "sources"},
		"a bad prefix":       {map[string]any{"name": "A", "host": "h", "prefixes": []string{"49"}}, 422, "prefixes"},
		"too high a port":    {map[string]any{"name": "A", "host": "h", "port": 70000}, 422, "port"},
		"an unknown policy":  {map[string]any{"name": "A", "host": "h", "srtp": "yes"}, 422, "srtp"},
		"an unknown codec":   {map[string]any{"name": "A", "host": "h", "codecs": []string{"MP3"}}, 422, "codecs.0"},
		"all kept free":      {map[string]any{"name": "A", "host": "h", "max_calls": 1, "emergency_reserve": 1}, 422, "emergency_reserve"},
		"two prices":         {map[string]any{"name": "A", "host": "h", "rates": []any{map[string]any{"prefix": "+1", "per_minute": 1}, map[string]any{"prefix": "+1", "per_minute": 2}}}, 422, "rates"},
		"a name of another":  {map[string]any{"name": "taken", "host": "h"}, 409, ""},
		"an unknown field":   {map[string]any{"name": "A", "host": "h", "has_password": true}, 422, "has_password"},
		"a short expiry":     {map[string]any{"name": "A", "host": "h", "expiry_s": 5}, 422, "expiry_s"},
		"controls in secret": {map[string]any{"name": "A", "host": "h", "auth": map[string]any{"password": "a\nb"}}, 422, "auth.password"},
	} {
		a := h.admin.post(list, test.body).want(test.status)
		if test.field != "" && a.text("errors.0.field") != test.field {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

func TestNumberLife(t *testing.T) {
	h := newHouse(t)
	h.admin.patch("/accounts/default", map[string]any{"country": "DE"}).want(200)
	trunk := h.admin.post("/accounts/default/trunks", map[string]any{"name": "Carrier", "host": "192.0.2.1"}).want(201).text("id")
	list := "/accounts/default/numbers"
	bob := map[string]any{"type": "user", "id": h.bob.ID}
	a := h.admin.post(list, map[string]any{"number": "030 / 123 456", "label": "Front desk", "trunk_id": trunk, "destination": bob}).want(201)
	id := a.text("id")
	path := "/accounts/" + string(h.account) + "/numbers/" + id
	if a.header.Get("Location") != basePath+path || a.text("number") != "+4930123456" || a.text("kind") != "unmanaged" || a.text("status") != "active" ||
		a.text("trunk_name") != "Carrier" || a.text("destination.id") != string(h.bob.ID) || !strings.HasPrefix(a.text("destination_label"), h.bob.Name) {
		t.Errorf("%s", a.body)
	}
	for name, test := range map[string]struct {
		body   map[string]any
		status int
		field  string
	}{
		"twice":           {map[string]any{"number": "+49 30 123456", "destination": bob}, 409, ""},
		"no number":       {map[string]any{"number": "hello", "destination": bob}, 422, "number"},
		"no destination":  {map[string]any{"number": "+4930123457"}, 422, "destination"},
		"nobody":          {map[string]any{"number": "+4930123457", "destination": map[string]any{"type": "user", "id": "usr_unknown"}}, 422, "destination"},
		"a stranger":      {map[string]any{"number": "+4930123457", "destination": map[string]any{"type": "user", "id": h.zed.ID}}, 422, "destination"},
		"no such trunk":   {map[string]any{"number": "+4930123457", "trunk_id": "trk_unknown", "destination": bob}, 422, "trunk_id"},
		"nowhere outside": {map[string]any{"number": "+4930123457", "destination": map[string]any{"type": "external", "number": "nowhere"}}, 422, "destination"},
	} {
		a := h.admin.post(list, test.body).want(test.status)
		if test.field != "" && a.text("errors.0.field") != test.field {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	a = h.admin.patch(path, map[string]any{"destination": map[string]any{"type": "external", "id": nil, "number": "0171 2345678"}, "label": nil, "trunk_id": nil}).want(200)
	if a.text("destination.number") != "+491712345678" || a.json("destination.id") != nil || a.text("label") != "" || a.json("trunk_name") != nil || a.text("destination_label") != "+491712345678" {
		t.Errorf("%s", a.body)
	}
	a = h.admin.patch(path, map[string]any{"destination": map[string]any{"type": "mailbox", "id": h.bob.ID, "number": nil}, "trunk_id": trunk}).want(200)
	if !strings.HasPrefix(a.text("destination_label"), "Voicemail of ") {
		t.Errorf("%s", a.body)
	}
	if got := h.admin.get(list + "?trunk_id=" + trunk + "&user_id=" + string(h.bob.ID)).want(200).json("items").([]any); len(got) != 1 {
		t.Errorf("%d numbers", len(got))
	}
	h.admin.get(path).want(200)

	// Who shows it, and what that forbids.
	users := "/accounts/default/users/"
	if u := h.admin.patch(users+string(h.bob.ID), map[string]any{"outbound_number_id": id, "outbound_countries": []string{"fr"}}).want(200); u.text("outbound_number_id") != id || u.text("outbound_countries.0") != "FR" {
		t.Errorf("%s", u.body)
	}
	if u := h.admin.patch(users+string(h.bob.ID), map[string]any{"outbound_countries": []string{}}).want(200); len(u.json("outbound_countries").([]any)) != 0 {
		t.Errorf("%s", u.body)
	}
	if u := h.admin.patch(users+string(h.bob.ID), map[string]any{"outbound_countries": nil}).want(200); u.json("outbound_countries") != nil || u.text("outbound_number_id") != id {
		t.Errorf("%s", u.body)
	}
	if a := h.admin.remove(path).want(409); !strings.Contains(a.text("detail"), h.bob.Name) {
		t.Errorf("%s", a.body)
	}
	h.admin.patch(users+string(h.bob.ID), map[string]any{"outbound_number_id": nil}).want(200)
	if u := h.admin.patch("/accounts/default", map[string]any{"default_outbound_number_id": id, "outbound_countries": []string{"AT"}}).want(200); u.text("default_outbound_number_id") != id || u.text("outbound_countries.0") != "AT" {
		t.Errorf("%s", u.body)
	}
	h.admin.remove(path).want(409)
	if a := h.admin.remove(users + string(h.bob.ID)).want(409); !strings.Contains(a.text("detail"), "+4930123456") {
		t.Errorf("%s", a.body)
	}
	h.admin.patch("/accounts/default", map[string]any{"default_outbound_number_id": nil}).want(200)
	if a := h.admin.patch(users+string(h.bob.ID), map[string]any{"outbound_number_id": "num_unknown"}).want(422); a.text("errors.0.field") != "outbound_number_id" {
		t.Errorf("%s", a.body)
	}
	h.admin.patch(path, map[string]any{"status": "pending_verification"}).want(200)
	if a := h.admin.patch(users+string(h.bob.ID), map[string]any{"outbound_number_id": id}).want(422); !strings.Contains(a.text("errors.0.message"), "verified") {
		t.Errorf("%s", a.body)
	}
	h.admin.with("If-Match", `"1"`).remove(path).want(412)
	h.admin.remove(path).want(204)
}

// TestTrunksOfOthers: what belongs to another account does not exist.
func TestTrunksOfOthers(t *testing.T) {
	h := newHouse(t)
	trunk := store.Trunk{Name: "Theirs", Host: "192.0.2.1", Identity: "from", Diversion: "none", Format: "e164"}
	number := store.Number{Number: "+4930123456", Kind: "managed", Status: "active", Destination: store.Destination{Type: "hangup"}}
	err := h.db.Update(t.Context(), store.System, h.other, func(tx *sqlite.Tx) error {
		if err := tx.CreateTrunk(&trunk); err != nil {
			return err
		}
		return tx.CreateNumber(&number)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, account := range []string{"default", string(h.account), string(h.other)} {
		one, two := "/accounts/"+account+"/trunks/"+string(trunk.ID), "/accounts/"+account+"/numbers/"+string(number.ID)
		for _, path := range []string{one, two} {
			h.admin.get(path).want(404)
			h.admin.patch(path, map[string]any{}).want(404)
			h.admin.remove(path).want(404)
		}
		h.admin.post(one+"/test", map[string]any{}).want(404)
	}
	if a := h.admin.post("/accounts/default/numbers", map[string]any{"number": "+4930123456", "destination": map[string]any{"type": "hangup"}}).want(409); a.json("with") != nil {
		t.Errorf("the stranger is named: %s", a.body)
	}
	if a := h.admin.patch("/accounts/default", map[string]any{"default_outbound_number_id": number.ID}).want(422); a.text("errors.0.field") != "default_outbound_number_id" {
		t.Errorf("%s", a.body)
	}
}

// TestSimulateOutside asks what calls to and from carriers would meet.
func TestSimulateOutside(t *testing.T) {
	h := newHouse(t)
	h.admin.patch("/accounts/default", map[string]any{"country": "DE"}).want(200)
	trunk := h.admin.post("/accounts/default/trunks", map[string]any{"name": "Carrier", "host": "192.0.2.1", "format": "national"}).want(201).text("id")
	number := h.admin.post("/accounts/default/numbers", map[string]any{"number": "+4930123456", "destination": map[string]any{"type": "user", "id": h.bob.ID}}).want(201).text("id")
	h.admin.patch("/accounts/default", map[string]any{"default_outbound_number_id": number}).want(200)
	simulate := func(from, to string) *answer {
		return h.admin.post("/accounts/default/simulate", map[string]any{"from": from, "to": to}).want(200)
	}
	a := simulate(h.ada.Extension, "089 987654")
	if a.text("steps.0.action") != "outside" || !strings.Contains(a.text("steps.0.detail"), "089987654 (+4989987654) over Carrier, showing 030123456 (+4930123456)") {
		t.Errorf("%s", a.body)
	}
	for _, from := range []string{trunk, "+491711234567"} {
		if a := simulate(from, "030123456"); !strings.HasPrefix(a.text("steps.0.because"), "+4930123456 leads to "+h.bob.Name) {
			t.Errorf("%s", a.body)
		}
		if a := simulate(from, h.bob.Extension); a.text("steps.0.action") != "reject" {
			t.Errorf("%s", a.body)
		}
	}
}
