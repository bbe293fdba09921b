package sip

import (
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// allowEvents names the event packages that can be subscribed to.
const allowEvents = "dialog, message-summary, presence, reg"

const (
	minSubscription = 60 * time.Second
	maxSubscription = time.Hour
	// maxLamp is how long a phone believes its lamps after a restart of ours: then it subscribes again, hears 481, and begins anew.
	maxLamp           = 15 * time.Minute
	maxAlike          = 4   // of one line to one thing: a phone and its former lives
	maxOfLine         = 512 // of one line: a phone with side cars, twice
	maxSubscriptions  = 100000
	maxEntity         = 255 // octets of an address that is watched
	lampDelay         = 500 * time.Millisecond
	subscriptionsFull = "60" // seconds until a phone may ask again
)

// eventPackage is one event package of RFC 6665.
type eventPackage struct {
	name    string
	longest time.Duration
	gathers bool // several news of one instant are one
	// watch finds out what a subscription is for; nil: the line may have it.
	watch func(e *events, sub *subscription, target string) *Refusal
	// compose makes the document with the state as it is now.
	compose func(e *events, sub *subscription) document
}

// packages are the event packages by name.
var packages = map[string]*eventPackage{
	"message-summary": {"message-summary", maxSubscription, false, watchMailbox, composeSummary},
	"dialog":          {"dialog", maxLamp, true, watchPerson, composeDialogs},
	"presence":        {"presence", maxLamp, true, watchPerson, composePresence},
	"reg":             {"reg", maxSubscription, true, watchRegistration, composeRegistrations},
}

// document is the state of what is watched, at one moment.
type document struct {
	contentType string
	body        []byte
	state       string   // in a word, for people
	mark        uint64   // equal for documents that show the same
	ids         []string // of the dialogs in it that are not over
}

// events is the notifier of RFC 6665.
type events struct {
	s    *Server
	seed maphash.Seed

	mu       sync.Mutex
	subs     map[string]*subscription     // by our tag
	lines    map[store.ID][]*subscription // by the line that watches
	watchers map[store.ID][]*subscription // by the user who is watched
	crowds   map[store.ID][]*subscription // lists, by the account
	phones   map[phoneKey]*phone
	flights  map[string]*subscription // by the branch of a NOTIFY that waits for its answer
	asked    map[uint64]*subscription // by the latest SUBSCRIBE of each
	wake     chan struct{}            // cap 1: the next expiry may be nearer
	turns    chan struct{}            // what phones are told is made by a few goroutines at one time: see lane
	repairs  atomic.Uint64

	publications publications
}

// subscription is one dialog that a phone opened to watch something. Its lock is the one of events.
type subscription struct {
	pkg    *eventPackage
	phone  *phone
	user   store.ID // who is watched
	entity string   // their address, as it was asked for
	list   *list    // a list of people instead
	id     string   // of the Event header
	callID string
	tag    string // ours
	branch uint64 // of the latest SUBSCRIBE, so that its repetitions are known
	dialog dialog

	expires time.Time
	why     string // it is ending: the reason in Subscription-State
	ended   bool   // it is in no table any more

	// What the phone was told.
	version uint32 // of the next document
	wanted  bool   // there may be news
	forced  bool   // and they are sent even if they are none
	queued  bool   // the phone knows of it
	flight  *flight
	due     time.Time // not before then, the phone asked
	sent    string    // the state in the latest NOTIFY
	sentAt  time.Time
	acked   time.Time // when it was acknowledged; zero: not yet
	mark    uint64    // of what was sent
	shown   []string  // the dialogs in it
	known   []string  // those that the phone may think are up
	repairs uint32
}

// view is a copy to be read without the lock, since a SUBSCRIBE may change what it came from; mu is held.
func (sub *subscription) view() *subscription {
	v, p := *sub, *sub.phone
	v.phone = &p
	return &v
}

func newEvents(s *Server) *events {
	return &events{
		s: s, seed: maphash.MakeSeed(), subs: make(map[string]*subscription),
		lines: make(map[store.ID][]*subscription), watchers: make(map[store.ID][]*subscription), crowds: make(map[store.ID][]*subscription),
		phones: make(map[phoneKey]*phone), flights: make(map[string]*subscription), asked: make(map[uint64]*subscription), wake: make(chan struct{}, 1), turns: make(chan struct{}, laneWorkers()),
		publications: publications{byTag: make(map[string]*publication), byUser: make(map[store.ID][]*publication)},
	}
}

func (e *events) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.subs)
}

// subscribe serves a SUBSCRIBE, a new one or one that refreshes. It keeps no transaction: a thousand phones that ask for
// twenty lamps each after a power cut would leave twenty thousand. The subscription itself knows a repeated request.
func (e *events) subscribe(req *sipmsg.Request, tx *sipmsg.ServerTx, h hop) {
	s := e.s
	name, rest, _ := strings.Cut(header(req, "Event"), ";")
	pkg := packages[strings.ToLower(trim(name))]
	if pkg == nil {
		s.replyOnce(req, tx, 489, "Bad Event", field{"Allow-Events", allowEvents}) // RFC 6665 §7.3.1
		return
	}
	if answer := e.repeated(req, h); answer != nil {
		s.replyOnce(req, tx, 200, "OK", answer...)
		return
	}
	tag := tagOf(req.To().Params)
	e.mu.Lock()
	sub := e.subs[tag]
	e.mu.Unlock()
	if sub != nil && (sub.callID != req.CallID().Value() || sub.dialog.remoteTag != tagOf(req.From().Params)) {
		sub = nil
	}
	if tag != "" && sub == nil {
		// RFC 6665 §4.1.2.2: after a restart phones learn by this that they must subscribe anew.
		s.replyOnce(req, tx, 481, "Subscription Does Not Exist")
		return
	}
	line, ok := s.authenticated(req, tx, h)
	if !ok {
		return
	}
	code, reason, fields := e.take(req, h, sub, line, pkg, rest)
	s.replyOnce(req, tx, code, reason, fields...)
}

// take makes or refreshes a subscription.
func (e *events) take(req *sipmsg.Request, h hop, sub *subscription, line store.Line, pkg *eventPackage, rest string) (int, string, []field) {
	if sub != nil && (e.lineOf(sub) != line.ID || sub.pkg != pkg) {
		return 403, "Forbidden", nil
	}
	asked := pkg.longest
	if text := header(req, "Expires"); text != "" {
		asked = min(seconds(text, pkg.longest), pkg.longest)
	}
	if asked > 0 && asked < minSubscription {
		return 423, "Interval Too Brief", []field{{"Min-Expires", secondsText(minSubscription)}} // RFC 6665 §4.2.1.1
	}
	target := contactOf(req)
	if target == "" && sub == nil {
		return 400, "Missing Contact", nil
	}
	fresh := sub == nil
	if fresh {
		ps, _ := parseParams(rest)
		id, _ := ps.get("id")
		sub = e.open(req, line, pkg, clip(id, 64))
		if refusal := e.admit(req, sub); refusal != nil {
			fields := []field(nil)
			switch refusal.Code {
			case 421:
				fields = append(fields, field{"Require", "eventlist"})
			case 503:
				fields = append(fields, field{"Retry-After", subscriptionsFull})
			}
			return refusal.Code, refusal.Reason, fields
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch seq := req.CSeq().SeqNo; {
	case fresh:
		req.To().Params.Add("tag", sub.tag)
		sub.phone = e.phoneOf(line, h)
		e.enter(sub)
	case sub.ended:
		return 481, "Subscription Does Not Exist", nil
	case seq <= sub.dialog.remoteSeq:
		return 500, "CSeq Out Of Order", nil
	default:
		sub.dialog.remoteSeq = seq
		if at := e.phoneOf(line, h); at != sub.phone {
			e.move(sub, at)
		}
	}
	if target != "" {
		sub.dialog.target = target // RFC 6665 §4.4.1: a SUBSCRIBE is a target refresh
	}
	delete(e.asked, sub.branch)
	sub.branch = e.branchOf(req)
	e.asked[sub.branch] = sub
	sub.expires = time.Now().Add(asked)
	if asked == 0 {
		sub.why = "timeout" // RFC 6665 §4.2.1.4: a poll, or the end
	}
	signal(e.wake)
	sub.due = time.Time{}
	sub.phone.lives()
	if sub.list != nil {
		sub.list.full = true // RFC 4662 §5.4: with each SUBSCRIBE
	}
	e.want(sub, true)
	return 200, "OK", e.granted(sub, asked)
}

// lineOf returns the line that watches.
func (e *events) lineOf(sub *subscription) store.ID {
	e.mu.Lock()
	defer e.mu.Unlock()
	return sub.phone.line.ID
}

// granted are the fields of a 200 to a SUBSCRIBE.
func (e *events) granted(sub *subscription, asked time.Duration) []field {
	fields := []field{{"Expires", secondsText(asked)}, {"Contact", e.s.contact(sub.phone.hop, sub.phone.line.Username)}, {"Allow-Events", allowEvents}}
	if sub.list != nil {
		fields = append(fields, field{"Require", "eventlist"}) // RFC 4662 §4.1
	}
	return fields
}

// repeated recognises a SUBSCRIBE that was served already, whose answer was lost. It needs no credentials: it changes
// nothing, and the phone's credentials count once.
func (e *events) repeated(req *sipmsg.Request, h hop) []field {
	e.mu.Lock()
	defer e.mu.Unlock()
	sub := e.asked[e.branchOf(req)]
	if sub == nil || sub.callID != req.CallID().Value() || sub.phone.hop != h {
		return nil
	}
	if tagOf(req.To().Params) == "" {
		req.To().Params.Add("tag", sub.tag)
	}
	return e.granted(sub, max(0, time.Until(sub.expires)))
}

// branchOf tells SUBSCRIBE requests from each other.
func (e *events) branchOf(req *sipmsg.Request) uint64 {
	branch, _ := req.Via().Params.Get("branch")
	return maphash.String(e.seed, branch+"\x00"+req.CSeq().Value()+"\x00"+tagOf(req.From().Params))
}

// open makes a subscription that is in no table yet.
func (e *events) open(req *sipmsg.Request, line store.Line, pkg *eventPackage, id string) *subscription {
	return &subscription{
		pkg: pkg, phone: &phone{line: line}, id: id, callID: req.CallID().Value(), tag: token(),
		entity: entityOf(req),
		dialog: dialog{
			local: bare(req.To().Value()), remote: bare(req.From().Value()), remoteTag: tagOf(req.From().Params),
			remoteSeq: req.CSeq().SeqNo, heard: true, routes: recordedRoutes(req, false),
		},
	}
}

// entityOf is the address that a request watches, without what only serves its way.
func entityOf(req *sipmsg.Request) string {
	u := sipmsg.Uri{Scheme: "sip", User: req.Recipient.User, Host: req.Recipient.Host, Port: req.Recipient.Port}
	return clip(u.String(), maxEntity)
}

// admit decides whether a line may have a new subscription, and to what.
func (e *events) admit(req *sipmsg.Request, sub *subscription) *Refusal {
	target := userOf(&req.Recipient)
	if isList(target) && sub.pkg.name != "message-summary" {
		if !offers(req, "Supported", "eventlist") && !offers(req, "Require", "eventlist") {
			return &Refusal{421, "Extension Required"} // RFC 4662 §4.1
		}
		if refusal := watchList(e, sub, target); refusal != nil {
			return refusal
		}
	} else if refusal := sub.pkg.watch(e, sub, target); refusal != nil {
		return refusal
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.subs) >= maxSubscriptions {
		return &Refusal{503, "Service Unavailable"}
	}
	return nil
}

// enter puts a subscription into the tables; mu is held. The oldest like it give way, and those that are left of a
// former life of the phone are asked whether it still knows them.
func (e *events) enter(sub *subscription) {
	line := sub.phone.line.ID
	alike := 0
	for _, o := range slices.Backward(slices.Clone(e.lines[line])) { // newest first
		if o.pkg != sub.pkg || o.entity != sub.entity {
			continue
		}
		if alike++; alike >= maxAlike {
			e.drop(o)
		} else if o.phone == sub.phone && o.id == sub.id {
			e.want(o, true) // the phone answers 481 if it began anew
		}
	}
	if own := e.lines[line]; len(own) >= maxOfLine {
		e.drop(own[0])
	}
	e.subs[sub.tag] = sub
	e.lines[line] = append(e.lines[line], sub)
	sub.phone.subs++
	if sub.list != nil {
		e.crowds[sub.phone.line.AccountID] = append(e.crowds[sub.phone.line.AccountID], sub)
	} else {
		e.watchers[sub.user] = append(e.watchers[sub.user], sub)
	}
}

// drop takes a subscription out of the tables; mu is held. A NOTIFY under way may still be answered.
func (e *events) drop(sub *subscription) {
	if sub.ended {
		return
	}
	sub.ended = true
	delete(e.subs, sub.tag)
	delete(e.asked, sub.branch)
	remove(e.lines, sub.phone.line.ID, sub)
	if sub.list != nil {
		remove(e.crowds, sub.phone.line.AccountID, sub)
	} else {
		remove(e.watchers, sub.user, sub)
	}
	e.leave(sub.phone)
}

func remove(m map[store.ID][]*subscription, key store.ID, sub *subscription) {
	if rest := slices.DeleteFunc(m[key], func(o *subscription) bool { return o == sub }); len(rest) > 0 {
		m[key] = rest
	} else {
		delete(m, key)
	}
}

// end lets a subscription end with one last NOTIFY; mu is held.
func (e *events) end(sub *subscription, why string) {
	if sub.why == "" {
		sub.why = why
	}
	sub.due = time.Time{}
	e.want(sub, true)
}

// sweep ends subscriptions as they expire, until the server stops.
func (e *events) sweep() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now, next := time.Now(), time.Hour
		e.mu.Lock()
		for _, sub := range e.subs {
			left := sub.expires.Sub(now)
			switch {
			case sub.why != "":
			case left <= 0:
				e.end(sub, "timeout")
			default:
				next = min(next, left)
			}
		}
		e.mu.Unlock()
		next = min(next, e.publications.sweep(e, now))
		timer.Reset(max(next, time.Second)) // at most one look a second, however many there are
		select {
		case <-timer.C:
		case <-e.wake:
			if !e.s.pause(time.Second) {
				return
			}
		case <-e.s.ctx.Done():
			return
		}
	}
}

// userChanged tells those who watch a user that there may be news.
func (e *events) userChanged(account, user store.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, sub := range e.watchers[user] {
		if sub.phone.line.AccountID == account && sub.pkg.name != "message-summary" {
			e.want(sub, false)
		}
	}
	for _, sub := range e.crowds[account] {
		e.want(sub, false)
	}
}

// usersChanged does that for several.
func (e *events) usersChanged(account store.ID, users []store.ID) {
	for _, u := range users {
		e.userChanged(account, u)
	}
}

// peopleChanged tells that users of an account came, went, or have another name.
func (e *events) peopleChanged(account store.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, sub := range e.crowds[account] {
		sub.list.members = nil
		sub.list.full = true
		e.want(sub, false)
	}
}

// allChanged looks at everything anew, once news were missed.
func (e *events) allChanged() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, sub := range e.subs {
		if sub.list != nil {
			sub.list.members, sub.list.full = nil, true
		}
		e.want(sub, false)
	}
}

// dropUnregistered ends the subscriptions of lines that are not registered any more.
func (e *events) dropUnregistered() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, subs := range e.lines {
		line := subs[0].phone.line
		if now, ok := e.s.dir.Line(line.Username); ok && now.ID == line.ID && now.Password == line.Password && now.UserID == line.UserID {
			continue
		}
		for _, sub := range subs {
			e.end(sub, "deactivated")
		}
	}
}

// offers reports whether a list of option tags has one.
func offers(req *sipmsg.Request, header, option string) bool {
	return slices.ContainsFunc(headerList(req, header), func(s string) bool { return strings.EqualFold(s, option) })
}

// secondsText writes a duration as delta-seconds.
func secondsText(d time.Duration) string {
	return strconv.Itoa(int(d.Round(time.Second) / time.Second))
}
