package xdp_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/xdp"
)

// TestRelay lets a call go into the kernel and stay there for a while, and hears one stream without a break.
func TestRelay(t *testing.T) {
	for name, l := range map[string]layout{
		"cards": {}, "routes": {forward: true}, "IPv6": {v6: true}, "IPv6routes": {v6: true, forward: true},
		"checksums": {full: true}, "IPv6checksums": {v6: true, full: true}, "bridge": {bridge: true}, "loopback": {loopback: true},
	} {
		t.Run(name, func(t *testing.T) {
			if !inLab(t) {
				return
			}
			if os.Getenv(inside) == "outside" && name != "loopback" {
				t.Log("not without a namespace")
				return
			}
			b := newLab(t, l)
			media.Join(b.phones[0].session, b.phones[1].session)
			b.handed()
			for range 60 {
				b.beat()
			}
			b.handed() // still
			b.whole()
		})
	}
}

// TestThereAndBack lets somebody listen in between.
func TestThereAndBack(t *testing.T) {
	if !inLab(t) {
		return
	}
	b := newLab(t, layout{})
	media.Join(b.phones[0].session, b.phones[1].session)
	for range 2 {
		b.handed()
		for range 20 {
			b.beat()
		}
		stop := b.listen(b.phones[0].session)
		for range 20 {
			b.beat()
		}
		b.taken("somebody listens")
		stop()
		b.whole()
	}
}

// TestTakenBack takes a call back for everything that needs its packets.
func TestTakenBack(t *testing.T) {
	if !inLab(t) {
		return
	}
	b := newLab(t, layout{})
	a, c := b.phones[0].session, b.phones[1].session
	b.phones[0].prompts = true
	bridge := media.Join(a, c)
	for _, reason := range []struct {
		name string
		do   func() (undo func())
	}{
		{"a listener", func() func() { return b.listen(c) }},
		{"hold", func() func() {
			b.phones[0].offer("sendonly")
			return func() { b.phones[0].offer("sendrecv") }
		}},
		{"a prompt", func() func() {
			done := make(chan struct{})
			go func() { defer close(done); _ = a.Play(t.Context(), media.Tone(440, time.Second)) }()
			b.until("prompt", func() bool { return b.house.Stats().InKernel == 0 })
			return func() { <-done }
		}},
		{"parting", func() func() {
			bridge.Close()
			return func() { bridge = media.Join(a, c) }
		}},
		{"an echo", func() func() {
			media.Echo(a)
			return func() { bridge = media.Join(a, c) }
		}},
	} {
		b.handed()
		undo := reason.do()
		b.taken(reason.name)
		undo()
	}
	b.handed()
	for i, p := range b.phones {
		if p.ssrcs != 1 || p.gaps != 0 {
			t.Errorf("telephone %d: %d SSRCs, %d numbers missing", i, p.ssrcs, p.gaps)
		}
		if st := p.session.Stats(); st.Received != uint64(p.sent) || st.Lost != 0 {
			t.Errorf("telephone %d sent %d: %+v", i, p.sent, st)
		}
	}
	a.Close()
	b.taken("the end")
}

// TestDigits presses a key in a call that the kernel relays.
func TestDigits(t *testing.T) {
	if !inLab(t) {
		return
	}
	b := newLab(t, layout{})
	media.Join(b.phones[0].session, b.phones[1].session)
	b.handed()
	p := b.phones[0]
	p.mute = true
	start := p.ts
	for i := range 8 {
		packet := p.packet(101, 4)
		binary.BigEndian.PutUint32(packet[4:], start)
		copy(packet[12:], []byte{5, 10, 0, 0})
		binary.BigEndian.PutUint16(packet[14:], uint16(160*(min(i, 5)+1)))
		if i == 0 {
			packet[1] |= 0x80
		}
		if i > 4 {
			packet[13] |= 0x80
		}
		p.send(packet)
		p.sent++
		p.step()
		b.beat()
	}
	p.mute = false
	select {
	case d := <-p.session.Digits():
		if d != '5' {
			t.Errorf("digit %c", d)
		}
	case <-time.After(time.Second):
		t.Error("no digit")
	}
	b.handed()
	b.whole()
}

// TestCounters loses, repeats and disorders packets in the kernel, and counts like user space.
func TestCounters(t *testing.T) {
	if !inLab(t) {
		return
	}
	b := newLab(t, layout{})
	media.Join(b.phones[0].session, b.phones[1].session)
	b.handed()
	p := b.phones[0]
	before := p.session.Stats()
	p.mute = true
	sent, lost, twice, late := 0, 0, 0, 0
	for i := range 100 {
		switch {
		case i%20 == 7: // lost
			lost++
		case i%20 == 11:
			p.send(p.packet(0, 160))
			p.send(p.packet(0, 160))
			sent++
			twice++
		case i%20 == 15: // after the next
			seq, ts := p.seq, p.ts
			p.step()
			p.send(p.packet(0, 160))
			p.seq, p.ts = seq, ts
			p.send(p.packet(0, 160))
			p.step()
			sent += 2
			late++
		default:
			p.send(p.packet(0, 160))
			sent++
		}
		p.step()
		b.beat()
	}
	if b.kernel != nil && b.house.Stats().InKernel != 2 {
		t.Error("the call left the kernel")
	}
	st := p.session.Stats()
	if got := st.Received - before.Received; got != uint64(sent) || st.Lost != uint64(lost) || st.Duplicates != uint64(twice) || st.Late != uint64(late) {
		t.Errorf("sent %d, lost %d, twice %d, late %d: received %d, %+v", sent, lost, twice, late, got, st)
	}
	b.phones[1].hear()
	if other := b.phones[1].session.Stats(); other.Sent != uint64(b.phones[1].got) {
		t.Errorf("%d packets sent, %d came", other.Sent, b.phones[1].got)
	}
	if j := st.Jitter; j > 40*time.Millisecond {
		t.Errorf("jitter %s", j)
	}
}

// TestStrangers sends from elsewhere into a call that the kernel relays, and fragments of its own stream beside it: wrong
// sources are counted, and neither is passed on.
func TestStrangers(t *testing.T) {
	if !inLab(t) {
		return
	}
	b := newLab(t, layout{})
	media.Join(b.phones[0].session, b.phones[1].session)
	b.handed()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(b.phones[0].session.Local().Addr(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 10 {
		if _, err := c.WriteToUDPAddrPort(b.phones[0].packet(0, 160), b.phones[0].session.Local()); err != nil {
			t.Fatal(err)
		}
		b.beat()
	}
	b.handed()
	b.beat()
	if st := b.phones[0].session.Stats(); st.Stray != 10 || st.Received != uint64(b.phones[0].sent) || st.Lost != 0 {
		t.Errorf("%d sent: %+v", b.phones[0].sent, st)
	}
	// A longer packet is none that the kernel knows; it comes up and goes on from there.
	p := b.phones[0]
	p.send(p.packet(0, 240))
	p.sent++
	p.seq++
	p.ts += 240
	b.until("taken back", func() bool { return b.kernel == nil || b.house.Stats().InKernel == 0 })
	b.handed()
	b.until("counted", func() bool { st := p.session.Stats(); return st.Received == uint64(p.sent) })
	if st := p.session.Stats(); st.Lost != 0 {
		t.Errorf("%d sent: %+v", p.sent, st)
	}
}

// TestSilence notices that a peer in the kernel fell silent, not before its time.
func TestSilence(t *testing.T) {
	if !inLab(t) {
		return
	}
	b := newLab(t, layout{timeout: 4 * time.Second})
	media.Join(b.phones[0].session, b.phones[1].session)
	b.handed()
	for range 250 { // longer than the time-out
		b.beat()
	}
	silent := b.phones[0].session.Silent()
	select {
	case <-silent:
		t.Fatal("silent though it talks")
	default:
	}
	b.phones[0].mute = true
	start := time.Now()
	b.until("silent", func() bool {
		select {
		case <-silent:
			return true
		default:
			return false
		}
	})
	if d := time.Since(start); d < 3*time.Second {
		t.Errorf("silent after %s", d)
	}
}

// TestPortsAreBounded gives each port once, none outside the range, and none where the program is not.
func TestPortsAreBounded(t *testing.T) {
	if !inLab(t) {
		return
	}
	b := newLab(t, layout{})
	if b.kernel == nil {
		return
	}
	at := b.phones[0].session.Local().Addr()
	port := func(n uint16) netip.AddrPort { return netip.AddrPortFrom(at, n) }
	p := b.kernel.Port(port(21000))
	if p == nil {
		t.Fatal("no port")
	}
	for _, other := range []netip.AddrPort{port(21000), port(21001), port(19998), port(22000), netip.MustParseAddrPort("192.0.2.1:21002")} {
		if b.kernel.Port(other) != nil {
			t.Errorf("%s was given", other)
		}
	}
	p.Close()
	if p = b.kernel.Port(port(21000)); p == nil {
		t.Error("a closed port stays taken")
	} else {
		p.Close()
	}
}

// TestKilled kills the process that has programs on cards: they are gone with it. The same by Close.
func TestKilled(t *testing.T) {
	if !inLab(t) {
		return
	}
	if os.Getenv("PBX_TEST_XDP_VICTIM") != "" {
		if _, err := xdp.Open(xdp.Options{Cards: []string{"card0", "card1"}}); err != nil {
			fmt.Println("not here:", err)
		} else {
			fmt.Println("attached")
		}
		select {}
	}
	if os.Getenv(inside) == "outside" {
		t.Log("not without a namespace")
		return
	}
	ip(t, "link", "add", "card0", "type", "veth", "peer", "name", "card1")
	victim := exec.Command(os.Args[0], "-test.run", "^TestKilled$")
	victim.Env = append(os.Environ(), "PBX_TEST_XDP_VICTIM=yes")
	victim.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(line, "attached") {
		if with := programs(t); len(with) != 2 {
			t.Errorf("programs on %v", with)
		}
	} else {
		t.Log(strings.TrimSpace(line))
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	gone := func() bool { return len(programs(t)) == 0 }
	for range 100 { // the kernel needs a moment
		if gone() {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	if !gone() {
		t.Errorf("programs left on %v", programs(t))
	}
}

// TestCardIsTaken falls back when another program is on the card.
func TestCardIsTaken(t *testing.T) {
	if !inLab(t) {
		return
	}
	b := newLab(t, layout{})
	if b.kernel == nil {
		return
	}
	if _, err := xdp.Open(xdp.Options{Low: 20000, High: 21999, Cards: b.kernel.Cards()}); err == nil {
		t.Error("two programs on a card")
	} else {
		t.Log(err)
	}
	if with := programs(t); len(with) != 2 {
		t.Errorf("the first is gone: %v", with)
	}
	if _, err := xdp.Open(xdp.Options{Cards: []string{"none"}}); err == nil {
		t.Error("a card that is not there")
	}
}
