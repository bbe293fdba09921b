package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the database driver

	"pbx/event"
	"pbx/store"
)

const (
	databaseFile = "pbx.db"
	keyFile      = "secret.key"
	lockFile     = "pbx.lock"
	voicemailDir = "voicemail"
	clipDir      = "clips"
	recordingDir = "recordings"
	backupDir    = "backups"
)

// patience is how long a write may take before the caller gets an error.
// Half of it may pass until it is our turn, half of it while another process
// holds the database.
const patience = 5 * time.Second

// readers is the size of the pool of read connections.
const readers = 4

// Options is what a database needs from the house.
type Options struct {
	Dir   string                      // data directory; holds pbx.db, secret.key, voicemail/, clips/, recordings/, backups/
	Bus   *event.Bus                  // where news of changes goes; may be nil
	Check func(*store.Snapshot) error // asked inside the transaction; an error refuses the change; may be nil
	Log   *slog.Logger                // may be nil
}

// DB is the store of one data directory. Its methods are safe for concurrent use.
type DB struct {
	dir   string
	bus   *event.Bus
	check func(*store.Snapshot) error
	log   *slog.Logger
	vault *vault
	lock  io.Closer

	write *sql.DB // one connection, used only by the holder of turn
	read  *sql.DB

	// turn has one place: who holds it may write, and afterwards swaps what is
	// in memory and publishes, so that news come in the order of the commits.
	turn chan struct{}

	world  atomic.Pointer[world]
	counts counts
	queue  *queue

	// Of write: to parse these anew for each call costs as much as to run them.
	upsertCall, insertTrace, savepoint, releaseJob *sql.Stmt

	// What follows belongs to the holder of turn.
	merged   merger
	recorded int // activity entries of this life
	traced   int // traces of this life

	closing sync.Once
}

// Open opens or creates the database in o.Dir. It locks the directory, checks
// the integrity of the file, refuses a schema newer than this program, backs up
// before it migrates an older one, removes leftover voicemail files, and loads
// all settings into memory.
func Open(ctx context.Context, o Options) (*DB, error) {
	db, err := open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("open database in %s: %w", o.Dir, failure(err))
	}
	return db, nil
}

func open(ctx context.Context, o Options) (_ *DB, err error) {
	db := &DB{dir: o.Dir, bus: o.Bus, check: o.Check, log: o.Log, turn: make(chan struct{}, 1)}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			db.release()
		}
	}()
	for _, dir := range []string{voicemailDir, clipDir, recordingDir} {
		if err := os.MkdirAll(filepath.Join(o.Dir, dir), 0o700); err != nil {
			return nil, err
		}
	}
	if db.lock, err = lockDir(filepath.Join(o.Dir, lockFile)); err != nil {
		return nil, err
	}
	path := filepath.Join(o.Dir, databaseFile)
	isNew, err := missingOrEmpty(path)
	if err != nil {
		return nil, err
	}
	if isNew && exists(filepath.Join(o.Dir, keyFile)) {
		// The key is made after the database, so there was one. Beginning with an empty one would hide the loss.
		return nil, fmt.Errorf("%s is missing although %s is there: restore a backup, or remove %s to begin anew", databaseFile, keyFile, keyFile)
	}
	// It holds what people's passwords are checked against. SQLite gives its other files the mode of this one.
	if err := private(path); err != nil {
		return nil, err
	}
	if db.write, err = connect(path, 1, ""); err != nil {
		return nil, err
	}
	if !isNew {
		if err := quickCheck(ctx, db.write); err != nil {
			return nil, err
		}
	}
	if err := migrate(ctx, db.write, migrations(), db.dir, db.log); err != nil {
		return nil, err
	}
	if db.vault, err = openVault(ctx, db.write, filepath.Join(o.Dir, keyFile)); err != nil {
		return nil, err
	}
	if db.read, err = connect(path, readers, "&_pragma=query_only(1)"); err != nil {
		return nil, err
	}
	if err := db.load(ctx); err != nil {
		return nil, err
	}
	// Checking the file and loading filled the caches with pages that are not needed again.
	for _, pool := range []*sql.DB{db.write, db.read} {
		if _, err := pool.ExecContext(ctx, `PRAGMA shrink_memory`); err != nil {
			return nil, err
		}
	}
	for _, p := range []struct {
		stmt  **sql.Stmt
		query string
	}{{&db.upsertCall, upsertCall}, {&db.insertTrace, insertTrace}, {&db.savepoint, `SAVEPOINT job`}, {&db.releaseJob, `RELEASE job`}} {
		if *p.stmt, err = db.write.PrepareContext(ctx, p.query); err != nil {
			return nil, err
		}
	}
	db.removeLeftovers(ctx)
	db.removeLeftoverSounds(ctx)
	db.queue = startQueue(db)
	return db, nil
}

// Close ends the writer after what was queued is written, and closes the file.
func (db *DB) Close() error {
	var err error
	db.closing.Do(func() {
		db.queue.close()
		db.turn <- struct{}{} // a running Update ends first
		err = db.release()
		db.yield()
	})
	if err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// release closes whatever is open.
func (db *DB) release() error {
	var errs []error
	if db.read != nil {
		errs = append(errs, db.read.Close())
	}
	for _, s := range []*sql.Stmt{db.upsertCall, db.insertTrace, db.savepoint, db.releaseJob} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	if db.write != nil {
		errs = append(errs, db.write.Close())
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
	}
	return errors.Join(errs...)
}

// connect opens a pool. The pragmas are part of the name, so each connection has them; busy_timeout first, because the others may already have to wait.
func connect(path string, size int, more string) (*sql.DB, error) {
	name := "file:" + (&url.URL{Path: path}).EscapedPath() +
		fmt.Sprintf("?_pragma=busy_timeout(%d)", (patience/2).Milliseconds()) +
		"&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)" +
		"&_pragma=journal_size_limit(67108864)" + // a long backup must not leave a large log behind
		"&_pragma=wal_autocheckpoint(4000)" + // pages: what calls change again and again is carried over once
		"&_txlock=immediate" + more
	pool, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool, nil
}

// private makes sure that the file is there and that nobody but its owner reads it.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	_ = f.Chmod(0o600) // one of an earlier start, or of a copy; some file systems have no modes
	return f.Close()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func missingOrEmpty(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return info.Size() == 0, nil
}

// acquire waits for the turn to write. The caller must call db.yield.
func (db *DB) acquire(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	select {
	case db.turn <- struct{}{}:
	case <-wait.Done():
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return store.ErrBusy
	}
	if db.queue.closed() {
		db.yield()
		return store.ErrClosed
	}
	return nil
}

func (db *DB) yield() { <-db.turn }

// publish tells news, if anybody listens.
func (db *DB) publish(news []event.News) {
	if db.bus != nil {
		db.bus.Publish(news...)
	}
}

// now is the present in the precision of the database.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// micros and fromMicros store a time; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// clip shortens text of the network to at most n characters of valid UTF-8.
func clip(s string, n int) string {
	i := 0
	for at := range s {
		if i == n {
			s = s[:at]
			break
		}
		i++
	}
	return validUTF8(s)
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.read.PingContext(ctx); err != nil {
		return fmt.Errorf("ping database: %w", failure(err))
	}
	var one int
	return db.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one)
}
