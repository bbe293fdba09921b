package sip

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// webPing is how long a WebSocket may be silent before it is asked whether
// somebody is there, and how long the answer may take.
const webPing = 25 * time.Second

// WebSocket returns the handler that browsers open their SIP connection at
// (RFC 7118). It is to be served on the paths that the house chooses, with TLS or
// without. Pages of other origins are refused: a browser sends whatever a page wants.
func (s *Server) WebSocket() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.draining.Load() || !s.started.Load():
			http.Error(w, "not now", http.StatusServiceUnavailable)
		case r.Method != http.MethodGet || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
			w.Header().Set("Upgrade", "websocket")
			http.Error(w, "this is SIP over WebSocket", http.StatusUpgradeRequired)
		case !sameOrigin(r): // RFC 6455 §10.2
			http.Error(w, "this page may not", http.StatusForbidden)
		case !offersSIP(r): // RFC 7118 §4.1: the client must offer it, and we must choose it
			http.Error(w, "subprotocol sip expected", http.StatusBadRequest)
		default:
			s.upgrade(w, r)
		}
	})
}

// sameOrigin reports whether a request comes from a page of ours, or from no page.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

func isSIP(protocol string) bool { return protocol == "sip" }

func offersSIP(r *http.Request) bool {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for _, p := range strings.Split(line, ",") {
			if isSIP(trim(p)) {
				return true
			}
		}
	}
	return false
}

// upgrade makes a flow of a request.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	conn, rw, _, err := ws.HTTPUpgrader{Timeout: writeTime, Protocol: isSIP}.Upgrade(r, w)
	if conn == nil {
		return // answered with an error already
	}
	if err != nil {
		conn.Close()
		return
	}
	l := &streamListener{transport: "ws"}
	peer, _ := addrPortOf(conn.RemoteAddr())
	if r.TLS != nil || peer.Addr().IsLoopback() && r.Header.Get("X-Forwarded-Proto") == "https" {
		l.transport = "wss"
	}
	f := s.flows.admit(conn, l)
	if f == nil {
		s.stats.throttled.Add(1)
		conn.Close()
		return
	}
	f.web = &web{in: rw.Reader}
	s.tasks.Go(func() {
		// Until sipgo has it, nobody else would end it with the server.
		stop := context.AfterFunc(s.ctx, func() { f.Close() })
		defer stop()
		s.flows.begin(f)
	})
}

// web is the WebSocket of a flow. A message of it is a message of SIP, whole.
type web struct {
	in      *bufio.Reader
	message []byte // of a message in several frames, what came of it
	partial bool
	begun   time.Time
}

// moreWeb takes the next message from the WebSocket.
func (f *flow) moreWeb() error {
	w := f.web
	if !w.partial {
		if err := f.awaitWeb(); err != nil {
			return err
		}
		w.begun = time.Now()
		f.Conn.SetReadDeadline(w.begun.Add(messageTime))
	}
	h, err := ws.ReadHeader(w.in)
	if err != nil {
		return io.EOF
	}
	if status := w.check(h); status != 0 {
		f.hangUp(status)
		return io.EOF
	}
	data := make([]byte, h.Length)
	if _, err := io.ReadFull(w.in, data); err != nil {
		return io.EOF
	}
	ws.Cipher(data, h.Mask, 0)
	switch h.OpCode {
	case ws.OpPing:
		return f.frame(ws.NewPongFrame(data))
	case ws.OpPong:
		return nil
	case ws.OpClose:
		f.hangUp(ws.StatusNormalClosure)
		return io.EOF
	}
	w.message = append(w.message, data...)
	if w.partial = !h.Fin; w.partial {
		return nil
	}
	data, w.message = w.message, nil
	if len(bytes.Trim(data, "\r\n\x00 ")) == 0 {
		if bytes.Equal(data, []byte("\r\n\r\n")) { // RFC 7118 §6: clients may also ping as RFC 5626 has it
			_, err := f.Write([]byte("\r\n"))
			return err
		}
		return nil
	}
	f.out = f.judge(data)
	return nil
}

// awaitWeb waits until a frame begins. Who is silent for long is asked whether he
// is there, and a stranger is not waited for.
func (f *flow) awaitWeb() error {
	asked := false
	for {
		f.Conn.SetReadDeadline(time.Now().Add(webPing))
		_, err := f.web.in.Peek(1)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded) || asked || !f.known.Load():
			return io.EOF
		}
		asked = true
		if err := f.frame(ws.NewPingFrame(nil)); err != nil {
			return io.EOF
		}
	}
}

// check returns the status to close with when a frame may not come, else 0.
func (w *web) check(h ws.Header) ws.StatusCode {
	switch {
	case !h.Masked || h.Rsv != 0 || h.OpCode.IsReserved():
		return ws.StatusProtocolError // RFC 6455 §5.1, §5.2
	case h.OpCode.IsControl():
		if !h.Fin || h.Length > ws.MaxControlFramePayloadSize {
			return ws.StatusProtocolError
		}
	case (h.OpCode == ws.OpContinuation) != w.partial:
		return ws.StatusProtocolError
	case h.Length < 0 || h.Length+int64(len(w.message)) > maxMessage:
		return ws.StatusMessageTooBig
	}
	return 0
}

// hangUp says why the WebSocket ends.
func (f *flow) hangUp(status ws.StatusCode) {
	if err := f.frame(ws.NewCloseFrame(ws.NewCloseFrameBody(status, ""))); err != nil {
		f.fs.s.log.Debug("close not sent", "peer", f.remote, "error", err)
	}
}

// frame sends one frame.
func (f *flow) frame(frame ws.Frame) error {
	b, err := ws.CompileFrame(frame)
	if err != nil {
		return err
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	return f.put(b)
}

// framed puts a message into a frame: text, as RFC 7118 §5 prefers, if it is text.
func framed(message []byte) ([]byte, error) {
	if utf8.Valid(message) {
		return ws.CompileFrame(ws.NewTextFrame(message))
	}
	return ws.CompileFrame(ws.NewBinaryFrame(message))
}
