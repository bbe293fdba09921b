package sip

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

var (
	errDeep       = errors.New("elements within elements without end")
	errNoPresence = errors.New("no presence document")
)

const (
	minPublication  = 60 * time.Second
	maxPublication  = time.Hour
	maxPublications = 8     // of one user: a phone and a softphone or two
	maxPublished    = 50000 // of all
	maxPIDF         = 16 << 10
	maxActivities   = 8
)

// publications is the state that phones published (RFC 3903). Only what is understood of it is kept, never their text.
type publications struct {
	mu     sync.Mutex
	byTag  map[string]*publication
	byUser map[store.ID][]*publication // oldest first
}

type publication struct {
	account, user store.ID
	tag           string
	expires       time.Time
	published
}

// published is what a document of presence says.
type published struct {
	basic, note string
	activities  []string
}

// onPublish serves a PUBLISH: of presence, by a user for themselves, or a report about the quality of a call.
func (s *Server) onPublish(req *sipmsg.Request, tx *sipmsg.ServerTx, h hop) {
	name, _, _ := strings.Cut(header(req, "Event"), ";")
	name = strings.ToLower(trim(name))
	if name != "presence" && name != "vq-rtcpxr" {
		s.replyOnce(req, tx, 489, "Bad Event", field{"Allow-Events", "presence, vq-rtcpxr"})
		return
	}
	line, ok := s.authenticated(req, tx, h)
	if !ok {
		return
	}
	if name == "vq-rtcpxr" {
		code, reason := s.reported(req, line)
		s.replyOnce(req, tx, code, reason, field{"Expires", "0"}, field{"SIP-ETag", token()})
		return
	}
	code, reason, fields := s.events.publish(req, line)
	s.replyOnce(req, tx, code, reason, fields...)
}

// publish takes a publication of presence, step by step as RFC 3903 §6 has it.
func (e *events) publish(req *sipmsg.Request, line store.Line) (int, string, []field) {
	target := userOf(&req.Recipient)
	if who, ok := e.s.lamps.Person(line.AccountID, target); target != line.Username && (!ok || who.ID != line.UserID) {
		return 403, "Forbidden", nil // nobody speaks for others
	}
	expires := maxPublication
	if text := header(req, "Expires"); text != "" {
		expires = min(seconds(text, maxPublication), maxPublication)
	}
	if expires > 0 && expires < minPublication {
		return 423, "Interval Too Brief", []field{{"Min-Expires", secondsText(minPublication)}}
	}
	match := header(req, "SIP-If-Match")
	var said *published
	if len(req.Body()) > 0 {
		kind, _, _ := strings.Cut(header(req, "Content-Type"), ";")
		if !strings.EqualFold(trim(kind), pidfType) {
			return 415, "Unsupported Media Type", []field{{"Accept", pidfType}}
		}
		if len(req.Body()) > maxPIDF {
			return 413, "Request Entity Too Large", nil
		}
		p, err := readPIDF(req.Body())
		if err != nil {
			return 400, "Bad Presence Document", nil
		}
		said = &p
	}
	if match == "" && said == nil {
		return 400, "Missing Body", nil
	}
	tag, ok := e.publications.put(line, match, said, expires)
	switch {
	case !ok && match != "":
		return 412, "Conditional Request Failed", nil
	case !ok:
		return 503, "Service Unavailable", []field{{"Retry-After", subscriptionsFull}}
	}
	signal(e.wake)
	if said != nil || expires == 0 {
		e.userChanged(line.AccountID, line.UserID)
	}
	return 200, "OK", []field{{"SIP-ETag", tag}, {"Expires", secondsText(expires)}} // RFC 3903 §6: a new tag for every success
}

// put makes, changes, refreshes or removes a publication, and returns its new tag.
func (p *publications) put(line store.Line, match string, said *published, expires time.Duration) (tag string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.byTag[match]
	if match != "" && (old == nil || old.user != line.UserID || old.account != line.AccountID || !old.expires.After(time.Now())) {
		return "", false
	}
	next := &publication{account: line.AccountID, user: line.UserID, tag: token(), expires: time.Now().Add(expires)}
	if old != nil {
		next.published = old.published
		if expires > 0 && said == nil { // a refresh keeps its place in the order
			delete(p.byTag, old.tag)
			old.tag, old.expires = next.tag, next.expires
			p.byTag[old.tag] = old
			return old.tag, true
		}
		p.remove(old)
	}
	if expires == 0 {
		return next.tag, true
	}
	if said != nil {
		next.published = *said
	}
	if len(p.byTag) >= maxPublished {
		return "", false
	}
	if own := p.byUser[line.UserID]; len(own) >= maxPublications {
		p.remove(own[0])
	}
	p.byTag[next.tag] = next
	p.byUser[next.user] = append(p.byUser[next.user], next)
	return next.tag, true
}

// remove forgets a publication; mu is held.
func (p *publications) remove(old *publication) {
	delete(p.byTag, old.tag)
	if rest := slices.DeleteFunc(p.byUser[old.user], func(o *publication) bool { return o == old }); len(rest) > 0 {
		p.byUser[old.user] = rest
	} else {
		delete(p.byUser, old.user)
	}
}

// of returns what a user published, oldest first.
func (p *publications) of(user store.ID) []published {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []published
	now := time.Now()
	for _, o := range p.byUser[user] {
		if o.expires.After(now) {
			all = append(all, o.published)
		}
	}
	return all
}

// sweep removes what expired, tells those who watch, and returns when to look again.
func (p *publications) sweep(e *events, now time.Time) time.Duration {
	next := time.Hour
	var gone []*publication
	p.mu.Lock()
	for _, o := range p.byTag {
		if left := o.expires.Sub(now); left > 0 {
			next = min(next, left)
		} else {
			gone = append(gone, o)
		}
	}
	for _, o := range gone {
		p.remove(o)
	}
	p.mu.Unlock()
	for _, o := range gone {
		e.userChanged(o.account, o.user)
	}
	return next
}

// readPIDF reads what is understood of a presence document: the basic status, a note, and activities. It is a stream
// of bounded size, entities are not expanded, and unknown elements are passed over.
func readPIDF(body []byte) (published, error) {
	var p published
	d := xml.NewDecoder(bytes.NewReader(body))
	depth, root := 0, false
	inActivities := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			if !root || depth != 0 {
				return p, io.ErrUnexpectedEOF
			}
			return p, nil
		}
		if err != nil {
			return p, err
		}
		switch t := token.(type) {
		case xml.EndElement:
			if depth == inActivities {
				inActivities = 0
			}
			depth--
		case xml.StartElement:
			depth++
			if depth > 32 {
				return p, errDeep
			}
			if depth == 1 {
				if t.Name.Local != "presence" || t.Name.Space != "urn:ietf:params:xml:ns:pidf" {
					return p, errNoPresence
				}
				root = true
			}
			switch t.Name.Local {
			case "activities":
				inActivities = depth
			case "basic", "note":
				var text string
				if err := d.DecodeElement(&text, &t); err != nil {
					return p, err
				}
				depth-- // its end is read
				p.say(t.Name.Local, trim(text))
			default:
				if inActivities > 0 && depth == inActivities+1 && activities[t.Name.Local] != "" && len(p.activities) < maxActivities {
					p.activities = append(p.activities, t.Name.Local)
				}
			}
		}
	}
}

func (p *published) say(element, text string) {
	switch {
	case element == "note":
		p.note = clip(text, 120)
	case text == "open" || text == "closed":
		p.basic = text
	}
}
