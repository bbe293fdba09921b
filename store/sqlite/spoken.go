package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pbx/event"
	"pbx/store"
)

// StagedPath is where a sound can be made that may become a clip or a message: what a crash leaves there, the next start
// removes.
func (db *DB) StagedPath() string {
	return filepath.Join(db.dir, clipDir, staged+string(store.NewID(store.PrefixClip)))
}

// ForwardMessage puts a copy of a message, whose sound is staged, whole and synced, into another mailbox.
func (db *DB) ForwardMessage(ctx context.Context, who store.Actor, original store.Message, to, by store.ID, stagedPath string, d time.Duration) error {
	return db.Update(ctx, who, original.AccountID, func(tx *Tx) error {
		if err := tx.checkDestination("mailbox", store.Destination{Type: "mailbox", ID: to}); err != nil {
			return err
		}
		m := original
		m.ID, m.Version, m.Mailbox, m.ForwardedBy = store.NewID(store.PrefixMessage), 1, to, by
		m.ReceivedAt, m.Duration, m.Read, m.Recording = tx.at, d, false, false
		path := db.MessagePath(m.ID)
		if err := os.Rename(stagedPath, path); err != nil {
			return fmt.Errorf("keep message: %w", err)
		}
		tx.placed = append(tx.placed, path)
		if err := syncFile(filepath.Dir(path)); err != nil {
			return fmt.Errorf("keep message: %w", err)
		}
		if err := tx.exec("forward message", `INSERT INTO messages (`+messageColumns+`, search) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
			m.ID, m.AccountID, m.Version, m.Mailbox, m.CallID, m.CallerName, m.CallerNumber, micros(m.ReceivedAt), m.Duration.Milliseconds(),
			m.Read, m.Recording, m.Urgent, m.ForwardedBy, strings.ToLower(m.CallerName+"\n"+m.CallerNumber)); err != nil {
			return err
		}
		detail := change{After: map[string]any{"mailbox": to, "forwarded_by": by, "of": original.ID}}
		tx.changedObject("message", "create", m.ID, m.Version, []store.ID{to}, detail)
		box := mailbox{tx.id, to}
		tx.mailboxes[box] = store.MailboxCounts{} // counted before the commit
		tx.voicemail = append(tx.voicemail, voicemailChange{event.VoicemailReceived, box, m.ID})
		return nil
	})
}

// SaveGreeting makes a staged sound a greeting of a user: "unavailable", "busy" or "temporary"; nil takes the greeting
// away. The one before goes if it was recorded by telephone too and nothing else plays it.
func (db *DB) SaveGreeting(ctx context.Context, who store.Actor, account, user store.ID, which string, c *store.AudioClip, stagedPath string) error {
	return db.Update(ctx, who, account, func(tx *Tx) error {
		u, err := tx.User(user)
		if err != nil {
			return err
		}
		g := &u.Voicemail.Greetings
		at := map[string]*store.ID{"unavailable": &g.Unavailable, "busy": &g.Busy, "temporary": &g.Temporary}[which]
		if at == nil {
			return fmt.Errorf("no greeting %q", which)
		}
		former, name := *at, fmt.Sprintf("Greeting of %s (%s), by telephone", clip(u.Name, 50), which)
		*at = ""
		if c != nil {
			c.Name = name
			if err := tx.CreateClip(c, stagedPath); err != nil {
				return err
			}
			*at = c.ID
		}
		if which == "temporary" {
			g.TemporaryUntil = time.Time{} // until it is deleted
		}
		if former == "" && c == nil {
			return nil
		}
		if err := tx.SaveUser(&u, 0); err != nil {
			return err
		}
		if former == "" {
			return nil
		}
		old, err := tx.Clip(former)
		if err != nil || old.Name != name || len(tx.clipUsers(former)) > 0 {
			return err
		}
		return tx.DeleteClip(former, 0)
	})
}
