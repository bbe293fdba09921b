package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"pbx/sip"
	"pbx/store"
	"pbx/store/sqlite"
)

// BenchmarkListUsers lists 1,000 users with a registered phone each, two pages of 500.
func BenchmarkListUsers(b *testing.B) {
	h := newHouse(b)
	var devices []store.Device
	h.update(b, h.account, func(tx *sqlite.Tx) error {
		for i := range 998 {
			u := store.User{
				Name: fmt.Sprintf("Person %d", i), Username: fmt.Sprintf("person%d", i), Role: store.Member, RingTimeout: 20 * time.Second,
			}
			if err := tx.CreateUser(&u); err != nil {
				return err
			}
			d := store.Device{Kind: store.Softphone, Name: u.Name, Transport: "udp", SRTP: "off", Lines: []store.Line{{UserID: u.ID}}}
			if err := tx.CreateDevice(&d); err != nil {
				return err
			}
			devices = append(devices, d)
		}
		return nil
	})
	phones := make(indexedPhones)
	for _, d := range devices {
		phones[d.Lines[0].UserID] = []store.Binding{{LineID: d.Lines[0].ID, DeviceID: d.ID, UserID: d.Lines[0].UserID}}
	}
	h.server.Phones = phones
	b.ReportAllocs()
	for b.Loop() {
		first := send(b, h.admin, "/accounts/default/users?limit=500")
		a := &answer{t: b, body: first.Body.Bytes()}
		send(b, h.admin, "/accounts/default/users?limit=500&cursor="+a.text("next_cursor"))
	}
}

// BenchmarkGetUser reads one user: authentication, check, view and activity.
func BenchmarkGetUser(b *testing.B) {
	h := newHouse(b)
	b.ReportAllocs()
	for b.Loop() {
		send(b, h.admin, "/accounts/default/users/"+string(h.bob.ID))
	}
}

// send sends a request without proving the answer, which would cost more than making it.
func send(b *testing.B, c *client, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.house.server.ServeHTTP(w, c.request(http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		b.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w
}

// indexedPhones find registrations as fast as the real ones do.
type indexedPhones map[store.ID][]store.Binding

func (p indexedPhones) BindingsOfUser(user store.ID) []store.Binding { return p[user] }
func (p indexedPhones) BindingsOfDevice(store.ID) []store.Binding    { return nil }
func (p indexedPhones) CheckSync(context.Context, store.Binding, string, string, bool) error {
	return nil
}
func (p indexedPhones) ForgetDevice(store.ID) int         { return 0 }
func (p indexedPhones) LampTruth(store.ID) []sip.LampView { return nil }
func (p indexedPhones) RepairLamp(store.ID, string) bool  { return false }
