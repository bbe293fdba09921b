package media

import (
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	headerSize = 12   // without contributing sources and extension: RFC 3550 §5.1
	packetSize = 1500 // the largest datagram we look at
)

// packet is one received RTP packet. It lives in the read loop's buffer: whoever
// wants to keep something of it copies.
type packet struct {
	header
	kind   kind
	buf    []byte // the whole datagram
	start  int    // of the payload in buf; at least headerSize
	end    int    // of the payload in buf
	from   netip.AddrPort
	at     time.Time // of arrival
	clock  int       // Hz, of events
	stream uint32    // changes whenever sequence numbers or timestamps begin anew
}

func (p *packet) payload() []byte { return p.buf[p.start:p.end] }

// header is the fixed part of an RTP packet.
type header struct {
	marker bool
	number uint8 // payload type
	seq    uint16
	ts     uint32
	ssrc   uint32
}

// parse reads the datagram in p.buf and reports whether it is an RTP packet that is
// whole. RFC 3550 §5.1, with the checks of §A.1.
func (p *packet) parse() bool {
	b := p.buf
	if len(b) < headerSize || b[0]>>6 != 2 {
		return false
	}
	p.marker = b[1]&0x80 != 0
	p.number = b[1] & 0x7f
	p.seq = binary.BigEndian.Uint16(b[2:])
	p.ts = binary.BigEndian.Uint32(b[4:])
	p.ssrc = binary.BigEndian.Uint32(b[8:])
	p.start = headerSize + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < p.start+4 {
			return false
		}
		p.start += 4 + 4*int(binary.BigEndian.Uint16(b[p.start+2:]))
	}
	p.end = len(b)
	if p.start > p.end {
		return false
	}
	if b[0]&0x20 != 0 {
		if p.start == p.end {
			return false
		}
		padding := int(b[p.end-1])
		if padding == 0 || p.end-padding < p.start {
			return false
		}
		p.end -= padding
	}
	// RFC 5761 §4: these numbers are RTCP's, whatever the port.
	return p.number < 64 || p.number > 95
}

// isReport tells RTCP from RTP on one port: RFC 5761 §4.
func isReport(b []byte) bool { return len(b) >= 2 && b[0]>>6 == 2 && b[1] >= 192 && b[1] <= 223 }

// write puts the header into b.
func (h *header) write(b []byte) {
	b[0] = 2 << 6
	b[1] = h.number
	if h.marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], h.seq)
	binary.BigEndian.PutUint32(b[4:], h.ts)
	binary.BigEndian.PutUint32(b[8:], h.ssrc)
}
