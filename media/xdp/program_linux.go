package xdp

import (
	"github.com/cilium/ebpf/asm"
)

// What the program answers.
const (
	xdpDrop = 1
	xdpPass = 2
	xdpTX   = 3
)

// Limits that the process has, too: see media's inlet.
const (
	maxDropout = 3000
	maxBack    = 64
	clockJump  = 2 * 8000
	tickTime   = 125_000 // ns of one tick at 8 kHz
)

// Places on the stack.
const (
	stackIndex  = -4
	stackOut    = -8 // card of the way out
	stackNow    = -16
	stackTS     = -20
	stackSeq    = -24
	stackSeen   = -32
	stackOff    = -36 // how far the arrival is from what was due, without sign
	stackTrans  = -40
	stackLate   = -44
	stackFIB    = -112 // 64 octets
	stackOld    = -160 // 48 octets
	stackNew    = -208 // 48 octets
	fibIfindex  = stackFIB + 8
	fibSource   = stackFIB + 16
	fibDest     = stackFIB + 32
	fibSMAC     = stackFIB + 52
	fibDMAC     = stackFIB + 58
	fibDisabled = 5 // BPF_FIB_LKUP_RET_FWD_DISABLED
)

// family is where things stand in a packet of IPv4 or IPv6.
type family struct {
	name        string
	etherType   uint16
	udp         int16 // offset of UDP from the first octet of Ethernet
	source      int16 // of the IP addresses
	dest        int16
	size        int16 // octets of an address
	number      int64 // AF_INET, AF_INET6
	length      int16 // of the IP length
	hops, proto int16
}

var families = []family{
	{name: "v4", etherType: 0x0800, udp: 34, source: 26, dest: 30, size: 4, number: 2, length: 16, hops: 22, proto: 23},
	{name: "v6", etherType: 0x86dd, udp: 54, source: 22, dest: 38, size: 16, number: 10, length: 18, hops: 21, proto: 20},
}

// The registers that outlive a call of a helper.
const (
	ctx  = asm.R6
	data = asm.R7
	ent  = asm.R8
	udp  = asm.R9
)

// program is the XDP program. table is its map; low is the first RTP port, span how far the last is from it.
func program(table int, low, span uint16) asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg(ctx, asm.R1),
		asm.LoadMem(data, ctx, 0, asm.Word),
		asm.LoadMem(asm.R2, ctx, 4, asm.Word),
		asm.Mov.Reg(asm.R3, data),
		asm.Add.Imm(asm.R3, 54),
		asm.JGT.Reg(asm.R3, asm.R2, "pass"),
		asm.LoadMem(asm.R4, data, 12, asm.Half),
		asm.JEq.Imm(asm.R4, int32(net16(families[0].etherType)), "v4"),
		asm.JEq.Imm(asm.R4, int32(net16(families[1].etherType)), "v6"),
		asm.Ja.Label("pass"),
	}
	for _, f := range families {
		path := f.parse(table, low, span)
		path[0] = path[0].WithSymbol(f.name)
		p = append(p, path...)
		p = append(p, f.follow()...)
		p = append(p, f.route(table)...)
		p = append(p, f.count()...)
		p = append(p, f.rewrite()...)
		p = append(p, f.watch()...)
	}
	p = append(p, asm.Mov.Imm(asm.R0, xdpDrop).WithSymbol("dup"))
	p = append(p,
		asm.LoadMem(asm.R1, asm.RFP, stackNow, asm.DWord),
		asm.StoreMem(ent, at.last, asm.R1, asm.DWord),
	)
	p = append(p, increment(at.duplicates, asm.DWord)...)
	p = append(p, asm.Mov.Imm(asm.R9, xdpDrop), asm.Ja.Label("unlock"))
	p = append(p, asm.Mov.Imm(asm.R9, xdpPass).WithSymbol("up"))
	p = append(p, asm.LoadMem(asm.R1, ent, at.generation, asm.Word).WithSymbol("unlock"))
	p = append(p,
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(ent, at.generation, asm.R1, asm.Word),
		asm.Mov.Imm(asm.R1, -1),
		lock(),
		asm.Mov.Reg(asm.R0, asm.R9),
		asm.Return(),
	)
	p = append(p, asm.Mov.Imm(asm.R1, -1).WithSymbol("busy"))
	p = append(p, lock())
	p = append(p, asm.Mov.Imm(asm.R0, xdpPass).WithSymbol("pass"))
	return append(p, asm.Return())
}

func increment(field int16, size asm.Size) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, ent, field, size),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(ent, field, asm.R1, size),
	}
}

// lock adds R1 to the lock, with all that was written before and none that comes after, and makes R1 what it was.
func lock() asm.Instruction {
	i := asm.FetchAdd.Mem(ent, asm.R1, asm.Word, at.lock)
	i.Constant = 1 // BPF_FETCH, which v0.22.0 of the assembler leaves out
	return i
}

// parse finds the entry of a packet that could be one of a stream, and takes its lock. All else goes up.
func (f family) parse(table int, low, span uint16) asm.Instructions {
	var p asm.Instructions
	if f.size == 4 {
		p = append(p,
			asm.LoadMem(asm.R4, data, 14, asm.Byte),
			asm.JNE.Imm(asm.R4, 0x45, "pass"), // no options
			asm.LoadMem(asm.R4, data, 20, asm.Half),
			asm.And.Imm(asm.R4, int32(net16(0xbfff))),
			asm.JNE.Imm(asm.R4, 0, "pass"), // no fragment
		)
	} else {
		p = append(p,
			asm.Mov.Reg(asm.R3, data),
			asm.Add.Imm(asm.R3, int32(f.udp)+20),
			asm.JGT.Reg(asm.R3, asm.R2, "pass"),
			asm.LoadMem(asm.R4, data, 14, asm.Byte),
			asm.And.Imm(asm.R4, 0xf0),
			asm.JNE.Imm(asm.R4, 0x60, "pass"),
		)
	}
	p = append(p,
		asm.LoadMem(asm.R4, data, f.proto, asm.Byte),
		asm.JNE.Imm(asm.R4, 17, "pass"),
		asm.LoadMem(asm.R4, data, f.hops, asm.Byte),
		asm.JLE.Imm(asm.R4, 1, "pass"),
		asm.Mov.Reg(udp, data),
		asm.Add.Imm(udp, int32(f.udp)),
		asm.LoadMem(asm.R4, udp, 2, asm.Half),
		asm.HostTo(asm.BE, asm.R4, asm.Half),
		asm.Sub.Imm(asm.R4, int32(low)), // below low it becomes very large
		asm.JGT.Imm(asm.R4, int32(span), "pass"),
		asm.Mov.Reg(asm.R5, asm.R4),
		asm.And.Imm(asm.R5, 1),
		asm.JNE.Imm(asm.R5, 0, "pass"), // RTCP
		asm.RSh.Imm(asm.R4, 1),
		asm.StoreMem(asm.RFP, stackIndex, asm.R4, asm.Word),
		asm.LoadMapPtr(asm.R1, table),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackIndex),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.Mov.Reg(ent, asm.R0),
		asm.LoadMem(asm.R4, ent, at.mode, asm.Word),
		asm.JEq.Imm(asm.R4, modeOff, "pass"),

		asm.Mov.Imm(asm.R1, 1),
		lock(),
		asm.JNE.Imm(asm.R1, 0, "busy"), // another processor has a packet of this stream: no order is known
		// Again, now that the lock is ours: who set it to off and saw the lock free counts on us.
		asm.LoadMem(asm.R4, ent, at.mode, asm.Word),
		asm.JEq.Imm(asm.R4, modeOff, "up"),
		asm.LoadMem(asm.R4, ent, at.family, asm.Half),
		asm.JNE.Imm(asm.R4, int32(net16(f.etherType)), "up"),
	)
	same := func(packet asm.Register, off, field int16, size asm.Size) {
		p = append(p,
			asm.LoadMem(asm.R4, packet, off, size),
			asm.LoadMem(asm.R5, ent, field, size),
			asm.JNE.Reg(asm.R4, asm.R5, "up"),
		)
	}
	for i := int16(0); i < f.size; i += 4 {
		same(data, f.source+i, at.source+i, asm.Word)
		same(data, f.dest+i, at.local+i, asm.Word)
	}
	same(data, f.length, at.ipLen, asm.Half)
	same(udp, 0, at.port, asm.Half)
	same(udp, 4, at.udpLen, asm.Half)
	same(udp, 16, at.ssrc, asm.Word)
	p = append(p,
		asm.LoadMem(asm.R4, udp, 8, asm.Byte),
		asm.JNE.Imm(asm.R4, 0x80, "up"), // RTP without contributing sources, extension, padding
		asm.LoadMem(asm.R4, udp, 9, asm.Byte),
		asm.And.Imm(asm.R4, 0x7f),
		asm.LoadMem(asm.R5, ent, at.payload, asm.Word),
		asm.JNE.Reg(asm.R4, asm.R5, "up"),
		asm.LoadMem(asm.R5, ent, at.frame, asm.Word),
		asm.And.Imm(asm.R5, 0x7ff),
		asm.LoadMem(asm.R2, ctx, 4, asm.Word),
		asm.Mov.Reg(asm.R3, data),
		asm.Add.Reg(asm.R3, asm.R5),
		asm.JGT.Reg(asm.R3, asm.R2, "up"), // cut short
		asm.LoadMem(asm.R1, data, 6, asm.Word),
		asm.StoreMem(ent, at.peerMAC, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, data, 10, asm.Half),
		asm.StoreMem(ent, at.peerMAC+4, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, data, 0, asm.Word),
		asm.StoreMem(ent, at.ourMAC, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, data, 4, asm.Half),
		asm.StoreMem(ent, at.ourMAC+4, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, ctx, 12, asm.Word),
		asm.StoreMem(ent, at.card, asm.R1, asm.Word),
		asm.LoadMem(asm.R4, ent, at.mode, asm.Word),
		asm.JEq.Imm(asm.R4, modeWatch, "watch-"+f.name),
		asm.JNE.Imm(asm.R4, modeRelay, "up"),
	)
	return p
}

// follow judges sequence number and timestamp as the process would. It changes nothing yet.
func (f family) follow() asm.Instructions {
	n := "-" + f.name
	return asm.Instructions{
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, stackNow, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, ent, at.clock, asm.DWord),
		asm.Sub.Reg(asm.R0, asm.R1),
		asm.Div.Imm(asm.R0, tickTime),
		asm.LoadMem(asm.R4, udp, 12, asm.Word),
		asm.HostTo(asm.BE, asm.R4, asm.Word),
		asm.StoreMem(asm.RFP, stackTS, asm.R4, asm.Word),
		asm.Sub.Reg32(asm.R0, asm.R4), // how long it was on its way, but for a constant
		asm.StoreMem(asm.RFP, stackTrans, asm.R0, asm.Word),
		asm.LoadMem(asm.R1, ent, at.transit, asm.Word),
		asm.Sub.Reg32(asm.R0, asm.R1),
		asm.JSGE.Imm32(asm.R0, 0, "positive"+n),
		asm.Xor.Imm32(asm.R0, -1),
		asm.Add.Imm32(asm.R0, 1),
		asm.JGT.Imm32(asm.R0, clockJump, "up").WithSymbol("positive" + n), // a clock that was set anew
		asm.StoreMem(asm.RFP, stackOff, asm.R0, asm.Word),

		asm.StoreImm(asm.RFP, stackLate, 0, asm.Word),
		asm.LoadMem(asm.R4, udp, 10, asm.Half),
		asm.HostTo(asm.BE, asm.R4, asm.Half),
		asm.StoreMem(asm.RFP, stackSeq, asm.R4, asm.Word),
		asm.LoadMem(asm.R5, ent, at.highest, asm.Word),
		asm.LoadMem(asm.R1, ent, at.seen, asm.DWord),
		asm.Mov.Reg(asm.R3, asm.R4),
		asm.Sub.Reg(asm.R3, asm.R5),
		asm.And.Imm(asm.R3, 0xffff),
		asm.JEq.Imm(asm.R3, 0, "dup"),
		asm.JLT.Imm(asm.R3, maxDropout, "ahead"+n),

		asm.Sub.Reg(asm.R5, asm.R4),
		asm.And.Imm(asm.R5, 0xffff),
		asm.JGE.Imm(asm.R5, maxBack, "up"), // far off: the process knows what that means
		asm.Mov.Imm(asm.R2, 1),
		asm.LSh.Reg(asm.R2, asm.R5),
		asm.Mov.Reg(asm.R3, asm.R1),
		asm.And.Reg(asm.R3, asm.R2),
		asm.JNE.Imm(asm.R3, 0, "dup"),
		asm.Or.Reg(asm.R1, asm.R2),
		asm.StoreImm(asm.RFP, stackLate, 1, asm.Word),
		asm.Ja.Label("seen" + n),

		asm.JLT.Imm(asm.R3, maxBack, "shift"+n).WithSymbol("ahead" + n),
		asm.Mov.Imm(asm.R1, 0),
		asm.Mov.Imm(asm.R3, 0),
		asm.LSh.Reg(asm.R1, asm.R3).WithSymbol("shift" + n),
		asm.Or.Imm(asm.R1, 1),
		asm.StoreMem(asm.RFP, stackSeen, asm.R1, asm.DWord).WithSymbol("seen" + n),
	}
}

// route finds the way out: by the routes of this machine where it forwards, else back the way that packets of the other side come.
func (f family) route(table int) asm.Instructions {
	n := "-" + f.name
	p := asm.Instructions{
		asm.LoadMem(asm.R1, ent, at.loopback, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "back"+n),
	}
	p = append(p, asm.Mov.Imm(asm.R1, 0))
	for i := int16(0); i < 64; i += 8 {
		p = append(p, asm.StoreMem(asm.RFP, stackFIB+i, asm.R1, asm.DWord))
	}
	p = append(p,
		asm.StoreImm(asm.RFP, stackFIB, f.number, asm.Byte),
		asm.StoreImm(asm.RFP, stackFIB+1, 17, asm.Byte),
		asm.LoadMem(asm.R1, ent, at.fromPort, asm.Half),
		asm.StoreMem(asm.RFP, stackFIB+2, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, ent, at.toPort, asm.Half),
		asm.StoreMem(asm.RFP, stackFIB+4, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, ctx, 12, asm.Word),
		asm.StoreMem(asm.RFP, fibIfindex, asm.R1, asm.Word),
	)
	for i := int16(0); i < f.size; i += 4 {
		p = append(p,
			asm.LoadMem(asm.R1, ent, at.from+i, asm.Word),
			asm.StoreMem(asm.RFP, fibSource+i, asm.R1, asm.Word),
			asm.LoadMem(asm.R1, ent, at.to+i, asm.Word),
			asm.StoreMem(asm.RFP, fibDest+i, asm.R1, asm.Word),
		)
	}
	p = append(p,
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackFIB),
		asm.Mov.Imm(asm.R3, 64),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnFibLookup.Call(),
		asm.JEq.Imm(asm.R0, 0, "routed"+n),
		asm.JNE.Imm(asm.R0, fibDisabled, "up"), // no neighbour yet, no route: the process sends, and the system finds out

		asm.LoadMem(asm.R1, ent, at.other, asm.Word).WithSymbol("back"+n),
		asm.StoreMem(asm.RFP, stackIndex, asm.R1, asm.Word),
		asm.LoadMapPtr(asm.R1, table),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, stackIndex),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "up"),
		asm.LoadMem(asm.R1, asm.R0, at.card, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "up"),
		asm.StoreMem(asm.RFP, fibIfindex, asm.R1, asm.Word),
	)
	for i := int16(0); i < 6; i += 2 {
		p = append(p,
			asm.LoadMem(asm.R1, asm.R0, at.ourMAC+i, asm.Half),
			asm.StoreMem(asm.RFP, fibSMAC+i, asm.R1, asm.Half),
			asm.LoadMem(asm.R1, asm.R0, at.peerMAC+i, asm.Half),
			asm.StoreMem(asm.RFP, fibDMAC+i, asm.R1, asm.Half),
		)
	}
	return append(p,
		asm.LoadMem(asm.R1, asm.RFP, fibIfindex, asm.Word).WithSymbol("routed"+n),
		asm.StoreMem(asm.RFP, stackOut, asm.R1, asm.Word),
	)
}

// count keeps the numbers of a packet that will be sent.
func (f family) count() asm.Instructions {
	n := "-" + f.name
	p := asm.Instructions{
		asm.LoadMem(asm.R1, asm.RFP, stackLate, asm.Word),
		asm.JEq.Imm(asm.R1, 0, "new"+n),
	}
	p = append(p, increment(at.late, asm.DWord)...)
	p = append(p,
		asm.Ja.Label("counted"+n),
		asm.LoadMem(asm.R4, asm.RFP, stackSeq, asm.Word).WithSymbol("new"+n),
		asm.LoadMem(asm.R5, ent, at.highest, asm.Word),
		asm.StoreMem(ent, at.highest, asm.R4, asm.Word),
		asm.JGE.Reg(asm.R4, asm.R5, "counted"+n),
		asm.LoadMem(asm.R1, ent, at.cycles, asm.Word),
		asm.Add.Imm(asm.R1, 1<<16),
		asm.StoreMem(ent, at.cycles, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, stackSeen, asm.DWord).WithSymbol("counted"+n),
		asm.StoreMem(ent, at.seen, asm.R1, asm.DWord),
	)
	p = append(p, increment(at.received, asm.DWord)...)
	return append(p,
		asm.LoadMem(asm.R1, ent, at.octets, asm.DWord),
		asm.LoadMem(asm.R2, ent, at.size, asm.DWord),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.StoreMem(ent, at.octets, asm.R1, asm.DWord),
		// RFC 3550 §A.8: J += (|D|-J)/16.
		asm.LoadMem(asm.R1, ent, at.jitter, asm.DWord),
		asm.LoadMem(asm.R2, asm.RFP, stackOff, asm.Word),
		asm.LSh.Imm(asm.R2, 12),
		asm.Mov.Reg(asm.R3, asm.R1),
		asm.RSh.Imm(asm.R3, 4),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.Sub.Reg(asm.R1, asm.R3),
		asm.StoreMem(ent, at.jitter, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, stackTrans, asm.Word),
		asm.StoreMem(ent, at.transit, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, stackTS, asm.Word),
		asm.StoreMem(ent, at.lastTS, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, stackNow, asm.DWord),
		asm.StoreMem(ent, at.last, asm.R1, asm.DWord),
	)
}

// rewrite makes the packet one of ours and sends it. Checksums are not made but carried on (RFC 1624), so that a packet that was
// damaged on its way to us is not made whole.
func (f family) rewrite() asm.Instructions {
	n := "-" + f.name
	addrs := 2 * f.size
	var p asm.Instructions
	for i := int16(0); i < f.size; i += 4 {
		p = append(p,
			asm.LoadMem(asm.R1, data, f.source+i, asm.Word),
			asm.StoreMem(asm.RFP, stackOld+i, asm.R1, asm.Word),
			asm.LoadMem(asm.R1, data, f.dest+i, asm.Word),
			asm.StoreMem(asm.RFP, stackOld+f.size+i, asm.R1, asm.Word),
			asm.LoadMem(asm.R1, ent, at.from+i, asm.Word),
			asm.StoreMem(asm.RFP, stackNew+i, asm.R1, asm.Word),
			asm.LoadMem(asm.R1, ent, at.to+i, asm.Word),
			asm.StoreMem(asm.RFP, stackNew+f.size+i, asm.R1, asm.Word),
		)
	}
	for i, off := range []int16{0, 8, 12, 16} { // ports, and the three words of RTP
		p = append(p,
			asm.LoadMem(asm.R1, udp, off, asm.Word),
			asm.StoreMem(asm.RFP, stackOld+addrs+4*int16(i), asm.R1, asm.Word),
		)
	}
	ports, rtp := stackNew+addrs, stackNew+addrs+4
	p = append(p,
		asm.LoadMem(asm.R1, ent, at.fromPort, asm.Half),
		asm.StoreMem(asm.RFP, ports, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, ent, at.toPort, asm.Half),
		asm.StoreMem(asm.RFP, ports+2, asm.R1, asm.Half),
		asm.StoreImm(asm.RFP, rtp, 0x80, asm.Byte),
		asm.LoadMem(asm.R1, udp, 9, asm.Byte),
		asm.And.Imm(asm.R1, 0x80), // the marker stays
		asm.LoadMem(asm.R2, ent, at.outType, asm.Word),
		asm.Or.Reg(asm.R1, asm.R2),
		asm.StoreMem(asm.RFP, rtp+1, asm.R1, asm.Byte),
		asm.LoadMem(asm.R1, asm.RFP, stackSeq, asm.Word),
		asm.LoadMem(asm.R2, ent, at.seq, asm.Word),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.StoreMem(asm.RFP, rtp+2, asm.R1, asm.Half),
		asm.LoadMem(asm.R1, asm.RFP, stackTS, asm.Word),
		asm.LoadMem(asm.R2, ent, at.ts, asm.Word),
		asm.Add.Reg(asm.R1, asm.R2),
		asm.HostTo(asm.BE, asm.R1, asm.Word),
		asm.StoreMem(asm.RFP, rtp+4, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, ent, at.outSSRC, asm.Word),
		asm.StoreMem(asm.RFP, rtp+8, asm.R1, asm.Word),
	)

	// UDP.
	diff := func(size int16) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.RFP),
			asm.Add.Imm(asm.R1, stackOld),
			asm.Mov.Imm(asm.R2, int32(size)),
			asm.Mov.Reg(asm.R3, asm.RFP),
			asm.Add.Imm(asm.R3, stackNew),
			asm.Mov.Imm(asm.R4, int32(size)),
			asm.FnCsumDiff.Call(),
		}
	}
	invert := asm.Xor.Imm(asm.R5, 0xffff)
	p = append(p,
		asm.LoadMem(asm.R5, udp, 6, asm.Half),
		asm.LoadMem(asm.R1, ent, at.partial, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "partial"+n),
	)
	if f.size == 4 {
		p = append(p, asm.JEq.Imm(asm.R5, 0, "summed"+n)) // RFC 768: the sender makes none
	}
	p = append(p, invert)
	p = append(p, diff(addrs+16)...)
	p = append(p, fold(asm.R0, asm.R1)...)
	p = append(p,
		asm.Xor.Imm(asm.R0, 0xffff),
		asm.JNE.Imm(asm.R0, 0, "sum"+n),
		asm.Mov.Imm(asm.R0, 0xffff), // RFC 768: 0 is sent as all ones
		asm.Ja.Label("sum"+n),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("partial"+n),
	)
	p = append(p, diff(addrs)...)
	p = append(p, fold(asm.R0, asm.R1)...)
	p = append(p, asm.StoreMem(udp, 6, asm.R0, asm.Half).WithSymbol("sum"+n))

	// IP.
	first := asm.Mov.Imm(asm.R0, 0).WithSymbol("summed" + n)
	p = append(p, first)
	if f.size == 4 {
		p = append(p, asm.LoadMem(asm.R5, data, 24, asm.Half), invert)
		p = append(p, diff(addrs)...)
		p = append(p,
			// The packet sets out from here: its hops count anew.
			asm.LoadMem(asm.R1, data, f.hops, asm.Half),
			asm.Xor.Imm(asm.R1, 0xffff),
			asm.And.Imm(asm.R1, 0xffff),
			asm.Add.Reg(asm.R0, asm.R1),
			asm.Add.Imm(asm.R0, int32(net16(64<<8|17))),
		)
		p = append(p, fold(asm.R0, asm.R1)...)
		p = append(p,
			asm.Xor.Imm(asm.R0, 0xffff),
			asm.StoreMem(data, 24, asm.R0, asm.Half),
		)
	}
	p = append(p, asm.StoreImm(data, f.hops, 64, asm.Byte))
	for i := int16(0); i < f.size; i += 4 {
		p = append(p,
			asm.LoadMem(asm.R1, asm.RFP, stackNew+i, asm.Word),
			asm.StoreMem(data, f.source+i, asm.R1, asm.Word),
			asm.LoadMem(asm.R1, asm.RFP, stackNew+f.size+i, asm.Word),
			asm.StoreMem(data, f.dest+i, asm.R1, asm.Word),
		)
	}
	for i, off := range []int16{0, 8, 12, 16} {
		p = append(p,
			asm.LoadMem(asm.R1, asm.RFP, stackNew+addrs+4*int16(i), asm.Word),
			asm.StoreMem(udp, off, asm.R1, asm.Word),
		)
	}
	// Ethernet, and out.
	for i := int16(0); i < 6; i += 2 {
		p = append(p,
			asm.LoadMem(asm.R1, asm.RFP, fibDMAC+i, asm.Half),
			asm.StoreMem(data, i, asm.R1, asm.Half),
			asm.LoadMem(asm.R1, asm.RFP, fibSMAC+i, asm.Half),
			asm.StoreMem(data, 6+i, asm.R1, asm.Half),
		)
	}
	return append(p,
		asm.Mov.Imm(udp, xdpTX),
		asm.LoadMem(asm.R1, asm.RFP, stackOut, asm.Word),
		asm.LoadMem(asm.R2, ctx, 12, asm.Word),
		asm.JEq.Reg(asm.R1, asm.R2, "unlock"),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Mov.Reg(udp, asm.R0),
		asm.Ja.Label("unlock"),
	)
}

// fold makes a checksum of 16 bits of one of 32.
func fold(sum, scratch asm.Register) asm.Instructions {
	once := asm.Instructions{
		asm.Mov.Reg(scratch, sum),
		asm.RSh.Imm(scratch, 16),
		asm.And.Imm(sum, 0xffff),
		asm.Add.Reg(sum, scratch),
	}
	p := asm.Instructions{asm.LSh.Imm(sum, 32), asm.RSh.Imm(sum, 32)}
	p = append(p, once...)
	return append(p, once...)
}

// watch only looks: whether the sender makes checksums. A neighbour on the same host leaves them to its card and puts down the sum
// of the pseudo header alone.
func (f family) watch() asm.Instructions {
	p := increment(at.watched, asm.Word)
	p[0] = p[0].WithSymbol("watch-" + f.name)
	for i := int16(0); i < f.size; i += 4 {
		p = append(p,
			asm.LoadMem(asm.R1, data, f.source+i, asm.Word),
			asm.StoreMem(asm.RFP, stackOld+i, asm.R1, asm.Word),
			asm.LoadMem(asm.R1, data, f.dest+i, asm.Word),
			asm.StoreMem(asm.RFP, stackOld+f.size+i, asm.R1, asm.Word),
		)
	}
	tail := stackOld + 2*f.size
	p = append(p,
		asm.StoreImm(asm.RFP, tail, int64(net16(17)), asm.Half),
		asm.LoadMem(asm.R1, udp, 4, asm.Half),
		asm.StoreMem(asm.RFP, tail+2, asm.R1, asm.Half),
		asm.Mov.Imm(asm.R1, 0),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stackOld),
		asm.Mov.Imm(asm.R4, int32(2*f.size+4)),
		asm.Mov.Imm(asm.R5, 0),
		asm.FnCsumDiff.Call(),
	)
	p = append(p, fold(asm.R0, asm.R1)...)
	p = append(p,
		asm.LoadMem(asm.R1, udp, 6, asm.Half),
		asm.JNE.Reg(asm.R0, asm.R1, "up"),
	)
	p = append(p, increment(at.partials, asm.Word)...)
	return append(p, asm.Ja.Label("up"))
}
