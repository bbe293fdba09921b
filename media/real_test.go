package media_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// plainNetwork hides the quick methods of its sockets, so that only net.PacketConn is left.
type plainNetwork struct{}

func (plainNetwork) ListenPacket(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error) {
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, "udp", addr.String())
	return struct{ net.PacketConn }{c}, err
}

// TestRealSockets: the same on this machine's own network, IPv4 and IPv6, and on sockets that can do
// no more than they must.
func TestRealSockets(t *testing.T) {
	for name, c := range map[string]struct {
		network media.Network
		addr    string
	}{
		"IPv4":  {nil, "127.0.0.1"},
		"IPv6":  {nil, "::1"},
		"plain": {plainNetwork{}, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := netip.MustParseAddr(c.addr)
			if probe, err := net.ListenPacket("udp", netip.AddrPortFrom(addr, 0).String()); err != nil {
				t.Skipf("this machine has no %s: %v", name, err)
			} else {
				probe.Close()
			}
			house := media.NewEngine(media.Config{Network: c.network})
			defer house.Close()
			alice, bob := newPhone(t, c.network, addr), newPhone(t, c.network, addr)
			defer alice.hangUp()
			defer bob.hangUp()
			a, b := open(t, house, addr), open(t, house, addr)
			connect(t, alice.Session, a)
			connect(t, b, bob.Session)
			defer media.Join(a, b).Close()
			alice.say(mediatest.Say(700))
			bob.say(mediatest.Say(1200))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := alice.ear.Wait(ctx, 1200); err != nil {
				t.Error(err)
			}
			if err := bob.ear.Wait(ctx, 700); err != nil {
				t.Error(err)
			}
			if err := alice.Press(ctx, "42"); err != nil {
				t.Error(err)
			}
			for _, want := range "42" {
				select {
				case got := <-bob.Digits():
					if got != want {
						t.Errorf("key %c, want %c", got, want)
					}
				case <-ctx.Done():
					t.Fatal("no key arrived")
				}
			}
		})
	}
}
