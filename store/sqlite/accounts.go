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

// accountColumns in the order of accountRow and loadAccounts.
const accountColumns = `id, version, name, email, timezone, country, billing_address, extension_length, hold_music_clip_id,
	transcription_enabled, recording_enabled, parking_timeout_ms, inbound_fax_limit, outbound_fax_limit,
	provisioning_token_sealed, phone_admin_password_sealed, created_at, updated_at,
	default_outbound_number_id, outbound_countries, trace_days, feature_codes, speed_dials, voicemail_days, voicemail_max, recording`

const upsertAccount = `INSERT INTO accounts (` + accountColumns + `) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
	ON CONFLICT (id) DO UPDATE SET version = excluded.version, name = excluded.name, email = excluded.email,
	timezone = excluded.timezone, country = excluded.country, billing_address = excluded.billing_address,
	extension_length = excluded.extension_length, hold_music_clip_id = excluded.hold_music_clip_id,
	transcription_enabled = excluded.transcription_enabled, recording_enabled = excluded.recording_enabled,
	parking_timeout_ms = excluded.parking_timeout_ms, inbound_fax_limit = excluded.inbound_fax_limit,
	outbound_fax_limit = excluded.outbound_fax_limit, provisioning_token_sealed = excluded.provisioning_token_sealed,
	phone_admin_password_sealed = excluded.phone_admin_password_sealed, updated_at = excluded.updated_at,
	default_outbound_number_id = excluded.default_outbound_number_id, outbound_countries = excluded.outbound_countries, trace_days = excluded.trace_days,
	feature_codes = excluded.feature_codes, speed_dials = excluded.speed_dials, voicemail_days = excluded.voicemail_days, voicemail_max = excluded.voicemail_max, recording = excluded.recording`

func accountRow(v *vault, a *store.Account) []any {
	return []any{
		a.ID, a.Version, a.Name, a.Email, a.Timezone, a.Country, a.BillingAddress, a.ExtensionLength, a.HoldMusicClipID,
		a.TranscriptionEnabled, a.RecordingEnabled, a.ParkingTimeout.Milliseconds(), a.InboundFaxLimit, a.OutboundFaxLimit,
		v.seal(a.ProvisioningToken, "accounts", a.ID, "provisioning_token"),
		v.seal(a.PhoneAdminPassword, "accounts", a.ID, "phone_admin_password"),
		micros(a.CreatedAt), micros(a.UpdatedAt),
		a.DefaultOutboundNumberID, list(a.OutboundCountries), a.TraceDays, codesText(a.FeatureCodes), list(a.SpeedDials), a.VoicemailDays, a.VoicemailMax, string(encode(a.Recording)),
	}
}

const noCodes = "{}"

func codesText(codes map[string]string) string {
	if len(codes) == 0 {
		return noCodes
	}
	return string(encode(codes))
}

func loadAccounts(ctx context.Context, q querier, v *vault) ([]store.Account, error) {
	var all []store.Account
	err := each(ctx, q, func(scan scanner) error {
		var a store.Account
		var parking, created, updated int64
		var token, password []byte
		var countries, codes, dials, recording string
		err := scan(&a.ID, &a.Version, &a.Name, &a.Email, &a.Timezone, &a.Country, &a.BillingAddress, &a.ExtensionLength,
			&a.HoldMusicClipID, &a.TranscriptionEnabled, &a.RecordingEnabled, &parking, &a.InboundFaxLimit, &a.OutboundFaxLimit,
			&token, &password, &created, &updated, &a.DefaultOutboundNumberID, &countries, &a.TraceDays,
			&codes, &dials, &a.VoicemailDays, &a.VoicemailMax, &recording)
		if err != nil {
			return err
		}
		if err := cmp.Or(unlist(countries, &a.OutboundCountries), unlist(dials, &a.SpeedDials)); err != nil {
			return err
		}
		if codes != noCodes {
			if err := json.Unmarshal([]byte(codes), &a.FeatureCodes); err != nil {
				return err
			}
		}
		if err := json.Unmarshal([]byte(recording), &a.Recording); err != nil {
			return err
		}
		a.ParkingTimeout = time.Duration(parking) * time.Millisecond
		a.CreatedAt, a.UpdatedAt = fromMicros(created), fromMicros(updated)
		if a.ProvisioningToken, err = v.open(token, "accounts", a.ID, "provisioning_token"); err != nil {
			return err
		}
		if a.PhoneAdminPassword, err = v.open(password, "accounts", a.ID, "phone_admin_password"); err != nil {
			return err
		}
		all = append(all, a)
		return nil
	}, `SELECT `+accountColumns+` FROM accounts`)
	if err != nil {
		return nil, fmt.Errorf("load accounts: %w", err)
	}
	return all, nil
}

func accountFields(a *store.Account) []field {
	return []field{
		{name: "name", value: a.Name},
		{name: "email", value: a.Email},
		{name: "timezone", value: a.Timezone},
		{name: "country", value: a.Country},
		{name: "billing_address", value: a.BillingAddress},
		{name: "extension_length", value: a.ExtensionLength},
		{name: "default_outbound_number_id", value: a.DefaultOutboundNumberID},
		{name: "outbound_countries", value: a.OutboundCountries},
		{name: "hold_music_clip_id", value: a.HoldMusicClipID},
		{name: "transcription_enabled", value: a.TranscriptionEnabled},
		{name: "recording_enabled", value: a.RecordingEnabled},
		{name: "recording", value: a.Recording},
		{name: "parking_timeout_s", value: a.ParkingTimeout.Seconds()},
		{name: "inbound_fax_limit", value: a.InboundFaxLimit},
		{name: "outbound_fax_limit", value: a.OutboundFaxLimit},
		{name: "trace_days", value: a.TraceDays},
		{name: "feature_codes", value: a.FeatureCodes},
		{name: "speed_dials", value: dialFields(a.SpeedDials)},
		{name: "voicemail_days", value: a.VoicemailDays},
		{name: "voicemail_max", value: a.VoicemailMax},
		{name: "provisioning_token", value: a.ProvisioningToken, secret: true},
		{name: "phone_admin_password", value: a.PhoneAdminPassword, secret: true},
	}
}

// CreateAccount makes an account and continues the transaction inside it. It works in an Update for the account "" only, and once.
func (tx *Tx) CreateAccount(a *store.Account) error {
	if tx.id != "" {
		return fmt.Errorf("create account: this change belongs to account %s", tx.id)
	}
	if err := a.Validate(); err != nil {
		return err
	}
	a.ID, a.OutboundCountries = store.NewID(store.PrefixAccount), sorted(a.OutboundCountries)
	a.DefaultOutboundNumberID, a.HoldMusicClipID = "", "" // it has neither numbers nor clips yet
	a.Version, a.CreatedAt, a.UpdatedAt = 1, tx.at, tx.at
	tx.use(store.NewSnapshot(*a, nil, nil))
	return tx.putAccount(nil, a, "create")
}

// SaveAccount changes the account of the transaction.
func (tx *Tx) SaveAccount(a *store.Account, ifVersion int64) error {
	if err := tx.need(); err != nil {
		return err
	}
	if a.ID != tx.id {
		return store.ErrNotFound
	}
	before := tx.account
	if err := stale(ifVersion, before.Version); err != nil {
		return err
	}
	if err := a.Validate(); err != nil {
		return err
	}
	if err := tx.checkShown("default_outbound_number_id", a.DefaultOutboundNumberID); err != nil {
		return err
	}
	if err := tx.checkClip("hold_music_clip_id", a.HoldMusicClipID); err != nil {
		return err
	}
	a.OutboundCountries, a.FeatureCodes = sorted(a.OutboundCountries), maps.Clone(a.FeatureCodes)
	if len(a.FeatureCodes) == 0 {
		a.FeatureCodes = nil // as it will be read again
	}
	if len(a.SpeedDials) == 0 {
		a.SpeedDials = nil
	}
	if err := tx.extensionsFit(a.ExtensionLength); err != nil {
		return err
	}
	a.Version, a.CreatedAt, a.UpdatedAt = before.Version+1, before.CreatedAt, tx.at
	return tx.putAccount(&before, a, "update")
}

func (tx *Tx) putAccount(before, a *store.Account, verb string) error {
	if a.TraceDays == 0 {
		a.TraceDays = store.DefaultTraceDays
	}
	if err := tx.exec("save account", upsertAccount, accountRow(tx.db.vault, a)...); err != nil {
		return err
	}
	var old []field
	if before != nil {
		old = accountFields(before)
	}
	tx.account, tx.changed = *a, true
	tx.changedObject("account", verb, a.ID, a.Version, nil, difference(old, accountFields(a)))
	return nil
}

// listed is how many extensions an error names.
const listed = 10

// extensionsFit refuses a length that existing extensions do not have, and names them.
func (tx *Tx) extensionsFit(length int) error {
	type holder struct {
		extension, name string
		id              store.ID
	}
	var wrong []holder
	look := func(extension, name string, id store.ID) {
		if extension != "" && len(extension) != length {
			wrong = append(wrong, holder{extension, name, id})
		}
	}
	for id, u := range tx.users {
		look(u.Extension, u.Name, id)
	}
	for id, g := range tx.groups {
		look(g.Extension, g.Name, id)
	}
	for id, m := range tx.boxes {
		look(m.Extension, m.Name, id)
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.SortFunc(wrong, func(a, b holder) int { return cmp.Compare(a.extension, b.extension) })
	var names []string
	for _, h := range wrong[:min(listed, len(wrong))] {
		names = append(names, fmt.Sprintf("%s (%s)", h.extension, h.name))
	}
	more := ""
	if n := len(wrong) - listed; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return store.ConflictError{
		Field:   "extension_length",
		Problem: fmt.Sprintf("Extension length cannot be %d while these extensions exist: %s%s.", length, strings.Join(names, ", "), more),
		With:    wrong[0].id,
	}
}
