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
	maxMessage = 3 * time.Minute
	maxPause   = 5 * time.Second
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
	if err := s.take(ctx, c); !errors.Is(err, errHungUp) {
		c.over("system", "end of voicemail")
	}
	return nil
}

// take greets, takes the message, and says what became of it.
func (s recording) take(ctx context.Context, c *Call) error {
	if c.full(s.Mailbox) {
		c.note("the mailbox is full")
		_, err := c.say(ctx, s.party, "mailbox-full", "goodbye")
		return err
	}
	var m message
	err := s.greet(ctx, c)
	if err == nil {
		m, err = s.deposit(ctx, c)
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
	return err
}

// full reports whether a mailbox takes no more messages.
func (c *Call) full(box store.ID) bool {
	most := c.rows.Account.VoicemailMax
	if most == 0 {
		most = store.MaxMessages
	}
	n := c.engine.Store.MailboxCounts(c.account, box)
	return n.New+n.Old >= most
}

// greet speaks until the tone. The pound key jumps to the tone.
func (s recording) greet(ctx context.Context, c *Call) error {
	if _, err := c.play(ctx, s.party, "#", s.greeting(c)); errors.Is(err, errHungUp) {
		return err
	} else if err != nil { // the owner replaced it this moment; the tone says enough
		c.log.Warn("greeting cut short", "clip", s.Clip, "err", err)
	}
	_, err := c.play(ctx, s.party, "", media.Beep())
	return err
}

// greeting is the owner's own, or ours if they have none or it cannot be read.
func (s recording) greeting(c *Call) media.Source {
	if s.Clip != "" {
		clip, length, err := media.OpenWAV(c.engine.Store.ClipPath(s.Clip))
		if err == nil && length > 0 {
			return clip
		}
		c.log.Warn("greeting cannot be played", "clip", s.Clip, "err", err)
		c.note("the greeting of " + s.Name + " cannot be played")
	}
	why := "is-not-available"
	if s.Greeting == dialplan.OnThePhone {
		why = "is-on-the-phone"
	}
	return c.engine.Library.Prompt(c.aboutPerson(s.Extension, why, "leave-message")...)
}

// message is what a caller recorded. Until it is settled it is neither listed nor counted, but a crash does not lose it.
type message struct {
	id       store.ID // empty: none
	duration time.Duration
	voice    time.Duration
	reviewed bool // the caller ended it by key, and may want to hear it
	kept     bool
}

// deposit records, lets the caller review, and keeps what there is, however the call ends.
func (s recording) deposit(ctx context.Context, c *Call) (message, error) {
	m, err := s.record(ctx, c, false)
	if err == nil && m.reviewed && m.voice >= minMessage {
		m, err = s.review(ctx, c, m)
	}
	if m.id == "" {
		return m, err
	}
	kept, ending := s.settle(c, m)
	if ending != nil && !errors.Is(err, errHungUp) {
		err = ending
	}
	m.kept = kept
	return m, err
}

// record writes a message. Its row exists before its first sample, so that a crash loses neither.
func (s recording) record(ctx context.Context, c *Call, urgent bool) (message, error) {
	e, who := c.engine, s.party.Who
	m := store.Message{
		ID: store.NewID(store.PrefixMessage), AccountID: c.account, Mailbox: s.Mailbox, CallID: c.id,
		CallerName: who.Name, CallerNumber: shown(who).User, ReceivedAt: time.Now(), Recording: true, Urgent: urgent,
	}
	if err := e.Store.BeginMessage(ctx, &m); err != nil {
		return message{}, fmt.Errorf("begin message: %w", err)
	}
	c.note("recording")
	rec, key, err := c.writeWAV(ctx, s.party, e.Store.MessagePath(m.ID), maxMessage)
	return message{id: m.ID, duration: rec.Duration, voice: rec.Voice, reviewed: key == '#'}, err
}

// writeWAV records to a new file until the pound key, silence, the limit, or the end of the call.
func (c *Call) writeWAV(ctx context.Context, p *Party, path string, most time.Duration) (rec media.Recorded, key rune, err error) {
	w, err := media.CreateWAV(path, p.Sound.Rate())
	if err != nil {
		return rec, 0, fmt.Errorf("create recording: %w", err)
	}
	rec, key, err = c.hearOut(ctx, p, w, most)
	if closing := w.Close(); closing != nil && err == nil {
		err = fmt.Errorf("close recording: %w", closing)
	}
	return rec, key, err
}

// hearOut records to an open file, as writeWAV does.
func (c *Call) hearOut(ctx context.Context, p *Party, w *media.WAVWriter, most time.Duration) (rec media.Recorded, key rune, err error) {
	key, err = c.attend(ctx, p, "#", func(ctx context.Context) error {
		var broken error
		rec, broken = p.Sound.Record(ctx, w, media.RecordOptions{Max: most, Silence: maxPause})
		if ctx.Err() != nil {
			return nil // ended by key or hang-up, as messages do
		}
		return broken
	})
	return rec, key, err
}

// review lets the caller hear the message, say it anew, and call it urgent. Who does nothing keeps it.
func (s recording) review(ctx context.Context, c *Call, m message) (message, error) {
	urgent := false
	for {
		key, err := c.say(ctx, s.party, "review-menu")
		if err == nil && key == 0 {
			key, err = c.key(ctx, s.party, menuPatience)
		}
		switch {
		case err != nil || key == 0 || key == '#':
			return m, err
		case key == '1':
			err = s.listen(ctx, c, m)
		case key == '2':
			m, err = s.again(ctx, c, m, urgent)
		case key == '3':
			urgent, err = s.urge(ctx, c, m, !urgent)
		}
		if err != nil {
			return m, err
		}
	}
}

func (s recording) listen(ctx context.Context, c *Call, m message) error {
	sound, _, err := media.OpenWAV(c.engine.Store.MessagePath(m.id))
	if err != nil {
		return fmt.Errorf("play message %s: %w", m.id, err)
	}
	_, err = c.play(ctx, s.party, "#", sound)
	return err
}

// again records anew. The former message goes only when there is another one.
func (s recording) again(ctx context.Context, c *Call, m message, urgent bool) (message, error) {
	if err := c.afterTone(ctx, s.party); err != nil {
		return m, err
	}
	next, err := s.record(ctx, c, urgent)
	if next.id == "" {
		return m, err
	}
	worse, better := next, m
	if next.voice >= minMessage {
		worse, better = m, next
	}
	clean, cancel := c.afterwards()
	defer cancel()
	if dropping := c.engine.Store.DropMessage(clean, worse.id); dropping != nil && err == nil {
		err = fmt.Errorf("drop message: %w", dropping)
	}
	return better, err
}

// urge says whether the message is urgent, and returns what it is now.
func (s recording) urge(ctx context.Context, c *Call, m message, urgent bool) (bool, error) {
	if err := c.engine.Store.UrgeMessage(ctx, m.id, urgent); err != nil {
		return !urgent, fmt.Errorf("urge message: %w", err)
	}
	word := "marked-urgent"
	if !urgent {
		word = "not-urgent"
	}
	c.note(map[bool]string{true: "urgent", false: "not urgent"}[urgent])
	_, err := c.play(ctx, s.party, "", c.engine.Library.Prompt(word))
	return urgent, err
}

// afterwards is for what must be written even when the call is over.
func (c *Call) afterwards() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.ctx), recordPatience)
}

// settle keeps the message or drops it.
func (s recording) settle(c *Call, m message) (kept bool, err error) {
	ctx, cancel := c.afterwards()
	defer cancel()
	if m.voice < minMessage {
		c.note("nothing was said")
		if err := c.engine.Store.DropMessage(ctx, m.id); err != nil {
			return false, fmt.Errorf("drop message: %w", err)
		}
		return false, nil
	}
	if err := c.engine.Store.FinishMessage(ctx, m.id, m.duration); err != nil {
		return false, fmt.Errorf("finish message: %w", err)
	}
	c.note(fmt.Sprintf("message of %d s", int(m.duration.Round(time.Second)/time.Second)))
	c.outcome(store.OutcomeVoicemail)
	return true, nil
}
