package call

import (
	"context"
	"sync"
	"time"

	"pbx/dialplan"
	"pbx/store"
)

// campLife is how long somebody waits for another one to be free (RFC 6910 calls it completion of calls to busy users).
const campLife = 30 * time.Minute

// camps are the users who want to be called back when another one is free: one wish each.
type camps struct {
	mu sync.Mutex
	of map[store.ID]camp // by the user who waits
}

type camp struct {
	account store.ID
	target  dialplan.Target
	until   time.Time
}

// set notes the wish of a user; a zero one forgets it.
func (w *camps) set(user store.ID, c camp) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = make(map[store.ID]camp)
	}
	if c.target.User == "" {
		delete(w.of, user)
		return
	}
	w.of[user] = c
}

// due takes the wishes that may come true now, and forgets those that waited too long.
func (w *camps) due(now time.Time, free func(user store.ID) bool) map[store.ID]camp {
	w.mu.Lock()
	defer w.mu.Unlock()
	ready := make(map[store.ID]camp)
	for user, c := range w.of {
		switch {
		case now.After(c.until):
			delete(w.of, user)
		case free(c.target.User) && free(user):
			delete(w.of, user)
			ready[user] = c
		}
	}
	return ready
}

// campOn lives the code: who waits is told so.
func (c *Call) campOn(p *Party, d dialplan.CampOn) Step {
	return telling{p, "call back when free", func(context.Context, *Call) ([]string, error) {
		if d.Target.User == "" {
			c.engine.camps.set(d.User, camp{})
			return []string{"call-back-cancelled"}, nil
		}
		c.note("waits for " + named(store.CallParty{Name: d.Target.Name, Extension: d.Target.Extension}))
		c.engine.camps.set(d.User, camp{account: c.account, target: d.Target, until: time.Now().Add(campLife)})
		return []string{"will-call-back"}, nil
	}}
}

// completeCalls calls those back who waited for somebody who is free now.
func (e *Engine) completeCalls() {
	free := func(user store.ID) bool {
		return len(e.SIP.BindingsOfUser(user)) > 0 && len(e.board.presences(user)) == 0
	}
	for user, w := range e.camps.due(time.Now(), free) {
		if _, err := e.Originate(e.root, w.account, user, w.target.Extension); err != nil {
			e.Log.Info("call not completed", "user", user, "err", err)
		}
	}
}
