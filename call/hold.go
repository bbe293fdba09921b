package call

import "context"

// holdMusic plays to whoever was put on hold (RFC 7088 §2.3: without a word to the phone that holds).
type holdMusic struct {
	to     *Party // who hears it, or nil
	silent func()
}

// follow looks at who holds whom. When both hold, nobody listens, and nothing plays.
func (h *holdMusic) follow(ctx context.Context, c *Call, a, b *Party) {
	var held *Party
	switch aHolds, bHolds := a.Sound.Held(), b.Sound.Held(); {
	case aHolds && !bHolds:
		held = b
	case bHolds && !aHolds:
		held = a
	}
	if held == h.to {
		return
	}
	h.stop()
	if held != nil {
		h.to, h.silent = held, c.background(ctx, held, c.engine.Library.Music())
	}
}

func (h *holdMusic) stop() {
	if h.to != nil {
		h.silent()
		h.to, h.silent = nil, nil
	}
}
