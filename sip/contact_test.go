package sip_test

import (
	"strings"
	"testing"
	"time"

	"pbx/sip"
	"pbx/store"
)

// What a carrier's calls are known by is made of nothing but chance, stays while the password does, and stands in no trace.
func TestTrunkContact(t *testing.T) {
	registers := trunkRow(func(t *store.Trunk) { t.Register = true })
	var seen [2]string
	for i := range seen {
		trunkBubble(t, []store.Trunk{registers}, func(w *trunkWorld) {
			time.Sleep(time.Second)
			seen[i] = contact(t, w.one)
			time.Sleep(time.Hour)
			if now := contact(t, w.one); now != seen[i] {
				t.Errorf("was %s and is %s", seen[i], now)
			}
		})
	}
	user := func(uri string) string {
		u, _, _ := strings.Cut(strings.TrimPrefix(uri, "sip:"), "@")
		return u
	}
	if len(user(seen[0])) < 20 || user(seen[0]) == user(seen[1]) {
		t.Errorf("two lives of one trunk are called %s and %s", seen[0], seen[1])
	}
	masked := sip.MaskedContacts("INVITE " + seen[0] + " SIP/2.0\r\nTo: <" + seen[0] + ">\r\n\r\n")
	if secret := strings.TrimPrefix(user(seen[0]), "trunk-"); strings.Contains(masked, secret) || strings.Count(masked, "trunk-xxxx") != 2 || !strings.HasSuffix(masked, "@10.0.0.1:5060>\r\n\r\n") {
		t.Errorf("a trace keeps %q", masked)
	}
}
