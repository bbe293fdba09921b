package sip

import (
	"testing"

	sipmsg "github.com/emiago/sipgo/sip"
)

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
		req := sipmsg.NewRequest(sipmsg.REGISTER, sipmsg.Uri{Scheme: "sip", Host: "pbx"})
		via := &sipmsg.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: "UDP", Host: "phone", Params: sipmsg.NewParams()}
		via.Params.Add("branch", tc.branch)
		req.AppendHeader(via)
		if tc.agent != "" {
			req.AppendHeader(sipmsg.NewHeader("User-Agent", tc.agent))
		}
		if got := quirksOf(req).md5Only; got != tc.md5Only {
			t.Errorf("%q with branch %q: md5Only %v", tc.agent, tc.branch, got)
		}
	}
}
