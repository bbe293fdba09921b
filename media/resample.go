package media

import "math"

// The half-band filter that takes 16 kHz to 8 kHz: what lies above 4 kHz must go, or it
// would be heard folded down. Every second coefficient of such a filter is zero but the
// middle one, which halves the work.
const (
	halfTaps  = 63
	halfPairs = 16  // nonzero coefficients on one side of the middle
	halfBeta  = 7.0 // Kaiser window: more than 70 dB down above 4.56 kHz
	halfDelay = 31  // input samples
	halfGain  = 0.5 // the middle coefficient
)

var halfBand = designHalfBand()

// designHalfBand computes the coefficients at odd distances 1, 3, 5 … from the middle.
func designHalfBand() *[halfPairs]float32 {
	var h [halfPairs]float32
	const middle = (halfTaps - 1) / 2
	sum := 0.0
	var raw [halfPairs]float64
	for i := range raw {
		d := float64(2*i + 1)
		window := bessel0(halfBeta*math.Sqrt(1-(d/(middle+1))*(d/(middle+1)))) / bessel0(halfBeta)
		raw[i] = math.Sin(math.Pi*d/2) / (math.Pi * d) * window
		sum += 2 * raw[i]
	}
	for i := range raw {
		h[i] = float32(raw[i] * (1 - halfGain) / sum) // a constant passes unchanged
	}
	return &h
}

// bessel0 is the modified Bessel function of the first kind, order 0.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-12; k++ {
		term *= (x / 2 / k) * (x / 2 / k)
		sum += term
	}
	return sum
}

// halver turns 16 kHz sound into 8 kHz sound, piece by piece.
type halver struct {
	past [halfTaps - 1 + 2*frameSamples]float32
}

// halve makes one frame of 2·160 samples.
func (h *halver) halve(out *Frame, in *[2 * frameSamples]int16) {
	for i, v := range in {
		h.past[halfTaps-1+i] = float32(v)
	}
	for i := range out {
		w := (*[halfTaps]float32)(h.past[2*i:])
		sum := w[halfDelay] * halfGain
		for k, c := range halfBand {
			d := 2*k + 1
			sum += c * (w[halfDelay-d] + w[halfDelay+d])
		}
		out[i] = clamp(sum)
	}
	copy(h.past[:halfTaps-1], h.past[2*frameSamples:])
}

func clamp(v float32) int16 {
	switch {
	case v > math.MaxInt16:
		return math.MaxInt16
	case v < math.MinInt16:
		return math.MinInt16
	case v < 0:
		return int16(v - 0.5)
	}
	return int16(v + 0.5)
}
