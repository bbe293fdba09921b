package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"pbx/store"
)

const callColumns = `id, account_id, started_at, answered_at, ended_at, direction, caller_user, callee_user, dialed,
	outcome, hangup_by, hangup_cause, caller, callee, segments, route, quality`

// readCall finds the recording of a call where it is: so deleting one needs no second place.
const readCall = `SELECT ` + callColumns + `, coalesce((SELECT id FROM recordings WHERE call_id = call_records.id AND running = 0), '') FROM call_records`

// One row per id, whether StartCall reached the disk or not; a row never changes its account.
const upsertCall = `INSERT INTO call_records (` + callColumns + `, search) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
	ON CONFLICT (id) DO UPDATE SET answered_at = excluded.answered_at, ended_at = excluded.ended_at, direction = excluded.direction,
	caller_user = excluded.caller_user, callee_user = excluded.callee_user, dialed = excluded.dialed, outcome = excluded.outcome,
	hangup_by = excluded.hangup_by, hangup_cause = excluded.hangup_cause, caller = excluded.caller, callee = excluded.callee,
	segments = excluded.segments, route = excluded.route, quality = excluded.quality, search = excluded.search
	WHERE account_id = excluded.account_id`

// Bounds of what one record may hold.
const (
	maxSegments = 1000
	maxReasons  = 200
	maxLegs     = 8
	maxPoints   = 64
	maxFaults   = 64
)

func callRow(r *store.CallRecord) []any {
	search := strings.ToLower(strings.Join([]string{
		r.Caller.Name, r.Caller.Extension, r.Caller.Number, r.Callee.Name, r.Callee.Extension, r.Callee.Number, r.Dialed,
	}, "\n"))
	return []any{
		r.ID, r.AccountID, micros(r.StartedAt), micros(r.AnsweredAt), micros(r.EndedAt), r.Direction, r.Caller.UserID, r.Callee.UserID,
		r.Dialed, r.Outcome, r.HangupBy, r.HangupCause, string(encode(r.Caller)), string(encode(r.Callee)),
		string(encode(r.Segments)), string(encode(r.Route)), string(encode(r.Quality)), search,
	}
}

func scanCall(scan scanner) (store.CallRecord, error) {
	var r store.CallRecord
	var started, answered, ended int64
	var callerUser, calleeUser store.ID
	var caller, callee, segments, route, quality []byte
	err := scan(&r.ID, &r.AccountID, &started, &answered, &ended, &r.Direction, &callerUser, &calleeUser, &r.Dialed,
		&r.Outcome, &r.HangupBy, &r.HangupCause, &caller, &callee, &segments, &route, &quality, &r.RecordingID)
	if err != nil {
		return r, err
	}
	r.StartedAt, r.AnsweredAt, r.EndedAt = fromMicros(started), fromMicros(answered), fromMicros(ended)
	err = errors.Join(json.Unmarshal(caller, &r.Caller), json.Unmarshal(callee, &r.Callee),
		json.Unmarshal(segments, &r.Segments), json.Unmarshal(route, &r.Route), json.Unmarshal(quality, &r.Quality))
	return r, err
}

// bounded returns a copy that fits: text that came from the network is shortened, and times are as the database keeps them.
func bounded(r *store.CallRecord) *store.CallRecord {
	c := *r
	c.Dialed, c.HangupCause = clip(c.Dialed, 200), clip(c.HangupCause, 200)
	for _, p := range []*store.CallParty{&c.Caller, &c.Callee} {
		p.Name, p.Number = clip(p.Name, 100), clip(p.Number, 100)
	}
	c.Segments = append([]store.Segment(nil), c.Segments[:min(len(c.Segments), maxSegments)]...)
	for i := range c.Segments {
		s := &c.Segments[i]
		s.Detail, s.StartedAt, s.EndedAt = clip(s.Detail, 300), s.StartedAt.UTC(), s.EndedAt.UTC()
	}
	c.Route = append([]store.Reason(nil), c.Route[:min(len(c.Route), maxReasons)]...)
	for i := range c.Route {
		c.Route[i].Detail = clip(c.Route[i].Detail, 300)
	}
	if r.Quality != nil {
		c.Quality = boundedQuality(*r.Quality)
	}
	return &c
}

func boundedQuality(q store.CallQuality) *store.CallQuality {
	q.Legs = append([]store.LegQuality(nil), q.Legs[:min(len(q.Legs), maxLegs)]...)
	for i := range q.Legs {
		l := &q.Legs[i]
		l.Name, l.StartedAt, l.Points = clip(l.Name, 100), l.StartedAt.UTC(), l.Points[:min(len(l.Points), maxPoints)]
	}
	q.Faults = append([]store.AudioFault(nil), q.Faults[:min(len(q.Faults), maxFaults)]...)
	for i := range q.Faults {
		q.Faults[i].BeganAt, q.Faults[i].EndedAt = q.Faults[i].BeganAt.UTC(), q.Faults[i].EndedAt.UTC()
	}
	return &q
}

// StartCall writes the row of a call that begins and returns after the commit.
func (db *DB) StartCall(ctx context.Context, r *store.CallRecord) error {
	return db.putCall(ctx, "start call", r)
}

// SaveCall completes or extends the row of a call and returns after the commit.
func (db *DB) SaveCall(ctx context.Context, r *store.CallRecord) error {
	return db.putCall(ctx, "save call", r)
}

// KeepCall is SaveCall that waits for nothing: the record is written with the next commit, and not if a later state
// of it is there by then. A failure is logged. The record must not change any more.
func (db *DB) KeepCall(r *store.CallRecord) error {
	j, err := db.callJob("keep call", r)
	if err != nil {
		return err
	}
	return db.queue.put(j)
}

func (db *DB) putCall(ctx context.Context, what string, r *store.CallRecord) error {
	j, err := db.callJob(what, r)
	if err != nil {
		return err
	}
	return db.queue.wait(ctx, j)
}

func (db *DB) callJob(what string, r *store.CallRecord) (*job, error) {
	if db.Snapshot(r.AccountID) == nil {
		return nil, store.ErrNotFound
	}
	if r.ID == "" {
		return nil, fmt.Errorf("%s: the record has no id", what)
	}
	record := *r
	return &job{what: what, one: true, key: r.AccountID + r.ID, run: func(ctx context.Context, tx *sql.Tx) error {
		// Here, for most states of a call are superseded by the next before they are written.
		result, err := tx.StmtContext(ctx, db.upsertCall).ExecContext(ctx, callRow(bounded(&record))...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return store.ErrNotFound // the id is a call of another account
	}}, nil
}

// CloseInterruptedCalls ends the records of calls that a former life of the
// house left open, at the last moment that is known of them, and returns how many there were.
func (db *DB) CloseInterruptedCalls(ctx context.Context) (int, error) {
	var open []store.CallRecord
	err := each(ctx, db.read, func(scan scanner) error {
		r, err := scanCall(scan)
		open = append(open, r)
		return err
	}, readCall+` WHERE outcome = ?`, store.OutcomeOngoing)
	if err != nil {
		return 0, readError("list open calls", err)
	}
	for i := range open {
		r := &open[i]
		interrupt(r)
		if err := db.SaveCall(ctx, r); err != nil {
			return i, err
		}
	}
	return len(open), nil
}

func interrupt(r *store.CallRecord) {
	last := r.StartedAt
	later := func(t time.Time) {
		if t.After(last) {
			last = t
		}
	}
	later(r.AnsweredAt)
	for _, s := range r.Segments {
		later(s.StartedAt)
		later(s.EndedAt)
	}
	for i := range r.Segments {
		if r.Segments[i].EndedAt.IsZero() {
			r.Segments[i].EndedAt = last
		}
	}
	r.EndedAt, r.Outcome, r.HangupBy, r.HangupCause = last, store.OutcomeInterrupted, "system", "the server stopped during the call"
}

// CallFilter is store.CallFilter: the doors of the rooms above name that one.
type CallFilter = store.CallFilter

// CallRecords lists calls, newest first. The query looks at names and numbers of both sides and what was dialed.
func (db *DB) CallRecords(ctx context.Context, account store.ID, f CallFilter, p Page) ([]store.CallRecord, string, error) {
	var w where
	w.and("account_id = ?", account)
	if f.User != "" {
		w.and("caller_user = ? OR callee_user = ?", f.User, f.User)
	}
	if !f.From.IsZero() {
		w.and("started_at >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		w.and("started_at < ?", micros(f.To))
	}
	if f.Outcome != "" {
		w.and("outcome = ?", f.Outcome)
	}
	if f.Direction != "" {
		w.and("direction = ?", f.Direction)
	}
	if p.Query != "" {
		w.and("instr(search, ?) > 0", strings.ToLower(p.Query))
	}
	if p.Cursor != "" {
		w.and("id < ?", p.Cursor)
	}
	items := []store.CallRecord{}
	err := each(ctx, db.read, func(scan scanner) error {
		r, err := scanCall(scan)
		items = append(items, r)
		return err
	}, readCall+w.text+` ORDER BY id DESC LIMIT ?`, append(w.args, limit(p)+1)...)
	if err != nil {
		return nil, "", readError("list call records", err)
	}
	items, next := cut(p, items, func(r *store.CallRecord) string { return string(r.ID) })
	return items, next, nil
}

// CallRecord returns a call of the account.
func (db *DB) CallRecord(ctx context.Context, account, id store.ID) (store.CallRecord, error) {
	r, err := scanCall(db.read.QueryRowContext(ctx, readCall+` WHERE id = ? AND account_id = ?`, id, account).Scan)
	return r, readError("read call record", err)
}
