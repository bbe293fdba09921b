package call

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pbx/media"
	"pbx/store"
)

// What a recording may be asked to do.
const (
	tapeOn     = "recording"
	tapePaused = "paused"
	tapeOff    = "stopped"
)

// tapeWish asks for a recording to begin, pause, go on or end.
type tapeWish struct {
	state string
	by    string // who asks, in words
}

func (tapeWish) wish() {}

// Record lets a call be recorded, paused or no longer recorded: "recording", "paused", "stopped".
func (e *Engine) Record(account, call store.ID, by, state string) error {
	c := e.board.call(call)
	if c == nil || c.account != account {
		return fmt.Errorf("record %s: %w", call, store.ErrNotFound)
	}
	c.mu.Lock()
	talks := c.state == (talking{}).String()
	c.mu.Unlock()
	if !talks || !c.ask(tapeWish{state, by}) {
		return fmt.Errorf("record %s: %w", call, ErrNotTalking)
	}
	return nil
}

// tape is the recording of one call. The run loop says what shall be recorded; a goroutine of its own does it, so that no
// disk is ever waited for. A call has one recording at most: what is begun again goes on in the same file, after a gap.
type tape struct {
	tape   *media.Tape
	stop   context.CancelFunc
	ended  chan struct{}
	notice string

	mu  sync.Mutex
	row store.Recording
}

// recordIfRuled records the two who talk now, when a rule says so, or goes on to when they came from elsewhere.
func (c *Call) recordIfRuled(ctx context.Context, a, b *Party) {
	if c.tape != nil {
		c.tapeFollows(a, b)
		return
	}
	if rule, ok := c.recordingRule(a, b); ok {
		c.startTape(ctx, rule, a, b)
	}
}

// recordingRule says why a call is recorded. What must not be recorded is not, whoever else talks; then the number that was
// called counts, then the users, then the account (P-REC-01). Emergency calls have a rule of their own (E-37).
func (c *Call) recordingRule(a, b *Party) (rule string, ok bool) {
	if c.emergency() {
		return "The account records emergency calls", c.rows.Account.Recording.Emergency
	}
	if c.unrecordable(a, b) {
		return "", false
	}
	if n := c.calledNumber(); n != nil && n.Recording == "always" {
		return "Calls to " + n.Number + " are recorded", true
	}
	for _, p := range []*Party{a, b} {
		if u := c.rows.User(p.Who.UserID); u != nil && u.Recording == "always" {
			return "Calls of " + u.Name + " are recorded", true
		}
	}
	direction := c.direction()
	return "The account records " + direction + " calls", c.rows.Account.Records(direction)
}

// unrecordable reports whether a number or a user forbids it.
func (c *Call) unrecordable(a, b *Party) bool {
	if n := c.calledNumber(); n != nil && n.Recording == "never" {
		return true
	}
	return slices.ContainsFunc([]*Party{a, b}, func(p *Party) bool {
		u := c.rows.User(p.Who.UserID)
		return u != nil && u.Recording == "never"
	})
}

func (c *Call) direction() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.record.Direction
}

func (c *Call) emergency() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.record.Direction != "inbound" && c.plan.IsEmergency(c.record.Dialed)
}

// calledNumber is the number of ours that somebody outside called, or nil.
func (c *Call) calledNumber() *store.Number {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.record.Direction != "inbound" {
		return nil
	}
	return c.rows.NumberByE164(c.plan.Canonical(c.record.Dialed))
}

// startTape begins to record.
func (c *Call) startTape(_ context.Context, rule string, a, b *Party) {
	ctx, stop := context.WithCancel(context.WithoutCancel(c.ctx))
	t := &tape{tape: media.NewTape(), stop: stop, ended: make(chan struct{}), notice: c.rows.Account.Recording.Notice}
	t.row = store.Recording{
		ID: store.NewID(store.PrefixRecording), AccountID: c.account, CallID: c.id, StartedAt: time.Now(), Rule: rule, Notice: "none",
	}
	c.tape = t
	c.tapeFollows(a, b)
	outside := slices.DeleteFunc([]*Party{a, b}, func(p *Party) bool { return p.Leg.Trunk() == "" })
	if c.emergency() || len(outside) == 0 {
		t.notice = "" // there is nobody to be told, or a life is more important
	}
	if t.notice != "" {
		t.row.Notice = t.notice
	}
	c.because(store.Reason{Rule: "recording", Detail: rule})
	c.setTaping(tapeOn)
	rate := max(a.Sound.Rate(), b.Sound.Rate())
	c.engine.calls.Go(c.guarded(func() {
		defer close(t.ended)
		t.run(ctx, c, rate, []*Party{a, b})
	}))
}

// tapeFollows records those two from now on: who was on a side stays there, the caller is left.
func (c *Call) tapeFollows(a, b *Party) {
	t := c.tape
	left, right := a, b
	if side, on := t.tape.On(a.Sound); on && side == media.Right || !on && b == c.caller {
		left, right = b, a
	} else if side, on := t.tape.On(b.Sound); on && side == media.Left {
		left, right = b, a
	}
	t.mu.Lock()
	if t.row.Left == (store.CallParty{}) && t.row.Right == (store.CallParty{}) {
		t.row.Left, t.row.Right = left.Who, right.Who
	}
	for _, p := range []*Party{a, b} {
		if id := p.Who.UserID; id != "" && !slices.Contains(t.row.Users, id) {
			t.row.Users = append(t.row.Users, id)
		}
	}
	t.mu.Unlock()
	t.tape.Follow(left.Sound, right.Sound)
}

// tapeOnly records one side only, while the other one talks in another call.
func (c *Call) tapeOnly(p *Party) {
	if c.tape == nil {
		return
	}
	if side, _ := c.tape.tape.On(p.Sound); side == media.Right {
		c.tape.tape.Follow(nil, p.Sound)
	} else {
		c.tape.tape.Follow(p.Sound, nil)
	}
}

// setTape does what somebody asks for: by key, or in the portal.
func (c *Call) setTape(ctx context.Context, state, by string) {
	c.mu.Lock()
	now, a, b := c.taping, c.caller, c.callee
	c.mu.Unlock()
	switch {
	case state == tapeOn && c.tape == nil:
		if a == nil || b == nil || c.unrecordable(a, b) || c.emergency() {
			c.log.Info("recording refused", "by", by)
			return
		}
		c.startTape(ctx, by+" asked for it", a, b)
	case c.tape == nil, now == state, now == "" && state != tapeOn:
	case state == tapeOn:
		c.tape.tape.Pause(false)
		c.setTaping(tapeOn)
	default: // one that was stopped may begin again: until the call ends it is paused
		c.tape.tape.Pause(true)
		if state == tapeOff {
			state = ""
		}
		c.setTaping(state)
	}
	c.log.Info("recording changed", "state", state, "by", by)
}

// setTaping lets the portal see what the recording does.
func (c *Call) setTaping(state string) {
	c.mu.Lock()
	c.taping = state
	c.mu.Unlock()
	c.changed()
}

// toggleTape begins a recording, pauses it, or lets it go on.
func (c *Call) toggleTape(ctx context.Context, p *Party) {
	c.mu.Lock()
	state := c.taping
	c.mu.Unlock()
	if state == tapeOn {
		c.setTape(ctx, tapePaused, p.Who.Name)
	} else {
		c.setTape(ctx, tapeOn, p.Who.Name)
	}
}

// Room on the disk that recordings leave to all else: none begins, and none goes on, when there is less.
const (
	reserve    = 200e6
	spaceCheck = 10 * time.Second
)

// run is the goroutine of a recording. Whatever goes wrong here, the call goes on.
func (t *tape) run(ctx context.Context, c *Call, rate int, told []*Party) {
	defer c.setTaping("")
	if err := t.live(ctx, c, rate, told); err != nil {
		c.log.Warn("call not recorded to its end", "recording", t.row.ID, "err", err)
	}
}

var errNoRoom = errors.New("the disk is nearly full")

func (t *tape) live(ctx context.Context, c *Call, rate int, told []*Party) error {
	e := c.engine
	if free, err := e.Store.RecordingFree(); err == nil && free < reserve {
		return errNoRoom
	}
	t.mu.Lock()
	row := t.row
	t.mu.Unlock()
	db, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordPatience)
	defer cancel()
	if err := e.Store.BeginRecording(db, &row); err != nil { // before the first sample: a crash loses neither
		return fmt.Errorf("begin recording: %w", err)
	}
	w, err := media.CreateStereoWAV(e.Store.RecordingPath(row.ID), rate)
	if err != nil {
		return errors.Join(err, t.drop(c))
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var notices sync.WaitGroup
	if t.notice == "announcement" {
		t.tape.Silence(true) // nothing is kept that was said before the notice (E-35)
	}
	notices.Go(c.guarded(func() { t.tell(running, c, told) }))
	notices.Go(c.guarded(func() { t.watchSpace(running, e, stop) }))
	err = t.tape.Run(running, w)
	stop(nil)
	notices.Wait()
	if cause := context.Cause(running); err == nil && errors.Is(cause, errNoRoom) {
		err = cause
	}
	return errors.Join(err, w.Close(), t.finish(c, w.Duration()))
}

// watchSpace ends a recording before the disk is full.
func (t *tape) watchSpace(ctx context.Context, e *Engine, stop context.CancelCauseFunc) {
	tick := time.NewTicker(spaceCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if free, err := e.Store.RecordingFree(); err == nil && free < reserve/2 {
				stop(errNoRoom)
				return
			}
		}
	}
}

// tell lets the outside party know that the call is recorded, and keeps the notice in the file as proof.
func (t *tape) tell(ctx context.Context, c *Call, told []*Party) {
	switch t.notice {
	case "announcement":
		t.announce(ctx, c, told)
	case "tone":
		tick := time.NewTicker(media.NoticePeriod)
		defer tick.Stop()
		for {
			t.beep(ctx, c)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}
}

// announce speaks to both, who wait for it: nothing that they say before is kept.
func (t *tape) announce(ctx context.Context, c *Call, told []*Party) {
	const words = "call-is-recorded"
	for _, side := range []media.Side{media.Left, media.Right} {
		t.tape.Mix(side, c.engine.Library.Prompt(words))
	}
	var speaking sync.WaitGroup
	for _, p := range told {
		speaking.Go(c.guarded(func() { _ = p.Sound.Play(ctx, c.engine.Library.Prompt(words)) })) // who is gone hears nothing
	}
	speaking.Wait()
	t.tape.Silence(false)
}

// beep is the tone of E-34: the outside hears it over the voice of the other, on whose side it is kept.
func (t *tape) beep(ctx context.Context, c *Call) {
	c.mu.Lock()
	a, b, taping := c.caller, c.callee, c.taping
	c.mu.Unlock()
	if a == nil || b == nil || taping != tapeOn {
		return
	}
	for _, pair := range [][2]*Party{{a, b}, {b, a}} {
		outside, other := pair[0], pair[1]
		if outside.Leg.Trunk() == "" {
			continue
		}
		if side, on := t.tape.On(other.Sound); on {
			t.tape.Mix(side, media.NoticeTone())
		}
		_ = outside.Sound.PlayOver(ctx, other.Sound, media.NoticeTone()) // who is gone hears nothing
	}
}

// finish lists the recording. It must be done even when the call is over.
func (t *tape) finish(c *Call, length time.Duration) error {
	t.mu.Lock()
	row := t.row
	t.mu.Unlock()
	if length == 0 {
		return t.drop(c)
	}
	row.Duration = length
	for _, g := range t.tape.Gaps() {
		row.Gaps = append(row.Gaps, store.Gap{From: g.From, To: g.To})
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), recordPatience)
	defer cancel()
	return c.engine.Store.FinishRecording(ctx, &row)
}

func (t *tape) drop(c *Call) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), recordPatience)
	defer cancel()
	return c.engine.Store.DropRecording(ctx, t.row.ID)
}

// end lets the recording be finished, when there is one, and waits for it.
func (t *tape) end() {
	if t != nil {
		t.stop()
		<-t.ended
	}
}

// recoverRecordings finishes the recordings that a former life of the process left open.
func (e *Engine) recoverRecordings(ctx context.Context) error {
	unfinished, err := e.Store.UnfinishedRecordings(ctx)
	if err != nil {
		return fmt.Errorf("recover recordings: %w", err)
	}
	for i := range unfinished {
		r := &unfinished[i]
		var broken error
		if r.Duration, broken = media.RepairWAV(e.Store.RecordingPath(r.ID)); broken != nil || r.Duration == 0 {
			err = e.Store.DropRecording(ctx, r.ID)
		} else {
			err = e.Store.FinishRecording(ctx, r)
		}
		if err != nil {
			return fmt.Errorf("recover recording %s: %w", r.ID, err)
		}
		e.Log.Info("recording of a former life recovered", "recording", r.ID, "duration", r.Duration, "kept", broken == nil && r.Duration > 0)
	}
	return nil
}
