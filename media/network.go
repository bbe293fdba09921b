package media

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// Network is where sockets come from.
type Network interface {
	ListenPacket(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error)
}

// machine is the network of this computer.
type machine struct {
	poller *poller // who reads the sockets; nil: a goroutine for each
}

func (machine) ListenPacket(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error) {
	network := "udp4"
	if addr.Addr().Is6() && !addr.Addr().Is4In6() {
		network = "udp6"
	}
	var lc net.ListenConfig
	return lc.ListenPacket(ctx, network, addr.String())
}

// conn is a socket that moves packets without allocation: *net.UDPConn has it.
type conn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	Close() error
}

// plainConn makes a conn of any net.PacketConn.
type plainConn struct{ net.PacketConn }

func (c plainConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := c.ReadFrom(b)
	if err != nil {
		return n, netip.AddrPort{}, err
	}
	addr, err := addrPort(from)
	return n, addr, err
}

func (c plainConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return c.WriteTo(b, net.UDPAddrFromAddrPort(to))
}

func addrPort(a net.Addr) (netip.AddrPort, error) {
	if u, ok := a.(*net.UDPAddr); ok {
		return u.AddrPort(), nil
	}
	return netip.ParseAddrPort(a.String())
}

// pair is the two sockets of one session: RTP on an even port and RTCP on the next
// one, RFC 3550 §11. Each sends from where it listens, RFC 4961 §4.
type pair struct {
	rtp, rtcp conn
	local     netip.AddrPort // of rtp
}

func (p pair) close() {
	p.rtp.Close()
	p.rtcp.Close()
}

const portTries = 64

// openPair binds a pair at addr. Ports come from the range low to high, beginning
// at the turn-th pair of it, or from the system when high is 0. Those that rest are taken only when
// there are no others.
func openPair(ctx context.Context, n Network, addr netip.Addr, low, high uint16, turn int, used *rest) (pair, error) {
	if high == 0 {
		return openAnyPair(ctx, n, addr, used)
	}
	first := (int(low) + 1) &^ 1
	pairs := (int(high) - first + 1) / 2
	if pairs < 1 {
		return pair{}, fmt.Errorf("port range %d-%d holds no pair", low, high)
	}
	var last error
	for i := range 2 * pairs {
		port := uint16(first + 2*((turn+i)%pairs))
		if used.resting(port) != (i >= pairs) {
			continue // tried in the other round
		}
		p, err := bindPair(ctx, n, netip.AddrPortFrom(addr, port))
		if err == nil {
			return p, nil
		}
		last = err
	}
	return pair{}, fmt.Errorf("no free pair of ports in %d-%d: %w", low, high, last)
}

func openAnyPair(ctx context.Context, n Network, addr netip.Addr, used *rest) (pair, error) {
	var last error
	for try := range portTries {
		c, local, err := bind(ctx, n, netip.AddrPortFrom(addr, 0))
		if err != nil {
			return pair{}, err
		}
		port := local.Port()
		if used.resting(port&^1) && try < portTries/2 {
			c.Close()
			continue
		}
		if port%2 == 0 && port > 0 {
			other, _, err := bind(ctx, n, netip.AddrPortFrom(addr, port+1))
			if err == nil {
				return pair{rtp: c, rtcp: other, local: local}, nil
			}
			last = err
			c.Close()
			continue
		}
		// An odd port: its even neighbour, or the one above, is most likely free.
		c.Close()
		p, err := bindPair(ctx, n, netip.AddrPortFrom(addr, port-1))
		if err == nil {
			return p, nil
		}
		last = err
	}
	return pair{}, fmt.Errorf("no free pair of ports: %w", last)
}

func bindPair(ctx context.Context, n Network, addr netip.AddrPort) (pair, error) {
	c, local, err := bind(ctx, n, addr)
	if err != nil {
		return pair{}, err
	}
	other, _, err := bind(ctx, n, netip.AddrPortFrom(addr.Addr(), addr.Port()+1))
	if err != nil {
		c.Close()
		return pair{}, err
	}
	return pair{rtp: c, rtcp: other, local: local}, nil
}

func bind(ctx context.Context, n Network, addr netip.AddrPort) (conn, netip.AddrPort, error) {
	if m, ok := n.(machine); ok && m.poller != nil {
		s, err := m.poller.listen(addr)
		if err != nil {
			return nil, netip.AddrPort{}, err
		}
		return s, s.local, nil
	}
	pc, err := n.ListenPacket(ctx, addr)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	local, err := addrPort(pc.LocalAddr())
	if err != nil {
		pc.Close()
		return nil, netip.AddrPort{}, err
	}
	if c, ok := pc.(conn); ok {
		return c, local, nil
	}
	return plainConn{pc}, local, nil
}
