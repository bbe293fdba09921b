package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"pbx/store"
)

// LoadBans returns the bans that are valid still, and for a while those that were:
// who comes back is banned for longer.
func (db *DB) LoadBans(ctx context.Context) ([]store.Ban, error) {
	var items []store.Ban
	err := each(ctx, db.read, func(scan scanner) error {
		var b store.Ban
		var addr, evidence string
		var since, until int64
		if err := scan(&addr, &b.Reason, &b.By, &since, &until, &b.Times, &b.Hits, &evidence); err != nil {
			return err
		}
		var err error
		if b.Addr, err = netip.ParseAddr(addr); err != nil {
			return err
		}
		b.Since, b.Until = fromMicros(since), fromMicros(until)
		items = append(items, b)
		return json.Unmarshal([]byte(evidence), &items[len(items)-1].Evidence)
	}, `SELECT addr, reason, banned_by, since, until, times, hits, evidence FROM bans ORDER BY since`)
	return items, readError("load bans", err)
}

// KnownAddresses returns where phones of all accounts were lately: they fetched
// their configuration from there in the last 30 days, or are registered.
func (db *DB) KnownAddresses(ctx context.Context) ([]netip.Addr, error) {
	var items []netip.Addr
	err := each(ctx, db.read, func(scan scanner) error {
		var source string
		if err := scan(&source); err != nil {
			return err
		}
		if ap, err := netip.ParseAddrPort(source); err == nil {
			items = append(items, ap.Addr().Unmap())
		} else if a, err := netip.ParseAddr(source); err == nil {
			items = append(items, a.Unmap())
		}
		return nil
	}, `SELECT DISTINCT source FROM provision_fetches WHERE device_id <> '' AND status = 200 AND at > ?
		UNION SELECT source FROM bindings`, micros(now().AddDate(0, 0, -30)))
	return items, readError("list addresses of phones", err)
}

// SaveBans writes and removes bans in one commit.
func (db *DB) SaveBans(ctx context.Context, put []store.Ban, drop []netip.Addr) error {
	put, drop = slices.Clone(put), slices.Clone(drop)
	return db.queue.do(ctx, "save bans", func(ctx context.Context, tx *sql.Tx) error {
		for _, a := range drop {
			if _, err := tx.ExecContext(ctx, `DELETE FROM bans WHERE addr = ?`, a.String()); err != nil {
				return err
			}
		}
		for _, b := range put {
			evidence := make([]string, 0, store.MaxEvidence)
			for _, line := range b.Evidence[:min(len(b.Evidence), store.MaxEvidence)] {
				evidence = append(evidence, clip(line, 200))
			}
			_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO bans (addr, reason, banned_by, since, until, times, hits, evidence) VALUES (?,?,?,?,?,?,?,?)`,
				b.Addr.String(), clip(b.Reason, store.MaxBanReason), clip(b.By, 200), micros(b.Since), micros(b.Until), b.Times, int64(min(b.Hits, 1<<62)), string(encode(evidence)))
			if err != nil {
				return fmt.Errorf("ban of %s: %w", b.Addr, err)
			}
		}
		return nil
	}, nil)
}

const textColumns = `id, account_id, to_user, from_user, from_number, from_name, content_type, body, received_at, expires_at`

// AddText keeps a text for a user and returns after the commit. store.ErrTooMany says
// that enough wait for that user already.
func (db *DB) AddText(ctx context.Context, t *store.Text) error {
	s := db.Snapshot(t.AccountID)
	if s == nil || s.User(t.To) == nil {
		return store.ErrNotFound
	}
	if t.ID == "" {
		t.ID = store.NewID(store.PrefixText)
	}
	row := *t
	return db.queue.do(ctx, "keep text", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM texts WHERE expires_at <= ?`, micros(time.Now())); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM texts WHERE to_user = ?`, row.To).Scan(&n); err != nil {
			return err
		}
		if n >= store.MaxTextsOfUser {
			return store.ErrTooMany
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO texts (`+textColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?)`,
			row.ID, row.AccountID, row.To, row.FromUser, clip(row.FromNumber, 100), clip(row.FromName, 100), row.ContentType, row.Body,
			micros(row.ReceivedAt), micros(row.ExpiresAt))
		return err
	}, nil)
}

// Texts returns what waits for a user, in the order in which it came.
func (db *DB) Texts(ctx context.Context, user store.ID) ([]store.Text, error) {
	var items []store.Text
	err := each(ctx, db.read, func(scan scanner) error {
		var t store.Text
		var received, expires int64
		err := scan(&t.ID, &t.AccountID, &t.To, &t.FromUser, &t.FromNumber, &t.FromName, &t.ContentType, &t.Body, &received, &expires)
		t.ReceivedAt, t.ExpiresAt = fromMicros(received), fromMicros(expires)
		items = append(items, t)
		return err
	}, `SELECT `+textColumns+` FROM texts WHERE to_user = ? AND expires_at > ? ORDER BY seq`, user, micros(time.Now()))
	return items, readError("list texts", err)
}

// Waiting returns the users for whom texts wait.
func (db *DB) Waiting(ctx context.Context) ([]store.ID, error) {
	var items []store.ID
	err := each(ctx, db.read, func(scan scanner) error {
		var id store.ID
		err := scan(&id)
		items = append(items, id)
		return err
	}, `SELECT DISTINCT to_user FROM texts WHERE expires_at > ?`, micros(time.Now()))
	return items, readError("list waiting texts", err)
}

// DropText forgets a text that was delivered, or that no phone takes.
func (db *DB) DropText(ctx context.Context, id store.ID) error {
	return db.queue.do(ctx, "drop text", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM texts WHERE id = ?`, id)
		return err
	}, nil)
}
