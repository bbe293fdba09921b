package calltest_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pbx/call/calltest"
	"pbx/event"
	"pbx/store"
	"pbx/store/sqlite"
)

// addCarrier makes a carrier, which is a phone that does not register, and the trunk to it: “carrier alpha national in 1”.
func (s *scenario) addCarrier(ctx context.Context, w []string) error {
	name := w[0]
	addr := netip.AddrFrom4([4]byte{10, 0, 9, byte(10 + len(s.phones))})
	t := store.Trunk{
		Name: name, Enabled: true, Host: addr.String(), Identity: "pai", TrustIdentity: true, Diversion: "diversion", Format: "e164",
		Priority: len(s.phones),
	}
	c := calltest.PhoneConfig{
		Name: name, Username: name, Network: s.h.net.Host(addr), Local: netip.AddrPortFrom(addr, 5060), Server: netip.AddrPortFrom(pbx4, 5060),
		Voice: 400 + 130*float64(len(s.phones)),
	}
	words := strings.Fields(w[1])
	for i := 0; i < len(words); i++ {
		number := func() (n int, err error) {
			if i++; i >= len(words) {
				return 0, fmt.Errorf("%s how many?", words[i-1])
			}
			_, err = fmt.Sscan(words[i], &n)
			return n, err
		}
		var err error
		switch words[i] {
		case "digits", "national", "00":
			t.Format = words[i]
		case "off":
			t.Enabled = false
		case "verifying":
			t.TrustVerstat = true
		case "distrusted":
			t.TrustIdentity, t.Identity, t.Diversion = false, "from", "none"
		case "PCMU", "PCMA", "G722", "opus":
			t.Codecs = append(t.Codecs, words[i])
		case "in":
			t.MaxIn, err = number()
		case "out":
			t.MaxOut, err = number()
		case "most":
			t.MaxCalls, err = number()
		case "reserve":
			t.EmergencyReserve, err = number()
		default:
			err = fmt.Errorf("what is %q?", words[i])
		}
		if err != nil {
			return err
		}
	}
	if err := s.h.db.Update(ctx, store.System, s.h.account, func(tx *sqlite.Tx) error { return tx.CreateTrunk(&t) }); err != nil {
		return err
	}
	p, err := calltest.NewPhone(ctx, c)
	if err != nil {
		return err
	}
	s.h.names[addr], s.phones[name] = name, p
	return nil
}

// addNumber says where a number leads: “number +12015550101 leads to alice”, “… to +442079460958”, “… to nobody”.
func (s *scenario) addNumber(ctx context.Context, w []string) error {
	n := store.Number{Number: w[0], Kind: "managed", Status: "active", Destination: store.Destination{Type: "hangup"}}
	switch u := s.users[s.number(w[1])]; {
	case u != nil:
		n.Destination = store.Destination{Type: "user", ID: u.ID}
	case strings.HasPrefix(w[1], "+"):
		n.Destination = store.Destination{Type: "external", Number: w[1]}
	}
	return s.h.db.Update(ctx, store.System, s.h.account, func(tx *sqlite.Tx) error { return tx.CreateNumber(&n) })
}

// accountShows sets the number that calls to the outside show.
func (s *scenario) accountShows(ctx context.Context, w []string) error {
	return s.h.db.Update(ctx, store.System, s.h.account, func(tx *sqlite.Tx) error {
		a := tx.Account()
		for _, n := range tx.Numbers() {
			if n.Number == w[0] {
				a.DefaultOutboundNumberID = n.ID
			}
		}
		a.OutboundCountries = []string{"*"}
		return tx.SaveAccount(&a, 0)
	})
}

// bring has a carrier bring a call; from "anonymous" it asks for privacy. A call in vain is refused before the house makes a record of it.
func (s *scenario) bring(ctx context.Context, w []string) error {
	headers := []string{"P-Asserted-Identity: <sip:" + w[1] + "@carrier.example>"}
	if w[1] == "anonymous" {
		headers = []string{"P-Asserted-Identity: <sip:+15559999@carrier.example>", "Privacy: id"}
	}
	c, err := s.phones[w[0]].CallWith(ctx, w[2], headers...)
	if err != nil {
		return err
	}
	if w[3] != "" {
		<-c.Done()
		if c.Code() < 400 {
			return fmt.Errorf("ended with %d", c.Code())
		}
		return nil
	}
	s.dialed++
	s.calls[w[0]] = append(s.calls[w[0]], c)
	return nil
}

// isToldThat looks into the INVITE that a carrier got: “alpha is told that From is <sip:+12015550100@”.
func (s *scenario) isToldThat(ctx context.Context, w []string) error {
	c, err := s.rings(ctx, w[0])
	if err != nil {
		return err
	}
	got := c.Header(w[1])
	if want := w[2]; want == "absent" && got != "" || want != "absent" && !strings.HasPrefix(got, want) {
		return fmt.Errorf("is told %q", got)
	}
	return nil
}

// TestEmergencyIsTold: whoever watches learns of an emergency call when it is dialled, before anybody answers.
func TestEmergencyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t)
		news := s.h.bus.Reader()
		s.play("phones alice 201\ncarrier alpha\nalice calls 9911\nalpha rings")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for {
			n, err := news.Next(ctx)
			if err != nil {
				t.Error("nobody was told:", err)
				break
			}
			if c, is := n.Data.(event.Call); is && n.Kind == event.EmergencyCalled {
				if c.Caller.Extension != "201" || c.Callee.Number != "911" || c.AnsweredAt != nil || n.Account != s.h.account {
					t.Errorf("told %+v", c)
				}
				break
			}
		}
		log, _, err := s.h.db.Activity(t.Context(), s.h.account, store.ActivityFilter{Event: []string{"call.emergency"}}, store.Page{})
		if err != nil || len(log) != 1 || string(log[0].Detail) != `{"caller":"alice (201)","extension":"201","number":"911","trunks":["alpha"]}` {
			t.Errorf("the activity log has %+v, %v", log, err)
		}
		s.play("alpha answers\nalice hears alpha\nalice hangs up\nrecord: answered, alice → 911")
		s.finish()
	})
}
