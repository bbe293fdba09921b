package admin

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"pbx/admin/contract"
	"pbx/call"
	"pbx/event"
	"pbx/store"
)

func (s *Server) listCalls(_ context.Context, q *request) (reply, error) {
	list := contract.CallList{Items: []contract.Call{}}
	for _, c := range s.Calls.Calls(q.who.account) {
		if q.who.mayKnow(&c) {
			list.Items = append(list.Items, callView(&c))
		}
	}
	return ok(list)
}

// mayKnow reports whether the caller may see a live call: admins all, members their own.
func (c *caller) mayKnow(live *event.Call) bool {
	return c.admin() || live.Caller.UserID == c.user.ID || live.Callee.UserID == c.user.ID
}

func (s *Server) createCall(ctx context.Context, q *request) (reply, error) {
	var in contract.CallCreate
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	from := store.ID(valueOr(in.FromUserID, string(q.who.user.ID)))
	if from != q.who.user.ID {
		if !q.who.admin() {
			return reply{}, errForbidden
		}
		if _, err := s.DB.User(ctx, q.who.account, from); errors.Is(err, store.ErrNotFound) {
			return reply{}, store.FieldErrors{{Field: "from_user_id", Problem: "There is no such user in this account."}}
		} else if err != nil {
			return reply{}, err
		}
	}
	q.detail = map[string]any{"from_user_id": from, "to": in.To}
	id, err := s.Calls.Originate(ctx, q.who.account, from, in.To)
	switch {
	case errors.Is(err, call.ErrNoPhone):
		return reply{}, conflict("None of this user's phones is registered.")
	case errors.Is(err, call.ErrClosing):
		return reply{}, &problem{status: http.StatusServiceUnavailable, detail: "No more calls are possible now."}
	case err != nil:
		return reply{}, err
	}
	q.resource = "call/" + string(id)
	return created("/accounts/"+string(q.who.account)+"/calls/"+string(id), contract.CallCreated{ID: string(id)})
}

func (s *Server) deleteCall(_ context.Context, q *request) (reply, error) {
	calls := s.Calls.Calls(q.who.account)
	i := slices.IndexFunc(calls, func(c event.Call) bool { return c.ID == q.id("call") })
	if i < 0 || !q.who.mayKnow(&calls[i]) {
		return reply{}, errNotFound
	}
	if err := s.Calls.HangUp(q.who.account, q.id("call")); err != nil {
		return reply{}, err
	}
	return noContent()
}

// transferCall sends one side of a call on. Members may send on who talks to them, and nobody in another's name.
func (s *Server) transferCall(_ context.Context, q *request) (reply, error) {
	var in contract.CallTransfer
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	calls := s.Calls.Calls(q.who.account)
	i := slices.IndexFunc(calls, func(c event.Call) bool { return c.ID == q.id("call") })
	if i < 0 || !q.who.mayKnow(&calls[i]) {
		return reply{}, errNotFound
	}
	if in.ToCallID != nil {
		return s.joinCalls(q, &in, calls)
	}
	to := valueOr(in.To, "")
	if to == "" {
		return reply{}, store.FieldErrors{{Field: "to", Problem: "Say whom to connect: a number, or the id of another call."}}
	}
	side := call.Side(valueOr(in.Side, ""))
	if !q.who.admin() && side != "" {
		other := calls[i].Callee
		if side == call.CalleeSide {
			other = calls[i].Caller
		}
		if other.UserID != q.who.user.ID {
			return reply{}, errForbidden
		}
	}
	q.detail = map[string]any{"to": to, "side": side}
	err := s.Calls.Transfer(q.who.account, q.id("call"), q.who.user.ID, side, to)
	if errors.Is(err, call.ErrNotTalking) {
		return reply{}, conflict("Nobody is talking in this call.")
	}
	if err != nil {
		return reply{}, err
	}
	return noContent()
}

// parkCall parks one side of a call. Members park those who talk to them.
func (s *Server) parkCall(_ context.Context, q *request) (reply, error) {
	calls := s.Calls.Calls(q.who.account)
	if i := slices.IndexFunc(calls, func(c event.Call) bool { return c.ID == q.id("call") }); i < 0 || !q.who.mayKnow(&calls[i]) {
		return reply{}, errNotFound
	}
	err := s.Calls.Park(q.who.account, q.id("call"), q.who.user.ID)
	if errors.Is(err, call.ErrNotTalking) {
		return reply{}, conflict("Nobody is talking in this call.")
	}
	if err != nil {
		return reply{}, err
	}
	return noContent()
}

// joinCalls is an attended transfer. Members join calls that they are in themselves.
func (s *Server) joinCalls(q *request, in *contract.CallTransfer, calls []event.Call) (reply, error) {
	into := store.ID(*in.ToCallID)
	i := slices.IndexFunc(calls, func(c event.Call) bool { return c.ID == into })
	switch {
	case in.To != nil || in.Side != nil:
		return reply{}, store.FieldErrors{{Field: "to_call_id", Problem: "Another call stands alone: neither a number nor a side goes with it."}}
	case i < 0 || !q.who.mayKnow(&calls[i]) || into == q.id("call"):
		return reply{}, store.FieldErrors{{Field: "to_call_id", Problem: "There is no other such call."}}
	}
	var user store.ID
	if !q.who.admin() {
		user = q.who.user.ID
	}
	q.detail = map[string]any{"to_call_id": into}
	switch err := s.Calls.Join(q.who.account, q.id("call"), into, user); {
	case errors.Is(err, call.ErrNotTalking):
		return reply{}, conflict("Nobody is talking in one of the calls.")
	case errors.Is(err, call.ErrNobodyInBoth):
		return reply{}, conflict("Nobody is in both calls.")
	case err != nil:
		return reply{}, err
	}
	return noContent()
}

func (s *Server) listCallRecords(ctx context.Context, q *request) (reply, error) {
	filter := store.CallFilter{
		User: store.ID(q.param("user_id")), From: q.time("from"), To: q.time("to"),
		Outcome: store.Outcome(q.param("outcome")), Direction: q.param("direction"),
	}
	if !q.who.admin() {
		if filter.User != "" && filter.User != q.who.user.ID {
			return reply{}, errForbidden
		}
		filter.User = q.who.user.ID
	}
	records, next, err := s.DB.CallRecords(ctx, q.who.account, filter, q.page())
	if err != nil {
		return reply{}, err
	}
	list := contract.CallRecordList{Items: []contract.CallRecord{}, NextCursor: optional(next)}
	for i := range records {
		list.Items = append(list.Items, recordView(&records[i]))
	}
	return ok(list)
}

// callRecord returns a record that the caller may see. Calls of others do not exist for members.
func (s *Server) callRecord(ctx context.Context, q *request) (store.CallRecord, error) {
	r, err := s.DB.CallRecord(ctx, q.who.account, q.id("call"))
	if err == nil && !q.who.admin() && r.Caller.UserID != q.who.user.ID && r.Callee.UserID != q.who.user.ID {
		err = store.ErrNotFound
	}
	return r, err
}

func (s *Server) getCallRecord(ctx context.Context, q *request) (reply, error) {
	r, err := s.callRecord(ctx, q)
	if err != nil {
		return reply{}, err
	}
	return ok(recordView(&r))
}

func (s *Server) getCallRoute(ctx context.Context, q *request) (reply, error) {
	r, err := s.callRecord(ctx, q)
	if err != nil {
		return reply{}, err
	}
	v := contract.CallRoute{Reasons: []contract.RouteReason{}}
	for _, reason := range r.Route {
		v.Reasons = append(v.Reasons, contract.RouteReason{Rule: reason.Rule, Detail: reason.Detail})
	}
	return ok(v)
}
