package call

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pbx/dialplan"
	"pbx/sip"
	"pbx/store"
)

// This file lives the codes that end with a word to the caller.

// telling says something to a caller and ends.
type telling struct {
	party *Party
	name  string // of the step
	words func(ctx context.Context, c *Call) ([]string, error)
}

func (s telling) Parties() []*Party { return []*Party{s.party} }
func (s telling) String() string    { return s.name }

func (s telling) Run(ctx context.Context, c *Call) Step {
	if err := c.answer(ctx, s.party, nil); err != nil {
		return nil
	}
	c.outcome(store.OutcomeAnswered)
	words, err := s.words(ctx, c)
	if err != nil {
		c.log.Error("not done", "code", s.name, "err", err)
		words = []string{"not-changed"}
	}
	if _, err := c.play(ctx, s.party, "", c.engine.Library.Prompt(append(words, "goodbye")...)); errors.Is(err, errHungUp) {
		return nil
	}
	c.over("system", "end of announcement")
	return nil
}

// change makes a change that somebody asks for by telephone.
func (c *Call) change(ctx context.Context, p *Party, user store.ID, change func(u *store.User)) error {
	return c.engine.Store.ChangeUser(ctx, p.actor(), c.account, user, change)
}

// setting lives a code that changes a setting.
func (c *Call) setting(p *Party, d dialplan.Setting) Step {
	return telling{p, "setting", func(ctx context.Context, c *Call) ([]string, error) {
		number := ""
		if d.On {
			number = d.Number
		}
		err := c.change(ctx, p, d.User, func(u *store.User) {
			switch d.What {
			case "do_not_disturb":
				u.DoNotDisturb = d.On
			case "forward.always":
				u.Forward.Always = number
			case "forward.busy":
				u.Forward.Busy = number
			case "forward.no_answer":
				u.Forward.NoAnswer = number
			case "forward.unreachable":
				u.Forward.Unreachable = number
			}
		})
		if err != nil {
			return nil, fmt.Errorf("set %s of %s: %w", d.What, d.User, err)
		}
		c.note(d.What + map[bool]string{true: " on ", false: " off"}[d.On] + number)
		switch {
		case d.What == "do_not_disturb" && d.On:
			return []string{"dnd-on"}, nil
		case d.What == "do_not_disturb":
			return []string{"dnd-off"}, nil
		case d.On:
			return append([]string{"forwarded-to"}, c.engine.Library.Digits(number)...), nil
		}
		return []string{"forward-off"}, nil
	}}
}

// clock tells the time of the account.
func (c *Call) clock(p *Party) Step {
	return telling{p, "clock", func(_ context.Context, c *Call) ([]string, error) {
		return append([]string{"the-time-is"}, c.timeOfDay(time.Now())...), nil
	}}
}

// zone is where the account's clocks are.
func (c *Call) zone() *time.Location {
	zone, err := time.LoadLocation(c.rows.Account.Timezone)
	if err != nil {
		return time.UTC
	}
	return zone
}

// timeOfDay is a time in the account's zone, in words.
func (c *Call) timeOfDay(at time.Time) []string {
	at = at.In(c.zone())
	half := "am"
	if at.Hour() >= 12 {
		half = "pm"
	}
	words := c.engine.Library.Number((at.Hour()+11)%12 + 1)
	switch m := at.Minute(); {
	case m == 0:
		words = append(words, "o-clock")
	case m < 10:
		words = append(append(words, "oh"), c.engine.Library.Number(m)...)
	default:
		words = append(words, c.engine.Library.Number(m)...)
	}
	return append(words, half)
}

// whoAmI tells callers their extension.
func (c *Call) whoAmI(p *Party, d dialplan.WhoAmI) Step {
	return telling{p, "who am I", func(_ context.Context, c *Call) ([]string, error) {
		return append([]string{"your-extension-is"}, c.engine.Library.Digits(d.Extension)...), nil
	}}
}

// callBack dials who called the user last.
func (c *Call) callBack(ctx context.Context, p *Party, d dialplan.CallBack) Step {
	number, err := c.engine.Store.LastCaller(ctx, c.account, d.User, c.id)
	if err != nil {
		c.log.Error("last caller not found", "user", d.User, "err", err)
	}
	if number == "" {
		return telling{p, "call back", func(context.Context, *Call) ([]string, error) { return []string{"no-call-to-return"}, nil }}
	}
	c.because(store.Reason{Rule: "call back", Detail: number + " called " + d.Name + " last"})
	return routing{party: p, dialed: number}
}

// intercom calls the phones of a user so that they answer by themselves.
type intercom struct {
	party *Party
	dialplan.Intercom
}

// intercomPatience is how long phones have to answer by themselves.
const intercomPatience = 10 * time.Second

func (s intercom) Parties() []*Party { return []*Party{s.party} }
func (s intercom) String() string    { return "intercom" }

func (s intercom) Run(ctx context.Context, c *Call) Step {
	c.note(named(store.CallParty{Name: s.Target.Name, Extension: s.Target.Extension}))
	callee, err := c.fork(ctx, s.party, dialplan.Group{Targets: []dialplan.Target{s.Target}, Timeout: intercomPatience}, ringStyle{auto: true})
	s.party = c.instead(s.party)
	switch {
	case err == nil:
		return talking{s.party, callee}
	case errors.Is(err, errHungUp):
		return nil
	}
	return c.branch(s.party, s.Refused)
}

// flip takes the user's own call from another of their phones.
func (c *Call) flip(p *Party, d dialplan.Flip) Step {
	for _, at := range c.engine.board.presences(d.User) {
		if at.party != p && !at.rings && at.call != c && at.call.account == c.account {
			return picking{party: p, of: at.party, in: at.call}
		}
	}
	return c.branch(p, dialplan.Reject{
		Code: 480, Reason: "Nothing to take", Outcome: store.OutcomeFailed,
		Because: store.Reason{Rule: "flip", Detail: "No other phone of " + d.Name + " is in a call"},
	})
}

// wakeUp notes when a user wants to be called, or that they do not any more.
func (c *Call) wakeUp(p *Party, d dialplan.WakeUp) Step {
	return telling{p, "wake-up call", func(ctx context.Context, c *Call) ([]string, error) {
		if d.Cancel {
			if err := c.engine.Store.SetWakeUp(ctx, p.actor(), store.WakeUp{AccountID: c.account, UserID: d.User}); err != nil {
				return nil, fmt.Errorf("cancel wake-up call: %w", err)
			}
			return []string{"wake-up-cancelled"}, nil
		}
		at := nextTime(time.Now().In(c.zone()), d.Hour, d.Minute)
		if err := c.engine.Store.SetWakeUp(ctx, p.actor(), store.WakeUp{AccountID: c.account, UserID: d.User, At: at}); err != nil {
			return nil, fmt.Errorf("set wake-up call: %w", err)
		}
		c.note("at " + at.Format(time.RFC3339))
		return append([]string{"wake-up-set"}, c.timeOfDay(at)...), nil
	}}
}

// nextTime is when the clock of now's zone next shows a time of the day.
func nextTime(now time.Time, hour, minute int) time.Time {
	y, m, d := now.Date()
	at := time.Date(y, m, d, hour, minute, 0, 0, now.Location())
	if !at.After(now) {
		at = time.Date(y, m, d+1, hour, minute, 0, 0, now.Location())
	}
	return at
}

// wakeUpActor changes wake-up calls on behalf of nobody.
var wakeUpActor = store.Actor{Kind: "system", Name: "wake-up call"}

// WakeUp makes the wake-up calls that are due. Each is tried three times, and forgotten once somebody took it: before a
// phone rings the next try is kept, so that a kill costs no call. One that is long past is not made any more.
func (e *Engine) WakeUp(ctx context.Context, now time.Time) error {
	due, err := e.Store.DueWakeUps(ctx, now)
	if err != nil {
		return fmt.Errorf("wake-up calls: %w", err)
	}
	for _, w := range due {
		plan, rows := e.Plan(w.AccountID)
		if plan == nil || rows.User(w.UserID) == nil {
			continue // it goes with its user
		}
		u, next := rows.User(w.UserID), store.WakeUp{AccountID: w.AccountID, UserID: w.UserID}
		missed := now.Sub(w.At) > wakeUpLate
		if w.Tries++; w.Tries < wakeUpTries && !missed {
			next.At, next.Tries = now.Add(wakeUpAgain), w.Tries
		}
		if err := e.Store.SetWakeUp(ctx, wakeUpActor, next); err != nil {
			return fmt.Errorf("wake-up call of %s: %w", w.UserID, err)
		}
		if missed {
			e.Log.Warn("wake-up call missed", "user", w.UserID, "due", w.At)
			continue
		}
		c := e.newCall(w.AccountID, plan, rows)
		c.record.Caller = store.CallParty{Name: "Wake-up call", Number: "wake-up"}
		c.record.Callee, c.record.Dialed = identify(rows, u.ID, ""), u.Extension
		if err := e.start(c, waking{u}); err != nil {
			return fmt.Errorf("wake-up call of %s: %w", w.UserID, err)
		}
	}
	return nil
}

// waking rings a user who asked for that.
type waking struct{ user *store.User }

const (
	wakeUpPatience = 60 * time.Second
	wakeUpAgain    = 3 * time.Minute
	wakeUpTries    = 3
	wakeUpLate     = 30 * time.Minute
)

func (s waking) Parties() []*Party { return nil }
func (s waking) String() string    { return "waking" }

func (s waking) Run(ctx context.Context, c *Call) Step {
	own := dialplan.Target{User: s.user.ID, Name: s.user.Name, Extension: s.user.Extension}
	p, err := c.fork(ctx, nil, dialplan.Group{Targets: []dialplan.Target{own}, Timeout: wakeUpPatience}, ringStyle{from: &sip.Identity{Display: "Wake-up call", User: "wake-up"}})
	if err != nil {
		c.over("callee", err.Error())
		c.outcome(store.OutcomeNoAnswer)
		return nil
	}
	c.joined(p)
	return telling{p, "wake-up call", func(ctx context.Context, c *Call) ([]string, error) {
		if err := c.engine.Store.SetWakeUp(ctx, wakeUpActor, store.WakeUp{AccountID: c.account, UserID: s.user.ID}); err != nil {
			c.log.Error("wake-up call not forgotten", "err", err)
		}
		return append([]string{"wake-up", "the-time-is"}, c.timeOfDay(time.Now())...), nil
	}}
}

// anyMailbox asks whose messages are to be heard.
type anyMailbox struct{ party *Party }

func (s anyMailbox) Parties() []*Party { return []*Party{s.party} }
func (s anyMailbox) String() string    { return "mailbox" }

func (s anyMailbox) Run(ctx context.Context, c *Call) Step {
	if err := c.answer(ctx, s.party, nil); err != nil {
		return nil
	}
	c.outcome(store.OutcomeAnswered)
	for range pinTries {
		extension, err := c.askDigits(ctx, s.party, "enter-mailbox")
		if err != nil {
			return nil
		}
		if box, ok := boxAt(c.rows, extension); ok {
			return mailbox{s.party, box}
		}
		// An extension without a mailbox is not told from one with another PIN.
		if _, err := c.askDigits(ctx, s.party, "enter-pin"); err != nil {
			return nil
		}
		if _, err := c.say(ctx, s.party, "wrong-pin"); err != nil {
			return nil
		}
	}
	if _, err := c.play(ctx, s.party, "", c.engine.Library.Prompt("goodbye")); errors.Is(err, errHungUp) {
		return nil
	}
	c.over("system", "no mailbox was named")
	return nil
}

// boxAt finds the mailbox that can be heard at an extension.
func boxAt(rows *store.Snapshot, extension string) (store.ID, bool) {
	if u := rows.UserByExtension(extension); u != nil && u.Voicemail.HasPIN() {
		return u.ID, true
	}
	for i := range rows.Mailboxes {
		if m := &rows.Mailboxes[i]; m.Extension == extension && extension != "" && m.HasPIN() {
			return m.ID, true
		}
	}
	return "", false
}
