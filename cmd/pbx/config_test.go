package main

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestConfigDefaultsNeedNothing(t *testing.T) {
	c, rest, err := parseConfig("serve", nil, nil, io.Discard)
	if err != nil || len(rest) != 0 {
		t.Fatal(err, rest)
	}
	if c.data != "./pbx-data" || c.http[0].String() != "0.0.0.0:8080" || c.sipUDP[0].String() != "0.0.0.0:5060" ||
		c.sipTCP[0].Port() != 5060 || c.sipTLS[0].String() != "0.0.0.0:5061" || len(c.sipOldTLS) != 0 || c.rtpLow != 20000 || c.rtpHigh != 29999 || c.drain != 30*time.Second {
		t.Errorf("unexpected defaults: %+v", c)
	}
}

func TestConfigFlagBeatsEnvironment(t *testing.T) {
	env := []string{"PBX_SIP_UDP=127.0.0.1:0,[::1]:0", "PBX_LOG_LEVEL=debug", "PBX_DATA=/a", "PBX_RTP_PORTS=0", "HOME=/root"}
	c, rest, err := parseConfig("backup", []string{"--data", "/b", "file"}, env, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.data != "/b" || len(c.sipUDP) != 2 || !c.sipUDP[1].Addr().Is6() || c.logLevel != slog.LevelDebug || c.rtpHigh != 0 || rest[0] != "file" {
		t.Errorf("got %+v, rest %q", c, rest)
	}
}

func TestConfigRefusesNamingTheFlag(t *testing.T) {
	for _, tc := range []struct{ args, env, want string }{
		{"--sip-udp 5060", "", "--sip-udp"},
		{"--http ", "PBX_HTTP=nonsense", "nonsense"},
		{"--rtp-ports 30000-20000", "", "--rtp-ports"},
		{"--rtp-ports 1-70000", "", "--rtp-ports"},
		{"--log-level loud", "", "--log-level"},
		{"--log-format xml", "", "--log-format"},
		{"--metrics some", "", "--metrics"},
		{"--sip-tls 5061", "", "--sip-tls"},
		{"--sip-tls-old 5062", "", "--sip-tls-old"},
		{"--tls-cert a.pem", "", "--tls-key"},
		{"--advertise a<b", "", "--advertise"},
		{"", "PBX_DRAIN=soon", "PBX_DRAIN"},
		{"--kernel-relay=", "", "--kernel-relay"},
		{"", "PBX_ADMIN_EMAIL=a@b.c", "PBX_ADMIN_PASSWORD"},
		{"--sip-udp= --sip-tcp= --sip-tls=", "", "phones need an address"},
		{"--http=", "", "portal needs an address"},
	} {
		_, _, err := parseConfig("serve", strings.Fields(tc.args), strings.Fields(tc.env), io.Discard)
		if tc.args == "--http " { // the variable counts only while the flag is not given
			_, _, err = parseConfig("serve", nil, strings.Fields(tc.env), io.Discard)
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q %q: error %v does not name %q", tc.args, tc.env, err, tc.want)
		}
	}
}
