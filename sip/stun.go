package sip

import (
	"encoding/binary"
	"net/netip"
)

// The few words of STUN that keep a flow alive over UDP (RFC 5626 §4.4.2, RFC 5389).
const (
	stunHead    = 20
	stunCookie  = 0x2112a442
	stunRequest = 0x0001 // Binding
	stunSuccess = 0x0101
	stunError   = 0x0111
	stunMapped  = 0x0020 // XOR-MAPPED-ADDRESS
	stunCode    = 0x0009 // ERROR-CODE
	stunUnknown = 0x000a // UNKNOWN-ATTRIBUTES
)

// isSTUN recognises RFC 5389 §6: two zero bits and the magic cookie.
func isSTUN(b []byte) bool {
	return len(b) >= stunHead && b[0]&0xc0 == 0 && binary.BigEndian.Uint32(b[4:]) == stunCookie
}

// stunAnswer answers a binding request with the address it came from: a phone
// behind NAT learns that its way is open, and whether it is still the same. The
// answer to anything else is silence. It is never more than twice as large as the
// request, so that a forged sender makes no flood.
func stunAnswer(req []byte, from netip.AddrPort) []byte {
	if !isSTUN(req) || binary.BigEndian.Uint16(req) != stunRequest || int(binary.BigEndian.Uint16(req[2:])) != len(req)-stunHead || len(req)%4 != 0 {
		return nil
	}
	head := make([]byte, stunHead, 2*stunHead+4)
	copy(head[4:], req[4:stunHead]) // cookie and transaction
	unknown, ok := stunForeign(req[stunHead:])
	switch {
	case !ok:
		return nil
	case unknown != 0: // RFC 5389 §7.3.1: what must be understood and is not
		binary.BigEndian.PutUint16(head, stunError)
		head = append(head, 0, stunCode, 0, 4, 0, 0, 4, 20)
		head = append(head, 0, stunUnknown, 0, 2, byte(unknown>>8), byte(unknown), 0, 0)
	default: // RFC 5389 §15.2
		binary.BigEndian.PutUint16(head, stunSuccess)
		addr := from.Addr().Unmap().AsSlice()
		family := byte(1)
		if len(addr) == 16 {
			family = 2
		}
		for i := range addr {
			addr[i] ^= req[4+i]
		}
		head = append(head, 0, stunMapped, 0, byte(4+len(addr)), 0, family)
		head = binary.BigEndian.AppendUint16(head, from.Port()^(stunCookie>>16))
		head = append(head, addr...)
	}
	binary.BigEndian.PutUint16(head[2:], uint16(len(head)-stunHead))
	if len(head) > 2*len(req)+4 { // IPv6 takes 24 octets more than the smallest request
		return nil
	}
	return head
}

// stunForeign returns the first attribute of those that must be understood: we
// understand none, and a keep-alive needs none. ok is false if they cannot be read.
func stunForeign(attributes []byte) (unknown uint16, ok bool) {
	for len(attributes) > 0 {
		if len(attributes) < 4 {
			return 0, false
		}
		kind, length := binary.BigEndian.Uint16(attributes), int(binary.BigEndian.Uint16(attributes[2:]))
		length = (length + 3) &^ 3
		if len(attributes) < 4+length {
			return 0, false
		}
		if kind < 0x8000 && unknown == 0 {
			unknown = kind
		}
		attributes = attributes[4+length:]
	}
	return unknown, true
}
