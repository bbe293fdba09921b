package call

import (
	"context"
	"errors"

	"pbx/media"
	"pbx/store"
)

// echoing sends the caller's sound back: the quickest test of a new phone.
type echoing struct{ party *Party }

func (s echoing) Parties() []*Party { return []*Party{s.party} }
func (s echoing) String() string    { return "echo" }

func (s echoing) Run(ctx context.Context, c *Call) Step {
	if err := c.answer(ctx, s.party, nil); err != nil {
		return nil
	}
	c.outcome(store.OutcomeAnswered)
	if _, err := c.say(ctx, s.party, "echo-intro"); errors.Is(err, errHungUp) {
		return nil
	}
	echo := media.Echo(s.party.Sound)
	defer echo.Close()
	_, _ = c.attend(ctx, s.party, "", untilDone)
	return nil
}

// untilDone is the work of somebody who only waits.
func untilDone(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
