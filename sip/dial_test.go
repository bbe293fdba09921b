package sip_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pbx/event"
	"pbx/sip"
	"pbx/sip/siptest"
)

// carrier is a peer that is connected to: it answers each request with 200, and
// notes what it was sent.
type carrier struct {
	listener net.Listener
	wait     sync.WaitGroup

	mu       sync.Mutex
	conns    []net.Conn
	requests []string
}

func newCarrier(t *testing.T, n sip.Network, at netip.AddrPort) *carrier {
	t.Helper()
	l, err := n.Listen(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	return serveCarrier(l)
}

func serveCarrier(l net.Listener) *carrier {
	c := &carrier{listener: l}
	c.wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.conns = append(c.conns, conn)
			c.mu.Unlock()
			c.wait.Go(func() { c.serve(conn) })
		}
	})
	return c
}

func (c *carrier) serve(conn net.Conn) {
	buf := make([]byte, 8192)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		head, _, _ := strings.Cut(string(buf[:n]), "\r\n\r\n")
		c.mu.Lock()
		c.requests = append(c.requests, head)
		c.mu.Unlock()
		answer := "SIP/2.0 200 OK\r\n"
		for _, l := range strings.Split(head, "\r\n")[1:] {
			name, _, _ := strings.Cut(l, ":")
			switch name {
			case "Via", "From", "Call-ID", "CSeq":
				answer += l + "\r\n"
			case "To":
				answer += l + ";tag=c\r\n"
			}
		}
		conn.Write([]byte(answer + "Content-Length: 0\r\n\r\n"))
	}
}

func (c *carrier) seen() (conns int, requests []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns), append([]string(nil), c.requests...)
}

func (c *carrier) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
}

func (c *carrier) close() {
	c.listener.Close()
	c.hangUp()
	c.wait.Wait()
}

// A carrier is dialled; its connection is used again, and opened anew once it
// broke. What is said in Via and Contact is where we listen.
func TestConnect(t *testing.T) {
	bubble(t, func(w *world) {
		at := netip.MustParseAddrPort("10.0.0.99:5060")
		c := newCarrier(t, w.net.Host(at.Addr()), at)
		defer c.close()
		alice := w.registered("alice", overTCP)
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				if status, local, err := w.server.Ask(w.ctx, "tcp", at, ""); err != nil || status != 200 || local.Addr() != pbxAddr {
					t.Errorf("status %d from %s, %v", status, local, err)
				}
			})
		}
		wait.Wait()
		n, requests := c.seen()
		if n != 1 || len(requests) != 20 {
			t.Fatalf("%d connections for %d requests, want 1 for 20", n, len(requests))
		}
		for _, want := range []string{"Via: SIP/2.0/TCP 10.0.0.1:5060;", "Contact: <sip:10.0.0.1:5060;transport=tcp>"} {
			if !strings.Contains(requests[0], want) {
				t.Errorf("%q misses %q", requests[0], want)
			}
		}
		c.hangUp()
		synctest.Wait()
		time.Sleep(time.Second)
		if status, _, err := w.server.Ask(w.ctx, "tcp", at, ""); err != nil || status != 200 {
			t.Errorf("after the connection broke: status %d, %v", status, err)
		}
		if n, _ := c.seen(); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
		// Nothing of this reached the phone, and the phone is still there.
		if code, err := alice.Options(w.ctx); err != nil || code != 200 {
			t.Errorf("options of the phone: %d, %v", code, err)
		}
		if n := len(w.server.BindingsOfUser("usr_alice")); n != 1 {
			t.Errorf("%d bindings of the phone, want 1", n)
		}
	})
}

func TestConnectFails(t *testing.T) {
	bubble(t, func(w *world) {
		nobody := netip.MustParseAddrPort("10.0.0.98:5060")
		if _, _, err := w.server.Ask(w.ctx, "tcp", nobody, ""); err == nil {
			t.Error("connected to nobody")
		}
		if _, _, err := w.server.Ask(w.ctx, "ws", nobody, ""); err == nil {
			t.Error("dialled a browser")
		}
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		if _, _, err := w.server.Ask(ctx, "tcp", nobody, ""); err == nil {
			t.Error("waited for longer than asked to")
		}
		if n := w.server.Stats().Connections; n != 0 {
			t.Errorf("%d connections left over", n)
		}
	})
}

// A host with several addresses shows each peer the one that it is reached by.
func TestLocalFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := siptest.NewNet()
		host := n.Host(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.168.7.1"), netip.MustParseAddr("2001:db8::1"))
		all := []netip.AddrPort{netip.MustParseAddrPort("[::]:5060")}
		s, err := sip.New(sip.Config{UDP: all, TCP: all[:1], Network: host}, &directory{}, &bindings{}, &mailboxes{}, event.NewBus())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(t.Context(), make(legs, 1)); err != nil {
			t.Fatal(err)
		}
		defer s.Close(context.WithoutCancel(t.Context()))
		for remote, want := range map[string]string{
			"10.0.0.200":        "10.0.0.1:5060",
			"192.168.7.9":       "192.168.7.1:5060",
			"127.0.0.1":         "127.0.0.1:5060",
			"2001:db8::77":      "[2001:db8::1]:5060",
			"::ffff:10.0.0.200": "10.0.0.1:5060",
		} {
			for _, transport := range []string{"udp", "tcp"} {
				if got, err := s.LocalFor(transport, netip.MustParseAddr(remote)); err != nil || got.String() != want {
					t.Errorf("%s to %s leaves from %s (%v), want %s", transport, remote, got, err, want)
				}
			}
		}
		if got, err := s.LocalFor("tls", netip.MustParseAddr("10.0.0.200")); err != nil || got.Addr() != netip.MustParseAddr("10.0.0.1") || got.Port() != 0 {
			t.Errorf("tls without a listener leaves from %s (%v)", got, err)
		}
	})
}
