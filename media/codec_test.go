package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// vectors is the folder of the ITU-T reference vectors, which are not part of this project.
const vectors = "../../shared/testdata/torture/media"

func words(t *testing.T, name string) []uint16 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectors, name))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the ITU-T vectors are not here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	w := make([]uint16, len(b)/2)
	for i := range w {
		w[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return w
}

// TestITUVectors compares both laws with the ITU-T Software Tool Library over all 65,536 values,
// in both directions.
func TestITUVectors(t *testing.T) {
	linear := words(t, "sweep.src")
	for _, c := range []struct {
		kind        kind
		code, again string
	}{
		{kindPCMA, "sweep-r.a", "sweep-r.rea"},
		{kindPCMU, "sweep-r.u", "sweep-r.reu"},
	} {
		code, again := words(t, c.code), words(t, c.again)
		if len(linear) != 1<<16 || len(code) != len(linear) || len(again) != len(linear) {
			t.Fatalf("%d, %d and %d samples", len(linear), len(code), len(again))
		}
		samples := make([]int16, len(linear))
		for i, v := range linear {
			samples[i] = int16(v)
		}
		got := make([]byte, len(samples))
		c.kind.encode(got, samples)
		wrong := 0
		for i := range got {
			if uint16(got[i]) != code[i] {
				if wrong++; wrong < 5 {
					t.Errorf("%s: %d became %#x, want %#x", c.kind.name(), samples[i], got[i], code[i])
				}
			}
		}
		back := make([]int16, len(got))
		c.kind.decode(back, got)
		for i := range back {
			if back[i] != int16(again[i]) {
				if wrong++; wrong < 10 {
					t.Errorf("%s: %#x became %d, want %d", c.kind.name(), got[i], back[i], int16(again[i]))
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%s: %d wrong", c.kind.name(), wrong)
		}
	}
}

// TestLaws: each code survives decoding and encoding but for the two zeros of µ-law, the tables
// between the laws go by way of linear sound, and silence is silent.
func TestLaws(t *testing.T) {
	for _, k := range []kind{kindPCMU, kindPCMA} {
		for c := range 256 {
			var pcm [1]int16
			var code [1]byte
			k.decode(pcm[:], []byte{byte(c)})
			k.encode(code[:], pcm[:])
			if int(code[0]) != c && !(k == kindPCMU && c == 0x7f && code[0] == 0xff) {
				t.Errorf("%s %#x became %#x", k.name(), c, code[0])
			}
			other := kindPCMU
			if k == kindPCMU {
				other = kindPCMA
			}
			payload := []byte{byte(c)}
			convert(payload, k, other)
			other.encode(code[:], pcm[:])
			if payload[0] != code[0] {
				t.Errorf("%s %#x converted to %#x, want %#x", k.name(), c, payload[0], code[0])
			}
		}
	}
}

// TestITUVectorsG722 compares with the ITU-T Software Tool Library: 3 s of wide speech in both directions.
func TestITUVectorsG722(t *testing.T) {
	speech, want := words(t, "inpsp.bin"), words(t, "outsp1.bin")
	code, err := os.ReadFile(filepath.Join(vectors, "codsp.g722"))
	if err != nil {
		t.Fatal(err)
	}
	sound := make([]int16, len(speech))
	for i, v := range speech {
		sound[i] = int16(v)
	}
	got := make([]byte, 0, len(code))
	enc := newEncoder(&terms{audio: kindG722})
	for at := 0; at < len(sound); at += frameSamples {
		var b [frameSamples / 2]byte
		got = append(got, b[:enc.encode(b[:], sound[at:min(at+frameSamples, len(sound))])]...)
	}
	if !bytes.Equal(got, code) {
		t.Errorf("%d octets, want %d; the first that differs is %d", len(got), len(code), differ(got, code))
	}
	back := make([]int16, 0, len(want))
	dec := newDecoder(kindG722)
	for at := 0; at < len(code); at += frameSamples / 2 {
		var s [frameSamples]int16
		back = append(back, s[:dec.decode(s[:], code[at:min(at+frameSamples/2, len(code))])]...)
	}
	if len(back) != len(want) {
		t.Fatalf("%d samples, want %d", len(back), len(want))
	}
	for i, v := range back {
		if v != int16(want[i]) {
			t.Fatalf("sample %d is %d, want %d", i, v, int16(want[i]))
		}
	}
}

// differ is where a and b differ first.
func differ[T comparable](a, b []T) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
