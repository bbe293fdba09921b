package call

import (
	"cmp"
	"slices"
	"sync"

	"pbx/store"
)

// Board knows who is in which call, and moves parties between calls under its one mutex. No call
// ever waits for another: the call that loses a party learns it from a wish.
type Board struct {
	mu    sync.Mutex
	calls map[store.ID]*Call
	home  map[*Party]*Call
}

func newBoard() *Board {
	return &Board{calls: make(map[store.ID]*Call), home: make(map[*Party]*Call)}
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
}

// settle notes that parties belong to c now.
func (b *Board) settle(c *Call, parties []*Party) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range parties {
		b.home[p] = c
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
