package dialplan

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pbx/store"
)

var update = flag.Bool("update", false, "rewrite the expectations of testdata/dialplan")

// TestScripts plays testdata/dialplan/*.txt: users, then “201 dials 202”, each followed by the steps expected.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("../testdata/dialplan/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s says\n%s\nbut the plan says\n%s", file, text, got)
			}
		})
	}
}

// play returns the script with the steps as they really are.
func play(t *testing.T, script string) string {
	var (
		out   strings.Builder
		users []store.User
		lines []store.Device
		plan  *Plan
	)
	scan := bufio.NewScanner(strings.NewReader(script))
	for n := 1; scan.Scan(); n++ {
		line := scan.Text()
		if strings.HasPrefix(line, "    ") {
			continue // an expectation: written anew below
		}
		fmt.Fprintln(&out, line)
		switch word, rest, _ := strings.Cut(line, " "); {
		case word == "" || word == "#":
		case word == "user":
			u, device := parseUser(t, n, rest)
			users, plan = append(users, u), nil
			if device {
				lines = append(lines, store.Device{ID: "dev_" + store.ID(u.Extension), Lines: []store.Line{{UserID: u.ID}}})
			}
		default:
			_, dialed, ok := strings.Cut(line, " dials ")
			if !ok {
				t.Fatalf("line %d: %q is neither a user nor a call", n, line)
			}
			if plan == nil {
				var err error
				if plan, err = Compile(store.NewSnapshot(store.Account{}, users, lines)); err != nil {
					t.Fatalf("line %d: %v", n, err)
				}
			}
			from := Caller{Number: word}
			if u := plan.extensions[word].user; u != nil {
				from.User = u.ID
			}
			for _, s := range Explain(plan.Route(Query{From: from, Dialed: dialed})) {
				fmt.Fprintf(&out, "    %4s  %-9s  %s\n%22s%s\n", s.At, s.Action, s.Detail, "because: ", s.Because)
			}
		}
	}
	return out.String()
}

// parseUser reads “201 Ada Lovelace, rings 20s, voicemail, dnd, no phone”.
func parseUser(t *testing.T, n int, text string) (u store.User, device bool) {
	fields := strings.Split(text, ", ")
	ext, name, _ := strings.Cut(fields[0], " ")
	u = store.User{ID: "usr_" + store.ID(ext), Extension: ext, Name: name, RingTimeout: 25 * time.Second}
	device = true
	for _, f := range fields[1:] {
		switch {
		case f == "voicemail":
			u.Voicemail.Enabled = true
		case f == "dnd":
			u.DoNotDisturb = true
		case f == "no phone":
			device = false
		case strings.HasPrefix(f, "rings "):
			d, err := time.ParseDuration(strings.TrimPrefix(f, "rings "))
			if err != nil {
				t.Fatalf("line %d: %v", n, err)
			}
			u.RingTimeout = d
		default:
			t.Fatalf("line %d: what is %q?", n, f)
		}
	}
	return u, device
}
