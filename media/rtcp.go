package media

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/pion/rtcp"
)

// reportTime is the mean time between two reports: RFC 3550 §6.2 asks for at least 5 s.
const reportTime = 5 * time.Second

// reporter is the RTCP side of a session.
type reporter struct {
	s     *Session
	cname string

	mu       sync.Mutex
	next     time.Time
	sent     uint64         // packets that the last report counted
	learnt   netip.AddrPort // where the peer's reports come from
	lastSR   uint32         // the middle of the peer's NTP time: RFC 3550 §6.4.1
	lastSRAt time.Time
	sending  time.Time            // when the peer said that it sends
	learntAt time.Time            // when it sent the last one
	seen     rtcp.ReceptionReport // the peer's last report on us
	seenAt   time.Time
	notes    uint64 // reports on us
	round    time.Duration
	bad      uint64 // datagrams that were none, or not the peer's
}

func (r *reporter) init(s *Session) {
	r.s = s
	// RFC 7022 §4.2: a random name for each session tells nothing about this host.
	r.cname = strconv.FormatUint(rand.Uint64(), 36)
	r.next = time.Now().Add(jittered(reportTime / 2))
}

// jittered spreads d between half and one and a half: RFC 3550 §6.3.1.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// forget drops what was learnt about the peer's address.
func (r *reporter) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.learnt = netip.AddrPort{}
}

// sweep sends a report when it is time.
func (r *reporter) sweep(now time.Time) {
	r.mu.Lock()
	due := !now.Before(r.next)
	if due {
		r.next = now.Add(jittered(reportTime))
	}
	r.mu.Unlock()
	if due {
		r.send(now)
	}
}

// bye tells the peer that nothing more will come: RFC 3550 §6.3.7.
func (r *reporter) bye() {
	r.s.out.mu.Lock()
	sent, ssrc := r.s.out.packets, r.s.out.ssrc
	r.s.out.mu.Unlock()
	if sent > 0 {
		r.send(time.Now(), &rtcp.Goodbye{Sources: []uint32{ssrc}})
	}
}

func (r *reporter) send(now time.Time, more ...rtcp.Packet) {
	to := r.target()
	if !to.IsValid() {
		return
	}
	first, ssrc := r.report(now)
	b, err := rtcp.Marshal(append([]rtcp.Packet{first, rtcp.NewCNAMESourceDescription(ssrc, r.cname)}, more...))
	if err != nil {
		r.s.log.Debug("report not made", "error", err)
		return
	}
	if b = r.s.sealReport(b); b == nil {
		return
	}
	if err := r.write(b, to); err != nil {
		r.s.log.Debug("report not sent", "error", err)
	}
}

// write sends a compound packet from the socket that the peer expects it from.
func (r *reporter) write(b []byte, to netip.AddrPort) error {
	from := r.s.rtcp
	if t := r.s.terms.Load(); t != nil && t.mux {
		from = r.s.rtp // RFC 5761 §5.1.1
	}
	_, err := from.WriteToUDPAddrPort(b, to)
	return err
}

// target is where the peer wants reports: where its own come from, else what its SDP says,
// else the port above its RTP.
func (r *reporter) target() netip.AddrPort {
	t := r.s.terms.Load()
	dest := r.s.out.target()
	if t == nil || !dest.IsValid() {
		return netip.AddrPort{}
	}
	r.mu.Lock()
	learnt := r.learnt
	r.mu.Unlock()
	switch {
	case t.mux:
		return dest
	case learnt.IsValid():
		return learnt
	case dest == t.remote:
		return t.rtcp
	case dest.Port() == 0xffff:
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(dest.Addr(), dest.Port()+1)
}

// report is a sender report when anything was sent since the last one, else a receiver
// report: RFC 3550 §6.4.
func (r *reporter) report(now time.Time) (rtcp.Packet, uint32) {
	var reports []rtcp.ReceptionReport
	in, ok := r.s.in.report()
	o := r.s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if ok {
		rr := rtcp.ReceptionReport{
			SSRC: in.ssrc, FractionLost: in.fraction, TotalLost: in.lost,
			LastSequenceNumber: in.highest, Jitter: in.jitter,
		}
		if !r.lastSRAt.IsZero() {
			rr.LastSenderReport = r.lastSR
			rr.Delay = uint32(now.Sub(r.lastSRAt) * (1 << 16) / time.Second)
		}
		reports = append(reports, rr)
	}
	if o.packets == r.sent {
		return &rtcp.ReceiverReport{SSRC: o.ssrc, Reports: reports}, o.ssrc
	}
	r.sent = o.packets
	return &rtcp.SenderReport{
		SSRC: o.ssrc, NTPTime: ntp(now), RTPTime: o.first + uint32(ticksIn(now.Sub(o.start), o.clock)),
		PacketCount: uint32(o.packets), OctetCount: uint32(o.octets), Reports: reports,
	}, o.ssrc
}

// ntp is t as seconds since 1900 in 32.32 bits.
func ntp(t time.Time) uint64 {
	const since1900 = 2208988800
	return uint64(t.Unix()+since1900)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// takeRTCP takes a datagram of the second socket.
func (s *Session) takeRTCP(b []byte, from netip.AddrPort) {
	s.takeReport(b, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), time.Now())
}

// learntIdle is how long the peer's reports must have been missing before others from its host may take their place.
const learntIdle = 3 * reportTime

// take reads a compound packet. Only the host that we send to is listened to, from the port that its reports came from
// before, and only about the stream that we believe. A goodbye ends nothing: that is for signalling to say.
func (r *reporter) take(b []byte, from netip.AddrPort, now time.Time) {
	host := r.s.out.target().Addr()
	stream, known := r.s.in.present()
	r.s.out.mu.Lock()
	ours := r.s.out.ssrc
	r.s.out.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if from.Addr() != host || r.learnt.IsValid() && r.learnt != from && now.Sub(r.learntAt) < learntIdle {
		r.bad++
		return
	}
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		r.bad++
		return
	}
	for _, p := range packets {
		// RFC 3611: extended reports are welcome, and say nothing that we need. What else there may be is passed over.
		switch p := p.(type) {
		case *rtcp.SenderReport:
			if known && p.SSRC != stream {
				r.bad++
				return
			}
			r.lastSR, r.lastSRAt, r.sending = uint32(p.NTPTime>>16), now, now
			r.note(p.Reports, ours, now)
		case *rtcp.ReceiverReport:
			r.note(p.Reports, ours, now)
		case *rtcp.Goodbye:
			r.sending = time.Time{}
		}
	}
	r.learnt, r.learntAt = from, now
}

// note keeps what the peer says about our stream.
func (r *reporter) note(reports []rtcp.ReceptionReport, ours uint32, now time.Time) {
	for _, rr := range reports {
		if rr.SSRC != ours {
			continue
		}
		r.seen, r.seenAt = rr, now
		r.notes++
		if rr.LastSenderReport != 0 {
			// RFC 3550 §6.4.1: in units of 1/65536 s, modulo 2^32.
			d := uint32(ntp(now)>>16) - rr.LastSenderReport - rr.Delay
			if int32(d) >= 0 {
				r.round = time.Duration(d) * time.Second >> 16
			}
		}
	}
}

// hearsay is what the peer says of our stream.
type hearsay struct {
	count  uint64 // reports so far
	loss   float64
	jitter time.Duration
}

func (r *reporter) heard() (hearsay, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return hearsay{r.notes, 100 * float64(r.seen.FractionLost) / 256, timeOfTicks(int64(r.seen.Jitter), r.s.clock())}, r.round
}

// saidToSend is when the peer last reported that it sends, without taking leave.
func (r *reporter) saidToSend() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sending
}

func (r *reporter) fill(st *SessionStats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st.RoundTrip = r.round
	st.RemoteLost = uint64(r.seen.TotalLost)
	st.BadReports = r.bad
	st.RemoteJitter = timeOfTicks(int64(r.seen.Jitter), r.s.clock())
	st.RemoteLossNow = float64(r.seen.FractionLost) / 256
}
