package call

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pbx/dialplan"
	"pbx/event"
	"pbx/media"
	"pbx/sip"
	"pbx/store"
)

// lot is the parking slots of all accounts. A slot holds one call.
type lot struct {
	mu     sync.Mutex
	places map[place]*parkedCall
}

type place struct {
	account store.ID
	slot    string
}

// parkedCall is who waits in a slot, and for how long.
type parkedCall struct {
	call    *Call
	party   *Party // nil while the slot is only kept for somebody
	by      store.CallParty
	since   time.Time
	returns time.Time // zero: it does not
}

// keep takes the first free of the slots; "" if there is none.
func (l *lot) keep(c *Call, slots []string, by store.CallParty) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.places == nil {
		l.places = make(map[place]*parkedCall)
	}
	for _, slot := range slots {
		at := place{c.account, slot}
		if l.places[at] == nil {
			l.places[at] = &parkedCall{call: c, by: by, since: time.Now()}
			return slot
		}
	}
	return ""
}

// fill notes who waits in a slot that is kept for the call.
func (l *lot) fill(c *Call, slot string, p *Party, by store.CallParty, patience time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.places[place{c.account, slot}]; at != nil && at.call == c {
		at.party, at.by, at.since, at.returns = p, by, time.Now(), time.Time{}
		if patience > 0 {
			at.returns = at.since.Add(patience)
		}
	}
}

// free gives a slot up.
func (l *lot) free(c *Call, slot string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.places[place{c.account, slot}]; at != nil && at.call == c {
		delete(l.places, place{c.account, slot})
	}
}

// at returns who waits in a slot.
func (l *lot) at(account store.ID, slot string) (parkedCall, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.places[place{account, slot}]
	if at == nil || at.party == nil {
		return parkedCall{}, false
	}
	return *at, true
}

// slotOf returns the slot that p waits in; empty: none.
func (l *lot) slotOf(p *Party) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, parked := range l.places {
		if parked.party == p {
			return at.slot
		}
	}
	return ""
}

// Parked lists the calls of an account that wait in slots, in order of the slots.
func (e *Engine) Parked(account store.ID) []event.Parked {
	e.lot.mu.Lock()
	defer e.lot.mu.Unlock()
	var all []event.Parked
	for at, p := range e.lot.places {
		if at.account == account && p.party != nil {
			all = append(all, parkedView(at.slot, p))
		}
	}
	slices.SortFunc(all, func(a, b event.Parked) int { return cmp.Compare(a.Slot, b.Slot) })
	return all
}

func parkedView(slot string, p *parkedCall) event.Parked {
	v := event.Parked{Slot: slot, CallID: p.call.id, Since: p.since, Caller: viewOf(p.party.Who, nil), ParkedBy: viewOf(p.by, nil)}
	if !p.returns.IsZero() {
		v.ReturnsAt = &p.returns
	}
	return v
}

// slotPrefix makes a slot an object that lamps show beside users.
const slotPrefix = "slot_"

// parkingChanged tells lamps and the portal.
func (c *Call) parkingChanged(slot string) {
	if c.engine.Bus == nil {
		return
	}
	v := event.Parked{Slot: slot}
	if at, taken := c.engine.lot.at(c.account, slot); taken {
		v = parkedView(slot, &at)
	}
	c.engine.Bus.Publish(event.News{Kind: event.ParkingChanged, Account: c.account, Data: v})
	c.engine.Bus.Publish(event.News{Kind: event.LampsChanged, Account: c.account, Data: event.Lamps{Users: []store.ID{store.ID(slotPrefix + slot)}}})
}

// parkHere is the wish that the other party of a talk is parked.
type parkHere struct{ by *Party }

// retrieve is the wish of somebody to talk to who is parked.
type retrieve struct {
	by    *Party
	told  report
	offer *atomic.Bool // see takeOver
}

func (parkHere) wish() {}
func (retrieve) wish() {}

// Park puts one side of a call into the next free slot; user is who asks, else the caller's side is parked.
func (e *Engine) Park(account, call, user store.ID) error {
	c := e.board.call(call)
	if c == nil || c.account != account {
		return fmt.Errorf("park %s: %w", call, store.ErrNotFound)
	}
	both := c.talkers()
	if both == nil {
		return fmt.Errorf("park %s: %w", call, ErrNotTalking)
	}
	by := both[1]
	if both[0].Who.UserID == user && user != "" {
		by = both[0]
	}
	if !c.ask(parkHere{by}) {
		return fmt.Errorf("park %s: %w", call, ErrNotTalking)
	}
	return nil
}

// parking looks for a slot. Who is sent here waits in it; who dials here hears which it is, and keeps it for the one they
// send here next.
type parking struct {
	party *Party
	slots []string
	by    store.CallParty // who parks; zero: the party itself came here
	tell  *Party          // who hears the slot and leaves, or nil
}

func (s parking) Parties() []*Party {
	if s.tell != nil {
		return []*Party{s.party, s.tell}
	}
	return []*Party{s.party}
}
func (s parking) String() string { return "parking" }

func (s parking) Run(ctx context.Context, c *Call) Step {
	by := s.by
	slot := c.engine.lot.keep(c, s.slots, by)
	if slot == "" {
		return c.noSlot(ctx, s)
	}
	kept := true
	defer func() {
		if kept {
			c.engine.lot.free(c, slot)
		}
	}()
	c.note("slot " + slot)
	c.because(store.Reason{Rule: "parking", Detail: "Slot " + slot + " was free"})
	if err := c.answer(ctx, s.party, nil); err != nil {
		return nil
	}
	c.outcome(store.OutcomeAnswered)
	if s.tell != nil {
		stop := c.background(ctx, s.party, c.holdMusic(by.UserID))
		_ = s.tell.Sound.Play(ctx, c.engine.Library.Prompt(c.whichSlot(slot)...)) // who hangs up does not want to know
		stop()
	}
	kept = false
	return parked{party: s.party, slot: slot, by: by}
}

// whichSlot names a slot to the one who parks.
func (c *Call) whichSlot(slot string) []string {
	return append([]string{"parked-at"}, c.engine.Library.Digits(slot)...)
}

// noSlot is the end of an attempt to park when all slots are taken: those who talked talk on.
func (c *Call) noSlot(ctx context.Context, s parking) Step {
	c.note("no slot is free")
	if s.tell != nil {
		if _, err := c.play(ctx, s.tell, "", c.engine.Library.Prompt("no-slot-free")); err != nil {
			return nil
		}
		if c.caller == s.tell {
			return talking{s.tell, s.party}
		}
		return talking{s.party, s.tell}
	}
	return rejecting{s.party, dialplan.Reject{
		Code: 486, Reason: "No slot free", Outcome: store.OutcomeBusy, Say: dialplan.SayNoSlot,
		Because: store.Reason{Rule: "parking", Detail: "All parking slots are taken"},
	}}
}

// parked waits in a slot, with music.
type parked struct {
	party *Party
	slot  string
	by    store.CallParty
}

func (s parked) Parties() []*Party { return []*Party{s.party} }
func (s parked) String() string    { return "parked" }

func (s parked) Run(ctx context.Context, c *Call) Step {
	waits := s.by != (store.CallParty{}) // else the slot is kept for somebody who is sent here next
	patience := time.Duration(0)
	var returns <-chan time.Time
	if waits && s.by.Extension != "" {
		patience = c.rows.Account.ParkingTimeout
		late := time.NewTimer(patience)
		defer late.Stop()
		returns = late.C
	}
	if waits {
		c.note(fmt.Sprintf("slot %s, parked by %s", s.slot, named(s.by)))
		c.engine.lot.fill(c, s.slot, s.party, s.by, patience)
		c.parkingChanged(s.slot)
		c.atSlot(ctx, s)
	}
	moved := false
	defer func() {
		if !moved {
			c.engine.lot.free(c, s.slot)
			c.parkingChanged(s.slot)
		}
	}()
	sound := c.holdMusic(s.by.UserID)
	if !waits {
		sound = media.Sequence(c.engine.Library.Prompt(c.whichSlot(s.slot)...), sound)
	}
	defer c.background(ctx, s.party, sound)()
	for {
		select {
		case <-s.party.Done():
			_ = c.gone(s.party)
			return nil
		case <-s.party.Sound.Silent():
			_ = c.silent(s.party)
			return nil
		case <-ctx.Done():
			_ = c.stopped()
			return nil
		case <-returns:
			return c.backToParker(s)
		case <-s.party.Sound.Digits(): // nothing to choose here
		case <-s.party.Leg.Digits():
		case w := <-c.wishes:
			next, over := s.granted(c, w)
			if p, same := next.(parked); same {
				moved = p.slot == s.slot
			}
			if over {
				return next
			}
		}
	}
}

// granted hears a wish while somebody waits.
func (s parked) granted(c *Call, w Wish) (next Step, over bool) {
	switch w := w.(type) {
	case retrieve:
		switch {
		case s.by == (store.CallParty{}) || !w.offer.CompareAndSwap(false, true) || !c.engine.board.Take(w.by, c):
			w.told.Done(481, "Call/Transaction Does Not Exist")
			return nil, false
		}
		w.told.Done(200, "OK")
		return c.taken(s, w.by), true
	case takeOver:
		if w.of != s.party || !w.taken(c) {
			break
		}
		// Who kept the slot sends somebody here, or sends whom they parked elsewhere and another one takes the place.
		c.seat(w)
		w.told.Done(200, "OK")
		by := s.by
		if w.back != nil {
			by = w.back.Who
		}
		return parked{party: w.by, slot: s.slot, by: by}, true
	}
	return nil, c.declined(w)
}

// taken lets by talk to who was parked.
func (c *Call) taken(s parked, by *Party) Step {
	c.because(store.Reason{Rule: "parking", Detail: fmt.Sprintf("%s took %s from slot %s", named(by.Who), named(s.party.Who), s.slot)})
	c.transferred()
	c.mu.Lock()
	c.remark = "taken from slot " + s.slot
	callers := c.caller == s.party
	if callers {
		c.callee, c.record.Callee = by, by.Who
	} else {
		c.caller, c.record.Caller = by, by.Who
	}
	c.mu.Unlock()
	if callers {
		return talking{s.party, by}
	}
	return talking{by, s.party}
}

// backToParker rings the one who parked the call, and says who waits.
func (c *Call) backToParker(s parked) Step {
	c.because(store.Reason{Rule: "account parking_timeout_s", Detail: fmt.Sprintf("%s waited %s in slot %s and goes back to %s",
		named(s.party.Who), c.rows.Account.ParkingTimeout, s.slot, named(s.by))})
	c.mu.Lock()
	c.caller, c.record.Caller, c.callee = s.party, s.party.Who, nil
	c.mu.Unlock()
	d, reasons := c.plan.Route(dialplan.Query{From: dialplan.Caller{Number: shown(s.party.Who).User}, Dialed: s.by.Extension, At: time.Now()})
	c.because(reasons...)
	if ring, ok := d.(dialplan.Ring); ok {
		ring.Prefix = "Parked " + s.slot + ": " + ring.Prefix
		d = ring
	}
	return c.follow(s.party, d)
}

// atSlot tells the phone of who waits where they are.
func (c *Call) atSlot(ctx context.Context, s parked) {
	c.introduce(ctx, s.party, &Party{Who: store.CallParty{Name: "Parked", Number: s.slot}})
}

// sender is who transfers the caller here; nobody, if the caller came by themselves.
func (c *Call) sender() store.CallParty {
	if c.handover == nil {
		return store.CallParty{}
	}
	return c.handover.who
}

// slot takes who is parked there, or parks whom somebody sends there.
func (c *Call) slot(p *Party, d dialplan.Slot) Step {
	if at, taken := c.engine.lot.at(c.account, d.Number); taken && c.handover == nil {
		return picking{party: p, of: at.party, in: at.call, slot: d.Number}
	}
	if c.handover != nil {
		return parking{party: p, slots: []string{d.Number}, by: c.sender()}
	}
	return c.branch(p, dialplan.Reject{
		Code: 404, Reason: "Nobody is parked there", Outcome: store.OutcomeFailed, Say: dialplan.SayNobodyParked,
		Because: store.Reason{Rule: "parking", Detail: "Nobody is parked in slot " + d.Number},
	})
}

// slotDialogs is what the lamp of a slot shows.
func (e *Engine) slotDialogs(account store.ID, slot string) []sip.DialogState {
	at, taken := e.lot.at(account, slot)
	if !taken {
		return nil
	}
	return []sip.DialogState{{
		ID: string(at.call.id) + "-p", Direction: "recipient", State: "confirmed", Since: at.since, Remote: shown(at.party.Who), Leg: at.party.Leg,
	}}
}
