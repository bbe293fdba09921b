package sip_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pbx/event"
	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

var (
	oneAddr = netip.MustParseAddrPort("192.0.2.1:5060")
	twoAddr = netip.MustParseAddrPort("192.0.2.2:5060")
	pbxPort = netip.AddrPortFrom(pbxAddr, 5060)
)

// books are the trunks as a database has them.
type books struct {
	mu   sync.Mutex
	rows []store.Trunk
}

func (b *books) Trunks() []store.Trunk {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.rows)
}

// trunkWorld is a world with trunks, two carriers and a name server.
type trunkWorld struct {
	*world
	books    *books
	one, two *siptest.Carrier
	dns      *nameserver
	news     *event.Reader
}

// zone leads carrier.test to one and then to two.
var zone = []string{
	`_sip._udp.carrier.test. 3600 IN SRV 1 0 5060 one.carrier.test.`,
	`_sip._udp.carrier.test. 3600 IN SRV 2 0 5060 two.carrier.test.`,
	`one.carrier.test. 3600 IN A 192.0.2.1`,
	`two.carrier.test. 3600 IN A 192.0.2.2`,
}

func trunkRow(change func(*store.Trunk)) store.Trunk {
	t := store.Trunk{
		ID: "trk_1", AccountID: "acc_1", Name: "Carrier", Enabled: true, Host: "carrier.test",
		Username: "user1", Password: "secret1", Identity: "from", Diversion: "none", Format: "e164",
	}
	if change != nil {
		change(&t)
	}
	return t
}

func trunkBubble(t *testing.T, rows []store.Trunk, f func(w *trunkWorld), config ...func(*sip.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &trunkWorld{books: &books{}}
		w.world = newWorld(t, append(config, func(c *sip.Config) {
			c.Nameservers = []netip.AddrPort{dnsAddr}
			c.Trunks = w.books
		})...)
		var err error
		if w.one, err = siptest.NewCarrier(w.ctx, w.net, oneAddr); err != nil {
			t.Fatal(err)
		}
		if w.two, err = siptest.NewCarrier(w.ctx, w.net, twoAddr); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*siptest.Carrier{w.one, w.two} {
			c.Want("user1", "secret1", false)
		}
		w.dns = w.nameserver(zone...)
		w.news = w.bus.ReaderAfter(0)
		defer w.dns.close()
		defer w.one.Close()
		defer w.two.Close()
		defer w.close()
		w.change(rows...)
		synctest.Wait()
		f(w)
	})
}

// change changes the books and tells the house.
func (w *trunkWorld) change(rows ...store.Trunk) {
	w.books.mu.Lock()
	w.books.rows = rows
	w.books.mu.Unlock()
	w.bus.Publish(event.News{Kind: event.ObjectChanged, Account: "acc_1", Data: event.Object{Type: "trunk", ID: "trk_1"}})
}

func (w *trunkWorld) status() store.TrunkStatus {
	w.t.Helper()
	synctest.Wait()
	st, ok := w.server.TrunkStatus("trk_1")
	if !ok {
		w.t.Fatal("no status of the trunk")
	}
	return st
}

func (w *trunkWorld) expectStatus(registered, reachable bool, reason, target string) {
	w.t.Helper()
	st := w.status()
	if st.Registered != registered || st.Reachable != reachable || st.Reason != reason || st.Target != target {
		w.t.Errorf("at %v: registered %v, reachable %v, %q, %q; want %v, %v, %q, %q", time.Since(w.net.Start()),
			st.Registered, st.Reachable, st.Reason, st.Target, registered, reachable, reason, target)
	}
}

// expectTimes compares when requests came, to the tenth of a second.
func expectTimes(t *testing.T, what string, got []time.Duration, want ...time.Duration) {
	t.Helper()
	for i := range got {
		got[i] = got[i].Round(100 * time.Millisecond)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s came at %v, want %v", what, got, want)
	}
}

func TestTrunkRegisters(t *testing.T) {
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		t.Run(algorithm, func(t *testing.T) {
			row := trunkRow(func(t *store.Trunk) { t.Register, t.Expiry = true, 5*time.Minute })
			trunkBubble(t, []store.Trunk{row}, func(w *trunkWorld) {
				w.one.Want("user1", "secret1", algorithm == "SHA-256")
				time.Sleep(time.Second)
				w.expectStatus(true, true, "registered", "udp 192.0.2.1:5060")
				all := w.one.Got("REGISTER")
				if len(all) != 2 {
					t.Fatalf("%d REGISTER requests, want one without and one with credentials", len(all))
				}
				first, second := all[0], all[1]
				if first.URI != "sip:carrier.test" || first.Header("From") != second.Header("From") || first.Header("Call-ID") != second.Header("Call-ID") ||
					!strings.HasPrefix(first.Header("To"), "<sip:user1@carrier.test>") || first.Header("Expires") != "300" {
					t.Errorf("strange registration:\n%s", first.Text)
				}
				if second.Header("CSeq") != "2 REGISTER" || first.Header("Via") == second.Header("Via") {
					t.Errorf("the second is no request of its own:\n%s", second.Text)
				}
				// 300 s less a margin of 60 s.
				time.Sleep(240 * time.Second)
				expectTimes(t, "REGISTER", w.one.Times("REGISTER"), 0, 0, 240*time.Second, 240*time.Second)
				if n := len(w.two.Got("")); n != 0 {
					t.Errorf("the second place got %d requests", n)
				}

				// A change of the password acts at once, and the old registration is ended.
				row.Password = "another"
				w.one.Want("user1", "another", algorithm == "SHA-256")
				w.change(row)
				time.Sleep(time.Second)
				w.expectStatus(true, true, "registered", "udp 192.0.2.1:5060")

				// Switched off: unregistered, and unknown from then on.
				row.Enabled = false
				w.change(row)
				time.Sleep(time.Second)
				all = w.one.Got("REGISTER")
				if last := all[len(all)-1]; last.Header("Expires") != "0" || last.Header("Contact") != all[len(all)-3].Header("Contact") || all[len(all)-3].Header("Expires") != "300" {
					t.Errorf("not unregistered:\n%s", last.Text)
				}
				if _, ok := w.server.TrunkStatus("trk_1"); ok {
					t.Error("a trunk that is switched off has a status")
				}
			})
		})
	}
}

// TestTrunkRegistrationNews: what the portal hears of a registration that fails, recovers, and moves.
func TestTrunkRegistrationNews(t *testing.T) {
	row := trunkRow(func(t *store.Trunk) { t.Register = true })
	trunkBubble(t, []store.Trunk{row}, func(w *trunkWorld) {
		w.one.Refuse(403, "Forbidden")
		var got []string
		next := func() {
			for {
				n, err := w.news.Next(w.ctx)
				if err != nil {
					t.Fatal(err)
				}
				if d, ok := n.Data.(event.Trunk); ok {
					got = append(got, fmt.Sprint(n.Kind, " ", n.Account, " ", d.Reason, " registered ", d.Registered, " alarm ", d.Alarm))
					return
				}
			}
		}
		next()
		w.one.Oblige()
		next()
		want := []string{
			"trunk.changed acc_1 403 Forbidden registered false alarm true",
			"trunk.changed acc_1 registered registered true alarm false",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
	})
}

// TestTrunkBackoff: a registration that fails is tried again after 30 s, then less and less often, never less than every 30 minutes; and resumes by itself.
func TestTrunkBackoff(t *testing.T) {
	row := trunkRow(func(t *store.Trunk) { t.Register, t.Host = true, "192.0.2.1" })
	trunkBubble(t, []store.Trunk{row}, func(w *trunkWorld) {
		w.one.Refuse(500, "Server Internal Error")
		time.Sleep(12 * time.Hour)
		times := w.one.Times("REGISTER")
		low := []time.Duration{30, 60, 120, 240, 480, 960, 1350}
		for i := 1; i < len(times); i++ {
			gap := times[i] - times[i-1]
			least := low[min(i-1, len(low)-1)] * time.Second
			if gap < least-time.Second || gap > least*4/3+time.Second || gap > 30*time.Minute+time.Second {
				t.Errorf("try %d came after %v, want %v and a third more at most", i, gap, least)
			}
		}
		if len(times) < 24+6 || len(times) > 12*60/22+7 {
			t.Errorf("%d tries in 12 hours", len(times))
		}
		w.expectStatus(false, true, "500 Server Internal Error", "udp 192.0.2.1:5060")
		w.one.Oblige()
		time.Sleep(31 * time.Minute)
		w.expectStatus(true, true, "registered", "udp 192.0.2.1:5060")
	})
}

// TestTrunkTwoNonces is R-13 and RFC 3261 §22: a carrier that answers each attempt with a new nonce is not fought with.
func TestTrunkTwoNonces(t *testing.T) {
	for _, tc := range []struct {
		name, more string
		want       int
	}{
		{"a new nonce is no reason to try again", "", 2},
		{"stale is, once", ", stale=true", 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			row := trunkRow(func(t *store.Trunk) { t.Register = true })
			trunkBubble(t, []store.Trunk{row}, func(w *trunkWorld) {
				w.one.Script(func(siptest.Received) []siptest.Reply { return []siptest.Reply{w.one.Challenge(tc.more)} })
				time.Sleep(20 * time.Second)
				if n := len(w.one.Got("REGISTER")); n != tc.want {
					t.Errorf("sent %d times, want %d", n, tc.want)
				}
				w.expectStatus(false, true, "401 Unauthorized", "udp 192.0.2.1:5060")
				if n := len(w.two.Got("")); n != 0 {
					t.Errorf("a refusal was taken to the second place: %d requests", n)
				}
			})
		})
	}
}

// TestTrunkChallenges: the topmost challenge that we know is answered, by 401 or 407.
func TestTrunkChallenges(t *testing.T) {
	row := trunkRow(func(t *store.Trunk) { t.Register, t.AuthUsername = true, "auth1" })
	trunkBubble(t, []store.Trunk{row}, func(w *trunkWorld) {
		w.one.Want("auth1", "secret1", false)
		w.one.Script(func(r siptest.Received) []siptest.Reply {
			if w.one.Authorized(r) && r.Header("Proxy-Authorization") != "" {
				return w.one.Obliging(r)
			}
			return []siptest.Reply{{Code: 407, Reason: "Proxy Authentication Required", Headers: []string{
				`Proxy-Authenticate: Basic realm="carrier.test"`,
				`Proxy-Authenticate: Digest realm="carrier.test", nonce="n1", algorithm=SHA-512-256, qop="auth"`,
				`Proxy-Authenticate: Digest realm="carrier.test", nonce="n2", qop="auth-int,auth", opaque="o\"p"`,
				`Proxy-Authenticate: Digest realm="carrier.test", nonce="n3", algorithm=SHA-256, qop="auth"`,
			}}}
		})
		time.Sleep(time.Second)
		w.expectStatus(true, true, "registered", "udp 192.0.2.1:5060")
		last := w.one.Got("REGISTER")[1].Header("Proxy-Authorization")
		if !strings.Contains(last, `nonce="n2"`) || !strings.Contains(last, `opaque="o\"p"`) || !strings.Contains(last, "qop=auth, nc=00000001") {
			t.Errorf("credentials: %s", last)
		}
	})
}

// TestTrunkIntervalTooBrief is RFC 3261 §10.2.8.
func TestTrunkIntervalTooBrief(t *testing.T) {
	row := trunkRow(func(t *store.Trunk) { t.Register, t.Expiry = true, time.Minute })
	trunkBubble(t, []store.Trunk{row}, func(w *trunkWorld) {
		w.one.Want("", "", false)
		w.one.Script(func(r siptest.Received) []siptest.Reply {
			if r.Header("Expires") == "60" {
				return []siptest.Reply{{Code: 423, Reason: "Interval Too Brief", Headers: []string{"Min-Expires: 900"}}}
			}
			return w.one.Obliging(r)
		})
		time.Sleep(15 * time.Minute)
		expectTimes(t, "REGISTER", w.one.Times("REGISTER"), 0, 0, 840*time.Second)
		w.expectStatus(true, true, "registered", "udp 192.0.2.1:5060")
	})
}

// TestTrunkRegistersElsewhere: a registrar that is silent or overloaded is left for the next place.
func TestTrunkRegistersElsewhere(t *testing.T) {
	for _, tc := range []struct {
		name   string
		refuse func(c *siptest.Carrier)
		at     time.Duration // of the second place
	}{
		{"silent", func(c *siptest.Carrier) { c.Refuse(0, "") }, 4 * time.Second},
		{"503", func(c *siptest.Carrier) { c.Refuse(503, "Service Unavailable", "Retry-After: 120") }, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			row := trunkRow(func(t *store.Trunk) { t.Register, t.Expiry = true, 2*time.Minute })
			trunkBubble(t, []store.Trunk{row}, func(w *trunkWorld) {
				tc.refuse(w.one)
				time.Sleep(5 * time.Second)
				expectTimes(t, "REGISTER to two", w.two.Times("REGISTER"), tc.at, tc.at)
				w.expectStatus(true, true, "registered", "udp 192.0.2.2:5060")
				// A place that came back is used again once it is no longer avoided.
				w.one.Oblige()
				time.Sleep(5 * time.Minute)
				w.expectStatus(true, true, "registered", "udp 192.0.2.1:5060")
			})
		})
	}
}

// TestTrunkWatched: OPTIONS tell whether a carrier is there; any answer but 408 and 503 says that it is.
func TestTrunkWatched(t *testing.T) {
	row := trunkRow(func(t *store.Trunk) { t.Options = true })
	trunkBubble(t, []store.Trunk{row}, func(w *trunkWorld) {
		w.one.Refuse(404, "Not Found")
		time.Sleep(time.Second)
		w.expectStatus(false, true, "answers", "udp 192.0.2.1:5060")
		if st := w.status(); st.RTT != 2*time.Millisecond {
			t.Errorf("round trip %v, want 2ms", st.RTT)
		}
		time.Sleep(time.Minute)
		expectTimes(t, "OPTIONS", w.one.Times("OPTIONS"), 0, 30*time.Second, 60*time.Second)

		w.one.Refuse(503, "Service Unavailable")
		time.Sleep(30 * time.Second)
		w.expectStatus(false, true, "answers", "udp 192.0.2.2:5060")
		w.two.Refuse(0, "")
		time.Sleep(40 * time.Second)
		w.expectStatus(false, false, "no answer", "udp 192.0.2.2:5060")
		before := w.status().Since
		time.Sleep(5 * time.Minute)
		if since := w.status().Since; since != before {
			t.Errorf("the same trouble began at %v and then at %v", before, since)
		}
		w.two.Refuse(408, "Request Timeout")
		time.Sleep(20 * time.Second)
		w.expectStatus(false, false, "408 Request Timeout", "udp 192.0.2.2:5060")
		w.one.Oblige()
		time.Sleep(20 * time.Second)
		w.expectStatus(false, true, "answers", "udp 192.0.2.1:5060")
	})
}

// TestTrunkNamesFail: a trunk that cannot be looked up says so, and is back once it can.
func TestTrunkNamesFail(t *testing.T) {
	row := trunkRow(func(t *store.Trunk) { t.Register = true; t.Host = "late.test" })
	trunkBubble(t, []store.Trunk{row}, func(w *trunkWorld) {
		time.Sleep(4 * time.Second)
		w.expectStatus(false, false, "no address found", "")
		w.dns.set(`late.test. 60 IN A 192.0.2.2`)
		time.Sleep(3 * time.Minute)
		w.expectStatus(true, true, "registered", "udp 192.0.2.2:5060")
	})
}

// TestTrunkLeavesAtTheEnd: a house that stops ends its registrations, and does not wait for carriers that are silent.
func TestTrunkLeavesAtTheEnd(t *testing.T) {
	other := trunkRow(func(t *store.Trunk) { t.ID, t.Register, t.Host = "trk_2", true, "192.0.2.2" })
	trunkBubble(t, []store.Trunk{trunkRow(func(t *store.Trunk) { t.Register = true }), other}, func(w *trunkWorld) {
		time.Sleep(time.Second)
		w.two.Refuse(0, "")
		start := time.Now()
		w.close()
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("stopping took %v", d)
		}
		all := w.one.Got("REGISTER")
		if last := all[len(all)-1]; last.Header("Expires") != "0" {
			t.Errorf("not unregistered:\n%s", last.Text)
		}
		w.server = w.start() // what the bubble closes
	})
}

// zoneTCP leads carrier.test to the same places by TCP.
var zoneTCP = append(slices.Clone(zone),
	`_sip._tcp.carrier.test. 3600 IN SRV 1 0 5060 one.carrier.test.`,
	`_sip._tcp.carrier.test. 3600 IN SRV 2 0 5060 two.carrier.test.`)

// TestTrunkOverTCP: the connection that carries a registration is pinged; when it is cut or falls silent the registration is made anew (RFC 5626 §4.5).
func TestTrunkOverTCP(t *testing.T) {
	row := trunkRow(func(t *store.Trunk) { t.Register, t.Transport = true, "tcp" })
	trunkBubble(t, nil, func(w *trunkWorld) {
		w.dns.set(zoneTCP...)
		w.change(row)
		time.Sleep(time.Second)
		w.expectStatus(true, true, "registered", "tcp 192.0.2.1:5060")
		uri := contact(t, w.one)
		if !strings.HasSuffix(uri, "@10.0.0.1:5060;transport=tcp") {
			t.Errorf("registered %s", uri)
		}
		time.Sleep(2 * time.Minute)
		if n := len(w.one.Got("REGISTER")); n != 2 {
			t.Errorf("%d REGISTER while all is well", n)
		}
		if w.one.Cut() != 1 {
			t.Error("there was not one connection")
		}
		time.Sleep(26 * time.Second)
		if n := len(w.one.Got("REGISTER")); n != 4 {
			t.Errorf("%d REGISTER after the connection was cut, want two more", n)
		}
		w.expectStatus(true, true, "registered", "tcp 192.0.2.1:5060")

		l := w.mustDial(nil)
		within(t, 5*time.Second, l.Answered(), "answer")
		w.one.Cut()
		time.Sleep(10 * time.Millisecond)
		l.HangUp(sip.Cause{})
		within(t, time.Second, l.Done(), "end")
		time.Sleep(time.Second)
		if n := len(w.one.Got("BYE")); n != 2 { // over a new connection, without and with credentials
			t.Errorf("%d BYE after the connection was cut", n)
		}

		// A place that refuses connections is left at once.
		w.one.CloseTCP()
		w.one.Cut()
		w.net.Restart()
		l = w.mustDial(nil)
		within(t, 2*time.Second, l.Answered(), "answer of the second place")
		expectTimes(t, "INVITE to two", w.two.Times("INVITE"), 0, 0)
		l.HangUp(sip.Cause{})
		time.Sleep(30 * time.Second)
		w.expectStatus(true, true, "registered", "tcp 192.0.2.2:5060")
	})
}

func (w *trunkWorld) dial(change func(*sip.Outgoing)) (*sip.Leg, error) {
	o := sip.Outgoing{Trunk: "trk_1", Number: "+4930123456", From: sip.Identity{Display: "Alice", User: "+49301000"}, Sound: sound()}
	if change != nil {
		change(&o)
	}
	return w.server.Invite(w.ctx, o)
}

func (w *trunkWorld) mustDial(change func(*sip.Outgoing)) *sip.Leg {
	w.t.Helper()
	l, err := w.dial(change)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// TestTrunkCall is a call over a trunk with a digest challenge to INVITE and BYE.
func TestTrunkCall(t *testing.T) {
	trunkBubble(t, []store.Trunk{trunkRow(nil)}, func(w *trunkWorld) {
		l := w.mustDial(nil)
		if l.Trunk() != "trk_1" || l.Account() != "acc_1" {
			t.Errorf("leg of trunk %q, account %q", l.Trunk(), l.Account())
		}
		within(t, 5*time.Second, l.Answered(), "answer")
		if st := w.status(); st.Calls != 1 || !st.Reachable || st.Target != "udp 192.0.2.1:5060" {
			t.Errorf("status %+v", st)
		}
		if l.Peer() != oneAddr.Addr() || l.Local() != pbxAddr {
			t.Errorf("from %v to %v", l.Local(), l.Peer())
		}
		if err := l.Renegotiate(w.ctx); err != nil {
			t.Errorf("re-INVITE: %v", err)
		}
		l.HangUp(sip.Cause{})
		within(t, time.Second, l.Done(), "end")
		time.Sleep(time.Second)
		invites, byes := w.one.Got("INVITE"), w.one.Got("BYE")
		if len(invites) != 4 || len(byes) != 2 {
			t.Fatalf("%d INVITE, %d BYE; want each without and with credentials", len(invites), len(byes))
		}
		if r := invites[1]; r.URI != "sip:+4930123456@carrier.test" || r.Header("To") != "<sip:+4930123456@carrier.test>" ||
			!strings.HasPrefix(r.Header("From"), `"Alice" <sip:+49301000@carrier.test>;tag=`) || r.Header("CSeq") != "2 INVITE" {
			t.Errorf("INVITE:\n%s", r.Text)
		}
		acks := w.one.Got("ACK")
		if len(acks) != 4 {
			t.Fatalf("%d ACK", len(acks))
		}
		for i, ack := range acks { // RFC 3261 §22.1
			if ack.Header("Authorization") != invites[i].Header("Authorization") || !strings.HasPrefix(ack.Header("CSeq"), strings.TrimSuffix(invites[i].Header("CSeq"), "INVITE")) {
				t.Errorf("ACK %d has other credentials than its INVITE:\n%s", i, ack.Text)
			}
		}
		if !w.one.Authorized(byes[1]) || byes[1].URI != "sip:192.0.2.1:5060" {
			t.Errorf("BYE:\n%s", byes[1].Text)
		}
		if st := w.status(); st.Calls != 0 {
			t.Errorf("%d calls are up", st.Calls)
		}
	})
}

// TestTrunkFailover is R-13: which failures of a place lead to the next one, and when.
func TestTrunkFailover(t *testing.T) {
	for _, tc := range []struct {
		name   string
		one    func(c *siptest.Carrier)
		second time.Duration // when the second place gets the INVITE; negative: never
		code   int           // of the leg's end when never
	}{
		{"silence", func(c *siptest.Carrier) { c.Refuse(0, "") }, 4 * time.Second, 0},
		{"503", func(c *siptest.Carrier) { c.Refuse(503, "Service Unavailable") }, 0, 0},
		{"503 after the challenge", func(c *siptest.Carrier) {
			c.Script(func(r siptest.Received) []siptest.Reply {
				if !c.Authorized(r) {
					return c.Obliging(r)
				}
				return []siptest.Reply{{Code: 503, Reason: "Service Unavailable"}}
			})
		}, 0, 0},
		{"503 after ringing", func(c *siptest.Carrier) {
			c.Script(func(r siptest.Received) []siptest.Reply {
				return []siptest.Reply{{Code: 183, Reason: "Session Progress"}, {Code: 503, Reason: "Service Unavailable", After: 2 * time.Second}}
			})
		}, 2 * time.Second, 0},
		{"a socket that is gone", func(c *siptest.Carrier) { c.Close() }, 4 * time.Second, 0},
		{"busy is an answer", func(c *siptest.Carrier) { c.Refuse(486, "Busy Here") }, -1, 486},
		{"so is 500", func(c *siptest.Carrier) { c.Refuse(500, "Server Internal Error") }, -1, 500},
		{"and 408", func(c *siptest.Carrier) { c.Refuse(408, "Request Timeout") }, -1, 408},
		{"credentials refused", func(c *siptest.Carrier) { c.Want("user1", "other", false) }, -1, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			trunkBubble(t, []store.Trunk{trunkRow(nil)}, func(w *trunkWorld) {
				tc.one(w.one)
				l := w.mustDial(nil)
				if tc.second < 0 {
					within(t, time.Second, l.Done(), "end")
					if c := l.Cause(); c.Code != tc.code {
						t.Errorf("ended with %+v, want %d", c, tc.code)
					}
					if n := len(w.two.Got("")); n != 0 {
						t.Errorf("the second place got %d requests", n)
					}
					if n := len(w.one.Got("INVITE")); n > 2 { // each 401 has another nonce
						t.Errorf("sent %d times", n)
					}
					return
				}
				within(t, 10*time.Second, l.Answered(), "answer of the second place")
				expectTimes(t, "INVITE to two", w.two.Times("INVITE"), tc.second, tc.second)
				l.HangUp(sip.Cause{})
				within(t, time.Second, l.Done(), "end")

				// The place that failed is not tried first again.
				w.net.Restart()
				l = w.mustDial(nil)
				within(t, 3*time.Second, l.Answered(), "answer to the second call")
				l.HangUp(sip.Cause{})
				within(t, time.Second, l.Done(), "end")
			})
		})
	}
}

// TestTrunkLateAnswers: what a slow place makes of an INVITE that was left for another one is cancelled, or acknowledged and ended.
func TestTrunkLateAnswers(t *testing.T) {
	for _, tc := range []struct {
		name  string
		reply siptest.Reply
		want  []string // that the slow place gets after the INVITE
	}{
		{"180", siptest.Reply{Code: 180, Reason: "Ringing", After: 5 * time.Second}, []string{"CANCEL"}},
		{"200", siptest.Reply{Code: 200, Reason: "OK", SDP: true, After: 5 * time.Second}, []string{"ACK", "BYE"}},
		{"486", siptest.Reply{Code: 486, Reason: "Busy Here", After: 5 * time.Second}, []string{"ACK"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			trunkBubble(t, []store.Trunk{trunkRow(nil)}, func(w *trunkWorld) {
				told := false
				w.one.Script(func(r siptest.Received) []siptest.Reply {
					switch {
					case r.Method != "INVITE":
						return []siptest.Reply{{Code: 200, Reason: "OK"}}
					case told:
						return nil
					}
					told = true
					return []siptest.Reply{tc.reply}
				})
				l := w.mustDial(nil)
				within(t, 10*time.Second, l.Answered(), "answer of the second place")
				time.Sleep(2 * time.Second)
				var got []string
				for _, r := range w.one.Got("") {
					if r.Method != "INVITE" {
						got = append(got, r.Method)
					}
				}
				if !slices.Equal(got, tc.want) {
					t.Errorf("the slow place got %q, want %q", got, tc.want)
				}
				if n := len(w.two.Got("BYE")) + len(w.two.Got("CANCEL")); n != 0 {
					t.Error("the call itself was ended")
				}
				l.HangUp(sip.Cause{})
				within(t, time.Second, l.Done(), "end")
				time.Sleep(time.Minute)
			})
		})
	}
}

// TestTrunkAllDead: when no place serves the call ends with a code that sends it to the next trunk, and others do not notice.
func TestTrunkAllDead(t *testing.T) {
	healthy := trunkRow(func(t *store.Trunk) { t.ID, t.Host = "trk_2", "192.0.2.2" })
	dead := trunkRow(func(t *store.Trunk) { t.Host = "nowhere.test" })
	trunkBubble(t, []store.Trunk{dead, healthy}, func(w *trunkWorld) {
		w.dns.is("silent")
		l := w.mustDial(nil)
		other := w.mustDial(func(o *sip.Outgoing) { o.Trunk = "trk_2" })
		within(t, 1500*time.Millisecond, other.Answered(), "answer over the healthy trunk")
		within(t, 3*time.Second, l.Done(), "end of the dead one")
		if c := l.Cause(); c.Code != 503 {
			t.Errorf("ended with %+v", c)
		}
		if st := w.status(); st.Reachable || st.Calls != 0 {
			t.Errorf("status %+v", st)
		}
		time.Sleep(2 * time.Minute)
		if st := w.status(); st.Reason == "answers" {
			t.Errorf("status %+v", st)
		}
		other.HangUp(sip.Cause{})
	})
}

// TestTrunkHungUp: a caller who gives up while places are tried ends everything.
func TestTrunkHungUp(t *testing.T) {
	trunkBubble(t, []store.Trunk{trunkRow(nil)}, func(w *trunkWorld) {
		w.one.Refuse(0, "")
		l := w.mustDial(nil)
		time.Sleep(2 * time.Second)
		l.HangUp(sip.Cause{})
		within(t, time.Second, l.Done(), "end")
		time.Sleep(20 * time.Second)
		if n := len(w.two.Got("")); n != 0 {
			t.Errorf("the second place got %d requests after the caller was gone", n)
		}
		l = w.mustDial(nil)
		time.Sleep(500 * time.Millisecond) // it rings at the second place
		l.HangUp(sip.Cause{})
		within(t, time.Second, l.Done(), "end")
		time.Sleep(time.Minute)
		if got := w.two.Got("CANCEL"); len(got) != 1 {
			t.Errorf("%d CANCEL", len(got))
		}
		if st := w.status(); st.Calls != 0 {
			t.Errorf("%d calls are up", st.Calls)
		}
	})
}

func TestTrunkLimits(t *testing.T) {
	row := trunkRow(func(t *store.Trunk) { t.Host, t.MaxOut, t.MaxIn, t.MaxCalls = "192.0.2.1", 2, 1, 2 })
	trunkBubble(t, []store.Trunk{row}, func(w *trunkWorld) {
		time.Sleep(time.Second)
		first := w.mustDial(nil)
		within(t, 5*time.Second, first.Answered(), "answer")
		in := w.incoming(w.one, "sip:+4930999@10.0.0.1")
		l := within(t, time.Second, w.house, "incoming call")
		if _, err := w.dial(nil); !errors.Is(err, sip.ErrTrunkFull) {
			t.Errorf("a third call: %v", err)
		}
		if text := w.one.Ask(pbxPort, "INVITE", "sip:+4930998@10.0.0.1"); !strings.HasPrefix(text, "SIP/2.0 486 ") {
			t.Errorf("a second call from there: %s", text)
		}
		l.Refuse(603, "Decline")
		if text := <-in; !strings.HasPrefix(text, "SIP/2.0 603 ") {
			t.Errorf("refused with %s", text)
		}
		time.Sleep(time.Second)
		second := w.mustDial(nil)
		within(t, 5*time.Second, second.Answered(), "answer")
		if st := w.status(); st.Calls != 2 {
			t.Errorf("%d calls are up", st.Calls)
		}
		first.HangUp(sip.Cause{})
		second.HangUp(sip.Cause{})
		if _, err := w.dial(func(o *sip.Outgoing) { o.Trunk = "trk_9" }); !errors.Is(err, sip.ErrNoTrunk) {
			t.Errorf("a trunk that is not there: %v", err)
		}
	})
}

// incoming has a carrier call us; the final answer comes out of the channel.
func (w *trunkWorld) incoming(c *siptest.Carrier, uri string, headers ...string) <-chan string {
	answer := make(chan string, 1)
	go func() { answer <- c.Ask(pbxPort, "INVITE", uri, headers...) }()
	return answer
}
