package audiofile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// convert converts an upload and returns the samples of what became of it.
func convert(t testing.TB, upload []byte) (Sound, []float64, error) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "clip.wav"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := Convert(t.Context(), bytes.NewReader(upload), int64(len(upload)), f)
	if err != nil {
		return s, nil, err
	}
	whole, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(whole)) != s.Size || string(whole[:4]) != "RIFF" || binary.LittleEndian.Uint32(whole[40:]) != uint32(len(whole)-header) {
		t.Errorf("a file of %d octets, told %d, header %q", len(whole), s.Size, whole[:header])
	}
	var samples []float64
	for i := header; i < len(whole); i += 2 {
		samples = append(samples, float64(int16(binary.LittleEndian.Uint16(whole[i:])))/32768)
	}
	return s, samples, nil
}

// share is how much of the energy is at freq, and the level of the whole in dBFS.
func share(samples []float64, freq float64, rate int) (part, level float64) {
	var re, im, sum float64
	for i, v := range samples {
		a := 2 * math.Pi * freq * float64(i) / float64(rate)
		re += v * math.Cos(a)
		im += v * math.Sin(a)
		sum += v * v
	}
	n := float64(len(samples))
	return (re*re + im*im) * 2 / n / sum, 10 * math.Log10(sum/n)
}

// wav makes a file of one frequency in each channel.
func wav(code, bits, rate int, length time.Duration, level float64, freqs ...float64) []byte {
	var data []byte
	n := int(length.Seconds() * float64(rate))
	for i := range n {
		for _, f := range freqs {
			v := level * math.Sin(2*math.Pi*f*float64(i)/float64(rate))
			switch {
			case code == 3:
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
			case bits == 8:
				data = append(data, byte(128+v*127))
			case bits == 24:
				x := int32(v * (1<<23 - 1))
				data = append(data, byte(x), byte(x>>8), byte(x>>16))
			default:
				data = binary.LittleEndian.AppendUint16(data, uint16(int16(v*32767)))
			}
		}
	}
	h := wavHeader(rate, 0)
	binary.LittleEndian.PutUint16(h[20:], uint16(code))
	binary.LittleEndian.PutUint16(h[22:], uint16(len(freqs)))
	binary.LittleEndian.PutUint16(h[34:], uint16(bits))
	binary.LittleEndian.PutUint32(h[40:], uint32(len(data)))
	return append(h, data...)
}

func TestConvert(t *testing.T) {
	files, err := filepath.Glob("testdata/tone*")
	if err != nil || len(files) < 6 {
		t.Fatalf("%v, %v", files, err)
	}
	uploads := map[string][]byte{
		"wav 8 kHz":         wav(1, 16, 8000, 1500*time.Millisecond, 0.1, 440),
		"wav 44.1 kHz":      wav(1, 16, 44100, 1500*time.Millisecond, 0.9, 440, 440),
		"wav 48 kHz 24 bit": wav(1, 24, 48000, 1500*time.Millisecond, 0.01, 440),
		"wav 11 kHz 8 bit":  wav(1, 8, 11025, 1500*time.Millisecond, 0.5, 440),
		"wav float":         wav(3, 32, 96000, 1500*time.Millisecond, 1.5, 440), // louder than full scale
	}
	for _, f := range files {
		if uploads[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	for name, upload := range uploads {
		s, samples, err := convert(t, upload)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		rate := wide
		if name == "wav 8 kHz" {
			rate = narrow
		}
		if d := s.Duration - 1500*time.Millisecond; s.Rate != rate || d.Abs() > 100*time.Millisecond {
			t.Errorf("%s: %d Hz, %s", name, s.Rate, s.Duration)
		}
		middle := samples[len(samples)/4 : len(samples)*3/4]
		part, level := share(middle, 440, s.Rate)
		if part < 0.98 || math.Abs(level-wantedLevel) > 1 || math.Abs(s.Loudness-wantedLevel) > 1 {
			t.Errorf("%s: %.3f of the energy at 440 Hz, %.1f dBFS, said to be %.1f", name, part, level, s.Loudness)
		}
		if p := s.Peaks[Parts/2]; math.Abs(float64(p)/255-0.1414) > 0.02 {
			t.Errorf("%s: peak %d", name, p)
		}
	}
}

// TestResampling: what fits is kept, what does not is gone rather than folded down.
func TestResampling(t *testing.T) {
	for _, rate := range []int{22050, 32000, 44100, 48000} {
		for _, c := range []struct {
			freq float64
			kept bool
		}{{300, true}, {3000, true}, {6800, true}, {9000, false}, {10500, false}} {
			if c.freq > float64(rate)/2*0.96 {
				continue
			}
			r := newResampler(rate, wide)
			in := make([]float32, rate)
			for i := range in {
				in[i] = float32(0.5 * math.Sin(2*math.Pi*c.freq*float64(i)/float64(rate)))
			}
			var out []float64
			for len(in) > 0 {
				n := min(997, len(in))
				for _, v := range r.feed(in[:n]) {
					out = append(out, float64(v))
				}
				in = in[n:]
			}
			part, level := share(out[2000:10000], c.freq, wide)
			switch {
			case c.kept && (part < 0.999999 || math.Abs(level+9.03) > 0.2):
				t.Errorf("%d Hz, %.0f Hz: %.7f of the energy, %.2f dBFS", rate, c.freq, part, level)
			case !c.kept && level > -75:
				t.Errorf("%d Hz, %.0f Hz is folded down at %.1f dBFS", rate, c.freq, level)
			}
		}
	}
}

// TestLevel: pauses do not count, and peaks are not clipped.
func TestLevel(t *testing.T) {
	talk := wav(1, 16, 16000, time.Second, 0.01, 440)
	pause := make([]byte, 2*16000*4)
	upload := append(talk, pause...)
	binary.LittleEndian.PutUint32(upload[40:], uint32(len(upload)-header))
	_, samples, err := convert(t, upload)
	if err != nil {
		t.Fatal(err)
	}
	if _, level := share(samples[4000:12000], 440, wide); math.Abs(level-wantedLevel) > 1 {
		t.Errorf("speech with pauses is at %.1f dBFS", level)
	}
	// A click among quiet sound: the peak bounds the gain.
	upload = wav(1, 16, 16000, time.Second, 0.01, 440)
	binary.LittleEndian.PutUint16(upload[header+16000:], 0x7000)
	if _, samples, err = convert(t, upload); err != nil {
		t.Fatal(err)
	}
	top := 0.0
	for _, v := range samples {
		top = max(top, math.Abs(v))
	}
	if top > 0.9 || top < 0.85 {
		t.Errorf("peak %.2f", top)
	}
}

// endless is a WAV file as long as its header says, of which only the header takes room.
type endless struct{ head []byte }

func (e endless) ReadAt(p []byte, at int64) (int, error) {
	for i := range p {
		p[i] = byte(i * 37)
		if at+int64(i) < int64(len(e.head)) {
			p[i] = e.head[at+int64(i)]
		}
	}
	return len(p), nil
}

func TestRefusals(t *testing.T) {
	mp3, err := os.ReadFile("testdata/tone.mp3")
	if err != nil {
		t.Fatal(err)
	}
	ogg, err := os.ReadFile("testdata/tone.ogg")
	if err != nil {
		t.Fatal(err)
	}
	manyBooks := bytes.Clone(ogg) // a code book that claims more entries than any encoder makes
	i := bytes.Index(manyBooks, []byte("BCV"))
	copy(manyBooks[i+5:], "\xff\xff\xff")
	tag := append([]byte("ID3\x04\x00\x00\x7f\x7f\x7f\x7f"), mp3...)
	for name, c := range map[string]struct {
		upload []byte
		want   error
	}{
		"nothing":          {nil, ErrFormat},
		"text":             {[]byte("Dear Sir or Madam, this is no sound."), ErrFormat},
		"adpcm":            {wav(17, 4, 8000, 0, 0, 1), ErrFormat},
		"nine channels":    {wav(1, 16, 8000, time.Second, 0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9), ErrFormat},
		"1 Hz":             {wav(1, 16, 1, time.Hour, 0.5, 1), ErrFormat},
		"silence":          {wav(1, 16, 8000, time.Second, 0.0001, 440), ErrSilent},
		"short":            {wav(1, 16, 8000, 50*time.Millisecond, 0.5, 440), ErrShort},
		"cut header":       {wav(1, 16, 8000, time.Second, 0.5, 440)[:30], ErrBroken},
		"flac of nothing":  {[]byte("fLaC\x84\x00\xff\xff\xff\xff\xff\xff\xff\xff"), ErrBroken},
		"tag without end":  {tag, ErrBroken},
		"huge code book":   {manyBooks, ErrBroken},
		"ogg of something": {bytes.ReplaceAll(ogg, []byte("vorbis"), []byte("theora")), ErrFormat},
	} {
		if _, _, err := convert(t, c.upload); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "clip.wav"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := wavHeader(4000, MaxSize/2)
	if _, err := Convert(t.Context(), endless{h}, MaxSize, f); !errors.Is(err, ErrLong) {
		t.Errorf("an hour: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Convert(ctx, bytes.NewReader(mp3), int64(len(mp3)), f); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
}

// TestMP3: what is encoded is what is decoded, in one channel and in two.
func TestMP3(t *testing.T) {
	for name, c := range map[string]struct {
		rate  int
		freqs []float64
	}{"message": {8000, []float64{440}}, "wide": {16000, []float64{440}}, "both sides": {8000, []float64{440, 1000}}} {
		path := filepath.Join(t.TempDir(), "a.wav")
		if err := os.WriteFile(path, wav(1, 16, c.rate, 2*time.Second, 0.3, c.freqs...), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := MP3(t.Context(), &out, path); err != nil {
			t.Fatal(err)
		}
		if kbit := float64(out.Len()) * 8 / 2 / 1000; math.Abs(kbit-bitrate*float64(len(c.freqs))) > 6*float64(len(c.freqs)) {
			t.Errorf("%s: %.1f kbit/s", name, kbit)
		}
		s, err := open(io.NewSectionReader(bytes.NewReader(out.Bytes()), 0, int64(out.Len())))
		if err != nil {
			t.Fatal(err)
		}
		var samples []float64
		for {
			more, err := s.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range more {
				samples = append(samples, float64(v))
			}
		}
		if got := float64(len(samples)) / float64(s.rate); s.rate != wide || math.Abs(got-2) > 0.15 {
			t.Errorf("%s: %.2f s at %d Hz", name, got, s.rate)
		}
		for _, f := range c.freqs {
			if part, _ := share(samples[8000:24000], f, wide); part < 0.95/float64(len(c.freqs)) {
				t.Errorf("%s: %.3f of the energy at %.0f Hz", name, part, f)
			}
		}
	}
	if err := MP3(t.Context(), io.Discard, filepath.Join(t.TempDir(), "none.wav")); err == nil {
		t.Error("no file, no error")
	}
}

// FuzzConvert: whatever is uploaded, the answer is a sound or an error, soon and in little room.
func FuzzConvert(f *testing.F) {
	files, err := filepath.Glob("testdata/tone*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 12000)])
	}
	f.Add(wav(1, 16, 8000, 200*time.Millisecond, 0.5, 440, 880))
	f.Add(wav(3, 32, 48000, 200*time.Millisecond, 0.5, 440))
	f.Add([]byte(strings.Repeat("RIFF\x00\x00\x00\x00WAVE", 3)))
	f.Fuzz(func(t *testing.T, upload []byte) {
		if len(upload) > 1<<16 {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		file, err := os.Create(filepath.Join(t.TempDir(), "clip.wav"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		start := time.Now()
		s, err := Convert(ctx, bytes.NewReader(upload), int64(len(upload)), file)
		if took := time.Since(start); took > 10*time.Second {
			t.Fatalf("it did not hear that nobody waits any more: %s", took)
		}
		if err == nil && (s.Duration < minLength || s.Duration > MaxLength || s.Loudness > 0 || len(s.Peaks) != Parts) {
			t.Errorf("%+v", s)
		}
	})
}
