package admin

import (
	"context"
	"strings"
	"time"

	"pbx/admin/contract"
	"pbx/dialplan"
	"pbx/store"
)

// simulate asks the plan what a call would meet: the same function that real calls ask.
func (s *Server) simulate(_ context.Context, q *request) (reply, error) {
	var in contract.SimulationRequest
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	plan, snap := s.Plan(q.who.account)
	if plan == nil {
		return reply{}, errNotFound
	}
	decision, reasons := plan.Route(dialplan.Query{From: callerOf(snap, value(in.From)), Dialed: in.To, At: valueOr(in.At, time.Now())})
	v := contract.Simulation{Steps: []contract.SimulationStep{}}
	for _, step := range dialplan.Explain(decision, reasons) {
		v.Steps = append(v.Steps, contract.SimulationStep{AtS: step.At.Seconds(), Action: step.Action, Detail: step.Detail, Because: step.Because})
	}
	return ok(v)
}

// anyTrunk stands for a carrier when it does not matter which.
const anyTrunk store.ID = "any"

// callerOf reads who is supposed to call: a user's id, an extension, a trunk's id for a call from outside, or a number: an
// international one comes from outside too.
func callerOf(snap *store.Snapshot, from string) dialplan.Caller {
	u := snap.User(store.ID(from))
	if u == nil {
		u = snap.UserByExtension(from)
	}
	switch {
	case u != nil:
	case snap.Trunk(store.ID(from)) != nil:
		return dialplan.Caller{Trunk: store.ID(from)}
	case strings.HasPrefix(from, "+"):
		return dialplan.Caller{Trunk: anyTrunk, Number: from}
	default:
		return dialplan.Caller{Number: from}
	}
	return dialplan.Caller{User: u.ID, Number: u.Extension}
}
