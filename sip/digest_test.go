package sip

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pbx/store"
)

type oneLine store.Line

func (l oneLine) Line(username string) (store.Line, bool) {
	return store.Line(l), username == l.Username
}

// vector are the credentials of RFC 7616 §3.9.1.
func vector(algorithm, response string) *credentials {
	return &credentials{
		username: "Mufasa", realm: "http-auth@example.org", uri: "/dir/index.html", algorithm: algorithm,
		nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc: "00000001", qop: "auth",
		cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", response: response,
	}
}

func TestDigestVectors(t *testing.T) {
	d := newDigest("http-auth@example.org", oneLine{Username: "Mufasa", Password: "Circle of Life"})
	for _, c := range []struct {
		algorithm, response string
		want                outcome
	}{
		// The nonce is not ours: right credentials are stale, wrong ones are wrong.
		{"MD5", "8ca523f5e9506fed4657c9700eebdbec", stale},
		{"", "8ca523f5e9506fed4657c9700eebdbec", stale},
		{"SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", stale},
		{"sha-256", "753927FA0E85D155564E2E272A28D1802CA10DAF4496794697CF8DB5856CB6C1", stale},
		{"MD5", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", wrong},
		{"SHA-256", "8ca523f5e9506fed4657c9700eebdbec", wrong},
		{"SHA-512-256", "8ca523f5e9506fed4657c9700eebdbec", absent},
	} {
		if _, got := d.verify(vector(c.algorithm, c.response), "GET", "/dir/index.html"); got != c.want {
			t.Errorf("%s %s…: %v, want %v", c.algorithm, c.response[:8], got, c.want)
		}
	}
	right := vector("MD5", "8ca523f5e9506fed4657c9700eebdbec")
	if _, got := d.verify(right, "GET", "/other"); got != wrong {
		t.Errorf("credentials for another URI: %v, want wrong", got)
	}
	if _, got := d.verify(right, "PUT", "/dir/index.html"); got != wrong {
		t.Errorf("credentials for another method: %v, want wrong", got)
	}
}

// RFC 8760 §2.3: the preferred algorithm comes first, and each has a challenge.
func TestChallengeOrder(t *testing.T) {
	d := newDigest("pbx", oneLine{})
	all := d.challenges(true, store.DigestAny)
	if len(all) != 2 || !strings.Contains(all[0], "algorithm=SHA-256") || !strings.Contains(all[1], "algorithm=MD5") {
		t.Fatalf("challenges are %q", all)
	}
	for _, c := range all {
		if !strings.Contains(c, `qop="auth"`) || !strings.Contains(c, "stale=true") {
			t.Errorf("challenge %q", c)
		}
	}
}

// answerTo computes credentials as a phone does.
func (d *digest) answerTo(nonce string, nc int, qop bool) *credentials {
	c := &credentials{username: "u", realm: d.realm, uri: "sip:pbx", nonce: nonce, algorithm: "SHA-256"}
	ha1, ha2 := hashSHA256("u:"+d.realm+":p"), hashSHA256("REGISTER:sip:pbx")
	if qop {
		c.qop, c.nc, c.cnonce = "auth", fmt.Sprintf("%08x", nc), "c"
		c.response = hashSHA256(ha1 + ":" + nonce + ":" + c.nc + ":c:auth:" + ha2)
	} else {
		c.response = hashSHA256(ha1 + ":" + nonce + ":" + ha2)
	}
	return c
}

func TestNonces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDigest("pbx", oneLine{Username: "u", Password: "p"})
		check := func(what string, c *credentials, want outcome) {
			t.Helper()
			if _, got := d.verify(c, "REGISTER", "sip:pbx"); got != want {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		n := d.nonce()
		check("first use", d.answerTo(n, 1, true), granted)
		check("same count again", d.answerTo(n, 1, true), stale)
		check("higher count", d.answerTo(n, 5, true), granted)
		check("lower count", d.answerTo(n, 4, true), stale)
		check("without qop after use", d.answerTo(n, 0, false), stale)
		check("count zero", d.answerTo(d.nonce(), 0, true), stale)
		m := d.nonce()
		check("without qop", d.answerTo(m, 0, false), granted)
		check("without qop again", d.answerTo(m, 0, false), stale)
		check("of another server", d.answerTo(newDigest("pbx", oneLine{}).nonce(), 1, true), stale)
		check("forged", d.answerTo(strings.Repeat("A", 43), 1, true), stale)
		old := d.nonce()
		time.Sleep(nonceLife + time.Second)
		check("too old", d.answerTo(old, 1, true), stale)
		check("too old, used", d.answerTo(n, 6, true), stale)
		d.fresh(d.answerTo(d.nonce(), 1, true))
		if len(d.used) != 1 {
			t.Errorf("%d nonces are kept, want 1", len(d.used))
		}
	})
}

// The table of nonces is bounded, and what falls out of it cannot be used again.
func TestNoncesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDigest("pbx", oneLine{Username: "u", Password: "p"})
		first := d.nonce()
		use := func(nonce string) bool {
			return d.fresh(&credentials{nonce: nonce, nc: "00000001", qop: "auth"})
		}
		if !use(first) {
			t.Fatal("first nonce refused")
		}
		for range maxNonces {
			use(d.nonce())
		}
		if len(d.used) > maxNonces || len(d.order) > maxNonces {
			t.Errorf("%d nonces are kept, want at most %d", len(d.used), maxNonces)
		}
		if use(first) {
			t.Error("a forgotten nonce was accepted again")
		}
	})
}

func TestParseCredentials(t *testing.T) {
	for text, want := range map[string]bool{
		`Digest username="a", realm="r", nonce="n", uri="sip:x", response="0"`:        true,
		`digest username="a",realm="r",nonce="n",uri="sip:x,y",response="0",qop=auth`: true,
		`Digest username="a\"b", nonce="n", response="0"`:                             true,
		`Basic dXNlcjpwYXNz`:                                         false,
		`NoOneKnowsThisScheme opaque-data=here`:                      false,
		`Digest username="a", username="b", nonce="n", response="0"`: false,
		`Digest username="a, nonce="n", response="0"`:                false,
		`Digest nonce="n", response="0"`:                             false,
		`Digest`:                                                     false, "": false,
	} {
		if _, ok := parseCredentials(text); ok != want {
			t.Errorf("%s: %v, want %v", text, ok, want)
		}
	}
	c, _ := parseCredentials(`Digest username="a\"b", nonce="n", response="0"`)
	if c.username != `a"b` {
		t.Errorf("user name is %q", c.username)
	}
}
