package sip

import (
	"hash/maphash"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"pbx/store"
)

// An inquiry is a REGISTER, or an OPTIONS outside of dialogs. Both are answered
// in the goroutine that read them, as a stateless server does (RFC 3261 §8.2.7):
// no transaction, no timer, nothing that stays. A transaction would keep some
// 12 kB for 32 seconds, and there are two of them to a registration.
//
// What a transaction is for, that a request which comes twice is served once
// (RFC 3261 §17.2.2), is done by the request's print: see registered.again.
type inquiry struct {
	*rawMessage
	method, uri string
	hops        []*via
	from, to    address
	callID      string
	seq         uint32
	print       uint64 // of the whole message and where it came from; 0 on streams, where nothing is repeated
}

// value returns the value of the first field of that name, or "".
func (m *rawMessage) value(name string) string {
	v, _ := m.single(name)
	return v
}

// list returns the items of all fields of that name.
func (m *rawMessage) list(name string) []string {
	var all []string
	for _, f := range m.fields {
		if f.name != name {
			continue
		}
		for _, item := range splitList(f.value) {
			if item != "" {
				all = append(all, item)
			}
		}
	}
	return all
}

// all returns the values of all fields of that name, which may hold commas.
func (m *rawMessage) all(name string) []string {
	var all []string
	for _, f := range m.fields {
		if f.name == name {
			all = append(all, f.value)
		}
	}
	return all
}

func (m *rawMessage) supports(option string) bool {
	for _, s := range m.list("Supported") {
		if strings.EqualFold(s, option) {
			return true
		}
	}
	return false
}

// claim is what the request says about who sends it.
func (in *inquiry) claim() claim {
	branch, _ := in.hops[0].params.get("branch")
	user := ""
	if u, ok := parseURI(in.from.uri); ok {
		user = userOf(&u)
	}
	return newClaim(in.method, in.uri, user, in.value("User-Agent"), branch, in.all("Authorization"))
}

// reply is an answer in the making.
type reply struct {
	code   int
	reason string
	fields []field
	brief  []field // instead of fields, where those do not fit
	spare  []field // sent where there is room for them
}

// refusal is a reply of one field at most.
func refusal(code int, reason string, fields ...field) reply {
	return reply{code: code, reason: reason, fields: fields}
}

// replier is the way back for answers that need no transaction.
type replier interface {
	reply(answer []byte, to netip.AddrPort) error
}

// judge looks at one whole message that came in. What is answered without sipgo
// goes back by way; the rest is returned, in the form that sipgo reads.
func (s *Server) judge(data []byte, h hop, way replier) []byte {
	if s.ctx.Err() != nil {
		return nil // closing
	}
	s.stats.received.Add(1)
	if !s.listens(data, h) {
		s.stats.throttled.Add(1)
		return nil
	}
	if s.health.answered(data, h) || s.lane.takes(data, h, way) {
		return nil
	}
	return s.read(data, h, way)
}

// read passes a message through the front reader.
func (s *Server) read(data []byte, h hop, way replier) []byte {
	v := s.front.read(data, h.remote, h.transport)
	if v.ask == nil { // else it belongs to no call
		s.trace.received(data, h)
	}
	switch {
	case v.ask != nil:
		if h.transport == "udp" {
			v.ask.print = s.printOf(data, h.remote)
			v.to = listensBehind(v.ask.hops[0], h.remote)
		}
		v.reply = s.inquire(v.ask, h)
	case v.data == nil:
		s.refused(v.why, data, h.remote, h.transport)
	case v.key != "":
		if answer, known := s.finished.find(v.key); known {
			v.data, v.reply = nil, answer
		}
	}
	if v.reply != nil {
		if v.ask == nil && h.transport == "udp" { // a stream notes what it sends
			s.trace.sent(v.reply, hop{h.transport, h.local, v.to})
		}
		if err := way.reply(v.reply, v.to); err != nil {
			s.log.Debug("answer not sent", "peer", v.to, "error", err)
		}
	}
	return v.data
}

// inquire answers an inquiry: the octets for its sender, or nil for silence.
func (s *Server) inquire(in *inquiry, h hop) (answer []byte) {
	defer func() {
		if p := recover(); p != nil { // a bug: this request ends, the house stands
			s.log.Error("request handler panicked", "method", in.method, "panic", p, "stack", string(debug.Stack()))
			answer = s.written(in, refusal(500, "Server Internal Error"), 0)
		}
	}()
	if h.transport == "udp" {
		h.remote = listensBehind(in.hops[0], h.remote)
	}
	if missing := in.unsupported(); missing != "" {
		return s.written(in, refusal(420, "Bad Extension", field{"Unsupported", missing}), limitOf(in.size, h.transport))
	}
	if in.method == "OPTIONS" {
		return s.written(in, optionsReply(), limitOf(in.size, h.transport))
	}
	s.stats.registers.Add(1)
	if known := s.repeats.find(in.print); known != nil {
		return known
	}
	who := in.claim()
	if line, ok := s.registrar.again(in, who); ok {
		return s.written(in, line, 0)
	}
	line, refused := s.identify(who, h)
	if refused.code != 0 {
		return s.written(in, refused, limitOf(in.size, h.transport))
	}
	r, kept := s.registrar.register(in, line, h)
	answer = s.written(in, r, 0)
	if !kept && in.print != 0 {
		s.repeats.keep(in.print, answer)
	}
	return answer
}

// maxGain is how many times longer than a request our answer to somebody unknown
// may be: source addresses of datagrams can be false, and nobody shall be flooded by us.
const maxGain = 2

// limitOf is how long the answer to a request of that size may be, 0 for any length.
func limitOf(size int, transport string) int {
	if transport != "udp" {
		return 0
	}
	return maxGain * size
}

// optionsReply tells what is understood (RFC 3261 §11.2). Phones ask to see whether we live.
func optionsReply() reply {
	return reply{
		code: 200, reason: "OK",
		spare: []field{{"Allow", allow}, {"Accept", "application/sdp"}, {"Supported", supported}, {"Allow-Events", allowEvents}},
	}
}

// unsupported returns the required option tags that are not understood.
func (m *rawMessage) unsupported() string {
	var missing []string
	for _, name := range []string{"Require", "Proxy-Require"} {
		for _, option := range m.list(name) {
			if !understood[strings.ToLower(option)] {
				missing = append(missing, option)
			}
		}
	}
	return strings.Join(missing, ", ")
}

// written puts an answer into its form. When a limit is given, what is optional
// is left out where it does not fit, and nil comes back when nothing fits.
func (s *Server) written(in *inquiry, r reply, limit int) []byte {
	b := make([]byte, 0, 640)
	b = append(b, "SIP/2.0 "...)
	b = strconv.AppendInt(b, int64(r.code), 10)
	b = append(b, ' ')
	b = append(b, r.reason...)
	for _, v := range in.hops {
		b = append(b, "\r\nVia: "...)
		b = v.append(b)
	}
	b = append(b, "\r\nFrom: "...)
	b = append(b, in.value("From")...)
	b = append(b, "\r\nTo: "...)
	b = append(b, in.value("To")...)
	if _, tagged := in.to.params.get("tag"); !tagged {
		// RFC 3261 §8.2.7: the same for a request that comes again.
		b = append(b, ";tag="...)
		b = strconv.AppendUint(b, s.tagOf(in), 36)
	}
	b = append(b, "\r\nCall-ID: "...)
	b = append(b, in.callID...)
	b = append(b, "\r\nCSeq: "...)
	b = strconv.AppendUint(b, uint64(in.seq), 10)
	b = append(b, ' ')
	b = append(b, in.method...)
	b = append(b, "\r\n"...)
	const end = "Content-Length: 0\r\n\r\n"
	head := len(b)
	for _, f := range r.fields {
		b = f.append(b)
	}
	if limit > 0 && len(b)+len(end) > limit {
		b = b[:head]
		for _, f := range r.brief {
			b = f.append(b)
		}
		if len(b)+len(end) > limit || r.brief == nil {
			return nil
		}
	}
	for i, n := 0, len(r.spare)+1; i < n; i++ {
		f := field{"Server", s.cfg.UserAgent}
		if i < n-1 {
			f = r.spare[i]
		}
		if limit == 0 || len(b)+len(f.name)+len(f.value)+4+len(end) <= limit {
			b = f.append(b)
		}
	}
	return append(b, end...)
}

func (f field) append(b []byte) []byte {
	b = append(b, f.name...)
	b = append(b, ": "...)
	b = append(b, f.value...)
	return append(b, "\r\n"...)
}

// tagOf makes our tag of what stays the same when a request is repeated.
func (s *Server) tagOf(in *inquiry) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	h.WriteString(in.callID)
	h.WriteByte(0)
	h.WriteString(in.value("From"))
	h.WriteByte(0)
	h.WriteString(in.hops[0].String())
	return h.Sum64()
}

// printOf tells a datagram from every other one.
func (s *Server) printOf(data []byte, from netip.AddrPort) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	ip := from.Addr().As16()
	h.Write(ip[:])
	h.WriteByte(byte(from.Port() >> 8))
	h.WriteByte(byte(from.Port()))
	h.Write(data)
	return max(h.Sum64(), 1)
}

// repeatTime is how long a request may come again: 64·T1, RFC 3261 §17.1.2.2.
const repeatTime = 32 * time.Second

// repeats keeps the last few answers that cannot be made again: those to
// authenticated requests that left no binding behind.
type repeats struct {
	mu   sync.Mutex
	ring [256]repeat
	next int
	at   map[uint64]int
}

type repeat struct {
	print  uint64
	until  time.Time
	answer []byte
}

func (r *repeats) find(print uint64) []byte {
	if print == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i, ok := r.at[print]
	if !ok || time.Now().After(r.ring[i].until) {
		return nil
	}
	return r.ring[i].answer
}

func (r *repeats) keep(print uint64, answer []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = make(map[uint64]int, len(r.ring))
	}
	e := &r.ring[r.next]
	delete(r.at, e.print)
	*e = repeat{print, time.Now().Add(repeatTime), answer}
	r.at[print] = r.next
	r.next = (r.next + 1) % len(r.ring)
}

// again answers a REGISTER that came before with the same octets: the answer was
// lost. It is made anew as of then, and nothing changes.
func (r *registrar) again(in *inquiry, who claim) (reply, bool) {
	if in.print == 0 || len(who.credentials) == 0 {
		return reply{}, false
	}
	line, ok := r.s.dir.Line(who.credentials[0].username)
	if !ok {
		return reply{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	reg := r.lines[line.ID]
	if reg == nil {
		return reply{}, false
	}
	for _, e := range reg.served {
		if e.print == in.print && time.Since(e.at) < repeatTime {
			return r.listing(in, reg.bindings, e.at), true
		}
	}
	return reply{}, false
}

// served is the print of a REGISTER that was granted, and when.
type served struct {
	print uint64
	at    time.Time
}

// claim is what a request says about who sends it.
type claim struct {
	method, uri, agent, branch string
	user                       string // of From; who the phone says it is, when it shows no credentials
	credentials                []credentials
}

func newClaim(method, uri, user, agent, branch string, authorizations []string) claim {
	c := claim{method: method, uri: uri, user: user, agent: agent, branch: branch}
	for _, value := range authorizations {
		if known, ok := parseCredentials(value); ok {
			c.credentials = append(c.credentials, known)
		}
	}
	return c
}

// identify finds out who sends a request. A reply with a code says that nobody
// knows: it challenges or refuses.
func (s *Server) identify(c claim, h hop) (store.Line, reply) {
	if !s.mayGuess(c.credentials, h) {
		return store.Line{}, refusal(403, "Forbidden", field{"Retry-After", "60"})
	}
	line, result := s.digest.check(c.method, c.uri, c.credentials)
	switch result {
	case weak:
		if s.guard.mayLog() {
			s.log.Warn("MD5 refused, the device is set to SHA-256", "method", c.method, "source", h.remote, "user_agent", clip(c.agent, 80))
		}
	case granted:
		if ofTrunk(line) && c.method != "INVITE" {
			return store.Line{}, refusal(403, "Forbidden") // a carrier is no phone
		}
		s.flows.authenticated(h)
		s.health.spoke(h)
		s.guard.trust(h.remote.Addr())
		return line, reply{}
	case wrong:
		s.stats.authFailed.Add(1)
		s.guessed(c.credentials, h, c.method)
		if s.guard.mayLog() {
			s.log.Warn("credentials refused", "method", c.method, "source", h.remote, "user_agent", clip(c.agent, 80))
		}
	}
	r := reply{code: 401, reason: "Unauthorized"}
	all := s.digest.challenges(result == stale, s.digestFor(c))
	for _, value := range all {
		r.fields = append(r.fields, field{"WWW-Authenticate", value})
	}
	r.brief = r.fields[len(all)-1:]
	s.guard.challenged(h, all[0])
	return store.Line{}, r
}

// digestFor returns the algorithms that a phone is offered: those its device is
// set to, or what we know of its kind.
func (s *Server) digestFor(c claim) string {
	line, _ := s.dir.Line(c.user)
	switch {
	case line.Digest == store.DigestMD5, line.Digest == store.DigestSHA256:
		return line.Digest
	case quirksOf(c.agent, c.branch).md5Only:
		return store.DigestMD5
	}
	return store.DigestAny
}
