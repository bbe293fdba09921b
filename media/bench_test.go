package media

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

// sunk is a conn that swallows what is sent.
type sunk struct{ n int }

func (c *sunk) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, ErrClosed
}

func (c *sunk) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { c.n++; return len(b), nil }
func (c *sunk) Close() error                                               { return nil }

var benchPeer = netip.MustParseAddrPort("192.0.2.1:4000")

// numberOf are the payload numbers of these tests.
var numberOf = map[kind]uint8{kindPCMU: 0, kindPCMA: 8, kindG722: 9, kindOpus: 96, kindEvent: 101, kindEvent48: 102}

// bridged is two sessions joined, without their read loops.
func bridged(from, to kind) (a *Session, out *sunk) {
	e := &Engine{cfg: Config{Timeout: time.Minute, Log: discard()}}
	out = &sunk{}
	a = newSession(e, pair{rtp: &sunk{}, rtcp: &sunk{}})
	b := newSession(e, pair{rtp: out, rtcp: &sunk{}})
	agree := func(s *Session, k kind) {
		t := &terms{audio: k, number: numberOf[k], event: 101, keys: kindEvent, events: true, remote: benchPeer, direction: both, ptime: 20}
		for k, number := range numberOf {
			t.recv[number] = k
		}
		s.agree(t)
	}
	agree(a, from)
	agree(b, to)
	Join(a, b)
	return a, out
}

func rtpPacket(number uint8) []byte {
	b := make([]byte, headerSize+narrowFrame)
	(&header{number: number, ssrc: 7}).write(b)
	return b
}

func relayOne(a *Session, p *packet, raw []byte, i int) {
	binary.BigEndian.PutUint16(raw[2:], uint16(i))
	binary.BigEndian.PutUint32(raw[4:], uint32(i*narrowFrame))
	binary.BigEndian.PutUint32(raw[8:], 7)
	raw[1] = byte(p.number)
	p.buf, p.from, p.at = raw, benchPeer, p.at.Add(frameTime)
	a.take(p)
}

// BenchmarkRelay is all that happens to a packet between two sockets.
func BenchmarkRelay(b *testing.B) {
	for name, to := range map[string]kind{"same codec": kindPCMU, "other codec": kindPCMA} {
		b.Run(name, func(b *testing.B) {
			a, out := bridged(kindPCMU, to)
			raw, p, i := rtpPacket(0), &packet{at: time.Now()}, 0
			b.ReportAllocs()
			for b.Loop() {
				p.number = 0
				relayOne(a, p, raw, i)
				i++
			}
			if out.n < i-1 {
				b.Fatalf("%d of %d packets sent", out.n, i)
			}
		})
	}
}

// TestRelayAllocatesNothing, neither with one codec nor with two, nor when packets are cut anew.
func TestRelayAllocatesNothing(t *testing.T) {
	for _, to := range []kind{kindPCMU, kindPCMA} {
		for _, ptime := range []int{20, 30} {
			a, out := bridged(kindPCMU, to)
			other := a.sink.Load().to
			terms := *other.terms.Load()
			terms.ptime = ptime
			other.agree(&terms)
			raw, p, i := rtpPacket(0), &packet{at: time.Now()}, 0
			allocs := testing.AllocsPerRun(2000, func() {
				p.number = 0
				relayOne(a, p, raw, i)
				i++
			})
			if allocs != 0 || out.n < 1300 {
				t.Errorf("%s, %d ms: %.2f allocations a packet, %d sent", to.name(), ptime, allocs, out.n)
			}
		}
	}
}

// TestLongCall relays three quarters of an hour, past all that comes round again: numbers and timestamps
// go on without a break.
func TestLongCall(t *testing.T) {
	a, _ := bridged(kindPCMU, kindPCMA)
	other := a.sink.Load().to
	raw, p := rtpPacket(0), &packet{at: time.Now()}
	relayOne(a, p, raw, 0)
	seq, ts, sent := other.out.seq, other.out.ts, other.out.packets
	const packets = 45 * 60 * 50
	for i := 1; i <= packets; i++ {
		p.number = 0
		relayOne(a, p, raw, i)
	}
	o := other.out
	if o.packets-sent != packets || o.seq-seq != uint16(packets&0xffff) || o.ts-ts != packets*narrowFrame {
		t.Errorf("%d of %d packets sent, number %d after %d, timestamp %d after %d", o.packets-sent, packets, o.seq, seq, o.ts, ts)
	}
	if st := a.Stats(); st.Lost != 0 || st.Late != 0 || st.Duplicates != 0 {
		t.Errorf("%+v", st)
	}
}

// BenchmarkLoopback relays over this machine's loopback: first a loop that does nothing but
// receive and send, then our bridge. Both get the same packets from the same sender, one at a
// time, so packets/s counts round trips.
func BenchmarkLoopback(b *testing.B) {
	local := netip.MustParseAddrPort("127.0.0.1:0")
	listen := func() *net.UDPConn {
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(local))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Close() })
		return c
	}
	at := func(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

	// drive keeps a window of packets on the way.
	drive := func(b *testing.B, caller, callee *net.UDPConn, to netip.AddrPort) {
		const window = 16
		raw, buf := rtpPacket(0), make([]byte, 2000)
		sent, got := 0, 0
		send := func() {
			binary.BigEndian.PutUint16(raw[2:], uint16(sent))
			binary.BigEndian.PutUint32(raw[4:], uint32(sent*narrowFrame))
			sent++
			if _, err := caller.WriteToUDPAddrPort(raw, to); err != nil {
				b.Fatal(err)
			}
		}
		before := cpuTime()
		b.ReportAllocs()
		b.ResetTimer()
		for got < b.N {
			for sent < b.N && sent-got < window {
				send()
			}
			if err := callee.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				b.Fatal(err)
			}
			if _, _, err := callee.ReadFromUDPAddrPort(buf); err != nil {
				b.Fatal(err)
			}
			got++
		}
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
		b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/packet")
	}

	b.Run("bare", func(b *testing.B) {
		caller, in, callee := listen(), listen(), listen()
		done := make(chan struct{})
		go func() {
			defer close(done)
			buf := make([]byte, packetSize)
			for {
				n, _, err := in.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				if _, err := in.WriteToUDPAddrPort(buf[:n], at(callee)); err != nil {
					return
				}
			}
		}()
		drive(b, caller, callee, at(in))
		in.Close()
		<-done
	})
	b.Run("bridge", func(b *testing.B) {
		e := NewEngine(Config{})
		defer e.Close()
		caller, callee := listen(), listen()
		var sessions [2]*Session
		for i, c := range []*net.UDPConn{caller, callee} {
			s, err := e.Open(local.Addr())
			if err != nil {
				b.Fatal(err)
			}
			offer := statement{addr: at(c), direction: both, ptime: 20, formats: []format{{number: 0, kind: kindPCMU}}}
			body, err := offer.marshal(1)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Answer(body); err != nil {
				b.Fatal(err)
			}
			sessions[i] = s
		}
		Join(sessions[0], sessions[1])
		drive(b, caller, callee, sessions[0].Local())
	})
}

// cpuTime is what this process has used, sender and receiver of the benchmark included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkCodec(b *testing.B) {
	samples, code := sine(1000, narrowRate, narrowFrame, 0.5), make([]byte, narrowFrame)
	back := make([]int16, narrowFrame)
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			kindPCMU.encode(code, samples)
		}
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			kindPCMU.decode(back, code)
		}
	})
	b.Run("convert", func(b *testing.B) {
		for b.Loop() {
			convert(code, kindPCMU, kindPCMA)
		}
	})
	b.Run("halve", func(b *testing.B) {
		var h halver
		var wide Frame
		for b.Loop() {
			h.halve(back, wide[:])
		}
	})
	b.Run("double", func(b *testing.B) {
		var d doubler
		var wide Frame
		for b.Loop() {
			d.double(wide[:], back)
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	offer, err := os.ReadFile("testdata/sdp/linphone-5.1.offer")
	if err != nil {
		b.Fatal(err)
	}
	a, _ := bridged(kindPCMU, kindPCMU)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Answer(offer); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlay is one packet of hold music for one listener.
func BenchmarkPlay(b *testing.B) {
	a, _ := bridged(kindPCMU, kindPCMU)
	src, p := NewLibrary("").Music(), &player{}
	var f Frame
	a.out.enter(p)
	b.ReportAllocs()
	for b.Loop() {
		if err := src.ReadFrame(&f); err != nil {
			b.Fatal(err)
		}
		a.out.speak(p, f[:])
	}
}
