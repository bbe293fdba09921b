package sip

import (
	"bytes"
	"strings"
	"sync"
)

// maskSecrets overwrites, in place, what nobody may read later: answers to
// challenges, keys of encrypted sound, passwords, keys that were pressed (they may
// be a PIN). Octets become asterisks one by one, so that lengths stay true.
func maskSecrets(msg []byte) []byte {
	first := len(msg) - len(bytes.TrimLeft(msg, "\r\n"))
	at := first + endOfHead(msg[first:])
	maskHead(msg[:at], false)
	if bytes.Equal(lowered(msg[first:min(first+len("message "), at)]), []byte("message ")) {
		stars(msg[at:]) // what people write to each other is theirs
		return msg
	}
	maskHead(msg[at:], true) // bodies carry headers: message/sipfrag, multipart
	maskBody(msg[at:])
	return msg
}

// endOfHead finds the empty line, whatever ends lines there. Where it is missing, the first line of
// a description of sound tells.
func endOfHead(msg []byte) int {
	at := 0
	for line := range bytes.Lines(msg) {
		if len(bytes.TrimSpace(line)) == 0 || len(line) > 1 && line[1] == '=' {
			return at
		}
		at += len(line)
	}
	return at
}

// public are the parameters of a digest that say who and what, not the proof.
var public = map[string]bool{
	"username": true, "realm": true, "uri": true, "algorithm": true, "qop": true, "nc": true, "stale": true, "domain": true,
}

// maskHead masks fields, with the lines that continue them. In a body only what looks like a field is one.
func maskHead(head []byte, body bool) {
	lower := borrowLowered(head)
	defer giveBack(lower)
	maskURIs(head, *lower)
	if !secretField(*lower) {
		return // most messages: no name can be one
	}
	for len(head) > 0 {
		n := 0
		for line := range bytes.Lines(head) {
			if n > 0 && !isLWS(line[0]) {
				break
			}
			n += len(line)
		}
		field := head[:n]
		head = head[n:]
		i := bytes.IndexAny(field, ": \t=\r\n")
		if i >= 0 && secretField(lowered(field[:i])) && (!body || isToken(string(field[:i])) && bytes.HasPrefix(bytes.TrimLeft(field[i:], " \t"), []byte(":"))) {
			maskCredentials(field[:i], bytes.TrimLeft(field[i:], ": \t=\r\n"))
		} else if name, value, ok := bytes.Cut(field, []byte(":")); ok && !body && secretField(lowered(name)) {
			maskCredentials(name, bytes.TrimLeft(value, " \t\r\n"))
		}
	}
}

// secretNames are parts of the names of fields that nobody may read: Authorization, WWW-Authenticate and the like,
// and what makers of phones invent beside them.
var secretNames = [][]byte{
	[]byte("authori"), []byte("authent"), []byte("password"), []byte("passwd"), []byte("secret"), []byte("token"), []byte("api-key"),
}

// secretField recognises them in a name, or a text, of lower case.
func secretField(lower []byte) bool {
	for _, part := range secretNames {
		if bytes.Contains(lower, part) {
			return true
		}
	}
	return false
}

// maskCredentials masks the values of a Digest but the public ones, and other credentials whole.
func maskCredentials(name, rest []byte) {
	scheme, after, found := rest, []byte(nil), false
	if i := bytes.IndexAny(rest, " \t\r\n"); i >= 0 {
		scheme, after, found = rest[:i], bytes.TrimSpace(rest[i:]), true
	}
	other := isToken(string(scheme)) && !bytes.EqualFold(scheme, []byte("Digest")) && !bytes.HasPrefix(after, []byte("="))
	if !bytes.Contains(lowered(name), []byte("auth")) || found && other || !bytes.ContainsAny(rest, "=") {
		stars(rest)
		return
	}
	for len(rest) > 0 {
		n, quoted := 0, false
		for ; n < len(rest) && (quoted || rest[n] != ','); n++ {
			switch {
			case rest[n] == '"':
				quoted = !quoted
			case rest[n] == '\\' && quoted:
				n++
			}
		}
		n = min(n, len(rest))
		maskParam(bytes.TrimSpace(rest[:n]))
		rest = rest[min(n+1, len(rest)):]
	}
}

// maskParam masks one name=value. What is public stays only where it is well formed: a quote that
// is missing would have it swallow the secret that follows.
func maskParam(item []byte) {
	name, value, _ := bytes.Cut(item, []byte("="))
	name, value = bytes.TrimSpace(name), bytes.TrimSpace(value)
	if words := bytes.Fields(name); len(words) == 2 && bytes.EqualFold(words[0], []byte("Digest")) {
		name = words[1]
	}
	bare := bytes.TrimSuffix(bytes.TrimPrefix(value, []byte{'"'}), []byte{'"'})
	switch {
	case !isToken(string(name)) || len(bytes.Trim(value, "=")) == 0: // Basic, with the padding of base64
		stars(item)
	case !public[string(lowered(name))]:
		stars(bytes.Trim(value, " \t\r\n\""))
	case len(value)-len(bare) == 2 && !bytes.ContainsAny(bare, "\"\\") && !(bytes.ContainsAny(bare, ",") && bytes.ContainsAny(bare, "=")):
	case len(value) == len(bare) && !bytes.ContainsAny(bare, "\"\\=; \t\r\n"):
	default:
		stars(value)
	}
}

// maskURIs masks passwords in sip:user:password@host and http://user:password@host, and what a URI wants
// to put into Authorization. None of them goes beyond its line; lower is the same in lower case.
func maskURIs(line, lower []byte) {
	for _, scheme := range []string{"sip:", "sips:", "://"} {
		for at := 0; ; {
			i := bytes.Index(lower[at:], []byte(scheme))
			if i < 0 {
				break
			}
			at += i + len(scheme)
			u := line[at:]
			if end := bytes.IndexAny(u, " <>\"\t\r\n"); end >= 0 {
				u = u[:end]
			}
			if end := bytes.IndexAny(u, "/?#"); end >= 0 && scheme == "://" {
				u = u[:end]
			}
			first := bytes.IndexByte(u, '@')
			if first < 0 {
				continue
			}
			if colon := bytes.IndexByte(u[:first], ':'); colon >= 0 {
				stars(u[colon+1 : bytes.LastIndexByte(u, '@')])
			}
		}
	}
	const asked = "authorization=" // RFC 3261 §19.1.1: a URI may ask for header fields
	for at := 0; ; {
		i := bytes.Index(lower[at:], []byte(asked))
		if i < 0 {
			return
		}
		at += i + len(asked)
		stars(line[at:stop(line, at, "&>;\r\n")])
	}
}

// secretWords begin the values that bodies of any type may hold. The short ones are words of
// their own: "spin" is none.
var secretWords = []struct {
	word  string
	whole bool
}{
	{"password", false},
	{"passwd", false},
	{"passphrase", false},
	{"pwd", false},
	{"secret", false},
	{"token", false},
	{"api-key", false},
	{"pincode", false},
	{"pin", true},
	{"signal", false},
	{"digits", true},
	{"dtmf", true},
}

func maskBody(body []byte) {
	if len(body) == 0 {
		return
	}
	was, small := borrow(body), borrowLowered(body)
	defer giveBack(was)
	defer giveBack(small)
	maskWords(body, *was, *small)
	maskLines(body, *was, *small)
}

// maskWords masks the values behind secretWords; was is the body as it came, lower the same in lower case.
func maskWords(body, was, lower []byte) {
	for _, s := range secretWords {
		for at := 0; ; {
			i := bytes.Index(lower[at:], []byte(s.word))
			if i < 0 {
				break
			}
			i += at
			at = i + len(s.word)
			if s.whole && i > 0 && letter(lower[i-1]) && (was[i] == lower[i] || was[i-1] != lower[i-1]) {
				continue
			}
			for !s.whole && at < len(lower) && (letter(lower[at]) || bytes.IndexByte([]byte("0123456789-_"), lower[at]) >= 0) {
				at++ // password_2
			}
			start, end := valueAfter(lower, i, at)
			stars(bytes.TrimSpace(body[start:end]))
		}
	}
}

// valueAfter finds the value of the name at lower[begin:end]: in JSON, XML, a form, or until the line ends.
func valueAfter(lower []byte, begin, end int) (int, int) {
	i := skip(lower, end, " \t\"'")
	separator := byte(0)
	if i < len(lower) {
		separator = lower[i]
	}
	open := bytes.LastIndexAny(lower[:begin], "<>\r\n")
	if open >= 0 && lower[open] == '<' && separator != '=' && separator != ':' {
		if i = stop(lower, end, ">"); i == len(lower) || lower[i-1] == '/' || lower[open+1] == '/' {
			return end, end
		}
		if i++; bytes.HasPrefix(lower[i:], []byte("<![cdata[")) {
			i += len("<![cdata[")
			return i, stop(lower, i, "]")
		}
		return i, stop(lower, i, "<")
	}
	if strings.IndexByte("=:>", separator) < 0 {
		return end, end
	}
	json := bytes.ContainsAny(lower[end:i], "\"'")
	blank, until := " \t", "\r\n"
	switch {
	case json:
		blank, until = " \t\r\n", ",}\r\n"
	case separator == '>':
		until = "<\r\n"
	}
	i = skip(lower, i+1, blank)
	if i < len(lower) && (lower[i] == '"' || lower[i] == '\'') {
		for end := i + 1; end < len(lower); end++ {
			switch lower[end] {
			case '\\':
				end++
			case lower[i]:
				return i + 1, end
			}
		}
	}
	end = stop(lower, i, until)
	for at := i; separator == '=' && at < end; at++ { // a form has more behind &
		name, _, more := bytes.Cut(lower[at+1:end], []byte("="))
		if lower[at] == '&' && more && isToken(string(name)) {
			return i, at
		}
	}
	return i, end
}

// skip returns where what is not of set begins.
func skip(b []byte, at int, set string) int {
	for at < len(b) && strings.IndexByte(set, b[at]) >= 0 {
		at++
	}
	return at
}

// stop returns where the first of set is, or the end.
func stop(b []byte, at int, set string) int {
	if n := bytes.IndexAny(b[at:], set); n >= 0 {
		return at + n
	}
	return len(b)
}

// maskLines masks what a whole line tells: keys in descriptions of sound, and digits alone (application/dtmf).
func maskLines(body, was, small []byte) {
	for len(was) > 0 {
		n := endOfLine(was)
		line, lower := body[:n], small[:n]
		pressed := bytes.TrimSpace(was[:n])
		body, was, small = body[min(n+1, len(body)):], was[min(n+1, len(was)):], small[min(n+1, len(small)):]
		if len(pressed) > 1 && pressed[1] == '=' && pressed[0]|0x20 != 'k' && bytes.IndexByte(lower, 'y') < 0 && bytes.IndexByte(lower, 'i') < 0 {
			continue // a line of SDP with none of the words below
		}
		if len(bytes.Trim(pressed, "0123456789*#ABCD!, \t")) == 0 || len(bytes.Trim(lower, "0123456789*#abcdr!, \t")) == 0 && (len(pressed) == 1 || bytes.ContainsAny(pressed, "0123456789*#")) {
			stars(bytes.TrimSpace(line))
		}
		if bytes.HasPrefix(bytes.TrimLeft(lower, " \t"), []byte("k=")) { // RFC 8866 §5.12: a key as it stands
			stars(line[bytes.IndexByte(lower, '=')+1:])
		}
		// RFC 4568, and a=key-mgmt; both also within a=acap:.
		if i := bytes.Index(lower, []byte("key-mgmt")); i >= 0 {
			i = skip(lower, i+len("key-mgmt"), " \t:")
			if bytes.HasPrefix(lower[i:], []byte("mikey ")) {
				i += len("mikey ")
			}
			stars(line[i:])
		}
		if i := bytes.Index(lower, []byte("crypto")); i >= 0 {
			if i = skip(lower, i+len("crypto"), " \t"); i < n && lower[i] == ':' {
				maskCrypto(line[i+1:])
			}
		}
		for at := 0; ; {
			i := bytes.Index(lower[at:], []byte("inline"))
			if i < 0 {
				break
			}
			at += i + len("inline")
			if i = skip(lower, at, " \t"); i < n && lower[i] == ':' {
				i = skip(lower, i+1, " \t")
				stars(line[i:stop(lower, i, "|;\"'<> \t")])
			}
		}
	}
}

// maskCrypto leaves tag, suite, lifetime and parameters of a=crypto, and masks anything else.
func maskCrypto(line []byte) {
	for word := range bytes.FieldsSeq(line) {
		switch {
		case len(word) < 10 && len(bytes.Trim(word, "0123456789")) == 0:
		case len(word) <= 32 && bytes.Contains(word, []byte("_")) && len(bytes.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789=")) == 0:
		case len(word) <= 8 && (bytes.HasPrefix(word, []byte("KDR=")) || bytes.HasPrefix(word, []byte("WSH="))):
		default:
			for key := range bytes.SplitSeq(word, []byte(";")) {
				if len(key) >= 7 && bytes.EqualFold(key[:7], []byte("inline:")) {
					key = key[7:]
				}
				secret, rest, _ := bytes.Cut(key, []byte("|"))
				stars(secret)
				if len(bytes.Trim(rest, "0123456789^:|")) > 0 { // neither lifetime nor index
					stars(rest)
				}
			}
		}
	}
}

// endOfLine is where the first line of text ends.
func endOfLine(text []byte) int {
	for i, c := range text {
		if c == '\r' || c == '\n' {
			return i
		}
	}
	return len(text)
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' }

// lowered returns a copy in lower case that is as long, whatever the octets are.
func lowered(b []byte) []byte { return lower(bytes.Clone(b)) }

// lower does that in place.
func lower(b []byte) []byte {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

// scratch lends room to look at a message: each that is kept is looked through in lower case.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// borrow and borrowLowered return a copy, to be given back.
func borrow(b []byte) *[]byte {
	p := scratch.Get().(*[]byte)
	*p = append((*p)[:0], b...)
	return p
}

func borrowLowered(b []byte) *[]byte {
	p := borrow(b)
	lower(*p)
	return p
}

func giveBack(p *[]byte) {
	if cap(*p) <= maxMessage {
		scratch.Put(p)
	}
}

func stars(b []byte) {
	for i := range b {
		if b[i] != '\r' && b[i] != '\n' {
			b[i] = '*'
		}
	}
}
