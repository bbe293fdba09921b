package sip

import (
	"encoding/binary"
	"io"
	"net/netip"

	"pbx/store"
)

// The capture file format that every tool reads: magic for microseconds,
// version 2.4, and packets that begin with their IP header.
const (
	pcapMagic    = 0xa1b2c3d4
	pcapSnap     = 262144
	linktypeRaw  = 101
	protoTCP     = 6
	protoUDP     = 17
	maxIPv4Total = 65535
)

// WritePCAP writes a trace as a capture file. What went over connections, TLS
// ones too, is written as TCP segments of one octet stream a direction, without
// the handshakes that we never saw; the ports tell readers that it is SIP.
func WritePCAP(w io.Writer, t *store.Trace) error {
	var head [24]byte
	binary.LittleEndian.PutUint32(head[0:], pcapMagic)
	binary.LittleEndian.PutUint16(head[4:], 2)
	binary.LittleEndian.PutUint16(head[6:], 4)
	binary.LittleEndian.PutUint32(head[16:], pcapSnap)
	binary.LittleEndian.PutUint32(head[20:], linktypeRaw)
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	sent := make(map[[2]netip.AddrPort]uint32) // octets of each direction of each connection
	for i := range t.Messages {
		m := &t.Messages[i]
		from, to := m.Remote, m.Local
		if m.Sent {
			from, to = to, from
		}
		for rest := m.Raw; len(rest) > 0; {
			part := rest[:min(len(rest), 60000)] // what one IPv4 packet takes
			rest = rest[len(part):]
			var packet []byte
			if m.Transport == "udp" {
				packet = ipPacket(from, to, protoUDP, udpDatagram(from, to, part))
			} else {
				way, back := [2]netip.AddrPort{from, to}, [2]netip.AddrPort{to, from}
				packet = ipPacket(from, to, protoTCP, tcpSegment(from, to, 1+sent[way], 1+sent[back], part))
				sent[way] += uint32(len(part))
			}
			var rec [16]byte
			binary.LittleEndian.PutUint32(rec[0:], uint32(m.At.Unix()))
			binary.LittleEndian.PutUint32(rec[4:], uint32(m.At.Nanosecond()/1000))
			binary.LittleEndian.PutUint32(rec[8:], uint32(len(packet)))
			binary.LittleEndian.PutUint32(rec[12:], uint32(len(packet)))
			if _, err := w.Write(append(rec[:], packet...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ipPacket puts an IPv4 or IPv6 header before a payload.
func ipPacket(from, to netip.AddrPort, proto byte, payload []byte) []byte {
	if src, dst := from.Addr().Unmap(), to.Addr().Unmap(); src.Is4() && dst.Is4() {
		h := make([]byte, 20, 20+len(payload))
		h[0] = 4<<4 | 5
		binary.BigEndian.PutUint16(h[2:], uint16(min(20+len(payload), maxIPv4Total)))
		h[6] = 0x40 // do not fragment
		h[8], h[9] = 64, proto
		copy(h[12:], src.AsSlice())
		copy(h[16:], dst.AsSlice())
		binary.BigEndian.PutUint16(h[10:], ^fold(sum(0, h)))
		return append(h, payload...)
	}
	h := make([]byte, 40, 40+len(payload))
	h[0] = 6 << 4
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	h[6], h[7] = proto, 64
	src, dst := from.Addr().As16(), to.Addr().As16()
	copy(h[8:], src[:])
	copy(h[24:], dst[:])
	return append(h, payload...)
}

// udpDatagram puts a UDP header before a payload.
func udpDatagram(from, to netip.AddrPort, payload []byte) []byte {
	d := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(d[0:], from.Port())
	binary.BigEndian.PutUint16(d[2:], to.Port())
	binary.BigEndian.PutUint16(d[4:], uint16(8+len(payload)))
	d = append(d, payload...)
	check := ^fold(pseudoSum(from, to, protoUDP, d))
	if check == 0 {
		check = 0xffff // 0 means that there is none
	}
	binary.BigEndian.PutUint16(d[6:], check)
	return d
}

// tcpSegment puts a TCP header without options before a payload.
func tcpSegment(from, to netip.AddrPort, seq, ack uint32, payload []byte) []byte {
	d := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(d[0:], from.Port())
	binary.BigEndian.PutUint16(d[2:], to.Port())
	binary.BigEndian.PutUint32(d[4:], seq)
	binary.BigEndian.PutUint32(d[8:], ack)
	d[12] = 5 << 4
	d[13] = 0x18 // PSH, ACK
	binary.BigEndian.PutUint16(d[14:], 65535)
	d = append(d, payload...)
	binary.BigEndian.PutUint16(d[16:], ^fold(pseudoSum(from, to, protoTCP, d)))
	return d
}

// pseudoSum sums a segment with the pseudo-header of its addresses.
func pseudoSum(from, to netip.AddrPort, proto byte, segment []byte) uint32 {
	src, dst := from.Addr().Unmap().AsSlice(), to.Addr().Unmap().AsSlice()
	if len(src) != len(dst) {
		a, b := from.Addr().As16(), to.Addr().As16()
		src, dst = a[:], b[:]
	}
	n := sum(sum(0, src), dst)
	n += uint32(proto) + uint32(len(segment)>>16) + uint32(len(segment)&0xffff)
	return sum(n, segment)
}

// sum adds 16-bit words, as checksums of the Internet do.
func sum(n uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		n += uint32(b[0])<<8 | uint32(b[1])
		if n >= 1<<31 {
			n = n&0xffff + n>>16
		}
	}
	if len(b) > 0 {
		n += uint32(b[0]) << 8
	}
	return n
}

func fold(n uint32) uint16 {
	for n > 0xffff {
		n = n&0xffff + n>>16
	}
	return uint16(n)
}
