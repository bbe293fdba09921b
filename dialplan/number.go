package dialplan

import (
	"net/url"
	"strings"
)

// maxDialed bounds what is read of a dialled number; the longest E.164 number has 15 digits.
const maxDialed = 64

// Normalize reduces a dialled number in any usual spelling to the characters that can be dialled:
// a SIP or tel address to its user part, escapes decoded once (RFC 3261 §19.1.4), parameters and
// visual separators dropped (RFC 3966 §5.1.1). It returns "" when nothing can be dialled.
func Normalize(dialed string) string {
	s := strings.TrimSpace(dialed)
	if len(s) > 4*maxDialed { // room for escapes and a host
		return ""
	}
	for _, scheme := range []string{"sips:", "sip:", "tel:"} {
		if len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			s = s[len(scheme):]
			break
		}
	}
	s, _, _ = strings.Cut(s, "@")
	s, _, _ = strings.Cut(s, ";")
	if decoded, err := url.PathUnescape(s); err == nil {
		s = decoded
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case strings.ContainsRune(" \t-.()/\u00a0", r):
		case r >= '0' && r <= '9', r == '*', r == '#', r == '+' && b.Len() == 0:
			b.WriteRune(r)
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_':
			b.WriteRune(r) // a name: no number of ours, and refused as itself
		default:
			return ""
		}
	}
	if b.Len() > maxDialed {
		return ""
	}
	return b.String()
}
