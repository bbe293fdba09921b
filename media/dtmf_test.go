package media_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// event is the payload of a telephone-event packet.
func event(code byte, duration int, end bool, volume byte) []byte {
	b := []byte{code, volume, 0, 0}
	if end {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], uint16(duration))
	return b
}

const digitKeys = "0123456789*#ABCD"

// press lets p press a key as phones do. first and step are the duration of the first packet and
// by how much it grows, in samples.
type pressing struct {
	first, step, packets, ends int
	gap                        time.Duration
	volume                     byte
	runningClock               bool // the timestamp moves while the key is down, a known fault
	noMarker                   bool
}

func (p *peer) press(t *testing.T, s *media.Session, key rune, how pressing) {
	t.Helper()
	code := byte(0)
	for i, k := range digitKeys {
		if k == key {
			code = byte(i)
		}
	}
	p.mark = !how.noMarker
	start := p.ts
	duration := how.first
	for range how.packets {
		p.send(s.Local(), 101, event(code, duration, false, how.volume))
		if how.runningClock {
			p.ts += uint32(how.step)
		}
		duration += how.step
		time.Sleep(time.Duration(how.step) * time.Second / 8000)
	}
	for range how.ends {
		p.send(s.Local(), 101, event(code, duration, true, how.volume))
	}
	p.ts = start + uint32(duration) + uint32(how.gap*8000/time.Second)
	time.Sleep(how.gap)
}

func digitsOf(s *media.Session) string {
	time.Sleep(10 * time.Millisecond)
	got := ""
	for {
		select {
		case d := <-s.Digits():
			got += string(d)
		default:
			return got
		}
	}
}

var phonesPress = map[string]pressing{
	"yealink":     {first: 160, step: 160, packets: 5, ends: 3, gap: 60 * time.Millisecond, volume: 10},
	"snom":        {first: 0, step: 160, packets: 6, ends: 3, gap: 100 * time.Millisecond, volume: 10},
	"grandstream": {first: 160, step: 160, packets: 9, ends: 3, gap: 50 * time.Millisecond, volume: 7},
	"cisco":       {first: 0, step: 400, packets: 4, ends: 3, gap: 80 * time.Millisecond, volume: 0},
	"polycom":     {first: 80, step: 80, packets: 16, ends: 3, gap: 60 * time.Millisecond, volume: 63},
	"gigaset":     {first: 160, step: 160, packets: 13, ends: 4, gap: 40 * time.Millisecond, volume: 12},
	"linphone":    {first: 160, step: 160, packets: 4, ends: 3, gap: 300 * time.Millisecond, volume: 10},
	"short":       {first: 160, step: 160, packets: 1, ends: 3, gap: 60 * time.Millisecond},
	"ends only":   {first: 320, step: 160, packets: 0, ends: 3, gap: 60 * time.Millisecond},
	"no marker":   {first: 160, step: 160, packets: 5, ends: 3, gap: 60 * time.Millisecond, noMarker: true},
	"clock runs":  {first: 160, step: 160, packets: 6, ends: 3, gap: 60 * time.Millisecond, runningClock: true},
	"very long":   {first: 160, step: 160, packets: 120, ends: 3, gap: 60 * time.Millisecond},
}

// TestDigits: each press is one digit, whichever phone pressed and whichever single packet is lost.
func TestDigits(t *testing.T) {
	const dialled = "0112233*#9AD55"
	for name, how := range phonesPress {
		t.Run(name, func(t *testing.T) {
			perPress := how.packets + how.ends
			lose := []int{-1}
			for i := range min(perPress, 12) {
				lose = append(lose, i, perPress-1-i)
			}
			for _, lost := range lose {
				if how.runningClock && lost == 0 {
					continue // without the marker the faulty clock hides where a press begins
				}
				bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
					s := open(t, house, pbxAddr)
					p := newPeer(t, n, aliceAddr)
					sent := 0
					n.Judge = func(_, to netip.AddrPort, b []byte) mediatest.Fate {
						if to != s.Local() || b[1]&0x7f != 101 {
							return mediatest.Fate{}
						}
						sent++
						return mediatest.Fate{Drop: lost >= 0 && (sent-1)%perPress == lost}
					}
					p.agree(t, s)
					p.talk(s.Local(), 5)
					for _, k := range dialled {
						p.press(t, s, k, how)
					}
					if got := digitsOf(s); got != dialled {
						t.Errorf("packet %d of each press lost: dialled %s, got %s", lost, dialled, got)
					}
				})
			}
		})
	}
}

// TestDigitsUnderLoss: 5 % of all packets lost, some twice, some late; not one digit wrong.
func TestDigitsUnderLoss(t *testing.T) {
	for seed := range uint64(20) {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			s := open(t, house, pbxAddr)
			p := newPeer(t, n, aliceAddr)
			dice, fingers := rand.New(rand.NewPCG(seed, 7)), rand.New(rand.NewPCG(seed, 8))
			n.Judge = func(_, to netip.AddrPort, _ []byte) mediatest.Fate {
				switch d := dice.IntN(100); {
				case to != s.Local() || d >= 15:
					return mediatest.Fate{}
				case d < 5:
					return mediatest.Fate{Drop: true}
				case d < 10:
					return mediatest.Fate{Copies: 1 + dice.IntN(2)}
				}
				return mediatest.Fate{Delay: time.Duration(dice.IntN(40)) * time.Millisecond}
			}
			p.agree(t, s)
			want := ""
			for range 30 {
				k := rune(digitKeys[fingers.IntN(len(digitKeys))])
				want += string(k)
				p.press(t, s, k, phonesPress["yealink"])
			}
			time.Sleep(100 * time.Millisecond)
			if got := digitsOf(s); got != want {
				t.Errorf("seed %d: pressed %s, got %s", seed, want, got)
			}
		})
	}
}

// TestLongPress: an event longer than its 16-bit duration goes on in segments: RFC 4733 §2.5.1.3.
func TestLongPress(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		p := newPeer(t, n, aliceAddr)
		p.agree(t, s)
		p.mark = true
		for segment := range 3 {
			for d := 160; d <= 65535-160; d += 160 {
				p.send(s.Local(), 101, event(7, d, false, 10))
				time.Sleep(20 * time.Millisecond)
			}
			if segment < 2 {
				p.send(s.Local(), 101, event(7, 65535, false, 10))
				p.ts += 65535
			}
		}
		for range 3 {
			p.send(s.Local(), 101, event(7, 65500, true, 10))
		}
		p.ts += 66000
		p.press(t, s, '8', phonesPress["yealink"])
		if got := digitsOf(s); got != "78" {
			t.Errorf("got %s", got)
		}
	})
}

// TestOtherEvents: flash, modem tones and rubbish are no digits, and nobody who does not read
// the digits is in the way.
func TestOtherEvents(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		p := newPeer(t, n, aliceAddr)
		p.agree(t, s)
		for _, payload := range [][]byte{event(16, 160, true, 0), event(36, 160, true, 0), event(255, 0, false, 0), {1}, {}, {1, 2, 3}} {
			p.send(s.Local(), 101, payload)
			p.ts += 4000
		}
		if got := digitsOf(s); got != "" {
			t.Errorf("got %q", got)
		}
		for range 200 {
			p.press(t, s, '1', phonesPress["short"])
		}
		if got := digitsOf(s); len(got) != 64 {
			t.Errorf("%d digits kept", len(got))
		}
	})
}

// TestKeysThroughBridge: a key pressed on one side is heard by us and by the other side, which
// has another number for events; a peer that takes none gets none.
func TestKeysThroughBridge(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
		alice, bob := newPeer(t, n, aliceAddr), newPeer(t, n, bobAddr)
		alice.agree(t, a)
		bob.agree(t, b, "m=audio 6000 RTP/AVP 8 96", "a=rtpmap:96 telephone-event/8000")
		media.Join(a, b)
		alice.talk(a.Local(), 10)
		alice.press(t, a, '4', phonesPress["yealink"])
		alice.talk(a.Local(), 10)
		got := bob.take()
		steady(t, without(got, 96))
		events := ""
		for i, r := range got {
			if i > 0 && r.seq() != got[i-1].seq()+1 {
				t.Errorf("packet %d: number %d after %d", i, r.seq(), got[i-1].seq())
			}
			if r.number() == 96 {
				events += fmt.Sprintf("%d:%t ", r.payload()[0], r.marker())
			}
		}
		if events != "4:true 4:false 4:false 4:false 4:false 4:false 4:false 4:false " {
			t.Errorf("events %s", events)
		}
		if d := digitsOf(a); d != "4" {
			t.Errorf("we heard %q", d)
		}
	})
}

// TestPress: what RFC 4733 §2.5.1 asks of a sender.
func TestPress(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		p := newPeer(t, n, aliceAddr)
		p.agree(t, s)
		if err := s.Press(t.Context(), "1d"); err != nil {
			t.Fatal(err)
		}
		if err := s.Press(t.Context(), "x"); err == nil {
			t.Error("pressed x")
		}
		time.Sleep(2 * time.Millisecond)
		got := p.take()
		if len(got) != 14 {
			t.Fatalf("%d packets", len(got))
		}
		for i, r := range got {
			k, j := i/7, i%7
			end := r.payload()[1]&0x80 != 0
			duration := int(binary.BigEndian.Uint16(r.payload()[2:]))
			wantDuration := 160 * min(j+1, 5)
			if r.number() != 101 || r.payload()[0] != []byte{1, 15}[k] || r.marker() != (j == 0) ||
				end != (j >= 4) || duration != wantDuration || r.ts() != got[7*k].ts() || r.seq() != got[0].seq()+uint16(i) {
				t.Errorf("packet %d: marker %t, event % x, timestamp %d", i, r.marker(), r.payload(), r.ts())
			}
		}
		if gap := got[7].ts() - got[0].ts(); gap < 1000 || gap > 2000 {
			t.Errorf("presses are %d samples apart", gap)
		}
	})
}
