package media_test

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"pbx/media"
	"pbx/media/mediatest"
)

// TestQuality: what is lost and late on the way is measured on both sides of it, and people hear it in the score.
func TestQuality(t *testing.T) {
	for _, c := range []struct {
		lose          float64
		shake         time.Duration
		latency       time.Duration
		least, most   float64 // score
		jitter, round time.Duration
	}{
		{0, 0, time.Millisecond, 4.35, 4.45, 0, 2 * time.Millisecond},
		{0.01, 10 * time.Millisecond, 20 * time.Millisecond, 4.2, 4.42, 3 * time.Millisecond, 40 * time.Millisecond},
		{0.05, 20 * time.Millisecond, 40 * time.Millisecond, 3.6, 4.2, 6 * time.Millisecond, 80 * time.Millisecond},
		{0.20, 40 * time.Millisecond, 150 * time.Millisecond, 1.2, 2.8, 12 * time.Millisecond, 300 * time.Millisecond},
	} {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			dice := rand.New(rand.NewPCG(1, uint64(c.lose*100)))
			n.Latency = c.latency
			n.Judge = func(_, to netip.AddrPort, _ []byte) mediatest.Fate {
				if to.Port()%2 == 1 {
					return mediatest.Fate{} // reports
				}
				return mediatest.Fate{Drop: dice.Float64() < c.lose, Delay: time.Duration(dice.Float64() * float64(c.shake))}
			}
			s, p := open(t, house, pbxAddr), newPhone(t, n, aliceAddr)
			defer p.hangUp()
			connect(t, p.Session, s)
			p.say(mediatest.Say(440))
			stop := play(s, mediatest.Say(880))
			defer stop()
			time.Sleep(2 * time.Minute)
			sum := s.QualitySummary()
			for way, f := range map[string]media.Flow{"from": sum.Mean.From, "to": sum.Mean.To} {
				if f.MOS < c.least || f.MOS > c.most {
					t.Errorf("%v %s the phone: score %.2f, want %.2f to %.2f", c.lose, way, f.MOS, c.least, c.most)
				}
				if math.Abs(f.Loss-100*c.lose) > 0.5+20*c.lose {
					t.Errorf("%s the phone: %.2f %% lost, want %.0f", way, f.Loss, 100*c.lose)
				}
				if f.Jitter < c.jitter/2 || f.Jitter > c.jitter*2+time.Millisecond {
					t.Errorf("%v %s the phone: jitter %v, want %v", c.lose, way, f.Jitter, c.jitter)
				}
			}
			if r := sum.Mean.RoundTrip; r < c.round-2*time.Millisecond || r > c.round+2*time.Millisecond {
				t.Errorf("round trip %v, want %v", r, c.round)
			}
			if len(sum.Samples) < 23 || sum.Step != 5*time.Second || sum.Worst.MOS > sum.Mean.MOS+0.01 || sum.Worst.MOS < 1 {
				t.Errorf("%d samples every %v, worst %.2f of mean %.2f", len(sum.Samples), sum.Step, sum.Worst.MOS, sum.Mean.MOS)
			}
			if q := s.Quality(); q.From.MOS == 0 || q.MOS > q.From.MOS {
				t.Errorf("now: %+v", q)
			}
		})
	}
}

// TestQualityOfShortCall: a call without one sample still has a score, and one that nobody spoke in has none.
func TestQualityOfShortCall(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s, p := open(t, house, pbxAddr), newPeer(t, n, aliceAddr)
		p.agree(t, s)
		if q := s.Quality(); q.MOS != 0 || q.From.MOS != 0 {
			t.Errorf("nothing heard yet: %+v", q)
		}
		p.talk(s.Local(), 100)
		s.Close()
		sum := s.QualitySummary()
		if sum.Mean.MOS < 4.3 || len(sum.Samples) != 1 {
			t.Errorf("score %.2f, %d samples", sum.Mean.MOS, len(sum.Samples))
		}
		if again := s.QualitySummary(); len(again.Samples) != 1 {
			t.Errorf("asked twice: %d samples", len(again.Samples))
		}
	})
}

// TestQualityOfLongCall: a day of talking is kept in as little room as an hour.
func TestQualityOfLongCall(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s, p := open(t, house, pbxAddr), newPeer(t, n, aliceAddr)
		p.agree(t, s)
		for range 3600 {
			p.talk(s.Local(), 1)
			time.Sleep(980 * time.Millisecond)
			p.ts += 49 * 160
		}
		sum := s.QualitySummary()
		if len(sum.Samples) < 30 || len(sum.Samples) > 60 || sum.Samples[len(sum.Samples)-1].At < 58*time.Minute {
			t.Errorf("%d samples every %v", len(sum.Samples), sum.Step)
		}
	})
}

// TestRTCPMux: reports share the port only when both want it (RFC 5761 §5.1.1), and are no sound.
func TestRTCPMux(t *testing.T) {
	for _, mux := range []bool{true, false} {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			s, p := open(t, house, pbxAddr), newPeer(t, n, aliceAddr)
			_, apart := reports(t, n, netip.AddrPortFrom(aliceAddr, 6001))
			lines := []string{"m=audio 6000 RTP/AVP 0"}
			if mux {
				lines = append(lines, "a=rtcp-mux")
			}
			p.agree(t, s, lines...)
			p.talk(s.Local(), 500)
			shared := 0
			for _, r := range p.take() {
				if r.packet[1] >= 192 && r.packet[1] <= 223 {
					shared++
				}
			}
			if other := len(apart()); mux != (shared > 0) || mux == (other > 0) {
				t.Errorf("mux %t: %d reports on the port of RTP, %d above", mux, shared, other)
			}
			stop := play(s, mediatest.Say(440))
			time.Sleep(time.Second)
			b, err := rtcp.Marshal([]rtcp.Packet{
				&rtcp.ReceiverReport{SSRC: p.ssrc, Reports: []rtcp.ReceptionReport{{SSRC: ssrcOf(p.take()), FractionLost: 128}}},
				&rtcp.ExtendedReport{SenderSSRC: p.ssrc, Reports: []rtcp.ReportBlock{&rtcp.ReceiverReferenceTimeReportBlock{NTPTimestamp: 7}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			n.Send(p.from, s.Local(), b)
			time.Sleep(10 * time.Millisecond)
			stop()
			if st := s.Stats(); mux != (st.RemoteLossNow == 0.5) || mux == (st.Malformed == 1) {
				t.Errorf("mux %t: %+v", mux, st)
			}
		})
	}
}

func ssrcOf(got []received) uint32 {
	for _, r := range got {
		if r.packet[1] < 192 || r.packet[1] > 223 {
			return r.ssrc()
		}
	}
	return 0
}

// TestForgedReports: reports of strangers, of another port of the peer's host, and about another stream count for nothing,
// and a goodbye that anybody may send ends nothing.
func TestForgedReports(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s, p := open(t, house, pbxAddr), newPeer(t, n, aliceAddr)
		conn, _ := reports(t, n, netip.AddrPortFrom(aliceAddr, 6001))
		p.agree(t, s)
		stop := play(s, mediatest.Say(440))
		defer stop()
		p.talk(s.Local(), 100)
		ours, to := ssrcOf(p.take()), netip.AddrPortFrom(pbxAddr, s.Local().Port()+1)
		report := func(ssrc uint32, lost uint8) []byte {
			b, err := rtcp.Marshal([]rtcp.Packet{
				&rtcp.SenderReport{SSRC: ssrc, Reports: []rtcp.ReceptionReport{{SSRC: ours, FractionLost: lost}}},
				&rtcp.Goodbye{Sources: []uint32{ssrc}},
			})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		if _, err := conn.WriteToUDPAddrPort(report(p.ssrc, 64), to); err != nil {
			t.Fatal(err)
		}
		p.talk(s.Local(), 1)
		n.Send(netip.AddrPortFrom(thiefAddr.Addr(), 6001), to, report(p.ssrc, 200))
		n.Send(netip.AddrPortFrom(aliceAddr, 9999), to, report(p.ssrc, 201))
		n.Send(netip.AddrPortFrom(aliceAddr, 6001), to, report(p.ssrc+1, 202))
		n.Send(netip.AddrPortFrom(aliceAddr, 6001), to, []byte("no report"))
		p.talk(s.Local(), 50)
		if st := s.Stats(); st.RemoteLossNow != 0.25 || st.BadReports != 4 || st.Received < 150 {
			t.Errorf("%+v", st)
		}
		if n := p.count(); n < 45 {
			t.Errorf("the goodbye ended the sound: %d packets", n)
		}
	})
}
