package siptest

import (
	"context"
	"fmt"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Words is a MESSAGE that the phone received.
type Words struct{ From, ContentType, Body, CallID string }

// Words yields the texts that the phone took.
func (p *Phone) Words() <-chan Words { return p.words }

// Say sends a text and returns the status of the answer.
func (p *Phone) Say(ctx context.Context, to, contentType, body string) (int, error) {
	callID, seq := token(), uint32(0)
	res, err := p.authenticated(ctx, func() *draft {
		seq++
		uri := "sip:" + to + "@" + p.cfg.Domain
		d := p.draft("MESSAGE", uri, seq)
		d.set("From", `"Somebody Else" <sip:999@elsewhere.test>;tag=`+token())
		d.set("To", "<"+uri+">")
		d.set("Call-ID", callID)
		if contentType != "" {
			d.set("Content-Type", contentType)
		}
		d.body = []byte(body)
		return d
	})
	if err != nil {
		return 0, fmt.Errorf("say %s: %w", p.cfg.Name, err)
	}
	return res.StatusCode, nil
}

// heard takes a MESSAGE, or answers what the phone was told to.
func (p *Phone) heard(req *sipmsg.Request) {
	if code := p.wordsCode.Load(); code != 0 {
		p.reply(req, int(code), "As Told", "", nil)
		return
	}
	select {
	case p.words <- Words{From: req.From().Value(), ContentType: headerValue(req, "Content-Type"), Body: string(req.Body()), CallID: req.CallID().Value()}:
		p.reply(req, 200, "OK", "", nil)
	default:
		p.reply(req, 480, "Full", "", nil)
	}
}

// AnswerWords has the phone answer texts with a status instead of taking them; 0 takes them again.
func (p *Phone) AnswerWords(code int) { p.wordsCode.Store(int32(code)) }
