package media

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestAnswerToPhones answers the offers of real phones, and of some that should not exist.
// Each golden file is our SDP and what we agreed to, or why we refused.
func TestAnswerToPhones(t *testing.T) {
	offers, err := filepath.Glob("testdata/sdp/*.offer")
	if err != nil || len(offers) < 20 {
		t.Fatalf("%d offers, %v", len(offers), err)
	}
	for _, path := range offers {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".offer"), func(t *testing.T) {
			offer, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			// The files have LF for the reader's sake; phones send CRLF. Both must do.
			got := account(offer)
			if crlf := account(bytes.ReplaceAll(offer, []byte("\n"), []byte("\r\n"))); crlf != got {
				t.Errorf("with CRLF:\n%s\nwith LF:\n%s", crlf, got)
			}
			golden := strings.TrimSuffix(path, ".offer") + ".answer"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// account is all that comes of an offer, for people to read.
func account(offer []byte) string {
	d, err := describe(offer, SecurityOff)
	if err != nil {
		return refusal(err)
	}
	st, terms, err := answerOffer(d, nil)
	if err != nil {
		return refusal(err)
	}
	st.addr, st.session = netip.MustParseAddrPort("198.51.100.1:30000"), 7
	if d.remote.Addr().Is6() {
		st.addr = netip.MustParseAddrPort("[2001:db8::1]:30000")
	}
	answer, err := st.marshal(3)
	if err != nil {
		return refusal(err)
	}
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(string(answer), "\r\n", "\n"))
	fmt.Fprintf(&b, "\nsends %s as %d to %s, reports to %s\n", terms.audio.name(), terms.number, terms.remote, terms.rtcp)
	fmt.Fprintf(&b, "ptime %d, maxptime %d, direction %s, held %t\n", terms.ptime, terms.maxptime, terms.direction, terms.held)
	if terms.events {
		fmt.Fprintf(&b, "events as %d\n", terms.event)
	}
	b.WriteString("takes")
	for n, k := range terms.recv {
		if k != kindNone {
			fmt.Fprintf(&b, " %d %s", n, k.name())
		}
	}
	return b.String() + "\n"
}

func refusal(err error) string {
	return fmt.Sprintf("refused (488: %t): %s\n", errors.Is(err, ErrNotAcceptable), err)
}

// FuzzDescribe: whatever comes, no panic, and an answer is itself a description that
// keeps the rules of RFC 3264 §6.
func FuzzDescribe(f *testing.F) {
	offers, _ := filepath.Glob("testdata/sdp/*.offer")
	for _, path := range offers {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, offer []byte) {
		d, err := describe(offer, SecurityOff)
		if err != nil {
			return
		}
		st, terms, err := answerOffer(d, nil)
		if err != nil {
			return
		}
		st.addr, st.session = netip.MustParseAddrPort("198.51.100.1:30000"), 7
		body, err := st.marshal(1)
		if err != nil {
			t.Fatalf("answer: %v", err)
		}
		if bytes.Count(body, []byte("\r\nm=")) != len(d.lines) {
			t.Fatalf("%d lines offered, answered:\n%s", len(d.lines), body)
		}
		a, err := describe(body, SecurityOff)
		if err != nil {
			t.Fatalf("our own answer: %v\n%s", err, body)
		}
		if a.audio != d.audio || a.direction != d.direction.mirror() {
			t.Fatalf("answered line %d %s to line %d %s", a.audio, a.direction, d.audio, d.direction)
		}
		for i, l := range a.lines {
			if l.media != d.lines[i].media || (i != a.audio) != (l.port == "0") {
				t.Fatalf("line %d: %v answered to %v", i, l, d.lines[i])
			}
		}
		if terms.ptime < 10 || terms.ptime > 60 {
			t.Fatalf("ptime %d", terms.ptime)
		}
	})
}
