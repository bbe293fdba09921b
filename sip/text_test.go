package sip

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseAddress(t *testing.T) {
	for _, c := range []struct {
		in, display, uri, tag string
		ok                    bool
	}{
		{`"A. G. Bell" <sip:agb@bell.example> ;tag=a48s`, "A. G. Bell", "sip:agb@bell.example", "a48s", true},
		{`sip:+12125551212@server.example;tag=887s`, "", "sip:+12125551212@server.example", "887s", true},
		{`Anonymous <sip:c8oqz84zk7z@privacy.example>;TAG=hyh8`, "Anonymous", "sip:c8oqz84zk7z@privacy.example", "hyh8", true},
		{`caller<sip:caller@example.com>;tag=323`, "caller", "sip:caller@example.com", "323", true},
		{`"say \"hi\", <you>; \\" <sip:a@b;x=y?h=v>`, `say "hi", <you>; \`, "sip:a@b;x=y?h=v", "", true},
		{`"" <sip:a@b>`, "", "sip:a@b", "", true},
		{`<sip:a@b>;tag=1;q="a;b,c"`, "", "sip:a@b", "1", true},
		{`"unterminated <sip:a@b>`, "", "", "", false},
		{`"end\" <sip:a@b>`, "", "", "", false},
		{`<sip:a@b`, "", "", "", false},
		{`<>`, "", "", "", false},
		{``, "", "", "", false},
		{`<sip:a@b>tag=1`, "", "", "", false},
		{`<sip:a@b>;;tag=1`, "", "", "", false},
		{`sip:a@b, sip:c@d`, "", "", "", false},
	} {
		a, ok := parseAddress(c.in)
		if ok != c.ok {
			t.Errorf("%s: ok is %v", c.in, ok)
			continue
		}
		tag, _ := a.params.get("tag")
		if ok && (a.display != c.display || a.uri != c.uri || tag != c.tag) {
			t.Errorf("%s: %+v", c.in, a)
		}
		if again, ok2 := parseAddress(a.String()); ok && (!ok2 || again.display != a.display || again.uri != a.uri) {
			t.Errorf("%s: read again from %s: %+v", c.in, a, again)
		}
	}
}

func TestParseVia(t *testing.T) {
	for in, want := range map[string]string{
		"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx;rport":                  "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx;rport",
		"SIP / 2.0 / tcp   first.example.com : 4000 ; ttl = 16; Branch=a.b": "SIP/2.0/TCP first.example.com:4000;ttl=16;branch=a.b",
		"SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z":   "SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z",
		"SIP/2.0/TLS [::1]:5061":            "SIP/2.0/TLS [::1]:5061",
		"SIP/2.0/UDP 192.0.2.15;;,;,,":      "",
		"SIP/3.0/UDP a":                     "",
		"SIP/2.0/UDP":                       "",
		"SIP/2.0/UDP a:b":                   "",
		"SIP/2.0/UDP a:99999":               "",
		"SIP/2.0/UDP [::1":                  "",
		"SIP/2.0/UDP [x]":                   "",
		"SIP/2.0/UDP a b;branch=1":          "",
		"HTTP/1.1/UDP a":                    "",
		"SIP/2.0/UDP a;branch=\"\r\nX: y\"": "",
	} {
		got := ""
		if v, ok := parseVia(in); ok {
			got = v.String()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestSplitList(t *testing.T) {
	got := splitList(`<sip:a,b@c>;x="1,\"2" , "q, <" <sip:d@e>,*`)
	if want := []string{`<sip:a,b@c>;x="1,\"2"`, `"q, <" <sip:d@e>`, "*"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestQuoteAndEscape(t *testing.T) {
	for _, s := range []string{`plain`, `say "x" \ y`, "Zoë 数", "line\r\nbreak: x", "\x00\x7f", "bad \xff utf"} {
		q := quote(s)
		back, ok := unquote(q)
		if !ok || strings.ContainsAny(q, "\r\n\x00") || !utf8.ValidString(q) {
			t.Errorf("%q became %q", s, q)
		}
		if !strings.ContainsAny(s, "\r\n\x00\x7f") && utf8.ValidString(s) && back != s {
			t.Errorf("%q came back as %q", s, back)
		}
		e := escapeUser(s)
		if strings.ContainsAny(e, " \"<>@\r\n:%") != strings.Contains(e, "%") || unescape(e) != s {
			t.Errorf("%q was escaped to %q and came back as %q", s, e, unescape(e))
		}
	}
	if got := unescape("50%25 off%2g%"); got != "50% off%2g%" {
		t.Errorf("unescaped to %q", got)
	}
	if got := clip("aé", 2); got != "a…" {
		t.Errorf("clipped to %q", got)
	}
}

// RFC 3261 §7.3.1: names and folding; §20.14 and §18.3: length.
func TestSplitMessage(t *testing.T) {
	m, err := splitMessage([]byte("OPTIONS sip:a SIP/2.0\r\nsUbJeCt : one\r\n\t two\r\n  three\r\nl:3\r\nX-empty:\r\n\r\nabcdef"))
	if err != "" {
		t.Fatal(err)
	}
	want := []field{{"sUbJeCt", "one two three"}, {"Content-Length", "3"}, {"X-empty", ""}}
	if !slices.Equal(m.fields, want) {
		t.Errorf("%q, want %q", m.fields, want)
	}
	if body, ok := m.sized("udp"); !ok || string(body) != "abc" {
		t.Errorf("body is %q, %v", body, ok)
	}
	m.fields[1].value = "7"
	if _, ok := m.sized("udp"); ok {
		t.Error("a body longer than the datagram passed")
	}
	m.fields[1].value = "-1"
	if _, ok := m.sized("udp"); ok {
		t.Error("a negative length passed")
	}
	m.fields = append(m.fields[:1], field{"Content-Length", "1"}, field{"Content-Length", "2"})
	if _, ok := m.sized("udp"); ok {
		t.Error("two lengths passed")
	}
	m.fields = m.fields[:1]
	if body, ok := m.sized("udp"); !ok || len(body) != 6 {
		t.Error("a datagram without length must end with the datagram")
	}
	if _, ok := m.sized("tcp"); ok {
		t.Error("a stream message without length passed")
	}
}
