package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs one command of the product.
func command(t *testing.T, args ...string) error {
	t.Helper()
	return run(t.Context(), args, nil, io.Discard, io.Discard)
}

// put writes a file with the folders above it.
func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestBackupFollowsLinks keeps voicemail that lies on another disk and a certificate that another program renews.
func TestBackupFollowsLinks(t *testing.T) {
	dir, disk, renewed := t.TempDir(), filepath.Join(t.TempDir(), "voicemail"), filepath.Join(t.TempDir(), "fullchain.pem")
	_, _, stop := serving(t, dir)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(disk, "msg_1.wav"), "sound")
	put(t, renewed, "certificate")
	put(t, filepath.Join(dir, "prompts", "en", "goodbye.wav"), "ours")
	if err := os.Remove(filepath.Join(dir, "voicemail")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "tls"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"voicemail": disk, "tls/cert.pem": renewed, "tls/gone.pem": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	file, elsewhere := filepath.Join(t.TempDir(), "backup.tgz"), filepath.Join(t.TempDir(), "other")
	if err := command(t, "backup", "--data", dir, file); err != nil {
		t.Fatal(err)
	}
	if err := command(t, "restore", "--data", elsewhere, file); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"voicemail/msg_1.wav": "sound", "tls/cert.pem": "certificate", "prompts/en/goodbye.wav": "ours"} {
		if got, err := os.ReadFile(filepath.Join(elsewhere, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// Without the key nobody can read the phones' passwords: such a backup is none.
	if err := os.Remove(filepath.Join(dir, "secret.key")); err != nil {
		t.Fatal(err)
	}
	if err := command(t, "backup", "--data", dir, file+"2"); err == nil || !strings.Contains(err.Error(), "secret.key") {
		t.Errorf("backup without the key: %v", err)
	}
}

// TestRestoreLeavesNothingHalf proves that a damaged backup leaves an empty directory, in which another one can be tried.
func TestRestoreLeavesNothingHalf(t *testing.T) {
	dir, elsewhere, file := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "backup.tgz")
	_, _, stop := serving(t, dir)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "voicemail", "msg_1.wav"), strings.Repeat("0123456789", 1000))
	if err := command(t, "backup", "--data", dir, file); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	put(t, file+".cut", string(whole[:len(whole)-20]))
	if err := command(t, "restore", "--data", elsewhere, file+".cut"); err == nil {
		t.Error("half a backup was restored")
	}
	if left, err := os.ReadDir(elsewhere); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := command(t, "restore", "--data", elsewhere, file); err != nil {
		t.Error(err)
	}
}
