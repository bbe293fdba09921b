package admin

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pbx/event"
	"pbx/provisioning"
	"pbx/store"
)

func TestDeviceLife(t *testing.T) {
	h := newHouse(t)
	devices := "/accounts/default/devices"
	a := h.admin.post(devices, map[string]any{
		"kind": "deskphone", "name": "Front desk", "vendor": "Yealink", "model": "T46U", "mac": "80:5E:C0:AA:BB:CC", "transport": "tcp",
		"user_ids": []string{string(h.bob.ID), string(h.ada.ID)},
	}).want(201)
	id := a.text("id")
	path := "/accounts/" + string(h.account) + "/devices/" + id
	if a.header.Get("Location") != basePath+path || a.text("mac") != "805ec0aabbcc" || a.text("vendor") != "yealink" {
		t.Errorf("%s", a.body)
	}
	if got := fmt.Sprintf("%v:%v %v %v", a.json("sip.server"), a.json("sip.port"), a.json("sip.transport"), a.json("sip.username") == a.json("lines.0.username")); got != "192.0.2.1:5061 tcp true" {
		t.Errorf("sip: %s", got)
	}
	password := a.text("lines.0.password")
	if len(password) < 16 || a.text("sip.password") != password || a.text("lines.1.password") == password {
		t.Errorf("passwords: %s", a.body)
	}
	// Later reads never show it, except the audited one.
	for _, p := range []string{devices, path} {
		if strings.Contains(string(h.admin.get(p).want(200).body), password) {
			t.Errorf("%s shows the password", p)
		}
	}
	if got := h.admin.get(path + "/sip-credentials").want(200).text("sip.password"); got != password {
		t.Errorf("credentials show %q", got)
	}
	line, adas := a.text("lines.0.id"), a.text("lines.1.id")
	rotated := h.admin.post(path+"/lines/"+line+"/rotate", nil).want(200)
	if rotated.text("password") == password || rotated.text("line_id") != line {
		t.Errorf("%s", rotated.body)
	}
	if l, ok := h.db.Line(rotated.text("username")); !ok || string(l.Password) != rotated.text("password") {
		t.Error("the new password is not in force")
	}
	h.admin.post(path+"/lines/lin_unknown/rotate", nil).want(404)

	// user_ids keeps the line of who stays.
	a = h.admin.patch(path, map[string]any{"user_ids": []string{string(h.ada.ID)}, "name": "Hall"}).want(200)
	if lines := a.json("lines").([]any); len(lines) != 1 || a.text("lines.0.user_name") != "Ada Lovelace" || a.text("lines.0.id") != adas {
		t.Errorf("%s", a.body)
	}
	a = h.admin.patch(path, map[string]any{"lines": []any{map[string]any{"user_id": h.bob.ID, "label": "Hall"}, map[string]any{"id": adas, "user_id": h.ada.ID}}}).want(200)
	if !slices.Contains([]string{a.text("lines.0.id"), a.text("lines.1.id")}, adas) || !strings.Contains(string(a.body), `"label":"Hall"`) {
		t.Errorf("%s", a.body)
	}
	h.admin.with("If-Match", `"1"`).patch(path, map[string]any{"name": "Late"}).want(412)
	h.admin.with("If-Match", `"1"`).remove(path).want(412)
	h.admin.remove(path).want(204)
	h.admin.get(path).want(404)
}

func TestDeviceRefusals(t *testing.T) {
	h := newHouse(t)
	base := func(more map[string]any) map[string]any {
		b := map[string]any{"kind": "deskphone", "name": "Desk"}
		for k, v := range more {
			b[k] = v
		}
		return b
	}
	for name, test := range map[string]struct {
		body   map[string]any
		status int
		fields []string
	}{
		"bad mac":       {base(map[string]any{"mac": "80:5e"}), 422, []string{"mac"}},
		"taken mac":     {base(map[string]any{"mac": "80-5E-C0-12-34-56"}), 409, []string{"mac"}},
		"unknown kind":  {base(map[string]any{"kind": "toaster"}), 422, []string{"kind"}},
		"unknown user":  {base(map[string]any{"user_ids": []string{"usr_nobody"}}), 422, []string{"user_ids"}},
		"foreign user":  {base(map[string]any{"user_ids": []string{string(h.zed.ID)}}), 422, []string{"user_ids"}},
		"twice":         {base(map[string]any{"user_ids": []string{string(h.ada.ID), string(h.ada.ID)}}), 422, []string{"user_ids"}},
		"both":          {base(map[string]any{"user_ids": []string{}, "lines": []any{}}), 422, []string{"lines"}},
		"ws":            {base(map[string]any{"transport": "ws"}), 422, []string{"transport"}},
		"desk over wss": {base(map[string]any{"transport": "wss", "mac": "80:5E:C0:12:34:57"}), 422, []string{"transport"}},
		"srtp":          {base(map[string]any{"srtp": "always"}), 422, []string{"srtp"}},
		"no base":       {map[string]any{"kind": "dect_handset", "name": "Handset"}, 422, []string{"base_id"}},
		"foreign base":  {map[string]any{"kind": "dect_handset", "name": "Handset", "base_id": h.zedDesk.ID}, 422, []string{"base_id"}},
		"own password":  {base(map[string]any{"password": "x"}), 422, []string{"password"}},
		"too many":      {base(map[string]any{"user_ids": slices.Repeat([]string{"usr_x"}, 33)}), 422, []string{"user_ids"}},
		"line password": {base(map[string]any{"lines": []any{map[string]any{"user_id": h.ada.ID, "password": "x"}}}), 422, []string{"lines.0.password"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := *h.admin
			c.t = t
			a := c.post("/accounts/default/devices", test.body).want(test.status)
			if got := a.fields(); !slices.Equal(got, test.fields) {
				t.Errorf("fields %v, want %v: %s", got, test.fields, a.body)
			}
		})
	}
	path := "/accounts/default/devices/" + string(h.desk.ID)
	h.admin.patch(path, map[string]any{"lines": []any{map[string]any{"id": h.zedDesk.Lines[0].ID, "user_id": h.ada.ID}}}).want(422)
	h.admin.patch(path, map[string]any{"user_ids": []string{}, "lines": []any{}}).want(422)
	h.admin.patch(path, map[string]any{"kind": "softphone"}).want(422)
}

// Who makes a device learns where it registers, for each transport.
func TestDeviceTransports(t *testing.T) {
	h := newHouse(t)
	for transport, port := range map[string]int{"udp": 5060, "tcp": 5061, "tls": 5062, "wss": 8443} {
		a := h.admin.post("/accounts/default/devices", map[string]any{"kind": "softphone", "name": transport, "user_ids": []string{string(h.ada.ID)}, "transport": transport}).want(201)
		if got, want := fmt.Sprintf("%v:%v %v", a.json("sip.server"), a.json("sip.port"), a.json("sip.transport")), fmt.Sprintf("192.0.2.1:%d %s", port, transport); got != want {
			t.Errorf("%s: phones register at %s, want %s", transport, got, want)
		}
	}
}

func TestDeviceFilters(t *testing.T) {
	h := newHouse(t)
	count := func(query string) int {
		return len(h.admin.get("/accounts/default/devices?" + query).want(200).json("items").([]any))
	}
	for query, want := range map[string]int{
		"": 1, "kind=deskphone": 1, "kind=softphone": 0, "user_id=" + string(h.ada.ID): 1, "user_id=" + string(h.bob.ID): 0, "q=80:5E:C0": 1, "q=snom": 0,
	} {
		if got := count(query); got != want {
			t.Errorf("%q found %d, want %d", query, got, want)
		}
	}
	h.admin.get("/accounts/default/devices?kind=toaster").want(400)
}

func TestRegistrationsAndCheckSync(t *testing.T) {
	h := newHouse(t)
	path := "/accounts/default/devices/" + string(h.desk.ID)
	h.admin.post(path+"/resync", nil).want(409)
	h.online(&h.desk)
	h.online(&h.zedDesk)
	a := h.admin.get(path).want(200)
	if a.json("online") != true || a.json("last_seen") == nil || a.text("registrations.0.source") != "192.0.2.31:5060" {
		t.Errorf("%s", a.body)
	}
	h.phones.change(func(b *store.Binding) { b.RTT, b.Unreachable = 12300*time.Microsecond, true })
	a = h.admin.get(path).want(200)
	if got := fmt.Sprint(a.json("online"), a.json("lines.0.online"), a.json("registrations.0.reachable"), a.json("registrations.0.rtt_ms")); got != "false false false 13" {
		t.Errorf("a phone that does not answer is shown as %s", got)
	}
	h.phones.change(func(b *store.Binding) { b.RTT, b.Unreachable = 0, false })
	if list := h.admin.get("/accounts/default/registrations").want(200).json("items").([]any); len(list) != 1 {
		t.Errorf("registrations of others are shown: %v", list)
	}
	h.phones.register(h.phones.BindingsOfDevice(h.desk.ID)[0]) // a second line at the same address is the same phone
	h.admin.post(path+"/resync", nil).want(202)
	if got := h.admin.post(path+"/reboot", nil).want(202).json("registrations"); got != 1.0 {
		t.Errorf("asked %v", got)
	}
	phone := "192.0.2.31:5060 " + h.desk.Vendor + " " + h.desk.Model
	if want := []string{phone + " false", phone + " true"}; !slices.Equal(h.phones.notified, want) {
		t.Errorf("sent %q", h.phones.notified)
	}
	h.phones.err = errors.New("no answer")
	h.admin.post(path+"/resync", nil).want(502)

	h.member.post(path+"/unregister", nil).want(403)
	if got := h.admin.post(path+"/unregister", nil).want(200).json("registrations"); got != 2.0 {
		t.Errorf("%v registrations were forgotten", got)
	}
	h.admin.post(path+"/unregister", nil).want(409)
	if a := h.admin.get(path).want(200); a.json("online") != false {
		t.Errorf("an unregistered phone is on line: %s", a.body)
	}
	h.admin.post("/accounts/default/devices/"+string(h.zedDesk.ID)+"/unregister", nil).want(404)
	if a := h.admin.get("/accounts/default/activity?event=device.unregister&outcome=success").want(200); a.text("items.0.resource") != "device/"+string(h.desk.ID) || a.json("items.0.detail.registrations") != 2.0 {
		t.Errorf("the activity says %s", a.body)
	}
}

func TestLastSeen(t *testing.T) {
	h := newHouse(t)
	path := "/accounts/default/devices/" + string(h.desk.ID)
	if got := h.admin.get(path).want(200).json("last_seen"); got != nil {
		t.Errorf("never seen, but %v", got)
	}
	// A phone that comes for its file now counts, though the answer above was "never".
	token := h.admin.post("/accounts/default/provisioning/rotate", nil).want(200).text("token")
	before := time.Now()
	h.server.Provisioning.(*provisioning.Server).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/p/"+token+"/"+h.desk.MAC+".cfg", nil))
	seen, err := time.Parse(time.RFC3339, h.admin.get(path).want(200).text("last_seen"))
	if err != nil || seen.Before(before.Add(-time.Second)) {
		t.Errorf("fetched just now, but seen %v, %v", seen, err)
	}
}

func TestLastSeenByRegistration(t *testing.T) {
	h := newHouse(t)
	path := "/accounts/default/devices/" + string(h.desk.ID)
	at := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	h.server.seen.follow(t.Context(), closedReader(event.News{Time: at, Data: event.Registration{DeviceID: h.desk.ID}}))
	h.server.seen.note(h.desk.ID, time.Time{}) // a list that looked before the news came
	if got := h.admin.get(path).want(200).json("last_seen"); got != "2026-03-02T10:00:00Z" {
		t.Errorf("seen %v", got)
	}
}

// closedReader reads the given news and then the end.
func closedReader(news ...event.News) *event.Reader {
	bus := event.NewBus()
	r := bus.Reader()
	bus.Publish(news...)
	bus.Close()
	return r
}

func TestProvisioning(t *testing.T) {
	h := newHouse(t)
	p := "/accounts/default/provisioning"
	if a := h.admin.get(p).want(200); a.json("url") != nil || a.json("token_set") != false {
		t.Errorf("%s", a.body)
	}
	made := h.admin.post(p+"/rotate", nil).want(200)
	token, password := made.text("token"), made.text("phone_admin_password")
	if made.text("url") != "http://192.0.2.1:8080/p/"+token+"/" {
		t.Errorf("%s", made.body)
	}
	if account, ok := h.db.AccountByProvisioningToken(token); !ok || account != h.account {
		t.Error("the token is not in force")
	}
	hidden := h.admin.get(p).want(200)
	if s := string(hidden.body); strings.Contains(s, token) || strings.Contains(s, password) || hidden.json("phone_admin_password_set") != true {
		t.Errorf("%s", s)
	}
	shown := h.admin.get(p + "?reveal=true").want(200)
	if shown.text("url") != made.text("url") || shown.text("phone_admin_password") != password {
		t.Errorf("%s", shown.body)
	}
	if got := events(h, "provisioning.reveal"); len(got) != 1 {
		t.Errorf("reveal is logged %d times", len(got))
	}
	again := h.admin.post(p+"/rotate", nil).want(200)
	if again.text("token") == token || again.text("phone_admin_password") != password {
		t.Errorf("%s", again.body)
	}
	if _, ok := h.db.AccountByProvisioningToken(token); ok {
		t.Error("the old token still works")
	}
	files := h.admin.get("/accounts/default/devices/" + string(h.desk.ID) + "/provisioning-files").want(200)
	if len(files.json("items").([]any)) == 0 || strings.Contains(string(files.body), string(h.desk.Lines[0].Password)) || strings.Contains(string(files.body), again.text("token")) {
		t.Errorf("%s", files.body)
	}
	h.admin.get(p + "/seen").want(200)
	if n := len(h.admin.get("/accounts/default/device-models?vendor=yealink").want(200).json("items").([]any)); n < 5 {
		t.Errorf("%d models", n)
	}
	if n := len(h.admin.get("/accounts/default/device-models?vendor=none").want(200).json("items").([]any)); n != 0 {
		t.Errorf("%d models of nobody", n)
	}
}

func TestProvisioningLog(t *testing.T) {
	h := newHouse(t)
	err := h.db.SaveProvisionFetch(t.Context(), store.ProvisionFetch{AccountID: h.account, DeviceID: h.desk.ID, At: time.Now(), File: "805ec0123456.cfg", Source: "192.0.2.31", Status: 200, Bytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := "/accounts/default/devices/" + string(h.desk.ID)
	if a := h.admin.get(path + "/provisioning-log").want(200); a.text("items.0.file") != "805ec0123456.cfg" {
		t.Errorf("%s", a.body)
	}
	if h.admin.get(path).want(200).json("last_seen") == nil {
		t.Error("a phone that fetched was never seen")
	}
	h.admin.get("/accounts/default/devices/" + string(h.zedDesk.ID) + "/provisioning-log").want(404)
}
