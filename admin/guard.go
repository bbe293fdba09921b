package admin

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// guard slows down callers who fail too often. It remembers a bounded number of keys.
type guard struct {
	mu   sync.Mutex
	keys map[string]*list.Element
	used *list.List // most recently used first
}

type guarded struct {
	key    string
	failed int
	last   time.Time // of the failures
	until  time.Time // no try before
}

const (
	maxGuarded  = 10_000
	firstWait   = 30 * time.Second
	longestWait = 15 * time.Minute
	forgetAfter = time.Hour
)

func newGuard() *guard { return &guard{keys: make(map[string]*list.Element), used: list.New()} }

// limit is a key and how many failures it may have before the waiting begins.
type limit struct {
	key  string
	free int
}

// enter counts one try beforehand against all limits, so that many tries at once gain nothing;
// it returns how long to wait when one of them is used up. A success takes its try back with leave.
func (g *guard) enter(now time.Time, limits ...limit) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range limits {
		if e, ok := g.keys[l.key]; ok {
			wait = max(wait, e.Value.(*guarded).until.Sub(now))
		}
	}
	if wait > 0 {
		return wait
	}
	for _, l := range limits {
		t := g.touch(l.key, now)
		t.failed++
		t.last = now
		if over := t.failed - l.free; over >= 0 {
			t.until = now.Add(min(firstWait<<min(over, 10), longestWait))
		}
	}
	return 0
}

// leave forgets the failures of the keys.
func (g *guard) leave(keys ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range keys {
		if e, ok := g.keys[k]; ok {
			g.used.Remove(e)
			delete(g.keys, k)
		}
	}
}

// forgive takes one try back.
func (g *guard) forgive(keys ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range keys {
		if e, ok := g.keys[k]; ok {
			t := e.Value.(*guarded)
			t.failed--
			t.until = time.Time{}
		}
	}
}

// touch returns the entry of a key, fresh when it is new or old enough to be forgotten.
func (g *guard) touch(key string, now time.Time) *guarded {
	if e, ok := g.keys[key]; ok {
		g.used.MoveToFront(e)
		t := e.Value.(*guarded)
		if now.Sub(t.last) > forgetAfter {
			*t = guarded{key: key}
		}
		return t
	}
	for len(g.keys) >= maxGuarded {
		oldest := g.used.Back()
		g.used.Remove(oldest)
		delete(g.keys, oldest.Value.(*guarded).key)
	}
	t := &guarded{key: key}
	g.keys[key] = g.used.PushFront(t)
	return t
}

// network is what one attacker easily has: an IPv4 address, or a /64 of IPv6.
func network(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Is4() {
		return ip
	}
	p, err := a.Prefix(64)
	if err != nil {
		return ip
	}
	return p.String()
}
