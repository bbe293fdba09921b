package media_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// TestOneStreamFromManySources: prompt, bridge, music, keys and bridge again are one stream to
// the peer, each stretch with its marker.
func TestOneStreamFromManySources(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
		alice, bob := newPeer(t, n, aliceAddr), newPeer(t, n, bobAddr)
		alice.agree(t, a)
		bob.agree(t, b)
		library := media.NewLibrary("")
		if err := b.Play(t.Context(), library.Prompt("goodbye")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(700 * time.Millisecond)
		media.Join(a, b)
		alice.talk(a.Local(), 50)
		stop := play(b, library.Music())
		alice.talk(a.Local(), 50) // not heard: music is
		stop()
		alice.talk(a.Local(), 50)
		if err := b.Press(t.Context(), "5"); err != nil {
			t.Fatal(err)
		}
		alice.talk(a.Local(), 50)
		time.Sleep(5 * time.Millisecond)
		got := bob.take()
		steady(t, without(got, 101))
		markers := 0
		for _, r := range got {
			if r.marker() {
				markers++
			}
		}
		if markers != 6 {
			t.Errorf("%d markers, want 6", markers)
		}
	})
}

// without drops the packets of one payload number and closes up the numbers.
func without(got []received, number uint8) []received {
	var out []received
	skipped := uint16(0)
	for _, r := range got {
		if r.number() == number {
			skipped++
			continue
		}
		r.packet = append([]byte(nil), r.packet...)
		seq := r.seq() - skipped
		r.packet[2], r.packet[3] = byte(seq>>8), byte(seq)
		out = append(out, r)
	}
	return out
}

// TestImpairment: loss, disorder and duplicates of 1 to 20 % go through the bridge as they
// are, but for the duplicates; the counters tell the truth, and nothing piles up.
func TestImpairment(t *testing.T) {
	for _, percent := range []int{0, 1, 5, 10, 20} {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
			dice := rand.New(rand.NewPCG(1, uint64(percent)))
			lost, doubled := 0, 0
			n.Judge = func(from, to netip.AddrPort, _ []byte) mediatest.Fate {
				if to != a.Local() || dice.IntN(100) >= percent {
					return mediatest.Fate{}
				}
				switch dice.IntN(3) {
				case 0:
					lost++
					return mediatest.Fate{Drop: true}
				case 1:
					doubled++
					return mediatest.Fate{Copies: 1}
				}
				return mediatest.Fate{Delay: time.Duration(20+dice.IntN(60)) * time.Millisecond}
			}
			alice, bob := newPeer(t, n, aliceAddr), newPeer(t, n, bobAddr)
			alice.agree(t, a)
			bob.agree(t, b)
			media.Join(a, b)
			const packets = 3000
			alice.talk(a.Local(), packets)
			time.Sleep(100 * time.Millisecond)
			got := bob.take()
			if want := packets - lost; len(got) < want-1 || len(got) > want {
				t.Errorf("%d %%: %d packets came through, want %d", percent, len(got), want)
			}
			seen := map[uint16]bool{}
			for _, r := range got {
				if seen[r.seq()] {
					t.Fatalf("%d %%: number %d twice", percent, r.seq())
				}
				seen[r.seq()] = true
				// Number and timestamp stay together, however the packets are shuffled.
				if r.ts()-got[0].ts() != 160*uint32(r.seq()-got[0].seq()) {
					t.Fatalf("%d %%: number %d has a wrong timestamp", percent, r.seq())
				}
			}
			st := a.Stats()
			if int(st.Lost) < lost-2 || int(st.Lost) > lost || int(st.Duplicates) != doubled {
				t.Errorf("%d %%: lost %d, doubled %d; counted %+v", percent, lost, doubled, st)
			}
		})
	}
}

// TestOtherCodec: the two laws meet in a bridge; both hear the right tone.
func TestOtherCodec(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		alice, bob := newPhone(t, n, aliceAddr), newPhone(t, n, bobAddr)
		defer alice.hangUp()
		defer bob.hangUp()
		a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
		for _, c := range []struct {
			phone *phone
			s     *media.Session
			codec string
		}{{alice, a, "PCMU"}, {bob, b, "PCMA"}} {
			c.phone.Restrict([]string{c.codec})
			connect(t, c.phone.Session, c.s)
		}
		if a.Codec() != "PCMU" || b.Codec() != "PCMA" {
			t.Fatalf("%s and %s", a.Codec(), b.Codec())
		}
		media.Join(a, b)
		alice.say(mediatest.Say(600))
		bob.say(mediatest.Say(1500))
		alice.mustHear(t, 1500)
		bob.mustHear(t, 600)
		if level := bob.ear.Level(); level < -20 || level > -14 {
			t.Errorf("%.1f dBFS", level)
		}
	})
}

// TestPacketLength: each peer gets packets of the length that it asked for, from a player and
// through a bridge, whatever the other sends.
func TestPacketLength(t *testing.T) {
	for _, c := range []struct{ sends, wants int }{{20, 10}, {10, 20}, {20, 30}, {30, 20}, {20, 40}, {20, 60}, {60, 20}, {20, 20}} {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
			alice, bob := newPeer(t, n, aliceAddr), newPeer(t, n, bobAddr)
			alice.agree(t, a)
			bob.agree(t, b, "m=audio 6000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000", "a=ptime:"+itoa(c.wants))
			stop := play(b, mediatest.Say(400))
			time.Sleep(time.Second)
			stop()
			media.Join(a, b)
			for range 2000 / c.sends {
				alice.send(a.Local(), 0, pattern(8*c.sends))
				alice.ts += uint32(8 * c.sends)
				time.Sleep(time.Duration(c.sends) * time.Millisecond)
			}
			time.Sleep(100 * time.Millisecond)
			got := bob.take()
			steadyWithin(t, got, 60*8+80) // what is gathered waits for the packet to be full
			if len(got) < 2900/c.wants {
				t.Errorf("%d ms to %d ms: %d packets", c.sends, c.wants, len(got))
			}
			for i, r := range got {
				if len(r.payload()) != 8*c.wants {
					t.Fatalf("%d ms to %d ms: packet %d of %d octets", c.sends, c.wants, i, len(r.payload()))
				}
			}
		})
	}
}

func itoa(n int) string { return string(rune('0'+n/10)) + string(rune('0'+n%10)) }

// TestComfortNoise is accepted and goes nowhere; what follows closes up.
func TestComfortNoise(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
		alice, bob := newPeer(t, n, aliceAddr), newPeer(t, n, bobAddr)
		alice.agree(t, a)
		bob.agree(t, b)
		media.Join(a, b)
		for range 10 {
			alice.talk(a.Local(), 10)
			alice.send(a.Local(), 13, []byte{40})
			alice.send(a.Local(), 77, []byte{1, 2, 3}) // a number of RTCP
			alice.seq--
			alice.ts += 1600
			time.Sleep(200 * time.Millisecond)
			alice.mark = true
		}
		got := bob.take()
		steady(t, got)
		if len(got) != 100 {
			t.Errorf("%d packets", len(got))
		}
		if st := a.Stats(); st.Lost != 0 || st.Unknown != 0 || st.Malformed != 10 {
			t.Errorf("%+v", st)
		}
	})
}

// TestEcho sends everything back, keys too.
func TestEcho(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		alice := newPhone(t, n, aliceAddr)
		defer alice.hangUp()
		s := open(t, house, pbxAddr)
		connect(t, alice.Session, s)
		echo := media.Echo(s)
		alice.say(mediatest.Say(900))
		alice.mustHear(t, 900)
		alice.hush()
		if err := alice.Press(t.Context(), "1#"); err != nil {
			t.Fatal(err)
		}
		for _, want := range "1#" {
			if got := <-alice.Digits(); got != want {
				t.Errorf("key %c, want %c", got, want)
			}
		}
		echo.Close()
		alice.say(mediatest.Say(900))
		time.Sleep(time.Second)
		if f := alice.ear.Freq(); f != 0 {
			t.Errorf("hears %.0f Hz after the echo", f)
		}
	})
}

// TestNewerBridgeStays: closing an old bridge does not part those who were joined anew.
func TestNewerBridgeStays(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		a, b, c := open(t, house, pbxAddr), open(t, house, pbxAddr), open(t, house, pbxAddr)
		alice, bob, carol := newPeer(t, n, aliceAddr), newPeer(t, n, bobAddr), newPeer(t, n, netip.MustParseAddr("10.0.0.4"))
		alice.agree(t, a)
		bob.agree(t, b)
		carol.agree(t, c)
		old := media.Join(a, b)
		alice.talk(a.Local(), 10)
		media.Join(a, c)
		old.Close()
		bob.take()
		alice.talk(a.Local(), 10)
		bob.talk(b.Local(), 10)
		if len(bob.take()) > 0 || carol.count() < 10 || alice.count() > 0 {
			t.Errorf("bob heard something, carol %d, alice %d packets", carol.count(), alice.count())
		}
	})
}

// TestSilent: a peer that vanishes is missed after the time-out, and only then; when it comes
// back the next silence is a new one.
func TestSilent(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		alice := newPeer(t, n, aliceAddr)
		missed := func() bool {
			select {
			case <-s.Silent():
				return true
			default:
				return false
			}
		}
		if _, err := s.Answer(sdpOf("m=audio 6000 RTP/AVP 0")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if missed() {
			t.Error("missed while it rang")
		}
		s.Established()
		time.Sleep(28 * time.Second)
		if missed() {
			t.Error("missed too early")
		}
		time.Sleep(4 * time.Second)
		if !missed() {
			t.Error("one that never spoke is not missed")
		}
		alice.talk(s.Local(), 100)
		if missed() {
			t.Error("missed while it talks")
		}
		time.Sleep(28 * time.Second)
		if missed() {
			t.Error("missed too early again")
		}
		time.Sleep(4 * time.Second)
		if !missed() {
			t.Error("not missed again")
		}
	})
}

// TestReflection: a peer that sends back our very packets, as some test tools do, makes us take another
// SSRC (RFC 3550 §8.2), but only once.
func TestReflection(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s, other := open(t, house, pbxAddr), open(t, house, pbxAddr)
		mirror, listener := newPeer(t, n, aliceAddr), newPeer(t, n, bobAddr)
		mirror.agree(t, s)
		listener.agree(t, other)
		media.Join(s, other)
		stop := play(s, mediatest.Say(500))
		names := map[uint32]bool{}
		for range 200 {
			time.Sleep(20 * time.Millisecond)
			for _, r := range mirror.take() {
				names[r.ssrc()] = true
				if _, err := mirror.conn.WriteToUDPAddrPort(r.packet, s.Local()); err != nil {
					t.Fatal(err)
				}
			}
		}
		stop()
		got := listener.take()
		steady(t, got)
		if len(got) < 195 || len(names) != 2 {
			t.Errorf("%d packets of 200 came through, %d SSRCs", len(got), len(names))
		}
	})
}
