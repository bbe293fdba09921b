package siptest

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// draft is a request being written.
type draft struct {
	method, uri, branch string
	via                 string
	headers             [][2]string
	body                []byte
}

// draft starts a request with what every request of this phone has.
func (p *Phone) draft(method, uri string, cseq uint32) *draft {
	d := &draft{method: method, uri: uri, branch: "z9hG4bK" + token()}
	d.via = fmt.Sprintf("SIP/2.0/%s %s;rport", strings.ToUpper(p.cfg.Transport), p.local)
	d.set("Max-Forwards", "70")
	d.set("CSeq", fmt.Sprintf("%d %s", cseq, method))
	if p.cfg.Name != "" {
		d.set("User-Agent", p.cfg.Name)
	}
	return d
}

// set adds a header, or replaces the one of that name.
func (d *draft) set(name, value string) {
	for i := range d.headers {
		if d.headers[i][0] == name {
			d.headers[i][1] = value
			return
		}
	}
	d.headers = append(d.headers, [2]string{name, value})
}

func (d *draft) sdp(body []byte) {
	if len(body) > 0 {
		d.set("Content-Type", "application/sdp")
		d.body = body
	}
}

func (d *draft) bytes() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\nVia: %s;branch=%s\r\n", d.method, d.uri, d.via, d.branch)
	for _, h := range d.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(d.body), d.body)
	return []byte(b.String())
}

// credentials answers the first challenge of a known algorithm, as RFC 8760 §2.4 wants.
func (p *Phone) credentials(res *sipmsg.Response, method, uri string) (string, error) {
	for _, h := range append(res.GetHeaders("WWW-Authenticate"), res.GetHeaders("Proxy-Authenticate")...) {
		c, ok := parseChallenge(h.Value())
		if !ok {
			continue
		}
		return p.respond(c, method, uri), nil
	}
	return "", fmt.Errorf("no challenge that can be answered in %d %s", res.StatusCode, res.Reason)
}

func parseChallenge(s string) (map[string]string, bool) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	if !strings.EqualFold(scheme, "Digest") {
		return nil, false
	}
	c := make(map[string]string)
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		c[strings.ToLower(name)] = strings.Trim(value, `"`)
	}
	switch c["algorithm"] {
	case "", "MD5", "SHA-256":
		return c, true
	}
	return nil, false
}

func (p *Phone) respond(c map[string]string, method, uri string) string {
	cnonce := token()
	v := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", qop=auth, nc=%s, cnonce="%s"`,
		p.cfg.Username, c["realm"], c["nonce"], uri, p.digest(c, method, uri, cnonce), firstUse, cnonce)
	if c["algorithm"] != "" {
		v += ", algorithm=" + c["algorithm"]
	}
	if c["opaque"] != "" {
		v += fmt.Sprintf(`, opaque="%s"`, c["opaque"])
	}
	return v
}

// firstUse is the count of a nonce that is used once.
const firstUse = "00000001"

// digest computes the response to a challenge (RFC 7616 §3.4.1).
func (p *Phone) digest(c map[string]string, method, uri, cnonce string) string {
	hash := func(s string) string {
		if c["algorithm"] == "SHA-256" {
			sum := sha256.Sum256([]byte(s))
			return hex.EncodeToString(sum[:])
		}
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	ha1 := hash(p.cfg.Username + ":" + c["realm"] + ":" + p.cfg.Password)
	ha2 := hash(method + ":" + uri)
	return hash(ha1 + ":" + c["nonce"] + ":" + firstUse + ":" + cnonce + ":auth:" + ha2)
}
