package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"pbx/store"
)

// deviceColumns and lineColumns in the order of deviceRow, lineRow and loadDevices.
const (
	deviceColumns = `id, account_id, version, kind, name, vendor, model, mac, ipei, base_id, transport, srtp, digest, created_at, updated_at`
	lineColumns   = `id, account_id, device_id, user_id, line_index, label, username, password_sealed`
)

const upsertDevice = `INSERT INTO devices (` + deviceColumns + `) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
	ON CONFLICT (id) DO UPDATE SET version = excluded.version, kind = excluded.kind, name = excluded.name,
	vendor = excluded.vendor, model = excluded.model, mac = excluded.mac, ipei = excluded.ipei, base_id = excluded.base_id,
	transport = excluded.transport, srtp = excluded.srtp, digest = excluded.digest, updated_at = excluded.updated_at`

const upsertLine = `INSERT INTO lines (` + lineColumns + `) VALUES (?,?,?,?,?,?,?,?)
	ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id, line_index = excluded.line_index, label = excluded.label,
	username = excluded.username, password_sealed = excluded.password_sealed`

func deviceRow(d *store.Device) []any {
	return []any{
		d.ID, d.AccountID, d.Version, d.Kind, d.Name, d.Vendor, d.Model, d.MAC, d.IPEI, d.BaseID,
		d.Transport, d.SRTP, d.Digest, micros(d.CreatedAt), micros(d.UpdatedAt),
	}
}

func lineRow(v *vault, l *store.Line) []any {
	return []any{l.ID, l.AccountID, l.DeviceID, l.UserID, l.Index, l.Label, l.Username, v.seal(l.Password, "lines", l.ID, "password")}
}

func loadDevices(ctx context.Context, q querier, v *vault) (map[store.ID][]store.Device, error) {
	lines := make(map[store.ID][]store.Line)
	err := each(ctx, q, func(scan scanner) error {
		var l store.Line
		var sealed []byte
		err := scan(&l.ID, &l.AccountID, &l.DeviceID, &l.UserID, &l.Index, &l.Label, &l.Username, &sealed)
		if err != nil {
			return err
		}
		if l.Password, err = v.open(sealed, "lines", l.ID, "password"); err != nil {
			return err
		}
		lines[l.DeviceID] = append(lines[l.DeviceID], l)
		return nil
	}, `SELECT `+lineColumns+` FROM lines ORDER BY device_id, line_index`)
	if err != nil {
		return nil, fmt.Errorf("load lines: %w", err)
	}
	all := make(map[store.ID][]store.Device)
	err = each(ctx, q, func(scan scanner) error {
		var d store.Device
		var created, updated int64
		err := scan(&d.ID, &d.AccountID, &d.Version, &d.Kind, &d.Name, &d.Vendor, &d.Model, &d.MAC, &d.IPEI, &d.BaseID,
			&d.Transport, &d.SRTP, &d.Digest, &created, &updated)
		if err != nil {
			return err
		}
		d.CreatedAt, d.UpdatedAt = fromMicros(created), fromMicros(updated)
		d.Lines = lines[d.ID]
		for i := range d.Lines {
			d.Lines[i].Digest = d.Digest
		}
		all[d.AccountID] = append(all[d.AccountID], d)
		return nil
	}, `SELECT `+deviceColumns+` FROM devices`)
	if err != nil {
		return nil, fmt.Errorf("load devices: %w", err)
	}
	return all, nil
}

// lineField is a line as the activity shows it.
type lineField struct {
	Index    int      `json:"index"`
	UserID   store.ID `json:"user_id"`
	Label    string   `json:"label"`
	Username string   `json:"username"`
}

func deviceFields(d *store.Device) []field {
	lines := []lineField{}
	passwords := ""
	for _, l := range d.Lines {
		lines = append(lines, lineField{l.Index, l.UserID, l.Label, l.Username})
		passwords += string(l.Password) + "\n"
	}
	return []field{
		{name: "kind", value: d.Kind},
		{name: "name", value: d.Name},
		{name: "vendor", value: d.Vendor},
		{name: "model", value: d.Model},
		{name: "mac", value: d.MAC},
		{name: "ipei", value: d.IPEI},
		{name: "base_id", value: d.BaseID},
		{name: "transport", value: d.Transport},
		{name: "srtp", value: d.SRTP},
		{name: "digest", value: d.Digest},
		{name: "lines", value: lines},
		{name: "sip_passwords", value: passwords, secret: true},
	}
}

// CreateDevice adds a device. Its lines need no more than a user and a label;
// ids, indexes and random credentials are filled in.
func (tx *Tx) CreateDevice(d *store.Device) error {
	if err := tx.need(); err != nil {
		return err
	}
	d.ID, d.AccountID = store.NewID(store.PrefixDevice), tx.id
	d.Version, d.CreatedAt, d.UpdatedAt = 1, tx.at, tx.at
	if err := tx.checkDevice(d, nil); err != nil {
		return err
	}
	return tx.putDevice(nil, d, "create")
}

// SaveDevice changes a device. Lines are matched by id: those without one are
// new, those that are missing go, and credentials stay as they are.
func (tx *Tx) SaveDevice(d *store.Device, ifVersion int64) error {
	before, ok := tx.devices[d.ID]
	if !ok {
		return store.ErrNotFound
	}
	if err := stale(ifVersion, before.Version); err != nil {
		return err
	}
	d.AccountID, d.Version, d.CreatedAt, d.UpdatedAt = tx.id, before.Version+1, before.CreatedAt, tx.at
	if err := tx.checkDevice(d, before); err != nil {
		return err
	}
	return tx.putDevice(before, d, "update")
}

// RotateLine gives a line a new password and forgets where it was registered.
func (tx *Tx) RotateLine(device, line store.ID) (store.Line, error) {
	before, ok := tx.devices[device]
	if !ok {
		return store.Line{}, store.ErrNotFound
	}
	d := cloneDevice(*before)
	i := slices.IndexFunc(d.Lines, func(l store.Line) bool { return l.ID == line })
	if i < 0 {
		return store.Line{}, store.ErrNotFound
	}
	d.Lines[i].Password = store.NewLinePassword()
	d.Version, d.UpdatedAt = before.Version+1, tx.at
	if err := tx.exec("drop bindings", `DELETE FROM bindings WHERE line_id = ?`, line); err != nil {
		return store.Line{}, err
	}
	if err := tx.putDevice(before, &d, "rotate"); err != nil {
		return store.Line{}, err
	}
	return d.Lines[i], nil
}

// DeleteDevice removes a device with its lines and bindings.
func (tx *Tx) DeleteDevice(id store.ID, ifVersion int64) error {
	d, ok := tx.devices[id]
	if !ok {
		return store.ErrNotFound
	}
	if err := stale(ifVersion, d.Version); err != nil {
		return err
	}
	for _, other := range tx.devices {
		if other.BaseID == id {
			return store.ConflictError{Field: "base_id", Problem: fmt.Sprintf("Handset %s still belongs to this base.", other.Name), With: other.ID}
		}
	}
	// Lines and bindings go with the row: ON DELETE CASCADE.
	if err := tx.exec("delete device", `DELETE FROM devices WHERE id = ? AND account_id = ?`, id, tx.id); err != nil {
		return err
	}
	delete(tx.devices, id)
	tx.changed = true
	tx.changedObject("device", "delete", id, d.Version, usersOf(d), difference(deviceFields(d), nil))
	return nil
}

func (tx *Tx) putDevice(before, d *store.Device, verb string) error {
	if err := tx.exec("save device", upsertDevice, deviceRow(d)...); err != nil {
		return err
	}
	concerned := usersOf(d)
	var old []field
	if before != nil {
		old = deviceFields(before)
		concerned = append(concerned, usersOf(before)...)
		for _, l := range before.Lines {
			if !slices.ContainsFunc(d.Lines, func(kept store.Line) bool { return kept.ID == l.ID }) {
				if err := tx.exec("remove line", `DELETE FROM lines WHERE id = ?`, l.ID); err != nil {
					return err
				}
			}
		}
	}
	for i := range d.Lines {
		if before != nil && slices.Contains(before.Lines, d.Lines[i]) {
			continue
		}
		if err := tx.exec("save line", upsertLine, lineRow(tx.db.vault, &d.Lines[i])...); err != nil {
			return err
		}
	}
	saved := cloneDevice(*d)
	tx.devices[d.ID], tx.changed = &saved, true
	slices.Sort(concerned)
	tx.changedObject("device", verb, d.ID, d.Version, slices.Compact(concerned), difference(old, deviceFields(d)))
	return nil
}

func usersOf(d *store.Device) []store.ID {
	var users []store.ID
	for _, l := range d.Lines {
		users = append(users, l.UserID)
	}
	return users
}

// checkDevice validates a device by itself and beside all others, and completes its lines.
func (tx *Tx) checkDevice(d, before *store.Device) error {
	if mac, ok := store.NormalizeMAC(d.MAC); ok {
		d.MAC = mac
	}
	d.Vendor = strings.ToLower(d.Vendor)
	d.Digest = cmp.Or(d.Digest, store.DigestAny)
	if err := d.Validate(); err != nil {
		return err
	}
	if err := tx.completeLines(d, before); err != nil {
		return err
	}
	if d.BaseID != "" {
		if base, ok := tx.devices[d.BaseID]; !ok || base.Kind != store.DECTBase {
			return store.FieldErrors{{Field: "base_id", Problem: "This DECT base does not exist."}}
		}
	}
	return tx.checkIdentity(d)
}

// checkIdentity refuses a second device of the same MAC address or IPEI. A MAC
// address is unique in the whole store, not only in its account: telephones of
// some makers ask with nothing but their address, which must mean one device.
func (tx *Tx) checkIdentity(d *store.Device) error {
	for _, other := range tx.devices {
		switch {
		case other.ID == d.ID:
		case d.MAC != "" && other.MAC == d.MAC:
			return store.ConflictError{Field: "mac", Problem: fmt.Sprintf("MAC address %s is already used by %s.", d.MAC, other.Name), With: other.ID}
		case d.IPEI != "" && strings.EqualFold(other.IPEI, d.IPEI):
			return store.ConflictError{Field: "ipei", Problem: fmt.Sprintf("IPEI %s is already used by %s.", d.IPEI, other.Name), With: other.ID}
		}
	}
	// A device of another account is not named.
	if other, ok := tx.db.world.Load().macs[d.MAC]; ok && other.AccountID != tx.id {
		return store.ConflictError{Field: "mac", Problem: fmt.Sprintf("MAC address %s is already in use.", d.MAC)}
	}
	return nil
}

// completeLines checks the lines' users and fills in ids, indexes and
// credentials. What a line was given once stays, whatever the caller sent.
func (tx *Tx) completeLines(d, before *store.Device) error {
	d.Lines = slices.Clone(d.Lines)
	users := make(map[store.ID]bool)
	used := make(map[int]bool)
	for i := range d.Lines {
		l := &d.Lines[i]
		if _, ok := tx.users[l.UserID]; !ok {
			return store.FieldErrors{{Field: "user_ids", Problem: fmt.Sprintf("User %s does not exist.", l.UserID)}}
		}
		if users[l.UserID] {
			return store.FieldErrors{{Field: "user_ids", Problem: "Each user has one line on a device."}}
		}
		users[l.UserID] = true
		if err := tx.identifyLine(d, l, before); err != nil {
			return err
		}
		if l.Index < 0 || l.Index > store.MaxLines || used[l.Index] {
			return store.FieldErrors{{Field: "lines", Problem: fmt.Sprintf("Lines must have different indexes from 1 to %d.", store.MaxLines)}}
		}
		if l.Index > 0 {
			used[l.Index] = true
		}
	}
	for i, free := 0, 1; i < len(d.Lines); i++ {
		if d.Lines[i].Index == 0 {
			for used[free] {
				free++
			}
			d.Lines[i].Index, used[free] = free, true
		}
	}
	slices.SortFunc(d.Lines, func(a, b store.Line) int { return cmp.Compare(a.Index, b.Index) })
	if len(d.Lines) == 0 {
		d.Lines = nil // as it will be read again
	}
	return nil
}

func (tx *Tx) identifyLine(d *store.Device, l *store.Line, before *store.Device) error {
	l.AccountID, l.DeviceID, l.Digest = tx.id, d.ID, d.Digest
	if l.ID == "" {
		l.ID, l.Username, l.Password = store.NewID(store.PrefixLine), store.NewLineUsername(), store.NewLinePassword()
		return nil
	}
	if before != nil {
		for _, old := range before.Lines {
			if old.ID == l.ID {
				l.Username, l.Password = old.Username, old.Password
				if l.Index == 0 {
					l.Index = old.Index
				}
				return nil
			}
		}
	}
	return store.FieldErrors{{Field: "lines", Problem: fmt.Sprintf("Line %s does not exist on this device.", l.ID)}}
}
