package calltest_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"

	"pbx/call/calltest"
)

// another registers one more telephone on the line of one that is there.
func (s *scenario) another(name, of, binding string) {
	s.t.Helper()
	u := s.users[s.number(of)]
	lines := s.h.db.Snapshot(s.h.account).LinesOf(u.ID)
	s.h.phones++
	addr := netip.MustParseAddr(fmt.Sprintf("10.0.7.%d", 10+s.h.phones))
	s.h.names[addr] = name
	p, err := calltest.NewPhone(s.t.Context(), calltest.PhoneConfig{
		Name: name, Username: lines[0].Username, Password: string(lines[0].Password), Binding: binding,
		Network: s.h.net.Host(addr), Local: netip.AddrPortFrom(addr, 5060), Server: netip.AddrPortFrom(pbx4, 5060),
		Voice: 400 + 130*float64(len(s.phones)),
	})
	if err == nil {
		err = p.Register(s.t.Context())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.phones[name] = p
}

// TestOrderOfPhones: the telephones of one line ring in the order of their q (RFC 3261 §10.2.1.2), each q when the one
// above has ended or had its share of the time; those of other lines ring at once.
func TestOrderOfPhones(t *testing.T) {
	for name, script := range map[string]string{
		"the one above is busy":      "first refuses with 486\nsecond rings\nthird rings\nlast has no calls\nsecond answers\nalice hears second",
		"the one above only rings":   "first rings\nat 7s\nsecond rings\nat 14s\nlast rings\nlast answers\nfirst is cancelled elsewhere\nsecond is cancelled elsewhere\nalice hears last",
		"a refusal speaks for all":   "first refuses with 603\nalice is refused with 603\nsecond has no calls\nlast has no calls",
		"the other line rings along": "bob rings\nfirst rings\nbob answers\nfirst is cancelled elsewhere\nsecond has no calls",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScenario(t)
				s.play("phones alice 201 own 202 bob 202\nown unregisters")
				s.another("last", "own", ";q=0.1")
				s.another("first", "own", "")
				s.another("second", "own", ";q=0.5")
				s.another("third", "own", ";q=0.50")
				if name != "the other line rings along" {
					s.play("bob unregisters")
				}
				s.play("alice calls 202\n" + script + "\nalice hangs up")
				s.finish()
			})
		})
	}
}

// TestNextFlow: of two flows of one telephone (RFC 5626 §7) the newer is tried, the other only when that has failed, and
// a flow that is reported dead is forgotten.
func TestNextFlow(t *testing.T) {
	for _, tc := range []struct {
		name, script string
		bindings     int // that are left
	}{
		{"one rings", "new rings\nold has no calls\nnew answers\nalice hears new", 2},
		{"it is busy", "new refuses with 486\nalice is refused with 486\nold has no calls", 2},
		{"it has failed", "new refuses with 430\nold rings\nold answers\nalice hears old", 1},
		{"both have failed", "new refuses with 430\nold refuses with 430\nalice is refused with 480", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScenario(t)
				s.play("phones alice 201 own 202\nown unregisters")
				s.another("old", "own", `;reg-id=1;+sip.instance="<urn:uuid:7>"`)
				s.play("wait 2s")
				s.another("new", "own", `;reg-id=2;+sip.instance="<urn:uuid:7>"`)
				s.play("alice calls 202\n" + tc.script + "\nalice hangs up")
				if n := len(s.h.sip.BindingsOfUser(s.users["202"].ID)); n != tc.bindings {
					t.Errorf("%d bindings are left, want %d", n, tc.bindings)
				}
				s.finish()
			})
		})
	}
}
