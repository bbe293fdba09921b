// Musicgen composes the hold music: a calm loop of soft chords under a plucked figure,
// made for the narrow band of a telephone. The same program makes the same file.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"os"
)

const (
	rate  = 16000
	beat  = 60.0 / 75 // seconds
	bars  = 16
	bar   = 4 * beat
	total = int(bars * bar * rate) // 51.2 s; a whole number of 20 ms frames
	level = 0.08                   // RMS of full scale, a little softer than speech
	peak  = 0.7
)

// chord is a bass note, three notes of a pad and the notes that the pluck chooses from, as
// MIDI numbers. All lie where a telephone carries them.
type chord struct {
	bass int
	pad  [3]int
	high [4]int
}

// Sixteen bars in D major that come home at the end, so that the loop has no seam.
var (
	dMajor = chord{50, [3]int{62, 66, 69}, [4]int{74, 78, 81, 86}}
	bMinor = chord{47, [3]int{59, 62, 66}, [4]int{71, 74, 78, 83}}
	gMajor = chord{55, [3]int{59, 62, 67}, [4]int{71, 74, 79, 83}}
	aMajor = chord{57, [3]int{61, 64, 69}, [4]int{73, 76, 81, 85}}
	eMinor = chord{52, [3]int{59, 64, 67}, [4]int{71, 76, 79, 83}}
	fSharp = chord{54, [3]int{61, 66, 69}, [4]int{73, 78, 81, 85}}

	song = [bars]chord{
		dMajor, bMinor, gMajor, aMajor,
		dMajor, fSharp, gMajor, aMajor,
		bMinor, fSharp, gMajor, dMajor,
		eMinor, gMajor, aMajor, aMajor,
	}

	// Which high note is plucked on each half beat of a bar; -1 is a rest.
	figures = [4][8]int{
		{0, 1, 2, 1, 3, 2, 1, 2},
		{0, 2, 1, 2, 3, -1, 2, 1},
		{0, 1, 2, 3, 2, 1, 2, -1},
		{2, 1, 0, 1, 2, -1, 3, -1},
	}
)

func main() {
	out := flag.String("o", "music.wav", "file to write")
	flag.Parse()
	if err := os.WriteFile(*out, wav(compose()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// compose plays the song into one loop: what rings beyond its end is heard at its beginning.
func compose() []float64 {
	loop := make([]float64, total)
	for i, c := range song {
		start := float64(i) * bar
		for _, n := range c.pad {
			pad(loop, start, bar, n, 0.5)
		}
		pad(loop, start, bar, c.bass, 0.45)
		for k, which := range figures[(i+i/4)%len(figures)] {
			if which < 0 {
				continue
			}
			loud := 0.42
			if k%4 == 0 {
				loud = 0.55
			}
			pluck(loop, start+float64(k)*beat/2, c.high[which], loud)
		}
	}
	return normalise(room(loop))
}

func hertz(note int) float64 { return 440 * math.Exp2(float64(note-69)/12) }

// add puts a voice of the given length into the loop.
func add(loop []float64, start, length float64, voice func(t float64) float64) {
	first := int(start * rate)
	for i := range int(length * rate) {
		loop[(first+i)%len(loop)] += voice(float64(i) / rate)
	}
}

// pad is a soft tone that swells and fades into the next chord.
func pad(loop []float64, start, length float64, note int, loud float64) {
	const swell = 0.9
	freq := hertz(note)
	add(loop, start, length+swell, func(t float64) float64 {
		envelope := math.Pow(math.Sin(math.Pi/2*math.Min(1, math.Min(t, length+swell-t)/swell)), 2)
		shimmer := 1 + 0.08*math.Sin(2*math.Pi*0.4*t+float64(note))
		p := 2 * math.Pi * freq * t
		return loud * envelope * shimmer * (math.Sin(p) + 0.5*math.Sin(2*p) + 0.22*math.Sin(3*p) + 0.08*math.Sin(4*p)) / 3
	})
}

// pluck is a string that is touched and rings out.
func pluck(loop []float64, start float64, note int, loud float64) {
	freq := hertz(note)
	add(loop, start, 1.6, func(t float64) float64 {
		attack := math.Min(1, t/0.012)
		release := math.Min(1, (1.6-t)/0.2)
		p := 2 * math.Pi * freq * t
		tone := math.Exp(-3*t)*math.Sin(p) + 0.35*math.Exp(-5*t)*math.Sin(2*p) + 0.12*math.Exp(-8*t)*math.Sin(3*p)
		return loud * attack * release * tone
	})
}

// room adds a few quiet echoes, round the loop.
func room(in []float64) []float64 {
	out := make([]float64, len(in))
	echoes := []struct{ delay, gain float64 }{{0, 1}, {0.043, 0.22}, {0.071, 0.18}, {0.113, 0.13}, {0.167, 0.09}, {0.241, 0.06}}
	for _, e := range echoes {
		shift := int(e.delay * rate)
		for i := range out {
			out[i] += e.gain * in[(i-shift+len(in))%len(in)]
		}
	}
	return band(out)
}

// band keeps what a telephone carries, 150 to 3300 Hz, round the loop.
func band(in []float64) []float64 {
	low := 1 - math.Exp(-2*math.Pi*3300/rate)
	high := 1 - math.Exp(-2*math.Pi*150/rate)
	var a, b, floor float64
	out := make([]float64, len(in))
	for range 2 { // the second round begins with the state of the end
		for i, v := range in {
			a += low * (v - a)
			b += low * (a - b)
			floor += high * (b - floor)
			out[i] = b - floor
		}
	}
	return out
}

// normalise sets the level, and lower if that would clip.
func normalise(s []float64) []float64 {
	sum, top := 0.0, 0.0
	for _, v := range s {
		sum += v * v
		top = math.Max(top, math.Abs(v))
	}
	gain := math.Min(level/math.Sqrt(sum/float64(len(s))), peak/top)
	for i := range s {
		s[i] *= gain
	}
	return s
}

// wav is the file: 16 bits, one channel.
func wav(s []float64) []byte {
	size := uint32(2 * len(s))
	b := append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, 36+size)...)
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = append(b, 1, 0, 1, 0)
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, 2*rate)
	b = append(b, 2, 0, 16, 0)
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, size)
	for _, v := range s {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(math.Round(v*math.MaxInt16))))
	}
	return b
}
