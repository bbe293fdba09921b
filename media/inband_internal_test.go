package media

import (
	"io"
	"math"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
)

// line carries narrow sound through G.711 to an ear, and tells which keys it heard.
type line struct {
	ear  *toneEar
	keys string
}

func (l *line) say(sound []float64) {
	samples := make([]int16, len(sound))
	for i, v := range sound {
		samples[i] = int16(max(min(v, math.MaxInt16), math.MinInt16))
	}
	coded := make([]byte, len(samples))
	kindPCMU.encode(coded, samples)
	var heard [160]int16
	for len(coded) > 0 {
		n := decodeLaw(heard[:], coded, kindPCMU)
		if k := l.ear.hear(heard[:n]); k != 0 {
			l.keys += string(k)
		}
		coded = coded[n:]
	}
}

// dtmf is a key as a telephone makes it: levels in dBFS, frequencies off by a share.
func dtmf(event uint8, ms, rowLevel, columnLevel, off float64) []float64 {
	row, column := tonesOf(event)
	s := make([]float64, int(ms*8))
	for i := range s {
		x := 2 * math.Pi * float64(i) / 8000 * (1 + off)
		s[i] = math.MaxInt16 * (math.Pow(10, rowLevel/20)*math.Sin(row*x) + math.Pow(10, columnLevel/20)*math.Sin(column*x))
	}
	return s
}

func silence(ms int) []float64 { return make([]float64, ms*8) }

// TestKeysInTheSound: what ITU-T Q.24 asks a receiver to take, and to leave.
func TestKeysInTheSound(t *testing.T) {
	for _, c := range []struct {
		name             string
		on, off          float64
		row, column, err float64
		want             bool
	}{
		{"as most telephones", 100, 100, -10, -8, 0, true},
		{"as short as allowed", 40, 40, -12, -12, 0, true},
		{"soft", 60, 60, -34, -34, 0, true},
		{"loud", 60, 60, -6.1, -6.1, 0, true},
		{"low tone weaker", 60, 60, -18, -12, 0, true},
		{"high tone weaker", 60, 60, -12, -18, 0, true},
		{"a little too high", 60, 60, -12, -12, 0.015, true},
		{"a little too low", 60, 60, -12, -12, -0.015, true},
		{"too short", 20, 60, -12, -12, 0, false},
		{"too soft", 60, 60, -55, -55, 0, false},
		{"one tone much louder", 60, 60, -30, -12, 0, false},
		{"out of tune", 60, 60, -12, -12, 0.06, false},
	} {
		l := &line{ear: newToneEar()}
		l.say(silence(20))
		for e := range keys {
			l.say(dtmf(uint8(e), c.on, c.row, c.column, c.err))
			l.say(silence(int(c.off)))
			l.say(make([]float64, 7*e)) // another phase each time
		}
		if want := map[bool]string{true: keys, false: ""}[c.want]; l.keys != want {
			t.Errorf("%s: heard %q, want %q", c.name, l.keys, want)
		}
	}
}

// TestKeysInNoise: 15 dB above noise, each press is heard once.
func TestKeysInNoise(t *testing.T) {
	dice := rand.New(rand.NewPCG(7, 7))
	l, want := &line{ear: newToneEar()}, ""
	for range 200 {
		e := uint8(dice.IntN(len(keys)))
		sound := append(dtmf(e, 70, -15, -14, 0), silence(70+dice.IntN(20))...)
		for i := range sound {
			sound[i] += dice.NormFloat64() * math.MaxInt16 * math.Pow(10, -30.0/20)
		}
		l.say(sound)
		want += string(keys[e])
	}
	if l.keys != want {
		t.Errorf("heard %d of %d keys right:\n%s\n%s", same(l.keys, want), len(want), l.keys, want)
	}
}

func same(a, b string) (n int) {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			n++
		}
	}
	return n
}

// TestTalkOff: in all prompts, said by voices from deep to high, in the music and in the tones of the house, nobody
// presses a key.
func TestTalkOff(t *testing.T) {
	lib := NewLibrary("")
	files, err := sounds.ReadDir("prompts/en")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d prompts, %v", len(files), err)
	}
	sources := map[string]Source{"music": limit(lib.Music(), 60*50), "ringback": limit(Ringback(), 500), "busy": limit(Busy(), 500), "beep": Beep()}
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), path.Ext(f.Name()))
		sources[name] = limit(lib.Prompt(name), 60*50)
	}
	total := 0
	for name, src := range sources {
		var sound []float64
		var frame Frame
		for src.ReadFrame(&frame) == nil {
			for _, v := range frame {
				sound = append(sound, float64(v))
			}
		}
		for _, pitch := range []float64{0.75, 0.87, 1, 1.15, 1.3} {
			l, spoken := &line{ear: newToneEar()}, at(sound, 2*pitch)
			total += len(spoken)
			if l.say(spoken); l.keys != "" {
				t.Errorf("%s, at %v of its pitch: pressed %s", name, pitch, l.keys)
			}
		}
	}
	if seconds := total / 8000; seconds < 500 {
		t.Errorf("only %d s were listened to", seconds)
	}
}

// at is every step-th sample of sound.
func at(sound []float64, step float64) []float64 {
	out := make([]float64, 0, int(float64(len(sound))/step)+1)
	for x := 0.0; int(x)+1 < len(sound); x += step {
		i := int(x)
		out = append(out, sound[i]+(sound[i+1]-sound[i])*(x-float64(i)))
	}
	return out
}

// limited is a source that ends.
type limited struct {
	Source
	left int
}

func (l *limited) ReadFrame(f *Frame) error {
	if l.left--; l.left < 0 {
		return io.EOF
	}
	return l.Source.ReadFrame(f)
}

func limit(s Source, frames int) Source { return &limited{s, frames} }

// TestKeyTones: what we say as tones is what an ear hears, each key once.
func TestKeyTones(t *testing.T) {
	src, err := KeyTones(keys + "1155")
	if err != nil {
		t.Fatal(err)
	}
	l, encode := &line{ear: newToneEar()}, &lawEncoder{law: kindPCMA}
	var frame Frame
	for src.ReadFrame(&frame) == nil {
		var coded [frameSamples]byte
		var heard [frameSamples]int16
		n := decodeLaw(heard[:], coded[:encode.encode(coded[:], frame[:])], kindPCMA)
		if k := l.ear.hear(heard[:n]); k != 0 {
			l.keys += string(k)
		}
	}
	if l.keys != keys+"1155" {
		t.Errorf("heard %s", l.keys)
	}
	if _, err := KeyTones("12x"); err == nil {
		t.Error("said x")
	}
}

func BenchmarkToneEar(b *testing.B) {
	ear := newToneEar()
	var sound [160]int16
	for i := range sound {
		sound[i] = int16(i * 100)
	}
	b.ReportAllocs()
	for b.Loop() {
		ear.hear(sound[:])
	}
}

// TestFingerWideClock: beside Opus the clock of events runs at 48 kHz. A key that is held runs on in segments, or with a
// clock that moves, and is one press.
func TestFingerWideClock(t *testing.T) {
	f, pressed := finger{}, 0
	feel := func(ts uint32, duration uint16, end byte) {
		p := packet{header: header{ts: ts}, buf: []byte{5, end, byte(duration >> 8), byte(duration)}, end: 4}
		if _, ok := f.feel(&p, 48000); ok {
			pressed++
		}
	}
	for d := uint16(960); d < 64000; d += 960 {
		feel(1000, d, 0)
	}
	feel(1000+65535, 960, 0) // the next segment; a packet between them was lost
	feel(1000+65535, 1920, 0x80)
	if pressed != 1 {
		t.Errorf("%d presses in segments", pressed)
	}
	feel(1000+65535+1920+4800, 960, 0)
	if pressed != 2 {
		t.Errorf("%d presses", pressed)
	}
}
