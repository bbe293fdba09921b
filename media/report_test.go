package media_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"pbx/media"
	"pbx/media/mediatest"
)

// reports collects the RTCP that comes to a peer.
func reports(t *testing.T, n *mediatest.Net, at netip.AddrPort) (conn *mediatest.Conn, take func() []rtcp.Packet) {
	t.Helper()
	c, err := n.ListenPacket(context.Background(), at)
	if err != nil {
		t.Fatal(err)
	}
	conn = c.(*mediatest.Conn)
	t.Cleanup(func() { conn.Close() })
	got := make(chan []byte, 1000)
	go func() {
		buf := make([]byte, 2000)
		for {
			k, _, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			got <- append([]byte(nil), buf[:k]...)
		}
	}()
	return conn, func() []rtcp.Packet {
		var all []rtcp.Packet
		for {
			select {
			case b := <-got:
				packets, err := rtcp.Unmarshal(b)
				if err != nil {
					t.Errorf("report % x: %v", b, err)
				}
				all = append(all, packets...)
			default:
				return all
			}
		}
	}
}

// TestReports: sender reports with a name while we send, receiver reports while we only listen,
// with the truth about loss, and a goodbye at the end.
func TestReports(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		sent := 0
		n.Judge = func(_, to netip.AddrPort, _ []byte) mediatest.Fate {
			if to != s.Local() {
				return mediatest.Fate{}
			}
			sent++
			return mediatest.Fate{Drop: sent%10 == 0}
		}
		p := newPeer(t, n, aliceAddr)
		conn, take := reports(t, n, netip.AddrPortFrom(aliceAddr, 6001))
		p.agree(t, s)
		p.talk(s.Local(), 1500) // 30 s
		senders, receivers, names := 0, 0, map[string]bool{}
		lost := uint32(0)
		for _, r := range take() {
			switch r := r.(type) {
			case *rtcp.SenderReport:
				senders++
			case *rtcp.ReceiverReport:
				receivers++
				if len(r.Reports) == 1 && r.Reports[0].SSRC == p.ssrc {
					lost = r.Reports[0].TotalLost
					if f := r.Reports[0].FractionLost; f < 20 || f > 30 {
						t.Errorf("fraction %d of 256 lost, want a tenth", f)
					}
				}
			case *rtcp.SourceDescription:
				names[r.Chunks[0].Items[0].Text] = true
			}
		}
		if senders != 0 || receivers < 4 || receivers > 12 || len(names) != 1 || lost < 100 || lost > 150 {
			t.Errorf("%d sender and %d receiver reports, %d names, %d lost", senders, receivers, len(names), lost)
		}

		stop := play(s, mediatest.Say(400))
		time.Sleep(10 * time.Second)
		// The peer misses some and says so, and its report gives the round trip.
		var last *rtcp.SenderReport
		for _, r := range take() {
			if sr, ok := r.(*rtcp.SenderReport); ok {
				last = sr
			}
		}
		if last == nil || last.PacketCount < 100 || last.OctetCount != last.PacketCount*160 {
			t.Fatalf("sender report %+v", last)
		}
		forged := rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: last.SSRC, TotalLost: 42, FractionLost: 64, Jitter: 80}}}
		b, err := forged.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		rtcpPort := netip.AddrPortFrom(s.Local().Addr(), s.Local().Port()+1)
		n.Send(thiefAddr, rtcpPort, b)
		time.Sleep(10 * time.Millisecond)
		if st := s.Stats(); st.RemoteLost != 0 {
			t.Error("a stranger's report counts")
		}
		if _, err := conn.WriteToUDPAddrPort(b, rtcpPort); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		if st := s.Stats(); st.RemoteLost != 42 || st.RemoteLossNow != 0.25 || st.RemoteJitter != 10*time.Millisecond {
			t.Errorf("%+v", st)
		}
		stop()
		take()
		s.Close()
		time.Sleep(10 * time.Millisecond)
		bye := false
		for _, r := range take() {
			if g, ok := r.(*rtcp.Goodbye); ok && g.Sources[0] == last.SSRC {
				bye = true
			}
		}
		if !bye {
			t.Error("no goodbye")
		}
	})
}

// TestReportsGoElsewhere: a=rtcp of the peer's SDP is obeyed, until its reports come from another port.
func TestReportsGoElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		p := newPeer(t, n, aliceAddr)
		_, told := reports(t, n, netip.AddrPortFrom(aliceAddr, 7777))
		other, learnt := reports(t, n, netip.AddrPortFrom(aliceAddr, 8888))
		p.agree(t, s, "m=audio 6000 RTP/AVP 0", "a=rtcp:7777")
		p.talk(s.Local(), 1000)
		if len(told()) == 0 || len(learnt()) != 0 {
			t.Error("a=rtcp is not obeyed")
		}
		b, err := (&rtcp.ReceiverReport{SSRC: p.ssrc}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.WriteToUDPAddrPort(b, netip.AddrPortFrom(pbxAddr, s.Local().Port()+1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		told() // what was on its way
		p.talk(s.Local(), 1000)
		if len(told()) != 0 || len(learnt()) == 0 {
			t.Error("reports are not symmetric")
		}
	})
}
