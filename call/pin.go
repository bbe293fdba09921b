package call

import (
	"context"
	"sync"
	"time"

	"pbx/store"
)

const (
	pinTries   = 3                // in one call, and before a mailbox is locked
	pinLock    = time.Minute      // the first lock; each further failure doubles it
	maxPINLock = time.Hour        // until a right PIN, or a restart
	maxPIN     = 10               // digits
	pinFirst   = 10 * time.Second // patience for the first digit
	pinNext    = 5 * time.Second  // and for each further one
)

// guard counts wrong PINs for each mailbox, so that nobody tries them all. It holds no more
// entries than there are mailboxes whose PIN was got wrong.
type guard struct {
	mu    sync.Mutex
	boxes map[store.ID]failures
}

type failures struct {
	count int
	until time.Time // locked until then
}

// locked reports whether the mailbox takes no PIN now, right or wrong.
func (g *guard) locked(box store.ID, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return now.Before(g.boxes[box].until)
}

// wrong notes a failure and reports whether it locks the mailbox.
func (g *guard) wrong(box store.ID, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.boxes == nil {
		g.boxes = make(map[store.ID]failures)
	}
	f := g.boxes[box]
	f.count++
	if beyond := f.count - pinTries; beyond >= 0 {
		f.until = now.Add(min(pinLock<<min(beyond, 10), maxPINLock))
	}
	g.boxes[box] = f
	return now.Before(f.until)
}

// right forgets the failures.
func (g *guard) right(box store.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.boxes, box)
}

// admit asks for the PIN of a mailbox. It reports whether it was given; if not, the caller has been told.
func (c *Call) admit(ctx context.Context, p *Party, box store.ID, pinHash string) (bool, error) {
	pins := &c.engine.pins
	for range pinTries {
		pin, err := c.askDigits(ctx, p, "enter-pin")
		if err != nil {
			return false, err
		}
		if pin == "" {
			continue // nothing was tried
		}
		now := time.Now()
		// Locked and wrong sound alike: who guesses does not learn that it is time to come back later.
		if !pins.locked(box, now) {
			if store.VerifyPassword(pinHash, pin) {
				pins.right(box)
				return true, nil
			}
			locked := pins.wrong(box, now)
			c.log.Warn("wrong mailbox pin", "mailbox", box, "locked", locked)
		}
		if _, err := c.say(ctx, p, "wrong-pin"); err != nil {
			return false, err
		}
	}
	_, err := c.say(ctx, p, "goodbye")
	return false, err
}

// askDigits prompts and collects digits up to the pound key.
func (c *Call) askDigits(ctx context.Context, p *Party, prompt string) (string, error) {
	key, err := c.say(ctx, p, prompt)
	var pin []rune
	for patience := pinFirst; err == nil; patience = pinNext {
		if key == 0 {
			if key, err = c.key(ctx, p, patience); err != nil {
				break
			}
		}
		if key == 0 || key == '#' {
			break
		}
		if pin = append(pin, key); len(pin) > maxPIN {
			break // too long to be right; what more is pressed falls to the next prompt
		}
		key = 0
	}
	return string(pin), err
}
