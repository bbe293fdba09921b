package sip_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// stranger opens a carrier that nobody asked for.
func (w *trunkWorld) stranger(addr string) *siptest.Carrier {
	w.t.Helper()
	c, err := siptest.NewCarrier(w.ctx, w.net, netip.MustParseAddrPort(addr))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// contact is the Contact that we registered at a carrier.
func contact(t *testing.T, c *siptest.Carrier) string {
	t.Helper()
	all := c.Got("REGISTER")
	if len(all) == 0 {
		t.Fatal("no registration came")
	}
	uri, _, _ := strings.Cut(strings.TrimPrefix(all[len(all)-1].Header("Contact"), "<"), ">")
	return uri
}

// TestTrunkMatches: whose calls are a trunk's (section 4 item 1 of the conformance table: by address and port, by network, by the Contact that nobody knows).
func TestTrunkMatches(t *testing.T) {
	byAddress := trunkRow(func(t *store.Trunk) { t.Sources = []string{"198.51.100.0/24", "2001:db8::/32"} })
	registers := trunkRow(func(t *store.Trunk) { t.Register = true })
	for _, tc := range []struct {
		name, from string
		row        store.Trunk
		uri        string // "contact": the one that was registered
		headers    []string
		want       string // status; "": the call comes in
	}{
		{"from a place of the carrier", "192.0.2.1:5060", byAddress, "sip:+49301@10.0.0.1", nil, ""},
		{"from its second place", "192.0.2.2:5060", byAddress, "sip:+49301@10.0.0.1", nil, ""},
		{"from another port of it", "192.0.2.1:5070", byAddress, "sip:+49301@10.0.0.1", nil, "401"},
		{"from a network of the carrier, any port", "198.51.100.77:40000", byAddress, "sip:+49301@10.0.0.1", nil, ""},
		{"a phone within a network of the carrier", "198.51.100.77:40000", byAddress, "sip:201@10.0.0.1", []string{"From: <sip:u-alice@pbx.test>;tag=x"}, "401"},
		{"from elsewhere", "203.0.113.5:5060", byAddress, "sip:+49301@10.0.0.1", nil, "401"},
		{
			"from elsewhere, claiming to be there", "203.0.113.5:5060", byAddress, "sip:+49301@10.0.0.1",
			[]string{"From: <sip:+49302@carrier.test>;tag=x", "Contact: <sip:192.0.2.1:5060>", "P-Asserted-Identity: <sip:+49302@carrier.test>"},
			"401",
		},
		{"to the Contact that we registered, from anywhere", "203.0.113.5:5060", registers, "contact", nil, ""},
		{"to our user name, from anywhere", "203.0.113.5:5060", registers, "sip:user1@10.0.0.1", nil, "401"},
		{"a registering carrier's own address", "192.0.2.1:5060", registers, "sip:+49301@10.0.0.1", nil, ""},
		{"in the clear to a trunk that is secured", "198.51.100.77:5061", trunkRow(func(t *store.Trunk) { t.Transport, t.Sources = "tls", []string{"198.51.100.0/24"} }), "sip:+49301@10.0.0.1", nil, "401"},
		{"switched off", "192.0.2.1:5060", trunkRow(func(t *store.Trunk) { t.Enabled = false }), "sip:+49301@10.0.0.1", nil, "401"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			trunkBubble(t, []store.Trunk{tc.row}, func(w *trunkWorld) {
				time.Sleep(time.Second)
				from := netip.MustParseAddrPort(tc.from)
				uri := tc.uri
				if uri == "contact" {
					uri = contact(t, w.one)
				}
				c := w.one
				switch from {
				case oneAddr:
				case twoAddr:
					c = w.two
				default:
					c = w.stranger(tc.from)
					defer c.Close()
				}
				answer := w.incoming(c, uri, tc.headers...)
				if tc.want != "" {
					if text := <-answer; !strings.HasPrefix(text, "SIP/2.0 "+tc.want+" ") {
						t.Errorf("answered %s", text)
					}
					if len(w.house) != 0 {
						t.Error("the call came in")
					}
					return
				}
				l := within(t, time.Second, w.house, "incoming call")
				if l.Trunk() != "trk_1" || l.Account() != "acc_1" || l.Line().ID != "" {
					t.Errorf("came in as of trunk %q, account %q, line %q", l.Trunk(), l.Account(), l.Line().ID)
				}
				l.Refuse(404, "Not Found")
				<-answer
			})
		})
	}
}

// TestTrunkOfSeveral: two trunks at one carrier are told apart by the user name that we have there, and by our Contact.
func TestTrunkOfSeveral(t *testing.T) {
	rows := []store.Trunk{
		trunkRow(func(t *store.Trunk) { t.Register, t.Host = true, "192.0.2.1" }),
		trunkRow(func(t *store.Trunk) {
			t.ID, t.AccountID, t.Register, t.Host, t.Username, t.Password = "trk_2", "acc_2", true, "192.0.2.1", "user2", "secret2"
		}),
	}
	trunkBubble(t, rows, func(w *trunkWorld) {
		w.one.Want("", "", false)
		time.Sleep(time.Second)
		for _, r := range w.one.Got("REGISTER") {
			uri, _, _ := strings.Cut(strings.TrimPrefix(r.Header("Contact"), "<"), ">")
			want := store.ID("trk_1")
			if strings.Contains(r.Header("To"), "user2") {
				want = "trk_2"
			}
			answer := w.incoming(w.one, uri)
			l := within(t, time.Second, w.house, "incoming call")
			if l.Trunk() != want {
				t.Errorf("a call to %s is of %s, want %s", uri, l.Trunk(), want)
			}
			l.Refuse(404, "Not Found")
			<-answer
		}
		answer := w.incoming(w.one, "sip:+49301@10.0.0.1", "To: <sip:user2@carrier.test>")
		l := within(t, time.Second, w.house, "incoming call")
		if l.Trunk() != "trk_2" {
			t.Errorf("a call to user2 is of %s", l.Trunk())
		}
		l.Refuse(404, "Not Found")
		<-answer
	})
}

// TestTrunkCalledNumber: what a carrier called, wherever it says so.
func TestTrunkCalledNumber(t *testing.T) {
	trunkBubble(t, []store.Trunk{trunkRow(func(t *store.Trunk) { t.Register = true })}, func(w *trunkWorld) {
		time.Sleep(time.Second)
		ours := contact(t, w.one)
		for _, tc := range []struct {
			name, uri string
			headers   []string
			want      string
		}{
			{"in the Request-URI", "sip:+4930123@10.0.0.1", []string{"To: <sip:+4930999@carrier.test>"}, "+4930123"},
			{"without parameters of the user", "sip:+4930123;npdi=yes@10.0.0.1", nil, "+4930123"},
			{"in To, when the Request-URI is our Contact", ours, []string{"To: <sip:4930456@carrier.test;user=phone>"}, "4930456"},
			{"in To, when the Request-URI is our user name", "sip:user1@10.0.0.1", []string{"To: <tel:+49-30-456;phone-context=x>"}, "+4930456"},
			{"in P-Called-Party-ID before To", ours, []string{"To: <sip:user1@carrier.test>", "P-Called-Party-ID: <sip:+4930789@carrier.test>"}, "+4930789"},
			{"the user name, when nothing says more", ours, []string{"To: <sip:user1@carrier.test>"}, "user1"},
		} {
			answer := w.incoming(w.one, tc.uri, tc.headers...)
			l := within(t, time.Second, w.house, tc.name)
			if l.Dialed() != tc.want {
				t.Errorf("%s: dialed %q, want %q", tc.name, l.Dialed(), tc.want)
			}
			l.Refuse(404, "Not Found")
			<-answer
		}
	})
}

// TestTrunkAsserted is RFC 3325 and RFC 3323 as a carrier speaks to us.
func TestTrunkAsserted(t *testing.T) {
	const from = `From: "Caller" <sip:+49301@carrier.test>;tag=x`
	for _, tc := range []struct {
		name      string
		trusted   bool
		headers   []string
		who       sip.Identity
		anonymous bool
	}{
		{"From", false, []string{from}, sip.Identity{Display: "Caller", User: "+49301"}, false},
		{
			"an assertion is not believed", false,
			[]string{from, "P-Asserted-Identity: <sip:+49302@carrier.test>", "Remote-Party-ID: <sip:+49303@carrier.test>"},
			sip.Identity{Display: "Caller", User: "+49301"},
			false,
		},
		{"but privacy is honoured", false, []string{from, "Privacy: id"}, sip.Identity{Display: "Caller", User: "+49301"}, true},
		{"an assertion is believed", true, []string{from, `P-Asserted-Identity: "Real" <sip:+49302@carrier.test>`}, sip.Identity{Display: "Real", User: "+49302"}, false},
		{"the first of two, a telephone number", true, []string{from, "P-Asserted-Identity: <tel:+49-302>, <sip:+49304@carrier.test>"}, sip.Identity{Display: "Caller", User: "+49302"}, false},
		{
			"that of an anonymous caller", true,
			[]string{`From: "Anonymous" <sip:anonymous@anonymous.invalid>;tag=x`, "P-Asserted-Identity: <sip:+49302@carrier.test>", "Privacy: id;critical"},
			sip.Identity{User: "+49302"},
			true,
		},
		{"an older header", true, []string{from, `Remote-Party-ID: "Old" <sip:+49303@carrier.test>;party=calling;privacy=off`}, sip.Identity{Display: "Old", User: "+49303"}, false},
		{"of the called party", true, []string{from, `Remote-Party-ID: <sip:+49303@carrier.test>;party=called`}, sip.Identity{Display: "Caller", User: "+49301"}, false},
		{"with its own word for privacy", true, []string{from, `Remote-Party-ID: <sip:+49303@carrier.test>;privacy=full`}, sip.Identity{User: "+49303"}, true},
		{"no privacy", true, []string{from, "Privacy: none"}, sip.Identity{Display: "Caller", User: "+49301"}, false},
		{"anonymous by From alone", false, []string{"From: <sip:Anonymous@192.0.2.1>;tag=x"}, sip.Identity{User: "Anonymous"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			trunkBubble(t, []store.Trunk{trunkRow(func(t *store.Trunk) { t.TrustIdentity = tc.trusted })}, func(w *trunkWorld) {
				time.Sleep(time.Second)
				answer := w.incoming(w.one, "sip:+49309@10.0.0.1", tc.headers...)
				l := within(t, time.Second, w.house, "incoming call")
				if who, anonymous := l.Asserted(); who != tc.who || anonymous != tc.anonymous {
					t.Errorf("got %+v, anonymous %v; want %+v, %v", who, anonymous, tc.who, tc.anonymous)
				}
				l.Refuse(433, "Anonymity Disallowed") // RFC 5079
				<-answer
			})
		})
	}
}

// TestTrunkDiverted reads who forwarded a call: RFC 5806, RFC 7044, and the causes of RFC 4458.
func TestTrunkDiverted(t *testing.T) {
	threeTimes := []sip.Diversion{
		{User: "+493", Reason: "unconditional", Code: 302},
		{User: "+492", Reason: "user-busy", Code: 486},
		{User: "+491", Display: "First", Reason: "no-answer", Code: 408},
	}
	for _, tc := range []struct {
		name    string
		headers []string
		want    []sip.Diversion
	}{
		{"none", nil, nil},
		{"Diversion, the latest first", []string{
			`Diversion: <sip:+493@c.test>;reason=unconditional;counter=1;privacy=off, <sip:+492@c.test>;reason="user-busy"`,
			`Diversion: "First" <tel:+491>;reason=no-answer`,
		}, threeTimes},
		{"History-Info says the same (RFC 7544 §7)", []string{
			`History-Info: "First" <sip:+491@c.test;privacy=none>;index=1`,
			`History-Info: <sip:+492@c.test;cause=408?privacy=history>;index=1.1;mp=1, <sip:+493@c.test;cause=486>;index=1.1.1;mp=1.1`,
			`History-Info: <sip:+494@c.test;cause=302>;index=1.1.1.1;mp=1.1.1`,
		}, threeTimes},
		{"a history of routing alone is no forwarding", []string{
			`History-Info: <sip:+491@a.test>;index=1, <sip:+491@b.test?Reason=SIP%3Bcause%3D302>;index=1.1;rc=1, <sip:+491@192.0.2.9>;index=1.1.1;rc=1.1`,
		}, nil},
		{"of branches, the one that was forwarded", []string{
			`History-Info: <sip:+491@c.test>;index=1, <sip:+495@c.test>;index=1.1, <sip:+492@c.test;cause=486>;index=1.2;mp=1`,
		}, []sip.Diversion{{User: "+491", Reason: "user-busy", Code: 486}}},
		{"an unknown reason stays", []string{`Diversion: <sip:+491@c.test>;reason=time-of-day`}, []sip.Diversion{{User: "+491", Reason: "time-of-day", Code: 404}}},
		{"what cannot be read is nothing", []string{`Diversion: <sip:+491@c.test;reason`, `History-Info: <sip:>;index=1`}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			trunkBubble(t, []store.Trunk{trunkRow(nil)}, func(w *trunkWorld) {
				time.Sleep(time.Second)
				answer := w.incoming(w.one, "sip:+49309@10.0.0.1", tc.headers...)
				l := within(t, time.Second, w.house, "incoming call")
				if got := l.Diverted(); !slices.Equal(got, tc.want) {
					t.Errorf("got %+v\nwant %+v", got, tc.want)
				}
				l.Refuse(404, "Not Found")
				<-answer
			})
		})
	}
	t.Run("endless", func(t *testing.T) {
		trunkBubble(t, []store.Trunk{trunkRow(nil)}, func(w *trunkWorld) {
			time.Sleep(time.Second)
			answer := w.incoming(w.one, "sip:+49309@10.0.0.1", "Diversion: "+strings.Repeat("<sip:+491@c.test>;reason=away, ", 60)+"<sip:+492@c.test>")
			l := within(t, time.Second, w.house, "incoming call")
			if n := len(l.Diverted()); n != 10 {
				t.Errorf("%d forwardings are kept", n)
			}
			l.Refuse(404, "Not Found")
			<-answer
		})
	})
}

// TestTrunkTells: how a caller is shown to a carrier, and who forwarded the call.
func TestTrunkTells(t *testing.T) {
	alice := sip.Identity{Display: "Alice", User: "+49301"}
	twice := []sip.Diversion{{User: "+49302", Reason: "no-answer"}, {User: "+49303", Display: "First", Code: 302}}
	for _, tc := range []struct {
		name string
		row  func(*store.Trunk)
		out  func(*sip.Outgoing)
		want []string // header fields; a name alone must not be there
	}{
		{"by From", nil, nil, []string{`From: "Alice" <sip:+49301@carrier.test>`, "P-Asserted-Identity", "Remote-Party-ID", "Privacy", "Diversion", "History-Info"}},
		{"of our domain", func(t *store.Trunk) { t.FromDomain = "pbx.example.org" }, nil, []string{`From: "Alice" <sip:+49301@pbx.example.org>`}},
		{
			"by P-Asserted-Identity", func(t *store.Trunk) { t.Identity = "pai" }, nil,
			[]string{`From: "Alice" <sip:user1@carrier.test>`, `P-Asserted-Identity: "Alice" <sip:+49301@carrier.test>`},
		},
		{
			"by P-Asserted-Identity, without an account there", func(t *store.Trunk) { t.Identity, t.Username = "pai", "" }, nil,
			[]string{`From: "Alice" <sip:+49301@carrier.test>`, `P-Asserted-Identity: "Alice" <sip:+49301@carrier.test>`},
		},
		{
			"by Remote-Party-ID", func(t *store.Trunk) { t.Identity = "rpid" }, nil,
			[]string{`From: "Alice" <sip:user1@carrier.test>`, `Remote-Party-ID: "Alice" <sip:+49301@carrier.test>;party=calling;screen=yes;privacy=off`},
		},
		{
			"another number asserted than shown", func(t *store.Trunk) { t.Identity, t.Username = "pai", "" }, func(o *sip.Outgoing) { o.Presented.Asserted = sip.Identity{User: "+49300"} },
			[]string{`From: "Alice" <sip:+49301@carrier.test>`, `P-Asserted-Identity: <sip:+49300@carrier.test>`},
		},
		{
			"withheld", nil, func(o *sip.Outgoing) { o.Presented.Anonymous = true },
			[]string{`From: "Anonymous" <sip:anonymous@anonymous.invalid>`, "Privacy: id", "P-Asserted-Identity", "Remote-Party-ID"},
		},
		{
			"withheld, asserted to a trusted carrier", func(t *store.Trunk) { t.TrustIdentity = true }, func(o *sip.Outgoing) { o.Presented.Anonymous = true },
			[]string{`From: "Anonymous" <sip:anonymous@anonymous.invalid>`, "Privacy: id", `P-Asserted-Identity: <sip:+49301@carrier.test>`},
		},
		{
			"withheld, never asserted to another", func(t *store.Trunk) { t.Identity = "pai" }, func(o *sip.Outgoing) { o.Presented.Anonymous = true },
			[]string{`From: "Anonymous" <sip:anonymous@anonymous.invalid>`, "Privacy: id", "P-Asserted-Identity"},
		},
		{
			"withheld by Remote-Party-ID", func(t *store.Trunk) { t.Identity, t.TrustIdentity = "rpid", true }, func(o *sip.Outgoing) { o.Presented.Anonymous = true },
			[]string{"Privacy: id", `Remote-Party-ID: <sip:+49301@carrier.test>;party=calling;screen=yes;privacy=full`},
		},
		{"forwarded, not told", nil, func(o *sip.Outgoing) { o.Diverted = twice }, []string{"Diversion", "History-Info"}},
		{
			"forwarded, by Diversion", func(t *store.Trunk) { t.Diversion = "diversion" }, func(o *sip.Outgoing) { o.Diverted = twice },
			[]string{`Diversion: <sip:+49302@carrier.test>;reason=no-answer;counter=1;privacy=off, "First" <sip:+49303@carrier.test>;reason=unconditional;counter=1;privacy=off`, "History-Info"},
		},
		{
			"forwarded, by History-Info", func(t *store.Trunk) { t.Diversion = "history-info" }, func(o *sip.Outgoing) { o.Diverted = twice },
			[]string{`History-Info: "First" <sip:+49303@carrier.test>;index=1, <sip:+49302@carrier.test;cause=302>;index=1.1;mp=1, <sip:+4930123456@carrier.test;cause=408>;index=1.1.1;mp=1.1`, "Diversion"},
		},
		{"by way of a proxy", func(t *store.Trunk) { t.OutboundProxy = "192.0.2.2:5060" }, nil, []string{"Route: <sip:192.0.2.2:5060;lr>", "To: <sip:+4930123456@carrier.test>"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			row := trunkRow(tc.row)
			trunkBubble(t, []store.Trunk{row}, func(w *trunkWorld) {
				if row.Username == "" {
					w.one.Want("", "", false) // it knows us by our address
				}
				l := w.mustDial(func(o *sip.Outgoing) {
					o.From = alice
					if tc.out != nil {
						tc.out(o)
					}
				})
				within(t, 5*time.Second, l.Answered(), "answer")
				invites := append(w.one.Got("INVITE"), w.two.Got("INVITE")...)
				r := invites[len(invites)-1]
				for _, want := range tc.want {
					name, value, given := strings.Cut(want, ": ")
					got := r.Header(name)
					if name == "From" {
						got, _, _ = strings.Cut(got, ";tag=")
					}
					if got != value || !given && strings.Contains(r.Text, "\r\n"+name+":") {
						t.Errorf("%s is %q, want %q", name, got, value)
					}
				}
				anonymous := slices.Contains(tc.want, "Privacy: id") && slices.Contains(tc.want, "P-Asserted-Identity")
				if anonymous && (strings.Contains(r.Text, "+49301@") || strings.Contains(r.Text, "Alice")) {
					t.Errorf("the caller is told after all:\n%s", r.Text)
				}
				l.HangUp(sip.Cause{})
				within(t, time.Second, l.Done(), "end")
			})
		})
	}
}

// TestTrunkDiversionRoundTrip: what is written in one form and read in the other is the same (RFC 7544 §6).
func TestTrunkDiversionRoundTrip(t *testing.T) {
	told := []sip.Diversion{
		{User: "+493", Reason: "deflection", Code: 480}, {User: "+492", Display: "Se\"cond", Reason: "unavailable", Code: 503}, {User: "+491", Reason: "user-busy", Code: 486},
	}
	for _, form := range []string{"diversion", "history-info"} {
		trunkBubble(t, []store.Trunk{trunkRow(func(t *store.Trunk) { t.Diversion = form })}, func(w *trunkWorld) {
			l := w.mustDial(func(o *sip.Outgoing) { o.Diverted = told })
			within(t, 5*time.Second, l.Answered(), "answer")
			r := w.one.Got("INVITE")[1]
			answer := w.incoming(w.one, "sip:+49309@10.0.0.1", "Diversion: "+r.Header("Diversion"), "History-Info: "+r.Header("History-Info"))
			back := within(t, time.Second, w.house, "incoming call")
			if got := back.Diverted(); !slices.Equal(got, told) {
				t.Errorf("%s: got %+v\nwant %+v", form, got, told)
			}
			back.Refuse(404, "Not Found")
			<-answer
			l.HangUp(sip.Cause{})
			within(t, time.Second, l.Done(), "end")
		})
	}
}

// TestTrunkProvesItself: another system that calls from anywhere shows the trunk's user name and password, and gains nothing beyond calls.
func TestTrunkProvesItself(t *testing.T) {
	trunkBubble(t, []store.Trunk{trunkRow(nil)}, func(w *trunkWorld) {
		peer := w.phone("carol", func(c *siptest.PhoneConfig) { c.Username, c.Password = "user1", "secret1" })
		line, err := peer.Call(w.ctx, "+49309")
		if err != nil {
			t.Fatal(err)
		}
		l := within(t, time.Second, w.house, "incoming call")
		if l.Trunk() != "trk_1" || l.Account() != "acc_1" || l.Line().ID != "" || l.Dialed() != "+49309" {
			t.Errorf("came in as of trunk %q, line %q, dialed %q", l.Trunk(), l.Line().ID, l.Dialed())
		}
		l.Refuse(486, "Busy Here")
		within(t, time.Second, line.Done(), "end")
		if err := peer.Register(w.ctx, time.Hour); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("it could register: %v", err)
		}
		if err := peer.Subscribe(w.ctx, time.Hour); err == nil {
			t.Error("it could subscribe")
		}
		for name, change := range map[string]func(*store.Trunk){
			"another password": func(t *store.Trunk) { t.Password = "other" },
			"switched off":     func(t *store.Trunk) { t.Enabled = false },
			"that registers":   func(t *store.Trunk) { t.Register = true },
			"secured":          func(t *store.Trunk) { t.Transport = "tls" },
		} {
			w.change(trunkRow(change))
			time.Sleep(time.Second)
			line, err := peer.Call(w.ctx, "+49309")
			if err != nil {
				t.Fatal(err)
			}
			within(t, time.Second, line.Done(), "end")
			if len(w.house) != 0 {
				t.Errorf("%s: the call came in", name)
			}
		}
	})
}

// TestTrunkHasNoRights: what a carrier may not do, though its calls come in.
func TestTrunkHasNoRights(t *testing.T) {
	trunkBubble(t, []store.Trunk{trunkRow(nil)}, func(w *trunkWorld) {
		time.Sleep(time.Second)
		for _, method := range []string{"REGISTER", "SUBSCRIBE"} {
			text := w.one.Ask(pbxPort, method, "sip:10.0.0.1", "To: <sip:u-alice@10.0.0.1>", "From: <sip:u-alice@10.0.0.1>;tag=x", "Event: message-summary", "Expires: 600")
			if !strings.HasPrefix(text, "SIP/2.0 401 ") {
				t.Errorf("%s: %s", method, text)
			}
		}
	})
}

// TestTrunkTakesCall is a call of a carrier from ring to end, with a re-INVITE.
func TestTrunkTakesCall(t *testing.T) {
	trunkBubble(t, []store.Trunk{trunkRow(nil)}, func(w *trunkWorld) {
		time.Sleep(time.Second)
		answer := w.incoming(w.one, "sip:+49309@10.0.0.1", "From: <sip:+49301@carrier.test>;tag=x", "Call-ID: in1", "CSeq: 7 INVITE")
		l := within(t, time.Second, w.house, "incoming call")
		l.Attach(sound())
		answered := make(chan error, 1)
		go func() { answered <- l.Answer(w.ctx) }()
		text := <-answer
		if !strings.HasPrefix(text, "SIP/2.0 200 ") {
			t.Fatalf("answered %s", text)
		}
		to := "To: " + field(text, "To")
		dialog := []string{to, "From: <sip:+49301@carrier.test>;tag=x", "Call-ID: in1"}
		w.one.Tell(pbxPort, "z9hG4bKack", "ACK", "sip:10.0.0.1", append(dialog, "CSeq: 7 ACK")...)
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		text = w.one.Ask(pbxPort, "INVITE", "sip:10.0.0.1", append(dialog, "CSeq: 8 INVITE")...)
		if !strings.HasPrefix(text, "SIP/2.0 200 ") {
			t.Fatalf("re-INVITE answered %s", text)
		}
		w.one.Tell(pbxPort, "z9hG4bKack2", "ACK", "sip:10.0.0.1", append(dialog, "CSeq: 8 ACK")...)
		if text = w.one.Ask(pbxPort, "BYE", "sip:10.0.0.1", append(dialog, "CSeq: 9 BYE")...); !strings.HasPrefix(text, "SIP/2.0 200 ") {
			t.Errorf("BYE answered %s", text)
		}
		within(t, time.Second, l.Done(), "end")
		if st := w.status(); st.Calls != 0 {
			t.Errorf("%d calls are up", st.Calls)
		}
	})
}
