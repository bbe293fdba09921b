package call

import (
	"context"
	"fmt"
	"time"

	"pbx/store"
)

// consultation is what a call knows that somebody makes to ask whether they may transfer another one.
type consultation struct {
	home *Call  // where held waits
	by   *Party // who asks
	held *Party
	to   string // whom they dialled
}

// waits reports whether somebody still waits to be talked to again.
func (k *consultation) waits(c *Call) bool {
	return k.held.here() && c.engine.board.Home(k.held) == k.home
}

// back tells the waiting call that the one who consulted is with it again.
type back struct{ by *Party }

func (back) wish() {}

// consulting lets one party wait, with music, while the other calls somebody else from the same phone. That is a call of its
// own, with its own record: once who asks hangs up there, it takes the one who waits.
type consulting struct {
	talk     talking
	by, held *Party
	number   string
}

func (s consulting) Parties() []*Party { return s.talk.Parties() }
func (s consulting) String() string    { return "consulting" }

// handOverPatience is how long a consultation whose asker hung up has to take the one who waits.
const handOverPatience = time.Second

func (s consulting) Run(ctx context.Context, c *Call) Step {
	c.note(fmt.Sprintf("%s asks %s", named(s.by.Who), s.number))
	c.tapeOnly(s.held)
	k := &consultation{home: c, by: s.by, held: s.held, to: s.number}
	if err := c.engine.start(c.consultation(k), asking{k}); err != nil {
		return s.talk
	}
	c.parting = &parting{c.role(s.by), "transferred to " + s.number}
	defer func() { c.parting = nil }()
	defer c.background(ctx, s.held, c.holdMusic(s.by.acts()))()
	gone, late := s.by.Done(), (<-chan time.Time)(nil)
	for {
		select {
		case <-s.held.Done():
			_ = c.gone(s.held)
			return nil
		case <-s.held.Sound.Silent():
			_ = c.silent(s.held)
			return nil
		case <-ctx.Done():
			_ = c.stopped()
			return nil
		case <-gone:
			gone, late = nil, time.After(handOverPatience)
		case <-late:
			return c.alone(s)
		case <-s.held.Sound.Digits(): // nothing to choose here
		case <-s.held.Leg.Digits():
		case w := <-c.wishes:
			switch w := w.(type) {
			case left:
				if w.party == s.by {
					continue
				}
			case back:
				c.note(named(s.by.Who) + " came back")
				return s.talk
			}
			if c.declined(w) {
				return nil
			}
		}
	}
}

// consultation makes the call of who asks.
func (c *Call) consultation(k *consultation) *Call {
	n := c.engine.newCall(c.account, c.plan, c.rows)
	n.consults, n.caller = k, k.by
	n.record.Caller, n.record.Dialed = k.by.Who, k.to
	n.record.Callee = store.CallParty{Number: k.to}
	n.because(store.Reason{Rule: "code", Detail: fmt.Sprintf("%s asks before a transfer of %s", named(k.by.Who), named(k.held.Who))})
	return n
}

// alone is what becomes of somebody whose partner hung up without having anybody to hand them to: they ring the partner.
func (c *Call) alone(s consulting) Step {
	u := c.rows.User(s.by.acts())
	if u == nil || u.Extension == "" {
		_ = c.gone(s.by)
		return nil
	}
	c.because(store.Reason{Rule: "transfer", Detail: fmt.Sprintf("%s hung up before anybody was reached, so %s goes back to them", named(s.by.Who), named(s.held.Who))})
	c.mu.Lock()
	c.caller, c.callee = s.held, nil
	c.record.Caller, c.record.Callee = s.held.Who, s.by.Who
	c.mu.Unlock()
	return routing{party: s.held, dialed: u.Extension, rights: u.ID}
}

// asking is the first step of a consultation: the one who asks comes over.
type asking struct{ k *consultation }

func (s asking) Parties() []*Party { return []*Party{s.k.by} }
func (s asking) String() string    { return "asking" }

func (s asking) Run(_ context.Context, c *Call) Step {
	if !c.engine.board.Take(s.k.by, c) {
		return nil
	}
	return routing{party: s.k.by, dialed: s.k.to, rights: s.k.by.acts()}
}

// consulted ends a consultation whose call ends: who asked goes back to the one who waits.
func (c *Call) consulted() {
	k := c.consults
	if k == nil {
		return
	}
	c.consults = nil
	board := c.engine.board
	if at := board.Home(k.by); !k.by.here() || at != k.home && (at != c || !board.Take(k.by, k.home)) {
		return
	}
	if !k.home.ask(back{k.by}) {
		k.home.nobodyWaits(k.by)
	}
}

// nobodyWaits hangs up on somebody who came back to a call that is over.
func (c *Call) nobodyWaits(p *Party) {
	if c.engine.board.release(c, p) {
		p.drop(c.causeOfEnd())
	}
}

// handsOver is what a talk with the one who was asked becomes when who asked hangs up: those two talk who are left.
func (s talking) handsOver(c *Call, by *Party) Step {
	k := c.consults
	if k == nil || k.by != by || !c.engine.board.Take(k.held, c) {
		return nil
	}
	c.consults = nil
	c.seat(takeOver{of: by, by: k.held, back: by})
	if by == s.a {
		return talking{k.held, s.b}
	}
	return talking{s.a, k.held}
}

// handsOver lets the phones ring on for the one who waits when who asked hangs up; it reports whether they do.
func (f *fork) handsOver(ctx context.Context) bool {
	k := f.call.consults
	if k == nil || k.by != f.caller {
		return false
	}
	f.call.consults = nil
	return f.swap(ctx, takeOver{of: k.by, by: k.held, back: k.by, told: unreported{}})
}

// consultKeys is the keys of a caller who may go back to somebody, by the way they come; nil, thus never ready, for others.
func (f *fork) consultKeys() (sound, info <-chan rune) {
	if k := f.call.consults; k == nil || k.by != f.caller {
		return nil, nil
	}
	return f.caller.Sound.Digits(), f.caller.Leg.Digits()
}

// goesBack reports whether a key leads a caller back to the one who waits.
func (f *fork) goesBack(key rune) bool {
	k := f.call.consults
	if key != '*' || k == nil || !k.waits(f.call) {
		return false
	}
	f.call.over("caller", "went back to "+named(k.held.Who))
	return true
}
