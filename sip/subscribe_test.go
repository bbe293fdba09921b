package sip_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pbx/event"
	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// messages sets a mailbox and tells the news.
func (w *world) messages(user string, fresh, old int) {
	id := store.ID("usr_" + user)
	w.boxes.mu.Lock()
	w.boxes.counts[id] = store.MailboxCounts{New: fresh, Old: old}
	w.boxes.mu.Unlock()
	w.bus.Publish(event.News{Kind: event.VoicemailChanged, Account: "acc_1", Users: []store.ID{id}, Data: event.Voicemail{Mailbox: id, New: fresh, Old: old}})
}

func (w *world) wantLamp(p *siptest.Phone, fresh, old int) {
	w.t.Helper()
	within(w.t, 2*time.Second, p.LampChanged(), "lamp")
	if n, o, _ := p.Lamp(); n != fresh || o != old {
		w.t.Errorf("lamp shows %d/%d, want %d/%d", n, o, fresh, old)
	}
}

func TestSubscribedLamp(t *testing.T) {
	bubble(t, func(w *world) {
		w.messages("alice", 2, 1)
		alice := w.phone("alice")
		if err := alice.Subscribe(w.ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		w.wantLamp(alice, 2, 1) // RFC 6665 §4.2.1.2: at once
		n := within(t, time.Second, alice.Notices(), "notify")
		if n.Event != "message-summary" || !strings.HasPrefix(n.State, "active;expires=3600") || n.ContentType != "application/simple-message-summary" ||
			n.Body != "Messages-Waiting: yes\r\nMessage-Account: sip:*97@10.0.0.1\r\nVoice-Message: 2/1 (0/0)\r\n" {
			t.Errorf("notice is %+v", n)
		}
		start := time.Now()
		w.messages("alice", 0, 3)
		w.wantLamp(alice, 0, 3)
		if d := time.Since(start); d > time.Second {
			t.Errorf("lamp after %v, want within 1s", d)
		}
		if err := alice.Subscribe(w.ctx, time.Hour); err != nil { // a refresh brings the state again
			t.Fatal(err)
		}
		w.wantLamp(alice, 0, 3)
		w.messages("bob", 9, 9)
		if err := alice.Subscribe(w.ctx, 0); err != nil {
			t.Fatal(err)
		}
		w.wantLamp(alice, 0, 3)
		var last siptest.Notice
		for len(alice.Notices()) > 0 {
			last = <-alice.Notices()
		}
		if last.State != "terminated;reason=timeout" {
			t.Errorf("last state is %q", last.State)
		}
		w.messages("alice", 5, 5)
		time.Sleep(time.Second)
		if _, _, count := alice.Lamp(); count != 4 {
			t.Errorf("%d notifies, want 4", count)
		}
	})
}

func TestSubscriptionExpires(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.phone("alice")
		var r *sip.Refusal
		if err := alice.Subscribe(w.ctx, 10*time.Second); !errors.As(err, &r) || r.Code != 423 {
			t.Errorf("brief subscription: %v, want 423", err)
		}
		if err := alice.Subscribe(w.ctx, 90*time.Second); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, alice.Notices(), "first notify")
		start := time.Now()
		if n := within(t, 2*time.Minute, alice.Notices(), "last notify"); n.State != "terminated;reason=timeout" {
			t.Errorf("state is %q", n.State)
		}
		if d := time.Since(start).Round(time.Second); d != 90*time.Second {
			t.Errorf("expired after %v, want 90s", d)
		}
		// The phone knows nothing of the end: RFC 6665 §4.1.2.2, it is told 481 and begins anew.
		if err := alice.Subscribe(w.ctx, 90*time.Second); !errors.As(err, &r) || r.Code != 481 {
			t.Errorf("refresh afterwards: %v, want 481", err)
		}
		if err := alice.Subscribe(w.ctx, 90*time.Second); err != nil {
			t.Error(err)
		}
	})
}

// After a restart old subscriptions are unknown, so phones make new ones.
func TestSubscriptionAfterRestart(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.phone("alice")
		if err := alice.Subscribe(w.ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		w.server.Close(w.ctx)
		w.server = w.start()
		var r *sip.Refusal
		if err := alice.Subscribe(w.ctx, time.Hour); !errors.As(err, &r) || r.Code != 481 {
			t.Errorf("refresh: %v, want 481", err)
		}
		if err := alice.Subscribe(w.ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
	})
}

// A subscriber that is gone is forgotten; one that says 481 too.
func TestDeadSubscriber(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.phone("alice")
		if err := alice.Subscribe(w.ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		alice.Vanish()
		w.messages("alice", 1, 0)
		time.Sleep(20 * time.Second)
		if n := w.server.Stats().Subscriptions; n != 1 {
			t.Errorf("%d subscriptions after 20s, want 1", n)
		}
		time.Sleep(20 * time.Second)
		if n := w.server.Stats().Subscriptions; n != 0 {
			t.Errorf("%d subscriptions after 40s, want 0", n)
		}
	})
}

func TestTooManySubscriptions(t *testing.T) {
	bubble(t, func(w *world) {
		for i := range 6 {
			p := w.phone("alice", func(c *siptest.PhoneConfig) { c.Local = addrPort(aliceAddr, 5060+uint16(i)) })
			if err := p.Subscribe(w.ctx, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if n := w.server.Stats().Subscriptions; n != 4 {
			t.Errorf("%d subscriptions, want 4", n)
		}
	})
}

func TestOtherPackages(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.peer(5060)
		defer p.close()
		p.send(fmt.Appendf(nil, "SUBSCRIBE sip:u-alice@pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKs\r\nMax-Forwards: 70\r\nFrom: <sip:u-alice@pbx.test>;tag=1\r\nTo: <sip:u-alice@pbx.test>\r\nCall-ID: s\r\nCSeq: 1 SUBSCRIBE\r\no: conference\r\nContact: <sip:u-alice@10.0.0.99>\r\nContent-Length: 0\r\n\r\n", p.local))
		code, answer := p.status(time.Second)
		if code != 489 || !strings.Contains(string(answer), "Allow-Events: dialog, message-summary, presence, reg\r\n") {
			t.Errorf("answered %d\n%s", code, answer)
		}
	})
}

// Phones that never subscribe get their lamps set all the same.
func TestUnaskedLamp(t *testing.T) {
	bubble(t, func(w *world) {
		w.messages("alice", 1, 0)
		alice, tcp := w.registered("alice"), w.registered("bob", overTCP)
		w.wantLamp(alice, 1, 0)
		w.wantLamp(tcp, 0, 0)
		w.messages("alice", 2, 0)
		w.wantLamp(alice, 2, 0)
		w.messages("bob", 0, 1)
		w.wantLamp(tcp, 0, 1)
		if err := alice.Register(w.ctx, time.Hour); err != nil { // a refresh is no news
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, _, n := alice.Lamp(); n != 2 {
			t.Errorf("%d notifies, want 2", n)
		}
		second := w.registered("alice", overTCP) // another phone on the line is no news for the first
		w.wantLamp(second, 2, 0)
		if _, _, n := alice.Lamp(); n != 2 {
			t.Errorf("%d notifies after a second phone came, want 2", n)
		}
	})
}

func TestCheckSync(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		w.settled()
		for len(alice.Notices()) > 0 {
			<-alice.Notices()
		}
		b := w.binding("alice")
		if err := w.server.Notify(w.ctx, b, "check-sync;reboot=false", "", nil); err != nil {
			t.Fatal(err)
		}
		if n := within(t, time.Second, alice.Notices(), "notify"); n.Event != "check-sync;reboot=false" || n.Body != "" {
			t.Errorf("notice is %+v", n)
		}
		if err := w.server.Notify(w.ctx, b, "check-sync\r\nX: y", "", nil); err == nil {
			t.Error("a line break passed")
		}
		alice.Vanish()
		ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
		defer cancel()
		start := time.Now()
		if err := w.server.Notify(ctx, b, "check-sync", "", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no answer: %v", err)
		}
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("waited %v, want 5s", d)
		}
	})
}
