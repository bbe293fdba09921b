package call

import (
	"errors"
	"fmt"

	"pbx/store"
)

// ErrNobodyInBoth says that two calls have no user in common who could join them.
var ErrNobodyInBoth = errors.New("nobody is in both calls")

// Join connects the other sides of two calls of one user, who leaves both: an attended transfer for those who have no
// phone at hand that can do it. Without a user it is whoever is in both.
func (e *Engine) Join(account, call, into, user store.ID) error {
	c, d := e.board.call(call), e.board.call(into)
	if c == nil || d == nil || c == d || c.account != account || d.account != account {
		return fmt.Errorf("join %s and %s: %w", call, into, store.ErrNotFound)
	}
	ours, theirs := c.talkers(), d.talkers()
	if ours == nil || theirs == nil {
		return fmt.Errorf("join %s and %s: %w", call, into, ErrNotTalking)
	}
	for _, by := range ours {
		for _, of := range theirs {
			u := by.Who.UserID
			if u == "" || u != of.Who.UserID || user != "" && u != user {
				continue
			}
			if !c.ask(refer{by: by, into: of.Leg, told: unreported{}}) {
				return fmt.Errorf("join %s and %s: %w", call, into, ErrNotTalking)
			}
			return nil
		}
	}
	return fmt.Errorf("join %s and %s: %w", call, into, ErrNobodyInBoth)
}

// talkers are the two who talk in a call; nil while nobody does.
func (c *Call) talkers() []*Party {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != (talking{}).String() || c.caller == nil || c.callee == nil {
		return nil
	}
	return []*Party{c.caller, c.callee}
}
