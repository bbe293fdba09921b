package admin

import (
	"bytes"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"pbx/call"
	"pbx/event"
	"pbx/store"
	"pbx/store/sqlite"
)

func (h *house) liveCall(from, to store.User) store.ID {
	at := time.Now()
	c := event.Call{
		ID: store.NewID(store.PrefixCall), State: "talking", Direction: "internal", Dialed: to.Extension, StartedAt: at, AnsweredAt: &at,
		Caller: event.Party{UserID: from.ID, Name: from.Name, Extension: from.Extension, Codec: "PCMU"},
		Callee: event.Party{UserID: to.ID, Name: to.Name, Extension: to.Extension, Codec: "PCMU"},
	}
	h.calls.mu.Lock()
	defer h.calls.mu.Unlock()
	if h.calls.live == nil {
		h.calls.live = make(map[store.ID][]event.Call)
	}
	h.calls.live[from.AccountID] = append(h.calls.live[from.AccountID], c)
	return c.ID
}

func TestLiveCalls(t *testing.T) {
	h := newHouse(t)
	carol := store.User{ID: "usr_carol", AccountID: h.account, Name: "Carol", Extension: "103"}
	theirs := h.liveCall(h.ada, carol)
	bobs := h.liveCall(h.ada, h.bob)
	foreign := h.liveCall(h.zed, h.zed)

	if n := len(h.admin.get("/accounts/default/calls").want(200).json("items").([]any)); n != 2 {
		t.Errorf("an admin sees %d calls", n)
	}
	a := h.member.get("/accounts/default/calls").want(200)
	if n := len(a.json("items").([]any)); n != 1 || a.text("items.0.id") != string(bobs) || a.text("items.0.caller.codec") != "PCMU" {
		t.Errorf("a member sees %s", a.body)
	}
	h.member.remove("/accounts/default/calls/" + string(theirs)).want(404)
	h.admin.remove("/accounts/default/calls/" + string(foreign)).want(404)
	h.member.remove("/accounts/default/calls/" + string(bobs)).want(204)
	h.admin.remove("/accounts/default/calls/" + string(theirs)).want(204)
	if want := []store.ID{bobs, theirs}; !slices.Equal(h.calls.ended, want) {
		t.Errorf("ended %v, want %v", h.calls.ended, want)
	}
}

func TestPlacingCalls(t *testing.T) {
	h := newHouse(t)
	calls := "/accounts/default/calls"
	a := h.member.post(calls, map[string]any{"to": "101"}).want(201)
	if a.header.Get("Location") != basePath+"/accounts/"+string(h.account)+"/calls/"+a.text("id") {
		t.Errorf("Location %s", a.header.Get("Location"))
	}
	h.admin.post(calls, map[string]any{"from_user_id": h.bob.ID, "to": "*43"}).want(201)
	if want := []string{string(h.bob.ID) + " 101", string(h.bob.ID) + " *43"}; !slices.Equal(h.calls.placed, want) {
		t.Errorf("placed %v", h.calls.placed)
	}
	h.member.post(calls, map[string]any{"from_user_id": h.ada.ID, "to": "101"}).want(403)
	h.admin.post(calls, map[string]any{"from_user_id": h.zed.ID, "to": "101"}).want(422)
	h.admin.post(calls, map[string]any{"to": "sip:evil@example.org"}).want(422)
	h.admin.post(calls, map[string]any{"to": ""}).want(422)
	h.calls.err = call.ErrNoPhone
	if got := h.member.post(calls, map[string]any{"to": "101"}).want(409).text("detail"); got != "None of this user's phones is registered." {
		t.Error(got)
	}
	h.calls.err = call.ErrClosing
	h.member.post(calls, map[string]any{"to": "101"}).want(503)
}

func TestTransferringCalls(t *testing.T) {
	h := newHouse(t)
	carol := store.User{ID: "usr_carol", AccountID: h.account, Name: "Carol", Extension: "103"}
	theirs, bobs, foreign := h.liveCall(h.ada, carol), h.liveCall(h.ada, h.bob), h.liveCall(h.zed, h.zed)
	path := func(id store.ID) string { return "/accounts/default/calls/" + string(id) + "/transfer" }
	h.member.post(path(bobs), map[string]any{"to": "103"}).want(204)
	h.member.post(path(bobs), map[string]any{"to": "103", "side": "caller"}).want(204)
	h.admin.post(path(theirs), map[string]any{"to": "102", "side": "callee"}).want(204)
	want := []string{
		string(bobs) + " " + string(h.bob.ID) + "  103", string(bobs) + " " + string(h.bob.ID) + " caller 103",
		string(theirs) + " " + string(h.ada.ID) + " callee 102",
	}
	if !slices.Equal(h.calls.placed, want) {
		t.Errorf("transferred %q, want %q", h.calls.placed, want)
	}
	h.member.post(path(bobs), map[string]any{"to": "103", "side": "callee"}).want(403) // with Ada's rights
	h.member.post(path(theirs), map[string]any{"to": "103"}).want(404)
	h.admin.post(path(foreign), map[string]any{"to": "103"}).want(404)
	h.admin.post(path(bobs), map[string]any{"to": "sip:evil@example.org"}).want(422)
	h.admin.post(path(bobs), map[string]any{"to": "103", "side": "both"}).want(422)

	// An attended transfer joins two calls, for members two of their own.
	second := h.liveCall(h.bob, carol)
	h.calls.placed = nil
	h.member.post(path(bobs), map[string]any{"to_call_id": second}).want(204)
	h.admin.post(path(bobs), map[string]any{"to_call_id": theirs}).want(204)
	if want := []string{string(bobs) + " " + string(h.bob.ID) + " into " + string(second), string(bobs) + "  into " + string(theirs)}; !slices.Equal(h.calls.placed, want) {
		t.Errorf("joined %q, want %q", h.calls.placed, want)
	}
	h.member.post(path(bobs), map[string]any{"to_call_id": theirs}).want(422)
	h.admin.post(path(bobs), map[string]any{"to_call_id": foreign}).want(422)
	h.admin.post(path(bobs), map[string]any{"to_call_id": bobs}).want(422)
	h.admin.post(path(bobs), map[string]any{"to_call_id": theirs, "to": "103"}).want(422)
	h.admin.post(path(bobs), map[string]any{}).want(422)
	h.admin.post(path(foreign), map[string]any{"to_call_id": bobs}).want(404)
	h.calls.err = call.ErrNobodyInBoth
	h.admin.post(path(bobs), map[string]any{"to_call_id": theirs}).want(409)
	h.calls.err = call.ErrNotTalking
	if got := h.member.post(path(bobs), map[string]any{"to": "103"}).want(409).text("detail"); got != "Nobody is talking in this call." {
		t.Error(got)
	}
}

func TestCallRecords(t *testing.T) {
	h := newHouse(t)
	carol := store.User{Name: "Carol", Email: "carol@acme.test", Extension: "103", Role: store.Member, RingTimeout: 20 * time.Second}
	h.update(t, h.account, func(tx *sqlite.Tx) error { return tx.CreateUser(&carol) })
	theirs := h.call(t, h.account, h.ada, carol)
	bobs := h.call(t, h.account, h.ada, h.bob)
	foreign := h.call(t, h.other, h.zed, h.zed)
	records := "/accounts/default/call-records"

	a := h.admin.get(records).want(200)
	if n := len(a.json("items").([]any)); n != 2 {
		t.Errorf("an admin sees %d", n)
	}
	a = h.member.get(records).want(200)
	if n := len(a.json("items").([]any)); n != 1 || a.text("items.0.id") != string(bobs.ID) || a.json("items.0.talk_s") != 15.0 || a.text("items.0.legs.0.step") != "ringing" {
		t.Errorf("a member sees %s", a.body)
	}
	h.member.get(records + "?user_id=" + string(h.ada.ID)).want(403)
	for query, want := range map[string]int{"user_id=" + string(carol.ID): 1, "outcome=busy": 0, "outcome=answered": 2, "direction=inbound": 0, "q=carol": 1, "to=2000-01-01T00:00:00Z": 0} {
		if n := len(h.admin.get(records + "?" + query).want(200).json("items").([]any)); n != want {
			t.Errorf("%s found %d, want %d", query, n, want)
		}
	}
	h.admin.get(records + "?outcome=lost").want(400)
	h.member.get(records + "/" + string(theirs.ID)).want(404)
	h.member.get(records + "/" + string(theirs.ID) + "/route").want(404)
	h.admin.get(records + "/" + string(foreign.ID)).want(404)
	h.member.get(records + "/" + string(bobs.ID)).want(200)
	if got := h.member.get(records + "/" + string(bobs.ID) + "/route").want(200).text("reasons.0.detail"); got != "Extension 102 is Bob Cho" {
		t.Errorf("route %s", got)
	}
}

func TestVoicemail(t *testing.T) {
	h := newHouse(t)
	adas, bobs := h.message(t, h.account, h.ada.ID), h.message(t, h.account, h.bob.ID)
	box := "/accounts/default/voicemail-messages"
	a := h.member.get(box).want(200)
	if n := len(a.json("items").([]any)); n != 1 || a.text("items.0.id") != string(bobs.ID) || a.json("counts.new") != 1.0 || a.text("items.0.caller.name") != "Jane" {
		t.Errorf("%s", a.body)
	}
	all := h.admin.get(box).want(200)
	if n := len(all.json("items").([]any)); n != 2 || all.json("counts.new") != 2.0 {
		t.Errorf("an administrator sees %s", all.body)
	}
	if one := h.admin.get(box + "?mailbox=" + string(h.bob.ID)).want(200); len(one.json("items").([]any)) != 1 || one.text("items.0.id") != string(bobs.ID) {
		t.Errorf("Bob's mailbox is %s", one.body)
	}
	// Members hear their own mailbox only, and nobody one of another account.
	for _, c := range []struct {
		who *client
		m   store.Message
	}{{h.member, adas}, {h.foreign, bobs}} {
		path := box + "/" + string(c.m.ID)
		c.who.get(path).want(404)
		c.who.get(path + "/audio").want(404)
		c.who.get(path + "/peaks").want(404)
		c.who.patch(path, map[string]any{"read": true}).want(404)
		c.who.remove(path).want(404)
		c.who.get(box + "?mailbox=" + string(c.m.Mailbox)).want(404)
	}
	path := box + "/" + string(bobs.ID)
	a = h.member.get(path).want(200)
	if a.json("read") != false || a.json("duration_s") != 1.0 {
		t.Errorf("%s", a.body)
	}
	version := `"` + a.text("version") + `"`
	if h.member.with("If-Match", version).patch(path, map[string]any{"read": true}).want(200).json("read") != true {
		t.Error("not marked")
	}
	if got := h.db.MailboxCounts(h.account, h.bob.ID); got != (store.MailboxCounts{Old: 1}) {
		t.Errorf("lamp %+v", got)
	}
	h.member.with("If-Match", `"99"`).patch(path, map[string]any{"read": false}).want(412)
	h.member.with("If-Match", `"99"`).remove(path).want(412)
	h.member.patch(path, map[string]any{"read": "yes"}).want(422)
	h.member.remove(path).want(204)
	h.member.get(path).want(404)
	if _, err := os.Stat(h.db.MessagePath(bobs.ID)); !os.IsNotExist(err) {
		t.Errorf("the sound is still there: %v", err)
	}
}

func TestVoicemailAudio(t *testing.T) {
	h := newHouse(t)
	m := h.message(t, h.account, h.bob.ID)
	path := "/accounts/default/voicemail-messages/" + string(m.ID) + "/audio"
	whole := h.member.get(path).want(200)
	if !bytes.Equal(whole.body, wav(8000)) || whole.header.Get("Content-Type") != "audio/wav" || whole.header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("%d octets, %v", len(whole.body), whole.header)
	}
	part := h.member.with("Range", "bytes=44-143").get(path).want(206)
	if !bytes.Equal(part.body, wav(8000)[44:144]) || part.header.Get("Content-Range") != "bytes 44-143/16044" {
		t.Errorf("%d octets, %v", len(part.body), part.header)
	}
	if tail := h.member.with("Range", "bytes=-10").get(path).want(206); len(tail.body) != 10 {
		t.Errorf("%d octets", len(tail.body))
	}
	if got := h.member.get(path + "?download=true").want(200).header.Get("Content-Disposition"); got == "" {
		t.Error("no file name")
	}
	if got := h.member.with("If-None-Match", whole.header.Get("ETag")).do(http.MethodGet, path, nil); got.status != 304 {
		t.Errorf("status %d", got.status)
	}
	peaks := h.member.get("/accounts/default/voicemail-messages/" + string(m.ID) + "/peaks?points=4").want(200)
	if got := peaks.json("peaks").([]any); len(got) != 4 || got[0].(float64) > 0.26 || got[3].(float64) < 0.99 {
		t.Errorf("%s", peaks.body)
	}
	if n := len(h.member.get("/accounts/default/voicemail-messages/" + string(m.ID) + "/peaks").want(200).json("peaks").([]any)); n != 200 {
		t.Errorf("%d peaks", n)
	}
	if err := os.Remove(h.db.MessagePath(m.ID)); err != nil {
		t.Fatal(err)
	}
	h.member.get(path).want(404)
}

func TestSimulate(t *testing.T) {
	h := newHouse(t)
	h.update(t, h.account, func(tx *sqlite.Tx) error {
		return tx.CreateDevice(&store.Device{Kind: store.Softphone, Name: "Bob's", Transport: "udp", SRTP: "off", Lines: []store.Line{{UserID: h.bob.ID}}})
	})
	a := h.admin.post("/accounts/default/simulate", map[string]any{"from": "101", "to": "102", "at": "2026-03-02T10:00:00Z"}).want(200)
	if a.text("steps.0.action") != "ring" || a.json("steps.0.at_s") != 0.0 || a.text("steps.0.because") == "" {
		t.Errorf("%s", a.body)
	}
	byID := h.admin.post("/accounts/default/simulate", map[string]any{"from": h.ada.ID, "to": "102"}).want(200)
	if string(byID.body) != string(a.body) {
		t.Errorf("%s\n%s", byID.body, a.body)
	}
	if got := h.admin.post("/accounts/default/simulate", map[string]any{"from": "101", "to": "*43"}).want(200).text("steps.0.action"); got != "echo" {
		t.Errorf("*43 does %s", got)
	}
	if got := h.admin.post("/accounts/default/simulate", map[string]any{"from": "+15550100", "to": "999999"}).want(200).text("steps.0.action"); got != "reject" {
		t.Errorf("nobody's number does %s", got)
	}
	h.admin.patch("/accounts/default/users/"+string(h.bob.ID), map[string]any{"do_not_disturb": true}).want(200)
	if got := h.admin.post("/accounts/default/simulate", map[string]any{"from": "101", "to": "102"}).want(200).text("steps.0.action"); got != "voicemail" {
		t.Errorf("a call for somebody who wants no calls does %s", got)
	}
	h.admin.post("/accounts/default/simulate", map[string]any{"to": "102", "at": "tomorrow"}).want(422)
}

func TestPeaksOfDamagedFiles(t *testing.T) {
	whole := wav(100)
	for name, file := range map[string][]byte{
		"empty": nil, "no wave": []byte("hello"), "only a head": whole[:12], "no data": whole[:36], "8 bit": append(append([]byte{}, whole[:34]...), 8, 0),
		"chunk past the end": append(append([]byte{}, whole[:12]...), 'L', 'I', 'S', 'T', 255, 255, 255, 127),
	} {
		if _, err := wavPeaks(bytes.NewReader(file), 10); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	cut := whole[:44+51] // the recorder was killed: header says 200 octets, 51 are there
	if peaks, err := wavPeaks(bytes.NewReader(cut), 10); err != nil || len(peaks) != 10 {
		t.Errorf("%v %v", peaks, err)
	}
}
