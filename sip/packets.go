package sip

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"
)

// maxSources is how many remote addresses sipgo may collect for one listener
// before it starts with an empty table: it never forgets one by itself.
const maxSources = 8192

// maxReaders is how many goroutines read one UDP socket: so many cores can answer registrations.
const maxReaders = 4

// packetQueue is how many messages may wait for sipgo before the readers wait too.
const packetQueue = 256

// packetConn is a UDP socket that moves packets without allocating addresses.
type packetConn interface {
	net.PacketConn
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// packetListener is one UDP socket. Its readers pass datagrams through the front
// reader and answer what needs no transaction; sipgo takes the rest from the
// current packetFront.
type packetListener struct {
	s       *Server
	conn    packetConn
	local   netip.AddrPort
	kernel  kernel
	queue   chan parcel // closed when the last reader has ended
	reading atomic.Int32

	pending parcel // handed from one packetFront to the next
}

// parcel is a message for sipgo.
type parcel struct {
	data []byte
	from netip.AddrPort
}

// packetFront is what sipgo takes for the socket, until it has collected maxSources addresses.
type packetFront struct {
	net.PacketConn // for the methods that nothing changes
	l              *packetListener
	sources        map[netip.AddrPort]struct{}
	ready          chan struct{} // closed at the first read: sipgo knows the listener now
	begun          bool
	over           bool
}

// serve makes sipgo read from the listener, and the listener from its socket.
func (l *packetListener) serve() {
	l.front()
	n := 1
	if _, ok := l.conn.(*net.UDPConn); ok {
		n = min(runtime.GOMAXPROCS(0), maxReaders)
	}
	l.reading.Store(int32(n))
	for range n {
		l.s.readers.Go(l.read)
	}
}

// front makes a packetFront and returns once sipgo reads from it.
func (l *packetListener) front() {
	f := &packetFront{PacketConn: l.conn, l: l, sources: make(map[netip.AddrPort]struct{}), ready: make(chan struct{})}
	l.s.readers.Go(func() {
		if err := l.s.tpl.ServeUDP(f); err != nil {
			l.s.log.Error("udp listener stopped", "local", l.local, "error", err)
		}
	})
	<-f.ready
}

// read serves the socket until it is closed.
func (l *packetListener) read() {
	defer func() {
		if l.reading.Add(-1) == 0 {
			close(l.queue)
		}
	}()
	buf := make([]byte, 65536)
	for {
		n, from, err := l.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || l.s.ctx.Err() != nil {
				return
			}
			l.s.log.Warn("udp read failed", "local", l.local, "error", err)
			if !l.s.pause(10 * time.Millisecond) {
				return
			}
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if data := l.judge(buf[:n], from); data != nil {
			l.queue <- parcel{data, from}
		}
	}
}

// ReadFrom returns the next datagram that sipgo is to see. Any error would end
// sipgo's listener, so only a closed socket makes one.
func (f *packetFront) ReadFrom(p []byte) (int, net.Addr, error) {
	if !f.begun {
		f.begun = true
		close(f.ready)
	}
	if f.over {
		// Requests just handed over still look for this listener by their source.
		f.l.s.pause(time.Second)
		return 0, nil, net.ErrClosed
	}
	next := f.l.pending
	f.l.pending = parcel{}
	for next.data == nil || len(next.data) > len(p) {
		var open bool
		if next, open = <-f.l.queue; !open {
			return 0, nil, net.ErrClosed
		}
	}
	if _, known := f.sources[next.from]; !known && len(f.sources) >= maxSources {
		f.l.pending = next
		f.over = true
		f.l.front()
		return f.ReadFrom(p)
	}
	f.note(next.from)
	return copy(p, next.data), net.UDPAddrFromAddrPort(next.from), nil
}

// note counts a source. With several listeners it also tells sipgo that answers
// to this source leave from here: it would stay with the listener used before.
func (f *packetFront) note(from netip.AddrPort) {
	f.sources[from] = struct{}{}
	if !f.l.s.sockets.multi.Load() {
		return
	}
	pool := f.l.s.tpl.Pool("udp")
	if own := pool.Get(f.l.local.String()); own != nil {
		pool.Add(from.String(), own)
		own.TryClose() // Get counted a use; closing is ours alone
	}
}

// judge passes a datagram through the front reader; nil means that it is done with.
func (l *packetListener) judge(data []byte, from netip.AddrPort) []byte {
	if isSTUN(data) {
		if _, ok := l.s.guard.enter(hop{"udp", l.local, from}); ok && l.s.ctx.Err() == nil {
			if answer := stunAnswer(data, from); answer != nil {
				l.reply(answer, from) // lost like any datagram
			}
		}
		return nil
	}
	if len(bytes.Trim(data, "\r\n\x00 ")) == 0 {
		return nil // RFC 5626 §3.5.1: a keep-alive that asks for nothing
	}
	return l.s.judge(data, hop{"udp", l.local, from}, l)
}

func (l *packetListener) reply(answer []byte, to netip.AddrPort) error {
	_, err := l.conn.WriteToUDPAddrPort(answer, to)
	return err
}

// WriteTo sends what sipgo has to say.
func (f *packetFront) WriteTo(p []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("%v is no UDP address", to)
	}
	remote := netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), uint16(a.Port))
	f.l.s.trace.sent(p, hop{"udp", f.l.local, remote})
	return f.l.conn.WriteToUDPAddrPort(p, remote)
}
