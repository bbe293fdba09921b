package media

import (
	"math"
	"math/bits"
	"net/netip"
	"sync"
	"time"
)

// How a source of packets is proven. The peer's SDP is only a claim: behind NAT it is
// wrong, and anybody may send to an open port.
const (
	proofPackets = 3               // in sequence, from one address, with one SSRC
	proofAgain   = 6               // for a source that wants the place of one that fell silent
	proofGap     = 5               // sequence numbers that may be missing between two of them
	sourceIdle   = 2 * time.Second // after which a source counts as silent
	moveTime     = 5 * time.Second // after a peer gave a new address, it may begin to send from there
	rivalCount   = 6
)

// Limits of RFC 3550 §A.1.
const (
	maxDropout  = 3000
	maxMisorder = 100
	clockJump   = 2 // seconds; a timestamp so far off the clock begins a new stream
)

// inlet judges and counts what arrives on one session. It belongs to the read loop;
// the lock is for those who ask for numbers.
type inlet struct {
	mu         sync.Mutex
	claimed    netip.AddrPort // what the SDP says
	signalling netip.Addr     // where the peer's signalling comes from, when known
	source     netip.AddrPort // who is believed
	heard      time.Time      // when source last sent
	aimed      bool           // packets are sent to source since the last change of claimed
	again      int            // packets of source since then
	moveUntil  time.Time
	rivals     [rivalCount]rival

	stream  uint32
	started bool
	ssrc    uint32
	highest uint16 // sequence number
	cycles  uint32
	base    uint32 // extended sequence number of the first packet
	bad     uint32 // next sequence number that would prove a jump; above 16 bits: none
	seen    uint64 // bit i: highest-i has arrived

	fresh     uint32 // an SSRC on probation
	freshNext uint16

	clock   time.Time // origin for arrival times
	transit int32
	lastTS  uint32 // of the last audio packet
	lastAt  time.Time
	timed   bool
	rate    int     // of timestamps, in Hz
	jitter  float64 // in ticks of it

	shape  shape
	kernel bool // the source's packets are counted elsewhere: see handover

	signs       signs
	stats       inletStats
	lostBefore  int64 // lost of earlier streams
	got         uint32
	priorWanted uint32
	priorGot    uint32
}

type inletStats struct {
	received, octets, duplicates, late, stray, malformed, unknown, unopened uint64
}

// rival is a source that is not believed (yet).
type rival struct {
	from  netip.AddrPort
	ssrc  uint32
	seq   uint16
	count int
	at    time.Time
}

type verdict uint8

const (
	drop verdict = iota
	pass
	passAndAim // pass, and send to this source from now on
	takeBack   // first ask the kernel what it counted
)

// rank says how much an address may be believed: 2 is exactly what the SDP claims, 1 the
// same host or the host that signals, 0 anybody.
func (in *inlet) rank(a netip.AddrPort) int {
	switch {
	case !a.IsValid():
		return -1
	case a == in.claimed:
		return 2
	case a.Addr() == in.claimed.Addr() && in.claimed.IsValid(), a.Addr() == in.signalling:
		return 1
	}
	return 0
}

// renew takes note of new terms. moved: the peer claims another address.
func (in *inlet) renew(t *terms, moved bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	now := time.Now()
	if t.held || in.heard.IsZero() {
		in.heard = now
	}
	if !moved {
		return
	}
	in.claimed = t.remote
	in.moveUntil = now.Add(moveTime)
	in.aimed, in.again = false, 0
}

// judge decides what becomes of p and keeps the counters.
func (in *inlet) judge(p *packet) verdict {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.kernel && (p.from == in.source || in.proven(p)) {
		return takeBack
	}
	if p.from != in.source {
		if !in.proven(p) {
			in.stats.stray++
			in.signs.bad(p, in.rank(p.from) > 0 || !in.source.IsValid())
			return drop
		}
		in.signs.moved = in.rank(p.from) == 0
		in.source, in.aimed = p.from, true
		in.rivals = [rivalCount]rival{}
		in.restart(p)
		in.count(p)
		return passAndAim
	}
	in.heard = p.at
	if !in.inSequence(p) {
		return drop
	}
	in.count(p)
	if !in.aimed {
		if in.again++; in.again >= proofAgain {
			in.aimed = true
			return passAndAim
		}
	}
	return pass
}

// proven reports whether p makes its sender the source that we believe.
func (in *inlet) proven(p *packet) bool {
	if p.kind == kindNone {
		return false
	}
	rank, held := in.rank(p.from), in.rank(in.source)
	if held < 0 && rank == 2 {
		return true // the first packet from just where the peer said
	}
	r := in.rival(p, rank)
	switch {
	case r == nil || r.count < proofPackets:
		return false
	case held < 0, rank > held:
		return true
	case rank == held && p.at.Before(in.moveUntil):
		return true
	}
	// A running stream is never moved. One that fell silent may have a new address: NAT
	// forgets, cables are moved. From anywhere else only who goes on with the very stream is believed: nobody but its
	// sender, and who sees it anyhow, knows its SSRC and where its numbers are.
	return r.count >= proofAgain && p.at.Sub(in.heard) > sourceIdle &&
		(rank >= held || p.from.Addr() == in.source.Addr() || in.goesOn(p))
}

// goesOn reports whether p continues the stream that fell silent.
func (in *inlet) goesOn(p *packet) bool {
	return in.started && p.ssrc == in.ssrc && p.seq-in.highest < maxDropout
}

// rival finds or makes the record of p's sender and counts p for it. Better claims
// are never pushed out by worse ones, so a flood of strays cannot hide the peer.
func (in *inlet) rival(p *packet, rank int) *rival {
	var slot *rival
	for i := range in.rivals {
		r := &in.rivals[i]
		if r.from == p.from {
			r.follow(p)
			return r
		}
		if in.rank(r.from) > rank && p.at.Sub(r.at) < time.Second {
			continue
		}
		if slot == nil || r.at.Before(slot.at) {
			slot = r
		}
	}
	if slot != nil {
		*slot = rival{from: p.from, ssrc: p.ssrc, seq: p.seq, count: 1, at: p.at}
	}
	return slot
}

func (r *rival) follow(p *packet) {
	step := int16(p.seq - r.seq)
	switch {
	case r.ssrc == p.ssrc && p.at.Sub(r.at) < time.Second && step > 0 && step <= proofGap:
		r.count++
	case r.ssrc == p.ssrc && step <= 0 && step > -proofGap:
		return // a duplicate or a latecomer proves nothing and breaks nothing
	default:
		r.count = 1
	}
	r.ssrc, r.seq, r.at = p.ssrc, p.seq, p.at
}

// inSequence follows SSRC and sequence numbers as RFC 3550 §A.1 does, and finds duplicates.
func (in *inlet) inSequence(p *packet) bool {
	if !in.started {
		in.restart(p)
		return true
	}
	if p.ssrc != in.ssrc {
		if p.ssrc == in.fresh && p.seq == in.freshNext {
			in.restart(p)
			return true
		}
		in.fresh, in.freshNext = p.ssrc, p.seq+1
		return false
	}
	ahead := p.seq - in.highest
	switch {
	case ahead == 0:
		in.stats.duplicates++
		return false
	case ahead < maxDropout:
		if p.seq < in.highest {
			in.cycles += 1 << 16
		}
		in.highest = p.seq
		in.seen = in.seen<<ahead | 1 // a shift of 64 and more is 0 in Go
	case -ahead <= maxMisorder:
		back := -ahead
		if back >= 64 || in.seen&(1<<back) != 0 {
			in.stats.duplicates++
			return false
		}
		in.seen |= 1 << back
		in.stats.late++
	case in.bad == uint32(p.seq):
		in.restart(p) // two in sequence: the peer began anew
	default:
		in.bad = uint32(p.seq + 1)
		return false
	}
	return true
}

func (in *inlet) restart(p *packet) {
	if in.started {
		in.lostBefore += in.lost()
	}
	in.started = true
	in.stream++
	in.ssrc, in.highest, in.cycles, in.seen = p.ssrc, p.seq, 0, 1
	in.base, in.bad, in.fresh = uint32(p.seq), math.MaxUint32, 0
	in.got, in.priorWanted, in.priorGot = 0, 0, 0
	in.timed, in.jitter = false, 0
	in.heard = p.at
}

// count keeps the statistics of a packet that is passed, and marks it with its stream.
func (in *inlet) count(p *packet) {
	in.got++
	in.signs.good(p)
	in.stats.received++
	in.stats.octets += uint64(p.end - p.start)
	if p.kind == kindNone {
		in.stats.unknown++
	}
	if p.kind.audio() {
		in.time(p)
	}
	p.stream = in.stream
}

// time estimates the jitter, RFC 3550 §A.8, and notices a clock that was set anew.
func (in *inlet) time(p *packet) {
	if in.clock.IsZero() {
		in.clock = p.at
	}
	rate := p.kind.clock()
	if rate != in.rate { // another codec, whose timestamps are of another measure
		if in.timed {
			in.stream++
		}
		in.rate, in.timed, in.jitter = rate, false, 0
	}
	transit := int32(uint32(ticksIn(p.at.Sub(in.clock), rate)) - p.ts)
	if in.timed {
		off := int64(int32(p.ts-in.lastTS)) - ticksIn(p.at.Sub(in.lastAt), rate)
		if jump := int64(clockJump * rate); off > jump || off < -jump {
			in.stream++
		} else {
			d := math.Abs(float64(transit - in.transit))
			in.jitter += (d - in.jitter) / 16
		}
	}
	in.timed, in.transit, in.lastTS, in.lastAt = true, transit, p.ts, p.at
	in.shape = shape{p.number, p.buf[0] == 0x80, p.end - p.start}
}

func (in *inlet) wanted() uint32 { return in.cycles + uint32(in.highest) - in.base + 1 }

// lost of the present stream, without what still may come late.
func (in *inlet) lost() int64 {
	if !in.started {
		return 0
	}
	return max(int64(in.wanted())-int64(in.got), 0)
}

// report is the numbers of a reception report since the last one: RFC 3550 §6.4.1, §A.3.
type report struct {
	ssrc     uint32
	fraction uint8
	lost     uint32
	highest  uint32
	jitter   uint32
}

func (in *inlet) report() (report, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.started {
		return report{}, false
	}
	wanted := in.wanted()
	wantedNow, gotNow := wanted-in.priorWanted, in.got-in.priorGot
	in.priorWanted, in.priorGot = wanted, in.got
	r := report{
		ssrc: in.ssrc, lost: uint32(min(in.lost(), 1<<23-1)),
		highest: in.cycles + uint32(in.highest), jitter: uint32(in.jitter),
	}
	if wantedNow > gotNow && bits.LeadingZeros32(wantedNow) >= 8 {
		r.fraction = uint8((wantedNow - gotNow) << 8 / wantedNow)
	}
	return r, true
}

// quiet is for how long nothing came.
func (in *inlet) quiet(now time.Time, due bool) time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !due {
		in.heard = now
	}
	return now.Sub(in.heard)
}

// jittered is the jitter as a time. The caller holds the lock.
func (in *inlet) jittered() time.Duration {
	if in.rate == 0 {
		return 0
	}
	return timeOfTicks(int64(in.jitter), in.rate)
}

// begun reports whether the peer was ever heard.
func (in *inlet) begun() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.started
}

// present is the SSRC of the stream that we believe.
func (in *inlet) present() (ssrc uint32, known bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.ssrc, in.started
}

// reject counts a datagram that is no RTP.
func (in *inlet) reject() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.stats.malformed++
}

// refuse counts a datagram that was not protected as agreed.
func (in *inlet) refuse(at time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.stats.unopened++
	in.signs.unopened = at
}
