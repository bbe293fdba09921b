package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pbx/store"
)

// trunkColumns in the order of trunkRow and loadTrunks.
const trunkColumns = `id, account_id, version, name, enabled, host, port, transport, outbound_proxy, register, username,
	password_sealed, auth_username, from_domain, expiry_ms, sources, options, identity, trust_identity, diversion, format,
	prefixes, priority, rates, codecs, max_calls, max_in, max_out, emergency_reserve, messages, trust_verstat, srtp, created_at, updated_at`

const upsertTrunk = `INSERT INTO trunks (` + trunkColumns + `) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
	ON CONFLICT (id) DO UPDATE SET version = excluded.version, name = excluded.name, enabled = excluded.enabled,
	host = excluded.host, port = excluded.port, transport = excluded.transport, outbound_proxy = excluded.outbound_proxy,
	register = excluded.register, username = excluded.username, password_sealed = excluded.password_sealed,
	auth_username = excluded.auth_username, from_domain = excluded.from_domain, expiry_ms = excluded.expiry_ms,
	sources = excluded.sources, options = excluded.options, identity = excluded.identity,
	trust_identity = excluded.trust_identity, diversion = excluded.diversion, format = excluded.format,
	prefixes = excluded.prefixes, priority = excluded.priority, rates = excluded.rates, codecs = excluded.codecs,
	max_calls = excluded.max_calls, max_in = excluded.max_in, max_out = excluded.max_out,
	emergency_reserve = excluded.emergency_reserve, messages = excluded.messages, trust_verstat = excluded.trust_verstat, srtp = excluded.srtp, updated_at = excluded.updated_at`

func trunkRow(v *vault, t *store.Trunk) []any {
	return []any{
		t.ID, t.AccountID, t.Version, t.Name, t.Enabled, t.Host, t.Port, t.Transport, t.OutboundProxy, t.Register, t.Username,
		v.seal(t.Password, "trunks", t.ID, "password"), t.AuthUsername, t.FromDomain, t.Expiry.Milliseconds(), list(t.Sources),
		t.Options, t.Identity, t.TrustIdentity, t.Diversion, t.Format, list(t.Prefixes), t.Priority, list(t.Rates), list(t.Codecs),
		t.MaxCalls, t.MaxIn, t.MaxOut, t.EmergencyReserve, t.Messages, t.TrustVerstat, t.SRTP, micros(t.CreatedAt), micros(t.UpdatedAt),
	}
}

func loadTrunks(ctx context.Context, q querier, v *vault) (map[store.ID][]store.Trunk, error) {
	all := make(map[store.ID][]store.Trunk)
	err := each(ctx, q, func(scan scanner) error {
		var t store.Trunk
		var sealed []byte
		var sources, prefixes, rates, codecs string
		var expiry, created, updated int64
		err := scan(&t.ID, &t.AccountID, &t.Version, &t.Name, &t.Enabled, &t.Host, &t.Port, &t.Transport, &t.OutboundProxy, &t.Register,
			&t.Username, &sealed, &t.AuthUsername, &t.FromDomain, &expiry, &sources, &t.Options, &t.Identity, &t.TrustIdentity,
			&t.Diversion, &t.Format, &prefixes, &t.Priority, &rates, &codecs, &t.MaxCalls, &t.MaxIn, &t.MaxOut, &t.EmergencyReserve,
			&t.Messages, &t.TrustVerstat, &t.SRTP, &created, &updated)
		if err != nil {
			return err
		}
		if t.Password, err = v.open(sealed, "trunks", t.ID, "password"); err != nil {
			return err
		}
		if err := cmp.Or(unlist(sources, &t.Sources), unlist(prefixes, &t.Prefixes), unlist(rates, &t.Rates), unlist(codecs, &t.Codecs)); err != nil {
			return err
		}
		t.Expiry = time.Duration(expiry) * time.Millisecond
		t.CreatedAt, t.UpdatedAt = fromMicros(created), fromMicros(updated)
		all[t.AccountID] = append(all[t.AccountID], t)
		return nil
	}, `SELECT `+trunkColumns+` FROM trunks`)
	if err != nil {
		return nil, fmt.Errorf("load trunks: %w", err)
	}
	return all, nil
}

func trunkFields(t *store.Trunk) []field {
	return []field{
		{name: "name", value: t.Name},
		{name: "enabled", value: t.Enabled},
		{name: "host", value: t.Host},
		{name: "port", value: t.Port},
		{name: "transport", value: t.Transport},
		{name: "outbound_proxy", value: t.OutboundProxy},
		{name: "register", value: t.Register},
		{name: "auth.username", value: t.Username},
		{name: "auth.password", value: t.Password, secret: true},
		{name: "auth.auth_username", value: t.AuthUsername},
		{name: "from_domain", value: t.FromDomain},
		{name: "expiry_s", value: t.Expiry.Seconds()},
		{name: "sources", value: t.Sources},
		{name: "options", value: t.Options},
		{name: "identity", value: t.Identity},
		{name: "trust_identity", value: t.TrustIdentity},
		{name: "trust_verstat", value: t.TrustVerstat},
		{name: "diversion", value: t.Diversion},
		{name: "format", value: t.Format},
		{name: "prefixes", value: t.Prefixes},
		{name: "priority", value: t.Priority},
		{name: "rates", value: t.Rates},
		{name: "codecs", value: t.Codecs},
		{name: "max_calls", value: t.MaxCalls},
		{name: "max_in", value: t.MaxIn},
		{name: "max_out", value: t.MaxOut},
		{name: "emergency_reserve", value: t.EmergencyReserve},
		{name: "messages", value: t.Messages},
		{name: "srtp", value: t.SRTP},
	}
}

// CreateTrunk adds a trunk to the account.
func (tx *Tx) CreateTrunk(t *store.Trunk) error {
	if err := tx.need(); err != nil {
		return err
	}
	t.ID, t.AccountID = store.NewID(store.PrefixTrunk), tx.id
	t.Version, t.CreatedAt, t.UpdatedAt = 1, tx.at, tx.at
	if err := tx.checkTrunk(t); err != nil {
		return err
	}
	return tx.putTrunk(nil, t, "create")
}

// SaveTrunk changes a trunk.
func (tx *Tx) SaveTrunk(t *store.Trunk, ifVersion int64) error {
	before, ok := tx.trunks[t.ID]
	if !ok {
		return store.ErrNotFound
	}
	if err := stale(ifVersion, before.Version); err != nil {
		return err
	}
	t.AccountID, t.Version, t.CreatedAt, t.UpdatedAt = tx.id, before.Version+1, before.CreatedAt, tx.at
	if err := tx.checkTrunk(t); err != nil {
		return err
	}
	return tx.putTrunk(before, t, "update")
}

func (tx *Tx) putTrunk(before, t *store.Trunk, verb string) error {
	if err := tx.exec("save trunk", upsertTrunk, trunkRow(tx.db.vault, t)...); err != nil {
		return err
	}
	var old []field
	if before != nil {
		old = trunkFields(before)
	}
	saved := cloneTrunk(*t)
	tx.trunks[t.ID], tx.changed = &saved, true
	tx.changedObject("trunk", verb, t.ID, t.Version, nil, difference(old, trunkFields(t)))
	return nil
}

// DeleteTrunk removes a trunk. Its numbers stay and may come by any other.
func (tx *Tx) DeleteTrunk(id store.ID, ifVersion int64) error {
	t, ok := tx.trunks[id]
	if !ok {
		return store.ErrNotFound
	}
	if err := stale(ifVersion, t.Version); err != nil {
		return err
	}
	for _, n := range tx.Numbers() {
		if n.TrunkID != id {
			continue
		}
		before := tx.numbers[n.ID]
		n.TrunkID, n.Version, n.UpdatedAt = "", n.Version+1, tx.at
		if err := tx.putNumber(before, &n, "update"); err != nil {
			return err
		}
	}
	if err := tx.exec("delete trunk", `DELETE FROM trunks WHERE id = ? AND account_id = ?`, id, tx.id); err != nil {
		return err
	}
	delete(tx.trunks, id)
	tx.changed = true
	tx.changedObject("trunk", "delete", id, t.Version, nil, difference(trunkFields(t), nil))
	return nil
}

// checkTrunk validates a trunk by itself and beside the others, and writes its lists in one way.
func (tx *Tx) checkTrunk(t *store.Trunk) error {
	t.Host, t.FromDomain = strings.ToLower(t.Host), strings.ToLower(t.FromDomain)
	t.Sources, t.Prefixes = sorted(t.Sources), sorted(t.Prefixes)
	t.Codecs = uniq(t.Codecs) // their order is what the admin chose
	t.Rates = slices.Clone(t.Rates)
	slices.SortFunc(t.Rates, func(a, b store.Rate) int { return cmp.Compare(a.Prefix, b.Prefix) })
	if len(t.Rates) == 0 {
		t.Rates = nil // as it will be read again
	}
	if err := t.Validate(); err != nil {
		return err
	}
	for i := 1; i < len(t.Rates); i++ {
		if t.Rates[i].Prefix == t.Rates[i-1].Prefix {
			return store.FieldErrors{{Field: "rates", Problem: "The prefix " + t.Rates[i].Prefix + " has two prices."}}
		}
	}
	for _, other := range tx.trunks {
		if other.ID != t.ID && strings.EqualFold(other.Name, t.Name) {
			return store.ConflictError{Field: "name", Problem: "Another trunk has this name.", With: other.ID}
		}
	}
	return nil
}

// Trunk returns a trunk as this transaction sees it.
func (tx *Tx) Trunk(id store.ID) (store.Trunk, error) {
	if t, ok := tx.trunks[id]; ok {
		return cloneTrunk(*t), nil
	}
	return store.Trunk{}, store.ErrNotFound
}

// Trunks returns the trunks of all accounts as they are now. It never waits; what it returns belongs to everybody: do not change it.
func (db *DB) Trunks() []store.Trunk { return db.world.Load().trunks }

// Trunk returns a trunk of the account.
func (db *DB) Trunk(_ context.Context, account, id store.ID) (store.Trunk, error) {
	if s := db.Snapshot(account); s != nil {
		if t := s.Trunk(id); t != nil {
			return cloneTrunk(*t), nil
		}
	}
	return store.Trunk{}, store.ErrNotFound
}

// TrunksOf lists the trunks of an account, newest first. The query looks into name, host and user name.
func (db *DB) TrunksOf(_ context.Context, account store.ID, p Page) ([]store.Trunk, string, error) {
	s := db.Snapshot(account)
	if s == nil {
		return nil, "", store.ErrNotFound
	}
	q := strings.ToLower(p.Query)
	items, next, err := pageOf(s.Trunks, p, func(t *store.Trunk) store.ID { return t.ID }, func(t *store.Trunk) bool {
		return contains(q, t.Name, t.Host, t.Username)
	})
	for i := range items {
		items[i] = cloneTrunk(items[i])
	}
	return items, next, err
}

func cloneTrunk(t store.Trunk) store.Trunk {
	t.Sources, t.Prefixes, t.Codecs, t.Rates = slices.Clone(t.Sources), slices.Clone(t.Prefixes), slices.Clone(t.Codecs), slices.Clone(t.Rates)
	return t
}

// sorted is a list in order, each item once; nil if there is none.
func sorted(items []string) []string {
	items = slices.Clone(items)
	slices.Sort(items)
	return uniq(items)
}

// uniq is a list without repetitions; nil if there is nothing.
func uniq(items []string) []string {
	var kept []string
	for _, s := range items {
		if !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	return kept
}
