package calltest_test

import (
	"testing"
	"testing/synctest"
)

// TestVerifiedCallers: what a carrier found when it checked the caller (RFC 8588, P-TRK-11) is told to the phone and kept
// with the call; who failed the check is shown without the name they claim; a carrier that is not believed is not heard.
func TestVerifiedCallers(t *testing.T) {
	for _, tc := range []struct {
		carrier, verstat, indicator string

		name, told          string // what alice's phone shows, and is told
		result, attestation string // in the record
	}{
		{"alpha verifying", "TN-Validation-Passed", "B", "Claimed", "TN-Validation-Passed", "passed", "B"},
		{"alpha verifying", "TN-Validation-Failed", "A", "Not verified", "TN-Validation-Failed", "failed", ""},
		{"alpha verifying", "No-TN-Validation", "", "Claimed", "No-TN-Validation", "none", ""},
		{"alpha", "TN-Validation-Passed", "A", "Claimed", "", "", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newScenario(t)
			s.play("phones alice 201\ncarrier " + tc.carrier + "\nnumber +12015550101 leads to alice")
			c, err := s.phones["alpha"].CallWith(t.Context(), "+12015550101",
				`P-Asserted-Identity: "Claimed" <sip:+442079460001;verstat=`+tc.verstat+`@carrier.example;user=phone>`, "P-Attestation-Indicator: "+tc.indicator)
			if err != nil {
				t.Fatal(err)
			}
			s.dialed++
			s.calls["alpha"] = append(s.calls["alpha"], c)
			ring, err := s.rings(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			if got := ring.Remote(); got.Display != tc.name || got.User != "+442079460001" {
				t.Errorf("shown %+v, want %s", got, tc.name)
			}
			want := ""
			if tc.told != "" {
				want = `"` + tc.name + `" <sip:+442079460001@10.0.0.1;verstat=` + tc.told + ">"
			}
			if got := ring.Header("P-Asserted-Identity"); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
			s.play("alice answers\nwait 1s\nalpha hangs up\nrecord: answered")
			r := s.h.records()[0]
			if r.Caller.Verstat != tc.result || r.Caller.Attestation != tc.attestation {
				t.Errorf("kept %q, %q; want %q, %q", r.Caller.Verstat, r.Caller.Attestation, tc.result, tc.attestation)
			}
			s.finish()
		})
	}
}
