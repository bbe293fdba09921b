package sip

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pbx/store"
)

// Traces keeps what went over the wire for calls that have ended.
type Traces interface {
	SaveTraces(ctx context.Context, all []store.Trace) error
}

// The bounds of what is remembered of calls that are up.
const (
	maxLegMessages   = 500
	maxLegOctets     = 512 << 10
	maxTraceOctets   = 64 << 20 // of all calls together
	maxTracedCalls   = 8192
	maxCallLegs      = 256  // a queue that rings for an hour
	maxStrangers     = 1024 // INVITEs of nobody we know yet
	maxStrangeOctets = 4 << 20
	strangerTrace    = 40 * time.Second // 64·T1, and the time to look
	lateMessages     = 40 * time.Second // how long a trace waits for the last messages of a call
	maxTraceBacklog  = 4096             // traces that wait for the disk
	traceBatch       = 64
	shortCall        = 9 // messages of a leg that nothing happens to
)

// trace remembers the messages of calls. received and sent see every message of
// the house and are quick about those of no call.
//
// An INVITE from outside is a stranger until its leg belongs to a call; strangers
// push each other out, so that a flood of them costs a bounded amount of memory.
type trace struct {
	s    *Server
	seed maphash.Seed
	any  atomic.Int64 // how many legs there are

	mu       sync.Mutex
	legs     map[string]*legTrace // by Call-ID
	calls    map[store.ID]*callTrace
	order    []string // strangers, oldest first; some may have become known since
	strange  int      // octets of strangers
	octets   int      // of the others
	done     []*callTrace
	dropped  uint64 // traces lost because the disk was too slow
	finished chan struct{}
}

// legTrace is one Call-ID.
type legTrace struct {
	store.TraceLeg
	messages []store.TraceMessage
	seen     []uint64 // hashes, to tell repetitions
	octets   int
	lost     int
	calls    []*callTrace // that it belongs to; none: a stranger
	open     int          // dialogs of ours with this Call-ID
	born     time.Time
}

// callTrace is one call record.
type callTrace struct {
	account, id store.ID
	legs        []*legTrace
	ended       bool
	timer       *time.Timer
}

func newTrace(s *Server) *trace {
	return &trace{
		s: s, seed: maphash.MakeSeed(), legs: make(map[string]*legTrace), calls: make(map[store.ID]*callTrace),
		finished: make(chan struct{}, 1),
	}
}

// received notes a message that came; msg is copied if it is kept.
func (t *trace) received(msg []byte, h hop) { t.note(msg, h, false) }

// sent notes a message that leaves.
func (t *trace) sent(msg []byte, h hop) { t.note(msg, h, true) }

func (t *trace) note(msg []byte, h hop, sent bool) {
	invite := bytes.HasPrefix(msg, []byte("INVITE "))
	switch {
	case t.s.cfg.Traces == nil || !invite && t.any.Load() == 0:
		return
	case bytes.HasPrefix(msg, []byte("REGISTER ")) || bytes.HasPrefix(msg, []byte("PUBLISH ")):
		return // never part of a call
	}
	id := peekCallID(msg)
	if len(id) == 0 || len(id) > 256 || len(msg) > maxMessage {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.legs[string(id)]
	if l == nil {
		if !invite {
			return
		}
		l = t.stranger(string(id))
	}
	if len(l.messages) >= maxLegMessages || l.octets+len(msg) > maxLegOctets || t.octets+len(msg) > maxTraceOctets {
		l.lost++
		return
	}
	hash := maphash.Bytes(t.seed, msg)
	if sent {
		hash++ // an echo is no repetition
	}
	m := store.TraceMessage{
		At: time.Now(), Sent: sent, Transport: h.transport, Local: h.local, Remote: h.remote,
		Again: slices.Contains(l.seen, hash), Raw: maskContacts(maskSecrets(bytes.Clone(msg))),
	}
	l.messages, l.seen = append(l.messages, m), append(l.seen, hash)
	l.octets += len(msg)
	if len(l.calls) > 0 {
		t.octets += len(msg)
		return
	}
	t.strange += len(msg)
	t.crowd()
}

// peekCallID finds the Call-ID of a message that nobody has parsed yet.
func peekCallID(msg []byte) []byte {
	for first := true; ; first = false {
		end := bytes.IndexByte(msg, '\n')
		if end < 0 {
			return nil
		}
		line := msg[:end]
		msg = msg[end+1:]
		if first || len(line) < 3 {
			if !first && len(bytes.TrimSpace(line)) == 0 {
				return nil // the header is over
			}
			continue
		}
		switch line[0] | 0x20 {
		case 'c':
			if len(line) < 8 || !bytes.EqualFold(line[:7], []byte("call-id")) {
				continue
			}
			line = line[7:]
		case 'i':
			line = line[1:]
		default:
			continue
		}
		line = bytes.TrimLeft(line, " \t")
		if len(line) > 0 && line[0] == ':' {
			return bytes.TrimSpace(line[1:])
		}
	}
}

// stranger begins the trace of a Call-ID; mu is held.
func (t *trace) stranger(id string) *legTrace {
	l := &legTrace{TraceLeg: store.TraceLeg{SIPCallID: id}, born: time.Now(), messages: make([]store.TraceMessage, 0, shortCall), seen: make([]uint64, 0, shortCall)}
	t.legs[id] = l
	t.any.Add(1)
	t.order = append(t.order, id)
	return l
}

// crowd lets the oldest strangers go when there are too many; mu is held.
func (t *trace) crowd() {
	for len(t.order) > 0 {
		l := t.legs[t.order[0]]
		known := l == nil || len(l.calls) > 0
		if !known && len(t.order) <= maxStrangers && t.strange <= maxStrangeOctets && time.Since(l.born) < strangerTrace {
			return
		}
		t.order = t.order[1:]
		if !known {
			t.strange -= l.octets
			t.remove(l)
		}
	}
}

// remove forgets a leg; mu is held.
func (t *trace) remove(l *legTrace) {
	if t.legs[l.SIPCallID] == l {
		delete(t.legs, l.SIPCallID)
		t.any.Add(-1)
	}
}

// claim makes a leg part of a call.
func (t *trace) claim(call, account store.ID, leg store.TraceLeg) {
	if call == "" || t.s.cfg.Traces == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.calls[call]
	switch {
	case c == nil && len(t.calls) >= maxTracedCalls:
		return
	case c == nil:
		c = &callTrace{id: call}
		t.calls[call] = c
	}
	if account != "" {
		c.account = account
	}
	l := t.legs[leg.SIPCallID]
	if l == nil {
		l = t.stranger(leg.SIPCallID)
	}
	l.TraceLeg = leg
	if slices.Contains(c.legs, l) || len(c.legs) >= maxCallLegs {
		return
	}
	if len(l.calls) == 0 {
		t.strange -= l.octets
		t.octets += l.octets
	}
	c.legs, l.calls = append(c.legs, l), append(l.calls, c)
	t.crowd() // calls of our own begin with no stranger
}

// opened counts the dialogs of a Call-ID; a trace is complete when none is open.
func (t *trace) opened(callID string, more int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.legs[callID]
	if l == nil {
		return
	}
	if l.open += more; l.open > 0 {
		return
	}
	for _, c := range slices.Clone(l.calls) {
		if c.ended {
			t.settle(c, false)
		}
	}
}

// end says that nothing is added to a call any more.
func (t *trace) end(account, call store.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.calls[call]
	if c == nil || c.ended {
		return
	}
	c.account, c.ended = account, true
	t.settle(c, false)
}

// settle hands a call that has ended to the writer once its last dialog is over,
// and not much later than that: a phone may go without a word. mu is held.
func (t *trace) settle(c *callTrace, late bool) {
	if t.calls[c.id] != c {
		return
	}
	if !late && slices.ContainsFunc(c.legs, func(l *legTrace) bool { return l.open > 0 }) {
		if c.timer == nil {
			c.timer = time.AfterFunc(lateMessages, func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				t.settle(c, true)
			})
		}
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	delete(t.calls, c.id)
	if len(t.done) >= maxTraceBacklog {
		t.release(t.done[0])
		t.done = t.done[1:]
		t.dropped++
	}
	t.done = append(t.done, c)
	signal(t.finished)
}

// release lets the legs of a call go that no other call needs; mu is held.
func (t *trace) release(c *callTrace) {
	for _, l := range c.legs {
		l.calls = slices.DeleteFunc(l.calls, func(o *callTrace) bool { return o == c })
		if len(l.calls) == 0 {
			t.octets -= l.octets
			t.remove(l)
		}
	}
}

// snapshot puts the legs of a call together; mu is held.
func (t *trace) snapshot(c *callTrace) store.Trace {
	n := 0
	for _, l := range c.legs {
		n += len(l.messages)
	}
	all := store.Trace{CallID: c.id, AccountID: c.account, Messages: make([]store.TraceMessage, 0, n)}
	for i, l := range c.legs {
		all.Legs = append(all.Legs, l.TraceLeg)
		all.Dropped += l.lost
		for _, m := range l.messages {
			m.Leg = i
			all.Messages = append(all.Messages, m) // the octets are shared: nobody changes them
		}
	}
	slices.SortStableFunc(all.Messages, func(a, b store.TraceMessage) int { return a.At.Compare(b.At) })
	return all
}

// write carries finished traces to the database until the server stops.
func (t *trace) write() {
	for {
		select {
		case <-t.finished:
			t.flush(t.s.ctx)
		case <-t.s.ctx.Done():
			return
		}
	}
}

// flush saves what has ended. A trace that cannot be saved is lost: the disk is
// full or slow, and calls matter more.
func (t *trace) flush(ctx context.Context) {
	for {
		t.mu.Lock()
		batch := t.done[:min(len(t.done), traceBatch)]
		t.done = t.done[len(batch):]
		all := make([]store.Trace, len(batch))
		for i, c := range batch {
			all[i] = t.snapshot(c)
			t.release(c)
		}
		t.mu.Unlock()
		if len(all) == 0 {
			return
		}
		all = slices.DeleteFunc(all, func(tr store.Trace) bool { return len(tr.Messages) == 0 })
		if err := t.s.cfg.Traces.SaveTraces(context.WithoutCancel(ctx), all); err != nil && !errors.Is(err, store.ErrClosed) {
			t.s.log.Error("traces not saved", "traces", len(all), "error", err)
		}
	}
}

// finish saves, at the end of the server, what was not saved yet; calls that the
// house did not end are cut off with it.
func (t *trace) finish(ctx context.Context) {
	if t.s.cfg.Traces == nil {
		return
	}
	t.mu.Lock()
	for _, c := range t.calls {
		t.settle(c, true)
	}
	t.mu.Unlock()
	t.flush(ctx)
}

// Trace makes the leg's messages part of the trace of a call. A leg that moves
// from call to call is part of each.
func (l *Leg) Trace(call store.ID) { l.s.trace.claim(call, l.line.AccountID, l.traced()) }

func (l *Leg) traced() store.TraceLeg {
	return store.TraceLeg{SIPCallID: l.callID, UserID: l.line.UserID, DeviceID: l.line.DeviceID}
}

// Trace returns the messages of a running call so far; ok says that it is traced.
func (s *Server) Trace(call store.ID) (tr store.Trace, ok bool) {
	s.trace.mu.Lock()
	defer s.trace.mu.Unlock()
	c := s.trace.calls[call]
	if c == nil {
		for _, d := range s.trace.done {
			if d.id == call {
				c = d
			}
		}
	}
	if c == nil {
		return store.Trace{}, false
	}
	return s.trace.snapshot(c), true
}

// EndTrace says that a call is over: its trace is saved as soon as its dialogs are done.
func (s *Server) EndTrace(account, call store.ID) { s.trace.end(account, call) }

// Headline is what a message is about.
type Headline struct {
	Method string // of the request, or of the one that is answered
	Status int    // 0 for requests
	Text   string // the first line without the version
	CSeq   string
}

// HeadlineOf reads the headline of a message as it went over the wire.
func HeadlineOf(raw []byte) Headline {
	first, rest, _ := strings.Cut(string(raw[:min(len(raw), maxHead)]), "\n")
	first = strings.ToValidUTF8(trim(first), "?")
	var h Headline
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if trim(line) == "" {
			break
		}
		if name, value, found := strings.Cut(line, ":"); found && strings.EqualFold(trim(name), "CSeq") {
			h.CSeq = strings.ToValidUTF8(trim(value), "?")
			break
		}
	}
	if text, answer := strings.CutPrefix(first, "SIP/2.0 "); answer {
		h.Text = text
		code, _, _ := strings.Cut(text, " ")
		h.Status, _ = strconv.Atoi(code)
		if f := strings.Fields(h.CSeq); len(f) == 2 {
			h.Method = f[1]
		}
		return h
	}
	h.Text = strings.TrimSuffix(first, " SIP/2.0")
	h.Method, _, _ = strings.Cut(first, " ")
	return h
}
