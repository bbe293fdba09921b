package admin

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"os"
	"time"

	"pbx/call"
	"pbx/dialplan"
	"pbx/event"
	"pbx/provisioning"
	"pbx/sip"
	"pbx/store"
)

// Changes is what one transaction can change. An ifVersion of 0 fits any version.
type Changes interface {
	AccountChanges
	UserChanges
	DeviceChanges
	TrunkChanges
	GroupChanges
	MessageChanges
	SoundChanges
	SignInChanges
	// Note adds an entry to the activity log that no other method makes.
	Note(event, resource string, detail any)
}

// AccountChanges are changes of the account itself.
type AccountChanges interface {
	Account() store.Account
	CreateAccount(a *store.Account) error
	SaveAccount(a *store.Account, ifVersion int64) error
}

// UserChanges are changes of users.
type UserChanges interface {
	User(id store.ID) (store.User, error)
	Users() []store.User
	CreateUser(u *store.User) error
	SaveUser(u *store.User, ifVersion int64) error
	DeleteUser(id store.ID, ifVersion int64) error
}

// DeviceChanges are changes of devices and their lines.
type DeviceChanges interface {
	Device(id store.ID) (store.Device, error)
	CreateDevice(d *store.Device) error
	SaveDevice(d *store.Device, ifVersion int64) error
	RotateLine(device, line store.ID) (store.Line, error)
	DeleteDevice(id store.ID, ifVersion int64) error
}

// TrunkChanges are changes of trunks and numbers.
type TrunkChanges interface {
	Trunk(id store.ID) (store.Trunk, error)
	CreateTrunk(t *store.Trunk) error
	SaveTrunk(t *store.Trunk, ifVersion int64) error
	DeleteTrunk(id store.ID, ifVersion int64) error
	Number(id store.ID) (store.Number, error)
	CreateNumber(n *store.Number) error
	SaveNumber(n *store.Number, ifVersion int64) error
	DeleteNumber(id store.ID, ifVersion int64) error
}

// GroupChanges are changes of ring groups and shared mailboxes.
type GroupChanges interface {
	RingGroup(id store.ID) (store.RingGroup, error)
	CreateRingGroup(g *store.RingGroup) error
	SaveRingGroup(g *store.RingGroup, ifVersion int64) error
	DeleteRingGroup(id store.ID, ifVersion int64) error
	Mailbox(id store.ID) (store.Mailbox, error)
	CreateMailbox(m *store.Mailbox) error
	SaveMailbox(m *store.Mailbox, ifVersion int64) error
	DeleteMailbox(id store.ID, ifVersion int64) error
}

// MessageChanges are changes of voicemail messages.
type MessageChanges interface {
	SetMessageRead(id store.ID, read bool) error
	MoveMessage(id, to store.ID) error
	DeleteMessage(id store.ID) error
}

// SoundChanges are changes of audio clips and recordings.
type SoundChanges interface {
	// CreateClip takes the sound out of a staged file.
	CreateClip(c *store.AudioClip, staged string) error
	SaveClip(c *store.AudioClip, ifVersion int64) error
	Clip(id store.ID) (store.AudioClip, error)
	DeleteClip(id store.ID, ifVersion int64) error
	DeleteRecording(id store.ID, ifVersion int64) error
}

// SignInChanges are changes of sessions and keys.
type SignInChanges interface {
	CreateSession(s *store.Session) error
	DeleteSession(id store.ID) error
	DeleteSessionsOf(user, except store.ID) error
	CreateAPIKey(k *store.APIKey) error
	DeleteAPIKey(id store.ID) error
}

// Reads is all that admin reads of the database, by noun.
type Reads interface {
	AccountReads
	UserReads
	DeviceReads
	TrunkReads
	GroupReads
	MessageReads
	SoundReads
	LogReads
	TraceReads
	SignInReads
}

// AccountReads are reads of accounts. Snapshot answers from memory, with nil for an unknown account.
type AccountReads interface {
	HasUsers(ctx context.Context) (bool, error)
	Accounts() []store.ID
	Account(ctx context.Context, account store.ID) (store.Account, error)
	Snapshot(account store.ID) *store.Snapshot
}

// UserReads are reads of users.
type UserReads interface {
	User(ctx context.Context, account, id store.ID) (store.User, error)
	Users(ctx context.Context, account store.ID, p store.Page) ([]store.User, string, error)
	UserByLogin(ctx context.Context, login string) (store.User, error)
}

// DeviceReads are reads of devices and of what they fetched.
type DeviceReads interface {
	Device(ctx context.Context, account, id store.ID) (store.Device, error)
	Devices(ctx context.Context, account store.ID, f store.DeviceFilter, p store.Page) ([]store.Device, string, error)
	ProvisionFetches(ctx context.Context, account, device store.ID, p store.Page) ([]store.ProvisionFetch, string, error)
}

// TrunkReads are reads of trunks and numbers.
type TrunkReads interface {
	Trunk(ctx context.Context, account, id store.ID) (store.Trunk, error)
	TrunksOf(ctx context.Context, account store.ID, p store.Page) ([]store.Trunk, string, error)
	Number(ctx context.Context, account, id store.ID) (store.Number, error)
	Numbers(ctx context.Context, account store.ID, f store.NumberFilter, p store.Page) ([]store.Number, string, error)
}

// GroupReads are reads of ring groups and shared mailboxes.
type GroupReads interface {
	RingGroup(ctx context.Context, account, id store.ID) (store.RingGroup, error)
	RingGroups(ctx context.Context, account store.ID, p store.Page) ([]store.RingGroup, string, error)
	Mailbox(ctx context.Context, account, id store.ID) (store.Mailbox, error)
	Mailboxes(ctx context.Context, account store.ID, p store.Page) ([]store.Mailbox, string, error)
}

// MessageReads are reads of voicemail. MailboxCounts answers from memory.
type MessageReads interface {
	Messages(ctx context.Context, account store.ID, mailboxes []store.ID, p store.Page) ([]store.Message, string, error)
	Message(ctx context.Context, account, id store.ID) (store.Message, error)
	MessagePath(id store.ID) string
	MailboxCounts(account, user store.ID) store.MailboxCounts
}

// SoundReads are reads of audio clips and recordings, and the files that clips are made in.
type SoundReads interface {
	Clips(ctx context.Context, account store.ID, p store.Page) ([]store.AudioClip, string, error)
	Clip(ctx context.Context, account, id store.ID) (store.AudioClip, error)
	ClipPath(id store.ID) string
	// StageSound makes a file that CreateClip may take; whoever asked removes it.
	StageSound() (*os.File, error)
	Recordings(ctx context.Context, account store.ID, f store.RecordingFilter, p store.Page) ([]store.Recording, string, error)
	Recording(ctx context.Context, account, id store.ID) (store.Recording, error)
	RecordingPath(id store.ID) string
}

// LogReads are reads of calls and activity, and the one way to add to the latter without a change.
type LogReads interface {
	CallRecords(ctx context.Context, account store.ID, f store.CallFilter, p store.Page) ([]store.CallRecord, string, error)
	CallRecord(ctx context.Context, account, id store.ID) (store.CallRecord, error)
	Activity(ctx context.Context, account store.ID, f store.ActivityFilter, p store.Page) ([]store.Activity, string, error)
	Record(ctx context.Context, account store.ID, a store.Activity) error
}

// SignInReads are reads of sessions and keys, and the notes that they were used.
type SignInReads interface {
	SessionByToken(ctx context.Context, token string) (store.Session, error)
	TouchSession(ctx context.Context, account, id store.ID, seen, expires time.Time) error
	APIKeyByToken(ctx context.Context, token string) (store.APIKey, error)
	TouchAPIKey(ctx context.Context, account, id store.ID, ip string) error
	APIKeys(ctx context.Context, account, user store.ID) ([]store.APIKey, error)
}

// Database is what admin needs of the store; Open makes one.
type Database interface {
	Reads
	// Update runs fn as one transaction: validated, logged as activity, committed, published.
	Update(ctx context.Context, who store.Actor, account store.ID, fn func(tx Changes) error) error
}

// Updater is a database whose transactions are of type T, as the real one is.
type Updater[T Changes] interface {
	Reads
	Update(ctx context.Context, who store.Actor, account store.ID, fn func(tx T) error) error
}

// Open lets admin use a database without knowing the type of its transactions.
func Open[T Changes](db Updater[T]) Database { return opened[T]{db, db} }

type opened[T Changes] struct {
	Reads
	db Updater[T]
}

func (o opened[T]) Update(ctx context.Context, who store.Actor, account store.ID, fn func(tx Changes) error) error {
	return o.db.Update(ctx, who, account, func(tx T) error { return fn(tx) })
}

// Calls are the running calls; *call.Engine fits.
type Calls interface {
	Calls(account store.ID) []event.Call
	HangUp(account, call store.ID) error
	Transfer(account, call, user store.ID, side call.Side, to string) error
	Record(account, call store.ID, by, state string) error
	// Join connects the other sides of two calls of one user, of anybody who is in both without one.
	Join(account, call, into, user store.ID) error
	Originate(ctx context.Context, account, fromUser store.ID, to string) (store.ID, error)
	// Quality returns how a running call sounds; for a while its figures are news from then on.
	Quality(account, call store.ID) (*store.CallQuality, error)
	Park(account, call, user store.ID) error
	Parked(account store.ID) []event.Parked
}

// Phones are the registered phones; *sip.Server fits.
type Phones interface {
	BindingsOfUser(user store.ID) []store.Binding
	BindingsOfDevice(device store.ID) []store.Binding
	// CheckSync asks a phone to read its configuration again or to start anew, in the words of its maker.
	CheckSync(ctx context.Context, b store.Binding, vendor, model string, reboot bool) error
	// ForgetDevice drops the registrations of a device and says how many there were.
	ForgetDevice(device store.ID) int
	// LampTruth returns what is known of every lamp of an account; RepairLamp tells one anew, if it is there.
	LampTruth(account store.ID) []sip.LampView
	RepairLamp(account store.ID, id string) bool
}

// Provisioning previews what phones fetch, and knows which did; *provisioning.Server fits.
type Provisioning interface {
	Render(account, device store.ID, masked bool) ([]provisioning.File, error)
	Seen(account store.ID) []provisioning.SeenPhone
	LastFetch(device store.ID) time.Time
}

// Sounds converts what people upload, and what they take away.
type Sounds interface {
	// Convert turns an upload into a file of ours and says what is in it. A FieldError tells what is wrong with it.
	Convert(ctx context.Context, upload, to *os.File) (store.AudioClip, error)
	// MP3 writes a file of ours as MP3.
	MP3(ctx context.Context, w io.Writer, path string) error
}

// Places tell people and phones where the house is.
type Places struct {
	// SIP tells where phones register, as seen from our address local. A transport without port is one that we do not speak.
	SIP func(local netip.Addr) (host string, ports map[string]int)
	// HTTPBase tells our address for phones, "http://192.0.2.1:8080", without a slash at the end.
	HTTPBase func(r *http.Request) string
}

// Planner returns the compiled plan of an account, or nil.
type Planner func(account store.ID) (*dialplan.Plan, *store.Snapshot)
