package dialplan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pbx/store"
)

// Code is a feature code: a number that asks the house for something.
type Code struct {
	Key      string // that settings name it by, "voicemail"
	Number   string // that is dialled: the account's own, or the default
	Name     string // in words, for people
	Argument string // what is dialled behind it: "", "extension", "number", "digits"
	InCall   bool   // pressed during a call, not dialled

	decide func(p *Plan, q query, arg string, rule store.Reason) (Decision, []store.Reason)
}

// Keys of the codes that others than the plan ask for.
const (
	KeyVoicemail        = "voicemail"
	KeyBlindTransfer    = "blind_transfer"
	KeyAttendedTransfer = "attended_transfer"
	KeyRecord           = "record"
	KeyParkCall         = "park_call"
	keySlots            = "park_slots"
)

// codes is the one table of feature codes, with their default numbers.
var codes = []Code{
	{Key: KeyVoicemail, Number: "*97", Name: "own voicemail", decide: (*Plan).ownMailbox},
	{Key: "any_voicemail", Number: "*98", Name: "any voicemail", decide: func(_ *Plan, _ query, _ string, rule store.Reason) (Decision, []store.Reason) {
		return AnyMailbox{Because: rule}, nil
	}},
	{Key: "to_voicemail", Number: "*86", Name: "leaving a message without ringing", Argument: "extension", decide: (*Plan).straightToMailbox},
	{Key: "park", Number: "700", Name: "parking", decide: func(p *Plan, _ query, _ string, rule store.Reason) (Decision, []store.Reason) {
		return Park{Slots: p.codes.slots, Because: rule}, nil
	}},
	{Key: keySlots, Number: "701-720", Name: "the parking slots"},
	{Key: "pickup", Number: "**", Name: "picking up what rings for an extension", Argument: "extension", decide: (*Plan).pickingUp},
	{Key: "group_pickup", Number: "*8", Name: "picking up what rings in the group", decide: (*Plan).groupPickup},
	{Key: "dnd_on", Number: "*78", Name: "do not disturb", decide: setting("do_not_disturb", true)},
	{Key: "dnd_off", Number: "*79", Name: "being disturbed again", decide: setting("do_not_disturb", false)},
	{Key: "forward_always_on", Number: "*72", Name: "forwarding all calls", Argument: "number", decide: setting("forward.always", true)},
	{Key: "forward_always_off", Number: "*73", Name: "no more forwarding of all calls", decide: setting("forward.always", false)},
	{Key: "forward_busy_on", Number: "*90", Name: "forwarding while busy", Argument: "number", decide: setting("forward.busy", true)},
	{Key: "forward_busy_off", Number: "*91", Name: "no more forwarding while busy", decide: setting("forward.busy", false)},
	{Key: "forward_no_answer_on", Number: "*92", Name: "forwarding unanswered calls", Argument: "number", decide: setting("forward.no_answer", true)},
	{Key: "forward_no_answer_off", Number: "*93", Name: "no more forwarding of unanswered calls", decide: setting("forward.no_answer", false)},
	{Key: "forward_unreachable_on", Number: "*94", Name: "forwarding while no phone is on line", Argument: "number", decide: setting("forward.unreachable", true)},
	{Key: "forward_unreachable_off", Number: "*95", Name: "no more forwarding while no phone is on line", decide: setting("forward.unreachable", false)},
	{Key: "call_back", Number: "*69", Name: "calling back the last caller", decide: (*Plan).callBack},
	{Key: "camp_on", Number: "*66", Name: "being called back when an extension is free", Argument: "extension", decide: (*Plan).campOn},
	{Key: "withhold", Number: "*67", Name: "calling without showing a number", Argument: "number", decide: (*Plan).withholding},
	{Key: "intercom", Number: "*80", Name: "intercom", Argument: "extension", decide: (*Plan).intercom},
	{Key: "speed_dial", Number: "*0", Name: "speed dial", Argument: "digits", decide: (*Plan).speedDial},
	{Key: "flip", Number: "*11", Name: "taking the own call to this phone", decide: (*Plan).flip},
	{Key: "wake_up", Number: "*36", Name: "the wake-up call", Argument: "digits", decide: (*Plan).wakeUp},
	{Key: "echo", Number: "*43", Name: "echo test", decide: func(_ *Plan, _ query, _ string, rule store.Reason) (Decision, []store.Reason) {
		return Echo{Because: rule}, nil
	}},
	{Key: "clock", Number: "*60", Name: "the speaking clock", decide: func(_ *Plan, _ query, _ string, rule store.Reason) (Decision, []store.Reason) {
		return Clock{Because: rule}, nil
	}},
	{Key: "who_am_i", Number: "*65", Name: "hearing the own extension", decide: (*Plan).whoAmI},
	{Key: KeyBlindTransfer, Number: "##", Name: "blind transfer", Argument: "number", InCall: true},
	{Key: KeyAttendedTransfer, Number: "*2", Name: "attended transfer", Argument: "number", InCall: true},
	{Key: KeyRecord, Number: "*1", Name: "recording", InCall: true},
	{Key: KeyParkCall, Number: "*5", Name: "parking the call", InCall: true},
}

// DefaultCodes lists the feature codes with their default numbers.
func DefaultCodes() []Code { return slices.Clone(codes) }

// codeTable is the codes of an account.
type codeTable struct {
	all   []Code
	slots []string // of parking, in order
}

// maxSlots bounds a range of parking slots.
const maxSlots = 100

// compileCodes puts the account's own numbers into the table. What would hide a number or could not be told apart is refused.
func (p *Plan) compileCodes(own map[string]string) (codeTable, error) {
	t := codeTable{all: DefaultCodes()}
	var faults store.FieldErrors
	for key := range own {
		if !slices.ContainsFunc(codes, func(c Code) bool { return c.Key == key }) {
			faults.Add("feature_codes."+key, "There is no such code.")
		}
	}
	for i := range t.all {
		c := &t.all[i]
		field := "feature_codes." + c.Key
		if number := own[c.Key]; number != "" {
			c.Number = number
		}
		numbers := []string{c.Number}
		if c.Key == keySlots {
			if numbers = slotRange(c.Number); numbers == nil {
				faults.Add(field, fmt.Sprintf("Slots are written like 701-720: two numbers of the same length, at most %d slots.", maxSlots))
				continue
			}
			t.slots = numbers
		} else if strings.Trim(c.Number, "0123456789*#") != "" {
			faults.Add(field, "A code has digits, * and # only.")
			continue
		}
		for _, n := range numbers {
			if h, taken := p.extensions[n]; taken {
				if own[c.Key] == "" {
					return t, store.ConflictError{Field: "extension", Problem: fmt.Sprintf("%s is the code for %s and cannot be an extension.", n, c.Name), With: h.id()}
				}
				faults.Add(field, fmt.Sprintf("%s is the extension of %s.", n, h))
			}
			if _, help := p.emergency(n); help {
				faults.Add(field, n+" is an emergency number.")
			}
		}
		for _, other := range t.all[:i] {
			if other.InCall == c.InCall && (other.Number == c.Number || slices.Contains(numbers, other.Number)) {
				faults.Add(field, fmt.Sprintf("%s is the code for %s already.", other.Number, other.Name))
			}
		}
	}
	return t, faults.Err()
}

func (h holder) id() store.ID {
	switch {
	case h.group != nil:
		return h.group.ID
	case h.box != nil:
		return h.box.ID
	}
	return h.user.ID
}

// slotRange reads "701-720"; nil if it is none.
func slotRange(s string) []string {
	first, last, found := strings.Cut(s, "-")
	if !found {
		last = first
	}
	low, err := strconv.Atoi(first)
	high, err2 := strconv.Atoi(last)
	if err != nil || err2 != nil || low < 0 || len(first) != len(last) || len(first) > 6 || high < low || high-low >= maxSlots {
		return nil
	}
	var slots []string
	for n := low; n <= high; n++ {
		slots = append(slots, fmt.Sprintf("%0*d", len(first), n))
	}
	return slots
}

// Codes lists the feature codes of the account.
func (p *Plan) Codes() []Code { return slices.Clone(p.codes.all) }

// Code returns the number of the code with this key.
func (p *Plan) Code(key string) string {
	for i := range p.codes.all {
		if p.codes.all[i].Key == key {
			return p.codes.all[i].Number
		}
	}
	return ""
}

// Slots lists the numbers of the parking slots.
func (p *Plan) Slots() []string { return slices.Clone(p.codes.slots) }

// byCode decides for a number that begins with a code; of several the longest counts.
func (p *Plan) byCode(q query) (Decision, []store.Reason, bool) {
	if slices.Contains(p.codes.slots, q.dialed) {
		d := Slot{Number: q.dialed, Because: store.Reason{Rule: "code " + q.dialed, Detail: q.dialed + " is a parking slot"}}
		return d, []store.Reason{d.Because}, true
	}
	var best *Code
	for i := range p.codes.all {
		c := &p.codes.all[i]
		rest, begins := strings.CutPrefix(q.dialed, c.Number)
		if begins && c.decide != nil && (rest == "" || c.Argument != "") && (best == nil || len(c.Number) > len(best.Number)) {
			best = c
		}
	}
	if best == nil {
		return nil, nil, false
	}
	rule := store.Reason{Rule: "code " + best.Number, Detail: best.Number + " is the code for " + best.Name}
	d, reasons := best.decide(p, q, q.dialed[len(best.Number):], rule)
	if reasons == nil {
		reasons = []store.Reason{Because(d)}
	}
	return d, reasons, true
}

// nobody refuses what only users may ask for.
func nobody(rule store.Reason) (Decision, []store.Reason) {
	d, reasons := forbidden(store.Reason{Rule: rule.Rule, Detail: rule.Detail + ", but this phone belongs to nobody"})
	return d, append([]store.Reason{rule}, reasons...)
}

// incomplete refuses a code that wants something behind it.
func incomplete(rule store.Reason, what string) (Decision, []store.Reason) {
	d := Reject{
		Code: 484, Reason: "Address Incomplete", Outcome: store.OutcomeFailed, Say: SayNotInService,
		Because: store.Reason{Rule: rule.Rule, Detail: rule.Detail + ", which wants " + what + " behind it"},
	}
	return d, []store.Reason{d.Because}
}

// ownMailbox decides for a caller who wants their own messages. A mailbox that is switched off
// takes no new messages, but the old ones are still there to be heard.
func (p *Plan) ownMailbox(q query, _ string, rule store.Reason) (Decision, []store.Reason) {
	u := p.users[q.From.User]
	if u == nil {
		d := Reject{
			Code: 403, Reason: "No mailbox", Outcome: store.OutcomeFailed,
			Because: store.Reason{Rule: rule.Rule, Detail: rule.Detail + ", but this phone belongs to nobody"},
		}
		return d, nil
	}
	return Mailbox{Owner: u.ID, Name: u.Name, Because: store.Reason{Rule: rule.Rule, Detail: rule.Detail + " of " + u.Name}}, nil
}

// extension finds who has the extension behind a code; otherwise it decides for a caller who got it wrong.
func (p *Plan) extension(arg string, rule store.Reason) (holder, Decision, []store.Reason) {
	h, known := p.extensions[arg]
	if known {
		return h, nil, nil
	}
	d, reasons := notInService(query{Query: Query{Dialed: arg}})
	return h, d, append([]store.Reason{rule}, reasons...)
}

func (p *Plan) straightToMailbox(q query, arg string, rule store.Reason) (Decision, []store.Reason) {
	h, wrong, why := p.extension(arg, rule)
	if wrong != nil {
		return wrong, why
	}
	var d Decision
	switch {
	case h.box != nil:
		d, why = p.toMailbox(h.box)
	case h.user != nil:
		m := noAnswer
		m.when = "is left a message"
		d = p.otherwise(h.user, m, q)
		why = []store.Reason{Because(d)}
	default:
		d, why = notInService(query{Query: Query{Dialed: arg}})
	}
	return d, append([]store.Reason{rule}, why...)
}

// pickingUp decides for a caller who takes what rings for an extension: a user's, or any member's of a group.
func (p *Plan) pickingUp(q query, arg string, rule store.Reason) (Decision, []store.Reason) {
	h, wrong, why := p.extension(arg, rule)
	switch {
	case wrong != nil:
		return wrong, why
	case p.users[q.From.User] == nil:
		d, reasons := forbidden(store.Reason{Rule: rule.Rule, Detail: "Only users pick up calls, and this phone belongs to nobody"})
		return d, append([]store.Reason{rule}, reasons...)
	case h.user != nil:
		return Pickup{Users: []store.ID{h.user.ID}, Name: h.user.Name, Extension: h.user.Extension, Because: rule}, []store.Reason{rule}
	case h.group != nil:
		var members []store.ID
		for _, t := range h.group.Members {
			if t.Type == "user" {
				members = append(members, t.ID)
			}
		}
		return Pickup{Users: members, Name: h.group.Name, Extension: h.group.Extension, Because: rule}, []store.Reason{rule}
	}
	d, reasons := notInService(query{Query: Query{Dialed: arg}})
	return d, append([]store.Reason{rule}, reasons...)
}

// groupPickup decides for a caller who takes what rings longest among the members of their own pickup groups.
func (p *Plan) groupPickup(q query, _ string, rule store.Reason) (Decision, []store.Reason) {
	u := p.users[q.From.User]
	if u == nil {
		return nobody(rule)
	}
	d := Pickup{Name: "the pickup group of " + u.Name, Because: rule}
	for id, other := range p.users {
		if id != u.ID && sameGroup(u.PickupGroups, other.PickupGroups) {
			d.Users = append(d.Users, id)
		}
	}
	slices.Sort(d.Users)
	return d, []store.Reason{rule}
}

// sameGroup reports whether two users have a pickup group in common. Those in none are together.
func sameGroup(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	return slices.ContainsFunc(a, func(g string) bool { return slices.Contains(b, g) })
}

// setting decides for a code that changes a setting of the caller's own.
func setting(what string, on bool) func(*Plan, query, string, store.Reason) (Decision, []store.Reason) {
	return func(p *Plan, q query, arg string, rule store.Reason) (Decision, []store.Reason) {
		u := p.users[q.From.User]
		if u == nil {
			return nobody(rule)
		}
		d := Setting{User: u.ID, Name: u.Name, What: what, On: on, Because: rule}
		if what == "do_not_disturb" || !on {
			return d, nil
		}
		if arg == "" {
			return incomplete(rule, "the number to forward to")
		}
		// What would lead nowhere is refused now, while somebody listens, and not when the first call is lost.
		to, reasons := p.sent(u, arg, "unconditional", rule, query{Query: Query{From: q.From, At: q.At}})
		if no, wrong := to.(Reject); wrong && no.Code != 503 { // a carrier that is down today will be up again
			return no, append([]store.Reason{rule}, reasons...)
		}
		d.Number = arg
		return d, nil
	}
}

func (p *Plan) callBack(q query, _ string, rule store.Reason) (Decision, []store.Reason) {
	u := p.users[q.From.User]
	if u == nil {
		return nobody(rule)
	}
	return CallBack{User: u.ID, Name: u.Name, Because: rule}, nil
}

func (p *Plan) campOn(q query, arg string, rule store.Reason) (Decision, []store.Reason) {
	u := p.users[q.From.User]
	if u == nil {
		return nobody(rule)
	}
	if arg == "" {
		return CampOn{User: u.ID, Because: rule}, nil
	}
	h, wrong, why := p.extension(arg, rule)
	switch {
	case wrong != nil:
		return wrong, why
	case h.user == nil || h.user == u:
		d, reasons := notInService(query{Query: Query{Dialed: arg}})
		return d, append([]store.Reason{rule}, reasons...)
	}
	return CampOn{User: u.ID, Target: targetOf(h.user), Because: rule}, nil
}

// withholding routes the number that is dialled behind the code without telling the called party who calls. It is dialled once.
func (p *Plan) withholding(q query, arg string, rule store.Reason) (Decision, []store.Reason) {
	if arg == "" || q.withheld {
		return incomplete(rule, "the number to call")
	}
	q.withheld, q.dialed = true, arg
	d, reasons := p.route(q)
	return d, append([]store.Reason{rule}, reasons...)
}

func (p *Plan) intercom(q query, arg string, rule store.Reason) (Decision, []store.Reason) {
	h, wrong, why := p.extension(arg, rule)
	u := h.user
	switch {
	case wrong != nil:
		return wrong, why
	case p.users[q.From.User] == nil:
		return nobody(rule)
	case u == nil || u.ID == q.From.User:
		d, reasons := notInService(query{Query: Query{Dialed: arg}})
		return d, append([]store.Reason{rule}, reasons...)
	}
	refused := Reject{
		Code: 480, Reason: "Not reachable", Outcome: store.OutcomeUnreachable, Say: SayNotReachable, Extension: u.Extension,
		Because: store.Reason{Rule: "user " + string(u.ID), Detail: u.Name + " cannot be spoken to by intercom"},
	}
	if u.DoNotDisturb {
		refused.Because.Detail = u.Name + " does not want to be disturbed"
		return refused, []store.Reason{rule, refused.Because}
	}
	d := Intercom{Target: targetOf(u), Refused: refused, Because: rule}
	d.Target.OneCall = true // nobody is spoken to in the middle of another call
	return d, []store.Reason{rule}
}

// speedDial routes the number that a user or the account keeps under two digits.
func (p *Plan) speedDial(q query, arg string, rule store.Reason) (Decision, []store.Reason) {
	index, err := strconv.Atoi(arg)
	if err != nil || len(arg) > 2 {
		return incomplete(rule, "the one or two digits of a speed dial")
	}
	var own []store.SpeedDial
	if u := p.users[q.From.User]; u != nil {
		own = u.SpeedDials
	}
	for _, dials := range [][]store.SpeedDial{own, p.account.SpeedDials} {
		for _, s := range dials {
			if s.Index != index {
				continue
			}
			to := Normalize(s.Number)
			rule.Detail = fmt.Sprintf("%s, and %02d is %s", rule.Detail, index, strings.TrimSpace(s.Number+" "+s.Name))
			if strings.HasPrefix(to, p.Code("speed_dial")) {
				d, reasons := looped(rule.Rule, "a speed dial") // one that leads to another
				return d, append([]store.Reason{rule}, reasons...)
			}
			q.dialed = to
			d, reasons := p.route(q)
			return d, append([]store.Reason{rule}, reasons...)
		}
	}
	d, reasons := notInService(query{Query: Query{Dialed: q.Dialed}})
	return d, append([]store.Reason{rule}, reasons...)
}

func (p *Plan) flip(q query, _ string, rule store.Reason) (Decision, []store.Reason) {
	u := p.users[q.From.User]
	if u == nil {
		return nobody(rule)
	}
	return Flip{User: u.ID, Name: u.Name, Because: rule}, nil
}

// wakeUp sets the wake-up call to hours and minutes, or cancels it.
func (p *Plan) wakeUp(q query, arg string, rule store.Reason) (Decision, []store.Reason) {
	u := p.users[q.From.User]
	if u == nil {
		return nobody(rule)
	}
	if arg == "" {
		return WakeUp{User: u.ID, Cancel: true, Because: rule}, nil
	}
	n, err := strconv.Atoi(arg)
	if err != nil || len(arg) != 4 || n/100 > 23 || n%100 > 59 {
		return incomplete(rule, "the time as four digits, such as 0730,")
	}
	return WakeUp{User: u.ID, Hour: n / 100, Minute: n % 100, Because: rule}, nil
}

func (p *Plan) whoAmI(q query, _ string, rule store.Reason) (Decision, []store.Reason) {
	u := p.users[q.From.User]
	if u == nil {
		return nobody(rule)
	}
	return WhoAmI{Extension: u.Extension, Name: u.Name, Because: rule}, nil
}
