package sip

import (
	"encoding/xml"
	"strconv"
	"time"

	"pbx/store"
)

// watchRegistration lets a phone see the registrations of its own line, and those of the admins of an account the lines
// of everybody in it (RFC 3680 §5).
func watchRegistration(e *events, sub *subscription, target string) *Refusal {
	own := sub.phone.line
	who, _ := e.s.lamps.PersonOf(own.AccountID, own.UserID)
	l, ok := e.s.dir.Line(target)
	switch {
	case ok && l.ID == own.ID:
	case ok && l.AccountID == own.AccountID && who.Admin:
	case ok && l.AccountID == own.AccountID:
		return &Refusal{403, "Forbidden"}
	default:
		return &Refusal{404, "Not Found"}
	}
	sub.user = l.UserID
	return nil
}

// The document of RFC 3680 §5.
type (
	regInfo struct {
		XMLName       xml.Name          `xml:"urn:ietf:params:xml:ns:reginfo reginfo"`
		Version       uint32            `xml:"version,attr"`
		State         string            `xml:"state,attr"`
		Registrations []registrationXML `xml:"registration"`
	}
	registrationXML struct {
		AOR      string       `xml:"aor,attr"`
		ID       string       `xml:"id,attr"`
		State    string       `xml:"state,attr"`
		Contacts []contactXML `xml:"contact"`
	}
	contactXML struct {
		ID      string `xml:"id,attr"`
		State   string `xml:"state,attr"`
		Event   string `xml:"event,attr"`
		Expires int    `xml:"expires,attr"`
		CallID  string `xml:"callid,attr,omitempty"`
		CSeq    uint32 `xml:"cseq,attr,omitempty"`
		URI     string `xml:"uri"`
	}
)

// composeRegistrations shows the line that the subscription names.
func composeRegistrations(e *events, sub *subscription) document {
	r := registrationXML{AOR: sub.entity, State: "init"}
	u, _ := parseURI(sub.entity)
	line, _ := e.s.dir.Line(userOf(&u))
	r.ID = string(line.ID)
	var bindings []store.Binding
	if line.AccountID == sub.phone.line.AccountID {
		_, bindings, _ = e.s.registrar.line(line.ID)
	}
	mark := []byte(nil)
	now := time.Now()
	for _, b := range bindings {
		r.State = "active"
		left := max(0, b.ExpiresAt.Sub(now))
		r.Contacts = append(r.Contacts, contactXML{
			ID: string(b.ID), State: "active", Event: "registered", Expires: int(left / time.Second), CallID: b.CallID, CSeq: b.CSeq, URI: b.Contact,
		})
		mark = append(append(mark, b.ID...), b.Contact...)
	}
	return document{
		contentType: "application/reginfo+xml", state: r.State + " " + strconv.Itoa(len(bindings)), mark: e.markOf(mark),
		body: marshalXML(regInfo{Version: sub.version, State: "full", Registrations: []registrationXML{r}}),
	}
}
