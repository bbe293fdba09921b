package sip

import (
	"slices"
	"strconv"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// maxDiversions bounds how often a call may have been forwarded for us to tell, or to hear.
const maxDiversions = 10

// causes are the reasons of Diversion (RFC 5806) and the SIP causes of RFC 4458
// that mean the same (RFC 7544 §7.2). The first of a code is what the code means.
var causes = []struct {
	reason string
	code   int
}{
	{"unconditional", 302},
	{"user-busy", 486},
	{"no-answer", 408},
	{"deflection", 480},
	{"deflection", 487},
	{"unavailable", 503},
	{"unknown", 404},
	{"time-of-day", 404},
	{"do-not-disturb", 404},
	{"follow-me", 404},
	{"out-of-service", 404},
	{"away", 404},
}

func causeOf(reason string) int {
	for _, c := range causes {
		if c.reason == reason {
			return c.code
		}
	}
	return 404
}

func reasonOf(code int) string {
	for _, c := range causes {
		if c.code == code {
			return c.reason
		}
	}
	return ""
}

// filled completes the reason by the code and the code by the reason.
func (d Diversion) filled() Diversion {
	if d.Reason == "" {
		d.Reason = reasonOf(d.Code)
	}
	if d.Reason == "" {
		d.Reason = "unknown"
	}
	if d.Code == 0 {
		d.Code = causeOf(d.Reason)
	}
	return d
}

// divertedBy reads who forwarded a call, the latest first: from Diversion, else
// from History-Info (RFC 7544 §4: both say the same).
func divertedBy(req *sipmsg.Request) []Diversion {
	var all []Diversion
	for _, item := range headerList(req, "Diversion") {
		id, a, ok := identityOf(item)
		if !ok || len(all) == maxDiversions {
			continue
		}
		reason, _ := a.params.get("reason")
		if text, quoted := unquote(reason); quoted {
			reason = text
		}
		all = append(all, Diversion{User: id.User, Display: id.Display, Reason: clip(strings.ToLower(reason), 40)}.filled())
	}
	if len(all) > 0 {
		return all
	}
	return fromHistory(headerList(req, "History-Info"))
}

// entry is one address that a request was sent to (RFC 7044 §5).
type entry struct {
	who   Identity
	index string
	from  string // the index of the entry that was changed into this one
	cause int    // why (RFC 4458); 0: it is no forwarding
}

// fromHistory finds the forwardings in a history: an entry with a cause was made
// by the one whose index it names, or whose branch it is on (RFC 7544 §6.2).
func fromHistory(items []string) []Diversion {
	var entries []entry
	for _, item := range items {
		if len(entries) == 2*maxDiversions {
			break
		}
		if e, ok := readEntry(item); ok {
			entries = append(entries, e)
		}
	}
	var all []Diversion
	for i := len(entries) - 1; i >= 0 && len(all) < maxDiversions; i-- {
		e := entries[i]
		if reasonOf(e.cause) == "" {
			continue
		}
		by := slices.IndexFunc(entries, func(o entry) bool { return o.index == e.from })
		if by < 0 {
			by = i - 1 // of a list with gaps
		}
		if by < 0 || by == i {
			continue
		}
		all = append(all, Diversion{User: entries[by].who.User, Display: entries[by].who.Display, Code: e.cause}.filled())
	}
	return all
}

func readEntry(item string) (entry, bool) {
	a, ok := parseAddress(item)
	if !ok {
		return entry{}, false
	}
	var e entry
	uri, _, _ := strings.Cut(a.uri, "?") // Reason and Privacy of the entry
	e.who = Identity{Display: clip(a.display, 80), User: partyOf(uri)}
	e.index, _ = a.params.get("index")
	if i := strings.LastIndexByte(e.index, '.'); i > 0 {
		e.from = e.index[:i]
	}
	for _, by := range []string{"mp", "rc"} { // RFC 7044 §5: the target was changed by mapping, or within the domain
		if v, ok := a.params.get(by); ok && v != "" {
			e.from = v
		}
	}
	if u, ok := parseURI(uri); ok {
		cause, _ := u.UriParams.Get("cause")
		e.cause, _ = strconv.Atoi(cause)
	}
	return e, e.who.User != "" && e.index != ""
}

// forwarded are the header fields that tell a carrier who forwarded the call to number.
func forwarded(t store.Trunk, number string, all []Diversion) []field {
	if len(all) > maxDiversions {
		all = all[:maxDiversions] // the latest count
	}
	if len(all) == 0 {
		return nil
	}
	switch t.Diversion {
	case "diversion":
		var items []string
		for _, d := range all {
			d = d.filled()
			reason := d.Reason
			if !isToken(reason) {
				reason = "unknown"
			}
			items = append(items, nameAddr(Identity{Display: d.Display, User: d.User}, domainOf(t))+";reason="+reason+";counter=1;privacy=off")
		}
		return []field{{"Diversion", strings.Join(items, ", ")}}
	case "history-info":
		return []field{{"History-Info", history(t, number, all)}}
	}
	return nil
}

// history writes forwardings as an index tree of one branch: who was called
// first, then each target with the cause that led to it (RFC 7044 §5.1, RFC 7544 §6.1).
func history(t store.Trunk, number string, all []Diversion) string {
	var items []string
	index, parent, cause := "1", "", 0
	add := func(id Identity) {
		uri := "sip:" + escapeUser(clip(id.User, 64)) + "@" + bracketed(domainOf(t))
		if cause != 0 {
			uri += ";cause=" + strconv.Itoa(cause) // RFC 4458 §2
		}
		item := "<" + uri + ">;index=" + index
		if id.Display != "" {
			item = quote(clip(id.Display, 80)) + " " + item
		}
		if parent != "" {
			item += ";mp=" + parent
		}
		items = append(items, item)
		index, parent = index+".1", index
	}
	for _, d := range slices.Backward(all) {
		add(Identity{Display: d.Display, User: d.User})
		cause = d.filled().Code
	}
	add(Identity{User: number})
	return strings.Join(items, ", ")
}

// bracketed writes a host as a URI wants it.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
