package sip_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"pbx/sip"
	"pbx/store"
)

// passport is a PASSporT as carriers sign them (RFC 8225); its certificate is at an address inside of the house.
func passport(ppt, attest string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	head := `{"alg":"ES256","ppt":"` + ppt + `","typ":"passport","x5u":"https://198.51.100.9/cert.pem"}`
	claims := `{"attest":"` + attest + `","dest":{"tn":["49309"]},"iat":1443208345,"orig":{"tn":"49301"},"origid":"123e4567-e89b-12d3-a456-426655440000"}`
	return b64([]byte(head)) + "." + b64([]byte(claims)) + "." + b64([]byte(strings.Repeat("s", 64))) + ";info=<https://198.51.100.9/cert.pem>;alg=ES256;ppt=" + ppt
}

// TestVerstat: what a carrier found when it checked the caller, believed only where the trunk says so. Nobody fetches the certificate.
func TestVerstat(t *testing.T) {
	const from = `From: <sip:+49301@carrier.test>;tag=x`
	passed := "P-Asserted-Identity: <sip:+49301;verstat=TN-Validation-Passed@carrier.test;user=phone>"
	for _, tc := range []struct {
		name    string
		headers []string
		want    sip.Verification // of a trunk that is believed
	}{
		{"nothing", []string{from}, sip.Verification{}},
		{"passed, in the user part", []string{from, passed}, sip.Verification{Result: sip.VerifiedPassed}},
		{"passed, of a tel URI", []string{from, "P-Asserted-Identity: <tel:+49301;verstat=tn-validation-passed>"}, sip.Verification{Result: sip.VerifiedPassed}},
		{"passed, behind the host", []string{from, "P-Asserted-Identity: <sip:+49301@carrier.test;verstat=TN-Validation-Passed>"}, sip.Verification{Result: sip.VerifiedPassed}},
		{"passed, in From", []string{"From: <sip:+49301;verstat=TN-Validation-Passed@carrier.test>;tag=x"}, sip.Verification{Result: sip.VerifiedPassed}},
		{"passed, behind the address", []string{"From: <sip:+49301@carrier.test>;verstat=TN-Validation-Passed;tag=x"}, sip.Verification{Result: sip.VerifiedPassed}},
		{"with its level", []string{from, "P-Asserted-Identity: <tel:+49301;verstat=TN-Validation-Passed-B>"}, sip.Verification{Result: sip.VerifiedPassed, Level: "B"}},
		{"with an indicator", []string{from, passed, "P-Attestation-Indicator: a"}, sip.Verification{Result: sip.VerifiedPassed, Level: "A"}},
		{"with a PASSporT", []string{from, passed, "Identity: " + passport("shaken", "C")}, sip.Verification{Result: sip.VerifiedPassed, Level: "C"}},
		{"with another PASSporT", []string{from, passed, "Identity: " + passport("div", "A")}, sip.Verification{Result: sip.VerifiedPassed}},
		{"with a level that is none", []string{from, passed, "P-Attestation-Indicator: D", "Identity: " + passport("shaken", "AA")}, sip.Verification{Result: sip.VerifiedPassed}},
		{"with rubbish", []string{from, passed, "Identity: e30.!!.x, a.b, ..;alg=none"}, sip.Verification{Result: sip.VerifiedPassed}},
		{"failed", []string{from, "P-Asserted-Identity: <tel:+49301;verstat=TN-Validation-Failed>", "P-Attestation-Indicator: A"}, sip.Verification{Result: sip.VerifiedFailed}},
		{"not checked", []string{from, "P-Asserted-Identity: <tel:+49301;verstat=No-TN-Validation>", "Identity: " + passport("shaken", "A")}, sip.Verification{Result: sip.VerifiedNot}},
		{"a PASSporT that nobody checked", []string{from, "Identity: " + passport("shaken", "A")}, sip.Verification{}},
		{"another word", []string{from, "P-Asserted-Identity: <tel:+49301;verstat=Fine>"}, sip.Verification{}},
		{"the first address counts", []string{"From: <sip:+49301;verstat=TN-Validation-Passed@carrier.test>;tag=x", "P-Asserted-Identity: <tel:+49301;verstat=TN-Validation-Failed>"}, sip.Verification{Result: sip.VerifiedFailed}},
	} {
		for _, believed := range []bool{true, false} {
			t.Run(tc.name, func(t *testing.T) {
				row := trunkRow(func(t *store.Trunk) { t.TrustIdentity, t.TrustVerstat = true, believed })
				trunkBubble(t, []store.Trunk{row}, func(w *trunkWorld) {
					inside := w.stranger("198.51.100.9:443")
					defer inside.Close()
					time.Sleep(time.Second)
					answer := w.incoming(w.one, "sip:+49309@10.0.0.1", tc.headers...)
					l := within(t, time.Second, w.house, "incoming call")
					want := tc.want
					if !believed {
						want = sip.Verification{}
					}
					if got := l.Verified(); got != want {
						t.Errorf("believed %v: got %+v, want %+v", believed, got, want)
					}
					if who, _ := l.Asserted(); who.User != "+49301" {
						t.Errorf("the caller is %+v", who)
					}
					l.Refuse(404, "Not Found")
					<-answer
					if n := inside.Connections(); n != 0 {
						t.Errorf("%d connections to where the certificate is", n)
					}
				})
			})
		}
	}
}

// TestIdentityPassesOn: the signatures of a trusted carrier go on to trusted carriers, and to nobody else.
func TestIdentityPassesOn(t *testing.T) {
	for _, tc := range []struct {
		in, out bool // trusted
		want    int
	}{{true, true, 2}, {true, false, 0}, {false, true, 0}} {
		a := trunkRow(func(t *store.Trunk) { t.Host, t.TrustIdentity = "192.0.2.1", tc.in })
		b := trunkRow(func(t *store.Trunk) { t.ID, t.Host, t.TrustIdentity = "trk_2", "192.0.2.2", tc.out })
		trunkBubble(t, []store.Trunk{a, b}, func(w *trunkWorld) {
			time.Sleep(time.Second)
			bob := w.registered("bob")
			first, second := passport("shaken", "A"), passport("div", "A")
			answer := w.incoming(w.one, "sip:+49309@10.0.0.1", "Identity: "+first, "Identity: "+second, "Identity: "+strings.Repeat("x", 5000))
			l := within(t, time.Second, w.house, "incoming call")
			out, err := w.server.Invite(w.ctx, sip.Outgoing{Trunk: "trk_2", Number: "+49310", From: sip.Identity{User: "+49301"}, Sound: sound(), Carried: l.Carried()})
			if err != nil {
				t.Fatal(err)
			}
			within(t, 5*time.Second, out.Answered(), "answer")
			var got []string
			for line := range strings.Lines(w.two.Got("INVITE")[0].Text) {
				if value, ok := strings.CutPrefix(line, "Identity: "); ok {
					got = append(got, strings.TrimSpace(value))
				}
			}
			if len(got) != tc.want || tc.want == 2 && (got[0] != first || got[1] != second) {
				t.Errorf("trusted %v, %v: the next carrier got %q", tc.in, tc.out, got)
			}
			inner, err := w.server.Invite(w.ctx, sip.Outgoing{To: w.binding("bob"), From: sip.Identity{User: "+49301"}, Sound: sound(), Carried: l.Carried(), Verified: sip.Verification{Result: sip.VerifiedPassed, Level: "A"}})
			if err != nil {
				t.Fatal(err)
			}
			ring := within(t, time.Second, bob.Incoming(), "call")
			if ring.Header("Identity") != "" || ring.Header("P-Asserted-Identity") != "<sip:+49301@10.0.0.1;verstat=TN-Validation-Passed>" || strings.Contains(ring.Header("From"), "verstat") {
				t.Errorf("the phone got %q, %q, %q", ring.Header("Identity"), ring.Header("P-Asserted-Identity"), ring.Header("From"))
			}
			for _, o := range []*sip.Leg{out, inner} {
				o.HangUp(sip.Cause{})
				within(t, time.Second, o.Done(), "end")
			}
			l.Refuse(404, "Not Found")
			<-answer
		})
	}
}
