package admin

import (
	"context"
	"net/http"
	"strconv"

	"pbx/admin/contract"
	"pbx/sip"
	"pbx/store"
)

// usualPage is how many items a page has when nobody says.
const usualPage = 50

// listLamps tells the truth about every lamp. The cursor is a place in the list, which changes little.
func (s *Server) listLamps(_ context.Context, q *request) (reply, error) {
	list := contract.LampList{Items: []contract.Lamp{}}
	page := q.page()
	limit := page.Limit
	if limit == 0 {
		limit = usualPage
	}
	from := 0
	if page.Cursor != "" {
		n, err := strconv.Atoi(page.Cursor)
		if err != nil || n < 0 {
			return reply{}, badRequest("The cursor is not one of this list.")
		}
		from = n
	}
	snap := s.DB.Snapshot(q.who.account)
	device, right := store.ID(q.param("device_id")), q.param("right")
	at := 0
	for _, v := range s.Phones.LampTruth(q.who.account) {
		list.Repairs += v.Repairs
		if device != "" && v.DeviceID != device || right != "" && strconv.FormatBool(v.Right()) != right {
			continue
		}
		switch {
		case at < from:
		case len(list.Items) < limit:
			list.Items = append(list.Items, lampView(snap, &v))
		case list.NextCursor == nil:
			list.NextCursor = optional(strconv.Itoa(at))
		}
		at++
	}
	return ok(list)
}

// repairLamp tells a lamp anew.
func (s *Server) repairLamp(_ context.Context, q *request) (reply, error) {
	if !s.Phones.RepairLamp(q.who.account, string(q.id("lamp"))) {
		return reply{}, errNotFound
	}
	return reply{status: http.StatusAccepted}, nil
}

func lampView(snap *store.Snapshot, v *sip.LampView) contract.Lamp {
	c := contract.Lamp{
		ID: v.ID, Package: v.Package, LineID: string(v.LineID), DeviceID: string(v.DeviceID), UserID: string(v.UserID), Source: v.Source,
		WatchedUserID: string(v.WatchedID), Watched: v.Watched, Believed: v.Believed, Sent: v.Sent, SentAt: optionalTime(v.SentAt),
		Acknowledged: v.Acknowledged, Since: optionalTime(v.Since), Right: v.Right(), Repairs: v.Repairs, ExpiresAt: v.Expires.UTC(),
	}
	if snap == nil {
		return c
	}
	if d := snap.Device(v.DeviceID); d != nil {
		c.DeviceName = d.Name
	}
	if u := snap.User(v.WatchedID); u != nil {
		c.WatchedName, c.WatchedExtension = u.Name, u.Extension
	}
	return c
}
