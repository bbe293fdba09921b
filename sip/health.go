package sip

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"pbx/event"
	"pbx/store"
)

// Each registered phone is asked every now and then whether it is there, by an
// OPTIONS request. That keeps the way through a NAT open (it forgets one in 30
// seconds or more), measures the round trip, and finds out within 30 seconds that
// a phone is gone: its answer is missing for longer than it takes to ask three times.
const (
	probeLeast  = 20 * time.Second // from one answer to the next question
	probeSpread = 4 * time.Second  // more than that, so that phones that started together do not stay together
	probeAgain  = time.Second      // after that the second question follows the first; the third, and the end, after twice as long
	callTime    = 6 * time.Second  // in which an INVITE must be heard of
	muteAfter   = 3                // unanswered rounds after which a phone that never answered is asked once a round
	probeBurst  = 256              // questions in a row
	probePause  = 20 * time.Millisecond
)

// health knows which phones are there. A phone is known by the way to it, whatever
// the number of its lines.
type health struct {
	s    *Server
	mark string // in the branch of each question, so that nobody else can answer

	mu   sync.Mutex
	ways map[hop]*reached
	due  dueHeap
	news map[hop]struct{} // phones that came or went, not told yet
	dead int
	wake chan struct{} // cap 1: something is due earlier than what was waited for, or there is news
}

// reached is what is known of one phone.
type reached struct {
	way      hop
	uri      string // of one of its contacts; empty: it cannot be asked
	bindings int

	due     time.Time
	place   int // in the heap
	asked   int // questions without answer in this round
	rounds  int // without answer in a row
	serial  uint32
	sent    time.Time
	answers bool // it answers questions
	dead    bool
	called  time.Time // an INVITE of which nothing was heard yet
	rtt     time.Duration
}

func newHealth(s *Server) *health {
	return &health{s: s, mark: cookie + strings.ToLower(rand.Text()[:14]), ways: make(map[hop]*reached), news: make(map[hop]struct{}), wake: make(chan struct{}, 1)}
}

// dueHeap has the next one to be looked at first.
type dueHeap []*reached

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].place, h[j].place = i, j }
func (h *dueHeap) Push(x any)        { w := x.(*reached); w.place = len(*h); *h = append(*h, w) }
func (h *dueHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return w
}

// probeWait is the length of a round, another one each time.
func probeWait() time.Duration { return probeLeast + mathrand.N(probeSpread) }

// registered notes a binding, new or refreshed: its phone is there.
func (r *health) registered(b *store.Binding, fresh bool) {
	h, ok := hopTo(*b)
	if !ok {
		return
	}
	uri := ""
	if len(b.Path) == 0 && !strings.Contains(b.Contact, "?") && !quirksOf(b.UserAgent, "").quiet { // behind a proxy it is the proxy's business
		uri = b.Contact
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.ways[h]
	if w == nil {
		w = &reached{way: h, due: time.Now().Add(probeWait())}
		r.ways[h] = w
		heap.Push(&r.due, w)
		if w.place == 0 {
			signal(r.wake)
		}
	}
	w.uri = uri
	if fresh {
		w.bindings++
	}
	r.alive(w)
}

// dropped forgets a binding.
func (r *health) dropped(b *store.Binding) {
	h, ok := hopTo(*b)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.ways[h]
	if w == nil {
		return
	}
	if w.bindings--; w.bindings <= 0 {
		if w.dead {
			r.dead--
		}
		delete(r.ways, h)
		heap.Remove(&r.due, w.place)
	}
}

// alive notes a sign of life; mu is held.
func (r *health) alive(w *reached) {
	w.called = time.Time{}
	w.asked, w.rounds = 0, 0
	if w.dead {
		w.dead = false
		r.dead--
		r.tell(w)
		r.s.log.Info("phone is there again", "transport", w.way.transport, "source", w.way.remote)
	}
}

// gone notes that a phone does not answer; mu is held.
func (r *health) gone(w *reached, why string) {
	w.called = time.Time{}
	if !w.dead {
		w.dead = true
		r.dead++
		r.tell(w)
		r.s.log.Info("phone is not there", "transport", w.way.transport, "source", w.way.remote, "why", why)
	}
}

// tell notes that a phone came or went; mu is held.
func (r *health) tell(w *reached) {
	r.news[w.way] = struct{}{}
	signal(r.wake)
}

// count returns how many phones are registered and not there.
func (r *health) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dead
}

// state returns whether the phone of a binding is there, and how far away: 0 is not measured.
func (r *health) state(b *store.Binding) (rtt time.Duration, dead bool) {
	h, ok := hopTo(*b)
	if !ok {
		return 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.ways[h]; w != nil {
		return w.rtt, w.dead
	}
	return 0, false
}

// spoke notes that an authenticated request came this way.
func (r *health) spoke(h hop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.ways[h]; w != nil {
		r.alive(w)
	}
}

// calling notes that an INVITE goes this way. Phones that never answer our
// questions are found out by that.
func (r *health) calling(h hop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.ways[h]
	if w == nil || !w.called.IsZero() {
		return
	}
	w.called = time.Now()
	if at := w.called.Add(callTime); at.Before(w.due) {
		r.move(w, at)
	}
}

// move changes when a phone is looked at; mu is held.
func (r *health) move(w *reached, at time.Time) {
	if judged := w.called.Add(callTime); !w.called.IsZero() && judged.Before(at) {
		at = judged
	}
	w.due = at
	heap.Fix(&r.due, w.place)
	if w.place == 0 {
		signal(r.wake)
	}
}

// answered looks at a response that came in, and reports whether it was to a question.
func (r *health) answered(data []byte, h hop) bool {
	if !bytes.HasPrefix(data, []byte("SIP/2.0 ")) {
		return false
	}
	i := bytes.Index(data, []byte(r.mark))
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.ways[h]
	if w == nil {
		return i >= 0
	}
	if i < 0 {
		r.alive(w)
		return false
	}
	serial := strconv.FormatUint(uint64(w.serial), 16)
	if !bytes.HasPrefix(data[i+len(r.mark):], []byte("."+serial+";")) && !bytes.HasPrefix(data[i+len(r.mark):], []byte("."+serial+"\r")) {
		return true // a late one, or one that somebody made up
	}
	if w.asked == 1 { // else it may be the answer to any of them
		w.rtt = max(time.Since(w.sent), time.Microsecond)
	}
	again := w.asked > 0
	w.answers = true
	r.alive(w)
	if again {
		r.move(w, time.Now().Add(probeWait()))
	}
	return true
}

// run asks until the server stops.
func (r *health) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		sent := 0
		for sent < probeBurst {
			question, way, again := r.next()
			if !again {
				break
			}
			if question != nil {
				r.s.post(question, way)
				sent++
			}
		}
		r.mu.Lock()
		news := r.news
		if len(news) > 0 {
			r.news = make(map[hop]struct{})
		}
		r.mu.Unlock()
		if len(news) > 0 {
			r.s.registrar.cameOrWent(news)
		}
		timer.Reset(r.pause(sent))
		select {
		case <-timer.C:
		case <-r.wake:
		case <-ctx.Done():
			return
		}
	}
}

// pause is how long nothing is due.
func (r *health) pause(sent int) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.due) == 0:
		return time.Hour
	case sent >= probeBurst:
		return probePause
	}
	return max(time.Until(r.due[0].due), time.Millisecond)
}

// next looks at the phone that is due, if one is, and returns the question to send.
func (r *health) next() (question []byte, way hop, again bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.due) == 0 || r.due[0].due.After(now) {
		return nil, hop{}, false
	}
	w := r.due[0]
	if !w.called.IsZero() && now.Sub(w.called) >= callTime {
		r.gone(w, "no answer to a call")
	}
	if w.uri == "" {
		r.move(w, now.Add(probeWait()))
		return nil, w.way, true
	}
	switch {
	case w.asked == 0 && !w.answers && w.rounds >= muteAfter: // it never does: the question only keeps the way open
		w.serial++
		r.move(w, now.Add(probeWait()))
	case w.asked == 0:
		w.serial++
		w.asked = 1
		r.move(w, now.Add(probeAgain))
	case w.asked < 3:
		w.asked++
		r.move(w, now.Add(2*probeAgain))
	default:
		w.asked = 0
		w.rounds++
		if w.answers {
			r.gone(w, "no answer to OPTIONS")
		}
		r.move(w, now.Add(probeWait()))
		return nil, w.way, true
	}
	w.sent = now
	return r.s.question(w.way, w.uri, r.mark+"."+strconv.FormatUint(uint64(w.serial), 16)), w.way, true
}

// question makes an OPTIONS request (RFC 3261 §11) that needs no transaction: whoever answers it is there.
func (s *Server) question(h hop, uri, branch string) []byte {
	host, port := s.host(h)
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	at := host + ":" + strconv.Itoa(port)
	uri = strings.TrimSuffix(strings.TrimPrefix(uri, "<"), ">")
	_, serial, _ := strings.Cut(branch, ".")
	b := make([]byte, 0, 512)
	for _, part := range []string{
		"OPTIONS ", uri, " SIP/2.0\r\nVia: SIP/2.0/", strings.ToUpper(h.transport), " ", at, ";branch=", branch, ";rport\r\nMax-Forwards: 70\r\nFrom: <sip:", at, ">;tag=", serial,
		"\r\nTo: <", uri, ">\r\nCall-ID: probe-", serial, "-", h.remote.String(), "\r\nCSeq: 1 OPTIONS\r\nContact: ", s.contact(h, ""), "\r\nAccept: application/sdp\r\nUser-Agent: ", s.cfg.UserAgent, "\r\nContent-Length: 0\r\n\r\n",
	} {
		b = append(b, part...)
	}
	return b
}

// post sends a message without sipgo. It does not wait for a connection that is stuck.
func (s *Server) post(message []byte, h hop) {
	if h.transport == "udp" {
		if l := s.listenerAt(h.local); l != nil {
			if err := l.reply(message, h.remote); err != nil {
				s.log.Debug("question not sent", "peer", h.remote, "error", err)
			}
		}
		return
	}
	f := s.flows.find(h)
	if f == nil {
		s.registrar.flowGone(h) // it broke while its phone registered
		return
	}
	s.tasks.Go(func() {
		if _, err := f.Write(message); err != nil {
			s.log.Debug("question not sent", "peer", h.remote, "error", err)
		}
	})
}

// cameOrWent publishes that lines are there, or not, since their phones were found out to be.
func (r *registrar) cameOrWent(phones map[hop]struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reg := range r.lines {
		concerned, online := false, false
		for _, b := range reg.bindings {
			if h, ok := hopTo(*b); ok {
				_, changed := phones[h]
				concerned = concerned || changed
			}
			_, dead := r.s.health.state(b)
			online = online || !dead
		}
		if concerned {
			b := reg.bindings[0]
			r.s.bus.Publish(event.News{Kind: event.RegistrationChanged, Account: reg.line.AccountID, Users: []store.ID{reg.line.UserID}, Data: event.Registration{
				DeviceID: reg.line.DeviceID, LineID: reg.line.ID, UserID: reg.line.UserID, Online: online, UserAgent: b.UserAgent, Source: b.Source,
			}})
		}
	}
}

// listenerAt returns the UDP listener with this address, or nil.
func (s *Server) listenerAt(local netip.AddrPort) *packetListener {
	s.sockets.mu.RLock()
	defer s.sockets.mu.RUnlock()
	for _, l := range s.sockets.packets {
		if l.local == local {
			return l
		}
	}
	return nil
}
