package sip

import (
	"crypto/rand"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// param is one ";name=value" of a header or URI. Names are lower case.
type param struct{ name, value string }

type params []param

func (p params) get(name string) (string, bool) {
	for _, q := range p {
		if q.name == name {
			return q.value, true
		}
	}
	return "", false
}

func (p params) String() string { return string(p.append(nil)) }

func (p params) append(b []byte) []byte {
	for _, q := range p {
		b = append(b, ';')
		b = append(b, q.name...)
		if q.value != "" {
			b = append(b, '=')
			b = append(b, q.value...)
		}
	}
	return b
}

// address is a name-addr or addr-spec of From, To, Contact, Route (RFC 3261 §20.10).
type address struct {
	display string // unescaped
	quoted  string // display as it stands between quotes
	uri     string
	params  params
}

func (a address) String() string { return string(a.append(nil)) }

func (a address) append(b []byte) []byte {
	if a.quoted != "" {
		b = append(b, '"')
		b = append(b, a.quoted...)
		b = append(b, `" `...)
	}
	b = append(b, '<')
	b = append(b, a.uri...)
	b = append(b, '>')
	return a.params.append(b)
}

// isLWS is linear white space once lines are unfolded.
func isLWS(c byte) bool { return c == ' ' || c == '\t' }

func trim(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// isToken reports whether s is a token of RFC 3261 §25.1.
func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if !isTokenChar(s[i]) {
			return false
		}
	}
	return true
}

func isTokenChar(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("-.!%*_+`'~", c) >= 0
}

// cutOutside cuts s at the first sep that stands outside quotes and angle brackets.
func cutOutside(s string, sep byte) (before, after string, found bool) {
	quoted, angle := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == sep && !angle:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// splitList splits a header value at its commas.
func splitList(s string) []string {
	var all []string
	for {
		item, rest, more := cutOutside(s, ',')
		all = append(all, trim(item))
		if !more {
			return all
		}
		s = rest
	}
}

// parseParams reads what follows the first semicolon of a header value.
func parseParams(s string) (params, bool) {
	var ps params
	for {
		item, rest, more := cutOutside(s, ';')
		name, value, valued := strings.Cut(item, "=")
		name, value = strings.ToLower(trim(name)), trim(value)
		if !isToken(name) || valued && !isValue(value) || len(ps) >= 64 {
			return nil, false
		}
		ps = append(ps, param{name, value})
		if !more {
			return ps, true
		}
		s = rest
	}
}

// isValue accepts a token, a host (with the colons and brackets of IPv6) or a quoted string.
func isValue(s string) bool {
	if len(s) >= 2 && s[0] == '"' {
		body, ok := unquote(s)
		return ok && !strings.ContainsAny(body, "\r\n\x00")
	}
	for i := range len(s) {
		if c := s[i]; !isTokenChar(c) && strings.IndexByte("[]:@/&$?", c) < 0 {
			return false
		}
	}
	return true
}

// unquote returns what a quoted string says.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s, false
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		switch s[i] {
		case '\\':
			if i++; i == len(s)-1 {
				return s, false // the closing quote is escaped
			}
		case '"':
			return s, false
		}
		b.WriteByte(s[i])
	}
	return b.String(), true
}

// quote makes a quoted string of text that came from anywhere.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f || r == 0xfffd:
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// parseAddress reads one address. In the form without angle brackets all
// parameters belong to the header: RFC 3261 §20.10.
func parseAddress(s string) (address, bool) {
	var a address
	s = trim(s)
	rest := ""
	if strings.HasPrefix(s, `"`) {
		end := quoteEnd(s)
		if end < 0 {
			return a, false
		}
		a.quoted = s[1:end]
		display, ok := unquote(s[:end+1])
		if !ok {
			return a, false
		}
		a.display = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1
			}
			return r
		}, display)
		s = trim(s[end+1:])
		if !strings.HasPrefix(s, "<") {
			return a, false
		}
	}
	if name, after, found := strings.Cut(s, "<"); found {
		// RFC 4475 §3.1.1.6: the blank before "<" may be missing.
		if a.quoted == "" {
			a.display = trim(name)
			if strings.ContainsAny(a.display, "\";,@") {
				return a, false
			}
			a.quoted = strings.ReplaceAll(a.display, `\`, `\\`)
		} else if trim(name) != "" {
			return a, false
		}
		if a.uri, rest, found = strings.Cut(after, ">"); !found {
			return a, false
		}
		rest = trim(rest)
		if rest != "" && rest[0] != ';' {
			return a, false
		}
	} else {
		i := strings.IndexByte(s, ';')
		if i < 0 {
			i = len(s)
		}
		a.uri, rest = trim(s[:i]), s[i:]
		if strings.ContainsAny(a.uri, ",?") {
			return a, false
		}
	}
	if strings.ContainsAny(a.uri, " \t\"<>\r\n") || a.uri == "" {
		return a, false
	}
	if rest != "" {
		ps, ok := parseParams(rest[1:])
		if !ok {
			return a, false
		}
		a.params = ps
	}
	return a, true
}

// quoteEnd returns where the quoted string at the start of s ends.
func quoteEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// parseURI reads a sip or sips URI. An address with a colon too many, as the
// grammar of RFC 3261 has it, passes too: RFC 5118 §4.10.
func parseURI(s string) (sipmsg.Uri, bool) {
	var u sipmsg.Uri
	if err := sipmsg.ParseUri(s, &u); err != nil || u.Scheme != "sip" && u.Scheme != "sips" || u.Host == "" || u.Wildcard {
		return u, false
	}
	if u.Port < 0 || u.Port > 65535 || strings.ContainsAny(u.Host, " \t\"<>,;@") {
		return u, false
	}
	return u, true
}

// unescape decodes %HH once. RFC 3261 §19.1.4; a broken escape stays as it is.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, ok1 := unhex(s[i+1])
			lo, ok2 := unhex(s[i+2])
			if ok1 && ok2 {
				b.WriteByte(hi<<4 | lo)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// escapeUser makes a user part of a URI from any text.
func escapeUser(s string) string {
	const hexdigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isTokenChar(c) && c != '%' && c != '`' || strings.IndexByte("()&=+$,;?/", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hexdigits[c>>4])
			b.WriteByte(hexdigits[c&15])
		}
	}
	return b.String()
}

// userOf returns the user part of a URI as a person would write it: unescaped
// and without the parameters that some phones put before the at sign.
func userOf(u *sipmsg.Uri) string {
	user, _, _ := strings.Cut(u.User, ";")
	return unescape(user)
}

// clip bounds text from the network before it is logged or kept.
func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// token returns a fresh tag, branch or Call-ID.
func token() string { return strings.ToLower(rand.Text()[:tokenLength]) }

// header returns the value of the first header of that name, or "".
func header(m sipmsg.Message, name string) string {
	if h := m.GetHeaders(name); len(h) > 0 {
		return h[0].Value()
	}
	return ""
}

// headerList returns the items of all headers of that name.
func headerList(m sipmsg.Message, name string) []string {
	var all []string
	for _, h := range m.GetHeaders(name) {
		for _, item := range splitList(h.Value()) {
			if item != "" {
				all = append(all, item)
			}
		}
	}
	return all
}

// tagOf returns the tag of a From or To header.
func tagOf(p sipmsg.HeaderParams) string {
	tag, _ := p.Get("tag")
	return tag
}
