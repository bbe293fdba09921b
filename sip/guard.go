package sip

import (
	"net/netip"
	"sync"
	"time"

	"pbx/store"
)

// The limits of one source address. An office behind one address re-registers
// hundreds of phones at once after a power cut.
const (
	messageRate  = 500 // a second
	messageBurst = 3000
	logRate      = 1 // lines a second about useless messages, for all sources together
	logBurst     = 20
	maxBuckets   = 16384
)

// bucket is a token bucket.
type bucket struct {
	tokens float64
	at     time.Time
	second *bucket // of insiders
}

func (b *bucket) take(now time.Time, rate, burst float64) bool {
	if b.at.IsZero() {
		b.tokens = burst
	} else {
		b.tokens = min(burst, b.tokens+rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// guard bounds what one source can make the house do.
type guard struct {
	mu       sync.Mutex
	messages map[netip.Addr]*bucket
	guesses  map[guess]*bucket
	phones   map[netip.AddrPort]*phoneLimit
	homes    map[netip.Addr]int       // bindings by address
	known    map[netip.Addr]time.Time // when phones were last there
	friends  []netip.Prefix           // carriers
	suspects map[netip.Addr]*suspect
	bans     map[netip.Addr]*store.Ban // now, and lately
	sure     map[netip.Addr]bool       // banned for what came by a connection
	put      map[netip.Addr]struct{}   // not yet written
	drop     map[netip.Addr]struct{}
	banning  bucket        // of bans for what datagrams said
	dirty    chan struct{} // cap 1
	tell     func(kind string, b store.Ban)
	banned   uint64 // bans made
	ignored  uint64 // messages of banned sources
	logs     limiter

	unlimited bool // for measurements
}

func newGuard() *guard {
	return &guard{
		phones: make(map[netip.AddrPort]*phoneLimit), messages: make(map[netip.Addr]*bucket), guesses: make(map[guess]*bucket),
		homes: make(map[netip.Addr]int), known: make(map[netip.Addr]time.Time), suspects: make(map[netip.Addr]*suspect),
		bans: make(map[netip.Addr]*store.Ban), sure: make(map[netip.Addr]bool), put: make(map[netip.Addr]struct{}), drop: make(map[netip.Addr]struct{}), dirty: make(chan struct{}, 1),
	}
}

// phoneLimit is the limit of the one address and port that a registered phone
// speaks from. It counts apart: what others send from that address, or in its
// name, must not silence it.
type phoneLimit struct {
	bindings int
	bucket
}

// know counts the bindings of a source.
func (g *guard) know(source string, more int) {
	from, err := netip.ParseAddrPort(source)
	if err != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.phones[from]
	if p == nil {
		p = &phoneLimit{}
		g.phones[from] = p
	}
	if p.bindings += more; p.bindings <= 0 {
		delete(g.phones, from)
	}
	addr := network(from.Addr())
	if g.homes[addr] += more; g.homes[addr] <= 0 {
		delete(g.homes, addr)
		g.remember(addr)
	}
}

// isPhone reports whether a phone is registered that speaks from exactly there.
func (g *guard) isPhone(from netip.AddrPort) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.phones[from] != nil
}

// knows reports whether a phone is registered from this address.
func (g *guard) knows(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.homes[network(a)] > 0
}

// network is the address a limit counts for: IPv6 hosts own a /64.
func network(a netip.Addr) netip.Addr {
	if a.Is4() || a.Is4In6() {
		return a.Unmap()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

func bucketOf(m map[netip.Addr]*bucket, a netip.Addr) *bucket {
	a = network(a)
	b := m[a]
	if b == nil {
		if len(m) >= maxBuckets { // spoofed sources: any of them may go
			for k := range m {
				delete(m, k)
				break
			}
		}
		b = &bucket{}
		m[a] = b
	}
	return b
}

// limiter is a bucket with a lock of its own.
type limiter struct {
	mu sync.Mutex
	bucket
}

func (l *limiter) take(now time.Time, rate, burst float64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucket.take(now, rate, burst)
}

// inside lets an insider through that others keep busy.
func (b *bucket) inside(now time.Time) bool {
	if b.second == nil {
		b.second = &bucket{}
	}
	return b.second.take(now, insiderRate, insiderBurst)
}

// mayLog bounds the log lines that strangers can cause.
func (g *guard) mayLog() bool { return g.logs.take(time.Now(), logRate, logBurst) }
