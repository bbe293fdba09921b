package sip_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pbx/sip"
	"pbx/sip/siptest"
)

// asking is a house that hands over what is asked of it.
type asking struct {
	legs
	asks chan *sip.Transfer
}

func (h asking) Asked(_ *sip.Leg, a sip.Ask) { h.asks <- a.(*sip.Transfer) }

// withAsks runs f in a world whose house grants nothing by itself.
func withAsks(t *testing.T, f func(w *world, asks chan *sip.Transfer)) {
	t.Helper()
	bubble(t, func(w *world) {
		w.server.Close(w.ctx)
		h := asking{w.house, make(chan *sip.Transfer, 16)}
		w.server = w.startWith(h)
		f(w, h.asks)
	})
}

// codes are the statuses that the NOTIFY requests of a transfer told.
func codes(r *siptest.Referral) string {
	var all []string
	for _, line := range r.News() {
		all = append(all, strings.TrimPrefix(line, "SIP/2.0 "))
	}
	return strings.Join(all, ", ")
}

// RFC 3515 §2.4: what a REFER may ask for, and the answers to what it may not.
func TestReferTo(t *testing.T) {
	const replaces = "Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2"
	for _, tc := range []struct {
		name    string
		headers []string
		want    int
		to      string
		id      sip.DialogID
		early   bool
		by      string
	}{
		{name: "plain", headers: []string{"Refer-To: <sip:203@pbx.test>"}, want: 200, to: "203"},
		{name: "without brackets", headers: []string{"Refer-To: sip:203@pbx.test"}, want: 200, to: "203"},
		{name: "compact", headers: []string{"r: <sip:203@pbx.test>"}, want: 200, to: "203"},
		{name: "display name", headers: []string{`Refer-To: "Carol, of sales" <sip:203@pbx.test;user=phone>`}, want: 200, to: "203"},
		{name: "sips", headers: []string{"Refer-To: <sips:203@pbx.test>"}, want: 200, to: "203"},
		{name: "tel", headers: []string{"Refer-To: <tel:+358-40(123);phone-context=x>"}, want: 200, to: "+35840123"},
		{name: "escapes", headers: []string{"Refer-To: <sip:%2343@pbx.test>"}, want: 200, to: "#43"},
		{name: "method INVITE", headers: []string{"Refer-To: <sip:203@pbx.test;method=INVITE>"}, want: 200, to: "203"},
		{name: "other headers", headers: []string{"Refer-To: <sip:203@pbx.test?Accept-Contact=*%3Bmobility&Route=x>"}, want: 200, to: "203"},
		{name: "replaces", headers: []string{"Refer-To: <sip:203@pbx.test?" + replaces + ">"}, want: 200, to: "203", id: sip.DialogID{CallID: "a@b", LocalTag: "1", RemoteTag: "2"}},
		{name: "replaces without brackets", headers: []string{"Refer-To: sip:203@pbx.test?" + replaces}, want: 200, to: "203", id: sip.DialogID{CallID: "a@b", LocalTag: "1", RemoteTag: "2"}},
		{name: "early only", headers: []string{"Refer-To: <sip:203@pbx.test?" + replaces + "%3Bearly-only&Require=replaces>"}, want: 200, to: "203", id: sip.DialogID{CallID: "a@b", LocalTag: "1", RemoteTag: "2"}, early: true},
		{name: "referred by", headers: []string{"Refer-To: <sip:203@pbx.test>", `Referred-By: "Eve" <sip:eve@elsewhere.test>;cid="x"`}, want: 200, to: "203", by: "Eve <sip:eve@elsewhere.test>"},
		{name: "referred by the phone", headers: []string{"Refer-To: <sip:203@pbx.test>", "b: <sip:u-alice@pbx.test>"}, want: 200, to: "203"},

		{name: "none", want: 400},
		{name: "two", headers: []string{"Refer-To: <sip:203@pbx.test>", "Refer-To: <sip:204@pbx.test>"}, want: 400},
		{name: "two in one", headers: []string{"Refer-To: <sip:203@pbx.test>, <sip:204@pbx.test>"}, want: 400},
		{name: "two referred by", headers: []string{"Refer-To: <sip:203@pbx.test>", "Referred-By: <sip:a@b>", "Referred-By: <sip:c@d>"}, want: 400},
		{name: "empty", headers: []string{"Refer-To: "}, want: 400},
		{name: "no user", headers: []string{"Refer-To: <sip:pbx.test>"}, want: 400},
		{name: "another scheme", headers: []string{"Refer-To: <mailto:eve@elsewhere.test>"}, want: 400},
		{name: "empty tel", headers: []string{"Refer-To: <tel:;x=y>"}, want: 400},
		{name: "strange tel", headers: []string{"Refer-To: <tel:12%3412>"}, want: 200, to: "12412"},
		{name: "tel with letters", headers: []string{"Refer-To: <tel:call-me>"}, want: 400},
		{name: "method BYE", headers: []string{"Refer-To: <sip:203@pbx.test;method=BYE>"}, want: 501},
		{name: "replaces twice", headers: []string{"Refer-To: <sip:203@pbx.test?" + replaces + "&" + replaces + ">"}, want: 400},
		{name: "replaces without tags", headers: []string{"Refer-To: <sip:203@pbx.test?Replaces=a%40b>"}, want: 400},
		{name: "replaces with two tags", headers: []string{"Refer-To: <sip:203@pbx.test?" + replaces + "%3Bto-tag%3D3>"}, want: 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			withAsks(t, func(w *world, asks chan *sip.Transfer) {
				c, l := w.established(answerSDP)
				defer c.close()
				c.cseq++
				c.send(c.request("REFER", "r", "", append(tc.headers, "Refer-Sub: false")...))
				code, answer := c.status(time.Second)
				if code != tc.want {
					t.Fatalf("answered %d, want %d\n%s", code, tc.want, answer)
				}
				if code == 200 {
					a := within(t, time.Second, asks, "wish")
					if a.To != tc.to || a.EarlyOnly != tc.early || a.ReferredBy != tc.by || (a.Replaces != nil) != (tc.id.CallID != "") || a.Replaces != nil && *a.Replaces != tc.id {
						t.Errorf("asked for %+v, by %q", a, a.ReferredBy)
					}
					a.Done(603, "Decline")
				} else if len(asks) != 0 {
					t.Error("the house was troubled")
				}
				c.cseq++
				c.send(c.request("BYE", "b", ""))
				if code, _ := c.status(2 * time.Second); code != 200 {
					t.Errorf("BYE answered %d: was there a NOTIFY?", code)
				}
				within(t, time.Second, l.Done(), "end")
			})
		})
	}
}

// RFC 3515 §2.4.4–2.4.7: NOTIFY at once, with what comes, and with the outcome; several transfers are told apart.
func TestReferIsFollowed(t *testing.T) {
	withAsks(t, func(w *world, asks chan *sip.Transfer) {
		alice := w.registered("alice")
		line, l := w.up(alice)
		first, err := line.Refer(w.ctx, "202")
		if err != nil || first.Code != 200 {
			t.Fatal(first.Code, err)
		}
		a := within(t, time.Second, asks, "wish")
		second, err := line.Refer(w.ctx, "203")
		if err != nil || second.Code != 200 {
			t.Fatal(second.Code, err)
		}
		b := within(t, time.Second, asks, "wish")
		a.Progress(180, "Ringing")
		b.Progress(183, "Session Progress")
		a.Progress(180, "Ringing")
		b.Done(486, "Busy Here")
		b.Done(200, "OK") // too late
		within(t, time.Second, second.Done(), "outcome")
		if got := codes(second); got != "100 Trying, 183 Session Progress, 486 Busy Here" {
			t.Errorf("told of the second: %s", got)
		}
		time.Sleep(20 * time.Second)
		// The dialog lives on for its subscription: RFC 5057 §4.1.
		if err := line.Bye(w.ctx); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, l.Done(), "end")
		a.Done(200, "OK")
		within(t, time.Second, first.Done(), "outcome")
		if got := codes(first); got != "100 Trying, 180 Ringing, 200 OK" {
			t.Errorf("told of the first: %s", got)
		}
		if got := strings.Join(first.States(), ", "); got != "active;expires=300, active;expires=300, terminated;reason=noresource" {
			t.Errorf("told of the subscription: %s", got)
		}
		time.Sleep(time.Second)
		if n := w.server.Stats().Legs; n != 0 {
			t.Errorf("%d legs left", n)
		}
	})
}

// RFC 5589 §6.1: the BYE is left to the phone that transferred; one that never sends it gets ours.
func TestReferByeFollows(t *testing.T) {
	for _, polite := range []bool{true, false} {
		t.Run(fmt.Sprint("polite ", polite), func(t *testing.T) {
			withAsks(t, func(w *world, asks chan *sip.Transfer) {
				line, l := w.up(w.registered("alice"))
				r, err := line.Refer(w.ctx, "202")
				if err != nil {
					t.Fatal(err)
				}
				within(t, time.Second, asks, "wish").Done(200, "OK")
				l.HangUp(sip.Cause{})
				within(t, time.Second, l.Done(), "end for the house")
				within(t, time.Second, r.Done(), "outcome")
				if polite {
					if err := line.Bye(w.ctx); err != nil {
						t.Error(err)
					}
				}
				start := time.Now()
				within(t, 3*time.Second, line.Done(), "BYE")
				if took := time.Since(start); !polite && took < time.Second {
					t.Errorf("our BYE came after %v", took)
				}
				time.Sleep(2 * time.Second)
				if n := w.server.Stats().Legs; n != 0 {
					t.Errorf("%d legs left", n)
				}
			})
		})
	}
}

// RFC 6665 §4.1.2.3, §4.2.2: a subscription ends on request, by a 481, and by itself.
func TestReferSubscriptionEnds(t *testing.T) {
	withAsks(t, func(w *world, asks chan *sip.Transfer) {
		line, l := w.up(w.registered("alice"))
		r, err := line.Refer(w.ctx, "202")
		if err != nil {
			t.Fatal(err)
		}
		a := within(t, time.Second, asks, "wish")
		time.Sleep(time.Second)
		if code, err := line.Unsubscribe(w.ctx, r); err != nil || code != 200 {
			t.Errorf("unsubscribed: %d, %v", code, err)
		}
		within(t, time.Second, r.Done(), "end")
		if code, err := line.Unsubscribe(w.ctx, r); err != nil || code != 481 {
			t.Errorf("unsubscribed again: %d, %v", code, err)
		}
		a.Done(603, "Decline")

		again, err := line.Refer(w.ctx, "202")
		if err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, asks, "wish")
		start := time.Now()
		within(t, 10*time.Minute, again.Done(), "end")
		if took := time.Since(start); took < 299*time.Second || took > 301*time.Second {
			t.Errorf("ended after %v", took)
		}
		if states := again.States(); states[len(states)-1] != "terminated;reason=timeout" {
			t.Errorf("told %q", states)
		}
		if got := codes(r); got != "100 Trying, 100 Trying" {
			t.Errorf("told %s", got)
		}
		l.HangUp(sip.Cause{})
		within(t, time.Second, line.Done(), "BYE")
		time.Sleep(time.Minute)
		if n := w.server.Stats().Legs; n != 0 {
			t.Errorf("%d legs left", n)
		}
	})
}

// A phone that answers no NOTIFY, or 481, is told nothing more, and costs nothing more.
func TestReferToDeafPhone(t *testing.T) {
	for _, answer := range []string{"481", "none"} {
		t.Run(answer, func(t *testing.T) {
			withAsks(t, func(w *world, asks chan *sip.Transfer) {
				c, l := w.established(answerSDP)
				defer c.close()
				c.cseq++
				c.send(c.request("REFER", "r", "", "Refer-To: <sip:203@pbx.test>"))
				if code, _ := c.status(time.Second); code != 200 {
					t.Fatalf("answered %d", code)
				}
				a := within(t, time.Second, asks, "wish")
				if answer == "481" {
					notify := string(c.read(time.Second))
					if !strings.HasPrefix(notify, "NOTIFY ") {
						t.Fatalf("got\n%s", notify)
					}
					c.respond(notify, "", 481, "Subscription Does Not Exist", "")
				}
				time.Sleep(40 * time.Second)
				for c.read(time.Millisecond) != nil { // repetitions of the NOTIFY
				}
				a.Progress(180, "Ringing")
				a.Done(486, "Busy Here")
				if got := c.read(time.Minute); got != nil {
					t.Errorf("still told\n%s", got)
				}
				c.cseq++
				c.send(c.request("BYE", "b", ""))
				if code, _ := c.status(2 * time.Second); code != 200 {
					t.Errorf("BYE answered %d", code)
				}
				within(t, time.Second, l.Done(), "end")
			})
		})
	}
}

// Only the phone of the dialog may refer, and only within it.
func TestReferByStrangers(t *testing.T) {
	withAsks(t, func(w *world, asks chan *sip.Transfer) {
		c, _ := w.established(answerSDP)
		defer c.close()
		conn, err := w.net.Host(bobAddr).ListenPacket(w.ctx, netip.AddrPortFrom(bobAddr, 5060))
		if err != nil {
			t.Fatal(err)
		}
		stranger := &caller{peer: &peer{w: w, packets: conn, local: netip.AddrPortFrom(bobAddr, 5060)}, cseq: c.cseq + 1, toTag: c.toTag, target: c.target}
		defer stranger.close()
		stranger.send(stranger.request("REFER", "s", "", "Refer-To: <sip:203@pbx.test>"))
		code, challenge := stranger.status(time.Second)
		if code != 401 {
			t.Errorf("a stranger was answered %d", code)
		}
		// The same phone at another address shows who it is.
		stranger.cseq++
		auth := stranger.authorize(string(challenge), "REFER", c.target)
		stranger.send(stranger.request("REFER", "s2", "", "Refer-To: <sip:203@pbx.test>", auth))
		if code, answer := stranger.status(time.Second); code != 200 {
			t.Errorf("the phone was answered %d\n%s", code, answer)
		}
		within(t, time.Second, asks, "wish").Done(603, "Decline")
		time.Sleep(time.Second)

		alice := w.registered("carol")
		for name, want := range map[string]int{
			"": 403, "Target-Dialog: raw;local-tag=me;remote-tag=" + c.toTag: 481, "Target-Dialog: nothing;local-tag=a;remote-tag=b": 481,
		} {
			headers := []string{"Refer-To: <sip:203@pbx.test>"}
			if name != "" {
				headers = append(headers, name)
			}
			if code, err := alice.Send(w.ctx, "REFER", headers...); err != nil || code != want {
				t.Errorf("%q out of the dialog: %d, %v; want %d", name, code, err, want)
			}
		}
		if len(asks) != 0 {
			t.Error("the house was asked")
		}
	})
}

// There is an end to what one phone may ask for at a time.
func TestReferLimit(t *testing.T) {
	withAsks(t, func(w *world, asks chan *sip.Transfer) {
		line, l := w.up(w.registered("alice"))
		var got []int
		for range 6 {
			r, err := line.Refer(w.ctx, "202")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.Code)
		}
		if want := []int{200, 200, 200, 200, 500, 500}; !slices.Equal(got, want) {
			t.Errorf("answered %v", got)
		}
		for len(asks) > 0 {
			(<-asks).Done(486, "Busy Here")
		}
		time.Sleep(time.Second)
		if r, err := line.Refer(w.ctx, "202"); err != nil || r.Code != 200 {
			t.Errorf("later: %v", err)
		}
		(<-asks).Done(486, "Busy Here")
		l.HangUp(sip.Cause{})
		within(t, time.Second, line.Done(), "BYE")
		time.Sleep(time.Second)
		if r, err := line.Refer(w.ctx, "202"); err != nil || r.Code != 481 {
			t.Errorf("after the end: %v", err)
		}
	})
}

// RFC 3891 §3: which call an INVITE with Replaces finds.
func TestReplaces(t *testing.T) {
	bubble(t, func(w *world) {
		bob, carol := w.registered("bob", autoRing), w.registered("carol")
		early, _ := w.invite("bob")
		ring := within(t, time.Second, bob.Incoming(), "call")
		time.Sleep(time.Second)
		waiting, waitingLeg := w.call(w.registered("alice"), "201")
		if err := waitingLeg.Ring(false); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, waiting.Ringing(), "ringing")

		swap := func(s string) string {
			return strings.NewReplacer("to-tag", "from-tag", "from-tag", "to-tag").Replace(s)
		}
		try := func(what string, want int, of *sip.Leg, headers ...string) {
			t.Helper()
			line, err := carol.CallWith(w.ctx, "201", headers...)
			if err != nil {
				t.Fatal(err)
			}
			if want == 0 {
				l := within(t, time.Second, w.house, "call of carol")
				if got, _ := l.Replaces(); got != of {
					t.Errorf("%s: found %v", what, got)
				}
				l.Refuse(480, "Temporarily Unavailable")
				within(t, time.Second, line.Done(), "end")
				return
			}
			within(t, time.Second, line.Done(), "end")
			if line.Code() != want || len(w.house) != 0 {
				t.Errorf("%s: answered %d, want %d", what, line.Code(), want)
			}
		}
		try("ringing", 0, early, "Replaces: "+ring.Replaces())
		try("ringing, early only", 0, early, "Replaces: "+ring.Replaces()+";early-only", "Require: replaces")
		try("tags mixed up", 0, early, "Replaces: "+swap(ring.Replaces()))
		try("a call that waits for our answer", 481, nil, "Replaces: "+waiting.Replaces())
		try("unknown", 481, nil, "Replaces: nobody;to-tag=1;from-tag=2")
		try("wrong tag", 481, nil, "Replaces: "+ring.Replaces()+"x")
		try("two", 400, nil, "Replaces: "+ring.Replaces(), "Replaces: "+waiting.Replaces())
		try("without tags", 400, nil, "Replaces: nobody")
		try("with Join", 400, nil, "Replaces: "+ring.Replaces(), "Join: nobody;to-tag=1;from-tag=2")

		go ring.Answer(w.ctx)
		within(t, time.Second, early.Answered(), "answer")
		time.Sleep(time.Second)
		try("answered", 0, early, "Replaces: "+ring.Replaces())
		try("answered, early only", 486, nil, "Replaces: "+ring.Replaces()+";early-only")
		if l := w.server.Find(early.DialogID()); l != early {
			t.Errorf("found %v", l)
		}
		if code, err := carol.Send(w.ctx, "OPTIONS", "Replaces: "+ring.Replaces()); err != nil || code != 400 {
			t.Errorf("OPTIONS with Replaces: %d, %v", code, err)
		}
		replaces := ring.Replaces()
		early.HangUp(sip.Cause{})
		within(t, time.Second, ring.Done(), "BYE")
		time.Sleep(time.Second)
		try("ended", 603, nil, "Replaces: "+replaces)
		time.Sleep(time.Minute)
		try("ended long ago", 481, nil, "Replaces: "+replaces)
		waitingLeg.Refuse(486, "Busy Here")
	})
}
