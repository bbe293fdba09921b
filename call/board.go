package call

import (
	"cmp"
	"slices"
	"sync"

	"pbx/sip"
	"pbx/store"
)

// Board knows who is in which call, and moves parties between calls under its one mutex. No call
// ever waits for another: the call that loses a party learns it from a wish.
type Board struct {
	mu    sync.Mutex
	calls map[store.ID]*Call
	home  map[*Party]*Call
	seats map[*Party]seat // of home, and of phones that ring: what lamps show
	users map[store.ID][]*Party
	crews map[*Call][]*Party
	legs  map[*sip.Leg]*Party // of those that have a seat
}

func newBoard() *Board {
	return &Board{
		calls: make(map[store.ID]*Call), home: make(map[*Party]*Call),
		seats: make(map[*Party]seat), users: make(map[store.ID][]*Party), crews: make(map[*Call][]*Party),
		legs: make(map[*sip.Leg]*Party),
	}
}

func (b *Board) add(c *Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls[c.id] = c
}

// remove takes an ended call off the board.
func (b *Board) remove(c *Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.calls, c.id)
	for _, p := range slices.Clone(b.crews[c]) {
		b.rise(p)
	}
}

// settle notes that parties belong to c now.
func (b *Board) settle(c *Call, parties []*Party) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range parties {
		if home := b.home[p]; home != nil && home != c {
			continue // moved on in this moment: a wish tells it
		}
		b.home[p] = c
		b.sit(p, seat{call: c})
	}
}

// release takes p out of c and reports whether it was still there: a party that moved on is not c's to hang up.
func (b *Board) release(c *Call, p *Party) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if home, known := b.home[p]; known && home != c {
		return false
	}
	delete(b.home, p)
	b.rise(p)
	return true
}

// Home returns the call that p is in, or nil.
func (b *Board) Home(p *Party) *Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.home[p]
}

// Take moves p from its call to another and tells the call that it left. It reports whether
// p was there to be taken: of two calls that want one party, one gets it.
func (b *Board) Take(p *Party, to *Call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := b.home[p]
	if from == nil || from == to || !from.ask(left{p}) {
		return false
	}
	b.home[p] = to
	b.sit(p, seat{call: to})
	return true
}

func (b *Board) call(id store.ID) *Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[id]
}

func (b *Board) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.calls)
}

// of returns the calls of an account, oldest first.
func (b *Board) of(account store.ID) []*Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	var calls []*Call
	for _, c := range b.calls {
		if c.account == account {
			calls = append(calls, c)
		}
	}
	slices.SortFunc(calls, func(x, y *Call) int { return cmp.Compare(x.id, y.id) })
	return calls
}

// seat is where a party sits.
type seat struct {
	call  *Call
	rings bool // its phone only rings yet
}

// ring notes that a phone rings for c; it reports whether that is new.
func (b *Board) ring(c *Call, p *Party) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, sits := b.seats[p]; sits {
		return false
	}
	b.sit(p, seat{call: c, rings: true})
	return true
}

// quiet notes that a phone rings no more; it reports whether it did.
func (b *Board) quiet(p *Party) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.seats[p].rings {
		return false
	}
	b.rise(p)
	return true
}

// sit and rise keep the indexes; mu is held.
func (b *Board) sit(p *Party, at seat) {
	if b.seats[p] == at {
		return
	}
	b.rise(p)
	b.seats[p] = at
	if p.Leg != nil {
		b.legs[p.Leg] = p
	}
	b.crews[at.call] = append(b.crews[at.call], p)
	if u := p.Who.UserID; u != "" {
		b.users[u] = append(b.users[u], p)
	}
}

func (b *Board) rise(p *Party) {
	at, sits := b.seats[p]
	if !sits {
		return
	}
	delete(b.seats, p)
	delete(b.legs, p.Leg)
	without(b.crews, at.call, p)
	without(b.users, p.Who.UserID, p)
}

func without[K comparable](m map[K][]*Party, key K, p *Party) {
	if rest := slices.DeleteFunc(m[key], func(o *Party) bool { return o == p }); len(rest) > 0 {
		m[key] = rest
	} else {
		delete(m, key)
	}
}

// at returns whose leg it is, and where they sit; nil if nowhere.
func (b *Board) at(l *sip.Leg) (*Party, seat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.legs[l]
	return p, b.seats[p]
}

// rings reports whether the phone of p rings for c.
func (b *Board) rings(c *Call, p *Party) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seats[p] == seat{call: c, rings: true}
}

// ringing returns whose phones ring for c.
func (b *Board) ringing(c *Call) []*Party {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*Party
	for _, p := range b.crews[c] {
		if b.seats[p].rings {
			all = append(all, p)
		}
	}
	return all
}

// ringingFor returns a phone of one of the users that rings for the call that has waited longest, and where; nil if none rings.
func (b *Board) ringingFor(account store.ID, users ...store.ID) (*Party, *Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var first *Party
	for _, user := range users {
		for _, p := range b.users[user] {
			at := b.seats[p]
			if at.rings && at.call.account == account && (first == nil || at.call.id < b.seats[first].call.id) {
				first = p
			}
		}
	}
	return first, b.seats[first].call
}

// talks reports whether a user is in another call than c.
func (b *Board) talks(user store.ID, c *Call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.users[user], func(p *Party) bool { at := b.seats[p]; return !at.rings && at.call != c })
}

// partner returns who is in one call with p, or rings for it, if it is one only.
func (b *Board) partner(p *Party) (other *Party) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range b.crews[b.seats[p].call] {
		switch {
		case o == p:
		case other != nil:
			return nil
		default:
			other = o
		}
	}
	return other
}

// presence is one seat of a user, and who else is at the table.
type presence struct {
	party, other *Party // other: who talks with them, if it is exactly one
	seat
}

// presences returns where the parties of a user sit.
func (b *Board) presences(user store.ID) []presence {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []presence
	for _, p := range b.users[user] {
		at := presence{party: p, seat: b.seats[p]}
		n := 0
		for _, o := range b.crews[at.call] {
			if o != p && !b.seats[o].rings {
				at.other = o
				n++
			}
		}
		if n != 1 {
			at.other = nil
		}
		all = append(all, at)
	}
	return all
}

// crew returns the users whose phones are in a call or ring for it.
func (b *Board) crew(c *Call) []store.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	var users []store.ID
	for _, p := range b.crews[c] {
		if u := p.Who.UserID; u != "" && !slices.Contains(users, u) {
			users = append(users, u)
		}
	}
	return users
}
