package admin

import (
	"context"
	"strings"
	"time"

	"pbx/admin/contract"
	"pbx/dialplan"
	"pbx/store"
)

func (s *Server) listRingGroups(ctx context.Context, q *request) (reply, error) {
	groups, next, err := s.DB.RingGroups(ctx, q.who.account, q.page())
	if err != nil {
		return reply{}, err
	}
	snap := s.DB.Snapshot(q.who.account)
	list := contract.RingGroupList{Items: make([]contract.RingGroup, 0, len(groups)), NextCursor: optional(next)}
	for i := range groups {
		list.Items = append(list.Items, groupView(snap, &groups[i]))
	}
	return ok(list)
}

func (s *Server) getRingGroup(ctx context.Context, q *request) (reply, error) {
	g, err := s.DB.RingGroup(ctx, q.who.account, q.id("group"))
	if err != nil {
		return reply{}, err
	}
	return ok(groupView(s.DB.Snapshot(q.who.account), &g))
}

// defaultGroupRing is how long a new group rings.
const defaultGroupRing = 20 * time.Second

func (s *Server) createRingGroup(ctx context.Context, q *request) (reply, error) {
	g := store.RingGroup{Strategy: "simultaneous", Timeout: defaultGroupRing, Fallback: store.Destination{Type: "hangup"}}
	if err := s.applyGroup(q, &g); err != nil {
		return reply{}, err
	}
	err := s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.CreateRingGroup(&g) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return created("/accounts/"+string(g.AccountID)+"/ring-groups/"+string(g.ID), groupView(s.DB.Snapshot(q.who.account), &g))
}

func (s *Server) updateRingGroup(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	var g store.RingGroup
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error {
		if g, err = tx.RingGroup(q.id("group")); err != nil {
			return err
		}
		if err := s.applyGroup(q, &g); err != nil {
			return err
		}
		return tx.SaveRingGroup(&g, version)
	})
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return ok(groupView(s.DB.Snapshot(q.who.account), &g))
}

// applyGroup changes a ring group as the body says.
func (s *Server) applyGroup(q *request, g *store.RingGroup) error {
	strategy, members, seconds, fallback := contract.RingStrategy(g.Strategy), targetViews(g.Members), int(g.Timeout/time.Second), destinationView(g.Fallback)
	in, err := patched(contract.RingGroupPatch{
		Name: &g.Name, Extension: optional(g.Extension), Strategy: &strategy, Members: &members, TimeoutS: &seconds,
		CallerPrefix: optional(g.Prefix), Fallback: &fallback,
	}, q.body)
	if err != nil {
		return err
	}
	plan, _ := s.Plan(q.who.account)
	g.Name, g.Extension, g.Strategy = strings.TrimSpace(value(in.Name)), value(in.Extension), string(value(in.Strategy))
	g.Members, g.Timeout = targets(value(in.Members), plan), time.Duration(value(in.TimeoutS))*time.Second
	g.Prefix, g.Fallback = value(in.CallerPrefix), destination(value(in.Fallback), plan)
	return nil
}

func (s *Server) deleteRingGroup(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.DeleteRingGroup(q.id("group"), version) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return noContent()
}

func groupView(snap *store.Snapshot, g *store.RingGroup) contract.RingGroup {
	v := contract.RingGroup{
		ID: string(g.ID), Version: g.Version, Name: g.Name, Extension: optional(g.Extension), Strategy: contract.RingStrategy(g.Strategy),
		Members: targetViews(g.Members), TimeoutS: int(g.Timeout / time.Second), CallerPrefix: g.Prefix, Fallback: destinationView(g.Fallback),
		CreatedAt: g.CreatedAt.UTC(), UpdatedAt: g.UpdatedAt.UTC(),
	}
	if snap != nil {
		v.FallbackLabel = destinationLabel(snap, g.Fallback)
	}
	return v
}

func (s *Server) listMailboxes(ctx context.Context, q *request) (reply, error) {
	boxes, next, err := s.DB.Mailboxes(ctx, q.who.account, q.page())
	if err != nil {
		return reply{}, err
	}
	list := contract.MailboxList{Items: make([]contract.Mailbox, 0, len(boxes)), NextCursor: optional(next)}
	for i := range boxes {
		list.Items = append(list.Items, s.mailboxView(&boxes[i]))
	}
	return ok(list)
}

func (s *Server) getMailbox(ctx context.Context, q *request) (reply, error) {
	m, err := s.DB.Mailbox(ctx, q.who.account, q.id("mailbox"))
	if err != nil {
		return reply{}, err
	}
	return ok(s.mailboxView(&m))
}

func (s *Server) createMailbox(ctx context.Context, q *request) (reply, error) {
	var m store.Mailbox
	if err := applyMailbox(q, &m); err != nil {
		return reply{}, err
	}
	var secret contract.MailboxCreate
	if err := decode(q.body, &secret); err != nil {
		return reply{}, err
	}
	var err error
	if m.PINHash, err = mailboxPIN(secret.Pin); err != nil {
		return reply{}, err
	}
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.CreateMailbox(&m) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return created("/accounts/"+string(m.AccountID)+"/mailboxes/"+string(m.ID), s.mailboxView(&m))
}

func (s *Server) updateMailbox(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	var secret contract.MailboxPatch
	if err := decode(q.body, &secret); err != nil {
		return reply{}, err
	}
	hash, err := mailboxPIN(secret.Pin)
	if err != nil {
		return reply{}, err
	}
	var m store.Mailbox
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error {
		if m, err = tx.Mailbox(q.id("mailbox")); err != nil {
			return err
		}
		if err := applyMailbox(q, &m); err != nil {
			return err
		}
		if secret.Pin != nil {
			m.PINHash = hash
		}
		return tx.SaveMailbox(&m, version)
	})
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return ok(s.mailboxView(&m))
}

// applyMailbox changes a shared mailbox as the body says.
func applyMailbox(q *request, m *store.Mailbox) error {
	members := make([]string, len(m.MemberIDs))
	for i, id := range m.MemberIDs {
		members[i] = string(id)
	}
	in, err := patched(contract.MailboxPatch{Name: &m.Name, Extension: optional(m.Extension), MemberIds: &members}, q.body)
	if err != nil {
		return err
	}
	m.Name, m.Extension, m.MemberIDs = strings.TrimSpace(value(in.Name)), value(in.Extension), nil
	for _, id := range value(in.MemberIds) {
		m.MemberIDs = append(m.MemberIDs, store.ID(id))
	}
	return nil
}

// mailboxPIN is the hash of a new PIN. It is made outside of transactions, because that takes long.
func mailboxPIN(pin *string) (string, error) {
	if err := store.ValidatePIN("pin", value(pin), ""); err != nil {
		return "", err
	}
	return hashed(value(pin))
}

func (s *Server) deleteMailbox(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.DeleteMailbox(q.id("mailbox"), version) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return noContent()
}

func (s *Server) mailboxView(m *store.Mailbox) contract.Mailbox {
	n := s.DB.MailboxCounts(m.AccountID, m.ID)
	v := contract.Mailbox{
		ID: string(m.ID), Version: m.Version, Name: m.Name, Extension: optional(m.Extension), MemberIds: []string{}, HasPin: m.HasPIN(),
		Counts: contract.MailboxCounts{New: n.New, Old: n.Old}, CreatedAt: m.CreatedAt.UTC(), UpdatedAt: m.UpdatedAt.UTC(),
	}
	for _, id := range m.MemberIDs {
		v.MemberIds = append(v.MemberIds, string(id))
	}
	return v
}

func (s *Server) listFeatureCodes(_ context.Context, q *request) (reply, error) {
	plan, _ := s.Plan(q.who.account)
	if plan == nil {
		return reply{}, errNotFound
	}
	defaults := dialplan.DefaultCodes()
	list := contract.FeatureCodeList{Items: []contract.FeatureCode{}}
	for i, c := range plan.Codes() {
		list.Items = append(list.Items, contract.FeatureCode{
			Key: c.Key, Number: c.Number, Default: defaults[i].Number, Name: c.Name, Argument: contract.FeatureCodeArgument(c.Argument), InCall: c.InCall,
		})
	}
	return ok(list)
}

func (s *Server) listParking(_ context.Context, q *request) (reply, error) {
	plan, _ := s.Plan(q.who.account)
	if plan == nil {
		return reply{}, errNotFound
	}
	list := contract.ParkingList{Items: []contract.ParkedCall{}, Slots: plan.Slots()}
	for _, p := range s.Calls.Parked(q.who.account) {
		v := contract.ParkedCall{
			Slot: p.Slot, CallID: string(p.CallID), Caller: livePartyView(&p.Caller), ParkedBy: livePartyView(&p.ParkedBy), Since: p.Since.UTC(),
		}
		if p.ReturnsAt != nil {
			v.ReturnsAt = optionalTime(*p.ReturnsAt)
		}
		list.Items = append(list.Items, v)
	}
	return ok(list)
}
