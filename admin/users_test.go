package admin

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pbx/store"
)

func TestUserLife(t *testing.T) {
	h := newHouse(t)
	if got := h.admin.get("/accounts/default/users/next-extension").want(200).text("extension"); got != "103" {
		t.Errorf("next extension %s", got)
	}
	a := h.admin.post("/accounts/default/users", map[string]any{
		"name": "Carol", "email": "carol@acme.test", "extension": "103", "password": memberPassword, "voicemail": map[string]any{"pin": "4862"},
	}).want(201)
	id := a.text("id")
	path := "/accounts/" + string(h.account) + "/users/" + id
	if a.header.Get("Location") != basePath+path {
		t.Errorf("Location %q", a.header.Get("Location"))
	}
	if a.text("role") != "member" || a.json("voicemail.has_pin") != true || a.json("has_password") != true || a.json("version") != 1.0 {
		t.Errorf("%s", a.body)
	}
	if strings.Contains(string(a.body), "4862") || strings.Contains(string(a.body), "argon2") {
		t.Errorf("a secret is shown: %s", a.body)
	}
	h.nobody.post("/session", map[string]any{"login": "carol@acme.test", "password": memberPassword}).want(201)

	// A merge patch touches what it names.
	a = h.admin.with("If-Match", `"1"`).patch(path, map[string]any{"name": "Carol King", "voicemail": map[string]any{"enabled": false}}).want(200)
	if a.text("name") != "Carol King" || a.text("email") != "carol@acme.test" || a.json("voicemail.enabled") != false || a.json("voicemail.has_pin") != true {
		t.Errorf("%s", a.body)
	}
	h.admin.with("If-Match", `"1"`).patch(path, map[string]any{"name": "Late"}).want(412)
	h.admin.with("If-Match", `"1"`).remove(path).want(412)
	h.admin.with("If-Match", `x`).remove(path).want(400)
	a = h.admin.patch(path, `{"username":"carol","email":null,"extension":null,"voicemail":{"pin":""}}`).want(200)
	if a.json("email") != nil || a.json("extension") != nil || a.text("username") != "carol" || a.json("voicemail.has_pin") != false {
		t.Errorf("%s", a.body)
	}
	if h.admin.get(path).want(200).text("username") != "carol" {
		t.Error("not read back")
	}
	h.admin.with("If-Match", `"3"`).remove(path).want(204)
	h.admin.get(path).want(404)
	h.admin.remove(path).want(404)
}

func TestUserRefusals(t *testing.T) {
	h := newHouse(t)
	users := "/accounts/default/users"
	for name, test := range map[string]struct {
		body    map[string]any
		status  int
		fields  []string
		message string
	}{
		"no name":         {map[string]any{"name": "  ", "email": "x@acme.test"}, 422, []string{"name"}, "Name is required."},
		"name missing":    {map[string]any{"email": "x@acme.test"}, 422, []string{"name"}, "Name is required."},
		"bad email":       {map[string]any{"name": "X", "email": "x@"}, 422, []string{"email"}, "Enter a valid email address."},
		"taken email":     {map[string]any{"name": "X", "email": "ADA@acme.test"}, 409, []string{"email"}, "A user with this email already exists."},
		"taken extension": {map[string]any{"name": "X", "email": "x@acme.test", "extension": "101"}, 409, []string{"extension"}, "Extension 101 is already used by Ada Lovelace."},
		"long extension":  {map[string]any{"name": "X", "email": "x@acme.test", "extension": "1011"}, 422, []string{"extension"}, "Extension must have exactly 3 digits."},
		"weak pin":        {map[string]any{"name": "X", "email": "x@acme.test", "voicemail": map[string]any{"pin": "1234"}}, 422, []string{"voicemail.pin"}, ""},
		"pin of 3":        {map[string]any{"name": "X", "email": "x@acme.test", "voicemail": map[string]any{"pin": "486"}}, 422, []string{"voicemail.pin"}, "PIN must be 4 to 10 digits."},
		"pin of 11":       {map[string]any{"name": "X", "email": "x@acme.test", "voicemail": map[string]any{"pin": "48624862486"}}, 422, []string{"voicemail.pin"}, ""},
		"short password":  {map[string]any{"name": "X", "username": "xavier", "password": "short"}, 422, []string{"password"}, ""},
		"no login":        {map[string]any{"name": "X"}, 422, []string{"email"}, "Email or username is required."},
		"all at once":     {map[string]any{"name": "", "email": "x", "extension": "1", "password": "x"}, 422, []string{"email", "extension", "name", "password"}, ""},
		"role":            {map[string]any{"name": "X", "email": "x@acme.test", "role": "root"}, 422, []string{"role"}, "Role must be one of: member, admin."},
		"unknown field":   {map[string]any{"name": "X", "email": "x@acme.test", "admin": true}, 422, []string{"admin"}, "There is no field of this name."},
		"control":         {map[string]any{"name": "X\u0000Y", "email": "x@acme.test"}, 422, []string{"name"}, "Name must not contain control characters."},
	} {
		t.Run(name, func(t *testing.T) {
			c := *h.admin
			c.t = t
			a := c.post(users, test.body).want(test.status)
			if got := a.fields(); !slices.Equal(got, test.fields) {
				t.Errorf("fields %v, want %v: %s", got, test.fields, a.body)
			}
			if test.message != "" && a.text("errors.0.message") != test.message {
				t.Errorf("message %q, want %q", a.text("errors.0.message"), test.message)
			}
		})
	}
	a := h.admin.post(users, map[string]any{"name": "X", "email": "x@acme.test", "extension": "101"}).want(409)
	if a.text("with") != string(h.ada.ID) || a.text("errors.0.with") != string(h.ada.ID) {
		t.Errorf("whom it collides with: %s", a.body)
	}
}

func TestLastAdminStays(t *testing.T) {
	h := newHouse(t)
	ada := "/accounts/default/users/" + string(h.ada.ID)
	h.admin.patch(ada, map[string]any{"role": "member"}).want(409)
	if a := h.admin.remove(ada).want(409); a.text("detail") != "You cannot delete yourself." {
		t.Error(a.text("detail"))
	}
}

func TestMarkupInNamesIsText(t *testing.T) {
	h := newHouse(t)
	for i, name := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'; DROP TABLE users; --`, "{{7*7}} ${7*7}", "\u202eAda\u202c", "🦊"} {
		a := h.admin.post("/accounts/default/users", map[string]any{"name": name, "username": fmt.Sprintf("user%d", i)}).want(201)
		if got := a.text("name"); got != name {
			t.Errorf("%q came back as %q", name, got)
		}
		if bytes.Contains(a.body, []byte("<")) { // harmless even where a browser guesses at the type
			t.Errorf("markup is not escaped: %s", a.body)
		}
	}
}

func TestUserListPages(t *testing.T) {
	h := newHouse(t)
	for i := range 5 {
		h.admin.post("/accounts/default/users", map[string]any{"name": fmt.Sprintf("Person %d", i), "username": fmt.Sprintf("person%d", i)}).want(201)
	}
	var seen []string
	cursor := ""
	for pages := 0; ; pages++ {
		a := h.admin.get("/accounts/default/users?limit=3&cursor=" + cursor).want(200)
		for _, item := range a.json("items").([]any) {
			seen = append(seen, item.(map[string]any)["id"].(string))
		}
		if a.json("next_cursor") == nil {
			if pages != 2 {
				t.Errorf("%d pages", pages+1)
			}
			break
		}
		cursor = a.text("next_cursor")
	}
	unique := slices.Compact(slices.Sorted(slices.Values(seen)))
	if len(seen) != 7 || len(unique) != 7 {
		t.Errorf("saw %v", seen)
	}
	if n := len(h.admin.get("/accounts/default/users?q=BOB").want(200).json("items").([]any)); n != 1 {
		t.Errorf("search found %d", n)
	}
	for _, query := range []string{"limit=0", "limit=501", "limit=x", "limit=5&limit=6", "cursor=%00", "cursor=../../etc", "cursor=" + strings.Repeat("a", 65), "q=" + strings.Repeat("a", 101)} {
		h.admin.get("/accounts/default/users?" + query).want(400)
	}
}

func TestUserShowsDevices(t *testing.T) {
	h := newHouse(t)
	path := "/accounts/default/users/" + string(h.ada.ID)
	a := h.admin.get(path).want(200)
	if a.json("online") != false || a.text("devices.0.name") != "Ada's desk" || a.json("devices.0.online") != false {
		t.Errorf("%s", a.body)
	}
	h.online(&h.desk)
	a = h.admin.get(path).want(200)
	if a.json("online") != true || a.json("devices.0.online") != true {
		t.Errorf("%s", a.body)
	}
}

func TestNextExtension(t *testing.T) {
	h := newHouse(t)
	for _, ext := range []string{"103", "104", "105", "106", "107", "108", "109"} {
		h.admin.post("/accounts/default/users", map[string]any{"name": "X", "username": "user" + ext, "extension": ext}).want(201)
	}
	// 110 to 115 and so on are emergency numbers somewhere.
	if got := h.admin.get("/accounts/default/users/next-extension").want(200).text("extension"); got != "116" {
		t.Errorf("next extension %s", got)
	}
}

func TestMe(t *testing.T) {
	h := newHouse(t)
	if h.member.get("/me").want(200).text("id") != string(h.bob.ID) {
		t.Error("not me")
	}
	a := h.member.patch("/me", map[string]any{"name": "Robert", "username": "bob"}).want(200)
	if a.text("name") != "Robert" || a.text("username") != "bob" {
		t.Errorf("%s", a.body)
	}
	for _, field := range []string{"role", "extension", "email"} {
		if got := h.member.patch("/me", map[string]any{field: "admin"}).want(422).fields(); !slices.Equal(got, []string{field}) {
			t.Errorf("fields %v", got)
		}
	}
	h.admin.patch("/me", map[string]any{"username": "bob"}).want(409)
	h.member.with("If-Match", `"1"`).patch("/me", map[string]any{"name": "Late"}).want(412)
}

func TestMySettings(t *testing.T) {
	h := newHouse(t)
	a := h.member.get("/me/settings").want(200)
	if a.json("do_not_disturb") != false || a.json("ring_timeout_s") != 20.0 {
		t.Errorf("%s", a.body)
	}
	a = h.member.patch("/me/settings", map[string]any{"do_not_disturb": true, "voicemail": map[string]any{"pin": "90210"}}).want(200)
	if a.json("do_not_disturb") != true || a.json("ring_timeout_s") != 20.0 || a.json("voicemail.enabled") != true || a.json("voicemail.has_pin") != true {
		t.Errorf("%s", a.body)
	}
	if u := h.db.Snapshot(h.account).User(h.bob.ID); !u.DoNotDisturb || !store.VerifyPassword(u.Voicemail.PINHash, "90210") {
		t.Error("not stored")
	}
	if got := h.member.patch("/me/settings", map[string]any{"voicemail": map[string]any{"pin": "102102"}}).want(422).fields(); !slices.Equal(got, []string{"voicemail.pin"}) {
		t.Errorf("fields %v", got)
	}
	h.member.patch("/me/settings", map[string]any{"ring_timeout_s": 4}).want(422)
	h.member.patch("/me/settings", map[string]any{"role": "admin"}).want(422)
}

func TestPasswordChange(t *testing.T) {
	h := newHouse(t)
	elsewhere := h.signedIn(t, &h.bob)
	change := func(current, next string) *answer {
		return h.member.post("/me/password", map[string]any{"current_password": current, "new_password": next})
	}
	if got := change("wrong", "a new long password").want(422).fields(); !slices.Equal(got, []string{"current_password"}) {
		t.Errorf("fields %v", got)
	}
	if got := change(memberPassword, "short").want(422).fields(); !slices.Equal(got, []string{"new_password"}) {
		t.Errorf("fields %v", got)
	}
	change(memberPassword, "a new long password").want(204)
	h.member.get("/me").want(200)
	elsewhere.get("/me").want(401)
	h.nobody.post("/session", map[string]any{"login": "bob@acme.test", "password": memberPassword}).want(401)
	h.nobody.post("/session", map[string]any{"login": "bob@acme.test", "password": "a new long password"}).want(201)
}

func TestPasswordResetByAdminEndsSessions(t *testing.T) {
	h := newHouse(t)
	h.admin.patch("/accounts/default/users/"+string(h.bob.ID), map[string]any{"password": "temporary password"}).want(200)
	h.member.get("/me").want(401)
	h.nobody.post("/session", map[string]any{"login": "bob@acme.test", "password": "temporary password"}).want(201)
}

func TestAccount(t *testing.T) {
	h := newHouse(t)
	list := h.member.get("/accounts").want(200)
	if list.text("items.0.id") != string(h.account) || list.text("items.0.role") != "member" {
		t.Errorf("%s", list.body)
	}
	a := h.admin.patch("/accounts/default", map[string]any{"name": "Acme Ltd", "email": "office@acme.test", "billing_address": "1 Road\n2 Town", "parking_timeout_s": 60, "country": "at"}).want(200)
	if a.text("name") != "Acme Ltd" || a.text("country") != "AT" || a.json("parking_timeout_s") != 60.0 {
		t.Errorf("%s", a.body)
	}
	if got := h.member.get("/accounts/" + string(h.account)).want(200).text("billing_address"); got != "" {
		t.Errorf("a member sees %q", got)
	}
	if got := h.admin.patch("/accounts/default", map[string]any{"extension_length": 4}).want(409).fields(); !slices.Equal(got, []string{"extension_length"}) {
		t.Errorf("fields %v", got)
	}
	h.admin.with("If-Match", `"1"`).patch("/accounts/default", map[string]any{"name": "Late"}).want(412)
	h.admin.patch("/accounts/default", map[string]any{"timezone": "Mars"}).want(422)
}
