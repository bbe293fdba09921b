package siptest

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Message is one SIP message on its way.
type Message struct {
	From, To netip.AddrPort
	Method   string // of an answer: that of the request
	Status   int    // 0 for requests
	Reason   string
	URI      string // of a request
	Data     []byte
}

// parse looks at the little of a message that filters and ladders need.
func parse(from, to netip.AddrPort, data []byte) (Message, bool) {
	if len(data) < 12 || data[0] < 'A' || data[0] > 'Z' {
		return Message{}, false
	}
	first, _, ok := bytes.Cut(data, []byte("\r\n"))
	if !ok {
		return Message{}, false
	}
	m := Message{From: from, To: to, Data: data}
	parts := strings.SplitN(string(first), " ", 3)
	switch {
	case len(parts) < 2:
		return m, false
	case parts[0] == "SIP/2.0":
		status, err := strconv.Atoi(parts[1])
		if err != nil {
			return m, false
		}
		m.Status, m.Method = status, cseqMethod(data)
		if len(parts) == 3 {
			m.Reason = parts[2]
		}
		return m, true
	case len(parts) == 3 && strings.HasPrefix(parts[2], "SIP/"):
		m.Method, m.URI = parts[0], parts[1]
		return m, true
	}
	return m, false
}

// isProbe recognises the questions that the house asks each phone every 20 seconds, and their answers: no ladder shows them.
func isProbe(data []byte) bool { return bytes.Contains(data, []byte("\r\nCall-ID: probe-")) }

// cseqMethod returns the method an answer belongs to.
func cseqMethod(data []byte) string {
	for line := range bytes.Lines(data) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if strings.EqualFold(string(bytes.TrimSpace(name)), "CSeq") {
			if f := strings.Fields(string(value)); len(f) == 2 {
				return f[1]
			}
		}
	}
	return ""
}

// line is the message as the ladder shows it: what was dialed, but no names.
func (m Message) line() string {
	switch {
	case m.Status != 0 && m.Method == "INVITE":
		return fmt.Sprintf("%d %s", m.Status, m.Reason)
	case m.Status != 0:
		return fmt.Sprintf("%d %s (%s)", m.Status, m.Reason, m.Method)
	case m.Method == "INVITE":
		user, _, found := strings.Cut(strings.TrimPrefix(m.URI, "sip:"), "@")
		if found && user != "" && strings.Trim(user, "0123456789*#+") == "" {
			return "INVITE " + user
		}
	}
	return m.Method
}

type record struct {
	at       time.Duration
	from, to netip.Addr
	text     string
}

// Ladder prints the messages sent so far between the named hosts, one a line,
// in the order of time and sorted within one instant:
//
//	 0s  alice -> pbx    INVITE 202
//	1ms  pbx   -> bob    INVITE
func (n *Net) Ladder(names map[netip.Addr]string) string {
	n.mu.Lock()
	records := slices.Clone(n.records)
	n.mu.Unlock()
	width := 0
	for _, name := range names {
		width = max(width, len(name))
	}
	type row struct {
		at   time.Duration
		text string
	}
	var rows []row
	for _, r := range records {
		from, ok1 := names[r.from]
		to, ok2 := names[r.to]
		if ok1 && ok2 {
			rows = append(rows, row{r.at.Round(hop), fmt.Sprintf("%-*s -> %-*s  %s", width, from, width, to, r.text)})
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.text, b.text))
	})
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "%9s  %s\n", r.at, r.text)
	}
	return b.String()
}

// Restart forgets what the ladder recorded and counts time from now.
func (n *Net) Restart() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records = nil
	n.start = time.Now()
}

// Start returns when the ladder's time began.
func (n *Net) Start() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.start
}
