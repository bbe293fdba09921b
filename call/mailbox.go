package call

import (
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
	err := s.visit(ctx, c)
	switch {
	case errors.Is(err, errHungUp):
		return nil
	case err != nil:
		c.log.Error("mailbox left early", "mailbox", s.owner, "err", err)
	}
	c.over("system", "end of mailbox")
	return nil
}

// visit is the whole of a stay: the PIN, the counts, the messages.
func (s mailbox) visit(ctx context.Context, c *Call) error {
	pinHash := ""
	if u := c.rows.User(s.owner); u != nil {
		pinHash = u.Voicemail.PINHash
	} else if m := c.rows.Mailbox(s.owner); m != nil {
		pinHash = m.PINHash
	} else {
		return store.ErrNotFound
	}
	if pinHash == "" {
		_, err := c.say(ctx, s.party, "no-pin", "goodbye")
		return err
	}
	if admitted, err := c.admit(ctx, s.party, s.owner, pinHash); err != nil || !admitted {
		c.note("no right PIN was given")
		return err
	}
	for {
		if err := s.announce(ctx, c); err != nil {
			return err
		}
		leave, err := s.play(ctx, c)
		if err != nil {
			return err
		}
		if !leave {
			key, err := c.say(ctx, s.party, "no-more-messages", "main-menu")
			if err == nil && key == 0 {
				key, err = c.key(ctx, s.party, menuPatience)
			}
			if err != nil {
				return err
			}
			leave = key != '1'
		}
		if leave {
			_, err := c.say(ctx, s.party, "goodbye")
			return err
		}
	}
}

// announce tells how many messages there are. A key is no reason not to.
func (s mailbox) announce(ctx context.Context, c *Call) error {
	n := c.engine.Store.MailboxCounts(c.account, s.owner)
	c.note(fmt.Sprintf("%d new, %d saved messages", n.New, n.Old))
	words := append([]string{"you-have"}, c.amount(n.New, "new-message")...)
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

// play goes through the messages, unheard ones first, the newest of each first. It reports
// whether the owner wants to leave.
func (s mailbox) play(ctx context.Context, c *Call) (leave bool, err error) {
	messages, err := c.messages(ctx, s.owner)
	if err != nil {
		return false, err
	}
	for i := range messages {
		leave, err := s.hear(ctx, c, i+1, &messages[i])
		if err != nil || leave {
			return leave, err
		}
	}
	return false, nil
}

// messages reads the whole mailbox, in the order in which it is heard.
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
		if a.Read != b.Read {
			if b.Read {
				return -1
			}
			return 1
		}
		return b.ReceivedAt.Compare(a.ReceivedAt)
	})
	return all, nil
}

// hear plays one message and does what the owner chooses. A message that was played to its end counts as heard.
func (s mailbox) hear(ctx context.Context, c *Call, number int, m *store.Message) (leave bool, err error) {
	for repeats := 0; repeats < menuRepeats; {
		key, err := s.tell(ctx, c, number, m, repeats > 0)
		if err != nil {
			return false, err
		}
		switch key {
		case '1':
			repeats = 0
		case '2':
			if err := s.keep(ctx, c, m); err != nil {
				return false, err
			}
			_, err := c.play(ctx, s.party, "", c.engine.Library.Prompt("message-kept"))
			return false, err
		case '3':
			if err := c.engine.Store.RemoveMessage(ctx, s.party.actor(), c.account, m.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
				return false, fmt.Errorf("delete message: %w", err)
			}
			_, err := c.play(ctx, s.party, "", c.engine.Library.Prompt("message-deleted"))
			return false, err
		case '6':
			return false, nil
		case '*':
			return true, nil
		default: // no key, or one without a meaning here: the menu once more
			repeats++
		}
	}
	return true, nil // nobody there
}

// tell speaks of the message, plays it, and reads the menu; any key cuts it short.
func (s mailbox) tell(ctx context.Context, c *Call, number int, m *store.Message, menuOnly bool) (rune, error) {
	if !menuOnly {
		words := append(append([]string{"message"}, c.engine.Library.Number(number)...), c.from(m)...)
		if key, err := c.say(ctx, s.party, words...); key != 0 || err != nil {
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
	if key, err := c.say(ctx, s.party, "message-menu"); key != 0 || err != nil {
		return key, err
	}
	return c.key(ctx, s.party, menuPatience)
}

// keep marks a message as heard.
func (s mailbox) keep(ctx context.Context, c *Call, m *store.Message) error {
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
