package media_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"pbx/media"
	"pbx/media/mediatest"
)

// injected is a fault as it happens in the field. It lasts for five seconds.
type injected struct {
	name  string
	want  media.Fault   // class and direction
	setup []string      // the SDP of the phone; none: a usual one
	good  time.Duration // for which all is well before
	run   func(t *testing.T, n *mediatest.Net, s *media.Session, p *peer)
}

// each sends something every 20 ms for five seconds.
func each(f func()) {
	for range 250 {
		f()
		time.Sleep(20 * time.Millisecond)
	}
}

func (p *peer) blast(to netip.AddrPort, number uint8, size int) {
	p.send(to, number, bytes.Repeat([]byte{0x3c}, size))
	p.ts += 160
}

var injectedFaults = []injected{
	{name: "nothing arrives", want: media.Fault{FromPeer: true, Class: media.FaultNothing}, run: func(t *testing.T, n *mediatest.Net, s *media.Session, p *peer) {
		time.Sleep(5 * time.Second)
	}},
	{name: "it stops in the middle", good: 10 * time.Second, want: media.Fault{FromPeer: true, Class: media.FaultNothing}, run: func(t *testing.T, n *mediatest.Net, s *media.Session, p *peer) {
		p.talk(s.Local(), 500)
		time.Sleep(5 * time.Second)
	}},
	{name: "from elsewhere", good: time.Second, want: media.Fault{FromPeer: true, Class: media.FaultElsewhere}, run: func(t *testing.T, n *mediatest.Net, s *media.Session, p *peer) {
		p.talk(s.Local(), 50)
		other := newPeerAt(t, n, thiefAddr)
		each(func() { other.blast(s.Local(), 0, 160) })
	}},
	{
		name: "private address", want: media.Fault{FromPeer: true, Class: media.FaultPrivate}, setup: []string{"m=audio 6000 RTP/AVP 0"},
		run: func(t *testing.T, n *mediatest.Net, s *media.Session, p *peer) { time.Sleep(5 * time.Second) },
	},
	{name: "another codec", want: media.Fault{FromPeer: true, Class: media.FaultCodec}, run: func(t *testing.T, n *mediatest.Net, s *media.Session, p *peer) {
		each(func() { p.blast(s.Local(), 18, 20) })
	}},
	{name: "another codec in the middle", good: 2 * time.Second, want: media.Fault{FromPeer: true, Class: media.FaultCodec}, run: func(t *testing.T, n *mediatest.Net, s *media.Session, p *peer) {
		p.talk(s.Local(), 100)
		each(func() { p.blast(s.Local(), 111, 77) })
	}},
	{name: "encrypted", want: media.Fault{FromPeer: true, Class: media.FaultEncryption}, run: func(t *testing.T, n *mediatest.Net, s *media.Session, p *peer) {
		each(func() { p.blast(s.Local(), 0, 170) })
	}},
	{name: "blocked port", want: media.Fault{FromPeer: true, Class: media.FaultBlocked}, run: func(t *testing.T, n *mediatest.Net, s *media.Session, p *peer) {
		b, err := rtcp.Marshal([]rtcp.Packet{&rtcp.SenderReport{SSRC: p.ssrc, PacketCount: 100}})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			n.Send(netip.AddrPortFrom(aliceAddr, 6001), netip.AddrPortFrom(pbxAddr, s.Local().Port()+1), b)
			time.Sleep(time.Second)
		}
	}},
	{name: "what we send is blocked", good: 2 * time.Second, want: media.Fault{Class: media.FaultBlocked}, run: func(t *testing.T, n *mediatest.Net, s *media.Session, p *peer) {
		stop := play(s, mediatest.Say(440))
		defer stop()
		p.talk(s.Local(), 100)
		ours := ssrcOf(p.take())
		for range 4 {
			b, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: p.ssrc, Reports: []rtcp.ReceptionReport{{SSRC: ours, FractionLost: 255}}}})
			if err != nil {
				t.Fatal(err)
			}
			n.Send(netip.AddrPortFrom(aliceAddr, 6001), netip.AddrPortFrom(pbxAddr, s.Local().Port()+1), b)
			p.talk(s.Local(), 75)
		}
	}},
}

// TestFaults: each fault is found within 3 s, with its direction and its class, and its end is seen.
func TestFaults(t *testing.T) {
	for _, c := range injectedFaults {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
				s, p := open(t, house, pbxAddr), newPeer(t, n, aliceAddr)
				s.Expect(natAddr.Addr())
				if c.setup == nil {
					s.Expect(aliceAddr)
				}
				p.agree(t, s, c.setup...)
				answered := time.Now()
				stopped := make(chan time.Time, 1)
				go func() {
					<-s.Trouble()
					stopped <- time.Now()
				}()
				c.run(t, n, s, p)
				select {
				case at := <-stopped:
					if took := at.Sub(answered.Add(c.good)); took > 3*time.Second+20*time.Millisecond {
						t.Errorf("found after %v", took)
					}
				default:
					t.Fatal("not found")
				}
				faults := s.Faults()
				if len(faults) != 1 || faults[0].Class != c.want.Class || faults[0].FromPeer != c.want.FromPeer || !faults[0].Ended.IsZero() {
					t.Fatalf("faults %+v", faults)
				}
				if !c.want.FromPeer {
					return
				}
				p.talk(s.Local(), 150)
				if faults = s.Faults(); len(faults) != 1 || faults[0].Ended.IsZero() || faults[0].Repaired {
					t.Errorf("after its end: %+v", faults)
				}
			})
		})
	}
}

// TestFaultRepaired: a phone whose router gave it another address goes on with its stream, is found there, and hears us.
func TestFaultRepaired(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s, p := open(t, house, pbxAddr), newPeer(t, n, aliceAddr)
		p.agree(t, s)
		p.talk(s.Local(), 100)
		moved := newPeerAt(t, n, netip.MustParseAddrPort("192.0.2.99:40000"))
		moved.ssrc, moved.seq, moved.ts = p.ssrc, p.seq, p.ts
		moved.talk(s.Local(), 250)
		moved.mustGet(t, s, true)
		if got := s.Stats().Received; got < 200 {
			t.Errorf("%d packets", got)
		}
		for _, f := range s.Faults() {
			if f.Class != media.FaultElsewhere || !f.Repaired || f.Address != moved.from {
				t.Errorf("%+v", f)
			}
		}
	})
}

// TestNoFalseAlarm: 200 healthy calls of many kinds, and what looks like silence but is none.
func TestNoFalseAlarm(t *testing.T) {
	quiet := func(t *testing.T, s *media.Session, what string) {
		t.Helper()
		if f := s.Faults(); len(f) > 0 {
			t.Errorf("%s: %+v", what, f[0])
		}
	}
	for i := range 20 {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			dice := rand.New(rand.NewPCG(uint64(i), 3))
			n.Judge = func(_, to netip.AddrPort, _ []byte) mediatest.Fate {
				return mediatest.Fate{Drop: dice.IntN(100) < i, Delay: time.Duration(dice.IntN(1+10*i)) * time.Millisecond}
			}
			var all []*media.Session
			for j := range 10 {
				a, b := open(t, house, pbxAddr), newPhone(t, n, netip.MustParseAddr(fmt.Sprintf("10.0.%d.2", j+1)))
				defer b.hangUp()
				connect(t, b.Session, a)
				b.say(mediatest.Say(400))
				defer play(a, mediatest.Say(500))()
				all = append(all, a)
			}
			time.Sleep(4 * time.Second)
			for _, s := range all {
				quiet(t, s, fmt.Sprintf("%d %% lost", i))
			}
		})
	}
	for name, lines := range map[string][]string{
		"the peer holds": {"m=audio 6000 RTP/AVP 0", "a=sendonly"}, "both hold": {"m=audio 6000 RTP/AVP 0", "a=inactive"},
		"old hold": {"m=audio 6000 RTP/AVP 0", "c=IN IP4 0.0.0.0"}, "only listens": {"m=audio 6000 RTP/AVP 0", "a=recvonly"},
	} {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			s, p := open(t, house, pbxAddr), newPeer(t, n, aliceAddr)
			p.agree(t, s)
			p.talk(s.Local(), 100)
			if _, err := s.Answer(sdpOf(lines...)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
			quiet(t, s, name)
			p.agree(t, s)
			p.talk(s.Local(), 100)
			quiet(t, s, "resumed")
		})
	}
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s, p := open(t, house, pbxAddr), newPeer(t, n, aliceAddr)
		p.agree(t, s, "m=audio 6000 RTP/AVP 0 13")
		p.talk(s.Local(), 10)
		p.send(s.Local(), 13, []byte{60}) // RFC 3389: nobody speaks
		time.Sleep(20 * time.Second)
		p.ts += 20 * 8000
		p.talk(s.Local(), 10)
		quiet(t, s, "silence suppressed")
	})
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s, p := open(t, house, pbxAddr), newPeer(t, n, aliceAddr)
		p.agree(t, s)
		p.talk(s.Local(), 50)
		p.press(t, s, '5', phonesPress["very long"])
		p.talk(s.Local(), 50)
		quiet(t, s, "a long press")
	})
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		if _, err := s.Answer(sdpOf("m=audio 7000 RTP/AVP 0")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		quiet(t, s, "it rings")
	})
}
