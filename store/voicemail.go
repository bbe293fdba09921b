package store

import "time"

// Message is one voicemail. Its sound is a WAV file named after its id.
type Message struct {
	ID        ID
	AccountID ID
	Version   int64
	Mailbox   ID // usr_… or mbx_…
	CallID    ID

	CallerName   string
	CallerNumber string

	ReceivedAt time.Time
	Duration   time.Duration
	Read       bool
	Urgent     bool // the caller said so
	// ForwardedBy is the user who sent it on; empty: it was left here.
	ForwardedBy ID

	// Recording is true while the caller still speaks; such a message is not listed and does not count.
	Recording bool
}

// MailboxCounts is what a message lamp shows (RFC 3842).
type MailboxCounts struct {
	New, Old  int
	NewUrgent int // of New
	OldUrgent int // of Old
}

// Add returns the counts of two mailboxes together.
func (c MailboxCounts) Add(o MailboxCounts) MailboxCounts {
	return MailboxCounts{
		New: c.New + o.New, Old: c.Old + o.Old, NewUrgent: c.NewUrgent + o.NewUrgent, OldUrgent: c.OldUrgent + o.OldUrgent,
	}
}
