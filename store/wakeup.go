package store

import "time"

// WakeUp is a call that a user asked for; each user has one at most.
type WakeUp struct {
	AccountID ID
	UserID    ID
	At        time.Time
	Tries     int // that nobody took
}
