package call

import (
	"context"
	"errors"
	"time"

	"pbx/dialplan"
	"pbx/store"
)

// calling rings the caller's own phones first, for a call that was asked for in the portal.
type calling struct {
	user *store.User
	to   string
}

// callBackPatience is how long people may take to pick up the phone that they asked to ring.
const callBackPatience = 30 * time.Second

func (s calling) Parties() []*Party { return nil }
func (s calling) String() string    { return "calling" }

func (s calling) Run(ctx context.Context, c *Call) Step {
	// The phone shows whom it will dial, as if its user had dialled.
	who := store.CallParty{Number: dialplan.Normalize(s.to)}
	if u := c.rows.UserByExtension(who.Number); u != nil {
		who = store.CallParty{UserID: u.ID, Name: u.Name, Extension: u.Extension}
	}
	c.meant(who)
	c.note(s.user.Name + " (" + s.user.Extension + "), who asked for this call")
	own := dialplan.Target{User: s.user.ID, Name: s.user.Name, Extension: s.user.Extension}
	p, err := c.fork(ctx, nil, dialplan.Group{Targets: []dialplan.Target{own}, Timeout: callBackPatience}, ringStyle{})
	switch {
	case errors.Is(err, errHungUp):
		return nil
	case err != nil:
		c.over("caller", "own phone: "+err.Error())
		return nil
	}
	c.took(p)
	return routing{party: p, dialed: s.to}
}
