package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"pbx/store"
)

// Bounds of what one user may have; the oldest session makes room.
const (
	maxSessions = 50
	maxAPIKeys  = 50
)

const (
	sessionColumns = `id, account_id, user_id, token_hash, ip, user_agent, created_at, seen_at, expires_at`
	keyColumns     = `id, account_id, user_id, name, prefix, key_hash, created_at, used_at, used_ip`
)

func scanSession(scan scanner) (store.Session, error) {
	var s store.Session
	var created, seen, expires int64
	err := scan(&s.ID, &s.AccountID, &s.UserID, &s.TokenHash, &s.IP, &s.UserAgent, &created, &seen, &expires)
	s.CreatedAt, s.SeenAt, s.ExpiresAt = fromMicros(created), fromMicros(seen), fromMicros(expires)
	return s, err
}

func scanKey(scan scanner) (store.APIKey, error) {
	var k store.APIKey
	var created, used int64
	err := scan(&k.ID, &k.AccountID, &k.UserID, &k.Name, &k.Prefix, &k.KeyHash, &created, &used, &k.UsedIP)
	k.CreatedAt, k.UsedAt = fromMicros(created), fromMicros(used)
	return k, err
}

// CreateSession signs a user in. The caller sets UserID, TokenHash, IP, UserAgent and ExpiresAt.
func (tx *Tx) CreateSession(s *store.Session) error {
	if _, ok := tx.users[s.UserID]; !ok {
		return store.ErrNotFound
	}
	if len(s.TokenHash) == 0 {
		return errors.New("create session: no token")
	}
	s.ID, s.AccountID = store.NewID(store.PrefixSession), tx.id
	s.CreatedAt, s.SeenAt, s.ExpiresAt = tx.at, tx.at, s.ExpiresAt.UTC().Truncate(time.Microsecond)
	s.UserAgent = clip(s.UserAgent, 300)
	if err := tx.exec("drop expired sessions", `DELETE FROM sessions WHERE expires_at <= ?`, micros(tx.at)); err != nil {
		return err
	}
	if err := tx.exec("drop oldest session", `DELETE FROM sessions WHERE id IN
		(SELECT id FROM sessions WHERE user_id = ? ORDER BY seen_at DESC LIMIT -1 OFFSET ?)`, s.UserID, maxSessions-1); err != nil {
		return err
	}
	if err := tx.exec("create session", `INSERT INTO sessions (`+sessionColumns+`) VALUES (?,?,?,?,?,?,?,?,?)`,
		s.ID, s.AccountID, s.UserID, s.TokenHash, s.IP, s.UserAgent, micros(s.CreatedAt), micros(s.SeenAt), micros(s.ExpiresAt)); err != nil {
		return err
	}
	tx.changedObject("session", "create", s.ID, 1, []store.ID{s.UserID}, map[string]any{"user_id": s.UserID})
	return nil
}

// DeleteSession signs a browser out.
func (tx *Tx) DeleteSession(id store.ID) error {
	return tx.deleteOwned("session", "sessions", id)
}

// DeleteSessionsOf signs a user out everywhere, except in one session.
func (tx *Tx) DeleteSessionsOf(user, except store.ID) error {
	var ids []store.ID
	err := each(tx.ctx, tx.sql, func(scan scanner) error {
		var id store.ID
		err := scan(&id)
		ids = append(ids, id)
		return err
	}, `SELECT id FROM sessions WHERE user_id = ? AND account_id = ? AND id <> ?`, user, tx.id, except)
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	for _, id := range ids {
		if err := tx.DeleteSession(id); err != nil {
			return err
		}
	}
	return nil
}

// CreateAPIKey lets a program act as a user. The caller sets UserID, Name, Prefix and KeyHash.
func (tx *Tx) CreateAPIKey(k *store.APIKey) error {
	if _, ok := tx.users[k.UserID]; !ok {
		return store.ErrNotFound
	}
	if len(k.KeyHash) == 0 {
		return errors.New("create API key: no key")
	}
	if err := store.ValidateName("name", k.Name); err != nil {
		return err
	}
	var n int
	if err := tx.sql.QueryRowContext(tx.ctx, `SELECT count(*) FROM api_keys WHERE user_id = ?`, k.UserID).Scan(&n); err != nil {
		return fmt.Errorf("count API keys: %w", err)
	}
	if n >= maxAPIKeys {
		return store.FieldErrors{{Field: "name", Problem: fmt.Sprintf("A user can have at most %d API keys.", maxAPIKeys)}}
	}
	k.ID, k.AccountID, k.CreatedAt = store.NewID(store.PrefixAPIKey), tx.id, tx.at
	k.UsedAt, k.UsedIP = time.Time{}, ""
	if err := tx.exec("create API key", `INSERT INTO api_keys (`+keyColumns+`) VALUES (?,?,?,?,?,?,?,?,?)`,
		k.ID, k.AccountID, k.UserID, k.Name, k.Prefix, k.KeyHash, micros(k.CreatedAt), 0, ""); err != nil {
		return err
	}
	tx.changedObject("api_key", "create", k.ID, 1, []store.ID{k.UserID},
		change{After: map[string]any{"name": k.Name, "user_id": k.UserID, "key": redacted}})
	return nil
}

// DeleteAPIKey revokes a key.
func (tx *Tx) DeleteAPIKey(id store.ID) error {
	return tx.deleteOwned("api_key", "api_keys", id)
}

// deleteOwned deletes a session or a key of the account.
func (tx *Tx) deleteOwned(kind, table string, id store.ID) error {
	var user store.ID
	err := tx.sql.QueryRowContext(tx.ctx, `DELETE FROM `+table+` WHERE id = ? AND account_id = ? RETURNING user_id`, id, tx.id).Scan(&user)
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", kind, err)
	}
	tx.changedObject(kind, "delete", id, 1, []store.ID{user}, change{Before: map[string]any{"user_id": user}})
	return nil
}

// SessionByToken finds the session of a browser's token, unless it expired.
func (db *DB) SessionByToken(ctx context.Context, token string) (store.Session, error) {
	s, err := scanSession(db.read.QueryRowContext(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE token_hash = ? AND expires_at > ?`,
		store.HashToken(token), micros(now())).Scan)
	return s, readError("read session", err)
}

// Sessions lists where a user is signed in, newest first.
func (db *DB) Sessions(ctx context.Context, account, user store.ID) ([]store.Session, error) {
	items := []store.Session{}
	err := each(ctx, db.read, func(scan scanner) error {
		s, err := scanSession(scan)
		items = append(items, s)
		return err
	}, `SELECT `+sessionColumns+` FROM sessions WHERE account_id = ? AND user_id = ? AND expires_at > ? ORDER BY id DESC`,
		account, user, micros(now()))
	return items, readError("list sessions", err)
}

// TouchSession remembers that a session is in use and moves its end. It does not wait for the disk.
func (db *DB) TouchSession(_ context.Context, account, id store.ID, seen, expires time.Time) error {
	return db.queue.later("touch session", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE sessions SET seen_at = ?, expires_at = ? WHERE id = ? AND account_id = ?`,
			micros(seen), micros(expires), id, account)
		return err
	}, nil)
}

// APIKeyByToken finds a key by its text.
func (db *DB) APIKeyByToken(ctx context.Context, token string) (store.APIKey, error) {
	k, err := scanKey(db.read.QueryRowContext(ctx, `SELECT `+keyColumns+` FROM api_keys WHERE key_hash = ?`, store.HashToken(token)).Scan)
	return k, readError("read API key", err)
}

// APIKeys lists a user's keys, newest first.
func (db *DB) APIKeys(ctx context.Context, account, user store.ID) ([]store.APIKey, error) {
	items := []store.APIKey{}
	err := each(ctx, db.read, func(scan scanner) error {
		k, err := scanKey(scan)
		items = append(items, k)
		return err
	}, `SELECT `+keyColumns+` FROM api_keys WHERE account_id = ? AND user_id = ? ORDER BY id DESC`, account, user)
	return items, readError("list API keys", err)
}

// TouchAPIKey remembers that a key was used, and from where. It does not wait for the disk.
func (db *DB) TouchAPIKey(_ context.Context, account, id store.ID, ip string) error {
	used := now()
	return db.queue.later("touch API key", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE api_keys SET used_at = ?, used_ip = ? WHERE id = ? AND account_id = ?`, micros(used), ip, id, account)
		return err
	}, nil)
}

// readError gives the errors of a query their names.
func readError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return store.ErrNotFound
	}
	return fmt.Errorf("%s: %w", what, failure(err))
}
