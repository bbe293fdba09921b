package dialplan

import (
	"time"

	"pbx/store"
)

// A Decision is the whole story of a call as data, branches included.
// It is one of Ring, Outside, Pickup, Park, Slot, Voicemail, Mailbox, AnyMailbox, Setting, Intercom, CallBack, CampOn, Flip,
// WakeUp, Clock, WhoAmI, Echo and Reject.
type Decision interface{ decision() }

type (
	// Ring offers the call to each group of targets in turn.
	Ring struct {
		Groups []Group // rung one after another; targets of a group ring together
		// RingGroup is the group that is rung, whose strategy changes the order from call to call; empty: a user is looked for.
		RingGroup   store.ID
		Strategy    string   // of store.Strategies
		Prefix      string   // put before the caller's name
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
		// Diversion is why it is sent on, in the words of RFC 5806 §5.1: "unconditional", "user-busy", "no-answer", "unavailable".
		Diversion string
		Failed    Decision // no trunk took the call
		Because   store.Reason
	}
	// Pickup takes the call that rings longest for one of the users.
	Pickup struct {
		Users     []store.ID
		Name      string // of the one user, or of the group
		Extension string // of the one user
		Because   store.Reason
	}
	// Park puts the caller, or who the caller sends here, into the next free slot.
	Park struct {
		Slots   []string // in the order in which they are taken
		Because store.Reason
	}
	// Slot takes back who is parked there; if nobody is, it parks whom somebody sends here.
	Slot struct {
		Number  string
		Because store.Reason
	}
	// Voicemail takes a message for the owner of a mailbox.
	Voicemail struct {
		Mailbox  store.ID
		Name     string
		Greeting Greeting
		// Extension is spoken in the greeting.
		Extension string
		// Clip is the greeting of the owner's own; empty: ours.
		Clip store.ID
		// Outcome is that of a caller who leaves no message.
		Outcome store.Outcome
		Because store.Reason
	}
	// Mailbox lets somebody hear the messages of a mailbox.
	Mailbox struct {
		Owner   store.ID // usr_… or mbx_…
		Name    string
		Because store.Reason
	}
	// AnyMailbox asks whose messages are to be heard, and for the PIN.
	AnyMailbox struct{ Because store.Reason }
	// Setting changes a setting of the caller's own and says so.
	Setting struct {
		User    store.ID
		Name    string
		What    string // "do_not_disturb", "forward.always", "forward.busy", "forward.no_answer", "forward.unreachable"
		On      bool
		Number  string // that is forwarded to
		Because store.Reason
	}
	// Intercom calls phones that answer by themselves.
	Intercom struct {
		Target  Target
		Refused Decision // the user does not want to be disturbed, or has no phone
		Because store.Reason
	}
	// CallBack calls who called the user last.
	CallBack struct {
		User    store.ID
		Name    string
		Because store.Reason
	}
	// CampOn calls the user back when another one is free; without a target it forgets about that.
	CampOn struct {
		User    store.ID
		Target  Target
		Because store.Reason
	}
	// Flip takes the user's own call from another phone of theirs.
	Flip struct {
		User    store.ID
		Name    string
		Because store.Reason
	}
	// WakeUp rings the user at a time of the day; cancelled without one.
	WakeUp struct {
		User         store.ID
		Hour, Minute int
		Cancel       bool
		Because      store.Reason
	}
	// Clock tells the time.
	Clock struct{ Because store.Reason }
	// WhoAmI tells the caller's extension.
	WhoAmI struct {
		Extension string
		Name      string
		Because   store.Reason
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

func (Ring) decision()       {}
func (Outside) decision()    {}
func (Pickup) decision()     {}
func (Voicemail) decision()  {}
func (Mailbox) decision()    {}
func (Park) decision()       {}
func (Slot) decision()       {}
func (AnyMailbox) decision() {}
func (Setting) decision()    {}
func (Intercom) decision()   {}
func (CallBack) decision()   {}
func (CampOn) decision()     {}
func (Flip) decision()       {}
func (WakeUp) decision()     {}
func (Clock) decision()      {}
func (WhoAmI) decision()     {}
func (Echo) decision()       {}
func (Reject) decision()     {}

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

// Target is a user, rung at every binding of every device that is theirs, or a number of the public network.
type Target struct {
	User      store.ID
	Name      string
	Extension string
	OneCall   bool // the user is busy while they talk
	// Of is the user who is looked for at a number; empty: the number is nobody's of ours.
	Of store.ID
	// Outside is how the number is reached; nil: the target is a user.
	Outside *Outside
	// Screening is how a number proves to be a person before it gets the call; of store.Screenings.
	Screening string
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
	SayNoSlot       Announcement = "no slot free"
	SayNobodyParked Announcement = "nobody parked"
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
	case Park:
		return d.Because
	case Slot:
		return d.Because
	case Voicemail:
		return d.Because
	case Mailbox:
		return d.Because
	case AnyMailbox:
		return d.Because
	case Setting:
		return d.Because
	case Intercom:
		return d.Because
	case CallBack:
		return d.Because
	case CampOn:
		return d.Because
	case Flip:
		return d.Because
	case WakeUp:
		return d.Because
	case Clock:
		return d.Because
	case WhoAmI:
		return d.Because
	case Echo:
		return d.Because
	case Reject:
		return d.Because
	}
	return store.Reason{}
}
