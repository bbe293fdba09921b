//go:build phones

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// artifacts is where screenshots, logs and recordings of a run are kept.
func artifacts(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("ARTIFACTS")
	if dir == "" {
		dir = filepath.Join(root, "artifacts")
	}
	dir = filepath.Join(dir, regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(t.Name(), "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// eventually waits for what other processes do; it looks often and gives up after d.
func eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); ; <-tick.C {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("did not happen within %s: %s", d, what)
		}
	}
}

var built struct {
	sync.Once
	path string
	err  error
}

// program builds pbx once, with the race detector.
func program(t testing.TB) string {
	t.Helper()
	built.Do(func() {
		dir, err := os.MkdirTemp("", "pbx-test-*")
		if err != nil {
			built.err = err
			return
		}
		built.path = filepath.Join(dir, "pbx")
		out, err := exec.Command("go", "build", "-race", "-o", built.path, ".").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// pbx is the running product, seen from outside.
type pbx struct {
	t      testing.TB
	cmd    *exec.Cmd
	waited chan error
	stderr *os.File

	portal string // "http://127.0.0.1:40001"
	udp    netip.AddrPort
	tcp    netip.AddrPort
	tls    netip.AddrPort
	http   *http.Client
}

var (
	portalLine = regexp.MustCompile(`portal\s+(http://127\.0\.0\.1:\d+)/`)
	sipLine    = regexp.MustCompile(`sip\s+(udp|tcp|tls) (127\.0\.0\.1:\d+)`)
)

// startPBX runs the product on 127.0.0.1 with free ports and waits until it is up.
func startPBX(t testing.TB, dir string, args ...string) *pbx {
	t.Helper()
	p := launch(t, dir, args...)
	t.Cleanup(func() { p.stop(syscall.SIGTERM) })
	return p
}

func launch(t testing.TB, dir string, args ...string) *pbx {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &pbx{t: t, waited: make(chan error, 1), http: &http.Client{Jar: jar, Timeout: 20 * time.Second}}
	command := []string{"serve", "--data", dir, "--http", "127.0.0.1:0", "--sip-udp", "127.0.0.1:0", "--sip-tcp", "127.0.0.1:0", "--sip-tls", "127.0.0.1:0", "--rtp-ports", "0", "--drain", "1s"}
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command[0], args = args[0], args[1:]
	}
	p.cmd = exec.Command(program(t), append(command, args...)...)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stderr, err = os.OpenFile(filepath.Join(artifacts(t), "pbx.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			lines <- sc.Text()
		}
		close(lines)
		p.waited <- p.cmd.Wait()
	}()
	timeout := time.After(30 * time.Second)
	for up := false; !up; {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatalf("pbx ended while starting; see %s", p.stderr.Name())
			}
			if m := portalLine.FindStringSubmatch(line); m != nil {
				p.portal = m[1]
			}
			if m := sipLine.FindStringSubmatch(line); m != nil {
				addr := netip.MustParseAddrPort(m[2])
				*map[string]*netip.AddrPort{"udp": &p.udp, "tcp": &p.tcp, "tls": &p.tls}[m[1]] = addr
			}
			up = strings.Contains(line, "  data ")
		case <-timeout:
			p.stop(syscall.SIGKILL)
			t.Fatal("pbx did not come up within 30 s")
		}
	}
	go func() {
		for range lines { // nothing else is of interest, but the pipe must not fill
		}
	}()
	return p
}

// stop sends the signal and waits for the end; a data race in the log fails the test.
func (p *pbx) stop(sig syscall.Signal) {
	if p.waited == nil {
		return
	}
	p.cmd.Process.Signal(sig)
	var err error
	select {
	case err = <-p.waited:
	case <-time.After(20 * time.Second):
		p.cmd.Process.Kill()
		<-p.waited
		p.t.Errorf("pbx did not stop within 20 s of %s", sig)
	}
	p.waited = nil
	p.stderr.Close()
	if sig == syscall.SIGTERM && err != nil {
		p.t.Errorf("pbx ended with %v", err)
	}
	if b, err := os.ReadFile(p.stderr.Name()); err == nil && (bytes.Contains(b, []byte("DATA RACE")) || bytes.Contains(b, []byte("panic"))) {
		p.t.Errorf("a data race or panic stands in %s", p.stderr.Name())
	}
	p.http.CloseIdleConnections()
}

// try makes an API call and returns status and body.
func (p *pbx) try(method, path string, body any) (int, []byte, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, p.portal+"/api/v1"+path, r)
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		if method == "PATCH" {
			req.Header.Set("Content-Type", "application/merge-patch+json")
		}
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// api makes an API call that must succeed, and decodes the answer.
func (p *pbx) api(method, path string, body any) object {
	p.t.Helper()
	status, b, err := p.try(method, path, body)
	if err != nil || status < 200 || status > 299 {
		p.t.Fatalf("%s %s: %d %s %v", method, path, status, b, err)
	}
	o := object{}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &o); err != nil {
			p.t.Fatalf("%s %s: %s is no JSON object: %v", method, path, b, err)
		}
	}
	return o
}

// object is a decoded JSON object.
type object map[string]any

// at follows a path of keys such as "sip.username"; a missing one gives "".
func (o object) at(path string) string {
	var v any = map[string]any(o)
	for _, key := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[key]
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// items returns the objects of a collection.
func (o object) items() []object {
	list, _ := o["items"].([]any)
	all := make([]object, 0, len(list))
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

const (
	adminEmail    = "ada@acme.test"
	adminPassword = "correct horse battery"
)

// setUp makes the account with its administrator, who has extension 101.
func (p *pbx) setUp() {
	p.t.Helper()
	p.api("POST", "/setup", map[string]any{
		"account_name": "Acme", "timezone": "Europe/Berlin", "country": "DE", "extension_length": 3,
		"admin_name": "Ada Lovelace", "admin_email": adminEmail, "admin_password": adminPassword, "admin_extension": "101",
	})
}

// person is a user with one softphone.
type person struct {
	id, device, name, extension string
	username, password          string // of SIP
}

// hire creates a user with a softphone.
func (p *pbx) hire(name, extension, transport string) person {
	p.t.Helper()
	u := p.api("POST", "/accounts/default/users", map[string]any{
		"name": name, "username": "u" + extension, "extension": extension, "role": "member", "password": adminPassword, "ring_timeout_s": 10,
	})
	return p.equip(person{id: u.at("id"), name: name, extension: extension}, transport)
}

// equip gives a person a softphone.
func (p *pbx) equip(who person, transport string) person {
	p.t.Helper()
	d := p.api("POST", "/accounts/default/devices", map[string]any{
		"kind": "softphone", "name": who.name + "'s phone", "user_ids": []string{who.id}, "transport": transport,
	})
	who.device, who.username, who.password = d.at("id"), d.at("sip.username"), d.at("sip.password")
	if who.username == "" || who.password == "" {
		p.t.Fatalf("a new device came without credentials: %v", d)
	}
	return who
}

// online waits until the device is registered.
func (p *pbx) online(who person) {
	p.t.Helper()
	eventually(p.t, 10*time.Second, who.name+"'s phone registers", func() bool {
		return p.api("GET", "/accounts/default/devices/"+who.device, nil).at("online") == "true"
	})
}
