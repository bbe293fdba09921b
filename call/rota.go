package call

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"pbx/dialplan"
	"pbx/store"
)

// rota remembers what the strategies of ring groups go by. It begins anew with the process.
type rota struct {
	mu    sync.Mutex
	turn  map[store.ID]int       // of a ring group: how many calls it had
	spoke map[store.ID]time.Time // when a user last answered
}

// order returns the groups of targets in the order in which this call rings them.
func (r *rota) order(d dialplan.Ring) []dialplan.Group {
	groups := slices.Clone(d.Groups)
	if len(groups) < 2 {
		return groups
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch d.Strategy {
	case "round_robin":
		if r.turn == nil {
			r.turn = make(map[store.ID]int)
		}
		first := r.turn[d.RingGroup] % len(groups)
		r.turn[d.RingGroup]++
		return append(groups[first:], groups[:first]...)
	case "random":
		rand.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	case "least_recent":
		// A user who never answered comes first, a number of the public network as if it never did.
		slices.SortStableFunc(groups, func(a, b dialplan.Group) int {
			return cmp.Or(r.spoke[a.Targets[0].User].Compare(r.spoke[b.Targets[0].User]))
		})
	}
	return groups
}

// answered notes that a user took a call.
func (r *rota) answered(user store.ID) {
	if user == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spoke == nil {
		r.spoke = make(map[store.ID]time.Time)
	}
	r.spoke[user] = time.Now()
}
