package media

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// wire is a peer that says a tone on a clock of its own, and a network.
type wire struct {
	kind   kind
	ppm    float64 // by which the peer's clock is fast
	freq   float64
	dice   *rand.Rand
	worst  int // percent of packets that are lost, come twice or come late
	delays time.Duration
}

const wireLevel = 0.25

// arrival is a packet on its way.
type arrival struct {
	heard
	due int64 // in samples of the listener
}

// run sends frames packets through the wire into a receiver and gives what is heard, how much was guessed and how early
// the packets lay about in the end.
func (w *wire) run(t *testing.T, r *receiver, frames int) (sound []int16, guessed int, delay time.Duration) {
	t.Helper()
	enc, payload := newEncoder(&terms{audio: w.kind}), make([]byte, packetSize)
	tone := sine(w.freq, SampleRate, SampleRate, wireLevel) // of a whole number of periods
	var frame Frame
	var under []arrival
	said := 0
	for at := int64(0); at < int64(frames)*frameSamples; at += frameSamples {
		// What the peer says until then, by its own clock.
		for {
			sent := int64(float64(said*frameSamples) / (1 + w.ppm/1e6))
			if sent > at {
				break
			}
			copy(frame[:], tone[said*frameSamples%SampleRate:])
			data := append([]byte(nil), payload[:enc.encode(payload, frame[:])]...)
			a := arrival{heard{kind: w.kind, stream: 1, ts: 1<<31 + uint32(said*frameSamples*w.kind.clock()/SampleRate), data: data}, sent}
			said++
			if w.dice.IntN(100) < w.worst {
				switch w.dice.IntN(3) {
				case 0:
					continue
				case 1:
					again := arrival{a.heard, a.due + frameSamples/3}
					again.data = append([]byte(nil), data...)
					under = append(under, again)
				default:
					a.due += int64(float64(w.delays) * w.dice.Float64() / float64(time.Second) * SampleRate)
				}
			}
			under = append(under, a)
		}
		left := under[:0]
		for _, a := range under {
			if a.due > at {
				left = append(left, a)
				continue
			}
			r.place(&a.heard, a.due)
		}
		under = left
		before := r.flow.guessed
		r.next(&frame)
		if r.flow.guessed > before && at > SampleRate {
			guessed++
		}
		sound = append(sound, frame[:]...)
	}
	return sound, guessed, timeOf(r.held())
}

// click is the loudest sample of sound that is not the tone, in dBFS: a pure tone is told by its two last samples.
func click(sound []int16, freq float64) float64 {
	c := 2 * math.Cos(2*math.Pi*freq/SampleRate)
	worst := 0.0
	for i := 2; i < len(sound); i++ {
		worst = max(worst, math.Abs(float64(sound[i])-c*float64(sound[i-1])+float64(sound[i-2])))
	}
	return 20 * math.Log10(worst/math.MaxInt16)
}

// TestDrift: an hour with a peer whose clock is 200 ppm fast or slow: nothing is guessed, the delay does not grow, and
// what is put in or cut out is heard as no click.
func TestDrift(t *testing.T) {
	const frames = 60 * 60 * 50
	for _, ppm := range []float64{-200, 200} {
		w := wire{kind: kindPCMU, ppm: ppm, freq: 440, dice: rand.New(rand.NewPCG(1, 2))}
		r := &receiver{delay: samplesIn(earDelay), guard: frameSamples}
		sound, guessed, delay := w.run(t, r, frames)
		if guessed > 0 {
			t.Errorf("%+.0f ppm: %d frames were guessed", ppm, guessed)
		}
		if delay > 100*time.Millisecond {
			t.Errorf("%+.0f ppm: %s lie about after an hour", ppm, delay)
		}
		sound = sound[SampleRate:]
		worst := click(sound, 440)
		t.Logf("%+.0f ppm: loudest deviation from the tone %.1f dBFS, %s lie about", ppm, worst, delay)
		if worst > clickLimit {
			t.Errorf("%+.0f ppm: click of %.1f dBFS", ppm, worst)
		}
		if l := level(sound); math.Abs(l-20*math.Log10(wireLevel/math.Sqrt2)) > 0.2 {
			t.Errorf("%+.0f ppm: %.2f dBFS", ppm, l)
		}
	}
}

// clickLimit is the level in dBFS that no deviation from a tone of -15 dBFS may reach when time is put in or cut out.
const clickLimit = -40

// TestBadNetwork: what 1 to 20 % of loss, doubles and delays of up to 100 ms do to a minute of a tone: the guesses stay
// few, the delay returns to what it was when the network is good again, and the tone is a tone all the time.
func TestBadNetwork(t *testing.T) {
	for _, k := range []kind{kindPCMU, kindG722, kindOpus} {
		for _, percent := range []int{0, 1, 5, 10, 20} {
			w := wire{kind: k, freq: 440, worst: percent, delays: 100 * time.Millisecond, dice: rand.New(rand.NewPCG(4, uint64(percent)))}
			r := &receiver{delay: samplesIn(earDelay), guard: frameSamples}
			const frames = 60 * 50
			sound, guessed, _ := w.run(t, r, frames)
			sound = sound[SampleRate:]
			worst := click(sound, 440)
			t.Logf("%s %d %%: %.1f %% of frames guessed, loudest deviation %.1f dBFS", k.name(), percent, 100*float64(guessed)/frames, worst)
			// A third of what is ill is lost, a third is late and mostly waited for.
			if most := frames * percent * 7 / 10 / 100; guessed > most+2 {
				t.Errorf("%s %d %%: %d frames guessed, at most %d are lost or late", k.name(), percent, guessed, most)
			}
			if worst > -20 {
				t.Errorf("%s %d %%: click of %.1f dBFS", k.name(), percent, worst)
			}
		}
	}
}

// TestDelayReturns: after half a minute of great jitter the sound comes as soon as before.
func TestDelayReturns(t *testing.T) {
	r := &receiver{delay: samplesIn(earDelay), guard: frameSamples}
	w := wire{kind: kindPCMU, freq: 440, worst: 60, delays: 250 * time.Millisecond, dice: rand.New(rand.NewPCG(5, 6))}
	_, _, bad := w.run(t, r, 30*50)
	w.worst = 0
	// The same peer goes on, on a network that is well.
	*r = receiver{delay: r.delay, guard: r.guard}
	_, _, good := w.run(t, r, 30*50)
	if good > 80*time.Millisecond {
		t.Errorf("%s while it was bad, %s when it is good", bad, good)
	}
}
