package sip

import (
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// anonymousURI is the From of callers who withhold their number (RFC 3323 §4.1.1.3).
const anonymousURI = "sip:anonymous@anonymous.invalid"

// partyOf returns the user of a sip, sips or tel URI as a person would write it.
func partyOf(uri string) string {
	scheme, rest, _ := strings.Cut(uri, ":")
	switch strings.ToLower(scheme) {
	case "sip", "sips":
		if u, ok := parseURI(uri); ok {
			return clip(userOf(&u), 80)
		}
	case "tel": // RFC 3966: parameters follow, and marks may stand between the digits
		number, _, _ := strings.Cut(rest, ";")
		return clip(strings.Map(func(r rune) rune {
			if strings.ContainsRune("-.()", r) {
				return -1
			}
			return r
		}, unescape(number)), 80)
	}
	return ""
}

// identityOf reads an address as an identity.
func identityOf(value string) (Identity, address, bool) {
	a, ok := parseAddress(value)
	if !ok {
		return Identity{}, a, false
	}
	user := partyOf(a.uri)
	return Identity{Display: clip(a.display, 80), User: user}, a, user != ""
}

// assertedBy reads who calls from a request of a trunk. Only a trusted carrier is
// believed beyond its From (RFC 3325 §8); what the caller wants hidden is honoured of everyone.
func assertedBy(req *sipmsg.Request, trusted bool) (who Identity, anonymous bool) {
	who, from, _ := identityOf(req.From().Value())
	anonymous = wantsPrivacy(req, from)
	if !trusted {
		return who, anonymous
	}
	for _, item := range headerList(req, "P-Asserted-Identity") {
		if id, _, ok := identityOf(item); ok {
			if id.Display == "" {
				id.Display = displayUnless(anonymous, who)
			}
			return id, anonymous
		}
	}
	for _, item := range headerList(req, "Remote-Party-ID") {
		id, a, ok := identityOf(item)
		if party, _ := a.params.get("party"); !ok || party != "" && !strings.EqualFold(party, "calling") {
			continue
		}
		if privacy, _ := a.params.get("privacy"); privacy != "" && !strings.EqualFold(privacy, "off") {
			anonymous = true
		}
		return id, anonymous
	}
	return who, anonymous
}

// displayUnless returns the name of From, which says "Anonymous" of those who want to be.
func displayUnless(anonymous bool, from Identity) string {
	if anonymous {
		return ""
	}
	return from.Display
}

// wantsPrivacy reports whether a caller wants to stay unknown to the callee (RFC 3323 §4.2, RFC 3325 §9.3).
func wantsPrivacy(req *sipmsg.Request, from address) bool {
	for _, h := range req.GetHeaders("Privacy") {
		for item := range strings.FieldsFuncSeq(h.Value(), func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
			switch strings.ToLower(item) {
			case "id", "user", "header":
				return true
			}
		}
	}
	u, ok := parseURI(from.uri)
	return ok && (strings.EqualFold(u.Host, "anonymous.invalid") || strings.EqualFold(u.User, "anonymous"))
}

// domainOf is the domain in our addresses at a trunk.
func domainOf(t store.Trunk) string {
	if t.FromDomain != "" {
		return t.FromDomain
	}
	return t.Host
}

// ourAddress is the From of calls over a trunk. A carrier that reads the number
// elsewhere knows us in From by the user name it gave us.
func ourAddress(t store.Trunk, from Identity, p Presentation) string {
	switch {
	case p.Anonymous:
		return `"Anonymous" <` + anonymousURI + ">"
	case t.Identity != "from" && t.Username != "":
		return nameAddr(Identity{Display: from.Display, User: t.Username}, domainOf(t))
	}
	return nameAddr(from, domainOf(t))
}

// presented are the header fields that tell a carrier who calls. A number that
// the caller withholds goes to trusted carriers only (RFC 3325 §7).
func presented(t store.Trunk, from Identity, p Presentation) []field {
	var all []field
	who := p.Asserted
	if who == (Identity{}) {
		who = from
	}
	if p.Anonymous {
		all = append(all, field{"Privacy", "id"}) // RFC 3325 §9.3
		who.Display = ""
	}
	if who.User == "" || p.Anonymous && !t.TrustIdentity {
		return all
	}
	value := nameAddr(who, domainOf(t))
	switch {
	case t.Identity == "rpid":
		privacy := "off"
		if p.Anonymous {
			privacy = "full"
		}
		all = append(all, field{"Remote-Party-ID", value + ";party=calling;screen=yes;privacy=" + privacy})
	case t.Identity == "pai" || p.Anonymous:
		all = append(all, field{"P-Asserted-Identity", value})
	}
	return all
}

// shownToCarrier tells a carrier who it is connected to now. It learns numbers,
// of those it is trusted with, and no extensions.
func (l *Leg) shownToCarrier(who Identity) []field {
	if l.anonymous && !l.uas || l.trunk.Identity == "from" || len(who.User) < 5 {
		return nil
	}
	all := presented(l.trunk, who, Presentation{})
	if l.uas { // who was called, and not who calls
		for i := range all {
			all[i].value = strings.Replace(all[i].value, ";party=calling", ";party=called", 1)
		}
	}
	return all
}
