package sip_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pbx/event"
	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	pbxAddr   = netip.MustParseAddr("10.0.0.1")
	aliceAddr = netip.MustParseAddr("10.0.0.11")
	bobAddr   = netip.MustParseAddr("10.0.0.12")
	carolAddr = netip.MustParseAddr("10.0.0.13")
	names     = map[netip.Addr]string{pbxAddr: "pbx", aliceAddr: "alice", bobAddr: "bob", carolAddr: "carol"}
)

// directory knows lines by user name.
type directory struct {
	mu    sync.Mutex
	lines map[string]store.Line
}

func (d *directory) Line(username string) (store.Line, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, ok := d.lines[username]
	return l, ok
}

func (d *directory) set(l store.Line) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines[l.Username] = l
}

// bindings keeps registrations as the database would.
type bindings struct {
	mu    sync.Mutex
	rows  map[store.ID]store.Binding
	saves int
	fail  bool
}

func (b *bindings) LoadBindings(context.Context) ([]store.Binding, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []store.Binding
	for _, r := range b.rows {
		all = append(all, r)
	}
	return all, nil
}

func (b *bindings) SaveBindings(_ context.Context, put []store.Binding, drop []store.ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail {
		return fmt.Errorf("disk full")
	}
	b.saves++
	for _, r := range put {
		b.rows[r.ID] = r
	}
	for _, id := range drop {
		delete(b.rows, id)
	}
	return nil
}

func (b *bindings) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.rows)
}

// mailboxes are message counts by user.
type mailboxes struct {
	mu     sync.Mutex
	counts map[store.ID]store.MailboxCounts
}

func (m *mailboxes) LampCounts(_, user store.ID) store.MailboxCounts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[user]
}

// legs is a house that hands over incoming legs, and does nothing itself.
type legs chan *sip.Leg

func (h legs) Incoming(l *sip.Leg) { h <- l }

// Asked refuses what no test is about.
func (h legs) Asked(_ *sip.Leg, a sip.Ask) {
	if t, ok := a.(*sip.Transfer); ok {
		t.Done(603, "Decline")
	}
}

// world is a server on an in-memory network, in a bubble.
type world struct {
	t      *testing.T
	ctx    context.Context
	net    *siptest.Net
	dir    *directory
	rows   *bindings
	boxes  *mailboxes
	lamps  *lamps
	bus    *event.Bus
	house  legs
	server *sip.Server
	phones []*siptest.Phone
	serial int
	config []func(*sip.Config) // what this server has beside the usual
}

func line(user string) store.Line {
	return store.Line{ID: store.ID("lin_" + user), AccountID: "acc_1", DeviceID: store.ID("dev_" + user), UserID: store.ID("usr_" + user), Index: 1, Username: "u-" + user, Password: store.Secret("secret of " + user)}
}

// newWorld starts a server that knows alice, bob and carol.
func newWorld(t *testing.T, config ...func(*sip.Config)) *world {
	t.Helper()
	w := &world{
		t: t, config: config, ctx: t.Context(), net: siptest.NewNet(),
		dir: &directory{lines: make(map[string]store.Line)}, rows: &bindings{rows: make(map[store.ID]store.Binding)},
		boxes: &mailboxes{counts: make(map[store.ID]store.MailboxCounts)}, lamps: newLamps(), bus: event.NewBus(), house: make(legs, 64),
	}
	for _, user := range []string{"alice", "bob", "carol"} {
		w.dir.set(line(user))
	}
	w.server = w.start()
	return w
}

func (w *world) start() *sip.Server { return w.startWith(w.house) }

func (w *world) startWith(h sip.Handler) *sip.Server {
	w.t.Helper()
	var log *slog.Logger
	if os.Getenv("SIPTEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	at := []netip.AddrPort{netip.AddrPortFrom(pbxAddr, 5060)}
	cfg := sip.Config{UDP: at, TCP: at, Realm: "pbx.test", UserAgent: "pbx/test", Network: w.net.Host(pbxAddr), Log: log}
	for _, f := range w.config {
		f(&cfg)
	}
	s, err := sip.New(cfg, w.dir, w.rows, w.boxes, w.bus)
	if err != nil {
		w.t.Fatal(err)
	}
	s.Show(w.lamps)
	s.RouteTexts(ways{})
	if err := s.Start(w.ctx, h); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// close stops everything, so that the bubble can end.
func (w *world) close() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), time.Minute)
	defer cancel()
	if err := w.server.Close(ctx); err != nil {
		w.t.Error(err)
	}
	for _, p := range w.phones {
		p.Close()
	}
}

// bubble runs f with a world inside a synctest bubble.
func bubble(t *testing.T, f func(w *world), config ...func(*sip.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, config...)
		defer w.close()
		f(w)
	})
}

// phone switches a phone on.
func (w *world) phone(user string, change ...func(*siptest.PhoneConfig)) *siptest.Phone {
	w.t.Helper()
	addr := map[string]netip.Addr{"alice": aliceAddr, "bob": bobAddr, "carol": carolAddr}[user]
	c := siptest.PhoneConfig{
		Name: "phone of " + user, Network: w.net.Host(addr), Local: netip.AddrPortFrom(addr, 5060), Server: netip.AddrPortFrom(pbxAddr, 5060),
		Username: "u-" + user, Password: "secret of " + user, Display: user, Domain: "pbx.test",
	}
	for _, f := range change {
		f(&c)
	}
	p, err := siptest.NewPhone(w.ctx, c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.phones = append(w.phones, p)
	return p
}

// registered switches a phone on and registers it.
func (w *world) registered(user string, change ...func(*siptest.PhoneConfig)) *siptest.Phone {
	w.t.Helper()
	p := w.phone(user, change...)
	if err := p.Register(w.ctx, time.Hour); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func overTCP(c *siptest.PhoneConfig)  { c.Transport = "tcp" }
func autoRing(c *siptest.PhoneConfig) { c.AutoRing = true }

// binding returns the one binding of a user.
func (w *world) binding(user string) store.Binding {
	w.t.Helper()
	all := w.server.BindingsOfUser(store.ID("usr_" + user))
	if len(all) != 1 {
		w.t.Fatalf("%s has %d bindings, want 1", user, len(all))
	}
	return all[0]
}

// within waits for c and fails the test after d.
func within[T any](t *testing.T, d time.Duration, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(d):
		t.Fatalf("%s: nothing within %v", what, d)
	}
	panic("unreachable")
}

// sound is the silent sound side of the house.
func sound() *siptest.Silence { return &siptest.Silence{Host: pbxAddr, Port: 20000} }

// invite calls a registered user from the house.
func (w *world) invite(user string) (*sip.Leg, *siptest.Silence) {
	w.t.Helper()
	s := sound()
	l, err := w.server.Invite(w.ctx, sip.Outgoing{To: w.binding(user), From: sip.Identity{Display: "The House", User: "100"}, Called: sip.Identity{User: "201"}, Sound: s})
	if err != nil {
		w.t.Fatal(err)
	}
	return l, s
}

// call has a phone call the house, and takes the call there.
func (w *world) call(p *siptest.Phone, number string) (*siptest.Line, *sip.Leg) {
	w.t.Helper()
	line, err := p.Call(w.ctx, number)
	if err != nil {
		w.t.Fatal(err)
	}
	l := within(w.t, 5*time.Second, w.house, "incoming call")
	l.Attach(sound())
	return line, l
}

// up has a phone call the house and the house answer.
func (w *world) up(p *siptest.Phone) (*siptest.Line, *sip.Leg) {
	w.t.Helper()
	line, l := w.call(p, "201")
	if err := l.Answer(w.ctx); err != nil {
		w.t.Fatal(err)
	}
	within(w.t, time.Second, line.Answered(), "answer")
	return line, l
}

func sortedIDs(all []store.Binding) []string {
	var ids []string
	for _, b := range all {
		ids = append(ids, b.Contact)
	}
	slices.Sort(ids)
	return ids
}
