package admin

import (
	"context"

	"pbx/admin/contract"
	"pbx/store"
)

func (s *Server) listActivity(ctx context.Context, q *request) (reply, error) {
	filter := store.ActivityFilter{
		From: q.time("from"), To: q.time("to"), Event: q.http.URL.Query()["event"],
		ResourcePrefix: q.param("resource"), ActorPrefix: q.param("actor"),
		Outcome: store.ActivityOutcome(q.param("outcome")), IP: q.param("ip"),
	}
	entries, next, err := s.DB.Activity(ctx, q.who.account, filter, q.page())
	if err != nil {
		return reply{}, err
	}
	list := contract.ActivityList{Items: make([]contract.Activity, 0, len(entries)), NextCursor: optional(next)}
	for i := range entries {
		list.Items = append(list.Items, activityView(&entries[i]))
	}
	return ok(list)
}
