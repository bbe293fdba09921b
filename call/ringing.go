package call

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"pbx/dialplan"
	"pbx/media"
	"pbx/sip"
	"pbx/store"
)

// ringing offers the call to groups of targets, one group after another.
type ringing struct {
	party *Party
	dialplan.Ring
}

func (s ringing) Parties() []*Party { return []*Party{s.party} }
func (s ringing) String() string    { return "ringing" }

func (s ringing) Run(ctx context.Context, c *Call) Step {
	if tooManyHops(s.party) {
		return c.branch(s.party, hopsUsedUp)
	}
	err := errUnreachable
	for _, group := range c.engine.rota.order(s.Ring) {
		c.note(names(group))
		var callee *Party
		callee, err = c.fork(ctx, s.party, group, ringStyle{prefix: s.Prefix})
		s.party = c.instead(s.party)
		switch {
		case err == nil:
			return talking{s.party, callee}
		case errors.Is(err, errHungUp):
			return nil
		}
		if d := (*diverted)(nil); errors.As(err, &d) {
			return c.divert(s, d)
		}
	}
	switch {
	case errors.Is(err, errBusy):
		return c.branch(s.party, s.Busy)
	case errors.Is(err, errDeclined):
		return c.branch(s.party, s.Declined)
	case errors.Is(err, errUnreachable):
		return c.branch(s.party, s.Unreachable)
	}
	return c.branch(s.party, s.NoAnswer)
}

// RFC 3261 §16.3: a request that may not hop once more is not sent on.
func tooManyHops(p *Party) bool { return p.Leg.MaxForwards() <= 1 && !p.answered }

var hopsUsedUp = dialplan.Reject{
	Code: 483, Reason: "Too Many Hops", Outcome: store.OutcomeFailed,
	Because: store.Reason{Rule: "Max-Forwards", Detail: "The call went through too many systems"},
}

// names lists who is rung together.
func names(g dialplan.Group) string {
	all := make([]string, len(g.Targets))
	for i, t := range g.Targets {
		all[i] = named(store.CallParty{Name: t.Name, Extension: t.Extension})
	}
	return strings.Join(all, ", ")
}

// What may become of a fork but an answer.
var (
	errBusy        = errors.New("busy")
	errDeclined    = errors.New("declined")
	errNoAnswer    = errors.New("no answer")
	errUnreachable = errors.New("unreachable")
	errSilent      = errors.New("no answer at all")

	errElsewhere = errors.New("answered elsewhere")
)

// ringStyle is how phones are rung beyond the usual.
type ringStyle struct {
	prefix string        // before the caller's name
	auto   bool          // they answer by themselves
	from   *sip.Identity // who calls, when it is nobody; nil: the caller
}

// fork rings every phone of a group. The first to answer is returned, the others are cancelled.
func (c *Call) fork(ctx context.Context, caller *Party, g dialplan.Group, style ringStyle) (*Party, error) {
	f := &fork{call: c, caller: caller, style: style, personal: len(g.Targets) == 1, news: make(chan forkNews)}
	var bindings []store.Binding
	var numbers []dialplan.Target
	for _, t := range g.Targets {
		switch {
		case t.Outside != nil && caller != nil:
			numbers = append(numbers, t)
		case t.Outside != nil:
		case t.OneCall && c.engine.board.talks(t.User, c):
			f.busy = true
		default:
			bindings = append(bindings, c.engine.SIP.BindingsOfUser(t.User)...)
		}
	}
	phones := phonesOf(bindings)
	o := sip.Outgoing{Call: c.id, AutoAnswer: style.auto}
	if caller != nil {
		var breadth int
		o.Carried, breadth = caller.Leg.Carried().Split(len(phones) + len(numbers))
		phones = phones[:min(breadth, len(phones))]
		numbers = numbers[:min(breadth-len(phones), len(numbers))]
	}
	rung := len(phones) + len(numbers)
	if rung == 0 {
		return nil, f.missed(f.busy)
	}
	if h := c.handover; h != nil {
		o.Referrer = shown(h.who)
	}
	c.tellDiversions(&o, caller)
	f.early = rung == 1 && (len(numbers) == 0 || !screened(numbers[0].Screening))
	forked, lose := context.WithCancelCause(ctx)
	var attempts sync.WaitGroup
	turns := turnsOf(phones, g.Timeout)
	for _, p := range phones {
		t := turns[turnKey{p.flows[0].LineID, p.wait}]
		attempts.Go(c.guarded(func() { f.ring(forked, caller, p, t, o) }))
	}
	for _, t := range numbers {
		attempts.Go(c.guarded(func() { f.ringOutside(forked, caller, t) }))
	}
	f.comfort(ctx)
	winner, err := f.watch(ctx, rung, g.Timeout)
	if err == nil {
		lose(errElsewhere)
	} else {
		lose(err)
	}
	attempts.Wait()
	f.quiet()
	return winner, err
}

// fork is one group being rung.
type fork struct {
	call     *Call
	caller   *Party
	style    ringStyle
	early    bool          // sound before the answer can only come from one phone
	personal bool          // all phones are of one person, who may send the call on, and whose refusal is the last word
	news     chan forkNews // unbuffered: who hands over an answer knows that it won

	heard  func()        // stops what a caller hears who is already connected
	rings  bool          // and that is the ringing
	sound  *media.Bridge // early media
	speaks *Party        // whose

	rang, busy bool
	patience   time.Duration // for any answer at all; 0: no end
	last       forkNews      // how the latest attempt ended
}

// forkNews is what an attempt has to say.
type forkNews struct {
	party    *Party
	progress sip.Progress // a provisional answer, unless one of these:
	answered bool
	ended    bool
	cause    sip.Cause
	err      error // it could not even begin
}

// watch hears the attempts until one is answered or nothing more can come.
func (f *fork) watch(ctx context.Context, open int, patience time.Duration) (*Party, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var silence <-chan time.Time
	if f.patience > 0 {
		silence = time.After(f.patience)
	}
	for open > 0 {
		inSound, byINFO := f.consultKeys()
		select {
		case n := <-f.news:
			silence = nil
			switch {
			case n.answered:
				n.party.answered = true // here, for the call looks at its parties while they ring
				return n.party, nil
			case n.ended:
				open--
				f.last = n
				// RFC 3261 §16.7 step 5: a 6xx speaks for all phones of the user, but not for others who are rung beside them.
				if f.personal && n.cause.Code >= 600 && n.cause.Code != 600 {
					return nil, errDeclined
				}
				moved := n.cause.Moved
				if moved != nil && f.personal && f.caller != nil {
					return nil, &diverted{by: n.party.Who, to: *moved, rang: f.rang} // it speaks for them all, as 6xx does
				}
				f.busy = f.busy || n.cause.Code == 486 || n.cause.Code == 600 || moved != nil
			case n.progress.Code >= 180:
				f.rang = true
				f.tell(ctx, n)
				if h := f.call.handover; h != nil {
					h.told.Progress(n.progress.Code, n.progress.Reason)
				}
			}
		case w := <-f.call.wishes:
			if winner, err := f.asked(ctx, w); winner != nil || err != nil {
				return winner, err
			}
		case <-f.call.transferorDone():
			f.call.transferorLeft()
		case key := <-inSound:
			if f.goesBack(key) {
				return nil, errHungUp
			}
		case key := <-byINFO:
			if f.goesBack(key) {
				return nil, errHungUp
			}
		case <-f.callerDone():
			if !f.handsOver(ctx) {
				return nil, f.call.gone(f.caller)
			}
		case <-ctx.Done():
			return nil, f.call.stopped()
		case <-silence:
			return nil, errSilent
		case <-timer.C:
			return nil, f.missed(false)
		}
	}
	return nil, f.missed(f.busy)
}

// callerDone is nil, thus never ready, while the caller's own phones are being rung.
func (f *fork) callerDone() <-chan struct{} {
	if f.caller == nil {
		return nil
	}
	return f.caller.Done()
}

// missed names the end of a fork in which nobody answered.
func (f *fork) missed(busy bool) error {
	switch {
	case busy:
		return errBusy
	case f.rang:
		return errNoAnswer
	}
	return errUnreachable
}

// tell passes on to the caller that a phone rings, or the sound it sends before it is answered.
func (f *fork) tell(ctx context.Context, n forkNews) {
	p := f.caller
	if p != nil && !p.answered && !p.rung && f.sound == nil {
		f.call.introduce(ctx, p, n.party)
	}
	switch {
	case p == nil:
	case n.progress.Sound && f.early && f.sound == nil:
		p.Sound.Prefer(n.party.Sound)
		if !p.answered && p.Leg.Ring(true) != nil {
			return
		}
		f.quiet()
		f.speaks = n.party
		f.sound = media.Join(p.Sound, n.party.Sound)
	case p.answered:
		f.comfort(ctx)
	case !p.answered && !p.rung && f.sound == nil:
		p.rung = p.Leg.Ring(false) == nil
	}
}

// quiet ends what the caller heard while phones rang.
func (f *fork) quiet() {
	if f.heard != nil {
		f.heard()
		f.heard, f.rings = nil, false
	}
	if f.sound != nil {
		f.sound.Close()
		f.sound = nil
	}
}

// ring rings one phone when its turn has come, over its next flow when one has failed (RFC 5626 §7).
func (f *fork) ring(ctx context.Context, caller *Party, p phone, t *turn, o sip.Outgoing) {
	defer t.ended()
	if !t.comes(ctx) {
		return
	}
	for i, b := range p.flows {
		w := way{invite: func() (*Party, error) { return f.call.invite(ctx, caller, b, o, f.style) }}
		if i < len(p.flows)-1 {
			w.spare = func(e ending) bool { return e.err != nil || flowFailed(e.cause, e.rang) }
		}
		if !f.attempt(ctx, w) {
			return
		}
	}
}

// ringOutside rings a number of the public network, over one carrier after another.
func (f *fork) ringOutside(ctx context.Context, caller *Party, t dialplan.Target) {
	for i, trunk := range t.Outside.Trunks {
		w := way{screening: t.Screening, invite: func() (*Party, error) {
			p, err := f.call.inviteOver(ctx, dialing{caller, *t.Outside}, trunk)
			if err == nil {
				p.foundAs = t.Of
			}
			return p, err
		}}
		if i < len(t.Outside.Trunks)-1 {
			w.spare = ending.next
		}
		if !f.attempt(ctx, w) {
			return
		}
	}
}

// way is how a phone is reached.
type way struct {
	invite    func() (*Party, error)
	spare     func(e ending) bool // whether there is another way to be tried after such an end; nil: there is none
	screening string              // how who answers proves to be a person
}

// attempt rings one phone until it is answered, refused, or the fork needs it no more. Where another way to it is to be
// tried instead, it says so and tells nobody.
func (f *fork) attempt(ctx context.Context, w way) (next bool) {
	tell := func(n forkNews) bool {
		select {
		case f.news <- n:
			return true
		case <-ctx.Done():
			return false
		}
	}
	p, err := w.invite()
	if err != nil {
		f.call.log.Warn("not rung", "err", err)
		if w.spare != nil && w.spare(ending{err: err}) {
			return true
		}
		tell(forkNews{ended: true, cause: sip.Cause{Code: 503, Reason: "not sent"}, err: err})
		return false
	}
	won, rang := false, false
	defer func() {
		if !won { // who won has a seat in the call with the next step
			f.call.darken(p)
		}
	}()
	for {
		select {
		case progress := <-p.Leg.Progress():
			rang = true
			f.call.light(p, progress)
			tell(forkNews{party: p, progress: progress})
		case <-p.Leg.Answered():
			p.Sound.Established()
			if no := f.call.screen(ctx, p, w.screening); no != nil {
				p.drop(sip.Cause{})
				tell(forkNews{party: p, ended: true, cause: *no})
				return false
			}
			if won = tell(forkNews{party: p, answered: true}); !won {
				p.drop(sip.Cause{Elsewhere: errors.Is(context.Cause(ctx), errElsewhere)})
			}
			return false
		case <-p.Done():
			p.Sound.Close()
			if w.spare != nil && w.spare(ending{cause: p.Leg.Cause(), rang: rang}) {
				return true
			}
			if encryptionRefused(p, p.Leg.Cause()) {
				f.call.refusedEncryption(p)
			}
			tell(forkNews{party: p, ended: true, cause: p.Leg.Cause()})
			return false
		case <-ctx.Done():
			p.drop(sip.Cause{Elsewhere: errors.Is(context.Cause(ctx), errElsewhere)})
			return false
		}
	}
}

// invite sends the call to one phone; o says what it is told beside who calls. Its sound speaks from the address that the phone registered
// at, and offers first what the caller's phone understands.
func (c *Call) invite(ctx context.Context, caller *Party, to store.Binding, o sip.Outgoing, style ringStyle) (*Party, error) {
	local, err := netip.ParseAddrPort(to.Local)
	if err != nil {
		return nil, fmt.Errorf("invite %s: %w", to.ID, err)
	}
	sound, err := c.engine.Media.Open(local.Addr())
	if err != nil {
		return nil, fmt.Errorf("invite %s: open sound at %s: %w", to.ID, local.Addr(), err)
	}
	if source, err := netip.ParseAddrPort(to.Source); err == nil {
		sound.Expect(source.Addr())
	}
	security := securityOfDevice(c.rows, to.DeviceID)
	sound.Secure(security)
	who := identify(c.rows, to.UserID, to.DeviceID)
	o.To, o.Called, o.Sound = to, shown(who), sound
	if caller != nil {
		sound.Prefer(caller.Sound)
		o.From = shown(caller.Who)
		o.Verified = sip.Verification{Result: caller.Who.Verstat, Level: caller.Who.Attestation}
		o.From.Display = style.prefix + o.From.Display
		if !caller.answered {
			o.MaxForwards = caller.Leg.MaxForwards() - 1 // RFC 7332: lowered through us, or loops never end
		}
	} else {
		o.From = shown(c.copyRecord().Callee)
	}
	if style.from != nil {
		o.From = *style.from
	}
	leg, err := c.engine.SIP.Invite(ctx, o)
	if err != nil {
		sound.Close()
		return nil, fmt.Errorf("invite device %s: %w", to.DeviceID, err)
	}
	return &Party{Leg: leg, Sound: sound, Who: who, security: security}, nil
}
