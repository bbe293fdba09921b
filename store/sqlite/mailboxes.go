package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pbx/store"
)

// mailboxColumns in the order of mailboxRow and loadMailboxes.
const mailboxColumns = `id, account_id, version, name, extension, pin_hash, member_ids, created_at, updated_at`

const upsertMailbox = `INSERT INTO mailboxes (` + mailboxColumns + `) VALUES (?,?,?,?,?,?,?,?,?)
	ON CONFLICT (id) DO UPDATE SET version = excluded.version, name = excluded.name, extension = excluded.extension,
	pin_hash = excluded.pin_hash, member_ids = excluded.member_ids, updated_at = excluded.updated_at`

func mailboxRow(m *store.Mailbox) []any {
	return []any{m.ID, m.AccountID, m.Version, m.Name, m.Extension, m.PINHash, list(m.MemberIDs), micros(m.CreatedAt), micros(m.UpdatedAt)}
}

func loadMailboxes(ctx context.Context, q querier) (map[store.ID][]store.Mailbox, error) {
	all := make(map[store.ID][]store.Mailbox)
	err := each(ctx, q, func(scan scanner) error {
		var m store.Mailbox
		var members string
		var created, updated int64
		if err := scan(&m.ID, &m.AccountID, &m.Version, &m.Name, &m.Extension, &m.PINHash, &members, &created, &updated); err != nil {
			return err
		}
		if err := unlist(members, &m.MemberIDs); err != nil {
			return err
		}
		m.CreatedAt, m.UpdatedAt = fromMicros(created), fromMicros(updated)
		all[m.AccountID] = append(all[m.AccountID], m)
		return nil
	}, `SELECT `+mailboxColumns+` FROM mailboxes`)
	if err != nil {
		return nil, fmt.Errorf("load mailboxes: %w", err)
	}
	return all, nil
}

func mailboxFields(m *store.Mailbox) []field {
	return []field{
		{name: "name", value: m.Name},
		{name: "extension", value: m.Extension},
		{name: "pin", value: m.PINHash, secret: true},
		{name: "member_ids", value: m.MemberIDs},
	}
}

// CreateMailbox adds a shared mailbox to the account.
func (tx *Tx) CreateMailbox(m *store.Mailbox) error {
	if err := tx.need(); err != nil {
		return err
	}
	m.ID, m.AccountID = store.NewID(store.PrefixMailbox), tx.id
	m.Version, m.CreatedAt, m.UpdatedAt = 1, tx.at, tx.at
	if err := tx.checkMailbox(m); err != nil {
		return err
	}
	return tx.putMailbox(nil, m, "create")
}

// SaveMailbox changes a shared mailbox.
func (tx *Tx) SaveMailbox(m *store.Mailbox, ifVersion int64) error {
	before, ok := tx.boxes[m.ID]
	if !ok {
		return store.ErrNotFound
	}
	if err := stale(ifVersion, before.Version); err != nil {
		return err
	}
	m.AccountID, m.Version, m.CreatedAt, m.UpdatedAt = tx.id, before.Version+1, before.CreatedAt, tx.at
	if err := tx.checkMailbox(m); err != nil {
		return err
	}
	return tx.putMailbox(before, m, "update")
}

func (tx *Tx) putMailbox(before, m *store.Mailbox, verb string) error {
	if err := tx.exec("save mailbox", upsertMailbox, mailboxRow(m)...); err != nil {
		return err
	}
	var old []field
	if before != nil {
		old = mailboxFields(before)
	}
	saved := cloneMailbox(*m)
	tx.boxes[m.ID], tx.changed = &saved, true
	heard := slices.Clone(m.MemberIDs)
	if before != nil { // who is no member any more is told too: their lamps change
		heard = append(heard, before.MemberIDs...)
	}
	slices.Sort(heard)
	tx.changedObject("mailbox", verb, m.ID, m.Version, slices.Compact(heard), difference(old, mailboxFields(m)))
	return nil
}

// DeleteMailbox removes a shared mailbox that nothing leads to, with its messages.
func (tx *Tx) DeleteMailbox(id store.ID, ifVersion int64) error {
	m, ok := tx.boxes[id]
	if !ok {
		return store.ErrNotFound
	}
	if err := stale(ifVersion, m.Version); err != nil {
		return err
	}
	if err := tx.unreferred(id, m.Name); err != nil {
		return err
	}
	if err := tx.emptyMailbox(id); err != nil {
		return err
	}
	if err := tx.exec("delete mailbox", `DELETE FROM mailboxes WHERE id = ? AND account_id = ?`, id, tx.id); err != nil {
		return err
	}
	delete(tx.boxes, id)
	tx.changed = true
	tx.changedObject("mailbox", "delete", id, m.Version, slices.Clone(m.MemberIDs), difference(mailboxFields(m), nil))
	return nil
}

// emptyMailbox removes the messages of a mailbox that goes.
func (tx *Tx) emptyMailbox(id store.ID) error {
	if err := each(tx.ctx, tx.sql, func(scan scanner) error {
		var message store.ID
		err := scan(&message)
		tx.files = append(tx.files, message)
		return err
	}, `SELECT id FROM messages WHERE mailbox = ? AND account_id = ?`, id, tx.id); err != nil {
		return fmt.Errorf("delete messages: %w", err)
	}
	tx.mailboxes[mailbox{tx.id, id}] = store.MailboxCounts{}
	return tx.exec("delete messages", `DELETE FROM messages WHERE mailbox = ? AND account_id = ?`, id, tx.id)
}

func (tx *Tx) checkMailbox(m *store.Mailbox) error {
	var members []store.ID
	for _, id := range m.MemberIDs {
		if _, ok := tx.users[id]; !ok {
			return store.FieldErrors{{Field: "member_ids", Problem: "A member does not exist."}}
		}
		if !slices.Contains(members, id) {
			members = append(members, id)
		}
	}
	m.MemberIDs = members
	if err := m.Validate(tx.account.ExtensionLength); err != nil {
		return err
	}
	return tx.checkExtensionFree(m.Extension, m.ID)
}

// Mailbox returns a shared mailbox as this transaction sees it.
func (tx *Tx) Mailbox(id store.ID) (store.Mailbox, error) {
	if m, ok := tx.boxes[id]; ok {
		return cloneMailbox(*m), nil
	}
	return store.Mailbox{}, store.ErrNotFound
}

// Mailbox returns a shared mailbox of the account.
func (db *DB) Mailbox(_ context.Context, account, id store.ID) (store.Mailbox, error) {
	if s := db.Snapshot(account); s != nil {
		if m := s.Mailbox(id); m != nil {
			return cloneMailbox(*m), nil
		}
	}
	return store.Mailbox{}, store.ErrNotFound
}

// Mailboxes lists the shared mailboxes of an account, newest first. The query looks into name and extension.
func (db *DB) Mailboxes(_ context.Context, account store.ID, p Page) ([]store.Mailbox, string, error) {
	s := db.Snapshot(account)
	if s == nil {
		return nil, "", store.ErrNotFound
	}
	q := strings.ToLower(p.Query)
	items, next, err := pageOf(s.Mailboxes, p, func(m *store.Mailbox) store.ID { return m.ID }, func(m *store.Mailbox) bool {
		return contains(q, m.Name, m.Extension)
	})
	for i := range items {
		items[i] = cloneMailbox(items[i])
	}
	return items, next, err
}

func cloneMailbox(m store.Mailbox) store.Mailbox {
	m.MemberIDs = slices.Clone(m.MemberIDs)
	return m
}

// ExpireMessages removes the messages that an account keeps no longer, with their sound, and tells how many went.
// It takes a limited number at a time.
func (db *DB) ExpireMessages(ctx context.Context, who store.Actor, at time.Time) (int, error) {
	gone := 0
	for _, account := range db.Accounts() {
		s := db.Snapshot(account)
		if s == nil || s.Account.VoicemailDays == 0 {
			continue
		}
		before := at.AddDate(0, 0, -s.Account.VoicemailDays)
		var old []store.ID
		if err := each(ctx, db.read, func(scan scanner) error {
			var id store.ID
			err := scan(&id)
			old = append(old, id)
			return err
		}, `SELECT id FROM messages WHERE account_id = ? AND recording = 0 AND received_at < ? ORDER BY received_at LIMIT ?`, account, micros(before), expireAtOnce); err != nil {
			return gone, readError("list old messages", err)
		}
		if len(old) == 0 {
			continue
		}
		if err := db.Update(ctx, who, account, func(tx *Tx) error {
			for _, id := range old {
				if err := tx.DeleteMessage(id); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return gone, err
		}
		gone += len(old)
	}
	return gone, nil
}

// expireAtOnce bounds one change of the database.
const expireAtOnce = 500
