package mediatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
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
	// Judge decides about each packet; nil lets all pass. It must be set
	// before use, and is called for one packet at a time.
	Judge func(from, to netip.AddrPort, packet []byte) Fate

	judging sync.Mutex

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
	c := &Conn{net: n, local: addr, timer: time.NewTimer(time.Hour), poke: make(chan struct{}, 1), done: make(chan struct{})}
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
		n.judging.Lock()
		fate = n.Judge(from, to, packet)
		n.judging.Unlock()
	}
	if fate.Drop {
		return
	}
	n.mu.Lock()
	c := n.conns[to]
	n.mu.Unlock()
	if c == nil {
		return
	}
	due := time.Now().Add(n.Latency + fate.Delay)
	for range 1 + fate.Copies {
		c.put(from, due, packet)
	}
}

const (
	bufferSize = 2048
	queueSize  = 512
)

// datagram is a packet on its way.
type datagram struct {
	due  time.Time
	from netip.AddrPort
	n    int
	data [bufferSize]byte
}

// Conn is a socket of a Net. What was sent first and takes no longer arrives first.
type Conn struct {
	net    *Net
	local  netip.AddrPort
	done   chan struct{}
	closer sync.Once
	timer  *time.Timer
	poke   chan struct{} // something new is first in the queue

	mu    sync.Mutex
	queue []*datagram // by due
	free  []*datagram
}

func (c *Conn) put(from netip.AddrPort, due time.Time, packet []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == queueSize {
		return // a full queue loses packets, as a socket does
	}
	var d *datagram
	if last := len(c.free) - 1; last >= 0 {
		d, c.free = c.free[last], c.free[:last]
	} else {
		d = new(datagram)
	}
	d.due, d.from, d.n = due, from, copy(d.data[:], packet)
	at := len(c.queue)
	for at > 0 && c.queue[at-1].due.After(due) {
		at--
	}
	c.queue = slices.Insert(c.queue, at, d)
	if at == 0 {
		select {
		case c.poke <- struct{}{}:
		default:
		}
	}
}

// next takes the first packet that has arrived, or tells how long the first is on its way.
func (c *Conn) next(b []byte) (n int, from netip.AddrPort, wait time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return 0, from, time.Hour, false
	}
	d := c.queue[0]
	if wait := time.Until(d.due); wait > 0 {
		return 0, from, wait, false
	}
	c.queue = c.queue[:copy(c.queue, c.queue[1:])]
	c.free = append(c.free, d)
	return copy(b, d.data[:d.n]), d.from, 0, true
}

// ReadFromUDPAddrPort waits for a packet. It is for one reader at a time.
func (c *Conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, wait, ok := c.next(b)
		if ok {
			return n, from, nil
		}
		c.timer.Reset(wait)
		select {
		case <-c.timer.C:
		case <-c.poke:
		case <-c.done:
			return 0, netip.AddrPort{}, net.ErrClosed
		}
	}
}

var errNoDeadline = errors.New("mediatest: no deadlines")

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
		c.timer.Stop()
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
