package call

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	"pbx/sip"
	"pbx/store"
)

// A phone is one registered telephone: the ways to it, the best first. Most have one; some keep a second flow in
// case that the first breaks (RFC 5626 §3.1).
type phone struct {
	flows []store.Binding
	wait  int // how many turns others of its line have before it
	turns int // of its line
}

// phonesOf sorts bindings into phones. All lines ring at once; the phones of one line in the order of their q, those of
// equal q together (RFC 3261 §16.6).
func phonesOf(bindings []store.Binding) []phone {
	var all []phone
	for _, b := range bindings {
		same := func(p phone) bool {
			o := p.flows[0]
			return b.RegID > 0 && b.Instance != "" && o.RegID > 0 && o.Instance == b.Instance && o.LineID == b.LineID
		}
		if i := slices.IndexFunc(all, same); i >= 0 {
			all[i].flows = append(all[i].flows, b) // RFC 5626 §7: never two flows of one phone at a time
		} else {
			all = append(all, phone{flows: []store.Binding{b}})
		}
	}
	ranks := make(map[store.ID][]int) // by line: the q there are
	for i := range all {
		p := &all[i]
		// RFC 5626 §7: the flow that was heard of last is tried first.
		slices.SortStableFunc(p.flows, func(a, b store.Binding) int { return b.ExpiresAt.Compare(a.ExpiresAt) })
		line, q := p.flows[0].LineID, p.flows[0].Q
		if !slices.Contains(ranks[line], q) {
			ranks[line] = append(ranks[line], q)
		}
	}
	for i := range all {
		p := &all[i]
		qs := ranks[p.flows[0].LineID]
		slices.SortFunc(qs, func(a, b int) int { return cmp.Compare(b, a) })
		p.turns, p.wait = len(qs), slices.Index(qs, p.flows[0].Q)
	}
	return all
}

// turn is when the phones of one q of a line ring: it begins when those of the q above have all ended, or have had their
// share of the time.
type turn struct {
	after <-chan struct{} // closed once those before have ended; nil: nobody is before
	delay time.Duration
	left  atomic.Int32  // of its phones that have not ended
	over  chan struct{} // closed once none is left
}

type turnKey struct {
	line store.ID
	wait int
}

// turnsOf makes the turns of phones that share so much time.
func turnsOf(all []phone, patience time.Duration) map[turnKey]*turn {
	turns := make(map[turnKey]*turn)
	at := func(line store.ID, wait int) *turn {
		k := turnKey{line, wait}
		if turns[k] == nil {
			turns[k] = &turn{over: make(chan struct{})}
		}
		return turns[k]
	}
	for _, p := range all {
		line := p.flows[0].LineID
		t := at(line, p.wait)
		t.left.Add(1)
		if p.wait > 0 {
			t.after, t.delay = at(line, p.wait-1).over, patience*time.Duration(p.wait)/time.Duration(p.turns)
		}
	}
	return turns
}

// comes waits for the turn; false: ctx ended before that.
func (t *turn) comes(ctx context.Context) bool {
	if t.after == nil {
		return true
	}
	late := time.NewTimer(t.delay)
	defer late.Stop()
	select {
	case <-t.after:
	case <-late.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// ended notes that one of its phones has ended.
func (t *turn) ended() {
	if t.left.Add(-1) == 0 {
		close(t.over)
	}
}

// flowFailed reports whether another way to the phone may do better: RFC 5626 §7, or nobody was reached on this one.
func flowFailed(c sip.Cause, rang bool) bool { return c.Code == 430 || c.Code == 408 && !rang }
