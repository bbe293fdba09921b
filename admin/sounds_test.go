package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pbx/admin/contract"
	"pbx/call"
	"pbx/event"
	"pbx/store"
	"pbx/store/sqlite"
)

// fakeSounds takes every upload that begins with RIFF as it is.
type fakeSounds struct{}

func (fakeSounds) Convert(_ context.Context, upload, to *os.File) (store.AudioClip, error) {
	whole, err := io.ReadAll(io.NewSectionReader(upload, 0, 1<<30))
	if err != nil {
		return store.AudioClip{}, err
	}
	if !bytes.HasPrefix(whole, []byte("RIFF")) {
		return store.AudioClip{}, store.FieldErrors{{Field: "file", Problem: "This is no sound."}}
	}
	n, err := to.Write(whole)
	return store.AudioClip{Duration: 2500 * time.Millisecond, Rate: 8000, Size: int64(n), Loudness: -20, Peaks: []byte{0, 128, 255}}, err
}

func (fakeSounds) MP3(_ context.Context, w io.Writer, path string) error {
	b, err := os.ReadFile(path)
	if err == nil {
		_, err = fmt.Fprintf(w, "mp3 of %d octets", len(b))
	}
	return err
}

// upload sends a file as browsers do.
func (c *client) upload(path, name, file string, content []byte) *answer {
	c.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if name != "" {
		form.WriteField("name", name)
	}
	if file != "" {
		part, err := form.CreateFormFile("file", file)
		if err != nil {
			c.t.Fatal(err)
		}
		part.Write(content)
	}
	form.Close()
	r := c.request(http.MethodPost, path, &body)
	r.Header.Set("Content-Type", form.FormDataContentType())
	w := httptest.NewRecorder()
	c.house.server.ServeHTTP(w, r)
	a := &answer{t: c.t, status: w.Code, header: w.Header(), body: w.Body.Bytes()}
	c.prove(r, a)
	return a
}

func into[T any](t *testing.T, a *answer) (v T) {
	t.Helper()
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAudioClips(t *testing.T) {
	h := newHouse(t)
	const clips = "/accounts/default/audio-clips"
	a := h.admin.upload(clips, "", `C:\Music\Morning raga.wav`, wav(100)).want(http.StatusCreated)
	clip := into[contract.AudioClip](t, a)
	if got := h.admin.get("/accounts/default/audio-clips/" + clip.ID).want(200); got.text("name") != "Morning raga" {
		t.Errorf("clip %s", got.body)
	}
	if clip.Name != "Morning raga" || clip.DurationS != 2.5 || clip.Size != 244 || len(clip.UsedBy) != 0 || !strings.HasSuffix(a.header.Get("Location"), "/audio-clips/"+clip.ID) {
		t.Errorf("%+v at %s", clip, a.header.Get("Location"))
	}
	at := clips + "/" + clip.ID
	if got := into[contract.AudioClip](t, h.admin.patch(at, `{"name":" Evening "}`).want(200)); got.Name != "Evening" || got.Version != 2 {
		t.Errorf("%+v", got)
	}
	h.admin.patch(at, `{"name":""}`).want(422)
	h.admin.with("If-Match", `"1"`).patch(at, `{"name":"x"}`).want(412)
	if got := into[contract.Peaks](t, h.admin.get(at+"/peaks").want(200)); len(got.Peaks) != 3 || got.Peaks[2] != 1 || got.DurationS != 2.5 {
		t.Errorf("%+v", got)
	}
	if got := h.admin.with("Range", "bytes=0-3").get(at + "/audio").want(206); string(got.body) != "RIFF" {
		t.Errorf("%q", got.body)
	}
	if got := h.admin.get(at + "/audio?download=true").want(200); len(got.body) != 244 || got.header.Get("Content-Type") != "audio/wav" || !strings.Contains(got.header.Get("Content-Disposition"), ".wav") {
		t.Errorf("%d octets, %v", len(got.body), got.header)
	}

	// What plays it keeps it.
	h.admin.patch("/accounts/default", map[string]any{"hold_music_clip_id": clip.ID}).want(200)
	h.admin.patch("/accounts/default/users/"+string(h.bob.ID), map[string]any{"hold_music_clip_id": clip.ID}).want(200)
	list := into[contract.AudioClipList](t, h.admin.get(clips+"?q=even").want(200))
	if len(list.Items) != 1 || len(list.Items[0].UsedBy) != 2 || list.Items[0].UsedBy[1].Name != h.bob.Name {
		t.Errorf("%+v", list)
	}
	if got := h.admin.remove(at).want(409); !strings.Contains(string(got.body), "the account, "+h.bob.Name) {
		t.Errorf("%s", got.body)
	}
	for path, body := range map[string]string{
		"/accounts/default":                                 `{"hold_music_clip_id":"clp_unknown"}`,
		"/accounts/default/users/" + string(h.bob.ID):       `{"hold_music_clip_id":"clp_unknown"}`,
		"/accounts/default/users/" + string(h.ada.ID):       `{"recording":"sometimes"}`,
		"/accounts/default?":                                `{"recording":{"notice":"whisper"}}`,
		"/accounts/default?x=":                              `{"recording":{"directions":[]}}`,
		"/accounts/default/users/" + string(h.ada.ID) + "?": `{"recording":null}`,
	} {
		h.admin.patch(path, body).want(422)
	}
	h.admin.patch("/accounts/default", `{"hold_music_clip_id":null}`).want(200)
	h.admin.patch("/accounts/default/users/"+string(h.bob.ID), `{"hold_music_clip_id":null}`).want(200)
	h.admin.remove(at).want(204)
	h.admin.get(at).want(404)
	h.admin.get(at + "/audio").want(404)
	if _, err := os.Stat(h.db.ClipPath(store.ID(clip.ID))); !os.IsNotExist(err) {
		t.Errorf("the sound of a deleted clip: %v", err)
	}

	// What is no upload leaves nothing behind.
	h.admin.upload(clips, "", "a.wav", []byte("no sound")).want(422)
	h.admin.upload(clips, "x", "", nil).want(422)
	h.admin.upload(clips, strings.Repeat("x", 81), "a.wav", wav(1)).want(422)
	h.admin.upload(clips, "", "a.wav", bytes.Repeat([]byte("RIFF"), (maxUpload+4)/4)).want(413)
	h.admin.do(http.MethodPost, clips, `{"name":"x"}`).want(415)
	h.admin.with("Content-Type", "multipart/form-data; boundary=x").do(http.MethodPost, clips, "--x\r\nno form").want(400)
	files, err := os.ReadDir(strings.TrimSuffix(h.db.ClipPath("x"), "/x.wav"))
	if err != nil || len(files) != 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	for event, n := range map[string]int{"clip.create": 6, "clip.update": 3, "clip.delete": 2, "clip.listen": 1} {
		if got := len(events(h, event)); got < n {
			t.Errorf("%d entries of %s, want %d", got, event, n)
		}
	}
}

func TestNamesOfFiles(t *testing.T) {
	for file, want := range map[string]string{
		"a.wav": "a", "/etc/passwd": "passwd", "..": "Clip", "": "Clip", ".mp3": "Clip", "x\xffy.ogg": "xy", strings.Repeat("ä", 100) + ".mp3": strings.Repeat("ä", 80),
	} {
		if got := nameOf(file); got != want {
			t.Errorf("%q becomes %q, want %q", file, got, want)
		}
	}
}

// recording keeps a recording of a call with two sides.
func (h *house) recording(t *testing.T, call store.CallRecord) store.Recording {
	t.Helper()
	r := store.Recording{
		AccountID: call.AccountID, CallID: call.ID, StartedAt: call.AnsweredAt, Duration: time.Second, Left: call.Caller, Right: call.Callee,
		Users: []store.ID{call.Caller.UserID, call.Callee.UserID}, Rule: "The account records internal calls", Notice: "tone", NoticeAt: time.Second,
		Gaps: []store.Gap{{From: time.Second / 4, To: time.Second / 2}},
	}
	if err := h.db.BeginRecording(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	sound := wav(8000)
	sound[22] = 2 // the same samples, taken for those of two channels
	if err := os.WriteFile(h.db.RecordingPath(r.ID), sound, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.db.FinishRecording(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecordings(t *testing.T) {
	h := newHouse(t)
	both := h.call(t, h.account, h.ada, h.bob)
	alone := h.call(t, h.account, h.ada, h.ada)
	r, private := h.recording(t, both), h.recording(t, alone)
	const recordings = "/accounts/default/recordings"
	list := into[contract.RecordingList](t, h.admin.get(recordings).want(200))
	if len(list.Items) != 2 || list.Items[0].ID != string(private.ID) {
		t.Errorf("%+v", list)
	}
	list = into[contract.RecordingList](t, h.member.get(recordings+"?q=bob").want(200))
	if len(list.Items) != 1 || list.Items[0].CallID != string(both.ID) || list.Items[0].Gaps[0].ToS != 0.5 || list.Items[0].Notice != "tone" {
		t.Errorf("%+v", list)
	}
	h.member.get(recordings + "?user_id=" + string(h.ada.ID)).want(403)
	if got := into[contract.RecordingList](t, h.admin.get(recordings+"?call_id="+string(both.ID)).want(200)); len(got.Items) != 1 {
		t.Errorf("%+v", got)
	}
	if got := into[contract.CallRecord](t, h.member.get("/accounts/default/call-records/"+string(both.ID)).want(200)); got.RecordingID == nil || *got.RecordingID != string(r.ID) {
		t.Errorf("%+v", got)
	}
	at, other := recordings+"/"+string(r.ID), recordings+"/"+string(private.ID)
	h.member.get(at).want(200)
	if got := h.member.with("Range", "bytes=4-7").get(at + "/audio").want(206); len(got.body) != 4 {
		t.Errorf("%d octets", len(got.body))
	}
	if got := h.member.get(at + "/audio.mp3").want(200); string(got.body) != "mp3 of 16044 octets" || got.header.Get("Content-Type") != "audio/mpeg" {
		t.Errorf("%s, %v", got.body, got.header)
	}
	if got := into[contract.SidePeaks](t, h.member.get(at+"/peaks?points=4").want(200)); len(got.Left) != 4 || len(got.Right) != 4 || got.Left[3] < 0.99 {
		t.Errorf("%+v", got)
	}
	for _, path := range []string{other, other + "/audio", other + "/audio.mp3", other + "/peaks"} {
		h.member.get(path).want(404)
	}
	h.member.remove(at).want(403)

	// Who listened is known.
	heard := slices.DeleteFunc(events(h, "recording.listen"), func(a store.Activity) bool { return a.Outcome != store.Success })
	if len(heard) != 2 || heard[0].Actor.ID != h.bob.ID || !strings.Contains(string(heard[0].Detail), string(both.ID)) {
		t.Errorf("%+v", heard)
	}
	h.admin.remove(at).want(204)
	h.admin.get(at).want(404)
	if got := events(h, "recording.delete"); len(got) == 0 || got[0].Outcome != store.Success {
		t.Errorf("%+v", got)
	}
	if got := into[contract.CallRecord](t, h.admin.get("/accounts/default/call-records/"+string(both.ID)).want(200)); got.RecordingID != nil {
		t.Errorf("%+v", got)
	}

	m := h.message(t, h.account, h.bob.ID)
	if got := h.member.get("/accounts/default/voicemail-messages/" + string(m.ID) + "/audio.mp3").want(200); !strings.HasPrefix(string(got.body), "mp3 of") {
		t.Errorf("%s", got.body)
	}
	h.admin.patch("/accounts/default", `{"recording":{"notice":"tone","directions":["inbound","outbound"],"quota_mb":5,"retention_days":30}}`).want(200)
	a := into[contract.Account](t, h.admin.get("/accounts/default").want(200))
	if p := a.Recording; p.Notice != "tone" || len(p.Directions) != 2 || p.QuotaMb != 5 || p.RetentionDays != 30 || p.Emergency {
		t.Errorf("%+v", p)
	}
	h.admin.patch("/accounts/default", `{"recording":{"directions":["inbound","outbound","internal"],"notice":"none"}}`).want(200)
	if p := h.db.Snapshot(h.account).Account.Recording; p.Directions != nil || p.Notice != "" || p.QuotaMB != 5 {
		t.Errorf("%+v", p)
	}
}

// TestRecordingSettings: what a user or a number says is kept.
func TestRecordingSettings(t *testing.T) {
	h := newHouse(t)
	h.update(t, h.account, func(tx *sqlite.Tx) error {
		return tx.CreateNumber(&store.Number{Number: "+4930123456", Kind: "unmanaged", Status: "active", Destination: store.Destination{Type: "hangup"}})
	})
	number := h.db.Snapshot(h.account).Numbers[0]
	for path, get := range map[string]func() string{
		"users/" + string(h.bob.ID):    func() string { return h.db.Snapshot(h.account).User(h.bob.ID).Recording },
		"numbers/" + string(number.ID): func() string { return h.db.Snapshot(h.account).Number(number.ID).Recording },
	} {
		for rule, want := range map[string]string{"always": "always", "never": "never", "inherit": ""} {
			h.admin.patch("/accounts/default/"+path, map[string]any{"recording": rule}).want(200)
			if got := get(); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
	}
}

// TestRecordingOfARunningCall: people may record, and pause, their own calls.
func TestRecordingOfARunningCall(t *testing.T) {
	h := newHouse(t)
	mine := event.Call{ID: "cal_mine", State: "talking", Direction: "internal", StartedAt: time.Now(), Recording: "paused", Caller: event.Party{UserID: h.bob.ID}}
	theirs := event.Call{ID: "cal_theirs", State: "talking", Direction: "internal", StartedAt: time.Now(), Caller: event.Party{UserID: h.ada.ID}}
	h.calls.live = map[store.ID][]event.Call{h.account: {mine, theirs}}
	at := func(id string) string { return "/accounts/default/calls/" + id + "/recording" }
	h.member.do(http.MethodPut, at("cal_mine"), `{"state":"recording"}`).want(204)
	h.member.do(http.MethodPut, at("cal_theirs"), `{"state":"recording"}`).want(404)
	h.admin.do(http.MethodPut, at("cal_theirs"), `{"state":"stopped"}`).want(204)
	h.member.do(http.MethodPut, at("cal_mine"), `{"state":"erased"}`).want(422)
	want := []string{"cal_mine " + h.bob.Name + " recording", "cal_theirs " + h.ada.Name + " stopped"}
	if !slices.Equal(h.calls.placed, want) {
		t.Errorf("asked for %v, want %v", h.calls.placed, want)
	}
	if list := into[contract.CallList](t, h.member.get("/accounts/default/calls").want(200)); len(list.Items) != 1 || *list.Items[0].Recording != "paused" {
		t.Errorf("%+v", list)
	}
	h.calls.err = call.ErrNotTalking
	h.member.do(http.MethodPut, at("cal_mine"), `{"state":"recording"}`).want(409)
}
