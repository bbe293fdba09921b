package sip

import (
	"strconv"
	"strings"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Ask is what a peer asks of the house within a call.
type Ask interface{ ask() }

// Transfer is a REFER: the peer of a leg wants the other side of its call to
// talk to somebody else (RFC 3515, RFC 5589). It was accepted; what becomes of
// it is told by Progress and, at last, Done.
type Transfer struct {
	To         string    // whom to dial: the user part of Refer-To, or the number of a tel URI
	Replaces   *DialogID // of the call that the other side is to take over, as an attended transfer wants
	EarlyOnly  bool      // and only if that was not answered yet
	ReferredBy string    // who claims to refer (RFC 3892); shown, never trusted

	l       *Leg
	id      uint32 // RFC 3515 §2.4.6: several transfers of one dialog are told apart by the CSeq of their REFER
	expires time.Time

	mu     sync.Mutex
	news   []string // status lines that wait to be sent
	latest string   // of them, also when it was told already
	final  bool     // the last of news is the outcome
	moved  bool     // and it is good

	// What follows belongs to the loop of the leg.
	open    bool // the subscription lives
	sending bool // a NOTIFY waits for its answer
	timer   *time.Timer
}

func (*Transfer) ask() {}

const (
	maxTransfers     = 4               // of one leg at one time
	maxTransferNews  = 16              // of one transfer that wait to be sent
	transferPatience = 5 * time.Minute // until a subscription of RFC 3515 ends by itself
	transferLinger   = 2 * time.Second // that the one who transferred has for a BYE of its own
)

// Progress tells the one who asked how far it came: 180 while the target rings.
func (t *Transfer) Progress(code int, reason string) { t.tell(code, reason, false) }

// Done tells the outcome. Only the first counts.
func (t *Transfer) Done(code int, reason string) { t.tell(code, reason, true) }

func (t *Transfer) tell(code int, reason string, final bool) {
	line := "SIP/2.0 " + strconv.Itoa(code) + " " + reason
	t.mu.Lock()
	skip := t.final || !final && (len(t.news) >= maxTransferNews || t.latest == line)
	if !skip {
		t.news, t.latest = append(t.news, line), line
		t.final = final
		t.moved = final && code < 300
	}
	t.mu.Unlock()
	if !skip && t.l != nil {
		t.l.s.tasks.Go(func() { t.l.post(t.flush) })
	}
}

// next takes the next status line; last says that no more can come.
func (t *Transfer) next() (line string, last, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.news) == 0 {
		return "", false, false
	}
	line, t.news = t.news[0], t.news[1:]
	return line, t.final && len(t.news) == 0, true
}

// succeeded reports whether the house moved the call.
func (t *Transfer) succeeded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.moved
}

// referred serves a REFER within the dialog.
func (l *Leg) referred(req *sipmsg.Request, tx *sipmsg.ServerTx, h hop, served func()) {
	respond := func(code int, reason string, fields ...field) {
		l.s.respond(req, tx, code, reason, fields...)
		served()
	}
	if l.state != ringing && l.state != answered && l.state != confirmed {
		respond(481, "Call/Transaction Does Not Exist")
		return
	}
	if l.line.ID == "" {
		respond(403, "Forbidden") // a trunk does not send our calls elsewhere
		return
	}
	if h.remote.Addr() != l.far {
		// Not from where the dialog began: whoever it is must show that it is the same line.
		line, ok := l.s.authenticated(req, tx, h)
		if !ok {
			served()
			return
		}
		if line.ID != l.line.ID {
			respond(403, "Forbidden")
			return
		}
	}
	t, bad := parseRefer(req, l.line.Username)
	if bad != nil {
		respond(bad.Code, bad.Reason)
		return
	}
	if len(l.transfers) >= maxTransfers {
		respond(500, "Too Many Transfers", retryAfter())
		return
	}
	t.l, t.id = l, req.CSeq().SeqNo
	fields := l.fields()
	if strings.EqualFold(header(req, "Refer-Sub"), "false") {
		fields = append(fields, field{"Refer-Sub", "false"}) // RFC 4488 §4: nobody wants to be notified
	} else {
		t.subscribe()
	}
	l.transfers = append(l.transfers, t)
	// RFC 6665 §8.3.1 and RFC 7647 §4 have no use for 202 any more: 200 says the same.
	respond(200, "OK", fields...)
	t.Progress(100, "Trying") // RFC 3515 §2.4.4: at once
	l.s.handler.Asked(l, t)
}

// parseRefer reads what a REFER asks for. That the phone of self refers for itself is no news.
func parseRefer(req *sipmsg.Request, self string) (*Transfer, *Refusal) {
	values := req.GetHeaders("Refer-To")
	if len(values) != 1 {
		return nil, &Refusal{400, "Exactly One Refer-To Wanted"} // RFC 3515 §2.4.2
	}
	t, bad := parseReferTo(values[0].Value())
	if bad != nil {
		return nil, bad
	}
	switch by := req.GetHeaders("Referred-By"); {
	case len(by) > 1:
		return nil, &Refusal{400, "More Than One Referred-By"} // RFC 3892 §3
	case len(by) == 1:
		a, ok := parseAddress(by[0].Value())
		if u, isURI := parseURI(a.uri); ok && (!isURI || userOf(&u) != self) {
			t.ReferredBy = clip(a.uri, 120)
			if a.display != "" {
				t.ReferredBy = clip(a.display, 80) + " <" + t.ReferredBy + ">"
			}
		}
	}
	return t, nil
}

// parseReferTo reads a Refer-To: a sip, sips or tel URI, with or without Replaces among its headers.
func parseReferTo(value string) (*Transfer, *Refusal) {
	malformed := &Refusal{400, "Malformed Refer-To"}
	if !strings.Contains(value, "<") {
		value = "<" + value + ">" // some phones leave the brackets out although the URI has headers
	}
	a, ok := parseAddress(value)
	if !ok || len(a.uri) > 2048 {
		return nil, malformed
	}
	if scheme, number, found := strings.Cut(a.uri, ":"); found && strings.EqualFold(scheme, "tel") {
		number, _, _ = strings.Cut(number, ";")
		if number = telDigits(number); number == "" {
			return nil, malformed
		}
		return &Transfer{To: number}, nil
	}
	base, headers, _ := strings.Cut(a.uri, "?")
	u, ok := parseURI(base)
	if !ok {
		return nil, malformed
	}
	t := &Transfer{To: clip(userOf(&u), 80)}
	if method, has := u.UriParams.Get("method"); has && !strings.EqualFold(method, "INVITE") {
		return nil, &Refusal{501, "Only INVITE Can Be Referred To"}
	}
	for item := range strings.SplitSeq(headers, "&") {
		name, text, _ := strings.Cut(item, "=")
		if !strings.EqualFold(unescape(name), "Replaces") {
			continue // RFC 3261 §19.1.5: what else the request should carry is for us to decide
		}
		if t.Replaces != nil {
			return nil, malformed
		}
		id, earlyOnly, ok := parseReplaces(unescape(text))
		if !ok {
			return nil, malformed
		}
		t.Replaces, t.EarlyOnly = &id, earlyOnly
	}
	if t.To == "" && t.Replaces == nil {
		return nil, malformed
	}
	return t, nil
}

// telDigits is the number of a tel URI without its visual separators (RFC 3966 §5.1.1).
func telDigits(s string) string {
	s = unescape(s)
	if len(s) > 80 || strings.Trim(s, "+0123456789*#-.()ABCDabcd") != "" {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("-.()", r) {
			return -1
		}
		return r
	}, s)
}

// subscribe opens the subscription that comes with a REFER.
func (t *Transfer) subscribe() {
	l := t.l
	t.open = true
	t.expires = time.Now().Add(transferPatience)
	l.pending++ // the dialog lives on for it, also after a BYE (RFC 5057 §4.1)
	t.timer = l.after(transferPatience, func() { t.stop("timeout") })
}

// stop ends a subscription before there is an outcome.
func (t *Transfer) stop(why string) {
	if t.open && !t.sending {
		t.notify("SIP/2.0 100 Trying", "terminated;reason="+why)
	}
	t.unsubscribe()
}

// unsubscribe forgets the subscription.
func (t *Transfer) unsubscribe() {
	if t.open {
		t.open = false
		t.timer.Stop()
		t.l.pending--
	}
}

// flush sends what is to be told, one NOTIFY after another.
func (t *Transfer) flush() {
	if t.sending {
		return
	}
	line, last, ok := t.next()
	switch {
	case !ok:
	case !t.open:
		if last {
			t.forget()
		}
	case last:
		t.notify(line, "terminated;reason=noresource") // RFC 3515 §2.4.7
	default:
		t.notify(line, "active;expires="+secondsText(max(0, time.Until(t.expires))))
	}
}

// forget takes a transfer that is over off the leg's list.
func (t *Transfer) forget() {
	l := t.l
	for i, other := range l.transfers {
		if other == t {
			l.transfers = append(l.transfers[:i:i], l.transfers[i+1:]...)
		}
	}
	l.moved = l.moved || t.succeeded()
}

func (t *Transfer) notify(line, state string) {
	l := t.l
	req := l.next(sipmsg.NOTIFY)
	for _, f := range []field{
		{"Contact", l.s.contact(l.hop, l.self)},
		{"Event", "refer;id=" + strconv.FormatUint(uint64(t.id), 10)},
		{"Subscription-State", state},
		{"Content-Type", "message/sipfrag;version=2.0"},
	} {
		req.AppendHeader(sipmsg.NewHeader(f.name, f.value))
	}
	req.SetBody([]byte(line + "\r\n"))
	last := strings.HasPrefix(state, "terminated")
	tx, err := l.s.send(l.s.ctx, req)
	if err != nil {
		l.log.Debug("notify not sent", "error", err)
		t.unsubscribe()
		t.flush()
		return
	}
	t.sending = true
	l.watch(tx, func(res *sipmsg.Response) {
		if res != nil && res.StatusCode < 200 {
			return
		}
		t.sending = false
		if last || res == nil || res.StatusCode == 481 || res.StatusCode == 408 || res.StatusCode == 489 {
			t.unsubscribe() // RFC 6665 §4.2.2: nobody listens there any more
		}
		if last {
			t.forget()
		}
		t.flush()
	})
}

// resubscribed serves a SUBSCRIBE that prolongs or ends the subscription of a REFER.
func (l *Leg) resubscribed(req *sipmsg.Request, respond func(int, string, ...field)) {
	_, rest, _ := strings.Cut(header(req, "Event"), ";")
	ps, _ := parseParams(rest)
	id, named := ps.get("id")
	for _, t := range l.transfers {
		if !t.open || named && id != strconv.FormatUint(uint64(t.id), 10) {
			continue
		}
		left := max(0, time.Until(t.expires))
		if seconds(header(req, "Expires"), left) == 0 {
			respond(200, "OK", field{"Expires", "0"}, field{"Contact", l.s.contact(l.hop, l.self)})
			t.stop("timeout")
			return
		}
		respond(200, "OK", field{"Expires", secondsText(left)}, field{"Contact", l.s.contact(l.hop, l.self)})
		return
	}
	respond(481, "Subscription Does Not Exist")
}

// isReferEvent reports whether a SUBSCRIBE is about a REFER.
func isReferEvent(req *sipmsg.Request) bool {
	name, _, _ := strings.Cut(header(req, "Event"), ";")
	return strings.EqualFold(trim(name), "refer")
}

// hasMoved reports whether the house moved the other side of this leg elsewhere because its peer asked for that.
func (l *Leg) hasMoved() bool {
	for _, t := range l.transfers {
		if t.succeeded() {
			return true
		}
	}
	return l.moved
}

// linger leaves the BYE to the one who transferred, who mostly sends one as soon as it knows that all went well: RFC 5589
// §6.1. Those that never do get ours.
func (l *Leg) linger(c Cause) {
	l.pending++
	l.lingering = l.after(transferLinger, func() {
		if l.lingering != nil {
			l.bye(c)
			l.depart()
		}
	})
}

// depart ends the lingering.
func (l *Leg) depart() {
	if l.lingering != nil {
		l.lingering.Stop()
		l.lingering = nil
		l.pending--
	}
}

// onRefer serves a REFER outside of dialogs: nobody may start or move calls that way.
func (s *Server) onRefer(req *sipmsg.Request, tx *sipmsg.ServerTx, h hop) {
	line, ok := s.authenticated(req, tx, h)
	if !ok {
		return
	}
	if target := header(req, "Target-Dialog"); target != "" {
		// RFC 4538 §7: it is about a dialog of its sender, which must be one of ours.
		l := s.targetDialog(target)
		if l == nil || l.line.ID != line.ID {
			s.replyOnce(req, tx, 481, "Call/Transaction Does Not Exist")
			return
		}
	}
	s.replyOnce(req, tx, 403, "Refer Within The Call")
}
