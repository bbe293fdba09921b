package admin

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pbx/store"
	"pbx/store/sqlite"
)

func TestSignIn(t *testing.T) {
	h := newHouse(t)
	a := h.nobody.post("/session", map[string]any{"login": " Bob@acme.test", "password": memberPassword}).want(201)
	first := setCookie(t, a)
	bob := &client{house: h, t: t, cookie: first.Value}
	if got := bob.get("/session").want(200).text("account.role"); got != "member" {
		t.Errorf("role %s", got)
	}
	// Signing in again ends the session that the browser had.
	second := setCookie(t, bob.post("/session", map[string]any{"login": "bob@acme.test", "password": memberPassword}).want(201))
	if second.Value == first.Value {
		t.Error("the token was not renewed")
	}
	bob.get("/session").want(401)
	bob.cookie = second.Value
	a = bob.remove("/session").want(204)
	if gone := setCookie(t, a); gone.MaxAge >= 0 || gone.Value != "" {
		t.Errorf("cookie stays: %v", gone)
	}
	bob.get("/session").want(401)
}

func TestSessionTokenIsHashedAtRest(t *testing.T) {
	h := newHouse(t)
	token := setCookie(t, h.nobody.post("/session", map[string]any{"login": "bob@acme.test", "password": memberPassword}).want(201)).Value
	if len(token) < 43 { // 256 bits
		t.Errorf("token %q is short", token)
	}
	session, err := h.db.SessionByToken(t.Context(), token)
	if err != nil || strings.Contains(string(session.TokenHash), token) || !slices.Equal(session.TokenHash, store.HashToken(token)) {
		t.Errorf("%v, stored %q", err, session.TokenHash)
	}
}

func TestSecureCookie(t *testing.T) {
	h := newHouse(t)
	if !setCookie(t, h.nobody.with("X-Forwarded-Proto", "https").post("/session", map[string]any{"login": "bob@acme.test", "password": memberPassword}).want(201)).Secure {
		t.Error("cookie is not for HTTPS only")
	}
}

func TestWrongSignInTellsNothing(t *testing.T) {
	h := newHouse(t)
	known := h.nobody.post("/session", map[string]any{"login": "ada@acme.test", "password": "wrong"}).want(401)
	unknown := h.nobody.post("/session", map[string]any{"login": "nobody@acme.test", "password": "wrong"}).want(401)
	if string(known.body) != string(unknown.body) {
		t.Errorf("%s\n%s", known.body, unknown.body)
	}
	if known.text("detail") != "Email or password is incorrect." {
		t.Error(known.text("detail"))
	}
}

// TestUnknownSignInCostsAsMuch measures what the clock would tell: an unknown login must compute a password, too.
func TestUnknownSignInCostsAsMuch(t *testing.T) {
	h := newHouse(t)
	cost := func(login string) time.Duration {
		best := time.Hour
		for i := range 3 {
			c := *h.nobody
			c.addr = "192.0.2." + string(rune('1'+i)) + ":1"
			start := time.Now()
			c.post("/session", map[string]any{"login": login, "password": "wrong"}).want(401)
			best = min(best, time.Since(start))
		}
		return best
	}
	known, unknown := cost("ada@acme.test"), cost("nobody@acme.test")
	if unknown < known/3 {
		t.Errorf("unknown login took %v, a known one %v", unknown, known)
	}
}

func TestSignInSlowsDown(t *testing.T) {
	h := newHouse(t)
	c := client{house: h, t: t, addr: "192.0.2.66:1"}
	wrong := map[string]any{"login": "ada@acme.test", "password": "wrong"}
	right := map[string]any{"login": "ada@acme.test", "password": adminPassword}
	for range freePerLogin {
		c.post("/session", wrong).want(401)
	}
	a := c.post("/session", right).want(429)
	if got := a.header.Get("Retry-After"); got != "30" {
		t.Errorf("Retry-After %q", got)
	}
	if a.json("retry_after_s") != 30.0 || !strings.Contains(a.text("detail"), "30 seconds") {
		t.Errorf("%s", a.body)
	}
	// Others, and the same address with another login, are not slowed down by it.
	h.nobody.post("/session", right).want(201)
	c.post("/session", map[string]any{"login": "bob@acme.test", "password": memberPassword}).want(201)
}

func TestAPIKeys(t *testing.T) {
	h := newHouse(t)
	a := h.member.post("/me/api-keys", map[string]any{"name": "Door bell"}).want(201)
	key, id := a.text("key"), a.text("id")
	if !strings.HasPrefix(key, a.text("prefix")) || a.header.Get("Location") != basePath+"/me/api-keys/"+id {
		t.Errorf("%s %v", a.body, a.header)
	}
	if list := h.member.get("/me/api-keys").want(200); strings.Contains(string(list.body), key) || list.text("items.0.id") != id {
		t.Errorf("%s", list.body)
	}
	door := &client{house: h, t: t, key: key, addr: "192.0.2.5:1"}
	if got := door.get("/me").want(200).text("email"); got != "bob@acme.test" {
		t.Errorf("key acts as %s", got)
	}
	door.get("/accounts/default/users").want(403)
	door.remove("/session").want(409)
	(&client{house: h, t: t, key: key + "x"}).get("/me").want(401)
	h.nobody.with("Authorization", "Basic Ym9iOmJvYg==").get("/me").want(401)
	// Nobody revokes another person's key, not even an administrator by this way.
	h.admin.remove("/me/api-keys/" + id).want(404)
	if err := h.db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.member.get("/me/api-keys").text("items.0.used_ip"); got != "192.0.2.5" {
		t.Errorf("used from %s", got)
	}
	h.member.remove("/me/api-keys/" + id).want(204)
	door.get("/me").want(401)
}

func TestOtherSitesCannotWrite(t *testing.T) {
	h := newHouse(t)
	for _, header := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}}} {
		c := *h.admin
		c.header = header
		c.post("/accounts/default/users", map[string]any{"name": "Eve", "email": "eve@evil.example", "role": "admin"}).want(403)
	}
	h.admin.with("Origin", "http://127.0.0.1:8080").post("/accounts/default/users", map[string]any{"name": "Eve", "email": "eve@acme.test"}).want(201)
	if n := len(h.db.Snapshot(h.account).Users); n != 3 {
		t.Errorf("%d users", n)
	}
}

func TestRemovedUserIsOutAtOnce(t *testing.T) {
	h := newHouse(t)
	h.member.get("/me").want(200)
	h.admin.patch("/accounts/default/users/"+string(h.bob.ID), map[string]any{"role": "admin"}).want(200)
	h.member.get("/accounts/default/users").want(200)
	h.admin.patch("/accounts/default/users/"+string(h.bob.ID), map[string]any{"role": "member"}).want(200)
	h.member.get("/accounts/default/users").want(403)
	h.admin.remove("/accounts/default/users/" + string(h.bob.ID)).want(204)
	h.member.get("/me").want(401)
}

func TestSessionMovesItsEnd(t *testing.T) {
	h := newHouse(t)
	token := newToken()
	session := store.Session{UserID: h.bob.ID, TokenHash: store.HashToken(token), ExpiresAt: time.Now().Add(time.Minute)}
	if err := h.db.Update(t.Context(), store.System, h.account, func(tx *sqlite.Tx) error { return tx.CreateSession(&session) }); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := h.db.TouchSession(t.Context(), h.account, session.ID, long, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := h.db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := client{house: h, t: t, cookie: token}
	a := c.get("/session").want(200)
	if again := setCookie(t, a); again.Value != token || time.Until(again.Expires) < sessionIdle-time.Hour {
		t.Errorf("cookie %v", again)
	}
}

func TestSigningInIsBounded(t *testing.T) {
	h := newHouse(t)
	for range maxSigningIn {
		h.server.signingIn <- struct{}{}
	}
	right := map[string]any{"login": "bob@acme.test", "password": memberPassword}
	if a := h.nobody.post("/session", right).want(503); a.header.Get("Retry-After") != "2" {
		t.Errorf("%v", a.header)
	}
	<-h.server.signingIn
	h.nobody.post("/session", right).want(201)
}
