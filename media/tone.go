package media

import (
	"io"
	"math"
	"time"
)

const (
	toneLevel = 0.2     // of full scale for each frequency: about -17 dBFS
	toneFade  = 80      // samples at both ends of a tone, so that it does not click
	forever   = 1 << 60 // samples
)

// tones is one or two frequencies that sound and pause in turn.
type tones struct {
	freqs   [2]float64
	on, off int64 // samples; off 0: no pause
	left    int64 // samples until the end
	at      int64
}

func (t *tones) ReadFrame(f *Frame) error {
	if t.left <= 0 {
		return io.EOF
	}
	a, b := swingAt(t.freqs[0], t.at), swingAt(t.freqs[1], t.at)
	for i := range f {
		f[i] = 0
		if sum := a.next() + b.next(); t.left > 0 {
			f[i] = int16(t.level() * sum * math.MaxInt16)
		}
		t.at++
		t.left--
	}
	return nil
}

// level is how loud the tones are now: 0 in a pause, rising and falling at its ends.
func (t *tones) level() float64 {
	at := t.at
	if t.off > 0 {
		at %= t.on + t.off
	}
	if at >= t.on {
		return 0
	}
	return toneLevel * min(1, float64(at+1)/toneFade, float64(t.on-at)/toneFade)
}

// swing is a sine, reckoned from its last two values: exact enough for a frame, and much cheaper than each by itself.
type swing struct{ twice, last, before float64 }

// swingAt is a sine of freq Hz whose next value is the one at a sample. Freq 0 is silence.
func swingAt(freq float64, at int64) swing {
	step := 2 * math.Pi * freq / SampleRate
	return swing{2 * math.Cos(step), math.Sin(step * float64(at-1)), math.Sin(step * float64(at-2))}
}

func (s *swing) next() float64 {
	s.last, s.before = s.twice*s.last-s.before, s.last
	return s.last
}

// Tone is a tone of freq Hz that lasts d, or for ever when d is 0.
func Tone(freq float64, d time.Duration) Source {
	n := samplesIn(d)
	if d <= 0 {
		n = forever
	}
	return &tones{freqs: [2]float64{freq}, on: n, left: n}
}

// Beep is the tone after which a message is left.
func Beep() Source { return Tone(1000, 300*time.Millisecond) }

// Ringback is what a caller hears while the callee's phone rings: the precise tone plan of
// North America, like the voice of the prompts. It does not end.
func Ringback() Source { return cadence(440, 480, 2*time.Second, 4*time.Second) }

// Busy says that the callee is talking. It does not end.
func Busy() Source { return cadence(480, 620, time.Second/2, time.Second/2) }

// Congestion says that the call cannot be made. It does not end.
func Congestion() Source { return cadence(480, 620, time.Second/4, time.Second/4) }

func cadence(a, b float64, on, off time.Duration) Source {
	return &tones{freqs: [2]float64{a, b}, on: samplesIn(on), off: samplesIn(off), left: forever}
}

// SilenceFor is nothing, for d.
func SilenceFor(d time.Duration) Source { return &tones{left: samplesIn(d)} }
