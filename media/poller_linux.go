package media

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// poller reads the sockets of all sessions with a few threads. A goroutine for each socket costs the wake-up of two threads and
// a read in vain for most packets, and a stack for each; here a thread that is busy finds the next packets ready and never sleeps.
type poller struct {
	turn    atomic.Uint32
	workers []*pollWorker
	wg      sync.WaitGroup
}

// edge asks the kernel to tell of a packet when it comes, and not again while it lies there. The constant of the package is
// negative.
const edge = 1 << 31

const pollWorkers = 8 // at most; more threads than processors help nobody

func newPoller() (*poller, error) {
	p := &poller{}
	for range min(runtime.GOMAXPROCS(0), pollWorkers) {
		w, err := newPollWorker()
		if err != nil {
			p.close()
			return nil, fmt.Errorf("read many sockets at once: %w", err)
		}
		p.workers = append(p.workers, w)
		p.wg.Go(w.run)
	}
	return p, nil
}

// close ends the threads. Their sockets are closed before.
func (p *poller) close() {
	for _, w := range p.workers {
		w.stop()
	}
	p.wg.Wait()
	for _, w := range p.workers {
		syscall.Close(w.epoll)
		syscall.Close(w.bell[0])
		syscall.Close(w.bell[1])
	}
}

// pollWorker is one thread and the sockets it reads.
type pollWorker struct {
	epoll int
	bell  [2]int // a pipe: when its other end closes, the thread ends

	mu      sync.Mutex
	sockets []*socket // by number
}

func newPollWorker() (*pollWorker, error) {
	w := &pollWorker{}
	var err error
	if w.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if err := syscall.Pipe2(w.bell[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		syscall.Close(w.epoll)
		return nil, err
	}
	err = syscall.EpollCtl(w.epoll, syscall.EPOLL_CTL_ADD, w.bell[0], &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(w.bell[0])})
	if err != nil {
		syscall.Close(w.epoll)
		syscall.Close(w.bell[0])
		syscall.Close(w.bell[1])
		return nil, err
	}
	return w, nil
}

func (w *pollWorker) stop() { _, _ = syscall.Write(w.bell[1], []byte{0}) }

const (
	pollBatch = 128
	// A thread that found several packets at once will soon find as many again. It lets them gather rather than be woken for
	// each: at a hundred calls that saves a quarter of the cost of a packet, for half a millisecond of delay.
	gatherFrom = 3
	gatherTime = 500 * time.Microsecond
)

// run reads until stop.
func (w *pollWorker) run() {
	// The thread sleeps in the kernel, not in the scheduler's hands.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var (
		events [pollBatch]syscall.EpollEvent
		ready  [pollBatch]*socket
		in     = newIntake()
		before int
	)
	for {
		n := pollNow(w.epoll, events[:])
		if n == 0 && before >= gatherFrom {
			gather()
			n = pollNow(w.epoll, events[:])
		}
		if n == 0 {
			var err error
			if n, err = syscall.EpollWait(w.epoll, events[:], -1); err != nil && err != syscall.EINTR {
				return
			}
		}
		before = n
		w.mu.Lock()
		for i := range max(n, 0) {
			fd := int(events[i].Fd)
			if fd == w.bell[0] {
				w.mu.Unlock()
				return
			}
			ready[i] = nil
			if fd < len(w.sockets) {
				ready[i] = w.sockets[fd]
			}
		}
		w.mu.Unlock()
		for i := range max(n, 0) {
			if s := ready[i]; s != nil {
				s.serve(in)
			}
		}
	}
}

// pollNow looks without sleeping, so that the scheduler need not be told.
func pollNow(epoll int, events []syscall.EpollEvent) int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func gather() {
	wait := syscall.NsecToTimespec(int64(gatherTime))
	_ = syscall.Nanosleep(&wait, nil) // woken early is no harm
}

// intake is room for the packets that one socket has ready.
type intake struct {
	heads [intakeSize]msgHeader
	parts [intakeSize]syscall.Iovec
	names [intakeSize]syscall.RawSockaddrInet6 // hold IPv4 ones, too
	bufs  [intakeSize][packetSize + sealRoom]byte
}

// msgHeader is the kernel's struct mmsghdr.
type msgHeader struct {
	syscall.Msghdr
	n uint32
	_ [unsafe.Sizeof(uintptr(0)) - 4]byte
}

const intakeSize = 4 // most sockets have one packet ready; more have gathered when the machine is late

func newIntake() *intake {
	in := &intake{}
	for i := range in.heads {
		in.parts[i].Base = &in.bufs[i][0]
		in.parts[i].SetLen(packetSize)
		in.heads[i].Iov, in.heads[i].Iovlen = &in.parts[i], 1
		in.heads[i].Name = (*byte)(unsafe.Pointer(&in.names[i]))
	}
	return in
}

// receive takes what s has.
func (in *intake) receive(s *socket) (int, syscall.Errno) {
	for i := range in.heads {
		in.heads[i].Namelen = uint32(unsafe.Sizeof(in.names[i]))
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&in.heads[0])), intakeSize, syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

func (w *pollWorker) add(s *socket) error {
	w.mu.Lock()
	for len(w.sockets) <= s.fd {
		w.sockets = append(w.sockets, nil)
	}
	w.sockets[s.fd] = s
	w.mu.Unlock()
	return syscall.EpollCtl(w.epoll, syscall.EPOLL_CTL_ADD, s.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN | edge, Fd: int32(s.fd)})
}

// remove forgets s. An event of it that is already on its way finds nobody, or a later socket with its number, which then
// reads in vain.
func (w *pollWorker) remove(s *socket) {
	_ = syscall.EpollCtl(w.epoll, syscall.EPOLL_CTL_DEL, s.fd, &syscall.EpollEvent{}) // fails only when it was never added
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.fd < len(w.sockets) && w.sockets[s.fd] == s {
		w.sockets[s.fd] = nil
	}
}

// socket is a UDP socket of this machine that a poller reads.
type socket struct {
	fd     int
	v6     bool
	local  netip.AddrPort
	worker *pollWorker

	open sync.RWMutex // held for reading by who sends: a closed number may belong to another socket at once
	shut bool

	mu     sync.Mutex // held while a packet is being read and dealt with
	take   func(b []byte, from netip.AddrPort)
	failed int
	closed bool
	zone   uint32 // of the last link-local sender
	zoned  string
}

// listen opens a socket at addr.
func (p *poller) listen(addr netip.AddrPort) (*socket, error) {
	s := &socket{v6: addr.Addr().Is6() && !addr.Addr().Is4In6(), worker: p.workers[int(p.turn.Add(1))%len(p.workers)]}
	family := syscall.AF_INET
	if s.v6 {
		family = syscall.AF_INET6
	}
	var err error
	s.fd, err = syscall.Socket(family, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(addr), Err: os.NewSyscallError("socket", err)}
	}
	if err := s.bind(addr); err != nil {
		syscall.Close(s.fd)
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(addr), Err: err}
	}
	return s, nil
}

func (s *socket) bind(addr netip.AddrPort) error {
	var at syscall.Sockaddr = &syscall.SockaddrInet4{Port: int(addr.Port())}
	if s.v6 {
		if err := syscall.SetsockoptInt(s.fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
		at = &syscall.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16(), ZoneId: zoneNumber(addr.Addr().Zone())}
	} else {
		at.(*syscall.SockaddrInet4).Addr = addr.Addr().Unmap().As4()
	}
	if err := syscall.Bind(s.fd, at); err != nil {
		return os.NewSyscallError("bind", err)
	}
	s.local = addr
	if addr.Port() != 0 {
		return nil
	}
	given, err := syscall.Getsockname(s.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	port := 0
	switch given := given.(type) {
	case *syscall.SockaddrInet4:
		port = given.Port
	case *syscall.SockaddrInet6:
		port = given.Port
	}
	s.local = netip.AddrPortFrom(addr.Addr(), uint16(port))
	return nil
}

// watch hands each packet to take, one at a time, until Close.
func (s *socket) watch(take func(b []byte, from netip.AddrPort)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.take = take
	if err := s.worker.add(s); err != nil {
		s.worker.remove(s) // no memory for one more: the peer will seem silent, and the call ends by that
	}
}

// serve deals with all packets that are there. The kernel tells of later ones once each.
func (s *socket) serve(in *intake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed {
		n, errno := in.receive(s)
		switch errno {
		case 0:
			s.failed = 0
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return
		default:
			if s.failed++; s.failed > readErrors {
				s.worker.remove(s)
				return
			}
			continue
		}
		for i := range n {
			s.take(in.bufs[i][:min(int(in.heads[i].n), packetSize)], s.sender(&in.names[i]))
		}
		if n < intakeSize {
			return
		}
	}
}

// sender reads an address that the kernel wrote.
func (s *socket) sender(raw *syscall.RawSockaddrInet6) netip.AddrPort {
	if !s.v6 {
		v4 := (*syscall.RawSockaddrInet4)(unsafe.Pointer(raw))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), turned(v4.Port))
	}
	addr := netip.AddrFrom16(raw.Addr)
	if raw.Scope_id != 0 {
		addr = addr.WithZone(s.zoneName(raw.Scope_id))
	}
	return netip.AddrPortFrom(addr, turned(raw.Port))
}

// ReadFromUDPAddrPort is for nobody: the poller reads.
func (s *socket) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, syscall.EAGAIN
}

// WriteToUDPAddrPort sends b, or fails at once: sound that cannot be sent now is worth nothing later.
func (s *socket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	var (
		raw  syscall.RawSockaddrInet6
		size = unsafe.Sizeof(raw)
	)
	switch addr := to.Addr(); {
	case len(b) == 0 || s.v6 != (addr.Is6() && !addr.Is4In6()):
		return 0, syscall.EAFNOSUPPORT
	case s.v6:
		raw = syscall.RawSockaddrInet6{Family: syscall.AF_INET6, Port: turned(to.Port()), Addr: addr.As16()}
		if zone := addr.Zone(); zone != "" {
			raw.Scope_id = zoneNumber(zone)
		}
	default:
		*(*syscall.RawSockaddrInet4)(unsafe.Pointer(&raw)) = syscall.RawSockaddrInet4{Family: syscall.AF_INET, Port: turned(to.Port()), Addr: addr.Unmap().As4()}
		size = unsafe.Sizeof(syscall.RawSockaddrInet4{})
	}
	s.open.RLock()
	defer s.open.RUnlock()
	if s.shut {
		return 0, net.ErrClosed
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&raw)), size)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Close returns when the packet that is being dealt with is done.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.closed = true
	if s.take != nil {
		s.worker.remove(s)
	}
	s.open.Lock()
	defer s.open.Unlock()
	s.shut = true
	return os.NewSyscallError("close", syscall.Close(s.fd))
}

// turned is n in the other order of octets: ports in the kernel's addresses are big endian.
func turned(n uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&n))
	return uint16(b[0])<<8 | uint16(b[1])
}

// zoneNumber is the number of the card that an IPv6 zone names.
func zoneNumber(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if card, err := net.InterfaceByName(zone); err == nil {
		return uint32(card.Index)
	}
	n, err := strconv.ParseUint(zone, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func (s *socket) zoneName(number uint32) string {
	if s.zone != number {
		s.zone, s.zoned = number, strconv.FormatUint(uint64(number), 10)
		if card, err := net.InterfaceByIndex(int(number)); err == nil {
			s.zoned = card.Name
		}
	}
	return s.zoned
}
