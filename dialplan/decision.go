package dialplan

import (
	"time"

	"pbx/store"
)

// A Decision is the whole story of a call as data, branches included.
// It is one of Ring, Outside, Pickup, Voicemail, Mailbox, Echo and Reject.
type Decision interface{ decision() }

type (
	// Ring offers the call to each group of targets in turn.
	Ring struct {
		Groups      []Group  // rung one after another; targets of a group ring together
		Busy        Decision // every phone that was rung is engaged
		Declined    Decision // a person pressed the reject key
		NoAnswer    Decision // time ran out
		Unreachable Decision // no target had a phone on line
		Because     store.Reason
	}
	// Outside places the call at a carrier. An answer of the called party, such as busy, is passed on as it is.
	Outside struct {
		Number    string // E.164; an emergency or other short number as it was dialled
		Emergency bool   // never limited
		Trunks    []TrunkChoice
		Shown     CallerID
		// Forwarder is our number that sends the call out again; empty: somebody of ours calls.
		Forwarder string
		Failed    Decision // no trunk took the call
		Because   store.Reason
	}
	// Pickup takes the call that rings for a user longest.
	Pickup struct {
		User      store.ID
		Name      string
		Extension string
		Because   store.Reason
	}
	// Voicemail takes a message for the owner of a mailbox.
	Voicemail struct {
		Mailbox  store.ID
		Name     string
		Greeting Greeting
		// Extension is spoken in the greeting.
		Extension string
		// Outcome is that of a caller who leaves no message.
		Outcome store.Outcome
		Because store.Reason
	}
	// Mailbox lets a user hear their own messages.
	Mailbox struct {
		Owner   store.ID
		Name    string
		Because store.Reason
	}
	// Echo sends the caller's own sound back.
	Echo struct{ Because store.Reason }
	// Reject refuses the call.
	Reject struct {
		Code    int    // SIP status
		Reason  string // its phrase, for the caller's display
		Outcome store.Outcome
		Say     Announcement // heard before the refusal; empty: the phone's own tone says it all
		// Extension is the one that the announcement speaks of.
		Extension string
		Because   store.Reason
	}
)

func (Ring) decision()      {}
func (Outside) decision()   {}
func (Pickup) decision()    {}
func (Voicemail) decision() {}
func (Mailbox) decision()   {}
func (Echo) decision()      {}
func (Reject) decision()    {}

// TrunkChoice is one trunk that serves a number.
type TrunkChoice struct {
	ID      store.ID
	Name    string
	Number  string // as this carrier wants it
	Because store.Reason

	home   home
	format string
}

// Spell writes an E.164 number as this carrier wants it.
func (t TrunkChoice) Spell(e164 string) string { return t.home.spell(e164, t.format) }

// CallerID is who a call to the outside comes from, as the called party is told.
type CallerID struct {
	Number    string // E.164, ours; empty: none
	Anonymous bool   // withheld
	Because   store.Reason
}

// Group is targets that ring together.
type Group struct {
	Targets []Target
	Timeout time.Duration
}

// Target is a user, rung at every binding of every device that is theirs.
type Target struct {
	User      store.ID
	Name      string
	Extension string
}

// Greeting is what a caller hears before the tone.
type Greeting string

// The greetings.
const (
	NotAvailable Greeting = "not available"
	OnThePhone   Greeting = "on the phone"
)

// Announcement is what a refused caller hears.
type Announcement string

// The announcements.
const (
	SayNothing      Announcement = ""
	SayNotInService Announcement = "not in service"
	SayNotReachable Announcement = "not reachable"
	SayNotAvailable Announcement = "not available"
)

// Because returns the rule that d came from.
func Because(d Decision) store.Reason {
	switch d := d.(type) {
	case Ring:
		return d.Because
	case Outside:
		return d.Because
	case Pickup:
		return d.Because
	case Voicemail:
		return d.Because
	case Mailbox:
		return d.Because
	case Echo:
		return d.Because
	case Reject:
		return d.Because
	}
	return store.Reason{}
}
