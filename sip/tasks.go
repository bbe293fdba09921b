package sip

import "sync"

// tasks counts goroutines so that Close can wait for them: those we start, and
// those in which sipgo serves requests. Unlike a WaitGroup it can be closed:
// what comes after that is not begun.
type tasks struct {
	mu     sync.Mutex
	n      int
	closed bool
	zero   chan struct{} // made by wait
}

// enter counts the calling goroutine; it reports false when the server has closed.
func (t *tasks) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.n++
	return true
}

func (t *tasks) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n--
	if t.n == 0 && t.zero != nil {
		close(t.zero)
		t.zero = nil
	}
}

// Go runs f on a goroutine that wait waits for.
func (t *tasks) Go(f func()) {
	if !t.enter() {
		return
	}
	go func() {
		defer t.leave()
		f()
	}()
}

// wait lets nothing new begin and returns when all has ended.
func (t *tasks) wait() {
	t.mu.Lock()
	t.closed = true
	if t.n == 0 {
		t.mu.Unlock()
		return
	}
	zero := make(chan struct{})
	t.zero = zero
	t.mu.Unlock()
	<-zero
}
