package media_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

var allCodecs = []string{"PCMU", "PCMA", "G722", "opus"}

// TestEveryPair: whatever codec each party has, the tone that one says is the tone that the other hears, as loud as it was, and
// keys are keys.
func TestEveryPair(t *testing.T) {
	for _, one := range allCodecs {
		for _, other := range allCodecs {
			t.Run(one+" "+other, func(t *testing.T) {
				bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
					alice, bob := newPhone(t, n, aliceAddr), newPhone(t, n, bobAddr)
					defer alice.hangUp()
					defer bob.hangUp()
					a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
					alice.Restrict([]string{one})
					bob.Restrict([]string{other})
					connect(t, alice.Session, a)
					connect(t, bob.Session, b)
					if a.Codec() != one || b.Codec() != other {
						t.Fatalf("%s and %s", a.Codec(), b.Codec())
					}
					bridge := media.Join(a, b)
					defer bridge.Close()
					alice.say(mediatest.Say(600))
					bob.say(mediatest.Say(1500))
					alice.mustHear(t, 1500)
					bob.mustHear(t, 600)
					for name, p := range map[string]*phone{"alice": alice, "bob": bob} {
						if level := p.ear.Level(); math.Abs(level+17) > 1.5 {
							t.Errorf("%s hears %.1f dBFS", name, level)
						}
					}
					time.Sleep(20 * time.Second)
					if st := b.Stats(); st.Sent < 1000 || st.Sent > 1300 {
						t.Errorf("%d packets sent in 20 s", st.Sent)
					}
					for _, p := range []*phone{alice, bob} {
						if st := p.Stats(); st.Lost > 0 || st.Duplicates > 0 || st.Unknown > 0 || st.Jitter > time.Millisecond {
							t.Errorf("%+v", st)
						}
					}
					alice.hush()
					if err := alice.Press(t.Context(), "19#"); err != nil {
						t.Fatal(err)
					}
					for _, want := range "19#" {
						if got := <-bob.Digits(); got != want {
							t.Errorf("key %c, want %c", got, want)
						}
					}
					// What is turned is sent no more when its speaker is silent.
					bob.hush()
					time.Sleep(time.Second)
					before := a.Stats().Sent
					time.Sleep(5 * time.Second)
					if sent := a.Stats().Sent - before; sent > 0 {
						t.Errorf("%d packets of silence", sent)
					}
					bob.say(mediatest.Say(900))
					alice.mustHear(t, 900)
				})
			})
		}
	}
}

// TestWideStaysWide: between two phones of today a tone above the telephones of old is heard.
func TestWideStaysWide(t *testing.T) {
	for _, pair := range [][2]string{{"G722", "G722"}, {"G722", "opus"}, {"opus", "G722"}} {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			alice, bob := newPhone(t, n, aliceAddr), newPhone(t, n, bobAddr)
			defer alice.hangUp()
			defer bob.hangUp()
			a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
			alice.Restrict(pair[:1])
			bob.Restrict(pair[1:])
			connect(t, alice.Session, a)
			connect(t, bob.Session, b)
			defer media.Join(a, b).Close()
			alice.say(mediatest.Say(5500))
			bob.mustHear(t, 5500)
		})
	}
}

// TestNoNeedlessTurning: the callee is offered first what the caller has, and the caller is answered with what the callee
// took.
func TestNoNeedlessTurning(t *testing.T) {
	for name, c := range map[string]struct {
		caller, policy []string
		offered        string // to the callee
	}{
		"opus first":       {caller: []string{"opus", "PCMA"}, offered: "107 8 0 101 100"},
		"wide desk phone":  {caller: []string{"G722", "PCMU", "PCMA"}, offered: "9 0 8 101"},
		"narrow":           {caller: []string{"PCMA"}, offered: "8 0 101"},
		"trunk":            {caller: []string{"PCMA", "PCMU"}, policy: []string{"G722", "PCMU", "PCMA"}, offered: "0 8 9 101"},
		"trunk of another": {caller: []string{"opus"}, policy: []string{"PCMA", "PCMU"}, offered: "8 0 101"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
				a, b, caller := open(t, house, pbxAddr), open(t, house, pbxAddr), open(t, house, aliceAddr)
				caller.Restrict(c.caller)
				offer, err := caller.Offer()
				if err != nil {
					t.Fatal(err)
				}
				a.Consider(offer)
				b.Prefer(a)
				b.Restrict(c.policy)
				got, err := b.Offer()
				if err != nil || !strings.Contains(string(got), " RTP/AVP "+c.offered+"\r\n") {
					t.Errorf("%v, want %s:\n%s", err, c.offered, got)
				}
			})
		})
	}
}

// TestPassedOn: codecs that we do not understand pass between two phones that have them, with number, name and
// parameters; where we would have to understand them the call is refused.
func TestPassedOn(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
		alice, bob := newPeer(t, n, aliceAddr), newPeer(t, n, bobAddr)
		offer := sdpOf("m=audio 6000 RTP/AVP 18 111 101", "a=rtpmap:18 G729/8000", "a=fmtp:18 annexb=no",
			"a=rtpmap:111 iLBC/8000", "a=fmtp:111 mode=30", "a=rtpmap:101 telephone-event/8000")
		a.Consider(offer)
		if _, err := open(t, house, pbxAddr).Answer(offer); err == nil {
			t.Error("answered by ourselves with a codec that we do not understand")
		}
		b.Prefer(a)
		got, err := b.Offer()
		for _, want := range []string{" RTP/AVP 18 111 101\r\n", "a=fmtp:18 annexb=no", "a=rtpmap:111 ILBC/8000", "a=fmtp:111 mode=30"} {
			if err != nil || !strings.Contains(string(got), want) {
				t.Fatalf("%v, no %q in\n%s", err, want, got)
			}
		}
		if err := b.Accept(sdpOf("m=audio 6000 RTP/AVP 111", "c=IN IP4 "+bobAddr.String(), "a=rtpmap:111 iLBC/8000", "a=fmtp:111 mode=20")); err != nil {
			t.Fatal(err)
		}
		a.Prefer(b)
		answer, err := a.Answer(offer)
		if err != nil || !strings.Contains(string(answer), " RTP/AVP 111 101\r\n") || !strings.Contains(string(answer), "a=fmtp:111 mode=20") {
			t.Fatalf("%v\n%s", err, answer)
		}
		if a.Codec() != "ILBC" {
			t.Errorf("codec %q", a.Codec())
		}
		media.Join(a, b)
		said := []byte("thirty milliseconds of something")
		for range 10 {
			alice.send(a.Local(), 111, said)
			alice.ts += 240
			time.Sleep(30 * time.Millisecond)
		}
		heard := bob.take()
		if len(heard) < 9 {
			t.Errorf("%d packets", len(heard))
		}
		for _, r := range heard {
			if string(r.payload()) != string(said) || r.number() != 111 {
				t.Errorf("%d: %q", r.number(), r.payload())
			}
		}
		// A prompt cannot be said in it, and does no harm.
		if err := a.Play(t.Context(), media.Tone(400, time.Second)); err != nil {
			t.Error(err)
		}
		if got := alice.take(); len(got) > 0 {
			t.Errorf("%d packets of a codec that we cannot make", len(got))
		}
	})
}

// TestNumbersStay: a payload number never changes its meaning in a session, and the numbers of a peer are used for it.
func TestNumbersStay(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		offer := sdpOf("m=audio 4000 RTP/AVP 120 0 121", "a=rtpmap:120 opus/48000/2", "a=fmtp:120 maxplaybackrate=16000;stereo=0", "a=rtpmap:121 telephone-event/48000")
		answer, err := s.Answer(offer)
		for _, want := range []string{" RTP/AVP 120 121\r\n", "a=rtpmap:120 opus/48000/2", "a=rtpmap:121 telephone-event/48000", "a=fmtp:121 0-15"} {
			if err != nil || !strings.Contains(string(answer), want) {
				t.Fatalf("%v, no %q in\n%s", err, want, answer)
			}
		}
		again, err := s.Offer()
		if err != nil || !strings.Contains(string(again), " RTP/AVP 120 9 0 8 101 121\r\n") {
			t.Errorf("%v\n%s", err, again)
		}
	})
}

// TestPacketTimes: each peer gets packets of the length that it asked for through a bridge between codecs, and Opus those that
// it has.
func TestPacketTimes(t *testing.T) {
	for _, c := range []struct {
		codec       string
		wants, gets int
	}{{"opus", 10, 10}, {"opus", 30, 20}, {"opus", 50, 40}, {"opus", 60, 60}, {"G722", 10, 10}, {"G722", 30, 30}, {"G722", 60, 60}} {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
			alice, bob := newPeer(t, n, aliceAddr), newPeer(t, n, bobAddr)
			alice.agree(t, a)
			number, clock := uint8(9), 8000
			if c.codec == "opus" {
				number, clock = 96, 48000
			}
			bob.agree(t, b, fmt.Sprintf("m=audio 6000 RTP/AVP %d", number), "a=rtpmap:96 opus/48000/2", fmt.Sprintf("a=ptime:%d", c.wants))
			media.Join(a, b)
			alice.talk(a.Local(), 100)
			time.Sleep(200 * time.Millisecond)
			got := bob.take()
			if len(got) < 1800/c.gets {
				t.Fatalf("%s %d ms: %d packets", c.codec, c.wants, len(got))
			}
			for i := 1; i < len(got); i++ {
				if step := got[i].ts() - got[i-1].ts(); int(step) != c.gets*clock/1000 || got[i].seq()-got[i-1].seq() != 1 || got[i].number() != number {
					t.Fatalf("%s %d ms: packet %d: timestamp %d later, number %d later, payload %d", c.codec, c.wants, i, step, got[i].seq()-got[i-1].seq(), got[i].number())
				}
			}
		})
	}
}
