package admin

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pbx/sip"
	"pbx/store"
)

// fakeWatch is a door with a list.
type fakeWatch struct {
	mu     sync.Mutex
	bans   []store.Ban
	traces map[store.ID]store.Trace
}

func (f *fakeWatch) Bans() []store.Ban {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.bans)
}

func (f *fakeWatch) Ban(addr netip.Addr, d time.Duration, reason, by string) (store.Ban, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if addr == netip.MustParseAddr("192.0.2.7") {
		return store.Ban{}, sip.ErrOwnAddress
	}
	now := time.Now()
	b := store.Ban{Addr: addr, Reason: reason, By: by, Since: now, Until: now.Add(d), Times: 1}
	f.bans = append(f.bans, b)
	return b, nil
}

func (f *fakeWatch) Unban(addr netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.bans)
	f.bans = slices.DeleteFunc(f.bans, func(b store.Ban) bool { return b.Addr == addr })
	return len(f.bans) < n
}

func (f *fakeWatch) Trace(call store.ID) (store.Trace, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.traces[call]
	return t, ok
}

func TestBansAPI(t *testing.T) {
	h := newHouse(t)
	base := "/accounts/default/bans"
	if items := h.admin.do("GET", base, nil).want(http.StatusOK).json("items"); len(items.([]any)) != 0 {
		t.Errorf("bans are %v", items)
	}
	a := h.admin.do("POST", base, `{"ip":"203.0.113.5","duration_s":3600}`).want(http.StatusCreated)
	if got := a.header.Get("Location"); got != basePath+"/accounts/"+string(h.account)+"/bans/203.0.113.5" {
		t.Errorf("location %q", got)
	}
	if a.text("by") != "Ada Lovelace" || a.text("reason") == "" {
		t.Errorf("ban is %s", a.body)
	}
	since, _ := time.Parse(time.RFC3339Nano, a.text("since"))
	until, _ := time.Parse(time.RFC3339Nano, a.text("until"))
	if until.Sub(since) != time.Hour {
		t.Errorf("it takes %v", until.Sub(since))
	}
	h.admin.do("POST", base, `{"ip":"2001:db8::5","reason":"nuisance"}`).want(http.StatusCreated)
	for _, ip := range []string{"", "x", "203.0.113.0/24", "0.0.0.0", "127.0.0.1", "::1", "::ffff:127.0.0.1", "192.0.2.7", "fe80::1%eth0", "224.0.0.1"} {
		if p := h.admin.do("POST", base, `{"ip":"`+ip+`"}`).want(http.StatusUnprocessableEntity); !strings.Contains(string(p.body), `"ip"`) {
			t.Errorf("%q: %s", ip, p.body)
		}
	}
	own := *h.admin
	own.addr = "198.51.100.1:4444"
	own.do("POST", base, `{"ip":"198.51.100.1"}`).want(http.StatusUnprocessableEntity)
	list := h.admin.do("GET", base, nil).want(http.StatusOK)
	if list.text("items.1.ip") != "2001:db8::5" || list.text("items.1.reason") != "nuisance" {
		t.Errorf("list is %s", list.body)
	}
	h.admin.do("DELETE", base+"/2001:db8::5", nil).want(http.StatusNoContent)
	h.admin.do("DELETE", base+"/2001:db8::5", nil).want(http.StatusNotFound)
	h.admin.do("DELETE", base+"/nonsense", nil).want(http.StatusNotFound)
	for _, want := range []string{"ban.create", "ban.delete", "ban.list"} {
		entries := events(h, want)
		if len(entries) == 0 || want != "ban.list" && !slices.ContainsFunc(entries, func(a store.Activity) bool { return a.Resource == "ban/2001:db8::5" && a.Outcome == store.Success }) {
			t.Errorf("%s in the log: %+v", want, entries)
		}
	}
}

func TestCallTraceAPI(t *testing.T) {
	h := newHouse(t)
	call := h.call(t, h.account, h.ada, h.ada)
	path := "/accounts/default/call-records/" + string(call.ID) + "/trace"
	if a := h.admin.do("GET", path, nil).want(http.StatusOK); a.text("items") != "[]" || a.text("running") != "false" {
		t.Errorf("without a trace: %s", a.body)
	}
	h.admin.do("GET", path+".pcap", nil).want(http.StatusNotFound)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	local, remote := netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("192.0.2.7:5062")
	invite := "INVITE sip:102@192.0.2.1 SIP/2.0\r\nCall-ID: a\r\nCSeq: 7 INVITE\r\n\r\n"
	trace := store.Trace{
		CallID: call.ID, AccountID: h.account,
		Legs: []store.TraceLeg{{SIPCallID: "a", UserID: h.ada.ID, DeviceID: h.desk.ID}, {SIPCallID: "b"}},
		Messages: []store.TraceMessage{
			{At: at, Transport: "udp", Local: local, Remote: remote, Raw: []byte(invite)},
			{At: at, Transport: "udp", Local: local, Remote: remote, Again: true, Raw: []byte(invite)},
			{At: at.Add(time.Second), Sent: true, Transport: "udp", Local: local, Remote: remote, Leg: 1, Raw: []byte("SIP/2.0 180 Ringing\r\nCSeq: 7 INVITE\r\n\r\n\xff")},
		},
	}
	if err := h.db.SaveTraces(context.Background(), []store.Trace{trace}); err != nil {
		t.Fatal(err)
	}
	a := h.admin.do("GET", path, nil).want(http.StatusOK)
	for p, want := range map[string]string{
		"items.0.direction": "received", "items.0.method": "INVITE", "items.0.status": "<nil>", "items.0.summary": "INVITE sip:102@192.0.2.1", "items.0.leg": "1",
		"items.0.retransmission": "false", "items.1.retransmission": "true", "items.2.status": "180", "items.2.method": "INVITE", "items.2.summary": "180 Ringing",
		"items.2.direction": "sent", "items.2.leg": "2", "items.2.cseq": "7 INVITE", "legs.0.name": "Ada Lovelace", "legs.1.name": "192.0.2.7:5062", "legs.0.remote": "192.0.2.7:5062",
		"dropped": "0", "running": "false",
	} {
		if got := a.text(p); got != want {
			t.Errorf("%s is %q, want %q", p, got, want)
		}
	}
	file := h.admin.do("GET", path+".pcap", nil).want(http.StatusOK)
	if binary.LittleEndian.Uint32(file.body) != 0xa1b2c3d4 || !strings.Contains(file.header.Get("Content-Disposition"), string(call.ID)+".pcap") {
		t.Errorf("capture %v", file.header)
	}
	// Of others' calls members see nothing, of their own what their phones saw.
	h.member.do("GET", path, nil).want(http.StatusNotFound)
	h.member.do("GET", path+".pcap", nil).want(http.StatusNotFound)
	h.foreign.do("GET", "/accounts/default/call-records/"+string(call.ID)+"/trace", nil).want(http.StatusNotFound)
	mine := h.call(t, h.account, h.ada, h.bob)
	trace.CallID, trace.Legs[1].UserID = mine.ID, h.bob.ID
	h.watch.mu.Lock()
	h.watch.traces = map[store.ID]store.Trace{mine.ID: trace}
	h.watch.mu.Unlock()
	path = "/accounts/default/call-records/" + string(mine.ID) + "/trace"
	if a := h.admin.do("GET", path, nil).want(http.StatusOK); a.text("items.2.leg") != "2" || a.text("running") != "false" {
		t.Errorf("of a call that has just ended: %s", a.body)
	}
	a = h.member.do("GET", path, nil).want(http.StatusOK)
	if a.text("items.0.summary") != "180 Ringing" || a.text("items.0.leg") != "1" || a.text("legs.0.user_id") != string(h.bob.ID) || bytes.Contains(a.body, []byte("INVITE sip")) || bytes.Contains(a.body, []byte(h.ada.ID)) {
		t.Errorf("a member sees of a call: %s", a.body)
	}
	if file := h.member.do("GET", path+".pcap", nil).want(http.StatusOK); !bytes.Contains(file.body, []byte("180 Ringing")) || bytes.Contains(file.body, []byte("INVITE sip")) {
		t.Error("a member's capture has the messages of others")
	}
}
