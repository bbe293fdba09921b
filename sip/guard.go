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
	logs     bucket

	unlimited bool // for measurements
}

func newGuard() *guard {
	return &guard{messages: make(map[netip.Addr]*bucket), failures: make(map[netip.Addr]*bucket)}
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
func (g *guard) admit(a netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.unlimited {
		return true
	}
	return bucketOf(g.messages, a).take(time.Now(), messageRate, messageBurst)
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
