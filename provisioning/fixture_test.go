package provisioning

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"pbx/store"
)

const (
	testToken = "Zm9v-TestToken_0123456789"
	testAdmin = "phone:admin#secret"
)

// memory is a Store in a few lines of memory, so that tests can change accounts at will.
type memory struct {
	mu        sync.Mutex
	snapshots map[store.ID]*store.Snapshot
	fetches   []store.ProvisionFetch
}

func (m *memory) AccountByProvisioningToken(token string) (store.ID, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, s := range m.snapshots {
		if token != "" && string(s.Account.ProvisioningToken) == token {
			return id, true
		}
	}
	return "", false
}

func (m *memory) Snapshot(account store.ID) *store.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.snapshots[account]
}

func (m *memory) DeviceByMAC(account store.ID, mac string) (*store.Device, bool) {
	s := m.Snapshot(account)
	if s == nil {
		return nil, false
	}
	for i := range s.Devices {
		if s.Devices[i].MAC == mac {
			return &s.Devices[i], true
		}
	}
	return nil, false
}

func (m *memory) SaveProvisionFetch(_ context.Context, f store.ProvisionFetch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fetches = append(m.fetches, f)
	return nil
}

// recorded returns the fetches so far.
func (m *memory) recorded() []store.ProvisionFetch {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.fetches)
}

// set replaces an account.
func (m *memory) set(a store.Account, users []store.User, devices []store.Device) {
	slices.SortFunc(devices, func(a, b store.Device) int { return cmp.Compare(a.ID, b.ID) })
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.snapshots == nil {
		m.snapshots = make(map[store.ID]*store.Snapshot)
	}
	m.snapshots[a.ID] = store.NewSnapshot(a, users, devices)
}

// firm is an account to change before it is given to a memory.
type firm struct {
	account store.Account
	users   []store.User
	devices []store.Device
}

func newFirm() *firm {
	f := &firm{account: store.Account{
		ID: "acc_1", Name: "Example", Timezone: "Europe/Berlin", Country: "DE", ExtensionLength: 3,
		ProvisioningToken: testToken, PhoneAdminPassword: testAdmin,
	}}
	for i, name := range []string{"Ada Lovelace", "Grace Hopper", "Zoë Œuvre"} {
		f.users = append(f.users, store.User{
			ID: store.ID(fmt.Sprintf("usr_%d", i+1)), AccountID: f.account.ID, Name: name,
			Username: fmt.Sprintf("user%d", i+1), Role: store.Member, Extension: fmt.Sprintf("10%d", i+1),
			RingTimeout: 20 * time.Second, Voicemail: store.Voicemail{Enabled: true},
		})
	}
	return f
}

// add gives the account a device with a line for each of the users named by number. Names and passwords of lines are
// unlike those of any other device.
func (f *firm) add(d store.Device, users ...int) *store.Device {
	n := len(f.devices) + 1
	d.ID, d.AccountID = store.ID(fmt.Sprintf("dev_%04d", n)), f.account.ID
	if d.Name == "" {
		d.Name = fmt.Sprintf("Phone %d", n)
	}
	if d.Vendor == "" {
		d.Vendor = "yealink"
	}
	if d.Transport == "" {
		d.Transport, d.SRTP = "udp", "off"
	}
	for i, u := range users {
		d.Lines = append(d.Lines, store.Line{
			ID: store.ID(fmt.Sprintf("lin_%04d_%d", n, i+1)), AccountID: f.account.ID, DeviceID: d.ID,
			UserID: store.ID(fmt.Sprintf("usr_%d", u)), Index: i + 1,
			Username: fmt.Sprintf("sip%04dx%d", n, i+1), Password: store.Secret(fmt.Sprintf("pass-%04d-%d", n, i+1)),
		})
	}
	f.devices = append(f.devices, d)
	return &f.devices[n-1]
}

// server puts the account into a memory and serves it.
func (f *firm) server() (*Server, *memory) {
	m := new(memory)
	m.set(f.account, f.users, f.devices)
	return New(testConfig(m)), m
}

func testConfig(s Store) Config {
	return Config{
		Store: s,
		SIP: func(netip.Addr) (string, map[string]int) {
			return "192.0.2.10", map[string]int{"udp": 5060, "tcp": 5061, "tls": 5062}
		},
		HTTPBase: func(*http.Request) string { return "http://192.0.2.10:8080" },
	}
}
