package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pbx/store"
)

const bindingColumns = `id, account_id, line_id, device_id, user_id, contact, source, local, transport, user_agent,
	call_id, cseq, path, instance, reg_id, registered_at, expires_at, q, features`

// A binding of a line that was deleted meanwhile is nobody's and is not written.
const upsertBinding = `INSERT INTO bindings (` + bindingColumns + `)
	SELECT ?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,? WHERE EXISTS (SELECT 1 FROM lines WHERE id = ?3 AND account_id = ?2)
	ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id, contact = excluded.contact, source = excluded.source,
	local = excluded.local, transport = excluded.transport, user_agent = excluded.user_agent, call_id = excluded.call_id,
	cseq = excluded.cseq, path = excluded.path, instance = excluded.instance, reg_id = excluded.reg_id,
	registered_at = excluded.registered_at, expires_at = excluded.expires_at, q = excluded.q, features = excluded.features`

// Most writes say that a telephone is still where it was. Changing a row by its key is half the work of the
// above, which needs a journal of its own.
const updateBinding = `UPDATE bindings SET user_id = ?5, contact = ?6, source = ?7, local = ?8, transport = ?9, user_agent = ?10,
	call_id = ?11, cseq = ?12, path = ?13, instance = ?14, reg_id = ?15, registered_at = ?16, expires_at = ?17, q = ?18, features = ?19
	WHERE id = ?1 AND account_id = ?2 AND line_id = ?3 AND device_id = ?4`

func bindingRow(b *store.Binding) []any {
	return []any{
		b.ID, b.AccountID, b.LineID, b.DeviceID, b.UserID, b.Contact, b.Source, b.Local, b.Transport, validUTF8(b.UserAgent),
		b.CallID, b.CSeq, string(encode(b.Path)), b.Instance, b.RegID, micros(b.RegisteredAt), micros(b.ExpiresAt), b.Q, b.Features,
	}
}

// LoadBindings returns where telephones of all accounts can be reached, as
// known before a restart. Those that expired meanwhile are removed: nobody else knows of them any more.
func (db *DB) LoadBindings(ctx context.Context) ([]store.Binding, error) {
	at := micros(now())
	err := db.queue.later("remove expired bindings", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM bindings WHERE expires_at <= ?`, at)
		return err
	}, nil)
	if err != nil {
		return nil, err
	}
	var items []store.Binding
	err = each(ctx, db.read, func(scan scanner) error {
		var b store.Binding
		var path string
		var registered, expires int64
		err := scan(&b.ID, &b.AccountID, &b.LineID, &b.DeviceID, &b.UserID, &b.Contact, &b.Source, &b.Local, &b.Transport, &b.UserAgent,
			&b.CallID, &b.CSeq, &path, &b.Instance, &b.RegID, &registered, &expires, &b.Q, &b.Features)
		if err != nil {
			return err
		}
		b.RegisteredAt, b.ExpiresAt = fromMicros(registered), fromMicros(expires)
		items = append(items, b)
		return json.Unmarshal([]byte(path), &items[len(items)-1].Path)
	}, `SELECT `+bindingColumns+` FROM bindings WHERE expires_at > ? ORDER BY id`, at)
	return items, readError("load bindings", err)
}

// SaveBindings writes and removes bindings in one commit. Bindings of lines that are gone are ignored.
func (db *DB) SaveBindings(ctx context.Context, put []store.Binding, drop []store.ID) error {
	put, drop = slices.Clone(put), slices.Clone(drop)
	// Neighbours share a page.
	slices.SortFunc(put, func(a, b store.Binding) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return db.queue.do(ctx, "save bindings", func(ctx context.Context, tx *sql.Tx) error {
		for _, id := range drop {
			if _, err := tx.ExecContext(ctx, `DELETE FROM bindings WHERE id = ?`, id); err != nil {
				return err
			}
		}
		if len(put) == 0 {
			return nil
		}
		insert, err := tx.PrepareContext(ctx, upsertBinding)
		if err != nil {
			return err
		}
		defer insert.Close()
		update, err := tx.PrepareContext(ctx, updateBinding)
		if err != nil {
			return err
		}
		defer update.Close()
		for i := range put {
			row := bindingRow(&put[i])
			done, err := update.ExecContext(ctx, row...)
			if err == nil {
				if n, _ := done.RowsAffected(); n > 0 {
					continue
				}
				_, err = insert.ExecContext(ctx, row...)
			}
			if err != nil {
				return fmt.Errorf("binding %s: %w", put[i].ID, err)
			}
		}
		return nil
	}, nil)
}

// maxFetches is how many requests for files are kept of each device.
const maxFetches = 200

// SaveProvisionFetch queues one request of a telephone for a file. It does not wait for the disk.
func (db *DB) SaveProvisionFetch(_ context.Context, f store.ProvisionFetch) error {
	if db.Snapshot(f.AccountID) == nil {
		return store.ErrNotFound
	}
	if f.ID == "" {
		f.ID = store.NewID(store.PrefixProvisionLog)
	}
	if f.At.IsZero() {
		f.At = now()
	}
	f.File, f.UserAgent = clip(f.File, 200), clip(f.UserAgent, 300)
	return db.queue.later("log provisioning", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO provision_fetches (id, account_id, device_id, at, file, source, user_agent, status, bytes)
			VALUES (?,?,?,?,?,?,?,?,?)`, f.ID, f.AccountID, f.DeviceID, micros(f.At), f.File, f.Source, f.UserAgent, f.Status, f.Bytes)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM provision_fetches WHERE account_id = ?1 AND device_id = ?2 AND seq <=
			(SELECT seq FROM provision_fetches WHERE account_id = ?1 AND device_id = ?2 ORDER BY seq DESC LIMIT 1 OFFSET ?3)`,
			f.AccountID, f.DeviceID, maxFetches)
		return err
	}, nil)
}

// ProvisionFetches lists what a device asked for, newest first; with an empty device, what unknown ones did. The query looks at the file.
func (db *DB) ProvisionFetches(ctx context.Context, account, device store.ID, p Page) ([]store.ProvisionFetch, string, error) {
	if err := db.queue.flush(ctx); err != nil {
		return nil, "", err
	}
	var w where
	w.and("account_id = ? AND device_id = ?", account, device)
	if p.Query != "" {
		w.and("instr(lower(file), ?) > 0", strings.ToLower(p.Query))
	}
	if p.Cursor != "" {
		seq, err := strconv.ParseInt(p.Cursor, 10, 64)
		if err != nil {
			return nil, "", store.FieldErrors{{Field: "cursor", Problem: "Cursor is not valid."}}
		}
		w.and("seq < ?", seq)
	}
	var seqs []int64
	items := []store.ProvisionFetch{}
	err := each(ctx, db.read, func(scan scanner) error {
		var f store.ProvisionFetch
		var seq, at int64
		err := scan(&seq, &f.ID, &f.AccountID, &f.DeviceID, &at, &f.File, &f.Source, &f.UserAgent, &f.Status, &f.Bytes)
		f.At = fromMicros(at)
		seqs, items = append(seqs, seq), append(items, f)
		return err
	}, `SELECT seq, id, account_id, device_id, at, file, source, user_agent, status, bytes FROM provision_fetches`+w.text+` ORDER BY seq DESC LIMIT ?`,
		append(w.args, limit(p)+1)...)
	if err != nil {
		return nil, "", readError("list provisioning log", err)
	}
	items, next := cut(p, items, func(*store.ProvisionFetch) string { return strconv.FormatInt(seqs[limit(p)-1], 10) })
	return items, next, nil
}
