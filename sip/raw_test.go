package sip_test

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// What bare sockets need to hold a conversation by hand.

// await reads until an answer with that status comes, and returns it.
func (p *peer) await(code int) string {
	p.w.t.Helper()
	for {
		data := p.read(25 * time.Hour)
		if data == nil {
			p.w.t.Fatalf("no answer %d came", code)
		}
		if statusOf(data) == code {
			return string(data)
		}
	}
}

// demand reads until a request of that method comes, and returns it.
func (p *peer) demand(method string) string {
	p.w.t.Helper()
	for {
		data := string(p.read(25 * time.Hour))
		if data == "" {
			p.w.t.Fatalf("no %s came", method)
		}
		if strings.HasPrefix(data, method+" ") {
			return data
		}
	}
}

// quiet reports what else than repetitions of seen comes within d; "" if nothing does.
func (p *peer) quiet(d time.Duration, seen ...string) string {
	for end := time.Now().Add(d); ; {
		data := string(p.read(time.Until(end)))
		if data == "" {
			return ""
		}
		known := false
		for _, s := range seen {
			known = known || s == data
		}
		if !known {
			return data
		}
	}
}

// respond answers a request; tag is put into To if there is none.
func (p *peer) respond(req, tag string, code int, reason, sdp string, headers ...string) {
	p.w.t.Helper()
	to := field(req, "To")
	if tag != "" && !strings.Contains(to, "tag=") {
		to += ";tag=" + tag
	}
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d %s\r\nVia: %s\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:c%s@%s>\r\n",
		code, reason, field(req, "Via"), field(req, "From"), to, field(req, "Call-ID"), field(req, "CSeq"), tag, p.local)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if sdp != "" {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(sdp), sdp)
	p.send([]byte(b.String()))
}

// learn takes tag and target of the dialog from an answer.
func (c *caller) learn(answer string) {
	_, tag, _ := strings.Cut(field(answer, "To"), "tag=")
	c.toTag = tag
	c.target = strings.Trim(field(answer, "Contact"), "<>")
}

// confirm acknowledges a 2xx, with the answer to its offer if there is one.
func (c *caller) confirm(ok, sdp string) {
	c.w.t.Helper()
	c.learn(ok)
	seq, _, _ := strings.Cut(field(ok, "CSeq"), " ")
	now := c.cseq
	fmt.Sscan(seq, &c.cseq)
	c.send(c.request("ACK", "ack"+seq, sdp))
	c.cseq = now
}

// ask numbers a request in the dialog and sends it.
func (c *caller) ask(method, branch, sdp string, headers ...string) {
	c.w.t.Helper()
	c.cseq++
	c.send(c.request(method, branch, sdp, headers...))
}

// authorize answers a challenge with the credentials of alice.
func (c *caller) authorize(challenge, method, uri string) string {
	nonce := regexp.MustCompile(`nonce="([^"]+)"`).FindStringSubmatch(challenge)[1]
	ha1, ha2 := sha256hex("u-alice:pbx.test:secret of alice"), sha256hex(method+":"+uri)
	return fmt.Sprintf(`Authorization: Digest username="u-alice", realm="pbx.test", nonce="%s", uri="%s", response="%s", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c"`,
		nonce, uri, sha256hex(ha1+":"+nonce+":00000001:c:auth:"+ha2))
}
