package media

import "math"

// The half-band filter between 16 kHz and 8 kHz. On the way down, what lies above 4 kHz must go, or it would be heard
// folded down; on the way up, its mirror image must not appear. Every second coefficient of such a filter is zero but the
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

// sincePast is the input that a filter needs from before.
const sincePast = halfTaps - 1

// halver turns 16 kHz sound into 8 kHz sound, piece by piece.
type halver struct {
	past [sincePast + frameSamples]float32
}

// halve makes len(in)/2 samples of out; in is even.
func (h *halver) halve(out, in []int16) {
	for len(in) > 0 {
		n := min(len(in), frameSamples)
		for i, v := range in[:n] {
			h.past[sincePast+i] = float32(v)
		}
		for i := range n / 2 {
			w := (*[halfTaps]float32)(h.past[2*i:])
			out[i] = clamp(w[halfDelay]*halfGain + halfSum(w))
		}
		copy(h.past[:sincePast], h.past[n:n+sincePast])
		in, out = in[n:], out[n/2:]
	}
}

// halfSum is what the odd coefficients make of a window.
func halfSum(w *[halfTaps]float32) float32 {
	sum := float32(0)
	for k, c := range halfBand {
		d := 2*k + 1
		sum += c * (w[halfDelay-d] + w[halfDelay+d])
	}
	return sum
}

// doubler turns 8 kHz sound into 16 kHz sound, piece by piece. Every second sample is one that came in; those
// between are made by the other half of the same filter.
type doubler struct {
	past [doublePast + narrowFrame]float32
}

const doublePast = 2*halfPairs - 1

// double makes 2·len(in) samples of out.
func (d *doubler) double(out, in []int16) {
	for len(in) > 0 {
		n := min(len(in), narrowFrame)
		for i, v := range in[:n] {
			d.past[doublePast+i] = float32(v)
		}
		for i := range n {
			w := (*[2 * halfPairs]float32)(d.past[i:])
			sum := float32(0)
			for k, c := range halfBand {
				sum += c * (w[halfPairs-1-k] + w[halfPairs+k])
			}
			out[2*i] = int16(w[halfPairs-1])
			out[2*i+1] = clamp(sum * 2) // what was half of a sound is whole again
		}
		copy(d.past[:doublePast], d.past[n:n+doublePast])
		in, out = in[n:], out[2*n:]
	}
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
