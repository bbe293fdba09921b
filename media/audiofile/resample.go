package audiofile

import "math"

// resampler brings sound from any rate to another: a windowed sinc, looked up in a table between whose phases it is interpolated.
type resampler struct {
	step   float64 // input samples an output sample
	half   int     // taps on one side
	table  []float32
	past   []float32 // input that is still needed; the first sample has the index first
	first  int64
	at     float64 // of the next output, in input samples
	out    []float32
	copies bool // the rates are equal
}

const (
	phases    = 256
	zeros     = 24  // zero crossings of the sinc on one side
	kaiser    = 8.0 // about 80 dB down beyond the transition
	passShare = 0.92
)

func newResampler(from, to int) *resampler {
	r := &resampler{step: float64(from) / float64(to), copies: from == to}
	if r.copies {
		return r
	}
	cut := passShare * min(1, float64(to)/float64(from)) // of the input's half rate
	r.half = int(math.Ceil(zeros / cut))
	r.table = make([]float32, r.half*phases+2)
	for i := range r.table {
		x := float64(i) / phases
		window := 0.0
		if d := x / float64(r.half); d < 1 {
			window = bessel0(kaiser*math.Sqrt(1-d*d)) / bessel0(kaiser)
		}
		r.table[i] = float32(cut * sinc(cut*x) * window)
	}
	r.past = make([]float32, r.half) // silence before the beginning
	r.first = int64(-r.half)
	return r
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
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

// feed returns what can be made of the input so far, valid until the next call.
func (r *resampler) feed(in []float32) []float32 {
	if r.copies {
		return in
	}
	r.past = append(r.past, in...)
	r.out = r.out[:0]
	last := r.first + int64(len(r.past)) // behind the last sample
	for int64(r.at)+int64(r.half)+1 < last {
		r.out = append(r.out, r.sample())
		r.at += r.step
	}
	if drop := int64(r.at) - int64(r.half) - r.first; drop > 0 {
		r.past = r.past[:copy(r.past, r.past[drop:])]
		r.first += drop
	}
	return r.out
}

// sample is the sound at r.at.
func (r *resampler) sample() float32 {
	whole := int64(math.Floor(r.at))
	frac := r.at - float64(whole)
	base := int(whole - r.first)
	var sum float32
	tap := func(distance float64, v float32) {
		x := distance * phases
		i := int(x)
		f := float32(x - float64(i))
		sum += v * (r.table[i] + f*(r.table[i+1]-r.table[i]))
	}
	for k := 0; k < r.half; k++ {
		if i := base - k; i >= 0 {
			tap(frac+float64(k), r.past[i])
		}
		if k+1 <= r.half-1 {
			tap(float64(k+1)-frac, r.past[base+1+k])
		}
	}
	return sum
}

// flush returns the end of the sound.
func (r *resampler) flush() []float32 {
	if r.copies {
		return nil
	}
	return r.feed(make([]float32, r.half+2))
}
