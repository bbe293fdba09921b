package admin

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/gorilla/mux"
	"go.uber.org/goleak"

	"pbx/call"
	"pbx/dialplan"
	"pbx/event"
	"pbx/provisioning"
	"pbx/sip"
	"pbx/store"
	"pbx/store/sqlite"
)

// answered remembers which operations any test has seen succeed.
var answered = struct {
	sync.Mutex
	ids map[string]bool
}{ids: make(map[string]bool)}

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.bench").Value.String() == "" && !testing.Short() {
		code = unanswered()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// unanswered fails the whole run when an operation of the contract was never seen to succeed.
func unanswered() (code int) {
	_, operations, err := loadContract()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, o := range operations {
		if !answered.ids[o.id] {
			fmt.Fprintf(os.Stderr, "no test saw operation %s succeed\n", o.id)
			code = 1
		}
	}
	return code
}

const (
	adminPassword  = "correct horse battery"
	memberPassword = "staple battery horse"
)

// passwordHash is computed once a password: each costs memory and time on purpose.
var passwordHash = sync.OnceValues(func() (hashes [2]string, err error) {
	for i, p := range []string{adminPassword, memberPassword} {
		if hashes[i], err = store.HashPassword(p); err != nil {
			return hashes, err
		}
	}
	return hashes, nil
})

// house is a server over a real database, with two accounts.
type house struct {
	*testing.T
	db      *sqlite.DB
	bus     *event.Bus
	server  *Server
	calls   *fakeCalls
	phones  *fakePhones
	watch   *fakeWatch
	account store.ID
	other   store.ID // account of strangers
	ada     store.User
	bob     store.User
	zed     store.User // admin of the other account
	desk    store.Device
	zedDesk store.Device
	admin   *client
	member  *client
	foreign *client
	nobody  *client
}

// emptyHouse is one before set-up.
func emptyHouse(t testing.TB) *house {
	h := &house{bus: event.NewBus(), calls: &fakeCalls{}, phones: &fakePhones{}, watch: &fakeWatch{}}
	h.T, _ = t.(*testing.T)
	check := func(s *store.Snapshot) error { _, err := dialplan.Compile(s); return err }
	db, err := sqlite.Open(context.Background(), sqlite.Options{Dir: t.TempDir(), Bus: h.bus, Check: check})
	if err != nil {
		t.Fatal(err)
	}
	h.db = db
	places := Places{
		SIP: func(netip.Addr) (string, map[string]int) {
			return "192.0.2.1", map[string]int{"udp": 5060, "tcp": 5061, "tls": 5062, "wss": 8443}
		},
		HTTPBase: func(*http.Request) string { return "http://192.0.2.1:8080" },
	}
	h.server, err = New(Config{
		DB: Open(db), Bus: h.bus, Calls: h.calls, Phones: h.phones, Watch: h.watch, Sounds: fakeSounds{}, Places: places,
		Provisioning: provisioning.New(provisioning.Config{Store: db, SIP: places.SIP, HTTPBase: places.HTTPBase}),
		Plan: func(account store.ID) (*dialplan.Plan, *store.Snapshot) {
			snap := db.Snapshot(account)
			if snap == nil {
				return nil, nil
			}
			plan, err := dialplan.Compile(snap)
			if err != nil {
				return nil, nil
			}
			return plan, snap
		},
		SetupToken: "token-of-the-console", Version: "test",
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.server.begin(); err != nil { // tests look into the contract
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.server.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	h.nobody = &client{house: h, t: t}
	return h
}

func newHouse(t testing.TB) *house {
	h := emptyHouse(t)
	hashes, err := passwordHash()
	if err != nil {
		t.Fatal(err)
	}
	person := func(name, email, ext string, role store.Role, hash string) store.User {
		return store.User{Name: name, Email: email, Extension: ext, Role: role, PasswordHash: hash, RingTimeout: 20 * time.Second, Voicemail: store.Voicemail{Enabled: true}}
	}
	h.ada = person("Ada Lovelace", "ada@acme.test", "101", store.Admin, hashes[0])
	h.bob = person("Bob Cho", "bob@acme.test", "102", store.Member, hashes[1])
	h.zed = person("Zed", "zed@other.test", "101", store.Admin, hashes[0])
	h.account = h.open(t, "Acme", &h.ada, &h.bob)
	h.other = h.open(t, "Other", &h.zed)
	h.desk = store.Device{Kind: store.Deskphone, Name: "Ada's desk", Vendor: "yealink", Model: "T54W", MAC: "805ec0123456", Transport: "udp", SRTP: "off", Lines: []store.Line{{UserID: h.ada.ID}}}
	h.zedDesk = store.Device{Kind: store.Softphone, Name: "Zed's", Transport: "udp", SRTP: "off", Lines: []store.Line{{UserID: h.zed.ID}}}
	h.update(t, h.account, func(tx *sqlite.Tx) error { return tx.CreateDevice(&h.desk) })
	h.update(t, h.other, func(tx *sqlite.Tx) error { return tx.CreateDevice(&h.zedDesk) })
	h.admin, h.member, h.foreign = h.signedIn(t, &h.ada), h.signedIn(t, &h.bob), h.signedIn(t, &h.zed)
	return h
}

func (h *house) update(t testing.TB, account store.ID, fn func(tx *sqlite.Tx) error) {
	t.Helper()
	if err := h.db.Update(context.Background(), store.System, account, fn); err != nil {
		t.Fatal(err)
	}
}

// open makes an account with its people.
func (h *house) open(t testing.TB, name string, people ...*store.User) store.ID {
	t.Helper()
	a := newAccount(name, "Europe/Berlin", "DE", 3)
	h.update(t, "", func(tx *sqlite.Tx) error {
		if err := tx.CreateAccount(&a); err != nil {
			return err
		}
		for _, u := range people {
			if err := tx.CreateUser(u); err != nil {
				return err
			}
		}
		return nil
	})
	return a.ID
}

// signedIn returns a client with a session, without the cost of a password.
func (h *house) signedIn(t testing.TB, u *store.User) *client {
	t.Helper()
	token := newToken()
	h.update(t, u.AccountID, func(tx *sqlite.Tx) error {
		return tx.CreateSession(&store.Session{UserID: u.ID, TokenHash: store.HashToken(token), ExpiresAt: time.Now().Add(time.Hour)})
	})
	return &client{house: h, t: t, cookie: token}
}

// message leaves a voicemail of one second.
func (h *house) message(t testing.TB, account, mailbox store.ID) store.Message {
	t.Helper()
	m := store.Message{AccountID: account, Mailbox: mailbox, CallerName: "Jane", CallerNumber: "+15550144"}
	if err := h.db.BeginMessage(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.db.MessagePath(m.ID), wav(8000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.db.FinishMessage(t.Context(), m.ID, time.Second); err != nil {
		t.Fatal(err)
	}
	return m
}

// wav is a ramp of n samples.
func wav(n int) []byte {
	var b bytes.Buffer
	b.WriteString("RIFF")
	binary.Write(&b, binary.LittleEndian, uint32(36+2*n))
	b.WriteString("WAVEfmt ")
	for _, v := range []any{uint32(16), uint16(1), uint16(1), uint32(8000), uint32(16000), uint16(2), uint16(16)} {
		binary.Write(&b, binary.LittleEndian, v)
	}
	b.WriteString("data")
	binary.Write(&b, binary.LittleEndian, uint32(2*n))
	for i := range n {
		binary.Write(&b, binary.LittleEndian, int16(i*32767/n))
	}
	return b.Bytes()
}

// call writes a record of a call.
func (h *house) call(t testing.TB, account store.ID, from, to store.User) store.CallRecord {
	t.Helper()
	at := time.Now().Add(-time.Minute)
	party := func(u store.User) store.CallParty {
		return store.CallParty{UserID: u.ID, Name: u.Name, Extension: u.Extension}
	}
	r := store.CallRecord{
		ID: store.NewID(store.PrefixCall), AccountID: account, StartedAt: at, AnsweredAt: at.Add(5 * time.Second), EndedAt: at.Add(20 * time.Second),
		Direction: "internal", Caller: party(from), Callee: party(to), Dialed: to.Extension, Outcome: store.OutcomeAnswered,
		HangupBy: "caller", HangupCause: "normal", Segments: []store.Segment{{Step: "ringing", Detail: "1 phone", StartedAt: at, EndedAt: at.Add(5 * time.Second)}},
		Route: []store.Reason{{Rule: "user " + string(to.ID), Detail: "Extension " + to.Extension + " is " + to.Name}},
	}
	if err := h.db.StartCall(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	if err := h.db.SaveCall(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// client sends requests and proves every answer against the contract.
type client struct {
	house  *house
	t      testing.TB
	cookie string
	key    string
	addr   string // RemoteAddr; empty: loopback
	host   string
	header http.Header
}

func (c *client) with(name, value string) *client {
	d := *c
	d.header = c.header.Clone()
	if d.header == nil {
		d.header = http.Header{}
	}
	d.header.Set(name, value)
	return &d
}

// answer is what came back.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// json reads the body, or a dotted path of it.
func (a *answer) json(path string) any {
	a.t.Helper()
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
	if path == "" {
		return v
	}
	for part := range strings.SplitSeq(path, ".") {
		switch n := v.(type) {
		case map[string]any:
			v = n[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(n) {
				a.t.Fatalf("no %s in %s", path, a.body)
			}
			v = n[i]
		default:
			a.t.Fatalf("no %s in %s", path, a.body)
		}
	}
	return v
}

func (a *answer) text(path string) string { a.t.Helper(); return fmt.Sprint(a.json(path)) }

// fields are the names of the fields that a problem speaks of.
func (a *answer) fields() []string {
	a.t.Helper()
	var p struct {
		Errors []struct{ Field, Message string }
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		a.t.Fatal(err)
	}
	var names []string
	for _, e := range p.Errors {
		names = append(names, e.Field)
		if e.Message == "" || !strings.HasSuffix(e.Message, ".") {
			a.t.Errorf("message of %s is no sentence: %q", e.Field, e.Message)
		}
	}
	slices.Sort(names)
	return names
}

func (c *client) request(method, path string, body io.Reader) *http.Request {
	r := httptest.NewRequest(method, basePath+path, body)
	r.RemoteAddr, r.Host = "127.0.0.1:40000", "127.0.0.1:8080"
	if c.addr != "" {
		r.RemoteAddr, r.Host = c.addr, "192.0.2.1:8080"
	}
	if c.host != "" {
		r.Host = c.host
	}
	if c.cookie != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: c.cookie})
	}
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	return r
}

// do sends a body: a string as it is, anything else as JSON.
func (c *client) do(method, path string, body any) *answer {
	c.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	r := c.request(method, path, reader)
	w := httptest.NewRecorder()
	c.house.server.ServeHTTP(w, r)
	a := &answer{t: c.t, status: w.Code, header: w.Header(), body: w.Body.Bytes()}
	c.prove(r, a)
	return a
}

func (c *client) get(path string) *answer { c.t.Helper(); return c.do(http.MethodGet, path, nil) }
func (c *client) post(path string, body any) *answer {
	c.t.Helper()
	return c.do(http.MethodPost, path, body)
}

func (c *client) patch(path string, body any) *answer {
	c.t.Helper()
	return c.do(http.MethodPatch, path, body)
}

func (c *client) remove(path string) *answer { c.t.Helper(); return c.do(http.MethodDelete, path, nil) }

// prove validates an answer against the schema of its operation and status.
func (c *client) prove(r *http.Request, a *answer) {
	c.t.Helper()
	var match mux.RouteMatch
	if !c.house.server.router.Match(r, &match) || match.MatchErr != nil {
		return // no operation of the contract
	}
	template, err := match.Route.GetPathTemplate()
	if err != nil {
		c.t.Fatal(err)
	}
	i := slices.IndexFunc(c.house.server.operations, func(o *operation) bool { return basePath+o.path == template && o.method == r.Method })
	if i < 0 {
		return
	}
	o := c.house.server.operations[i]
	if a.status < 400 {
		answered.Lock()
		answered.ids[o.id] = true
		answered.Unlock()
	}
	sound := strings.HasPrefix(a.header.Get("Content-Type"), "audio/")
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: r, PathParams: match.Vars,
			Route: &routers.Route{Spec: c.house.server.doc, Path: o.path, PathItem: c.house.server.doc.Paths.Value(o.path), Method: o.method, Operation: o.spec},
		},
		Status: a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, ExcludeResponseBody: sound || len(a.body) == 0},
	}
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		c.t.Errorf("%s %s answered %d against the contract: %v\n%s", r.Method, r.URL, a.status, err, a.body)
	}
	if a.status >= 400 && a.header.Get("Content-Type") != "application/problem+json" {
		c.t.Errorf("%s %s answered %d as %q", r.Method, r.URL, a.status, a.header.Get("Content-Type"))
	}
}

// fakeCalls are live calls as told.
type fakeCalls struct {
	mu     sync.Mutex
	live   map[store.ID][]event.Call
	ended  []store.ID
	placed []string
	err    error
	sound  map[store.ID]*store.CallQuality // of running calls
	parked map[store.ID][]event.Parked
}

func (f *fakeCalls) Quality(_, call store.ID) (*store.CallQuality, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if q := f.sound[call]; q != nil {
		return q, nil
	}
	return nil, store.ErrNotFound
}

func (f *fakeCalls) Calls(account store.ID) []event.Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.live[account])
}

func (f *fakeCalls) HangUp(_, call store.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, call)
	return nil
}

func (f *fakeCalls) Transfer(_, id, by store.ID, side call.Side, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return fmt.Errorf("transfer %s: %w", id, f.err)
	}
	f.placed = append(f.placed, string(id)+" "+string(by)+" "+string(side)+" "+to)
	return nil
}

func (f *fakeCalls) Record(_, id store.ID, by, state string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return fmt.Errorf("record %s: %w", id, f.err)
	}
	f.placed = append(f.placed, string(id)+" "+by+" "+state)
	return nil
}

func (f *fakeCalls) Park(_, id, by store.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return fmt.Errorf("park %s: %w", id, f.err)
	}
	f.placed = append(f.placed, string(id)+" "+string(by)+" park")
	return nil
}

func (f *fakeCalls) Parked(account store.ID) []event.Parked {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.parked[account]
}

func (f *fakeCalls) Join(_, id, into, by store.ID) error {
	return f.Transfer("", id, by, "into", string(into))
}

func (f *fakeCalls) Originate(_ context.Context, _, from store.ID, to string) (store.ID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return "", fmt.Errorf("originate for %s: %w", from, f.err)
	}
	f.placed = append(f.placed, string(from)+" "+to)
	return store.NewID(store.PrefixCall), nil
}

// fakePhones are registrations as told.
type fakePhones struct {
	mu       sync.Mutex
	bindings []store.Binding
	notified []string
	err      error
	lamps    []sip.LampView
	accounts map[store.ID]store.ID // of the lines that watch
}

func (f *fakePhones) register(b store.Binding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bindings = append(f.bindings, b)
}

// change changes what is known of every phone.
func (f *fakePhones) change(how func(*store.Binding)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.bindings {
		how(&f.bindings[i])
	}
}

func (f *fakePhones) of(fits func(*store.Binding) bool) (found []store.Binding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.bindings {
		if fits(&f.bindings[i]) {
			found = append(found, f.bindings[i])
		}
	}
	return found
}

func (f *fakePhones) BindingsOfUser(user store.ID) []store.Binding {
	return f.of(func(b *store.Binding) bool { return b.UserID == user })
}

func (f *fakePhones) BindingsOfDevice(device store.ID) []store.Binding {
	return f.of(func(b *store.Binding) bool { return b.DeviceID == device })
}

func (f *fakePhones) CheckSync(_ context.Context, b store.Binding, vendor, model string, reboot bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	f.notified = append(f.notified, fmt.Sprint(b.Source, " ", vendor, " ", model, " ", reboot))
	return nil
}

func (f *fakePhones) ForgetDevice(device store.ID) int {
	n := len(f.BindingsOfDevice(device))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bindings = slices.DeleteFunc(f.bindings, func(b store.Binding) bool { return b.DeviceID == device })
	return n
}

func (f *fakePhones) LampTruth(account store.ID) (found []sip.LampView) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.lamps {
		if f.accounts[v.LineID] == account {
			found = append(found, v)
		}
	}
	return found
}

func (f *fakePhones) RepairLamp(account store.ID, id string) bool {
	for _, v := range f.LampTruth(account) {
		if v.ID == id {
			f.mu.Lock()
			f.notified = append(f.notified, "repaired "+id)
			f.mu.Unlock()
			return true
		}
	}
	return false
}

// online registers every line of a device.
func (h *house) online(d *store.Device) {
	for _, l := range d.Lines {
		h.phones.register(store.Binding{
			ID: store.NewID(store.PrefixBinding), AccountID: d.AccountID, LineID: l.ID, DeviceID: d.ID, UserID: l.UserID,
			Contact: "sip:" + l.Username + "@192.0.2.31:5060", Source: "192.0.2.31:5060", Transport: "udp", UserAgent: "Yealink SIP-T54W 96.86.0.100",
			RegisteredAt: time.Now(), ExpiresAt: time.Now().Add(10 * time.Minute),
		})
	}
}
