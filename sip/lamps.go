package sip

import (
	"time"

	"pbx/store"
)

// Lamps tells what the lamps of phones show. Its methods must not wait.
type Lamps interface {
	// Dialogs returns what a user is busy with now, oldest first.
	Dialogs(account, user store.ID) []DialogState
	// Person finds whom an extension belongs to.
	Person(account store.ID, extension string) (Person, bool)
	// PersonOf finds a user of the account.
	PersonOf(account, user store.ID) (Person, bool)
	// People returns every user of the account that has an extension, in order of it.
	People(account store.ID) []Person
	// VoicemailNumber is what the users of an account dial to hear their messages.
	VoicemailNumber(account store.ID) string
}

// Person is a user whom others may watch.
type Person struct {
	ID              store.ID
	Extension, Name string
	Admin           bool // may see the registrations of others
}

// DialogState is one dialog of a user as others see it (RFC 4235 §3.7).
type DialogState struct {
	ID        string // stable for the life of the dialog as seen by this user
	Direction string // "initiator" or "recipient"
	State     string // "trying", "early" or "confirmed"
	Held      bool   // the user put the other side on hold
	Remote    Identity
	Leg       *Leg // of a phone that rings, or of who is parked: what somebody who picks up replaces; nil: nothing can be picked up
	Since     time.Time
}

// Show gives the server what lamps show. It must be called before Start.
func (s *Server) Show(l Lamps) { s.lamps = l }

// noLamps is the house of a server that was shown none.
type noLamps struct{}

func (noLamps) Dialogs(_, _ store.ID) []DialogState         { return nil }
func (noLamps) Person(store.ID, string) (p Person, ok bool) { return p, false }
func (noLamps) PersonOf(_, _ store.ID) (p Person, ok bool)  { return p, false }
func (noLamps) People(store.ID) []Person                    { return nil }
func (noLamps) VoicemailNumber(store.ID) string             { return "*97" }

// ringingTags returns what identifies the dialog of a phone that rings to those who may pick up: a tag that stands for
// ours, and the latest of the phone's. Ours stays between us and the phone: who knows both can speak within the dialog.
func (l *Leg) ringingTags() (ours, theirs string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pickupTag, l.rangTag
}

// parkedTags returns what identifies the dialog of somebody who is parked to those who may fetch them, as ringingTags does.
func (l *Leg) parkedTags() (ours, theirs string) {
	s := l.s
	s.mu.Lock()
	if l.pickupTag == "" && s.legs[l.callID+"\x00"+l.localTag] == l {
		l.pickupTag = token()
		s.pickups[l.callID+"\x00"+l.pickupTag] = l
	}
	ours = l.pickupTag
	s.mu.Unlock()
	return ours, l.DialogID().RemoteTag
}

// rang notes the early dialog of a phone that rings, where others can read it without waiting.
func (l *Leg) rang(tag string) {
	if tag == "" {
		return
	}
	l.mu.Lock()
	l.rangTag = tag
	l.mu.Unlock()
}
