package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// dialTime bounds the opening of a connection. Who waits for it gives up sooner.
const dialTime = 10 * time.Second

// maxDialing bounds the connections that are being opened at one time.
const maxDialing = 256

// destination is where a connection that we open leads to.
type destination struct {
	transport string
	remote    netip.AddrPort
	name      string // that the certificate must have; "" for TCP
}

// dialing is a connection that is being opened; several may wait for it.
type dialing struct {
	done chan struct{}
	f    *flow
	err  error
}

var (
	errNoListener  = errors.New("no listener of ours can reach that address")
	errManyDialing = errors.New("too many connections are being opened")
)

// connect returns the way to a peer that does not connect to us: a carrier. A
// connection to the same address and name that is up is used again (RFC 5923).
// serverName is what the certificate of a TLS peer must be for.
//
// Phones are never dialled: they sit behind NAT, and only the connection they
// opened leads to them.
func (s *Server) connect(ctx context.Context, transport string, remote netip.AddrPort, serverName string) (hop, error) {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	switch transport {
	case "udp":
		local, err := s.localFor(transport, remote.Addr())
		return hop{transport, local, remote}, err
	case "tcp":
		serverName = ""
	case "tls":
		if serverName == "" {
			serverName = remote.Addr().String()
		}
	default:
		return hop{}, fmt.Errorf("connect to %s: transport %q cannot be dialled", remote, transport)
	}
	f, err := s.flows.reach(ctx, destination{transport, remote, serverName})
	if err != nil {
		return hop{}, fmt.Errorf("connect to %s: %w", remote, err)
	}
	return f.hop(), nil
}

// reach returns the connection to p, opening it if there is none.
func (fs *flows) reach(ctx context.Context, p destination) (*flow, error) {
	fs.mu.Lock()
	if f := fs.dialled[p]; f != nil {
		fs.mu.Unlock()
		return f, nil
	}
	d := fs.dialing[p]
	if d == nil {
		if len(fs.dialing) >= maxDialing {
			fs.mu.Unlock()
			return nil, errManyDialing
		}
		d = &dialing{done: make(chan struct{})}
		fs.dialing[p] = d
		fs.s.tasks.Go(func() { fs.dial(p, d) })
	}
	fs.mu.Unlock()
	select {
	case <-d.done:
		return d.f, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-fs.s.ctx.Done():
		return nil, errClosed
	}
}

// dial opens the connection that d is waited for.
func (fs *flows) dial(p destination, d *dialing) {
	ctx, cancel := context.WithTimeout(fs.s.ctx, dialTime)
	defer cancel()
	conn, err := fs.s.open(ctx, p)
	fs.mu.Lock()
	delete(fs.dialing, p)
	var f *flow
	if err == nil {
		f, err = fs.addDialled(conn, p)
	}
	fs.mu.Unlock()
	if err == nil {
		close(f.turn)
		fs.introduce(f)
	}
	d.f, d.err = f, err
	close(d.done)
}

// addDialled makes a flow of a connection that we opened; mu is held.
func (fs *flows) addDialled(conn net.Conn, p destination) (*flow, error) {
	local, ok := addrPortOf(conn.LocalAddr())
	if !ok || fs.open[ends{local, p.remote}] != nil {
		conn.Close()
		return nil, errors.New("connection without addresses of its own")
	}
	f := fs.add(conn, p.transport, local, p.remote)
	f.peer = &p
	f.known.Store(true)
	fs.dialled[p] = f
	return f, nil
}

// open opens the connection itself.
func (s *Server) open(ctx context.Context, p destination) (net.Conn, error) {
	local, err := s.localFor(p.transport, p.remote.Addr())
	if err != nil {
		return nil, err
	}
	conn, err := s.cfg.Network.Dial(ctx, local.Addr(), p.remote)
	if err != nil || p.transport != "tls" {
		return conn, err
	}
	secured := tls.Client(conn, s.clientTLS(p.name))
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// localFor returns the listener that a peer at remote is to see us at: the one
// with the address that the routing table uses towards it, else one of its family.
// Without a listener of that transport, its port is 0.
func (s *Server) localFor(transport string, remote netip.Addr) (netip.AddrPort, error) {
	remote = remote.Unmap()
	source, err := s.cfg.Network.Source(remote)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("way to %s: %w", remote, err)
	}
	var best netip.AddrPort
	for _, l := range s.Listeners() {
		switch {
		case l.Transport != transport || l.Addr.Addr().Is4() != remote.Is4():
		case l.Addr.Addr() == source:
			return l.Addr, nil
		case !best.IsValid() && l.Addr.Addr().IsLoopback() == remote.IsLoopback():
			best = l.Addr
		}
	}
	switch {
	case best.IsValid():
		return best, nil
	case transport == "udp":
		return best, fmt.Errorf("way to %s: %w", remote, errNoListener)
	}
	return netip.AddrPortFrom(source, 0), nil // a connection can do without a listener
}

// listensFor returns the address that a peer on this way may connect to: ours,
// or, where we opened the connection, that of the listener beside it.
func (s *Server) listensFor(h hop) netip.AddrPort {
	if h.transport == "udp" {
		return h.local
	}
	s.sockets.mu.RLock()
	defer s.sockets.mu.RUnlock()
	found := h.local
	for _, l := range s.sockets.streams {
		switch {
		case l.transport != h.transport:
		case l.local == h.local:
			return h.local
		case l.local.Addr() == h.local.Addr():
			found = l.local
		}
	}
	return found
}
