package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pbx/store"
)

// numberColumns in the order of numberRow and loadNumbers.
const numberColumns = `id, account_id, version, number, label, kind, status, trunk_id, destination_type, destination_id,
	destination_number, created_at, updated_at, hold_music_clip_id, recording`

const upsertNumber = `INSERT INTO numbers (` + numberColumns + `) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
	ON CONFLICT (id) DO UPDATE SET version = excluded.version, number = excluded.number, label = excluded.label,
	kind = excluded.kind, status = excluded.status, trunk_id = excluded.trunk_id, destination_type = excluded.destination_type,
	destination_id = excluded.destination_id, destination_number = excluded.destination_number, updated_at = excluded.updated_at,
	hold_music_clip_id = excluded.hold_music_clip_id, recording = excluded.recording`

func numberRow(n *store.Number) []any {
	return []any{
		n.ID, n.AccountID, n.Version, n.Number, n.Label, n.Kind, n.Status, n.TrunkID, n.Destination.Type, n.Destination.ID,
		n.Destination.Number, micros(n.CreatedAt), micros(n.UpdatedAt), n.HoldMusicClipID, n.Recording,
	}
}

func loadNumbers(ctx context.Context, q querier) (map[store.ID][]store.Number, error) {
	all := make(map[store.ID][]store.Number)
	err := each(ctx, q, func(scan scanner) error {
		var n store.Number
		var created, updated int64
		err := scan(&n.ID, &n.AccountID, &n.Version, &n.Number, &n.Label, &n.Kind, &n.Status, &n.TrunkID, &n.Destination.Type,
			&n.Destination.ID, &n.Destination.Number, &created, &updated, &n.HoldMusicClipID, &n.Recording)
		if err != nil {
			return err
		}
		n.CreatedAt, n.UpdatedAt = fromMicros(created), fromMicros(updated)
		all[n.AccountID] = append(all[n.AccountID], n)
		return nil
	}, `SELECT `+numberColumns+` FROM numbers`)
	if err != nil {
		return nil, fmt.Errorf("load numbers: %w", err)
	}
	return all, nil
}

// destinationField is a destination as the activity shows it.
type destinationField struct {
	Type   string   `json:"type"`
	ID     store.ID `json:"id,omitempty"`
	Number string   `json:"number,omitempty"`
}

func numberFields(n *store.Number) []field {
	return []field{
		{name: "number", value: n.Number},
		{name: "label", value: n.Label},
		{name: "kind", value: n.Kind},
		{name: "status", value: n.Status},
		{name: "trunk_id", value: n.TrunkID},
		{name: "destination", value: destinationField(n.Destination)},
		{name: "hold_music_clip_id", value: n.HoldMusicClipID},
		{name: "recording", value: n.Recording},
	}
}

// CreateNumber adds a number to the account.
func (tx *Tx) CreateNumber(n *store.Number) error {
	if err := tx.need(); err != nil {
		return err
	}
	n.ID, n.AccountID = store.NewID(store.PrefixNumber), tx.id
	n.Version, n.CreatedAt, n.UpdatedAt = 1, tx.at, tx.at
	if err := tx.checkNumber(n); err != nil {
		return err
	}
	return tx.putNumber(nil, n, "create")
}

// SaveNumber changes a number.
func (tx *Tx) SaveNumber(n *store.Number, ifVersion int64) error {
	before, ok := tx.numbers[n.ID]
	if !ok {
		return store.ErrNotFound
	}
	if err := stale(ifVersion, before.Version); err != nil {
		return err
	}
	n.AccountID, n.Version, n.CreatedAt, n.UpdatedAt = tx.id, before.Version+1, before.CreatedAt, tx.at
	if err := tx.checkNumber(n); err != nil {
		return err
	}
	return tx.putNumber(before, n, "update")
}

func (tx *Tx) putNumber(before, n *store.Number, verb string) error {
	if err := tx.exec("save number", upsertNumber, numberRow(n)...); err != nil {
		return err
	}
	var old []field
	if before != nil {
		old = numberFields(before)
	}
	saved := *n
	tx.numbers[n.ID], tx.changed = &saved, true
	tx.changedObject("number", verb, n.ID, n.Version, nil, difference(old, numberFields(n)))
	return nil
}

// DeleteNumber removes a number that nobody shows.
func (tx *Tx) DeleteNumber(id store.ID, ifVersion int64) error {
	n, ok := tx.numbers[id]
	if !ok {
		return store.ErrNotFound
	}
	if err := stale(ifVersion, n.Version); err != nil {
		return err
	}
	if tx.account.DefaultOutboundNumberID == id {
		return store.ConflictError{Field: "number", Problem: n.Number + " is the outbound number of the account. Choose another one first.", With: tx.id}
	}
	for _, u := range tx.Users() {
		if u.OutboundNumberID == id {
			return store.ConflictError{Field: "number", Problem: fmt.Sprintf("%s is the outbound number of %s. Choose another one first.", n.Number, u.Name), With: u.ID}
		}
	}
	if err := tx.exec("delete number", `DELETE FROM numbers WHERE id = ? AND account_id = ?`, id, tx.id); err != nil {
		return err
	}
	delete(tx.numbers, id)
	tx.changed = true
	tx.changedObject("number", "delete", id, n.Version, nil, difference(numberFields(n), nil))
	return nil
}

// checkNumber validates a number by itself and beside what it refers to. A number
// is unique in the whole store: a call that comes in for it can mean one account only.
func (tx *Tx) checkNumber(n *store.Number) error {
	n.Destination = tidy(n.Destination)
	if err := n.Validate(); err != nil {
		return err
	}
	if _, ok := tx.trunks[n.TrunkID]; n.TrunkID != "" && !ok {
		return store.FieldErrors{{Field: "trunk_id", Problem: "This trunk does not exist."}}
	}
	if err := tx.checkClip("hold_music_clip_id", n.HoldMusicClipID); err != nil {
		return err
	}
	if err := tx.checkDestination("destination", n.Destination); err != nil {
		return err
	}
	for _, other := range tx.numbers {
		if other.ID != n.ID && other.Number == n.Number {
			return store.ConflictError{Field: "number", Problem: n.Number + " is already in the list of numbers.", With: other.ID}
		}
	}
	// A number of another account is not named.
	if other, ok := tx.db.world.Load().numbers[n.Number]; ok && other.AccountID != tx.id {
		return store.ConflictError{Field: "number", Problem: n.Number + " is already in use."}
	}
	return nil
}

// checkShown refuses to show a number that is not the account's or not yet proven to be.
func (tx *Tx) checkShown(field string, id store.ID) error {
	if id == "" {
		return nil
	}
	n, ok := tx.numbers[id]
	switch {
	case !ok:
		return store.FieldErrors{{Field: field, Problem: "This number does not exist."}}
	case n.Status != "active":
		return store.FieldErrors{{Field: field, Problem: n.Number + " is not verified yet and cannot be shown to others."}}
	}
	return nil
}

// Number returns a number as this transaction sees it.
func (tx *Tx) Number(id store.ID) (store.Number, error) {
	if n, ok := tx.numbers[id]; ok {
		return *n, nil
	}
	return store.Number{}, store.ErrNotFound
}

// Numbers returns all numbers as this transaction sees them, oldest first.
func (tx *Tx) Numbers() []store.Number {
	numbers := make([]store.Number, 0, len(tx.numbers))
	for _, id := range slices.Sorted(maps.Keys(tx.numbers)) {
		numbers = append(numbers, *tx.numbers[id])
	}
	return numbers
}

// Number returns a number of the account.
func (db *DB) Number(_ context.Context, account, id store.ID) (store.Number, error) {
	if s := db.Snapshot(account); s != nil {
		if n := s.Number(id); n != nil {
			return *n, nil
		}
	}
	return store.Number{}, store.ErrNotFound
}

// Numbers lists the numbers of an account, newest first. The query looks into label and number in any spelling.
func (db *DB) Numbers(_ context.Context, account store.ID, f store.NumberFilter, p Page) ([]store.Number, string, error) {
	s := db.Snapshot(account)
	if s == nil {
		return nil, "", store.ErrNotFound
	}
	q := strings.ToLower(p.Query)
	digits := strings.NewReplacer(" ", "", "-", "", ".", "", "/", "", "(", "", ")", "").Replace(q)
	return pageOf(s.Numbers, p, func(n *store.Number) store.ID { return n.ID }, func(n *store.Number) bool {
		return (f.Trunk == "" || n.TrunkID == f.Trunk) && (f.User == "" || n.Destination.ID == f.User) &&
			(contains(q, n.Label) || contains(cmp.Or(digits, q), n.Number))
	})
}

// list is how a list is kept: a JSON array, never null.
func list[T any](items []T) string {
	if len(items) == 0 {
		return "[]"
	}
	return string(encode(items))
}

// unlist reads it back; an empty list is nil.
func unlist[T any](text string, items *[]T) error {
	if text == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(text), items)
}

// ownList keeps the difference between no list of one's own, nil, and an empty one.
func ownList(items []string) string {
	if items == nil {
		return ""
	}
	return list(items)
}

func ownListFrom(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	items := []string{}
	err := unlist(text, &items)
	return items, err
}
