package sip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// hostNetwork is the machine's own sockets.
type hostNetwork struct{}

func (hostNetwork) ListenPacket(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error) {
	var lc net.ListenConfig
	return lc.ListenPacket(ctx, "udp", addr.String())
}

func (hostNetwork) Listen(ctx context.Context, addr netip.AddrPort) (net.Listener, error) {
	// The kernel's probes find phones that went away without a word.
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 4}}
	return lc.Listen(ctx, "tcp", addr.String())
}

func (hostNetwork) Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	return d.DialContext(ctx, "tcp", remote.String())
}

// Addrs returns the addresses that phones can use: link-local ones need a zone
// that no Contact can carry.
func (hostNetwork) Addrs() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range all {
		if p, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(p.IP); ok && !ip.IsLinkLocalUnicast() && !ip.IsMulticast() {
				addrs = append(addrs, ip.Unmap())
			}
		}
	}
	return addrs, nil
}

// Source asks the routing table: a socket that is connected, though nothing is sent, has chosen its address.
func (hostNetwork) Source(remote netip.Addr) (netip.Addr, error) {
	c, err := net.Dial("udp", netip.AddrPortFrom(remote, 9).String())
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// HostNetwork returns the machine's own sockets.
func HostNetwork() Network { return hostNetwork{} }

// place is an address to listen on.
type place struct {
	addr netip.AddrPort
	wild bool // one of many: the house can do without it
}

// expand replaces wildcard addresses by every address of this host. sipgo needs
// concrete ones: it finds a listener by the address that a request is to leave from.
func expand(n Network, addrs []netip.AddrPort) ([]place, error) {
	var all []place
	seen := make(map[netip.AddrPort]bool)
	add := func(a netip.AddrPort, wild bool) {
		if !seen[a] {
			seen[a] = true
			all = append(all, place{a, wild})
		}
	}
	for _, a := range addrs {
		if !a.Addr().IsUnspecified() {
			add(netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), false)
			continue
		}
		hosts, err := n.Addrs()
		if err != nil {
			return nil, fmt.Errorf("addresses of this host: %w", err)
		}
		for _, h := range hosts {
			// "::" means both families, "0.0.0.0" means IPv4 alone.
			if h.Is4() || a.Addr().Is6() {
				add(netip.AddrPortFrom(h, a.Port()), true)
			}
		}
	}
	return all, nil
}
