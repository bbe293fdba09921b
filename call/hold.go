package call

import (
	"context"

	"pbx/media"
	"pbx/store"
)

// holdMusic plays to whoever was put on hold (RFC 7088 §2.3: without a word to the phone that holds).
type holdMusic struct {
	to     *Party // who hears it, or nil
	silent func()
}

// follow looks at who holds whom. When both hold, nobody listens, and nothing plays.
func (h *holdMusic) follow(ctx context.Context, c *Call, a, b *Party) {
	var held, holder *Party
	switch aHolds, bHolds := a.Sound.Held(), b.Sound.Held(); {
	case aHolds && !bHolds:
		held, holder = b, a
	case bHolds && !aHolds:
		held, holder = a, b
	}
	if held == h.to {
		return
	}
	h.stop()
	if held != nil {
		h.to, h.silent = held, c.background(ctx, held, c.holdMusic(holder.Who.UserID))
	}
}

func (h *holdMusic) stop() {
	if h.to != nil {
		h.silent()
		h.to, h.silent = nil, nil
	}
}

// holdMusic is what those hear whom a user lets wait, as it is chosen at each moment: the nearest choice wins, that of the
// user before that of the number that was called, and that before the account's (P-MOH-02).
func (c *Call) holdMusic(user store.ID) media.Source {
	c.mu.Lock()
	dialed := ""
	if c.record.Direction == "inbound" {
		dialed = c.plan.Canonical(c.record.Dialed)
	}
	c.mu.Unlock()
	return c.engine.Library.Hold(func() string {
		_, rows := c.engine.Plan(c.account)
		if rows == nil {
			return ""
		}
		clip := rows.Account.HoldMusicClipID
		if n := rows.NumberByE164(dialed); n != nil && n.HoldMusicClipID != "" {
			clip = n.HoldMusicClipID
		}
		if u := rows.User(user); u != nil && u.HoldMusicClipID != "" {
			clip = u.HoldMusicClipID
		}
		if clip == "" {
			return ""
		}
		return c.engine.Store.ClipPath(clip)
	})
}
