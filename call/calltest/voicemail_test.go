package calltest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"pbx/media"
	"pbx/store"
	"pbx/store/sqlite"
)

// voicemailVerbs are about mailboxes and their messages.
var voicemailVerbs = []verb{
	{pattern(`(\w+)'s (greeting|busy greeting|temporary greeting) is (\d+) Hz`), (*scenario).greetsWith},
	{pattern(`the file of (\w+)'s greeting is lost`), (*scenario).greetingLost},
	{pattern(`mailboxes hold (\d+) messages?`), (*scenario).mailboxesHold},
	{pattern(`box (\w+): (\d+) new, (\d+) saved`), (*scenario).boxHolds},
	{pattern(`(\w+) has (\d+|no) urgent messages?`), (*scenario).urgentMessages},
	{pattern(`no sound is left behind`), (*scenario).nothingLeft},
}

// greetsWith uploads a tone and makes it a greeting.
func (s *scenario) greetsWith(ctx context.Context, w []string) error {
	freq, _ := strconv.Atoi(w[2])
	path, err := s.toneFile(float64(freq))
	if err != nil {
		return err
	}
	clip := store.AudioClip{Name: w[2] + " Hz", Duration: time.Second, Rate: media.SampleRate, Peaks: []byte{255}}
	return s.h.db.Update(ctx, store.System, s.h.account, func(tx *sqlite.Tx) error {
		if err := tx.CreateClip(&clip, path); err != nil {
			return err
		}
		u, err := tx.User(s.users[s.number(w[0])].ID)
		switch w[1] {
		case "greeting":
			u.Voicemail.Greetings.Unavailable = clip.ID
		case "busy greeting":
			u.Voicemail.Greetings.Busy = clip.ID
		default:
			u.Voicemail.Greetings.Temporary = clip.ID
		}
		return errors.Join(err, tx.SaveUser(&u, 0))
	})
}

func (s *scenario) greetingLost(_ context.Context, w []string) error {
	return os.Remove(s.h.db.ClipPath(s.now(w[0]).Voicemail.Greetings.Unavailable))
}

func (s *scenario) mailboxesHold(ctx context.Context, w []string) error {
	return s.h.db.Update(ctx, store.System, s.h.account, func(tx *sqlite.Tx) error {
		a := tx.Account()
		a.VoicemailMax, _ = strconv.Atoi(w[0])
		return tx.SaveAccount(&a, 0)
	})
}

func (s *scenario) boxNamed(name string) store.ID {
	rows := s.h.db.Snapshot(s.h.account)
	for i := range rows.Mailboxes {
		if rows.Mailboxes[i].Name == name {
			return rows.Mailboxes[i].ID
		}
	}
	if u := s.now(name); u != nil {
		return u.ID
	}
	return ""
}

func (s *scenario) boxHolds(_ context.Context, w []string) error {
	want := w[1] + "/" + w[2]
	return until(5*time.Second, func() error {
		n := s.h.db.MailboxCounts(s.h.account, s.boxNamed(w[0]))
		if got := fmt.Sprintf("%d/%d", n.New, n.Old); got != want {
			return fmt.Errorf("holds %s", got)
		}
		return nil
	})
}

func (s *scenario) urgentMessages(_ context.Context, w []string) error {
	want, _ := strconv.Atoi(w[1])
	return until(5*time.Second, func() error {
		n := s.h.db.MailboxCounts(s.h.account, s.boxNamed(w[0]))
		if n.NewUrgent+n.OldUrgent != want {
			return fmt.Errorf("holds %d", n.NewUrgent+n.OldUrgent)
		}
		return nil
	})
}

// nothingLeft compares the files of messages and clips with their rows.
func (s *scenario) nothingLeft(ctx context.Context, _ []string) error {
	return until(5*time.Second, func() error {
		messages, _, err := s.h.db.Messages(ctx, s.h.account, nil, store.Page{Limit: 100})
		if err != nil {
			return err
		}
		clips, _, err := s.h.db.Clips(ctx, s.h.account, store.Page{Limit: 100})
		if err != nil {
			return err
		}
		for dir, want := range map[string]int{"voicemail": len(messages), "clips": len(clips)} {
			files, err := os.ReadDir(filepath.Join(filepath.Dir(filepath.Dir(s.h.db.ClipPath("x"))), dir))
			if err != nil {
				return err
			}
			if len(files) != want {
				return fmt.Errorf("%d files of %d in %s", len(files), want, dir)
			}
		}
		return nil
	})
}
