package admin

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pbx/store"
)

// events returns the entries of an account's log with this event, newest first.
func events(h *house, name string) []store.Activity {
	h.Helper()
	entries, _, err := h.db.Activity(h.Context(), h.account, store.ActivityFilter{Event: []string{name}}, store.Page{Limit: 500})
	if err != nil {
		h.Fatal(err)
	}
	return entries
}

func TestEveryOutcomeIsLogged(t *testing.T) {
	h := newHouse(t)
	from := *h.admin
	from.addr = "192.0.2.9:1"
	from.get("/accounts/default/users/" + string(h.bob.ID)).want(200)
	from.get("/accounts/default/users/" + string(h.bob.ID)).want(200)
	from.post("/accounts/default/users", map[string]any{"name": "Carol", "email": "carol@acme.test"}).want(201)
	from.post("/accounts/default/users", map[string]any{"name": "Carol", "email": "carol@acme.test"}).want(409)
	h.member.get("/accounts/default/users").want(403)
	h.nobody.get("/accounts/" + string(h.account) + "/users").want(401)
	h.nobody.post("/session", map[string]any{"login": "ada@acme.test", "password": "wrong"}).want(401)

	for _, want := range []struct {
		event, outcome, resource, actor, ip string
		n, count                            int
	}{
		{"user.read", "success", "user/" + string(h.bob.ID), "ada@acme.test", "192.0.2.9", 1, 2},
		{"user.create", "failure", "user", "ada@acme.test", "192.0.2.9", 1, 1},
		{"user.list", "denied", "user", "bob@acme.test", "127.0.0.1", 1, 1},
		{"user.list", "denied", "user", "", "127.0.0.1", 1, 1},
		{"session.create", "failure", "session", "ada@acme.test", "127.0.0.1", 1, 1},
	} {
		n := 0
		for _, e := range events(h, want.event) {
			if string(e.Outcome) == want.outcome && e.Actor.Name == want.actor && e.Resource == want.resource && e.Actor.IP == want.ip {
				n++
				if e.Count != want.count {
					t.Errorf("%s counts %d, want %d", want.event, e.Count, want.count)
				}
			}
		}
		if n != want.n {
			t.Errorf("%+v was logged %d times", want, n)
		}
	}
	made := 0
	for _, e := range events(h, "user.create") {
		if e.Outcome == store.Success && e.Actor.Name == "ada@acme.test" {
			made++
			if !strings.HasPrefix(e.Resource, "user/usr_") || e.Actor.IP != "192.0.2.9" {
				t.Errorf("%+v", e)
			}
		}
	}
	if made != 1 {
		t.Errorf("one creation is logged %d times", made)
	}
}

func TestActivityFilters(t *testing.T) {
	h := newHouse(t)
	h.admin.post("/accounts/default/users", map[string]any{"name": "Carol", "email": "carol@acme.test"}).want(201)
	h.member.get("/accounts/default/users").want(403)
	count := func(query string) int {
		return len(h.admin.get("/accounts/default/activity?" + query).want(200).json("items").([]any))
	}
	for query, want := range map[string]int{
		"event=user.create&actor=ada":                      1,
		"event=user.create&event=user.list&outcome=denied": 1,
		"outcome=denied":                                   1,
		"outcome=denied&ip=127.":                           1,
		"outcome=denied&ip=10.":                            0,
		"outcome=denied&actor=bob%40":                      1,
		"resource=user%2Fusr_&actor=ada":                   1,
		"from=2999-01-01T00:00:00Z":                        0,
		"to=2000-01-01T00:00:00Z":                          0,
	} {
		if got := count(query); got != want {
			t.Errorf("%s found %d, want %d", query, got, want)
		}
	}
	for _, query := range []string{"outcome=perhaps", "from=yesterday", "to=2026-13-01T00:00:00Z", "actor=" + url.QueryEscape("a\x00b")} {
		h.admin.get("/accounts/default/activity?" + query).want(400)
	}
	a := h.admin.get("/accounts/default/activity?event=user.create&actor=ada").want(200)
	if a.text("items.0.actor.kind") != "user" || a.text("items.0.outcome") != "success" || a.json("items.0.detail") == nil {
		t.Errorf("%s", a.body)
	}
	if s := string(h.foreign.get("/accounts/default/activity").want(200).body); strings.Contains(s, "ada@acme.test") {
		t.Errorf("another account sees %s", s)
	}
}

func TestSecretsStayOutOfActivity(t *testing.T) {
	h := newHouse(t)
	const secret = "a very secret password"
	a := h.admin.post("/accounts/default/users", map[string]any{"name": "Carol", "username": "carol", "password": secret, "voicemail": map[string]any{"pin": "4862"}}).want(201)
	h.admin.patch("/accounts/default/users/"+a.text("id"), map[string]any{"password": secret + "2", "voicemail": map[string]any{"pin": "486248"}}).want(200)
	d := h.admin.post("/accounts/default/devices", map[string]any{"kind": "softphone", "name": "Soft", "user_ids": []any{h.bob.ID}}).want(201)
	h.admin.get("/accounts/default/devices/" + d.text("id") + "/sip-credentials").want(200)
	key := h.member.post("/me/api-keys", map[string]any{"name": "k"}).want(201)
	made := h.admin.post("/accounts/default/provisioning/rotate", nil).want(200)
	log := string(h.admin.get("/accounts/default/activity?limit=500").want(200).body)
	for _, s := range []string{secret, "4862", d.text("sip.password"), key.text("key"), made.text("token"), made.text("phone_admin_password"), "argon2"} {
		if strings.Contains(log, s) {
			t.Errorf("the log shows %q", s)
		}
	}
	if n := len(events(h, "device.credentials")); n != 1 {
		t.Errorf("reading credentials is logged %d times", n)
	}
}

func TestStrangersCannotFillTheLog(t *testing.T) {
	h := newHouse(t)
	for i := range 200 {
		c := client{house: h, t: t, addr: fmt.Sprintf("[2001:db8::%x]:1", i)} // one network
		c.get("/accounts/" + string(h.account) + "/users").want(401)
	}
	denied := slices.DeleteFunc(events(h, "user.list"), func(a store.Activity) bool { return a.Outcome != store.Denied })
	if len(denied) == 0 || len(denied) > 40 {
		t.Errorf("%d entries for 200 refusals", len(denied))
	}
}
