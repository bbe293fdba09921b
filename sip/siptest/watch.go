package siptest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Watch is a subscription of a phone to anything but its own message lamp.
type Watch struct {
	p           *Phone
	event       string
	target      string
	callID, tag string
	headers     []string
	notices     chan Notice

	mu        sync.Mutex
	remoteTag string
	cseq      uint32
	last      Notice
	lastAt    time.Time
	count     int
}

// Watch subscribes to the state of target, a user part. Headers are lines to add, such as "Supported: eventlist".
func (p *Phone) Watch(ctx context.Context, event, target string, expires time.Duration, headers ...string) (*Watch, error) {
	w := &Watch{p: p, event: event, target: "sip:" + target + "@" + p.cfg.Domain, callID: token(), tag: token(), headers: headers, notices: make(chan Notice, 256)}
	p.mu.Lock()
	if p.watches == nil {
		p.watches = make(map[string]*Watch)
	}
	p.watches[w.callID] = w
	p.mu.Unlock()
	if err := w.Refresh(ctx, expires); err != nil {
		w.Forget()
		return nil, err
	}
	return w, nil
}

// Refresh asks for more time; 0 ends the subscription.
func (w *Watch) Refresh(ctx context.Context, expires time.Duration) error {
	res, err := w.p.authenticated(ctx, func() *draft {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.cseq++
		d := w.p.draft("SUBSCRIBE", w.target, w.cseq)
		d.set("From", "<"+w.p.aor()+">;tag="+w.tag)
		to := "<" + w.target + ">"
		if w.remoteTag != "" {
			to += ";tag=" + w.remoteTag
		}
		d.set("To", to)
		d.set("Call-ID", w.callID)
		d.set("Contact", w.p.contact())
		d.set("Event", w.event)
		d.set("Expires", strconv.Itoa(int(expires/time.Second)))
		for _, h := range w.headers {
			name, value, _ := strings.Cut(h, ": ")
			d.set(name, value)
		}
		return d
	})
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.target, err)
	}
	if res.StatusCode != 200 {
		return fmt.Errorf("watch %s: %w", w.target, refusal(res))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remoteTag, _ = res.To().Params.Get("tag")
	return nil
}

// Forget lets the phone answer 481 from now on, as one that was started anew.
func (w *Watch) Forget() {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	delete(w.p.watches, w.callID)
}

// Notices yields the NOTIFY requests of the subscription, the newest lost when nobody reads.
func (w *Watch) Notices() <-chan Notice { return w.notices }

// Last returns the latest notice, when it came, and how many there were.
func (w *Watch) Last() (n Notice, at time.Time, count int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, w.lastAt, w.count
}

// watched takes a NOTIFY that belongs to a watch; it reports whether one of another phone's life was refused.
func (p *Phone) watched(req *sipmsg.Request, n Notice) bool {
	event, _, _ := strings.Cut(n.Event, ";")
	_, inDialog := req.To().Params.Get("tag")
	p.mu.Lock()
	w := p.watches[req.CallID().Value()]
	p.mu.Unlock()
	if w == nil {
		if inDialog && event != "message-summary" && event != "refer" {
			p.reply(req, 481, "Subscription Does Not Exist", "", nil)
			return true
		}
		return false
	}
	w.mu.Lock()
	w.last, w.lastAt = n, time.Now()
	w.count++
	w.mu.Unlock()
	p.reply(req, 200, "OK", "", nil)
	select {
	case w.notices <- n:
	default:
	}
	return true
}

// Publish sends a PUBLISH about the phone's own user and returns the status of the answer, its entity tag and Expires.
func (p *Phone) Publish(ctx context.Context, event, target, contentType, body, match string, expires time.Duration) (code int, tag, granted string, err error) {
	callID, fromTag, seq := token(), token(), uint32(0)
	res, err := p.authenticated(ctx, func() *draft {
		seq++
		uri := "sip:" + target + "@" + p.cfg.Domain
		d := p.draft("PUBLISH", uri, seq)
		d.set("From", "<"+p.aor()+">;tag="+fromTag)
		d.set("To", "<"+uri+">")
		d.set("Call-ID", callID)
		d.set("Event", event)
		d.set("Expires", strconv.Itoa(int(expires/time.Second)))
		if match != "" {
			d.set("SIP-If-Match", match)
		}
		if body != "" {
			d.set("Content-Type", contentType)
			d.body = []byte(body)
		}
		return d
	})
	if err != nil {
		return 0, "", "", fmt.Errorf("publish: %w", err)
	}
	return res.StatusCode, headerValue(res, "SIP-ETag"), headerValue(res, "Expires"), nil
}

// notifyNonce is the one nonce of a phone that challenges.
const notifyNonce = "n0nce"

// challenged asks for the credentials of a NOTIFY, if the phone does that; it reports whether it did.
func (p *Phone) challenged(req *sipmsg.Request) bool {
	if _, inDialog := req.To().Params.Get("tag"); !p.cfg.ChallengeNotify || inDialog {
		return false
	}
	given, _ := parseChallenge(headerValue(req, "Authorization"))
	want := p.digest(map[string]string{"realm": "phone", "nonce": notifyNonce, "algorithm": "MD5"}, "NOTIFY", given["uri"], given["cnonce"])
	if given["response"] != "" && given["response"] == want {
		return false
	}
	p.reply(req, 401, "Unauthorized", "", nil, `WWW-Authenticate: Digest realm="phone", nonce="`+notifyNonce+`", algorithm=MD5, qop="auth"`)
	return true
}
