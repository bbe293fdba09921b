package store

import (
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Role is what a user may do in an account.
type Role string

// The two roles.
const (
	Member Role = "member"
	Admin  Role = "admin"
)

// User is a person who makes and receives calls. Users are called; devices register.
type User struct {
	ID        ID
	AccountID ID
	Version   int64

	Name      string
	Email     string // empty for a user by username
	Username  string // empty for a user by email
	Role      Role
	Extension string // empty: cannot be called

	// PasswordHash is the argon2id string of the portal password; empty: cannot sign in.
	PasswordHash string

	// OutboundNumberID is the number that the user's calls to the outside show; empty: the account's default.
	OutboundNumberID ID
	// OutboundCountries are the countries that the user may call beside the account's own; nil: as the account says.
	OutboundCountries []string

	HoldMusicClipID ID     // what those hear whom the user holds; empty: as the number, else as the account says
	Recording       string // "always", "never"; empty: as the account says

	DoNotDisturb bool
	// RingTimeout is how long the user's devices ring before the call goes on.
	RingTimeout time.Duration
	Voicemail   Voicemail
	FindMe      FindMe
	Forward     Forward
	// OneCall says that the user takes one call at a time: no call waiting, who talks is busy.
	OneCall bool
	// RejectAnonymous says that callers who withhold their number are refused.
	RejectAnonymous bool
	// PickupGroups are the names of the groups whose members take each other's calls by *8; none: the group of all who have none.
	PickupGroups []string
	SpeedDials   []SpeedDial

	CreatedAt time.Time
	UpdatedAt time.Time
}

// Voicemail is a user's mailbox setting.
type Voicemail struct {
	Enabled bool
	// PINHash is the argon2id string of the PIN; empty: no access by PIN.
	PINHash   string
	Greetings Greetings
}

// Greetings are the audio clips that callers hear instead of ours; empty: ours.
type Greetings struct {
	Unavailable ID
	Busy        ID // empty: Unavailable
	Temporary   ID // in force until TemporaryUntil, before the others
	// TemporaryUntil is when the temporary greeting ends; zero: when it is removed.
	TemporaryUntil time.Time
}

func (g *Greetings) check(e *FieldErrors) {
	if !g.TemporaryUntil.IsZero() && g.Temporary == "" {
		e.Add("voicemail.temporary_until", "There is no temporary greeting that could end.")
	}
}

// emergencyNumbers are those that no extension may hide.
var emergencyNumbers = []string{"911", "933"}

// HasPIN reports whether messages can be heard with a PIN.
func (v Voicemail) HasPIN() bool { return v.PINHash != "" }

// Login returns the name the user signs in with.
func (u *User) Login() string {
	if u.Email != "" {
		return u.Email
	}
	return u.Username
}

// Validate returns FieldErrors, or nil. extensionLength is the account's.
func (u *User) Validate(extensionLength int) error {
	var e FieldErrors
	checkName(&e, "name", u.Name)
	switch {
	case u.Email == "" && u.Username == "":
		e.Add("email", "Email or username is required.")
	case u.Email != "":
		checkEmail(&e, "email", u.Email)
	}
	if u.Username != "" && !validUsername(u.Username) {
		e.Add("username", "Username must have 3 to 32 characters of a-z, 0-9, dot, underscore and hyphen.")
	}
	if u.Role != Member && u.Role != Admin {
		e.Add("role", "Role must be member or admin.")
	}
	if u.Extension != "" {
		checkExtension(&e, "extension", u.Extension, extensionLength)
		checkNotEmergency(&e, "extension", u.Extension)
	}
	checkCountries(&e, "outbound_countries", u.OutboundCountries)
	oneOf(&e, "recording", "Recording", u.Recording, recordingRules)
	checkRing(&e, "ring_timeout_s", u.RingTimeout)
	u.FindMe.check(&e)
	u.Forward.check(&e)
	checkPickup(&e, "pickup_groups", u.PickupGroups)
	checkSpeedDials(&e, "speed_dials", u.SpeedDials)
	u.Voicemail.Greetings.check(&e)
	return e.Err()
}

// ValidatePIN checks a voicemail PIN as typed: 4 to 10 digits and not guessable. Empty is valid and means no PIN.
func ValidatePIN(field, pin, extension string) error {
	var e FieldErrors
	switch {
	case pin == "":
	case len(pin) < 4 || len(pin) > 10 || strings.Trim(pin, "0123456789") != "":
		e.Add(field, "PIN must be 4 to 10 digits.")
	case weakPIN(pin, extension):
		e.Add(field, "PIN is too easy to guess: no repeated digit, no counting up or down, not the extension.")
	}
	return e.Err()
}

func weakPIN(pin, extension string) bool {
	if extension != "" && (pin == extension || pin == extension+extension || pin == reverse(extension)) {
		return true
	}
	same, up, down := true, true, true
	for i := 1; i < len(pin); i++ {
		d := int(pin[i]) - int(pin[i-1])
		same = same && d == 0
		up = up && (d == 1 || d == -9)
		down = down && (d == -1 || d == 9)
	}
	return same || up || down
}

func reverse(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// ValidatePassword checks a portal password as typed.
func ValidatePassword(field, password string) error {
	var e FieldErrors
	switch n := utf8.RuneCountInString(password); {
	case n < 12:
		e.Add(field, "Password must have at least 12 characters.")
	case n > 200:
		e.Add(field, "Password must have at most 200 characters.")
	}
	return e.Err()
}

func checkName(e *FieldErrors, field, name string) {
	switch n := utf8.RuneCountInString(name); {
	case strings.TrimSpace(name) == "":
		e.Add(field, "Name is required.")
	case n > 80:
		e.Add(field, "Name must have at most 80 characters.")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		e.Add(field, "Name must not contain control characters.")
	}
}

func checkEmail(e *FieldErrors, field, email string) {
	addr, err := mail.ParseAddress(email)
	if err != nil || addr.Address != email || len(email) > 254 || !strings.Contains(email, "@") {
		e.Add(field, "Enter a valid email address.")
	}
}

func validUsername(s string) bool {
	return len(s) >= 3 && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

// ValidateName checks a name that people give to something, as typed.
func ValidateName(field, name string) error {
	var e FieldErrors
	checkName(&e, field, name)
	return e.Err()
}
