package media_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// toneWAV writes seconds of a tone at the rate.
func toneWAV(t testing.TB, rate int, freq float64, frames int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tone.wav")
	w, err := media.CreateWAV(path, rate)
	if err != nil {
		t.Fatal(err)
	}
	tone := media.Tone(freq, 0)
	var f media.Frame
	for range frames {
		if err := tone.ReadFrame(&f); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteFrame(&f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHold: two who wait hear the same moment, from both rates, over the seam of the loop; a file that changes or goes
// is heard at once.
func TestHold(t *testing.T) {
	for _, rate := range []int{8000, 16000} {
		synctest.Test(t, func(t *testing.T) {
			l := media.NewLibrary("")
			path := toneWAV(t, rate, 500, 135) // 2.7 s
			choice := path
			early := l.Hold(func() string { return choice })
			var a, b media.Frame
			var heard []int16
			for range 200 {
				if err := early.ReadFrame(&a); err != nil {
					t.Fatal(err)
				}
				heard = append(heard, a[:]...)
				time.Sleep(20 * time.Millisecond)
			}
			if f := mediatest.Hear(heard[10*320 : 60*320]); math.Abs(f-500) > 2 {
				t.Errorf("%d Hz: %.0f Hz", rate, f)
			}
			late := l.Hold(func() string { return choice })
			for i := range 300 {
				if err := late.ReadFrame(&b); err != nil {
					t.Fatal(err)
				}
				if err := early.ReadFrame(&a); err != nil {
					t.Fatal(err)
				}
				if a != b {
					t.Fatalf("%d Hz: frame %d is not the same moment", rate, i)
				}
			}
			quiet := 0
			for i := 1; i < len(heard); i++ { // no jump but at the seam
				if d := math.Abs(float64(heard[i]) - float64(heard[i-1])); d > 2500 {
					quiet++
				}
			}
			if quiet > 2 {
				t.Errorf("%d Hz: %d jumps", rate, quiet)
			}
			change := func(what string, is func(s []int16) bool) {
				t.Helper()
				var s []int16
				for range 80 {
					if err := late.ReadFrame(&b); err != nil {
						t.Fatal(err)
					}
					s = append(s, b[:]...)
				}
				if s = s[len(s)-20*320:]; !is(s) {
					t.Errorf("%d Hz: %s: %.0f Hz", rate, what, mediatest.Hear(s))
				}
			}
			tone := func(freq float64) func([]int16) bool {
				return func(s []int16) bool { return math.Abs(mediatest.Hear(s)-freq) < 3 }
			}
			choice = toneWAV(t, rate, 900, 135)
			change("another choice", tone(900))
			if err := os.Rename(toneWAV(t, rate, 700, 100), choice); err != nil {
				t.Fatal(err)
			}
			change("another file", tone(700))
			if err := os.Remove(choice); err != nil {
				t.Fatal(err)
			}
			change("no file", func(s []int16) bool { return mediatest.Level(s) > -40 && !tone(700)(s) })
			choice = ""
			change("no choice", func(s []int16) bool { return mediatest.Level(s) > -40 })
		})
	}
}

// BenchmarkHold is what one more caller on hold costs beside others: no file is read for them.
func BenchmarkHold(b *testing.B) {
	l := media.NewLibrary("")
	path := toneWAV(b, 16000, 500, 3000)
	src := l.Hold(func() string { return path })
	var f media.Frame
	b.ReportAllocs()
	for b.Loop() {
		if err := src.ReadFrame(&f); err != nil {
			b.Fatal(err)
		}
	}
}
