package call

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"pbx/media"
	"pbx/store"
)

// This file sends messages on to other mailboxes.

// forward asks whom to send a message to, and whether with a comment.
func (s stay) forward(ctx context.Context, c *Call, m *store.Message) error {
	extension, err := c.askDigits(ctx, s.party, "enter-extension")
	if err != nil || extension == "" {
		return err
	}
	to, ok := depositAt(c.rows, extension)
	switch {
	case !ok:
		return s.inform(ctx, c, "no-mailbox-there")
	case c.full(to):
		return s.inform(ctx, c, "mailbox-full")
	}
	for range menuRepeats {
		key, err := c.choose(ctx, s.party, "comment-menu")
		switch {
		case err != nil:
			return err
		case key == '1', key == '#':
			return s.send(ctx, c, m, to, key == '1')
		case key == '*':
			return nil
		}
	}
	return nil
}

// depositAt finds the mailbox that takes messages for an extension.
func depositAt(rows *store.Snapshot, extension string) (store.ID, bool) {
	if u := rows.UserByExtension(extension); u != nil {
		return u.ID, u.Voicemail.Enabled
	}
	for i := range rows.Mailboxes {
		if m := &rows.Mailboxes[i]; m.Extension == extension && extension != "" {
			return m.ID, true
		}
	}
	return "", false
}

// send makes the copy where nobody sees it, and shows it when it is whole. Who hangs up before that has sent nothing.
func (s stay) send(ctx context.Context, c *Call, m *store.Message, to store.ID, comment bool) error {
	path := c.engine.Store.StagedPath()
	defer os.Remove(path) // unless it has become a message
	original := c.engine.Store.MessagePath(m.ID)
	length := m.Duration
	var err error
	if comment {
		length, err = s.comment(ctx, c, original, path)
	} else {
		err = copyFile(original, path)
	}
	if err != nil {
		return err
	}
	if length == 0 {
		return s.inform(ctx, c, "nothing-recorded")
	}
	by := s.party.Who.UserID
	if c.rows.User(s.owner) != nil {
		by = s.owner
	}
	if err := c.engine.Store.ForwardMessage(ctx, s.party.actor(), *m, to, by, path, length); err != nil {
		return fmt.Errorf("forward message %s: %w", m.ID, err)
	}
	c.note("message forwarded")
	return s.inform(ctx, c, "message-sent")
}

// comment records the owner's words and puts the message behind them. It returns the length of both, 0 if nothing was said.
func (s stay) comment(ctx context.Context, c *Call, original, path string) (length time.Duration, err error) {
	if err := c.afterTone(ctx, s.party); err != nil {
		return 0, err
	}
	w, err := media.CreateWAV(path, media.SampleRate)
	if err != nil {
		return 0, fmt.Errorf("create comment: %w", err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	rec, _, err := c.hearOut(ctx, s.party, w, maxMessage)
	if err != nil || rec.Voice < minMessage {
		return 0, err
	}
	sound, _, err := media.OpenWAV(original)
	if err != nil {
		return 0, fmt.Errorf("forward message: %w", err)
	}
	var f media.Frame
	for {
		switch err := sound.ReadFrame(&f); {
		case errors.Is(err, io.EOF):
			return w.Duration(), nil
		case err != nil:
			return 0, fmt.Errorf("forward message: %w", err)
		}
		if err := w.WriteFrame(&f); err != nil {
			return 0, fmt.Errorf("forward message: %w", err)
		}
	}
}

// afterTone asks to speak.
func (c *Call) afterTone(ctx context.Context, p *Party) error {
	if _, err := c.play(ctx, p, "#", c.engine.Library.Prompt("record-after-tone")); err != nil {
		return err
	}
	_, err := c.play(ctx, p, "", media.Beep())
	return err
}

// copyFile copies to a new file, which is synced.
func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy message: %w", err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("copy message: %w", err)
	}
	_, err = io.Copy(dst, src)
	if err := errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return fmt.Errorf("copy message: %w", err)
	}
	return nil
}
