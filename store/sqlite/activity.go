package sqlite

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"time"

	"pbx/event"
	"pbx/store"
)

const activityColumns = `id, account_id, at, event, resource, actor_kind, actor_id, actor_name, actor_ip, outcome, detail, count`

func insertActivity(ctx context.Context, tx *sql.Tx, a *store.Activity) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO activity (`+activityColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`,
		a.ID, a.AccountID, micros(a.At), a.Event, a.Resource, a.Actor.Kind, a.Actor.ID, a.Actor.Name, a.Actor.IP,
		a.Outcome, string(a.Detail), a.Count)
	return err
}

func activityNews(a *store.Activity) event.News {
	return event.News{
		Kind: event.ActivityAdded, Account: a.AccountID,
		Data: event.Object{Type: "activity", ID: a.ID, Version: 1, Actor: a.Actor.Name},
	}
}

// merger finds entries of the same minute that say the same, so that a portal
// that looks every five seconds does not fill the log. It forgets them with the minute.
type merger struct {
	minute  time.Time
	entries map[sameEntry]store.ID
}

type sameEntry struct {
	account, actor                          store.ID
	kind, name, ip, event, resource, detail string
}

// maxMerged bounds the memory of a minute in which very many different things happen.
const maxMerged = 10_000

// find returns the place of the entry of this minute that a equals.
func (m *merger) find(a *store.Activity) (sameEntry, store.ID) {
	if minute := a.At.Truncate(time.Minute); m.entries == nil || !minute.Equal(m.minute) || len(m.entries) > maxMerged {
		m.minute, m.entries = minute, make(map[sameEntry]store.ID)
	}
	key := sameEntry{a.AccountID, a.Actor.ID, a.Actor.Kind, a.Actor.Name, a.Actor.IP, a.Event, a.Resource, string(a.Detail)}
	return key, m.entries[key]
}

// Record queues an activity entry of something that Update did not do: a read,
// a failure, a refusal. It does not wait for the disk. Equal successes within a
// minute become one entry with a count.
func (db *DB) Record(_ context.Context, account store.ID, a store.Activity) error {
	if db.Snapshot(account) == nil {
		return store.ErrNotFound
	}
	a.AccountID, a.Count = account, 1
	if a.ID == "" {
		a.ID = store.NewID(store.PrefixActivity)
	}
	if a.At.IsZero() {
		a.At = now()
	}
	if a.Outcome == "" {
		a.Outcome = store.Success
	}
	a.Event, a.Resource, a.Actor.Name = clip(a.Event, 100), clip(a.Resource, 300), clip(a.Actor.Name, 300)
	if len(a.Detail) > maxDetail {
		a.Detail = nil
	}
	inserted := false
	return db.queue.later("record activity", func(ctx context.Context, tx *sql.Tx) error {
		key, same := db.merged.find(&a)
		if same != "" && a.Outcome == store.Success {
			result, err := tx.ExecContext(ctx, `UPDATE activity SET count = count + 1 WHERE id = ?`, same)
			if err != nil {
				return err
			}
			if n, err := result.RowsAffected(); err != nil || n == 1 {
				return err
			}
		}
		if a.Outcome == store.Success {
			db.merged.entries[key] = a.ID
		}
		inserted = true
		if err := insertActivity(ctx, tx, &a); err != nil {
			return err
		}
		return db.dropOldActivity(ctx, tx)
	}, func() []event.News {
		if !inserted {
			return nil
		}
		return []event.News{activityNews(&a)}
	})
}

// Activity is kept for 400 days and never more than a million entries.
const (
	keepActivity = 400 * 24 * time.Hour
	maxActivity  = 1_000_000
)

// dropEvery is after how many entries the old ones are looked for.
const dropEvery = 10_000

// dropOldActivity keeps the log within its bounds.
func (db *DB) dropOldActivity(ctx context.Context, tx *sql.Tx) error {
	if db.recorded++; db.recorded%dropEvery != 1 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM activity WHERE at < ? OR seq <= (SELECT max(seq) FROM activity) - ?`,
		micros(now().Add(-keepActivity)), maxActivity)
	return err
}

// maxDetail is the most octets of detail that one entry keeps.
const maxDetail = 16 << 10

// ActivityFilter is store.ActivityFilter: the doors of the rooms above name that one.
type ActivityFilter = store.ActivityFilter

// Activity lists the log of an account, newest first, with everything that was recorded before. The query looks at event, resource and actor.
func (db *DB) Activity(ctx context.Context, account store.ID, f ActivityFilter, p Page) ([]store.Activity, string, error) {
	if err := db.queue.flush(ctx); err != nil {
		return nil, "", err
	}
	w, err := conditions(f, account, p)
	if err != nil {
		return nil, "", err
	}
	type row struct {
		seq int64
		store.Activity
	}
	var rows []row
	err = each(ctx, db.read, func(scan scanner) error {
		var r row
		var at int64
		var detail string
		err := scan(&r.seq, &r.ID, &r.AccountID, &at, &r.Event, &r.Resource, &r.Actor.Kind, &r.Actor.ID, &r.Actor.Name, &r.Actor.IP,
			&r.Outcome, &detail, &r.Count)
		r.At = fromMicros(at)
		if detail != "" {
			r.Detail = []byte(detail)
		}
		rows = append(rows, r)
		return err
	}, `SELECT seq, `+activityColumns+` FROM activity`+w.text+` ORDER BY seq DESC LIMIT ?`, append(w.args, limit(p)+1)...)
	if err != nil {
		return nil, "", readError("list activity", err)
	}
	rows, next := cut(p, rows, func(r *row) string { return strconv.FormatInt(r.seq, 10) })
	items := make([]store.Activity, len(rows))
	for i := range rows {
		items[i] = rows[i].Activity
	}
	return items, next, nil
}

func conditions(f ActivityFilter, account store.ID, p Page) (where, error) {
	var w where
	w.and("account_id = ?", account)
	if !f.From.IsZero() {
		w.and("at >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		w.and("at < ?", micros(f.To))
	}
	w.any("instr(event, ?) = 1", f.Event)
	if f.ResourcePrefix != "" {
		w.and("instr(resource, ?) = 1", f.ResourcePrefix)
	}
	if f.ActorPrefix != "" {
		w.and("instr(lower(actor_name), ?) = 1 OR instr(actor_id, ?) = 1", strings.ToLower(f.ActorPrefix), f.ActorPrefix)
	}
	if f.Outcome != "" {
		w.and("outcome = ?", f.Outcome)
	}
	if f.IP != "" {
		w.and("instr(actor_ip, ?) = 1", f.IP)
	}
	if p.Query != "" {
		w.and("instr(lower(event || ' ' || resource || ' ' || actor_name), ?) > 0", strings.ToLower(p.Query))
	}
	if p.Cursor != "" {
		seq, err := strconv.ParseInt(p.Cursor, 10, 64)
		if err != nil {
			return w, store.FieldErrors{{Field: "cursor", Problem: "Cursor is not valid."}}
		}
		w.and("seq < ?", seq)
	}
	return w, nil
}
