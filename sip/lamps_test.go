package sip_test

import (
	"encoding/xml"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pbx/event"
	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// lamps is what the users of a test are busy with.
type lamps struct {
	mu      sync.Mutex
	people  []sip.Person
	dialogs map[store.ID][]sip.DialogState
}

func newLamps() *lamps {
	return &lamps{dialogs: make(map[store.ID][]sip.DialogState), people: []sip.Person{
		{ID: "usr_alice", Extension: "201", Name: "Alice", Admin: true}, {ID: "usr_bob", Extension: "202", Name: `Bob "<&>"`}, {ID: "usr_carol", Extension: "203", Name: "Carol"},
	}}
}

func (l *lamps) Dialogs(account, user store.ID) []sip.DialogState {
	l.mu.Lock()
	defer l.mu.Unlock()
	if account != "acc_1" {
		return nil
	}
	return slices.Clone(l.dialogs[user])
}

func (l *lamps) find(account store.ID, which func(p sip.Person) bool) (sip.Person, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.IndexFunc(l.people, which); i >= 0 && account == "acc_1" {
		return l.people[i], true
	}
	return sip.Person{}, false
}

func (l *lamps) Person(account store.ID, extension string) (sip.Person, bool) {
	return l.find(account, func(p sip.Person) bool { return p.Extension == extension })
}

func (l *lamps) PersonOf(account, user store.ID) (sip.Person, bool) {
	return l.find(account, func(p sip.Person) bool { return p.ID == user })
}

func (l *lamps) People(store.ID) []sip.Person {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.people)
}

func (l *lamps) VoicemailNumber(store.ID) string { return "*97" }

// busy sets what a user does and tells the news.
func (w *world) busy(user string, states ...sip.DialogState) {
	id := store.ID("usr_" + user)
	w.lamps.mu.Lock()
	w.lamps.dialogs[id] = states
	w.lamps.mu.Unlock()
	w.bus.Publish(event.News{Kind: event.LampsChanged, Account: "acc_1", Data: event.Lamps{Users: []store.ID{id}}})
}

// dialogDoc is a document of RFC 4235 as a phone reads it.
type dialogDoc struct {
	XMLName xml.Name `xml:"urn:ietf:params:xml:ns:dialog-info dialog-info"`
	Version int      `xml:"version,attr"`
	State   string   `xml:"state,attr"`
	Entity  string   `xml:"entity,attr"`
	Dialogs []struct {
		ID        string    `xml:"id,attr"`
		CallID    string    `xml:"call-id,attr"`
		LocalTag  string    `xml:"local-tag,attr"`
		RemoteTag string    `xml:"remote-tag,attr"`
		Direction string    `xml:"direction,attr"`
		State     string    `xml:"state"`
		Local     dialogEnd `xml:"local"`
		Remote    dialogEnd `xml:"remote"`
	} `xml:"dialog"`
}

type dialogEnd struct {
	Identity struct {
		Display string `xml:"display,attr"`
		URI     string `xml:",chardata"`
	} `xml:"identity"`
	Target struct {
		URI    string `xml:"uri,attr"`
		Params []struct {
			Name  string `xml:"pname,attr"`
			Value string `xml:"pval,attr"`
		} `xml:"param"`
	} `xml:"target"`
}

func readDialogs(t *testing.T, n siptest.Notice) dialogDoc {
	t.Helper()
	var d dialogDoc
	if n.ContentType != "application/dialog-info+xml" {
		t.Fatalf("notice of type %q: %+v", n.ContentType, n)
	}
	if err := xml.Unmarshal([]byte(n.Body), &d); err != nil {
		t.Fatalf("%v in\n%s", err, n.Body)
	}
	return d
}

// watch subscribes and returns the first document.
func (w *world) watch(p *siptest.Phone, target string) (*siptest.Watch, dialogDoc) {
	w.t.Helper()
	watch, err := p.Watch(w.ctx, "dialog", target, time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	return watch, readDialogs(w.t, within(w.t, time.Second, watch.Notices(), "first notify"))
}

func confirmed(id string) sip.DialogState {
	return sip.DialogState{ID: id, Direction: "recipient", State: "confirmed", Remote: sip.Identity{Display: "Carol", User: "203"}}
}

// RFC 4235: a lamp through a call.
func TestLamp(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		watch, d := w.watch(alice, "202")
		if d.Version != 0 || d.State != "full" || d.Entity != "sip:202@pbx.test" || len(d.Dialogs) != 0 {
			t.Errorf("first document is %+v", d)
		}
		bob := w.registered("bob", autoRing)
		leg, _ := w.invite("bob")
		within(t, time.Second, leg.Progress(), "180")
		ringing := sip.DialogState{ID: "cal_1-r", Direction: "recipient", State: "early", Remote: sip.Identity{Display: `Eve "</identity>`, User: "1@2 3"}, Leg: leg}
		start := time.Now()
		w.busy("bob", ringing)
		d = readDialogs(t, within(t, 500*time.Millisecond, watch.Notices(), "ringing"))
		within(t, time.Second, bob.Incoming(), "call")
		if len(d.Dialogs) != 1 || d.Version != 1 || time.Since(start) > 500*time.Millisecond {
			t.Fatalf("ringing: %+v after %v", d, time.Since(start))
		}
		x := d.Dialogs[0]
		if x.ID != "cal_1-r" || x.Direction != "recipient" || x.State != "early" || x.CallID != leg.ID() || x.RemoteTag == "" || x.LocalTag == "" || x.LocalTag == x.RemoteTag {
			t.Errorf("dialog is %+v", x)
		}
		if x.Remote.Identity.Display != `Eve "</identity>` || x.Remote.Identity.URI != "sip:1%402%203@10.0.0.1" || x.Local.Identity.Display != `Bob "<&>"` || x.Local.Identity.URI != "sip:202@pbx.test" {
			t.Errorf("identities are %+v and %+v", x.Local, x.Remote)
		}
		leg.HangUp(sip.Cause{})
		w.busy("bob", confirmed("cal_1-r"))
		d = readDialogs(t, within(t, 500*time.Millisecond, watch.Notices(), "talking"))
		if x = d.Dialogs[0]; d.Version != 2 || x.State != "confirmed" || x.CallID != "" || x.LocalTag != "" {
			t.Errorf("talking: %+v", d)
		}
		held := confirmed("cal_1-r")
		held.Held = true
		w.busy("bob", held)
		d = readDialogs(t, within(t, 500*time.Millisecond, watch.Notices(), "held"))
		if p := d.Dialogs[0].Local.Target.Params; len(p) != 1 || p[0].Name != "+sip.rendering" || p[0].Value != "no" {
			t.Errorf("held: %+v", d)
		}
		w.busy("bob", held) // no news
		w.busy("carol", confirmed("cal_2-r"))
		w.settled()
		if len(watch.Notices()) != 0 {
			t.Errorf("told what is no news: %+v", <-watch.Notices())
		}
		w.busy("bob")
		d = readDialogs(t, within(t, 500*time.Millisecond, watch.Notices(), "over"))
		if d.Version != 4 || len(d.Dialogs) != 1 || d.Dialogs[0].ID != "cal_1-r" || d.Dialogs[0].State != "terminated" {
			t.Errorf("over: %+v", d)
		}
		if err := watch.Refresh(w.ctx, time.Hour); err != nil { // RFC 6665 §4.2.1.2: at once
			t.Fatal(err)
		}
		n := within(t, time.Second, watch.Notices(), "refresh")
		if d = readDialogs(t, n); d.Version != 5 || len(d.Dialogs) != 0 || n.State != "active;expires=900" {
			t.Errorf("refreshed: %+v %s", d, n.State)
		}
		if err := watch.Refresh(w.ctx, 0); err != nil {
			t.Fatal(err)
		}
		if n = within(t, time.Second, watch.Notices(), "last"); n.State != "terminated;reason=timeout" {
			t.Errorf("last state is %q", n.State)
		}
	})
}

// Who may watch what.
func TestWatched(t *testing.T) {
	bubble(t, func(w *world) {
		other := line("zed")
		other.AccountID = "acc_2"
		w.dir.set(other)
		alice, bob := w.registered("alice"), w.registered("bob")
		for _, tc := range []struct {
			who           *siptest.Phone
			event, target string
			code          int
		}{
			{alice, "dialog", "202", 0},
			{alice, "dialog", "u-bob", 0},
			{alice, "dialog", "999", 404},
			{alice, "dialog", "u-zed", 404},
			{alice, "presence", "203", 0},
			{alice, "presence", "u-zed", 404},
			{alice, "reg", "u-alice", 0},
			{alice, "reg", "u-bob", 0}, // an admin
			{bob, "reg", "u-bob", 0},
			{bob, "reg", "u-alice", 403},
			{alice, "reg", "u-zed", 404},
			{alice, "conference", "202", 489},
			{alice, "as-feature-event", "202", 489},
			{alice, "dialog", "blf", 421},
		} {
			_, err := tc.who.Watch(w.ctx, tc.event, tc.target, time.Hour)
			if code := codeOf(err); code != tc.code {
				t.Errorf("%s of %s: %v, want %d", tc.event, tc.target, err, tc.code)
			}
		}
	})
}

// codeOf is the status of a refusal, 0 for none.
func codeOf(err error) int {
	var r *sip.Refusal
	switch {
	case err == nil:
		return 0
	case errors.As(err, &r):
		return r.Code
	}
	return -1
}

// A SUBSCRIBE whose answer is lost is answered again, and makes no second subscription.
func TestRepeatedSubscribe(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		w.settled()
		before := w.server.Stats().Subscriptions
		var lost atomic.Int64
		w.net.Drop(func(m siptest.Message) bool {
			if m.Method == "SUBSCRIBE" && m.Status == 200 && lost.Load() < 3 {
				lost.Add(1)
				return true
			}
			return false
		})
		watch, _ := w.watch(alice, "202")
		if n := w.server.Stats().Subscriptions - before; n != 1 || lost.Load() != 3 {
			t.Errorf("%d subscriptions after %d lost answers, want 1", n, lost.Load())
		}
		if err := watch.Refresh(w.ctx, time.Hour); err != nil {
			t.Error(err)
		}
	})
}

// A phone that began anew says 481 to what it does not know, and that is forgotten.
func TestFormerLife(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		w.settled()
		before := w.server.Stats().Subscriptions
		for range 3 {
			watch, _ := w.watch(alice, "202")
			watch.Forget()
		}
		w.watch(alice, "202")
		w.settled()
		if n := w.server.Stats().Subscriptions - before; n != 1 {
			t.Errorf("%d subscriptions, want 1", n)
		}
	})
}
