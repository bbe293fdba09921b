package mediatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Fate is what becomes of one packet.
type Fate struct {
	Drop   bool
	Copies int           // more than the one
	Delay  time.Duration // beside the latency of the network
}

// Net is an in-memory packet network. Its zero value is ready.
type Net struct {
	Latency time.Duration // of each packet; 0 delivers at once
	// Judge decides about each packet; nil lets all pass. It must be set before use.
	Judge func(from, to netip.AddrPort, packet []byte) Fate

	mu    sync.Mutex
	conns map[netip.AddrPort]*Conn
	port  uint16
}

// NewNet makes a network where each packet needs 1 ms.
func NewNet() *Net { return &Net{Latency: time.Millisecond} }

// ListenPacket opens a socket; port 0 takes a free one.
func (n *Net) ListenPacket(_ context.Context, addr netip.AddrPort) (net.PacketConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns == nil {
		n.conns, n.port = make(map[netip.AddrPort]*Conn), 10000
	}
	if addr.Port() == 0 {
		for n.conns[netip.AddrPortFrom(addr.Addr(), n.port)] != nil {
			n.port++
		}
		addr = netip.AddrPortFrom(addr.Addr(), n.port)
		n.port++
	}
	if n.conns[addr] != nil {
		return nil, fmt.Errorf("listen %s: address in use", addr)
	}
	c := &Conn{net: n, local: addr, queue: make(chan datagram, 512), done: make(chan struct{})}
	n.conns[addr] = c
	return c, nil
}

// Open is the number of sockets that are not closed.
func (n *Net) Open() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

// Send delivers a packet as if it came from from, which need not exist: a forger's tool.
func (n *Net) Send(from, to netip.AddrPort, packet []byte) {
	fate := Fate{}
	if n.Judge != nil {
		fate = n.Judge(from, to, packet)
	}
	if fate.Drop {
		return
	}
	for range 1 + fate.Copies {
		d := datagram{from: from, n: len(packet), data: buffers.Get().(*[bufferSize]byte)}
		d.n = copy(d.data[:], packet)
		if wait := n.Latency + fate.Delay; wait > 0 {
			time.AfterFunc(wait, func() { n.deliver(to, d) })
		} else {
			n.deliver(to, d)
		}
	}
}

func (n *Net) deliver(to netip.AddrPort, d datagram) {
	n.mu.Lock()
	c := n.conns[to]
	n.mu.Unlock()
	if c == nil {
		buffers.Put(d.data)
		return
	}
	select {
	case c.queue <- d:
	default: // a full queue loses packets, as a socket does
		buffers.Put(d.data)
	}
}

const bufferSize = 2048

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

type datagram struct {
	from netip.AddrPort
	n    int
	data *[bufferSize]byte
}

// Conn is a socket of a Net.
type Conn struct {
	net    *Net
	local  netip.AddrPort
	queue  chan datagram
	done   chan struct{}
	closer sync.Once
}

var errNoDeadline = errors.New("mediatest: no deadlines")

// ReadFromUDPAddrPort waits for a packet.
func (c *Conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case d := <-c.queue:
		n := copy(b, d.data[:d.n])
		buffers.Put(d.data)
		return n, d.from, nil
	case <-c.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

// WriteToUDPAddrPort sends a packet.
func (c *Conn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-c.done:
		return 0, net.ErrClosed
	default:
	}
	if len(b) > bufferSize {
		return 0, os.ErrInvalid
	}
	c.net.Send(c.local, to, b)
	return len(b), nil
}

// ReadFrom is ReadFromUDPAddrPort for those who want a net.Addr.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteTo is WriteToUDPAddrPort for those who have a net.Addr.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, os.ErrInvalid
	}
	return c.WriteToUDPAddrPort(b, u.AddrPort())
}

// Close ends waiting reads.
func (c *Conn) Close() error {
	c.closer.Do(func() {
		close(c.done)
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		delete(c.net.conns, c.local)
	})
	return nil
}

// LocalAddr is where the socket listens.
func (c *Conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// SetDeadline is not supported.
func (c *Conn) SetDeadline(time.Time) error { return errNoDeadline }

// SetReadDeadline is not supported.
func (c *Conn) SetReadDeadline(time.Time) error { return errNoDeadline }

// SetWriteDeadline is not supported.
func (c *Conn) SetWriteDeadline(time.Time) error { return errNoDeadline }
