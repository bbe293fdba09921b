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
	if len(body) > 0 {
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
		for i, c := range rest {
			if c == '"' {
				quoted = !quoted
			}
			if c == ',' && !quoted {
				item = rest[:i]
				break
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

// maskURIs masks passwords in sip:user:password@host.
func maskURIs(line []byte) {
	for rest := line; ; {
		i := bytes.Index(rest, []byte("sip"))
		if i < 0 {
			return
		}
		rest = rest[i+3:]
		u := bytes.TrimPrefix(rest, []byte("s"))
		if len(u) == 0 || u[0] != ':' {
			continue
		}
		u = u[1:]
		at := bytes.IndexByte(u, '@')
		if at < 0 || bytes.ContainsAny(u[:at], " <>\"") {
			continue
		}
		if colon := bytes.IndexByte(u[:at], ':'); colon >= 0 {
			stars(u[colon+1 : at])
		}
	}
}

// secretWords begin the values that bodies of any type may hold.
var secretWords = []string{"password", "passwd", "pwd", "secret", "inline:", "pin", "signal", "a=key-mgmt"}

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
			if i := at - len(word); i > 0 && letter(lower[i-1]) {
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
	// SDP: k= (RFC 8866 §5.12) is a key as it stands.
	for line := range bytes.Lines(body) {
		if bytes.HasPrefix(line, []byte("k=")) {
			stars(bytes.TrimRight(line[2:], "\r\n"))
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
