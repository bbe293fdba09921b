package sip

import (
	"strings"
	"testing"

	"pbx/store"
)

// FuzzCarrierWords: what a carrier writes about callers and forwardings, and its challenges, never harms; what is made of it can be written again.
func FuzzCarrierWords(f *testing.F) {
	for _, s := range []string{
		`"First" <sip:+491@c.test;cause=302?Reason=x>;index=1.1;mp=1, <tel:+49-30;x=y>`, `<sip:a@b>;reason="user-busy";counter=1`, `Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=SHA-256, stale=true`,
		`<sip:a@b>;index=1, <sip:b@c;cause=486>;index=1.1`, `sip:%00%41@[::1]`, `Digest realm="\"", nonce=""`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		items := splitList(s)
		for _, d := range fromHistory(items) {
			if d.User == "" || d.Reason == "" || d.Code == 0 || len(d.User) > 120 {
				t.Errorf("half a forwarding %+v", d)
			}
		}
		for _, item := range items {
			if id, _, ok := identityOf(item); ok {
				if written := nameAddr(id, "c.test"); strings.ContainsAny(written, "\r\n\x00") {
					t.Errorf("%q would break a message", written)
				}
			}
		}
		if fields, ok := parseDigest(s); ok {
			c := challenge{fields: fields, hash: hashMD5, qop: true}
			if v := c.credentials(store.Trunk{Username: "u", Password: "p"}, "REGISTER", "sip:c.test"); strings.ContainsAny(v, "\r\n\x00") {
				t.Errorf("%q would break a message", v)
			}
		}
	})
}
