package media

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
	"sync/atomic"
)

// Keys as tones in the sound, ITU-T Q.23 and Q.24, for peers that have nothing else: they agreed to no telephone-event
// and send no SIP INFO.

// The tones of Q.23 §5, and which key a row and a column make.
var (
	rowTones    = [4]float64{697, 770, 852, 941}
	columnTones = [4]float64{1209, 1336, 1477, 1633}
	keyPad      = [4][4]rune{{'1', '2', '3', 'A'}, {'4', '5', '6', 'B'}, {'7', '8', '9', 'C'}, {'*', '0', '#', 'D'}}
)

const (
	toneBlock = 102     // samples of 8 kHz, 12.75 ms: two of them are within the shortest press of Q.24, 40 ms
	toneHits  = 2       // blocks in a row that make a press
	toneMiss  = 2       // blocks in a row that end it: an interruption of 10 ms is none
	toneFloor = 8.0e4   // mean square of a tone that counts: -41 dBFS
	twist     = 6.3     // 8 dB: how much louder the column may be
	backTwist = 2.5 * 2 // 7 dB: how much louder the row may be; lines damp high tones
	rivalTone = 6.3     // 8 dB: how much louder a tone is than those beside it
	pureness  = 0.79    // of the energy of a block that must be in the two tones: speech has more than that elsewhere
)

// toneEar finds keys in narrow sound.
type toneEar struct {
	rows, columns [4]resonator
	energy        float64
	n             int

	hit    rune // of the latest block
	hits   int
	misses int
	key    rune // being pressed; 0: none
}

// resonator measures the energy of a block at one frequency (Goertzel).
type resonator struct{ coefficient, a, b float64 }

func (r *resonator) feed(v float64) { r.a, r.b = v+r.coefficient*r.a-r.b, r.a }

// take is the energy since the last take, all of it for a pure tone.
func (r *resonator) take() float64 {
	e := (r.a*r.a + r.b*r.b - r.coefficient*r.a*r.b) * 2 / toneBlock
	r.a, r.b = 0, 0
	return e
}

func newToneEar() *toneEar {
	e := &toneEar{}
	for i := range rowTones {
		e.rows[i].coefficient = 2 * math.Cos(2*math.Pi*rowTones[i]/narrowRate)
		e.columns[i].coefficient = 2 * math.Cos(2*math.Pi*columnTones[i]/narrowRate)
	}
	return e
}

// reset forgets what was heard.
func (e *toneEar) reset() {
	for i := range e.rows {
		e.rows[i].take()
		e.columns[i].take()
	}
	e.energy, e.n, e.hit, e.hits, e.misses, e.key = 0, 0, 0, 0, 0, 0
}

// hear listens to samples. It returns the key whose press was recognised in them, or 0.
func (e *toneEar) hear(samples []int16) (pressed rune) {
	for _, s := range samples {
		v := float64(s)
		e.energy += v * v
		for i := range e.rows {
			e.rows[i].feed(v)
			e.columns[i].feed(v)
		}
		if e.n++; e.n == toneBlock {
			if k := e.block(); k != 0 {
				pressed = k
			}
		}
	}
	return pressed
}

// block judges a whole block.
func (e *toneEar) block() (pressed rune) {
	hit := e.judge()
	e.n, e.energy = 0, 0
	if hit != 0 && hit == e.hit {
		e.hits++
	} else {
		e.hits = 1
	}
	e.hit = hit
	switch {
	case e.key != 0 && hit == e.key:
		e.misses = 0
	case e.key != 0:
		if e.misses++; e.misses >= toneMiss {
			e.key = 0
		}
	}
	if e.key == 0 && hit != 0 && e.hits >= toneHits {
		e.key, e.misses = hit, 0
		return hit
	}
	return 0
}

// judge is the key that the block holds, if it holds one and nothing else: Q.24 annex A.
func (e *toneEar) judge() rune {
	r, row := loudest(&e.rows)
	c, column := loudest(&e.columns)
	switch {
	case r < 0 || c < 0, row < toneFloor*toneBlock || column < toneFloor*toneBlock:
		return 0
	case column > row*twist || row > column*backTwist:
		return 0
	case row+column < pureness*e.energy:
		return 0
	}
	return keyPad[r][c]
}

// loudest is which tone of a group stands out, -1 if none does, and its energy.
func loudest(group *[4]resonator) (at int, most float64) {
	var all [4]float64
	for i := range group {
		if all[i] = group[i].take(); all[i] > most {
			at, most = i, all[i]
		}
	}
	for i, v := range all {
		if i != at && v*rivalTone > most {
			return -1, most
		}
	}
	return at, most
}

// inband is the ear for keys in the sound of a session. All but off belongs to the read loop.
type inband struct {
	off atomic.Bool // the peer sends its keys another way

	ear    *toneEar
	stream uint32
	next   uint32 // timestamp that goes on without a gap

	event    uint8  // of the key being pressed
	start    uint32 // timestamp of its beginning
	duration uint16
	fresh    bool // nothing of it was sent on yet
	ends     int  // end packets still to be sent
}

// KeysByINFO says that the peer sends keys in its signalling: tones in its sound are not looked for any more.
func (s *Session) KeysByINFO() { s.inband.off.Store(true) }

// listensForTones reports whether keys may come as tones: RFC 4733 §1 is the better way where it was agreed.
func (s *Session) listensForTones() bool {
	t := s.terms.Load()
	return t != nil && !t.events && !s.inband.off.Load()
}

// hearKeys looks for keys in a packet of G.711. What belongs to a press goes on to a peer that takes events as one.
func (s *Session) hearKeys(p *packet, l *link) {
	in := &s.inband
	if in.ear == nil {
		in.ear = newToneEar()
	}
	if p.stream != in.stream || int32(p.ts-in.next) < -narrowRate || int32(p.ts-in.next) > narrowRate {
		in.ear.reset()
		in.ends = 0
	} else if int32(p.ts-in.next) < 0 {
		if in.ear.key != 0 {
			hush(p)
		}
		return // a latecomer: its place was heard as lost already
	}
	in.stream, in.next = p.stream, p.ts+uint32(p.end-p.start)
	var sound [packetSize]int16
	n := decodeLaw(sound[:], p.payload(), p.kind)
	held := in.ear.key
	if k := in.ear.hear(sound[:n]); k != 0 {
		in.event, in.start, in.fresh, in.ends = uint8(strings.IndexRune(keys, k)), p.ts, true, endRepeat
		in.duration = uint16(n)
		select {
		case s.digits <- k:
		default: // nobody reads
		}
		held = k
	}
	if l == nil || !l.to.takesEvents() {
		in.ends = 0
		return
	}
	switch {
	case held != 0 && in.ear.key != 0:
		in.duration = uint16(min(in.next-in.start, math.MaxUint16))
		in.become(p, false)
	case in.ends > 0:
		in.ends--
		in.become(p, true)
	case in.ear.hit != 0 && in.ear.hits < toneHits:
		hush(p) // it may be the beginning of a press, and who gets the event must not hear the tone too
	}
}

// become makes an event of a packet: RFC 4733 §2.3, §2.5.1.
func (in *inband) become(p *packet, end bool) {
	b := p.payload()
	if len(b) < 4 {
		return
	}
	p.clock = narrowRate
	p.kind, p.ts, p.marker, p.end = kindEvent, in.start, in.fresh, p.start+4
	in.fresh = false
	b[0], b[1] = in.event, keyVolume
	if end {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], in.duration)
}

// hush makes silence of a packet of G.711.
func hush(p *packet) {
	quiet := byte(0xff)
	if p.kind == kindPCMA {
		quiet = 0xd5
	}
	b := p.payload()
	for i := range b {
		b[i] = quiet
	}
}

func decodeLaw(dst []int16, payload []byte, k kind) int {
	table := ulawDecode
	if k == kindPCMA {
		table = alawDecode
	}
	n := min(len(dst), len(payload))
	for i, b := range payload[:n] {
		dst[i] = table[b]
	}
	return n
}

func (s *Session) takesEvents() bool {
	t := s.terms.Load()
	return t != nil && t.events
}

const (
	pressTicks = 8000 / 10 // a key that we press: 100 ms
	pauseTicks = 8000 / 10
	leastTicks = 8000 * 70 / 1000 // the shortest tone that we make of an event: ITU-T Q.24 asks for 40 ms at least
	toneBurst  = 5                // packets of tone that one event makes at once at most
	digitLevel = 0.16             // of full scale for each of the two tones: -19 dBFS
)

// keyTones are keys as sound, one after another.
type keyTones struct {
	keys []rune
	at   int // sample of the present one
}

// KeyTones is the sound of keys, for peers that know no other way. It fails on what is no key.
func KeyTones(digits string) (Source, error) {
	k := &keyTones{}
	for _, d := range strings.ToUpper(digits) {
		if !strings.ContainsRune(keys, d) {
			return nil, fmt.Errorf("press %q: no such key", d)
		}
		k.keys = append(k.keys, d)
	}
	return k, nil
}

func (k *keyTones) ReadFrame(f *Frame) error {
	if len(k.keys) == 0 {
		return io.EOF
	}
	const scale = SampleRate / 8000
	*f = Frame{}
	if k.at < pressTicks*scale {
		tone(f[:min(len(f), pressTicks*scale-k.at)], uint8(strings.IndexRune(keys, k.keys[0])), k.at)
	}
	if k.at += len(f); k.at >= (pressTicks+pauseTicks)*scale {
		k.keys, k.at = k.keys[1:], 0
	}
	return nil
}

// tone fills samples with the sound of a key, from the at-th sample of its press.
func tone(samples []int16, event uint8, at int) {
	row, column := tonesOf(event)
	for i := range samples {
		x := 2 * math.Pi * float64(at+i) / SampleRate
		samples[i] = int16(digitLevel * math.MaxInt16 * (math.Sin(row*x) + math.Sin(column*x)))
	}
}

func tonesOf(event uint8) (row, column float64) {
	for r := range keyPad {
		for c, k := range keyPad[r] {
			if k == rune(keys[event]) {
				return rowTones[r], columnTones[c]
			}
		}
	}
	return 0, 0
}

// ring is a key that arrives as events and leaves as tone. It belongs to a link.
type ring struct {
	on     bool
	stream uint32
	ts     uint32
	event  uint8
	done   int // samples that were made of it
	over   bool
}

// ringOut makes tone of an event for a peer that takes none. The caller holds o.mu.
func (o *outlet) ringOut(l *link, p *packet) {
	b := p.payload()
	if len(b) < 4 || int(b[0]) >= len(keys) {
		return
	}
	r := &l.ring
	if !r.on || r.stream != p.stream || int32(p.ts-r.ts) > 0 {
		*r = ring{on: true, stream: p.stream, ts: p.ts, event: b[0]}
	}
	if p.ts != r.ts || r.over {
		return // of an earlier press, or its end once more
	}
	const scale = SampleRate / 8000
	until := int(binary.BigEndian.Uint16(b[2:])) * SampleRate / p.clock
	if r.over = b[1]&0x80 != 0; r.over {
		until = max(until, leastTicks*scale)
	}
	size := o.terms.ptime * SampleRate / 1000
	var sound [SampleRate * 60 / 1000]int16
	for burst := 0; burst < toneBurst && (r.done+size <= until || r.over && r.done < until); burst++ {
		clear(sound[:size])
		tone(sound[:min(size, until-r.done)], r.event, r.done)
		marker := o.owner != r
		if marker {
			o.begin(r, p.at)
		}
		o.say(marker, sound[:size])
		r.done += size
	}
}
