package sip_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// tortureRow is one row of docs/torture.md.
type tortureRow struct{ file, packets, stream string }

var tableRow = regexp.MustCompile("(?m)^\\| `([^`]+\\.dat)` \\|[^|]*\\| ([^|]*) \\| ([^|]*) \\|")

// tortureTable reads docs/torture.md, and makes sure that no message is missing there.
func tortureTable(t *testing.T) []tortureRow {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", "torture.md"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []tortureRow
	seen := make(map[string]bool)
	for _, m := range tableRow.FindAllStringSubmatch(string(data), -1) {
		rows = append(rows, tortureRow{m[1], strings.TrimSpace(m[2]), strings.TrimSpace(m[3])})
		seen[m[1]] = true
	}
	files, err := filepath.Glob(filepath.Join("..", "testdata", "torture", "*", "*.dat"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := filepath.Base(filepath.Dir(f)) + "/" + filepath.Base(f); !seen[name] {
			t.Errorf("%s is not in docs/torture.md", name)
		}
	}
	if len(rows) != len(files) || len(rows) < 70 {
		t.Errorf("%d rows for %d messages", len(rows), len(files))
	}
	return rows
}

// answers says what the house does with a message: the final answers to it, and whether it closes the connection.
func (p *peer) answers(data []byte) string {
	p.send(data)
	var got []string
	var in []byte
	for end := time.Now().Add(15 * time.Second); ; {
		more := p.read(time.Until(end))
		if more == nil {
			break
		}
		if p.packets != nil {
			in = more
		} else {
			in = append(in, more...)
		}
		for {
			head, rest, whole := bytes.Cut(in, []byte("\r\n\r\n"))
			if !whole {
				break
			}
			in = rest
			if code := statusOf(head); code >= 200 {
				got = append(got, fmt.Sprint(code))
			}
		}
	}
	if p.stream != nil && p.closed() {
		got = append(got, "closed")
	}
	if got == nil {
		return "nothing"
	}
	return strings.Join(got, ", ")
}

// closed reports whether the house has closed the connection.
func (p *peer) closed() bool {
	p.stream.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := p.stream.Read(make([]byte, 1))
	return err != nil && !os.IsTimeout(err)
}

// TestTortureTable holds docs/torture.md to the truth: every message of it over
// UDP, over a stream, and over a stream octet by octet. After each of them the
// house goes on as if nothing had happened.
func TestTortureTable(t *testing.T) {
	for _, row := range tortureTable(t) {
		data, err := os.ReadFile(filepath.Join("..", "testdata", "torture", filepath.FromSlash(row.file)))
		if err != nil {
			t.Fatal(err)
		}
		over := func(way, want string, open func(w *world) *peer) {
			bubble(t, func(w *world) {
				p := open(w)
				if got := p.answers(data); !slices.Contains(strings.Split(want, " or "), got) {
					t.Errorf("%s over %s: %s, the table says %s", row.file, way, got, want)
				}
				p.close()
				q := w.peer(5070)
				defer q.close()
				q.send(q.options("after"))
				if code, _ := q.status(100 * time.Millisecond); code != 200 {
					t.Errorf("%s over %s: OPTIONS afterwards answered %d", row.file, way, code)
				}
			})
		}
		over("UDP", row.packets, func(w *world) *peer { return w.peer(5060) })
		over("TCP", row.stream, func(w *world) *peer { return w.streamPeer() })
		over("TCP in octets", row.stream, func(w *world) *peer {
			w.net.Segment(1)
			return w.streamPeer()
		})
	}
}

// What is too long for us is named so, and a stream ends there (RFC 3261 §21.5.7).
func TestTooLarge(t *testing.T) {
	bubble(t, func(w *world) {
		body := strings.Repeat("x", 62<<10)
		p := w.peer(5060)
		request := func(p *peer) []byte {
			return bytes.Replace(p.options("large"), []byte("Content-Length: 0\r\n\r\n"), fmt.Appendf(nil, "Content-Length: %d\r\n\r\n%s", len(body), body), 1)
		}
		if got := p.answers(request(p)); got != "513" {
			t.Errorf("a datagram of 62 kB: %s", got)
		}
		p.close()
		s := w.streamPeer()
		if got := s.answers(request(s)[:1000]); got != "513, closed" {
			t.Errorf("a message of 62 kB: %s", got)
		}
		s.close()
	})
}
