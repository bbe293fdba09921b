package dialplan

import (
	"reflect"
	"slices"
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

// TestE164 is one number in the spellings of its country (P-TRK-07).
func TestE164(t *testing.T) {
	for _, c := range []struct{ country, dialed, want string }{
		{"DE", "030 123456", "+4930123456"},
		{"DE", "+49 (0) 30 123456", "+4930123456"},
		{"DE", "0043 1 5812345", "+4315812345"},
		{"DE", "123456", ""},
		{"AT", "01 58123456", "+43158123456"},
		{"CH", "044 668 18 00", "+41446681800"},
		{"CH", "044 668 18", ""},
		{"GB", "020 7946 0958", "+442079460958"},
		{"GB", "0800 1111", "+448001111"},
		{"IE", "01 234 5678", "+35312345678"},
		{"FR", "01 23 45 67 89", "+33123456789"},
		{"FR", "1 23 45 67 89", ""},
		{"BE", "02 234 56 78", "+3222345678"},
		{"ES", "912 345 678", "+34912345678"},
		{"PT", "212 345 678", "+351212345678"},
		{"PL", "22 123 45 67", "+48221234567"},
		{"IT", "06 1234 5678", "+390612345678"},
		{"IT", "+39 06 1234 5678", "+390612345678"},
		{"IT", "347 123 4567", "+393471234567"},
		{"DK", "32 12 34 56", "+4532123456"},
		{"NO", "22 12 34 56", "+4722123456"},
		{"SE", "08-123 456 78", "+46812345678"},
		{"FI", "09 1234567", "+35891234567"},
		{"NL", "020 123 4567", "+31201234567"},
		{"LU", "26 123 456", "+35226123456"},
		{"HU", "06 1 123 4567", "+3611234567"},
		{"CZ", "222 123 456", "+420222123456"},
		{"GR", "21 0123 4567", "+302101234567"},
		{"RO", "021 123 4567", "+40211234567"},
		{"MT", "2123 4567", "+35621234567"},
		{"US", "1 (212) 555-0123", "+12125550123"},
		{"US", "212 555 0123", "+12125550123"},
		{"US", "011 49 30 123456", "+4930123456"},
		{"US", "012 555 0123", ""},
		{"US", "212 155 0123", ""},
		{"US", "555 0123", ""},
		{"CA", "416 555 0123", "+14165550123"},
		{"AU", "02 9374 4000", "+61293744000"},
		{"AU", "1300 975 707", "+611300975707"},
		{"AU", "0011 44 20 7946 0958", "+442079460958"},
		{"AU", "13 11 14", "+61131114"},
		{"NZ", "09 123 4567", "+6491234567"},
		{"ZZ", "00 49 30 123456", "+4930123456"},
		{"ZZ", "030 123456", ""},
	} {
		if got, _ := homeOf(c.country, "").e164(Normalize(c.dialed)); got != c.want {
			t.Errorf("%s in %s is %q, want %q", c.dialed, c.country, got, c.want)
		}
	}
	if got, _ := homeOf("US", "201").e164("5550123"); got != "+12015550123" {
		t.Errorf("a local number is %s", got)
	}
}

// TestSpell writes numbers for carriers, and what a carrier writes is understood again.
func TestSpell(t *testing.T) {
	for _, c := range []struct{ country, format, number, want string }{
		{"DE", "e164", "+4930123456", "+4930123456"},
		{"DE", "digits", "+4930123456", "4930123456"},
		{"DE", "00", "+4930123456", "004930123456"},
		{"DE", "national", "+4930123456", "030123456"},
		{"DE", "national", "+12125550123", "0012125550123"},
		{"DE", "national", "112", "112"},
		{"US", "national", "+12125550123", "2125550123"},
		{"US", "national", "+4930123456", "0114930123456"},
		{"IT", "national", "+390612345678", "0612345678"},
		{"ZZ", "national", "+4930123456", "004930123456"},
	} {
		h := homeOf(c.country, "")
		if got := h.spell(c.number, c.format); got != c.want {
			t.Errorf("%s in %s as %s is %q, want %q", c.number, c.country, c.format, got, c.want)
		} else if readings := h.readings(got); c.number != "112" && !slices.Contains(readings, c.number) {
			t.Errorf("%s in %s is read as %v", got, c.country, readings)
		}
	}
}

func TestCountry(t *testing.T) {
	for number, want := range map[string]string{
		"+4930123456": "DE", "+12125550123": "US", "+14165550123": "CA", "+18765550123": "JM", "+19005550123": "", "+77271234567": "KZ",
		"+74951234567": "RU", "+8821234567": "", "+35226123456": "LU", "+9991234567": "", "030123": "",
	} {
		if got := Country(number); got != want {
			t.Errorf("%s is in %q, want %q", number, got, want)
		}
	}
}

func FuzzE164(f *testing.F) {
	for _, seed := range []string{"+4930123456", "030123456", "0114930123456", "5550123", "+1", "+", "0", "00"} {
		f.Add("DE", seed)
		f.Add("US", seed)
	}
	f.Fuzz(func(t *testing.T, country, dialed string) {
		h := homeOf(country, "201")
		number, ok := h.e164(dialed)
		if !ok {
			return
		}
		if again, ok := h.e164(number); !ok || again != number {
			t.Fatalf("%q is %q, and that is %q", dialed, number, again)
		}
		for _, format := range []string{"e164", "digits", "00", "national"} {
			if written := h.spell(number, format); !slices.Contains(h.readings(written), number) {
				t.Fatalf("%s in %s as %s is %s, read as %v", number, country, format, written, h.readings(written))
			}
		}
	})
}

func FuzzRoute(f *testing.F) {
	p := office(f, 3)
	for _, seed := range []string{"911", "*6712125550123", "+12015550100", "0114930123456", "1000", "*97", "*43", "", "sip:%31@x", "+", "\xff", "1001;a=b"} {
		f.Add(seed, "usr_1000")
	}
	f.Fuzz(func(t *testing.T, dialed, from string) {
		q := Query{From: Caller{User: store.ID(from)}, Dialed: dialed}
		if strings.HasPrefix(from, "trk_") {
			q.From = Caller{Trunk: store.ID(from)}
		}
		d, reasons := p.Route(q)
		again, _ := p.Route(q)
		if !reflect.DeepEqual(d, again) {
			t.Fatal("two answers to one query")
		}
		if out, ok := d.(Outside); ok && q.From.Trunk != "" && out.Forwarder == "" {
			t.Fatalf("a caller from outside reached %s", out.Number)
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
	p, err := Compile(store.NewSnapshot(store.Account{Country: "US"}, users, devices).WithTrunks(
		[]store.Trunk{{ID: "trk_1", Name: "Carrier", Enabled: true, Format: "digits"}},
		[]store.Number{
			{ID: "num_1", Number: "+12015550100", Status: "active", Destination: store.Destination{Type: "user", ID: users[0].ID}},
			{ID: "num_2", Number: "+12015550101", Status: "active", Destination: store.Destination{Type: "external", Number: "+12125550199"}},
		}))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
