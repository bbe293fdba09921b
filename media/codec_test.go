package media

import (
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
