package media_test

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// peer is a bare RTP socket under a test's control.
type peer struct {
	conn *mediatest.Conn
	ssrc uint32
	seq  uint16
	ts   uint32
	mark bool
	from netip.AddrPort

	mu  sync.Mutex
	got []received
}

type received struct {
	at     time.Time
	packet []byte
}

func (r received) seq() uint16     { return binary.BigEndian.Uint16(r.packet[2:]) }
func (r received) ts() uint32      { return binary.BigEndian.Uint32(r.packet[4:]) }
func (r received) ssrc() uint32    { return binary.BigEndian.Uint32(r.packet[8:]) }
func (r received) number() uint8   { return r.packet[1] & 0x7f }
func (r received) marker() bool    { return r.packet[1]&0x80 != 0 }
func (r received) payload() []byte { return r.packet[12:] }

func newPeer(t *testing.T, n *mediatest.Net, at netip.Addr) *peer {
	return newPeerAt(t, n, netip.AddrPortFrom(at, 6000))
}

func newPeerAt(t *testing.T, n *mediatest.Net, at netip.AddrPort) *peer {
	t.Helper()
	c, err := n.ListenPacket(context.Background(), at)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{conn: c.(*mediatest.Conn), from: at, ssrc: uint32(at.Port())<<8 | uint32(at.Addr().As4()[3]), seq: 65530, ts: 1<<32 - 800}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2000)
		for {
			k, _, err := p.conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.got = append(p.got, received{time.Now(), append([]byte(nil), buf[:k]...)})
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() { p.conn.Close() })
	return p
}

func (p *peer) close() { p.conn.Close() }

func (p *peer) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

// take hands over what came since the last take.
func (p *peer) take() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.got
	p.got = nil
	return got
}

// packet makes an RTP packet.
func (p *peer) packet(number uint8, payload []byte) []byte {
	b := make([]byte, 12, 12+len(payload))
	b[0], b[1] = 0x80, number
	if p.mark {
		b[1] |= 0x80
		p.mark = false
	}
	binary.BigEndian.PutUint16(b[2:], p.seq)
	binary.BigEndian.PutUint32(b[4:], p.ts)
	binary.BigEndian.PutUint32(b[8:], p.ssrc)
	return append(b, payload...)
}

// send sends one packet now.
func (p *peer) send(to netip.AddrPort, number uint8, payload []byte) {
	if _, err := p.conn.WriteToUDPAddrPort(p.packet(number, payload), to); err != nil && err != net.ErrClosed {
		panic(err)
	}
	p.seq++
}

// talk sends n packets of 20 ms of a µ-law pattern.
func (p *peer) talk(to netip.AddrPort, n int) {
	for range n {
		p.send(to, 0, pattern(160))
		p.ts += 160
		time.Sleep(20 * time.Millisecond)
	}
}

// pattern is a µ-law square wave of 400 Hz.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0x90
		if i/10%2 == 0 {
			b[i] = 0x10
		}
	}
	return b
}

// play plays src to s until the returned function is called.
func play(s *media.Session, src media.Source) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Play(ctx, src)
	}()
	return func() { cancel(); <-done }
}

// agree makes s answer a plain offer of p.
func (p *peer) agree(t *testing.T, s *media.Session, lines ...string) {
	t.Helper()
	if len(lines) == 0 {
		lines = []string{"m=audio 6000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000"}
	}
	if _, err := s.Answer(sdpOf(append(lines, "c=IN IP4 "+p.from.Addr().String())...)); err != nil {
		t.Fatal(err)
	}
	s.Established()
}
