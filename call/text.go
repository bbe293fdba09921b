package call

import (
	"time"

	"pbx/dialplan"
	"pbx/sip"
	"pbx/store"
)

// RouteText asks the plan where a text may go that a user of the account sends to the outside: as a call would, with
// the rights, the number and the spelling of a call.
func (e *Engine) RouteText(account, user store.ID, dialed string) ([]sip.TextRoute, *sip.Refusal) {
	plan, _ := e.Plan(account)
	if plan == nil {
		return nil, &sip.Refusal{Code: 403, Reason: "Forbidden"}
	}
	d, _ := plan.Route(dialplan.Query{From: dialplan.Caller{User: user}, Dialed: dialed, At: time.Now()})
	switch d := d.(type) {
	case dialplan.Reject:
		return nil, &sip.Refusal{Code: d.Code, Reason: d.Reason}
	case dialplan.Outside:
		switch {
		case d.Emergency:
			return nil, &sip.Refusal{Code: 404, Reason: "No Texts To Emergency Numbers"}
		case d.Shown.Number == "" || d.Shown.Anonymous:
			return nil, &sip.Refusal{Code: 403, Reason: "No Number To Send From"}
		}
		routes := make([]sip.TextRoute, len(d.Trunks))
		for i, t := range d.Trunks {
			routes[i] = sip.TextRoute{Trunk: t.ID, Number: t.Number, Caller: t.Spell(d.Shown.Number)}
		}
		return routes, nil
	}
	return nil, &sip.Refusal{Code: 404, Reason: "Not Found"}
}
