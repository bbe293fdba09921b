package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pbx/store"
)

// This file is what users change and ask by telephone.

// ChangeUser changes settings of a user.
func (db *DB) ChangeUser(ctx context.Context, who store.Actor, account, user store.ID, change func(u *store.User)) error {
	return db.Update(ctx, who, account, func(tx *Tx) error {
		u, err := tx.User(user)
		if err != nil {
			return err
		}
		change(&u)
		return tx.SaveUser(&u, 0)
	})
}

// LastCaller is the number or extension of the latest call to a user other than except; empty: nobody called who showed one.
func (db *DB) LastCaller(ctx context.Context, account, user, except store.ID) (string, error) {
	var text []byte
	err := db.read.QueryRowContext(ctx, `SELECT caller FROM call_records WHERE account_id = ? AND callee_user = ? AND id <> ?
		AND caller_user <> callee_user ORDER BY id DESC LIMIT 1`, account, user, except).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", readError("find last caller", err)
	}
	var who store.CallParty
	if err := json.Unmarshal(text, &who); err != nil {
		return "", fmt.Errorf("find last caller: %w", err)
	}
	if who.Extension != "" {
		return who.Extension, nil
	}
	return who.Number, nil
}

// SetWakeUp keeps the one wake-up call of a user; at no time it forgets it.
func (db *DB) SetWakeUp(ctx context.Context, who store.Actor, w store.WakeUp) error {
	return db.Update(ctx, who, w.AccountID, func(tx *Tx) error {
		if _, err := tx.User(w.UserID); err != nil {
			return err
		}
		if w.At.IsZero() {
			tx.Note("user.wake_up", string(w.UserID), map[string]any{"at": nil})
			return tx.exec("forget wake-up call", `DELETE FROM wake_ups WHERE user_id = ?`, w.UserID)
		}
		tx.Note("user.wake_up", string(w.UserID), map[string]any{"at": w.At.UTC(), "tries": w.Tries})
		return tx.exec("save wake-up call", `INSERT INTO wake_ups (user_id, account_id, at, tries) VALUES (?,?,?,?)
			ON CONFLICT (user_id) DO UPDATE SET at = excluded.at, tries = excluded.tries`, w.UserID, tx.id, micros(w.At), w.Tries)
	})
}

// DueWakeUps returns the wake-up calls whose time has come, and forgets them.
func (db *DB) DueWakeUps(ctx context.Context, now time.Time) ([]store.WakeUp, error) {
	var due []store.WakeUp
	err := each(ctx, db.read, func(scan scanner) error {
		var w store.WakeUp
		var at int64
		err := scan(&w.UserID, &w.AccountID, &at, &w.Tries)
		w.At = fromMicros(at)
		due = append(due, w)
		return err
	}, `SELECT user_id, account_id, at, tries FROM wake_ups WHERE at <= ? ORDER BY at LIMIT 100`, micros(now))
	if err != nil || len(due) == 0 {
		return nil, readError("list wake-up calls", err)
	}
	return due, db.queue.do(ctx, "forget wake-up calls", func(ctx context.Context, tx *sql.Tx) error {
		for _, w := range due {
			if _, err := tx.ExecContext(ctx, `DELETE FROM wake_ups WHERE user_id = ? AND at = ?`, w.UserID, micros(w.At)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}
