package sip

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxList is the most people in one list. Their full state is one message, and one of UDP has no more than 64 kB.
const maxList = 100

// list is what a subscription to several people at once was told (RFC 4662).
type list struct {
	full    bool // the next document shows all of them
	members []member
}

// member is one of them.
type member struct {
	person Person
	mark   uint64
	told   bool
	sent   string
	known  []string
}

// isList reports whether a user part names a list: "blf" is everybody in the account, and so is "blf-" with the user name
// of a line or the id of a device behind it, until buttons say who is on it.
func isList(target string) bool { return target == "blf" || strings.HasPrefix(target, "blf-") }

// watchList takes a subscription to a list.
func watchList(e *events, sub *subscription, target string) *Refusal {
	own := sub.phone.line
	if of := strings.TrimPrefix(strings.TrimPrefix(target, "blf"), "-"); of != "" && of != own.Username && of != string(own.DeviceID) {
		return &Refusal{404, "Not Found"}
	}
	if sub.pkg.name == "reg" {
		return &Refusal{489, "Bad Event"}
	}
	if len(e.s.lamps.People(own.AccountID)) > maxList {
		return &Refusal{403, "List Too Long"}
	}
	sub.list = &list{full: true}
	return nil
}

// The document of RFC 4662 §5.
type (
	rlmi struct {
		XMLName   xml.Name       `xml:"urn:ietf:params:xml:ns:rlmi list"`
		URI       string         `xml:"uri,attr"`
		Version   uint32         `xml:"version,attr"`
		FullState bool           `xml:"fullState,attr"`
		Resources []rlmiResource `xml:"resource"`
	}
	rlmiResource struct {
		URI      string       `xml:"uri,attr"`
		Name     string       `xml:"name,omitempty"`
		Instance rlmiInstance `xml:"instance"`
	}
	rlmiInstance struct {
		ID    string `xml:"id,attr"`
		State string `xml:"state,attr"`
		CID   string `xml:"cid,attr"`
	}
)

// composeList shows all members after each SUBSCRIBE and afterwards those of whom there is news. What was sent counts as
// known only when the phone acknowledges it; until then the next document shows everybody again.
func composeList(e *events, sub *subscription) document {
	e.mu.Lock()
	l, full := sub.list, sub.list.full || sub.acked.IsZero() || sub.why != ""
	l.full = false
	people := e.s.lamps.People(sub.phone.line.AccountID)
	if l.members == nil {
		full = true
		for _, p := range people[:min(len(people), maxList)] {
			l.members = append(l.members, member{person: p})
		}
	}
	members := slices.Clone(l.members)
	e.mu.Unlock()

	u, _ := parseURI(sub.entity)
	host := bracketed(u.Host)
	boundary := token()
	root := rlmi{URI: sub.entity, Version: sub.version, FullState: full}
	var parts bytes.Buffer
	busy := 0
	for i := range members {
		m := &members[i]
		uri := "sip:" + escapeUser(m.person.Extension) + "@" + host
		doc := e.memberState(sub, m, uri)
		if doc.state != "idle" && doc.state != "open" && doc.state != "closed" {
			busy++
		}
		if !full && m.told && doc.mark == m.mark {
			continue
		}
		cid := strconv.Itoa(i) + "." + boundary + "@" + u.Host
		root.Resources = append(root.Resources, rlmiResource{
			URI: uri, Name: m.person.Name, Instance: rlmiInstance{ID: string(m.person.ID), State: "active", CID: cid},
		})
		fmt.Fprintf(&parts, "--%s\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <%s>\r\nContent-Type: %s\r\n\r\n%s\r\n", boundary, cid, doc.contentType, doc.body)
		e.mu.Lock()
		if i < len(l.members) && l.members[i].person.ID == m.person.ID { // else people came or went meanwhile
			m.mark, m.told, m.sent, m.known = doc.mark, true, doc.state, doc.ids
			l.members[i] = *m
		}
		e.mu.Unlock()
	}
	state := fmt.Sprintf("%d of %d busy", busy, len(members))
	var mark uint64
	if len(root.Resources) > 0 {
		mark = e.markOf([]byte(boundary))
	} else {
		mark = sub.mark
	}
	start := "root." + boundary + "@" + u.Host
	var body bytes.Buffer
	fmt.Fprintf(&body, "--%s\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <%s>\r\nContent-Type: application/rlmi+xml;charset=\"UTF-8\"\r\n\r\n%s\r\n", boundary, start, marshalXML(root))
	body.Write(parts.Bytes())
	fmt.Fprintf(&body, "--%s--\r\n", boundary)
	return document{
		contentType: `multipart/related;type="application/rlmi+xml";start="<` + start + `>";boundary="` + boundary + `"`,
		body:        body.Bytes(), state: state, mark: mark,
	}
}

// memberState is the document of one member.
func (e *events) memberState(sub *subscription, m *member, uri string) document {
	if sub.pkg.name == "presence" {
		return e.presenceOf(sub.phone.line.AccountID, m.person.ID, uri)
	}
	return e.dialogsOf(sub.phone, m.person.ID, uri, sub.version, m.known)
}
