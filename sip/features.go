package sip

import (
	"fmt"
	"slices"
	"strings"
)

// baseFeatures are the feature parameters that stand without a plus sign (RFC 3840 §9).
var baseFeatures = []string{
	"actor", "application", "audio", "automata", "class", "control", "data", "description", "duplex", "events", "extensions",
	"isfocus", "language", "methods", "mobility", "priority", "schemes", "text", "type", "video",
}

// maxFeatures bounds what is kept of one binding.
const maxFeatures = 512

// featuresOf are the feature parameters of a Contact, to be kept and told as they are (RFC 3840 §6). What is beyond the
// limit is dropped.
func featuresOf(p params) string {
	var b []byte
	for _, f := range p {
		if f.name == "+sip.instance" || !strings.HasPrefix(f.name, "+") && !slices.Contains(baseFeatures, f.name) {
			continue
		}
		if next := (params{f}).String(); len(b)+len(next) <= maxFeatures {
			b = append(b, next...)
		}
	}
	return string(b)
}

// qText writes a q of thousandths.
func qText(q int) string {
	switch {
	case q >= 1000:
		return "1"
	case q <= 0:
		return "0"
	}
	return strings.TrimRight(fmt.Sprintf("0.%03d", q), "0")
}
