package admin

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"pbx/store"
)

func setupBody(token string) map[string]any {
	b := map[string]any{
		"account_name": "Acme", "timezone": "Europe/Berlin", "country": "de", "extension_length": 3,
		"admin_name": "Ada Lovelace", "admin_email": "ada@acme.test", "admin_password": adminPassword,
	}
	if token != "" {
		b["setup_token"] = token
	}
	return b
}

func TestSetup(t *testing.T) {
	h := emptyHouse(t)
	a := h.nobody.get("/setup").want(200)
	if a.json("needed") != true || a.json("token_needed") != false {
		t.Errorf("before set-up: %s", a.body)
	}
	a = h.nobody.post("/setup", setupBody("")).want(201)
	if got := a.text("user.role") + " " + a.text("user.extension") + " " + a.text("account.country"); got != "admin 101 DE" {
		t.Errorf("made %s", got)
	}
	cookie := setCookie(t, a)
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" {
		t.Errorf("cookie %v", cookie)
	}
	ada := &client{house: h, t: t, cookie: cookie.Value}
	if got := ada.get("/session").want(200).text("user.email"); got != "ada@acme.test" {
		t.Errorf("signed in as %s", got)
	}
	if h.nobody.get("/setup").want(200).json("needed") != false {
		t.Error("set-up still needed")
	}
	h.nobody.post("/setup", setupBody("token-of-the-console")).want(409)
}

// TestSpacesAreNoMatter pastes names and addresses with spaces around them.
func TestSpacesAreNoMatter(t *testing.T) {
	h := emptyHouse(t)
	body := setupBody("")
	body["account_name"], body["admin_name"], body["admin_email"] = " Acme ", " Ada Lovelace", "ada@acme.test "
	a := h.nobody.post("/setup", body).want(201)
	ada := &client{house: h, t: t, cookie: setCookie(t, a).Value}
	ada.patch("/me", map[string]any{"name": " Ada King "}).want(200)
	ada.patch("/accounts/default", map[string]any{"name": " Acme Ltd", "email": " office@acme.test"}).want(200)
	a = ada.get("/session").want(200)
	if got := a.text("user.name") + "|" + a.text("user.email") + "|" + a.text("account.name") + "|" + a.text("account.email"); got != "Ada King|ada@acme.test|Acme Ltd|office@acme.test" {
		t.Error(got)
	}
}

func setCookie(t *testing.T, a *answer) *http.Cookie {
	t.Helper()
	cookies := (&http.Response{Header: a.header}).Cookies()
	if len(cookies) != 1 || cookies[0].Name != cookieName {
		t.Fatalf("cookies %v", cookies)
	}
	return cookies[0]
}

func TestSetupFromElsewhereNeedsToken(t *testing.T) {
	for name, c := range map[string]client{
		"other machine":    {addr: "192.0.2.77:5000"},
		"rebound name":     {host: "evil.example"},
		"through proxy":    {header: http.Header{"X-Forwarded-For": {"192.0.2.77"}}},
		"proxy, name only": {header: http.Header{"X-Forwarded-Host": {"pbx.example"}}},
		"proxy, no value":  {header: http.Header{"X-Forwarded-For": {""}}},
		"IPv6 elsewhere":   {addr: "[2001:db8::1]:5000"},
	} {
		t.Run(name, func(t *testing.T) {
			h := emptyHouse(t)
			c.house, c.t = h, t
			if c.get("/setup").want(200).json("token_needed") != true {
				t.Error("no token asked for")
			}
			if got := c.post("/setup", setupBody("")).want(403).fields(); !slices.Equal(got, []string{"setup_token"}) {
				t.Errorf("fields %v", got)
			}
			c.post("/setup", setupBody("token-of-the-consolf")).want(403)
			c.post("/setup", setupBody(" tokenOF the-console")).want(201)
		})
	}
}

// TestProxyThatSaysNothing is nginx with nothing but proxy_pass: our address as the host, no header, HTTP/1.0.
func TestProxyThatSaysNothing(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8080/api/v1/setup", nil)
	r.RemoteAddr = "127.0.0.1:5000"
	if !FromThisMachine(r) {
		t.Error("this machine is not believed")
	}
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.0", 1, 0
	if FromThisMachine(r) {
		t.Error("a proxy is believed")
	}
}

func TestSetupTokenCannotBeGuessed(t *testing.T) {
	h := emptyHouse(t)
	c := client{house: h, t: t, addr: "192.0.2.77:5000"}
	for range 5 {
		c.post("/setup", setupBody("wrong")).want(403)
	}
	if a := c.post("/setup", setupBody("token-of-the-console")).want(429); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestSetupNamesFields(t *testing.T) {
	h := emptyHouse(t)
	b := setupBody("")
	b["account_name"], b["timezone"], b["admin_email"], b["admin_password"] = " ", "Mars/Olympus", "nonsense", "short"
	got := h.nobody.post("/setup", b).want(422).fields()
	if want := []string{"account_name", "admin_email", "admin_password", "timezone"}; !slices.Equal(got, want) {
		t.Errorf("fields %v, want %v", got, want)
	}
	if h.nobody.get("/setup").want(200).json("needed") != true {
		t.Error("half a set-up was kept")
	}
}

func TestBootstrap(t *testing.T) {
	h := emptyHouse(t)
	if _, err := Bootstrap(t.Context(), h.server.DB, "ada@acme.test", "short"); err == nil {
		t.Error("a short password was taken")
	}
	for i, want := range []bool{true, false} {
		if done, err := Bootstrap(t.Context(), h.server.DB, "ada@acme.test", adminPassword); err != nil || done != want {
			t.Fatalf("run %d: %v %v", i, done, err)
		}
	}
	h.nobody.post("/session", map[string]any{"login": "ADA@acme.test", "password": adminPassword}).want(201)
	if name := h.db.Snapshot(h.db.Accounts()[0]).Account.Name; name != "Default" {
		t.Errorf("account %q", name)
	}
}

func TestSetupLeavesNoSecretInActivity(t *testing.T) {
	h := emptyHouse(t)
	h.nobody.post("/setup", setupBody("")).want(201)
	entries, _, err := h.db.Activity(t.Context(), h.db.Accounts()[0], store.ActivityFilter{}, store.Page{})
	if err != nil || len(entries) == 0 {
		t.Fatal(err, len(entries))
	}
	for _, e := range entries {
		if strings.Contains(string(e.Detail), adminPassword) || strings.Contains(string(e.Detail), "argon2") {
			t.Errorf("%s shows a secret: %s", e.Event, e.Detail)
		}
	}
}
