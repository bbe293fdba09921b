package dialplan

import (
	"strings"

	"pbx/store"
)

// Code is a feature code: a number that asks the house for something.
type Code struct {
	Number string
	Name   string // in words, for people
	decide func(p *Plan, from Caller, rule store.Reason) Decision
	// withhold routes the number that is dialled behind the code without telling the called party who calls.
	withhold bool
	// pickUp takes what rings for the extension that is dialled behind the code.
	pickUp bool
}

// VoicemailNumber is dialled to hear one's own messages.
const VoicemailNumber = "*97"

// codes is the one table of feature codes.
var codes = []Code{
	{Number: VoicemailNumber, Name: "own voicemail", decide: (*Plan).ownMailbox},
	{Number: "*43", Name: "echo test", decide: func(_ *Plan, _ Caller, rule store.Reason) Decision { return Echo{Because: rule} }},
	{Number: "*67", Name: "calling without showing a number", withhold: true},
	{Number: "**", Name: "picking up what rings for an extension", pickUp: true},
}

// Codes lists the feature codes.
func Codes() []Code { return append([]Code(nil), codes...) }

// ownMailbox decides for a caller who wants their own messages. A mailbox that is switched off
// takes no new messages, but the old ones are still there to be heard.
func (p *Plan) ownMailbox(from Caller, rule store.Reason) Decision {
	u := p.users[from.User]
	if u == nil {
		return Reject{
			Code: 403, Reason: "No mailbox", Outcome: store.OutcomeFailed,
			Because: store.Reason{Rule: rule.Rule, Detail: rule.Detail + ", but this phone belongs to nobody"},
		}
	}
	return Mailbox{Owner: u.ID, Name: u.Name, Because: store.Reason{Rule: rule.Rule, Detail: rule.Detail + " of " + u.Name}}
}

// pickingUp decides for a caller who dialled the code for that and an extension.
func (p *Plan) pickingUp(q query) (Decision, []store.Reason, bool) {
	for i := range codes {
		c := &codes[i]
		extension, ok := strings.CutPrefix(q.dialed, c.Number)
		if !ok || !c.pickUp || extension == "" {
			continue
		}
		rule := store.Reason{Rule: "code " + c.Number, Detail: c.Number + " is the code for " + c.Name}
		r, known := p.extensions[extension]
		if !known {
			d, reasons := notInService(query{Query: Query{Dialed: extension}})
			return d, append([]store.Reason{rule}, reasons...), true
		}
		if p.users[q.From.User] == nil {
			d, reasons := forbidden(store.Reason{Rule: rule.Rule, Detail: "Only users pick up calls, and this phone belongs to nobody"})
			return d, append([]store.Reason{rule}, reasons...), true
		}
		d := Pickup{User: r.user.ID, Name: r.user.Name, Extension: r.user.Extension, Because: rule}
		return d, []store.Reason{rule}, true
	}
	return nil, nil, false
}
