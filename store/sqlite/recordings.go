package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pbx/event"
	"pbx/store"
)

const recordingColumns = `id, account_id, version, call_id, started_at, duration_ms, size, running, users, detail`

// recordingDetail is what nobody searches for.
type recordingDetail struct {
	Left     store.CallParty `json:"left"`
	Right    store.CallParty `json:"right"`
	Rule     string          `json:"rule"`
	Notice   string          `json:"notice"`
	NoticeAt time.Duration   `json:"notice_at"`
	Gaps     []store.Gap     `json:"gaps"`
}

func scanRecording(scan scanner) (store.Recording, error) {
	var r store.Recording
	var started, duration int64
	var users, detail []byte
	var d recordingDetail
	err := scan(&r.ID, &r.AccountID, &r.Version, &r.CallID, &started, &duration, &r.Size, &r.Running, &users, &detail)
	if err != nil {
		return r, err
	}
	err = errors.Join(json.Unmarshal(users, &r.Users), json.Unmarshal(detail, &d))
	r.StartedAt, r.Duration = fromMicros(started), time.Duration(duration)*time.Millisecond
	r.Left, r.Right, r.Rule, r.Notice, r.NoticeAt, r.Gaps = d.Left, d.Right, d.Rule, d.Notice, d.NoticeAt, d.Gaps
	return r, err
}

// maxGaps bounds how often a recording may be paused; later pauses are silent in the file but not listed.
const maxGaps = 500

func recordingRow(r *store.Recording) []any {
	d := recordingDetail{r.Left, r.Right, clip(r.Rule, 200), r.Notice, r.NoticeAt, r.Gaps[:min(len(r.Gaps), maxGaps)]}
	for _, p := range []*store.CallParty{&d.Left, &d.Right} {
		p.Name, p.Number = clip(p.Name, 100), clip(p.Number, 100)
	}
	search := strings.ToLower(strings.Join([]string{d.Left.Name, d.Left.Extension, d.Left.Number, d.Right.Name, d.Right.Extension, d.Right.Number}, "\n"))
	return []any{
		r.ID, r.AccountID, r.Version, r.CallID, micros(r.StartedAt), r.Duration.Milliseconds(), r.Size, r.Running,
		list(r.Users), string(encode(d)), search,
	}
}

// RecordingPath is where the sound of a recording is.
func (db *DB) RecordingPath(id store.ID) string { return db.soundPath(recordingDir, id) }

// RecordingFree returns how much room the disk of the recordings has.
func (db *DB) RecordingFree() (octets int64, err error) {
	return freeSpace(filepath.Join(db.dir, recordingDir))
}

// BeginRecording writes the row of a recording before its first sample, so that a crash leaves no sound that nobody knows of.
func (db *DB) BeginRecording(ctx context.Context, r *store.Recording) error {
	if db.Snapshot(r.AccountID) == nil {
		return store.ErrNotFound
	}
	if r.ID == "" {
		r.ID = store.NewID(store.PrefixRecording)
	}
	r.Version, r.Running = 1, true
	row := recordingRow(r)
	return db.queue.do(ctx, "begin recording", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO recordings (`+recordingColumns+`, search) VALUES (?,?,?,?,?,?,?,?,?,?,?)`, row...)
		return err
	}, nil)
}

// FinishRecording lists a recording. Its sound must be complete in its file; it is synced first.
func (db *DB) FinishRecording(ctx context.Context, r *store.Recording) error {
	path := db.RecordingPath(r.ID)
	info, err := os.Stat(path)
	if err == nil {
		err = errors.Join(syncFile(path), syncFile(filepath.Dir(path)))
	}
	if err != nil {
		return fmt.Errorf("finish recording %s: %w", r.ID, failure(err))
	}
	r.Size, r.Running, r.Version = info.Size(), false, 2
	row := recordingRow(r)
	err = db.queue.do(ctx, "finish recording", func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE recordings SET version = ?3, duration_ms = ?6, size = ?7, running = ?8, users = ?9, detail = ?10, search = ?11
			WHERE id = ?1 AND account_id = ?2 AND running = 1`, row...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return store.ErrNotFound
	}, func() []event.News {
		return []event.News{{Kind: event.ObjectChanged, Account: r.AccountID, Users: r.Users, Data: event.Object{Type: "recording", ID: r.ID, Version: r.Version}}}
	})
	if err != nil {
		return err
	}
	return db.TrimRecordings(ctx, r.AccountID)
}

// DropRecording forgets a recording that never became one, with its sound.
func (db *DB) DropRecording(ctx context.Context, id store.ID) error {
	return db.queue.do(ctx, "drop recording", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM recordings WHERE id = ? AND running = 1`, id)
		return err
	}, func() []event.News {
		db.removeFiles([]string{db.RecordingPath(id)})
		return nil
	})
}

// UnfinishedRecordings returns the recordings of all accounts that a former life of the house left open.
func (db *DB) UnfinishedRecordings(ctx context.Context) ([]store.Recording, error) {
	var items []store.Recording
	err := each(ctx, db.read, func(scan scanner) error {
		r, err := scanRecording(scan)
		items = append(items, r)
		return err
	}, `SELECT `+recordingColumns+` FROM recordings WHERE running = 1 ORDER BY id`)
	return items, readError("list unfinished recordings", err)
}

// Recordings lists finished recordings, newest first. The query looks at both sides.
func (db *DB) Recordings(ctx context.Context, account store.ID, f store.RecordingFilter, p Page) ([]store.Recording, string, error) {
	var w where
	w.and("account_id = ? AND running = 0", account)
	if f.User != "" {
		w.and("EXISTS (SELECT 1 FROM json_each(users) WHERE value = ?)", f.User)
	}
	if f.Call != "" {
		w.and("call_id = ?", f.Call)
	}
	if !f.From.IsZero() {
		w.and("started_at >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		w.and("started_at < ?", micros(f.To))
	}
	if p.Query != "" {
		w.and("instr(search, ?) > 0", strings.ToLower(p.Query))
	}
	if p.Cursor != "" {
		w.and("id < ?", p.Cursor)
	}
	items := []store.Recording{}
	err := each(ctx, db.read, func(scan scanner) error {
		r, err := scanRecording(scan)
		items = append(items, r)
		return err
	}, `SELECT `+recordingColumns+` FROM recordings`+w.text+` ORDER BY id DESC LIMIT ?`, append(w.args, limit(p)+1)...)
	if err != nil {
		return nil, "", readError("list recordings", err)
	}
	items, next := cut(p, items, func(r *store.Recording) string { return string(r.ID) })
	return items, next, nil
}

// Recording returns a finished recording of the account.
func (db *DB) Recording(ctx context.Context, account, id store.ID) (store.Recording, error) {
	r, err := recordingOf(ctx, db.read, account, id)
	return r, readError("read recording", err)
}

func recordingOf(ctx context.Context, q querier, account, id store.ID) (store.Recording, error) {
	return scanRecording(q.QueryRowContext(ctx, `SELECT `+recordingColumns+` FROM recordings WHERE id = ? AND account_id = ? AND running = 0`, id, account).Scan)
}

// DeleteRecording removes a recording; its sound goes after the commit, the record of the call stays.
func (tx *Tx) DeleteRecording(id store.ID, ifVersion int64) error {
	r, err := recordingOf(tx.ctx, tx.sql, tx.id, id)
	if err != nil {
		return readError("read recording", err)
	}
	if err := stale(ifVersion, r.Version); err != nil {
		return err
	}
	if err := tx.exec("delete recording", `DELETE FROM recordings WHERE id = ?`, id); err != nil {
		return err
	}
	tx.gone = append(tx.gone, tx.db.RecordingPath(id))
	detail := change{Before: map[string]any{"call_id": r.CallID, "started_at": r.StartedAt, "duration_s": r.Duration.Seconds()}}
	tx.changedObject("recording", "delete", id, r.Version, r.Users, detail)
	return nil
}

// trimBatch is how many recordings go in one transaction: others want to write too.
const trimBatch = 50

// TrimRecordings deletes recordings that are older than the account keeps them, and the oldest while they take more room
// than it gives them.
func (db *DB) TrimRecordings(ctx context.Context, account store.ID) error {
	for {
		old, err := db.overdue(ctx, account)
		if err != nil || len(old) == 0 {
			return err
		}
		err = db.Update(ctx, store.System, account, func(tx *Tx) error {
			for _, id := range old {
				if err := tx.DeleteRecording(id, 0); err != nil && !errors.Is(err, store.ErrNotFound) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		db.log.Info("old recordings deleted", "account", account, "recordings", len(old))
		if len(old) < trimBatch {
			return nil
		}
	}
}

// overdue names recordings that have to go, the oldest first.
func (db *DB) overdue(ctx context.Context, account store.ID) ([]store.ID, error) {
	s := db.Snapshot(account)
	if s == nil || s.Account.Recording.RetentionDays == 0 && s.Account.Recording.QuotaMB == 0 {
		return nil, nil
	}
	policy := s.Account.Recording
	var before, over int64
	if policy.RetentionDays > 0 {
		before = micros(now().AddDate(0, 0, -policy.RetentionDays))
	}
	if policy.QuotaMB > 0 {
		var total int64
		if err := db.read.QueryRowContext(ctx, `SELECT coalesce(sum(size), 0) FROM recordings WHERE account_id = ? AND running = 0`, account).Scan(&total); err != nil {
			return nil, readError("measure recordings", err)
		}
		over = total - int64(policy.QuotaMB)*1e6
	}
	var old []store.ID
	err := each(ctx, db.read, func(scan scanner) error {
		var id store.ID
		var started, size int64
		if err := scan(&id, &started, &size); err != nil {
			return err
		}
		if started < before || over > 0 {
			old = append(old, id)
			over -= size
		}
		return nil
	}, `SELECT id, started_at, size FROM recordings WHERE account_id = ? AND running = 0 ORDER BY started_at, id LIMIT ?`, account, trimBatch)
	return old, readError("list old recordings", err)
}
