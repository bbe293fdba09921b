package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pbx/event"
	"pbx/store"
)

const messageColumns = `id, account_id, version, mailbox, call_id, caller_name, caller_number, received_at, duration_ms, read, recording,
	urgent, forwarded_by`

func scanMessage(scan scanner) (store.Message, error) {
	var m store.Message
	var received, duration int64
	err := scan(&m.ID, &m.AccountID, &m.Version, &m.Mailbox, &m.CallID, &m.CallerName, &m.CallerNumber, &received, &duration, &m.Read, &m.Recording,
		&m.Urgent, &m.ForwardedBy)
	m.ReceivedAt, m.Duration = fromMicros(received), time.Duration(duration)*time.Millisecond
	return m, err
}

// MessagePath is where the sound of a message is.
func (db *DB) MessagePath(id store.ID) string {
	return filepath.Join(db.dir, voicemailDir, filepath.Base(string(id))+".wav")
}

// Messages lists finished messages, newest first: of the given mailboxes, or with nil of all of the account. The query looks at the caller.
func (db *DB) Messages(ctx context.Context, account store.ID, mailboxes []store.ID, p Page) ([]store.Message, string, error) {
	var w where
	w.and("account_id = ? AND recording = 0", account)
	if mailboxes != nil {
		// One parameter for all: an administrator may open thousands, and SQLite bounds both parameters and the depth of OR.
		w.and("mailbox IN (SELECT value FROM json_each(?))", string(encode(mailboxes)))
	}
	if p.Cursor != "" {
		w.and("id < ?", p.Cursor)
	}
	if p.Query != "" {
		w.and("instr(search, ?) > 0", strings.ToLower(p.Query))
	}
	items := []store.Message{}
	err := each(ctx, db.read, func(scan scanner) error {
		m, err := scanMessage(scan)
		items = append(items, m)
		return err
	}, `SELECT `+messageColumns+` FROM messages`+w.text+` ORDER BY id DESC LIMIT ?`, append(w.args, limit(p)+1)...)
	if err != nil {
		return nil, "", readError("list messages", err)
	}
	items, next := cut(p, items, func(m *store.Message) string { return string(m.ID) })
	return items, next, nil
}

// Message returns a finished message of the account.
func (db *DB) Message(ctx context.Context, account, id store.ID) (store.Message, error) {
	m, err := messageOf(ctx, db.read, account, id)
	return m, readError("read message", err)
}

func messageOf(ctx context.Context, q querier, account, id store.ID) (store.Message, error) {
	return scanMessage(q.QueryRowContext(ctx, `SELECT `+messageColumns+` FROM messages WHERE id = ? AND account_id = ? AND recording = 0`, id, account).Scan)
}

// countMailbox counts the messages of one mailbox.
func countMailbox(ctx context.Context, q querier, m mailbox) (store.MailboxCounts, error) {
	var n store.MailboxCounts
	err := q.QueryRowContext(ctx, `SELECT coalesce(sum(read = 0), 0), coalesce(sum(read = 1), 0), coalesce(sum(read = 0 AND urgent = 1), 0),
		coalesce(sum(read = 1 AND urgent = 1), 0) FROM messages WHERE mailbox = ? AND recording = 0 AND account_id = ?`, m.id, m.account).Scan(&n.New, &n.Old, &n.NewUrgent, &n.OldUrgent)
	return n, err
}

// SetMessageRead marks a message as read or as new.
func (tx *Tx) SetMessageRead(id store.ID, read bool) error {
	m, err := messageOf(tx.ctx, tx.sql, tx.id, id)
	if err != nil {
		return readError("read message", err)
	}
	if m.Read == read {
		return nil
	}
	if err := tx.exec("mark message", `UPDATE messages SET read = ?, version = version + 1 WHERE id = ?`, read, id); err != nil {
		return err
	}
	detail := change{Before: map[string]any{"read": m.Read}, After: map[string]any{"read": read}}
	tx.changedObject("message", "update", id, m.Version+1, []store.ID{m.Mailbox}, detail)
	tx.touchMailbox(m)
	return nil
}

// MoveMessage puts a message into another mailbox, where it is new.
func (tx *Tx) MoveMessage(id, to store.ID) error {
	m, err := messageOf(tx.ctx, tx.sql, tx.id, id)
	if err != nil {
		return readError("read message", err)
	}
	if err := tx.checkDestination("mailbox", store.Destination{Type: "mailbox", ID: to}); err != nil {
		return err
	}
	if m.Mailbox == to {
		return nil
	}
	if err := tx.exec("move message", `UPDATE messages SET mailbox = ?, read = 0, version = version + 1 WHERE id = ?`, to, id); err != nil {
		return err
	}
	detail := change{Before: map[string]any{"mailbox": m.Mailbox}, After: map[string]any{"mailbox": to}}
	tx.changedObject("message", "update", id, m.Version+1, []store.ID{m.Mailbox, to}, detail)
	tx.touchMailbox(m)
	m.Mailbox = to
	tx.touchMailbox(m)
	return nil
}

// DeleteMessage removes a message; its sound goes after the commit.
func (tx *Tx) DeleteMessage(id store.ID) error {
	m, err := messageOf(tx.ctx, tx.sql, tx.id, id)
	if err != nil {
		return readError("read message", err)
	}
	if err := tx.exec("delete message", `DELETE FROM messages WHERE id = ?`, id); err != nil {
		return err
	}
	tx.files = append(tx.files, id)
	detail := change{Before: map[string]any{"mailbox": m.Mailbox, "caller": m.CallerNumber, "received_at": m.ReceivedAt, "read": m.Read}}
	tx.changedObject("message", "delete", id, m.Version, []store.ID{m.Mailbox}, detail)
	tx.touchMailbox(m)
	return nil
}

func (tx *Tx) touchMailbox(m store.Message) {
	box := mailbox{tx.id, m.Mailbox}
	tx.mailboxes[box] = store.MailboxCounts{} // counted before the commit
	tx.voicemail = append(tx.voicemail, voicemailChange{event.VoicemailChanged, box, m.ID})
}

// voicemailNews tells those who hear a mailbox that it changed.
func (db *DB) voicemailNews(v voicemailChange, n store.MailboxCounts) event.News {
	users := []store.ID{v.mailbox.id}
	if s := db.Snapshot(v.mailbox.account); s != nil {
		if m := s.Mailbox(v.mailbox.id); m != nil {
			users = slices.Clone(m.MemberIDs)
		}
	}
	return event.News{
		Kind: v.kind, Account: v.mailbox.account, Users: users,
		Data: event.Voicemail{Mailbox: v.mailbox.id, MessageID: v.message, New: n.New, Old: n.Old},
	}
}

// MarkRead marks a message as heard or new, for the telephone's mailbox.
func (db *DB) MarkRead(ctx context.Context, who store.Actor, account, id store.ID, read bool) error {
	return db.Update(ctx, who, account, func(tx *Tx) error { return tx.SetMessageRead(id, read) })
}

// RemoveMessage deletes a message, for the telephone's mailbox.
func (db *DB) RemoveMessage(ctx context.Context, who store.Actor, account, id store.ID) error {
	return db.Update(ctx, who, account, func(tx *Tx) error { return tx.DeleteMessage(id) })
}

// BeginMessage writes the row of a message before its first sample, so that a
// crash leaves no sound that nobody knows of. Until FinishMessage it is neither
// listed nor counted.
func (db *DB) BeginMessage(ctx context.Context, m *store.Message) error {
	s := db.Snapshot(m.AccountID)
	if s == nil || s.User(m.Mailbox) == nil && s.Mailbox(m.Mailbox) == nil {
		return store.ErrNotFound
	}
	if m.ID == "" {
		m.ID = store.NewID(store.PrefixMessage)
	}
	if m.ReceivedAt.IsZero() {
		m.ReceivedAt = now()
	}
	m.Version, m.Recording, m.Read = 1, true, false
	m.CallerName, m.CallerNumber = clip(m.CallerName, 100), clip(m.CallerNumber, 100)
	row := *m
	return db.queue.do(ctx, "begin message", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO messages (`+messageColumns+`, search) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
			row.ID, row.AccountID, row.Version, row.Mailbox, row.CallID, row.CallerName, row.CallerNumber,
			micros(row.ReceivedAt), 0, false, true, row.Urgent, row.ForwardedBy, strings.ToLower(row.CallerName+"\n"+row.CallerNumber))
		return err
	}, nil)
}

// FinishMessage lists a message and lights the lamp. The sound must be complete
// in its file; it is synced first, and if it cannot be, the message stays
// unfinished.
func (db *DB) FinishMessage(ctx context.Context, id store.ID, d time.Duration) error {
	path := db.MessagePath(id)
	if err := syncFile(path); err != nil {
		return fmt.Errorf("finish message %s: %w", id, failure(err))
	}
	if err := syncFile(filepath.Dir(path)); err != nil {
		return fmt.Errorf("finish message %s: %w", id, failure(err))
	}
	var box mailbox
	var n store.MailboxCounts
	err := db.queue.do(ctx, "finish message", func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `UPDATE messages SET recording = 0, duration_ms = ?, version = version + 1
			WHERE id = ? AND recording = 1 RETURNING account_id, mailbox`, d.Milliseconds(), id).Scan(&box.account, &box.id)
		if errors.Is(err, sql.ErrNoRows) {
			return store.ErrNotFound
		}
		if err != nil {
			return err
		}
		n, err = countMailbox(ctx, tx, box)
		return err
	}, func() []event.News {
		db.counts.set(map[mailbox]store.MailboxCounts{box: n})
		return []event.News{db.voicemailNews(voicemailChange{event.VoicemailReceived, box, id}, n)}
	})
	if errors.Is(err, store.ErrNotFound) && !db.hasMessage(ctx, id) {
		db.removeSound(id) // the mailbox was deleted while the caller spoke
	}
	return err
}

func (db *DB) hasMessage(ctx context.Context, id store.ID) bool {
	var n int
	err := db.read.QueryRowContext(ctx, `SELECT count(*) FROM messages WHERE id = ?`, id).Scan(&n)
	return err != nil || n > 0
}

// UrgeMessage says whether a message that is still being made is urgent.
func (db *DB) UrgeMessage(ctx context.Context, id store.ID, urgent bool) error {
	return db.queue.do(ctx, "urge message", func(ctx context.Context, tx *sql.Tx) error {
		var box store.ID
		err := tx.QueryRowContext(ctx, `UPDATE messages SET urgent = ? WHERE id = ? AND recording = 1 RETURNING mailbox`, urgent, id).Scan(&box)
		if errors.Is(err, sql.ErrNoRows) {
			return store.ErrNotFound
		}
		return err
	}, nil)
}

// DropMessage forgets an unfinished message with its sound.
func (db *DB) DropMessage(ctx context.Context, id store.ID) error {
	return db.queue.do(ctx, "drop message", func(ctx context.Context, tx *sql.Tx) error {
		var gone store.ID
		err := tx.QueryRowContext(ctx, `DELETE FROM messages WHERE id = ? AND recording = 1 RETURNING id`, id).Scan(&gone)
		if errors.Is(err, sql.ErrNoRows) {
			return store.ErrNotFound
		}
		return err
	}, func() []event.News {
		db.removeSound(id)
		return nil
	})
}

// Unfinished returns the messages of all accounts that were being recorded: after a crash they must be finished or dropped.
func (db *DB) Unfinished(ctx context.Context) ([]store.Message, error) {
	var items []store.Message
	err := each(ctx, db.read, func(scan scanner) error {
		m, err := scanMessage(scan)
		items = append(items, m)
		return err
	}, `SELECT `+messageColumns+` FROM messages WHERE recording = 1 ORDER BY id`)
	return items, readError("list unfinished messages", err)
}

// removeLeftovers deletes sound that belongs to no message: its row was deleted and the house died before the file was.
func (db *DB) removeLeftovers(ctx context.Context) {
	files, err := os.ReadDir(filepath.Join(db.dir, voicemailDir))
	if err != nil {
		db.log.Warn("voicemail files not listed", "err", err)
		return
	}
	for _, f := range files {
		id, ok := strings.CutSuffix(f.Name(), ".wav")
		if ok && strings.HasPrefix(id, store.PrefixMessage) && !db.hasMessage(ctx, store.ID(id)) {
			db.removeSound(store.ID(id))
		}
	}
}
