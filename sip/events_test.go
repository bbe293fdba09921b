package sip_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strings"
	"testing"
	"time"

	"pbx/event"
	"pbx/sip"
	"pbx/sip/siptest"
)

// presenceDoc is a PIDF document as a phone reads it.
type presenceDoc struct {
	XMLName xml.Name `xml:"urn:ietf:params:xml:ns:pidf presence"`
	Entity  string   `xml:"entity,attr"`
	Basic   string   `xml:"tuple>status>basic"`
	Note    string   `xml:"tuple>note"`
	Person  struct {
		Activities struct {
			All []struct{ XMLName xml.Name } `xml:",any"`
		} `xml:"urn:ietf:params:xml:ns:pidf:rpid activities"`
	} `xml:"urn:ietf:params:xml:ns:pidf:data-model person"`
}

func readPresence(t *testing.T, n siptest.Notice) string {
	t.Helper()
	var d presenceDoc
	if err := xml.Unmarshal([]byte(n.Body), &d); err != nil || n.ContentType != "application/pidf+xml" {
		t.Fatalf("%v in %q\n%s", err, n.ContentType, n.Body)
	}
	s := d.Entity + " " + d.Basic + " " + d.Note
	for _, a := range d.Person.Activities.All {
		s += " " + a.XMLName.Local
	}
	return strings.Join(strings.Fields(s), " ")
}

const pidf = `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:203@pbx.test">
<tuple id="a"><status><basic>%s</basic></status></tuple><dm:person id="b"><rpid:activities><rpid:%s/><rpid:evil/></rpid:activities><rpid:note>x</rpid:note></dm:person></presence>`

// RFC 3856 and RFC 3903 §15: one document of registrations, calls and publications.
func TestPresence(t *testing.T) {
	bubble(t, func(w *world) {
		bob := w.registered("bob")
		watch, err := bob.Watch(w.ctx, "presence", "203", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		want := func(when, state string) {
			t.Helper()
			if got := readPresence(t, within(t, 2*time.Second, watch.Notices(), when)); got != "sip:203@pbx.test "+state {
				t.Errorf("%s: %q, want %q", when, got, state)
			}
		}
		want("offline", "closed")
		carol := w.registered("carol")
		want("registered", "open")
		w.busy("carol", confirmed("c"))
		want("talking", "open On the phone on-the-phone")
		w.busy("carol")
		want("hung up", "open")
		publish := func(target, kind, body, match string, expires time.Duration) (int, string) {
			t.Helper()
			code, tag, granted, err := carol.Publish(w.ctx, "presence", target, kind, body, match, expires)
			if err != nil {
				t.Fatal(err)
			}
			if code == 200 && (tag == "" || tag == match || granted != fmt.Sprint(int(expires.Seconds()))) {
				t.Errorf("published with tag %q and %q seconds after %q", tag, granted, match)
			}
			return code, tag
		}
		away := fmt.Sprintf(pidf, "closed", "away")
		const kind = "application/pidf+xml"
		code, first := publish("203", kind, away, "", time.Hour)
		if code != 200 {
			t.Fatalf("initial publication: %d", code)
		}
		want("published", "closed x away")
		code, second := publish("u-carol", kind, "", first, time.Hour) // a refresh without body
		if code != 200 {
			t.Errorf("refresh: %d", code)
		}
		for _, tc := range []struct {
			name, target, kind, body, match string
			expires                         time.Duration
			code                            int
		}{
			{"old tag", "203", kind, away, first, time.Hour, 412},
			{"unknown tag", "203", kind, "", "nothing", time.Hour, 412},
			{"of somebody else", "202", kind, away, "", time.Hour, 403},
			{"other type", "203", "text/plain", "x", "", time.Hour, 415},
			{"no XML", "203", kind, "<presence", "", time.Hour, 400},
			{"no presence", "203", kind, "<html/>", "", time.Hour, 400},
			{"nothing", "203", kind, "", "", time.Hour, 400},
			{"brief", "203", kind, away, "", 5 * time.Second, 423},
			{"long", "203", kind, away + strings.Repeat(" ", 17000), "", time.Hour, 413},
			{"deep", "203", kind, strings.Repeat("<presence xmlns='urn:ietf:params:xml:ns:pidf'>", 40), "", time.Hour, 400},
		} {
			if code, _ := publish(tc.target, tc.kind, tc.body, tc.match, tc.expires); code != tc.code {
				t.Errorf("%s: %d, want %d", tc.name, code, tc.code)
			}
		}
		code, third := publish("203", kind, fmt.Sprintf(pidf, "open", "meeting"), second, time.Hour)
		if code != 200 {
			t.Errorf("change: %d", code)
		}
		want("changed", "open x meeting")
		if code, _ := publish("203", kind, "", third, 0); code != 200 {
			t.Errorf("removal: %d", code)
		}
		want("removed", "open")
		publish("203", kind, away, "", 90*time.Second)
		want("published again", "closed x away")
		w.settled()
		start := time.Now()
		if got := readPresence(t, within(t, 2*time.Minute, watch.Notices(), "expiry")); got != "sip:203@pbx.test open" || time.Since(start) > 90*time.Second {
			t.Errorf("after its expiry: %q, %v later", got, time.Since(start))
		}
		if code, _, _, _ := carol.Publish(w.ctx, "conference", "203", kind, away, "", time.Hour); code != 489 {
			t.Errorf("other event: %d", code)
		}
	})
}

// RFC 4662: one subscription for everybody.
func TestList(t *testing.T) {
	bubble(t, func(w *world) {
		w.crowd(57) // with alice, bob and carol sixty
		alice := w.registered("alice", overTCP)
		w.busy("bob", confirmed("c"))
		const supports = "Supported: eventlist"
		if _, err := alice.Watch(w.ctx, "dialog", "blf-u-bob", time.Hour, supports); codeOf(err) != 404 {
			t.Errorf("list of somebody else: %v", err)
		}
		watch, err := alice.Watch(w.ctx, "dialog", "blf-u-alice", time.Hour, supports)
		if err != nil {
			t.Fatal(err)
		}
		n := within(t, time.Second, watch.Notices(), "first notify")
		l := readList(t, n)
		if !l.root.FullState || l.root.Version != 0 || len(l.states) != 60 || l.states["sip:202@pbx.test"] != "busy" || l.states["sip:201@pbx.test"] != "idle" {
			t.Errorf("full state: version %d of %d, %v", l.root.Version, len(l.states), l.states)
		}
		t.Logf("sixty lamps are %d octets", len(n.Body))
		start := time.Now()
		w.busy("carol", sip.DialogState{ID: "d", Direction: "recipient", State: "early"})
		l = readList(t, within(t, 500*time.Millisecond, watch.Notices(), "change"))
		if l.root.FullState || l.root.Version != 1 || len(l.states) != 1 || l.states["sip:203@pbx.test"] != "ringing" {
			t.Errorf("change after %v: %+v %v", time.Since(start), l.root, l.states)
		}
		if err := watch.Refresh(w.ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		if l = readList(t, within(t, time.Second, watch.Notices(), "refresh")); !l.root.FullState || len(l.states) != 60 {
			t.Errorf("refresh: %+v", l.root)
		}
		w.lamps.mu.Lock()
		w.lamps.people = slices.Delete(w.lamps.people, 30, 60)
		w.lamps.mu.Unlock()
		w.bus.Publish(event.News{Kind: event.ObjectChanged, Account: "acc_1", Data: event.Object{Type: "user", Deleted: true}})
		if l = readList(t, within(t, time.Second, watch.Notices(), "fewer people")); !l.root.FullState || len(l.states) != 30 {
			t.Errorf("fewer people: %+v", l.root)
		}
		w.settled()
		right := 0
		for _, v := range w.server.LampTruth("acc_1") {
			if v.Package == "dialog" && v.Right() {
				right++
			}
		}
		if right != 30 {
			t.Errorf("%d lamps of the list are right, want 30", right)
		}
		presence, err := alice.Watch(w.ctx, "presence", "blf", time.Hour, supports)
		if err != nil {
			t.Fatal(err)
		}
		if l = readList(t, within(t, time.Second, presence.Notices(), "presence")); len(l.states) != 30 || l.states["sip:201@pbx.test"] != "sip:201@pbx.test open" {
			t.Errorf("presence: %v", l.states)
		}
		w.crowd(100)
		if _, err := alice.Watch(w.ctx, "dialog", "blf", time.Hour, supports); codeOf(err) != 403 {
			t.Errorf("too long a list: %v", err)
		}
		if _, err := alice.Watch(w.ctx, "reg", "blf", time.Hour, supports); codeOf(err) != 489 {
			t.Errorf("list of registrations: %v", err)
		}
	})
}

type listDoc struct {
	root struct {
		XMLName   xml.Name `xml:"urn:ietf:params:xml:ns:rlmi list"`
		URI       string   `xml:"uri,attr"`
		Version   int      `xml:"version,attr"`
		FullState bool     `xml:"fullState,attr"`
		Resources []struct {
			URI      string `xml:"uri,attr"`
			Instance struct {
				State string `xml:"state,attr"`
				CID   string `xml:"cid,attr"`
			} `xml:"instance"`
		} `xml:"resource"`
	}
	states map[string]string // by address
}

// readList takes a document of RFC 4662 apart as a phone does.
func readList(t *testing.T, n siptest.Notice) listDoc {
	t.Helper()
	l := listDoc{states: make(map[string]string)}
	kind, params, err := mime.ParseMediaType(n.ContentType)
	if err != nil || kind != "multipart/related" || params["type"] != "application/rlmi+xml" {
		t.Fatalf("type %q: %v", n.ContentType, err)
	}
	parts := map[string]siptest.Notice{}
	for r := multipart.NewReader(strings.NewReader(n.Body), params["boundary"]); ; {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(p)
		parts[p.Header.Get("Content-ID")] = siptest.Notice{Body: string(body), ContentType: p.Header.Get("Content-Type")}
	}
	if err := xml.Unmarshal([]byte(parts[params["start"]].Body), &l.root); err != nil {
		t.Fatal(err)
	}
	for _, r := range l.root.Resources {
		part := parts["<"+r.Instance.CID+">"]
		if r.Instance.State != "active" || part.Body == "" {
			t.Fatalf("resource without state: %+v", r)
		}
		if part.ContentType == "application/pidf+xml" {
			l.states[r.URI] = readPresence(t, part)
		} else {
			l.states[r.URI] = shownBy(readDialogs(t, part))
		}
	}
	return l
}

// RFC 3680: the bindings of a line.
func TestRegistrationEvent(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		watch, err := alice.Watch(w.ctx, "reg", "u-bob", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		read := func(when string) string {
			t.Helper()
			var d struct {
				XMLName xml.Name `xml:"urn:ietf:params:xml:ns:reginfo reginfo"`
				Version int      `xml:"version,attr"`
				State   string   `xml:"state,attr"`
				All     []struct {
					AOR   string   `xml:"aor,attr"`
					State string   `xml:"state,attr"`
					URI   []string `xml:"contact>uri"`
				} `xml:"registration"`
			}
			n := within(t, 2*time.Second, watch.Notices(), when)
			if err := xml.Unmarshal([]byte(n.Body), &d); err != nil || n.ContentType != "application/reginfo+xml" || len(d.All) != 1 || d.State != "full" {
				t.Fatalf("%v in %s", err, n.Body)
			}
			return fmt.Sprint(d.Version, " ", d.All[0].AOR, " ", d.All[0].State, " ", d.All[0].URI)
		}
		if got := read("first"); got != "0 sip:u-bob@pbx.test init []" {
			t.Errorf("before: %s", got)
		}
		bob := w.registered("bob")
		if got := read("registered"); got != "1 sip:u-bob@pbx.test active [sip:u-bob@10.0.0.12:5060]" {
			t.Errorf("registered: %s", got)
		}
		if err := bob.Unregister(w.ctx); err != nil {
			t.Fatal(err)
		}
		if got := read("gone"); got != "2 sip:u-bob@pbx.test init []" {
			t.Errorf("gone: %s", got)
		}
	})
}

// RFC 6035: what phones measured of their calls.
func TestQualityReport(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		const report = "VQSessionReport: CallTerm\r\nCallID: abc@10.0.0.11\r\nLocalID: <sip:201@pbx>\r\nLocalMetrics:\r\nPacketLoss:NLR=5.0 JDR=2.0\r\nDelay:RTD=200 ESD=140 IAJ=2\r\nQualityEst:MOSLQ=4.2 MOSCQ=3.3\r\nRemoteMetrics:\r\nQualityEst:MOSCQ=1.0\r\n"
		for name, tc := range map[string]struct {
			kind, body string
			code       int
		}{
			"report":     {"application/vq-rtcpxr", report, 200},
			"other type": {"text/plain", report, 415},
			"no report":  {"application/vq-rtcpxr", "hello", 400},
			"no call":    {"application/vq-rtcpxr", "VQIntervalReport\r\nLocalMetrics:\r\n", 400},
			"too long":   {"application/vq-rtcpxr", report + strings.Repeat("x", 9000), 413},
		} {
			if code, _, _, err := alice.Publish(w.ctx, "vq-rtcpxr", "u-alice", tc.kind, tc.body, "", 0); err != nil || code != tc.code {
				t.Errorf("%s: %d %v, want %d", name, code, err, tc.code)
			}
		}
		if n := w.server.Stats().QualityReports; n != 1 {
			t.Errorf("%d reports, want 1", n)
		}
	})
}

// A phone that challenges a check-sync gets its own credentials.
func TestCheckSyncChallenged(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice", func(c *siptest.PhoneConfig) { c.ChallengeNotify = true })
		w.settled()
		for len(alice.Notices()) > 0 {
			<-alice.Notices()
		}
		b := w.binding("alice")
		if err := w.server.CheckSync(w.ctx, b, "cisco", "SPA504G", false); err != nil {
			t.Fatal(err)
		}
		if n := within(t, time.Second, alice.Notices(), "notify"); n.Event != "resync" {
			t.Errorf("notice is %+v", n)
		}
		if err := w.server.CheckSync(w.ctx, b, "yealink", "T54W", true); err != nil {
			t.Fatal(err)
		}
		if n := within(t, time.Second, alice.Notices(), "notify"); n.Event != "check-sync;reboot=true" {
			t.Errorf("notice is %+v", n)
		}
	})
}
