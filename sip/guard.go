package sip

import (
	"net/netip"
	"sync"
	"time"
)

// The limits of one source address. An office behind one address re-registers
// hundreds of phones at once after a power cut.
const (
	messageRate  = 500 // a second
	messageBurst = 3000
	failureRate  = 0.2 // refused credentials a second
	failureBurst = 20
	logRate      = 1 // lines a second about useless messages, for all sources together
	logBurst     = 20
	maxBuckets   = 16384
)

// bucket is a token bucket.
type bucket struct {
	tokens float64
	at     time.Time
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
	failures map[netip.Addr]*bucket
	phones   map[netip.AddrPort]*phoneLimit
	friends  map[netip.Addr]int // bindings by address
	logs     bucket

	unlimited bool // for measurements
}

func newGuard() *guard {
	return &guard{phones: make(map[netip.AddrPort]*phoneLimit), friends: make(map[netip.Addr]int), messages: make(map[netip.Addr]*bucket), failures: make(map[netip.Addr]*bucket)}
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
	if g.friends[from.Addr()] += more; g.friends[from.Addr()] <= 0 {
		delete(g.friends, from.Addr())
	}
}

// knows reports whether a phone is registered from this address.
func (g *guard) knows(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.friends[a] > 0
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

// admit reports whether one more message of this source is looked at.
func (g *guard) admit(from netip.AddrPort) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.unlimited {
		return true
	}
	if p := g.phones[from]; p != nil {
		return p.take(time.Now(), messageRate, messageBurst)
	}
	return bucketOf(g.messages, from.Addr()).take(time.Now(), messageRate, messageBurst)
}

// failed counts refused credentials.
func (g *guard) failed(a netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	bucketOf(g.failures, a).take(time.Now(), failureRate, failureBurst)
}

// blocked reports whether so many credentials of this source were refused that no more are looked at.
func (g *guard) blocked(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.failures[network(a)]
	if b == nil {
		return false
	}
	if b.tokens+failureRate*time.Since(b.at).Seconds() >= failureBurst {
		delete(g.failures, network(a)) // forgiven
		return false
	}
	return b.tokens+failureRate*time.Since(b.at).Seconds() < 1
}

// mayLog bounds the log lines that strangers can cause.
func (g *guard) mayLog() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.logs.take(time.Now(), logRate, logBurst)
}
