package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pbx/store"
)

// Backup writes a consistent copy of the database to path while calls go on.
// The copy holds secrets only encrypted: without secret.key nobody can use them.
func (db *DB) Backup(ctx context.Context, path string) error {
	return Copy(ctx, db.dir, path)
}

// Copy writes a consistent copy of the database in dir to path, also while another process uses it.
func Copy(ctx context.Context, dir, path string) error {
	source := filepath.Join(dir, databaseFile)
	if _, err := os.Stat(source); err != nil {
		return fmt.Errorf("back up database: %w", err)
	}
	pool, err := connect(source, 1, "") // not query_only: that forbids writing the copy too
	if err != nil {
		return fmt.Errorf("back up database: %w", err)
	}
	defer pool.Close()
	if err := vacuumInto(ctx, pool, path); err != nil {
		return fmt.Errorf("back up database: %w", failure(err))
	}
	return nil
}

// vacuumInto copies into a temporary file and renames it, so that a file of the wanted name is always whole.
func vacuumInto(ctx context.Context, pool *sql.DB, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s exists already", path)
	}
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	defer os.Remove(tmp)
	// An existing empty file lets us choose the mode before the first byte is in it.
	if err := os.WriteFile(tmp, nil, 0o600); err != nil {
		return err
	}
	if _, err := pool.ExecContext(ctx, `VACUUM INTO ?`, tmp); err != nil {
		return err
	}
	return syncAndRename(tmp, path)
}

// syncAndRename gives a finished file its name: file synced, renamed, directory synced.
func syncAndRename(tmp, path string) error {
	if err := syncFile(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncFile(filepath.Dir(path))
}

// syncFile brings a file's content, or a directory's names, to the disk.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// CheckIntegrity reads the whole database and reports the first thing that is wrong with it.
func (db *DB) CheckIntegrity(ctx context.Context) error {
	if err := pragmaCheck(ctx, db.read, "integrity_check"); err != nil {
		return err
	}
	rows, err := db.read.QueryContext(ctx, `PRAGMA foreign_key_check`)
	if err != nil {
		return fmt.Errorf("check integrity: %w", failure(err))
	}
	defer rows.Close()
	if rows.Next() {
		var table, parent string
		var rowid, fk sql.NullInt64
		if err := rows.Scan(&table, &rowid, &parent, &fk); err != nil {
			return fmt.Errorf("check integrity: %w", err)
		}
		return fmt.Errorf("the database is damaged: a row of %s refers to nothing in %s", table, parent)
	}
	return rows.Err()
}

// quickCheck is the check at start: all pages are read, indexes are not compared with tables.
func quickCheck(ctx context.Context, pool *sql.DB) error {
	return pragmaCheck(ctx, pool, "quick_check")
}

func pragmaCheck(ctx context.Context, pool *sql.DB, pragma string) error {
	rows, err := pool.QueryContext(ctx, `PRAGMA `+pragma+`(5)`)
	if err != nil {
		return unreadable(err)
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return fmt.Errorf("check integrity: %w", failure(err))
		}
		if line != "ok" {
			found = append(found, line)
		}
	}
	if err := rows.Err(); err != nil {
		return unreadable(err)
	}
	if len(found) > 0 {
		return fmt.Errorf("the database is damaged: %s; restore a backup", strings.Join(found, "; "))
	}
	return nil
}

// unreadable tells what to do about a database that cannot be read; when the disk is the trouble, a backup is no help.
func unreadable(err error) error {
	err = failure(err)
	if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrReadOnly) || errors.Is(err, store.ErrBusy) {
		return err
	}
	return fmt.Errorf("the database cannot be read: %w; restore a backup", err)
}
