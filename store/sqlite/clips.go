package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pbx/store"
)

const clipColumns = `id, account_id, version, name, duration_ms, rate, size, loudness, peaks, created_at, updated_at`

func scanClip(scan scanner) (store.AudioClip, error) {
	var c store.AudioClip
	var duration, created, updated int64
	err := scan(&c.ID, &c.AccountID, &c.Version, &c.Name, &duration, &c.Rate, &c.Size, &c.Loudness, &c.Peaks, &created, &updated)
	c.Duration = time.Duration(duration) * time.Millisecond
	c.CreatedAt, c.UpdatedAt = fromMicros(created), fromMicros(updated)
	return c, err
}

func clipFields(c *store.AudioClip) []field {
	return []field{
		{name: "name", value: c.Name},
		{name: "duration_s", value: c.Duration.Seconds()},
	}
}

// ClipPath is where the sound of a clip is.
func (db *DB) ClipPath(id store.ID) string { return db.soundPath(clipDir, id) }

func (db *DB) soundPath(dir string, id store.ID) string {
	return filepath.Join(db.dir, dir, filepath.Base(string(id))+".wav")
}

// staged is the beginning of the names of files that are still being made.
const staged = "staged-"

// StageSound makes an empty file for a sound that may become a clip. Whoever asked removes it; CreateClip takes it away before.
func (db *DB) StageSound() (*os.File, error) {
	f, err := os.CreateTemp(filepath.Join(db.dir, clipDir), staged)
	if err != nil {
		return nil, fmt.Errorf("stage sound: %w", failure(err))
	}
	return f, nil
}

// Clips lists the clips of an account, newest first. The query looks into the name.
func (db *DB) Clips(ctx context.Context, account store.ID, p Page) ([]store.AudioClip, string, error) {
	var w where
	w.and("account_id = ?", account)
	if p.Cursor != "" {
		w.and("id < ?", p.Cursor)
	}
	if p.Query != "" {
		w.and("instr(lower(name), ?) > 0", strings.ToLower(p.Query))
	}
	items := []store.AudioClip{}
	err := each(ctx, db.read, func(scan scanner) error {
		c, err := scanClip(scan)
		items = append(items, c)
		return err
	}, `SELECT `+clipColumns+` FROM audio_clips`+w.text+` ORDER BY id DESC LIMIT ?`, append(w.args, limit(p)+1)...)
	if err != nil {
		return nil, "", readError("list clips", err)
	}
	items, next := cut(p, items, func(c *store.AudioClip) string { return string(c.ID) })
	return items, next, nil
}

// Clip returns a clip of the account.
func (db *DB) Clip(ctx context.Context, account, id store.ID) (store.AudioClip, error) {
	c, err := clipOf(ctx, db.read, account, id)
	return c, readError("read clip", err)
}

func clipOf(ctx context.Context, q querier, account, id store.ID) (store.AudioClip, error) {
	return scanClip(q.QueryRowContext(ctx, `SELECT `+clipColumns+` FROM audio_clips WHERE id = ? AND account_id = ?`, id, account).Scan)
}

// Clip returns a clip as this transaction sees it.
func (tx *Tx) Clip(id store.ID) (store.AudioClip, error) {
	c, err := clipOf(tx.ctx, tx.sql, tx.id, id)
	return c, readError("read clip", err)
}

// CreateClip adds a clip whose sound is in a staged file, complete and synced. The file gets its name before the row is
// committed: a row without sound would be worse than a file that the next start removes.
func (tx *Tx) CreateClip(c *store.AudioClip, stagedPath string) error {
	if err := tx.need(); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return err
	}
	var n int
	if err := tx.sql.QueryRowContext(tx.ctx, `SELECT count(*) FROM audio_clips WHERE account_id = ?`, tx.id).Scan(&n); err != nil {
		return fmt.Errorf("count clips: %w", err)
	}
	if n >= store.MaxClips {
		return store.ConflictError{Field: "name", Problem: fmt.Sprintf("There are %d clips already. Delete some first.", n)}
	}
	c.ID, c.AccountID = store.NewID(store.PrefixClip), tx.id
	c.Version, c.CreatedAt, c.UpdatedAt = 1, tx.at, tx.at
	path := tx.db.ClipPath(c.ID)
	if err := os.Rename(stagedPath, path); err != nil {
		return fmt.Errorf("keep clip: %w", err)
	}
	tx.placed = append(tx.placed, path)
	if err := syncFile(filepath.Dir(path)); err != nil {
		return fmt.Errorf("keep clip: %w", err)
	}
	err := tx.exec("save clip", `INSERT INTO audio_clips (`+clipColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?,?)`,
		c.ID, c.AccountID, c.Version, c.Name, c.Duration.Milliseconds(), c.Rate, c.Size, c.Loudness, c.Peaks, micros(c.CreatedAt), micros(c.UpdatedAt))
	if err != nil {
		return err
	}
	tx.changedObject("clip", "create", c.ID, c.Version, nil, difference(nil, clipFields(c)))
	return nil
}

// SaveClip gives a clip another name; its sound stays.
func (tx *Tx) SaveClip(c *store.AudioClip, ifVersion int64) error {
	before, err := tx.Clip(c.ID)
	if err != nil {
		return err
	}
	if err := stale(ifVersion, before.Version); err != nil {
		return err
	}
	name := c.Name
	*c = before
	c.Name, c.Version, c.UpdatedAt = name, before.Version+1, tx.at
	if err := c.Validate(); err != nil {
		return err
	}
	if err := tx.exec("save clip", `UPDATE audio_clips SET name = ?, version = ?, updated_at = ? WHERE id = ?`, c.Name, c.Version, micros(c.UpdatedAt), c.ID); err != nil {
		return err
	}
	tx.changedObject("clip", "update", c.ID, c.Version, nil, difference(clipFields(&before), clipFields(c)))
	return nil
}

// DeleteClip removes a clip that nothing plays; its sound goes after the commit.
func (tx *Tx) DeleteClip(id store.ID, ifVersion int64) error {
	c, err := tx.Clip(id)
	if err != nil {
		return err
	}
	if err := stale(ifVersion, c.Version); err != nil {
		return err
	}
	if users := tx.clipUsers(id); len(users) > 0 {
		more := ""
		if n := len(users) - listed; n > 0 {
			more, users = fmt.Sprintf(" and %d more", n), users[:listed]
		}
		return store.ConflictError{Field: "id", Problem: fmt.Sprintf("%s is hold music or greeting of %s%s. Choose another one there first.", c.Name, strings.Join(users, ", "), more), With: id}
	}
	if err := tx.exec("delete clip", `DELETE FROM audio_clips WHERE id = ?`, id); err != nil {
		return err
	}
	tx.gone = append(tx.gone, tx.db.ClipPath(id))
	tx.changedObject("clip", "delete", id, c.Version, nil, difference(clipFields(&c), nil))
	return nil
}

// clipUsers names who plays a clip.
func (tx *Tx) clipUsers(id store.ID) []string {
	var names []string
	if tx.account.HoldMusicClipID == id {
		names = append(names, "the account")
	}
	for _, u := range tx.Users() {
		g := u.Voicemail.Greetings
		if id == u.HoldMusicClipID || id == g.Unavailable || id == g.Busy || id == g.Temporary {
			names = append(names, u.Name)
		}
	}
	for _, n := range tx.Numbers() {
		if n.HoldMusicClipID == id {
			names = append(names, n.Number)
		}
	}
	return names
}

// checkClip refuses a clip that the account does not have.
func (tx *Tx) checkClip(field string, id store.ID) error {
	if id == "" {
		return nil
	}
	_, err := tx.Clip(id)
	if errors.Is(err, store.ErrNotFound) {
		return store.FieldErrors{{Field: field, Problem: "This audio clip does not exist."}}
	}
	return err
}

// removeFiles deletes files. What cannot be deleted is tried again at the next start.
func (db *DB) removeFiles(paths []string) {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			db.log.Warn("sound file not removed", "path", path, "err", err)
		}
	}
}

// removeLeftoverSounds deletes files of clips and recordings that belong to no row, and those that were being made.
func (db *DB) removeLeftoverSounds(ctx context.Context) {
	for _, kind := range []struct{ dir, table, prefix string }{{clipDir, "audio_clips", store.PrefixClip}, {recordingDir, "recordings", store.PrefixRecording}} {
		known := make(map[string]bool)
		err := each(ctx, db.read, func(scan scanner) error {
			var id string
			err := scan(&id)
			known[id] = true
			return err
		}, `SELECT id FROM `+kind.table)
		files, reading := os.ReadDir(filepath.Join(db.dir, kind.dir))
		if err := errors.Join(err, reading); err != nil {
			db.log.Warn("sound files not listed", "dir", kind.dir, "err", err)
			continue
		}
		for _, f := range files {
			id, wav := strings.CutSuffix(f.Name(), ".wav")
			if strings.HasPrefix(f.Name(), staged) || wav && strings.HasPrefix(id, kind.prefix) && !known[id] {
				db.removeFiles([]string{filepath.Join(db.dir, kind.dir, f.Name())})
			}
		}
	}
}
