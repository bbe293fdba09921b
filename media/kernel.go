package media

import (
	"net/netip"
	"time"
)

// Kernel relays the packets of plain calls without this process, where the system lets it: media/xdp is one. An engine hands
// a call over once nothing of it needs us, and takes it back before anything does.
type Kernel interface {
	// Port is the kernel's place for packets that come to local; nil when it has none. It must be closed.
	Port(local netip.AddrPort) KernelPort
}

// KernelPort is the kernel's side of one session. Its methods are called by one goroutine at a time.
type KernelPort interface {
	// Watch makes the kernel look out for a stream without touching it.
	Watch(s KernelStream)
	// Watched reports whether the stream was seen often enough, and alike enough, to be relayed.
	Watched() bool
	// Relay makes the kernel send the stream on, from the place of to's session, and count it from st on. What does not fit, and
	// what is no packet of the stream, still comes to the socket.
	Relay(to KernelPort, t KernelTarget, st KernelState)
	// State is what was counted up to now.
	State() KernelState
	// Stop ends Watch and Relay. When it returns no packet is being relayed, and all are counted.
	Stop() KernelState
	Close()
}

// KernelStream is the one kind of packet that the kernel relays: without contributing sources, extension and padding.
type KernelStream struct {
	Source  netip.AddrPort
	SSRC    uint32
	Payload uint8 // number of the sound
	Size    int   // octets of payload in each packet
}

// KernelTarget is what becomes of a stream.
type KernelTarget struct {
	Remote  netip.AddrPort
	SSRC    uint32
	Payload uint8
	Seq     uint16 // what is added to the numbers
	TS      uint32
}

// KernelState is the state of a stream as RFC 3550 §A.1 and §A.8 follow it.
type KernelState struct {
	Highest                            uint16
	Cycles                             uint32
	Seen                               uint64 // bit i: Highest-i has arrived
	Received, Octets, Duplicates, Late uint64
	Clock                              time.Time // origin of arrival times
	Transit                            int32
	Jitter                             float64 // in ticks
	LastTS                             uint32
	Last                               time.Time // arrival of the latest packet
}
