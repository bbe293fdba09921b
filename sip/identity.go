package sip

import (
	"context"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Present tells the peer whom it talks to from now on, as after a pickup or a
// transfer (RFC 4916): by UPDATE, or by a re-INVITE that changes nothing else
// where the peer knows no UPDATE. Before an incoming call is answered the next
// 18x and the 200 say it. It returns when the peer has heard it. A peer that
// does not want to know is no error, and an identity that it was told already
// is not told again.
func (l *Leg) Present(ctx context.Context, who Identity) error {
	r := &renegotiator{ctx: ctx, result: make(chan error, 1), who: &who}
	if !l.ask(func() { l.present(r) }) {
		return ErrOver
	}
	return l.settled(ctx, r)
}

// present takes a wish to tell the peer who is there.
func (l *Leg) present(r *renegotiator) {
	switch {
	case l.state == over:
		r.done(ErrOver)
	case l.uas && l.state == ringing:
		l.shown = *r.who
		r.done(nil)
	case l.state == confirmed:
		l.renegotiate(r)
	case !l.uas && l.state == ringing:
		later := &renegotiator{ctx: l.s.ctx, result: make(chan error, 1), who: r.who}
		l.enqueue(later) // for phones that are not told now
		l.presentEarly()
		r.done(nil)
	default:
		l.enqueue(r) // told as soon as the call is up
	}
}

// presentEarly tells the phones that ring and take UPDATE (RFC 3311 §5.1) who
// calls them now.
func (l *Leg) presentEarly() {
	var who *Identity
	for _, r := range l.queued {
		if r.who != nil {
			who = r.who
		}
	}
	if who == nil {
		return
	}
	for _, f := range l.forks {
		if !f.updates || f.shown == *who {
			continue
		}
		f.shown = *who
		req := l.draft(&f.dialog, sipmsg.UPDATE, l.seq.Add(1))
		for _, h := range append(l.fields(), l.identify(*who)...) {
			req.AppendHeader(sipmsg.NewHeader(h.name, h.value))
		}
		req.SetBody(nil)
		l.s.request(req, l.hop, newBranch())
		tx, err := l.s.send(l.s.ctx, req)
		if err != nil {
			l.log.Debug("update not sent", "error", err)
			continue
		}
		l.watch(tx, func(*sipmsg.Response) {}) // a refusal is no harm
	}
}

// announced reports whether the peer knows already what r would tell it.
func (l *Leg) announced(r *renegotiator) bool { return r.who != nil && *r.who == l.shown }

// become takes the identity of a wish, if it has one, before its request is drafted.
func (l *Leg) become(r *renegotiator) {
	if r.who == nil {
		return
	}
	l.shown = *r.who
	if l.fromChange && l.trunk.ID == "" {
		// RFC 4916 §4.4.1: only a peer that said so takes another From for the same dialog.
		host, _ := l.s.host(l.hop)
		l.dialog.local = nameAddr(l.shown, host)
	}
}

// supports notes what the peer said of itself; each message of a dialog may.
func (l *Leg) supports(m sipmsg.Message) {
	l.session.update = allows(m, "UPDATE") || l.session.update
	l.fromChange = hasOption(m, "Supported", "from-change") || l.fromChange
}

// identity is who we are to this peer, for phones that read it: RFC 3325, and
// Remote-Party-ID of those that came before it.
func (l *Leg) identity() []field { return l.identify(l.shown) }

func (l *Leg) identify(who Identity) []field {
	if l.trunk.ID != "" {
		return l.shownToCarrier(who)
	}
	if who == (Identity{}) {
		return nil
	}
	host, _ := l.s.host(l.hop)
	address := nameAddr(who, host)
	party := "called"
	if !l.uas {
		party = "calling"
	}
	return []field{
		{"P-Asserted-Identity", address},
		{"Remote-Party-ID", address + ";party=" + party + ";privacy=off;screen=yes"},
	}
}
