package sip_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pbx/event"
	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// RFC 5626 §4.4.1, §3.5: pings on a stream are answered, on UDP and by STUN they are tolerated.
func TestKeepAlives(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.streamPeer()
		defer p.close()
		p.send([]byte("\r\n\r\n"))
		if got := p.read(time.Second); string(got) != "\r\n" {
			t.Errorf("ping answered %q", got)
		}
		p.send([]byte("\r\n"))
		time.Sleep(20 * time.Second)
		p.send([]byte("\r\n")) // the second half, late
		if got := p.read(time.Second); string(got) != "\r\n" {
			t.Errorf("late ping answered %q", got)
		}
		p.send(append([]byte("\r\n\r\n\r\n"), p.options("o")...))
		if got := p.read(time.Second); string(got) != "\r\n" {
			t.Errorf("ping before a request answered %q", got)
		}
		if code, _ := p.status(time.Second); code != 200 {
			t.Errorf("request after a ping answered %d", code)
		}
		q := w.peer(5060)
		defer q.close()
		for _, junk := range []string{"\r\n\r\n", "\x00", "hello", "GET / HTTP/1.1\r\n\r\n", "\xff\xfe\xfd", "SIP/2.0 200 OK\r\n\r\n", strings.Repeat("A", 60000)} {
			q.send([]byte(junk))
		}
		if got := q.read(time.Second); got != nil {
			t.Errorf("junk answered %q", got)
		}
		q.send([]byte("\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"))
		if got := q.read(time.Second); len(got) != 32 || string(got[8:20]) != "abcdefghijkl" {
			t.Errorf("STUN answered %x", got)
		}
		q.send(q.options("p"))
		if code, _ := q.status(time.Second); code != 200 {
			t.Errorf("request after junk answered %d", code)
		}
	})
}

// Several requests in one segment, and one request in many.
func TestStreamFraming(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.streamPeer()
		defer p.close()
		p.send(append(p.options("a"), p.options("b")...))
		got := 0
		for range 2 {
			if code, _ := p.status(time.Second); code == 200 {
				got++
			}
		}
		if got != 2 {
			t.Errorf("%d of two requests in one segment answered", got)
		}
		for _, b := range p.options("c") {
			p.send([]byte{b})
		}
		if code, _ := p.status(time.Second); code != 200 {
			t.Errorf("request in single octets answered %d", code)
		}
		// No length: refused, and the stream ends, for its next message cannot be found.
		p.send(bytes.Replace(p.options("d"), []byte("Content-Length: 0\r\n"), nil, 1))
		if code, _ := p.status(time.Second); code != 400 {
			t.Errorf("request without length answered %d, want 400", code)
		}
		if _, err := p.stream.Write(p.options("e")); err == nil {
			t.Error("the stream is still open")
		}
	})
}

// Connections of strangers do not live for ever, those of phones do.
func TestIdleConnections(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice", overTCP)
		p := w.streamPeer()
		defer p.close()
		q := w.streamPeer()
		defer q.close()
		q.send([]byte("OPTIONS sip:a SIP/2.0\r\nVia: SIP"))
		time.Sleep(11 * time.Second)
		if n := w.server.Stats().Connections; n != 2 {
			t.Errorf("%d connections after 11s, want 2: a message must be complete", n)
		}
		time.Sleep(50 * time.Second)
		if n := w.server.Stats().Connections; n != 1 {
			t.Errorf("%d connections after a minute, want 1", n)
		}
		time.Sleep(50 * time.Minute)
		if code, err := alice.Options(w.ctx); err != nil || code != 200 {
			t.Errorf("options of the phone: %d, %v", code, err)
		}
	})
}

func TestConnectionsOfOneSource(t *testing.T) {
	bubble(t, func(w *world) {
		var all []*peer
		for range 1100 {
			all = append(all, w.streamPeer())
		}
		time.Sleep(time.Second)
		if n := w.server.Stats().Connections; n != 1024 {
			t.Errorf("%d connections of one source, want 1024", n)
		}
		alice := w.registered("alice", overTCP)
		if code, err := alice.Options(w.ctx); err != nil || code != 200 {
			t.Errorf("options of a phone: %d, %v", code, err)
		}
		for _, p := range all {
			p.close()
		}
	})
}

// A flood of one source leaves others alone, and of many sources too.
func TestFlood(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.peer(5060)
		defer p.close()
		for i := range 10000 {
			p.send(p.options(fmt.Sprint("f", i)))
			if i%20 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(2 * time.Millisecond)
		st := w.server.Stats()
		if st.Throttled < 5000 {
			t.Errorf("%d of 10000 messages held off", st.Throttled)
		}
		start := time.Now()
		alice := w.registered("alice")
		w.up(alice)
		if d := time.Since(start); d > time.Second {
			t.Errorf("a call took %v", d)
		}
		// The same in the name of the phone's address: it has a limit of its own.
		c, err := w.net.Host(aliceAddr).ListenPacket(w.ctx, addrPort(aliceAddr, 9999))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		other := &peer{w: w, packets: c, local: addrPort(aliceAddr, 9999)}
		for i := range 6000 {
			other.send(other.options(fmt.Sprint("g", i)))
			if i%20 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		if code, err := alice.Options(w.ctx); err != nil || code != 200 {
			t.Errorf("options of the phone: %d, %v", code, err)
		}
		if w.server.Stats().Throttled < st.Throttled+1000 {
			t.Error("the second flood was not held off")
		}
	})
}

// sipgo keeps every source of datagrams for ever; our listener starts anew in time.
func TestManySources(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		for i := range 10000 {
			addr := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
			c, err := w.net.Host(addr).ListenPacket(w.ctx, netip.AddrPortFrom(addr, 5060))
			if err != nil {
				t.Fatal(err)
			}
			p := &peer{w: w, packets: c, local: netip.AddrPortFrom(addr, 5060)}
			p.send(p.options("m"))
			if i%500 == 0 {
				if code, _ := p.status(time.Second); code != 200 {
					t.Fatalf("source %d answered %d", i, code)
				}
			}
			p.close()
		}
		time.Sleep(2 * time.Second)
		if n := w.server.Sources(); n > 4000 {
			t.Errorf("sipgo keeps %d sources", n)
		}
		line, l := w.up(alice)
		l.HangUp(sip.Cause{})
		within(t, time.Second, line.Done(), "BYE")
	})
}

// Each listener answers and calls with its own address (finding: sipgo stays
// with the listener a source used before).
func TestSeveralAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := siptest.NewNet()
		one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
		dir := &directory{lines: map[string]store.Line{"u-alice": line("alice")}}
		rows := &bindings{rows: make(map[store.ID]store.Binding)}
		three := netip.MustParseAddr("10.0.0.3")
		host := n.Host(one, two, three)
		s, err := sip.New(sip.Config{UDP: []netip.AddrPort{netip.MustParseAddrPort("[::]:0")}, TCP: []netip.AddrPort{netip.MustParseAddrPort("[::]:0")}, Network: host}, dir, rows, &mailboxes{}, event.NewBus())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context(), make(legs, 1)); err != nil {
			t.Fatal(err)
		}
		defer s.Close(context.WithoutCancel(t.Context()))
		ls := s.Listeners()
		if len(ls) != 6 {
			t.Fatalf("listeners are %v", ls)
		}
		port := ls[0].Addr.Port()
		for _, l := range ls {
			if l.Addr.Port() != port {
				t.Errorf("listener %v, want port %d everywhere", l, port)
			}
		}
		late := netip.MustParseAddr("10.0.0.4") // the network came up after us
		host.Add(late)
		time.Sleep(20 * time.Second)
		if got := s.Listeners(); len(got) != 8 {
			t.Fatalf("listeners are %v", got)
		}
		from := netip.MustParseAddr("2001:db8::99")
		c, err := n.Host(from).ListenPacket(t.Context(), netip.AddrPortFrom(from, 5060))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ask := func(to netip.Addr, i int) {
			t.Helper()
			req := fmt.Sprintf("OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP [2001:db8::99]:5060;branch=z9hG4bK%d\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:a>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\n\r\n", i, i)
			c.WriteTo([]byte(req), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, port)))
			c.SetReadDeadline(time.Now().Add(time.Second))
			buf := make([]byte, 4096)
			k, src, err := c.ReadFrom(buf)
			if err != nil {
				t.Fatal(err)
			}
			if statusOf(buf[:k]) != 200 || src.(*net.UDPAddr).AddrPort().Addr() != to {
				t.Errorf("asked %v, answered by %v: %d", to, src, statusOf(buf[:k]))
			}
		}
		for i, to := range []netip.Addr{one, two, three, one, one, late, three, two, late} {
			ask(to, i)
		}
	})
}

func TestAdvertise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := siptest.NewNet()
		dir := &directory{lines: map[string]store.Line{"u-bob": line("bob")}}
		s, err := sip.New(sip.Config{UDP: []netip.AddrPort{netip.AddrPortFrom(pbxAddr, 5060)}, Advertise: "pbx.example.com", Network: n.Host(pbxAddr)}, dir, &bindings{rows: make(map[store.ID]store.Binding)}, &mailboxes{}, event.NewBus())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context(), make(legs, 1)); err != nil {
			t.Fatal(err)
		}
		defer s.Close(context.WithoutCancel(t.Context()))
		bob, err := siptest.NewPhone(t.Context(), siptest.PhoneConfig{Network: n.Host(bobAddr), Local: addrPort(bobAddr, 5060), Server: addrPort(pbxAddr, 5060), Username: "u-bob", Password: "secret of bob"})
		if err != nil {
			t.Fatal(err)
		}
		defer bob.Close()
		if err := bob.Register(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		l, err := s.Invite(t.Context(), sip.Outgoing{To: s.BindingsOfUser("usr_bob")[0], From: sip.Identity{User: "100"}, Sound: sound()})
		if err != nil {
			t.Fatal(err)
		}
		ring := within(t, time.Second, bob.Incoming(), "call")
		if got := ring.Header("Contact"); got != "<sip:100@pbx.example.com:5060>" {
			t.Errorf("Contact is %s", got)
		}
		if got := ring.Header("Via"); !strings.HasPrefix(got, "SIP/2.0/UDP pbx.example.com:5060;") {
			t.Errorf("Via is %s", got)
		}
		if l.Local() != pbxAddr || l.Peer() != bobAddr {
			t.Errorf("leg is between %v and %v", l.Local(), l.Peer())
		}
		ring.Refuse(486)
		within(t, time.Second, l.Done(), "end")
	})
}

func TestBadConfig(t *testing.T) {
	at := []netip.AddrPort{netip.AddrPortFrom(pbxAddr, 5060)}
	for name, c := range map[string]sip.Config{
		"nothing to listen on": {},
		"advertise a line":     {UDP: at, Advertise: "a\r\nb"},
	} {
		if _, err := sip.New(c, &directory{}, &bindings{}, &mailboxes{}, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		n := siptest.NewNet()
		s, err := sip.New(sip.Config{UDP: at, Network: n.Host(bobAddr)}, &directory{}, &bindings{}, &mailboxes{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context(), make(legs, 1)); err == nil {
			t.Error("listens on an address of another host")
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// An answer larger than 1300 octets goes the way of the request.
func TestLargeAnswer(t *testing.T) {
	bubble(t, func(w *world) {
		c, l := w.dial(answerSDP)
		defer c.close()
		l.Attach(bigSound{sound()})
		go l.Answer(w.ctx)
		code, answer := c.status(time.Second)
		if code != 200 || len(answer) < 3000 {
			t.Errorf("answered %d with %d octets", code, len(answer))
		}
		c.toTag = strings.TrimPrefix(field(string(answer), "To"), "<sip:201@pbx.test>;tag=")
		c.send(c.request("ACK", "ack", ""))
		c.cseq++
		c.send(c.request("BYE", "bye", ""))
		within(t, time.Second, l.Done(), "end")
	})
}

// bigSound describes itself at length.
type bigSound struct{ *siptest.Silence }

func (b bigSound) Answer(offer []byte) ([]byte, error) {
	sdp, err := b.Silence.Answer(offer)
	return append(sdp, strings.Repeat("a=x:0123456789012345678901234567890123456789\r\n", 60)...), err
}

// logged collects what is logged.
type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

// Strangers can neither fill the log nor forge lines in it, and no password gets there.
func TestLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := siptest.NewNet()
		var out logged
		dir := &directory{lines: map[string]store.Line{"u-alice": line("alice")}}
		s, err := sip.New(sip.Config{UDP: []netip.AddrPort{netip.AddrPortFrom(pbxAddr, 5060)}, Network: n.Host(pbxAddr), Log: slog.New(slog.NewTextHandler(&out, nil))}, dir, &bindings{rows: make(map[store.ID]store.Binding)}, &mailboxes{}, event.NewBus())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context(), make(legs, 1)); err != nil {
			t.Fatal(err)
		}
		c, err := n.Host(peerAddr).ListenPacket(t.Context(), addrPort(peerAddr, 5060))
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			c.WriteTo([]byte("INVITE x\r\ntime=2000 level=ERROR msg=forged\r\n\r\n"+strings.Repeat("z", 5000)), net.UDPAddrFromAddrPort(addrPort(pbxAddr, 5060)))
		}
		time.Sleep(time.Second)
		c.Close()
		s.Close(t.Context())
		text := out.String()
		if lines := strings.Count(text, "\n"); lines == 0 || lines > 30 {
			t.Errorf("%d lines about 1000 messages", lines)
		}
		if strings.Contains(text, "\ntime=2000 level=ERROR msg=forged") || len(text) > 20000 {
			t.Errorf("log is\n%.2000s", text)
		}
		if strings.Contains(text, "secret of") {
			t.Error("a password was logged")
		}
	})
}

// TestLoopback makes calls over real sockets, UDP and TCP.
func TestLoopback(t *testing.T) {
	dir := &directory{lines: map[string]store.Line{"u-alice": line("alice"), "u-bob": line("bob")}}
	any := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	house := make(legs, 4)
	s, err := sip.New(sip.Config{UDP: any, TCP: any, Realm: "pbx.test"}, dir, &bindings{rows: make(map[store.ID]store.Binding)}, &mailboxes{}, event.NewBus())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Start(ctx, house); err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	server := make(map[string]netip.AddrPort)
	for _, l := range s.Listeners() {
		server[l.Transport] = l.Addr
	}
	if server["udp"] != server["tcp"] {
		t.Errorf("UDP listens at %v, TCP at %v", server["udp"], server["tcp"])
	}
	phone := func(user, transport string) *siptest.Phone {
		t.Helper()
		p, err := siptest.NewPhone(ctx, siptest.PhoneConfig{Name: user, Network: sip.HostNetwork(), Local: any[0], Server: server[transport], Transport: transport, Username: "u-" + user, Password: "secret of " + user})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		if err := p.Register(ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, ways := range [][2]string{{"udp", "tcp"}, {"tcp", "udp"}} {
		alice, bob := phone("alice", ways[0]), phone("bob", ways[1])
		line, err := alice.Call(ctx, "201")
		if err != nil {
			t.Fatal(err)
		}
		in := within(t, 5*time.Second, house, "incoming call")
		in.Attach(sound())
		all := s.BindingsOfUser("usr_bob")
		out, err := s.Invite(ctx, sip.Outgoing{To: all[len(all)-1], Sound: sound()})
		if err != nil {
			t.Fatal(err)
		}
		ring := within(t, 5*time.Second, bob.Incoming(), "call at bob")
		if err := ring.Answer(ctx); err != nil {
			t.Fatal(err)
		}
		within(t, 5*time.Second, out.Answered(), "answer of bob")
		if err := in.Answer(ctx); err != nil {
			t.Fatal(err)
		}
		within(t, 5*time.Second, line.Answered(), "answer at alice")
		if err := line.Bye(ctx); err != nil {
			t.Fatal(err)
		}
		within(t, 5*time.Second, in.Done(), "end")
		out.HangUp(sip.Cause{})
		within(t, 5*time.Second, ring.Done(), "BYE at bob")
		if err := errors.Join(alice.Unregister(ctx), bob.Unregister(ctx)); err != nil {
			t.Fatal(err)
		}
	}
}

// shyHost has an address that cannot be bound yet: IPv6 ones are tentative at first.
type shyHost struct {
	*siptest.Host
	shy   netip.Addr
	until time.Time
}

func (h *shyHost) ListenPacket(ctx context.Context, a netip.AddrPort) (net.PacketConn, error) {
	if a.Addr() == h.shy && time.Now().Before(h.until) {
		return nil, syscall.EADDRNOTAVAIL
	}
	return h.Host.ListenPacket(ctx, a)
}

func TestTentativeAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		six := netip.MustParseAddr("2001:db8::1")
		var records logged
		host := &shyHost{siptest.NewNet().Host(pbxAddr, six), six, time.Now().Add(time.Minute)}
		s, err := sip.New(sip.Config{UDP: []netip.AddrPort{netip.MustParseAddrPort("[::]:5060")}, Network: host, Log: slog.New(slog.NewTextHandler(&records, nil))},
			&directory{}, &bindings{}, &mailboxes{}, event.NewBus())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context(), make(legs, 1)); err != nil {
			t.Fatal(err)
		}
		if n := len(s.Listeners()); n != 1 {
			t.Errorf("%d listeners at first", n)
		}
		time.Sleep(2 * time.Minute)
		if n := len(s.Listeners()); n != 2 {
			t.Errorf("%d listeners in the end", n)
		}
		s.Close(context.WithoutCancel(t.Context()))
		if n := strings.Count(records.String(), "address not listened on"); n != 1 {
			t.Errorf("complained %d times", n)
		}
	})
}
