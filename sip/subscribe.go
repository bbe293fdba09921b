package sip

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// allowEvents names the event packages that can be subscribed to.
const allowEvents = "message-summary"

const (
	minSubscription  = 60 * time.Second
	maxSubscription  = time.Hour
	maxSubscriptions = 4 // of one line: a phone and its former lives
	lampDelay        = 500 * time.Millisecond
)

// events is the notifier of RFC 6665 for message lamps (RFC 3842).
type events struct {
	s *Server

	mu   sync.Mutex
	subs map[string]*subscription // by Call-ID and our tag
}

// subscription is one dialog that a phone opened to watch its mailbox. Its lock
// is the one of events.
type subscription struct {
	line    store.Line
	hop     hop
	id      string // of the Event header
	callID  string
	tag     string // ours
	dialog  dialog
	expires time.Time
	timer   *time.Timer
	sending bool   // a NOTIFY is under way: the next one waits for its answer
	again   bool   // and is wanted
	why     string // it is ending: the reason in Subscription-State
	ended   bool
}

func newEvents(s *Server) *events { return &events{s: s, subs: make(map[string]*subscription)} }

func (e *events) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.subs)
}

// subscribe serves a SUBSCRIBE, a new one or one that refreshes.
func (e *events) subscribe(req *sipmsg.Request, tx *sipmsg.ServerTx, h hop) {
	s := e.s
	tag := tagOf(req.To().Params)
	key := req.CallID().Value() + "\x00" + tag
	name, rest, _ := strings.Cut(header(req, "Event"), ";")
	if !strings.EqualFold(trim(name), "message-summary") {
		s.replyOnce(req, tx, 489, "Bad Event", field{"Allow-Events", allowEvents}) // RFC 6665 §7.3.1
		return
	}
	e.mu.Lock()
	sub := e.subs[key]
	e.mu.Unlock()
	if tag != "" && sub == nil {
		// RFC 6665 §4.1.2.2: after a restart phones learn by this that they must subscribe anew.
		s.replyOnce(req, tx, 481, "Subscription Does Not Exist")
		return
	}
	line, ok := s.authenticated(req, tx, h)
	if !ok {
		return
	}
	if sub != nil && sub.line.ID != line.ID {
		s.replyOnce(req, tx, 403, "Forbidden")
		return
	}
	asked := maxSubscription
	if text := header(req, "Expires"); text != "" {
		asked = min(seconds(text, maxSubscription), maxSubscription)
	}
	if asked > 0 && asked < minSubscription {
		s.respond(req, tx, 423, "Interval Too Brief", field{"Min-Expires", secondsText(minSubscription)}) // RFC 6665 §4.2.1.1
		return
	}
	target := contactOf(req)
	if target == "" && sub == nil {
		s.respond(req, tx, 400, "Missing Contact")
		return
	}
	ps, _ := parseParams(rest)
	id, _ := ps.get("id")
	e.mu.Lock()
	if sub == nil {
		sub = e.open(req, line, h, target, id)
	} else if seq := req.CSeq().SeqNo; seq <= sub.dialog.remoteSeq {
		e.mu.Unlock()
		s.respond(req, tx, 500, "CSeq Out Of Order")
		return
	} else {
		sub.dialog.remoteSeq = seq
	}
	if target != "" {
		sub.dialog.target = target // RFC 6665 §4.4.1: a SUBSCRIBE is a target refresh
	}
	sub.hop = h
	sub.expires = time.Now().Add(asked)
	if sub.timer != nil {
		sub.timer.Stop()
	}
	if asked > 0 {
		sub.timer = time.AfterFunc(asked, func() { e.expire(sub) })
	} else {
		sub.why = "timeout" // RFC 6665 §4.2.1.4: a poll, or the end
	}
	e.mu.Unlock()
	s.respond(req, tx, 200, "OK", field{"Expires", secondsText(asked)}, field{"Contact", s.contact(h, line.Username)}, field{"Allow-Events", allowEvents})
	e.notify(sub)
}

// open makes a subscription; mu is held. The oldest one of the line gives way.
func (e *events) open(req *sipmsg.Request, line store.Line, h hop, target, id string) *subscription {
	tag := token()
	req.To().Params.Add("tag", tag)
	sub := &subscription{
		line: line, hop: h, id: clip(id, 64), callID: req.CallID().Value(), tag: tag,
		dialog: dialog{
			local: bare(req.To().Value()), remote: bare(req.From().Value()), remoteTag: tagOf(req.From().Params),
			remoteSeq: req.CSeq().SeqNo, heard: true, target: target, routes: recordedRoutes(req, false),
		},
	}
	var oldest *subscription
	n := 0
	for _, o := range e.subs {
		if o.line.ID == line.ID {
			n++
			if oldest == nil || o.expires.Before(oldest.expires) {
				oldest = o
			}
		}
	}
	if n >= maxSubscriptions {
		e.drop(oldest)
	}
	e.subs[sub.callID+"\x00"+tag] = sub
	return sub
}

// drop forgets a subscription; mu is held.
func (e *events) drop(sub *subscription) {
	sub.ended = true
	if sub.timer != nil {
		sub.timer.Stop()
	}
	delete(e.subs, sub.callID+"\x00"+sub.tag)
}

func (e *events) expire(sub *subscription) {
	e.mu.Lock()
	if !sub.ended && sub.why == "" && !sub.expires.After(time.Now()) {
		sub.why = "timeout"
	}
	ending := sub.why != "" && !sub.ended
	e.mu.Unlock()
	if ending {
		e.notify(sub)
	}
}

// notify sends the state of the mailbox to one subscriber, or has it sent once
// the NOTIFY under way is answered.
func (e *events) notify(sub *subscription) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if sub.ended {
		return
	}
	if sub.sending {
		sub.again = true
		return
	}
	if e.s.ctx.Err() != nil {
		return
	}
	sub.sending = true
	sub.again = false
	sub.dialog.localSeq++
	last := sub.why != ""
	state := "active;expires=" + secondsText(max(0, time.Until(sub.expires)))
	if last {
		state = "terminated;reason=" + sub.why
		e.drop(sub)
	}
	d := sub.dialog
	req := draftRequest(sipmsg.NOTIFY, d.target, d.routes, e.s)
	req.AppendHeader(sipmsg.NewHeader("From", d.local+";tag="+sub.tag))
	req.AppendHeader(sipmsg.NewHeader("To", d.remote+";tag="+d.remoteTag))
	callID := sipmsg.CallIDHeader(sub.callID)
	req.AppendHeader(&callID)
	req.AppendHeader(&sipmsg.CSeqHeader{SeqNo: d.localSeq, MethodName: sipmsg.NOTIFY})
	event := "message-summary"
	if sub.id != "" {
		event += ";id=" + sub.id
	}
	for _, f := range []field{
		{"Contact", e.s.contact(sub.hop, sub.line.Username)},
		{"Event", event},
		{"Subscription-State", state},
		{"Content-Type", "application/simple-message-summary"},
	} {
		req.AppendHeader(sipmsg.NewHeader(f.name, f.value))
	}
	req.SetBody(e.summary(sub.line, sub.hop))
	e.s.request(req, sub.hop, newBranch())
	e.s.tasks.Go(func() { e.deliver(sub, req) })
}

// deliver waits for the answer to a NOTIFY. RFC 6665 §4.2.2: 481, or none, ends
// the subscription.
func (e *events) deliver(sub *subscription, req *sipmsg.Request) {
	code := e.s.ask(e.s.ctx, req)
	e.mu.Lock()
	sub.sending = false
	again := sub.again
	if !sub.ended && (code == 0 || code == 408 || code == 481 || code == 489) {
		e.drop(sub)
	}
	e.mu.Unlock()
	if again {
		e.notify(sub)
	}
}

// ask sends a request outside of legs and returns the status of its final answer, 0 if none came.
func (s *Server) ask(ctx context.Context, req *sipmsg.Request) int {
	tx, err := s.send(ctx, req)
	if err != nil {
		s.log.Debug("request not sent", "method", string(req.Method), "error", err)
		return 0
	}
	stop := context.AfterFunc(ctx, tx.Terminate)
	defer stop()
	code := 0
	drain(tx, func(res *sipmsg.Response) {
		if res != nil && res.StatusCode >= 200 {
			code = res.StatusCode
		}
	})
	return code
}

// summary is the body of RFC 3842 §5.2.
func (e *events) summary(line store.Line, h hop) []byte {
	counts := e.s.boxes.MailboxCounts(line.AccountID, line.UserID)
	waiting := "no"
	if counts.New > 0 {
		waiting = "yes"
	}
	host, _ := e.s.host(h)
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Appendf(nil, "Messages-Waiting: %s\r\nMessage-Account: sip:*97@%s\r\nVoice-Message: %d/%d (0/0)\r\n", waiting, host, counts.New, counts.Old)
}

// mailboxChanged sets the lamps of a mailbox: by subscription, or unasked where
// a phone has none (RFC 3842 §4.1: many phones never subscribe).
func (e *events) mailboxChanged(account, mailbox store.ID) {
	watched := make(map[store.ID]bool)
	var subs []*subscription
	e.mu.Lock()
	for _, sub := range e.subs {
		if sub.line.UserID == mailbox && sub.line.AccountID == account {
			watched[sub.line.ID] = true
			subs = append(subs, sub)
		}
	}
	e.mu.Unlock()
	for _, sub := range subs {
		e.notify(sub)
	}
	for _, b := range e.s.registrar.ofUser(mailbox) {
		if !watched[b.LineID] && b.AccountID == account {
			e.unasked(b)
		}
	}
}

// registered sets the lamp of a phone that came, unless its line subscribes by itself. The line's other phones have
// theirs already.
func (e *events) registered(line store.ID, source string) {
	if e.s.ctx.Err() != nil {
		return
	}
	e.s.tasks.Go(func() {
		if !e.s.pause(lampDelay) {
			return
		}
		e.mu.Lock()
		for _, sub := range e.subs {
			if sub.line.ID == line {
				e.mu.Unlock()
				return
			}
		}
		e.mu.Unlock()
		_, bindings, _ := e.s.registrar.line(line)
		for _, b := range bindings {
			if b.Source == source {
				e.unasked(b)
			}
		}
	})
}

// unasked sends a NOTIFY outside of any subscription.
func (e *events) unasked(b store.Binding) {
	h, ok := e.s.route(b)
	if !ok {
		return
	}
	line := store.Line{AccountID: b.AccountID, UserID: b.UserID}
	req, err := e.s.unsolicited(b, h, "message-summary", "application/simple-message-summary", e.summary(line, h))
	if err != nil {
		return
	}
	e.s.tasks.Go(func() { e.s.ask(e.s.ctx, req) }) // a phone that does not like it says so, and no more
}

// unsolicited builds a NOTIFY to a binding.
func (s *Server) unsolicited(b store.Binding, h hop, event, contentType string, body []byte) (*sipmsg.Request, error) {
	u, ok := parseURI(b.Contact)
	if !ok {
		return nil, fmt.Errorf("contact %q cannot be used", clip(b.Contact, 80))
	}
	host, _ := s.host(h)
	user := userOf(&u)
	if line, _, ok := s.registrar.line(b.LineID); ok && line.Username != "" {
		user = line.Username
	}
	aor := nameAddr(Identity{User: user}, host)
	req := draftRequest(sipmsg.NOTIFY, b.Contact, slices.Clone(b.Path), s)
	req.AppendHeader(sipmsg.NewHeader("From", aor+";tag="+token()))
	req.AppendHeader(sipmsg.NewHeader("To", aor))
	callID := sipmsg.CallIDHeader(token() + token())
	req.AppendHeader(&callID)
	req.AppendHeader(&sipmsg.CSeqHeader{SeqNo: 1, MethodName: sipmsg.NOTIFY})
	req.AppendHeader(sipmsg.NewHeader("Contact", s.contact(h, user)))
	req.AppendHeader(sipmsg.NewHeader("Event", event))
	req.AppendHeader(sipmsg.NewHeader("Subscription-State", "terminated;reason=noresource"))
	if len(body) > 0 {
		req.AppendHeader(sipmsg.NewHeader("Content-Type", contentType))
	}
	req.SetBody(body)
	s.request(req, h, newBranch())
	return req, nil
}

// Notify sends a NOTIFY outside of any subscription, such as check-sync, and
// waits for the answer.
func (s *Server) Notify(ctx context.Context, b store.Binding, eventHeader, contentType string, body []byte) error {
	if strings.ContainsAny(eventHeader+contentType, "\r\n") {
		return errors.New("notify: line break in a header")
	}
	h, ok := s.route(b)
	if !ok {
		return fmt.Errorf("notify %s: %w", b.LineID, errNoDial)
	}
	req, err := s.unsolicited(b, h, eventHeader, contentType, body)
	if err != nil {
		return fmt.Errorf("notify %s: %w", b.LineID, err)
	}
	switch code := s.ask(ctx, req); {
	case code == 0 && ctx.Err() != nil:
		return ctx.Err()
	case code == 0:
		return fmt.Errorf("notify %s: no answer", b.LineID)
	case code >= 300:
		return fmt.Errorf("notify %s: %w", b.LineID, &Refusal{Code: code, Reason: "NOTIFY"})
	}
	return nil
}

// dropUnregistered ends the subscriptions of lines that are not registered any more.
func (e *events) dropUnregistered() {
	e.mu.Lock()
	all := make([]*subscription, 0, len(e.subs))
	for _, sub := range e.subs {
		all = append(all, sub)
	}
	e.mu.Unlock()
	for _, sub := range all {
		if now, ok := e.s.dir.Line(sub.line.Username); ok && now.ID == sub.line.ID && now.Password == sub.line.Password && now.UserID == sub.line.UserID {
			continue
		}
		e.mu.Lock()
		sub.why = "deactivated"
		e.mu.Unlock()
		e.notify(sub)
	}
}

// secondsText writes a duration as delta-seconds.
func secondsText(d time.Duration) string {
	return strconv.Itoa(int(d.Round(time.Second) / time.Second))
}
