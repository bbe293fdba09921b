package media_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// sayKeys lets a session, standing for a phone, say keys as tones and then some silence.
func sayKeys(t *testing.T, s *media.Session, digits string) {
	t.Helper()
	src, err := media.KeyTones(digits)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Play(t.Context(), src); err != nil {
		t.Fatal(err)
	}
}

// plainPhone is a phone that agreed to no events.
func plainPhone(t *testing.T, n *mediatest.Net, house *media.Engine, at string) (*phone, *media.Session) {
	t.Helper()
	s, p := open(t, house, pbxAddr), newPhone(t, n, netip.MustParseAddr(at))
	p.Restrict([]string{"PCMU", "PCMA"}) // as a line that has nothing but G.711
	offer, err := p.Offer()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.Answer(sdpWithout(offer, "telephone-event"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Accept(answer); err != nil {
		t.Fatal(err)
	}
	s.Established()
	return p, s
}

// TestTonesToEvents: keys that come as tones are digits for us, and events for the other side, which does not hear the
// tones as well. Packets are lost, late and doubled meanwhile.
func TestTonesToEvents(t *testing.T) {
	const dialled = "0123456789*#ABCD5577"
	for _, lossy := range []bool{false, true} {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			p, a := plainPhone(t, n, house, "10.0.0.2")
			defer p.hangUp()
			if lossy {
				dice := rand.New(rand.NewPCG(3, 9))
				n.Judge = func(_, to netip.AddrPort, _ []byte) mediatest.Fate {
					if to != a.Local() {
						return mediatest.Fate{}
					}
					return mediatest.Fate{Drop: dice.IntN(100) < 1, Copies: dice.IntN(20) / 19}
				}
			}
			b, bob := open(t, house, pbxAddr), newPeer(t, n, bobAddr)
			bob.agree(t, b)
			media.Join(a, b)
			p.say(mediatest.Say(440))
			time.Sleep(200 * time.Millisecond)
			p.hush()
			sayKeys(t, p.Session, dialled)
			p.say(mediatest.Say(440))
			time.Sleep(200 * time.Millisecond)
			p.hush()
			if got := digitsOf(a); got != dialled {
				t.Errorf("we heard %s", got)
			}
			events, last, ends, tonal := "", uint32(0), 0, 0
			packets := bob.take()
			for i, r := range packets {
				if i > 0 && !lossy && r.seq() != packets[i-1].seq()+1 {
					t.Errorf("packet %d: number %d after %d", i, r.seq(), packets[i-1].seq())
				}
				if r.number() != 101 {
					if loud(r.payload()) {
						tonal++
					}
					continue
				}
				if events == "" || r.ts() != last {
					events += string(digitKeys[r.payload()[0]])
					if !r.marker() && !lossy {
						t.Errorf("event %s begins without a marker", events)
					}
				}
				last = r.ts()
				if r.payload()[1]&0x80 != 0 {
					ends++
					if d := binary.BigEndian.Uint16(r.payload()[2:]); d < 320 || d > 1000 {
						t.Errorf("a press of %d samples", d)
					}
				}
			}
			if events != dialled || ends < 3*len(dialled)-6 {
				t.Errorf("the other side got %s, %d ends", events, ends)
			}
			if !lossy && tonal > 2*11+len(dialled) {
				t.Errorf("%d packets of sound: tones got through", tonal)
			}
		})
	}
}

// loud reports whether a packet of µ-law is more than silence.
func loud(payload []byte) bool {
	for _, b := range payload {
		if b&0x7f < 0x50 {
			return true
		}
	}
	return false
}

// TestEventsToTones: keys that come as events are tones for a side that takes no events, as long as they were pressed,
// also under loss.
func TestEventsToTones(t *testing.T) {
	for name, how := range phonesPress {
		if how.runningClock || name == "very long" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
				p, b := plainPhone(t, n, house, "10.0.0.3")
				defer p.hangUp()
				a, alice := open(t, house, pbxAddr), newPeer(t, n, aliceAddr)
				alice.agree(t, a)
				media.Join(a, b)
				sent := 0
				n.Judge = func(_, to netip.AddrPort, _ []byte) mediatest.Fate {
					if to == a.Local() {
						sent++
					}
					return mediatest.Fate{Drop: to == a.Local() && sent%17 == 0}
				}
				alice.talk(a.Local(), 5)
				for _, k := range "159D" {
					alice.press(t, a, k, how)
					alice.talkSilence(a.Local(), 5)
				}
				alice.talk(a.Local(), 5)
				if got := digitsOf(p.Session); got != "159D" {
					t.Errorf("the phone heard %q", got)
				}
				if got := digitsOf(a); got != "159D" {
					t.Errorf("we heard %q", got)
				}
			})
		})
	}
}

// talkSilence sends n packets of silence.
func (p *peer) talkSilence(to netip.AddrPort, n int) {
	quiet := make([]byte, 160)
	for i := range quiet {
		quiet[i] = 0xff
	}
	for range n {
		p.send(to, 0, quiet)
		p.ts += 160
		time.Sleep(20 * time.Millisecond)
	}
}

// TestPressTones: we press keys for a peer without events as tones; between two of those, tones pass as they are; and
// who sends keys by INFO is not listened to for tones.
func TestPressTones(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		p, a := plainPhone(t, n, house, "10.0.0.2")
		defer p.hangUp()
		q, b := plainPhone(t, n, house, "10.0.0.3")
		defer q.hangUp()
		if err := a.Press(t.Context(), "42#"); err != nil {
			t.Fatal(err)
		}
		if got := digitsOf(p.Session); got != "42#" {
			t.Errorf("the phone heard %q", got)
		}
		if err := a.Press(t.Context(), "x"); err == nil {
			t.Error("pressed x")
		}
		media.Join(a, b)
		sayKeys(t, p.Session, "17")
		if ours, theirs := digitsOf(a), digitsOf(q.Session); ours != "17" || theirs != "17" {
			t.Errorf("we heard %q, the other phone %q", ours, theirs)
		}
		a.KeysByINFO()
		sayKeys(t, p.Session, "3")
		if ours, theirs := digitsOf(a), digitsOf(q.Session); ours != "" || theirs != "3" {
			t.Errorf("by INFO: we heard %q, the other phone %q", ours, theirs)
		}
	})
}

// sdpWithout strikes what an SDP says of a format with that name.
func sdpWithout(sdp []byte, name string) []byte {
	var kept []string
	number := ""
	for _, l := range strings.Split(string(sdp), "\r\n") {
		if n, encoding, ok := strings.Cut(strings.TrimPrefix(l, "a=rtpmap:"), " "); ok && strings.HasPrefix(l, "a=rtpmap:") && strings.HasPrefix(encoding, name) {
			number = n
		}
	}
	for _, l := range strings.Split(string(sdp), "\r\n") {
		switch {
		case strings.HasPrefix(l, "a=rtpmap:"+number+" "), strings.HasPrefix(l, "a=fmtp:"+number+" "):
			continue
		case strings.HasPrefix(l, "m=audio"):
			l = strings.Replace(l, " "+number, "", 1)
		}
		kept = append(kept, l)
	}
	return []byte(strings.Join(kept, "\r\n"))
}
