package store

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Account owns all other rows.
type Account struct {
	ID      ID
	Version int64

	Name            string
	Email           string
	Timezone        string // IANA name, "Europe/Berlin"
	Country         string // ISO 3166-1 alpha-2, "US"
	BillingAddress  string
	ExtensionLength int // digits, 3 to 6

	// DefaultOutboundNumberID is the number that is shown when the caller has none of their own; empty: none is shown.
	DefaultOutboundNumberID ID
	// OutboundCountries are the countries that may be called beside the account's own, ISO codes; "*" means all.
	OutboundCountries []string

	HoldMusicClipID      ID // empty: the built-in music
	TranscriptionEnabled bool
	RecordingEnabled     bool
	Recording            RecordingPolicy
	ParkingTimeout       time.Duration
	InboundFaxLimit      int
	OutboundFaxLimit     int
	// FeatureCodes are the codes that are not the default ones, by name; see dialplan.Codes.
	FeatureCodes map[string]string
	SpeedDials   []SpeedDial // of everybody
	// VoicemailDays is how long messages are kept; 0: for ever. VoicemailMax is how many a mailbox holds; 0: MaxMessages.
	VoicemailDays, VoicemailMax int
	TraceDays                   int // how long the SIP messages of a call are kept; 0: DefaultTraceDays

	// ProvisioningToken is the secret part of the address that phones boot against; empty while none was generated.
	ProvisioningToken Secret
	// PhoneAdminPassword is the web password that provisioning gives to each phone.
	PhoneAdminPassword Secret

	CreatedAt time.Time
	UpdatedAt time.Time
}

// DefaultTraceDays is how long the messages of a call are kept unless the account says otherwise.
const DefaultTraceDays = 30

// MaxMessages is how many messages a mailbox holds at most.
const MaxMessages = 1000

// Validate returns FieldErrors, or nil.
func (a *Account) Validate() error {
	var e FieldErrors
	checkName(&e, "name", a.Name)
	if a.Email != "" {
		checkEmail(&e, "email", a.Email)
	}
	if _, err := time.LoadLocation(a.Timezone); err != nil || a.Timezone == "" || a.Timezone == "Local" {
		e.Add("timezone", "Time zone must be an IANA name such as Europe/Berlin.")
	}
	if len(a.Country) != 2 || strings.Trim(a.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		e.Add("country", "Country must be a two-letter ISO code such as US.")
	}
	checkCountries(&e, "outbound_countries", a.OutboundCountries)
	if a.ExtensionLength < 3 || a.ExtensionLength > 6 {
		e.Add("extension_length", "Extension length must be 3 to 6 digits.")
	}
	if s := a.ParkingTimeout / time.Second; s < 10 || s > 3600 {
		e.Add("parking_timeout_s", "Parking timeout must be 10 to 3600 seconds.")
	}
	checkFaxLimit(&e, "inbound_fax_limit", a.InboundFaxLimit)
	checkFaxLimit(&e, "outbound_fax_limit", a.OutboundFaxLimit)
	a.Recording.check(&e)
	checkSpeedDials(&e, "speed_dials", a.SpeedDials)
	if a.VoicemailDays < 0 || a.VoicemailDays > 3650 {
		e.Add("voicemail_days", "Messages can be kept for 0 (for ever) to 3650 days.")
	}
	if a.VoicemailMax < 0 || a.VoicemailMax > MaxMessages {
		e.Add("voicemail_max", "A mailbox holds at most 1000 messages.")
	}
	for name, code := range a.FeatureCodes {
		if code == "" || len(code) > 12 || strings.Trim(code, "0123456789*#-") != "" {
			e.Add("feature_codes."+name, "A code has 1 to 12 digits, * and #.")
		}
	}
	if a.TraceDays < 0 || a.TraceDays > 365 {
		e.Add("trace_days", "Traces of calls can be kept for 1 to 365 days.")
	}
	if utf8.RuneCountInString(a.BillingAddress) > 500 {
		e.Add("billing_address", "Billing address must have at most 500 characters.")
	}
	return e.Err()
}

// checkCountries reports what is no list of ISO codes.
func checkCountries(e *FieldErrors, field string, countries []string) {
	for _, c := range countries {
		if c != "*" && (len(c) != 2 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") || len(countries) > 300 {
			e.Add(field, "Countries must be two-letter ISO codes such as US, or * for all.")
			return
		}
	}
}

func checkFaxLimit(e *FieldErrors, field string, n int) {
	if n < 0 || n > 10_000 {
		e.Add(field, "Fax limit must be 0 to 10000 per hour.")
	}
}

// checkExtension reports an extension that has not exactly length digits.
func checkExtension(e *FieldErrors, field, ext string, length int) {
	if len(ext) != length || strings.Trim(ext, "0123456789") != "" {
		e.Add(field, "Extension must have exactly "+strconv.Itoa(length)+" digits.")
	}
}
