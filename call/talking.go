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
	for {
		hold.follow(ctx, c, s.a, s.b)
		select {
		case <-s.a.Done():
			_ = c.gone(s.a)
			return nil
		case <-s.b.Done():
			_ = c.gone(s.b)
			return nil
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
			s.pass(ctx, key, s.a, s.b)
			c.keyed(ctx, s.a, key, true)
		case key := <-s.b.Leg.Digits():
			s.pass(ctx, key, s.b, s.a)
			c.keyed(ctx, s.b, key, true)
		case key := <-s.a.Sound.Digits():
			c.keyed(ctx, s.a, key, false)
		case key := <-s.b.Sound.Digits():
			c.keyed(ctx, s.b, key, false)
		case w := <-c.wishes:
			if t, ok := w.(tapeWish); ok {
				c.setTape(ctx, t.state, t.by)
				continue
			}
			if next, moves := s.granted(c, w); moves {
				return next
			}
		}
	}
}

// pass sends on in the sound what one phone pressed by SIP INFO: keys in the sound pass through the bridge.
func (s talking) pass(ctx context.Context, key rune, from, to *Party) {
	from.Sound.KeysByINFO()
	_ = to.Sound.Press(ctx, string(key)) // who is gone hears no key
}
