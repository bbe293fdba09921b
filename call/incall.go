package call

import (
	"context"
	"strings"
	"time"

	"pbx/dialplan"
	"pbx/store"
)

// This file hears the codes that people of ours press while they talk.

const (
	// codeWindow is how soon the second key of a code follows the first.
	codeWindow = 2 * time.Second
	// numberWindow is how soon the next digit of a number behind a code follows; a pause, or #, ends it.
	numberWindow = 3 * time.Second
	maxInCall    = 40 // keys of a code and its number
)

// keypad is the keys of one party that may become a code.
//
// Keys in the sound go through the bridge as they are pressed, so the other side hears them, those of a code too: sound is
// not held back for what it might become. Keys by SIP INFO reach the other side only once they can be no code any more, at
// the latest when the window is over, and exactly as they were pressed; those of a code never do.
type keypad struct {
	party *Party
	keys  string
	held  string // those of keys that the other side has yet to hear
	late  *time.Timer
}

// due is when what was pressed so far must do.
func (k *keypad) due() <-chan time.Time {
	if k.late == nil {
		return nil
	}
	return k.late.C
}

// wait gives the next key its time.
func (k *keypad) wait(d time.Duration) {
	if k.late == nil {
		k.late = time.NewTimer(d)
		return
	}
	k.late.Reset(d)
}

// clear forgets all keys and returns those that the other side has yet to hear.
func (k *keypad) clear() (held string) {
	held = k.held
	k.keys, k.held = "", ""
	if k.late != nil {
		k.late.Stop()
	}
	return held
}

// inCall is what keys mean that somebody pressed so far.
type inCall struct {
	code   string        // the key of a code that is complete
	number string        // that was pressed behind it
	wait   time.Duration // how long more keys may make a code of it; 0: they cannot
}

// inCall reads keys; paused: no more of them come.
func (c *Call) inCall(keys string, paused bool) inCall {
	var read inCall
	for _, code := range c.plan.Codes() {
		if !code.InCall || code.Number == "" {
			continue
		}
		rest, begun := strings.CutPrefix(keys, code.Number)
		switch {
		case !begun:
			if strings.HasPrefix(code.Number, keys) {
				read.wait = max(read.wait, codeWindow)
			}
		case code.Argument == "":
			if rest == "" {
				read.code = code.Key
			}
		default:
			number, ended := strings.CutSuffix(rest, "#")
			switch {
			case strings.Contains(number, "#"), ended && number == "":
			case ended, paused && number != "":
				return inCall{code: code.Key, number: number}
			default:
				read.wait = max(read.wait, numberWindow)
			}
		}
	}
	switch {
	case paused:
		read.wait = 0
	case read.wait > 0:
		read.code = "" // a longer code may still come of it
	}
	if len(keys) >= maxInCall {
		read.wait = 0
	}
	return read
}

// acts is the user whose codes are heard from p: one of ours at a phone of ours, or at the number where they are looked for.
func (p *Party) acts() store.ID {
	if p.foundAs != "" {
		return p.foundAs
	}
	if p.Leg.Trunk() != "" {
		return ""
	}
	return p.Who.UserID
}

// keyed hears a key. It returns the next step and whether there is one.
func (s talking) keyed(ctx context.Context, c *Call, k *keypad, key rune, info bool) (next Step, moves bool) {
	if info {
		k.party.Sound.KeysByINFO()
	}
	switch {
	case !k.party.pressed(key, info):
		return nil, false
	case k.party.acts() == "" || !strings.ContainsRune(allKeys, key):
		if info {
			s.pass(ctx, k, k.clear()+string(key))
		}
		return nil, false
	case c.consults != nil && c.consults.by == k.party:
		// In a consultation there is one code only: back to the one who waits.
		if key == '*' && c.consults.waits(c) {
			c.over(c.role(k.party), "went back to "+named(c.consults.held.Who))
			return nil, true
		}
		if info {
			s.pass(ctx, k, string(key))
		}
		return nil, false
	}
	k.keys += string(key)
	if info {
		k.held += string(key)
	}
	return s.obey(ctx, c, k, false)
}

// obey does what the keys say that were pressed so far; paused: no more come.
func (s talking) obey(ctx context.Context, c *Call, k *keypad, paused bool) (next Step, moves bool) {
	read := c.inCall(k.keys, paused)
	if read.code == "" && read.wait > 0 {
		k.wait(read.wait)
		return nil, false
	}
	held, by, other := k.clear(), k.party, s.other(k.party)
	switch read.code {
	case dialplan.KeyRecord:
		c.toggleTape(ctx, by)
	case dialplan.KeyParkCall:
		return parking{party: other, slots: c.plan.Slots(), by: by.Who, tell: by}, true
	case dialplan.KeyBlindTransfer:
		return c.sendOn(refer{by: by, to: read.number, told: unreported{}}, other), true
	case dialplan.KeyAttendedTransfer:
		return consulting{talk: s, by: by, held: other, number: read.number}, true
	default:
		s.pass(ctx, k, held)
	}
	return nil, false
}

// pass sends on in the sound what was pressed by SIP INFO: keys in the sound pass through the bridge.
func (s talking) pass(ctx context.Context, k *keypad, keys string) {
	if keys != "" {
		_ = s.other(k.party).Sound.Press(ctx, keys) // who is gone hears no key
	}
}
