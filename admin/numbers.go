package admin

import (
	"context"
	"strings"

	"pbx/admin/contract"
	"pbx/store"
)

func (s *Server) listNumbers(ctx context.Context, q *request) (reply, error) {
	filter := store.NumberFilter{Trunk: store.ID(q.param("trunk_id")), User: store.ID(q.param("user_id"))}
	numbers, next, err := s.DB.Numbers(ctx, q.who.account, filter, q.page())
	if err != nil {
		return reply{}, err
	}
	snap := s.DB.Snapshot(q.who.account)
	list := contract.NumberList{Items: make([]contract.Number, 0, len(numbers)), NextCursor: optional(next)}
	for i := range numbers {
		list.Items = append(list.Items, numberView(snap, &numbers[i]))
	}
	return ok(list)
}

func (s *Server) getNumber(ctx context.Context, q *request) (reply, error) {
	n, err := s.DB.Number(ctx, q.who.account, q.id("number"))
	if err != nil {
		return reply{}, err
	}
	return ok(numberView(s.DB.Snapshot(q.who.account), &n))
}

func (s *Server) createNumber(ctx context.Context, q *request) (reply, error) {
	n := store.Number{Kind: "unmanaged", Status: "active"}
	if err := s.applyNumber(q, &n); err != nil {
		return reply{}, err
	}
	err := s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.CreateNumber(&n) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return created("/accounts/"+string(n.AccountID)+"/numbers/"+string(n.ID), numberView(s.DB.Snapshot(q.who.account), &n))
}

func (s *Server) updateNumber(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	var n store.Number
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error {
		if n, err = tx.Number(q.id("number")); err != nil {
			return err
		}
		if err := s.applyNumber(q, &n); err != nil {
			return err
		}
		return tx.SaveNumber(&n, version)
	})
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return ok(numberView(s.DB.Snapshot(q.who.account), &n))
}

// applyNumber changes a number as the body says. Numbers may be written as people of the account's country do.
func (s *Server) applyNumber(q *request, n *store.Number) error {
	kind, status, leads := contract.NumberKind(n.Kind), contract.NumberStatus(n.Status), destinationView(n.Destination)
	now := contract.NumberPatch{
		Number: &n.Number, Label: &n.Label, Kind: &kind, Status: &status, TrunkID: optional(string(n.TrunkID)), Destination: &leads,
		HoldMusicClipID: optional(string(n.HoldMusicClipID)), Recording: pointer(ruleView(n.Recording)),
	}
	in, err := patched(now, q.body)
	if err != nil {
		return err
	}
	n.Number, n.Label = value(in.Number), strings.TrimSpace(value(in.Label))
	n.Kind, n.Status, n.TrunkID = string(value(in.Kind)), string(value(in.Status)), store.ID(value(in.TrunkID))
	n.HoldMusicClipID, n.Recording = store.ID(value(in.HoldMusicClipID)), ruleOf(in.Recording)
	plan, _ := s.Plan(q.who.account)
	n.Number, n.Destination = canonical(plan, n.Number), destination(value(in.Destination), plan)
	return nil
}

func (s *Server) deleteNumber(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.DeleteNumber(q.id("number"), version) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return noContent()
}

func numberView(snap *store.Snapshot, n *store.Number) contract.Number {
	v := contract.Number{
		ID: string(n.ID), Version: n.Version, Number: n.Number, Label: n.Label, Kind: contract.NumberKind(n.Kind), Status: contract.NumberStatus(n.Status),
		TrunkID: optional(string(n.TrunkID)), Destination: destinationView(n.Destination),
		HoldMusicClipID: optional(string(n.HoldMusicClipID)), Recording: ruleView(n.Recording),
		CreatedAt: n.CreatedAt.UTC(), UpdatedAt: n.UpdatedAt.UTC(),
	}
	if snap == nil {
		return v
	}
	if t := snap.Trunk(n.TrunkID); t != nil {
		v.TrunkName = &t.Name
	}
	v.DestinationLabel = destinationLabel(snap, n.Destination)
	return v
}

func destinationView(d store.Destination) contract.Destination {
	return contract.Destination{Type: contract.DestinationType(d.Type), ID: optional(string(d.ID)), Number: optional(d.Number)}
}

// destinationLabel tells a destination in words.
func destinationLabel(snap *store.Snapshot, d store.Destination) string {
	name := ""
	if u := snap.User(d.ID); u != nil {
		name = u.Name
		if u.Extension != "" {
			name += " (" + u.Extension + ")"
		}
	}
	if g := snap.Group(d.ID); g != nil {
		name = "Ring group " + g.Name
	}
	switch d.Type {
	case "mailbox":
		if m := snap.Mailbox(d.ID); m != nil {
			return "Mailbox " + m.Name
		}
		return "Voicemail of " + name
	case "parking":
		return strings.TrimSpace("Parking " + d.Number)
	case "external":
		return d.Number
	case "hangup":
		return "Hang up"
	}
	return name
}
