package media_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// TestPortsRest: a pair of ports is not used again at once, so that what is still sent to the old call is not heard in a
// new one; unless there is no other.
func TestPortsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mediatest.NewNet()
		house := media.NewEngine(media.Config{Network: n, Low: 30000, High: 30007}) // four pairs
		defer house.Close()
		first, closed := open(t, house, pbxAddr), time.Now()
		old := first.Local()
		first.Close()
		for range 9 { // more often than there are pairs
			s := open(t, house, pbxAddr)
			if s.Local() == old {
				t.Fatalf("%s again after %v", old, time.Since(closed))
			}
			time.Sleep(time.Second)
			s.Close()
			time.Sleep(4 * time.Second)
			if time.Since(closed) > 9*time.Second {
				break
			}
		}
		time.Sleep(11 * time.Second)
		seen := false
		var all []*media.Session
		for range 4 {
			s := open(t, house, pbxAddr)
			seen = seen || s.Local() == old
			all = append(all, s)
		}
		if !seen {
			t.Errorf("%s is never used again", old)
		}
		for _, s := range all {
			s.Close()
		}
		for range 4 { // all rest, but calls come first
			open(t, house, pbxAddr)
		}
		if _, err := house.Open(pbxAddr); err == nil {
			t.Error("a fifth pair of four")
		}
	})
}

// TestManyCalls: ten thousand calls leave no socket and no goroutine behind.
func TestManyCalls(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		for i := range 10000 {
			a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
			offer, err := a.Offer()
			if err != nil {
				t.Fatal(err)
			}
			answer, err := b.Answer(offer)
			if err == nil {
				err = a.Accept(answer)
			}
			if err != nil {
				t.Fatal(err)
			}
			j := media.Join(a, b)
			if i%100 == 0 {
				stop := play(a, mediatest.Say(440))
				time.Sleep(100 * time.Millisecond)
				stop()
			}
			j.Close()
			a.Close()
			b.Close()
			if i%1000 == 999 {
				time.Sleep(11 * time.Second)
			}
		}
		if open := n.Open(); open != 0 {
			t.Errorf("%d sockets left open", open)
		}
		if st := house.Stats(); st.Sessions != 0 || st.Opened != 20000 {
			t.Errorf("%+v", st)
		}
	})
}

// TestDayLongCall: in a call of 24 hours numbers wrap many times; nothing counts as lost, and the reports stay true.
func TestDayLongCall(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s, alice := open(t, house, pbxAddr), newPeer(t, n, aliceAddr)
		alice.agree(t, s, "m=audio 6000 RTP/AVP 0")
		// Large packets in bursts, for this is to be quick.
		payload := pattern(1200)
		packets, burst := 24*60*60*1000/150, 10
		if media.Raced {
			packets /= 12 // two hours
		}
		for range packets / burst {
			for range burst {
				alice.send(s.Local(), 0, payload)
				alice.ts += 1200
			}
			time.Sleep(time.Duration(burst) * 150 * time.Millisecond)
		}
		st, sum := s.Stats(), s.QualitySummary()
		if st.Received != uint64(packets) || st.Lost != 0 || st.Duplicates != 0 || st.Stray != 0 {
			t.Errorf("%+v", st)
		}
		if sum.Mean.From.Loss != 0 || len(sum.Samples) > 60 || len(s.Faults()) > 0 {
			t.Errorf("%.2f %% lost, %d samples, %v", sum.Mean.From.Loss, len(sum.Samples), s.Faults())
		}
	})
}

// TestLongRelay: over hours what goes to the other side has no gap, though numbers and timestamps wrap on both sides, each
// at another time.
func TestLongRelay(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
		alice, bob := newPeer(t, n, aliceAddr), newPeer(t, n, bobAddr)
		alice.agree(t, a, "m=audio 6000 RTP/AVP 0", "a=ptime:60")
		bob.agree(t, b, "m=audio 6000 RTP/AVP 0", "a=ptime:60", "a=recvonly")
		media.Join(a, b)
		payload := pattern(480)
		const packets, burst = 3 * 65536, 16
		var last received
		for i := range packets / burst {
			for range burst {
				alice.send(a.Local(), 0, payload)
				alice.ts += 480
			}
			time.Sleep(burst * 60 * time.Millisecond)
			for _, r := range bob.take() {
				if r.number() != 0 {
					continue
				}
				if i > 1 && (r.seq() != last.seq()+1 || r.ts() != last.ts()+480 || r.ssrc() != last.ssrc()) {
					t.Fatalf("after %d bursts: number %d, timestamp %d after %d, %d", i, r.seq(), r.ts(), last.seq(), last.ts())
				}
				last = r
			}
		}
		if st := b.Stats(); st.Sent != packets {
			t.Errorf("%+v", st)
		}
	})
}

// TestRoughRelay: over networks that lose, double, delay and shake packets, no delay builds up, digits are exact up to 5 % loss, and the figures are those of the network. R-07.
func TestRoughRelay(t *testing.T) {
	for _, percent := range []int{1, 5, 10, 20} {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
			alice, bob := newPeer(t, n, aliceAddr), newPeer(t, n, bobAddr)
			alice.agree(t, a)
			bob.agree(t, b, "m=audio 6000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000", "a=recvonly")
			media.Join(a, b)
			dice := rand.New(rand.NewPCG(uint64(percent), 11))
			n.Judge = func(_, to netip.AddrPort, _ []byte) mediatest.Fate {
				if to != a.Local() {
					return mediatest.Fate{}
				}
				f := mediatest.Fate{Drop: dice.IntN(100) < percent, Delay: time.Duration(dice.IntN(percent)) * time.Millisecond}
				if dice.IntN(100) < percent {
					f.Copies = 1
				}
				if dice.IntN(100) < percent {
					f.Delay += 30 * time.Millisecond // out of order
				}
				return f
			}
			pressed := ""
			for i := range 12 {
				k := rune(digitKeys[i])
				alice.press(t, a, k, phonesPress["yealink"])
				pressed += string(k)
				alice.talk(a.Local(), 20)
			}
			alice.talk(a.Local(), 3000)
			time.Sleep(100 * time.Millisecond)
			bob.take()
			time.Sleep(time.Second)
			if n := len(bob.take()); n > 0 {
				t.Errorf("%d %%: %d packets came long after they were sent", percent, n)
			}
			if got := digitsOf(a); percent <= 5 && got != pressed {
				t.Errorf("%d %%: digits %s, want %s", percent, got, pressed)
			}
			st, sum := a.Stats(), a.QualitySummary()
			if got := sum.Mean.From.Loss; got < float64(percent)*0.7-0.3 || got > float64(percent)*1.3+0.5 {
				t.Errorf("%d %%: %.2f %% lost", percent, got)
			}
			if st.Duplicates == 0 || st.Late == 0 || percent > 1 && st.Jitter == 0 || sum.Mean.From.MOS > 4.41 || percent == 20 && sum.Mean.From.MOS > 3 {
				t.Errorf("%d %%: %+v, score %.2f", percent, st, sum.Mean.From.MOS)
			}
		})
	}
}
