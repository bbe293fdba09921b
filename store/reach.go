package store

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// FindMe is how a user is looked for: each step rings its targets together, and the next begins when nobody answered.
type FindMe struct {
	Enabled  bool
	Steps    []FindStep
	Fallback Fallback
}

// FindStep is targets that ring together.
type FindStep struct {
	Timeout time.Duration
	Targets []Target
}

// Target is whom a step or a ring group rings.
type Target struct {
	Type      string // "user", "external"
	ID        ID     // of the user
	Number    string // of an external target, E.164
	Screening string // of an external target: how it proves to be a person; see Screenings
}

// Screenings are the ways in which an external target proves to be a person before it gets the call.
var Screenings = []string{"none", "press_1", "amd", "both"}

// Fallback is where a call goes that nobody answered.
type Fallback struct {
	Action      string // "voicemail", "hangup", "route"
	Destination Destination
}

// Forward is where a user's calls go instead. Each is an extension or a number as the user would dial it; empty: not forwarded.
type Forward struct {
	Always      string
	Busy        string
	NoAnswer    string
	Unreachable string
	// NoAnswerTimeout is how long the phones ring before NoAnswer; 0: as long as they ring anyway.
	NoAnswerTimeout time.Duration
}

// SpeedDial is a short number of a user or of everybody in the account.
type SpeedDial struct {
	Index  int // 0 to 99
	Number string
	Name   string
}

const (
	maxSteps       = 10
	maxTargets     = 20
	maxSpeedDials  = 100
	maxDialLength  = 32
	maxMembers     = 100
	maxPickupNames = 10
)

// check reports what is wrong with the steps and the fallback.
func (f *FindMe) check(e *FieldErrors) {
	if len(f.Steps) > maxSteps {
		e.Add("find_me.steps", fmt.Sprintf("Find me has at most %d steps.", maxSteps))
		return
	}
	for i, s := range f.Steps {
		field := fmt.Sprintf("find_me.steps[%d]", i)
		checkRing(e, field+".timeout_s", s.Timeout)
		checkTargets(e, field+".targets", s.Targets, maxTargets)
		if len(s.Targets) == 0 {
			e.Add(field+".targets", "A step needs at least one target.")
		}
	}
	if f.Enabled && len(f.Steps) == 0 {
		e.Add("find_me.steps", "Find me needs at least one step.")
	}
	switch f.Fallback.Action {
	case "", "voicemail", "hangup":
	case "route":
		f.Fallback.Destination.check(e, "find_me.fallback.destination")
	default:
		e.Add("find_me.fallback.action", "Action must be one of: voicemail, hangup, route.")
	}
}

// checkRing reports a time that nobody's phone should ring.
func checkRing(e *FieldErrors, field string, d time.Duration) {
	if d < 5*time.Second || d > 5*time.Minute {
		e.Add(field, "Ring time must be 5 to 300 seconds.")
	}
}

func checkTargets(e *FieldErrors, field string, targets []Target, most int) {
	if len(targets) > most {
		e.Add(field, fmt.Sprintf("There can be at most %d targets.", most))
		return
	}
	for i, t := range targets {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch t.Type {
		case "user":
			if t.ID == "" {
				e.Add(at+".id", "Choose the user.")
			}
			if t.Number != "" || t.Screening != "" {
				e.Add(at, "A user has no number and no screening here.")
			}
		case "external":
			if !validPrefix(t.Number) || len(t.Number) < 5 {
				e.Add(at+".number", "An external number must be in international form: a plus sign and 4 to 15 digits.")
			}
			oneOf(e, at+".screening", "Screening", t.Screening, Screenings)
		default:
			e.Add(at+".type", "Target type must be user or external.")
		}
		if slices.Index(targets, t) < i {
			e.Add(at, "This target is listed twice.")
		}
	}
}

func (f *Forward) check(e *FieldErrors) {
	for _, to := range []struct{ field, number string }{
		{"forward.always", f.Always},
		{"forward.busy", f.Busy},
		{"forward.no_answer", f.NoAnswer},
		{"forward.unreachable", f.Unreachable},
	} {
		checkDialable(e, to.field, to.number)
	}
	if f.NoAnswerTimeout != 0 {
		checkRing(e, "forward.no_answer_timeout_s", f.NoAnswerTimeout)
	}
}

// checkDialable reports what cannot be dialled; nothing at all is right.
func checkDialable(e *FieldErrors, field, number string) {
	if len(number) > maxDialLength || strings.Trim(number, "0123456789*#+") != "" || strings.LastIndex(number, "+") > 0 {
		e.Add(field, fmt.Sprintf("Must be a number as it is dialled: at most %d digits, *, # and a leading +.", maxDialLength))
	}
}

func checkSpeedDials(e *FieldErrors, field string, dials []SpeedDial) {
	if len(dials) > maxSpeedDials {
		e.Add(field, fmt.Sprintf("There can be at most %d speed dials.", maxSpeedDials))
		return
	}
	seen := make(map[int]bool, len(dials))
	for i, d := range dials {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case d.Index < 0 || d.Index > 99:
			e.Add(at+".index", "Index must be 0 to 99.")
		case seen[d.Index]:
			e.Add(at+".index", fmt.Sprintf("Speed dial %02d is there twice.", d.Index))
		}
		seen[d.Index] = true
		if d.Number == "" {
			e.Add(at+".number", "Number is required.")
		}
		checkDialable(e, at+".number", d.Number)
		if !plainText(d.Name, 80) {
			e.Add(at+".name", "Name must have at most 80 characters and no control characters.")
		}
	}
}

// checkPickup reports what is no list of names of pickup groups.
func checkPickup(e *FieldErrors, field string, names []string) {
	if len(names) > maxPickupNames || slices.ContainsFunc(names, func(s string) bool { return s == "" || !plainText(s, 40) }) {
		e.Add(field, fmt.Sprintf("There can be at most %d pickup groups, each a name of at most 40 characters.", maxPickupNames))
	}
}

// Clone returns a copy that shares nothing.
func (f FindMe) Clone() FindMe {
	f.Steps = slices.Clone(f.Steps)
	for i := range f.Steps {
		f.Steps[i].Targets = slices.Clone(f.Steps[i].Targets)
	}
	return f
}
