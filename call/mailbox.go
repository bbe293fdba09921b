package call

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pbx/media"
	"pbx/store"
)

// mailbox lets the owner hear their messages.
type mailbox struct {
	party *Party
	owner store.ID // usr_… or mbx_…
}

func (s mailbox) Parties() []*Party { return []*Party{s.party} }
func (s mailbox) String() string    { return "mailbox" }

func (s mailbox) Run(ctx context.Context, c *Call) Step {
	if err := c.answer(ctx, s.party, nil); err != nil {
		return nil
	}
	c.outcome(store.OutcomeAnswered)
	next, err := s.visit(ctx, c)
	switch {
	case errors.Is(err, errHungUp):
		return nil
	case err != nil:
		c.log.Error("mailbox left early", "mailbox", s.owner, "err", err)
	case next != nil:
		return next
	}
	c.over("system", "end of mailbox")
	return nil
}

// visit is the whole of a stay: the PIN, the messages, those of shared mailboxes, the greetings. What was deleted goes
// when it ends, however it does. It returns the step that follows if the owner calls somebody back.
func (s mailbox) visit(ctx context.Context, c *Call) (Step, error) {
	pinHash := ""
	if u := c.rows.User(s.owner); u != nil {
		pinHash = u.Voicemail.PINHash
	} else if m := c.rows.Mailbox(s.owner); m != nil {
		pinHash = m.PINHash
	} else {
		return nil, store.ErrNotFound
	}
	if pinHash == "" {
		_, err := c.say(ctx, s.party, "no-pin", "goodbye")
		return nil, err
	}
	if admitted, err := c.admit(ctx, s.party, s.owner, pinHash); err != nil || !admitted {
		c.note("no right PIN was given")
		return nil, err
	}
	doomed := make(map[store.ID]bool)
	defer func() { s.erase(c, doomed) }()
	for again := true; again; {
		for _, box := range s.boxes(c) {
			after, err := stay{s, box, doomed}.play(ctx, c)
			if err != nil || after.next != nil {
				return after.next, err
			}
			if again = !after.leave; !again {
				break
			}
		}
		if again {
			var err error
			if again, err = s.menu(ctx, c); err != nil {
				return nil, err
			}
		}
	}
	_, err := c.say(ctx, s.party, "goodbye")
	return nil, err
}

// boxes are the owner's own mailbox, and those they share that have messages.
func (s mailbox) boxes(c *Call) []store.ID {
	boxes := []store.ID{s.owner}
	for _, m := range c.rows.MailboxesOf(s.owner) {
		if n := c.engine.Store.MailboxCounts(c.account, m.ID); n.New+n.Old > 0 {
			boxes = append(boxes, m.ID)
		}
	}
	return boxes
}

// menu is what there is to do behind the last message. It reports whether the messages shall be heard again.
func (s mailbox) menu(ctx context.Context, c *Call) (again bool, err error) {
	words := []string{"no-more-messages", "main-menu"}
	for {
		key, err := c.choose(ctx, s.party, words...)
		if err != nil {
			return false, err
		}
		switch {
		case key == '1':
			return true, nil
		case key == '0' && c.rows.User(s.owner) != nil:
			if err := s.greetings(ctx, c); err != nil {
				return false, err
			}
			words = []string{"main-menu"}
		default:
			return false, nil
		}
	}
}

// choose speaks a menu and waits for a key; 0: none came.
func (c *Call) choose(ctx context.Context, p *Party, words ...string) (rune, error) {
	if key, err := c.say(ctx, p, words...); key != 0 || err != nil {
		return key, err
	}
	return c.key(ctx, p, menuPatience)
}

// erase deletes what was deleted during the visit.
func (s mailbox) erase(c *Call, doomed map[store.ID]bool) {
	ctx, cancel := c.afterwards()
	defer cancel()
	for id := range doomed {
		if err := c.engine.Store.RemoveMessage(ctx, s.party.actor(), c.account, id); err != nil && !errors.Is(err, store.ErrNotFound) {
			c.log.Error("message not deleted", "message", id, "err", err)
		}
	}
}

// stay is a visit's time in one mailbox.
type stay struct {
	mailbox
	box    store.ID
	doomed map[store.ID]bool // what goes at the end of the visit
}

// after is what follows a message, or all of them.
type after struct {
	move  int  // to the next message, or the one before
	leave bool // the owner wants to go
	next  Step // somebody is called back
}

// announce tells how many messages there are. A key is no reason not to.
func (s stay) announce(ctx context.Context, c *Call) error {
	n := c.engine.Store.MailboxCounts(c.account, s.box)
	c.note(fmt.Sprintf("%d new, %d saved messages", n.New, n.Old))
	var words []string
	if m := c.rows.Mailbox(s.box); m != nil && s.box != s.owner {
		words = append([]string{"shared-mailbox"}, c.engine.Library.Digits(m.Extension)...)
	}
	words = append(append(words, "you-have"), c.amount(n.New, "new-message")...)
	words = append(append(words, "and"), c.amount(n.Old, "saved-message")...)
	_, err := c.play(ctx, s.party, "", c.engine.Library.Prompt(words...))
	return err
}

func (c *Call) amount(n int, thing string) []string {
	switch n {
	case 0:
		return []string{"no", thing + "s"}
	case 1:
		return append(c.engine.Library.Number(1), thing)
	}
	return append(c.engine.Library.Number(n), thing+"s")
}

const (
	menuPatience = 5 * time.Second
	menuRepeats  = 2 // how often the menu is spoken to somebody who does not choose
)

// play goes through the messages, as they are sorted.
func (s stay) play(ctx context.Context, c *Call) (after, error) {
	if err := s.announce(ctx, c); err != nil {
		return after{}, err
	}
	messages, err := c.messages(ctx, s.box)
	if err != nil {
		return after{}, err
	}
	for i := 0; i < len(messages); {
		then, err := s.hear(ctx, c, i+1, &messages[i])
		if err != nil || then.leave || then.next != nil {
			return then, err
		}
		i += then.move
	}
	return after{}, nil
}

// messages reads the whole mailbox, in the order in which it is heard: unheard ones first, of these the urgent ones, the
// newest of each first.
func (c *Call) messages(ctx context.Context, owner store.ID) ([]store.Message, error) {
	var all []store.Message
	page := store.Page{Limit: 500}
	for {
		messages, next, err := c.engine.Store.Messages(ctx, c.account, []store.ID{owner}, page)
		if err != nil {
			return nil, fmt.Errorf("read mailbox: %w", err)
		}
		all = append(all, messages...)
		if next == "" || len(all) >= store.MaxMessages {
			break
		}
		page.Cursor = next
	}
	slices.SortStableFunc(all, func(a, b store.Message) int {
		return cmp.Or(first(!a.Read, !b.Read), first(a.Urgent, b.Urgent), b.ReceivedAt.Compare(a.ReceivedAt))
	})
	return all, nil
}

// first sorts what is so before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// hear plays one message and does what the owner chooses. A message that was played to its end counts as heard.
func (s stay) hear(ctx context.Context, c *Call, number int, m *store.Message) (after, error) {
	menuOnly := false
	for repeats := 0; repeats < menuRepeats; {
		key, err := s.tell(ctx, c, number, m, menuOnly)
		if err != nil {
			return after{}, err
		}
		menuOnly = true
		switch key {
		case '1':
			menuOnly, repeats = false, 0
		case '2':
			delete(s.doomed, m.ID)
			if err := s.keep(ctx, c, m); err != nil {
				return after{}, err
			}
			_, err := c.play(ctx, s.party, "", c.engine.Library.Prompt("message-kept"))
			return after{move: 1}, err
		case '3':
			if deleted, err := s.toggle(ctx, c, m); err != nil || deleted {
				return after{move: 1}, err
			}
		case '4':
			if number > 1 {
				return after{move: -1}, nil
			}
			err = s.inform(ctx, c, "no-message-there")
		case '5':
			err = s.forward(ctx, c, m)
		case '6':
			return after{move: 1}, nil
		case '8':
			if m.CallerNumber != "" {
				return after{next: s.back(c, m)}, nil
			}
			err = s.inform(ctx, c, "no-call-to-return")
		case '*':
			return after{leave: true}, nil
		default: // no key, or one without a meaning here: the menu once more
			repeats++
		}
		if err != nil {
			return after{}, err
		}
	}
	return after{leave: true}, nil // nobody there
}

// inform says something that no key cuts short.
func (s mailbox) inform(ctx context.Context, c *Call, words ...string) error {
	_, err := c.play(ctx, s.party, "", c.engine.Library.Prompt(words...))
	return err
}

// toggle deletes a message, or restores it. Until the visit ends it is only meant to go.
func (s stay) toggle(ctx context.Context, c *Call, m *store.Message) (deleted bool, err error) {
	if s.doomed[m.ID] {
		delete(s.doomed, m.ID)
		return false, s.inform(ctx, c, "message-restored")
	}
	s.doomed[m.ID] = true
	words := []string{"message-deleted"}
	if len(s.doomed) == 1 { // told once
		words = append(words, "message-will-go")
	}
	return true, s.inform(ctx, c, words...)
}

// back calls who left the message. Whoever knows a PIN hears messages; calls to the outside are made with the rights of the
// phone that is used, never with the owner's.
func (s stay) back(c *Call, m *store.Message) Step {
	c.because(store.Reason{Rule: "call back", Detail: m.CallerNumber + " left the message"})
	return routing{party: s.party, dialed: m.CallerNumber}
}

// tell speaks of the message, plays it, and reads the menu; any key cuts it short.
func (s stay) tell(ctx context.Context, c *Call, number int, m *store.Message, menuOnly bool) (rune, error) {
	if !menuOnly {
		if key, err := c.say(ctx, s.party, s.envelope(c, number, m)...); key != 0 || err != nil {
			return key, err
		}
		sound, _, err := media.OpenWAV(c.engine.Store.MessagePath(m.ID))
		if err != nil {
			return 0, fmt.Errorf("play message %s: %w", m.ID, err)
		}
		if key, err := c.play(ctx, s.party, allKeys, sound); key != 0 || err != nil {
			return key, err
		}
		if err := s.keep(ctx, c, m); err != nil {
			return 0, err
		}
	}
	return c.choose(ctx, s.party, "message-menu")
}

// envelope says which message it is, whose, and when it came.
func (s stay) envelope(c *Call, number int, m *store.Message) []string {
	var words []string
	if s.doomed[m.ID] {
		words = append(words, "message-deleted")
	}
	if m.Urgent {
		words = append(words, "urgent")
	}
	words = append(append(words, "message"), c.engine.Library.Number(number)...)
	words = append(words, c.from(m)...)
	return append(words, c.dayAndTime(m.ReceivedAt, time.Now())...)
}

// dayAndTime is a time that has passed, in words: the day as seen from now, and the time of it.
func (c *Call) dayAndTime(at, now time.Time) []string {
	zone := c.zone()
	day := func(t time.Time) time.Time {
		y, m, d := t.In(zone).Date()
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	}
	var words []string
	switch n := int(day(now).Sub(day(at)) / (24 * time.Hour)); {
	case n <= 0:
		words = []string{"today-at"}
	case n == 1:
		words = []string{"yesterday-at"}
	default:
		words = append(c.engine.Library.Number(n), "days-ago-at")
	}
	return append(words, c.timeOfDay(at)...)
}

// keep marks a message as heard.
func (s stay) keep(ctx context.Context, c *Call, m *store.Message) error {
	if m.Read {
		return nil
	}
	if err := c.engine.Store.MarkRead(ctx, s.party.actor(), c.account, m.ID, true); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("keep message: %w", err)
	}
	m.Read = true
	return nil
}

// from names the caller of a message.
func (c *Call) from(m *store.Message) []string {
	digits := c.engine.Library.Digits(m.CallerNumber)
	switch {
	case len(digits) == 0:
		return []string{"from", "unknown-caller"}
	case c.rows.UserByExtension(m.CallerNumber) != nil:
		return append([]string{"from-extension"}, digits...)
	}
	return append([]string{"from"}, digits...)
}
