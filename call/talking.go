package call

import (
	"context"

	"pbx/media"
	"pbx/store"
)

// talking joins two parties.
type talking struct{ a, b *Party }

func (s talking) Parties() []*Party { return []*Party{s.a, s.b} }
func (s talking) String() string    { return "talking" }

func (s talking) Run(ctx context.Context, c *Call) Step {
	c.joined(s.b)
	s.a.Sound.Prefer(s.b.Sound)
	bridge := media.Join(s.a.Sound, s.b.Sound)
	defer bridge.Close()
	c.introduce(ctx, s.a, s.b)
	c.introduce(ctx, s.b, s.a)
	if !s.b.answered { // picked up by a call of their own
		if err := c.answer(ctx, s.b, s.a); err != nil {
			return nil
		}
	}
	if err := c.answer(ctx, s.a, s.b); err != nil {
		return nil
	}
	c.outcome(store.OutcomeAnswered)

	c.recordIfRuled(ctx, s.a, s.b)
	var hold holdMusic
	defer hold.stop()
	a, b := keypad{party: s.a}, keypad{party: s.b}
	defer a.clear()
	defer b.clear()
	for {
		var next Step
		moves := false
		hold.follow(ctx, c, s.a, s.b)
		select {
		case <-s.a.Done():
			return s.parts(c, s.a)
		case <-s.b.Done():
			return s.parts(c, s.b)
		case <-ctx.Done():
			_ = c.stopped()
			return nil
		case <-s.a.Sound.Silent():
			_ = c.silent(s.a)
			return nil
		case <-s.b.Sound.Silent():
			_ = c.silent(s.b)
			return nil
		case <-s.a.Sound.Trouble():
			c.troubled(s.a)
		case <-s.b.Sound.Trouble():
			c.troubled(s.b)
		case <-s.a.Sound.Changed():
			c.changed()
		case <-s.b.Sound.Changed():
			c.changed()
		case key := <-s.a.Leg.Digits():
			next, moves = s.keyed(ctx, c, &a, key, true)
		case key := <-s.b.Leg.Digits():
			next, moves = s.keyed(ctx, c, &b, key, true)
		case key := <-s.a.Sound.Digits():
			next, moves = s.keyed(ctx, c, &a, key, false)
		case key := <-s.b.Sound.Digits():
			next, moves = s.keyed(ctx, c, &b, key, false)
		case <-a.due():
			next, moves = s.obey(ctx, c, &a, true)
		case <-b.due():
			next, moves = s.obey(ctx, c, &b, true)
		case w := <-c.wishes:
			if t, ok := w.(tapeWish); ok {
				c.setTape(ctx, t.state, t.by)
				continue
			}
			next, moves = s.granted(c, w)
		}
		if moves {
			return next
		}
	}
}

// parts ends the talk because p hung up, unless p asked before a transfer, which this completes.
func (s talking) parts(c *Call, p *Party) Step {
	if next := s.handsOver(c, p); next != nil {
		return next
	}
	_ = c.gone(p)
	return nil
}
