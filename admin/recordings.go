package admin

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"pbx/admin/contract"
	"pbx/call"
	"pbx/event"
	"pbx/store"
)

func (s *Server) listRecordings(ctx context.Context, q *request) (reply, error) {
	filter := store.RecordingFilter{User: store.ID(q.param("user_id")), Call: store.ID(q.param("call_id")), From: q.time("from"), To: q.time("to")}
	if !q.who.admin() {
		if filter.User != "" && filter.User != q.who.user.ID {
			return reply{}, errForbidden
		}
		filter.User = q.who.user.ID
	}
	recordings, next, err := s.DB.Recordings(ctx, q.who.account, filter, q.page())
	if err != nil {
		return reply{}, err
	}
	list := contract.RecordingList{Items: make([]contract.Recording, 0, len(recordings)), NextCursor: optional(next)}
	for i := range recordings {
		list.Items = append(list.Items, recordingView(&recordings[i]))
	}
	return ok(list)
}

// recording returns a recording that the caller may hear: administrators all, members those of their own calls. Others do
// not exist for them.
func (s *Server) recording(ctx context.Context, q *request) (store.Recording, error) {
	r, err := s.DB.Recording(ctx, q.who.account, q.id("recording"))
	if err == nil && !q.who.admin() && !slices.Contains(r.Users, q.who.user.ID) {
		err = store.ErrNotFound
	}
	return r, err
}

func (s *Server) getRecording(ctx context.Context, q *request) (reply, error) {
	r, err := s.recording(ctx, q)
	if err != nil {
		return reply{}, err
	}
	return ok(recordingView(&r))
}

func (s *Server) deleteRecording(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.DeleteRecording(q.id("recording"), version) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return noContent()
}

func (s *Server) getRecordingAudio(ctx context.Context, q *request) (reply, error) {
	r, err := s.recording(ctx, q)
	if err != nil {
		return reply{}, err
	}
	q.detail = map[string]any{"call_id": r.CallID}
	return reply{}, q.serveSound(s.DB.RecordingPath(r.ID), string(r.ID), "recording-"+r.StartedAt.UTC().Format(fileTime), r.StartedAt)
}

func (s *Server) getRecordingMP3(ctx context.Context, q *request) (reply, error) {
	r, err := s.recording(ctx, q)
	if err != nil {
		return reply{}, err
	}
	q.detail = map[string]any{"call_id": r.CallID, "format": "mp3"}
	return reply{}, s.serveMP3(ctx, q, s.DB.RecordingPath(r.ID), "recording-"+r.StartedAt.UTC().Format(fileTime))
}

func (s *Server) getVoicemailMP3(ctx context.Context, q *request) (reply, error) {
	m, err := s.message(ctx, q)
	if err != nil {
		return reply{}, err
	}
	return reply{}, s.serveMP3(ctx, q, s.DB.MessagePath(m.ID), "voicemail-"+m.ReceivedAt.UTC().Format(fileTime))
}

func (s *Server) getRecordingPeaks(ctx context.Context, q *request) (reply, error) {
	r, err := s.recording(ctx, q)
	if err != nil {
		return reply{}, err
	}
	f, err := openFile(s.DB.RecordingPath(r.ID))
	if err != nil {
		return reply{}, err
	}
	defer f.Close()
	points, err := strconv.Atoi(q.param("points"))
	if err != nil { // absent: the contract has checked the rest
		points = 400
	}
	sides, err := wavSides(f, points)
	if err != nil {
		return reply{}, err
	}
	v := contract.SidePeaks{DurationS: r.Duration.Seconds(), Left: sides[0], Right: sides[len(sides)-1]}
	return ok(v)
}

// setCallRecording records a running call, or pauses that.
func (s *Server) setCallRecording(_ context.Context, q *request) (reply, error) {
	var in contract.CallRecordingChange
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	calls := s.Calls.Calls(q.who.account)
	i := slices.IndexFunc(calls, func(c event.Call) bool { return c.ID == q.id("call") })
	if i < 0 || !q.who.mayKnow(&calls[i]) {
		return reply{}, errNotFound
	}
	q.detail = map[string]any{"state": in.State}
	err := s.Calls.Record(q.who.account, q.id("call"), q.who.user.Name, string(in.State))
	if errors.Is(err, call.ErrNotTalking) {
		return reply{}, conflict("Nobody is talking in this call.")
	}
	if err != nil {
		return reply{}, err
	}
	return noContent()
}

// fileTime is how a time looks in a file's name.
const fileTime = "2006-01-02-150405"

// openFile opens the sound of something that the caller may hear.
func openFile(path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = &problem{status: http.StatusNotFound, detail: "The sound is gone."}
	}
	return f, err
}

// serveSound answers a file that never changes.
func (q *request) serveSound(path, tag, name string, at time.Time) error {
	f, err := openFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := q.w.Header()
	h.Set("Content-Type", "audio/wav")
	h.Set("Cache-Control", "private, no-cache")
	if q.param("download") == "true" {
		h.Set("Content-Disposition", `attachment; filename="`+name+`.wav"`)
	}
	h.Set("ETag", `"`+tag+`"`)
	http.NewResponseController(q.w).SetWriteDeadline(time.Now().Add(soundTime)) // where deadlines are possible
	http.ServeContent(q.w, q.http, "", at, f)
	return nil
}

// serveMP3 encodes while it sends. What fails after the first octet can only be logged.
func (s *Server) serveMP3(ctx context.Context, q *request, path, name string) error {
	f, err := openFile(path)
	if err != nil {
		return err
	}
	f.Close()
	h := q.w.Header()
	h.Set("Content-Type", "audio/mpeg")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Content-Disposition", `attachment; filename="`+name+`.mp3"`)
	http.NewResponseController(q.w).SetWriteDeadline(time.Now().Add(soundTime))
	if err := s.Sounds.MP3(ctx, q.w, path); err != nil {
		if ctx.Err() == nil {
			s.Log.Warn("sound not encoded", "path", path, "err", err)
		}
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
	return nil
}

func recordingView(r *store.Recording) contract.Recording {
	at := basePath + "/accounts/" + string(r.AccountID) + "/recordings/" + string(r.ID)
	v := contract.Recording{
		ID: string(r.ID), Version: r.Version, CallID: string(r.CallID), StartedAt: r.StartedAt.UTC(), DurationS: r.Duration.Seconds(), Size: r.Size,
		Left: partyView(&r.Left), Right: partyView(&r.Right), Rule: r.Rule, Notice: noticeView(r.Notice), NoticeAtS: r.NoticeAt.Seconds(),
		Gaps: []contract.RecordingGap{}, AudioURL: at + "/audio", PeaksURL: at + "/peaks",
	}
	for _, g := range r.Gaps {
		v.Gaps = append(v.Gaps, contract.RecordingGap{FromS: g.From.Seconds(), ToS: g.To.Seconds()})
	}
	return v
}

func noticeView(n string) contract.RecordingNotice {
	if n == "" {
		return contract.RecordingNoticeNone
	}
	return contract.RecordingNotice(n)
}

// ruleView and ruleOf show and read what a user or a number says about recording.
func ruleView(rule string) contract.RecordingRule {
	if rule == "" {
		return contract.Inherit
	}
	return contract.RecordingRule(rule)
}

func ruleOf(rule *contract.RecordingRule) string {
	if rule == nil || *rule == contract.Inherit {
		return ""
	}
	return string(*rule)
}

// directions are all kinds of calls, in the order in which they are shown.
var directions = []contract.CallDirection{contract.Internal, contract.Inbound, contract.Outbound}

func policyView(p *store.RecordingPolicy) contract.RecordingPolicy {
	v := contract.RecordingPolicy{Directions: directions, Notice: noticeView(p.Notice), Emergency: p.Emergency, RetentionDays: p.RetentionDays, QuotaMb: p.QuotaMB}
	if len(p.Directions) > 0 {
		v.Directions = nil
		for _, d := range p.Directions {
			v.Directions = append(v.Directions, contract.CallDirection(d))
		}
	}
	return v
}

func policyPatch(p *store.RecordingPolicy) contract.RecordingPolicyPatch {
	v := policyView(p)
	return contract.RecordingPolicyPatch{Directions: &v.Directions, Notice: &v.Notice, Emergency: &v.Emergency, RetentionDays: &v.RetentionDays, QuotaMb: &v.QuotaMb}
}

func applyPolicy(p *store.RecordingPolicy, in *contract.RecordingPolicyPatch) {
	if in == nil {
		return
	}
	p.Directions = nil
	if list := value(in.Directions); len(list) < len(directions) {
		for _, d := range list {
			p.Directions = append(p.Directions, string(d))
		}
		slices.Sort(p.Directions)
	}
	if p.Notice = string(value(in.Notice)); p.Notice == string(contract.RecordingNoticeNone) {
		p.Notice = ""
	}
	p.Emergency, p.RetentionDays, p.QuotaMB = value(in.Emergency), value(in.RetentionDays), value(in.QuotaMb)
}

// pointer is where v is.
func pointer[T any](v T) *T { return &v }
