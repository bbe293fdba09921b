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
	"pbx/store"
)

func (s *Server) listVoicemail(ctx context.Context, q *request) (reply, error) {
	boxes, err := s.mailboxes(q)
	if err != nil {
		return reply{}, err
	}
	messages, next, err := s.DB.Messages(ctx, q.who.account, boxes, q.page())
	if err != nil {
		return reply{}, err
	}
	var counts store.MailboxCounts
	for _, box := range boxes {
		c := s.DB.MailboxCounts(q.who.account, box)
		counts.New += c.New
		counts.Old += c.Old
	}
	list := contract.VoicemailMessageList{
		Items: []contract.VoicemailMessage{}, NextCursor: optional(next), Counts: contract.MailboxCounts{New: counts.New, Old: counts.Old},
	}
	for i := range messages {
		list.Items = append(list.Items, messageView(&messages[i]))
	}
	return ok(list)
}

// mailboxes returns the mailboxes that the caller may open and asks for: members have their own, administrators all of
// the account. A mailbox that may not be opened does not exist.
func (s *Server) mailboxes(q *request) ([]store.ID, error) {
	may := s.mayOpen(q)
	box := store.ID(q.param("mailbox"))
	switch {
	case box == "":
		return may, nil
	case slices.Contains(may, box):
		return []store.ID{box}, nil
	}
	return nil, errNotFound
}

// opens reports whether the caller may open a mailbox.
func (s *Server) opens(q *request, box store.ID) bool {
	snap := s.DB.Snapshot(q.who.account)
	shared := snap.Mailbox(box)
	if q.who.admin() {
		return shared != nil || snap.User(box) != nil
	}
	return box == q.who.user.ID || shared != nil && slices.Contains(shared.MemberIDs, q.who.user.ID)
}

// mayOpen are the mailboxes that the caller may open.
func (s *Server) mayOpen(q *request) []store.ID {
	snap := s.DB.Snapshot(q.who.account)
	if !q.who.admin() {
		may := []store.ID{q.who.user.ID}
		for _, m := range snap.MailboxesOf(q.who.user.ID) {
			may = append(may, m.ID)
		}
		return may
	}
	var may []store.ID
	for i := range snap.Users {
		may = append(may, snap.Users[i].ID)
	}
	for i := range snap.Mailboxes {
		may = append(may, snap.Mailboxes[i].ID)
	}
	return may
}

// message returns a message that the caller may hear. Others do not exist for them.
func (s *Server) message(ctx context.Context, q *request) (store.Message, error) {
	m, err := s.DB.Message(ctx, q.who.account, q.id("message"))
	if err == nil && (m.Recording || !s.opens(q, m.Mailbox)) {
		err = store.ErrNotFound
	}
	return m, err
}

func (s *Server) getVoicemail(ctx context.Context, q *request) (reply, error) {
	m, err := s.message(ctx, q)
	if err != nil {
		return reply{}, err
	}
	return ok(messageView(&m))
}

func (s *Server) updateVoicemail(ctx context.Context, q *request) (reply, error) {
	var in contract.VoicemailMessagePatch
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	m, err := s.currentMessage(ctx, q)
	if err != nil {
		return reply{}, err
	}
	if in.Read != nil && *in.Read != m.Read {
		err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.SetMessageRead(m.ID, *in.Read) })
		if err != nil {
			return reply{}, err
		}
		q.logged = true
		if m, err = s.message(ctx, q); err != nil {
			return reply{}, err
		}
	}
	if to := store.ID(value(in.Mailbox)); to != "" && to != m.Mailbox {
		if !s.opens(q, to) {
			return reply{}, store.FieldErrors{{Field: "mailbox", Problem: "This mailbox does not exist."}}
		}
		if err := s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.MoveMessage(m.ID, to) }); err != nil {
			return reply{}, err
		}
		q.logged = true
		if m, err = s.message(ctx, q); err != nil {
			return reply{}, err
		}
	}
	return ok(messageView(&m))
}

// currentMessage returns the message in the version that the caller has seen.
func (s *Server) currentMessage(ctx context.Context, q *request) (store.Message, error) {
	version, err := q.ifVersion()
	if err != nil {
		return store.Message{}, err
	}
	m, err := s.message(ctx, q)
	if err == nil && version != 0 && version != m.Version {
		err = store.ErrStale
	}
	return m, err
}

func (s *Server) deleteVoicemail(ctx context.Context, q *request) (reply, error) {
	m, err := s.currentMessage(ctx, q)
	if err != nil {
		return reply{}, err
	}
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.DeleteMessage(m.ID) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return noContent()
}

func (s *Server) getVoicemailAudio(ctx context.Context, q *request) (reply, error) {
	m, f, err := s.openSound(ctx, q)
	if err != nil {
		return reply{}, err
	}
	defer f.Close()
	h := q.w.Header()
	h.Set("Content-Type", "audio/wav")
	h.Set("Cache-Control", "private, no-cache")
	name := "voicemail-" + m.ReceivedAt.UTC().Format("2006-01-02-150405") + ".wav"
	if q.param("download") == "true" {
		h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	}
	h.Set("ETag", `"`+string(m.ID)+`"`)                                         // a finished recording never changes
	http.NewResponseController(q.w).SetWriteDeadline(time.Now().Add(soundTime)) // where deadlines are possible
	http.ServeContent(q.w, q.http, "", m.ReceivedAt, f)
	return reply{}, nil
}

func (s *Server) getVoicemailPeaks(ctx context.Context, q *request) (reply, error) {
	m, f, err := s.openSound(ctx, q)
	if err != nil {
		return reply{}, err
	}
	defer f.Close()
	points, err := strconv.Atoi(q.param("points"))
	if err != nil { // absent: the contract has checked the rest
		points = 200
	}
	peaks, err := wavPeaks(f, points)
	if err != nil {
		return reply{}, err
	}
	return ok(contract.Peaks{DurationS: m.Duration.Seconds(), Peaks: peaks})
}

func (s *Server) openSound(ctx context.Context, q *request) (store.Message, *os.File, error) {
	m, err := s.message(ctx, q)
	if err != nil {
		return m, nil, err
	}
	f, err := os.Open(s.DB.MessagePath(m.ID))
	if errors.Is(err, fs.ErrNotExist) {
		err = &problem{status: http.StatusNotFound, detail: "The sound of this message is gone."}
	}
	return m, f, err
}
