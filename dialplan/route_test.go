package dialplan

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"pbx/store"
)

func TestNormalize(t *testing.T) {
	for in, want := range map[string]string{
		"101":                           "101",
		" 1 0-1 ":                       "101",
		"(030) 12.34/56":                "030123456",
		"+49 30 1":                      "+49301",
		"4+9":                           "",
		"%2A97":                         "*97",
		"%252A97":                       "", // decoded once
		"sip:101@pbx.example":           "101",
		"SIPS:*97;x=1@h":                "*97",
		"tel:+1-201-555;phone-context=": "+1201555",
		"101;phone-context=x":           "101",
		"#1":                            "#1",
		"ada":                           "ada",
		"٣":                             "", // other scripts' digits are no digits of ours
		"1\x00":                         "",
		"":                              "",
		strings.Repeat("9", 64):         strings.Repeat("9", 64),
		strings.Repeat("9", 65):         "",
	} {
		if got := Normalize(in); got != want {
			t.Errorf("Normalize(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for what, users := range map[string][]store.User{
		"an extension that is a code": {{ID: "usr_a", Extension: "*43"}},
		"one that cannot be dialled":  {{ID: "usr_a", Extension: "1 2"}},
		"one that belongs to two":     {{ID: "usr_a", Extension: "12"}, {ID: "usr_b", Extension: "12"}},
	} {
		if _, err := Compile(store.NewSnapshot(store.Account{}, users, nil)); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}

// TestRouteReasonsAreOwn proves that a call may add to its reasons without touching the plan's.
func TestRouteReasonsAreOwn(t *testing.T) {
	p := office(t, 2)
	_, first := p.Route(Query{Dialed: "1001"})
	_ = append(first, store.Reason{Rule: "of one call"})
	_, second := p.Route(Query{Dialed: "1001"})
	if cap(second) != len(second) {
		t.Errorf("calls share room for reasons: %v", second[:cap(second)])
	}
}

func FuzzRoute(f *testing.F) {
	p := office(f, 3)
	for _, seed := range []string{"1000", "*97", "*43", "", "sip:%31@x", "+", "\xff", "1001;a=b"} {
		f.Add(seed, "usr_1000")
	}
	f.Fuzz(func(t *testing.T, dialed, from string) {
		q := Query{From: Caller{User: store.ID(from)}, Dialed: dialed}
		d, reasons := p.Route(q)
		again, _ := p.Route(q)
		if !reflect.DeepEqual(d, again) {
			t.Fatal("two answers to one query")
		}
		if len(reasons) == 0 || len(Explain(d, reasons)) == 0 {
			t.Fatalf("%q went to %v without a reason", dialed, d)
		}
		for _, r := range reasons {
			if r.Rule == "" || r.Detail == "" || strings.ContainsAny(r.Detail, "\x00\r\n") || len(r.Detail) > 1000 {
				t.Fatalf("reason %q", r)
			}
		}
		if n := Normalize(dialed); Normalize(n) != n {
			t.Fatalf("Normalize(%q) = %q is not stable", dialed, n)
		}
	})
}

func BenchmarkRoute(b *testing.B) {
	p := office(b, 1000)
	q := Query{From: Caller{User: "usr_1000"}, Dialed: "1500"}
	for b.Loop() {
		if _, r := p.Route(q); len(r) == 0 {
			b.Fatal("no reason")
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		office(b, 1000)
	}
}

func office(tb testing.TB, n int) *Plan {
	users, devices := make([]store.User, n), make([]store.Device, n)
	for i := range users {
		ext := strconv.Itoa(1000 + i)
		users[i] = store.User{
			ID: "usr_" + store.ID(ext), Extension: ext, Name: "User " + ext, RingTimeout: 20 * time.Second,
			DoNotDisturb: i%10 == 9, Voicemail: store.Voicemail{Enabled: i%2 == 0},
		}
		devices[i] = store.Device{ID: "dev_" + store.ID(ext), Lines: []store.Line{{UserID: users[i].ID}}}
	}
	p, err := Compile(store.NewSnapshot(store.Account{}, users, devices))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
