//go:build phones

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"pbx/call/calltest"
	"pbx/sip"
	"pbx/store/sqlite"
)

// killRounds is how often the program is killed. Each round ends at a random moment of it.
const killRounds = 50

// ledger is what the product acknowledged, and what therefore must survive.
type ledger struct {
	mu       sync.Mutex
	names    map[string]string // user id → name, as last acknowledged
	unsure   map[string]string // a change that was sent and not acknowledged: may or may not be there
	invites  int               // calls begun, at most this many records
	answered int               // calls that were answered, at least this many records
	messages map[string]string // message id → "true" when acknowledged as read
	recorded int               // calls that spoke into a mailbox for more than two seconds
	cutOff   int               // records of calls that were killed while people talked, and that say who did
}

// TestKill kills the program at random moments during calls, voicemail and changes of settings. Nothing acknowledged
// is lost, the database opens, and each call has exactly one record.
func TestKill(t *testing.T) {
	seed := uint64(20261124)
	if s := os.Getenv("SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	quickGreeting(t, dir)
	l := &ledger{names: map[string]string{}, unsure: map[string]string{}, messages: map[string]string{}}

	p := launch(t, dir)
	p.setUp()
	ada := p.equip(person{id: p.api("GET", "/me", nil).at("id"), name: "Ada Lovelace", extension: "101"}, "udp")
	bob := p.hire("Bob Cho", "102", "udp")
	carol := p.hire("Carol Diaz", "103", "udp") // never at home
	l.names[bob.id] = bob.name
	jar := p.http.Jar
	for round := range killRounds {
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		phones := l.phones(ctx, t, p, ada, bob)
		work.Go(func() { l.answer(ctx, phones[1]) })
		work.Go(func() { l.rename(ctx, p, bob.id, round) })
		if round%3 == 0 {
			work.Go(func() { l.leaveMessage(ctx, phones[0], carol.extension) })
		} else {
			work.Go(func() { l.callAndTalk(ctx, phones[0], bob.extension) })
		}
		life := time.Duration(50+rng.IntN(900)) * time.Millisecond
		if round%9 == 0 {
			life = 4 * time.Second // long enough to be in the middle of a message
		}
		pause(life)
		p.stop(syscall.SIGKILL)
		cancel()
		for _, phone := range phones {
			phone.Close()
		}
		work.Wait()
		if err := sqlite.Inspect(t.Context(), dir); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		p = launch(t, dir)
		p.http.Jar = jar // the session is a setting too
		l.check(t, p, dir, carol, round)
	}
	p.stop(syscall.SIGTERM)
	t.Logf("%d kills: %d calls, %d answered, %d cut off while talking, %d messages", killRounds, l.invites, l.answered, l.cutOff, len(l.messages))
	if l.answered < killRounds/4 || len(l.messages) < killRounds/10 || l.cutOff < killRounds/10 {
		t.Errorf("too little happened to prove anything: %d answered, %d messages", l.answered, len(l.messages))
	}
}

// quickGreeting replaces the spoken phrases by moments, so that a message begins soon.
func quickGreeting(t *testing.T, dir string) {
	t.Helper()
	prompts := filepath.Join(dir, "prompts")
	if err := os.MkdirAll(prompts, 0o755); err != nil {
		t.Fatal(err)
	}
	names := []string{"person-at-extension", "is-not-available", "is-on-the-phone", "leave-message", "message-saved", "goodbye"}
	for d := range 10 {
		names = append(names, fmt.Sprintf("digit-%d", d))
	}
	for _, name := range names {
		writeTone(t, filepath.Join(prompts, name+".wav"), 500, 40*time.Millisecond)
	}
}

// phones registers scripted phones for Ada and Bob.
func (l *ledger) phones(ctx context.Context, t *testing.T, p *pbx, who ...person) []*calltest.Phone {
	t.Helper()
	var phones []*calltest.Phone
	for _, w := range who {
		phone, err := calltest.NewPhone(ctx, calltest.PhoneConfig{
			Name: w.name, Network: sip.HostNetwork(), Local: netip.AddrPortFrom(p.udp.Addr(), 0), Server: p.udp,
			Username: w.username, Password: w.password, Voice: 440,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := phone.Register(ctx); err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
		phones = append(phones, phone)
	}
	return phones
}

func (l *ledger) answer(ctx context.Context, phone *calltest.Phone) {
	for {
		c, err := phone.Next(ctx)
		if err != nil {
			return
		}
		if c.Answer(ctx) != nil {
			return
		}
	}
}

func (l *ledger) begin() {
	l.mu.Lock()
	l.invites++
	l.mu.Unlock()
}

// dial calls and notes the answer, which is what the caller was promised a record for.
func (l *ledger) dial(ctx context.Context, phone *calltest.Phone, number string) *calltest.Call {
	l.begin()
	c, err := phone.Call(ctx, number)
	if err != nil {
		return nil
	}
	select {
	case <-c.Answered():
		l.mu.Lock()
		l.answered++
		l.mu.Unlock()
		return c
	case <-c.Done():
	case <-ctx.Done():
	}
	return nil
}

func (l *ledger) callAndTalk(ctx context.Context, phone *calltest.Phone, number string) {
	for ctx.Err() == nil {
		c := l.dial(ctx, phone, number)
		if c == nil {
			return
		}
		waitOr(ctx, 60*time.Millisecond, c.Done())
		bye, cancel := context.WithTimeout(ctx, time.Second)
		if c.Bye(bye) != nil {
			cancel()
			return
		}
		cancel()
	}
}

func (l *ledger) leaveMessage(ctx context.Context, phone *calltest.Phone, number string) {
	c := l.dial(ctx, phone, number)
	if c == nil {
		return
	}
	if waitOr(ctx, 3*time.Second, c.Done()) {
		l.mu.Lock()
		l.recorded++
		l.mu.Unlock()
	}
	waitOr(ctx, time.Minute, c.Done())
}

// rename changes Bob's name as fast as it can.
func (l *ledger) rename(ctx context.Context, p *pbx, user string, round int) {
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("Bob %d.%d", round, i)
		l.mu.Lock()
		l.unsure[user] = name
		l.mu.Unlock()
		status, _, err := p.try("PATCH", "/accounts/default/users/"+user, map[string]any{"name": name})
		if err != nil || status != 200 {
			return
		}
		l.mu.Lock()
		l.names[user] = name
		delete(l.unsure, user)
		l.mu.Unlock()
	}
}

// check compares the restarted product with the ledger.
func (l *ledger) check(t *testing.T, p *pbx, dir string, mailbox person, round int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, want := range l.names {
		got := p.api("GET", "/accounts/default/users/"+id, nil).at("name")
		if maybe, ok := l.unsure[id]; got != want && !(ok && got == maybe) {
			t.Errorf("round %d: user %s is %q, acknowledged was %q", round, id, got, want)
		}
		l.names[id] = got
		delete(l.unsure, id)
	}
	records, ongoing := 0, 0
	l.cutOff = 0
	for cursor := ""; ; {
		page := p.api("GET", "/accounts/default/call-records?limit=500&cursor="+cursor, nil)
		for _, r := range page.items() {
			records++
			if r.at("ended_at") == "" {
				ongoing++
			}
			if r.at("outcome") == "interrupted" && r.at("answered_at") != "" && r.at("callee.name") != "" {
				l.cutOff++
			}
		}
		if cursor = page.at("next_cursor"); cursor == "" {
			break
		}
	}
	if records < l.answered || records > l.invites || ongoing > 0 {
		t.Errorf("round %d: %d records (%d not closed) for %d calls of which %d were answered", round, records, ongoing, l.invites, l.answered)
	}
	messages := p.api("GET", "/accounts/default/voicemail-messages?limit=500&mailbox="+mailbox.id, nil).items()
	have := map[string]object{}
	for _, m := range messages {
		have[m.at("id")] = m
		status, audio, err := p.try("GET", "/accounts/default/voicemail-messages/"+m.at("id")+"/audio", nil)
		if err != nil || status != 200 || len(audio) < 8000 || string(audio[:4]) != "RIFF" {
			t.Errorf("round %d: message %s: %d, %d octets, %v", round, m.at("id"), status, len(audio), err)
		}
	}
	for id, read := range l.messages {
		if m, ok := have[id]; !ok || read == "true" && m.at("read") != "true" {
			t.Errorf("round %d: message %s is lost or unread again: %v", round, id, m)
		}
	}
	if len(messages) < l.recorded {
		t.Errorf("round %d: %d messages, but %d callers spoke for seconds", round, len(messages), l.recorded)
	}
	for id := range have {
		if _, known := l.messages[id]; !known {
			p.api("PATCH", "/accounts/default/voicemail-messages/"+id, map[string]any{"read": true})
			l.messages[id] = "true"
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "voicemail", "*"))
	if err != nil || len(files) != len(messages) {
		t.Errorf("round %d: %d files for %d messages (%v)", round, len(files), len(messages), err)
	}
}

// TestPhonesPortBusy: a taken port is named, and the program ends instead of running half.
func TestPhonesPortBusy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := &config{data: t.TempDir(), http: []netip.AddrPort{l.Addr().(*net.TCPAddr).AddrPort()}, logFormat: "text", metrics: "loopback"}
	cfg.sipUDP = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	if err := serve(t.Context(), cfg, testWriter{t}, testWriter{t}); err == nil {
		t.Error("serving on a taken port succeeded")
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}
