package admin

import (
	"slices"
	"testing"
	"time"

	"pbx/sip"
	"pbx/store"
)

func TestLamps(t *testing.T) {
	h := newHouse(t)
	now := time.Now()
	own, foreign := h.desk.Lines[0].ID, h.zedDesk.Lines[0].ID
	right := sip.LampView{
		ID: "lam_1", Package: "dialog", LineID: own, DeviceID: h.desk.ID, UserID: h.ada.ID, Source: "192.0.2.31:5060", WatchedID: h.bob.ID, Watched: "sip:102@pbx",
		Believed: "busy", Sent: "busy", SentAt: now, Acknowledged: true, Since: now, Repairs: 2, Expires: now.Add(time.Hour),
	}
	wrong := right
	wrong.ID, wrong.Sent, wrong.Acknowledged, wrong.Since, wrong.Repairs = "lam_2", "ringing", false, time.Time{}, 3
	others := right
	others.ID, others.LineID, others.DeviceID = "lam_3", foreign, h.zedDesk.ID
	h.phones.lamps = []sip.LampView{right, wrong, others}
	h.phones.accounts = map[store.ID]store.ID{own: h.account, foreign: h.zedDesk.AccountID}

	a := h.admin.get("/accounts/default/lamps").want(200)
	if items := a.json("items").([]any); len(items) != 2 || a.json("repairs") != 5.0 {
		t.Errorf("%s", a.body)
	}
	if a.text("items.0.watched_name") != h.bob.Name || a.text("items.0.device_name") != h.desk.Name || a.json("items.0.right") != true || a.json("items.1.since") != nil || a.json("items.1.right") != false {
		t.Errorf("%s", a.body)
	}
	for query, want := range map[string][]string{
		"right=false": {"lam_2"}, "right=true": {"lam_1"}, "device_id=" + string(h.desk.ID): {"lam_1", "lam_2"}, "device_id=dev_none": nil, "limit=1": {"lam_1"}, "limit=1&cursor=1": {"lam_2"},
	} {
		a := h.admin.get("/accounts/default/lamps?" + query).want(200)
		var got []string
		for _, item := range a.json("items").([]any) {
			got = append(got, item.(map[string]any)["id"].(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
		if more := a.json("next_cursor") != nil; more != (query == "limit=1") {
			t.Errorf("%s: more is %v", query, more)
		}
	}
	h.admin.get("/accounts/default/lamps?cursor=x").want(400)
	h.admin.post("/accounts/default/lamps/lam_2/repair", nil).want(202)
	if !slices.Equal(h.phones.notified, []string{"repaired lam_2"}) {
		t.Errorf("phones were told %q", h.phones.notified)
	}
	h.admin.post("/accounts/default/lamps/lam_3/repair", nil).want(404)
	h.admin.post("/accounts/default/lamps/lam_9/repair", nil).want(404)
}
