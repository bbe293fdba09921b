package media

import (
	"math"
	"testing"
	"time"
)

// TestRating holds the E-model against figures that everybody knows, ITU-T G.107 and G.113.
func TestRating(t *testing.T) {
	for _, c := range []struct {
		codec string
		loss  float64
		delay time.Duration
		r     float64
	}{
		{"PCMU", 0, 0, 93.2},
		{"PCMA", 0, 100 * time.Millisecond, 93.2},
		{"PCMU", 0, 150 * time.Millisecond, 92.7}, // G.114: essentially transparent
		{"PCMU", 0, 400 * time.Millisecond, 69.1}, // the planning limit of G.114: many are dissatisfied
		{"PCMU", 5, 0, 77.4},
		{"PCMU", 20, 0, 51.1},
		{"G729", 0, 0, 82.2},
		{"PCMU", 100, 2 * time.Second, 0},
	} {
		if r := rating(c.codec, c.loss, c.delay); math.Abs(r-c.r) > 2 {
			t.Errorf("%s, %v %% lost, %v: R %.1f, want %.1f", c.codec, c.loss, c.delay, r, c.r)
		}
	}
	for r, want := range map[float64]float64{-1: 1, 0: 1, 50: 2.58, 60: 3.1, 70: 3.6, 80: 4.02, 90: 4.34, 93.2: 4.41, 100: 4.5, 101: 4.5} {
		if got := opinion(r); math.Abs(got-want) > 0.01 {
			t.Errorf("R %.1f: score %.2f, want %.2f", r, got, want)
		}
	}
	last := 0.0
	for r := range 101 {
		if got := opinion(float64(r)); got < last || got < 1 {
			t.Errorf("R %d: score %.3f after %.3f", r, got, last)
		} else {
			last = got
		}
	}
}
