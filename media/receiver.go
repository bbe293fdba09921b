package media

import (
	"slices"
	"time"
)

const (
	waitLimit   = 256            // packets that may lie in a receiver
	farLimit    = 2 * SampleRate // from where sound is due; farther off, the peer's clock was set anew
	misfitLimit = 3              // packets in a row that are so far off
	rewindLimit = SampleRate / 5 // by which sound that comes too late may still be heard, when nothing else is there
	delayLimit  = 3 * SampleRate / 10
	band        = 30 * SampleRate / 1000 // in which the earliness of packets may move
	calm        = SampleRate / 10        // between two changes of pace
	hurry       = SampleRate / 25        // when there is much to be changed
	blockTime   = SampleRate             // over which earliness is watched,
	blocks      = 4                      // so many times
)

// receiver is the receive buffer of one listener: it turns packets that come early, late, twice, in disorder or not
// at all into an even flow of sound. How long packets wait follows what the network does and what the two clocks
// do. Time in it is counted in samples: its own by what it handed out, the peer's by timestamps.
type receiver struct {
	delay int64 // how long the first packet waits
	guard int64 // how long before their time all but a few packets ought to come

	waiting []heard // in order of pos
	spare   [][]byte
	flow    flow

	decoder decoder
	decodes kind
	length  int64 // of the last packet
	sound   [maxDecoded]int16

	play    int64 // where in the peer's time the first sample of the flow lies
	emitted int64 // samples handed out

	anchored bool
	stream   uint32
	clock    int
	anchorTS uint32
	anchor   int64 // the position of anchorTS
	misfits  int
	late     int64 // the last packet that was far too late
	lates    int   // how many were so in a row

	early   [blocks]earliness
	block   int64 // the number of the present one
	changed int64 // when the pace was last changed
}

// heard is the sound of one packet.
type heard struct {
	at     time.Time
	stream uint32
	ts     uint32
	kind   kind
	data   []byte
	pos    int64
}

// earliness is how early the two latest packets of a block came.
type earliness struct {
	low    [2]int64
	counts int
}

func (e *earliness) note(v int64) {
	switch {
	case e.counts == 0 || v < e.low[0]:
		e.low[1], e.low[0] = e.low[0], v
	case e.counts == 1 || v < e.low[1]:
		e.low[1] = v
	}
	e.counts++
}

// place takes h, which came when emitted samples had to be handed out, on time or not. It keeps h's data and gives
// other room for it.
func (r *receiver) place(h *heard, emitted int64) {
	due := r.play + emitted - r.emitted
	clock := h.kind.clock()
	if h.kind == kindNoise {
		clock = r.clock
	}
	if !r.anchored || h.stream != r.stream || clock != r.clock {
		if h.kind == kindNoise {
			return
		}
		r.setAnchor(h, clock, due)
	}
	pos := r.position(h)
	if pos > due+farLimit || pos < due-farLimit {
		if r.misfits++; r.misfits < misfitLimit || h.kind == kindNoise {
			return
		}
		r.setAnchor(h, clock, due)
		pos = r.anchor
	}
	r.misfits = 0
	if pos > r.anchor {
		r.anchor, r.anchorTS = pos, h.ts // keeps the difference small for ever
	}
	if h.kind.audio() {
		r.note(pos - due)
	}
	end := r.play + int64(r.flow.n)
	late, starving := end-pos, len(r.waiting) == 0 && r.flow.guessed > 0 && h.kind.audio()
	switch {
	case late > 0 && starving && late <= rewindLimit:
		r.shift(-late) // nothing but guesses meanwhile: better late than never
	case late >= max(r.length, 1) && starving && r.stood(late):
		r.setAnchor(h, clock, due)
		pos = r.anchor
	case late >= max(r.length, 1):
		return
	}
	r.keep(h, pos)
}

// stood reports whether the peer's clock stood still in a pause, as that of some phones does: packet after packet is
// as late as the one before. Packets that were held up come closer and closer.
func (r *receiver) stood(late int64) bool {
	if late < r.late-frameSamples/2 {
		r.lates = 0
	}
	r.late = late
	r.lates++
	return r.lates >= misfitLimit
}

// position is where h belongs in the peer's time.
func (r *receiver) position(h *heard) int64 {
	return r.anchor + int64(int32(h.ts-r.anchorTS))*SampleRate/int64(r.clock)
}

// setAnchor begins anew: h is heard after the delay, and after all that is waiting.
func (r *receiver) setAnchor(h *heard, clock int, due int64) {
	r.anchor = due + r.delay
	if last := len(r.waiting) - 1; last >= 0 {
		r.anchor = max(r.anchor, r.waiting[last].pos+r.length)
	}
	r.anchorTS, r.stream, r.clock, r.anchored, r.misfits, r.lates = h.ts, h.stream, clock, true, 0, 0
	r.early = [blocks]earliness{}
}

// keep puts h into its place among those that wait.
func (r *receiver) keep(h *heard, pos int64) {
	if len(r.waiting) == waitLimit {
		return
	}
	at := len(r.waiting)
	for at > 0 && r.waiting[at-1].pos > pos {
		at--
	}
	if at > 0 && r.waiting[at-1].pos == pos && r.waiting[at-1].kind == h.kind {
		return
	}
	kept := *h
	kept.pos = pos
	h.data = nil
	if last := len(r.spare) - 1; last >= 0 {
		h.data, r.spare = r.spare[last], r.spare[:last]
	}
	r.waiting = slices.Insert(r.waiting, at, kept)
}

// pop takes the first that waits.
func (r *receiver) pop() heard {
	h := r.waiting[0]
	r.waiting = r.waiting[:copy(r.waiting, r.waiting[1:])]
	r.spare = append(r.spare, h.data[:0])
	return h
}

// next hands out the next frame, and reports whether there was anything in it: sound, a guess, or noise.
func (r *receiver) next(f *Frame) bool {
	r.pace()
	r.gather(frameSamples)
	alive := r.flow.noise > 0 || r.flow.guessed < fadeTo+frameSamples
	r.flow.take(f[:])
	r.play += frameSamples
	r.emitted += frameSamples
	return alive && r.anchored
}

// gather makes the flow hold n samples.
func (r *receiver) gather(n int) {
	for r.flow.n < n {
		end := r.play + int64(r.flow.n)
		if len(r.waiting) == 0 {
			r.flow.guess(n - r.flow.n)
			return
		}
		if gap := r.waiting[0].pos - end; gap > 0 {
			r.flow.guess(int(min(gap, int64(n-r.flow.n))))
		} else {
			r.hear(r.pop(), int(-gap))
		}
	}
}

// hear decodes h; its first samples are too late.
func (r *receiver) hear(h heard, late int) {
	if h.kind == kindNoise {
		r.flow.noise = noiseLevel(h.data)
		return
	}
	if int64(late) >= r.length && late > 0 {
		return
	}
	if r.decoder == nil || r.decodes != h.kind {
		r.decoder, r.decodes = newDecoder(h.kind), h.kind
	}
	sound := &r.sound // of the decoder: on the stack it would have to be made anew each time
	n := r.decoder.decode(sound[:], h.data)
	if n == 0 {
		return
	}
	r.length, r.flow.noise = int64(n), 0
	if late < n {
		r.flow.add(sound[late:n])
	}
}

// noiseLevel is the amplitude of white noise of the level in a packet of comfort noise, RFC 3389 §3.1. It is never
// louder than -30 dBov, for who would want that.
func noiseLevel(payload []byte) int {
	if len(payload) == 0 {
		return 0
	}
	amplitude := 1800 // of -30 dBov, evenly spread
	for db := 30; db < int(payload[0]&0x7f) && amplitude > 0; db += 6 {
		amplitude /= 2
	}
	return amplitude
}

// note keeps how early a packet came.
func (r *receiver) note(early int64) {
	if b := r.emitted / blockTime; b != r.block {
		for r.block = max(r.block, b-blocks); r.block < b; {
			r.block++
			r.early[r.block%blocks] = earliness{}
		}
	}
	r.early[r.block%blocks].note(early)
}

// latest is how early the second latest packet of the last seconds came. One alone may be lost.
func (r *receiver) latest() (early int64, known bool) {
	var all earliness
	for _, e := range r.early {
		if e.counts > 0 {
			all.note(e.low[0])
		}
		if e.counts > 1 {
			all.note(e.low[1])
		}
	}
	return all.low[1], all.counts > 1
}

// shift notes that the flow got by samples ahead in the peer's time.
func (r *receiver) shift(by int64) {
	r.play += by
	for i := range r.early {
		r.early[i].low[0] -= by
		r.early[i].low[1] -= by
	}
	r.changed = r.emitted
}

// pace goes faster when packets lie about for long and slower when they come too late.
func (r *receiver) pace() {
	early, known := r.latest()
	wait := int64(calm)
	if early > r.guard+3*band {
		wait = hurry
	}
	if !known || r.flow.guessed > 0 || r.emitted-r.changed < wait {
		return
	}
	switch {
	case early < r.guard && r.held() < delayLimit:
		r.gather(frameSamples)
		if r.flow.guessed == 0 {
			r.shift(-int64(r.flow.lengthen()))
		}
	case early > max(r.guard+band, r.delay) && r.held() >= lagMax+frameSamples+match:
		r.gather(lagMax + frameSamples + match)
		if r.flow.guessed == 0 {
			r.shift(int64(r.flow.shorten()))
		}
	}
}

// held is how much sound is here.
func (r *receiver) held() int64 {
	last := len(r.waiting) - 1
	if last < 0 {
		return int64(r.flow.n)
	}
	return r.waiting[last].pos + r.length - r.play
}
