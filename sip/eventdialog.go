package sip

import (
	"encoding/xml"
	"hash/maphash"
	"slices"
	"strconv"

	"pbx/store"
)

// watchPerson finds whose lamp a subscription is for: an extension of the account, or the user name of one of its lines.
func watchPerson(e *events, sub *subscription, target string) *Refusal {
	account := sub.phone.line.AccountID
	if p, ok := e.s.lamps.Person(account, target); ok {
		sub.user = p.ID
		return nil
	}
	if l, ok := e.s.dir.Line(target); ok && l.AccountID == account {
		sub.user = l.UserID
		return nil
	}
	return &Refusal{404, "Not Found"} // the same for what is of another account
}

// mayPickUp is the rule who sees what identifies the dialog of a phone that rings, and so may take the call by Replaces
// (RFC 4235 §7): the people of the same account.
func mayPickUp(watcher store.Line, account store.ID) bool { return watcher.AccountID == account }

// The document of RFC 4235 §4.
type (
	dialogInfo struct {
		XMLName xml.Name    `xml:"urn:ietf:params:xml:ns:dialog-info dialog-info"`
		Version uint32      `xml:"version,attr"`
		State   string      `xml:"state,attr"`
		Entity  string      `xml:"entity,attr"`
		Dialogs []dialogXML `xml:"dialog"`
	}
	dialogXML struct {
		ID        string     `xml:"id,attr"`
		CallID    string     `xml:"call-id,attr,omitempty"`
		LocalTag  string     `xml:"local-tag,attr,omitempty"`
		RemoteTag string     `xml:"remote-tag,attr,omitempty"`
		Direction string     `xml:"direction,attr,omitempty"`
		State     string     `xml:"state"`
		Local     *dialogEnd `xml:"local"`
		Remote    *dialogEnd `xml:"remote"`
	}
	dialogEnd struct {
		Identity dialogIdentity `xml:"identity"`
		Target   dialogTarget   `xml:"target"`
	}
	dialogIdentity struct {
		Display string `xml:"display,attr,omitempty"`
		URI     string `xml:",chardata"`
	}
	dialogTarget struct {
		URI    string        `xml:"uri,attr"`
		Params []dialogParam `xml:"param"`
	}
	dialogParam struct {
		Name  string `xml:"pname,attr"`
		Value string `xml:"pval,attr"`
	}
)

const dialogInfoType = "application/dialog-info+xml"

// composeDialogs makes the full state each time: a lamp that missed one document is right with the next.
func composeDialogs(e *events, sub *subscription) document {
	return e.dialogsOf(sub.phone, sub.user, sub.entity, sub.version, sub.known)
}

// dialogsOf makes the document of one user for one phone. The dialogs in known that are over are shown as terminated
// once more, since some phones keep what they are not told the end of.
func (e *events) dialogsOf(p *phone, user store.ID, entity string, version uint32, known []string) document {
	account := p.line.AccountID
	states := e.s.lamps.Dialogs(account, user)
	local := dialogEnd{Identity: dialogIdentity{URI: entity}, Target: dialogTarget{URI: entity}}
	if who, ok := e.s.lamps.PersonOf(account, user); ok {
		local.Identity.Display = who.Name
	}
	host, _ := e.s.host(p.hop)
	info := dialogInfo{Version: version, State: "full", Entity: entity} // RFC 4235 §4.1.1
	doc := document{contentType: dialogInfoType, state: lampState(states)}
	for _, d := range states {
		here, there := local, e.remoteEnd(d.Remote, host)
		if d.Held {
			// RFC 4235 §4.1.6.1: who does not render holds.
			here.Target.Params = []dialogParam{{"+sip.rendering", "no"}}
		}
		x := dialogXML{ID: d.ID, Direction: d.Direction, State: d.State, Local: &here, Remote: &there}
		if d.Leg != nil && mayPickUp(p.line, account) {
			ours, theirs := d.Leg.ringingTags()
			if d.State == "confirmed" {
				ours, theirs = d.Leg.parkedTags()
			}
			x.CallID, x.LocalTag, x.RemoteTag = d.Leg.ID(), theirs, ours
		}
		info.Dialogs = append(info.Dialogs, x)
		doc.ids = append(doc.ids, d.ID)
	}
	for _, id := range known {
		if !slices.Contains(doc.ids, id) {
			info.Dialogs = append(info.Dialogs, dialogXML{ID: id, State: "terminated"})
		}
	}
	doc.body = marshalXML(info)
	doc.mark = e.markOfDialogs(info)
	return doc
}

// markOfDialogs leaves out the version.
func (e *events) markOfDialogs(info dialogInfo) uint64 {
	var h maphash.Hash
	h.SetSeed(e.seed)
	for _, d := range info.Dialogs {
		if d.State == "terminated" {
			continue
		}
		for _, s := range []string{d.ID, d.State, d.CallID, d.LocalTag, d.Remote.Identity.Display, d.Remote.Identity.URI, strconv.Itoa(len(d.Local.Target.Params))} {
			h.WriteString(s)
			h.WriteByte(0)
		}
	}
	return h.Sum64()
}

func (e *events) remoteEnd(id Identity, host string) dialogEnd {
	user := id.User
	if user == "" {
		user = "anonymous"
	}
	uri := "sip:" + escapeUser(clip(user, 64)) + "@" + bracketed(host)
	return dialogEnd{Identity: dialogIdentity{Display: clip(id.Display, 80), URI: uri}, Target: dialogTarget{URI: uri}}
}

// lampState is what a lamp shows of all dialogs of a user, in a word.
func lampState(states []DialogState) string {
	held, calling := 0, false
	for _, d := range states {
		switch {
		case d.State == "early" && d.Direction == "recipient":
			return "ringing"
		case d.State != "confirmed":
			calling = true
		case d.Held:
			held++
		}
	}
	switch {
	case len(states) == 0:
		return "idle"
	case calling && len(states) == 1:
		return "calling"
	case held == len(states):
		return "held"
	}
	return "busy"
}

// marshalXML writes a document of ours; what came from the network is escaped on the way.
func marshalXML(v any) []byte {
	body, err := xml.Marshal(v)
	if err != nil { // cannot be: the types are ours
		panic(err)
	}
	return append([]byte(xml.Header), body...)
}
