package media

import (
	"math"
	"time"
)

// The E-model of ITU-T G.107 reckons from loss and delay how a call sounds to people. Levels, echo and room noise are
// those of its defaults; what remains are the codec, the loss and the delay.
const (
	bestRating  = 93.2 // R without any impairment
	quietBuffer = 40 * time.Millisecond
)

// impairment is what a codec costs by itself (Ie) and how well it bears loss (Bpl): ITU-T G.113 appendix I, with
// concealment. For Opus the ITU names no figures: it is taken for as good as G.711 and a little better under loss.
func impairment(codec string) (ie, bpl float64) {
	switch codec {
	case "G722":
		return 0, 14 // beside the telephone band that the scale is made for; concealment is simpler than that of G.711
	case "opus":
		return 0, 28
	case "G729":
		return 11, 19
	case "GSM":
		return 20, 10
	case "iLBC":
		return 11, 32
	}
	return 0, 25.1
}

// rating is R of the E-model: loss in per cent, delay from mouth to ear.
func rating(codec string, loss float64, delay time.Duration) float64 {
	ie, bpl := impairment(codec)
	// G.107 §7.5, loss taken for random.
	effective := ie + (95-ie)*loss/(loss+bpl)
	return min(max(bestRating-delayImpairment(delay)-effective, 0), 100)
}

// delayImpairment is Idd of G.107 §7.4: nobody minds the first 100 ms.
func delayImpairment(d time.Duration) float64 {
	ms := float64(d) / float64(time.Millisecond)
	if ms <= 100 {
		return 0
	}
	x := math.Log2(ms / 100)
	return 25 * (math.Pow(1+math.Pow(x, 6), 1.0/6) - 3*math.Pow(1+math.Pow(x/3, 6), 1.0/6) + 2)
}

// opinion turns R into the mean opinion score, 1 to 4.5: G.107 annex B.
func opinion(r float64) float64 {
	switch {
	case r <= 0:
		return 1
	case r >= 100:
		return 4.5
	}
	return max(1+0.035*r+r*(r-60)*(100-r)*7e-6, 1) // between 0 and 6.5 the curve dips below 1
}

// mouthToEar is how long sound is under way on one leg: half the round trip, the packet, and the buffer that evens the
// jitter out.
func mouthToEar(round, packet, jitter time.Duration) time.Duration {
	return round/2 + packet + max(quietBuffer, 2*jitter)
}
