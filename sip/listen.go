package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// addressWatch is how often a wildcard is compared with the addresses of this host.
const addressWatch = 15 * time.Second

// sockets are what the server listens on.
type sockets struct {
	mu      sync.RWMutex
	packets []*packetListener
	streams []*streamListener
	tried   map[string]bool // transport and address, as asked for: whether it is open
	shared  uint16          // the port that stands for port 0

	multi atomic.Bool // several UDP listeners
}

// streamListener is one socket that accepts connections.
type streamListener struct {
	net.Listener
	transport string // "tcp", "tls"
	local     netip.AddrPort
	tls       *tls.Config // of "tls"
}

// opener opens the socket of one transport and makes it served.
type opener func(ctx context.Context, a netip.AddrPort) (local netip.AddrPort, serve func(), err error)

// listen opens every socket that is asked for and not open yet, and returns what
// starts them. A free port is the same everywhere, if that can be had.
func (s *Server) listen(ctx context.Context) (serve []func(), err error) {
	for _, t := range []struct {
		name  string
		addrs []netip.AddrPort
		open  opener
	}{
		{"udp", s.cfg.UDP, s.listenPacket},
		{"tcp", s.cfg.TCP, s.streamOpener("tcp", nil)},
		{"tls", s.cfg.TLS, s.streamOpener("tls", s.serverTLS(false))},
		{"tls", s.cfg.OldTLS, s.streamOpener("tls", s.serverTLS(true))},
	} {
		places, err := expand(s.cfg.Network, t.addrs)
		if err != nil {
			return serve, err
		}
		for _, p := range places {
			key := t.name + " " + p.addr.String()
			open, again := s.sockets.tried[key]
			if open {
				continue
			}
			start, err := s.listenAt(ctx, p, t.open)
			s.sockets.tried[key] = err == nil
			switch {
			case err == nil:
				serve = append(serve, start)
			case p.wild: // an address that comes (IPv6 ones are tentative at first) or goes, or a family that is half switched off
				if !again {
					s.log.Warn("address not listened on", "transport", t.name, "local", p.addr, "error", err)
				}
			default:
				return serve, err
			}
		}
	}
	s.sockets.mu.RLock()
	defer s.sockets.mu.RUnlock()
	if len(s.sockets.packets) == 0 && len(s.cfg.UDP) > 0 || len(s.sockets.streams) == 0 && len(s.cfg.TCP) > 0 {
		return serve, errors.New("no address of this host could be listened on")
	}
	s.sockets.multi.Store(len(s.sockets.packets) > 1)
	return serve, nil
}

func (s *Server) listenAt(ctx context.Context, p place, open opener) (func(), error) {
	if p.addr.Port() != 0 {
		_, serve, err := open(ctx, p.addr)
		return serve, err
	}
	if s.sockets.shared != 0 {
		if _, serve, err := open(ctx, netip.AddrPortFrom(p.addr.Addr(), s.sockets.shared)); err == nil {
			return serve, nil
		}
	}
	local, serve, err := open(ctx, p.addr)
	if err == nil && s.sockets.shared == 0 {
		s.sockets.shared = local.Port()
	}
	return serve, err
}

// watchAddresses listens on addresses that this host gets later: it may have
// started before its network did.
func (s *Server) watchAddresses() {
	for s.pause(addressWatch) {
		serve, err := s.listen(s.ctx)
		if err != nil {
			s.log.Warn("addresses of this host not read", "error", err)
		}
		for _, start := range serve {
			start()
		}
		if len(serve) > 0 {
			s.log.Info("listening on new addresses", "listeners", len(s.Listeners()))
		}
	}
}

// listenPacket opens one UDP socket.
func (s *Server) listenPacket(ctx context.Context, a netip.AddrPort) (netip.AddrPort, func(), error) {
	socket, err := s.cfg.Network.ListenPacket(ctx, a)
	if err != nil {
		return a, nil, err
	}
	conn, ok := socket.(packetConn)
	if !ok {
		socket.Close()
		return a, nil, fmt.Errorf("%T is no UDP socket", socket)
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	l := &packetListener{s: s, conn: conn, local: local, queue: make(chan parcel, packetQueue)}
	l.enlarge()
	s.sockets.mu.Lock()
	defer s.sockets.mu.Unlock()
	s.sockets.packets = append(s.sockets.packets, l)
	return local, l.serve, nil
}

// streamOpener opens sockets that accept connections.
func (s *Server) streamOpener(transport string, cfg *tls.Config) opener {
	return func(ctx context.Context, a netip.AddrPort) (netip.AddrPort, func(), error) {
		l, err := s.cfg.Network.Listen(ctx, a)
		if err != nil {
			return a, nil, err
		}
		local, _ := addrPortOf(l.Addr())
		sl := &streamListener{l, transport, local, cfg}
		s.sockets.mu.Lock()
		defer s.sockets.mu.Unlock()
		s.sockets.streams = append(s.sockets.streams, sl)
		return local, func() { s.readers.Go(func() { s.acceptStreams(sl) }) }, nil
	}
}

// Listeners returns the bound sockets, UDP first.
func (s *Server) Listeners() []Listener {
	s.sockets.mu.RLock()
	defer s.sockets.mu.RUnlock()
	var all []Listener
	for _, l := range s.sockets.packets {
		all = append(all, Listener{"udp", l.local})
	}
	for _, l := range s.sockets.streams {
		all = append(all, Listener{l.transport, l.local})
	}
	return all
}

// listening reports whether a UDP listener has this address.
func (s *Server) listening(local string) bool {
	s.sockets.mu.RLock()
	defer s.sockets.mu.RUnlock()
	for _, l := range s.sockets.packets {
		if l.local.String() == local {
			return true
		}
	}
	return false
}

func (s *Server) closeSockets() {
	s.sockets.mu.RLock()
	defer s.sockets.mu.RUnlock()
	for _, l := range s.sockets.packets {
		l.conn.Close()
	}
	for _, l := range s.sockets.streams {
		l.Close()
	}
	s.flows.Close()
	s.flows.closeAll()
}
