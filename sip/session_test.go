package sip_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"pbx/sip"
)

func addrPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// callee is a bare socket that stands for a registered phone and answers by hand.
type callee struct {
	*peer
	invite string // the newest INVITE
}

// callee registers a bare socket as bob.
func (w *world) callee() *callee {
	w.t.Helper()
	p := w.peer(5060)
	r := registration{callID: "reg", cseq: 1, user: "u-bob", password: "secret of bob", contacts: []string{"<sip:u-bob@10.0.0.99:5060>"}}
	if code, answer := r.ask(p); code != 200 {
		w.t.Fatalf("register: %d\n%s", code, answer)
	}
	c := &callee{peer: p}
	c.next("NOTIFY")
	c.reply("NOTIFY", "", 200, "OK", "")
	return c
}

// next reads until a request of that method comes.
func (c *callee) next(method string) string {
	c.w.t.Helper()
	for {
		data := c.read(time.Hour)
		if data == nil {
			c.w.t.Fatalf("no %s", method)
		}
		if strings.HasPrefix(string(data), method+" ") {
			c.invite = string(data)
			return c.invite
		}
	}
}

func field(msg, name string) string {
	m := regexp.MustCompile(`(?m)^` + name + `: (.*?)\r?$`).FindStringSubmatch(msg)
	if m == nil {
		return ""
	}
	return m[1]
}

const answerSDP = "v=0\r\no=- 1 1 IN IP4 10.0.0.99\r\ns=-\r\nc=IN IP4 10.0.0.99\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

// reply answers the newest request.
func (c *callee) reply(method, tag string, code int, reason, sdp string, headers ...string) {
	c.w.t.Helper()
	to := field(c.invite, "To")
	if tag != "" && !strings.Contains(to, "tag=") {
		to += ";tag=" + tag
	}
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d %s\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:%s@10.0.0.99:5060>\r\n",
		code, reason, field(c.invite, "Via"), field(c.invite, "From"), to, field(c.invite, "Call-ID"), field(c.invite, "CSeq"), "c"+tag)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if sdp != "" {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(sdp), sdp)
	c.send([]byte(b.String()))
}

// RFC 3261 §13.2.2.4: phones behind one binding that answer both. One call
// wins, the other gets ACK and BYE on its own dialog.
func TestForkedAnswers(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, _ := w.invite("bob")
		invite := c.next("INVITE")
		c.reply("INVITE", "one", 180, "Ringing", "")
		c.reply("INVITE", "two", 180, "Ringing", "")
		c.reply("INVITE", "one", 200, "OK", answerSDP)
		ack := c.next("ACK")
		if !strings.Contains(field(ack, "To"), "tag=one") || !strings.HasPrefix(ack, "ACK sip:cone@") {
			t.Errorf("first ACK is\n%s", ack)
		}
		within(t, time.Second, l.Answered(), "answer")
		c.invite = invite
		c.reply("INVITE", "two", 200, "OK", answerSDP)
		ack = c.next("ACK")
		if !strings.Contains(field(ack, "To"), "tag=two") || !strings.HasPrefix(ack, "ACK sip:ctwo@") {
			t.Errorf("second ACK is\n%s", ack)
		}
		bye := c.next("BYE")
		if !strings.Contains(field(bye, "To"), "tag=two") || !strings.HasPrefix(bye, "BYE sip:ctwo@") {
			t.Errorf("BYE is\n%s", bye)
		}
		c.reply("BYE", "", 200, "OK", "")
		// A repeated 200 of each gets its own ACK again, and no more BYE.
		for _, tag := range []string{"one", "two"} {
			c.invite = invite
			c.reply("INVITE", tag, 200, "OK", answerSDP)
			if again := c.next("ACK"); !strings.Contains(field(again, "To"), "tag="+tag) {
				t.Errorf("ACK for %s is\n%s", tag, again)
			}
		}
		l.HangUp(sip.Cause{})
		if bye := c.next("BYE"); !strings.Contains(field(bye, "To"), "tag=one") {
			t.Errorf("BYE is\n%s", bye)
		}
		c.reply("BYE", "", 200, "OK", "")
	})
}

// Long ringing with many provisional answers, which sipgo's WaitAnswer gives up on.
func TestManyProvisionals(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, _ := w.invite("bob")
		c.next("INVITE")
		for range 40 {
			c.reply("INVITE", "a", 180, "Ringing", "")
			time.Sleep(5 * time.Second)
		}
		c.reply("INVITE", "a", 200, "OK", answerSDP)
		c.next("ACK")
		within(t, time.Second, l.Answered(), "answer")
		l.HangUp(sip.Cause{})
		c.next("BYE")
		c.reply("BYE", "", 200, "OK", "")
	})
}

// RFC 3261 §12.2.1.1: later requests follow the route set and the newest target.
func TestRouteSetAndTargetRefresh(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, _ := w.invite("bob")
		c.next("INVITE")
		c.reply("INVITE", "a", 200, "OK", answerSDP, "Record-Route: <sip:p2.example;lr>, <sip:p1.example;lr>")
		c.next("ACK")
		within(t, time.Second, l.Answered(), "answer")
		done := make(chan error, 1)
		go func() { done <- l.Renegotiate(w.ctx) }()
		re := c.next("INVITE")
		if got := regexp.MustCompile(`(?m)^Route: (.*?)\r$`).FindAllString(re, -1); len(got) != 2 || !strings.Contains(got[0], "p1") || !strings.Contains(got[1], "p2") {
			t.Errorf("routes are %q", got)
		}
		if !strings.HasPrefix(re, "INVITE sip:ca@10.0.0.99:5060 ") {
			t.Errorf("re-INVITE is\n%s", re)
		}
		c.reply("INVITE", "moved", 200, "OK", answerSDP) // the Contact is another now
		c.next("ACK")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		l.HangUp(sip.Cause{})
		if bye := c.next("BYE"); !strings.HasPrefix(bye, "BYE sip:cmoved@") {
			t.Errorf("BYE is\n%s", bye)
		}
		c.reply("BYE", "", 200, "OK", "")
	})
}

// A strict router wants its own address in the request line.
func TestStrictRoute(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, _ := w.invite("bob")
		c.next("INVITE")
		c.reply("INVITE", "a", 200, "OK", answerSDP, "Record-Route: <sip:strict.example>")
		if ack := c.next("ACK"); !strings.HasPrefix(ack, "ACK sip:strict.example ") || field(ack, "Route") != "<sip:ca@10.0.0.99:5060>" {
			t.Errorf("ACK is\n%s", ack)
		}
		l.HangUp(sip.Cause{})
		c.next("BYE")
		c.reply("BYE", "", 200, "OK", "")
	})
}

// A phone that answers 200 without a description, or one we cannot use.
func TestAnswerWithoutDescription(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, _ := w.invite("bob")
		c.next("INVITE")
		c.reply("INVITE", "a", 200, "OK", "")
		c.next("ACK")
		c.next("BYE")
		c.reply("BYE", "", 200, "OK", "")
		within(t, time.Second, l.Done(), "end")
		if l.Cause().Code != 488 {
			t.Errorf("cause %+v, want 488", l.Cause())
		}
	})
}

// RFC 4028 §7.3: 422 names the interval to ask for.
func TestSessionIntervalTooSmall(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, _ := w.invite("bob")
		first := c.next("INVITE")
		if got := field(first, "Session-Expires"); got != "1800" {
			t.Errorf("asked for %q", got)
		}
		c.reply("INVITE", "a", 422, "Session Interval Too Small", "", "Min-SE: 4000")
		second := c.next("INVITE")
		if field(second, "Session-Expires") != "4000" || field(second, "Min-SE") != "4000" || field(second, "CSeq") != "2 INVITE" || field(second, "Call-ID") != field(first, "Call-ID") {
			t.Errorf("second INVITE is\n%s", second)
		}
		c.reply("INVITE", "b", 200, "OK", answerSDP, "Session-Expires: 4000;refresher=uac", "Require: timer", "Allow: INVITE, ACK, BYE, UPDATE")
		c.next("ACK")
		within(t, time.Second, l.Answered(), "answer")
		start := time.Now()
		update := c.next("UPDATE") // RFC 4028 §7.4: at half time
		if d := time.Since(start).Round(time.Second); d != 2000*time.Second {
			t.Errorf("refreshed after %v, want 2000s", d)
		}
		if field(update, "Session-Expires") != "4000;refresher=uac" {
			t.Errorf("refresh is\n%s", update)
		}
		c.reply("UPDATE", "", 200, "OK", "", "Session-Expires: 4000;refresher=uac")
		c.next("UPDATE")
		c.reply("UPDATE", "", 481, "Gone", "")
		within(t, time.Second, l.Done(), "end")
		c.next("BYE")
		c.reply("BYE", "", 481, "Gone", "")
	})
}

// RFC 4028 §10: a peer that promised to refresh and does not is given up.
func TestPeerStopsRefreshing(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, _ := w.invite("bob")
		c.next("INVITE")
		c.reply("INVITE", "b", 200, "OK", answerSDP, "Session-Expires: 90;refresher=uas", "Require: timer")
		c.next("ACK")
		start := time.Now()
		c.next("BYE")
		if d := time.Since(start).Round(time.Second); d != 60*time.Second {
			t.Errorf("given up after %v, want 60s", d)
		}
		c.reply("BYE", "", 200, "OK", "")
		within(t, time.Second, l.Done(), "end")
	})
}

// A phone that vanished in a call without a timer of its own is found out by our refresh.
func TestVanishedInCall(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		_, l := w.up(alice)
		time.Sleep(20 * time.Minute) // one refresh passes
		select {
		case <-l.Done():
			t.Fatalf("call ended: %+v", l.Cause())
		default:
		}
		alice.Vanish()
		within(t, 20*time.Minute, l.Done(), "end")
		if l.Cause().Code != 408 {
			t.Errorf("cause %+v, want 408", l.Cause())
		}
	})
}

// A 24 hour call with refreshes.
func TestLongCall(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		line, l := w.up(alice)
		time.Sleep(24 * time.Hour)
		select {
		case <-l.Done():
			t.Fatalf("call ended: %+v", l.Cause())
		default:
		}
		if err := line.Bye(w.ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// caller is a bare socket that calls as alice by hand.
type caller struct {
	*peer
	cseq      int
	toTag     string
	target    string
	challenge string
}

func (c *caller) request(method, branch, sdp string, headers ...string) []byte {
	to := "<sip:201@pbx.test>"
	if c.toTag != "" {
		to += ";tag=" + c.toTag
	}
	uri := "sip:201@pbx.test"
	if c.target != "" {
		uri = c.target
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:u-alice@pbx.test>;tag=me\r\nTo: %s\r\nCall-ID: raw\r\nCSeq: %d %s\r\nContact: <sip:u-alice@%s>\r\n",
		method, uri, c.local, branch, to, c.cseq, method, c.local)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if sdp != "" {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(sdp), sdp)
	return []byte(b.String())
}

// dial sends an authenticated INVITE and returns the leg.
func (w *world) dial(sdp string, headers ...string) (*caller, *sip.Leg) {
	w.t.Helper()
	c := &caller{peer: w.peer(5060), cseq: 1}
	c.send(c.request("INVITE", "i1", sdp, headers...))
	_, answer := c.status(time.Second)
	c.send(c.request("ACK", "i1", ""))
	c.cseq = 2
	auth := c.authorize(string(answer), "INVITE", "sip:201@pbx.test")
	c.challenge = auth
	c.send(c.request("INVITE", "i2", sdp, append(headers, auth)...))
	return c, within(w.t, time.Second, w.house, "incoming call")
}

// established takes the call; the caller has acknowledged it.
func (w *world) established(sdp string, headers ...string) (*caller, *sip.Leg) {
	w.t.Helper()
	c, l := w.dial(sdp, headers...)
	l.Attach(sound())
	go l.Answer(w.ctx)
	code, answer := c.status(time.Second)
	if code != 200 {
		w.t.Fatalf("answered %d\n%s", code, answer)
	}
	c.toTag = regexp.MustCompile(`tag=([^;\r]+)`).FindStringSubmatch(field(string(answer), "To"))[1]
	c.target = strings.Trim(field(string(answer), "Contact"), "<>")
	c.send(c.request("ACK", "ack", ""))
	time.Sleep(10 * time.Millisecond)
	return c, l
}

// Requests within a call, as a table: what is sent, what comes back.
func TestInDialogRequests(t *testing.T) {
	sdp := strings.Replace(answerSDP, "t=0 0", "t=0 0", 1)
	for _, tc := range []struct {
		name, method, body string
		headers            []string
		cseq               int // added to the last one
		want               int
		check              string // in the answer
	}{
		{"lower CSeq", "INFO", "", nil, -1, 500, ""},
		{"same CSeq, other branch", "INFO", "", nil, 0, 500, ""},
		{"empty INFO", "INFO", "", nil, 1, 200, ""},
		{"unknown INFO package", "INFO", "", []string{"Info-Package: foo"}, 1, 469, "Recv-Info:"},
		{"OPTIONS", "OPTIONS", "", nil, 1, 200, "Allow:"},
		{"UPDATE without offer", "UPDATE", "", nil, 1, 200, "Contact:"},
		{"UPDATE with offer", "UPDATE", sdp, nil, 1, 200, "m=audio"},
		{"UPDATE, small interval", "UPDATE", "", []string{"Session-Expires: 20", "Supported: timer"}, 1, 422, "Min-SE: 90"},
		{"re-INVITE", "INVITE", sdp, nil, 1, 200, "m=audio"},
		{"re-INVITE without offer", "INVITE", "", nil, 1, 200, "m=audio"},
		{"re-INVITE of another type", "INVITE", "x", []string{"Content-Type: text/plain"}, 1, 415, "Accept:"},
		{"PRACK", "PRACK", "", nil, 1, 481, ""},
		{"NOTIFY", "NOTIFY", "", nil, 1, 481, ""},
		{"REFER", "REFER", "", []string{"Refer-To: <sip:202@pbx.test>"}, 1, 200, "Allow:"},
		{"unknown method", "FROBNICATE", "", nil, 1, 501, "Allow:"},
		{"unknown extension", "INFO", "", []string{"Require: foo"}, 1, 420, "Unsupported: foo"},
		{"BYE", "BYE", "", nil, 1, 200, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.established(answerSDP)
				defer c.close()
				c.cseq += tc.cseq
				body, headers := tc.body, tc.headers
				if body == "x" {
					c.send(append([]byte(strings.Replace(string(c.request(tc.method, "t", "", headers...)), "Content-Length: 0", "Content-Length: 1", 1)), 'x'))
				} else {
					c.send(c.request(tc.method, "t", body, headers...))
				}
				code, answer := c.status(2 * time.Second)
				if code != tc.want || !strings.Contains(string(answer), tc.check) {
					t.Errorf("answered %d, want %d with %q\n%s", code, tc.want, tc.check, answer)
				}
				if tc.method == "BYE" {
					within(t, time.Second, l.Done(), "end")
					return
				}
				if tc.method == "INVITE" && code == 200 {
					c.send(c.request("ACK", "t-ack", map[bool]string{true: "", false: answerSDP}[tc.body != ""]))
				}
				c.cseq = 10
				c.send(c.request("BYE", "bye", ""))
				if code, _ := c.status(2 * time.Second); code != 200 {
					t.Errorf("BYE answered %d", code)
				}
				within(t, time.Second, l.Done(), "end")
			})
		})
	}
}

// Requests for dialogs that do not exist, and methods that are not served.
func TestRequestsWithoutDialog(t *testing.T) {
	for method, want := range map[string]int{
		"BYE": 481, "INFO": 481, "UPDATE": 481, "NOTIFY": 481, "PRACK": 481, "CANCEL": 481,
		"REFER": 401, "MESSAGE": 405, "PUBLISH": 489, "FROBNICATE": 501, "options": 501, "OPTIONS": 200,
	} {
		t.Run(method, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := &caller{peer: w.peer(5060), cseq: 1}
				defer c.close()
				c.send(c.request(method, "x", ""))
				if code, answer := c.status(time.Second); code != want {
					t.Errorf("answered %d, want %d\n%s", code, want, answer)
				}
				if method != "OPTIONS" {
					c.toTag = "unknown"
					c.send(c.request("BYE", "y", ""))
					if code, _ := c.status(time.Second); code != 481 {
						t.Errorf("BYE in an unknown dialog answered %d, want 481", code)
					}
				}
			})
		})
	}
}

// Offer in the 200, answer in the ACK.
func TestLateOffer(t *testing.T) {
	for _, tc := range []struct{ name, answer string }{{"answered", answerSDP}, {"not answered", ""}} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c, l := w.dial("")
				defer c.close()
				s := sound()
				l.Attach(s)
				result := make(chan error, 1)
				go func() { result <- l.Answer(w.ctx) }()
				_, answer := c.status(time.Second)
				if !strings.Contains(string(answer), "m=audio") {
					t.Errorf("no offer in\n%s", answer)
				}
				c.toTag = regexp.MustCompile(`tag=([^;\r]+)`).FindStringSubmatch(field(string(answer), "To"))[1]
				c.send(c.request("ACK", "ack", tc.answer))
				err := <-result
				if tc.answer == "" {
					if err == nil {
						t.Error("answered without a description of the caller")
					}
					within(t, time.Second, l.Done(), "end")
					return
				}
				if err != nil {
					t.Error(err)
				}
				if _, answers := s.Heard(); answers != 1 {
					t.Errorf("%d answers were accepted, want 1", answers)
				}
			})
		})
	}
}

// An INVITE that arrives twice by different ways is one call: RFC 3261 §8.2.2.2.
func TestMergedInvite(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP)
		defer c.close()
		c.send(c.request("INVITE", "other", answerSDP, c.challenge))
		code, answer := c.status(time.Second)
		if code != 401 && code != 482 {
			t.Errorf("answered %d, want 482\n%s", code, answer)
		}
		c.send(c.request("INVITE", "i2", answerSDP, c.challenge)) // a plain repetition
		if code, _ := c.status(time.Second); code != 0 {
			t.Errorf("repetition answered %d, want nothing final", code)
		}
		if len(w.house) != 0 {
			t.Error("a second call came in")
		}
		l.HangUp(sip.Cause{Code: 486, Reason: "Busy Here"})
		if code, _ := c.status(time.Second); code != 486 {
			t.Errorf("answered %d, want 486", code)
		}
	})
}

// An ACK may reach us after the re-INVITE or BYE that followed it.
func TestLateACK(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP)
		defer c.close()
		l.Attach(sound())
		result := make(chan error, 1)
		go func() { result <- l.Answer(w.ctx) }()
		_, answer := c.status(time.Second)
		c.toTag = regexp.MustCompile(`tag=([^;\r]+)`).FindStringSubmatch(field(string(answer), "To"))[1]
		ack := c.request("ACK", "ack", "")
		c.cseq = 3
		c.send(c.request("INVITE", "re", answerSDP))
		time.Sleep(10 * time.Millisecond)
		c.send(ack)
		if code, answer := c.status(400 * time.Millisecond); code != 200 || field(string(answer), "CSeq") != "3 INVITE" {
			t.Errorf("re-INVITE answered %d\n%s", code, answer)
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
		c.send(c.request("ACK", "re-ack", ""))
		c.cseq = 4
		c.send(c.request("BYE", "bye", ""))
		within(t, time.Second, l.Done(), "end")
	})
}

func TestHops(t *testing.T) {
	bubble(t, func(w *world) {
		c := &caller{peer: w.peer(5060), cseq: 1}
		defer c.close()
		c.send([]byte(strings.Replace(string(c.request("INVITE", "x", answerSDP)), "Max-Forwards: 70", "Max-Forwards: 0", 1)))
		if code, _ := c.status(time.Second); code != 483 {
			t.Errorf("answered %d, want 483", code)
		}
		bob := w.registered("bob")
		l, err := w.server.Invite(w.ctx, sip.Outgoing{To: w.binding("bob"), Sound: sound(), MaxForwards: 12})
		if err != nil {
			t.Fatal(err)
		}
		ring := within(t, time.Second, bob.Incoming(), "call")
		if got := ring.Header("Max-Forwards"); got != "12" {
			t.Errorf("Max-Forwards is %s, want 12", got)
		}
		ring.Refuse(486)
		within(t, time.Second, l.Done(), "end")
	})
}

func TestUnusableInvites(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		headers    []string
		want       int
	}{
		{"Require", answerSDP, []string{"Require: 100rel, foo"}, 420},
		{"RFC 3911", answerSDP, []string{"Require: join", "Join: x;to-tag=1;from-tag=2"}, 420},
		{"RFC 6442", answerSDP, []string{"Require: geolocation", "Geolocation: <cid:x>"}, 420},
		{"RFC 3841", answerSDP, []string{"Require: pref", "Accept-Contact: *;video;require"}, 420},
		{"Replaces", answerSDP, []string{"Replaces: x;to-tag=1;from-tag=2"}, 401},
		{"no authorization", answerSDP, nil, 401},
		{"basic authorization", answerSDP, []string{"Authorization: Basic dTpw"}, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := &caller{peer: w.peer(5060), cseq: 1}
				defer c.close()
				c.send(c.request("INVITE", "x", tc.body, tc.headers...))
				if code, answer := c.status(time.Second); code != tc.want {
					t.Errorf("answered %d, want %d\n%s", code, tc.want, answer)
				}
				if len(w.house) != 0 {
					t.Error("the house was troubled")
				}
			})
		})
	}
}

// RFC 3261 §12.2.2, RFC 6141 §4: a phone that moved to another network says so by a
// re-INVITE from there, and is reached there from then on.
func TestPhoneMovesInCall(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.established(answerSDP)
		defer c.close()
		moved := &caller{peer: w.peer(6060), cseq: c.cseq + 1, toTag: c.toTag, target: c.target}
		defer moved.close()
		moved.send(moved.request("INVITE", "m1", answerSDP))
		if code, answer := moved.status(time.Second); code != 200 {
			t.Fatalf("answered %d\n%s", code, answer)
		}
		moved.send(moved.request("ACK", "m2", ""))
		time.Sleep(10 * time.Millisecond)
		l.HangUp(sip.Cause{})
		for {
			data := string(moved.read(time.Second))
			if data == "" {
				t.Fatal("no BYE where the phone is now")
			}
			if strings.HasPrefix(data, "BYE sip:u-alice@10.0.0.99:6060 ") {
				return
			}
		}
	})
}

// A lost 422 to a re-INVITE is sent again when the phone repeats it.
func TestRepeatedRefusalInCall(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.established(answerSDP)
		defer c.close()
		defer l.HangUp(sip.Cause{})
		c.cseq++
		again := c.request("INVITE", "small", answerSDP, "Session-Expires: 20", "Supported: timer")
		for range 2 {
			c.send(again)
			if code, answer := c.status(100 * time.Millisecond); code != 422 {
				t.Errorf("answered %d\n%s", code, answer)
			}
		}
		c.send(c.request("ACK", "small", ""))
	})
}
