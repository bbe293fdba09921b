package admin

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"pbx/store"
)

// bodies are valid bodies, so that a refusal in these tests is never about the input.
var bodies = map[string]string{
	"updateMe": `{}`, "changePassword": `{"current_password":"x","new_password":"y"}`, "createAPIKey": `{"name":"k"}`, "updateMySettings": `{}`,
	"updateAccount": `{}`, "createUser": `{"name":"X","email":"x@acme.test"}`, "updateUser": `{}`,
	"createDevice": `{"kind":"softphone","name":"X"}`, "updateDevice": `{}`, "updateVoicemailMessage": `{}`,
	"createCall": `{"to":"101"}`, "transferCall": `{"to":"101"}`, "setCallRecording": `{"state":"paused"}`, "simulate": `{"to":"101"}`, "createSession": `{"login":"x","password":"y"}`,
	"createAudioClip": "no form", "updateAudioClip": `{}`,
	"createTrunk": `{"name":"X","host":"192.0.2.1"}`, "updateTrunk": `{}`, "testTrunk": `{}`,
	"createNumber": `{"number":"+4930123456","destination":{"type":"hangup"}}`, "updateNumber": `{}`,
	"createRingGroup": `{"name":"X","members":[]}`, "updateRingGroup": `{}`, "createMailbox": `{"name":"X"}`, "updateMailbox": `{}`,
	"createBan":   `{"ip":"203.0.113.5"}`,
	"createSetup": `{"account_name":"A","timezone":"UTC","admin_name":"A","admin_email":"a@a.test","admin_password":"long enough to be one"}`,
}

// memberOperations is everything that a member may do. A new operation must be thought about here.
var memberOperations = []string{
	"changePassword", "createAPIKey", "createCall", "deleteAPIKey", "deleteCall", "deleteSession", "deleteVoicemailMessage",
	"getAccount", "getCallQuality", "getCallRecord", "getCallRoute", "getCallTrace", "getCallTracePcap", "getMe", "getMySettings", "getRecording", "getRecordingAudio", "getRecordingMP3", "getRecordingPeaks", "getSession",
	"getVoicemailAudio", "getVoicemailMP3", "getVoicemailMessage", "getVoicemailPeaks",
	"listAPIKeys", "listAccounts", "listCallRecords", "listCalls", "listFeatureCodes", "listParking", "listRecordings", "listVoicemailMessages", "parkCall", "setCallRecording", "streamEvents",
	"transferCall", "updateMe", "updateMySettings", "updateVoicemailMessage",
}

// fill puts ids into the path of an operation.
func (o *operation) fill(account, user, device, line, message, call store.ID) string {
	return strings.NewReplacer("{account}", string(account), "{user}", string(user), "{device}", string(device), "{line}", string(line),
		"{message}", string(message), "{call}", string(call), "{key}", "key_unknown", "{ip}", "192.0.2.99", "{trunk}", "trk_unknown", "{number}", "num_unknown", "{group}", "grp_unknown", "{mailbox}", "mbx_unknown",
		"{clip}", "clp_unknown", "{recording}", "rec_unknown").Replace(o.path)
}

func (c *client) try(o *operation, path string) *answer {
	c.t.Helper()
	if body := bodies[o.id]; body != "" {
		return c.do(o.method, path, body)
	}
	return c.do(o.method, path, nil)
}

func TestRoles(t *testing.T) {
	h := newHouse(t)
	mine := h.message(t, h.account, h.ada.ID)
	theirs := h.message(t, h.other, h.zed.ID)
	call := h.call(t, h.account, h.ada, h.ada)
	foreignCall := h.call(t, h.other, h.zed, h.zed)
	var members []string
	for _, o := range h.server.operations {
		t.Run(o.id, func(t *testing.T) {
			as := func(c *client) *client { d := *c; d.t = t; return &d }
			own := o.fill(h.account, h.bob.ID, h.desk.ID, h.desk.Lines[0].ID, mine.ID, call.ID)
			if o.spec.RequestBody != nil && bodies[o.id] == "" {
				t.Fatal("no valid body is known")
			}
			if o.access == public {
				return
			}
			as(h.nobody).try(o, own).want(http.StatusUnauthorized)
			broken := as(h.nobody)
			broken.cookie = "no session"
			broken.try(o, own).want(http.StatusUnauthorized)
			if o.access == adminOnly {
				as(h.member).try(o, own).want(http.StatusForbidden)
			} else {
				members = append(members, o.id)
			}
			if !strings.Contains(o.path, "{account}") {
				return
			}
			// Another account's things do not exist, by its id and under our own.
			as(h.admin).try(o, o.fill(h.other, h.zed.ID, h.zedDesk.ID, h.zedDesk.Lines[0].ID, theirs.ID, foreignCall.ID)).want(http.StatusNotFound)
			as(h.admin).try(o, o.fill("acc_unknown", h.zed.ID, h.zedDesk.ID, h.zedDesk.Lines[0].ID, theirs.ID, foreignCall.ID)).want(http.StatusNotFound)
			if strings.Count(o.path, "{") > 1 {
				as(h.admin).try(o, o.fill(h.account, h.zed.ID, h.zedDesk.ID, h.zedDesk.Lines[0].ID, theirs.ID, foreignCall.ID)).want(http.StatusNotFound)
				as(h.admin).try(o, o.fill(h.account, "usr_unknown", "dev_unknown", "lin_unknown", "msg_unknown", "cal_unknown")).want(http.StatusNotFound)
			}
		})
	}
	slices.Sort(members)
	if !slices.Equal(members, memberOperations) {
		t.Errorf("members may do %v", members)
	}
	// Nothing of the other account was touched.
	if u := h.db.Snapshot(h.other).User(h.zed.ID); u == nil || u.Version != 1 {
		t.Errorf("the stranger is %+v", u)
	}
	if d := h.db.Snapshot(h.other).Device(h.zedDesk.ID); d == nil || d.Version != 1 || d.Lines[0].Password != h.zedDesk.Lines[0].Password {
		t.Error("the stranger's device changed")
	}
}

func TestDeniedIsLogged(t *testing.T) {
	h := newHouse(t)
	for _, o := range h.server.operations {
		if o.access != adminOnly {
			continue
		}
		h.member.try(o, o.fill(h.account, h.ada.ID, h.desk.ID, h.desk.Lines[0].ID, "msg_x", "cal_x")).want(http.StatusForbidden)
		entries := events(h, o.activity)
		if len(entries) == 0 || entries[0].Outcome != store.Denied || entries[0].Actor.ID != h.bob.ID {
			t.Errorf("%s: %+v", o.id, entries)
		}
	}
}
