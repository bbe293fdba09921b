package xdp_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"pbx/media"
	"pbx/media/xdp"
)

// Every test here runs in a process with a network namespace of its own, so that no card of this machine is touched: the house in
// the middle, and a telephone behind each of two pairs of virtual cards, in namespaces of their own too. Where the rights to a
// namespace or to programs in the kernel are missing, the test says so and runs what remains in user space.

const inside = "PBX_TEST_XDP_LAB"

// inLab reports whether the test is inside; outside it runs itself there.
func inLab(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	t.Parallel() // its process mostly waits
	run := func(flags uintptr) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v", "-test.timeout", "60s")
		cmd.Env = append(os.Environ(), inside+"=yes")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags == 0 {
			cmd.Env = append(cmd.Env, inside+"=outside")
		}
		return cmd.CombinedOutput()
	}
	out, err := run(syscall.CLONE_NEWNET)
	if errors.Is(err, syscall.EPERM) {
		t.Log("no right to a network namespace of its own: in user space, on loopback")
		out, err = run(0)
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.Contains(line, "_test.go:") || strings.Contains(line, "panic") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// lab is the house and its network.
type lab struct {
	t      *testing.T
	house  *media.Engine
	kernel *xdp.Relay // nil: not here
	phones [2]*handset
}

// layout is how a lab is made.
type layout struct {
	v6        bool
	bridge    bool // the first address is that of a bridge, the card a port of it
	forward   bool // the house forwards: ways are looked up
	full      bool // telephones make checksums themselves
	loopback  bool // all on the loopback
	timeout   time.Duration
	kernelOff bool
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func newLab(t *testing.T, l layout) *lab {
	t.Helper()
	b := &lab{t: t}
	if os.Getenv(inside) == "outside" {
		l.loopback, l.kernelOff = true, true
	} else {
		ip(t, "link", "set", "lo", "up")
	}
	cards := []string{"lo"}
	var at [2]netip.Addr // of the house
	if l.loopback {
		at = [2]netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.1")}
		for i := range b.phones {
			b.phones[i] = newHandset(t, i, netip.MustParseAddr(fmt.Sprintf("127.0.1.%d", i+1)), "", l)
		}
	} else {
		cards = nil
		for i := range b.phones {
			card, cable := fmt.Sprintf("card%d", i), fmt.Sprintf("cable%d", i)
			ip(t, "link", "add", card, "type", "veth", "peer", "name", cable)
			ip(t, "link", "set", card, "up")
			if l.bridge && i == 0 {
				ip(t, "link", "add", "bridge0", "type", "bridge")
				ip(t, "link", "set", card, "master", "bridge0")
				card = "bridge0"
				ip(t, "link", "set", card, "up")
			}
			at[i] = netip.MustParseAddr(fmt.Sprintf("10.%d.0.1", i+1))
			far := netip.MustParseAddr(fmt.Sprintf("10.%d.0.2", i+1))
			if l.v6 {
				at[i], far = netip.MustParseAddr(fmt.Sprintf("fd00:%d::1", i+1)), netip.MustParseAddr(fmt.Sprintf("fd00:%d::2", i+1))
				ip(t, "addr", "add", at[i].String()+"/64", "dev", card, "nodad")
			} else {
				ip(t, "addr", "add", at[i].String()+"/24", "dev", card)
			}
			b.phones[i] = newHandset(t, i, far, cable, l)
			cards = append(cards, card)
		}
		set := func(file string, on bool) {
			v := "0"
			if on {
				v = "1"
			}
			if err := os.WriteFile("/proc/sys/net/"+file, []byte(v), 0); err != nil {
				t.Fatal(err)
			}
		}
		set("ipv4/ip_forward", l.forward)
		set("ipv6/conf/all/forwarding", l.forward)
	}
	cfg := media.Config{Timeout: l.timeout}
	if !l.kernelOff {
		k, err := xdp.Open(xdp.Options{Low: 20000, High: 21999, Cards: cards})
		if err != nil {
			t.Logf("not in the kernel: %v", err)
		} else {
			b.kernel, cfg.Kernel = k, k
			cfg.Low, cfg.High = 20000, 21999
		}
	}
	b.house = media.NewEngine(cfg)
	t.Cleanup(func() {
		b.house.Close()
		if b.kernel != nil {
			if err := b.kernel.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	for i, p := range b.phones {
		s, err := b.house.Open(at[i])
		if err != nil {
			t.Fatal(err)
		}
		p.session = s
		p.offer("sendrecv")
		s.Established()
	}
	return b
}

// until waits for a condition while the telephones talk.
func (b *lab) until(what string, ok func() bool) {
	b.t.Helper()
	for range 600 { // 12 s
		if ok() {
			return
		}
		b.beat()
	}
	b.t.Fatalf("in vain: %s (in the kernel: %d)", what, b.house.Stats().InKernel)
}

// handed waits until the call is in the kernel, where there is one.
func (b *lab) handed() {
	b.t.Helper()
	if b.kernel == nil {
		for range 30 {
			b.beat()
		}
	} else {
		b.until("handed over", func() bool { return b.house.Stats().InKernel == 2 })
	}
}

// taken checks that the call is not there.
func (b *lab) taken(why string) {
	b.t.Helper()
	if n := b.house.Stats().InKernel; n != 0 {
		b.t.Fatalf("%s: %d sessions in the kernel", why, n)
	}
}

// beat is 20 ms: each telephone sends a packet and hears what there is.
func (b *lab) beat() {
	for _, p := range b.phones {
		p.talk()
	}
	<-time.After(20 * time.Millisecond)
	for _, p := range b.phones {
		p.hear()
	}
}

// handset is a telephone.
type handset struct {
	t       *testing.T
	session *media.Session
	conn    *net.UDPConn
	ssrc    uint32
	seq     uint16
	ts      uint32
	sent    int
	mute    bool
	prompts bool // not only the other telephone is heard

	got, gaps, breaks int
	first             bool
	lastSeq           uint16
	lastTS, lastSSRC  uint32
	ssrcs             int
	wrongSource       int
	hops              map[int]int
}

// newHandset makes a telephone in a namespace of its own, which has the card.
func newHandset(t *testing.T, i int, at netip.Addr, card string, l layout) *handset {
	t.Helper()
	p := &handset{t: t, ssrc: uint32(100 + i), seq: uint16(65000 + 300*i), ts: uint32(i) - 20000, hops: map[int]int{}}
	failed := make(chan error)
	started := make(chan int)
	settled := make(chan struct{})
	if card == "" {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		if err != nil {
			t.Fatal(err)
		}
		p.use(c)
		return p
	}
	go func() { // its thread ends with it, and the namespace with the socket
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			failed <- err
			return
		}
		started <- unix.Gettid()
		<-settled
		run := func(args ...string) error {
			if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
			}
			return nil
		}
		mask, extra := "/24", []string(nil)
		if at.Is6() {
			mask, extra = "/64", []string{"nodad"}
		}
		err := run("link", "set", card, "up")
		if l.full && err == nil {
			err = checksums(card)
		}
		if err == nil {
			err = run(append([]string{"addr", "add", at.String() + mask, "dev", card}, extra...)...)
		}
		gate := netip.MustParseAddr(strings.TrimSuffix(at.String(), "2") + "1")
		if err == nil {
			err = run("route", "add", "default", "via", gate.String())
		}
		if err == nil {
			var c *net.UDPConn
			if c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0))); err == nil {
				p.use(c)
			}
		}
		failed <- err
	}()
	select {
	case err := <-failed:
		t.Fatal(err)
	case tid := <-started:
		ip(t, "link", "set", card, "netns", strconv.Itoa(tid))
		close(settled)
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// checksums makes a card leave no checksum to hardware: ethtool -K card tx off.
func checksums(card string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_STXCSUM}
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:], card)
	request.data = unsafe.Pointer(&value)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("checksums of %s: %w", card, errno)
	}
	return nil
}

func (p *handset) use(c *net.UDPConn) {
	p.conn = c
	p.t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
		})
	}
	if err != nil {
		p.t.Error(err)
	}
}

func (p *handset) at() netip.AddrPort { return p.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// offer sends SDP in this direction.
func (p *handset) offer(direction string) {
	p.t.Helper()
	version := "4"
	if p.at().Addr().Is6() {
		version = "6"
	}
	sdp := fmt.Sprintf("v=0\r\no=- 1 1 IN IP%s %s\r\ns=-\r\nc=IN IP%[1]s %[2]s\r\nt=0 0\r\nm=audio %d RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=%s\r\n",
		version, p.at().Addr(), p.at().Port(), direction)
	if _, err := p.session.Answer([]byte(sdp)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *handset) packet(number byte, size int) []byte {
	b := make([]byte, 12+size)
	b[0], b[1] = 0x80, number
	binary.BigEndian.PutUint16(b[2:], p.seq)
	binary.BigEndian.PutUint32(b[4:], p.ts)
	binary.BigEndian.PutUint32(b[8:], p.ssrc)
	for i := range size {
		b[12+i] = byte(i)
	}
	return b
}

func (p *handset) send(b []byte) {
	if _, err := p.conn.WriteToUDPAddrPort(b, p.session.Local()); err != nil {
		p.t.Error(err)
	}
}

func (p *handset) talk() {
	if p.mute {
		return
	}
	p.send(p.packet(0, 160))
	p.sent++
	p.step()
}

func (p *handset) step() { p.seq++; p.ts += 160 }

// hear takes all that has come and looks whether it is one stream without a break.
func (p *handset) hear() {
	buf, control := make([]byte, 1500), make([]byte, 256)
	for {
		if err := p.conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			p.t.Error(err)
		}
		n, oob, _, from, err := p.conn.ReadMsgUDPAddrPort(buf, control)
		if err != nil {
			return
		}
		if from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port()); from != p.session.Local() {
			p.wrongSource++
			continue
		}
		if cmsgs, err := unix.ParseSocketControlMessage(control[:oob]); err == nil {
			for _, m := range cmsgs {
				if len(m.Data) >= 4 {
					p.hops[int(binary.NativeEndian.Uint32(m.Data))]++
				}
			}
		}
		seq, ts, ssrc := binary.BigEndian.Uint16(buf[2:]), binary.BigEndian.Uint32(buf[4:]), binary.BigEndian.Uint32(buf[8:])
		if buf[1]&0x7f == 0 && n == 172 && buf[12+100] != 100 && !p.prompts {
			p.t.Errorf("sound was changed")
		}
		p.got++
		if ssrc != p.lastSSRC {
			p.ssrcs++
		}
		if p.first && ssrc == p.lastSSRC {
			if step := seq - p.lastSeq; step != 1 {
				p.gaps += int(int16(step)) - 1
			}
			if buf[1]&0x7f == 0 && int32(ts-p.lastTS) <= 0 {
				p.breaks++
			}
		}
		p.first, p.lastSeq, p.lastTS, p.lastSSRC = true, seq, ts, ssrc
	}
}

// whole checks that a telephone heard one stream without a gap, and all that the other said.
func (b *lab) whole() {
	b.t.Helper()
	b.beat()
	for i, p := range b.phones {
		if p.ssrcs != 1 || p.gaps != 0 || p.breaks != 0 || p.wrongSource != 0 {
			b.t.Errorf("telephone %d heard %d packets: %d SSRCs, %d numbers missing, time went back %d times, %d from elsewhere", i, p.got, p.ssrcs, p.gaps, p.breaks, p.wrongSource)
		}
		st := p.session.Stats()
		if st.Received != uint64(p.sent) || st.Lost != 0 || st.Duplicates != 0 || st.Late != 0 || st.Stray != 0 {
			b.t.Errorf("telephone %d sent %d packets: %+v", i, p.sent, st)
		}
		if other := b.phones[1-i]; st.Sent != uint64(p.got) || p.got < other.sent-5 {
			b.t.Errorf("telephone %d got %d packets of %d said; the house says it sent %d", i, p.got, other.sent, st.Sent)
		}
		if len(p.hops) != 1 || p.hops[64] == 0 {
			b.t.Errorf("hops of what came: %v", p.hops)
		}
	}
}

// listen lets somebody listen; it returns when it takes effect.
func (b *lab) listen(s *media.Session) (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Listen(ctx, deaf{}) }()
	b.until("somebody listens", func() bool { return b.house.Stats().InKernel == 0 })
	return func() { cancel(); <-done }
}

type deaf struct{}

func (deaf) WriteFrame(*media.Frame) error { return nil }

// programs are the cards that have one.
func programs(t *testing.T) []string {
	out, err := exec.Command("ip", "-o", "link", "show").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	var with []string
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.Contains(line, "xdp") {
			with = append(with, strings.Fields(line)[1])
		}
	}
	return with
}
