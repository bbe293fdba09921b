package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// riff makes a WAV file.
func riff(code, channels, rate, bits int, extra []byte, data []byte) []byte {
	le := binary.LittleEndian
	b := append([]byte("RIFF"), 0, 0, 0, 0)
	b = append(b, "WAVE"...)
	b = append(b, extra...)
	b = append(b, "fmt "...)
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, uint16(code))
	b = le.AppendUint16(b, uint16(channels))
	b = le.AppendUint32(b, uint32(rate))
	b = le.AppendUint32(b, uint32(rate*channels*bits/8))
	b = le.AppendUint16(b, uint16(channels*bits/8))
	b = le.AppendUint16(b, uint16(bits))
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(len(data)))
	b = append(b, data...)
	le.PutUint32(b[4:], uint32(len(b)-8))
	return b
}

func sine(freq float64, rate, n int, level float64) []int16 {
	s := make([]int16, n)
	for i := range s {
		s[i] = int16(math.Round(level * math.MaxInt16 * math.Sin(2*math.Pi*freq*float64(i)/float64(rate))))
	}
	return s
}

func pcm(samples []int16, channels int) []byte {
	var b []byte
	for _, v := range samples {
		for range channels {
			b = binary.LittleEndian.AppendUint16(b, uint16(v))
		}
	}
	return b
}

func file(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.wav")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readAll(t testing.TB, src Source) []int16 {
	t.Helper()
	var all []int16
	var f Frame
	for {
		err := src.ReadFrame(&f)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f[:]...)
	}
}

// level is the loudness of the steady part of samples.
func level(samples []int16) float64 {
	samples = samples[frameSamples : len(samples)-frameSamples]
	sum := 0.0
	for _, v := range samples {
		sum += float64(v) * float64(v)
	}
	return 10 * math.Log10(sum/float64(len(samples))/(math.MaxInt16*math.MaxInt16))
}

// TestOpenWAV reads every form that we promise to read.
func TestOpenWAV(t *testing.T) {
	const seconds = 3
	narrow, wide := sine(1000, 8000, 8000*seconds, 0.5), sine(1000, 16000, 16000*seconds, 0.5)
	ulaw, alaw := make([]byte, len(narrow)), make([]byte, len(narrow))
	kindPCMU.encode(ulaw, narrow)
	kindPCMA.encode(alaw, narrow)
	list := append([]byte("LIST"), 5, 0, 0, 0, 'a', 'b', 'c', 'd', 'e', 0)
	for name, b := range map[string][]byte{
		"8 kHz":         riff(codePCM, 1, 8000, 16, nil, pcm(narrow, 1)),
		"8 kHz stereo":  riff(codePCM, 2, 8000, 16, nil, pcm(narrow, 2)),
		"16 kHz":        riff(codePCM, 1, 16000, 16, nil, pcm(wide, 1)),
		"16 kHz stereo": riff(codePCM, 2, 16000, 16, list, pcm(wide, 2)),
		"µ-law":         riff(codeULaw, 1, 8000, 8, list, ulaw),
		"A-law":         riff(codeALaw, 1, 8000, 8, nil, alaw),
		"cut off":       append(riff(codePCM, 1, 8000, 16, nil, pcm(narrow, 1)), 7), // an odd octet behind
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, b)
			src, length, err := OpenWAV(path)
			if err != nil || length != seconds*time.Second {
				t.Fatalf("%s, %v", length, err)
			}
			all := readAll(t, src)
			if len(all) != len(wide) {
				t.Errorf("%d samples", len(all))
			}
			if l := level(all); math.Abs(l-(-9.03)) > 0.1 {
				t.Errorf("%.2f dBFS", l)
			}
			peaks, err := Peaks(path, 100)
			if err != nil || len(peaks) != 100 {
				t.Fatalf("%d peaks, %v", len(peaks), err)
			}
			for i, p := range peaks[1:] {
				if p < 0.45 || p > 0.52 {
					t.Errorf("peak %d is %f", i+1, p)
				}
			}
		})
	}
}

func TestBadWAV(t *testing.T) {
	good := riff(codePCM, 1, 8000, 16, nil, make([]byte, 1000))
	for name, b := range map[string][]byte{
		"empty":       {},
		"text":        []byte("hello, this is not a sound at all, but long enough"),
		"header only": good[:36],
		"44.1 kHz":    riff(codePCM, 1, 44100, 16, nil, make([]byte, 1000)),
		"24 bits":     riff(codePCM, 1, 8000, 24, nil, make([]byte, 999)),
		"MP3":         riff(85, 1, 8000, 16, nil, make([]byte, 1000)),
		"no channel":  riff(codePCM, 0, 8000, 16, nil, make([]byte, 1000)),
		"data first":  append(append([]byte("RIFF\x20\x00\x00\x00WAVE"), "data\x04\x00\x00\x00abcd"...), good[12:]...),
	} {
		path := file(t, b)
		if _, _, err := OpenWAV(path); !errors.Is(err, errNoWAV) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Peaks(path, 10); err == nil {
			t.Errorf("%s: has peaks", name)
		}
	}
	if _, _, err := OpenWAV(filepath.Join(t.TempDir(), "none.wav")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Peaks(file(t, good), 0); err == nil {
		t.Error("no parts")
	}
}

// TestRepairWAV mends what a crash can leave.
func TestRepairWAV(t *testing.T) {
	good := riff(codePCM, 1, 8000, 16, nil, pcm(sine(400, 8000, 8000, 0.5), 1))
	lying := bytes.Clone(good)
	binary.LittleEndian.PutUint32(lying[40:], 0)
	blank := bytes.Clone(good)
	clear(blank[:44])
	for name, c := range map[string]struct {
		b    []byte
		want time.Duration
	}{
		"whole":        {good, time.Second},
		"header early": {lying, time.Second},
		"header blank": {blank, time.Second},
		"half":         {good[:44+8001], 500 * time.Millisecond},
		"nothing":      {nil, 0},
		"half header":  {good[:20], 0},
	} {
		path := file(t, c.b)
		for range 2 {
			if d, err := RepairWAV(path); err != nil || d != c.want {
				t.Errorf("%s: %s, %v", name, d, err)
			}
		}
		if _, d, err := OpenWAV(path); err != nil || d != c.want {
			t.Errorf("%s: opened %s, %v", name, d, err)
		}
	}
	text := []byte("my letter to the editor, which is no recording at all, sir")
	path := file(t, text)
	if _, err := RepairWAV(path); err == nil {
		t.Error("repaired a letter")
	}
	if b, _ := os.ReadFile(path); !bytes.Equal(b, text) {
		t.Error("the letter was changed")
	}
}

// TestHalfBand: what a telephone carries passes, what would be folded down does not.
func TestHalfBand(t *testing.T) {
	for freq := 50.0; freq < 7990; freq += 35 {
		in := sine(freq, 16000, 16000, 0.9)
		var h halver
		all := make([]int16, len(in)/2)
		h.halve(all, in)
		gain := level(all) - level(in)
		switch {
		case freq <= 3400 && math.Abs(gain) > 0.1:
			t.Errorf("%.0f Hz: %.2f dB, want 0", freq, gain)
		case freq >= 4600 && gain > -65:
			t.Errorf("%.0f Hz: %.1f dB, want less than -65", freq, gain)
		}
	}
}

// FuzzWAV: no file makes the reader panic, read for ever or eat memory.
func FuzzWAV(f *testing.F) {
	f.Add(riff(codePCM, 1, 8000, 16, nil, pcm(sine(400, 8000, 500, 0.5), 1)))
	f.Add(riff(codeULaw, 2, 16000, 8, []byte("LIST\x02\x00\x00\x00ab"), make([]byte, 700)))
	f.Add([]byte("RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff"))
	path := filepath.Join(f.TempDir(), "fuzz.wav")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		src, length, err := OpenWAV(path)
		if err != nil {
			return
		}
		got := len(readAll(t, src))
		if want := samplesIn(length); int64(got) < want-1 || int64(got) > want+frameSamples {
			t.Fatalf("%d samples in %s", got, length)
		}
		if _, err := Peaks(path, 7); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDoubler: what was below 3.4 kHz is as loud as before, and its mirror image above 4 kHz is not heard.
func TestDoubler(t *testing.T) {
	for freq := 50.0; freq <= 3400; freq += 35 {
		in := sine(freq, narrowRate, narrowRate, 0.9)
		var d doubler
		all := make([]int16, 2*len(in))
		d.double(all, in)
		if gain := level(all) - level(in); math.Abs(gain) > 0.1 {
			t.Errorf("%.0f Hz: %.2f dB, want 0", freq, gain)
		}
		if image := levelAt(all, narrowRate-freq) - level(in); image > -65 {
			t.Errorf("%.0f Hz: image of %.1f dB", freq, image)
		}
	}
}

// levelAt is the loudness of samples at freq Hz alone.
func levelAt(samples []int16, freq float64) float64 {
	samples = samples[frameSamples : len(samples)-frameSamples]
	var re, im, weight float64
	for i, v := range samples {
		w := 1 - math.Cos(2*math.Pi*float64(i)/float64(len(samples))) // a window, lest the tone itself leaks
		angle := 2 * math.Pi * freq * float64(i) / SampleRate
		re, im, weight = re+w*float64(v)*math.Cos(angle), im+w*float64(v)*math.Sin(angle), weight+w
	}
	return 10 * math.Log10(2*(re*re+im*im)/(weight*weight)/(math.MaxInt16*math.MaxInt16)) // as level has it: a sine of power 1/2
}

// TestNarrowFile: a file of 8 kHz holds what a narrow line can carry, and plays at its right pitch.
func TestNarrowFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.wav")
	w, err := CreateWAV(path, narrowRate)
	if err != nil {
		t.Fatal(err)
	}
	said := Tone(1000, 3*time.Second)
	for f := (Frame{}); said.ReadFrame(&f) == nil; {
		if err := w.WriteFrame(&f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil || w.Duration() != 3*time.Second {
		t.Fatal(w.Duration(), err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != wavHeader+2*3*narrowRate {
		t.Errorf("%d octets, %v", info.Size(), err)
	}
	if length, err := RepairWAV(path); err != nil || length != 3*time.Second {
		t.Errorf("repaired to %s, %v", length, err)
	}
	src, length, err := OpenWAV(path)
	if err != nil || length != 3*time.Second {
		t.Fatal(length, err)
	}
	heard := readAll(t, src)
	if l := levelAt(heard, 1000); math.Abs(l-level(heard)) > 0.1 {
		t.Errorf("%.1f dBFS at 1000 Hz of %.1f", l, level(heard))
	}
	if _, err := CreateWAV(path+"2", 44100); err == nil {
		t.Error("made a file of 44.1 kHz")
	}
}
