package media

import (
	"sync"
	"time"
)

const (
	// portRest is how long a pair of ports is left alone after its session: what is still on its way to that, or goes on
	// being sent to it, must not be heard in another call.
	portRest = 10 * time.Second
	restSize = 16384
)

// rest knows which ports were used lately.
type rest struct {
	mu    sync.Mutex
	until map[uint16]time.Time
}

func (r *rest) put(port uint16, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = make(map[uint16]time.Time)
	}
	if len(r.until) < restSize {
		r.until[port] = now.Add(portRest)
	}
}

// resting reports whether a port must not be used yet. Where there are no others, a call comes first.
func (r *rest) resting(port uint16) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, used := r.until[port]
	return used && time.Now().Before(until)
}

func (r *rest) sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for port, until := range r.until {
		if !now.Before(until) {
			delete(r.until, port)
		}
	}
}
