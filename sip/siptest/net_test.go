package siptest_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pbx/sip/siptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	one = netip.MustParseAddr("10.0.0.1")
	two = netip.MustParseAddr("10.0.0.2")
)

func listen(t *testing.T, n *siptest.Net, addr netip.Addr, port uint16) net.PacketConn {
	t.Helper()
	c, err := n.Host(addr).ListenPacket(t.Context(), netip.AddrPortFrom(addr, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := siptest.NewNet()
		a, b := listen(t, n, one, 1000), listen(t, n, two, 2000)
		start := time.Now()
		for i := range 5 {
			if _, err := a.WriteTo([]byte{byte(i)}, b.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		buf := make([]byte, 10)
		for i := range 5 {
			k, from, err := b.ReadFrom(buf)
			if err != nil || k != 1 || buf[0] != byte(i) || from.String() != "10.0.0.1:1000" {
				t.Errorf("packet %d: %v from %v, %v", i, buf[:k], from, err)
			}
		}
		if d := time.Since(start); d != time.Millisecond {
			t.Errorf("took %v, want one hop", d)
		}
		b.SetReadDeadline(time.Now().Add(time.Second))
		if _, _, err := b.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read without packet: %v", err)
		}
		b.SetReadDeadline(time.Time{})
		go func() {
			time.Sleep(time.Minute)
			b.Close()
		}()
		if _, _, err := b.ReadFrom(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read of a closed socket: %v", err)
		}
		if _, err := a.WriteTo([]byte("x"), b.LocalAddr()); err != nil {
			t.Errorf("write to nobody: %v", err) // as on a real network, nobody tells
		}
	})
}

func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := siptest.NewNet()
		a := listen(t, n, one, 0)
		if _, err := n.Host(one).ListenPacket(t.Context(), a.LocalAddr().(*net.UDPAddr).AddrPort()); err == nil {
			t.Error("an address was taken twice")
		}
		if _, err := n.Host(one).ListenPacket(t.Context(), netip.AddrPortFrom(two, 1)); err == nil {
			t.Error("an address of another host was taken")
		}
		b := listen(t, n, one, 0)
		if a.LocalAddr().String() == b.LocalAddr().String() {
			t.Error("a free port was given twice")
		}
		if got, _ := n.Host(one, two).Addrs(); !slices.Equal(got, []netip.Addr{one, two}) {
			t.Errorf("addresses are %v", got)
		}
	})
}

func TestStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := siptest.NewNet()
		n.Segment(3)
		at := netip.AddrPortFrom(two, 80)
		if _, err := n.Host(one).Dial(t.Context(), one, at); err == nil {
			t.Error("connected to nobody")
		}
		l, err := n.Host(two).Listen(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		c, err := n.Host(one).Dial(t.Context(), one, at)
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if s.RemoteAddr().String() != c.LocalAddr().String() || c.RemoteAddr().String() != at.String() {
			t.Errorf("%v—%v, %v—%v", c.LocalAddr(), c.RemoteAddr(), s.LocalAddr(), s.RemoteAddr())
		}
		c.Write([]byte("hello "))
		c.Write([]byte("there"))
		c.Close()
		got, err := io.ReadAll(s)
		if string(got) != "hello there" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if _, err := s.Write([]byte("x")); err == nil {
			t.Error("wrote to a closed peer")
		}
		s.Close()
		l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept of a closed listener: %v", err)
		}
	})
}

func message(start string) []byte {
	return []byte(start + "\r\nVia: x\r\nCSeq: 7 BYE\r\n\r\n")
}

func TestFiltersAndLadder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := siptest.NewNet()
		a, b := listen(t, n, one, 5060), listen(t, n, two, 5060)
		n.Drop(func(m siptest.Message) bool { return m.Method == "BYE" && m.Status == 0 })
		n.Delay(5*time.Millisecond, func(m siptest.Message) bool { return m.Status == 180 })
		a.WriteTo(message("BYE sip:x SIP/2.0"), b.LocalAddr())
		a.WriteTo(message("SIP/2.0 180 Ringing"), b.LocalAddr())
		a.WriteTo(message("INVITE sip:*97@x SIP/2.0"), b.LocalAddr())
		a.WriteTo(message("INVITE sip:u-7f@x SIP/2.0"), b.LocalAddr())
		a.WriteTo([]byte{0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1}, b.LocalAddr())
		buf := make([]byte, 100)
		want := []string{"INVITE sip:*", "INVITE sip:u", "\x80", "SIP/2.0 180"}
		start := time.Now()
		for _, w := range want {
			k, _, err := b.ReadFrom(buf)
			if err != nil || string(buf[:min(k, len(w))]) != w {
				t.Errorf("read %q, want %q (%v)", buf[:k], w, err)
			}
		}
		if d := time.Since(start); d != 6*time.Millisecond {
			t.Errorf("the last came after %v, want 6ms", d)
		}
		b.WriteTo(message("SIP/2.0 200 OK"), a.LocalAddr())
		got := "\n" + n.Ladder(map[netip.Addr]string{one: "alice", two: "pbx"})
		if got != `
       0s  alice -> pbx    180 Ringing (BYE)
       0s  alice -> pbx    BYE
       0s  alice -> pbx    INVITE
       0s  alice -> pbx    INVITE *97
      6ms  pbx   -> alice  200 OK (BYE)
` {
			t.Errorf("ladder is%s", got)
		}
		n.Restart()
		if got := n.Ladder(map[netip.Addr]string{one: "alice", two: "pbx"}); got != "" {
			t.Errorf("ladder of nothing is %q", got)
		}
	})
}
