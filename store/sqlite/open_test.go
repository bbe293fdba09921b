package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"pbx/store"
)

// refusal opens a directory that must be refused and returns the reason.
func refusal(t *testing.T, dir string) error {
	t.Helper()
	db, err := Open(t.Context(), Options{Dir: dir})
	if err == nil {
		db.Close()
		t.Fatal("opened")
	}
	return err
}

// closedOffice makes a database and closes it.
func closedOffice(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	h := openHouse(t, dir)
	h.office("one")
	must(t, h.Close())
	return dir
}

// TestNobodyElseReads looks at the files beside the key: hashes of passwords are in them.
func TestNobodyElseReads(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(t.Context(), Options{Dir: dir})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	for _, name := range []string{databaseFile, databaseFile + "-wal", databaseFile + "-shm"} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		equal(t, "mode of "+name, info.Mode().Perm(), os.FileMode(0o600))
	}
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(t.Context(), Options{Dir: dir}) // makes the key
	must(t, err)
	must(t, db.Close())
	key := filepath.Join(dir, keyFile)
	info, err := os.Stat(key)
	must(t, err)
	equal(t, "mode", info.Mode().Perm(), os.FileMode(0o600))
	text, err := os.ReadFile(key)
	must(t, err)

	must(t, os.Remove(key))
	if err := refusal(t, dir); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("missing key: %v", err)
	}
	if exists(key) {
		t.Error("a new key was made for an existing database")
	}
	must(t, os.WriteFile(key, bytes.Repeat([]byte("ab"), keySize), 0o600))
	if err := refusal(t, dir); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "belongs to another database") {
		t.Errorf("wrong key: %v", err)
	}
	must(t, os.WriteFile(key, text[:20], 0o600))
	if err := refusal(t, dir); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("damaged key: %v", err)
	}
	must(t, os.WriteFile(key, text, 0o600))
	openHouse(t, dir)
}

func TestStolenDatabaseShowsNoSecret(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	account, _, bob := h.office("one")
	password := string(h.firstDevice(account, bob).Lines[0].Password)
	h.update(account, func(tx *Tx) error {
		a := tx.Account()
		a.PhoneAdminPassword = "the phone's own password"
		return tx.SaveAccount(&a, 0)
	})
	must(t, h.Close())
	file, err := os.ReadFile(filepath.Join(dir, databaseFile))
	must(t, err)
	for _, secret := range []string{password, "token-of-one", "the phone's own password"} {
		if bytes.Contains(file, []byte(secret)) {
			t.Errorf("%q is readable in the file", secret)
		}
	}
	if !bytes.Contains(file, []byte("Ada Lovelace")) {
		t.Error("the file shows nothing at all: this test proves nothing")
	}
}

func TestCiphertextIsBoundToItsRow(t *testing.T) {
	dir := closedOffice(t)
	pool, err := connect(filepath.Join(dir, databaseFile), 1, "")
	must(t, err)
	_, err = pool.Exec(`UPDATE lines SET password_sealed = (SELECT password_sealed FROM lines ORDER BY id DESC LIMIT 1)`)
	must(t, err)
	must(t, pool.Close())
	if err := refusal(t, dir); !strings.Contains(err.Error(), "decrypt password of lines") {
		t.Errorf("a moved password was accepted: %v", err)
	}
}

func TestNewerSchemaIsRefusedUntouched(t *testing.T) {
	dir := closedOffice(t)
	path := filepath.Join(dir, databaseFile)
	pool, err := connect(path, 1, "")
	must(t, err)
	_, err = pool.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`)
	must(t, err)
	must(t, pool.Close())
	before, err := os.ReadFile(path)
	must(t, err)
	if err := refusal(t, dir); !errors.Is(err, ErrNewerSchema) {
		t.Errorf("got %v", err)
	}
	after, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

func TestMigrationBacksUpFirst(t *testing.T) {
	dir := closedOffice(t)
	ctx := t.Context()
	steps := fstest.MapFS{
		"9998_more.sql": {Data: []byte("-- +goose Up\nALTER TABLE users ADD COLUMN nickname TEXT NOT NULL DEFAULT '';\n")},
		"9999_bad.sql":  {Data: []byte("-- +goose Up\nDELETE FROM lines;\nSELECT no_such_function();\n")},
	}
	known, err := filepath.Glob("migrations/*.sql")
	must(t, err)
	for _, name := range known {
		text, err := os.ReadFile(name)
		must(t, err)
		steps[filepath.Base(name)] = &fstest.MapFile{Data: text}
	}
	var current int
	_, err = fmt.Sscanf(filepath.Base(known[len(known)-1]), "%04d_", &current)
	must(t, err)
	pool, err := connect(filepath.Join(dir, databaseFile), 1, "")
	must(t, err)
	defer pool.Close()
	err = migrate(ctx, pool, steps, dir, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("migrate from schema %d to 9999", current)) {
		t.Fatalf("got %v", err)
	}
	version, err := schemaVersion(ctx, pool)
	must(t, err)
	equal(t, "schema after a bad step", version, 9998)
	var lines int
	must(t, pool.QueryRow(`SELECT count(*) FROM lines`).Scan(&lines))
	equal(t, "lines after a bad step", lines, 2)

	backups, err := filepath.Glob(filepath.Join(dir, backupDir, fmt.Sprintf("pbx-schema%d-*.db", current)))
	must(t, err)
	if len(backups) != 1 {
		t.Fatalf("backups: %v", backups)
	}
	info, err := os.Stat(backups[0])
	must(t, err)
	equal(t, "mode of the backup", info.Mode().Perm(), os.FileMode(0o600))
	delete(steps, "9999_bad.sql")
	must(t, os.RemoveAll(filepath.Join(dir, backupDir)))
	must(t, migrate(ctx, pool, steps, dir, slog.New(slog.DiscardHandler)))
	if exists(filepath.Join(dir, backupDir)) {
		t.Error("backed up although nothing was to be done")
	}
}

func TestDamageIsRefused(t *testing.T) {
	dir := closedOffice(t)
	path := filepath.Join(dir, databaseFile)
	good, err := os.ReadFile(path)
	must(t, err)
	for name, bad := range map[string][]byte{
		"no database": []byte(strings.Repeat("This is a letter to my mother. ", 300)),
		"torn page":   append(append(bytes.Clone(good[:8192]), bytes.Repeat([]byte{0xa5}, 4096)...), good[12288:]...),
		"cut off":     good[:len(good)/2],
	} {
		must(t, os.WriteFile(path, bad, 0o600))
		if err := refusal(t, dir); !strings.Contains(err.Error(), "restore a backup") {
			t.Errorf("%s: %v", name, err)
		}
		after, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(after, bad) {
			t.Errorf("%s: the damaged file was changed", name)
		}
	}
	must(t, os.Remove(path))
	if err := refusal(t, dir); !strings.Contains(err.Error(), "pbx.db is missing although secret.key is there") {
		t.Errorf("missing: %v", err)
	}
	if exists(path) {
		t.Error("an empty database took the place of the missing one")
	}
	must(t, os.WriteFile(path, good, 0o600))
	openHouse(t, dir)
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	openHouse(t, dir)
	if err := refusal(t, dir); !strings.Contains(err.Error(), "another pbx process uses this data directory") {
		t.Errorf("got %v", err)
	}
}

func TestBackupUnderLoad(t *testing.T) {
	dir, restored := t.TempDir(), t.TempDir()
	h := openHouse(t, dir)
	ctx := t.Context()
	account, _, bob := h.office("one")
	stop, ended := make(chan struct{}), make(chan int)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				ended <- i
				return
			default:
				_ = h.Update(context.Background(), ada, account, func(tx *Tx) error {
					u, err := tx.User(bob)
					u.Name = fmt.Sprint("Bob ", i)
					return errors.Join(err, tx.SaveUser(&u, 0))
				})
			}
		}
	}()
	must(t, h.Backup(ctx, filepath.Join(restored, databaseFile)))
	must(t, Copy(ctx, dir, filepath.Join(restored, "copy.db")))
	close(stop)
	if <-ended == 0 {
		t.Error("nothing was written meanwhile")
	}
	if err := h.Backup(ctx, filepath.Join(restored, databaseFile)); err == nil {
		t.Error("a backup was overwritten")
	}
	if err := Copy(ctx, t.TempDir(), filepath.Join(restored, "none.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("copied from nowhere: %v", err)
	}
	key, err := os.ReadFile(filepath.Join(dir, keyFile))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(restored, keyFile), key, 0o600))
	again := openHouse(t, restored)
	must(t, again.CheckIntegrity(ctx))
	equal(t, "password on the other machine", string(again.firstDevice(account, bob).Lines[0].Password), string(h.firstDevice(account, bob).Lines[0].Password))
	must(t, again.Close())
	must(t, os.Rename(filepath.Join(restored, "copy.db"), filepath.Join(restored, databaseFile)))
	must(t, openHouse(t, restored).CheckIntegrity(ctx))
}

// TestSchema holds the rules of the design: strict tables, each with an account, and the pragmas on each connection.
func TestSchema(t *testing.T) {
	h := openHouse(t, t.TempDir())
	tables := 0
	must(t, each(t.Context(), h.read, func(scan scanner) error {
		var name string
		var strict bool
		if err := scan(&name, &strict); err != nil {
			return err
		}
		tables++
		if !strict {
			t.Errorf("table %s is not strict", name)
		}
		var owned int
		err := h.write.QueryRow(`SELECT count(*) FROM pragma_table_info(?) WHERE name = 'account_id'`, name).Scan(&owned)
		if owned == 0 && name != "accounts" && name != "vault" && name != "bans" { // there is one door
			t.Errorf("table %s has no account_id", name)
		}
		return err
	}, `SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'goose_%'`))
	if tables < 12 {
		t.Errorf("only %d tables were seen", tables)
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "2500"} {
		for _, pool := range []*sql.DB{h.write, h.read} {
			var got string
			must(t, pool.QueryRow(`PRAGMA `+pragma).Scan(&got))
			equal(t, pragma, got, want)
		}
	}
	if _, err := h.read.Exec(`DELETE FROM users`); err == nil {
		t.Error("a read connection writes")
	}
}

// TestLibc compares the libc that is built in with the one that the driver was tested with: any other may corrupt memory.
func TestLibc(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-json", "modernc.org/sqlite", "modernc.org/libc").Output()
	must(t, err)
	type module struct{ Path, Version, GoMod string }
	var modules []module
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var m module
		must(t, dec.Decode(&m))
		modules = append(modules, m)
	}
	if len(modules) != 2 {
		t.Fatalf("modules: %v", modules)
	}
	mod, err := os.ReadFile(modules[0].GoMod)
	must(t, err)
	tested := regexp.MustCompile(`modernc\.org/libc (v\S+)`).FindSubmatch(mod)
	if tested == nil {
		t.Fatalf("%s names no libc", modules[0].GoMod)
	}
	equal(t, "libc of this build (keep the exclude line in go.mod)", modules[1].Version, string(tested[1]))
}

func TestClosed(t *testing.T) {
	h := openHouse(t, t.TempDir())
	ctx := t.Context()
	account, _, bob := h.office("one")
	must(t, h.Record(ctx, account, store.Activity{Event: "user.list"}))
	must(t, h.Close())
	must(t, h.Close()) // twice is once
	for what, err := range map[string]error{
		"update": h.Update(ctx, ada, account, func(*Tx) error { return nil }),
		"call":   h.StartCall(ctx, &store.CallRecord{ID: "cal_1", AccountID: account}),
		"record": h.Record(ctx, account, store.Activity{}),
		"begin":  h.BeginMessage(ctx, &store.Message{AccountID: account, Mailbox: bob}),
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	again := openHouse(t, h.dir)
	log, _, err := again.Activity(ctx, account, ActivityFilter{Event: []string{"user.list"}}, Page{})
	must(t, err)
	equal(t, "what was queued before the end", len(log), 1)
}
