package sip

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"strconv"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// The front reader looks at every message before sipgo does. It refuses what
// has no use, with an answer where the sender can make use of one, and rewrites
// the rest into the plain form that sipgo reads without loss: lines unfolded,
// names in full, one Via a line, one description of length and body.
//
// Two things of sipgo it works round by marking the top branch, and the answers
// are unmarked by restoreVia. (A field named by the mark says how long a datagram was.) A CANCEL must not match its INVITE there: sipgo
// would answer both by itself with tags of its own, and let a 200 that crosses
// the CANCEL replace the 487 in its retransmissions. And a request from before
// RFC 3261, whose branch is no key, gets a key made of its other fields.

const (
	maxMessage = 60 << 10 // sipgo reads 65,535 at most; rewriting may lengthen
	maxHead    = 24 << 10
	maxFields  = 256
	cookie     = "z9hG4bK"
)

type front struct {
	mark string // unguessable, so that no branch from outside has it
}

// field is one header field, its name in full.
type field struct{ name, value string }

type rawMessage struct {
	start  string
	fields []field
	body   []byte
	size   int // octets that came
}

// verdict is what becomes of a message: data for sipgo, or a reply for its sender, or nothing.
type verdict struct {
	data  []byte
	ask   *inquiry // answered at once, without sipgo
	reply []byte
	to    netip.AddrPort // of the reply
	why   string         // of a refusal, for the log
	key   string         // of the transaction, for methods that may come again after it
}

// read judges one whole message. On a stream the framing has made sure of its length.
func (f *front) read(data []byte, from netip.AddrPort, transport string) verdict {
	m, err := splitMessage(data)
	if err != "" {
		return verdict{why: err}
	}
	if strings.HasPrefix(m.start, "SIP/") {
		return f.response(m)
	}
	return f.request(m, from, transport)
}

// fullNames are the compact forms of RFC 3261 §7.3.3 and the event RFCs, and the names of fields that are looked for here.
var fullNames = map[string]string{
	"a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "e": "Content-Encoding", "f": "From",
	"i": "Call-ID", "k": "Supported", "l": "Content-Length", "m": "Contact", "o": "Event", "r": "Refer-To",
	"s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires",
	"via": "Via", "from": "From", "to": "To", "call-id": "Call-ID", "cseq": "CSeq", "contact": "Contact",
	"replaces": "Replaces", "content-length": "Content-Length", "content-type": "Content-Type", "max-forwards": "Max-Forwards",
	"authorization": "Authorization", "expires": "Expires", "path": "Path", "proxy-require": "Proxy-Require",
	"require": "Require", "supported": "Supported", "user-agent": "User-Agent",
}

// fullName returns the name of a field as it is looked for.
func fullName(name string) string {
	var buf [24]byte
	if len(name) > len(buf) {
		return name
	}
	lower := buf[:len(name)]
	for i := range lower {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	if full := fullNames[string(lower)]; full != "" {
		return full
	}
	return name
}

func splitMessage(data []byte) (*rawMessage, string) {
	head, body, found := bytes.Cut(data, []byte("\r\n\r\n"))
	if !found {
		// A message without body may end with the last header line.
		if head, found = bytes.CutSuffix(data, []byte("\r\n")); !found {
			return nil, "no end of header"
		}
	}
	if len(head) > maxHead {
		return nil, "too large"
	}
	m := &rawMessage{body: body, size: len(data), fields: make([]field, 0, 16)}
	text := string(head)
	m.start, text, _ = strings.Cut(text, "\r\n")
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\r\n")
		if isFolded(text) { // RFC 3261 §7.3.1
			var b strings.Builder
			b.WriteString(line)
			for isFolded(text) {
				line, text, _ = strings.Cut(text, "\r\n")
				b.WriteByte(' ')
				b.WriteString(trim(line))
			}
			line = b.String()
		}
		name, value, colon := strings.Cut(line, ":")
		name = trim(name)
		if !colon || !isToken(name) || hasControls(value) {
			name, value = "", line
		}
		name = fullName(name)
		if len(m.fields) == maxFields {
			return nil, "too many header fields"
		}
		m.fields = append(m.fields, field{name, trim(value)})
	}
	return m, ""
}

// hasControls reports control characters where RFC 3261 §25.1 has none: anywhere
// but behind a backslash in a quoted string.
func hasControls(s string) bool {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\' && i+1 < len(s) && s[i+1] != '\r' && s[i+1] != '\n':
			i++
		case c == '"':
			quoted = !quoted
		case c < ' ' && c != '\t' || c == 0x7f:
			return true
		}
	}
	return false
}

func isFolded(text string) bool { return text != "" && isLWS(text[0]) }

// single returns the value of a field that may stand once.
func (m *rawMessage) single(name string) (value string, n int) {
	for _, f := range m.fields {
		if f.name == name {
			if n == 0 {
				value = f.value
			}
			n++
		}
	}
	return value, n
}

// via is one hop of the way back.
type via struct {
	transport string
	host      string // IPv6 without brackets
	port      int
	params    params
}

func (v *via) String() string {
	var buf [128]byte
	return string(v.append(buf[:0]))
}

func (v *via) append(b []byte) []byte {
	b = append(b, "SIP/2.0/"...)
	b = append(b, v.transport...)
	b = append(b, ' ')
	if strings.IndexByte(v.host, ':') >= 0 {
		b = append(b, '[')
		b = append(b, v.host...)
		b = append(b, ']')
	} else {
		b = append(b, v.host...)
	}
	if v.port > 0 {
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(v.port), 10)
	}
	return v.params.append(b)
}

func (v *via) set(name, value string) {
	for i := range v.params {
		if v.params[i].name == name {
			v.params[i].value = value
			return
		}
	}
	v.params = append(v.params, param{name, value})
}

func parseVia(s string) (*via, bool) {
	name, rest, ok1 := strings.Cut(s, "/")
	version, rest, ok2 := strings.Cut(rest, "/")
	if !ok1 || !ok2 || !strings.EqualFold(trim(name), "SIP") || trim(version) != "2.0" {
		return nil, false
	}
	rest = trim(rest)
	i := strings.IndexAny(rest, " \t")
	if i < 0 || !isToken(rest[:i]) {
		return nil, false
	}
	v := &via{transport: strings.ToUpper(rest[:i])}
	sentBy, after, more := cutOutside(trim(rest[i:]), ';')
	if more {
		var ok bool
		if v.params, ok = parseParams(after); !ok {
			return nil, false
		}
	}
	host, port, ported := trim(sentBy), "", false
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return nil, false
		}
		port = trim(host[end+1:])
		host = host[1:end]
		if _, err := netip.ParseAddr(host); err != nil {
			return nil, false
		}
		port, ported = strings.CutPrefix(port, ":")
		if !ported && port != "" {
			return nil, false
		}
	} else {
		host, port, ported = strings.Cut(host, ":")
		host = trim(host)
		if !isToken(host) {
			return nil, false
		}
	}
	if ported {
		n, err := strconv.ParseUint(trim(port), 10, 16)
		if err != nil {
			return nil, false
		}
		v.port = int(n)
	}
	v.host = host
	return v, true
}

// vias returns the hops, or false if one of them cannot be read.
func (m *rawMessage) vias() ([]*via, bool) {
	var all []*via
	for _, f := range m.fields {
		if f.name != "Via" {
			continue
		}
		for _, s := range splitList(f.value) {
			v, ok := parseVia(s)
			if !ok || len(all) >= 70 {
				return nil, false
			}
			all = append(all, v)
		}
	}
	return all, len(all) > 0
}

func parseCSeq(s string) (uint32, string, bool) {
	number, method, ok := strings.Cut(strings.ReplaceAll(s, "\t", " "), " ")
	method = trim(method)
	// RFC 3261 §8.1.1.5: less than 2**31.
	n, err := strconv.ParseUint(number, 10, 31)
	return uint32(n), method, ok && err == nil && isToken(method)
}

// request judges a request.
func (f *front) request(m *rawMessage, from netip.AddrPort, transport string) verdict {
	parts := strings.Fields(m.start) // RFC 4475 §3.1.2.9: several blanks are tolerated
	if len(parts) < 3 || !strings.HasPrefix(parts[len(parts)-1], "SIP/") || !isToken(parts[0]) {
		return verdict{why: "no SIP message"}
	}
	method := parts[0]
	hops, viaOK := m.vias()
	if viaOK {
		received(hops[0], from)
	}
	refuse := func(code int, reason, why string, extra ...field) verdict {
		if method == "ACK" {
			return verdict{why: why}
		}
		var top *via
		if viaOK {
			top = hops[0]
		}
		reply := m.refusal(code, reason, hops, extra)
		if limit := limitOf(m.size, transport); limit > 0 && len(reply) > limit {
			if reply = m.refusal(code, reason, hops, nil); len(reply) > limit {
				reply = nil
			}
		}
		return verdict{reply: reply, to: replyAddr(top, from, transport), why: why}
	}
	if !strings.EqualFold(parts[len(parts)-1], "SIP/2.0") {
		return refuse(505, "Version Not Supported", "version")
	}
	if !viaOK {
		return refuse(400, "Bad Via", "bad Via")
	}
	if len(parts) != 3 {
		return refuse(400, "Bad Request-URI", "blanks in request line")
	}
	for _, h := range m.fields {
		if h.name == "" {
			return refuse(400, "Bad Header", "bad header line")
		}
	}
	for _, name := range []string{"From", "To", "Call-ID", "CSeq"} {
		switch _, n := m.single(name); {
		case n == 0:
			return refuse(400, "Missing "+name, "no "+name)
		case n > 1:
			return refuse(400, "Repeated "+name, "repeated "+name)
		}
	}
	cseqText, _ := m.single("CSeq")
	seq, cseqMethod, ok := parseCSeq(cseqText)
	if !ok || cseqMethod != method {
		return refuse(400, "Bad CSeq", "bad CSeq")
	}
	if method != strings.ToUpper(method) { // names of methods are case-sensitive; sipgo raises them
		return refuse(501, "Not Implemented", "method in lower case", field{"Allow", allow})
	}
	fromText, _ := m.single("From")
	toText, _ := m.single("To")
	fromAddr, ok1 := readAddress(fromText)
	toAddr, ok2 := readAddress(toText)
	switch {
	case !ok1:
		return refuse(400, "Bad From", "bad From")
	case !ok2:
		return refuse(400, "Bad To", "bad To")
	}
	callID, _ := m.single("Call-ID")
	if callID == "" || len(callID) > 256 || strings.ContainsAny(callID, " \t") {
		return refuse(400, "Bad Call-ID", "bad Call-ID")
	}
	maxForwards := 70
	if text, n := m.single("Max-Forwards"); n > 0 {
		v, err := strconv.ParseUint(text, 10, 8)
		if err != nil || n > 1 {
			return refuse(400, "Bad Max-Forwards", "bad Max-Forwards")
		}
		maxForwards = int(v)
	}
	if m.length() > maxMessage {
		return refuse(513, "Message Too Large", "too large")
	}
	body, ok := m.sized(transport)
	if !ok {
		return refuse(400, "Bad Content-Length", "bad Content-Length")
	}
	scheme, _, _ := strings.Cut(parts[1], ":")
	uri, ok := parseURI(parts[1])
	switch {
	case len(parts[1]) > 2048:
		return refuse(414, "Request-URI Too Long", "long Request-URI")
	case isScheme(scheme) && !strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips"):
		return refuse(416, "Unsupported URI Scheme", "scheme "+clip(scheme, 20))
	case !ok || uri.Headers != nil: // RFC 3261 §19.1.1: headers are not allowed there
		return refuse(400, "Bad Request-URI", "bad Request-URI")
	case uri.Scheme == "sips" && transport != "tls" && transport != "wss":
		// RFC 5630 §3.1.3: what asks for security did not come by it, and is not carried on without.
		return refuse(480, "Temporarily Unavailable", "sips without TLS", field{"Warning", `380 pbx "SIPS Not Allowed"`})
	}

	if _, n := m.single("Replaces"); n > 0 && method != "INVITE" {
		return refuse(400, "Replaces Belongs To INVITE", "Replaces in "+clip(method, 20)) // RFC 3891 §3
	}
	branch, _ := hops[0].params.get("branch")
	if strings.Contains(branch, f.mark) {
		return refuse(400, "Bad Via", "marked branch")
	}
	if _, tagged := toAddr.params.get("tag"); method == "REGISTER" || method == "OPTIONS" && !tagged {
		return verdict{ask: &inquiry{rawMessage: m, method: method, uri: parts[1], hops: hops, from: fromAddr, to: toAddr, callID: callID, seq: seq}}
	}
	if len(branch) <= len(cookie) || !strings.HasPrefix(branch, cookie) {
		// RFC 3261 §17.2.3: what tells transactions apart without a branch.
		tag, _ := fromAddr.params.get("tag")
		h := fnv.New64a()
		fmt.Fprintf(h, "%s\x00%s\x00%s\x00%d\x00%s\x00%s", parts[1], tag, callID, seq, hops[0], from)
		branch = cookie + f.mark + hex.EncodeToString(h.Sum(nil)) + "." + hex.EncodeToString([]byte(branch))
		hops[0].set("branch", branch)
	}
	if method == "CANCEL" {
		hops[0].set("branch", branch+"."+f.mark)
	}

	var b bytes.Buffer
	b.Grow(m.size + 256)
	b.WriteString(method)
	b.WriteString(" ")
	b.WriteString(parts[1])
	b.WriteString(" SIP/2.0\r\n")
	m.write(&b, hops, fromAddr, toAddr, seq, method, body)
	if transport == "udp" {
		fmt.Fprintf(&b, "%s: %d\r\n", f.mark, m.size)
	}
	fmt.Fprintf(&b, "Max-Forwards: %d\r\nContent-Length: %d\r\n\r\n", maxForwards, len(body))
	b.Write(body)
	v := verdict{data: b.Bytes()}
	if transport == "udp" && (method == "INVITE" || method == "BYE") {
		v.key, v.to = pastKey(method, branch, hops[0].host, hops[0].port), listensBehind(hops[0], from)
	}
	return v
}

// response judges a response. Nobody waits for an answer to a bad one.
func (f *front) response(m *rawMessage) verdict {
	parts := strings.SplitN(m.start, " ", 3)
	if len(parts) < 2 || parts[0] != "SIP/2.0" {
		return verdict{why: "bad status line"}
	}
	status, err := strconv.Atoi(parts[1])
	if err != nil || status < 100 || status > 699 {
		return verdict{why: "bad status"}
	}
	reason := ""
	if len(parts) == 3 {
		reason = strings.Map(func(r rune) rune {
			if r < ' ' {
				return -1
			}
			return r
		}, parts[2])
	}
	if m.size > maxMessage {
		return verdict{why: "too large"}
	}
	hops, ok := m.vias()
	if !ok || len(hops) != 1 { // RFC 3261 §18.1.2: it was not for us
		return verdict{why: "bad Via in response"}
	}
	cseqText, n1 := m.single("CSeq")
	seq, method, ok := parseCSeq(cseqText)
	fromText, n2 := m.single("From")
	toText, n3 := m.single("To")
	callID, n4 := m.single("Call-ID")
	fromAddr, ok1 := readAddress(fromText)
	toAddr, ok2 := readAddress(toText)
	if n1 != 1 || n2 != 1 || n3 != 1 || n4 != 1 || callID == "" || !ok || !ok1 || !ok2 {
		return verdict{why: "bad response"}
	}
	body, ok := m.sized("")
	if !ok {
		return verdict{why: "bad Content-Length in response"}
	}
	var b bytes.Buffer
	b.Grow(m.size + 64)
	fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", status, reason)
	m.write(&b, hops, fromAddr, toAddr, seq, method, body)
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(body))
	b.Write(body)
	return verdict{data: b.Bytes()}
}

// readAddress reads a From or To.
func readAddress(s string) (address, bool) {
	a, ok := parseAddress(s)
	if !ok {
		return a, false
	}
	var u sipmsg.Uri
	if sipmsg.ParseUri(a.uri, &u) != nil || !isToken(u.Scheme) {
		return a, false
	}
	if u.Scheme == "sip" || u.Scheme == "sips" {
		_, ok = parseURI(a.uri)
	}
	tag, tagged := a.params.get("tag")
	return a, ok && (!tagged || isToken(tag))
}

// length is how long the message is, or says that it is.
func (m *rawMessage) length() int {
	n := m.size
	for _, f := range m.fields {
		if f.name == "Content-Length" {
			if v, err := strconv.ParseUint(f.value, 10, 31); err == nil {
				n = max(n, int(v))
			}
		}
	}
	return n
}

// isScheme reports whether s can be the scheme of a URI (RFC 3986 §3.1).
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || (s[i] < '0' || s[i] > '9') && s[i] != '+' && s[i] != '-' && s[i] != '.') {
			return false
		}
	}
	return s != ""
}

// sized cuts the body to its Content-Length: octets after it are dropped
// (RFC 3261 §18.3), missing ones make the message useless.
func (m *rawMessage) sized(transport string) ([]byte, bool) {
	length := -1
	for _, f := range m.fields {
		if f.name != "Content-Length" {
			continue
		}
		n, err := strconv.ParseUint(f.value, 10, 31)
		if err != nil || length >= 0 && int(n) != length {
			return nil, false
		}
		length = int(n)
	}
	switch {
	case length < 0:
		return m.body, transport != "tcp" && transport != "tls" // RFC 3261 §20.14: obligatory on streams; RFC 7118 §5: a frame has an end
	case length > len(m.body):
		return nil, false
	}
	return m.body[:length], true
}

// write writes all fields but the two that the caller ends the header with.
func (m *rawMessage) write(b *bytes.Buffer, hops []*via, from, to address, seq uint32, method string, body []byte) {
	for _, h := range hops {
		b.WriteString("Via: ")
		b.Write(h.append(b.AvailableBuffer()))
		b.WriteString("\r\n")
	}
	b.WriteString("From: ")
	b.Write(from.append(b.AvailableBuffer()))
	b.WriteString("\r\nTo: ")
	b.Write(to.append(b.AvailableBuffer()))
	b.WriteString("\r\nCSeq: ")
	b.Write(strconv.AppendUint(b.AvailableBuffer(), uint64(seq), 10))
	b.WriteString(" ")
	b.WriteString(method)
	b.WriteString("\r\n")
	for _, f := range m.fields {
		switch f.name {
		case "", "Via", "From", "To", "CSeq", "Content-Length", "Max-Forwards":
			continue
		case "Content-Type":
			if len(body) == 0 {
				continue
			}
		}
		b.WriteString(f.name)
		b.WriteString(": ")
		b.WriteString(f.value)
		b.WriteString("\r\n")
	}
}

// received notes in the top Via where a request really came from.
func received(v *via, from netip.AddrPort) {
	_, rport := v.params.get("rport")
	if rport {
		v.set("rport", strconv.Itoa(int(from.Port()))) // RFC 3581 §4
	}
	host, err := netip.ParseAddr(v.host)
	if rport || err != nil || host.Unmap() != from.Addr() {
		v.set("received", from.Addr().String()) // RFC 3261 §18.2.1
	}
}

// replyAddr is where an answer goes that is made without sipgo.
func replyAddr(top *via, from netip.AddrPort, transport string) netip.AddrPort {
	if transport != "udp" || top == nil {
		return from
	}
	return listensBehind(top, from)
}

// refusal is an answer made without transaction, with whatever the request has
// of the fields that an answer copies (RFC 3261 §8.2.6, §8.2.7).
func (m *rawMessage) refusal(code int, reason string, hops []*via, extra []field) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", code, reason)
	for _, h := range hops {
		fmt.Fprintf(&b, "Via: %s\r\n", h)
	}
	tag := fnv.New64a()
	for _, f := range m.fields {
		switch f.name {
		case "Via":
			if hops == nil {
				b.WriteString("Via: " + f.value + "\r\n")
			}
		case "From", "Call-ID", "CSeq", "To":
			tag.Write([]byte(f.value))
			if f.name == "To" {
				continue
			}
			b.WriteString(f.name + ": " + f.value + "\r\n")
		}
	}
	if to, n := m.single("To"); n > 0 {
		if !strings.Contains(strings.ToLower(to), "tag") {
			to += ";tag=" + hex.EncodeToString(tag.Sum(nil))
		}
		b.WriteString("To: " + to + "\r\n")
	}
	for _, f := range extra {
		b.WriteString(f.name + ": " + f.value + "\r\n")
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.Bytes()
}

// sizeOf returns how many octets of a datagram a request was; 0 for one of a stream.
func (f *front) sizeOf(req *sipmsg.Request) int {
	n, _ := strconv.Atoi(header(req, f.mark))
	return n
}

// restoreVia undoes the marks of the front reader in the top Via of an answer.
func (f *front) restoreVia(v *sipmsg.ViaHeader) {
	if v == nil {
		return
	}
	branch, ok := v.Params.Get("branch")
	if !ok || !strings.Contains(branch, f.mark) {
		return
	}
	branch = strings.TrimSuffix(branch, "."+f.mark)
	if rest, old := strings.CutPrefix(branch, cookie+f.mark); old {
		_, original, _ := strings.Cut(rest, ".")
		text, _ := hex.DecodeString(original)
		branch = string(text)
	}
	if branch == "" {
		v.Params.Remove("branch")
		return
	}
	v.Params.Add("branch", branch)
}

// transactionKey names the INVITE transaction that an INVITE makes and its CANCEL means (RFC 3261 §9.2, §17.2.3).
func (f *front) transactionKey(req *sipmsg.Request) string {
	v := req.Via()
	branch, _ := v.Params.Get("branch")
	return strings.TrimSuffix(branch, "."+f.mark) + " " + net.JoinHostPort(v.Host, strconv.Itoa(v.Port))
}
