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
	"strings"

	"pbx/store/sqlite"
)

// backedUp are the parts of the data directory that a backup holds beside the database.
var backedUp = []string{"secret.key", "voicemail", "prompts", "tls"}

// backup writes the whole data directory, consistent even while the system runs, into one file that appears only when it is complete.
func backup(ctx context.Context, cfg *config, file string, w io.Writer) (err error) {
	if _, err := os.Stat(filepath.Join(cfg.data, "pbx.db")); err != nil {
		return fmt.Errorf("backup: %s holds no database: %w", cfg.data, err)
	}
	// The copy of the database holds secrets: it lies beside the result, for its owner only, and goes away.
	tmp, err := os.MkdirTemp(filepath.Dir(file), ".pbx-backup-*")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer os.RemoveAll(tmp)
	dbCopy := filepath.Join(tmp, "pbx.db")
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
	if err := addFile(archive, dbCopy, "pbx.db"); err != nil {
		return err
	}
	for _, part := range backedUp {
		err := filepath.WalkDir(filepath.Join(data, part), func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // never existed, or a message deleted while we copy
			}
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			rel, err := filepath.Rel(data, p)
			if err != nil {
				return err
			}
			if err := addFile(archive, p, filepath.ToSlash(rel)); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zip.Close())
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
	if err := readArchive(in, cfg.data); err != nil {
		return fmt.Errorf("restore %s: %w", file, err)
	}
	if err := sqlite.Inspect(ctx, cfg.data); err != nil {
		return fmt.Errorf("restore %s: %w", file, err)
	}
	fmt.Fprintf(w, "Restored %s into %s. Start it with: pbx serve --data %s\n", file, cfg.data, cfg.data)
	return nil
}

func readArchive(in io.Reader, data string) error {
	zip, err := gzip.NewReader(in)
	if err != nil {
		return fmt.Errorf("this is no backup: %w", err)
	}
	archive := tar.NewReader(zip)
	for {
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
		if err := extract(archive, filepath.Join(data, filepath.FromSlash(h.Name))); err != nil {
			return err
		}
	}
}

// restorable says whether a name in an archive is one that backup writes; nothing else leaves the archive.
func restorable(name string) bool {
	if !filepath.IsLocal(name) || path.Clean(name) != name || strings.Contains(name, `\`) {
		return false
	}
	first, _, _ := strings.Cut(name, "/")
	if name == "pbx.db" {
		return true
	}
	for _, part := range backedUp {
		if first == part {
			return true
		}
	}
	return false
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
