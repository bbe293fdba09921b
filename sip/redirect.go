package sip

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// Redirection is what a phone answers that sends its caller elsewhere, as its divert key does (RFC 3261 §21.3).
type Redirection struct {
	To     string // whom to dial: the user of the address, or the number of a tel URI. Where that leads is for the house to say
	Reason string // of the Diversion that came along: "user-busy", "no-answer" and so on; empty: none did
}

const (
	maxContacts = 8 // of a redirection that are looked at
	maxMoves    = 5 // how often a carrier may send one call on
)

// moves reports whether a status names other addresses. 305 wants a proxy of the callee's choice and 380 another
// service: neither is followed.
func moves(code int) bool { return code == 300 || code == 301 || code == 302 }

// moved is one address of a redirection.
type moved struct {
	uri string // without headers
	q   int    // in thousandths
}

// movedTo reads where an answer redirects to, the most wanted first (RFC 3261 §8.1.3.4).
func movedTo(res *sipmsg.Response) []moved {
	if !moves(res.StatusCode) {
		return nil
	}
	var all []moved
	for _, item := range headerList(res, "Contact") {
		a, ok := parseAddress(item)
		if !ok || len(a.uri) > 1024 || len(all) == maxContacts {
			continue
		}
		uri, _, _ := strings.Cut(a.uri, "?") // RFC 3261 §19.1.5: what the request should carry is for us to decide
		all = append(all, moved{uri, qOf(a.params)})
	}
	slices.SortStableFunc(all, func(a, b moved) int { return cmp.Compare(b.q, a.q) })
	return all
}

// qOf is the q of a Contact in thousandths (RFC 3261 §20.10); what cannot be read counts as none, which is 1.
func qOf(p params) int {
	text, _ := p.get("q")
	whole, rest, _ := strings.Cut(trim(text), ".")
	if whole != "0" || len(rest) > 3 || strings.Trim(rest, "0123456789") != "" {
		return 1000
	}
	n := 0
	for _, digit := range (rest + "000")[:3] {
		n = 10*n + int(digit-'0')
	}
	return n
}

// redirection reads where a phone sends its caller; nil if nowhere.
func redirection(res *sipmsg.Response) *Redirection {
	for _, m := range movedTo(res) {
		t, bad := parseReferTo("<" + m.uri + ">")
		if bad != nil || t.To == "" {
			continue
		}
		r := &Redirection{To: t.To}
		if told := headerList(res, "Diversion"); len(told) > 0 { // RFC 5806 §4.2: the latest is the topmost
			a, _ := parseAddress(told[0])
			reason, _ := a.params.get("reason")
			if text, quoted := unquote(reason); quoted {
				reason = text
			}
			reason = strings.ToLower(reason)
			if slices.ContainsFunc(diversionReasons, func(known string) bool { return known == reason }) {
				r.Reason = reason
			}
		}
		return r
	}
	return nil
}

// diversionReasons are those that a phone may give: causes has more, which it cannot mean.
var diversionReasons = []string{"unconditional", "user-busy", "no-answer", "unavailable", "deflection", "time-of-day", "do-not-disturb", "follow-me", "out-of-service", "away"}

// redirected follows a carrier that redirects a call to another place of its own, and reports whether it does. Only a
// trusted one is followed, a few times, and never to strangers: the call is on our bill.
func (l *Leg) redirected(res *sipmsg.Response) bool {
	c := l.course
	if c == nil || !moves(res.StatusCode) || l.state == over || l.wantCancel || !l.trunk.TrustIdentity {
		return false
	}
	c.been = append(c.been, l.dialog.target)
	if len(c.been) > maxMoves {
		return false
	}
	for _, m := range movedTo(res) {
		u, ok := parseURI(m.uri)
		if !ok || u.Scheme != "sip" || slices.Contains(c.been, m.uri) || !c.t.owns(&u) {
			continue // RFC 3261 §8.1.3.4: no address is tried twice
		}
		l.log.Info("carrier redirected the call", "call_id", l.callID, "to", clip(m.uri, 120))
		l.dialog.target = m.uri // To, From and Call-ID stay: RFC 3261 §8.1.3.4
		l.state = calling
		row := l.trunk
		l.s.tasks.Go(func() {
			all, err := c.t.movedTargets(l, row, &u)
			l.post(func() { l.setOut(all, err) })
		})
		return true
	}
	return false
}

// owns reports whether an address is of the carrier itself.
func (t *trunk) owns(u *sipmsg.Uri) bool {
	host := strings.Trim(u.Host, "[]")
	t.mu.Lock()
	defer t.mu.Unlock()
	proxy, _, _ := nextHop(t.row)
	for _, name := range []string{t.row.Host, proxy, t.row.FromDomain} {
		if strings.EqualFold(name, host) {
			return true
		}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	addr = addr.Unmap()
	return slices.ContainsFunc(t.places, func(p target) bool { return p.addr.Addr() == addr }) ||
		slices.ContainsFunc(t.networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// movedTargets are the places of an address of the carrier.
func (t *trunk) movedTargets(l *Leg, row store.Trunk, u *sipmsg.Uri) ([]target, error) {
	addr, err := netip.ParseAddr(strings.Trim(u.Host, "[]"))
	if err != nil || row.OutboundProxy != "" {
		return t.targets(l.s.ctx, row)
	}
	return l.s.locate(l.s.ctx, addr.String(), u.Port, row.Transport)
}

// divertedFields tell a phone who sent the call on to it (RFC 5806).
func divertedFields(host string, all []Diversion) []field {
	if len(all) == 0 {
		return nil
	}
	return forwarded(store.Trunk{Host: host, Diversion: "diversion"}, "", all)
}

// Forwarded tells the caller that the call goes on to somebody else: 181 (RFC 3261 §21.1.3).
func (l *Leg) Forwarded() error {
	var err error
	if !l.ask(func() {
		if !l.uas || l.state != ringing || l.taking != nil {
			err = ErrState
			return
		}
		if _, must := l.mayRely(); must || l.unproven != nil {
			return // it is good to know, and not worth a PRACK
		}
		res := l.s.answer(l.invite, 181, "Call Is Being Forwarded", nil, l.fields()...)
		res.SetBody(nil)
		err = l.inviteTx.Respond(res)
	}) {
		return ErrOver
	}
	return err
}
