package sip

import (
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// maxRefusals is how often one request is sent again with credentials, whatever
// the peer says: a changed nonce alone is no reason to go on (RFC 3261 §22.2).
const maxRefusals = 2

// challenge asks us who we are.
type challenge struct {
	answer string // the header field that answers it
	fields map[string]string
	hash   func(parts ...string) string
	qop    bool
}

// challengeOf returns the topmost challenge that we can answer (RFC 8760 §2.4).
func challengeOf(res *sipmsg.Response) (challenge, bool) {
	ask, answer := "WWW-Authenticate", "Authorization"
	if res.StatusCode == 407 {
		ask, answer = "Proxy-Authenticate", "Proxy-Authorization"
	}
	for _, h := range res.GetHeaders(ask) {
		fields, ok := parseDigest(h.Value())
		if !ok || fields["realm"] == "" || fields["nonce"] == "" {
			continue
		}
		c := challenge{answer: answer, fields: fields}
		switch strings.ToUpper(fields["algorithm"]) {
		case "", "MD5":
			c.hash = hashMD5
		case "SHA-256":
			c.hash = hashSHA256
		default:
			continue
		}
		if offered := fields["qop"]; offered != "" {
			for _, q := range strings.Split(offered, ",") {
				c.qop = c.qop || strings.EqualFold(trim(q), "auth")
			}
			if !c.qop {
				continue
			}
		}
		return c, true
	}
	return challenge{}, false
}

// parseDigest reads the fields of a Digest value.
func parseDigest(s string) (map[string]string, bool) {
	scheme, rest, ok := strings.Cut(trim(s), " ")
	if !ok || !strings.EqualFold(scheme, "Digest") || len(rest) > 4096 {
		return nil, false
	}
	fields := make(map[string]string, 8)
	for _, item := range splitList(rest) {
		name, value, found := strings.Cut(item, "=")
		name, value = strings.ToLower(trim(name)), trim(value)
		if strings.HasPrefix(value, `"`) {
			if value, ok = unquote(value); !ok {
				return nil, false
			}
		}
		if _, twice := fields[name]; !found || name == "" || twice || strings.ContainsAny(value, "\r\n\x00") {
			return nil, false
		}
		fields[name] = value
	}
	return fields, true
}

// credentials answers a challenge for one request (RFC 7616 §3.4).
func (c challenge) credentials(t store.Trunk, method, uri string) string {
	user := t.AuthUsername
	if user == "" {
		user = t.Username
	}
	ha1 := c.hash(user + ":" + c.fields["realm"] + ":" + string(t.Password))
	ha2 := c.hash(method + ":" + uri)
	nonce := c.fields["nonce"]
	v := "Digest username=" + quote(user) + ", realm=" + quote(c.fields["realm"]) + ", nonce=" + quote(nonce) + ", uri=" + quote(uri)
	if c.qop {
		cnonce := token()
		v += ", response=" + quote(c.hash(ha1+":"+nonce+":00000001:"+cnonce+":auth:"+ha2)) + `, cnonce="` + cnonce + `", qop=auth, nc=00000001`
	} else { // RFC 2069 as RFC 3261 §22.4 keeps it
		v += ", response=" + quote(c.hash(ha1+":"+nonce+":"+ha2))
	}
	if a := c.fields["algorithm"]; a != "" && isToken(a) {
		v += ", algorithm=" + a
	}
	if opaque, ok := c.fields["opaque"]; ok {
		v += ", opaque=" + quote(opaque)
	}
	return v
}

// answered returns req once more with what a challenge asks for, or false when
// nothing is left to be said: no password, a scheme that we do not know, or
// credentials that were refused. Its Via is that of req still.
func (s *Server) answered(req *sipmsg.Request, res *sipmsg.Response, t store.Trunk, refusals int) (*sipmsg.Request, bool) {
	if res.StatusCode != 401 && res.StatusCode != 407 || t.Password == "" || t.Username+t.AuthUsername == "" || refusals >= maxRefusals {
		return nil, false
	}
	c, ok := challengeOf(res)
	if !ok {
		return nil, false
	}
	again := req.Clone()
	for _, h := range req.GetHeaders(c.answer) {
		sent, _ := parseDigest(h.Value())
		if sent["realm"] != c.fields["realm"] {
			continue
		}
		// RFC 3261 §22.1: refused credentials are not sent again, unless only their nonce was too old.
		if !strings.EqualFold(c.fields["stale"], "true") || sent["nonce"] == c.fields["nonce"] {
			return nil, false
		}
	}
	for again.RemoveHeader(c.answer) {
	}
	again.AppendHeader(sipmsg.NewHeader(c.answer, c.credentials(t, string(req.Method), req.Recipient.String())))
	return again, true
}
