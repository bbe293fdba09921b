package admin

import (
	"strings"
	"testing"
	"time"

	"pbx/call"
	"pbx/event"
	"pbx/store"
)

func TestRingGroupLife(t *testing.T) {
	h := newHouse(t)
	made := h.admin.post("/accounts/default/ring-groups", map[string]any{
		"name": " Sales ", "extension": "300", "strategy": "round_robin", "timeout_s": 15, "caller_prefix": "Sales: ",
		"members": []any{
			map[string]any{"type": "user", "id": h.bob.ID},
			map[string]any{"type": "external", "number": "030 1234567", "screening": "press_1"},
		},
		"fallback": map[string]any{"type": "user", "id": h.ada.ID},
	}).want(201)
	id := made.text("id")
	path := "/accounts/default/ring-groups/" + id
	got := h.admin.get(path).want(200)
	for field, want := range map[string]any{
		"name": "Sales", "extension": "300", "strategy": "round_robin", "caller_prefix": "Sales: ",
		"members.0.id": string(h.bob.ID), "members.1.number": "+49301234567", "members.1.screening": "press_1", "fallback.id": string(h.ada.ID),
	} {
		if v := got.json(field); v != want {
			t.Errorf("%s is %v, want %v", field, v, want)
		}
	}
	if n := len(h.admin.get("/accounts/default/ring-groups?q=sal").want(200).json("items").([]any)); n != 1 {
		t.Errorf("%d groups found", n)
	}

	for name, test := range map[string]struct {
		body  map[string]any
		field string
	}{
		"member of nowhere":   {map[string]any{"members": []any{map[string]any{"type": "user", "id": "usr_nobody"}}}, "members[0].id"},
		"member twice":        {map[string]any{"members": []any{map[string]any{"type": "user", "id": h.bob.ID}, map[string]any{"type": "user", "id": h.bob.ID}}}, "members[1]"},
		"emergency extension": {map[string]any{"extension": "911"}, "extension"},
		"group of nowhere":    {map[string]any{"fallback": map[string]any{"type": "ring_group", "id": "grp_nothing"}}, "fallback"},
		"name":                {map[string]any{"name": ""}, "name"},
	} {
		if a := h.admin.patch(path, test.body).want(422); !strings.Contains(string(a.body), `"field":"`+test.field+`"`) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if a := h.admin.patch(path, map[string]any{"extension": h.ada.Extension}).want(409); !strings.Contains(string(a.body), "Ada") {
		t.Errorf("taken extension: %s", a.body)
	}
	if a := h.admin.patch("/accounts/default/users/"+string(h.bob.ID), map[string]any{"extension": "300"}).want(409); !strings.Contains(string(a.body), "ring group Sales") {
		t.Errorf("extension of a group: %s", a.body)
	}
	if a := h.admin.patch(path, map[string]any{"extension": "701"}).want(409); !strings.Contains(string(a.body), "parking slots") {
		t.Errorf("extension of a slot: %s", a.body)
	}
	h.admin.patch(path, map[string]any{"strategy": "least_recent", "caller_prefix": nil}).want(200)

	// What leads somewhere is not deleted; a user who goes leaves the groups.
	h.admin.patch("/accounts/default/users/"+string(h.bob.ID), map[string]any{"find_me": map[string]any{
		"enabled": true, "steps": []any{map[string]any{"timeout_s": 10, "targets": []any{map[string]any{"type": "user", "id": h.bob.ID}}}},
		"fallback": map[string]any{"action": "route", "destination": map[string]any{"type": "ring_group", "id": id}},
	}}).want(200)
	if a := h.admin.remove(path).want(409); !strings.Contains(string(a.body), "Find me of Bob") {
		t.Errorf("group in use: %s", a.body)
	}
	if a := h.admin.remove("/accounts/default/users/" + string(h.ada.ID)); a.status == 204 {
		t.Error("the fallback of a group was deleted")
	}
	h.admin.remove("/accounts/default/users/" + string(h.bob.ID)).want(204)
	if m := h.admin.get(path).want(200).json("members").([]any); len(m) != 1 {
		t.Errorf("members after one has gone: %v", m)
	}
	h.admin.remove(path).want(204)
	h.admin.get(path).want(404)
}

func TestMailboxLife(t *testing.T) {
	h := newHouse(t)
	made := h.admin.post("/accounts/default/mailboxes", map[string]any{"name": "Sales", "extension": "390", "member_ids": []any{h.bob.ID, h.bob.ID}, "pin": "4862"}).want(201)
	path := "/accounts/default/mailboxes/" + made.text("id")
	if made.json("has_pin") != true || len(made.json("member_ids").([]any)) != 1 {
		t.Errorf("mailbox %s", made.body)
	}
	if strings.Contains(string(made.body), "4862") || strings.Contains(string(made.body), "argon2") {
		t.Error("the PIN is told")
	}
	h.admin.get(path).want(200)
	h.admin.get("/accounts/default/mailboxes").want(200)
	if a := h.admin.patch(path, map[string]any{"pin": "1234"}).want(422); !strings.Contains(string(a.body), `"field":"pin"`) {
		t.Errorf("weak PIN: %s", a.body)
	}
	if a := h.admin.patch(path, map[string]any{"pin": "", "name": "Support"}).want(200); a.json("has_pin") != false || a.json("name") != "Support" {
		t.Errorf("changed mailbox %s", a.body)
	}

	// Its members hear the messages, others do not know of them.
	m := h.message(t, h.account, store.ID(made.text("id")))
	h.member.get("/accounts/default/voicemail-messages/" + string(m.ID)).want(200)
	h.member.patch("/accounts/default/voicemail-messages/"+string(m.ID), map[string]any{"mailbox": h.ada.ID}).want(422)
	moved := h.member.patch("/accounts/default/voicemail-messages/"+string(m.ID), map[string]any{"mailbox": h.bob.ID}).want(200)
	if moved.json("mailbox") != string(h.bob.ID) {
		t.Errorf("moved message %s", moved.body)
	}
	h.admin.patch(path, map[string]any{"member_ids": []any{}}).want(200)
	n := h.message(t, h.account, store.ID(made.text("id")))
	h.member.get("/accounts/default/voicemail-messages/" + string(n.ID)).want(404)
	h.admin.remove(path).want(204)
	h.admin.get("/accounts/default/voicemail-messages/" + string(n.ID)).want(404)
}

func TestFeatureCodes(t *testing.T) {
	h := newHouse(t)
	codes := func() map[string]any {
		all := make(map[string]any)
		for _, c := range h.member.get("/accounts/default/feature-codes").want(200).json("items").([]any) {
			c := c.(map[string]any)
			all[c["key"].(string)] = c["number"]
		}
		return all
	}
	if c := codes(); c["voicemail"] != "*97" || c["park"] != "700" || c["blind_transfer"] != "##" {
		t.Errorf("default codes %v", c)
	}
	h.admin.patch("/accounts/default", map[string]any{"feature_codes": map[string]any{"voicemail": "*55", "park_slots": "801-805"}}).want(200)
	if c := codes(); c["voicemail"] != "*55" || c["park_slots"] != "801-805" {
		t.Errorf("own codes %v", c)
	}
	for code, key := range map[string]string{"*98": "voicemail", "112": "echo", "x": "echo", h.ada.Extension: "park", "1-999": "park_slots"} {
		if a := h.admin.patch("/accounts/default", map[string]any{"feature_codes": map[string]any{key: code}}).want(422); !strings.Contains(string(a.body), `"field":"feature_codes.`) {
			t.Errorf("%s for %s: %s", code, key, a.body)
		}
	}
	h.admin.patch("/accounts/default", map[string]any{"feature_codes": map[string]any{"nothing": "*44"}}).want(422)
	h.admin.patch("/accounts/default", map[string]any{"feature_codes": map[string]any{"voicemail": nil}}).want(200)
	if c := codes(); c["voicemail"] != "*97" {
		t.Errorf("codes after going back %v", c)
	}
}

func TestParking(t *testing.T) {
	h := newHouse(t)
	returns := time.Now().Add(time.Minute)
	h.calls.parked = map[store.ID][]event.Parked{h.account: {{
		Slot: "703", CallID: "cal_1", Caller: event.Party{Number: "+4930123456"}, ParkedBy: event.Party{Name: "Ada"}, Since: time.Now(), ReturnsAt: &returns,
	}}}
	got := h.member.get("/accounts/default/parking").want(200)
	if got.json("items.0.slot") != "703" || got.json("items.0.caller.number") != "+4930123456" || len(got.json("slots").([]any)) != 20 {
		t.Errorf("parking %s", got.body)
	}
	h.calls.live = map[store.ID][]event.Call{h.account: {{ID: "cal_1", State: "talking", Caller: event.Party{UserID: h.bob.ID}}, {ID: "cal_2", State: "talking"}}}
	h.member.post("/accounts/default/calls/cal_1/park", nil).want(204)
	h.member.post("/accounts/default/calls/cal_2/park", nil).want(404)
	h.calls.err = call.ErrNotTalking
	h.admin.post("/accounts/default/calls/cal_2/park", nil).want(409)
}
