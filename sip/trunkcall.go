package sip

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// from finds the trunk that a request came from, or nil. A carrier is known by
// address and port (of a stream: by address and transport), by a network that the
// administrator named, or by the Contact that we registered and nobody can guess.
// Nothing else that a request says of itself makes it a trunk's; it only chooses
// between several trunks of one carrier.
func (ts *trunks) from(req *sipmsg.Request, h hop) *trunk {
	source := h.remote
	if h.transport == "udp" { // h has where to answer, which the sender may choose
		var err error
		if source, err = netip.ParseAddrPort(req.Source()); err != nil {
			return nil
		}
		source = unmapped(source)
	}
	to, _, _ := identityOf(req.To().Value())
	var best *trunk
	most := 0
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.byID {
		rank := t.rank(source, h.transport, userOf(&req.Recipient), to.User, req.From().Address.Host)
		if rank > most || rank > 0 && rank == most && t.id < best.id {
			best, most = t, rank
		}
	}
	if most < rankPlace && (ts.s.guard.isPhone(source) || ts.s.isLine(userOf(&req.From().Address))) {
		return nil // it lives in a network of the carrier, perhaps of another account's, and is a phone of ours all the same
	}
	return best
}

// isLine reports whether a user name is that of a device. Nobody guesses one: who names it shall prove that it is theirs.
func (s *Server) isLine(username string) bool {
	_, ok := s.dir.Line(username)
	return ok
}

// How surely a request is of a trunk: because of the network it came from, the address that opened the connection, the
// address and port, the Contact.
const (
	rankNetwork = 100
	rankPlace   = 300
	rankExact   = 400
	rankContact = 500
)

// rank tells how surely a request of this source is of the trunk; 0: it is not.
func (t *trunk) rank(source netip.AddrPort, transport, user, to, domain string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.row.Transport == "tls" && transport != "tls" {
		return 0 // nothing in the clear is of a trunk that is secured
	}
	rank := 0
	for _, p := range t.places {
		switch {
		case p.transport == transport && p.addr == source:
			rank = max(rank, rankExact)
		case transport != "udp" && p.transport == transport && p.addr.Addr() == source.Addr():
			rank = max(rank, rankPlace) // it opened the connection, from any port
		}
	}
	for _, network := range t.networks {
		if network.Contains(source.Addr()) {
			rank = max(rank, rankNetwork+network.Bits())
		}
	}
	if t.row.Register && t.status.Registered && user == t.contact {
		rank = max(rank, rankContact)
	}
	if rank > 0 && t.row.Username != "" && (user == t.row.Username || to == t.row.Username) {
		rank += 10
	}
	if rank > 0 && strings.EqualFold(domain, domainOf(t.row)) {
		rank++
	}
	return rank
}

// callers are all who may call with credentials: lines, and the carriers that
// prove who they are instead of being known by their address.
type callers struct {
	Directory
	trunks Trunks
}

// Line returns the line of a user name, or that of a trunk dressed as one; see ofTrunk.
func (c callers) Line(username string) (store.Line, bool) {
	if l, ok := c.Directory.Line(username); ok || c.trunks == nil {
		return l, ok
	}
	for _, t := range c.trunks.Trunks() {
		if t.Enabled && !t.Register && t.Username == username && t.Password != "" {
			return store.Line{ID: t.ID, AccountID: t.AccountID, Username: username, Password: t.Password}, true
		}
	}
	return store.Line{}, false
}

// ofTrunk reports whether a line is a trunk in truth.
func ofTrunk(l store.Line) bool { return strings.HasPrefix(string(l.ID), "trk_") }

// takes reports whether calls of a trunk may come over a transport.
func (t *trunk) takes(transport string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.row.Transport != "tls" || transport == "tls"
}

// arrived makes an incoming leg one of a trunk; false: the trunk has no room for it.
func (l *Leg) arrived(t *trunk, req *sipmsg.Request) bool {
	row, release, ok := t.reserve(true, false)
	if !ok {
		return false
	}
	l.trunk, l.release = row, release
	l.self = t.contactUser()
	l.dialed = calledNumber(req, row, l.self)
	l.caller, _, _ = identityOf(req.From().Value())
	l.asserted, l.anonymous = assertedBy(req, row.TrustIdentity)
	l.diverted = divertedBy(req)
	if row.TrustVerstat {
		l.verified = verifiedBy(req)
	}
	return true
}

func (t *trunk) contactUser() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.contact
}

// calledNumber is what was called: the user of the Request-URI, unless that only
// names us. Then P-Called-Party-ID (RFC 7315 §4.2) has it, or To.
func calledNumber(req *sipmsg.Request, row store.Trunk, contact string) string {
	user := userOf(&req.Recipient)
	if user != "" && user != contact && (user != row.Username || !row.Register) {
		return user
	}
	if id, _, ok := identityOf(header(req, "P-Called-Party-ID")); ok {
		return id.User
	}
	if id, _, ok := identityOf(req.To().Value()); ok {
		return id.User
	}
	return user
}

// course is the way of an outgoing call over a trunk: from one place of the carrier to the next.
type course struct {
	t     *trunk
	offer []byte
	rest  []target
	at    target
	turn  int   // counts the places that were tried
	sent  int   // the turn of the latest INVITE
	heard int   // the turn of the latest answer
	why   Cause // the latest failure
	old   map[int]*attempt
	been  []string // the addresses that redirected the call
}

// attempt is an INVITE that was left for another place and may still be answered.
type attempt struct {
	req       *sipmsg.Request
	tx        *sipmsg.ClientTx
	hop       hop
	cancelled bool
}

// inviteTrunk places a call over a trunk. The search for the carrier's places goes on after it returned.
func (s *Server) inviteTrunk(o Outgoing) (*Leg, error) {
	t := s.trunks.find(o.Trunk)
	if t == nil {
		return nil, fmt.Errorf("invite %s: %w", o.Trunk, ErrNoTrunk)
	}
	row, release, ok := t.reserve(false, o.Emergency)
	if !ok {
		return nil, fmt.Errorf("invite %s: %w", o.Trunk, ErrTrunkFull)
	}
	var offer []byte
	if !o.Late {
		var err error
		if offer, err = o.Sound.Offer(); err != nil {
			release()
			return nil, fmt.Errorf("invite %s: offer: %w", o.Trunk, err)
		}
	}
	l := s.newLeg(hop{})
	l.near, _ = s.TrunkLocal(o.Trunk)
	l.log = s.log.With("call", o.Call, "trunk", o.Trunk)
	l.trunk, l.release, l.anonymous = row, release, o.Presented.Anonymous
	l.caller, l.self, l.shown = o.From, t.contactUser(), o.From
	l.callID = token() + token()
	l.sound, l.lateOffer = o.Sound, o.Late
	l.maxForwards = o.MaxForwards
	if l.maxForwards <= 0 || l.maxForwards > 255 {
		l.maxForwards = 70
	}
	callee := sipmsg.Uri{Scheme: "sip", User: escapeUser(clip(o.Number, 64)), Host: bracketed(row.Host), Port: row.Port}
	l.dialog = dialog{
		local:  ourAddress(row, o.From, o.Presented),
		remote: "<" + callee.String() + ">",
		target: callee.String(), routes: preloaded(row),
	}
	l.extra = append(presented(row, o.From, o.Presented), forwarded(row, o.Number, o.Diverted)...)
	if row.TrustIdentity {
		for _, identity := range o.Carried.identities {
			l.extra = append(l.extra, field{"Identity", identity})
		}
	}
	l.course = &course{t: t, offer: offer, old: make(map[int]*attempt)}
	l.Trace(o.Call)
	if !s.join(l) {
		release()
		return nil, fmt.Errorf("invite %s: %w", o.Trunk, errClosed)
	}
	s.tasks.Go(l.loop)
	s.tasks.Go(func() {
		targets, err := t.targets(s.ctx, row)
		l.post(func() { l.setOut(targets, err) })
	})
	return l, nil
}

// setOut starts the INVITE on its way once the places are known.
func (l *Leg) setOut(targets []target, err error) {
	if l.state == over {
		return
	}
	if err != nil {
		l.course.why = Cause{Code: 503, Reason: rootOf(err)}
	}
	l.course.rest = targets
	l.tryNext()
}

// tryNext sends the INVITE to the next place (RFC 3263 §4.3): within four
// seconds one must answer, be it only by 100.
func (l *Leg) tryNext() {
	c := l.course
	if l.state == over {
		return
	}
	if len(c.rest) == 0 {
		if c.why.Code == 0 {
			c.why = Cause{Code: 503, Reason: errNoTarget.Error()}
		}
		c.t.callResult(target{}, false, c.why.Reason)
		l.end(c.why)
		return
	}
	to := c.rest[0]
	c.rest, c.at = c.rest[1:], to
	c.turn++
	turn := c.turn
	l.after(targetTime, func() { l.silent(turn) })
	if to.transport == "udp" {
		h, err := l.s.reach(l.s.ctx, to)
		l.reached(turn, h, err)
		return
	}
	l.s.tasks.Go(func() {
		ctx, stop := context.WithTimeout(l.s.ctx, targetTime)
		defer stop()
		h, err := l.s.reach(ctx, to)
		l.post(func() { l.reached(turn, h, err) })
	})
}

// reached sends the INVITE over the way to its place.
func (l *Leg) reached(turn int, h hop, err error) {
	c := l.course
	if turn != c.turn || l.state == over {
		return
	}
	if err == nil {
		l.mu.Lock()
		l.near, l.far = h.local.Addr(), h.remote.Addr()
		l.mu.Unlock()
		l.hop = h
		err = l.dial(l.s.ctx, c.offer)
	}
	if err != nil {
		c.t.failed(c.at, downTime)
		c.why = Cause{Code: 503, Reason: rootOf(err)}
		l.tryNext()
		return
	}
	c.sent = turn
}

// silent leaves a place that gave no answer, if there is another one. What it
// may still answer is dealt with by straggled.
func (l *Leg) silent(turn int) {
	c := l.course
	if turn != c.turn || turn == c.heard {
		return
	}
	c.t.failed(c.at, downTime)
	if l.state != calling {
		return // given up by the house meanwhile
	}
	c.why = Cause{Code: 408, Reason: errSilent.Error()}
	if len(c.rest) == 0 && c.sent == turn {
		c.t.callResult(c.at, false, errSilent.Error())
		return // until Timer B, or until the house loses patience
	}
	if c.sent == turn {
		c.old[l.dials] = &attempt{req: l.outgoing, tx: l.outgoingTx, hop: l.hop}
	}
	l.tryNext()
}

// answeredBy takes an answer to the n-th INVITE of this leg.
func (l *Leg) answeredBy(n int, res *sipmsg.Response) {
	if l.course != nil {
		if a := l.course.old[n]; a != nil {
			l.straggled(a, res)
			return
		}
		if res != nil {
			l.course.heard = l.course.turn
		}
		if l.elsewhere(res) {
			return
		}
	}
	l.progressed(res)
}

// elsewhere goes on to the next place where an answer asks for that: 503, a
// broken transport, silence until Timer B. It reports whether it did.
func (l *Leg) elsewhere(res *sipmsg.Response) bool {
	c := l.course
	switch {
	case res == nil && l.state == calling:
		c.t.failed(c.at, downTime)
		c.why = Cause{Code: 408, Reason: errSilent.Error()}
	case res != nil && res.StatusCode == 503:
		c.t.failed(c.at, downFor(res))
		c.why = Cause{Code: 503, Reason: clip(res.Reason, 80), Remote: true}
	case res != nil:
		c.t.worked(c.at)
		c.t.callResult(c.at, true, "")
		return false
	default:
		return false
	}
	if len(c.rest) == 0 {
		c.t.callResult(c.at, false, cmp.Or(c.why.Reason, "503"))
		return false
	}
	if l.state == over || l.wantCancel {
		return false
	}
	l.state = calling
	l.tryNext()
	return true
}

// straggled ends what a place makes of an INVITE that was left for another place.
func (l *Leg) straggled(a *attempt, res *sipmsg.Response) {
	switch {
	case res == nil || res.StatusCode >= 300: // sipgo has sent the ACK
	case res.StatusCode >= 200:
		l.decline(res, tagOf(res.To().Params), a.req, a.hop) // RFC 3261 §13.2.2.4
	case !a.cancelled:
		a.cancelled = true
		l.cancelBeside(a)
	}
}

// cancelBeside cancels an INVITE that is not the leg's any more.
func (l *Leg) cancelBeside(a *attempt) {
	req, tx, h, sent, why := l.outgoing, l.outgoingTx, l.hop, l.sentCancel, l.cancelWhy
	l.outgoing, l.outgoingTx, l.hop, l.cancelWhy = a.req, a.tx, a.hop, Cause{}
	l.sendCancel()
	l.outgoing, l.outgoingTx, l.hop, l.sentCancel, l.cancelWhy = req, tx, h, sent, why
}

// challenged sends a request to a carrier again with the credentials that it
// asked for; false: the answer stands. Every request of a leg may be challenged.
func (l *Leg) challenged(tx *sipmsg.ClientTx, res *sipmsg.Response, refusals int, on func(*sipmsg.Response)) bool {
	if l.trunk.ID == "" || res == nil {
		return false
	}
	req := tx.Origin()
	first := tx == l.outgoingTx
	if req.Method == sipmsg.INVITE && (first && (l.state == over || l.wantCancel) || !first && (l.changing == nil || l.changing.req != req)) {
		return false
	}
	again, ok := l.s.answered(req, res, l.trunk, refusals)
	if !ok {
		return false
	}
	again.CSeq().SeqNo = l.seq.Add(1)
	next, err := l.s.send(l.s.ctx, l.s.resent(again, l.hop))
	if err != nil {
		l.log.Debug("request not repeated", "method", string(req.Method), "error", err)
		return false
	}
	if first {
		l.outgoing, l.outgoingTx = again, next
	}
	if l.changing != nil && l.changing.req == req {
		l.changing.req = again
	}
	if req.Method == sipmsg.INVITE {
		h := l.hop
		next.OnRetransmission(func(res *sipmsg.Response) { l.repeated(res, again, h) })
	}
	l.watchAgain(next, refusals+1, on)
	return true
}

// reach returns the way to a place.
func (s *Server) reach(ctx context.Context, to target) (hop, error) {
	return s.connect(ctx, to.transport, to.addr, to.name)
}

// speaks reports whether requests can be sent over a transport.
func (s *Server) speaks(transport string) bool {
	if transport != "udp" {
		return len(s.cfg.TCP) > 0
	}
	return len(s.cfg.UDP) > 0
}

// hasFamily reports whether something listens on IPv4, or on IPv6.
func (s *Server) hasFamily(v4 bool) bool {
	for _, l := range s.Listeners() {
		if l.Addr.Addr().Is4() == v4 {
			return true
		}
	}
	return false
}

// localTowards is our address towards a place.
func (s *Server) localTowards(to target) (netip.AddrPort, error) {
	if !to.addr.IsValid() {
		all := s.Listeners()
		for _, l := range all {
			if !l.Addr.Addr().IsLoopback() {
				return l.Addr, nil
			}
		}
		if len(all) > 0 {
			return all[0].Addr, nil
		}
		return netip.AddrPort{}, errNoListener
	}
	return s.localFor(cmp.Or(to.transport, "udp"), to.addr.Addr())
}

// keepOpen sends what keeps the binding of a NAT, and a connection, alive
// (RFC 5626 §4.4.1; empty lines are no message on UDP either).
func (s *Server) keepOpen(h hop) {
	ping := []byte("\r\n\r\n")
	if h.transport != "udp" {
		if f := s.flows.find(h); f != nil {
			f.Write(ping)
		}
		return
	}
	s.sockets.mu.RLock()
	defer s.sockets.mu.RUnlock()
	for _, l := range s.sockets.packets {
		if l.local == h.local {
			l.conn.WriteTo(ping, net.UDPAddrFromAddrPort(h.remote)) // the next registration shows whether it helped
			return
		}
	}
}

// reconnect finds the way to a carrier again whose connection broke. Only this leg waits for it.
func (l *Leg) reconnect() {
	if l.hop.transport == "udp" || l.s.flows.find(l.hop) != nil {
		return
	}
	t := l.s.trunks.find(l.trunk.ID)
	if t == nil {
		return
	}
	t.mu.Lock()
	places := t.places
	t.mu.Unlock()
	ctx, stop := context.WithTimeout(l.s.ctx, partingTime)
	defer stop()
	for _, to := range places {
		if to.transport != l.hop.transport || to.addr.Addr() != l.hop.remote.Addr() {
			continue
		}
		if h, err := l.s.reach(ctx, to); err == nil {
			l.hop = h
			return
		}
	}
}
