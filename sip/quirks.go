package sip

import (
	"regexp"
	"strings"
)

// quirk is a fault of a family of phones that we live with.
type quirk struct {
	agent  string         // how its User-Agent begins; empty: it sends none
	branch *regexp.Regexp // what the branch of its Via looks like; nil: anything
	does   string
	// md5Only: challenge with MD5 alone.
	md5Only bool
	// quiet: it gets no request outside of calls that it did not ask for.
	quiet bool
}

// quirks are the faults we know of. Each is shown by a real phone of the tests.
var quirks = []quirk{
	{agent: "baresip v0.", does: "gives up on a 401 that offers any algorithm but MD5, wherever it stands", md5Only: true},
	{agent: "baresip v1.", does: "the same", md5Only: true},
	{agent: "SIPp", does: "reads the first challenge only and ends when that is not MD5; takes each OPTIONS and NOTIFY for a call", md5Only: true, quiet: true},
	{branch: regexp.MustCompile(`^z9hG4bK-\d+-\d+-\d+$`), does: "SIPp again, which seldom says who it is", md5Only: true},
}

// quirksOf returns what is known of the phone that sent a request. A phone that lies about itself gains nothing:
// MD5 is open to every phone.
func quirksOf(agent, branch string) quirk {
	for _, q := range quirks {
		switch {
		case q.agent != "" && !strings.HasPrefix(agent, q.agent), q.agent == "" && agent != "":
		case q.branch != nil && !q.branch.MatchString(branch):
		default:
			return q
		}
	}
	return quirk{}
}
