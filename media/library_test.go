package media_test

import (
	"bufio"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// names is all phrases of phrases.txt.
func names(t *testing.T) []string {
	t.Helper()
	f, err := os.Open("prompts/phrases.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, _, ok := strings.Cut(lines.Text(), "\t"); ok && !strings.HasPrefix(name, "#") {
			all = append(all, name)
		}
	}
	return all
}

// TestPrompts: each phrase is there, at one loudness, not clipped, short silence at its ends, and
// each file has its line in phrases.txt.
func TestPrompts(t *testing.T) {
	l := media.NewLibrary("")
	all := names(t)
	if len(all) < 60 {
		t.Fatalf("%d phrases", len(all))
	}
	size := int64(0)
	files, err := filepath.Glob("prompts/en/*.wav")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
		if name := strings.TrimSuffix(filepath.Base(path), ".wav"); name != "music" && !slices.Contains(all, name) {
			t.Errorf("%s is not in phrases.txt", name)
		}
	}
	if size > 8<<20 {
		t.Errorf("%d octets of sound are embedded", size)
	}
	for _, name := range all {
		sound := soundOf(t, l.Prompt(name))
		if d := time.Duration(len(sound)) * time.Second / 16000; d < 200*time.Millisecond || d > 12*time.Second {
			t.Errorf("%s lasts %s", name, d)
		}
		if v := mediatest.Level(sound); v < -25 || v > -18 {
			t.Errorf("%s: %.1f dBFS", name, v)
		}
		if top := slices.Max(sound); top >= math.MaxInt16-300 {
			t.Errorf("%s: peak %d", name, top)
		}
		for end, part := range map[string][]int16{"beginning": sound[:min(len(sound), 4000)], "end": sound[max(0, len(sound)-4800):]} {
			if mediatest.Level(part) < -45 {
				t.Errorf("%s: silence of 250 ms at its %s", name, end)
			}
		}
	}
	if l.Has("no-such-phrase") || l.Has("../en/no") || l.Has("") || !l.Has("goodbye") {
		t.Error("Has is wrong")
	}
}

// TestNumbers: every number can be said with the phrases there are.
func TestNumbers(t *testing.T) {
	l := media.NewLibrary("")
	for n, want := range map[int]string{
		-5:            "digit-0",
		0:             "digit-0",
		7:             "digit-7",
		10:            "number-10",
		19:            "number-19",
		20:            "number-20",
		21:            "number-20 digit-1",
		100:           "digit-1 hundred",
		342:           "digit-3 hundred number-40 digit-2",
		1000:          "digit-1 thousand",
		12_017:        "number-12 thousand number-17",
		999_999:       "digit-9 hundred number-90 digit-9 thousand digit-9 hundred number-90 digit-9",
		2_000_003:     "digit-2 million digit-3",
		1_000_000_000: "digit-1 digit-0 digit-0 digit-0 digit-0 digit-0 digit-0 digit-0 digit-0 digit-0",
	} {
		if got := strings.Join(l.Number(n), " "); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for n := range 2100 {
		for _, name := range l.Number(n) {
			if !l.Has(name) {
				t.Fatalf("%d: no phrase %s", n, name)
			}
		}
	}
	if got := strings.Join(l.Digits("+4*0 #x"), " "); got != "digit-4 star digit-0 pound" {
		t.Error(got)
	}
}

// TestPrompt says phrases one after another, and an unknown one is an error in its turn.
func TestPrompt(t *testing.T) {
	l := media.NewLibrary("")
	both := soundOf(t, l.Prompt("you-have", "no"))
	if one, two := soundOf(t, l.Prompt("you-have")), soundOf(t, l.Prompt("no")); len(both) != len(one)+len(two) {
		t.Errorf("%d samples, want %d and %d", len(both), len(one), len(two))
	}
	src := l.Prompt("goodbye", "no-such-phrase", "no")
	var f media.Frame
	for {
		err := src.ReadFrame(&f)
		if errors.Is(err, io.EOF) {
			t.Fatal("went past an unknown phrase")
		}
		if err != nil {
			if !strings.Contains(err.Error(), "no-such-phrase") {
				t.Error(err)
			}
			break
		}
	}
	if err := l.Prompt().ReadFrame(&f); !errors.Is(err, io.EOF) {
		t.Errorf("nothing to say: %v", err)
	}
}

// TestOverride: a file of the house's own replaces ours at once; one that is broken or gone does not.
func TestOverride(t *testing.T) {
	dir := t.TempDir()
	l := media.NewLibrary(dir)
	ours := soundOf(t, l.Prompt("goodbye"))
	write := func(freq float64, d time.Duration) {
		path := filepath.Join(dir, "goodbye.wav")
		_ = os.Remove(path)
		w, err := media.CreateWAV(path, 16000)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(soundOf(t, media.Tone(freq, d))); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(440, 2*time.Second)
	if f := mediatest.Hear(soundOf(t, l.Prompt("goodbye"))); f != 440 {
		t.Errorf("%.0f Hz", f)
	}
	write(660, 3*time.Second)
	if f := mediatest.Hear(soundOf(t, l.Prompt("goodbye"))); f != 660 {
		t.Errorf("%.0f Hz after a change", f)
	}
	if err := os.WriteFile(filepath.Join(dir, "goodbye.wav"), []byte("not a sound"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := soundOf(t, l.Prompt("goodbye")); len(got) != len(ours) {
		t.Errorf("broken file: %d samples, want our %d", len(got), len(ours))
	}
	if err := os.Remove(filepath.Join(dir, "goodbye.wav")); err != nil {
		t.Fatal(err)
	}
	if got := soundOf(t, l.Prompt("goodbye")); len(got) != len(ours) {
		t.Errorf("file gone: %d samples, want our %d", len(got), len(ours))
	}
	write(440, 2*time.Second)
	if err := os.Rename(filepath.Join(dir, "goodbye.wav"), filepath.Join(dir, "music.wav")); err != nil {
		t.Fatal(err)
	}
	var f media.Frame
	music := l.Music()
	for range 1000 {
		if err := music.ReadFrame(&f); err != nil {
			t.Fatal(err)
		}
	}
	if got := mediatest.Hear(f[:]); math.Abs(got-440) > 10 {
		t.Errorf("music of the house: %.0f Hz", got)
	}
}

// TestMusic is calm: never silent, never loud, no jump at the seam of the loop, nothing that a
// telephone cannot carry; and all hear the same moment of it.
func TestMusic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := media.NewLibrary("")
		time.Sleep(7*time.Second + 3*time.Millisecond)
		one := l.Music()
		var a, b media.Frame
		if err := one.ReadFrame(&a); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		two := l.Music()
		for range 3000 { // past the end of the loop
			if err := errors.Join(one.ReadFrame(&a), two.ReadFrame(&b)); err != nil {
				t.Fatal(err)
			}
			if a != b {
				t.Fatal("two listeners hear two moments")
			}
		}
	})
	src := media.NewLibrary("").Music()
	var all []int16
	var f media.Frame
	for range 2 * 51 * 50 {
		if err := src.ReadFrame(&f); err != nil {
			t.Fatal(err)
		}
		all = append(all, f[:]...)
	}
	if v := mediatest.Level(all); v < -25 || v > -18 {
		t.Errorf("%.1f dBFS", v)
	}
	// The seam is no rougher than its neighbourhood.
	seam := 0
	for i := 1; i+16000 < len(all) && seam == 0; i++ {
		if i > 16000 && slices.Equal(all[i:i+16000], all[:16000]) {
			seam = i
		}
	}
	step := func(i int) int { return int(all[i]) - int(all[i-1]) }
	roughest := 0
	for i := seam - 400; i < seam+400; i++ {
		if i != seam {
			roughest = max(roughest, step(i), -step(i))
		}
	}
	if seam == 0 || step(seam) > roughest || -step(seam) > roughest {
		t.Errorf("seam at %d: a step of %d, around it %d", seam, step(seam), roughest)
	}
	for at := 0; at+8000 <= len(all); at += 8000 {
		if v := mediatest.Level(all[at : at+8000]); v < -40 || v > -12 {
			t.Errorf("at %d s: %.1f dBFS", at/16000, v)
		}
	}
}

// TestTones says what the names promise.
func TestTones(t *testing.T) {
	for freq := 150.0; freq < 3700; freq += 173 {
		sound := soundOf(t, media.Tone(freq, time.Second))
		if got := mediatest.Hear(sound); math.Abs(got-freq) > 1 || len(sound) != 16000 {
			t.Errorf("%.0f Hz heard as %.0f in %d samples", freq, got, len(sound))
		}
	}
	if got := mediatest.Hear(soundOf(t, media.Beep())); got != 1000 {
		t.Errorf("beep of %.0f Hz", got)
	}
	if s := soundOf(t, media.SilenceFor(90*time.Millisecond)); len(s) != 5*320 || !math.IsInf(mediatest.Level(s), -1) {
		t.Errorf("silence of %d samples, %.0f dBFS", len(s), mediatest.Level(s))
	}
	for name, c := range map[string]struct {
		src     media.Source
		a, b    float64
		on, off int // frames
	}{
		"ringback":   {media.Ringback(), 440, 480, 100, 200},
		"busy":       {media.Busy(), 480, 620, 25, 25},
		"congestion": {media.Congestion(), 480, 620, 12, 13},
	} {
		var f media.Frame
		for round := range 3 {
			var sound []int16
			for i := range c.on + c.off {
				if err := c.src.ReadFrame(&f); err != nil {
					t.Fatal(err)
				}
				if i < c.on {
					sound = append(sound, f[:]...)
				} else if i > c.on && mediatest.Level(f[:]) > -50 {
					t.Errorf("%s: sound in pause %d", name, round)
				}
			}
			if !mediatest.Hears(sound, c.a) || !mediatest.Hears(sound, c.b) || mediatest.Hears(sound, 1000) {
				t.Errorf("%s: wrong tones", name)
			}
		}
	}
}

// TestMusicOfOurs is the file sample by sample, through the seam of the loop; to play it takes no memory.
func TestMusicOfOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := media.NewLibrary("")
		want := soundOf(t, l.Prompt("music"))
		src := l.Music()
		var f media.Frame
		var got []int16
		for len(got) < len(want)+3*len(f) {
			if err := src.ReadFrame(&f); err != nil {
				t.Fatal(err)
			}
			got = append(got, f[:]...)
		}
		if !slices.Equal(got[:len(want)], want) || !slices.Equal(got[len(want):], want[:3*len(f)]) {
			t.Error("the music is not what its file holds")
		}
		if n := testing.AllocsPerRun(200, func() { _ = src.ReadFrame(&f) }); n >= 1 {
			t.Errorf("%v allocations for each 20 ms", n)
		}
	})
}
