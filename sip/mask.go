package sip

import "bytes"

// maskSecrets overwrites, in place, what nobody may read later: answers to
// challenges, keys of encrypted sound, passwords, keys that were pressed (they may
// be a PIN). Octets become asterisks one by one, so that lengths stay true.
func maskSecrets(msg []byte) []byte {
	head, body := msg, []byte(nil)
	if i := bytes.Index(msg, []byte("\r\n\r\n")); i >= 0 {
		head, body = msg[:i], msg[i+4:]
	}
	maskHead(head)
	switch {
	case bytes.HasPrefix(head, []byte("MESSAGE ")):
		stars(body) // what people write to each other is theirs
	case len(body) > 0:
		maskBody(body)
	}
	return msg
}

// public are the parameters of a digest that say who and what, not the proof.
var public = map[string]bool{
	"username": true, "realm": true, "uri": true, "algorithm": true, "qop": true, "nc": true, "stale": true, "domain": true,
}

func maskHead(head []byte) {
	secret := false // the field whose lines we are in holds secrets
	for len(head) > 0 {
		line := head
		if i := bytes.IndexByte(head, '\n'); i >= 0 {
			line, head = head[:i], head[i+1:]
		} else {
			head = nil
		}
		value := line
		if len(line) > 0 && !isLWS(line[0]) {
			name, rest, found := bytes.Cut(line, []byte(":"))
			secret = found && secretField(name)
			if found {
				value = rest
			}
		}
		if secret {
			maskParams(value)
		}
		maskURIs(line)
	}
}

// secretField recognises Authorization, WWW-Authenticate and the like, and what
// makers of phones invent beside them.
func secretField(name []byte) bool {
	name = bytes.ToLower(name)
	for _, part := range []string{"authori", "authent", "password", "passwd", "secret", "token", "api-key"} {
		if bytes.Contains(name, []byte(part)) {
			return true
		}
	}
	return false
}

// maskParams masks the values of a Digest but the public ones, and anything else whole.
func maskParams(value []byte) {
	rest := bytes.TrimLeft(value, " \t")
	if len(rest) >= 7 && bytes.EqualFold(rest[:7], []byte("Digest ")) {
		rest = rest[7:]
	} else if !bytes.ContainsAny(rest, "=") || bytes.HasPrefix(bytes.ToLower(rest), []byte("basic")) || bytes.HasPrefix(bytes.ToLower(rest), []byte("bearer")) {
		stars(rest)
		return
	}
	for len(rest) > 0 {
		item := rest
		quoted := false
		for i := 0; i < len(rest); i++ {
			switch c := rest[i]; {
			case quoted && c == '\\':
				i++ // a quote in a name ends nothing
			case c == '"':
				quoted = !quoted
			case c == ',' && !quoted:
				item, i = rest[:i], len(rest)
			}
		}
		rest = rest[min(len(rest), len(item)+1):]
		name, v, found := bytes.Cut(item, []byte("="))
		if !found {
			stars(bytes.TrimSpace(item))
		} else if !public[string(bytes.ToLower(bytes.TrimSpace(name)))] {
			stars(bytes.Trim(v, " \t\r\""))
		}
	}
}

// maskURIs masks passwords in sip:user:password@host and in links, and what a URI wants to put into Authorization.
func maskURIs(line []byte) {
	lower := bytes.ToLower(line)
	for at := 0; ; {
		i := bytes.IndexByte(lower[at:], ':')
		if i < 0 {
			break
		}
		before := lower[:at+i]
		at += i + 1
		start := at
		switch {
		case bytes.HasSuffix(before, []byte("sip")), bytes.HasSuffix(before, []byte("sips")):
		case bytes.HasPrefix(lower[at:], []byte("//")):
			start += 2
		default:
			continue
		}
		end := bytes.IndexByte(lower[start:], '@')
		if end < 0 || bytes.ContainsAny(lower[start:start+end], " <>\"") {
			continue
		}
		if colon := bytes.IndexByte(lower[start:start+end], ':'); colon >= 0 {
			stars(line[start+colon+1 : start+end])
		}
	}
	const asked = "authorization="
	for at := 0; ; {
		i := bytes.Index(lower[at:], []byte(asked))
		if i < 0 {
			return
		}
		at += i + len(asked)
		end := at
		for end < len(line) && bytes.IndexByte([]byte("&>; \t\r\n"), line[end]) < 0 {
			end++
		}
		stars(line[at:end])
	}
}

// secretWords begin the values that bodies of any type may hold.
var secretWords = []string{"password", "passwd", "pwd", "secret", "inline:", "pin", "signal", "digits"}

func maskBody(body []byte) {
	if len(bytes.Trim(body, "0123456789*#ABCD \r\n")) == 0 {
		stars(body) // application/dtmf
		return
	}
	lower := bytes.ToLower(body)
	for _, word := range secretWords {
		for at := 0; ; {
			i := bytes.Index(lower[at:], []byte(word))
			if i < 0 {
				break
			}
			at += i + len(word)
			if i := at - len(word); word == "pin" && i > 0 && letter(lower[i-1]) {
				continue // "spin"
			}
			start := at
			if word[len(word)-1] != ':' {
				for start < len(lower) && bytes.IndexByte([]byte(" \t\"'"), lower[start]) >= 0 {
					start++
				}
				if start == len(lower) || bytes.IndexByte([]byte("=:>"), lower[start]) < 0 {
					continue
				}
				start++
				for start < len(lower) && bytes.IndexByte([]byte(" \t\"'"), lower[start]) >= 0 {
					start++
				}
			}
			end := start
			for end < len(lower) && bytes.IndexByte([]byte("\r\n<\"'&,;| \t"), lower[end]) < 0 {
				end++
			}
			stars(body[start:end])
		}
	}
	// SDP: k= (RFC 8866 §5.12) is a key as it stands, and a=key-mgmt (RFC 4567 §3.1) has them in a form of its own.
	for line := range bytes.Lines(body) {
		for _, key := range []string{"k=", "a=key-mgmt:"} {
			if bytes.HasPrefix(line, []byte(key)) {
				stars(line[len(key):])
			}
		}
	}
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' }

func stars(b []byte) {
	for i := range b {
		if b[i] != '\r' && b[i] != '\n' {
			b[i] = '*'
		}
	}
}
