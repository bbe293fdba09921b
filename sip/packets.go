package sip

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxSources is how many remote addresses sipgo may collect for one listener
// before it starts with an empty table: it never forgets one by itself.
const maxSources = 8192

// packetListener is one UDP socket. Datagrams pass the front reader, then sipgo
// reads them from the current packetFront.
type packetListener struct {
	s     *Server
	conn  net.PacketConn
	local netip.AddrPort

	mu      sync.Mutex
	pending []byte // datagram handed from one packetFront to the next
	from    net.Addr
}

// packetFront is what sipgo takes for the socket, until it has collected maxSources addresses.
type packetFront struct {
	net.PacketConn // for the methods that nothing changes
	l              *packetListener
	buf            []byte
	sources        map[netip.AddrPort]struct{}
	ready          chan struct{} // closed at the first read: sipgo knows the listener now
	begun          bool
	over           bool
}

// serve makes sipgo read from the listener and returns once it does.
func (l *packetListener) serve() {
	f := &packetFront{
		PacketConn: l.conn, l: l, buf: make([]byte, 65536),
		sources: make(map[netip.AddrPort]struct{}),
		ready:   make(chan struct{}),
	}
	l.s.readers.Go(func() {
		if err := l.s.tpl.ServeUDP(f); err != nil {
			l.s.log.Error("udp listener stopped", "local", l.local, "error", err)
		}
	})
	<-f.ready
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
	f.l.mu.Lock()
	data, from := f.l.pending, f.l.from
	f.l.pending, f.l.from = nil, nil
	f.l.mu.Unlock()
	if data != nil {
		f.note(from.(*net.UDPAddr).AddrPort())
		return copy(p, data), from, nil
	}
	for {
		n, addr, err := f.PacketConn.ReadFrom(f.buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || f.l.s.ctx.Err() != nil {
				return 0, nil, net.ErrClosed
			}
			f.l.s.log.Warn("udp read failed", "local", f.l.local, "error", err)
			if !f.l.s.pause(10 * time.Millisecond) {
				return 0, nil, net.ErrClosed
			}
			continue
		}
		from := addr.(*net.UDPAddr).AddrPort()
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		data := f.l.judge(f.buf[:n], from)
		if data == nil || len(data) > len(p) {
			continue
		}
		src := net.UDPAddrFromAddrPort(from)
		if _, known := f.sources[from]; !known && len(f.sources) >= maxSources {
			f.l.mu.Lock()
			f.l.pending, f.l.from = bytes.Clone(data), src
			f.l.mu.Unlock()
			f.over = true
			f.l.serve()
			return f.ReadFrom(p)
		}
		f.note(from)
		return copy(p, data), src, nil
	}
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
	if len(bytes.Trim(data, "\r\n\x00 ")) == 0 || isSTUN(data) {
		return nil // RFC 5626 §3.5.1, §3.5.2: keep-alives
	}
	if l.s.ctx.Err() != nil {
		return nil // closing
	}
	l.s.stats.received.Add(1)
	if !l.s.guard.admit(from) {
		l.s.stats.throttled.Add(1)
		return nil
	}
	l.s.trace.received(data, hop{"udp", l.local, from})
	v := l.s.front.read(data, from, "udp")
	if v.data == nil {
		l.s.refused(v.why, data, from, "udp")
	}
	if v.reply != nil {
		if _, err := l.writeTo(v.reply, net.UDPAddrFromAddrPort(v.to)); err != nil {
			l.s.log.Debug("answer not sent", "peer", v.to, "error", err)
		}
	}
	return v.data
}

// writeTo sends a datagram; all that leave pass here.
func (l *packetListener) writeTo(p []byte, to net.Addr) (int, error) {
	if a, ok := to.(*net.UDPAddr); ok {
		remote := a.AddrPort()
		l.s.trace.sent(p, hop{"udp", l.local, netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())})
	}
	return l.conn.WriteTo(p, to)
}

// WriteTo sends what sipgo has to say.
func (f *packetFront) WriteTo(p []byte, to net.Addr) (int, error) { return f.l.writeTo(p, to) }

// isSTUN recognises RFC 5389 §6: two zero bits and the magic cookie.
func isSTUN(b []byte) bool {
	return len(b) >= 20 && b[0]&0xc0 == 0 && b[4] == 0x21 && b[5] == 0x12 && b[6] == 0xa4 && b[7] == 0x42
}
