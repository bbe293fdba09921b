package sip

import "testing"

func TestQuirksAreTakenFromTheRequest(t *testing.T) {
	for _, tc := range []struct {
		agent, branch string
		md5Only       bool
	}{
		{"baresip v1.0.0 (x86_64/linux)", "z9hG4bK9fb36aac68bba93d", true},
		{"baresip v2.0.0", "z9hG4bK9fb36aac68bba93d", false},
		{"Yealink SIP-T54W 96.86.0.100", "z9hG4bK-1-2-3", false},
		{"SIPp/Linux", "z9hG4bKx", true},
		{"", "z9hG4bK-10083-1-0", true},
		{"", "z9hG4bK776asdhds", false},
	} {
		if got := quirksOf(tc.agent, tc.branch).md5Only; got != tc.md5Only {
			t.Errorf("%q with branch %q: md5Only %v", tc.agent, tc.branch, got)
		}
	}
}
