package media

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// outlet sends one RTP stream. Whoever feeds it, a player, a bridge or a finger on a
// key, the peer sees one SSRC with unbroken sequence numbers and a steady clock:
// RFC 3550 §5.1.
type outlet struct {
	mu      sync.Mutex
	conn    conn
	terms   *terms
	seal    *sealer // nil: packets are plain
	dest    netip.AddrPort
	players []*player // the last one speaks; while there is any, bridges are silent

	ssrc  uint32
	seq   uint16 // the next one
	ts    uint32 // where the sound sent so far ends
	start time.Time
	first uint32 // the timestamp of start
	clock int    // rate of timestamps, in Hz
	owner any    // who sent last

	packets, octets uint64
	failed          uint64
	buf             [packetSize + sealRoom]byte

	encoder encoder // of what players say, made when the first does
	encodes kind    // what it makes
}

func newOutlet(c conn) *outlet {
	// RFC 3550 §5.1: all three are random. RFC 3711 §3.3.1: a number in the lower half, or a peer that misses the
	// first packets may count the rounds wrongly.
	first := rand.Uint32()
	return &outlet{conn: c, ssrc: rand.Uint32(), seq: uint16(rand.Uint32N(1 << 15)), ts: first, first: first, start: time.Now(), clock: clockRate}
}

// renew puts new terms into force.
func (o *outlet) renew(t *terms, moved bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.terms = t
	if clock := t.audio.clock(); clock != o.clock {
		o.rewind(clock)
	}
	if o.seal != nil && o.seal == t.seal && t.rekeyed && o.seal.wrapped() {
		// Peers differ in whether a new key of theirs begins the count of our rounds anew. A new stream has had none.
		o.ssrc, o.seq, o.owner = rand.Uint32(), uint16(rand.Uint32N(1<<15)), nil
	}
	o.seal = t.seal
	if moved {
		o.dest = t.remote
	}
}

// rewind begins a stream with another clock. RFC 7160 §4.1: that has a name of its own.
func (o *outlet) rewind(clock int) {
	first := rand.Uint32()
	o.clock, o.first, o.ts, o.start, o.owner = clock, first, first, time.Now(), nil
	if o.packets > 0 {
		o.ssrc, o.seq = rand.Uint32(), uint16(rand.Uint32N(1<<15))
	}
}

// aim makes to the place to send to.
func (o *outlet) aim(to netip.AddrPort) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dest = to
}

func (o *outlet) target() netip.AddrPort {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.dest
}

// enter makes p the one who is heard until leave.
func (o *outlet) enter(p *player) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.players = append(o.players, p)
}

func (o *outlet) leave(p *player) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, q := range o.players {
		if q == p {
			o.players = append(o.players[:i], o.players[i+1:]...)
			return
		}
	}
}

// begin starts a stretch of sound: its timestamp is that of the clock, but never before
// the end of what was sent.
func (o *outlet) begin(owner any, now time.Time) {
	o.owner = owner
	clock := o.first + uint32(ticksIn(now.Sub(o.start), o.clock))
	if int32(clock-o.ts) > 0 {
		o.ts = clock
	}
}

// ready reports whether anything may be sent at all. RFC 3264 §8.4: nothing goes to a
// peer that put us on hold.
func (o *outlet) ready() bool {
	return o.terms != nil && o.terms.sends() && o.dest.IsValid() && (o.seal != nil || !o.terms.secured)
}

// speak sends samples for p, unless another player speaks.
func (o *outlet) speak(p *player, samples []int16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ready() || o.players[len(o.players)-1] != p {
		return
	}
	// RFC 3551 §4.1: the marker shows where a talk spurt begins.
	marker := o.owner != p
	if marker {
		o.begin(p, time.Now())
	}
	o.say(marker, samples)
}

// say encodes samples and sends them. The peer of a codec that we only pass on hears nothing.
func (o *outlet) say(marker bool, samples []int16) {
	if k := o.terms.audio; o.encodes != k {
		o.encoder, o.encodes = newEncoder(o.terms), k
	}
	if o.encoder == nil {
		return
	}
	n := o.encoder.encode(o.buf[headerSize:packetSize], samples)
	h := header{marker: marker, number: o.terms.number, seq: o.seq, ts: o.ts, ssrc: o.ssrc}
	o.ts += uint32(len(samples) * o.clock / SampleRate)
	if n > 0 {
		o.seq++
		o.send(&h, o.buf[:headerSize+n])
	}
}

// send writes h over the first octets of b and sends b.
func (o *outlet) send(h *header, b []byte) {
	h.write(b)
	plain := len(b)
	if o.seal != nil {
		if b = o.seal.sealRTP(b, h); b == nil {
			o.failed++
			return
		}
	}
	if _, err := o.conn.WriteToUDPAddrPort(b, o.dest); err != nil {
		o.failed++ // no route, a full queue: sound is not sent twice
		return
	}
	o.packets++
	o.octets += uint64(plain - headerSize)
}

// link carries what one session hears to the other. Its fields belong to the read loop
// of the first and are used under the lock of the second's outlet.
type link struct {
	from   *Session
	to     *Session
	stream uint32
	seqOff uint16 // from the first's numbers to ours
	tsOff  uint32
	base   uint16 // what comes before is not of this stretch, or too late

	packing bool   // packets are cut anew, for the second wants another length
	pending []byte // sound not yet sent
	due     uint32 // timestamp of the first of pending, or of what comes next

	turner *turner // where the codecs differ; nil until then
	over   atomic.Bool
	ring   ring // a key that becomes tone
}

// passes reports whether sound of that kind can be sent on as it is, or by way of a table.
func (o *outlet) passes(l *link, k kind) bool {
	ours := o.terms.audio
	switch {
	case k.law():
		return ours.law()
	case k != ours:
		return false
	case k.known():
		return true
	}
	t := l.from.terms.Load()
	return t != nil && t.other == o.terms.other
}

// relay sends p on, or says that it is sound that has to be turned into another codec. It allocates nothing.
func (o *outlet) relay(l *link, p *packet) (turn bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.players) > 0 || !o.ready() {
		return false
	}
	passes := p.kind.event() && o.terms.events
	if p.kind.audio() {
		passes = o.passes(l, p.kind)
		if !passes && p.kind.known() && o.terms.audio.known() {
			return true
		}
	}
	if !passes {
		if p.kind.event() {
			o.ringOut(l, p)
		}
		// Not for this peer. What follows closes up, so that it looks like no loss.
		if o.owner == l && l.stream == p.stream && !l.packing && int16(p.seq+l.seqOff-o.seq) >= 0 {
			l.seqOff--
		}
		return false
	}
	if l.turner != nil && p.kind.event() && o.owner == l.turner {
		l.turner.key(o, p)
		return false
	}
	o.pass(l, p)
	return false
}

// pass sends p on as it is, but for its numbers.
func (o *outlet) pass(l *link, p *packet) {
	packing := l.packing
	if p.kind.audio() {
		packing = p.kind.even() && o.otherLength(p.end-p.start)
	}
	marker := p.marker
	if o.owner != l || l.stream != p.stream || l.packing != packing {
		o.begin(l, p.at)
		marker = true
		l.stream, l.base, l.packing = p.stream, p.seq, packing
		l.seqOff, l.tsOff = o.seq-p.seq, o.ts-p.ts
		l.pending, l.due = l.pending[:0], p.ts
	}
	switch ahead := int16(p.seq - l.base); {
	case ahead < 0:
		return // older than this stretch
	case ahead > 2*maxMisorder:
		l.base = p.seq - maxMisorder // numbers come round again
	}
	h := header{marker: marker, seq: p.seq + l.seqOff, ts: p.ts + l.tsOff, ssrc: o.ssrc}
	if p.kind.event() {
		h.number = o.terms.event
		rescale(p.payload(), p.kind, o.terms.keys)
		if packing {
			h.seq = o.seq
		}
		o.advance(h.ts)
	} else {
		convert(p.payload(), p.kind, o.terms.audio)
		h.number = o.terms.number
		if packing {
			o.repack(l, p, marker)
			return
		}
		o.advance(h.ts + p.ticks(o.terms.ptime))
	}
	if int16(h.seq+1-o.seq) > 0 {
		o.seq = h.seq + 1
	}
	o.send(&h, p.buf[p.start-headerSize:p.end])
}

// otherLength reports whether packets of n samples are not what the peer asked for.
func (o *outlet) otherLength(n int) bool { return n != o.terms.ptime*clockRate/1000 }

func (o *outlet) advance(ts uint32) {
	if int32(ts-o.ts) > 0 {
		o.ts = ts
	}
}

// repack cuts the sound into packets of the length that the peer asked for.
func (o *outlet) repack(l *link, p *packet, marker bool) {
	want := o.terms.ptime * clockRate / 1000
	next := l.due + uint32(len(l.pending))
	if int32(p.ts-next) < 0 {
		return // too late: its place is sent already
	}
	if p.ts != next {
		if len(l.pending) > 0 {
			o.sendPiece(l, len(l.pending), false)
		}
		l.pending, l.due = l.pending[:0], p.ts
	}
	l.pending = append(l.pending, p.payload()...)
	for len(l.pending) >= want {
		o.sendPiece(l, want, marker)
		marker = false
	}
}

func (o *outlet) sendPiece(l *link, n int, marker bool) {
	copy(o.buf[headerSize:], l.pending[:n])
	h := header{marker: marker, number: o.terms.number, seq: o.seq, ts: l.due + l.tsOff, ssrc: o.ssrc}
	o.seq++
	o.advance(h.ts + uint32(n))
	o.send(&h, o.buf[:headerSize+n])
	l.due += uint32(n)
	l.pending = l.pending[:copy(l.pending, l.pending[n:])]
}
