package call

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pbx/media"
)

// TestAnsweringMachines plays each greeting of docs/answering-machines.md, at three levels of voice and of noise, and takes
// it for what the table says: what goes wrong stands there too.
func TestAnsweringMachines(t *testing.T) {
	text, err := os.ReadFile("../docs/answering-machines.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.ContainsAny(cells[2], "0123456789") {
			continue
		}
		rows++
		for _, voice := range []int{1500, 6000, 20000} {
			if got := takenFor(t, strings.Fields(cells[2]), voice); got != strings.TrimSpace(cells[4]) {
				t.Errorf("%s at %d is taken for a %s", strings.TrimSpace(cells[1]), voice, got)
			}
		}
	}
	if rows != 12 {
		t.Errorf("%d rows", rows)
	}
}

// takenFor plays sound and pause in turn. Pauses are not quite silent, as on a line.
func takenFor(t *testing.T, lengths []string, voice int) string {
	ear, chance := &answerer{}, rand.New(rand.NewPCG(7, uint64(voice)))
	for i, ms := range lengths {
		n, err := strconv.Atoi(ms)
		if err != nil {
			t.Fatal(err)
		}
		loud := voice
		if i%2 == 1 {
			loud = 60
		}
		for range time.Duration(n) * time.Millisecond / amdFrame {
			var f media.Frame
			for s := range f {
				f[s] = int16(chance.IntN(2*loud+1) - loud)
			}
			if err := ear.WriteFrame(&f); err != nil {
				t.Fatal(err)
			}
		}
	}
	if ear.machine() {
		return "machine"
	}
	return "person"
}
