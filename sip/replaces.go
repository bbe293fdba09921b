package sip

import (
	"slices"
	"strings"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// DialogID names a dialog as we see it: our tag is the local one.
type DialogID struct{ CallID, LocalTag, RemoteTag string }

// Find returns the leg of a dialog that has not ended, or nil. It never waits. Some phones mix the two tags up, which
// makes no difference here.
func (s *Server) Find(id DialogID) *Leg {
	for _, id := range []DialogID{id, {id.CallID, id.RemoteTag, id.LocalTag}} {
		s.mu.Lock()
		l := s.legs[id.CallID+"\x00"+id.LocalTag]
		if l == nil {
			l = s.pickups[id.CallID+"\x00"+id.LocalTag]
		}
		s.mu.Unlock()
		if l != nil && l.knows(id.RemoteTag) && !l.isOver() {
			return l
		}
	}
	return nil
}

// Replaces returns the leg that the INVITE of this one wants to take the place of, and whether only while that is not
// answered; nil if it wants a call of its own (RFC 3891).
func (l *Leg) Replaces() (of *Leg, earlyOnly bool) { return l.replaces, l.earlyOnly }

// DialogID names the dialog of the leg. Before the callee's phone said anything its tag is empty.
func (l *Leg) DialogID() DialogID {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := DialogID{CallID: l.callID, LocalTag: l.localTag}
	if n := len(l.peerTags); n > 0 {
		id.RemoteTag = l.peerTags[n-1]
	}
	return id
}

// meet notes a tag of the peer for those who look the leg up.
func (l *Leg) meet(tag string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if tag != "" && len(l.peerTags) < 17 {
		l.peerTags = append(slices.DeleteFunc(l.peerTags, func(t string) bool { return t == tag }), tag)
	}
}

// knows reports whether tag is one of the peer's. RFC 3891 §3: a peer of old has none, and "0" stands for that.
func (l *Leg) knows(tag string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.peerTags {
		if t == tag {
			return true
		}
	}
	return len(l.peerTags) == 0 && (tag == "" || tag == "0")
}

func (l *Leg) isOver() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Up reports whether the call of this leg was answered.
func (l *Leg) Up() bool {
	if !l.uas {
		select {
		case <-l.answer:
			return true
		default:
			return false
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken200
}

// parseReplaces reads the value of a Replaces header. Its to-tag is that of the one it is sent to: ours.
func parseReplaces(value string) (id DialogID, earlyOnly, ok bool) {
	callID, rest, _ := strings.Cut(value, ";")
	id.CallID = trim(callID)
	if id.CallID == "" || len(value) > 1024 || strings.ContainsAny(id.CallID, " \t,") {
		return id, false, false
	}
	ps, valid := parseParams(rest)
	if !valid {
		return id, false, false
	}
	local, remote := 0, 0
	for _, p := range ps {
		switch p.name {
		case "to-tag":
			id.LocalTag = p.value
			local++
		case "from-tag":
			id.RemoteTag = p.value
			remote++
		case "early-only":
			earlyOnly = true
		}
	}
	return id, earlyOnly, local == 1 && remote == 1
}

// replaced finds the leg that a new INVITE wants to replace; nil without one.
func (s *Server) replaced(req *sipmsg.Request) (of *Leg, earlyOnly bool, bad *Refusal) {
	values := headerList(req, "Replaces")
	switch {
	case len(values) == 0 && len(req.GetHeaders("Replaces")) == 0:
		return nil, false, nil
	case len(values) != 1 || header(req, "Join") != "":
		return nil, false, &Refusal{400, "Exactly One Replaces Wanted"} // RFC 3891 §3
	}
	id, earlyOnly, ok := parseReplaces(values[0])
	if !ok {
		return nil, false, &Refusal{400, "Malformed Replaces"}
	}
	of = s.Find(id)
	switch {
	case of == nil && s.endedLately(id):
		return nil, false, &Refusal{603, "Decline"} // RFC 3891 §3: it has ended
	case of == nil:
		return nil, false, &Refusal{481, "Call/Transaction Does Not Exist"}
	case of.uas && !of.Up():
		// RFC 3891 §3: an early dialog can be replaced only where it was begun.
		return nil, false, &Refusal{481, "Call/Transaction Does Not Exist"}
	case earlyOnly && of.Up():
		return nil, false, &Refusal{486, "Busy Here"}
	}
	return of, earlyOnly, nil
}

// targetDialog finds the leg that a Target-Dialog header names. RFC 4538 §7: its local tag is that of the sender.
func (s *Server) targetDialog(value string) *Leg {
	callID, rest, _ := strings.Cut(value, ";")
	ps, _ := parseParams(rest)
	local, _ := ps.get("local-tag")
	remote, _ := ps.get("remote-tag")
	return s.Find(DialogID{CallID: trim(callID), LocalTag: remote, RemoteTag: local})
}

// past remembers the dialogs that ended lately, so that who comes too late is told so. The server's lock guards it.
type past struct {
	ended [256]pastDialog
	next  int
}

type pastDialog struct {
	key, pickup string
	at          time.Time
}

func (p *past) add(key, pickup string) {
	p.ended[p.next] = pastDialog{key, pickup, time.Now()}
	p.next = (p.next + 1) % len(p.ended)
}

// endedLately reports whether there was such a dialog until a moment ago.
func (s *Server) endedLately(id DialogID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range []string{id.CallID + "\x00" + id.LocalTag, id.CallID + "\x00" + id.RemoteTag} {
		for _, p := range s.past.ended {
			if (p.key == key || p.pickup == key) && time.Since(p.at) < 64*t1 {
				return true
			}
		}
	}
	return false
}
