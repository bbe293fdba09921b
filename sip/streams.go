package sip

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxConnections   = 20000
	maxStrangeFlows  = 4096             // connections that never authenticated
	maxConnPerSource = 1024             // of them from one address: an office behind it has many phones
	messageTime      = 10 * time.Second // a message must be complete in this time
	strangerTime     = 60 * time.Second // a connection that never authenticated may be idle
	idleTime         = maxExpires + 5*time.Minute
	writeTime        = 10 * time.Second
)

// flows is the one listener that sipgo accepts from: connections of all TCP
// sockets come out of it, each behind a front of its own.
type flows struct {
	s      *Server
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
	serial atomic.Uint64

	mu       sync.Mutex
	open     map[ends]*flow
	strange  int                // connections that have not authenticated
	bySource map[netip.Addr]int // the same by source
	shaking  int                // TLS handshakes that go on
	shakers  map[netip.Addr]int // the same by source
	shakes   map[netip.Addr]*bucket
	dialled  map[destination]*flow // those that we opened
	dialing  map[destination]*dialing
}

// ends tell one connection from all others. The peer's address alone does not: a
// NAT may give the same port to two phones that reach two listeners of ours.
type ends struct{ local, remote netip.AddrPort }

func newFlows(s *Server) *flows {
	return &flows{
		s: s, queue: make(chan net.Conn), closed: make(chan struct{}),
		open: make(map[ends]*flow), bySource: make(map[netip.Addr]int),
		shakers: make(map[netip.Addr]int), shakes: make(map[netip.Addr]*bucket), dialled: make(map[destination]*flow), dialing: make(map[destination]*dialing),
	}
}

func (fs *flows) Accept() (net.Conn, error) {
	select {
	case c := <-fs.queue:
		return c, nil
	case <-fs.closed:
		return nil, net.ErrClosed
	}
}

func (fs *flows) Close() error {
	fs.once.Do(func() { close(fs.closed) })
	return nil
}

// Addr is what sipgo notes of the listener.
func (fs *flows) Addr() net.Addr { return net.TCPAddrFromAddrPort(flowName(0)) }

// find returns the flow of a way, or nil.
func (fs *flows) find(h hop) *flow {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.open[ends{h.local, h.remote}]; f != nil && f.transport == h.transport {
		return f
	}
	return nil
}

func (fs *flows) count() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return len(fs.open)
}

// closeAll ends every connection.
func (fs *flows) closeAll() {
	fs.mu.Lock()
	all := make([]*flow, 0, len(fs.open))
	for _, f := range fs.open {
		all = append(all, f)
	}
	fs.mu.Unlock()
	for _, f := range all {
		f.Close()
	}
}

// acceptStreams hands the connections of one socket to sipgo.
func (s *Server) acceptStreams(l *streamListener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil {
				return
			}
			s.log.Warn("accept failed", "local", l.local, "error", err) // too many open files, mostly
			if !s.pause(50 * time.Millisecond) {
				return
			}
			continue
		}
		f := s.flows.admit(conn, l)
		switch {
		case f == nil:
			s.stats.throttled.Add(1)
			conn.Close()
		default:
			s.readers.Go(func() { s.flows.begin(f) })
		}
	}
}

// begin reads a connection that a peer opened until there is a message for sipgo,
// or we know the peer: one that only sits there costs little.
func (fs *flows) begin(f *flow) {
	defer close(f.turn)
	if conn, ok := f.Conn.(*tls.Conn); ok && !fs.secure(f, conn) {
		f.Close()
		return
	}
	for len(f.out) == 0 && !f.known.Load() {
		if err := f.more(); err != nil {
			f.Close()
			return
		}
	}
	fs.introduce(f)
}

// introduce makes sipgo know a flow, and returns once it does: from then on
// requests of ours find their way. It reads the flow when its turn has come.
func (fs *flows) introduce(f *flow) {
	f.meeting.Do(func() {
		select {
		case fs.queue <- f:
		case <-fs.closed:
			f.Close()
			return
		}
		select {
		case <-f.met:
		case <-fs.closed:
		}
	})
}

// admit makes a flow of a connection that a peer opened, or returns nil when there are too many.
func (fs *flows) admit(conn net.Conn, l *streamListener) *flow {
	remote, ok1 := addrPortOf(conn.RemoteAddr())
	local, ok2 := addrPortOf(conn.LocalAddr())
	if !ok1 || !ok2 {
		return nil
	}
	source := network(remote.Addr())
	// Where phones of ours are registered from, others are let in beyond the limits: a phone may be one of them.
	friend := fs.s.guard.knows(remote.Addr())
	fs.mu.Lock()
	defer fs.mu.Unlock()
	switch {
	case len(fs.open) >= maxConnections, fs.open[ends{local, remote}] != nil:
		return nil
	case !friend && (fs.strange >= maxStrangeFlows || fs.bySource[source] >= maxConnPerSource):
		return nil
	case l.tls != nil && !fs.mayShake(source, friend):
		return nil
	}
	if l.tls != nil {
		conn = tls.Server(conn, l.tls)
	}
	f := fs.add(conn, l.transport, local, remote)
	f.stranger = true
	fs.strange++
	fs.bySource[source]++
	return f
}

// authenticated tells that the peer of a way is a phone or a carrier of ours:
// its flow, if it is one, stands outside of the limits for strangers from now on.
func (fs *flows) authenticated(h hop) {
	if h.transport == "udp" {
		return
	}
	f := fs.find(h)
	if f == nil || f.known.Swap(true) {
		return
	}
	fs.introduce(f) // it will be called
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.acquainted(f)
}

// acquainted is called with mu held.
func (fs *flows) acquainted(f *flow) {
	if !f.stranger {
		return
	}
	f.stranger = false
	fs.strange--
	source := network(f.remote.Addr())
	if fs.bySource[source]--; fs.bySource[source] <= 0 {
		delete(fs.bySource, source)
	}
}

// add makes a flow of a connection; mu is held.
func (fs *flows) add(conn net.Conn, transport string, local, remote netip.AddrPort) *flow {
	f := &flow{
		Conn: conn, fs: fs, transport: transport, local: local, remote: remote, name: flowName(fs.serial.Add(1)),
		met: make(chan struct{}), turn: make(chan struct{}),
	}
	fs.open[ends{local, remote}] = f
	return f
}

// flowName makes an address that nobody else has (RFC 6666: packets to 100::/64
// go nowhere). sipgo files connections under both of their addresses and looks
// for them by either, where one peer could be taken for another; so it is told
// this name for both, and messages for it in place of where the peer is.
func flowName(serial uint64) netip.AddrPort {
	a := [16]byte{0: 1}
	binary.BigEndian.PutUint64(a[8:], serial)
	return netip.AddrPortFrom(netip.AddrFrom16(a), 5060)
}

func addrPortOf(a net.Addr) (netip.AddrPort, bool) {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), ap.IsValid()
}

// flow is one TCP connection. It cuts the stream into messages, passes them
// through the front reader, and hands sipgo whole messages only.
type flow struct {
	net.Conn
	fs            *flows
	transport     string // "tcp", "tls", "ws", "wss"
	local, remote netip.AddrPort
	name          netip.AddrPort // what sipgo knows it by
	stranger      bool           // counted among them; guarded by flows.mu
	peer          *destination   // of one that we opened
	known         atomic.Bool    // it carried an authenticated request, or we opened it
	pongs         atomic.Uint32  // empty lines that came: answers to ours (RFC 5626 §4.4.1), mostly
	meeting       sync.Once
	web           *web          // of a WebSocket
	met           chan struct{} // closed when sipgo knows it
	begun         bool          // sipgo has begun to read
	turn          chan struct{} // closed when sipgo may read
	closing       sync.Once
	writing       sync.Mutex
	slots         chan struct{} // messages in the side lane; made by the reader

	in    []byte    // read, not yet judged; owned by the reader
	out   []byte    // judged, not yet taken by sipgo
	since time.Time // when the first octet of an incomplete message came
	buf   [4096]byte
}

// LocalAddr and RemoteAddr are what sipgo is told.
func (f *flow) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(f.name) }
func (f *flow) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(f.name) }

// hop is the way that the flow is.
func (f *flow) hop() hop { return hop{f.transport, f.local, f.remote} }

func (f *flow) Read(p []byte) (int, error) {
	if !f.begun {
		f.begun = true
		close(f.met)
		<-f.turn
	}
	for len(f.out) == 0 {
		if err := f.more(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.out)
	f.out = f.out[n:]
	return n, nil
}

// more takes the next message from what was read, or reads more.
func (f *flow) more() error {
	if f.web != nil {
		return f.moreWeb()
	}
	if done, err := f.next(); done || err != nil {
		return err
	}
	return f.fill()
}

// fill reads more of the stream, for as long as the peer may take.
func (f *flow) fill() error {
	limit := strangerTime
	if f.known.Load() {
		limit = idleTime
	}
	deadline := time.Now().Add(limit)
	if !f.since.IsZero() {
		deadline = f.since.Add(messageTime)
	}
	if err := f.Conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	n, err := f.Conn.Read(f.buf[:])
	if n > 0 {
		if f.since.IsZero() {
			f.since = time.Now()
		}
		f.in = append(f.in, f.buf[:n]...)
		return nil
	}
	if err == nil {
		return nil
	}
	return io.EOF // sipgo logs all other errors, and a slow or cut peer is none
}

// next takes one message from what was read. done means to call it again.
func (f *flow) next() (done bool, err error) {
	for len(f.in) >= 2 && f.in[0] == '\r' && f.in[1] == '\n' {
		if len(f.in) >= 4 && f.in[2] == '\r' && f.in[3] == '\n' {
			// RFC 5626 §4.4.1: a double CRLF is a ping, a single one the answer.
			if _, err := f.Write([]byte("\r\n")); err != nil {
				return false, io.EOF
			}
			f.consume(4)
			continue
		}
		if len(f.in) < 4 && (len(f.in) == 2 || f.in[2] == '\r') {
			f.since = time.Time{} // half a ping is no message that must be complete soon
			return false, nil
		}
		f.pongs.Add(1)
		f.consume(2) // RFC 3261 §7.5
	}
	head := bytes.Index(f.in, []byte("\r\n\r\n"))
	if head < 0 {
		if len(f.in) > maxHead {
			return false, io.EOF
		}
		return false, nil
	}
	length, ok := contentLength(f.in[:head+2])
	total := head + 4 + length
	if !ok || total > maxMessage {
		// Where the next message begins cannot be known: refuse and close.
		f.judge(f.in[:head+4])
		return false, io.EOF
	}
	if len(f.in) < total {
		return false, nil
	}
	f.out = f.judge(f.in[:total])
	f.consume(total)
	return true, nil
}

func (f *flow) consume(n int) {
	f.in = f.in[n:]
	f.since = time.Time{}
	if len(f.in) > 0 {
		f.since = time.Now()
	} else {
		f.in = nil
	}
}

// judge passes a whole message through the front reader; nil means that it is done with.
func (f *flow) judge(data []byte) []byte {
	return f.fs.s.judge(data, f.hop(), f)
}

func (f *flow) reply(answer []byte, _ netip.AddrPort) error {
	_, err := f.Write(answer)
	return err
}

// contentLength finds the length of the body in a header; without one, or with
// two that differ, the stream has no next message.
func contentLength(head []byte) (int, bool) {
	length := -1
	for line := range bytes.Lines(head) {
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			continue
		}
		switch strings.ToLower(trim(string(name))) {
		case "content-length", "l":
			n, err := strconv.ParseUint(trim(string(value)), 10, 31)
			if err != nil || length >= 0 && length != int(n) {
				return 0, false
			}
			length = int(n)
		}
	}
	return max(length, 0), length >= 0
}

// Write sends one message whole, or cuts the flow.
func (f *flow) Write(p []byte) (int, error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.fs.s.trace.sent(p, hop{f.transport, f.local, f.remote})
	data := p
	if f.web != nil {
		var err error
		if data, err = framed(p); err != nil {
			return 0, err
		}
	}
	if err := f.put(data); err != nil {
		return 0, err
	}
	return len(p), nil
}

// put writes octets; writing is held.
func (f *flow) put(b []byte) error {
	f.Conn.SetWriteDeadline(time.Now().Add(writeTime))
	_, err := f.Conn.Write(b)
	if err != nil {
		f.Close()
	}
	return err
}

// Close ends the flow; bindings that lived on it are gone.
func (f *flow) Close() error {
	var err error
	f.closing.Do(func() {
		err = f.Conn.Close()
		fs := f.fs
		fs.mu.Lock()
		delete(fs.open, ends{f.local, f.remote})
		if f.peer != nil {
			delete(fs.dialled, *f.peer)
		}
		fs.acquainted(f)
		fs.mu.Unlock()
		if f.peer == nil {
			fs.s.registrar.flowGone(f.hop())
		}
	})
	return err
}
