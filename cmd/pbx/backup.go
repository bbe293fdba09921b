package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"pbx/store/sqlite"
)

// The parts of the data directory that a backup holds: the first two always, the folders when they are there.
const (
	databaseName = "pbx.db"
	keyName      = "secret.key"
)

var backedUp = []string{"voicemail", "clips", "recordings", "prompts", "tls"}

// backup writes the whole data directory, consistent even while the system runs, into one file that appears only when it is complete.
func backup(ctx context.Context, cfg *config, file string, w io.Writer) (err error) {
	if _, err := os.Stat(filepath.Join(cfg.data, databaseName)); err != nil {
		return fmt.Errorf("backup: %s holds no database: %w", cfg.data, err)
	}
	// The copy of the database holds secrets: it lies beside the result, for its owner only, and goes away.
	tmp, err := os.MkdirTemp(filepath.Dir(file), ".pbx-backup-*")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer os.RemoveAll(tmp)
	dbCopy := filepath.Join(tmp, databaseName)
	if err := sqlite.Copy(ctx, cfg.data, dbCopy); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	part := filepath.Join(tmp, "backup")
	out, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err = errors.Join(writeArchive(out, cfg.data, dbCopy), out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := os.Rename(part, file); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	st, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	fmt.Fprintf(w, "Wrote %s (%.1f MB). It holds passwords: keep it where only you can read it.\n", file, float64(st.Size())/1e6)
	return nil
}

func writeArchive(out io.Writer, data, dbCopy string) error {
	zip := gzip.NewWriter(out)
	archive := tar.NewWriter(zip)
	if err := addFile(archive, dbCopy, databaseName); err != nil {
		return err
	}
	if err := addFile(archive, filepath.Join(data, keyName), keyName); err != nil {
		return err
	}
	for _, part := range backedUp {
		if err := addFolder(archive, filepath.Join(data, part), part); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zip.Close())
}

// addFolder adds the files of a folder. People put voicemail on another disk and certificates where another program
// renews them, so links to folders and files are followed.
func addFolder(archive *tar.Writer, folder, name string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		file, inside := filepath.Join(folder, e.Name()), path.Join(name, e.Name())
		st, err := os.Stat(file)
		switch {
		case err == nil && e.IsDir():
			err = addFolder(archive, file, inside)
		case err == nil && st.Mode().IsRegular():
			err = addFile(archive, file, inside)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a message may be deleted while we copy
			return err
		}
	}
	return nil
}

func addFile(archive *tar.Writer, file, name string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, Mode: 0o600, Size: st.Size(), ModTime: st.ModTime(), Typeflag: tar.TypeReg}
	if err := archive.WriteHeader(h); err != nil {
		return err
	}
	// A message being recorded grows while it is copied; the copy ends where it ended at the start.
	_, err = io.CopyN(archive, f, st.Size())
	return err
}

// restore reads a backup into an empty data directory and checks it.
func restore(ctx context.Context, cfg *config, file string, w io.Writer) error {
	entries, err := os.ReadDir(cfg.data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("restore: %s is not empty; move it away or name another directory with --data", cfg.data)
	}
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer in.Close()
	if err := unpack(ctx, in, cfg.data); err != nil {
		return fmt.Errorf("restore %s: %w", file, errors.Join(err, empty(cfg.data)))
	}
	fmt.Fprintf(w, "Restored %s into %s. Start it with: pbx serve --data %s\n", file, cfg.data, cfg.data)
	return nil
}

// unpack reads an archive and checks it. The database gets its name last: what was cut off in the middle does not start.
func unpack(ctx context.Context, in io.Reader, data string) error {
	if err := readArchive(ctx, in, data); err != nil {
		return err
	}
	err := os.Rename(filepath.Join(data, unfinished), filepath.Join(data, databaseName))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("this is no backup: it holds no database")
	}
	if err != nil {
		return err
	}
	return sqlite.Inspect(ctx, data)
}

// unfinished is the database while the rest is being restored.
const unfinished = databaseName + ".restoring"

// empty removes what a restore that failed has left, so that another one can be tried.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

func readArchive(ctx context.Context, in io.Reader, data string) error {
	zip, err := gzip.NewReader(in)
	if err != nil {
		return fmt.Errorf("this is no backup: %w", err)
	}
	archive := tar.NewReader(zip)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg || !restorable(h.Name) {
			return fmt.Errorf("this is no backup of ours: it holds %q", h.Name)
		}
		name := h.Name
		if name == databaseName {
			name = unfinished
		}
		if err := extract(archive, filepath.Join(data, filepath.FromSlash(name))); err != nil {
			return err
		}
	}
}

// restorable says whether a name in an archive is one that backup writes; nothing else leaves the archive.
func restorable(name string) bool {
	if !filepath.IsLocal(name) || path.Clean(name) != name || strings.Contains(name, `\`) {
		return false
	}
	folder, _, inside := strings.Cut(name, "/")
	return name == databaseName || name == keyName || inside && slices.Contains(backedUp, folder)
}

func extract(from io.Reader, file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Sync(), f.Close())
}
