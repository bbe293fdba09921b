package store

import (
	"slices"
	"time"
)

// AudioClip is a sound that people uploaded, kept as a WAV file named after its id.
type AudioClip struct {
	ID        ID
	AccountID ID
	Version   int64

	Name     string
	Duration time.Duration
	Rate     int     // samples a second
	Size     int64   // octets of the file
	Loudness float64 // dBFS, of what is not silence
	Peaks    []byte  // the loudest of each of its equal parts, 255 for full scale

	CreatedAt time.Time
	UpdatedAt time.Time
}

// MaxClips bounds the clips of an account.
const MaxClips = 500

// Validate returns FieldErrors, or nil.
func (c *AudioClip) Validate() error { return ValidateName("name", c.Name) }

// Recording is the sound of one call, kept as a WAV file named after its id: the caller left, the callee right.
type Recording struct {
	ID        ID
	AccountID ID
	Version   int64
	CallID    ID

	StartedAt time.Time
	Duration  time.Duration
	Size      int64 // octets of the file

	// Left and Right say who is on which side; Users are all of ours who took part.
	Left, Right CallParty
	Users       []ID

	Rule   string // why it was recorded, in words
	Notice string // "none", "tone", "announcement": what the outside was told
	// NoticeAt is when the notice began, from the beginning of the file on.
	NoticeAt time.Duration
	// Gaps are the stretches in which recording was paused; the file is silent there.
	Gaps []Gap

	// Running is true while the call still lasts; such a recording is not listed.
	Running bool
}

// Gap is a stretch of a recording in which nothing was kept.
type Gap struct{ From, To time.Duration }

// RecordingPolicy says which calls of an account are recorded, how people learn of it, and how long recordings stay.
type RecordingPolicy struct {
	// Directions are those that are recorded: "internal", "inbound", "outbound". Empty: all.
	Directions []string `json:"directions,omitempty"`
	// Notice is what the outside party hears: "none" (or ""), "tone" or "announcement".
	Notice string `json:"notice,omitempty"`
	// Emergency says that emergency calls are recorded too; they get no notice.
	Emergency bool `json:"emergency,omitempty"`
	// RetentionDays is how long recordings stay, and QuotaMB how much room they may take; 0: no limit.
	RetentionDays int `json:"retention_days,omitempty"`
	QuotaMB       int `json:"quota_mb,omitempty"`
}

// The values of recording fields. A user or a number that says nothing is recorded as the account says.
var (
	recordingDirections = []string{"internal", "inbound", "outbound"}
	recordingNotices    = []string{"", "none", "tone", "announcement"}
	recordingRules      = []string{"", "always", "never"}
)

func (p *RecordingPolicy) check(e *FieldErrors) {
	for _, d := range p.Directions {
		if !slices.Contains(recordingDirections, d) || len(p.Directions) > len(recordingDirections) {
			e.Add("recording.directions", "Directions must be internal, inbound and outbound.")
			break
		}
	}
	oneOf(e, "recording.notice", "Notice", p.Notice, recordingNotices)
	if p.RetentionDays < 0 || p.RetentionDays > 3650 {
		e.Add("recording.retention_days", "Recordings can be kept for 1 to 3650 days, or 0 for as long as there is room.")
	}
	if p.QuotaMB < 0 || p.QuotaMB > 100_000_000 {
		e.Add("recording.quota_mb", "Room for recordings must be 0 (no limit) to 100000000 megabytes.")
	}
}

// Records reports whether calls of a direction are recorded unless a user or a number says otherwise.
func (a *Account) Records(direction string) bool {
	return a.RecordingEnabled && (len(a.Recording.Directions) == 0 || slices.Contains(a.Recording.Directions, direction))
}

// RecordingFilter narrows a list of recordings; empty fields do not.
type RecordingFilter struct {
	User     ID // who took part
	Call     ID
	From, To time.Time
}
