package sip_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pbx/event"
	"pbx/sip"
	"pbx/store"
)

// registration is a REGISTER of alice written by hand.
type registration struct {
	callID   string
	cseq     int
	contacts []string
	headers  []string
	to       string
	user     string
	password string
	md5      bool
	noRport  bool
}

// ask sends a REGISTER over a bare socket, answers the challenge, and returns the final answer.
func (r registration) ask(p *peer) (int, string) {
	p.w.t.Helper()
	if r.user == "" {
		r.user = "u-alice"
	}
	if r.password == "" {
		r.password = "secret of alice"
	}
	if r.to == "" {
		r.to = "<sip:" + r.user + "@pbx.test>"
	}
	send := func(branch, auth string) (int, string) {
		var b strings.Builder
		rport := ";rport"
		if r.noRport {
			rport = ""
		}
		fmt.Fprintf(&b, "REGISTER sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP %s%s;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: %s;tag=f\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d REGISTER\r\n", p.local, rport, branch, r.to, r.to, r.callID, r.cseq)
		for _, c := range r.contacts {
			fmt.Fprintf(&b, "Contact: %s\r\n", c)
		}
		for _, h := range r.headers {
			b.WriteString(h + "\r\n")
		}
		if auth != "" {
			b.WriteString("Authorization: " + auth + "\r\n")
		}
		b.WriteString("Content-Length: 0\r\n\r\n")
		p.send([]byte(b.String()))
		code, answer := p.status(5 * time.Second)
		return code, string(answer)
	}
	p.w.serial++
	code, answer := send(fmt.Sprintf("a%d", p.w.serial), "")
	if code != 401 {
		return code, answer
	}
	hash := func(s string) string {
		if r.md5 {
			sum := md5.Sum([]byte(s))
			return hex.EncodeToString(sum[:])
		}
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	algorithm := "SHA-256"
	if r.md5 {
		algorithm = "MD5"
	}
	nonce := regexp.MustCompile(`nonce="([^"]+)"`).FindStringSubmatch(answer)[1]
	response := hash(hash(r.user+":pbx.test:"+r.password) + ":" + nonce + ":00000001:c:auth:" + hash("REGISTER:sip:pbx.test"))
	return send(fmt.Sprintf("b%d", p.w.serial), fmt.Sprintf(`Digest username="%s", realm="pbx.test", nonce="%s", uri="sip:pbx.test", response="%s", algorithm=%s, qop=auth, nc=00000001, cnonce="c"`, r.user, nonce, response, algorithm))
}

var contactLine = regexp.MustCompile(`(?m)^Contact: (.*?)\r?$`)

func contactsOf(answer string) []string {
	var all []string
	for _, m := range contactLine.FindAllStringSubmatch(answer, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return all
}

// TestRegistrar walks through RFC 3665 §2.1 to §2.5 and the rules of RFC 3261 §10.3.
func TestRegistrar(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.peer(5060)
		defer p.close()
		type step struct {
			name     string
			r        registration
			code     int
			bindings []string // after it
		}
		const a, b = "<sip:u-alice@10.0.0.99:5060>", "<sip:u-alice@10.0.0.99:5061;transport=udp>"
		ua, ub := strings.Trim(a, "<>"), strings.Trim(b, "<>")
		for _, s := range []step{
			{"new", registration{callID: "1", cseq: 1, contacts: []string{a + ";expires=600"}}, 200, []string{ua}},
			{"second contact, MD5", registration{callID: "2", cseq: 1, contacts: []string{b}, headers: []string{"Expires: 300"}, md5: true}, 200, []string{ua, ub}},
			{"fetch", registration{callID: "3", cseq: 1}, 200, []string{ua, ub}},
			{"out of order", registration{callID: "1", cseq: 1, contacts: []string{a + ";expires=900"}}, 500, []string{ua, ub}},
			{"refresh", registration{callID: "1", cseq: 2, contacts: []string{a + ";expires=900"}}, 200, []string{ua, ub}},
			{"too brief", registration{callID: "1", cseq: 3, contacts: []string{a + ";expires=10"}}, 423, []string{ua, ub}},
			{"all or nothing", registration{callID: "9", cseq: 3, contacts: []string{"<sip:x@10.0.0.98>;expires=600", a + ";expires=10"}}, 423, []string{ua, ub}},
			{"unregister one", registration{callID: "1", cseq: 4, contacts: []string{a + ";expires=0"}}, 200, []string{ub}},
			{"unregister it again", registration{callID: "1", cseq: 5, contacts: []string{a + ";expires=0"}}, 200, []string{ub}},
			{"star with expires", registration{callID: "1", cseq: 6, contacts: []string{"*"}, headers: []string{"Expires: 600"}}, 400, []string{ub}},
			{"star without expires", registration{callID: "1", cseq: 7, contacts: []string{"*"}}, 400, []string{ub}},
			{"star with contact", registration{callID: "1", cseq: 8, contacts: []string{"*", a}, headers: []string{"Expires: 0"}}, 400, []string{ub}},
			{"star", registration{callID: "1", cseq: 9, contacts: []string{"*"}, headers: []string{"Expires: 0"}}, 200, nil},
			{"third party", registration{callID: "5", cseq: 1, to: "<sip:u-bob@pbx.test>", contacts: []string{a}}, 403, nil},
			{"wrong password", registration{callID: "6", cseq: 1, password: "guess", contacts: []string{a}}, 401, nil},
			{"unknown user", registration{callID: "7", cseq: 1, user: "u-nobody", contacts: []string{a}}, 401, nil},
			{"bad contact", registration{callID: "8", cseq: 1, contacts: []string{"<sip:>"}}, 400, nil},
			{"contact of another scheme", registration{callID: "8", cseq: 2, contacts: []string{"<mailto:a@b>"}}, 400, nil},
			{"escaped user", registration{callID: "10", cseq: 1, to: "<sip:u%2Dalice@pbx.test;x=y>", contacts: []string{a}}, 200, []string{ua}},
		} {
			code, answer := s.r.ask(p)
			if code != s.code {
				t.Errorf("%s: answered %d, want %d\n%s", s.name, code, s.code, answer)
			}
			if got := sortedIDs(w.server.BindingsOfUser("usr_alice")); !slices.Equal(got, s.bindings) {
				t.Errorf("%s: bindings are %q, want %q", s.name, got, s.bindings)
			}
			if code == 200 && len(contactsOf(answer)) != len(s.bindings) {
				t.Errorf("%s: 200 lists %q, want %d contacts", s.name, contactsOf(answer), len(s.bindings))
			}
			if code == 423 && !strings.Contains(answer, "Min-Expires: 60\r\n") {
				t.Errorf("%s: no Min-Expires in\n%s", s.name, answer)
			}
		}
	})
}

func TestRegistrationIsStored(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.peer(5060)
		defer p.close()
		code, answer := registration{
			callID: "1", cseq: 7, contacts: []string{`"A" <sip:u-alice@192.168.1.2:6000;ob>;reg-id=1;+sip.instance="<urn:uuid:1>";x=y;expires=90000`},
			headers: []string{"User-Agent: phone/1", "Path: <sip:edge.example;lr>", "Supported: path, outbound"},
		}.ask(p)
		if code != 200 {
			t.Fatalf("answered %d\n%s", code, answer)
		}
		if got, want := contactsOf(answer), []string{`<sip:u-alice@192.168.1.2:6000;ob>;expires=3600;+sip.instance="<urn:uuid:1>";reg-id=1`}; !slices.Equal(got, want) {
			t.Errorf("200 lists %q, want %q", got, want)
		}
		if !strings.Contains(answer, "Path: <sip:edge.example;lr>\r\n") {
			t.Errorf("no Path in\n%s", answer)
		}
		b := w.binding("alice")
		if b.Source != "10.0.0.99:5060" || b.Local != "10.0.0.1:5060" || b.Transport != "udp" || b.UserAgent != "phone/1" || b.CSeq != 7 || b.CallID != "1" ||
			b.Instance != "<urn:uuid:1>" || b.RegID != 1 || !slices.Equal(b.Path, []string{"<sip:edge.example;lr>"}) || b.LineID != "lin_alice" || b.DeviceID != "dev_alice" || b.AccountID != "acc_1" {
			t.Errorf("binding is %+v", b)
		}
		// RFC 5626: the same flow from a new address replaces the old one.
		code, _ = registration{callID: "2", cseq: 1, contacts: []string{`<sip:u-alice@192.168.1.3:6000>;reg-id=1;+sip.instance="<urn:uuid:1>"`}}.ask(p)
		if got := w.binding("alice"); code != 200 || got.ID != b.ID || got.Contact != "sip:u-alice@192.168.1.3:6000" {
			t.Errorf("answered %d, binding is %+v", code, got)
		}
		time.Sleep(600 * time.Millisecond)
		if w.rows.count() != 1 {
			t.Errorf("%d rows after 600 ms, want 1", w.rows.count())
		}
		if got := w.server.BindingsOfDevice("dev_alice"); len(got) != 1 {
			t.Errorf("device has %d bindings, want 1", len(got))
		}
	})
}

// A softphone that takes a new port at each start leaves stale bindings behind:
// the stalest gives way, and the phone that is there now can be reached.
func TestTooManyBindings(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.peer(5060)
		defer p.close()
		var answer string
		for i := range 12 {
			var code int
			code, answer = registration{callID: fmt.Sprint(i), cseq: 1, contacts: []string{fmt.Sprintf("<sip:u-alice@10.0.0.99:%d>", 6000+i)}}.ask(p)
			if code != 200 {
				t.Errorf("binding %d: %d", i, code)
			}
			time.Sleep(2 * time.Second)
		}
		if all := contactsOf(answer); len(all) != 10 || !strings.Contains(all[0], ":6002>") || !strings.Contains(all[9], ":6011>") {
			t.Errorf("bindings are %q", all)
		}
		if n := w.rows.count(); n != 10 {
			t.Errorf("%d bindings are stored", n)
		}
		var many []string
		for i := range 11 {
			many = append(many, fmt.Sprintf("<sip:u-alice@10.0.0.99:%d>", 7000+i))
		}
		if code, _ := (registration{callID: "many", cseq: 1, contacts: many}).ask(p); code != 403 {
			t.Errorf("11 contacts in one request: %d", code)
		}
	})
}

// A phone that sends from one port and listens on another says so by leaving
// rport out (RFC 3261 §18.2.2), and hears both answers and calls there.
func TestPhoneListensElsewhere(t *testing.T) {
	bubble(t, func(w *world) {
		out, in := w.peer(49170), w.peer(5060)
		defer out.close()
		defer in.close()
		for via, heard := range map[string]*peer{
			"10.0.0.99:5060": in, "10.0.0.99": in,
			"10.0.0.99:5060;rport": out,
			"192.168.1.9:5060":     out, // behind NAT
		} {
			out.send(fmt.Appendf(nil, "OPTIONS sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK1\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:pbx.test>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", via))
			if code, _ := heard.status(time.Second); code != 200 {
				t.Errorf("Via %s: answered %d", via, code)
			}
		}
		split := &peer{w: w, packets: &twoSockets{in.packets, out.packets}, local: in.local}
		r := registration{callID: "r", cseq: 1, contacts: []string{"<sip:u-alice@10.0.0.99:5060>"}, noRport: true}
		if code, answer := r.ask(split); code != 200 {
			t.Fatalf("register: %d\n%s", code, answer)
		}
		if b := w.binding("alice"); b.Source != "10.0.0.99:5060" {
			t.Errorf("the phone is looked for at %s", b.Source)
		}
	})
}

// twoSockets reads from one and writes to the other.
type twoSockets struct {
	net.PacketConn
	out net.PacketConn
}

func (c *twoSockets) WriteTo(b []byte, to net.Addr) (int, error) { return c.out.WriteTo(b, to) }

func TestExpiry(t *testing.T) {
	bubble(t, func(w *world) {
		news := w.bus.Reader()
		phone := w.phone("alice")
		if err := phone.Register(w.ctx, 120*time.Second); err != nil {
			t.Fatal(err)
		}
		want := func(online bool) {
			t.Helper()
			n, err := news.Next(w.ctx)
			if err != nil {
				t.Fatal(err)
			}
			r, ok := n.Data.(event.Registration)
			if !ok || n.Kind != event.RegistrationChanged || r.Online != online || r.LineID != "lin_alice" || n.Account != "acc_1" || !slices.Equal(n.Users, []store.ID{"usr_alice"}) {
				t.Errorf("news %+v, want online %v", n, online)
			}
		}
		want(true)
		time.Sleep(100 * time.Second)
		if err := phone.Register(w.ctx, 120*time.Second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Second)
		if n := len(w.server.BindingsOfUser("usr_alice")); n != 1 {
			t.Fatalf("%d bindings after a refresh, want 1", n)
		}
		time.Sleep(25 * time.Second)
		want(false)
		if n := len(w.server.BindingsOfUser("usr_alice")); n != 0 {
			t.Errorf("%d bindings after the end, want 0", n)
		}
		time.Sleep(time.Second)
		if w.rows.count() != 0 {
			t.Errorf("%d rows after the end, want 0", w.rows.count())
		}
	})
}

// Registrations survive a restart, TCP ones excepted.
func TestRestart(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice", autoRing)
		w.registered("bob", overTCP)
		if err := w.server.Close(w.ctx); err != nil {
			t.Fatal(err)
		}
		w.server = w.start()
		if n := len(w.server.BindingsOfUser("usr_bob")); n != 0 {
			t.Errorf("%d bindings over a dead connection", n)
		}
		l, _ := w.invite("alice")
		within(t, time.Second, l.Progress(), "ringing")
		if got := l.Line().Username; got != "u-alice" {
			t.Errorf("line has user name %q", got)
		}
		ring := within(t, time.Second, alice.Incoming(), "call")
		ring.Refuse(486)
		within(t, time.Second, l.Done(), "end")
	})
}

func TestUnsavedBindingsAreTriedAgain(t *testing.T) {
	bubble(t, func(w *world) {
		w.rows.mu.Lock()
		w.rows.fail = true
		w.rows.mu.Unlock()
		w.registered("alice")
		time.Sleep(3 * time.Second)
		if w.rows.count() != 0 {
			t.Fatal("a full disk saved something")
		}
		w.rows.mu.Lock()
		w.rows.fail = false
		w.rows.mu.Unlock()
		time.Sleep(6 * time.Second)
		if w.rows.count() != 1 {
			t.Errorf("%d rows, want 1", w.rows.count())
		}
	})
}

func TestDeviceChanges(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		bob := w.registered("bob")
		change := func(deleted bool) {
			w.bus.Publish(event.News{Kind: event.ObjectChanged, Account: "acc_1", Data: event.Object{Type: "device", ID: "dev_alice", Deleted: deleted}})
			time.Sleep(100 * time.Millisecond)
		}
		change(false)
		if n := len(w.server.BindingsOfUser("usr_alice")); n != 1 {
			t.Errorf("%d bindings after a harmless change, want 1", n)
		}
		changed := line("alice")
		changed.Password = "another"
		w.dir.set(changed)
		change(false)
		if n := len(w.server.BindingsOfUser("usr_alice")); n != 0 {
			t.Errorf("%d bindings with old credentials, want 0", n)
		}
		var r *sip.Refusal
		if err := alice.Register(w.ctx, time.Hour); !errors.As(err, &r) || r.Code != 401 {
			t.Errorf("register with the old password: %v, want 401", err)
		}
		if n := w.server.ForgetDevice("dev_bob"); n != 1 || len(w.server.BindingsOfUser("usr_bob")) != 0 || w.server.ForgetDevice("dev_bob") != 0 {
			t.Errorf("%d bindings of a device were forgotten, want 1, once", n)
		}
		if err := bob.Register(w.ctx, time.Hour); err != nil || len(w.server.BindingsOfUser("usr_bob")) != 1 {
			t.Errorf("a phone that was unregistered does not come back: %v", err)
		}
		w.server.ForgetLine("lin_bob")
		if n := len(w.server.BindingsOfUser("usr_bob")); n != 0 {
			t.Errorf("%d bindings of a forgotten line, want 0", n)
		}
	})
}

// An unknown user and a wrong password are told apart by nobody.
func TestConstantRefusal(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.peer(5060)
		defer p.close()
		strip := regexp.MustCompile(`(nonce="|tag=|branch=|Call-ID: )[^"\r\n;]*`)
		_, a := registration{callID: "x", cseq: 1, to: "<sip:a@pbx.test>", password: "guess"}.ask(p)
		_, b := registration{callID: "x", cseq: 1, to: "<sip:a@pbx.test>", user: "u-nobody"}.ask(p)
		if a, b := strip.ReplaceAllString(a, ""), strip.ReplaceAllString(b, ""); a != b {
			t.Errorf("answers differ:\n%s\n%s", a, b)
		}
	})
}

// Who guesses passwords is not listened to any more; a phone that is registered
// from the same address still is.
func TestGuessing(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.peer(5060)
		defer p.close()
		if code, _ := (registration{callID: "ok", cseq: 1, contacts: []string{"<sip:u-alice@10.0.0.99>"}}).ask(p); code != 200 {
			t.Fatalf("register: %d", code)
		}
		guess := registration{callID: "g", user: "u-bob", password: "guess"}
		blocked := 0
		for i := range 30 {
			guess.cseq = i + 1
			switch code, _ := guess.ask(p); code {
			case 403:
				blocked++
			case 401:
			default:
				t.Fatalf("guess answered %d", code)
			}
		}
		if blocked < 15 || blocked > 25 {
			t.Errorf("%d of 30 guesses blocked, want about 20", blocked)
		}
		if code, _ := (registration{callID: "bob", cseq: 1, user: "u-bob", password: "secret of bob", contacts: []string{"<sip:u-bob@10.0.0.99>"}}).ask(p); code != 403 {
			t.Errorf("a stranger at that address got %d, want 403", code)
		}
		if code, _ := (registration{callID: "ok", cseq: 2, contacts: []string{"<sip:u-alice@10.0.0.99>"}}).ask(p); code != 200 {
			t.Errorf("the phone at that address got %d, want 200", code)
		}
		time.Sleep(10 * time.Minute)
		if code, _ := (registration{callID: "bob", cseq: 2, user: "u-bob", password: "secret of bob", contacts: []string{"<sip:u-bob@10.0.0.99>"}}).ask(p); code != 200 {
			t.Errorf("later got %d, want 200", code)
		}
	})
}

// A connection that closes takes its bindings along.
func TestClosedConnection(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice", overTCP)
		b := w.binding("alice")
		if b.Transport != "tcp" || b.Source != alice.Addr().String() {
			t.Errorf("binding is %+v", b)
		}
		alice.Close()
		time.Sleep(10 * time.Millisecond)
		if n := len(w.server.BindingsOfUser("usr_alice")); n != 0 {
			t.Errorf("%d bindings on a closed connection", n)
		}
		if _, err := w.server.Invite(w.ctx, sip.Outgoing{To: b, Sound: sound()}); err == nil {
			t.Error("a closed connection was called")
		}
	})
}

func TestStats(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice", overTCP)
		w.up(alice)
		if code, err := alice.Options(w.ctx); err != nil || code != 200 {
			t.Errorf("options: %d, %v", code, err)
		}
		st := w.server.Stats()
		if st.Registered != 1 || st.Registers != 2 || st.Invites != 2 || st.Legs != 1 || st.LegsTotal != 1 || st.Bindings != 1 || st.LinesOnline != 1 || st.Connections != 1 || st.Received < 6 {
			t.Errorf("stats are %+v", st)
		}
	})
}

func sha256hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
