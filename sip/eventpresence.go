package sip

import (
	"encoding/xml"
	"slices"
	"strings"

	"pbx/store"
)

const pidfType = "application/pidf+xml"

// The document of RFC 3863, with the person of RFC 4479 and the activities of RFC 4480.
type (
	presenceXML struct {
		XMLName xml.Name  `xml:"urn:ietf:params:xml:ns:pidf presence"`
		DM      string    `xml:"xmlns:dm,attr"`
		RPID    string    `xml:"xmlns:rpid,attr"`
		Entity  string    `xml:"entity,attr"`
		Tuple   tupleXML  `xml:"tuple"`
		Person  personXML `xml:"dm:person"`
	}
	tupleXML struct {
		ID      string `xml:"id,attr"`
		Basic   string `xml:"status>basic"`
		Contact string `xml:"contact"`
		Note    string `xml:"note,omitempty"`
	}
	personXML struct {
		ID         string         `xml:"id,attr"`
		Activities *activitiesXML `xml:"rpid:activities"`
	}
	activitiesXML struct {
		All []activityXML
	}
	activityXML struct {
		XMLName xml.Name
	}
)

// activities are those of RFC 4480 §3.2 that a phone may say and that are passed on, with the words for people.
var activities = map[string]string{
	"appointment": "In an appointment", "away": "Away", "breakfast": "At breakfast", "busy": "Busy", "dinner": "At dinner", "holiday": "On holiday",
	"in-transit": "On the way", "lunch": "At lunch", "meal": "At a meal", "meeting": "In a meeting", "on-the-phone": "On the phone",
	"permanent-absence": "Absent", "presentation": "In a presentation", "sleeping": "Asleep", "travel": "Travelling", "vacation": "On vacation",
	"working": "Working",
}

// composePresence makes the one document of a presentity (RFC 3856 §6.11.1), a user, from what the house knows and what their phones published: open if
// a phone is registered, unless the newest publication says otherwise; on the phone if there is a dialog.
func composePresence(e *events, sub *subscription) document {
	return e.presenceOf(sub.phone.line.AccountID, sub.user, sub.entity)
}

func (e *events) presenceOf(account, user store.ID, entity string) document {
	talking := false
	for _, d := range e.s.lamps.Dialogs(account, user) {
		talking = talking || d.State == "confirmed"
	}
	basic, note, doing := "closed", "", []string(nil)
	if len(e.s.registrar.ofUser(user)) > 0 {
		basic = "open"
	}
	for _, said := range e.publications.of(user) { // oldest first
		if said.basic != "" {
			basic = said.basic
		}
		if said.note != "" {
			note = said.note
		}
		for _, a := range said.activities {
			if !slices.Contains(doing, a) {
				doing = append(doing, a)
			}
		}
	}
	if talking && !slices.Contains(doing, "on-the-phone") {
		doing = append([]string{"on-the-phone"}, doing...)
	}
	if note == "" && len(doing) > 0 {
		note = activities[doing[0]]
	}
	x := presenceXML{
		DM: "urn:ietf:params:xml:ns:pidf:data-model", RPID: "urn:ietf:params:xml:ns:pidf:rpid", Entity: entity,
		Tuple:  tupleXML{ID: "t", Basic: basic, Contact: entity, Note: note},
		Person: personXML{ID: "p"},
	}
	if len(doing) > 0 {
		x.Person.Activities = &activitiesXML{}
		for _, a := range doing {
			x.Person.Activities.All = append(x.Person.Activities.All, activityXML{xml.Name{Local: "rpid:" + a}})
		}
	}
	body := marshalXML(x)
	return document{contentType: pidfType, body: body, mark: e.markOf(body), state: strings.Join(append([]string{basic}, doing...), ", ")}
}
