package call

import (
	"context"
	"fmt"
	"time"

	"pbx/dialplan"
	"pbx/media"
	"pbx/sip"
	"pbx/store"
)

// Party is one endpoint in a call: its leg, its sound, and who it is.
type Party struct {
	Leg   *sip.Leg
	Sound *media.Session
	Who   store.CallParty

	answered bool // the way to this phone is open
	rung     bool // it heard that somebody is being rung

	lastKey  keyPress
	foundAs  store.ID // the user who was looked for at this number of the public network; empty: nobody was
	security media.Security
}

// keyPress is a key as it arrived.
type keyPress struct {
	key  rune
	info bool // by SIP INFO rather than in the sound
	at   time.Time
}

// incomingParty gives a leg that called us a sound.
func (e *Engine) incomingParty(l *sip.Leg, who store.CallParty) (*Party, error) {
	sound, err := e.Media.Open(l.Local())
	if err != nil {
		return nil, fmt.Errorf("open sound at %s: %w", l.Local(), err)
	}
	sound.Expect(l.Peer())
	if offer := l.Offered(); offer != nil {
		sound.Consider(offer)
	}
	l.Attach(sound)
	return &Party{Leg: l, Sound: sound, Who: who}, nil
}

// caller is the party as the plan knows it. Who comes from a carrier is nobody of ours, whatever number they show.
func (p *Party) caller() dialplan.Caller {
	if trunk := p.Leg.Trunk(); trunk != "" && p.Who.UserID == "" {
		return dialplan.Caller{Trunk: trunk, Number: p.Who.Number}
	}
	return dialplan.Caller{User: p.Who.UserID, Number: p.Who.Extension}
}

// lends is the trunk of a stranger, who has no rights to lend to whom they send on; empty: p is no stranger.
func (p *Party) lends() store.ID {
	if p.foundAs != "" {
		return ""
	}
	return p.caller().Trunk
}

// stranger says who calls over a trunk, as far as the carrier tells.
func stranger(plan *dialplan.Plan, l *sip.Leg) store.CallParty {
	from, anonymous := l.Asserted()
	if anonymous {
		return store.CallParty{Name: "Anonymous"}
	}
	who := store.CallParty{Number: plan.Canonical(from.User), Name: from.Display}
	if dialplan.Normalize(from.Display) == dialplan.Normalize(from.User) {
		who.Name = "" // the number again, which is no name
	}
	v := l.Verified()
	who.Verstat, who.Attestation = v.Result, v.Level
	if v.Result == sip.VerifiedFailed {
		who.Name = "Not verified" // nor the name that comes with a number that is not theirs
	}
	return who
}

// identify says who a user is, never what their phone claims.
func identify(rows *store.Snapshot, user, device store.ID) store.CallParty {
	who := store.CallParty{UserID: user, DeviceID: device}
	if u := rows.User(user); u != nil {
		who.Name, who.Extension = u.Name, u.Extension
	}
	return who
}

// shown is who p is to the phones it calls.
func shown(who store.CallParty) sip.Identity {
	id := sip.Identity{Display: who.Name, User: who.Extension}
	if id.User == "" {
		id.User = who.Number
	}
	if id.User == "" {
		id.User = "anonymous"
	}
	return id
}

// introduce tells the phone of p whom it talks to, or who rings (RFC 4916). A phone that knows already hears nothing.
func (c *Call) introduce(ctx context.Context, p, to *Party) {
	if p.Leg.Trunk() != "" {
		return // carriers were told a number of ours; names and extensions are not theirs to know
	}
	who := shown(to.Who)
	if !p.answered && !p.Leg.Up() {
		_ = p.Leg.Present(ctx, who) // the next answer says it
		return
	}
	c.engine.calls.Go(c.guarded(func() { _ = p.Leg.Present(ctx, who) })) // a phone may take its time
}

// actor is the party in the log of who did what.
func (p *Party) actor() store.Actor {
	return store.Actor{Kind: "device", ID: p.Who.DeviceID, Name: p.Who.Name, IP: p.Leg.Peer().String()}
}

// Done is closed when the party is gone.
func (p *Party) Done() <-chan struct{} { return p.Leg.Done() }

// drop hangs up and lets the sound go.
func (p *Party) drop(cause sip.Cause) {
	p.Leg.HangUp(cause)
	p.Sound.Close()
}

// echoWindow is how soon the second copy of a key follows the first, on phones that send each key both ways.
const echoWindow = 300 * time.Millisecond

// pressed merges the two ways that keys come by into one stream: it reports whether the key is a
// new press, not the second copy of one that came the other way.
func (p *Party) pressed(key rune, info bool) bool {
	now, last := time.Now(), p.lastKey
	if last.key == key && last.info != info && now.Sub(last.at) < echoWindow {
		p.lastKey = keyPress{}
		return false
	}
	p.lastKey = keyPress{key, info, now}
	return true
}
