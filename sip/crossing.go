package sip

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// What goes with a call from one leg to the next. The rule is that nothing does:
// each leg is a dialog of its own, and what a phone or carrier writes into its
// messages stays on its side, above all what tells of its network. The table
// below is the exception, and the whole of it.

// crossing is a header field that may go with a call.
type crossing struct {
	name    string
	limit   int
	allowed func(c *Config) bool // nil: always
	clean   func(value string) bool
}

// crossings are the fields that go with a call. Not in it, for example: Alert-Info,
// which could make phones answer by themselves or ring as the house does, and
// Call-Info, which phones fetch things for.
var crossings = []crossing{
	{name: "Subject", limit: 200, clean: isText},
	{name: "Priority", limit: 20, clean: isToken},
	// RFC 7433: data of the peers for each other.
	{name: "User-to-User", limit: 256, allowed: func(c *Config) bool { return c.UserToUser }, clean: isText},
}

// isText accepts what may stand in a header field as it is.
func isText(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return false
		}
	}
	return s != ""
}

// Carried is what goes with a call from the leg it came by to the legs that it is
// sent on by. The zero Carried is that of a call that began here.
type Carried struct {
	fields     []field
	passed     []string // where it came through us before
	breadth    int      // how many branches may be open at once; 0: nobody said
	identities []string // signed words about the caller of a trusted carrier, for trusted carriers (RFC 8224)
}

const (
	passedHeader = "X-Passed"
	maxPassed    = 40
	// maxTwins bounds the calls of one peer to one number that are unanswered at
	// the same time: more is a loop through somebody who keeps nothing of ours.
	maxTwins = 16
)

// carry reads from the INVITE of a leg what goes on with it.
func (s *Server) carry(req *sipmsg.Request) Carried {
	var c Carried
	for _, x := range crossings {
		if x.allowed != nil && !x.allowed(&s.cfg) {
			continue
		}
		if v := header(req, x.name); len(v) <= x.limit && x.clean(v) {
			c.fields = append(c.fields, field{x.name, v})
		}
	}
	if n, err := strconv.Atoi(header(req, "Max-Breadth")); err == nil && n > 0 {
		c.breadth = n
	}
	for _, mark := range headerList(req, passedHeader) {
		if isToken(mark) && len(mark) == 16 {
			c.passed = append(c.passed, mark)
		}
	}
	return c
}

// Split shares a call out among n branches. RFC 5393 §5.3.3: each gets its share
// of the breadth, and it reports how many may be rung at all.
func (c Carried) Split(n int) (Carried, int) {
	if c.breadth == 0 || n == 0 {
		return c, n
	}
	n = min(n, c.breadth)
	c.breadth /= n
	return c, n
}

// headers are what a call carries into the INVITE of its next leg.
func (c Carried) headers() []field {
	all := slices.Clone(c.fields)
	if c.breadth > 0 {
		all = append(all, field{"Max-Breadth", strconv.Itoa(c.breadth)})
	}
	if len(c.passed) > 0 {
		all = append(all, field{passedHeader, strings.Join(c.passed, ", ")})
	}
	return all
}

// passes notes that a call came through us, from whom and to which number; it
// reports false when it did so before, or too often: RFC 5393 §4.2. What is noted
// is told to the next peer and says nothing to it.
func (s *Server) passes(l *Leg) bool {
	h := hmac.New(sha256.New, []byte(s.front.mark))
	h.Write([]byte(l.entrance() + "\x00" + l.dialed))
	mark := hex.EncodeToString(h.Sum(nil)[:8])
	if len(l.carried.passed) >= maxPassed || slices.Contains(l.carried.passed, mark) {
		return false
	}
	l.carried.passed = append(l.carried.passed, mark)
	return true
}

// alike is the same for calls that one peer makes in one caller's name to one number.
func (l *Leg) alike() string {
	return l.entrance() + "\x00" + l.caller.User + "\x00" + l.dialed
}

// admit counts the calls that are alike and unanswered; it reports false for one too many.
func (s *Server) admit(l *Leg) bool {
	if l.caller.User == "" || l.caller.User == "anonymous" {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unanswered[l.alike()] >= maxTwins {
		return false
	}
	l.counted = true
	s.unanswered[l.alike()]++
	return true
}

// uncount takes a leg that is answered or over out of that count.
func (s *Server) uncount(l *Leg) {
	if !l.counted {
		return
	}
	l.counted = false
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unanswered[l.alike()]--; s.unanswered[l.alike()] <= 0 {
		delete(s.unanswered, l.alike())
	}
}

// Carried returns what goes with the call of an incoming leg to the legs that it is sent on by.
func (l *Leg) Carried() Carried { return l.carried }

// entrance names the line or trunk that an incoming leg came by.
func (l *Leg) entrance() string { return string(l.line.ID) + " " + string(l.Trunk()) }
