package siptest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// hop is how long anything travels between two hosts.
const hop = time.Millisecond

// maxQueue bounds what waits for one reader; more is lost, as on a real host.
const maxQueue = 4096

// Net is an in-memory network. Packets between two sockets arrive one
// millisecond after they were sent and in that order, so a test in a synctest
// bubble sees the same conversation every time.
//
// It has no goroutine of its own: a reader waits until its next packet is due.
type Net struct {
	start time.Time

	mu        sync.Mutex
	packets   map[netip.AddrPort]*packetConn
	listeners map[netip.AddrPort]*listener
	ports     map[netip.Addr]uint16
	filters   []filter
	records   []record
	segment   int
}

type filter struct {
	match func(Message) bool
	drop  bool
	delay time.Duration
}

// NewNet returns an empty network. Its ladder counts time from now.
func NewNet() *Net {
	return &Net{
		start:     time.Now(),
		packets:   make(map[netip.AddrPort]*packetConn),
		listeners: make(map[netip.AddrPort]*listener),
		ports:     make(map[netip.Addr]uint16),
	}
}

// Drop loses the SIP messages that match says yes to. It is asked for every
// message in the order of sending, so it may count.
func (n *Net) Drop(match func(m Message) bool) { n.filter(filter{match: match, drop: true}) }

// Delay holds back the SIP messages that match says yes to, by d more than the hop.
func (n *Net) Delay(d time.Duration, match func(m Message) bool) {
	n.filter(filter{match: match, delay: d})
}

func (n *Net) filter(f filter) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.filters = append(n.filters, f)
}

// Segment makes every TCP read return at most size bytes; 0 lifts that.
func (n *Net) Segment(size int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.segment = size
}

// pass records data if it is SIP and asks the filters about it.
func (n *Net) pass(from, to netip.AddrPort, data []byte) (delay time.Duration, lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, ok := parse(from, to, data)
	if !ok {
		return hop, false
	}
	if isProbe(data) {
		return hop, false
	}
	n.records = append(n.records, record{at: time.Since(n.start), from: from.Addr(), to: to.Addr(), text: m.line()})
	delay = hop
	for _, f := range n.filters {
		if !f.match(m) {
			continue
		}
		if f.drop {
			return 0, true
		}
		delay += f.delay
	}
	return delay, false
}

// Host is the network as one host sees it. It is a sip.Network.
type Host struct {
	net   *Net
	addrs []netip.Addr // guarded by the mutex of net
}

// Host returns the view of the host with these addresses.
func (n *Net) Host(addrs ...netip.Addr) *Host { return &Host{n, addrs} }

// Add gives the host one more address.
func (h *Host) Add(addr netip.Addr) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.addrs = append(h.addrs, addr)
}

// Addrs returns the addresses of the host.
func (h *Host) Addrs() ([]netip.Addr, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	return slices.Clone(h.addrs), nil
}

// Source returns the address of the host that has most in common with remote.
func (h *Host) Source(remote netip.Addr) (netip.Addr, error) {
	var best netip.Addr
	most := -1
	addrs, _ := h.Addrs()
	for _, a := range addrs {
		if a.BitLen() != remote.BitLen() {
			continue
		}
		for n := a.BitLen(); n > most; n-- {
			if p, _ := a.Prefix(n); p.Contains(remote) {
				best, most = a, n
			}
		}
	}
	if !best.IsValid() {
		return best, &net.OpError{Op: "dial", Net: "mem", Err: syscall.ENETUNREACH}
	}
	return best, nil
}

func (h *Host) bind(addr netip.AddrPort) (netip.AddrPort, error) {
	if !slices.Contains(h.addrs, addr.Addr()) {
		return addr, &net.OpError{Op: "listen", Net: "mem", Err: syscall.EADDRNOTAVAIL}
	}
	if addr.Port() == 0 {
		addr = netip.AddrPortFrom(addr.Addr(), h.net.freePort(addr.Addr()))
	}
	return addr, nil
}

// freePort is called with mu held.
func (n *Net) freePort(addr netip.Addr) uint16 {
	p := n.ports[addr]
	if p < 32768 {
		p = 32768
	}
	for {
		p += 2 // even, so that RTP finds its pairs
		ap := netip.AddrPortFrom(addr, p)
		if n.packets[ap] == nil && n.listeners[ap] == nil {
			n.ports[addr] = p
			return p
		}
	}
}

// ListenPacket opens a UDP socket. Port 0 is a free port.
func (h *Host) ListenPacket(_ context.Context, addr netip.AddrPort) (net.PacketConn, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	addr, err := h.bind(addr)
	if err != nil {
		return nil, err
	}
	if n.packets[addr] != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Err: syscall.EADDRINUSE}
	}
	c := &packetConn{net: n, local: addr, inbox: newInbox()}
	n.packets[addr] = c
	return c, nil
}

// Listen opens a TCP listener. Port 0 is a free port.
func (h *Host) Listen(_ context.Context, addr netip.AddrPort) (net.Listener, error) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	addr, err := h.bind(addr)
	if err != nil {
		return nil, err
	}
	if n.listeners[addr] != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: syscall.EADDRINUSE}
	}
	l := &listener{net: n, addr: addr, accept: make(chan *stream, 128), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

// Dial opens a TCP connection; it takes one round trip.
func (h *Host) Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error) {
	n := h.net
	wait := time.NewTimer(2 * hop)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !local.IsValid() {
		local = h.addrs[0]
	}
	l := n.listeners[remote]
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	from, err := h.bind(netip.AddrPortFrom(local, 0))
	if err != nil {
		return nil, err
	}
	near, far := newStream(n, from, remote), newStream(n, remote, from)
	near.peer, far.peer = far, near
	select {
	case l.accept <- far:
		return near, nil
	default:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
}

// inbox is what travels to one reader, in the order of arrival.
type inbox struct {
	wake   chan struct{} // cap 1
	closed chan struct{}

	mu       sync.Mutex
	queue    []packet
	deadline time.Time
	shut     bool
}

type packet struct {
	at   time.Time
	from netip.AddrPort
	data []byte
	end  bool // of a TCP stream
}

func newInbox() *inbox {
	return &inbox{wake: make(chan struct{}, 1), closed: make(chan struct{})}
}

func (in *inbox) put(p packet) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.shut || len(in.queue) >= maxQueue {
		return
	}
	i := len(in.queue)
	for i > 0 && in.queue[i-1].at.After(p.at) {
		i--
	}
	in.queue = slices.Insert(in.queue, i, p)
	in.poke()
}

func (in *inbox) poke() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// take waits for the next packet that has arrived. keep leaves it in the queue
// with the first n bytes removed, for streams.
func (in *inbox) take(read func(p *packet) (done bool)) error {
	for {
		in.mu.Lock()
		if in.shut {
			in.mu.Unlock()
			return net.ErrClosed
		}
		now, wait := time.Now(), time.Duration(-1)
		if len(in.queue) > 0 {
			if wait = in.queue[0].at.Sub(now); wait <= 0 {
				if read(&in.queue[0]) {
					in.queue = in.queue[1:]
				}
				in.mu.Unlock()
				return nil
			}
		}
		if !in.deadline.IsZero() {
			left := in.deadline.Sub(now)
			if left <= 0 {
				in.mu.Unlock()
				return os.ErrDeadlineExceeded
			}
			if wait < 0 || left < wait {
				wait = left
			}
		}
		in.mu.Unlock()
		in.sleep(wait)
	}
}

// sleep waits for d (forever if negative), or until something changes.
func (in *inbox) sleep(d time.Duration) {
	var due <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-due:
	case <-in.wake:
	case <-in.closed:
	}
}

func (in *inbox) setDeadline(t time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.deadline = t
	in.poke()
}

func (in *inbox) close() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.shut {
		return false
	}
	in.shut = true
	in.queue = nil
	close(in.closed)
	return true
}

// packetConn is a UDP socket. Like *net.UDPConn it also moves packets without
// allocating addresses.
type packetConn struct {
	net   *Net
	local netip.AddrPort
	*inbox
}

func (c *packetConn) ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error) {
	err = c.take(func(p *packet) bool {
		n, from = copy(b, p.data), p.from
		return true
	})
	if err != nil {
		return 0, from, &net.OpError{Op: "read", Net: "udp", Err: err}
	}
	return n, from, nil
}

func (c *packetConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-c.closed:
		return 0, &net.OpError{Op: "write", Net: "udp", Err: net.ErrClosed}
	default:
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	delay, lost := c.net.pass(c.local, to, b)
	if lost {
		return len(b), nil
	}
	c.net.mu.Lock()
	peer := c.net.packets[to]
	c.net.mu.Unlock()
	if peer != nil {
		peer.put(packet{at: time.Now().Add(delay), from: c.local, data: slices.Clone(b)})
	}
	return len(b), nil
}

func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

func (c *packetConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("write to %v: not a UDP address", addr)
	}
	return c.WriteToUDPAddrPort(b, to.AddrPort())
}

func (c *packetConn) Close() error {
	if !c.close() {
		return net.ErrClosed
	}
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	delete(c.net.packets, c.local)
	return nil
}

func (c *packetConn) LocalAddr() net.Addr                { return net.UDPAddrFromAddrPort(c.local) }
func (c *packetConn) SetDeadline(t time.Time) error      { c.setDeadline(t); return nil }
func (c *packetConn) SetReadDeadline(t time.Time) error  { c.setDeadline(t); return nil }
func (c *packetConn) SetWriteDeadline(_ time.Time) error { return nil } // writing never waits

type listener struct {
	net    *Net
	addr   netip.AddrPort
	accept chan *stream
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: net.ErrClosed}
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.net.mu.Lock()
		delete(l.net.listeners, l.addr)
		l.net.mu.Unlock()
	})
	return nil
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

// stream is one end of a TCP connection.
type stream struct {
	net           *Net
	local, remote netip.AddrPort
	peer          *stream
	*inbox
}

func newStream(n *Net, local, remote netip.AddrPort) *stream {
	return &stream{net: n, local: local, remote: remote, inbox: newInbox()}
}

func (s *stream) Read(b []byte) (n int, err error) {
	s.net.mu.Lock()
	if seg := s.net.segment; seg > 0 && seg < len(b) {
		b = b[:seg]
	}
	s.net.mu.Unlock()
	end := false
	err = s.take(func(p *packet) bool {
		if p.end {
			end = true
			return false
		}
		n = copy(b, p.data)
		p.data = p.data[n:]
		return len(p.data) == 0
	})
	switch {
	case err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: err}
	case end:
		return 0, io.EOF
	}
	return n, nil
}

func (s *stream) Write(b []byte) (int, error) {
	select {
	case <-s.closed:
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: net.ErrClosed}
	case <-s.peer.closed:
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
	default:
	}
	if len(b) == 0 {
		return 0, nil
	}
	delay, lost := s.net.pass(s.local, s.remote, b)
	if !lost {
		s.peer.put(packet{at: time.Now().Add(delay), data: slices.Clone(b)})
	}
	return len(b), nil
}

func (s *stream) Close() error {
	if !s.close() {
		return net.ErrClosed
	}
	s.peer.put(packet{at: time.Now().Add(hop), end: true})
	return nil
}

func (s *stream) LocalAddr() net.Addr                { return net.TCPAddrFromAddrPort(s.local) }
func (s *stream) RemoteAddr() net.Addr               { return net.TCPAddrFromAddrPort(s.remote) }
func (s *stream) SetDeadline(t time.Time) error      { s.setDeadline(t); return nil }
func (s *stream) SetReadDeadline(t time.Time) error  { s.setDeadline(t); return nil }
func (s *stream) SetWriteDeadline(_ time.Time) error { return nil } // writing never waits
