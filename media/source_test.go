package media_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

var (
	natAddr   = netip.MustParseAddrPort("203.0.113.5:41000")
	thiefAddr = netip.MustParseAddrPort("198.51.100.66:5555")
)

func (p *peer) mustGet(t *testing.T, s *media.Session, want bool) {
	t.Helper()
	stop := play(s, mediatest.Say(500))
	p.take()
	time.Sleep(210 * time.Millisecond)
	stop()
	time.Sleep(5 * time.Millisecond)
	if got := len(p.take()); want && got < 9 || !want && got > 0 {
		t.Errorf("%s got %d packets, want some: %t", p.from, got, want)
	}
}

// TestBehindNAT: a private address in the SDP is replaced by the one that sends, once that
// one has sent three packets in sequence; and a new one takes over after a re-INVITE, or
// after silence.
func TestBehindNAT(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		nat := newPeerAt(t, n, natAddr)
		if _, err := s.Answer(sdpOf("m=audio 7000 RTP/AVP 0")); err != nil {
			t.Fatal(err)
		}
		claimed := newPeerAt(t, n, netip.MustParseAddrPort("10.0.0.2:7000"))
		claimed.mustGet(t, s, true) // nothing came yet: where the SDP says
		nat.talk(s.Local(), 2)
		nat.mustGet(t, s, false)
		nat.talk(s.Local(), 3)
		nat.mustGet(t, s, true)
		claimed.mustGet(t, s, false)

		// The same SDP again, a session refresh, moves nothing.
		if _, err := s.Answer(sdpOf("m=audio 7000 RTP/AVP 0")); err != nil {
			t.Fatal(err)
		}
		nat.mustGet(t, s, true)

		// A re-INVITE with a new address, again a private one; the phone sends from a new port.
		if _, err := s.Answer(sdpOf("m=audio 7002 RTP/AVP 0")); err != nil {
			t.Fatal(err)
		}
		moved := newPeerAt(t, n, netip.AddrPortFrom(natAddr.Addr(), 41001))
		moved.talk(s.Local(), 4)
		moved.mustGet(t, s, true)
		nat.mustGet(t, s, false)

		// The router forgets: the same phone comes from yet another port without a word.
		moved.close()
		time.Sleep(3 * time.Second)
		again := newPeerAt(t, n, netip.AddrPortFrom(natAddr.Addr(), 41002))
		again.talk(s.Local(), 8)
		again.mustGet(t, s, true)
	})
}

// TestStreamIsNotStolen: whoever sends to our port while the peer talks gets nothing, is not
// heard, and does not disturb.
func TestStreamIsNotStolen(t *testing.T) {
	for name, behindNAT := range map[string]bool{"address as told": false, "behind NAT": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
				s, other := open(t, house, pbxAddr), open(t, house, pbxAddr)
				listener := newPeer(t, n, bobAddr)
				listener.agree(t, other)
				media.Join(s, other)
				phone := newPeer(t, n, aliceAddr)
				if behindNAT {
					phone = newPeerAt(t, n, natAddr)
				}
				phone.agree(t, s, "m=audio 6000 RTP/AVP 0")
				phone.talk(s.Local(), 5)
				thief := newPeerAt(t, n, thiefAddr)
				thief.ssrc = phone.ssrc // even so
				listener.take()
				for range 200 {
					phone.talk(s.Local(), 1)
					for range 5 {
						thief.send(s.Local(), 0, bytes.Repeat([]byte{0x55}, 160))
						thief.ts += 160
					}
				}
				heard := listener.take()
				if len(heard) < 199 {
					t.Errorf("%d of 200 packets came through", len(heard))
				}
				for _, r := range heard {
					if r.payload()[0] == 0x55 {
						t.Fatal("the thief is heard")
					}
				}
				thief.mustGet(t, s, false)
				phone.mustGet(t, s, true)
				if st := s.Stats(); st.Stray < 1000 {
					t.Errorf("%d strays counted", st.Stray)
				}
			})
		})
	}
}

// TestLateOwnerWins: one that was believed for want of a better gives way to the address
// that the SDP tells, and to the host that signals.
func TestLateOwnerWins(t *testing.T) {
	for name, owner := range map[string]netip.AddrPort{
		"told":   netip.MustParseAddrPort("10.0.0.2:6000"),
		"signal": netip.MustParseAddrPort("203.0.113.5:9000"),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
				s := open(t, house, pbxAddr)
				s.Expect(netip.MustParseAddr("203.0.113.5"))
				thief := newPeerAt(t, n, thiefAddr)
				if _, err := s.Answer(sdpOf("m=audio 6000 RTP/AVP 0")); err != nil {
					t.Fatal(err)
				}
				thief.talk(s.Local(), 5)
				phone := newPeerAt(t, n, owner)
				for range 10 {
					phone.talk(s.Local(), 1)
					thief.talk(s.Local(), 1)
				}
				phone.mustGet(t, s, true)
				thief.mustGet(t, s, false)
			})
		})
	}
}

// TestFloodHidesNobody: strays from a thousand addresses do not keep the phone from being found.
func TestFloodHidesNobody(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		s.Expect(natAddr.Addr())
		if _, err := s.Answer(sdpOf("m=audio 6000 RTP/AVP 0")); err != nil {
			t.Fatal(err)
		}
		phone := newPeerAt(t, n, natAddr)
		stray := &peer{ssrc: 1}
		for i := range 1000 {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 4000)
			n.Send(from, s.Local(), stray.packet(0, pattern(160)))
			if i%20 == 0 {
				phone.talk(s.Local(), 1)
			}
		}
		phone.mustGet(t, s, true)
	})
}

// TestNewSSRC: a peer may begin a new stream from the same address; two packets prove it.
func TestNewSSRC(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s, other := open(t, house, pbxAddr), open(t, house, pbxAddr)
		phone, listener := newPeer(t, n, aliceAddr), newPeer(t, n, bobAddr)
		phone.agree(t, s)
		listener.agree(t, other)
		media.Join(s, other)
		phone.talk(s.Local(), 50)
		phone.ssrc, phone.seq, phone.ts = 99, 7, 12345
		phone.talk(s.Local(), 50)
		phone.seq, phone.ts = 20000, 1<<31 // a restart with the same SSRC
		phone.talk(s.Local(), 50)
		heard := listener.take()
		if len(heard) < 147 {
			t.Errorf("%d of 150 packets came through", len(heard))
		}
		steady(t, heard)
		if st := s.Stats(); st.Lost > 0 {
			t.Errorf("%d counted as lost", st.Lost)
		}
	})
}

// steady checks what RFC 3550 §5.1 asks of one stream: one SSRC, numbers without a break,
// timestamps that run with the clock.
func steady(t *testing.T, got []received) {
	t.Helper()
	steadyWithin(t, got, 330)
}

func steadyWithin(t *testing.T, got []received, slack int32) {
	t.Helper()
	if len(got) == 0 {
		t.Fatal("nothing was sent")
	}
	first := got[0]
	if !first.marker() {
		t.Error("no marker on the first packet")
	}
	for i, r := range got[1:] {
		if r.ssrc() != first.ssrc() {
			t.Fatalf("packet %d: another SSRC", i+1)
		}
		if r.seq() != got[i].seq()+1 {
			t.Fatalf("packet %d: number %d after %d", i+1, r.seq(), got[i].seq())
		}
		clock := int32(r.at.Sub(first.at) * 8000 / time.Second)
		if off := int32(r.ts()-first.ts()) - clock; off < -slack || off > slack {
			t.Fatalf("packet %d: timestamp is %d samples off the clock", i+1, off)
		}
	}
}
