package sip

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// watchMailbox: whatever a phone asks for, it gets the lamp of its own user.
func watchMailbox(_ *events, sub *subscription, _ string) *Refusal {
	sub.user = sub.phone.line.UserID
	return nil
}

func composeSummary(e *events, sub *subscription) document {
	body, state := e.summary(sub.phone.line, sub.phone.hop)
	return document{contentType: "application/simple-message-summary", body: body, state: state, mark: e.markOf(body)}
}

// markOf tells documents from each other.
func (e *events) markOf(body []byte) uint64 { return maphash.Bytes(e.seed, body) }

// summary is the body of RFC 3842 §5.2.
func (e *events) summary(line store.Line, h hop) (body []byte, state string) {
	counts := e.s.boxes.LampCounts(line.AccountID, line.UserID)
	waiting := "no"
	if counts.New > 0 {
		waiting = "yes"
	}
	host, _ := e.s.host(h)
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	account := escapeUser(e.s.lamps.VoicemailNumber(line.AccountID))
	state = fmt.Sprintf("%d new, %d old", counts.New, counts.Old)
	// RFC 3842 §5.2: the urgent ones stand in brackets, and are counted before them too.
	return fmt.Appendf(nil, "Messages-Waiting: %s\r\nMessage-Account: sip:%s@%s\r\nVoice-Message: %d/%d (%d/%d)\r\n",
		waiting, account, host, counts.New, counts.Old, counts.NewUrgent, counts.OldUrgent), state
}

// mailboxChanged sets the message lamps of a user: by subscription, or unasked where
// a phone has none (RFC 3842 §4.1: many phones never subscribe).
func (e *events) mailboxChanged(account, user store.ID) {
	watched := make(map[store.ID]bool)
	e.mu.Lock()
	for _, sub := range e.watchers[user] {
		if sub.pkg.name == "message-summary" && sub.phone.line.AccountID == account {
			watched[sub.phone.line.ID] = true
			e.want(sub, false)
		}
	}
	e.mu.Unlock()
	for _, b := range e.s.registrar.ofUser(user) {
		if !watched[b.LineID] && b.AccountID == account {
			e.unasked(b)
		}
	}
}

// registered sets the lamp of a phone that came, unless its line subscribes by itself. The line's other phones have
// theirs already.
func (e *events) registered(line store.Line, source string) {
	if e.s.ctx.Err() != nil {
		return
	}
	e.userChanged(line.AccountID, line.UserID)
	e.back(line.ID)
	e.s.tasks.Go(func() {
		if !e.s.pause(lampDelay) {
			return
		}
		e.mu.Lock()
		if slices.ContainsFunc(e.lines[line.ID], func(sub *subscription) bool { return sub.pkg.name == "message-summary" }) {
			e.mu.Unlock()
			return
		}
		e.mu.Unlock()
		_, bindings, _ := e.s.registrar.line(line.ID)
		for _, b := range bindings {
			if b.Source == source {
				e.unasked(b)
			}
		}
	})
}

// back tells the lamps of a line that came again at once, if they could not be told before.
func (e *events) back(line store.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, sub := range e.lines[line] {
		sub.phone.lives()
	}
}

// unasked sends a NOTIFY outside of any subscription.
func (e *events) unasked(b store.Binding) {
	h, ok := e.s.route(b)
	if !ok || quirksOf(b.UserAgent, "").quiet {
		return
	}
	line := store.Line{AccountID: b.AccountID, UserID: b.UserID}
	body, _ := e.summary(line, h)
	req, err := e.s.unsolicited(b, h, "message-summary", "application/simple-message-summary", body)
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
	line, _, _ := s.registrar.line(b.LineID)
	switch code := s.askAs(ctx, req, h, line); {
	case code == 0 && ctx.Err() != nil:
		return ctx.Err()
	case code == 0:
		return fmt.Errorf("notify %s: no answer", b.LineID)
	case code >= 300:
		return fmt.Errorf("notify %s: %w", b.LineID, &Refusal{Code: code, Reason: "NOTIFY"})
	}
	return nil
}

// ask sends a request outside of legs and returns the status of its final answer, 0 if none came.
func (s *Server) ask(ctx context.Context, req *sipmsg.Request) int {
	if res := s.final(ctx, req); res != nil {
		return res.StatusCode
	}
	return 0
}

// askAs answers the challenges of a phone with the credentials of its line, which it has too.
func (s *Server) askAs(ctx context.Context, req *sipmsg.Request, h hop, line store.Line) int {
	self := store.Trunk{Username: line.Username, Password: line.Password}
	for refusals := 0; ; refusals++ {
		res := s.final(ctx, req)
		if res == nil {
			return 0
		}
		again, ok := s.answered(req, res, self, refusals)
		if !ok {
			return res.StatusCode
		}
		again.CSeq().SeqNo++ // RFC 3261 §22.2
		req = s.resent(again, h)
	}
}

// final sends a request outside of legs and returns its final answer, nil if none came.
func (s *Server) final(ctx context.Context, req *sipmsg.Request) *sipmsg.Response {
	tx, err := s.send(ctx, req)
	if err != nil {
		s.log.Debug("request not sent", "method", string(req.Method), "error", err)
		return nil
	}
	stop := context.AfterFunc(ctx, tx.Terminate)
	defer stop()
	var last *sipmsg.Response
	drain(tx, func(res *sipmsg.Response) {
		if res != nil && res.StatusCode >= 200 {
			last = res
		}
	})
	return last
}
