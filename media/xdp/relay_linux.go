package xdp

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"pbx/media"
)

// Options say where to relay.
type Options struct {
	Low, High uint16   // range of RTP and RTCP ports; 0, 0: all ports
	Cards     []string // network cards; empty: all that are up and have an address, but not the loopback
	Log       *slog.Logger
}

// Relay is a program on the cards of this machine. It goes when the process does, however that ends.
type Relay struct {
	low     uint16
	table   *ebpf.Map
	program *ebpf.Program
	links   []link.Link
	cards   []string
	native  bool
	memory  []byte
	entries []entry
	origin  time.Time // whose nanosecond on the kernel's clock is originNS
	atNS    uint64

	mu     sync.Mutex
	taken  map[int]bool
	addrs  map[netip.Addr]bool // of our cards; true: of the loopback
	looked time.Time
}

// Open loads the program. The error says what the machine does not let us do.
func Open(o Options) (*Relay, error) {
	if !littleEndian() {
		return nil, errors.New("written for little endian machines")
	}
	if o.High == 0 {
		o.Low, o.High = 0, 0xffff
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	low := uint16((int(o.Low) + 1) &^ 1)
	if o.High <= low {
		return nil, fmt.Errorf("port range %d-%d holds no pair", o.Low, o.High)
	}
	span := o.High - low
	r := &Relay{low: low, taken: make(map[int]bool)}
	if err := r.load(span); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.attach(o.Cards); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	o.Log.Info("plain calls are relayed in the kernel", "cards", strings.Join(r.cards, ","), "native", r.native)
	return r, nil
}

func littleEndian() bool { return net16(1) != 1 }

func (r *Relay) load(span uint16) error {
	slots := uint32(span)/2 + 1
	perPage := uint32(os.Getpagesize() / entrySize)
	slots = (slots + perPage - 1) / perPage * perPage
	var err error
	r.table, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "rtp_streams", Type: ebpf.Array, KeySize: 4, ValueSize: uint32(entrySize), MaxEntries: slots, Flags: unix.BPF_F_MMAPABLE,
	})
	if err != nil {
		return fmt.Errorf("make the table of streams: %w", withAdvice(err))
	}
	r.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "rtp_relay", Type: ebpf.XDP, Instructions: program(r.table.FD(), r.low, span),
		License: "Dual MIT/GPL", // the kernel lends some of its helpers to such programs only
	})
	if err != nil {
		return fmt.Errorf("load the program: %w", withAdvice(err))
	}
	r.memory, err = unix.Mmap(r.table.FD(), 0, int(slots)*entrySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("share the table of streams: %w", err)
	}
	r.entries = unsafe.Slice((*entry)(unsafe.Pointer(&r.memory[0])), span/2+1)
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return fmt.Errorf("read the kernel's clock: %w", err)
	}
	r.origin, r.atNS = time.Now(), uint64(ts.Nano())
	return nil
}

func withAdvice(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (needs the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or root)", err)
	}
	return err
}

// attach puts the program on the cards: into their drivers when all of them are hardware and can, since a driver hands packets
// only to other such cards; else generically, which every card can.
func (r *Relay) attach(names []string) error {
	cards, err := chosen(names)
	if err != nil {
		return err
	}
	hardware := !slices.ContainsFunc(cards, func(c net.Interface) bool {
		_, err := os.Stat(filepath.Join("/sys/class/net", c.Name, "device"))
		return err != nil
	})
	if hardware && r.attachAll(cards, link.XDPDriverMode) == nil {
		r.native = true
	} else if err := r.attachAll(cards, link.XDPGenericMode); err != nil {
		return err
	}
	for _, c := range cards {
		r.cards = append(r.cards, c.Name)
	}
	return nil
}

func (r *Relay) attachAll(cards []net.Interface, mode link.XDPAttachFlags) error {
	for _, c := range cards {
		l, err := link.AttachXDP(link.XDPOptions{Program: r.program, Interface: c.Index, Flags: mode})
		if err != nil {
			r.detach()
			return fmt.Errorf("attach to %s: %w", c.Name, withAdvice(err))
		}
		r.links = append(r.links, l)
	}
	return nil
}

func (r *Relay) detach() {
	for _, l := range r.links {
		_ = l.Close() // the kernel detaches with the last descriptor, whatever this says
	}
	r.links = nil
}

// chosen finds cards by name, or all that carry an address. Those are the ones where packets for us arrive as such: behind a bridge,
// a bond or a VLAN it is that one, not the cards below it.
func chosen(names []string) ([]net.Interface, error) {
	if len(names) > 0 {
		var cards []net.Interface
		for _, name := range names {
			c, err := net.InterfaceByName(name)
			if err != nil {
				return nil, fmt.Errorf("card %s: %w", name, err)
			}
			cards = append(cards, *c)
		}
		return cards, nil
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list cards: %w", err)
	}
	var cards []net.Interface
	for _, c := range all {
		addrs, err := c.Addrs()
		if err == nil && len(addrs) > 0 && c.Flags&net.FlagUp != 0 && c.Flags&net.FlagLoopback == 0 && len(c.HardwareAddr) == 6 {
			cards = append(cards, c)
		}
	}
	if len(cards) == 0 {
		return nil, errors.New("no Ethernet card with an address")
	}
	return cards, nil
}

// Cards are the names of the cards that the program is on.
func (r *Relay) Cards() []string { return slices.Clone(r.cards) }

// Native reports whether it is in their drivers.
func (r *Relay) Native() bool { return r.native }

// Close takes the program off the cards. All ports are closed before.
func (r *Relay) Close() error {
	r.detach()
	var errs []error
	if r.memory != nil {
		errs = append(errs, unix.Munmap(r.memory))
		r.memory, r.entries = nil, nil
	}
	if r.program != nil {
		errs = append(errs, r.program.Close())
	}
	if r.table != nil {
		errs = append(errs, r.table.Close())
	}
	return errors.Join(errs...)
}

// addrsTime is how long the addresses of the cards are believed.
const addrsTime = 10 * time.Second

// serves reports whether one of our cards has the address, and whether that is the loopback.
func (r *Relay) serves(a netip.Addr) (ok, loopback bool) {
	if time.Since(r.looked) > addrsTime || r.addrs == nil {
		r.looked, r.addrs = time.Now(), make(map[netip.Addr]bool)
		for _, name := range r.cards {
			c, err := net.InterfaceByName(name)
			if err != nil {
				continue
			}
			addrs, err := c.Addrs()
			if err != nil {
				continue
			}
			for _, n := range addrs {
				if p, err := netip.ParsePrefix(n.String()); err == nil {
					r.addrs[p.Addr().Unmap()] = c.Flags&net.FlagLoopback != 0
				}
			}
		}
	}
	loopback, ok = r.addrs[a]
	return ok, loopback
}

// Port is the place of local in the table: one for each port, so that only one of several addresses has it.
func (r *Relay) Port(local netip.AddrPort) media.KernelPort {
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	r.mu.Lock()
	defer r.mu.Unlock()
	slot := int(local.Port()-r.low) / 2
	if local.Port() < r.low || local.Port()%2 != 0 || slot >= len(r.entries) || r.taken[slot] || local.Addr().Zone() != "" {
		return nil
	}
	ok, loopback := r.serves(local.Addr())
	if !ok {
		return nil
	}
	r.taken[slot] = true
	return &port{r: r, e: &r.entries[slot], slot: slot, local: local, loopback: loopback}
}

// port is one entry.
type port struct {
	r        *Relay
	e        *entry
	slot     int
	local    netip.AddrPort
	loopback bool
}

// enough packets must be seen before a stream is taken over.
const enough = 4

func (p *port) Watch(s media.KernelStream) {
	p.Stop()
	e := p.e
	e.clear()
	e.familyN, e.ipLenN = net16(0x86dd), net16(uint16(8+12+s.Size))
	e.udpLenN, e.frame = e.ipLenN, uint32(14+40+8+12+s.Size)
	if p.local.Addr().Is4() {
		e.familyN, e.ipLenN, e.frame = net16(0x0800), net16(uint16(20+8+12+s.Size)), uint32(14+20+8+12+s.Size)
	}
	e.portN, e.source, e.local = net16(s.Source.Port()), octetsOf(s.Source.Addr().Unmap()), octetsOf(p.local.Addr())
	e.ssrcN, e.payload, e.size = net32(s.SSRC), uint32(s.Payload), uint64(s.Size)
	if p.loopback {
		e.loopback = 1
	}
	e.set(modeWatch)
}

func (p *port) Watched() bool {
	seen, partials := atomic.LoadUint32(&p.e.watched), atomic.LoadUint32(&p.e.partials)
	return seen >= enough && (partials == 0 || partials == seen)
}

func (p *port) Relay(to media.KernelPort, t media.KernelTarget, st media.KernelState) {
	other := to.(*port)
	e := p.e
	partial := p.e.partials > 0 // before Stop, while the entry only watches, it is as good as constant
	p.Stop()
	if e.partial = 0; partial {
		e.partial = 1
	}
	e.from, e.to = octetsOf(other.local.Addr()), octetsOf(t.Remote.Addr().Unmap())
	e.fromN, e.toN = net16(other.local.Port()), net16(t.Remote.Port())
	e.outSSRCN, e.outType, e.seq, e.ts, e.other = net32(t.SSRC), uint32(t.Payload), uint32(t.Seq), t.TS, uint32(other.slot)
	e.highest, e.cycles, e.seen = uint32(st.Highest), st.Cycles, st.Seen
	e.received, e.octets, e.duplicates, e.late = st.Received, st.Octets, st.Duplicates, st.Late
	e.clock, e.last = p.r.toKernel(st.Clock), p.r.toKernel(st.Last)
	e.transit, e.lastTS, e.jitter = uint32(st.Transit), st.LastTS, uint64(st.Jitter*(1<<16))
	e.set(modeRelay)
}

func (r *Relay) toKernel(t time.Time) uint64 { return r.atNS + uint64(t.Sub(r.origin)) }
func (r *Relay) ofKernel(ns uint64) time.Time {
	return r.origin.Add(time.Duration(int64(ns - r.atNS)))
}

// State waits for a moment in which no packet is being counted.
func (p *port) State() media.KernelState {
	for {
		before := atomic.LoadUint32(&p.e.generation)
		if !p.e.locked() {
			st := p.read()
			if !p.e.locked() && atomic.LoadUint32(&p.e.generation) == before {
				return st
			}
		}
		runtime.Gosched()
	}
}

func (p *port) read() media.KernelState {
	e := p.e
	return media.KernelState{
		Highest: uint16(atomic.LoadUint32(&e.highest)), Cycles: atomic.LoadUint32(&e.cycles), Seen: atomic.LoadUint64(&e.seen),
		Received: atomic.LoadUint64(&e.received), Octets: atomic.LoadUint64(&e.octets),
		Duplicates: atomic.LoadUint64(&e.duplicates), Late: atomic.LoadUint64(&e.late),
		Clock: p.r.ofKernel(e.clock), Transit: int32(atomic.LoadUint32(&e.transit)),
		Jitter: float64(atomic.LoadUint64(&e.jitter)) / (1 << 16), LastTS: atomic.LoadUint32(&e.lastTS),
		Last: p.r.ofKernel(atomic.LoadUint64(&e.last)),
	}
}

func (p *port) Stop() media.KernelState {
	p.e.set(modeOff)
	for p.e.locked() { // for as long as the program needs for a packet
		runtime.Gosched()
	}
	return p.read()
}

func (p *port) Close() {
	p.Stop()
	p.e.clear()
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	delete(p.r.taken, p.slot)
}
