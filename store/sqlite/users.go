package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"pbx/store"
)

// userColumns in the order of userRow and loadUsers.
const userColumns = `id, account_id, version, name, email, username, role, extension, password_hash,
	do_not_disturb, ring_timeout_ms, voicemail_enabled, pin_hash, created_at, updated_at,
	outbound_number_id, outbound_countries, find_me, forward, call_waiting, reject_anonymous, pickup_groups, speed_dials, greetings, hold_music_clip_id, recording`

const upsertUser = `INSERT INTO users (` + userColumns + `) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
	ON CONFLICT (id) DO UPDATE SET version = excluded.version, name = excluded.name, email = excluded.email,
	username = excluded.username, role = excluded.role, extension = excluded.extension,
	password_hash = excluded.password_hash, do_not_disturb = excluded.do_not_disturb,
	ring_timeout_ms = excluded.ring_timeout_ms, voicemail_enabled = excluded.voicemail_enabled,
	pin_hash = excluded.pin_hash, updated_at = excluded.updated_at,
	outbound_number_id = excluded.outbound_number_id, outbound_countries = excluded.outbound_countries,
	find_me = excluded.find_me, forward = excluded.forward, call_waiting = excluded.call_waiting,
	reject_anonymous = excluded.reject_anonymous, pickup_groups = excluded.pickup_groups,
	speed_dials = excluded.speed_dials, greetings = excluded.greetings,
	hold_music_clip_id = excluded.hold_music_clip_id, recording = excluded.recording`

func userRow(u *store.User) []any {
	return []any{
		u.ID, u.AccountID, u.Version, u.Name, u.Email, u.Username, u.Role, u.Extension, u.PasswordHash,
		u.DoNotDisturb, u.RingTimeout.Milliseconds(), u.Voicemail.Enabled, u.Voicemail.PINHash, micros(u.CreatedAt), micros(u.UpdatedAt),
		u.OutboundNumberID, ownList(u.OutboundCountries), string(encode(u.FindMe)), string(encode(u.Forward)), !u.OneCall,
		u.RejectAnonymous, list(u.PickupGroups), list(u.SpeedDials), string(encode(u.Voicemail.Greetings)), u.HoldMusicClipID, u.Recording,
	}
}

func loadUsers(ctx context.Context, q querier) (map[store.ID][]store.User, error) {
	all := make(map[store.ID][]store.User)
	err := each(ctx, q, func(scan scanner) error {
		var u store.User
		var ring, created, updated int64
		var waiting bool
		var countries, find, forward, pickup, dials, greetings string
		err := scan(&u.ID, &u.AccountID, &u.Version, &u.Name, &u.Email, &u.Username, &u.Role, &u.Extension, &u.PasswordHash,
			&u.DoNotDisturb, &ring, &u.Voicemail.Enabled, &u.Voicemail.PINHash, &created, &updated,
			&u.OutboundNumberID, &countries, &find, &forward, &waiting, &u.RejectAnonymous, &pickup, &dials, &greetings, &u.HoldMusicClipID, &u.Recording)
		if err != nil {
			return err
		}
		if u.OutboundCountries, err = ownListFrom(countries); err != nil {
			return err
		}
		if err := cmp.Or(json.Unmarshal([]byte(find), &u.FindMe), json.Unmarshal([]byte(forward), &u.Forward), unlist(pickup, &u.PickupGroups),
			unlist(dials, &u.SpeedDials), json.Unmarshal([]byte(greetings), &u.Voicemail.Greetings)); err != nil {
			return err
		}
		u.OneCall = !waiting
		u.RingTimeout = time.Duration(ring) * time.Millisecond
		u.CreatedAt, u.UpdatedAt = fromMicros(created), fromMicros(updated)
		all[u.AccountID] = append(all[u.AccountID], u)
		return nil
	}, `SELECT `+userColumns+` FROM users`)
	if err != nil {
		return nil, fmt.Errorf("load users: %w", err)
	}
	return all, nil
}

func userFields(u *store.User) []field {
	return []field{
		{name: "name", value: u.Name},
		{name: "email", value: u.Email},
		{name: "username", value: u.Username},
		{name: "role", value: u.Role},
		{name: "extension", value: u.Extension},
		{name: "password", value: u.PasswordHash, secret: true},
		{name: "outbound_number_id", value: u.OutboundNumberID},
		{name: "outbound_countries", value: u.OutboundCountries},
		{name: "hold_music_clip_id", value: u.HoldMusicClipID},
		{name: "recording", value: u.Recording},
		{name: "do_not_disturb", value: u.DoNotDisturb},
		{name: "ring_timeout_s", value: u.RingTimeout.Seconds()},
		{name: "voicemail.enabled", value: u.Voicemail.Enabled},
		{name: "voicemail.pin", value: u.Voicemail.PINHash, secret: true},
		{name: "voicemail.greetings", value: greetingFields(u.Voicemail.Greetings)},
		{name: "find_me", value: findFields(u.FindMe)},
		{name: "forward.always", value: u.Forward.Always},
		{name: "forward.busy", value: u.Forward.Busy},
		{name: "forward.no_answer", value: u.Forward.NoAnswer},
		{name: "forward.unreachable", value: u.Forward.Unreachable},
		{name: "forward.no_answer_timeout_s", value: u.Forward.NoAnswerTimeout.Seconds()},
		{name: "call_waiting", value: !u.OneCall},
		{name: "reject_anonymous", value: u.RejectAnonymous},
		{name: "pickup_groups", value: u.PickupGroups},
		{name: "speed_dials", value: dialFields(u.SpeedDials)},
	}
}

// findFields is how a user is looked for, as the activity shows it.
func findFields(f store.FindMe) any {
	type step struct {
		TimeoutS float64       `json:"timeout_s"`
		Targets  []targetField `json:"targets"`
	}
	steps := make([]step, len(f.Steps))
	for i, s := range f.Steps {
		steps[i] = step{s.Timeout.Seconds(), targetFields(s.Targets)}
	}
	if !f.Enabled && len(steps) == 0 {
		return nil
	}
	return map[string]any{"enabled": f.Enabled, "steps": steps, "fallback": map[string]any{"action": f.Fallback.Action, "destination": destinationField(f.Fallback.Destination)}}
}

func greetingFields(g store.Greetings) any {
	if g == (store.Greetings{}) {
		return nil
	}
	return map[string]any{"unavailable": g.Unavailable, "busy": g.Busy, "temporary": g.Temporary, "temporary_until": g.TemporaryUntil}
}

func dialFields(dials []store.SpeedDial) []string {
	fields := make([]string, len(dials))
	for i, d := range dials {
		fields[i] = fmt.Sprintf("%02d %s %s", d.Index, d.Number, d.Name)
	}
	return fields
}

// CreateUser adds a user to the account.
func (tx *Tx) CreateUser(u *store.User) error {
	if err := tx.need(); err != nil {
		return err
	}
	u.ID, u.AccountID = store.NewID(store.PrefixUser), tx.id
	u.Version, u.CreatedAt, u.UpdatedAt = 1, tx.at, tx.at
	if err := tx.checkUser(u); err != nil {
		return err
	}
	return tx.putUser(nil, u, "create")
}

// SaveUser changes a user. The last admin stays one.
func (tx *Tx) SaveUser(u *store.User, ifVersion int64) error {
	before, ok := tx.users[u.ID]
	if !ok {
		return store.ErrNotFound
	}
	if err := stale(ifVersion, before.Version); err != nil {
		return err
	}
	u.AccountID, u.Version, u.CreatedAt, u.UpdatedAt = tx.id, before.Version+1, before.CreatedAt, tx.at
	if err := tx.checkUser(u); err != nil {
		return err
	}
	if before.Role == store.Admin && u.Role != store.Admin && tx.lastAdmin(u.ID) {
		return store.ConflictError{Field: "role", Problem: "The last admin of an account cannot be demoted.", With: u.ID}
	}
	return tx.putUser(before, u, "update")
}

func (tx *Tx) putUser(before, u *store.User, verb string) error {
	if err := tx.exec("save user", upsertUser, userRow(u)...); err != nil {
		return err
	}
	var old []field
	if before != nil {
		old = userFields(before)
	}
	saved := *u
	tx.users[u.ID], tx.changed = &saved, true
	tx.changedObject("user", verb, u.ID, u.Version, []store.ID{u.ID}, difference(old, userFields(u)))
	return nil
}

// DeleteUser removes a user with the lines, messages, sessions and keys. Call records and activity stay.
func (tx *Tx) DeleteUser(id store.ID, ifVersion int64) error {
	u, ok := tx.users[id]
	if !ok {
		return store.ErrNotFound
	}
	if err := stale(ifVersion, u.Version); err != nil {
		return err
	}
	if u.Role == store.Admin && tx.lastAdmin(id) {
		return store.ConflictError{Field: "role", Problem: "The last admin of an account cannot be deleted.", With: id}
	}
	if err := tx.unreferred(id, u.Name); err != nil {
		return err
	}
	if err := tx.forget(id); err != nil {
		return err
	}
	for _, d := range tx.Devices() {
		kept := withoutUser(d.Lines, id)
		if len(kept) == len(d.Lines) {
			continue
		}
		before := tx.devices[d.ID]
		d.Lines, d.Version, d.UpdatedAt = kept, d.Version+1, tx.at
		if err := tx.putDevice(before, &d, "update"); err != nil {
			return err
		}
	}
	if err := tx.emptyMailbox(id); err != nil {
		return err
	}
	// Sessions and keys go with the row: ON DELETE CASCADE.
	if err := tx.exec("delete user", `DELETE FROM users WHERE id = ? AND account_id = ?`, id, tx.id); err != nil {
		return err
	}
	delete(tx.users, id)
	tx.changed = true
	tx.changedObject("user", "delete", id, u.Version, []store.ID{id}, difference(userFields(u), nil))
	return nil
}

func withoutUser(lines []store.Line, user store.ID) []store.Line {
	var kept []store.Line
	for _, l := range lines {
		if l.UserID != user {
			kept = append(kept, l)
		}
	}
	return kept
}

// lastAdmin reports whether the account has no admin but this one.
func (tx *Tx) lastAdmin(id store.ID) bool {
	for _, u := range tx.users {
		if u.Role == store.Admin && u.ID != id {
			return false
		}
	}
	return true
}

// checkUser validates a user by itself and beside all others. Extensions are
// unique within the account; logins in the whole store, because people sign in
// with nothing but their login.
func (tx *Tx) checkUser(u *store.User) error {
	if err := u.Validate(tx.account.ExtensionLength); err != nil {
		return err
	}
	if err := tx.checkExtensionFree(u.Extension, u.ID); err != nil {
		return err
	}
	if err := tx.checkReach(u); err != nil {
		return err
	}
	if err := tx.checkShown("outbound_number_id", u.OutboundNumberID); err != nil {
		return err
	}
	if err := tx.checkClip("hold_music_clip_id", u.HoldMusicClipID); err != nil {
		return err
	}
	if own := u.OutboundCountries; own != nil {
		if u.OutboundCountries = sorted(own); u.OutboundCountries == nil {
			u.OutboundCountries = []string{} // the own country only, whatever the account says
		}
	}
	email := strings.ToLower(u.Email)
	for _, other := range tx.users {
		switch {
		case other.ID == u.ID:
		case email != "" && strings.ToLower(other.Email) == email:
			return emailTaken(other.ID)
		case u.Username != "" && other.Username == u.Username:
			return usernameTaken(other.ID)
		}
	}
	// A user of another account is not named.
	logins := tx.db.world.Load().logins
	if other, ok := logins[email]; ok && email != "" && other.AccountID != tx.id {
		return emailTaken("")
	}
	if other, ok := logins[u.Username]; ok && u.Username != "" && other.AccountID != tx.id {
		return usernameTaken("")
	}
	return nil
}

// checkReach refuses ways of reaching a user that lead nowhere, and writes them in one way.
func (tx *Tx) checkReach(u *store.User) error {
	f := u.FindMe.Clone()
	if len(f.Steps) == 0 {
		f.Steps = nil // as it will be read again
	}
	f.Fallback.Destination = tidy(f.Fallback.Destination)
	if f.Fallback.Action != "route" {
		f.Fallback.Destination = store.Destination{}
	}
	u.FindMe, u.PickupGroups = f, sorted(u.PickupGroups)
	u.SpeedDials = slices.Clone(u.SpeedDials)
	slices.SortFunc(u.SpeedDials, func(a, b store.SpeedDial) int { return cmp.Compare(a.Index, b.Index) })
	if len(u.SpeedDials) == 0 {
		u.SpeedDials = nil
	}
	for i, s := range f.Steps {
		if err := tx.checkTargets(fmt.Sprintf("find_me.steps[%d].targets", i), s.Targets); err != nil {
			return err
		}
	}
	for _, g := range []struct {
		field string
		clip  store.ID
	}{
		{"voicemail.greeting_clip_id", u.Voicemail.Greetings.Unavailable},
		{"voicemail.busy_greeting_clip_id", u.Voicemail.Greetings.Busy},
		{"voicemail.temporary_greeting_clip_id", u.Voicemail.Greetings.Temporary},
	} {
		if err := tx.checkClip(g.field, g.clip); err != nil {
			return err
		}
	}
	return tx.checkDestination("find_me.fallback.destination", f.Fallback.Destination)
}

func emailTaken(with store.ID) error {
	return store.ConflictError{Field: "email", Problem: "A user with this email already exists.", With: with}
}

func usernameTaken(with store.ID) error {
	return store.ConflictError{Field: "username", Problem: "A user with this username already exists.", With: with}
}
