package dialplan

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pbx/store"
)

var update = flag.Bool("update", false, "rewrite the expectations of testdata/dialplan")

// TestScripts plays testdata/dialplan/*.txt: users, trunks and numbers, then “201 dials 202” or “Alpha brings 030123”, each
// followed by the steps expected.
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
		out  strings.Builder
		o    scripted
		plan *Plan
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
			o.users, plan = append(o.users, u), nil
			if device {
				o.lines = append(o.lines, store.Device{ID: "dev_" + store.ID(u.Extension), Lines: []store.Line{{UserID: u.ID}}})
			}
		case o.set(t, n, word, rest):
			plan = nil
		default:
			from := Caller{Number: word}
			_, dialed, ok := strings.Cut(line, " dials ")
			if !ok {
				if _, dialed, ok = strings.Cut(line, " brings "); !ok {
					t.Fatalf("line %d: %q is neither a rule nor a call", n, line)
				}
				from = Caller{Trunk: "trk_" + store.ID(word)}
			}
			if plan == nil {
				var err error
				s := store.NewSnapshot(o.account, o.users, o.lines).WithTrunks(o.trunks, o.numbers)
				if plan, err = Compile(s); err != nil {
					t.Fatalf("line %d: %v", n, err)
				}
			}
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
		case strings.HasPrefix(f, "shows "):
			u.OutboundNumberID = numberID(f[len("shows "):])
		case strings.HasPrefix(f, "calls"):
			u.OutboundCountries = append([]string{}, strings.Fields(f[len("calls"):])...)
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

// scripted is what a script has set so far.
type scripted struct {
	account store.Account
	users   []store.User
	lines   []store.Device
	trunks  []store.Trunk
	numbers []store.Number
}

func numberID(number string) store.ID { return "num_" + store.ID(strings.TrimPrefix(number, "+")) }

// set reads “account DE, shows +4930…, calls FR GB”, “trunk Alpha, serves +49 +4930, priority 1, costs +49 100, writes national, off”
// and “number +4930… user 201, trunk Alpha, pending, label Front desk”.
func (o *scripted) set(t *testing.T, n int, word, text string) bool {
	t.Helper()
	fields := strings.Split(text, ", ")
	trunk, number := store.Trunk{Name: fields[0], ID: "trk_" + store.ID(fields[0]), Enabled: true, Format: "e164"}, store.Number{Status: "active"}
	switch word {
	case "account":
		o.account.Country = fields[0]
	case "trunk":
		defer func() { o.trunks = append(o.trunks, trunk) }()
	case "number":
		words := strings.Fields(fields[0])
		number.Number, number.ID, number.Destination.Type = words[0], numberID(words[0]), words[1]
		switch {
		case words[1] == "external":
			number.Destination.Number = words[2]
		case len(words) > 2:
			number.Destination.ID = "usr_" + store.ID(words[2])
		}
		defer func() { o.numbers = append(o.numbers, number) }()
	default:
		return false
	}
	for _, f := range fields[1:] {
		option, value, _ := strings.Cut(f, " ")
		values := strings.Fields(value)
		whole := func(s string) int {
			i, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("line %d: %v", n, err)
			}
			return i
		}
		switch word + " " + option {
		case "account shows":
			o.account.DefaultOutboundNumberID = numberID(value)
		case "account calls":
			o.account.OutboundCountries = values
		case "trunk serves":
			trunk.Prefixes = values
		case "trunk priority":
			trunk.Priority = whole(value)
		case "trunk costs":
			trunk.Rates = append(trunk.Rates, store.Rate{Prefix: values[0], PerMinute: whole(values[1])})
		case "trunk writes":
			trunk.Format = value
		case "trunk off":
			trunk.Enabled = false
		case "number trunk":
			number.TrunkID = "trk_" + store.ID(value)
		case "number pending":
			number.Status = "pending_verification"
		case "number label":
			number.Label = value
		default:
			t.Fatalf("line %d: what is %q?", n, f)
		}
	}
	return true
}
