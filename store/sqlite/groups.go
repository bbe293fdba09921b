package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pbx/store"
)

// groupColumns in the order of groupRow and loadGroups.
const groupColumns = `id, account_id, version, name, extension, strategy, members, timeout_ms, caller_prefix, fallback, created_at, updated_at`

const upsertGroup = `INSERT INTO ring_groups (` + groupColumns + `) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)
	ON CONFLICT (id) DO UPDATE SET version = excluded.version, name = excluded.name, extension = excluded.extension,
	strategy = excluded.strategy, members = excluded.members, timeout_ms = excluded.timeout_ms,
	caller_prefix = excluded.caller_prefix, fallback = excluded.fallback, updated_at = excluded.updated_at`

func groupRow(g *store.RingGroup) []any {
	return []any{
		g.ID, g.AccountID, g.Version, g.Name, g.Extension, g.Strategy, list(g.Members), g.Timeout.Milliseconds(), g.Prefix,
		string(encode(g.Fallback)), micros(g.CreatedAt), micros(g.UpdatedAt),
	}
}

func loadGroups(ctx context.Context, q querier) (map[store.ID][]store.RingGroup, error) {
	all := make(map[store.ID][]store.RingGroup)
	err := each(ctx, q, func(scan scanner) error {
		var g store.RingGroup
		var members, fallback string
		var timeout, created, updated int64
		err := scan(&g.ID, &g.AccountID, &g.Version, &g.Name, &g.Extension, &g.Strategy, &members, &timeout, &g.Prefix,
			&fallback, &created, &updated)
		if err != nil {
			return err
		}
		if err := cmp.Or(unlist(members, &g.Members), json.Unmarshal([]byte(fallback), &g.Fallback)); err != nil {
			return err
		}
		g.Timeout = time.Duration(timeout) * time.Millisecond
		g.CreatedAt, g.UpdatedAt = fromMicros(created), fromMicros(updated)
		all[g.AccountID] = append(all[g.AccountID], g)
		return nil
	}, `SELECT `+groupColumns+` FROM ring_groups`)
	if err != nil {
		return nil, fmt.Errorf("load ring groups: %w", err)
	}
	return all, nil
}

// targetField is a target as the activity shows it.
type targetField struct {
	Type      string   `json:"type"`
	ID        store.ID `json:"id,omitempty"`
	Number    string   `json:"number,omitempty"`
	Screening string   `json:"screening,omitempty"`
}

func targetFields(targets []store.Target) []targetField {
	fields := make([]targetField, len(targets))
	for i, t := range targets {
		fields[i] = targetField(t)
	}
	return fields
}

func groupFields(g *store.RingGroup) []field {
	return []field{
		{name: "name", value: g.Name},
		{name: "extension", value: g.Extension},
		{name: "strategy", value: g.Strategy},
		{name: "members", value: targetFields(g.Members)},
		{name: "timeout_s", value: g.Timeout.Seconds()},
		{name: "caller_prefix", value: g.Prefix},
		{name: "fallback", value: destinationField(g.Fallback)},
	}
}

// CreateRingGroup adds a ring group to the account.
func (tx *Tx) CreateRingGroup(g *store.RingGroup) error {
	if err := tx.need(); err != nil {
		return err
	}
	g.ID, g.AccountID = store.NewID(store.PrefixRingGroup), tx.id
	g.Version, g.CreatedAt, g.UpdatedAt = 1, tx.at, tx.at
	if err := tx.checkGroup(g); err != nil {
		return err
	}
	return tx.putGroup(nil, g, "create")
}

// SaveRingGroup changes a ring group.
func (tx *Tx) SaveRingGroup(g *store.RingGroup, ifVersion int64) error {
	before, ok := tx.groups[g.ID]
	if !ok {
		return store.ErrNotFound
	}
	if err := stale(ifVersion, before.Version); err != nil {
		return err
	}
	g.AccountID, g.Version, g.CreatedAt, g.UpdatedAt = tx.id, before.Version+1, before.CreatedAt, tx.at
	if err := tx.checkGroup(g); err != nil {
		return err
	}
	return tx.putGroup(before, g, "update")
}

func (tx *Tx) putGroup(before, g *store.RingGroup, verb string) error {
	if err := tx.exec("save ring group", upsertGroup, groupRow(g)...); err != nil {
		return err
	}
	var old []field
	if before != nil {
		old = groupFields(before)
	}
	saved := cloneGroup(*g)
	tx.groups[g.ID], tx.changed = &saved, true
	tx.changedObject("ring_group", verb, g.ID, g.Version, nil, difference(old, groupFields(g)))
	return nil
}

// DeleteRingGroup removes a ring group that nothing leads to.
func (tx *Tx) DeleteRingGroup(id store.ID, ifVersion int64) error {
	g, ok := tx.groups[id]
	if !ok {
		return store.ErrNotFound
	}
	if err := stale(ifVersion, g.Version); err != nil {
		return err
	}
	if err := tx.unreferred(id, g.Name); err != nil {
		return err
	}
	if err := tx.exec("delete ring group", `DELETE FROM ring_groups WHERE id = ? AND account_id = ?`, id, tx.id); err != nil {
		return err
	}
	delete(tx.groups, id)
	tx.changed = true
	tx.changedObject("ring_group", "delete", id, g.Version, nil, difference(groupFields(g), nil))
	return nil
}

func (tx *Tx) checkGroup(g *store.RingGroup) error {
	g.Fallback = tidy(g.Fallback)
	if len(g.Members) == 0 {
		g.Members = nil // as it will be read again
	}
	if err := g.Validate(tx.account.ExtensionLength); err != nil {
		return err
	}
	if err := tx.checkExtensionFree(g.Extension, g.ID); err != nil {
		return err
	}
	if err := tx.checkTargets("members", g.Members); err != nil {
		return err
	}
	return tx.checkDestination("fallback", g.Fallback)
}

// RingGroup returns a ring group as this transaction sees it.
func (tx *Tx) RingGroup(id store.ID) (store.RingGroup, error) {
	if g, ok := tx.groups[id]; ok {
		return cloneGroup(*g), nil
	}
	return store.RingGroup{}, store.ErrNotFound
}

// RingGroup returns a ring group of the account.
func (db *DB) RingGroup(_ context.Context, account, id store.ID) (store.RingGroup, error) {
	if s := db.Snapshot(account); s != nil {
		if g := s.Group(id); g != nil {
			return cloneGroup(*g), nil
		}
	}
	return store.RingGroup{}, store.ErrNotFound
}

// RingGroups lists the ring groups of an account, newest first. The query looks into name and extension.
func (db *DB) RingGroups(_ context.Context, account store.ID, p Page) ([]store.RingGroup, string, error) {
	s := db.Snapshot(account)
	if s == nil {
		return nil, "", store.ErrNotFound
	}
	q := strings.ToLower(p.Query)
	items, next, err := pageOf(s.Groups, p, func(g *store.RingGroup) store.ID { return g.ID }, func(g *store.RingGroup) bool {
		return contains(q, g.Name, g.Extension)
	})
	for i := range items {
		items[i] = cloneGroup(items[i])
	}
	return items, next, err
}

func cloneGroup(g store.RingGroup) store.RingGroup {
	g.Members = slices.Clone(g.Members)
	return g
}

// tidy keeps no more of a destination than its type needs.
func tidy(d store.Destination) store.Destination {
	switch d.Type {
	case "user", "ring_group", "mailbox":
		d.Number = ""
	case "external", "parking":
		d.ID = ""
	case "hangup":
		return store.Destination{Type: d.Type}
	}
	return d
}

// checkDestination refuses a destination that does not exist.
func (tx *Tx) checkDestination(field string, d store.Destination) error {
	var exists bool
	switch d.Type {
	case "user":
		_, exists = tx.users[d.ID]
	case "ring_group":
		_, exists = tx.groups[d.ID]
	case "mailbox":
		_, exists = tx.boxes[d.ID]
		if !exists {
			_, exists = tx.users[d.ID]
		}
	default:
		return nil
	}
	if !exists {
		return store.FieldErrors{{Field: field, Problem: "This " + map[string]string{"user": "user", "ring_group": "ring group", "mailbox": "mailbox"}[d.Type] + " does not exist."}}
	}
	return nil
}

func (tx *Tx) checkTargets(field string, targets []store.Target) error {
	for i, t := range targets {
		if _, ok := tx.users[t.ID]; t.Type == "user" && !ok {
			return store.FieldErrors{{Field: fmt.Sprintf("%s[%d].id", field, i), Problem: "This user does not exist."}}
		}
	}
	return nil
}

// checkExtensionFree refuses an extension that somebody else of the account has: users, ring groups and mailboxes share them.
func (tx *Tx) checkExtensionFree(extension string, of store.ID) error {
	if extension == "" {
		return nil
	}
	taken := func(by string, id store.ID) error {
		return store.ConflictError{Field: "extension", Problem: fmt.Sprintf("Extension %s is already used by %s.", extension, by), With: id}
	}
	for id, u := range tx.users {
		if u.Extension == extension && id != of {
			return taken(u.Name, id)
		}
	}
	for id, g := range tx.groups {
		if g.Extension == extension && id != of {
			return taken("the ring group "+g.Name, id)
		}
	}
	for id, m := range tx.boxes {
		if m.Extension == extension && id != of {
			return taken("the mailbox "+m.Name, id)
		}
	}
	if store.IsEmergency(tx.account.Country, extension) && !tx.hasExtension(of, extension) {
		return store.FieldErrors{{Field: "extension", Problem: extension + " is an emergency number and cannot be an extension."}}
	}
	return nil
}

// hasExtension reports whether it is there since before the country was set: it stays, and calls to it are emergency calls.
func (tx *Tx) hasExtension(of store.ID, extension string) bool {
	u, ok := tx.users[of]
	return ok && u.Extension == extension
}

// unreferred refuses to remove what calls are led to: they would be lost in silence.
func (tx *Tx) unreferred(id store.ID, name string) error {
	conflict := func(field, from string, with store.ID) error {
		return store.ConflictError{Field: field, Problem: fmt.Sprintf("%s leads to %s. Give it another destination first.", from, name), With: with}
	}
	for _, n := range tx.Numbers() {
		if n.Destination.ID == id {
			return conflict("destination", n.Number, n.ID)
		}
	}
	for _, other := range slices.Sorted(maps.Keys(tx.groups)) {
		if g := tx.groups[other]; g.Fallback.ID == id && other != id {
			return conflict("fallback", "The ring group "+g.Name, other)
		}
	}
	for _, other := range slices.Sorted(maps.Keys(tx.users)) {
		u := tx.users[other]
		if other == id {
			continue
		}
		if u.FindMe.Fallback.Destination.ID == id {
			return conflict("find_me.fallback", "Find me of "+u.Name, other)
		}
	}
	return nil
}

// forget takes a user who goes out of the ring groups, the steps and the mailboxes that name them.
func (tx *Tx) forget(user store.ID) error {
	isUser := func(t store.Target) bool { return t.Type == "user" && t.ID == user }
	for _, id := range slices.Sorted(maps.Keys(tx.groups)) {
		before := tx.groups[id]
		if !slices.ContainsFunc(before.Members, isUser) {
			continue
		}
		g := cloneGroup(*before)
		if g.Members = slices.DeleteFunc(g.Members, isUser); len(g.Members) == 0 {
			g.Members = nil
		}
		g.Version, g.UpdatedAt = g.Version+1, tx.at
		if err := tx.putGroup(before, &g, "update"); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(tx.boxes)) {
		before := tx.boxes[id]
		if !slices.Contains(before.MemberIDs, user) {
			continue
		}
		m := cloneMailbox(*before)
		if m.MemberIDs = slices.DeleteFunc(m.MemberIDs, func(o store.ID) bool { return o == user }); len(m.MemberIDs) == 0 {
			m.MemberIDs = nil
		}
		m.Version, m.UpdatedAt = m.Version+1, tx.at
		if err := tx.putMailbox(before, &m, "update"); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(tx.users)) {
		before := tx.users[id]
		if id == user || !slices.ContainsFunc(before.FindMe.Steps, func(s store.FindStep) bool { return slices.ContainsFunc(s.Targets, isUser) }) {
			continue
		}
		u := *before
		u.FindMe = u.FindMe.Clone()
		for i := range u.FindMe.Steps {
			u.FindMe.Steps[i].Targets = slices.DeleteFunc(u.FindMe.Steps[i].Targets, isUser)
		}
		u.FindMe.Steps = slices.DeleteFunc(u.FindMe.Steps, func(s store.FindStep) bool { return len(s.Targets) == 0 })
		u.FindMe.Enabled = u.FindMe.Enabled && len(u.FindMe.Steps) > 0
		u.Version, u.UpdatedAt = u.Version+1, tx.at
		if err := tx.putUser(before, &u, "update"); err != nil {
			return err
		}
	}
	return nil
}
