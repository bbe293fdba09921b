package store

import "time"

// Text is a message of words that waits for a phone of its recipient (RFC 3428).
type Text struct {
	ID        ID
	AccountID ID
	To        ID // user
	// FromUser is who sent it, for texts between extensions.
	FromUser ID
	// FromNumber is the extension, or the number of somebody outside.
	FromNumber  string
	FromName    string
	ContentType string
	Body        []byte
	ReceivedAt  time.Time
	ExpiresAt   time.Time
}

// The limits of what waits.
const (
	MaxTextsOfUser = 100
	TextLife       = 7 * 24 * time.Hour
)
