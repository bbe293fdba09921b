package sip

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// Texts keeps texts until a phone takes them, and knows who has which extension.
// Snapshot must not wait; the others may.
type Texts interface {
	AddText(ctx context.Context, t *store.Text) error
	Texts(ctx context.Context, user store.ID) ([]store.Text, error)
	Waiting(ctx context.Context) ([]store.ID, error)
	DropText(ctx context.Context, id store.ID) error
	Snapshot(account store.ID) *store.Snapshot
}

const (
	maxText     = 4096            // octets
	maxUDPText  = 800             // RFC 3428 §8: with its header no more than 1300 octets go by UDP
	textWait    = 4 * time.Second // for a phone, before the text is kept and the sender told so
	textSave    = 5 * time.Second
	maxTextType = 100
)

// texts carries MESSAGE requests (RFC 3428) from phone to phone, and keeps those
// that no phone takes.
type texts struct {
	s *Server

	mu      sync.Mutex
	waiting map[store.ID]bool // users for whom texts are kept
	busy    map[store.ID]bool // users to whom texts are on their way; true: look again
}

func newTexts(s *Server) *texts {
	return &texts{s: s, waiting: make(map[store.ID]bool), busy: make(map[store.ID]bool)}
}

// load learns for whom texts wait since a former life.
func (ts *texts) load(ctx context.Context) error {
	if ts.s.cfg.Texts == nil {
		return nil
	}
	users, err := ts.s.cfg.Texts.Waiting(ctx)
	if err != nil {
		return err
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, u := range users {
		ts.waiting[u] = true
	}
	return nil
}

// onMessage serves a MESSAGE outside of dialogs.
func (s *Server) onMessage(req *sipmsg.Request, tx *sipmsg.ServerTx, h hop) {
	if s.cfg.Texts == nil {
		s.replyOnce(req, tx, 405, "Method Not Allowed", field{"Allow", allow})
		return
	}
	var to, from string
	text := store.Text{ReceivedAt: time.Now()}
	if t := s.trunks.from(req, h); t != nil {
		row, ok := t.takesTexts()
		if !ok {
			s.replyOnce(req, tx, 403, "Forbidden")
			return
		}
		caller, _, _ := identityOf(req.From().Value())
		text.AccountID, from, to = row.AccountID, clip(caller.User, 80), calledNumber(req, row, t.contactUser())
		text.FromName = clip(caller.Display, 80)
	} else {
		line, ok := s.authenticated(req, tx, h)
		if !ok {
			return
		}
		text.AccountID, text.FromUser, to = line.AccountID, line.UserID, userOf(&req.Recipient)
	}
	snap := s.cfg.Texts.Snapshot(text.AccountID)
	if snap == nil {
		s.replyOnce(req, tx, 403, "Forbidden")
		return
	}
	if u := snap.User(text.FromUser); u != nil {
		from, text.FromName = u.Extension, u.Name // never what the phone says
	}
	text.FromNumber = from
	kind, ok := textType(req)
	text.ContentType = kind
	switch {
	case !ok:
		s.replyOnce(req, tx, 415, "Unsupported Media Type", field{"Accept", "text/plain"})
		return
	case req.MaxForwards() != nil && req.MaxForwards().Val() == 0:
		s.replyOnce(req, tx, 483, "Too Many Hops")
		return
	case len(req.Body()) > maxText:
		s.replyOnce(req, tx, 513, "Message Too Large")
		return
	}
	text.Body = slices.Clone(req.Body())
	if user := recipient(snap, text.FromUser == "", to); user != nil {
		text.To = user.ID
		code, reason := s.texts.take(text, user)
		s.respond(req, tx, code, reason, tryLater(code)...)
		return
	}
	if text.FromUser == "" {
		s.replyOnce(req, tx, 404, "Not Found")
		return
	}
	code, reason := s.textOutside(&text, to, hopsLeft(req))
	s.respond(req, tx, code, reason, tryLater(code)...)
}

func tryLater(code int) []field {
	if code == 480 || code == 503 {
		return []field{{"Retry-After", "60"}}
	}
	return nil
}

func hopsLeft(req *sipmsg.Request) int {
	if m := req.MaxForwards(); m != nil {
		return int(m.Val()) - 1
	}
	return 69
}

// textType returns the type of a body that is carried.
func textType(req *sipmsg.Request) (string, bool) {
	kind := trim(header(req, "Content-Type"))
	if kind == "" {
		kind = "text/plain"
	}
	name, _, _ := strings.Cut(kind, ";")
	main, sub, found := strings.Cut(trim(name), "/")
	return kind, found && isToken(main) && isToken(sub) && len(kind) <= maxTextType && !strings.ContainsAny(kind, "\r\n") && !strings.EqualFold(main, "multipart")
}

// recipient finds the user of an extension, or, from outside, of a number of ours.
func recipient(snap *store.Snapshot, outside bool, to string) *store.User {
	if !outside && !strings.HasPrefix(to, "+") {
		return snap.UserByExtension(to)
	}
	digits := strings.TrimPrefix(strings.TrimPrefix(to, "+"), "00")
	if n := snap.NumberByE164("+" + digits); n != nil && n.Destination.Type == "user" {
		return snap.User(n.Destination.ID)
	}
	return nil
}

// take delivers a text, or keeps it: 200 says that a phone has it, 202 that it is on
// our disk (RFC 3428 §7).
func (ts *texts) take(text store.Text, user *store.User) (code int, reason string) {
	s := ts.s
	text.ID, text.ExpiresAt = store.NewID(store.PrefixText), text.ReceivedAt.Add(store.TextLife)
	phones, tooLarge := ts.phones(&text)
	if tooLarge {
		return 513, "Message Too Large"
	}
	if len(phones) > 0 && ts.begin(text.To) {
		first := make(chan fate, 1)
		var kept keeping
		s.tasks.Go(func() {
			ok := ts.deliver(&text, user, phones, first) == taken
			kept.settle(ok, func() { ts.drop(text.ID) })
			ts.finish(text.To)
		})
		select {
		case f := <-first:
			switch f {
			case taken:
				return 200, "OK"
			case refused: // tomorrow as well
				return 415, "Unsupported Media Type"
			}
		case <-time.After(textWait):
		case <-s.ctx.Done():
		}
		if kept.keep() {
			return 200, "OK" // a phone took it this very moment
		}
		return ts.keep(&text, func() { kept.saved(func() { ts.drop(text.ID) }) })
	}
	return ts.keep(&text, func() { ts.deliverWaiting(text.To) })
}

// keeping settles who is first: the disk, or a phone that takes its time.
type keeping struct {
	mu                 sync.Mutex
	taken, stored, end bool
}

// keep reports whether a phone has the text already.
func (k *keeping) keep() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.taken
}

// settle notes how the delivery ended; what is on the disk and was delivered goes.
func (k *keeping) settle(ok bool, drop func()) {
	k.mu.Lock()
	k.taken, k.end = ok, true
	gone := ok && k.stored
	k.mu.Unlock()
	if gone {
		drop()
	}
}

// saved notes that the text is on the disk.
func (k *keeping) saved(drop func()) {
	k.mu.Lock()
	k.stored = true
	gone := k.taken
	k.mu.Unlock()
	if gone {
		drop()
	}
}

// keep stores a text and says so to its sender.
func (ts *texts) keep(text *store.Text, then func()) (code int, reason string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ts.s.ctx), textSave)
	defer cancel()
	switch err := ts.s.cfg.Texts.AddText(ctx, text); {
	case errors.Is(err, store.ErrTooMany):
		return 480, "Too Many Messages Waiting"
	case errors.Is(err, store.ErrNotFound):
		return 404, "Not Found"
	case err != nil:
		ts.s.log.Error("text not kept", "user", text.To, "error", err)
		return 503, "Service Unavailable"
	}
	ts.mu.Lock()
	ts.waiting[text.To] = true
	if _, busy := ts.busy[text.To]; busy {
		ts.busy[text.To] = true
	}
	ts.mu.Unlock()
	then()
	return 202, "Accepted"
}

func (ts *texts) drop(id store.ID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ts.s.ctx), textSave)
	defer cancel()
	if err := ts.s.cfg.Texts.DropText(ctx, id); err != nil {
		ts.s.log.Error("delivered text still kept", "text", id, "error", err) // it comes once more
	}
}

// begin takes the way to a user, unless texts wait or are on it: they come in order.
func (ts *texts) begin(user store.ID) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if _, busy := ts.busy[user]; busy || ts.waiting[user] {
		return false
	}
	ts.busy[user] = false
	return true
}

// finish frees the way to a user and looks whether texts came meanwhile.
func (ts *texts) finish(user store.ID) {
	ts.mu.Lock()
	again := ts.busy[user]
	delete(ts.busy, user)
	ts.mu.Unlock()
	if again {
		ts.deliverWaiting(user)
	}
}

// registered has the texts of a user delivered whose phone came or refreshed.
func (ts *texts) registered(user store.ID) {
	ts.mu.Lock()
	waiting := ts.waiting[user]
	ts.mu.Unlock()
	if waiting {
		ts.deliverWaiting(user)
	}
}

// deliverWaiting starts to deliver what waits for a user, one after another.
func (ts *texts) deliverWaiting(user store.ID) {
	ts.mu.Lock()
	if _, busy := ts.busy[user]; busy {
		ts.busy[user] = true
		ts.mu.Unlock()
		return
	}
	ts.busy[user] = false
	ts.mu.Unlock()
	ts.s.tasks.Go(func() {
		ts.work(user)
		ts.finish(user)
	})
}

func (ts *texts) work(user store.ID) {
	s := ts.s
	for s.ctx.Err() == nil {
		ts.mu.Lock()
		ts.busy[user] = false
		ts.mu.Unlock()
		all, err := s.cfg.Texts.Texts(s.ctx, user)
		if err != nil {
			s.log.Error("texts not read", "user", user, "error", err)
			return
		}
		if len(all) == 0 {
			ts.mu.Lock()
			if !ts.busy[user] {
				delete(ts.waiting, user)
				ts.mu.Unlock()
				return
			}
			ts.mu.Unlock()
			continue // one came this very moment
		}
		delivered := 0
		for i := range all {
			phones, tooLarge := ts.phones(&all[i])
			snap := s.cfg.Texts.Snapshot(all[i].AccountID)
			if !tooLarge && (len(phones) == 0 || snap == nil || snap.User(user) == nil) {
				return // until the next registration
			}
			if tooLarge {
				continue // another phone may come, until it expires
			}
			switch ts.deliver(&all[i], snap.User(user), phones, nil) {
			case taken:
				ts.drop(all[i].ID)
				delivered++
			case refused:
				s.log.Info("no phone takes a text", "text", all[i].ID, "content_type", clip(all[i].ContentType, 60))
			case nobody:
				return
			}
		}
		if delivered == 0 {
			return
		}
	}
}

// phones returns where a text can be sent. tooLarge says that there are phones, but the way to
// each of them is UDP, which carries no text of this size.
func (ts *texts) phones(text *store.Text) (phones []store.Binding, tooLarge bool) {
	all := ts.s.registrar.ofUser(text.To)
	for _, b := range all {
		if _, ok := ts.s.route(b); ok && b.AccountID == text.AccountID && (b.Transport != "udp" || len(text.Body) <= maxUDPText) {
			phones = append(phones, b)
		}
	}
	if len(all) > 0 && len(phones) == 0 && len(text.Body) > maxUDPText {
		return nil, !slices.ContainsFunc(all, func(b store.Binding) bool { return b.Transport != "udp" })
	}
	return phones, false
}

// fate is what became of a delivery.
type fate int

const (
	nobody  fate = iota // no phone answered, or none can now
	refused             // every phone says that it takes no such text
	taken
)

// deliver sends a text to phones and waits for all of them. first hears at once
// when one took it, or in the end what became of it.
func (ts *texts) deliver(text *store.Text, user *store.User, phones []store.Binding, first chan<- fate) fate {
	answers := make(chan int, len(phones))
	for _, b := range phones {
		ts.s.tasks.Go(func() { answers <- ts.s.sendText(text, Identity{Display: user.Name, User: user.Extension}, b) })
	}
	result, told := refused, first == nil
	for range phones {
		var code int
		select {
		case code = <-answers:
		case <-ts.s.ctx.Done():
			if result != taken {
				result = nobody
			}
			if !told {
				first <- result
			}
			return result
		}
		switch {
		case code >= 200 && code < 300:
			result = taken
			ts.s.stats.texts.Add(1)
		case result != taken && !neverTaken(code):
			result = nobody
		}
		if result == taken && !told {
			told = true
			first <- taken
		}
	}
	if !told {
		first <- result
	}
	return result
}

// neverTaken reports whether an answer says that it would be the same tomorrow.
func neverTaken(code int) bool {
	switch code {
	case 400, 405, 413, 415, 416, 420, 488, 501, 513, 606:
		return true
	}
	return false
}

// sendText sends a text to one phone and returns its answer, 0 for none.
func (s *Server) sendText(text *store.Text, to Identity, b store.Binding) int {
	h, ok := s.route(b)
	if !ok {
		return 0
	}
	if _, ok := parseURI(b.Contact); !ok {
		return 0
	}
	host, _ := s.host(h)
	req := draftRequest(sipmsg.MESSAGE, b.Contact, slices.Clone(b.Path), s)
	s.fillText(req, text, nameAddr(Identity{Display: text.FromName, User: text.FromNumber}, host), nameAddr(to, host), nil)
	s.request(req, h, newBranch())
	return s.ask(s.ctx, req)
}

// fillText completes a MESSAGE. RFC 3428 §8 forbids a Contact.
func (s *Server) fillText(req *sipmsg.Request, text *store.Text, from, to string, extra []field) {
	req.AppendHeader(sipmsg.NewHeader("From", from+";tag="+token()))
	req.AppendHeader(sipmsg.NewHeader("To", to))
	// The same Call-ID each time that it is tried: a phone can tell that it has it already.
	callID := sipmsg.CallIDHeader(string(text.ID))
	req.AppendHeader(&callID)
	req.AppendHeader(&sipmsg.CSeqHeader{SeqNo: uint32(1 + time.Since(text.ReceivedAt)/time.Second), MethodName: sipmsg.MESSAGE})
	req.AppendHeader(sipmsg.NewHeader("Date", text.ReceivedAt.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"))) // RFC 3428 §4
	for _, f := range extra {
		req.AppendHeader(sipmsg.NewHeader(f.name, f.value))
	}
	if len(text.Body) > 0 {
		req.AppendHeader(sipmsg.NewHeader("Content-Type", text.ContentType))
	}
	req.SetBody(text.Body)
}

// takesTexts returns the row of a trunk that exchanges texts.
func (t *trunk) takesTexts() (store.Trunk, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.row, t.row.Enabled && t.row.Messages
}

// TextRoutes is where a text for a number of the world may go. Its method must not wait.
type TextRoutes interface {
	// RouteText returns the trunks that serve a number as a user of the account dials it, best first, or the
	// status of a refusal: what may not be called may not be written to.
	RouteText(account, user store.ID, dialed string) ([]TextRoute, *Refusal)
}

// TextRoute is one way of a text to the outside.
type TextRoute struct {
	Trunk          store.ID
	Number, Caller string // who is written to and who writes, as this carrier wants them
}

// RouteTexts gives the server the ways of texts to the outside. It must be called before Start.
func (s *Server) RouteTexts(r TextRoutes) { s.textRoutes = r }

// textOutside sends a text of a user to a number of the world, over the first
// trunk that carries texts. Nothing is kept: the carrier does that.
func (s *Server) textOutside(text *store.Text, to string, hops int) (code int, reason string) {
	if s.textRoutes == nil || hops <= 0 {
		return 404, "Not Found"
	}
	routes, refused := s.textRoutes.RouteText(text.AccountID, text.FromUser, to)
	if refused != nil {
		return refused.Code, refused.Reason
	}
	for _, way := range routes {
		if t := s.trunks.find(way.Trunk); t != nil {
			if row, ok := t.takesTexts(); ok {
				return s.textOver(t, row, way, text, hops)
			}
		}
	}
	return 404, "Not Found"
}

// textOver sends a text over one trunk.
func (s *Server) textOver(t *trunk, row store.Trunk, way TextRoute, text *store.Text, hops int) (code int, reason string) {
	ctx, cancel := context.WithTimeout(s.ctx, textOutsideTime)
	defer cancel()
	targets, err := t.targets(ctx, row)
	if err != nil {
		return 503, "Service Unavailable"
	}
	text.ID = store.NewID(store.PrefixText)
	from := Identity{Display: text.FromName, User: way.Caller}
	for _, target := range targets[:min(len(targets), 3)] {
		if target.transport == "udp" && len(text.Body) > maxUDPText {
			return 513, "Message Too Large"
		}
		h, err := s.reach(ctx, target)
		if err != nil {
			continue
		}
		callee := sipmsg.Uri{Scheme: "sip", User: escapeUser(way.Number), Host: bracketed(row.Host), Port: row.Port}
		req := draftRequest(sipmsg.MESSAGE, callee.String(), preloaded(row), s)
		*req.MaxForwards() = sipmsg.MaxForwardsHeader(hops)
		s.fillText(req, text, ourAddress(row, from, Presentation{}), "<"+callee.String()+">", presented(row, from, Presentation{}))
		s.request(req, h, newBranch())
		switch code := s.askCarrier(ctx, row, req, h); {
		case code >= 200 && code < 300:
			s.stats.texts.Add(1)
			return code, "OK"
		case code >= 400 && code != 408 && code != 503:
			return max(code, 400), "Refused By Carrier"
		}
	}
	return 503, "Service Unavailable"
}

// askCarrier sends a request, answers challenges, and returns the final status; 0: none came.
func (s *Server) askCarrier(ctx context.Context, row store.Trunk, req *sipmsg.Request, h hop) int {
	for refusals := 0; ; refusals++ {
		res, err := s.exchange(ctx, req, targetTime)
		if err != nil {
			return 0
		}
		again, ok := s.answered(req, res, row, refusals)
		if !ok {
			return res.StatusCode
		}
		again.CSeq().SeqNo++
		req = s.resent(again, h)
	}
}

// textOutsideTime is how long a carrier may take; phones wait 32 s for us.
const textOutsideTime = 20 * time.Second
