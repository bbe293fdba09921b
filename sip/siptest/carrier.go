package siptest

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Received is a request that a Carrier got.
type Received struct {
	At     time.Duration // since the network's time began
	Method string
	URI    string
	From   netip.AddrPort
	Text   string // the whole message

	answer func([]byte)
}

// Header returns the value of the first header of that name, written in full.
func (r Received) Header(name string) string { return headerIn(r.Text, name) }

func headerIn(text, name string) string {
	head, _, _ := strings.Cut(text, "\r\n\r\n")
	for line := range strings.Lines(head) {
		n, v, _ := strings.Cut(line, ":")
		if strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// Body returns what follows the header.
func (r Received) Body() string {
	_, body, _ := strings.Cut(r.Text, "\r\n\r\n")
	return body
}

// Reply is what a Carrier says to a request.
type Reply struct {
	Code    int
	Reason  string
	Headers []string
	SDP     bool // with a description of sound
	After   time.Duration
}

// Carrier is the simulated other end of a trunk, by UDP and TCP. Its script decides what
// it says; Obliging is a good one to build upon.
type Carrier struct {
	net  *Net
	conn net.PacketConn
	tcp  net.Listener
	addr netip.AddrPort
	tag  string
	wg   sync.WaitGroup
	news chan Received

	mu      sync.Mutex
	script  func(Received) []Reply
	log     []Received
	answers map[string]chan string // by branch
	nonces  int
	streams []net.Conn

	username, password string
	sha256             bool
}

// realm is what a Carrier asks for credentials of.
const realm = "carrier.test"

// NewCarrier opens a carrier at an address.
func NewCarrier(ctx context.Context, n *Net, addr netip.AddrPort) (*Carrier, error) {
	conn, err := n.Host(addr.Addr()).ListenPacket(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("carrier: %w", err)
	}
	l, err := n.Host(addr.Addr()).Listen(ctx, addr)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("carrier: %w", err)
	}
	c := &Carrier{net: n, conn: conn, tcp: l, addr: addr, tag: token(), news: make(chan Received, 1024), answers: make(map[string]chan string)}
	c.script = c.Obliging
	c.wg.Go(c.read)
	c.wg.Go(c.accept)
	return c, nil
}

// Close ends the carrier.
func (c *Carrier) Close() {
	c.conn.Close()
	c.tcp.Close()
	c.Cut()
	c.wg.Wait()
}

// CloseTCP refuses connections from now on.
func (c *Carrier) CloseTCP() { c.tcp.Close() }

// Connections returns how many connections to it are up.
func (c *Carrier) Connections() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams)
}

// Cut closes the connections that are up, and returns how many that were.
func (c *Carrier) Cut() int {
	c.mu.Lock()
	all := c.streams
	c.streams = nil
	c.mu.Unlock()
	for _, s := range all {
		s.Close()
	}
	return len(all)
}

func (c *Carrier) accept() {
	for {
		conn, err := c.tcp.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.streams = append(c.streams, conn)
		c.mu.Unlock()
		c.wg.Go(func() { c.readStream(conn) })
	}
}

// readStream reads requests; empty lines between them are pings, and answered (RFC 5626 §4.4.1).
func (c *Carrier) readStream(conn net.Conn) {
	buf, pending := make([]byte, 65536), ""
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		pending += string(buf[:n])
		for strings.HasPrefix(pending, "\r\n\r\n") {
			pending = pending[4:]
			conn.Write([]byte("\r\n"))
		}
		for {
			head, _, found := strings.Cut(pending, "\r\n\r\n")
			length, _ := strconv.Atoi(headerIn(pending, "Content-Length"))
			total := len(head) + 4 + length
			if !found || len(pending) < total {
				break
			}
			from := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
			c.heard(pending[:total], from, func(b []byte) { conn.Write(b) })
			pending = pending[total:]
		}
	}
}

// Addr returns where the carrier is.
func (c *Carrier) Addr() netip.AddrPort { return c.addr }

// Script sets what the carrier says. A request that gets no reply is met with silence.
func (c *Carrier) Script(f func(Received) []Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.script = f
}

// Refuse has the carrier answer everything but ACK with one status; 0 is silence.
func (c *Carrier) Refuse(code int, reason string, headers ...string) {
	c.Script(func(r Received) []Reply {
		if code == 0 || r.Method == "ACK" {
			return nil
		}
		return []Reply{{Code: code, Reason: reason, Headers: headers}}
	})
}

// Want has Obliging ask for credentials; without a password it asks for none.
func (c *Carrier) Want(username, password string, sha256 bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.username, c.password, c.sha256 = username, password, sha256
}

// asks reports whether Obliging asks for credentials.
func (c *Carrier) asks() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.password != ""
}

// Oblige has the carrier serve again.
func (c *Carrier) Oblige() { c.Script(c.Obliging) }

// Obliging registers, answers OPTIONS, and takes calls after one second of ringing.
func (c *Carrier) Obliging(r Received) []Reply {
	if r.Method == "ACK" {
		return nil
	}
	if c.asks() && r.Method != "OPTIONS" && r.Method != "CANCEL" && !c.Authorized(r) {
		return []Reply{c.Challenge()}
	}
	switch r.Method {
	case "REGISTER":
		return []Reply{{Code: 200, Reason: "OK", Headers: []string{"Contact: " + r.Header("Contact") + ";expires=" + r.Header("Expires")}}}
	case "INVITE":
		return []Reply{{Code: 100, Reason: "Trying"}, {Code: 180, Reason: "Ringing"}, {Code: 200, Reason: "OK", SDP: true, After: time.Second}}
	}
	return []Reply{{Code: 200, Reason: "OK"}}
}

// Challenge asks for credentials with a new nonce.
func (c *Carrier) Challenge(more ...string) Reply {
	c.mu.Lock()
	c.nonces++
	n, strong := c.nonces, c.sha256
	c.mu.Unlock()
	v := fmt.Sprintf(`WWW-Authenticate: Digest realm="%s", nonce="nonce%d", qop="auth"`, realm, n)
	if strong {
		v += ", algorithm=SHA-256"
	}
	return Reply{Code: 401, Reason: "Unauthorized", Headers: []string{v + strings.Join(more, "")}}
}

// Authorized reports whether a request has the right credentials.
func (c *Carrier) Authorized(r Received) bool {
	c.mu.Lock()
	username, password, strong := c.username, c.password, c.sha256
	c.mu.Unlock()
	v := r.Header("Authorization")
	if v == "" {
		v = r.Header("Proxy-Authorization")
	}
	f := make(map[string]string)
	for part := range strings.SplitSeq(strings.TrimPrefix(v, "Digest "), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		f[name] = strings.Trim(value, `"`)
	}
	hash := func(s string) string {
		if strong {
			sum := sha256.Sum256([]byte(s))
			return hex.EncodeToString(sum[:])
		}
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	ha1 := hash(username + ":" + realm + ":" + password)
	ha2 := hash(r.Method + ":" + r.URI)
	want := hash(ha1 + ":" + f["nonce"] + ":" + f["nc"] + ":" + f["cnonce"] + ":auth:" + ha2)
	return f["username"] == username && f["realm"] == realm && f["uri"] == r.URI && f["response"] == want
}

// News yields the requests that come, the newest lost when nobody reads.
func (c *Carrier) News() <-chan Received { return c.news }

// Got returns the requests of a method that came so far; "" is all.
func (c *Carrier) Got(method string) []Received {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Received
	for _, r := range c.log {
		if method == "" || r.Method == method {
			all = append(all, r)
		}
	}
	return all
}

// Times returns when requests of a method came.
func (c *Carrier) Times(method string) []time.Duration {
	var all []time.Duration
	for _, r := range c.Got(method) {
		all = append(all, r.At)
	}
	return all
}

func (c *Carrier) read() {
	buf := make([]byte, 65536)
	for {
		n, from, err := c.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		c.heard(string(buf[:n]), from.(*net.UDPAddr).AddrPort(), func(b []byte) { c.conn.WriteTo(b, from) })
	}
}

// heard takes one message.
func (c *Carrier) heard(text string, from netip.AddrPort, answer func([]byte)) {
	first, _, _ := strings.Cut(text, "\r\n")
	parts := strings.SplitN(first, " ", 3)
	switch {
	case len(parts) < 3:
	case parts[0] == "SIP/2.0":
		c.answered(text)
	default:
		c.asked(Received{At: time.Since(c.net.Start()), Method: parts[0], URI: parts[1], From: from, Text: text, answer: answer})
	}
}

func (c *Carrier) asked(r Received) {
	c.mu.Lock()
	c.log = append(c.log, r)
	script := c.script
	c.mu.Unlock()
	select {
	case c.news <- r:
	default:
	}
	for _, p := range script(r) {
		if p.After > 0 {
			time.AfterFunc(p.After, func() { c.reply(r, p) })
			continue
		}
		c.reply(r, p)
	}
}

// reply writes one answer. The answer to CANCEL brings the 487 of its INVITE along.
func (c *Carrier) reply(r Received, p Reply) {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", p.Code, p.Reason)
	head, _, _ := strings.Cut(r.Text, "\r\n\r\n")
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch name {
		case "To":
			if !strings.Contains(value, "tag=") && p.Code > 100 {
				value += ";tag=" + c.tag
			}
			fallthrough
		case "Via", "From", "Call-ID", "CSeq", "Record-Route":
			b.WriteString(name + ":" + value + "\r\n")
		}
	}
	for _, h := range p.Headers {
		b.WriteString(h + "\r\n")
	}
	body := ""
	if r.Method == "INVITE" && p.Code > 100 && p.Code < 300 {
		fmt.Fprintf(&b, "Contact: <sip:%s>\r\n", c.addr)
	}
	if p.SDP {
		body = string(c.sound())
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	r.answer([]byte(b.String()))
}

func (c *Carrier) sound() []byte {
	sdp, _ := (&Silence{Host: c.addr.Addr(), Port: 7000}).Offer()
	return sdp
}

// Ask sends a request and returns its final answer as text, "" if none came within a minute. The
// INVITE of a call carries an offer. Repetition is not needed on a network without loss.
func (c *Carrier) Ask(to netip.AddrPort, method, uri string, headers ...string) string {
	branch := "z9hG4bK" + token()
	answers := make(chan string, 32)
	c.mu.Lock()
	c.answers[branch] = answers
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.answers, branch)
		c.mu.Unlock()
	}()
	c.Tell(to, branch, method, uri, headers...)
	giveUp := time.NewTimer(time.Minute)
	defer giveUp.Stop()
	for {
		select {
		case text := <-answers:
			if !strings.HasPrefix(text, "SIP/2.0 1") {
				return text
			}
		case <-giveUp.C:
			return ""
		}
	}
}

// Tell sends a request and waits for nothing. Headers that are given replace those of the same name.
func (c *Carrier) Tell(to netip.AddrPort, branch, method, uri string, headers ...string) {
	given := strings.Join(headers, "\r\n") + "\r\n"
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=%s\r\n", method, uri, c.addr, branch)
	for _, h := range [][2]string{
		{"From", "<sip:+15550100@carrier.test>;tag=" + token()},
		{"To", "<" + uri + ">"},
		{"Call-ID", token()},
		{"CSeq", "1 " + method},
		{"Contact", fmt.Sprintf("<sip:%s>", c.addr)},
		{"Max-Forwards", "70"},
	} {
		if headerIn(given, h[0]) == "" {
			b.WriteString(h[0] + ": " + h[1] + "\r\n")
		}
	}
	body := ""
	switch method {
	case "INVITE":
		body = string(c.sound())
		b.WriteString("Content-Type: application/sdp\r\n")
	case "MESSAGE":
		body = "a word from outside"
		b.WriteString("Content-Type: text/plain\r\n")
	}
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	c.conn.WriteTo([]byte(b.String()), net.UDPAddrFromAddrPort(to))
}

func (c *Carrier) answered(text string) {
	_, branch, _ := strings.Cut(headerIn(text, "Via"), "branch=")
	branch, _, _ = strings.Cut(branch, ";")
	c.mu.Lock()
	waiting := c.answers[branch]
	c.mu.Unlock()
	if waiting != nil {
		select {
		case waiting <- text:
		default:
		}
	}
}
