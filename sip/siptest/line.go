package siptest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/sip"
)

// Line is one call of a phone.
type Line struct {
	p        *Phone
	sound    sip.Negotiator
	caller   bool // we placed the call
	callID   string
	localTag string
	aor      string // our address of record in this call
	peerAOR  string
	invite   *sipmsg.Request // incoming
	offered  bool            // the incoming INVITE carried an offer
	branch   string          // of our latest INVITE, for CANCEL
	extra    []string        // headers of our first INVITE

	provisional chan struct{} // closed at the first answer to our INVITE
	ringing     chan struct{}
	answered    chan struct{}
	done        chan struct{}

	mu        sync.Mutex
	heard     bool // provisional is closed
	rang      bool
	up        bool
	over      bool
	cancelled bool
	busy      bool // an INVITE transaction is open
	held      bool // by us
	code      int
	reason    string // Reason header of what ended it
	remoteTag string
	target    string // remote target
	cseq      uint32
	acked     chan struct{} // of the 2xx we sent last; nil when none is waited for
	late      bool          // the ACK carries the answer
	early     []byte        // description sent in 183
	number    string
	referrals []*Referral
	earlyTag  string       // of the callee, before it answered
	remote    sip.Identity // what the display shows
}

func (p *Phone) newLine() *Line {
	return &Line{
		p:           p,
		sound:       p.cfg.Sound(),
		localTag:    token(),
		provisional: make(chan struct{}),
		ringing:     make(chan struct{}),
		answered:    make(chan struct{}),
		done:        make(chan struct{}),
	}
}

// Call dials number. It returns once the INVITE was sent; Ringing, Answered and Done tell the rest.
func (p *Phone) Call(ctx context.Context, number string) (*Line, error) {
	return p.call(ctx, number, nil)
}

func (p *Phone) call(ctx context.Context, number string, headers []string) (*Line, error) {
	l := p.newLine()
	l.caller = true
	l.number = number
	l.extra = headers
	l.callID = token()
	l.aor = p.aor()
	l.peerAOR = "sip:" + number + "@" + p.cfg.Domain
	l.target = l.peerAOR
	offer, err := l.sound.Offer()
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", number, err)
	}
	p.mu.Lock()
	p.lines[l.callID] = l
	p.mu.Unlock()
	sent := make(chan error, 1)
	p.wg.Go(func() { l.dial(offer, sent) })
	select {
	case err := <-sent:
		if err != nil {
			return nil, fmt.Errorf("call %s: %w", number, err)
		}
		return l, nil
	case <-ctx.Done():
		l.HangUp()
		return nil, ctx.Err()
	}
}

// dial runs the INVITE until its end.
func (l *Line) dial(offer []byte, sent chan<- error) {
	l.mu.Lock()
	l.busy = true
	l.mu.Unlock()
	sent <- nil
	var auth string
	for attempt := 0; ; attempt++ {
		d := l.request("INVITE")
		for _, h := range l.extra {
			name, value, _ := strings.Cut(h, ": ")
			d.headers = append(d.headers, [2]string{name, value})
		}
		d.sdp(offer)
		if auth != "" {
			d.set("Authorization", auth)
		}
		l.mu.Lock()
		l.branch = d.branch
		l.mu.Unlock()
		res, err := l.p.transact(l.p.ctx, d, l.progressed)
		if err != nil {
			l.end(408, "")
			return
		}
		if res.StatusCode >= 300 {
			l.ackRefusal(d, res)
			if res.StatusCode == 401 && attempt == 0 {
				if auth, err = l.p.credentials(res, d.method, d.uri); err == nil {
					continue
				}
			}
			l.end(res.StatusCode, headerValue(res, "Reason"))
			return
		}
		l.learn(res)
		l.ack(d, nil)
		l.mu.Lock()
		l.busy = false
		cancelled := l.cancelled
		l.mu.Unlock()
		if len(res.Body()) > 0 {
			err = l.sound.Accept(res.Body())
		} else if len(l.early) == 0 {
			err = fmt.Errorf("200 without a description")
		}
		if cancelled || err != nil {
			l.Bye(l.p.ctx)
			return
		}
		l.mu.Lock()
		l.up = true
		l.hear()
		close(l.answered)
		l.mu.Unlock()
		return
	}
}

// hear notes that the callee's side answered something. Called with mu held.
func (l *Line) hear() {
	if !l.heard {
		l.heard = true
		close(l.provisional)
	}
}

func (l *Line) progressed(res *sipmsg.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hear()
	l.show(res)
	if tag, has := res.To().Params.Get("tag"); has && res.StatusCode > 100 {
		l.earlyTag = tag
	}
	if res.StatusCode > 100 && !l.rang {
		l.rang = true
		close(l.ringing)
	}
	if len(res.Body()) > 0 && len(l.early) == 0 {
		l.early = res.Body()
		l.sound.Accept(res.Body())
	}
}

// learn takes tag and target from an answer that makes the dialog.
func (l *Line) learn(res *sipmsg.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remoteTag, _ = res.To().Params.Get("tag")
	l.show(res)
	if c := res.Contact(); c != nil {
		l.target = c.Address.String()
	}
}

// request starts a request of this call.
func (l *Line) request(method string) *draft {
	l.mu.Lock()
	defer l.mu.Unlock()
	if method != "ACK" && method != "CANCEL" {
		l.cseq++
	}
	d := l.p.draft(method, l.target, l.cseq)
	from := "<" + l.aor + ">;tag=" + l.localTag
	if l.p.cfg.Display != "" {
		from = `"` + l.p.cfg.Display + `" ` + from
	}
	d.set("From", from)
	to := "<" + l.peerAOR + ">"
	if l.remoteTag != "" {
		to += ";tag=" + l.remoteTag
	}
	d.set("To", to)
	d.set("Call-ID", l.callID)
	d.set("Contact", l.p.contact())
	d.set("Allow", l.p.cfg.Allow)
	return d
}

// remember keeps the ACK for repetitions of the final answer to invite.
func (l *Line) remember(invite *draft, ack []byte) {
	l.p.mu.Lock()
	l.p.acks[invite.branch+" INVITE"] = ack
	l.p.mu.Unlock()
	l.p.write(ack)
}

// ack acknowledges a 2xx, with the answer to a late offer if there is one.
func (l *Line) ack(invite *draft, answer []byte) {
	d := l.request("ACK")
	for _, h := range invite.headers {
		if h[0] == "CSeq" {
			d.set("CSeq", strings.Replace(h[1], "INVITE", "ACK", 1))
		}
	}
	d.sdp(answer)
	l.remember(invite, d.bytes())
}

// ackRefusal acknowledges a final answer of 300 and above: RFC 3261 §17.1.1.3.
func (l *Line) ackRefusal(invite *draft, res *sipmsg.Response) {
	d := &draft{method: "ACK", uri: invite.uri, branch: invite.branch, via: invite.via}
	for _, h := range invite.headers {
		switch h[0] {
		case "From", "Call-ID", "Max-Forwards":
			d.set(h[0], h[1])
		case "CSeq":
			d.set("CSeq", strings.Replace(h[1], "INVITE", "ACK", 1))
		}
	}
	d.set("To", res.To().Value())
	l.remember(invite, d.bytes())
}

// invited makes a line of an incoming INVITE.
func (p *Phone) invited(req *sipmsg.Request) {
	l := p.newLine()
	l.invite = req
	l.offered = len(req.Body()) > 0
	l.callID = req.CallID().Value()
	l.remoteTag, _ = req.From().Params.Get("tag")
	l.remote = sip.Identity{Display: req.From().DisplayName, User: req.From().Address.User}
	l.aor, l.peerAOR = req.To().Address.String(), req.From().Address.String()
	if c := req.Contact(); c != nil {
		l.target = c.Address.String()
	}
	p.mu.Lock()
	p.lines[l.callID] = l
	p.mu.Unlock()
	if p.cfg.AutoRing {
		l.Ring(false)
	}
	select {
	case p.incoming <- l:
	default:
		l.Refuse(486)
	}
}

// Sound returns the sound side of the call.
func (l *Line) Sound() sip.Negotiator { return l.sound }

// Remote is what the display shows: the caller, or whom the last message of the
// call said that we talk to (RFC 3325, RFC 4916).
func (l *Line) Remote() sip.Identity {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.remote
}

// show reads from a message who is at the other end. Called with mu held.
func (l *Line) show(m sipmsg.Message) {
	var who sipmsg.FromHeader
	asserted := headerValue(m, "P-Asserted-Identity")
	if asserted == "" {
		return
	}
	params := sipmsg.NewParams()
	display, err := sipmsg.ParseAddressValue(asserted, &who.Address, &params)
	if err == nil {
		l.remote = sip.Identity{Display: display, User: who.Address.User}
	}
}

// Header returns a header of the incoming INVITE.
func (l *Line) Header(name string) string {
	if l.invite == nil {
		return ""
	}
	return headerValue(l.invite, name)
}

// Ringing is closed once the callee's phone rings (180 or 183).
func (l *Line) Ringing() <-chan struct{} { return l.ringing }

// Answered is closed once the call is up: on 200 for the caller, on ACK for the callee.
func (l *Line) Answered() <-chan struct{} { return l.answered }

// Done is closed once the call has ended or failed.
func (l *Line) Done() <-chan struct{} { return l.done }

// Code is, after Done, the final status of a call that was refused or cancelled; 0 after BYE.
func (l *Line) Code() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.code
}

// Reason is the Reason header of the CANCEL, BYE or answer that ended the call.
func (l *Line) Reason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason
}

func (l *Line) end(code int, reason string) {
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		return
	}
	l.over = true
	l.code, l.reason = code, reason
	l.hear()
	close(l.done)
	l.mu.Unlock()
}

func (l *Line) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// Ring says 180, or 183 with sound, to an incoming call.
func (l *Line) Ring(early bool) error {
	if l.isOver() {
		return ErrOver
	}
	if !early || !l.offered {
		l.p.reply(l.invite, 180, "Ringing", l.localTag, nil, "Contact: "+l.p.contact(), "Allow: "+l.p.cfg.Allow)
		return nil
	}
	sdp, err := l.sound.Answer(l.invite.Body())
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.early = sdp
	l.mu.Unlock()
	l.p.reply(l.invite, 183, "Session Progress", l.localTag, sdp, "Contact: "+l.p.contact())
	return nil
}

// Answer takes an incoming call; it returns once that is acknowledged.
func (l *Line) Answer(ctx context.Context) error {
	if l.isOver() {
		return ErrOver
	}
	sdp, err := l.early, error(nil)
	switch {
	case len(sdp) > 0:
	case l.offered:
		sdp, err = l.sound.Answer(l.invite.Body())
	default:
		sdp, err = l.sound.Offer()
		l.late = true
	}
	if err != nil {
		l.Refuse(488)
		return err
	}
	if err := l.accept(ctx, l.invite, sdp); err != nil {
		return fmt.Errorf("answer %s: %w", l.p.cfg.Name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up && !l.over {
		l.up = true
		close(l.answered)
	}
	return nil
}

// accept sends a 200 until it is acknowledged: RFC 3261 §13.3.1.4.
func (l *Line) accept(ctx context.Context, req *sipmsg.Request, sdp []byte) error {
	acked := make(chan struct{})
	l.mu.Lock()
	l.acked = acked
	l.busy = true
	l.mu.Unlock()
	data := l.p.reply(req, 200, "OK", l.localTag, sdp, "Contact: "+l.p.contact(), "Allow: "+l.p.cfg.Allow)
	interval := t1
	again := time.NewTimer(interval)
	defer again.Stop()
	giveUp := time.NewTimer(64 * t1)
	defer giveUp.Stop()
	for {
		select {
		case <-acked:
			return nil
		case <-again.C:
			l.p.write(data)
			interval = min(2*interval, t2)
			again.Reset(interval)
		case <-giveUp.C:
			l.p.wg.Go(func() { l.Bye(l.p.ctx) })
			return ErrNoAnswer
		case <-l.done:
			return ErrOver
		case <-l.p.ctx.Done():
			return ErrOver
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var reasons = map[int]string{
	404: "Not Found", 480: "Temporarily Unavailable", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here",
	491: "Request Pending", 503: "Service Unavailable", 603: "Decline", 302: "Moved Temporarily",
}

// Refuse declines an incoming call.
func (l *Line) Refuse(code int) error { return l.RefuseWith(code) }

// RefuseWith declines an incoming call with more headers in the answer, as "Name: value": a Contact, for one.
func (l *Line) RefuseWith(code int, headers ...string) error {
	if l.isOver() {
		return ErrOver
	}
	reason := reasons[code]
	if reason == "" {
		reason = "Refused"
	}
	l.end(code, "")
	l.p.reply(l.invite, code, reason, l.localTag, nil, headers...)
	return nil
}

// Cancel gives up a call that was not answered yet. It waits for the first
// answer, as RFC 3261 §9.1 wants; Done is closed when the callee's side confirmed.
func (l *Line) Cancel() error {
	l.mu.Lock()
	if l.over || l.up || !l.caller {
		l.mu.Unlock()
		return ErrOver
	}
	l.cancelled = true
	l.mu.Unlock()
	l.p.wg.Go(func() {
		select {
		case <-l.provisional:
		case <-l.p.ctx.Done():
			return
		}
		if l.isOver() {
			return
		}
		d := l.request("CANCEL")
		l.mu.Lock()
		d.branch = l.branch
		d.uri = l.peerAOR
		l.mu.Unlock()
		d.set("To", "<"+l.peerAOR+">")
		l.p.transact(l.p.ctx, d, nil)
	})
	return nil
}

// Hold puts the peer on hold: we send, but do not want to hear.
func (l *Line) Hold(ctx context.Context) error { return l.reinvite(ctx, true) }

// Resume takes the peer off hold.
func (l *Line) Resume(ctx context.Context) error { return l.reinvite(ctx, false) }

func (l *Line) reinvite(ctx context.Context, hold bool) error {
	l.mu.Lock()
	if l.over || !l.up {
		l.mu.Unlock()
		return ErrOver
	}
	l.busy = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.busy = false
		l.mu.Unlock()
	}()
	offer, err := l.sound.Offer()
	if err != nil {
		return err
	}
	if hold {
		offer = direction(offer, "sendonly")
	}
	d := l.request("INVITE")
	d.sdp(offer)
	res, err := l.p.transact(ctx, d, nil)
	if err != nil {
		return fmt.Errorf("re-INVITE %s: %w", l.p.cfg.Name, err)
	}
	if res.StatusCode >= 300 {
		l.ackRefusal(d, res)
		return fmt.Errorf("re-INVITE %s: %w", l.p.cfg.Name, refusal(res))
	}
	l.learn(res)
	l.ack(d, nil)
	l.mu.Lock()
	l.held = hold
	l.mu.Unlock()
	if err := l.sound.Accept(res.Body()); err != nil {
		return fmt.Errorf("re-INVITE %s: %w", l.p.cfg.Name, err)
	}
	return nil
}

// direction rewrites which way the sound of a description goes.
func direction(sdp []byte, want string) []byte {
	s := string(sdp)
	for _, d := range []string{"sendrecv", "sendonly", "recvonly", "inactive"} {
		if strings.Contains(s, "a="+d+"\r\n") {
			return []byte(strings.ReplaceAll(s, "a="+d+"\r\n", "a="+want+"\r\n"))
		}
	}
	return []byte(s + "a=" + want + "\r\n")
}

// Bye ends the call and returns once the peer confirmed.
func (l *Line) Bye(ctx context.Context) error {
	if l.isOver() {
		return ErrOver
	}
	d := l.request("BYE")
	l.end(0, "")
	if _, err := l.p.transact(ctx, d, nil); err != nil {
		return fmt.Errorf("bye %s: %w", l.p.cfg.Name, err)
	}
	return nil
}

// HangUp does what putting down the handset does: CANCEL, refuse or BYE. It does not wait.
func (l *Line) HangUp() {
	l.mu.Lock()
	up, over, caller, accepted := l.up, l.over, l.caller, l.acked != nil
	l.mu.Unlock()
	switch {
	case over:
	case up || accepted:
		l.p.wg.Go(func() { l.Bye(l.p.ctx) })
	case caller:
		l.Cancel()
	default:
		l.Refuse(603)
	}
}

// SendInfo sends one digit by INFO.
func (l *Line) SendInfo(ctx context.Context, digit rune) error {
	d := l.request("INFO")
	d.set("Content-Type", "application/dtmf-relay")
	d.body = fmt.Appendf(nil, "Signal=%c\r\nDuration=160\r\n", digit)
	res, err := l.p.transact(ctx, d, nil)
	if err != nil {
		return fmt.Errorf("info %s: %w", l.p.cfg.Name, err)
	}
	if res.StatusCode != 200 {
		return fmt.Errorf("info %s: %w", l.p.cfg.Name, refusal(res))
	}
	return nil
}

// asked serves a request of this call. It runs on the phone's reader and must not wait.
func (l *Line) asked(req *sipmsg.Request) {
	switch req.Method {
	case sipmsg.ACK:
		l.acknowledged(req)
	case sipmsg.CANCEL:
		l.p.reply(req, 200, "OK", l.localTag, nil)
		l.mu.Lock()
		open := !l.up && !l.over && l.acked == nil && l.invite != nil
		l.mu.Unlock()
		if open {
			l.end(487, headerValue(req, "Reason"))
			l.p.reply(l.invite, 487, reasons[487], l.localTag, nil)
		}
	case sipmsg.BYE:
		l.p.reply(req, 200, "OK", l.localTag, nil)
		l.end(0, headerValue(req, "Reason"))
	case sipmsg.INVITE, sipmsg.UPDATE:
		l.changed(req)
	case sipmsg.NOTIFY:
		l.notified(req)
	case sipmsg.INFO, sipmsg.OPTIONS:
		l.p.reply(req, 200, "OK", l.localTag, nil)
	default:
		l.p.reply(req, 405, "Method Not Allowed", l.localTag, nil, "Allow: "+l.p.cfg.Allow)
	}
}

func (l *Line) acknowledged(req *sipmsg.Request) {
	l.mu.Lock()
	acked, late := l.acked, l.late
	l.acked, l.late, l.busy = nil, false, false
	l.mu.Unlock()
	if acked == nil {
		return
	}
	if late && len(req.Body()) > 0 {
		l.sound.Accept(req.Body())
	}
	close(acked)
}

// changed serves a re-INVITE or UPDATE.
func (l *Line) changed(req *sipmsg.Request) {
	l.mu.Lock()
	busy, over, held := l.busy, l.over, l.held
	l.show(req)
	if c := req.Contact(); c != nil && !busy && !over {
		l.target = c.Address.String()
	}
	l.mu.Unlock()
	switch {
	case over:
		l.p.reply(req, 481, "Call/Transaction Does Not Exist", l.localTag, nil)
		return
	case busy: // RFC 3261 §14.2
		l.p.reply(req, 491, reasons[491], l.localTag, nil)
		return
	case len(req.Body()) == 0 && req.Method == sipmsg.UPDATE:
		l.p.reply(req, 200, "OK", l.localTag, nil, "Contact: "+l.p.contact())
		return
	}
	var sdp []byte
	var err error
	late := len(req.Body()) == 0
	if late {
		sdp, err = l.sound.Offer()
	} else {
		sdp, err = l.sound.Answer(req.Body())
	}
	if err != nil {
		l.p.reply(req, 488, reasons[488], l.localTag, nil)
		return
	}
	if held {
		sdp = direction(sdp, "sendonly")
	}
	if req.Method == sipmsg.UPDATE {
		l.p.reply(req, 200, "OK", l.localTag, sdp, "Contact: "+l.p.contact())
		return
	}
	l.mu.Lock()
	l.late = late
	l.mu.Unlock()
	l.p.wg.Go(func() { l.accept(l.p.ctx, req, sdp) })
}
