package main

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"pbx/sip"
)

func TestSIPAddress(t *testing.T) {
	loop := sip.Listener{Transport: "udp", Addr: netip.MustParseAddrPort("127.0.0.1:5060")}
	lan := sip.Listener{Transport: "udp", Addr: netip.MustParseAddrPort("192.0.2.10:5062")}
	tcp := sip.Listener{Transport: "tcp", Addr: netip.MustParseAddrPort("192.0.2.10:5063")}
	tls := sip.Listener{Transport: "tls", Addr: netip.MustParseAddrPort("127.0.0.1:5061")}
	for name, test := range map[string]struct {
		advertise string
		listeners []sip.Listener
		local     string
		host      string
		udp, tcp  int
	}{
		"phone in the office":   {"", []sip.Listener{loop, lan, tcp}, "192.0.2.10", "192.0.2.10", 5062, 5063},
		"browser on the server": {"", []sip.Listener{loop, lan, tcp}, "127.0.0.1", "192.0.2.10", 5062, 5063},
		"preview":               {"", []sip.Listener{loop, lan, tcp}, "", "192.0.2.10", 5062, 5063},
		"nothing but loopback":  {"", []sip.Listener{loop}, "127.0.0.1", "127.0.0.1", 5060, 0},
		"advertised":            {"pbx.example", []sip.Listener{loop, lan}, "127.0.0.1", "pbx.example", 5062, 0},
	} {
		var local netip.Addr
		if test.local != "" {
			local = netip.MustParseAddr(test.local)
		}
		host, ports := sipAddress(test.advertise, append(test.listeners, tls), local)
		if host != test.host || ports["udp"] != test.udp || ports["tcp"] != test.tcp || ports["tls"] != 5061 || ports["wss"] != 0 {
			t.Errorf("%s: %s %v", name, host, ports)
		}
	}
}

func TestHTTPBase(t *testing.T) {
	ours := []string{"http://192.0.2.10:8080/", "http://127.0.0.1:8080/"}
	for name, test := range map[string]struct{ from, host, proto, want string }{
		"office":                {"192.0.2.7:5000", "pbx.office:8080", "", "http://pbx.office:8080"},
		"browser on the server": {"127.0.0.1:5000", "localhost:8080", "", "http://192.0.2.10:8080"},
		"proxy with TLS":        {"127.0.0.1:5000", "pbx.example", "https", "https://pbx.example"},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://"+test.host+"/", nil)
		r.RemoteAddr = test.from
		if test.proto != "" {
			r.Header.Set("X-Forwarded-Proto", test.proto)
		}
		if got := httpBase(ours, r); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := httpBase(ours, nil); got != "http://192.0.2.10:8080" {
		t.Errorf("preview: %s", got)
	}
}
