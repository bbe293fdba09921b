package call

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"pbx/dialplan"
	"pbx/event"
	"pbx/sip"
	"pbx/store"
)

const (
	// silencePatience is how long a carrier may take to say anything at all.
	silencePatience = 6 * time.Second
	// ringPatience ends what rings for ever (RFC 3261 §16.6: timer C is longer than three minutes).
	ringPatience = 181 * time.Second
)

// dialing places the call at one carrier after another, until one takes it or the called party has answered somehow.
type dialing struct {
	party *Party
	dialplan.Outside
}

func (s dialing) Parties() []*Party { return []*Party{s.party} }
func (s dialing) String() string    { return "dialing" }

func (s dialing) Run(ctx context.Context, c *Call) Step {
	if tooManyHops(s.party) {
		return c.branch(s.party, hopsUsedUp)
	}
	c.goesOut(s)
	for _, t := range s.Trunks {
		c.because(t.Because)
		c.note(fmt.Sprintf("%s over %s", t.Number, t.Name))
		callee, end := c.dial(ctx, s, t)
		s.party = c.instead(s.party)
		switch {
		case callee != nil:
			return talking{s.party, callee}
		case errors.Is(end.err, errHungUp):
			return nil
		case !end.next():
			return c.branch(s.party, end.passedOn(t))
		}
		c.because(store.Reason{Rule: t.Because.Rule, Detail: t.Name + " did not take the call: " + end.words()})
		c.log.Info("carrier did not take the call", "trunk", t.ID, "why", end.words())
	}
	if s.Emergency {
		c.log.Error("emergency call not placed", "number", s.Number)
	}
	return c.branch(s.party, s.Failed)
}

// goesOut notes that the call leaves the house.
func (c *Call) goesOut(s dialing) {
	c.mu.Lock()
	if s.party.Leg.Trunk() == "" {
		c.record.Direction = "outbound"
	}
	c.mu.Unlock()
	if s.Emergency {
		c.log.Warn("emergency call", "number", s.Number, "caller", s.party.Who.Name, "extension", s.party.Who.Extension)
	}
	c.meant(store.CallParty{Number: s.Number})
	if s.Emergency {
		c.recordEmergency(s)
		c.publish(event.EmergencyCalled) // at once: whoever watches must not wait for the answer
	}
}

// recordEmergency leaves an entry in the activity log, for as long as that is kept.
func (c *Call) recordEmergency(s dialing) {
	trunks := make([]string, len(s.Trunks))
	for i, t := range s.Trunks {
		trunks[i] = t.Name
	}
	who := s.party.Who
	detail, err := json.Marshal(map[string]any{"number": s.Number, "caller": named(who), "extension": who.Extension, "trunks": trunks})
	if err == nil {
		err = c.engine.Store.Record(c.ctx, c.account, store.Activity{
			Event: "call.emergency", Resource: "call/" + string(c.id), Actor: s.party.actor(), Detail: detail,
		})
	}
	if err != nil {
		c.log.Error("emergency call not in the activity log", "err", err)
	}
}

// ending is what became of one carrier's try but an answer.
type ending struct {
	cause sip.Cause
	rang  bool // the called party was reached
	heard bool // the caller heard what the carrier had to say
	err   error
}

// next reports whether another carrier may do better (P-TRK-04): this one is full, broken, silent, or refuses us. What the
// called party says, such as busy, is true over all of them.
func (e ending) next() bool {
	switch code := e.cause.Code; {
	case e.err != nil, code >= 500 && code < 600:
		return true
	case code == 408:
		return !e.rang // or the called party would be rung once more
	case code == 401, code == 402, code == 403, code == 407:
		return true
	case code >= 300 && code < 400: // elsewhere, where we do not follow
		return true
	}
	return false
}

// words tells people why.
func (e ending) words() string {
	switch {
	case errors.Is(e.err, sip.ErrTrunkFull):
		return "it carries as many calls as it may"
	case errors.Is(e.err, sip.ErrNoTrunk):
		return "it is switched off"
	case e.err != nil:
		return e.err.Error()
	case e.cause.Code != 0:
		return fmt.Sprintf("%d %s", e.cause.Code, e.cause.Reason)
	}
	return e.cause.Reason
}

// passedOn is what the caller is told of the called party.
func (e ending) passedOn(t dialplan.TrunkChoice) dialplan.Reject {
	r := dialplan.Reject{
		Code: e.cause.Code, Reason: "Call failed", Outcome: store.OutcomeFailed,
		Because: store.Reason{Rule: t.Because.Rule, Detail: t.Name + " says " + e.words()},
	}
	switch e.cause.Code {
	case 486, 600:
		r.Reason, r.Outcome = "Busy Here", store.OutcomeBusy
	case 603, 607, 608:
		r.Reason, r.Outcome = "Decline", store.OutcomeDeclined
	case 404, 410, 484, 604:
		r.Reason = "Not in service"
		if !e.heard {
			r.Say = dialplan.SayNotInService
		}
	case 408, 480, 487:
		r.Reason, r.Outcome = "No answer", store.OutcomeNoAnswer
	}
	if r.Code < 400 || r.Code > 699 {
		r.Code = 480
	}
	return r
}

// dial tries one carrier. It returns who answered, or what came instead.
func (c *Call) dial(ctx context.Context, s dialing, t dialplan.TrunkChoice) (*Party, ending) {
	f := &fork{call: c, caller: s.party, early: true, news: make(chan forkNews), patience: silencePatience}
	forked, lose := context.WithCancelCause(ctx)
	var attempt sync.WaitGroup
	attempt.Go(c.guarded(func() { f.attempt(forked, way{invite: func() (*Party, error) { return c.inviteOver(forked, s, t) }}) }))
	f.comfort(ctx)
	winner, err := f.watch(ctx, 1, ringPatience)
	if err == nil {
		lose(errElsewhere)
	} else {
		lose(err)
	}
	attempt.Wait()
	end := ending{cause: f.last.cause, rang: f.rang, heard: f.sound != nil, err: f.last.err}
	f.quiet()
	switch {
	case errors.Is(err, errHungUp), errors.Is(err, errSilent):
		end.err = err
	case err != nil && !f.last.ended:
		end.cause = sip.Cause{Code: 480, Reason: "nobody answered"}
	}
	return winner, end
}

// inviteOver sends the call to a carrier, with the codecs that it wants.
func (c *Call) inviteOver(ctx context.Context, s dialing, t dialplan.TrunkChoice) (*Party, error) {
	local, ok := c.engine.SIP.TrunkLocal(t.ID)
	if !ok {
		return nil, sip.ErrNoTrunk
	}
	sound, err := c.engine.Media.Open(local)
	if err != nil {
		return nil, fmt.Errorf("open sound at %s: %w", local, err)
	}
	sound.Prefer(s.party.Sound)
	row := c.rows.Trunk(t.ID)
	sound.Secure(securityOfTrunk(row))
	if row != nil {
		sound.Restrict(row.Codecs)
	}
	o := sip.Outgoing{Trunk: t.ID, Number: t.Number, Called: sip.Identity{User: t.Number}, Emergency: s.Emergency, Sound: sound, Call: c.id}
	if s.party.Leg.Trunk() != "" {
		o.Carried = s.party.Leg.Carried() // what one carrier signed of the caller is for the next
	}
	s.present(&o, t, row)
	c.tellDiversions(&o, s.party)
	if !s.party.answered {
		o.MaxForwards = s.party.Leg.MaxForwards() - 1
	}
	leg, err := c.engine.SIP.Invite(ctx, o)
	if err != nil {
		sound.Close()
		return nil, err
	}
	return &Party{Leg: leg, Sound: sound, Who: store.CallParty{Number: s.Number}, security: securityOfTrunk(row)}, nil
}

// diversionCodes are the causes of RFC 4458 §3 for the reasons of RFC 5806.
var diversionCodes = map[string]int{"unconditional": 302, "user-busy": 486, "no-answer": 408, "unavailable": 480}

// present says who calls. A number that is not ours is shown only behind one of ours that forwards, to a carrier that is told so.
func (s dialing) present(o *sip.Outgoing, t dialplan.TrunkChoice, row *store.Trunk) {
	ours := t.Spell(s.Shown.Number)
	o.Presented = sip.Presentation{Anonymous: s.Shown.Anonymous, Asserted: sip.Identity{User: ours}}
	o.From = sip.Identity{User: ours}
	if s.Forwarder == "" {
		return
	}
	o.Diverted = append([]sip.Diversion{{User: t.Spell(s.Forwarder), Reason: s.Diversion, Code: diversionCodes[s.Diversion]}}, s.party.Leg.Diverted()...)
	caller := s.party.Who.Number
	switch {
	case s.party.Leg.Trunk() != "" && caller == "":
		o.Presented.Anonymous = true // who withheld the number to us has withheld it
	case row != nil && row.Diversion != "none" && caller != "":
		o.From.User = t.Spell(caller)
	}
}
