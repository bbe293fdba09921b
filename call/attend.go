package call

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"pbx/media"
	"pbx/sip"
)

// errHungUp says that the call is over: who ended it has been noted.
var errHungUp = errors.New("hung up")

// errInternal says that our own code failed; the log has the details.
var errInternal = errors.New("internal error")

// allKeys of a telephone.
const allKeys = "0123456789*#"

// attend does work for one party and is all ears meanwhile: it returns the first of the given keys
// that is pressed, or 0 when the work ends by itself; errHungUp when the party or the call is over.
// Whatever happens, the work has ended when attend returns.
func (c *Call) attend(ctx context.Context, p *Party, keys string, work func(ctx context.Context) error) (rune, error) {
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	c.engine.calls.Go(c.guarded(func() {
		err := errInternal
		defer func() { ended <- err }()
		err = work(ctx)
	}))
	running := true
	defer func() {
		stop()
		if running {
			<-ended
		}
	}()
	for {
		var key rune
		var info bool
		select {
		case err := <-ended:
			running = false
			if ctx.Err() != nil {
				return 0, c.stopped()
			}
			return 0, err
		case <-p.Done():
			return 0, c.gone(p)
		case <-p.Sound.Silent():
			return 0, c.silent(p)
		case <-p.Sound.Trouble():
			c.troubled(p)
			continue
		case <-ctx.Done():
			return 0, c.stopped()
		case w := <-c.wishes:
			if c.declined(w) {
				return 0, errHungUp
			}
			continue
		case key = <-p.Sound.Digits():
		case key = <-p.Leg.Digits():
			info = true
			p.Sound.KeysByINFO()
		}
		if p.pressed(key, info) && strings.ContainsRune(keys, key) {
			return key, nil
		}
	}
}

// say plays phrases one after another; any key cuts them short and is returned.
func (c *Call) say(ctx context.Context, p *Party, phrases ...string) (rune, error) {
	return c.play(ctx, p, allKeys, c.engine.Library.Prompt(phrases...))
}

func (c *Call) play(ctx context.Context, p *Party, keys string, src media.Source) (rune, error) {
	return c.attend(ctx, p, keys, func(ctx context.Context) error { return p.Sound.Play(ctx, src) })
}

// key waits for a key; 0 when patience runs out.
func (c *Call) key(ctx context.Context, p *Party, patience time.Duration) (rune, error) {
	return c.attend(ctx, p, allKeys, func(ctx context.Context) error {
		select {
		case <-time.After(patience):
		case <-ctx.Done():
		}
		return nil
	})
}

// background plays src to p until the returned function is called, which waits for it.
func (c *Call) background(ctx context.Context, p *Party, src media.Source) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var playing sync.WaitGroup
	playing.Go(c.guarded(func() { _ = p.Sound.Play(ctx, src) })) // who is gone hears nothing
	return func() {
		cancel()
		playing.Wait()
	}
}

// answer opens the way to the caller's phone, unless it is open. It returns once the phone has
// agreed, or errHungUp when it or other, if any, is gone before that.
func (c *Call) answer(ctx context.Context, p, other *Party) error {
	if p.answered {
		c.answeredAt(time.Now())
		return nil
	}
	// A call that the store forgot would be a call that nobody can explain; but people come first.
	select {
	case <-c.begun:
	case <-time.After(answerPatience):
		c.log.Warn("answered before the record was written")
	}
	at := time.Now()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	agreed := make(chan error, 1)
	c.engine.calls.Go(func() { agreed <- p.Leg.Answer(ctx) })
	var gone <-chan struct{}
	if other != nil {
		gone = other.Done()
	}
	select {
	case err := <-agreed:
		if err != nil {
			return c.unagreed(p, err)
		}
	case <-gone:
		stop()
		<-agreed
		return c.gone(other)
	}
	p.answered = true
	p.Sound.Established()
	c.answeredAt(at)
	return nil
}

// unagreed notes why the caller's phone did not get through after all.
func (c *Call) unagreed(p *Party, err error) error {
	switch {
	case c.ctx.Err() != nil:
		return c.stopped()
	case errors.Is(err, sip.ErrOver):
		<-p.Done() // it follows at once
		return c.gone(p)
	}
	c.over("system", "not agreed with the caller's phone: "+err.Error())
	return errHungUp
}
