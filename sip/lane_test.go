package sip_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// core is a computer that does one thing at a time, in the order in which it was asked to.
type core chan struct{}

func (c core) compute(d time.Duration) {
	c <- struct{}{}
	time.Sleep(d)
	<-c
}

// slowLamps take their time to say whom a lamp is for, and what it shows.
type slowLamps struct {
	*lamps
	core core
}

func (l slowLamps) Person(account store.ID, extension string) (sip.Person, bool) {
	l.core.compute(5 * time.Millisecond)
	return l.lamps.Person(account, extension)
}

func (l slowLamps) Dialogs(account, user store.ID) []sip.DialogState {
	l.core.compute(5 * time.Millisecond)
	return l.lamps.Dialogs(account, user)
}

// slowSound takes its time to answer an offer.
type slowSound struct {
	*siptest.Silence
	core core
}

func (s slowSound) Answer(offer []byte) ([]byte, error) {
	s.core.compute(time.Millisecond)
	return s.Silence.Answer(offer)
}

// on a computer that needs a quarter of a minute for the lamps of an office that has its power back, a call that is
// up waits for none of them.
func TestCallsPassLamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := make(core, 1)
		s := newStorm(t, 60, 20, ownAddresses, func(s *storm) sip.Lamps { return slowLamps{s.lamps, one} })
		defer s.close()
		s.sound = slowSound{sound(), one}
		call := s.talk()
		defer call.phone.Close()
		s.on()
		slowest, holds := time.Duration(0), 0
		for !s.right() {
			took, err := call.holds(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			slowest = max(slowest, took)
			time.Sleep(100 * time.Millisecond)
			if holds++; time.Since(s.since) > 2*time.Minute {
				t.Fatalf("%d phones offline, %d lamps wrong", s.offline, s.wrong)
			}
		}
		took := time.Since(s.since)
		t.Logf("lamps right after %v; of %d holds none took longer than %v", took, holds, slowest)
		if took < 10*time.Second {
			t.Errorf("the storm was over after %v: it proves nothing", took)
		}
		if slowest > 500*time.Millisecond {
			t.Errorf("a hold took %v", slowest)
		}
		if err := call.line.Bye(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// What finds the lane full is asked to come back: a new lamp by 503, one that stands by 500, which does not end it
// (RFC 5057 §5.1). With room again both are served, and the calls never noticed.
func TestLaneIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		alice := w.registered("alice")
		defer alice.Close()
		p := w.peer(5070)
		asked := 0
		ask := func(tag string) string {
			asked++
			p.send(fmt.Appendf(nil, "SUBSCRIBE sip:202@pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKlane%d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:u-alice@pbx.test>;tag=1\r\nTo: <sip:202@pbx.test>%s\r\nCall-ID: lane%d\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:u-alice@%s>\r\nEvent: dialog\r\nUser-Agent: Yealink SIP-T54W 96.86.0.100\r\nContent-Length: 0\r\n\r\n",
				p.local, asked, tag, asked, p.local))
			return string(p.read(time.Second))
		}
		w.server.CrowdLane(1 << 30)
		if got := ask(""); !strings.HasPrefix(got, "SIP/2.0 503 ") || field(got, "Retry-After") == "" {
			t.Errorf("a new lamp gets %q", got)
		}
		if got := ask(";tag=x"); !strings.HasPrefix(got, "SIP/2.0 500 ") || field(got, "Retry-After") == "" {
			t.Errorf("a lamp that stands gets %q", got)
		}
		if n := w.server.Stats().LampsShed; n != 2 {
			t.Errorf("%d were turned away", n)
		}
		line, _ := w.up(alice)
		if err := line.Bye(t.Context()); err != nil {
			t.Error(err)
		}
		w.server.CrowdLane(-1 << 30)
		if got := ask(""); !strings.HasPrefix(got, "SIP/2.0 401 ") {
			t.Errorf("with room again a new lamp gets %q", got)
		}
	})
}
