package sip

import (
	"strconv"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// dialog is the state of RFC 3261 §12: who, in which order, and where to.
type dialog struct {
	local, remote string // From and To of our requests, without tags
	remoteTag     string
	localSeq      uint32
	remoteSeq     uint32
	heard         bool   // remoteSeq is set
	target        string // Contact of the peer
	routes        []string
}

// draft starts a request of ours in a dialog of the leg.
func (l *Leg) draft(d *dialog, method sipmsg.RequestMethod, seq uint32) *sipmsg.Request {
	to := d.remote
	if d.remoteTag != "" {
		to += ";tag=" + d.remoteTag
	}
	req := draftRequest(method, d.target, d.routes, l.s)
	req.AppendHeader(sipmsg.NewHeader("From", d.local+";tag="+l.localTag))
	req.AppendHeader(sipmsg.NewHeader("To", to))
	callID := sipmsg.CallIDHeader(l.callID)
	req.AppendHeader(&callID)
	req.AppendHeader(&sipmsg.CSeqHeader{SeqNo: seq, MethodName: method})
	return req
}

// draftRequest starts a request to a target along a route set (RFC 3261 §12.2.1.1).
func draftRequest(method sipmsg.RequestMethod, target string, routes []string, s *Server) *sipmsg.Request {
	if len(routes) > 0 {
		if a, ok := parseAddress(routes[0]); ok {
			if u, ok := parseURI(a.uri); ok && !u.UriParams.Has("lr") {
				// A strict router wants its own address in the request line.
				routes = append(append([]string(nil), routes[1:]...), "<"+target+">")
				u.Headers = nil
				target = u.String()
			}
		}
	}
	uri, _ := parseURI(target)
	req := sipmsg.NewRequest(method, uri)
	for _, r := range routes {
		req.AppendHeader(sipmsg.NewHeader("Route", r))
	}
	maxForwards := sipmsg.MaxForwardsHeader(70)
	req.AppendHeader(&maxForwards)
	return req
}

// next numbers and finishes a request of ours.
func (l *Leg) next(method sipmsg.RequestMethod) *sipmsg.Request {
	l.reroute()
	req := l.draft(&l.dialog, method, l.seq.Add(1))
	l.s.request(req, l.hop, newBranch())
	return req
}

// reroute looks for another way to a phone whose connection broke: it has
// registered anew over another one.
func (l *Leg) reroute() {
	if l.trunk.ID != "" {
		l.reconnect()
		return
	}
	if l.hop.transport == "udp" || l.s.flows.find(l.hop) != nil {
		return
	}
	_, bindings, _ := l.s.registrar.line(l.line.ID)
	for _, b := range bindings {
		if h, ok := l.s.route(b); ok {
			l.hop = h
			return
		}
	}
}

// contactOf returns the target that a message names, or "".
func contactOf(m sipmsg.Message) string {
	for _, item := range headerList(m, "Contact") {
		if a, ok := parseAddress(item); ok {
			if _, ok := parseURI(a.uri); ok {
				return a.uri
			}
		}
	}
	return ""
}

// recordedRoutes returns the route set that a message recorded: in order for the
// callee, reversed for the caller (RFC 3261 §12.1).
func recordedRoutes(m sipmsg.Message, reversed bool) []string {
	all := headerList(m, "Record-Route")
	if len(all) > 20 {
		all = all[:20]
	}
	if reversed {
		for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
			all[i], all[j] = all[j], all[i]
		}
	}
	return all
}

// refresh takes the peer's new address from a target refresh (RFC 3261 §12.2.2).
func (d *dialog) refresh(m sipmsg.Message) {
	if c := contactOf(m); c != "" {
		d.target = c
	}
}

// nameAddr writes an identity as address without tag.
func nameAddr(id Identity, host string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	s := "<sip:" + escapeUser(clip(id.User, 64)) + "@" + host + ">"
	if id.User == "" {
		s = "<sip:anonymous@" + host + ">"
	}
	if id.Display != "" {
		return quote(clip(id.Display, 80)) + " " + s
	}
	return s
}

// isSDP reports whether a message carries a session description.
func isSDP(m sipmsg.Message) bool {
	if len(m.Body()) == 0 {
		return false
	}
	kind, _, _ := strings.Cut(header(m, "Content-Type"), ";")
	return strings.EqualFold(trim(kind), "application/sdp")
}

// describe puts a session description into a message of ours.
func describe(m sipmsg.Message, sdp []byte) {
	m.AppendHeader(sipmsg.NewHeader("Content-Type", "application/sdp"))
	m.SetBody(sdp)
}

// reasonText returns what a Reason header of the peer says (RFC 3326), as far as it can be shown.
func reasonText(m sipmsg.Message) string {
	for _, item := range headerList(m, "Reason") {
		_, rest, _ := cutOutside(item, ';')
		ps, ok := parseParams(rest)
		if !ok {
			continue
		}
		if text, has := ps.get("text"); has {
			text, _ = unquote(text)
			return clip(text, 80)
		}
		if cause, has := ps.get("cause"); has {
			return "cause " + clip(cause, 10)
		}
	}
	return ""
}

// completedElsewhere reports whether a CANCEL says that another phone answered.
func completedElsewhere(m sipmsg.Message) bool {
	for _, item := range headerList(m, "Reason") {
		proto, rest, _ := cutOutside(item, ';')
		ps, _ := parseParams(rest)
		if cause, _ := ps.get("cause"); strings.EqualFold(trim(proto), "SIP") && cause == "200" {
			return true
		}
	}
	return false
}

// q850 maps SIP statuses to causes (RFC 3398 §8.2.6.1); 16 is normal clearing.
var q850 = map[int]int{
	0: 16, 401: 21, 403: 21, 404: 1, 408: 102, 410: 22, 480: 18, 484: 28, 486: 17, 488: 88, 500: 41, 503: 41, 504: 102, 600: 17, 603: 21, 604: 1,
}

// reasonFields says why we end a call (RFC 3326, RFC 6432).
func reasonFields(c Cause) []field {
	var all []field
	switch {
	case c.Elsewhere:
		return []field{{"Reason", `SIP;cause=200;text="Call completed elsewhere"`}}
	case c.Code >= 300:
		text := "SIP;cause=" + strconv.Itoa(c.Code)
		if c.Reason != "" {
			text += ";text=" + quote(clip(c.Reason, 80))
		}
		all = append(all, field{"Reason", text})
	}
	return append(all, c.q850()...)
}

// q850 says why in the words of telephone networks: what was told, or what fits best.
func (c Cause) q850() []field {
	cause := c.Q850
	if cause == 0 {
		cause = q850[c.Code]
	}
	if cause == 0 {
		return nil
	}
	return []field{{"Reason", "Q.850;cause=" + strconv.Itoa(cause)}}
}

// q850Of returns the cause of a telephone network that a message tells (RFC 3326 §2); 0 if none.
func q850Of(m sipmsg.Message) int {
	for _, item := range headerList(m, "Reason") {
		proto, rest, _ := cutOutside(item, ';')
		ps, _ := parseParams(rest)
		text, _ := ps.get("cause")
		if n, err := strconv.Atoi(text); err == nil && n > 0 && n < 128 && strings.EqualFold(trim(proto), "Q.850") {
			return n
		}
	}
	return 0
}
