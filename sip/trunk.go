package sip

import (
	"bytes"
	"context"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"pbx/event"
	"pbx/store"
)

const (
	// targetTime is how long one place of a carrier may be silent before the next is tried.
	targetTime = 4 * time.Second
	// downTime is how long a place that failed is tried after the others.
	downTime = time.Minute
	// doubtTime is how long a trunk that nobody watches counts as unreachable after a failed call.
	doubtTime = time.Minute
	// lookupTime bounds the search for the places of a carrier.
	lookupTime = 3 * time.Second
	// partingTime is how long the end of a registration may take.
	partingTime = 2 * time.Second
)

// notTried is the reason of a trunk that was just made.
const notTried = "not tried yet"

// trunks are the lines to carriers.
type trunks struct {
	s *Server

	mu     sync.Mutex
	byID   map[store.ID]*trunk
	closed bool
	gone   sync.WaitGroup // keepers that have not ended
}

// trunk is one line to a carrier. It outlives changes of its settings.
type trunk struct {
	s       *Server
	id      store.ID
	contact string // user part of our Contact there

	mu       sync.Mutex
	row      store.Trunk
	networks []netip.Prefix // of row.Sources
	status   store.TrunkStatus
	places   []target             // where its host led lately; calls come from there
	down     map[target]time.Time // places that failed, and until when they are avoided
	in, out  int                  // calls that are up
	doubt    *time.Timer
	stop     context.CancelFunc // of its keeper
	left     chan struct{}      // closed when that has ended
	withdraw bool               // the row is gone
}

func newTrunks(s *Server) *trunks {
	return &trunks{s: s, byID: make(map[store.ID]*trunk)}
}

// reload compares the trunks with what the house has in its books.
func (ts *trunks) reload() {
	if ts.s.cfg.Trunks == nil {
		return
	}
	rows := ts.s.cfg.Trunks.Trunks()
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		return
	}
	seen := make(map[store.ID]bool, len(rows))
	for _, row := range rows {
		if !row.Enabled {
			continue
		}
		seen[row.ID] = true
		t := ts.byID[row.ID]
		if t == nil {
			t = &trunk{s: ts.s, id: row.ID, down: make(map[target]time.Time)}
			ts.byID[row.ID] = t
		}
		t.follow(row)
	}
	for id, t := range ts.byID {
		if !seen[id] {
			delete(ts.byID, id)
			t.end()
		}
	}
}

// close takes leave of all carriers.
func (ts *trunks) close() {
	ts.mu.Lock()
	ts.closed = true
	for _, t := range ts.byID {
		t.end()
	}
	ts.mu.Unlock()
	ts.gone.Wait()
}

func (ts *trunks) find(id store.ID) *trunk {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.byID[id]
}

// friends are the addresses that the names of carriers lead to.
func (ts *trunks) friends() []netip.Prefix {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	var all []netip.Prefix
	for _, t := range ts.byID {
		t.mu.Lock()
		for _, p := range t.places {
			all = append(all, netip.PrefixFrom(p.addr.Addr(), p.addr.Addr().BitLen()))
		}
		t.mu.Unlock()
	}
	return all
}

// contactMark begins the user part of each Contact that we register at a carrier. Traces know it by that: see maskContacts.
const contactMark = "trunk-"

// newContact makes the user part by which a carrier's calls are known for the life of this process, while the password is
// the same. Nobody can guess it, and it tells nothing of the password.
func newContact() string { return contactMark + token() }

// maskContacts overwrites, in place, what a carrier's calls are known by: who has it can call in the carrier's name.
func maskContacts(msg []byte) []byte {
	for at := 0; ; {
		i := bytes.Index(msg[at:], []byte(contactMark))
		if i < 0 {
			return msg
		}
		at += i + len(contactMark)
		for n := 0; n < tokenLength && at < len(msg) && isTokenOctet(msg[at]); n++ {
			msg[at] = 'x'
			at++
		}
	}
}

// tokenLength is how long what token makes is.
const tokenLength = 20

func isTokenOctet(c byte) bool { return 'a' <= c && c <= 'z' || '2' <= c && c <= '7' }

// wire is what of a trunk's settings concerns its keeper.
func wire(row store.Trunk) store.Trunk {
	return store.Trunk{
		Host: row.Host, Port: row.Port, Transport: row.Transport, OutboundProxy: row.OutboundProxy,
		Register: row.Register, Username: row.Username, Password: row.Password, AuthUsername: row.AuthUsername,
		FromDomain: row.FromDomain, Expiry: row.Expiry, Options: row.Options,
	}
}

// follow takes the settings of a row, and starts anew if they matter on the wire.
func (t *trunk) follow(row store.Trunk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	same := t.stop != nil && reflect.DeepEqual(wire(t.row), wire(row))
	if t.contact == "" || t.row.Password != row.Password {
		t.contact = newContact()
	}
	t.row, t.networks = row, nil
	for _, s := range row.Sources {
		if network, ok := store.ParseSource(s); ok {
			t.networks = append(t.networks, network)
		}
	}
	if same {
		return
	}
	if t.stop != nil {
		t.stop()
	}
	clear(t.down)
	t.places = nil
	t.status = store.TrunkStatus{TrunkID: row.ID, Reachable: true, Reason: notTried, Since: time.Now()}
	ctx, stop := context.WithCancel(t.s.ctx)
	t.stop = stop
	k, before, done := newKeeper(t, row, t.contact), t.left, make(chan struct{})
	t.left = done
	t.s.trunks.gone.Add(1)
	t.s.tasks.Go(func() {
		defer t.s.trunks.gone.Done()
		defer close(done)
		if before != nil {
			<-before // the end of the old registration must not end the new one
		}
		k.run(ctx)
	})
}

// end lets the keeper take leave.
func (t *trunk) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.withdraw = true
	if t.stop != nil {
		t.stop()
	}
	if t.doubt != nil {
		t.doubt.Stop()
	}
}

// TrunkStatus returns what is known of a trunk now; false if there is no such trunk or it is switched off.
func (s *Server) TrunkStatus(id store.ID) (store.TrunkStatus, bool) {
	t := s.trunks.find(id)
	if t == nil {
		return store.TrunkStatus{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.status
	st.Calls = t.in + t.out
	return st, true
}

// TrunkLocal returns our address towards a trunk, for sound that is to be offered there.
func (s *Server) TrunkLocal(id store.ID) (netip.Addr, bool) {
	t := s.trunks.find(id)
	if t == nil {
		return netip.Addr{}, false
	}
	t.mu.Lock()
	places := t.places
	row := t.row
	t.mu.Unlock()
	to := target{transport: row.Transport}
	if len(places) > 0 {
		to = places[0]
	} else if addr, err := netip.ParseAddr(row.Host); err == nil {
		to.addr = netip.AddrPortFrom(addr.Unmap(), defaultPort(row.Transport))
	}
	local, err := s.localTowards(to)
	return local.Addr(), err == nil
}

// tell changes the status and publishes what others should know of that. It is called with mu held.
func (t *trunk) tell(change func(*store.TrunkStatus)) {
	before := t.status
	change(&t.status)
	now := &t.status
	if before.Registered == now.Registered && before.Reachable == now.Reachable && before.Reason == now.Reason && before.Target == now.Target {
		return
	}
	if before.Registered != now.Registered || before.Reachable != now.Reachable || before.Reason != now.Reason {
		now.Since = time.Now()
	}
	if t.withdraw {
		return
	}
	t.s.log.Info("trunk changed", "trunk", t.id, "name", clip(t.row.Name, 80), "registered", now.Registered, "reachable", now.Reachable, "reason", now.Reason, "target", now.Target)
	t.s.bus.Publish(event.News{Kind: event.TrunkChanged, Account: t.row.AccountID, Data: event.Trunk{
		TrunkID: t.id, Name: t.row.Name, Registered: now.Registered, Reachable: now.Reachable,
		Alarm:  !now.Reachable || t.row.Register && !now.Registered,
		Reason: now.Reason, Since: now.Since, RTTMS: now.RTT.Milliseconds(), Target: now.Target,
	}})
}

// look looks up where requests of a trunk go.
func (t *trunk) look(ctx context.Context, row store.Trunk) ([]target, error) {
	ctx, stop := context.WithTimeout(ctx, lookupTime)
	defer stop()
	host, port, transport := nextHop(row)
	all, err := t.s.locate(ctx, host, port, transport)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note(all)
	return all, nil
}

// targets is like look, but has the places that failed lately at its end.
func (t *trunk) targets(ctx context.Context, row store.Trunk) ([]target, error) {
	all, err := t.look(ctx, row)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	up := make([]target, 0, len(all))
	var rest []target
	for _, to := range all {
		if until, failed := t.down[to]; failed && now.Before(until) {
			rest = append(rest, to)
		} else {
			up = append(up, to)
		}
	}
	return append(up, rest...), nil
}

// note keeps where a trunk's host leads, and forgets what is known of other places.
func (t *trunk) note(all []target) {
	t.places = all
	for to := range t.down {
		if !slices.Contains(all, to) {
			delete(t.down, to)
		}
	}
}

// nextHop is the host that requests of a trunk are sent to.
func nextHop(row store.Trunk) (host string, port int, transport string) {
	if row.OutboundProxy == "" {
		return row.Host, row.Port, row.Transport
	}
	host, port = splitHostPort(row.OutboundProxy)
	return host, port, row.Transport
}

// splitHostPort cuts "host", "host:port", "v6" or "[v6]:port".
func splitHostPort(s string) (string, int) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().String(), int(ap.Port())
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return s, 0
	}
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == ':' {
			port, err := strconv.ParseUint(s[i+1:], 10, 16)
			if err != nil {
				return s, 0
			}
			return s[:i], int(port)
		}
	}
	return s, 0
}

// failed notes that a place did not serve us; it is tried last for a while.
func (t *trunk) failed(to target, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.down[to] = time.Now().Add(d)
}

// worked notes that a place answered.
func (t *trunk) worked(to target) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.down, to)
}

// callResult takes what a call showed of a trunk: an answer from a place, or that none served.
func (t *trunk) callResult(to target, ok bool, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	watched := t.row.Options || t.row.Register
	switch {
	case ok && !t.status.Reachable:
		t.tell(func(st *store.TrunkStatus) { st.Reachable, st.Reason, st.Target = true, "answers", to.String() })
	case ok && !watched && t.status.Target != to.String():
		t.tell(func(st *store.TrunkStatus) { st.Reason, st.Target = "answers", to.String() })
	case !ok && !watched:
		// Nobody asks whether it is back: after a while the next call may find out.
		t.tell(func(st *store.TrunkStatus) { st.Reachable, st.Reason = false, reason })
		if t.doubt != nil {
			t.doubt.Stop()
		}
		if t.withdraw {
			return // nobody would stop it any more
		}
		t.doubt = time.AfterFunc(doubtTime, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			if !t.withdraw && !t.status.Reachable {
				t.tell(func(st *store.TrunkStatus) { st.Reachable, st.Reason = true, "not tried again yet" })
			}
		})
	case !ok:
		t.tell(func(st *store.TrunkStatus) { st.Reachable, st.Reason = false, reason })
	}
}

// reserve counts one more call, if the limits of the trunk allow it. Emergency
// calls are always let out, and others leave room for them.
func (t *trunk) reserve(incoming, emergency bool) (row store.Trunk, release func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	row = t.row
	count, limit := &t.out, row.MaxOut
	if incoming {
		count, limit = &t.in, row.MaxIn
	}
	full := limit > 0 && *count >= limit || row.MaxCalls > 0 && t.in+t.out >= row.MaxCalls-row.EmergencyReserve
	if full && !emergency {
		return row, nil, false
	}
	*count++
	return row, sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		*count--
	}), true
}
