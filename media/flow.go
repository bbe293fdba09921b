package media

import (
	"math"
	"math/rand/v2"
)

const (
	flowPast = fadeTo + lagMax + match // what was heard last, from which the missing is guessed
	flowRoom = flowPast + 3*maxDecoded // and what comes
	lagMin   = 25 * SampleRate / 10000 // of voices: 400 Hz
	lagMax   = 15 * SampleRate / 1000  // 67 Hz
	seam     = 5 * SampleRate / 1000   // over which one sound becomes another
	match    = 10 * SampleRate / 1000  // in which two places must be alike
	fadeFrom = 10 * SampleRate / 1000  // of a guess that is as loud as what was heard
	fadeTo   = 60 * SampleRate / 1000  // after which nothing is guessed
	likeness = 0.5                     // of two places between which time may be cut out or put in
	quiet    = 60 * 60                 // power of samples in which nobody hears a cut
)

// flow is sound on its way from a decoder to those who hear it. It can make up for what is missing, and go a little
// faster or slower without a change of pitch: time is put in or cut out by whole periods of the voice.
type flow struct {
	buf     [flowRoom]int16 // first what is past
	n       int             // samples to come
	guessed int             // how many of the last ones were guessed, one after another
	noise   int             // level of the comfort noise that fills pauses, 0 for none
	lag     int             // the period of what is guessed
}

// ahead is what is still to come.
func (f *flow) ahead() []int16 { return f.buf[flowPast : flowPast+f.n] }

// take hands out the next n samples.
func (f *flow) take(dst []int16) {
	n := copy(dst, f.ahead())
	copy(f.buf[:], f.buf[n:flowPast+f.n])
	f.n -= n
}

// room is where the next n samples belong.
func (f *flow) room(n int) []int16 { return f.buf[flowPast+f.n : flowPast+f.n+n] }

// add appends sound. What was guessed before goes over into it.
func (f *flow) add(sound []int16) {
	at := f.room(len(sound))
	copy(at, sound)
	if n := min(seam, len(sound)); f.guessed > 0 {
		var old [seam]int16
		f.invent(old[:n], f.guessed)
		for i := range n {
			at[i] = blend(old[i], sound[i], i, n)
		}
	}
	f.n += len(sound)
	f.guessed = 0
}

// blend goes from old to fresh: at i of n.
func blend(old, fresh int16, i, n int) int16 {
	return int16((int(old)*(n-i) + int(fresh)*i) / n)
}

// guess appends n samples of what may have been said.
func (f *flow) guess(n int) {
	if f.guessed == 0 {
		f.lag = f.period()
	}
	f.invent(f.room(n), f.guessed)
	f.n += n
	f.guessed += n
}

// fading is how loud a guess is, of fadeTo, after so many samples.
func fading(after int) int {
	if after <= fadeFrom {
		return fadeTo
	}
	return max(0, fadeTo*(fadeTo-after)/(fadeTo-fadeFrom))
}

// invent fills dst with the last period again and again, softer and softer, then with noise or nothing.
func (f *flow) invent(dst []int16, after int) {
	end := flowPast + f.n
	for i := range dst {
		v := 0
		if loud := fading(after + i); loud > 0 {
			// What was invented before lies at the end itself, softened; so the true sound is looked for before it.
			back := f.lag - (after+i)%f.lag
			if from := end - after - back; from >= 0 {
				v = int(f.buf[from]) * loud / fadeTo
			}
		}
		if f.noise > 0 && after+i >= fadeFrom {
			v += rand.IntN(2*f.noise+1) - f.noise
		}
		dst[i] = int16(max(math.MinInt16, min(v, math.MaxInt16)))
	}
}

// period is the lag at which the end of what is known is most like what was before it.
func (f *flow) period() int {
	end := f.buf[:flowPast+f.n]
	lag, _ := bestLag(end[len(end)-match:], func(lag int) []int16 { return end[len(end)-match-lag : len(end)-lag] })
	return lag
}

// bestLag finds the lag at which a place is most like at.
func bestLag(at []int16, place func(lag int) []int16) (lag int, like float64) {
	lag, like = lagMax, -1
	here := power(at)
	for l := lagMin; l <= lagMax; l++ {
		there := place(l)
		product, energy := 0.0, 0.0
		for i, v := range at {
			product += float64(v) * float64(there[i])
			energy += float64(there[i]) * float64(there[i])
		}
		if product <= 0 {
			continue
		}
		if c := product * product / (here*energy + 1); c > like {
			lag, like = l, c
		}
	}
	return lag, like
}

func power(s []int16) float64 {
	sum := 0.0
	for _, v := range s {
		sum += float64(v) * float64(v)
	}
	return sum
}

// shorten cuts out one period of what comes and tells how many samples that were; 0 when there is no good place.
func (f *flow) shorten() int {
	s := f.ahead()
	if len(s) < lagMax+match {
		return 0
	}
	lag, like := bestLag(s[:match], func(lag int) []int16 { return s[lag : lag+match] })
	if like < likeness && power(s[:lagMax+match]) > quiet*(lagMax+match) {
		return 0
	}
	for i := range match {
		s[i] = blend(s[i], s[lag+i], i, match)
	}
	copy(s[match:], s[match+lag:])
	f.n -= lag
	return lag
}

// lengthen puts in one period of what was heard last and tells how many samples that are; 0 when it would be heard.
func (f *flow) lengthen() int {
	if f.n < match || f.n+lagMax > flowRoom-flowPast-maxDecoded {
		return 0
	}
	s := f.buf[:flowPast+f.n]
	// What follows now is to be followed by itself again: a place in the past that is like it.
	next := s[flowPast : flowPast+match]
	lag, like := bestLag(next, func(lag int) []int16 { return s[flowPast-lag : flowPast-lag+match] })
	if like < likeness && power(next) > quiet*match {
		return 0
	}
	f.n += lag
	s = f.buf[:flowPast+f.n]
	copy(s[flowPast+lag:], s[flowPast:flowPast+f.n-lag])
	n := min(match, lag)
	for i := range lag {
		old := s[flowPast-lag+i]
		if i < n {
			old = blend(s[flowPast+lag+i], old, i, n)
		}
		s[flowPast+i] = old
	}
	return lag
}
