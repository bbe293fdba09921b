package provisioning

import (
	"crypto/sha256"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// A fleet that gets its power back asks for some five files each within seconds, all from one address when it sits
// behind a router: a thousand phones fit in the burst. Who asks without end is slowed down.
const (
	requestsPerSecond = 50
	requestBurst      = 5000
	maxLimiters       = 10_000
)

// limiter bounds how often one source may ask with one token. A phone of another site, and a neighbour with another
// token, are never held up by it.
type limiter struct {
	mu      sync.Mutex
	buckets *lru[limitKey, *rate.Limiter]
}

type limitKey struct {
	source netip.Prefix
	token  [16]byte
}

func newLimiter() *limiter {
	return &limiter{buckets: newLRU[limitKey, *rate.Limiter](maxLimiters)}
}

func (l *limiter) allow(source netip.Addr, token string) bool {
	bits := 32
	if source.Is6() {
		bits = 64 // who has one address of a /64 has them all
	}
	sum := sha256.Sum256([]byte(token))
	key := limitKey{token: [16]byte(sum[:16])}
	key.source, _ = source.Prefix(bits) // the zero prefix for an unknown source

	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, ok := l.buckets.get(key)
	if !ok {
		bucket = rate.NewLimiter(requestsPerSecond, requestBurst)
		l.buckets.put(key, bucket)
	}
	return bucket.Allow()
}
