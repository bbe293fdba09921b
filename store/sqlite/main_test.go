package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pbx/event"
	"pbx/store"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeUntilKilled(dir) // this process is the child of TestKill
		return
	}
	goleak.VerifyTestMain(m)
}

// house is a database with news, closed at the end of the test.
type house struct {
	*DB
	t   testing.TB
	bus *event.Bus
}

// fresh is a new database as files: most tests begin with a copy, because
// creating the schema is slow under the race detector.
var fresh = sync.OnceValues(func() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "pbx-fresh")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	db, err := Open(context.Background(), Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, name := range []string{databaseFile, keyFile} {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return files, nil
})

// openHouse opens the database in dir; in an empty directory it is a new one.
func openHouse(t testing.TB, dir string) *house {
	t.Helper()
	if !exists(filepath.Join(dir, databaseFile)) && !exists(filepath.Join(dir, keyFile)) {
		files, err := fresh()
		must(t, err)
		for name, content := range files {
			must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
		}
	}
	bus := event.NewBus()
	db, err := Open(t.Context(), Options{Dir: dir, Bus: bus})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, db.Close()) })
	return &house{db, t, bus}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newAccount(name string) *store.Account {
	return &store.Account{Name: name, Timezone: "Europe/Berlin", Country: "DE", ExtensionLength: 3, ParkingTimeout: time.Minute}
}

func newUser(name, email, extension string, role store.Role) *store.User {
	return &store.User{
		Name: name, Email: email, Extension: extension, Role: role, RingTimeout: 20 * time.Second,
		Voicemail: store.Voicemail{Enabled: true},
	}
}

func newPhone(name, mac string, users ...store.ID) *store.Device {
	d := &store.Device{Kind: store.Deskphone, Name: name, Vendor: "yealink", Model: "T54W", MAC: mac, Transport: "udp", SRTP: "off"}
	for _, u := range users {
		d.Lines = append(d.Lines, store.Line{UserID: u, Label: "Line of " + name})
	}
	return d
}

var ada = store.Actor{Kind: "user", ID: "usr_ada", Name: "ada@example.com", IP: "192.0.2.1"}

// update changes an account and fails the test if that is refused.
func (h *house) update(account store.ID, fn func(tx *Tx) error) {
	h.t.Helper()
	must(h.t, h.Update(context.Background(), ada, account, fn))
}

// office makes an account with an admin Ada at 101 and a member Bob at 102, each with a telephone.
func (h *house) office(name string) (account store.ID, adaID, bobID store.ID) {
	h.t.Helper()
	host := name + ".example.com"
	h.update("", func(tx *Tx) error {
		a := newAccount(name)
		a.ProvisioningToken = store.Secret("token-of-" + name)
		if err := tx.CreateAccount(a); err != nil {
			return err
		}
		admin := newUser("Ada Lovelace", "ada@"+host, "101", store.Admin)
		member := newUser("Bob", "bob@"+host, "102", store.Member)
		for _, u := range []*store.User{admin, member} {
			if err := tx.CreateUser(u); err != nil {
				return err
			}
			if err := tx.CreateDevice(newPhone("Phone of "+u.Name, "", u.ID)); err != nil {
				return err
			}
		}
		account, adaID, bobID = a.ID, admin.ID, member.ID
		return nil
	})
	return account, adaID, bobID
}

// firstDevice returns the device of a user.
func (h *house) firstDevice(account, user store.ID) store.Device {
	h.t.Helper()
	items, _, err := h.Devices(h.t.Context(), account, DeviceFilter{User: user}, Page{})
	must(h.t, err)
	if len(items) == 0 {
		h.t.Fatalf("user %s has no device", user)
	}
	return items[0]
}

// news reads all that was published after seq.
func (h *house) news(seq uint64) []event.News {
	h.t.Helper()
	var all []event.News
	for r := h.bus.ReaderAfter(seq); seq < h.bus.Seq(); seq++ {
		n, err := r.Next(h.t.Context())
		must(h.t, err)
		all = append(all, n)
	}
	return all
}

func kinds(news []event.News) []string {
	var all []string
	for _, n := range news {
		k := n.Kind
		if o, ok := n.Data.(event.Object); ok {
			k += " " + o.Type
			if o.Deleted {
				k += " deleted"
			}
		}
		all = append(all, k)
	}
	return all
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func equalSlices[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
