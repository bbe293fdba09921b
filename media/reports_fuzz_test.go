package media

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// FuzzReports throws datagrams at the RTCP of a session, from the peer and from strangers. Nothing may panic, figures stay
// within what can be, and what we report is RTCP.
func FuzzReports(f *testing.F) {
	good, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.SenderReport{SSRC: 7, NTPTime: 1 << 40, Reports: []rtcp.ReceptionReport{{SSRC: 9, FractionLost: 255, Jitter: 1 << 31}}},
		&rtcp.ExtendedReport{SenderSSRC: 7, Reports: []rtcp.ReportBlock{&rtcp.DLRRReportBlock{}}},
		&rtcp.Goodbye{Sources: []uint32{7}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, uint32(9))
	f.Add([]byte{0x81, 201, 0, 7}, uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, ssrc uint32) {
		e := &Engine{cfg: Config{Timeout: time.Minute, Log: discard()}}
		out := &captured{}
		s := newSession(e, pair{rtp: &captured{}, rtcp: out})
		peer := netip.MustParseAddrPort("192.0.2.1:4000")
		s.agree(&terms{audio: kindPCMU, remote: peer, rtcp: peer, direction: both, ptime: 20})
		s.out.ssrc = ssrc
		now := time.Now()
		s.reports.take(bytes.Clone(b), netip.MustParseAddrPort("203.0.113.9:1"), now)
		if st := s.Stats(); st.BadReports != 1 || st.RemoteLost != 0 {
			t.Fatalf("a stranger counts: %+v", st)
		}
		s.reports.take(bytes.Clone(b), peer, now)
		s.look(now, true)
		s.measure(now.Add(time.Minute))
		if q := s.Quality(); q.To.MOS < 0 || q.To.MOS > 4.5 || q.To.Loss < 0 || q.To.Loss > 100 || q.RoundTrip < 0 {
			t.Fatalf("%+v", q)
		}
		s.QualitySummary()
		s.reports.send(now)
		for _, sent := range out.sent {
			if _, err := rtcp.Unmarshal(sent); err != nil {
				t.Fatalf("sent % x: %v", sent, err)
			}
		}
	})
}

// FuzzTones throws sound at the ear for keys and the bridge that makes events of them.
func FuzzTones(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0x10, 0x90}, 300), uint16(160))
	f.Fuzz(func(t *testing.T, sound []byte, step uint16) {
		e := &Engine{cfg: Config{Timeout: time.Minute, Log: discard()}}
		out := &captured{}
		a, b := newSession(e, pair{rtp: &captured{}, rtcp: &captured{}}), newSession(e, pair{rtp: out, rtcp: &captured{}})
		peer := netip.MustParseAddrPort("192.0.2.1:4000")
		plain := &terms{audio: kindPCMU, remote: peer, direction: both, ptime: 20}
		plain.recv[0] = kindPCMU
		keyed := *plain
		keyed.events, keyed.event = true, 101
		a.agree(plain)
		b.agree(&keyed)
		Join(a, b)
		p, now := packet{from: peer}, time.Now()
		for i := uint16(0); len(sound) > 0 && i < 50; i++ {
			n := min(len(sound), 160)
			raw := append([]byte{0x80, 0, byte(i >> 8), byte(i), 0, 0, byte(i * step >> 8), byte(i * step), 0, 0, 0, 1}, sound[:n]...)
			sound = sound[n:]
			p.buf, p.at = raw, now.Add(time.Duration(i)*20*time.Millisecond)
			a.take(&p)
		}
		for _, sent := range out.sent {
			if p := (packet{buf: sent}); !p.parse() {
				t.Fatalf("sent % x", sent)
			}
		}
	})
}
