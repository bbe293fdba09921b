package sip

import "strings"

// quirk is a fault of a family of phones that we live with.
type quirk struct {
	agent string // how its User-Agent begins
	does  string
	// md5Only: challenge with MD5 alone.
	md5Only bool
}

// quirks are the faults we know of. Each has a test or a real phone that shows it.
var quirks = []quirk{
	{agent: "baresip v0.", does: "gives up on a 401 that offers any algorithm but MD5, wherever it stands", md5Only: true},
	{agent: "baresip v1.", does: "the same; proved by the real phones of the tests", md5Only: true},
}

// quirksOf returns what is known of a phone, by its User-Agent. A phone that lies about itself gains nothing:
// MD5 is open to every phone.
func quirksOf(agent string) quirk {
	for _, q := range quirks {
		if strings.HasPrefix(agent, q.agent) {
			return q
		}
	}
	return quirk{}
}
