package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
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

// lastCallers is how many calls are looked at for one whose caller can be called.
const lastCallers = 20

// LastCaller is the number or extension of the latest call to a user, other than except, that showed one; empty: there is none.
func (db *DB) LastCaller(ctx context.Context, account, user, except store.ID) (string, error) {
	var number string
	err := each(ctx, db.read, func(scan scanner) error {
		var text []byte
		var who store.CallParty
		if err := scan(&text); err != nil {
			return err
		}
		if err := json.Unmarshal(text, &who); err != nil {
			return err
		}
		if shown := cmp.Or(who.Extension, who.Number); number == "" && strings.ContainsAny(shown, "0123456789") {
			number = shown
		}
		return nil
	}, `SELECT caller FROM call_records WHERE account_id = ? AND callee_user = ? AND id <> ? AND caller_user <> callee_user
		ORDER BY id DESC LIMIT ?`, account, user, except, lastCallers)
	return number, readError("find last caller", err)
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

// DueWakeUps returns the wake-up calls whose time has come.
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
	return due, readError("list wake-up calls", err)
}
