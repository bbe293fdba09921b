package call

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"pbx/media"
	"pbx/media/audiofile"
	"pbx/store"
)

// maxGreeting is the longest greeting that is recorded by telephone.
const maxGreeting = 2 * time.Minute

// whichGreeting tells what the keys of the menu record.
var whichGreeting = map[rune]string{'1': "unavailable", '2': "busy", '3': "temporary"}

// greetings lets the owner record what their callers hear.
func (s mailbox) greetings(ctx context.Context, c *Call) error {
	for repeats := 0; repeats < menuRepeats; {
		key, err := c.choose(ctx, s.party, "greeting-menu")
		switch {
		case err != nil:
		case whichGreeting[key] != "":
			repeats = 0
			err = s.greetAs(ctx, c, whichGreeting[key])
		case key == '4':
			repeats = 0
			if err = c.engine.Store.SaveGreeting(ctx, s.party.actor(), c.account, s.owner, "temporary", nil, ""); err == nil {
				c.note("temporary greeting deleted")
				err = s.inform(ctx, c, "greeting-deleted")
			}
		case key == '*':
			return nil
		default:
			repeats++
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// greetAs records a greeting until the owner likes it, or not. Who hangs up before that keeps the one they had.
func (s mailbox) greetAs(ctx context.Context, c *Call, which string) error {
	for {
		again, err := s.greetOnce(ctx, c, which)
		if err != nil || !again {
			return err
		}
	}
}

func (s mailbox) greetOnce(ctx context.Context, c *Call, which string) (again bool, err error) {
	path := c.engine.Store.StagedPath()
	defer os.Remove(path)
	if err := c.afterTone(ctx, s.party); err != nil {
		return false, err
	}
	rec, _, err := c.writeWAV(ctx, s.party, path, maxGreeting)
	if err != nil {
		return false, err
	}
	if rec.Voice < minMessage {
		return false, s.inform(ctx, c, "nothing-recorded")
	}
	for repeats := 0; repeats < menuRepeats; {
		key, err := c.choose(ctx, s.party, "greeting-review")
		if err != nil {
			return false, err
		}
		switch key {
		case '1':
			sound, _, err := media.OpenWAV(path)
			if err != nil {
				return false, fmt.Errorf("play greeting: %w", err)
			}
			if _, err := c.play(ctx, s.party, "#", sound); err != nil {
				return false, err
			}
		case '2':
			return true, nil
		case '#':
			return false, s.useGreeting(ctx, c, which, path)
		case '*':
			return false, nil
		default:
			repeats++
		}
	}
	return false, nil
}

// useGreeting makes a clip of the recording, the same way as of an upload.
func (s mailbox) useGreeting(ctx context.Context, c *Call, which, path string) error {
	e := c.engine
	src, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("keep greeting: %w", err)
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return fmt.Errorf("keep greeting: %w", err)
	}
	staged := e.Store.StagedPath()
	dst, err := os.OpenFile(staged, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("keep greeting: %w", err)
	}
	defer os.Remove(staged) // unless it has become a clip
	sound, err := audiofile.Convert(ctx, src, info.Size(), dst)
	if err := errors.Join(err, dst.Close()); err != nil {
		return fmt.Errorf("keep greeting: %w", err)
	}
	clip := store.AudioClip{Duration: sound.Duration, Rate: sound.Rate, Size: sound.Size, Loudness: sound.Loudness, Peaks: sound.Peaks}
	if err := e.Store.SaveGreeting(ctx, s.party.actor(), c.account, s.owner, which, &clip, staged); err != nil {
		return fmt.Errorf("keep greeting: %w", err)
	}
	c.note(which + " greeting recorded")
	return s.inform(ctx, c, "greeting-saved")
}
