package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"regexp"
	"testing"
	"time"

	"pbx/call/calltest"
	"pbx/sip"
)

// client is somebody who uses the API of the running product.
type client struct {
	t    *testing.T
	base string
	http *http.Client
}

func newClient(t *testing.T, base string) *client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, base + "/api/v1", &http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// do makes a request that must succeed.
func (c *client) do(method, path string, body any) map[string]any {
	c.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, bytes.NewReader(text))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode > 299 {
		c.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, b, err)
	}
	answer := map[string]any{}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &answer); err != nil {
			c.t.Fatalf("%s %s: %s: %v", method, path, b, err)
		}
	}
	return answer
}

// record waits for the n-th call record, the latest first, to be complete.
func (c *client) record(n int) map[string]any {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		items, _ := c.do("GET", "/accounts/default/call-records", nil)["items"].([]any)
		if len(items) == n {
			if r := items[0].(map[string]any); r["ended_at"] != nil {
				return r
			}
		}
	}
	c.t.Fatalf("there is no record of call %d", n)
	return nil
}

// TestTrunkThroughTheProgram makes a trunk by the API, calls out over it from a phone, is called over it, and finds both in the records (P-TRK-01, 07, 08).
func TestTrunkThroughTheProgram(t *testing.T) {
	out, _, _ := serving(t, t.TempDir())
	ctx := t.Context()
	server := netip.MustParseAddrPort(regexp.MustCompile(`sip\s+udp (127\.0\.0\.1:\d+)`).FindStringSubmatch(out.String())[1])
	api := newClient(t, regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(out.String()))
	api.do("POST", "/setup", map[string]any{
		"account_name": "Acme", "timezone": "Europe/Berlin", "country": "DE", "extension_length": 3,
		"admin_name": "Ada Lovelace", "admin_email": "ada@acme.test", "admin_password": "correct horse battery", "admin_extension": "201",
	})
	phone := func(c calltest.PhoneConfig) *calltest.Phone {
		c.Network, c.Local, c.Server = sip.HostNetwork(), netip.MustParseAddrPort("127.0.0.1:0"), server
		p, err := calltest.NewPhone(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p
	}
	carrier := phone(calltest.PhoneConfig{Name: "carrier", Username: "carrier", Voice: 700})
	trunk := api.do("POST", "/accounts/default/trunks", map[string]any{
		"name": "Carrier", "host": "127.0.0.1", "port": carrier.SIP().Addr().Port(), "format": "national", "identity": "pai", "trust_identity": true,
	})
	me := api.do("GET", "/me", nil)
	number := api.do("POST", "/accounts/default/numbers", map[string]any{
		"number": "030 123456", "trunk_id": trunk["id"], "destination": map[string]any{"type": "user", "id": me["id"]},
	})
	api.do("PATCH", "/accounts/default", map[string]any{"default_outbound_number_id": number["id"]})
	device := api.do("POST", "/accounts/default/devices", map[string]any{"kind": "softphone", "name": "Ada's", "user_ids": []any{me["id"]}})
	credentials := device["sip"].(map[string]any)
	ada := phone(calltest.PhoneConfig{Name: "ada", Username: credentials["username"].(string), Password: credentials["password"].(string), Voice: 440})
	if err := ada.Register(ctx); err != nil {
		t.Fatal(err)
	}

	tested := api.do("POST", "/accounts/default/trunks/"+trunk["id"].(string)+"/test", map[string]any{"number": "089 987654"})
	if written := tested["number"].(map[string]any); tested["reachable"] != true || written["e164"] != "+4989987654" || written["written"] != "089987654" || written["caller"] != "030123456" {
		t.Errorf("test of the trunk: %v", tested)
	}

	// Out.
	call, err := ada.Call(ctx, "089987654")
	if err != nil {
		t.Fatal(err)
	}
	got, err := carrier.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"To": "<sip:089987654@", "From": "<sip:030123456@", "P-Asserted-Identity": "<sip:030123456@"} {
		if is := got.Header(name); len(is) < len(want) || is[:len(want)] != want {
			t.Errorf("%s is %s", name, is)
		}
	}
	talk(t, call, got, 440, 700)
	r := api.record(1)
	if fmt.Sprintln(r["direction"], r["outcome"], r["callee"].(map[string]any)["number"]) != "outbound answered +4989987654\n" {
		t.Errorf("record: %v", r)
	}

	// In, in another spelling than the carrier is called with.
	call, err = carrier.CallWith(ctx, "4930123456", "P-Asserted-Identity: <sip:01711234567@carrier.example>")
	if err != nil {
		t.Fatal(err)
	}
	if got, err = ada.Next(ctx); err != nil {
		t.Fatal(err)
	}
	if who := got.Remote().User; who != "+491711234567" {
		t.Errorf("the phone shows %s", who)
	}
	talk(t, call, got, 700, 440)
	r = api.record(2)
	if fmt.Sprintln(r["direction"], r["outcome"], r["caller"].(map[string]any)["number"], r["callee"].(map[string]any)["extension"]) != "inbound answered +491711234567 201\n" {
		t.Errorf("record: %v", r)
	}
	status := api.do("GET", "/accounts/default/trunks/"+trunk["id"].(string), nil)["status"].(map[string]any)
	if status["reachable"] != true || status["target"] != "udp "+carrier.SIP().Addr().String() {
		t.Errorf("status: %v", status)
	}
}

// talk answers a call, has both sides hear each other, and ends it.
func talk(t *testing.T, caller, callee *calltest.Call, callersVoice, calleesVoice float64) {
	t.Helper()
	ctx := t.Context()
	for _, err := range []error{callee.Ring(false), callee.Answer(ctx), caller.Hear(ctx, calleesVoice), callee.Hear(ctx, callersVoice), caller.Bye(ctx)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	<-callee.Done()
}
