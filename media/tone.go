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
	for i := range f {
		f[i] = 0
		if t.left > 0 {
			f[i] = t.sample()
		}
		t.at++
		t.left--
	}
	return nil
}

func (t *tones) sample() int16 {
	at := t.at
	if t.off > 0 {
		at %= t.on + t.off
	}
	if at >= t.on {
		return 0
	}
	level := toneLevel * min(1, float64(at+1)/toneFade, float64(t.on-at)/toneFade)
	sum := 0.0
	for _, freq := range t.freqs {
		if freq > 0 {
			sum += math.Sin(2 * math.Pi * freq * float64(t.at) / SampleRate)
		}
	}
	return int16(level * sum * math.MaxInt16)
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
