package calltest_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pbx/call"
	"pbx/call/calltest"
	"pbx/dialplan"
	"pbx/event"
	"pbx/media"
	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
	"pbx/store/sqlite"
)

// The addresses of the in-memory network.
var (
	pbx4 = netip.MustParseAddr("10.0.0.1")
	pbx6 = netip.MustParseAddr("fd00::1")
)

// house is the whole PBX in memory, with a real database.
type house struct {
	tb      testing.TB
	net     *siptest.Net
	db      *sqlite.DB
	bus     *event.Bus
	sip     *sip.Server
	media   *media.Engine
	engine  *call.Engine
	account store.ID

	complaints bool               // an error in the log is what the test is about
	last       []store.CallRecord // when it was closed

	incoming atomic.Int64 // calls that signalling handed over

	phones int // given addresses so far
	names  map[netip.Addr]string

	mu   sync.Mutex
	plan map[*store.Snapshot]*dialplan.Plan
}

// strict is a log in which nothing may be an error. Everything is only shown with -v.
type strict struct {
	slog.Handler
	tb        testing.TB
	tolerated *bool
}

func (h strict) Enabled(_ context.Context, level slog.Level) bool {
	return testing.Verbose() || level >= slog.LevelError
}

func (h strict) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError && !*h.tolerated {
		h.tb.Errorf("logged as an error: %s", r.Message)
	}
	return h.Handler.Handle(ctx, r)
}

func (h strict) WithAttrs(attrs []slog.Attr) slog.Handler {
	return strict{h.Handler.WithAttrs(attrs), h.tb, h.tolerated}
}

func (h strict) WithGroup(name string) slog.Handler {
	return strict{h.Handler.WithGroup(name), h.tb, h.tolerated}
}

// newHouse is a house in the in-memory network. Tweaks make it a special one.
func newHouse(tb testing.TB, tweaks ...func(h *house, c *call.Config)) *house {
	net := siptest.NewNet()
	addrs := []netip.AddrPort{netip.AddrPortFrom(pbx4, 5060), netip.AddrPortFrom(pbx6, 5060)}
	return newHouseAt(tb, net, net.Host(pbx4, pbx6), addrs, tweaks...)
}

func newHouseAt(tb testing.TB, net *siptest.Net, host sip.Network, addrs []netip.AddrPort, tweaks ...func(*house, *call.Config)) *house {
	h := &house{
		tb: tb, net: net, bus: event.NewBus(),
		names: map[netip.Addr]string{pbx4: "pbx", pbx6: "pbx"},
		plan:  make(map[*store.Snapshot]*dialplan.Plan),
	}
	ctx := tb.Context()
	text := slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})
	log := slog.New(strict{text, tb, &h.complaints})
	check := func(s *store.Snapshot) error {
		_, err := dialplan.Compile(s)
		return err
	}
	var err error
	if h.db, err = sqlite.Open(ctx, sqlite.Options{Dir: tb.TempDir(), Bus: h.bus, Check: check, Log: log}); err != nil {
		tb.Fatal(err)
	}
	h.media = media.NewEngine(media.Config{Network: host, Log: log})
	h.sip, err = sip.New(sip.Config{UDP: addrs, TCP: addrs, Network: host, Log: log, UserAgent: "pbx", Trunks: h.db}, h.db, h.db, h.db, h.bus)
	if err != nil {
		tb.Fatal(err)
	}
	c := call.Config{
		SIP: h.sip, Media: h.media, Library: media.NewLibrary(""), Store: h.db, Bus: h.bus, Log: log, Plan: h.planOf,
	}
	for _, tweak := range tweaks {
		tweak(h, &c)
	}
	h.engine = call.NewEngine(c)
	h.sip.Show(h.engine)
	h.sip.RouteTexts(h.engine)
	if err := h.sip.Start(ctx, h); err != nil {
		tb.Fatal(err)
	}
	account := store.Account{
		Name: "Test", Timezone: "UTC", Country: "US", ExtensionLength: 3, ParkingTimeout: time.Minute,
	}
	if err := h.db.Update(ctx, store.System, "", func(tx *sqlite.Tx) error { return tx.CreateAccount(&account) }); err != nil {
		tb.Fatal(err)
	}
	h.account = account.ID
	return h
}

// Incoming counts what the engine gets.
func (h *house) Incoming(l *sip.Leg) {
	h.incoming.Add(1)
	h.engine.Incoming(l)
}

// Asked hands on what phones ask for.
func (h *house) Asked(l *sip.Leg, a sip.Ask) { h.engine.Asked(l, a) }

// planOf compiles what is valid now.
func (h *house) planOf(account store.ID) (*dialplan.Plan, *store.Snapshot) {
	s := h.db.Snapshot(account)
	if s == nil {
		return nil, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.plan[s] == nil {
		p, err := dialplan.Compile(s)
		if err != nil {
			return nil, nil
		}
		h.plan[s] = p
	}
	return h.plan[s], s
}

// close stops everything in the order of the house and proves that nothing is left.
func (h *house) close() {
	ctx := h.tb.Context()
	now, cancel := context.WithCancel(ctx)
	cancel()
	if err := h.engine.Close(now); err != nil {
		h.tb.Error(err)
	}
	if err := h.sip.Close(ctx); err != nil {
		h.tb.Error(err)
	}
	if n := h.media.Stats().Sessions; n != 0 {
		h.tb.Errorf("%d sounds left", n)
	}
	if err := h.media.Close(); err != nil {
		h.tb.Error(err)
	}
	h.last = h.records()
	h.bus.Close()
	if err := h.db.Close(); err != nil {
		h.tb.Error(err)
	}
}

// user adds a user; change sets what is not usual.
func (h *house) user(name, extension string, change func(u *store.User)) store.User {
	u := store.User{
		Name: name, Username: name + extension, Role: store.Member, Extension: extension, RingTimeout: 20 * time.Second,
	}
	if change != nil {
		change(&u)
	}
	err := h.db.Update(h.tb.Context(), store.System, h.account, func(tx *sqlite.Tx) error { return tx.CreateUser(&u) })
	if err != nil {
		h.tb.Fatal(err)
	}
	return u
}

// phone adds a device of u and the phone that it is, registered, in the in-memory network.
func (h *house) phone(name string, u *store.User, c calltest.PhoneConfig, v6 bool) *calltest.Phone {
	h.tb.Helper()
	h.phones++
	addr, server := netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", 1+h.phones/200, 10+h.phones%200)), pbx4
	if v6 {
		addr, server = netip.MustParseAddr(fmt.Sprintf("fd00::%x", 0x100+h.phones)), pbx6
	}
	h.names[addr] = name
	c.Network = h.net.Host(addr)
	c.Local, c.Server = netip.AddrPortFrom(addr, 5060), netip.AddrPortFrom(server, 5060)
	return h.phoneAt(name, u, c)
}

// phoneAt is a phone in the network that c says.
func (h *house) phoneAt(name string, u *store.User, c calltest.PhoneConfig) *calltest.Phone {
	h.tb.Helper()
	ctx := h.tb.Context()
	d := store.Device{
		Kind: store.Softphone, Name: name, Transport: "udp", SRTP: "off",
		Lines: []store.Line{{UserID: u.ID, Label: u.Name}},
	}
	if c.Transport != "" {
		d.Transport = c.Transport
	}
	if c.SRTP != "" {
		d.SRTP = c.SRTP
	}
	if err := h.db.Update(ctx, store.System, h.account, func(tx *sqlite.Tx) error { return tx.CreateDevice(&d) }); err != nil {
		h.tb.Fatal(err)
	}
	c.Name, c.Username, c.Password = name, d.Lines[0].Username, string(d.Lines[0].Password)
	c.Display = "not " + name // what a phone claims is not what others see
	p, err := calltest.NewPhone(ctx, c)
	if err != nil {
		h.tb.Fatal(err)
	}
	if err := p.Register(ctx); err != nil {
		h.tb.Fatal(err)
	}
	return p
}

// records returns all call records, oldest first.
func (h *house) records() []store.CallRecord {
	var all []store.CallRecord
	page := sqlite.Page{Limit: 500}
	for {
		records, next, err := h.db.CallRecords(h.tb.Context(), h.account, sqlite.CallFilter{}, page)
		if err != nil {
			h.tb.Fatal(err)
		}
		all = append(all, records...)
		if next == "" {
			break
		}
		page.Cursor = next
	}
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all
}
