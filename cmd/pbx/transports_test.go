//go:build phones

package main

import (
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pbx/call/calltest"
	"pbx/sip"
)

// TestPhonesTLS: a phone that trusts our authority registers over TLS, calls a phone over UDP and is called by it.
func TestPhonesTLS(t *testing.T) {
	p, ada, _, _ := acme(t)
	eve := p.hire("Eve Moore", "104", "tls")
	resp, err := p.http.Get(p.portal + "/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	authority, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	trust := filepath.Join(t.TempDir(), "ca.pem")
	if err != nil || resp.StatusCode != 200 || os.WriteFile(trust, authority, 0o600) != nil {
		t.Fatalf("authority: %d %q, %v", resp.StatusCode, authority, err)
	}
	a := phoneOf(t, p, ada, 1, adaTone, "PCMU", "udp", false)
	e := startBaresip(t, baresipConfig{
		name: "Eve", ip: "127.0.0.44", user: eve.username, pass: eve.password, server: p.tls.String(), transport: "tls", trust: trust,
		auto: true, tone: bobTone, codec: "PCMU", rtpLow: 40800,
	})
	p.online(eve)
	ways := map[string]string{}
	for _, r := range p.api("GET", "/accounts/default/registrations", nil).items() {
		ways[r.at("device_id")] = r.at("transport")
	}
	if ways[eve.device] != "tls" || ways[ada.device] != "udp" {
		t.Errorf("registered over %v", ways)
	}
	a.do("dial", "104")
	a.expect("CALL_ESTABLISHED", 0, 5*time.Second)
	pause(3 * time.Second)
	seen := a.seen()
	e.do("hangup", "")
	a.expect("CALL_CLOSED", seen-1, 5*time.Second)
	if r := p.lastCall("answered"); r.at("hangup_by") != "callee" {
		t.Errorf("record: %v", r)
	}
	for _, b := range []*baresip{a, e} {
		if len(b.heard()) == 0 {
			t.Errorf("%s heard nothing", b.name)
		}
	}
}

// TestPhonesFamilies: a phone on IPv6 calls one on IPv4, and they hear each other.
func TestPhonesFamilies(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, ada, _, carol := acme(t, "--sip-udp", "127.0.0.1:0,[::1]:0")
	phone := func(who person, local string, voice float64) *calltest.Phone {
		at := netip.MustParseAddr(local)
		x, err := calltest.NewPhone(ctx, calltest.PhoneConfig{
			Name: who.name, Network: sip.HostNetwork(), Local: netip.AddrPortFrom(at, 0), Server: netip.AddrPortFrom(at, p.udp.Port()),
			Username: who.username, Password: who.password, Voice: voice,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { x.Close() })
		if err := x.Register(ctx); err != nil {
			t.Fatal(err)
		}
		return x
	}
	six, four := phone(ada, "::1", adaTone), phone(carol, "127.0.0.1", bobTone)
	for _, way := range []struct {
		from, to *calltest.Phone
		number   string
	}{{six, four, carol.extension}, {four, six, ada.extension}} {
		out, err := way.from.Call(ctx, way.number)
		if err != nil {
			t.Fatal(err)
		}
		in, err := way.to.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Answer(ctx); err != nil {
			t.Fatal(err)
		}
		for _, ear := range []struct {
			call  *calltest.Call
			voice float64
		}{{out, way.to.Voice()}, {in, way.from.Voice()}} {
			if err := ear.call.Hear(ctx, ear.voice); err != nil {
				t.Errorf("call to %s: %v Hz: %v", way.number, ear.voice, err)
			}
		}
		if err := out.Bye(ctx); err != nil {
			t.Error(err)
		}
	}
}
