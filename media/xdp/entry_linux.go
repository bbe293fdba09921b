package xdp

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"unsafe"
)

// What the program does with packets of an entry.
const (
	modeOff   = 0
	modeWatch = 1 // count them and let them go up
	modeRelay = 2
)

// entry is what program and process share about one session: an element of the map, which is the same memory in both. While lock
// is 1 it is the program's; with mode 0 and lock 0 it is the process's. Numbers that are compared with octets of a packet or put
// into one are in the order of the network, which the names say with a capital N.
type entry struct {
	lock uint32
	mode uint32

	// What packets of the stream look like.
	familyN uint16 // EtherType
	ipLenN  uint16 // IPv4: total length; IPv6: payload length
	udpLenN uint16
	portN   uint16 // of the peer
	source  [16]byte
	local   [16]byte
	ssrcN   uint32
	payload uint32
	frame   uint32 // octets from the first of Ethernet on

	// What becomes of them.
	loopback uint32 // the way out is the way in, without a look at the routes
	partial  uint32 // the sender leaves checksums to a card: the field holds the sum of the pseudo header alone
	from     [16]byte
	to       [16]byte
	fromN    uint16
	toN      uint16
	outSSRCN uint32
	seq      uint32 // to be added
	ts       uint32
	outType  uint32
	other    uint32 // index of the entry of the other direction

	// How frames of the peer come; frames to it go the same way back.
	peerMAC [6]byte
	ourMAC  [6]byte
	card    uint32

	// The state of the stream.
	highest uint32
	cycles  uint32
	transit uint32
	lastTS  uint32
	clock   uint64 // ns
	last    uint64 // ns
	seen    uint64
	jitter  uint64 // in ticks, 16 bits behind the point
	octets  uint64 // of payload

	received, duplicates, late uint64
	size                       uint64 // octets of payload of one packet

	watched, partials uint32
	generation        uint32    // changes with each packet
	_                 [3]uint32 // so that no two entries share a line of the cache
}

const entrySize = int(unsafe.Sizeof(entry{}))

// at gives the offset of a field to the assembler.
var at = struct {
	lock, mode, family, ipLen, udpLen, port, source, local, ssrc, payload, frame               int16
	loopback, partial, from, to, fromPort, toPort, outSSRC, seq, ts, outType, other            int16
	peerMAC, ourMAC, card, highest, cycles, transit, lastTS, clock, last, seen, jitter, octets int16
	received, duplicates, late, size, watched, partials, generation                            int16
}{
	lock: int16(unsafe.Offsetof(entry{}.lock)), mode: int16(unsafe.Offsetof(entry{}.mode)),
	family: int16(unsafe.Offsetof(entry{}.familyN)), ipLen: int16(unsafe.Offsetof(entry{}.ipLenN)),
	udpLen: int16(unsafe.Offsetof(entry{}.udpLenN)), port: int16(unsafe.Offsetof(entry{}.portN)),
	source: int16(unsafe.Offsetof(entry{}.source)), local: int16(unsafe.Offsetof(entry{}.local)),
	ssrc: int16(unsafe.Offsetof(entry{}.ssrcN)), payload: int16(unsafe.Offsetof(entry{}.payload)),
	frame: int16(unsafe.Offsetof(entry{}.frame)), loopback: int16(unsafe.Offsetof(entry{}.loopback)),
	partial: int16(unsafe.Offsetof(entry{}.partial)), from: int16(unsafe.Offsetof(entry{}.from)),
	to: int16(unsafe.Offsetof(entry{}.to)), fromPort: int16(unsafe.Offsetof(entry{}.fromN)), toPort: int16(unsafe.Offsetof(entry{}.toN)),
	outSSRC: int16(unsafe.Offsetof(entry{}.outSSRCN)), seq: int16(unsafe.Offsetof(entry{}.seq)), ts: int16(unsafe.Offsetof(entry{}.ts)),
	outType: int16(unsafe.Offsetof(entry{}.outType)), other: int16(unsafe.Offsetof(entry{}.other)),
	peerMAC: int16(unsafe.Offsetof(entry{}.peerMAC)), ourMAC: int16(unsafe.Offsetof(entry{}.ourMAC)), card: int16(unsafe.Offsetof(entry{}.card)),
	highest: int16(unsafe.Offsetof(entry{}.highest)), cycles: int16(unsafe.Offsetof(entry{}.cycles)),
	transit: int16(unsafe.Offsetof(entry{}.transit)), lastTS: int16(unsafe.Offsetof(entry{}.lastTS)),
	clock: int16(unsafe.Offsetof(entry{}.clock)), last: int16(unsafe.Offsetof(entry{}.last)),
	seen: int16(unsafe.Offsetof(entry{}.seen)), jitter: int16(unsafe.Offsetof(entry{}.jitter)), octets: int16(unsafe.Offsetof(entry{}.octets)),
	received: int16(unsafe.Offsetof(entry{}.received)), duplicates: int16(unsafe.Offsetof(entry{}.duplicates)),
	late: int16(unsafe.Offsetof(entry{}.late)), size: int16(unsafe.Offsetof(entry{}.size)),
	watched: int16(unsafe.Offsetof(entry{}.watched)), partials: int16(unsafe.Offsetof(entry{}.partials)),
	generation: int16(unsafe.Offsetof(entry{}.generation)),
}

// net16 is n as it stands in a packet.
func net16(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}

func net32(n uint32) uint32 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return binary.NativeEndian.Uint32(b[:])
}

// octetsOf is an address as it stands in a packet.
func octetsOf(a netip.Addr) (b [16]byte) {
	copy(b[:], a.AsSlice())
	return b
}

// set changes the mode. The store is ordered against the program's lock, so that who sees the lock free afterwards knows that no
// program works in the old mode.
func (e *entry) set(mode uint32) { atomic.StoreUint32(&e.mode, mode) }

// clear empties an entry that is off. The lock is left alone: a program that came late may hold it for a moment, to find that there
// is nothing to do.
func (e *entry) clear() {
	all := unsafe.Slice((*byte)(unsafe.Pointer(e)), entrySize)
	clear(all[unsafe.Offsetof(e.familyN):])
}

func (e *entry) locked() bool { return atomic.LoadUint32(&e.lock) != 0 }
