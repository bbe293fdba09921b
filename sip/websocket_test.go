package sip_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"pbx/sip/siptest"
)

// browser is a WebSocket that looks like a stream: what is written goes out as one
// message, what comes in are the octets of messages.
type browser struct {
	net.Conn
	in    io.Reader
	rest  []byte
	kind  ws.OpCode
	pings int
	close ws.StatusCode
}

func (b *browser) Write(p []byte) (int, error) {
	if err := ws.WriteFrame(b.Conn, ws.MaskFrame(ws.NewFrame(b.kind, true, bytes.Clone(p)))); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (b *browser) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		f, err := ws.ReadFrame(b.in)
		if err != nil {
			return 0, err
		}
		switch f.Header.OpCode {
		case ws.OpPing:
			b.pings++
			ws.WriteFrame(b.Conn, ws.MaskFrame(ws.NewPongFrame(f.Payload)))
		case ws.OpClose:
			b.close, _ = ws.ParseCloseFrameData(f.Payload)
			return 0, io.EOF
		default:
			b.rest = f.Payload
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// webbed serves the WebSocket of a server over HTTP and over TLS.
func webbed(t *testing.T, w *secure) (plain, secured string) {
	t.Helper()
	h := http.NewServeMux()
	h.Handle("/sip", w.WebSocket())
	a, b := httptest.NewServer(h), httptest.NewTLSServer(h)
	t.Cleanup(a.Close)
	t.Cleanup(b.Close)
	return "ws" + strings.TrimPrefix(a.URL, "http") + "/sip", "wss" + strings.TrimPrefix(b.URL, "https") + "/sip"
}

func dialWeb(url string, change ...func(*ws.Dialer)) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		d := ws.Dialer{Protocols: []string{"sip"}}
		d.TLSConfig = insecure()
		for _, f := range change {
			f(&d)
		}
		conn, br, _, err := d.Dial(ctx, url)
		if err != nil {
			return nil, err
		}
		b := &browser{Conn: conn, in: conn, kind: ws.OpText}
		if br != nil {
			b.in = br
		}
		return &webConn{b, conn}, nil
	}
}

// webConn gives the browser the address of its connection.
type webConn struct {
	*browser
	conn net.Conn
}

func (c *webConn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// A browser registers over ws and wss, calls and is called (RFC 7118 §8).
func TestWebSocketPhones(t *testing.T) {
	w := newSecure(t)
	plain, secured := webbed(t, w)
	for transport, url := range map[string]string{"ws": plain, "wss": secured} {
		for _, ways := range [][2]string{{transport, "udp"}, {"tls", transport}} {
			dial := map[string]func(context.Context) (net.Conn, error){transport: dialWeb(url), "tls": w.dialTLS}
			alice, bob := w.phone("alice", ways[0], dial[ways[0]]), w.phone("bob", ways[1], dial[ways[1]])
			if b := w.BindingsOfUser("usr_bob"); len(b) != 1 || b[0].Transport != ways[1] {
				t.Errorf("bob over %s is bound as %+v", ways[1], b)
			}
			w.callThrough(alice, bob)
			for _, p := range []*siptest.Phone{alice, bob} {
				if err := p.Unregister(w.ctx); err != nil {
					t.Error(err)
				}
				p.Close()
			}
		}
	}
	w.eventually("no flow is left", func() bool { return w.Stats().Connections == 0 })
}

// A closed browser is not rung any more.
func TestWebSocketGone(t *testing.T) {
	w := newSecure(t)
	plain, _ := webbed(t, w)
	alice := w.phone("alice", "ws", dialWeb(plain))
	if n := len(w.BindingsOfUser("usr_alice")); n != 1 {
		t.Fatalf("%d bindings", n)
	}
	alice.Close()
	w.eventually("the binding is dropped", func() bool { return len(w.BindingsOfUser("usr_alice")) == 0 })
}

// Who may open a WebSocket, and with what.
func TestWebSocketHandshake(t *testing.T) {
	w := newSecure(t)
	plain, _ := webbed(t, w)
	host := strings.TrimSuffix(strings.TrimPrefix(plain, "ws://"), "/sip")
	origin := func(o string) func(*ws.Dialer) {
		return func(d *ws.Dialer) { d.Header = ws.HandshakeHeaderHTTP{"Origin": {o}} }
	}
	for name, c := range map[string]struct {
		change func(*ws.Dialer)
		status int // 0: it opens
	}{
		"our page":        {origin("http://" + host), 0},
		"no page":         {func(*ws.Dialer) {}, 0},
		"another page":    {origin("http://evil.test"), 403},
		"a page of files": {origin("null"), 403},
		"no subprotocol":  {func(d *ws.Dialer) { d.Protocols = nil }, 400},
		"another one":     {func(d *ws.Dialer) { d.Protocols = []string{"chat"} }, 400},
		"one of several":  {func(d *ws.Dialer) { d.Protocols = []string{"chat", "sip"} }, 0},
	} {
		conn, err := dialWeb(plain, c.change)(w.ctx)
		var refused ws.StatusError
		switch {
		case c.status == 0 && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.status != 0 && err == nil:
			t.Errorf("%s may", name)
		case c.status != 0:
			if refused, _ = err.(ws.StatusError); int(refused) != c.status {
				t.Errorf("%s: %v, want %d", name, err, c.status)
			}
		}
		if conn != nil {
			conn.Close()
		}
	}
	res, err := http.Get("http://" + host + "/sip")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a plain GET gets %d", res.StatusCode)
	}
}

// Frames of all kinds: text, binary, fragments with a ping between, ping, CRLF, too large, unmasked.
func TestWebSocketFrames(t *testing.T) {
	w := newSecure(t)
	plain, _ := webbed(t, w)
	open := func() *browser {
		conn, err := dialWeb(plain)(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		return conn.(*webConn).browser
	}
	request := func(id string) []byte {
		return []byte("OPTIONS sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK" + id + ";rport\r\nFrom: <sip:a@pbx.test>;tag=1\r\nTo: <sip:pbx.test>\r\nCall-ID: " + id + "\r\nCSeq: 1 OPTIONS\r\n\r\n")
	}
	answered := func(b *browser, what string) {
		t.Helper()
		f, err := ws.ReadFrame(b.in)
		if err != nil || f.Header.OpCode != ws.OpText || !bytes.HasPrefix(f.Payload, []byte("SIP/2.0 200 OK")) || !bytes.Contains(f.Payload, []byte("Via: SIP/2.0/WS df7jal23ls0d.invalid;")) {
			t.Errorf("%s is answered %v %q, %v", what, f.Header.OpCode, f.Payload, err)
		}
	}
	send := func(b *browser, f ws.Frame) {
		t.Helper()
		if err := ws.WriteFrame(b.Conn, ws.MaskFrame(f)); err != nil {
			t.Fatal(err)
		}
	}
	b := open()
	b.Write(request("text")) // RFC 7118 §5: without Content-Length too
	answered(b, "text")
	b.kind = ws.OpBinary
	b.Write(request("binary"))
	answered(b, "binary")
	whole := request("pieces")
	send(b, ws.NewFrame(ws.OpText, false, bytes.Clone(whole[:40])))
	send(b, ws.NewPingFrame([]byte("here?")))
	if f, err := ws.ReadFrame(b.in); err != nil || f.Header.OpCode != ws.OpPong || string(f.Payload) != "here?" {
		t.Errorf("ping is answered %v %q, %v", f.Header.OpCode, f.Payload, err)
	}
	send(b, ws.NewFrame(ws.OpContinuation, false, bytes.Clone(whole[40:41])))
	send(b, ws.NewFrame(ws.OpContinuation, true, bytes.Clone(whole[41:])))
	answered(b, "pieces")
	b.Write([]byte("\r\n\r\n"))
	if f, err := ws.ReadFrame(b.in); err != nil || string(f.Payload) != "\r\n" {
		t.Errorf("CRLF is answered %q, %v", f.Payload, err)
	}
	// Two messages in one frame: the second is no message (RFC 7118 §5).
	b.Write(bytes.Replace(append(request("two"), request("three")...), []byte("CSeq: 1 OPTIONS\r\n"), []byte("CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n"), 1))
	answered(b, "the first of two")
	b.Write(request("after"))
	answered(b, "the next frame")

	for name, c := range map[string]struct {
		frame  ws.Frame
		status ws.StatusCode
	}{
		"too large":              {ws.MaskFrame(ws.NewTextFrame(bytes.Repeat([]byte("a"), 70000))), ws.StatusMessageTooBig},
		"not masked":             {ws.NewTextFrame([]byte("a")), ws.StatusProtocolError},
		"continuation of naught": {ws.MaskFrame(ws.NewFrame(ws.OpContinuation, true, []byte("a"))), ws.StatusProtocolError},
		"unknown kind":           {ws.MaskFrame(ws.NewFrame(5, true, []byte("a"))), ws.StatusProtocolError},
		"long ping":              {ws.MaskFrame(ws.NewFrame(ws.OpPing, true, bytes.Repeat([]byte("a"), 200))), ws.StatusProtocolError},
		"close":                  {ws.MaskFrame(ws.NewCloseFrame(nil)), ws.StatusNormalClosure},
	} {
		b := open()
		ws.WriteFrame(b.Conn, c.frame)
		// Where we did not read all that was sent, the kernel may take back what we said.
		if _, err := io.ReadAll(b); b.close != c.status && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: closed with %d, %v, want %d", name, b.close, err, c.status)
		}
	}
	w.eventually("no flow is left but the first", func() bool { return w.Stats().Connections == 1 })
}
