package media

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// FuzzPacket compares our parser with another one: what we take for RTP, it takes for RTP, and
// both see the same. It must never read beyond the packet.
func FuzzPacket(f *testing.F) {
	for _, seed := range [][]byte{
		{},
		make([]byte, 12),
		append([]byte{0x80, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, bytes.Repeat([]byte{0xff}, 160)...),
		{0x82, 0x80, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 1, 1, 1, 2, 2, 2, 2, 0x55},
		{0x90, 101, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 1, 0x10, 9, 0, 0, 1, 0x8a, 3, 0x20},
		{0xa0, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 7, 7, 7, 0, 0, 3},
		{0xa0, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 200},
		{0xbf, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 3},
		{0x80, 200, 0, 6, 0, 0, 0, 2, 0, 0, 0, 3},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := packet{buf: bytes.Clone(b)}
		ok := p.parse()
		if !ok {
			return
		}
		var other rtp.Packet
		if err := other.Unmarshal(bytes.Clone(b)); err != nil {
			if p.buf[0]&0x10 != 0 {
				return // the other also parses what is inside an extension; we skip it
			}
			t.Fatalf("we take % x, another says %v", b, err)
		}
		if p.marker != other.Marker || p.number != other.PayloadType || p.seq != other.SequenceNumber ||
			p.ts != other.Timestamp || p.ssrc != other.SSRC || !bytes.Equal(p.payload(), other.Payload) {
			t.Fatalf("% x: we see %+v % x, another %v % x", b, p.header, p.payload(), other.Header, other.Payload)
		}
		if p.start < headerSize {
			t.Fatalf("payload begins at %d", p.start)
		}
	})
}

// FuzzFinger feels random events: never more digits than there are beginnings, never a digit that is
// no key. Each three octets are an event packet: code and flags, timestamp step, duration.
func FuzzFinger(f *testing.F) {
	f.Add([]byte{1, 0, 1, 0x81, 0, 2, 0x81, 0, 2})
	f.Add([]byte{1, 0, 1, 1, 9, 2, 2, 9, 3, 0x42, 200, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var finger finger
		stamps := map[uint32]bool{}
		digits, ts := 0, uint32(1<<32-1000)
		for ; len(b) >= 3; b = b[3:] {
			ts += uint32(b[1]) * 16
			payload := []byte{b[0] & 0x1f, b[0] & 0x80, b[2], b[2]}
			p := packet{buf: append(make([]byte, headerSize), payload...), start: headerSize, end: headerSize + 4, stream: 1}
			p.ts, p.marker = ts, b[0]&0x40 != 0
			digit, ok := finger.feel(&p, 8000)
			if !ok {
				continue
			}
			if stamps[ts] {
				t.Fatalf("two digits at %d", ts)
			}
			stamps[ts] = true
			if payload[0] > 15 || digit != rune(keys[payload[0]]) {
				t.Fatalf("event %d is %q", payload[0], digit)
			}
			digits++
		}
		if digits > len(stamps) {
			t.Fatalf("%d digits of %d beginnings", digits, len(stamps))
		}
	})
}

// FuzzSession throws packets at a session that is in the middle of everything: bridged, listened
// to, counted. Nothing may panic, and what goes out is RTP.
func FuzzSession(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4}, []byte{0x80, 101, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 0x80, 3, 4}, uint8(20))
	f.Add([]byte{0x80, 8, 0xff, 0xff, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4}, []byte{0x80, 8, 0, 0, 0xf0, 0, 0, 2, 0, 0, 0, 3}, uint8(30))
	f.Fuzz(func(t *testing.T, one, two []byte, ptime uint8) {
		e := &Engine{cfg: Config{Timeout: time.Minute, Log: discard()}}
		out := &captured{}
		a, b := newSession(e, pair{rtp: &captured{}, rtcp: &captured{}}), newSession(e, pair{rtp: out, rtcp: &captured{}})
		peer := netip.MustParseAddrPort("192.0.2.1:4000")
		agreed := &terms{audio: kindPCMA, number: 8, event: 101, events: true, remote: peer, direction: both, ptime: clampPtime(int(ptime), 0)}
		agreed.recv[0], agreed.recv[8], agreed.recv[13], agreed.recv[101] = kindPCMU, kindPCMA, kindNoise, kindEvent
		a.agree(agreed)
		b.agree(agreed)
		Join(a, b)
		ear := &tap{}
		a.addTap(ear)
		line := receiver{delay: 960, guard: frameSamples}
		var frame Frame
		now := time.Now()
		for i := range 6 {
			for _, raw := range [][]byte{one, two} {
				raw = bytes.Clone(raw[:min(len(raw), packetSize)])
				if len(raw) > 3 {
					raw[3] += byte(i)
				}
				a.take(&packet{buf: raw, from: peer, at: now.Add(time.Duration(i) * 20 * time.Millisecond)})
			}
			ear.drain(func(h *heard) { line.place(h, int64(i)*frameSamples) })
			line.next(&frame)
		}
		for _, sent := range out.sent {
			if p := (packet{buf: sent}); !p.parse() {
				t.Fatalf("sent % x", sent)
			}
		}
		a.Stats()
	})
}

// captured is a conn that keeps what is sent.
type captured struct{ sent [][]byte }

func (c *captured) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, ErrClosed
}

func (c *captured) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	c.sent = append(c.sent, bytes.Clone(b))
	return len(b), nil
}

func (c *captured) Close() error { return nil }
