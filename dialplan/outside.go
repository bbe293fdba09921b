package dialplan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pbx/store"
)

// isShort reports whether a number exists in this country only and is dialled as it is.
func (h home) isShort(dialed string) bool { return slices.Contains(h.short, dialed) }

// emergency finds the emergency number in what was dialled. The digit that other systems want before calls to the outside does
// no harm, unless it makes a number of ours.
func (p *Plan) emergency(dialed string) (string, bool) {
	if store.IsEmergency(p.home.iso, dialed) {
		return dialed, true
	}
	if _, ours := p.extensions[dialed]; ours || len(dialed) < 4 || dialed[0] != '9' && dialed[0] != '0' {
		return "", false
	}
	return dialed[1:], store.IsEmergency(p.home.iso, dialed[1:])
}

// IsEmergency reports whether a caller of our own who dials this asks for help.
func (p *Plan) IsEmergency(dialed string) bool {
	_, is := p.emergency(Normalize(dialed))
	return is
}

// emergencyCall goes out over any trunk there is. No right is asked for, and the caller's number is shown.
func (p *Plan) emergencyCall(q query, number string) (Decision, []store.Reason) {
	because := store.Reason{Rule: "emergency", Detail: number + " is an emergency number"}
	caller := p.shown(p.users[q.From.User])
	caller.Anonymous = false // whoever helps must be able to call back
	choices, skipped := p.choices(number, "")
	return p.call(Outside{Number: number, Emergency: true, Trunks: choices, Shown: caller, Because: because}, append(skipped, caller.Because))
}

// outside decides for a user who dials a number of the public network.
func (p *Plan) outside(q query, number string) (Decision, []store.Reason) {
	if n := p.numbers[number]; n != nil {
		return p.toNumber(n, q)
	}
	u := p.users[q.From.User]
	if u == nil {
		return forbidden(store.Reason{Rule: "rights", Detail: "Only users may call " + quote(number) + ", and this phone belongs to nobody"})
	}
	if because, ok := p.permits(u, number); !ok {
		return forbidden(because)
	}
	caller := p.shown(u)
	if q.withheld {
		caller.Anonymous = true
		caller.Because = store.Reason{Rule: "code *67", Detail: "The number is withheld for this call"}
	}
	choices, skipped := p.choices(number, p.trunkOf(caller.Number))
	because := store.Reason{Rule: "numbers", Detail: spoken(number, q.dialed) + " is a number of the public network"}
	return p.call(Outside{Number: number, Trunks: choices, Shown: caller, Because: because}, append(skipped, caller.Because))
}

func forbidden(because store.Reason) (Decision, []store.Reason) {
	d := Reject{Code: 403, Reason: "Not permitted", Outcome: store.OutcomeFailed, Because: because}
	return d, []store.Reason{because}
}

// call completes the decision.
func (p *Plan) call(d Outside, more []store.Reason) (Decision, []store.Reason) {
	reasons := append([]store.Reason{d.Because}, more...)
	if len(d.Trunks) == 0 {
		none := Reject{
			Code: 503, Reason: "No trunk", Outcome: store.OutcomeFailed, Say: SayNotReachable,
			Because: store.Reason{Rule: "trunks", Detail: "No trunk leads to " + d.Number},
		}
		return none, append(reasons, none.Because)
	}
	d.Failed = Reject{
		Code: 503, Reason: "No carrier", Outcome: store.OutcomeFailed, Say: SayNotReachable,
		Because: store.Reason{Rule: "trunks", Detail: "No carrier took the call to " + d.Number},
	}
	return d, reasons
}

// shown is the number of ours that a user's calls show: the user's own, else the account's.
func (p *Plan) shown(u *store.User) CallerID {
	if u == nil {
		u = &store.User{}
	}
	if id := p.callerID(u.OutboundNumberID, "user "+string(u.ID)+" outbound_number_id", u.Name); id.Number != "" {
		return id
	}
	return p.callerID(p.account.DefaultOutboundNumberID, "account default_outbound_number_id", "the account")
}

// callerID shows a number only if it is the account's and proven to be.
func (p *Plan) callerID(id store.ID, rule, whose string) CallerID {
	because := store.Reason{Rule: rule}
	switch n := p.owned[id]; {
	case n == nil:
		because.Detail = "No number is shown: neither the user nor the account has one"
	case n.Status != "active":
		because.Detail = "No number is shown: " + n.Number + " is not verified"
	default:
		because.Detail = fmt.Sprintf("The number of %s is shown, %s", whose, n.Number)
		return CallerID{Number: n.Number, Because: because}
	}
	return CallerID{Anonymous: true, Because: because}
}

// trunkOf is the trunk that a number of ours belongs to.
func (p *Plan) trunkOf(number string) store.ID {
	if n := p.numbers[number]; n != nil {
		return n.TrunkID
	}
	return ""
}

// areaOf is the area code of a number of ours in North America.
func (p *Plan) areaOf(id store.ID) string {
	if n := p.owned[id]; n != nil && strings.HasPrefix(n.Number, "+1") && len(n.Number) == 12 {
		return n.Number[2:5]
	}
	return ""
}

// permits reports whether a user may call a number; if not, why.
func (p *Plan) permits(u *store.User, number string) (store.Reason, bool) {
	code, iso := split(number)
	if code == "" || iso != "" && iso == p.account.Country {
		return store.Reason{}, true // a short number exists in the own country only
	}
	rule, allowed := "account outbound_countries", p.account.OutboundCountries
	if u.OutboundCountries != nil {
		rule, allowed = "user "+string(u.ID)+" outbound_countries", u.OutboundCountries
	}
	if slices.Contains(allowed, "*") || iso != "" && slices.Contains(allowed, iso) {
		return store.Reason{}, true
	}
	where := "in " + iso
	if iso == "" {
		where = "of a service beyond countries"
	}
	return store.Reason{Rule: rule, Detail: fmt.Sprintf("%s may not call %s, a number %s", u.Name, number, where)}, false
}

// candidate is a trunk that serves a number, with what it is ordered by.
type candidate struct {
	*store.Trunk
	prefix    string
	rate      int
	hasRate   bool
	preferred bool
	domestic  bool // for numbers without a country code: serves the own country
}

// choices are the trunks that serve a number in the order to be tried, and what is to be said of those left out.
// Longest prefix first, then priority, the trunk of the number that is shown, the price, and the id.
func (p *Plan) choices(number string, preferred store.ID) (list []TrunkChoice, skipped []store.Reason) {
	var found []candidate
	for i := range p.trunks {
		t := &p.trunks[i]
		c := candidate{Trunk: t, preferred: t.ID == preferred}
		if strings.HasPrefix(number, "+") {
			var serves bool
			if c.prefix, serves = longest(t.Prefixes, number); !serves {
				continue
			}
		} else {
			c.domestic = len(t.Prefixes) == 0 || slices.ContainsFunc(t.Prefixes, func(x string) bool { return strings.HasPrefix(x, "+"+p.home.code) })
		}
		if !t.Enabled {
			skipped = append(skipped, store.Reason{Rule: "trunk " + string(t.ID), Detail: t.Name + " is switched off"})
			continue
		}
		c.rate, c.hasRate = price(t.Rates, number)
		found = append(found, c)
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		return cmp.Or(
			-cmp.Compare(len(a.prefix), len(b.prefix)), before(a.domestic, b.domestic),
			cmp.Compare(a.Priority, b.Priority), before(a.preferred, b.preferred),
			before(a.hasRate, b.hasRate), cmp.Compare(a.rate, b.rate), cmp.Compare(a.ID, b.ID),
		)
	})
	for _, c := range found {
		list = append(list, TrunkChoice{
			ID: c.ID, Name: c.Name, Number: p.home.spell(number, c.Format),
			Because: store.Reason{Rule: "trunk " + string(c.ID), Detail: c.why()},
			home:    p.home, format: c.Format,
		})
	}
	return list, skipped
}

// why tells the place of a trunk among others.
func (c candidate) why() string {
	serves := "all numbers"
	switch {
	case c.prefix != "":
		serves = "numbers that begin with " + c.prefix
	case c.domestic:
		serves = "this country"
	case len(c.Prefixes) > 0:
		serves = "other countries, for want of a better one"
	}
	why := fmt.Sprintf("%s serves %s, priority %d", c.Name, serves, c.Priority)
	if c.preferred {
		why += ", and has the number that is shown"
	}
	if c.hasRate {
		why += fmt.Sprintf(", at %d.%04d a minute", c.rate/10_000, c.rate%10_000)
	}
	return why
}

// before orders what is true first.
func before(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// longest finds the longest beginning of a number. No prefixes at all serve every number.
func longest(prefixes []string, number string) (string, bool) {
	best, found := "", len(prefixes) == 0
	for _, x := range prefixes {
		if strings.HasPrefix(number, x) && len(x) > len(best) {
			best, found = x, true
		}
	}
	return best, found
}

// price is what a minute to a number costs: the rate of its longest beginning.
func price(rates []store.Rate, number string) (perMinute int, known bool) {
	best := ""
	for _, r := range rates {
		if strings.HasPrefix(number, r.Prefix) && len(r.Prefix) > len(best) {
			best, perMinute, known = r.Prefix, r.PerMinute, true
		}
	}
	return perMinute, known
}

// Written is how a trunk would get a call.
type Written struct {
	Number  string // what was dialled means this one; empty: no number of the public network
	Written string // as the carrier gets it
	Served  bool   // the trunk serves it
	Caller  string // the account's number as the carrier gets it; empty: none
}

// Written tells how a number that somebody dials would be written to a trunk.
func (p *Plan) Written(trunk store.ID, dialed string) Written {
	i := slices.IndexFunc(p.trunks, func(t store.Trunk) bool { return t.ID == trunk })
	if i < 0 {
		return Written{}
	}
	t, w := &p.trunks[i], Written{Number: Normalize(dialed)}
	if number, ok := p.emergency(w.Number); ok {
		w.Number, w.Served = number, true
	} else if number, ok := p.home.e164(w.Number); ok {
		w.Number = number
		_, w.Served = longest(t.Prefixes, number)
	} else if w.Served = p.home.isShort(w.Number); !w.Served {
		w.Number = ""
	}
	w.Written = p.home.spell(w.Number, t.Format)
	if caller := p.shown(nil); caller.Number != "" {
		w.Caller = p.home.spell(caller.Number, t.Format)
	}
	return w
}
