package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// console is a writer that tests read while the product writes.
type console struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newConsole() *console { return &console{more: make(chan struct{}, 1)} }

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(b)
	select {
	case c.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (c *console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// serving runs the product in this process on free ports until the test ends, and returns what the console says.
func serving(t *testing.T, dir string, more ...string) (out, logs *console, stop func() error) {
	t.Helper()
	out, logs = newConsole(), newConsole()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	args := append([]string{"--data", dir, "--http", "127.0.0.1:0", "--sip-udp", "127.0.0.1:0,[::1]:0", "--sip-tcp", "127.0.0.1:0", "--sip-tls=", "--rtp-ports", "0"}, more...)
	go func() { done <- run(ctx, args, nil, out, logs) }()
	for !strings.Contains(out.String(), "  data ") {
		select {
		case <-out.more:
		case err := <-done:
			t.Fatalf("the product ended while starting: %v\n%s", err, logs)
		}
	}
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	return out, logs, stop
}

// get fetches a page without keeping the connection.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestServeStartsOnFreePortsAndStops(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	out, logs, stop := serving(t, dir, "--https", "127.0.0.1:0", "--log-format", "json")
	base := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(out.String())
	secure := regexp.MustCompile(`https://127\.0\.0\.1:\d+`).FindString(out.String())
	for _, url := range []string{base, secure} {
		for path, want := range map[string]string{
			"/healthz": "ok", "/readyz": "ready", "/metrics": "pbx_calls 0", "/api/v1/setup": `"needed":true`, "/": "<!doctype html>",
		} {
			if status, body := get(t, url+path); status != 200 || !strings.Contains(strings.ToLower(body), strings.ToLower(want)) {
				t.Errorf("%s%s: %d %.200q", url, path, status, body)
			}
		}
	}
	if !regexp.MustCompile(`code: [A-Z2-9]{4}-[A-Z2-9]{4}-`).MatchString(out.String()) {
		t.Errorf("the console shows no set-up code:\n%s", out)
	}
	for _, want := range []string{`sip\s+udp 127\.0\.0\.1:\d+`, `sip\s+udp \[::1\]:\d+`, `sip\s+tcp 127\.0\.0\.1:\d+`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the console does not show %s:\n%s", want, out)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "secret.key")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("secret.key: %v %v", st, err)
	}
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	if !strings.Contains(logs.String(), `"msg":"stopped"`) {
		t.Errorf("the log does not tell of the end:\n%s", logs)
	}
}

func TestServeUnattended(t *testing.T) {
	dir := t.TempDir()
	out := newConsole()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	env := []string{"PBX_ADMIN_EMAIL=root@acme.test", "PBX_ADMIN_PASSWORD=correct horse battery", "PBX_HTTP=127.0.0.1:0", "PBX_SIP_UDP=127.0.0.1:0", "PBX_SIP_TCP=127.0.0.1:0", "PBX_RTP_PORTS=0", "PBX_DATA=" + dir}
	go func() { done <- run(ctx, nil, env, out, io.Discard) }()
	for !strings.Contains(out.String(), "  data ") {
		select {
		case <-out.more:
		case err := <-done:
			t.Fatal(err)
		}
	}
	base := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(out.String())
	if _, body := get(t, base+"/api/v1/setup"); !strings.Contains(body, `"needed":false`) {
		t.Errorf("set-up is still asked for: %s", body)
	}
	if strings.Contains(out.String(), "code:") {
		t.Error("a set-up code is shown although nobody needs it")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestBackupAndRestore(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "other")
	_, _, stop := serving(t, dir)
	file := filepath.Join(t.TempDir(), "backup.tgz")
	var said bytes.Buffer
	if err := run(t.Context(), []string{"backup", "--data", dir, file}, nil, &said, io.Discard); err != nil {
		t.Fatal("backup while running:", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("backup file: %v %v", st, err)
	}
	if err := run(t.Context(), []string{"restore", "--data", elsewhere, file}, nil, &said, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"restore", "--data", elsewhere, file}, nil, &said, io.Discard); err == nil {
		t.Error("restore into a directory with data succeeded")
	}
	serving(t, elsewhere)
}

func TestRestoreTakesOnlyWhatBackupWrites(t *testing.T) {
	for name, want := range map[string]bool{
		"pbx.db": true, "secret.key": true, "voicemail/msg_1.wav": true, "tls/key.pem": true,
		"../pbx.db": false, "/etc/passwd": false, "voicemail/../../x": false, "other": false, "pbx.db/x": false, `voicemail\..\x`: false, "": false,
	} {
		if got := restorable(name); got != want {
			t.Errorf("restorable(%q) = %v", name, got)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.tgz")
	if err := os.WriteFile(bad, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"restore", "--data", t.TempDir(), bad}, nil, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "no backup") {
		t.Errorf("restore of nonsense: %v", err)
	}
}

func TestCheckNamesWhatToMend(t *testing.T) {
	dir := t.TempDir()
	out, _, stop := serving(t, dir)
	taken := regexp.MustCompile(`http://(127\.0\.0\.1:\d+)`).FindStringSubmatch(out.String())[1]
	var said bytes.Buffer
	err := run(t.Context(), []string{"check", "--data", dir, "--http", taken, "--sip-udp", "127.0.0.1:0", "--sip-tcp", "127.0.0.1:0", "--sip-tls=", "--rtp-ports", "0"}, nil, &said, io.Discard)
	if !errors.Is(err, errReported) || !strings.Contains(said.String(), "--http") {
		t.Errorf("check does not name the taken port: %v\n%s", err, &said)
	}
	if !strings.Contains(said.String(), "integrity is good") {
		t.Errorf("check does not look into the database:\n%s", &said)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "secret.key")); err != nil {
		t.Fatal(err)
	}
	said.Reset()
	_ = run(t.Context(), []string{"check", "--data", dir, "--http", "127.0.0.1:0", "--sip-udp", "127.0.0.1:0", "--sip-tcp", "127.0.0.1:0", "--sip-tls=", "--rtp-ports", "0"}, nil, &said, io.Discard)
	if !strings.Contains(said.String(), "secret.key is missing") {
		t.Errorf("check does not miss the key file:\n%s", &said)
	}
}

func TestUnknownCommand(t *testing.T) {
	var said bytes.Buffer
	if err := run(t.Context(), []string{"reload"}, nil, io.Discard, &said); err == nil || !strings.Contains(said.String(), "usage: pbx") {
		t.Errorf("%v %s", err, &said)
	}
	said.Reset()
	if err := run(t.Context(), []string{"version"}, nil, &said, io.Discard); err != nil || said.Len() < 2 {
		t.Errorf("version: %v %q", err, &said)
	}
}
