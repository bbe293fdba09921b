package sip_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFeaturesOfContacts: what a phone says of itself when it registers is kept and told again (RFC 3840 §6), also q; nothing else of its Contact is.
func TestFeaturesOfContacts(t *testing.T) {
	long := ";description=\"<" + strings.Repeat("x", 500) + ">\""
	for _, tc := range []struct{ said, told string }{
		{"", ""},
		{";q=0.5", ";q=0.5"},
		{";q=0", ";q=0"},
		{";q=1.0", ""},
		{";q=0.125;audio", ";q=0.125;audio"},
		{";q=2", ""},
		{`;Audio;video="FALSE";methods="INVITE,BYE";+sip.rendering="yes"`, `;audio;video="FALSE";methods="INVITE,BYE";+sip.rendering="yes"`},
		{`;isfocus;automata;class="business"`, `;isfocus;automata;class="business"`},
		{`;x-secret=1;pub-gruu="sip:a@b;gr=1";temp-gruu="sip:c@d";expires=900`, ""},
		{";audio" + long, ";audio"},
	} {
		t.Run(tc.said, func(t *testing.T) {
			bubble(t, func(w *world) {
				p := w.peer(5060)
				defer p.close()
				for cseq := 1; cseq <= 2; cseq++ { // also when it comes again
					code, answer := registration{callID: "c", cseq: cseq, contacts: []string{"<sip:u-alice@10.0.0.11:5060>" + tc.said}}.ask(p)
					all := contactsOf(answer)
					if code != 200 || len(all) != 1 {
						t.Fatalf("%d\n%s", code, answer)
					}
					_, got, _ := strings.Cut(all[0], "expires=")
					_, got, _ = strings.Cut(got, ";")
					if want := strings.TrimPrefix(tc.told, ";"); got != want {
						t.Errorf("told %q, want %q", got, want)
					}
				}
				time.Sleep(2 * time.Second)
				kept, _ := w.rows.LoadBindings(t.Context())
				for _, b := range kept {
					if !strings.HasSuffix(tc.told, b.Features) || b.Features == "" && strings.Contains(tc.told, "audio") {
						t.Errorf("kept %q", b.Features)
					}
				}
			})
		})
	}
}

// TestRequiredOptions: what a peer may require of us (RFC 3261 §8.2.2.3), by Require and by Proxy-Require, one request after another.
func TestRequiredOptions(t *testing.T) {
	understood := []string{"path", "outbound", "timer", "from-change", "replaces", "norefersub", "100rel", "eventlist"}
	for _, option := range append([]string{"gruu", "join", "pref", "privacy", "tdialog", "histinfo", "geolocation", "x"}, understood...) {
		for _, name := range []string{"Require", "Proxy-Require"} {
			bubble(t, func(w *world) {
				p := w.peer(5060)
				defer p.close()
				code, answer := registration{callID: "c", cseq: 1, contacts: []string{"<sip:u-alice@10.0.0.11:5060>"}, headers: []string{name + ": " + option}}.ask(p)
				want := 420
				if slices.Contains(understood, option) {
					want = 200
				}
				if code != want || want == 420 && !strings.Contains(answer, "Unsupported: "+option+"\r\n") {
					t.Errorf("%s: %s was answered %d\n%s", name, option, code, answer)
				}
			})
		}
	}
}
