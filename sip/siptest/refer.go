package siptest

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Referral is a REFER that a phone sent, and what it was told of it.
type Referral struct {
	// Code is the answer to the REFER.
	Code int
	// Unsubscribed says that the answer had Refer-Sub: false.
	Unsubscribed bool

	id   string
	done chan struct{}

	mu     sync.Mutex
	news   []string
	states []string
	over   bool
}

// News returns the status lines of the NOTIFY requests so far.
func (r *Referral) News() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.news)
}

// States returns what Subscription-State said with each of the news.
func (r *Referral) States() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.states)
}

// Done is closed by the NOTIFY that ends the subscription.
func (r *Referral) Done() <-chan struct{} { return r.done }

// Replaces is the value of a Replaces header that names this call for the other side of it.
func (l *Line) Replaces() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	tag := l.remoteTag
	if tag == "" {
		tag = l.earlyTag
	}
	return l.callID + ";to-tag=" + tag + ";from-tag=" + l.localTag
}

// Refer asks for a blind transfer of the other side to a number.
func (l *Line) Refer(ctx context.Context, number string) (*Referral, error) {
	return l.ReferTo(ctx, "<sip:"+number+"@"+l.p.cfg.Domain+">")
}

// ReferInto asks for an attended transfer: the other side is to take our place in the other call.
func (l *Line) ReferInto(ctx context.Context, other *Line) (*Referral, error) {
	replaces := url.QueryEscape(other.Replaces())
	other.mu.Lock()
	target := other.target
	other.mu.Unlock()
	target, _, _ = strings.Cut(target, ";")
	return l.ReferTo(ctx, "<"+target+"?Replaces="+replaces+">")
}

// ReferTo sends a REFER with the given Refer-To, and more headers as "Name: value".
func (l *Line) ReferTo(ctx context.Context, referTo string, headers ...string) (*Referral, error) {
	d := l.request("REFER")
	if referTo != "" {
		d.set("Refer-To", referTo)
	}
	d.set("Referred-By", "<"+l.aor+">")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		d.headers = append(d.headers, [2]string{name, value})
	}
	r := &Referral{done: make(chan struct{})}
	for _, h := range d.headers {
		if h[0] == "CSeq" {
			r.id, _, _ = strings.Cut(h[1], " ")
		}
	}
	l.mu.Lock()
	l.referrals = append(l.referrals, r)
	l.mu.Unlock()
	res, err := l.p.transact(ctx, d, nil)
	if err != nil {
		return nil, fmt.Errorf("refer %s: %w", l.p.cfg.Name, err)
	}
	r.Code = res.StatusCode
	r.Unsubscribed = strings.EqualFold(headerValue(res, "Refer-Sub"), "false")
	return r, nil
}

// notified takes a NOTIFY within the call.
func (l *Line) notified(req *sipmsg.Request) {
	event, params, _ := strings.Cut(headerValue(req, "Event"), ";")
	if event != "refer" {
		l.p.reply(req, 200, "OK", l.localTag, nil)
		return
	}
	l.mu.Lock()
	referrals := slices.Clone(l.referrals)
	l.mu.Unlock()
	for _, r := range referrals {
		if params == "id="+r.id && r.take(string(req.Body()), headerValue(req, "Subscription-State")) {
			l.p.reply(req, 200, "OK", l.localTag, nil)
			return
		}
	}
	l.p.reply(req, 481, "Subscription Does Not Exist", l.localTag, nil)
}

// take notes what a NOTIFY says; it reports false when the subscription has ended.
func (r *Referral) take(body, state string) bool {
	line, _, _ := strings.Cut(body, "\r\n")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return false
	}
	r.news = append(r.news, line)
	r.states = append(r.states, state)
	if strings.HasPrefix(state, "terminated") {
		r.over = true
		close(r.done)
	}
	return true
}

// Unsubscribe tells that nothing more is to be told of a referral, and returns the status of the answer.
func (l *Line) Unsubscribe(ctx context.Context, r *Referral) (int, error) {
	d := l.request("SUBSCRIBE")
	d.set("Event", "refer;id="+r.id)
	d.set("Expires", "0")
	res, err := l.p.transact(ctx, d, nil)
	if err != nil {
		return 0, fmt.Errorf("unsubscribe %s: %w", l.p.cfg.Name, err)
	}
	return res.StatusCode, nil
}

// CallWith is Call with more headers in the INVITE, as "Name: value".
func (p *Phone) CallWith(ctx context.Context, number string, headers ...string) (*Line, error) {
	return p.call(ctx, number, headers)
}

// Number is what was dialled in a call that the phone placed.
func (l *Line) Number() string { return l.number }

// Send sends a request outside of calls, with credentials when it is challenged, and returns the status of the answer.
func (p *Phone) Send(ctx context.Context, method string, headers ...string) (int, error) {
	callID, tag, seq := token(), token(), uint32(0)
	res, err := p.authenticated(ctx, func() *draft {
		seq++
		d := p.draft(method, p.registrarURI(), seq)
		d.set("From", "<"+p.aor()+">;tag="+tag)
		d.set("To", "<"+p.registrarURI()+">")
		d.set("Call-ID", callID)
		d.set("Contact", p.contact())
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			d.headers = append(d.headers, [2]string{name, value})
		}
		return d
	})
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", method, p.cfg.Name, err)
	}
	return res.StatusCode, nil
}
