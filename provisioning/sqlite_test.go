package provisioning_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"pbx/provisioning"
	"pbx/provisioning/provtest"
	"pbx/store"
	"pbx/store/sqlite"
)

// TestOnDisk goes the whole way with the real store: an admin adds a phone, the phone boots, a person is renamed, the
// address is rotated, the phone is deleted.
func TestOnDisk(t *testing.T) {
	ctx := t.Context()
	db, err := sqlite.Open(ctx, sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	account := store.Account{
		Name: "Example", Timezone: "Europe/Berlin", Country: "DE", ExtensionLength: 3, ParkingTimeout: time.Minute,
		ProvisioningToken: "first-token-of-the-account", PhoneAdminPassword: "phone-admin-password",
	}
	user := store.User{Name: "Ada Lovelace", Email: "ada@example.com", Role: store.Admin, Extension: "101", RingTimeout: 20 * time.Second}
	device := store.Device{
		Kind: store.Deskphone, Name: "Desk", Vendor: "yealink", Model: "T54W", MAC: "805ec0000001", Transport: "tcp", SRTP: "off",
	}
	update := func(account store.ID, fn func(tx *sqlite.Tx) error) {
		t.Helper()
		if err := db.Update(ctx, store.System, account, fn); err != nil {
			t.Fatal(err)
		}
	}
	update("", func(tx *sqlite.Tx) error { return tx.CreateAccount(&account) })
	update(account.ID, func(tx *sqlite.Tx) error {
		if err := tx.CreateUser(&user); err != nil {
			return err
		}
		device.Lines = []store.Line{{UserID: user.ID, Label: "Ada"}}
		return tx.CreateDevice(&device)
	})

	s := provisioning.New(provisioning.Config{
		Store: db,
		SIP: func(local netip.Addr) (string, map[string]int) {
			return local.String(), map[string]int{"udp": 5060, "tcp": 5062}
		},
		HTTPBase: func(r *http.Request) string { return "http://" + r.Host },
	})
	ts := httptest.NewServer(s)
	defer ts.Close()
	defer ts.Client().CloseIdleConnections()
	phone := provtest.Phone{
		Client: ts.Client(), MAC: device.MAC, UserAgent: "Yealink SIP-T54W 96.86.0.23 80:5e:c0:00:00:01", Common: "y000000000096.cfg",
		Base: ts.URL + "/p/" + string(account.ProvisioningToken) + "/",
	}
	accounts, err := phone.Accounts(ctx)
	if err != nil || len(accounts) != 1 {
		t.Fatalf("accounts %+v, %v", accounts, err)
	}
	line, ok := db.Line(accounts[0].User)
	if !ok || string(line.Password) != accounts[0].Password || line.DeviceID != device.ID {
		t.Errorf("the file says %+v, the store %+v", accounts[0], line)
	}
	if a := accounts[0]; a.Label != "Ada" || a.DisplayName != "Ada Lovelace" || a.Host != "127.0.0.1" || a.Port != 5062 || a.Transport != "tcp" {
		t.Errorf("account %+v", a)
	}
	var fetches []store.ProvisionFetch
	for late := time.Now().Add(10 * time.Second); len(fetches) < 4 && err == nil && time.Now().Before(late); { // they are noted behind the answers
		fetches, _, err = db.ProvisionFetches(ctx, account.ID, device.ID, sqlite.Page{})
	}
	if err != nil || len(fetches) != 4 || fetches[0].File != "805ec0000001.cfg" || fetches[0].Status != http.StatusOK {
		t.Errorf("fetches %+v, %v", fetches, err)
	}

	user.Name = "Ada King"
	update(account.ID, func(tx *sqlite.Tx) error { return tx.SaveUser(&user, 0) })
	if accounts, err = phone.Accounts(ctx); err != nil || accounts[0].DisplayName != "Ada King" {
		t.Errorf("after the wedding: %+v, %v", accounts, err)
	}

	account.ProvisioningToken = "second-token-of-the-account"
	update(account.ID, func(tx *sqlite.Tx) error { return tx.SaveAccount(&account, 0) })
	if r, err := phone.Fetch(ctx, http.MethodGet, device.MAC+".cfg", nil); err != nil || r.Status != http.StatusNotFound {
		t.Errorf("old address: %d, %v", r.Status, err)
	}
	phone.Base = ts.URL + "/p/" + string(account.ProvisioningToken) + "/"
	if accounts, err = phone.Accounts(ctx); err != nil || len(accounts) != 1 {
		t.Errorf("new address: %+v, %v", accounts, err)
	}

	update(account.ID, func(tx *sqlite.Tx) error { return tx.DeleteDevice(device.ID, 0) })
	if r, err := phone.Fetch(ctx, http.MethodGet, device.MAC+".cfg", nil); err != nil || r.Status != http.StatusNotFound {
		t.Errorf("deleted phone: %d, %v", r.Status, err)
	}
	if seen := s.Seen(account.ID); len(seen) != 1 || seen[0].MAC != device.MAC || seen[0].Model != "T54W" {
		t.Errorf("seen %+v", seen)
	}
}
