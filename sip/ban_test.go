package sip_test

import (
	"context"
	"fmt"
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
	"pbx/store"
)

// banBook keeps bans as the database would.
type banBook struct {
	mu    sync.Mutex
	rows  map[netip.Addr]store.Ban
	known []netip.Addr
}

func (b *banBook) LoadBans(context.Context) ([]store.Ban, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []store.Ban
	for _, r := range b.rows {
		all = append(all, r)
	}
	return all, nil
}

func (b *banBook) SaveBans(_ context.Context, put []store.Ban, drop []netip.Addr) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range put {
		b.rows[r.Addr] = r
	}
	for _, a := range drop {
		delete(b.rows, a)
	}
	return nil
}

func (b *banBook) kept() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.rows)
}

func (b *banBook) KnownAddresses(context.Context) ([]netip.Addr, error) { return b.known, nil }

func book(b *banBook) func(*sip.Config) { return func(c *sip.Config) { c.Bans = b } }

// stranger is a socket at an address that nobody knows.
type stranger struct {
	w    *world
	conn net.PacketConn
	at   netip.AddrPort
	n    int
}

func (w *world) stranger(addr string) *stranger {
	w.t.Helper()
	at := netip.MustParseAddrPort(addr)
	conn, err := w.net.Host(at.Addr()).ListenPacket(w.ctx, at)
	if err != nil {
		w.t.Fatal(err)
	}
	return &stranger{w: w, conn: conn, at: at}
}

// says sends a request and returns the status of its answer, 0 for silence.
func (x *stranger) says(method, uri string, more ...string) int {
	x.w.t.Helper()
	x.send(x.at, method, uri, more...)
	buf := make([]byte, 65536)
	x.conn.SetReadDeadline(time.Now().Add(time.Second))
	n, _, err := x.conn.ReadFrom(buf)
	if err != nil {
		return 0
	}
	var code int
	fmt.Sscanf(string(buf[:n]), "SIP/2.0 %d", &code)
	return code
}

func (x *stranger) send(as netip.AddrPort, method, uri string, more ...string) {
	x.n++
	m := fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%d;rport\r\nFrom: <sip:x@y.test>;tag=1\r\nTo: <%s>\r\nCall-ID: %d@%s\r\nCSeq: 1 %s\r\nContact: <sip:x@%s>\r\nMax-Forwards: 70\r\n",
		method, uri, as, x.n, uri, x.n, as, method, as)
	for _, f := range more {
		m += f + "\r\n"
	}
	x.conn.WriteTo([]byte(m+"Content-Length: 0\r\n\r\n"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(pbxAddr, 5060)))
}

func (w *world) bannedFor(addr string) (store.Ban, bool) {
	for _, b := range w.server.Bans() {
		if b.Addr == netip.MustParseAddr(addr) {
			return b, true
		}
	}
	return store.Ban{}, false
}

// A scanner that says so gets nothing at all, is banned, for longer each time, and that can be lifted.
func TestScannerIsBanned(t *testing.T) {
	bans := &banBook{rows: make(map[netip.Addr]store.Ban)}
	bubble(t, func(w *world) {
		news := w.bus.Reader()
		x := w.stranger("203.0.113.5:5060")
		defer x.conn.Close()
		const agent = "User-Agent: friendly-scanner"
		for i := range 5 {
			if code := x.says("OPTIONS", fmt.Sprintf("sip:%d@10.0.0.1", 100+i), agent); code != 0 {
				t.Errorf("a scanner got %d", code)
			}
		}
		b, ok := w.bannedFor("203.0.113.5")
		if !ok || b.Times != 1 || b.Hits != 2 || !strings.Contains(b.Reason, "friendly-scanner") || len(b.Evidence) == 0 || !strings.HasPrefix(b.Evidence[0], "OPTIONS sip:100@10.0.0.1 SIP/2.0") {
			t.Fatalf("ban is %+v %v", b, ok)
		}
		if d := b.Until.Sub(b.Since); d != 10*time.Minute {
			t.Errorf("the first ban takes %v", d)
		}
		if code := x.says("OPTIONS", "sip:10.0.0.1"); code != 0 {
			t.Errorf("a banned address got %d", code)
		}
		n, err := news.Next(w.ctx)
		if data, is := n.Data.(event.Ban); err != nil || n.Kind != event.BanAdded || !is || data.IP != "203.0.113.5" {
			t.Errorf("news %+v %v", n, err)
		}

		// It survives a restart.
		if err := w.server.Close(w.ctx); err != nil {
			t.Fatal(err)
		}
		w.server = w.start()
		if b, ok := w.bannedFor("203.0.113.5"); !ok || b.Hits != 3 || b.Times != 1 {
			t.Errorf("after a restart the ban is %+v", b)
		}
		time.Sleep(11 * time.Minute)
		if _, ok := w.bannedFor("203.0.113.5"); ok {
			t.Error("the ban does not end")
		}
		if code := x.says("OPTIONS", "sip:10.0.0.1"); code != 200 {
			t.Errorf("after the ban %d, want 200", code)
		}
		for range 3 {
			x.says("OPTIONS", "sip:10.0.0.1", agent)
		}
		b, _ = w.bannedFor("203.0.113.5")
		if d := b.Until.Sub(b.Since); b.Times != 2 || d != 40*time.Minute {
			t.Errorf("the second ban is number %d and takes %v", b.Times, d)
		}
		if !w.server.Unban(b.Addr) || w.server.Unban(b.Addr) {
			t.Error("a ban is lifted once")
		}
		if code := x.says("OPTIONS", "sip:10.0.0.1"); code != 200 {
			t.Errorf("after the ban was lifted %d, want 200", code)
		}
		if st := w.server.Stats(); st.Bans != 0 || st.Banned != 1 {
			t.Errorf("stats are %+v", st)
		}
		time.Sleep(time.Second)
		if n := bans.kept(); n != 0 {
			t.Errorf("%d bans are still on the disk", n)
		}
	}, book(bans))
}

// One that gives no name is found by what it does: it tries many users.
func TestSilentScannerIsBanned(t *testing.T) {
	for _, method := range []string{"REGISTER", "INVITE", "OPTIONS"} {
		t.Run(method, func(t *testing.T) {
			bubble(t, func(w *world) {
				x := w.stranger("203.0.113.5:5060")
				defer x.conn.Close()
				answers := 0
				for i := range 30 {
					if x.says(method, fmt.Sprintf("sip:%d@10.0.0.1", 100+i)) != 0 {
						answers++
					}
				}
				if b, ok := w.bannedFor("203.0.113.5"); !ok || answers > 8 {
					t.Errorf("%d of 30 were answered, ban %+v", answers, b)
				}
			})
		})
	}
}

// What others send in its name bans no address where a phone lives, or lived
// lately, or fetched its configuration.
func TestSpoofedPacketsBanNoPhone(t *testing.T) {
	bans := &banBook{rows: make(map[netip.Addr]store.Ban), known: []netip.Addr{netip.MustParseAddr("203.0.113.7")}}
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		bob := w.registered("bob")
		if err := bob.Unregister(w.ctx); err != nil {
			t.Fatal(err)
		}
		for _, victim := range []netip.Addr{aliceAddr, bobAddr, netip.MustParseAddr("203.0.113.7")} {
			x := w.stranger(netip.AddrPortFrom(victim, 7777).String())
			for i := range 60 {
				x.send(x.at, "OPTIONS", fmt.Sprintf("sip:%d@10.0.0.1", i), "User-Agent: sipvicious")
				x.send(x.at, "REGISTER", fmt.Sprintf("sip:%d@10.0.0.1", i))
				x.send(x.at, "REGISTER", "sip:10.0.0.1", fmt.Sprintf(`Authorization: Digest username="u-alice",realm="pbx.test",nonce="x",uri="sip:10.0.0.1",response="%032x"`, i))
				x.conn.WriteTo([]byte("junk junk junk"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(pbxAddr, 5060)))
			}
			time.Sleep(time.Second)
			x.conn.Close()
		}
		if all := w.server.Bans(); len(all) != 0 {
			t.Errorf("banned were %+v", all)
		}
		if err := alice.Register(w.ctx, time.Hour); err != nil {
			t.Errorf("the phone is locked out: %v", err)
		}
		if err := bob.Register(w.ctx, time.Hour); err != nil {
			t.Errorf("the phone that comes back is locked out: %v", err)
		}
		if _, err := w.server.Ban(aliceAddr, time.Hour, "", "Ada"); err == nil {
			t.Error("an administrator can ban an address where phones live")
		}
	}, book(bans))
}

// Passwords that are guessed from an address of nobody ban it; the office next to
// a guesser goes on working.
func TestGuesserIsBanned(t *testing.T) {
	bubble(t, func(w *world) {
		w.registered("alice")
		evil := w.phone("bob", func(c *siptest.PhoneConfig) {
			at := netip.MustParseAddrPort("203.0.113.9:5060")
			c.Network, c.Local, c.Password = w.net.Host(at.Addr()), at, "guess"
		})
		for i := 0; i < 70; i++ {
			ctx, cancel := context.WithTimeout(w.ctx, time.Second)
			evil.Register(ctx, time.Hour)
			cancel()
			if _, banned := w.bannedFor("203.0.113.9"); banned {
				break
			}
			time.Sleep(7 * time.Second)
		}
		b, ok := w.bannedFor("203.0.113.9")
		if !ok || !strings.Contains(b.Reason, "password") {
			t.Fatalf("ban is %+v %v", b, ok)
		}
		// Bob's own phone, at his own address, never noticed.
		w.registered("bob")
	})
}

func TestBansAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		for i := range 10100 {
			if _, err := w.server.Ban(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), time.Hour+time.Duration(i)*time.Second, "test", "Ada"); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(w.server.Bans()); n != 10000 {
			t.Errorf("%d bans", n)
		}
	})
}

// What datagrams said may be false: a ban for that keeps out datagrams and nothing else, as long as no connection offends.
func TestSpoofedBanLeavesStreamsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.close()
		x := w.stranger(peerAddr.String() + ":5071")
		defer x.conn.Close()
		scan := "OPTIONS sip:100@pbx.test SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%d;rport\r\nFrom: <sip:x@y.test>;tag=1\r\nTo: <sip:100@pbx.test>\r\nCall-ID: scan%d\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nUser-Agent: %s\r\nContent-Length: 0\r\n\r\n"
		for range 4 {
			x.says("OPTIONS", "sip:100@pbx.test", "User-Agent: friendly-scanner")
		}
		if _, banned := w.bannedFor(peerAddr.String()); !banned || x.says("OPTIONS", "sip:pbx.test") != 0 {
			t.Fatal("a scanner is heard")
		}
		s := w.streamPeer()
		s.send(fmt.Appendf(nil, scan, "TCP", s.local, 1, 1, "Yealink"))
		if got := s.read(time.Second); statusOf(got) != 200 {
			t.Errorf("a phone that connects from the same address hears %q", got)
		}
		s.send(fmt.Appendf(nil, scan, "TCP", s.local, 2, 2, "friendly-scanner"))
		s.read(time.Second)
		s.send(fmt.Appendf(nil, scan, "TCP", s.local, 3, 3, "Yealink"))
		if got := s.read(time.Second); got != nil {
			t.Errorf("a scanner that was connected hears %q", got)
		}
	})
}
