package call

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pbx/dialplan"
	"pbx/media"
	"pbx/store"
)

// Limits of a message.
const (
	maxMessage  = 3 * time.Minute
	maxPause    = 5 * time.Second
	maxMessages = 1000 // of a mailbox
)

// recording takes a message.
type recording struct {
	party *Party
	dialplan.Voicemail
}

func (s recording) Parties() []*Party { return []*Party{s.party} }
func (s recording) String() string    { return "voicemail" }

func (s recording) Run(ctx context.Context, c *Call) Step {
	c.note("greeting")
	if err := c.answer(ctx, s.party, nil); err != nil {
		return nil
	}
	var m message
	err := s.greet(ctx, c)
	if err == nil {
		m, err = s.record(ctx, c)
	}
	switch {
	case errors.Is(err, errHungUp): // what was said until then is kept
	case err != nil:
		c.log.Error("message not recorded", "mailbox", s.Mailbox, "err", err)
		c.note("message could not be recorded")
		_, err = c.say(ctx, s.party, "cannot-record", "goodbye")
	case m.kept:
		_, err = c.say(ctx, s.party, "message-saved", "goodbye")
	default:
		_, err = c.say(ctx, s.party, "goodbye")
	}
	if !errors.Is(err, errHungUp) {
		c.over("system", "end of voicemail")
	}
	return nil
}

// greet speaks until the tone. The pound key jumps to the tone.
func (s recording) greet(ctx context.Context, c *Call) error {
	why := "is-not-available"
	if s.Greeting == dialplan.OnThePhone {
		why = "is-on-the-phone"
	}
	words := c.aboutPerson(s.Extension, why, "leave-message")
	if _, err := c.play(ctx, s.party, "#", c.engine.Library.Prompt(words...)); err != nil {
		return err
	}
	_, err := c.play(ctx, s.party, "", media.Beep())
	return err
}

// message is what became of a recording.
type message struct {
	kept     bool
	duration time.Duration
}

// record writes the message. Its row exists before its first sample, so that a crash loses neither.
func (s recording) record(ctx context.Context, c *Call) (message, error) {
	e, who := c.engine, s.party.Who
	if n := e.Store.MailboxCounts(c.account, s.Mailbox); n.New+n.Old >= maxMessages {
		return message{}, fmt.Errorf("mailbox holds %d messages", n.New+n.Old)
	}
	m := store.Message{
		ID: store.NewID(store.PrefixMessage), AccountID: c.account, Mailbox: s.Mailbox, CallID: c.id,
		CallerName: who.Name, CallerNumber: shown(who).User, ReceivedAt: time.Now(), Recording: true,
	}
	if err := e.Store.BeginMessage(ctx, &m); err != nil {
		return message{}, fmt.Errorf("begin message: %w", err)
	}
	rec, err := s.write(ctx, c, e.Store.MessagePath(m.ID))
	kept, ending := s.settle(c, m.ID, rec)
	if ending != nil && !errors.Is(err, errHungUp) {
		err = ending
	}
	return message{kept, rec.Duration}, err
}

// write records to the file until the pound key, silence, the limit, or the end of the call.
func (s recording) write(ctx context.Context, c *Call, path string) (rec media.Recorded, err error) {
	w, err := media.CreateWAV(path, s.party.Sound.Rate())
	if err != nil {
		return rec, fmt.Errorf("create message: %w", err)
	}
	c.note("recording")
	_, err = c.attend(ctx, s.party, "#", func(ctx context.Context) error {
		var broken error
		rec, broken = s.party.Sound.Record(ctx, w, media.RecordOptions{Max: maxMessage, Silence: maxPause})
		if ctx.Err() != nil {
			return nil // ended by key or hang-up, as messages do
		}
		return broken
	})
	if closing := w.Close(); closing != nil && err == nil {
		err = fmt.Errorf("close message: %w", closing)
	}
	return rec, err
}

// settle keeps the message or drops it. It must be done even when the call is over.
func (s recording) settle(c *Call, id store.ID, rec media.Recorded) (kept bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), recordPatience)
	defer cancel()
	if rec.Voice < minMessage {
		c.note("nothing was said")
		if err := c.engine.Store.DropMessage(ctx, id); err != nil {
			return false, fmt.Errorf("drop message: %w", err)
		}
		return false, nil
	}
	if err := c.engine.Store.FinishMessage(ctx, id, rec.Duration); err != nil {
		return false, fmt.Errorf("finish message: %w", err)
	}
	c.note(fmt.Sprintf("message of %d s", int(rec.Duration.Round(time.Second)/time.Second)))
	c.outcome(store.OutcomeVoicemail)
	return true, nil
}
