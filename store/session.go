package store

import "time"

// Session is one signed-in browser. The token itself is known to the browser alone; here is its SHA-256.
type Session struct {
	ID        ID
	AccountID ID
	UserID    ID
	TokenHash []byte
	IP        string
	UserAgent string
	CreatedAt time.Time
	SeenAt    time.Time
	ExpiresAt time.Time
}

// APIKey lets a program act as a user. The key itself was shown once; here is its SHA-256.
type APIKey struct {
	ID        ID
	AccountID ID
	UserID    ID
	Name      string
	Prefix    string // first characters, to recognise it by
	KeyHash   []byte
	CreatedAt time.Time
	UsedAt    time.Time // zero: never
	UsedIP    string
}
