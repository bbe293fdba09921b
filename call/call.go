package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"pbx/dialplan"
	"pbx/event"
	"pbx/sip"
	"pbx/store"
)

// A Step is one stretch of a call's life. What a step does not pass on is hung up.
type Step interface {
	// Run lives the step and returns the next one; nil ends the call.
	Run(ctx context.Context, c *Call) Step
	Parties() []*Party
	String() string
}

// A Wish is something asked of a running call. A step that does not know it lets it pass.
type Wish interface{ wish() }

// left tells a call that one of its parties moved to another call.
type left struct{ party *Party }

func (left) wish() {}

// maxWishes bounds what may be asked of a call before it looks.
const maxWishes = 8

// Call is a chain of steps and one call record. It keeps the plan it began with.
type Call struct {
	id      store.ID
	account store.ID
	engine  *Engine
	plan    *dialplan.Plan
	rows    *store.Snapshot
	log     *slog.Logger

	ctx    context.Context // ends when the call must
	cancel context.CancelCauseFunc
	wishes chan Wish
	asking sync.Mutex    // guards deaf
	deaf   bool          // the call is over and hears no more
	begun  chan struct{} // closed once the record is in the store

	// What follows belongs to the run loop and its steps.
	handover   *handover         // a transfer under way
	replaced   map[*Party]*Party // who took the place of whom in the middle of a step
	parting    *parting          // why a party is about to leave
	diversions []diversion       // users whose phones sent the call on, oldest first
	tape       *tape             // nil: the call is not recorded
	consults   *consultation     // this call asks before a transfer
	q850       int               // why a party ended the call, in the words of telephone networks

	caller *Party // nil until a phone of an originated call is answered

	keeping sync.Mutex // guards the two below, and the order in which states of the record are kept
	inStore bool       // the record has begun, or could not
	unkept  bool       // more was known by then

	mu     sync.Mutex // guards what the portal looks at meanwhile
	record store.CallRecord
	state  string
	first  *[2]store.CallParty // once transferred: who called, and whom
	remark string              // of the next segment
	callee *Party              // who answered
	taping string              // "recording", "paused"; empty: neither
	lit    []store.ID          // whose lamps showed the call at the latest news
	heard  []heard             // whose sound is measured
	// watchedTill is until when somebody wants to know how it sounds.
	watchedTill time.Time
}

func (e *Engine) newCall(account store.ID, plan *dialplan.Plan, rows *store.Snapshot) *Call {
	c := &Call{
		id: store.NewID(store.PrefixCall), account: account, engine: e, plan: plan, rows: rows,
		wishes: make(chan Wish, maxWishes), begun: make(chan struct{}),
	}
	c.log = e.Log.With("call", c.id)
	c.ctx, c.cancel = context.WithCancelCause(e.root)
	c.record = store.CallRecord{
		ID: c.id, AccountID: account, StartedAt: time.Now(),
		Direction: "internal", Outcome: store.OutcomeOngoing,
	}
	return c
}

// run lives the chain of steps. It alone writes the record, publishes news, logs steps and hangs up.
func (c *Call) run(ctx context.Context, first Step) {
	step := first
	defer c.close()
	defer func() {
		if r := recover(); r != nil {
			c.panicked(r)
			c.consulted()
			c.hangUpDropped(c.present(step), nil)
		}
	}()
	for step != nil {
		c.enter(step)
		next := step.Run(ctx, c)
		there := c.present(step)
		next = c.refuseWishes(c.carriedOn(next))
		if next == nil {
			c.consulted()
		}
		c.hangUpDropped(there, next)
		step = next
	}
}

// panicked ends the call: a bug in one step costs one call, not the house.
func (c *Call) panicked(what any) {
	c.log.Error("panic in a call", "panic", what, "stack", string(debug.Stack()))
	c.over("system", errInternal.Error())
	c.cancel(errInternal)
}

// guarded is f for a goroutine of its own.
func (c *Call) guarded(f func()) func() {
	return func() {
		defer func() {
			if r := recover(); r != nil {
				c.panicked(r)
			}
		}()
		f()
	}
}

// enter opens the step's segment of the record and tells the world.
func (c *Call) enter(s Step) {
	now := time.Now()
	c.engine.board.settle(c, c.present(s))
	c.hear(s.Parties())
	for _, p := range s.Parties() {
		p.Leg.Trace(c.id)
	}
	c.mu.Lock()
	c.closeSegment(now)
	c.record.Segments = append(c.record.Segments, store.Segment{Step: s.String(), Detail: c.remark, StartedAt: now})
	c.remark = ""
	c.state = s.String()
	first := len(c.record.Segments) == 1
	c.mu.Unlock()
	c.log.Debug("step entered", "step", s.String())
	if first {
		c.begin()
		c.publish(event.CallStarted)
	} else {
		c.publish(event.CallChanged)
	}
}

// begin inserts the record behind the call's back: only answering waits for it, and not long.
func (c *Call) begin() {
	r := c.copyRecord()
	c.engine.calls.Go(func() {
		defer close(c.begun)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), recordPatience)
		defer cancel()
		if err := c.engine.Store.StartCall(ctx, &r); err != nil {
			c.log.Error("call record not begun", "err", err)
		}
		c.keeping.Lock()
		defer c.keeping.Unlock()
		c.inStore = true
		if c.unkept {
			c.put()
		}
	})
}

// keep has what is known of the call by now written, with the next commit: a call that is cut off by a kill still
// tells who talked, and since when.
func (c *Call) keep() {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	if !c.inStore {
		c.unkept = true // an older state must not come after it
		return
	}
	c.put()
}

// put is called with keeping held, so that states of the record come in their order.
func (c *Call) put() {
	r := c.copyRecord()
	r.Outcome = store.OutcomeOngoing
	if err := c.engine.Store.KeepCall(&r); err != nil {
		c.log.Error("call record not kept up to date", "err", err)
	}
}

const (
	recordPatience = 10 * time.Second       // for a record to be written at all
	answerPatience = 250 * time.Millisecond // that a person may wait for the disk
)

// close completes the record and takes the call off the board.
func (c *Call) close() {
	c.deafen()
	quality := c.measured()
	now := time.Now()
	c.mu.Lock()
	c.closeSegment(now)
	r := &c.record
	r.Quality = quality
	r.EndedAt = now
	if r.HangupBy == "" {
		r.HangupBy, r.HangupCause = "system", "ended"
	}
	if r.Outcome == store.OutcomeOngoing {
		r.Outcome = unanswered(r.HangupBy, context.Cause(c.ctx))
	}
	c.state = "ended"
	c.mu.Unlock()
	c.relight() // now: the record may have to wait for the disk

	c.tape.end()
	<-c.begun
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), recordPatience)
	defer cancel()
	saved := c.copyRecord()
	if err := c.engine.Store.SaveCall(ctx, &saved); err != nil {
		c.log.Error("call record not saved", "err", err)
	}
	c.engine.board.remove(c)
	c.engine.SIP.EndTrace(c.account, c.id)
	c.publish(event.CallEnded)
	c.engine.completeCalls()
	c.log.Info("call ended", "outcome", saved.Outcome, "by", saved.HangupBy, "cause", saved.HangupCause)
	c.cancel(nil)
}

// unanswered names the end of a call that met neither an answer nor a refusal.
func unanswered(by string, cause error) store.Outcome {
	switch {
	case errors.Is(cause, errStopping):
		return store.OutcomeInterrupted
	case by == "caller", errors.Is(cause, errEndedByRequest):
		return store.OutcomeCancelled
	}
	return store.OutcomeFailed
}

// ask hands a wish to the call; false when the call has more wishes than it can hear.
func (c *Call) ask(w Wish) bool {
	c.asking.Lock()
	defer c.asking.Unlock()
	if c.deaf {
		return false
	}
	select {
	case c.wishes <- w:
		return true
	default:
		return false
	}
}

// refuseWishes drops what the step that ended did not hear. Without a party that left, there is no next step for it.
func (c *Call) refuseWishes(next Step) Step {
	for {
		select {
		case w := <-c.wishes:
			if gone, ok := w.(left); ok && !slices.Contains(c.present(next), gone.party) {
				continue
			}
			c.log.Info("wish refused", "wish", fmt.Sprintf("%T", w))
			if c.declined(w) {
				next = nil
			}
		default:
			return next
		}
	}
}

// deafen lets nobody wish anything any more.
func (c *Call) deafen() {
	c.asking.Lock()
	c.deaf = true
	c.asking.Unlock()
	c.refuseWishes(nil)
}

// hangUpDropped hangs up whom the step does not pass on, unless they moved to another call.
func (c *Call) hangUpDropped(there []*Party, next Step) {
	kept := c.present(next)
	for _, p := range there {
		if !slices.Contains(kept, p) && c.engine.board.release(c, p) {
			p.drop(c.causeOfEnd())
		}
	}
}

// causeOfEnd is what a phone is told that we hang up on: 480 before it was answered, a plain BYE after that, with the
// cause that came from the other side (RFC 3326).
func (c *Call) causeOfEnd() sip.Cause {
	switch {
	case errors.Is(context.Cause(c.ctx), errStopping):
		return sip.Cause{Code: 503, Reason: "Service Unavailable"}
	case c.ctx.Err() != nil:
		return sip.Cause{Code: 480, Reason: "Call Ended"}
	}
	return sip.Cause{Q850: c.q850}
}
