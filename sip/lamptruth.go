package sip

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pbx/store"
)

// lampID begins the ids of lamps.
const lampID = "lam_"

// LampView is the truth about one lamp: what the house believes, and what the phone was told and said that it heard.
type LampView struct {
	ID      string
	Package string // "dialog", "presence", "message-summary" or "reg"

	// Who watches, and from where.
	LineID, DeviceID, UserID store.ID
	Source                   string

	// Whom.
	WatchedID store.ID
	Watched   string // the address that was asked for

	Believed     string    // the state now, in a word: "idle", "calling", "ringing", "busy", "held"
	Sent         string    // the state in the latest NOTIFY; empty: none was sent yet
	SentAt       time.Time // of it
	Acknowledged bool      // the phone said that it heard it
	Since        time.Time // since when the phone shows it; zero: not acknowledged
	Repairs      int       // how often it had to be told again
	Expires      time.Time
}

// Right reports whether the phone shows what the house believes, as far as anybody can know.
func (v LampView) Right() bool { return v.Acknowledged && v.Sent == v.Believed }

// LampTruth returns the truth about every lamp of an account, in order of line and target.
func (s *Server) LampTruth(account store.ID) []LampView {
	e := s.events
	type row struct {
		LampView
		sub *subscription
	}
	var rows []row
	e.mu.Lock()
	for _, sub := range e.subs {
		p := sub.phone
		if p.line.AccountID != account {
			continue
		}
		v := LampView{
			ID: lampID + sub.tag, Package: sub.pkg.name, LineID: p.line.ID, DeviceID: p.line.DeviceID, UserID: p.line.UserID, Source: p.hop.remote.String(),
			WatchedID: sub.user, Watched: sub.entity, Sent: sub.sent, SentAt: sub.sentAt, Acknowledged: !sub.acked.IsZero(), Since: sub.acked,
			Repairs: int(sub.repairs), Expires: sub.expires,
		}
		if sub.list == nil {
			rows = append(rows, row{v, sub.view()})
			continue
		}
		for i, m := range sub.list.members {
			v.ID, v.WatchedID, v.Watched, v.Sent = lampID+sub.tag+"_"+strconv.Itoa(i), m.person.ID, m.person.Extension, m.sent
			rows = append(rows, row{v, sub.view()})
		}
	}
	e.mu.Unlock()
	views := make([]LampView, len(rows))
	for i, r := range rows {
		r.Believed = e.believed(r.sub, r.WatchedID)
		views[i] = r.LampView
	}
	slices.SortFunc(views, func(a, b LampView) int {
		return cmp.Or(cmp.Compare(a.LineID, b.LineID), cmp.Compare(a.Package, b.Package), cmp.Compare(a.Watched, b.Watched), cmp.Compare(a.ID, b.ID))
	})
	return views
}

// believed is the state of whom a subscription watches, in a word.
func (e *events) believed(sub *subscription, user store.ID) string {
	line := sub.phone.line
	switch sub.pkg.name {
	case "dialog":
		return lampState(e.s.lamps.Dialogs(line.AccountID, user))
	case "presence":
		return e.presenceOf(line.AccountID, user, "").state
	}
	return sub.pkg.compose(e, sub).state
}

// RepairLamp tells a lamp of an account anew; it reports false for one that is not there.
func (s *Server) RepairLamp(account store.ID, id string) bool {
	e := s.events
	tag, _, _ := strings.Cut(strings.TrimPrefix(id, lampID), "_")
	e.mu.Lock()
	defer e.mu.Unlock()
	sub := e.subs[tag]
	if sub == nil || sub.phone.line.AccountID != account {
		return false
	}
	if sub.list != nil {
		sub.list.full = true
	}
	sub.due = time.Time{}
	e.repaired(sub)
	e.want(sub, true)
	return true
}
