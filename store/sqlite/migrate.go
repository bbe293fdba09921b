package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var embedded embed.FS

// migrations are the numbered steps of the schema; one that was released is never edited.
func migrations() fs.FS {
	steps, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(err) // the name is a constant
	}
	return steps
}

// ErrNewerSchema says that a later version of the program has written this database.
var ErrNewerSchema = errors.New("the database was written by a newer version of this program")

// migrate brings the schema up to date: each step in its own transaction, a
// backup first when there is something to lose, and not a byte written to a
// database of a newer program.
func migrate(ctx context.Context, pool *sql.DB, steps fs.FS, dir string, log *slog.Logger) error {
	p, err := goose.NewProvider(goose.DialectSQLite3, pool, steps,
		goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	sources := p.ListSources()
	latest := sources[len(sources)-1].Version
	current, err := schemaVersion(ctx, pool)
	if err != nil {
		return err
	}
	if current > latest {
		return fmt.Errorf("%w: its schema is %d, this program knows up to %d", ErrNewerSchema, current, latest)
	}
	if current == latest {
		return nil
	}
	if current > 0 {
		path := filepath.Join(dir, backupDir, fmt.Sprintf("pbx-schema%d-%s.db", current, time.Now().UTC().Format("20060102T150405Z")))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := vacuumInto(ctx, pool, path); err != nil {
			return fmt.Errorf("back up before migration: %w", err)
		}
		log.Info("database backed up before migration", "path", path, "from", current, "to", latest)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate from schema %d to %d: %w", current, latest, err)
	}
	return nil
}

// schemaVersion reads the number of the last migration; 0 for a new database. Unlike goose's own question it writes nothing.
func schemaVersion(ctx context.Context, pool *sql.DB) (int64, error) {
	var tables int
	err := pool.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = ?`, goose.DefaultTablename).Scan(&tables)
	if err != nil || tables == 0 {
		return 0, err
	}
	var version int64
	err = pool.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM `+goose.DefaultTablename+` WHERE is_applied`).Scan(&version)
	return version, err
}
