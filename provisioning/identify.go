package provisioning

import (
	"net/url"
	"regexp"
	"strings"

	"pbx/store"
)

// request is what a phone asks for and says about itself. All of it is hearsay.
type request struct {
	file string // the name as asked for
	form string // the same in lower case, with {mac} for the MAC address
	mac  string // from file name, User-Agent or query; empty when none of them has one

	vendor   *Vendor // by the User-Agent, else by the MAC address; nil when neither tells
	model    Model   // by the User-Agent
	firmware string  // by the User-Agent
}

const (
	maxFileName = 100
	maxAgent    = 200
)

// filePrefixes are what vendors put before a MAC address in a file name, in lower case. Several end in hexadecimal digits.
var filePrefixes = []string{"cfg", "sep", "spa", "algom", "config.", "mn_"}

var (
	macAtStart = regexp.MustCompile(`^(?:[0-9a-f]{12}|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|(?:[0-9a-f]{2}-){5}[0-9a-f]{2})(?:[^0-9a-f]|$)`)
	macInAgent = regexp.MustCompile(`(?i)(?:^|[^0-9a-z.:-])((?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}|[0-9a-f]{12})(?:[^0-9a-z.:-]|$)`)
	snomPrefix = regexp.MustCompile(`^snom[a-z]{0,2}\d{3}-`)
)

// identify reads who asks for what. It fails when the places that may carry a MAC address contradict each other.
func identify(file, agent string, query url.Values) (request, bool) {
	if file == "" || len(file) > maxFileName || strings.ContainsAny(file, "/\\\x00") {
		return request{}, false
	}
	r := request{file: file}
	r.form, r.mac = splitMAC(file)
	asked, ok := macOfQuery(query)
	if !ok {
		return request{}, false
	}
	for _, claim := range []string{macOfAgent(agent), asked} {
		switch {
		case claim == "" || claim == r.mac:
		case r.mac == "":
			r.mac = claim
		default:
			return request{}, false
		}
	}
	r.vendor, r.model, r.firmware = recogniseAgent(agent)
	if r.vendor == nil && r.mac != "" {
		all := vendors()
		for i := range all {
			if all[i].owns(r.mac) {
				r.vendor = &all[i]
				break
			}
		}
	}
	return r, true
}

// splitMAC takes the MAC address out of a file name, whatever way the vendor writes it: "SEP001565AABBCC.cnf.xml"
// becomes "sep{mac}.cnf.xml" and "001565aabbcc". A name without one comes back in lower case.
func splitMAC(file string) (form, mac string) {
	file = strings.ToLower(file)
	for _, prefix := range append([]string{"", snomPrefix.FindString(file)}, filePrefixes...) {
		rest, ok := strings.CutPrefix(file, prefix)
		if !ok {
			continue
		}
		found := macAtStart.FindString(rest)
		if found == "" {
			continue
		}
		n := 12
		if len(found) >= 17 {
			n = 17
		}
		if mac, ok := store.NormalizeMAC(rest[:n]); ok {
			return prefix + formMAC + rest[n:], mac
		}
	}
	return file, ""
}

// macOfAgent finds the MAC address in a User-Agent, or returns "".
func macOfAgent(agent string) string {
	if len(agent) > maxAgent {
		agent = agent[:maxAgent]
	}
	m := macInAgent.FindStringSubmatch(agent)
	if m == nil {
		return ""
	}
	mac, _ := store.NormalizeMAC(m[1])
	return mac
}

// macOfQuery reads ?mac=, which some vendors send. It fails on one that is none.
func macOfQuery(query url.Values) (mac string, ok bool) {
	if !query.Has("mac") {
		return "", true
	}
	return store.NormalizeMAC(query.Get("mac"))
}

// recogniseAgent tells maker, model and firmware from a User-Agent.
func recogniseAgent(agent string) (*Vendor, Model, string) {
	if len(agent) > maxAgent {
		agent = agent[:maxAgent]
	}
	all := vendors()
	for i := range all {
		m := all[i].agent.FindStringSubmatch(agent)
		if m == nil {
			continue
		}
		token := plainAgent(m[1])
		for _, model := range all[i].Models {
			if plainAgent(model.agent) == token {
				return &all[i], model, m[2]
			}
		}
		if len(agent) >= len(all[i].Name) && strings.EqualFold(agent[:len(all[i].Name)], all[i].Name) {
			return &all[i], Model{}, m[2] // a model newer than our table
		}
	}
	return nil, Model{}, ""
}

// plainAgent makes the spellings of one model equal: "SIP VP-T49G", "SIP-VP-T49G".
func plainAgent(token string) string {
	token = strings.Join(strings.Fields(strings.ToLower(token)), "-")
	return strings.TrimPrefix(token, "sip-")
}

// rule finds what the vendor says about the file that was asked for. For the common file it also tells the model.
func (r *request) rule(v *Vendor) (FileRule, Model, bool) {
	for _, rule := range v.Files {
		switch {
		case rule.Form == formCommon:
			if m, ok := v.modelByCommonFile(r.form); ok {
				return rule, m, true
			}
		case rule.Form == r.form:
			return rule, Model{}, true
		}
	}
	return FileRule{}, Model{}, false
}
