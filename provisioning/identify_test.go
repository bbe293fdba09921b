package provisioning

import (
	"net/url"
	"strings"
	"testing"

	"pbx/store"
)

func TestSplitMAC(t *testing.T) {
	const mac = "001565aabbcc"
	for file, form := range map[string]string{
		"001565aabbcc.cfg":           "{mac}.cfg",
		"001565AABBCC.cfg":           "{mac}.cfg",
		"00:15:65:aa:bb:cc.boot":     "{mac}.boot",
		"00-15-65-AA-BB-CC.xml":      "{mac}.xml",
		"001565aabbcc-local.cfg":     "{mac}-local.cfg",
		"cfg001565aabbcc.xml":        "cfg{mac}.xml",
		"SEP001565AABBCC.cnf.xml":    "sep{mac}.cnf.xml",
		"spa001565aabbcc.cfg":        "spa{mac}.cfg",
		"algom001565AABBCC.conf":     "algom{mac}.conf",
		"snomD785-001565AABBCC.htm":  "snomd785-{mac}.htm",
		"config.001565aabbcc.xml":    "config.{mac}.xml",
		"MN_001565AABBCC.cfg":        "mn_{mac}.cfg",
		"001565aabbcc-phone.cfg":     "{mac}-phone.cfg",
		"001565aabbcc-directory.xml": "{mac}-directory.xml",
		"001565aabbcc":               "{mac}",
	} {
		gotForm, got := splitMAC(file)
		if gotForm != form || got != mac {
			t.Errorf("splitMAC(%q) = %q, %q, want %q", file, gotForm, got, form)
		}
	}
	for _, file := range []string{
		"y000000000000.boot", "y000000000096.cfg", "000000000000.cfg", "ffffffffffff.cfg", "001565aabbccd.cfg",
		"001565aabbc.cfg", "00:15:65:aa:bb.cfg", "x001565aabbcc.cfg", "3111-44500-001.sip.ld", "",
	} {
		if form, got := splitMAC(file); got != "" || form != strings.ToLower(file) {
			t.Errorf("splitMAC(%q) = %q, %q, want no address", file, form, got)
		}
	}
}

func TestRecogniseAgent(t *testing.T) {
	for agent, want := range map[string][3]string{ // model, firmware, MAC
		"Yealink SIP-T46G 28.72.0.1 00:15:65:4a:a9:37":      {"T46G", "28.72.0.1", "0015654aa937"},
		"yealink SIP-T28P 2.70.0.140 00:15:65:13:ae:0b":     {"T28P", "2.70.0.140", "00156513ae0b"},
		"Yealink SIP VP-T49G 51.80.0.10 00:15:65:9b:5a:44":  {"T49G", "51.80.0.10", "0015659b5a44"},
		"Yealink SIP-T38G  38.70.0.125 00:15:65:2f:c3:5e":   {"T38G", "38.70.0.125", "0015652fc35e"},
		"Yealink W90DM 130.87.0.10 80:5e:c0:d9:c7:44":       {"W90DM", "130.87.0.10", "805ec0d9c744"},
		"Yealink W70B 146.87.0.15 80:5e:0c:1d:65:4e":        {"W70B", "146.87.0.15", "805e0c1d654e"},
		"W52P 25.30.0.2 00:15:65:44:b3:7c":                  {"W52P", "25.30.0.2", "00156544b37c"},
		"Yealink CP860 37.72.0.5 00:15:65:44:b3:7d":         {"CP860", "37.72.0.5", "00156544b37d"},
		"Yealink-T46G 28.71.0.81 28.1.0.128.0.0.0":          {"T46G", "28.71.0.81", ""},
		"Yealink SIP-T56A 58.80.0.5 001565f429a4":           {"T56A", "58.80.0.5", "001565f429a4"},
		"Yealink SIP-T19P_E2 53.84.0.15 80:5e:c0:00:00:01":  {"T19P_E2", "53.84.0.15", "805ec0000001"},
		"Yealink SIP-T54W 96.86.0.23":                       {"T54W", "96.86.0.23", ""},
		"Yealink SIP-T99Z 200.1.0.1 80:5e:c0:00:00:02":      {"", "200.1.0.1", "805ec0000002"},
		"Yealink SIP-T46G 28.72.0.1 28.1.0.128.11.22.33.44": {"T46G", "28.72.0.1", ""},
	} {
		v, m, firmware := recogniseAgent(agent)
		if v == nil || v.Name != "yealink" || m.Model != want[0] || firmware != want[1] || macOfAgent(agent) != want[2] {
			t.Errorf("%q: %v %q %q %q, want %q", agent, v != nil, m.Model, firmware, macOfAgent(agent), want)
		}
	}
	for _, agent := range []string{"", "curl/8.5.0", "Mozilla/5.0 (X11; Linux x86_64)", "Fanvil X4 2.10.2.6887 0c383e07e16c", "snomD785/10.1.20.0"} {
		if v, m, _ := recogniseAgent(agent); v != nil {
			t.Errorf("%q is taken for a %s %s", agent, v.Name, m.Model)
		}
	}
}

// TestAgentsOfTheTable checks that each model is found again by the name that its User-Agent has.
func TestAgentsOfTheTable(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Models() {
		_, got, _ := recogniseAgent("Yealink " + m.agent + " 66.86.0.15 80:5e:c0:00:00:01")
		if got != m {
			t.Errorf("%s is taken for %q", m.agent, got.Model)
		}
		if seen[m.Model] {
			t.Errorf("%s stands twice", m.Model)
		}
		seen[m.Model] = true
		if m.commonFile != "" && !strings.HasPrefix(m.commonFile, "y0000000") {
			t.Errorf("%s: common file %q", m.Model, m.commonFile)
		}
		if m.Kind == store.DECTBase && m.handsets == noHandsets || m.Kind == store.Deskphone && m.Lines == 0 {
			t.Errorf("%s: %+v cannot be rendered", m.Model, m)
		}
	}
	if len(seen) != 84 {
		t.Errorf("%d models", len(seen))
	}
}

// TestModelsThatShareACommonFile must agree on all that it says.
func TestModelsThatShareACommonFile(t *testing.T) {
	first := map[string]Model{}
	for _, m := range Models() {
		old, ok := first[m.commonFile]
		if !ok {
			first[m.commonFile] = m
			continue
		}
		if m.commonFile != "" && (old.Kind != m.Kind || old.oldKeys != m.oldKeys) {
			t.Errorf("%s and %s share %s but differ", old.Model, m.Model, m.commonFile)
		}
	}
}

func TestIdentifyContradictions(t *testing.T) {
	const agent = "Yealink SIP-T54W 96.86.0.23 80:5e:c0:00:00:01"
	for _, c := range []struct {
		file, agent, query string
		ok                 bool
		mac                string
	}{
		{"805ec0000001.cfg", agent, "", true, "805ec0000001"},
		{"805ec0000001.cfg", "curl/8", "", true, "805ec0000001"},
		{"805ec0000001.cfg", agent, "mac=80-5E-C0-00-00-01", true, "805ec0000001"},
		{"y000000000096.cfg", agent, "", true, "805ec0000001"},
		{"y000000000096.cfg", "", "", true, ""},
		{"805ec0000002.cfg", agent, "", false, ""},
		{"805ec0000001.cfg", agent, "mac=805ec0000002", false, ""},
		{"y000000000096.cfg", agent, "mac=805ec0000002", false, ""},
		{"805ec0000001.cfg", agent, "mac=junk", false, ""},
		{"805ec0000001.cfg", agent, "mac=", false, ""},
		{"", agent, "", false, ""},
		{"a/805ec0000001.cfg", agent, "", false, ""},
		{strings.Repeat("a", maxFileName+1), agent, "", false, ""},
	} {
		query, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		r, ok := identify(c.file, c.agent, query)
		if ok != c.ok || r.mac != c.mac {
			t.Errorf("identify(%q, %q, %q) = %q, %v", c.file, c.agent, c.query, r.mac, ok)
		}
	}
}

func FuzzIdentify(f *testing.F) {
	f.Add("001565aabbcc.cfg", "Yealink SIP-T46G 28.72.0.1 00:15:65:aa:bb:cc", "mac=001565aabbcc")
	f.Add("SEP001565AABBCC.cnf.xml", "Yealink-T46G 28.71.0.81 28.1.0.128.0.0.0", "")
	f.Add("snomD785-001565AABBCC.htm", "W52P 25.30.0.2 00:15:65:44:b3:7c", "mac=%zz")
	f.Add("spa001565aabbcc.cfg", "", "mac")
	f.Add("İ001565aabbcc.cfg", "\xff", ";")
	f.Fuzz(func(t *testing.T, file, agent, rawQuery string) {
		query, err := url.ParseQuery(rawQuery)
		if err != nil {
			query = nil
		}
		r, ok := identify(file, agent, query)
		if !ok {
			return
		}
		if r.mac != "" {
			if m, ok := store.NormalizeMAC(r.mac); !ok || m != r.mac {
				t.Errorf("%q, %q, %q: address %q", file, agent, rawQuery, r.mac)
			}
		}
		if form, mac := splitMAC(file); mac != "" {
			// The place of the address, filled in again, leads to the same answer.
			if form2, mac2 := splitMAC(strings.Replace(form, formMAC, mac, 1)); form2 != form || mac2 != mac {
				t.Errorf("%q → %q, %q → %q, %q", file, form, mac, form2, mac2)
			}
			if strings.Contains(file, "/") {
				t.Errorf("path %q got through", file)
			}
		}
		r.find(nil)
	})
}
