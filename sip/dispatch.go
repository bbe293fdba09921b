package sip

import (
	"net"
	"net/netip"
	"runtime/debug"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// hop is the way between us and a peer: which of our listeners, and where the peer is.
type hop struct {
	transport     string // "udp", "tcp", "tls"
	local, remote netip.AddrPort
}

// hopOf returns the way a request came.
func hopOf(req *sipmsg.Request, tx *sipmsg.ServerTx) (hop, bool) {
	switch c := tx.Connection().(type) {
	case *sipmsg.UDPConnection:
		f, ok := c.PacketConn.(*packetFront)
		remote, err := netip.ParseAddrPort(req.Source())
		if ok && err == nil {
			return hop{"udp", f.l.local, listensAt(req, remote)}, true
		}
	case *sipmsg.TCPConnection:
		if f, ok := c.Conn.(*flow); ok {
			return f.hop(), true
		}
	}
	return hop{}, false
}

// listensAt returns where a phone listens that sent a datagram.
func listensAt(req *sipmsg.Request, from netip.AddrPort) netip.AddrPort {
	if v := req.Via(); v != nil && !v.Params.Has("rport") {
		return listens(strings.Trim(v.Host, "[]"), v.Port, from)
	}
	return listens("", 0, from)
}

// listensBehind is the same, for a Via of the front reader.
func listensBehind(v *via, from netip.AddrPort) netip.AddrPort {
	if _, ok := v.params.get("rport"); ok {
		return listens("", 0, from)
	}
	return listens(v.host, v.port, from)
}

// listens returns where a phone listens: at the address it sends from, as RFC 3581
// §4 has it, also where a NAT is between and the phone did not ask for that. But
// older ones of Cisco send from one port and listen on another: a Via with the
// true address and no rport means its port (RFC 3261 §18.2.2).
func listens(host string, viaPort int, from netip.AddrPort) netip.AddrPort {
	addr, port := from.Addr().Unmap(), from.Port()
	if host != "" {
		if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap() == addr {
			port = 5060
			if viaPort > 0 {
				port = uint16(viaPort)
			}
		}
	}
	return netip.AddrPortFrom(addr, port)
}

// hopTo returns the way to a binding.
func hopTo(b store.Binding) (hop, bool) {
	local, err1 := netip.ParseAddrPort(b.Local)
	remote, err2 := netip.ParseAddrPort(b.Source)
	return hop{b.Transport, local, remote}, err1 == nil && err2 == nil
}

// wayOf is hopTo of a binding of ours.
func wayOf(b *store.Binding) hop {
	h, _ := hopTo(*b)
	return h
}

// host is what Via and Contact show to a peer on this way.
func (s *Server) host(h hop) (host string, port int) {
	host = s.cfg.Advertise
	if host == "" {
		host = h.local.Addr().String()
	}
	return host, int(s.listensFor(h).Port())
}

// contact is where a peer on this way reaches us.
func (s *Server) contact(h hop, user string) string {
	host, port := s.host(h)
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	u := sipmsg.Uri{Scheme: "sip", User: escapeUser(user), Host: host, Port: port}
	uri := u.String()
	switch h.transport {
	case "udp":
	case "wss": // RFC 7118 §5.2.4: the parameter has one word for both
		uri += ";transport=ws"
	default:
		uri += ";transport=" + h.transport
	}
	return "<" + uri + ">"
}

// onRequest serves one request; sipgo calls it on a goroutine of its own, and
// ends the transaction when it returns.
func (s *Server) onRequest(req *sipmsg.Request, tx *sipmsg.ServerTx) {
	defer tx.TerminateGracefully()
	if !s.tasks.enter() {
		return
	}
	defer s.tasks.leave()
	defer func() {
		if p := recover(); p != nil { // a bug: this request ends, the house stands
			s.log.Error("request handler panicked", "method", req.Method, "panic", p, "stack", string(debug.Stack()))
			s.replyOnce(req, tx, 500, "Server Internal Error")
		}
	}()
	defer s.handlers.Add(-1)
	tagged := tagOf(req.To().Params) != ""
	if s.handlers.Add(1) > maxHandlers && sheds(req) {
		// RFC 7339 §5.10: new work is shed first. Within a dialog 503 would end the call (RFC 5057 §5.1); 500 does not.
		code, reason := 503, "Service Unavailable"
		if tagged {
			code, reason = 500, "Overloaded"
		}
		s.replyOnce(req, tx, code, reason, field{"Retry-After", "10"})
		return
	}
	h, ok := hopOf(req, tx)
	if !ok {
		return
	}
	switch req.Method {
	case sipmsg.INVITE, sipmsg.ACK, sipmsg.PRACK, sipmsg.UPDATE:
		unpack(req)
	}
	switch req.Method {
	case sipmsg.ACK:
		if l := s.legOf(req); l != nil {
			l.post(func() { l.acknowledged(req) })
		}
		return
	case sipmsg.CANCEL:
		s.onCancel(req, tx)
		return
	}
	// RFC 3261 §8.2.2.3: nothing that a peer may require is understood beyond what is listed here.
	if missing := unsupported(req); missing != "" {
		s.replyOnce(req, tx, 420, "Bad Extension", field{"Unsupported", missing})
		return
	}
	switch {
	case tagged && req.Method == sipmsg.SUBSCRIBE && !isReferEvent(req):
		s.events.subscribe(req, tx, h)
	case tagged && req.Method != sipmsg.REGISTER:
		if l := s.legOf(req); l != nil {
			l.serve(req, tx, h)
			return
		}
		s.replyOnce(req, tx, 481, "Call/Transaction Does Not Exist") // RFC 3261 §12.2.2
	default:
		s.onNew(req, tx, h)
	}
}

// sheds reports whether a request may be turned away in overload: those that end work never are.
func sheds(req *sipmsg.Request) bool {
	switch req.Method {
	case sipmsg.ACK, sipmsg.BYE, sipmsg.CANCEL:
		return false
	}
	return true
}

// onNew serves a request outside of dialogs, but for those that inquire answers.
func (s *Server) onNew(req *sipmsg.Request, tx *sipmsg.ServerTx, h hop) {
	switch req.Method {
	case sipmsg.INVITE:
		s.stats.invites.Add(1)
		s.onInvite(req, tx, h)
	case sipmsg.SUBSCRIBE:
		s.events.subscribe(req, tx, h)
	case sipmsg.PUBLISH:
		s.onPublish(req, tx, h)
	case sipmsg.NOTIFY:
		s.onNotify(req, tx, h)
	case sipmsg.BYE, sipmsg.UPDATE, sipmsg.INFO, sipmsg.PRACK:
		s.replyOnce(req, tx, 481, "Call/Transaction Does Not Exist")
	case sipmsg.REFER:
		s.onRefer(req, tx, h)
	case sipmsg.MESSAGE:
		s.onMessage(req, tx, h)
	default:
		s.replyOnce(req, tx, 501, "Not Implemented", field{"Allow", allow}) // RFC 3261 §8.2.1
	}
}

// understood are the option tags that a request may require.
var understood = map[string]bool{
	"path": true, "outbound": true, "timer": true, "from-change": true, "replaces": true, "norefersub": true, "100rel": true, "eventlist": true,
}

// unsupported returns the required option tags that are not understood.
func unsupported(req *sipmsg.Request) string {
	var missing []string
	for _, name := range []string{"Require", "Proxy-Require"} {
		for _, option := range headerList(req, name) {
			if !understood[strings.ToLower(option)] {
				missing = append(missing, option)
			}
		}
	}
	return strings.Join(missing, ", ")
}

// authenticated finds out who sends a request, or challenges the sender.
func (s *Server) authenticated(req *sipmsg.Request, tx *sipmsg.ServerTx, h hop) (store.Line, bool) {
	var values []string
	for _, h := range req.GetHeaders("Authorization") {
		values = append(values, h.Value())
	}
	branch, _ := req.Via().Params.Get("branch")
	line, r := s.identify(newClaim(string(req.Method), req.Recipient.String(), userOf(&req.From().Address), header(req, "User-Agent"), branch, values), h)
	if r.code != 0 {
		// Without transaction: a flood of requests that cost us a challenge each leaves nothing behind.
		s.replyOnce(req, tx, r.code, r.reason, r.fields...)
		return store.Line{}, false
	}
	return line, true
}

// answer builds an answer. All answers are made here, for the marks of the front
// reader must not leave the house.
func (s *Server) answer(req *sipmsg.Request, code int, reason string, body []byte, fields ...field) *sipmsg.Response {
	res := sipmsg.NewResponseFromRequest(req, code, reason, nil)
	s.front.restoreVia(res.Via())
	if from, err := netip.ParseAddrPort(req.Source()); err == nil && strings.EqualFold(req.Transport(), "udp") {
		res.SetDestination(listensAt(req, from).String())
	}
	for _, f := range fields {
		res.AppendHeader(sipmsg.NewHeader(f.name, f.value))
	}
	res.AppendHeader(sipmsg.NewHeader("Server", s.cfg.UserAgent))
	if len(body) > 0 {
		res.SetBody(body)
	}
	return res
}

// respond answers within the transaction: repeated requests get the answer again.
func (s *Server) respond(req *sipmsg.Request, tx *sipmsg.ServerTx, code int, reason string, fields ...field) {
	res := s.answer(req, code, reason, nil, fields...)
	if req.Method == sipmsg.BYE && s.finish(req, tx, res) {
		return
	}
	if err := tx.Respond(res); err != nil {
		s.log.Debug("answer not sent", "code", code, "error", err)
	}
}

// replyOnce answers without keeping the transaction, as a stateless server does
// (RFC 3261 §8.2.7): a repeated request is simply served again. Who asks may be
// unknown, so a datagram is answered with maxGain times its size at most.
func (s *Server) replyOnce(req *sipmsg.Request, tx *sipmsg.ServerTx, code int, reason string, fields ...field) {
	defer tx.Terminate()
	res := s.answer(req, code, reason, nil, fields...)
	if limit := limitOf(s.front.sizeOf(req), "udp"); limit > 0 && !shorten(res, limit) {
		return
	}
	if err := tx.Connection().WriteMsg(res); err != nil {
		s.log.Debug("answer not sent", "code", code, "error", err)
	}
}

// shorten takes from an answer what it can do without, until it fits.
func shorten(res *sipmsg.Response, limit int) bool {
	for _, name := range []string{"", "Server", "Accept", "Allow", "Allow-Events", "WWW-Authenticate"} {
		switch all := res.GetHeaders(name); {
		case name == "WWW-Authenticate" && len(all) > 1:
			last := all[len(all)-1] // what every phone understands
			for range all {
				res.RemoveHeader(name)
			}
			res.AppendHeader(last)
		case name != "" && name != "WWW-Authenticate":
			res.RemoveHeader(name)
		}
		if len(res.String()) <= limit {
			return true
		}
	}
	return false
}

// request finishes a request of ours for its way: Via, User-Agent, and the connection.
func (s *Server) request(req *sipmsg.Request, h hop, branch string) {
	host, port := s.host(h)
	v := &sipmsg.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(h.transport), Host: host, Port: port}
	v.Params.Add("rport", "") // RFC 3581 §3
	v.Params.Add("branch", branch)
	req.PrependHeader(v)
	req.AppendHeader(sipmsg.NewHeader("User-Agent", s.cfg.UserAgent))
	s.steer(req, h)
}

// steer makes a request leave by the listener that the peer knows, to where the peer is.
func (s *Server) steer(req *sipmsg.Request, h hop) {
	if h.transport == "udp" {
		req.SetTransport("UDP")
		req.SetDestination(h.remote.String())
		req.Laddr = sipmsg.Addr{IP: net.IP(h.local.Addr().AsSlice()), Port: int(h.local.Port())}
		return
	}
	// All streams are one transport to sipgo, whatever is said in Via; and it is
	// never told a local address, for it would take any connection that has it.
	req.SetTransport("TCP")
	req.SetDestination(gone)
	if f := s.flows.find(h); f != nil {
		req.SetDestination(f.name.String())
	}
}

// gone is the name of a flow that is no more: sipgo cannot open one (noDialer).
const gone = "[100::]:5060"

// newBranch makes the key of a transaction of ours.
func newBranch() string { return cookie + token() }
