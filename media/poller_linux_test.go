package media

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// looped is two sessions of this machine's loopback, joined, and their telephones.
func looped(t *testing.T, e *Engine, at netip.Addr) (sessions [2]*Session, phones [2]*net.UDPConn) {
	t.Helper()
	for i := range sessions {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		s, err := e.Open(at)
		if err != nil {
			t.Fatal(err)
		}
		offer := statement{addr: c.LocalAddr().(*net.UDPAddr).AddrPort(), direction: both, ptime: 20, formats: []format{{number: 0, kind: kindPCMU}}}
		body, err := offer.marshal(1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Answer(body); err != nil {
			t.Fatal(err)
		}
		sessions[i], phones[i] = s, c
	}
	Join(sessions[0], sessions[1])
	return sessions, phones
}

// TestPolledRelay relays over sockets that the poller reads, IPv4 and IPv6.
func TestPolledRelay(t *testing.T) {
	for _, at := range []string{"127.0.0.1", "::1"} {
		e := NewEngine(Config{})
		sessions, phones := looped(t, e, netip.MustParseAddr(at))
		if e.poller == nil {
			t.Fatal("no poller")
		}
		raw, buf := rtpPacket(0), make([]byte, packetSize)
		for i := range 50 {
			(&header{seq: uint16(i), ts: uint32(i * 160), ssrc: 7}).write(raw)
			if _, err := phones[0].WriteToUDPAddrPort(raw, sessions[0].Local()); err != nil {
				t.Fatal(err)
			}
			n, from, err := phones[1].ReadFromUDPAddrPort(buf)
			if err != nil {
				t.Fatalf("%s: packet %d: %v", at, i, err)
			}
			if n != len(raw) || from != sessions[1].Local() { // RFC 4961 §4: from where it listens
				t.Fatalf("%s: packet %d: %d octets from %s", at, i, n, from)
			}
		}
		if st := sessions[0].Stats(); st.Received != 50 || st.Lost != 0 {
			t.Errorf("%s: %+v", at, st)
		}
		e.Close()
	}
}

// TestPolledBurst finds all packets of a burst, though the kernel tells only once of those that lie there already.
func TestPolledBurst(t *testing.T) {
	e := NewEngine(Config{})
	defer e.Close()
	sessions, phones := looped(t, e, localhost)
	raw, buf := rtpPacket(0), make([]byte, packetSize)
	const burst = 25
	for round := range 20 {
		for i := range burst {
			n := round*burst + i
			(&header{seq: uint16(n), ts: uint32(n * 160), ssrc: 7}).write(raw)
			if _, err := phones[0].WriteToUDPAddrPort(raw, sessions[0].Local()); err != nil {
				t.Fatal(err)
			}
		}
		for i := range burst {
			if _, _, err := phones[1].ReadFromUDPAddrPort(buf); err != nil {
				t.Fatalf("round %d, packet %d: %v", round, i, err)
			}
		}
	}
}

// TestPolledPathAllocatesNothing from socket to socket.
func TestPolledPathAllocatesNothing(t *testing.T) {
	e := NewEngine(Config{})
	defer e.Close()
	sessions, phones := looped(t, e, localhost)
	raw, buf, i := rtpPacket(0), make([]byte, packetSize), 0
	one := func() {
		(&header{seq: uint16(i), ts: uint32(i * 160), ssrc: 7}).write(raw)
		i++
		if _, err := phones[0].WriteToUDPAddrPort(raw, sessions[0].Local()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := phones[1].ReadFromUDPAddrPort(buf); err != nil {
			t.Fatal(err)
		}
	}
	one()
	// The reports of the sweep may fall into it; they are one in thousands.
	if allocs := testing.AllocsPerRun(2000, one); allocs >= 1 {
		t.Errorf("%.2f allocations a packet", allocs)
	}
}

// TestPolledSessionsLeaveNothing opens and closes sessions while packets come in, and counts open files.
func TestPolledSessionsLeaveNothing(t *testing.T) {
	open := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := open()
	e := NewEngine(Config{})
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(localhost, 0)))
	if err != nil {
		t.Fatal(err)
	}
	raw := rtpPacket(0)
	for range 500 {
		a, err := e.Open(localhost)
		if err != nil {
			t.Fatal(err)
		}
		b, err := e.Open(localhost)
		if err != nil {
			t.Fatal(err)
		}
		Join(a, b)
		for range 3 {
			_, _ = c.WriteToUDPAddrPort(raw, a.Local())
		}
		done := make(chan struct{})
		go func() { b.Close(); close(done) }()
		a.Close()
		<-done
		if _, err := a.rtp.WriteToUDPAddrPort(raw, c.LocalAddr().(*net.UDPAddr).AddrPort()); err == nil {
			t.Fatal("a closed socket sends")
		}
	}
	if st := e.Stats(); st.Sessions != 0 {
		t.Errorf("%d sessions left", st.Sessions)
	}
	c.Close()
	e.Close()
	if after := open(); after > before+1 { // the runtime's own poller, once
		t.Errorf("%d files open, %d before", after, before)
	}
}
