package sip

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unique"

	"pbx/event"
	"pbx/store"
)

const (
	minExpires     = 60 * time.Second
	maxExpires     = time.Hour
	defaultExpires = time.Hour
	maxBindings    = 10                     // of one line
	writeBehind    = 500 * time.Millisecond // what is younger than a second may be lost; the longer, the fewer pages are written
)

// registrar holds where lines can be reached (RFC 3261 §10). Reads come from
// memory; the database learns of changes shortly after.
type registrar struct {
	s     *Server
	store Bindings

	mu      sync.Mutex
	lines   map[store.ID]*registered // by line
	users   map[store.ID]map[store.ID]*registered
	devices map[store.ID]map[store.ID]*registered
	count   int
	put     map[store.ID]store.Binding // not yet written
	drop    map[store.ID]struct{}
	dirty   chan struct{} // cap 1
	wake    chan struct{} // cap 1: the next expiry may be nearer
}

// registered is one line with at least one binding.
type registered struct {
	line     store.Line
	bindings []*store.Binding
	served   [2]served // the last requests: of two flows that a phone may have
}

func newRegistrar(s *Server, b Bindings) *registrar {
	return &registrar{
		s: s, store: b,
		lines: make(map[store.ID]*registered), users: make(map[store.ID]map[store.ID]*registered), devices: make(map[store.ID]map[store.ID]*registered),
		put: make(map[store.ID]store.Binding), drop: make(map[store.ID]struct{}),
		dirty: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// load takes over the bindings of a former life. Those of TCP died with their
// connections, and those without a listener of ours cannot be reached.
func (r *registrar) load(ctx context.Context) error {
	all, err := r.store.LoadBindings(ctx)
	if err != nil {
		return fmt.Errorf("load bindings: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for i := range all {
		b := &all[i]
		if b.Transport != "udp" || !b.ExpiresAt.After(now) || !r.s.listening(b.Local) {
			r.drop[b.ID] = struct{}{}
			continue
		}
		line := store.Line{ID: b.LineID, AccountID: b.AccountID, DeviceID: b.DeviceID, UserID: b.UserID}
		if u, ok := parseURI(b.Contact); ok {
			if l, ok := r.s.dir.Line(userOf(&u)); ok && l.ID == b.LineID {
				line = l
			}
		}
		r.insert(line, b)
	}
	if len(r.drop) > 0 {
		signal(r.dirty)
	}
	return nil
}

// insert adds a binding; mu is held.
func (r *registrar) insert(line store.Line, b *store.Binding) *registered {
	reg := r.lines[line.ID]
	if reg == nil {
		reg = &registered{line: line}
		r.lines[line.ID] = reg
		index(r.users, line.UserID, line.ID, reg)
		index(r.devices, line.DeviceID, line.ID, reg)
	}
	reg.bindings = append(reg.bindings, b)
	r.count++
	r.s.guard.know(b.Source, +1)
	r.s.health.registered(b, true)
	return reg
}

func index(m map[store.ID]map[store.ID]*registered, key, line store.ID, reg *registered) {
	if m[key] == nil {
		m[key] = make(map[store.ID]*registered)
	}
	m[key][line] = reg
}

func unindex(m map[store.ID]map[store.ID]*registered, key, line store.ID) {
	delete(m[key], line)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}

// remove takes one binding away; mu is held.
func (r *registrar) remove(reg *registered, b *store.Binding) {
	reg.bindings = slices.DeleteFunc(reg.bindings, func(o *store.Binding) bool { return o == b })
	r.count--
	r.s.guard.know(b.Source, -1)
	r.s.health.dropped(b)
	delete(r.put, b.ID)
	r.drop[b.ID] = struct{}{}
	if len(reg.bindings) == 0 {
		delete(r.lines, reg.line.ID)
		unindex(r.users, reg.line.UserID, reg.line.ID)
		unindex(r.devices, reg.line.DeviceID, reg.line.ID)
	}
}

// ofUser returns where a user can be reached, oldest registration first.
func (r *registrar) ofUser(user store.ID) []store.Binding {
	return slices.DeleteFunc(r.collect(r.users, user), func(b store.Binding) bool { return b.Unreachable })
}

// ofDevice returns where a device can be reached.
func (r *registrar) ofDevice(device store.ID) []store.Binding { return r.collect(r.devices, device) }

func (r *registrar) collect(m map[store.ID]map[store.ID]*registered, key store.ID) []store.Binding {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	var all []store.Binding
	for _, reg := range m[key] {
		for _, b := range reg.bindings {
			if b.ExpiresAt.After(now) {
				all = append(all, *b)
				now := &all[len(all)-1]
				now.RTT, now.Unreachable = r.s.health.state(b)
			}
		}
	}
	slices.SortFunc(all, func(a, b store.Binding) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return all
}

// line returns what is known of a registered line.
func (r *registrar) line(id store.ID) (store.Line, []store.Binding, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reg := r.lines[id]
	if reg == nil {
		return store.Line{}, nil, false
	}
	all := make([]store.Binding, len(reg.bindings))
	for i, b := range reg.bindings {
		all[i] = *b
	}
	return reg.line, all, true
}

// hasSource reports whether a line is registered from this address.
func (r *registrar) hasSource(line store.ID, from netip.Addr) bool {
	_, bindings, _ := r.line(line)
	for _, b := range bindings {
		if ap, err := netip.ParseAddrPort(b.Source); err == nil && ap.Addr() == from {
			return true
		}
	}
	return false
}

// wanted is one Contact of a REGISTER request.
type wanted struct {
	uri      string
	expires  time.Duration
	inst     string
	regID    int
	q        int
	features string
}

// register serves a REGISTER that was authenticated for line. kept says that the
// registrar itself knows the request when it comes again.
func (r *registrar) register(in *inquiry, line store.Line, h hop) (answer reply, kept bool) {
	s := r.s
	to, ok := parseURI(in.to.uri)
	if !ok || userOf(&to) != line.Username {
		return refusal(403, "Forbidden"), false // RFC 3261 §10.3 step 4: nobody registers for others
	}
	asked := defaultExpires
	if text := in.value("Expires"); text != "" {
		asked = seconds(text, defaultExpires)
	}
	contacts, star, ok := readContacts(in.list("Contact"), asked)
	switch {
	case !ok || star && (len(contacts) > 0 || asked != 0):
		return refusal(400, "Bad Contact"), false // RFC 3261 §10.3 step 6
	case len(contacts) > maxBindings:
		return refusal(403, "Too Many Contacts"), false
	}
	for i := range contacts {
		c := &contacts[i]
		if c.expires > 0 && c.expires < minExpires { // RFC 3261 §10.3 step 7
			return refusal(423, "Interval Too Brief", field{"Min-Expires", strconv.Itoa(int(minExpires / time.Second))}), false
		}
		c.expires = min(c.expires, maxExpires)
	}
	answer, kept, fresh := r.update(in, line, h, contacts, star)
	if answer.code == 200 {
		s.stats.registered.Add(1)
		s.texts.registered(line.UserID)
	}
	if fresh {
		s.events.registered(line, h.remote.String())
	}
	return answer, kept
}

// own keeps a text of a message beyond it: a part of it would hold the whole message.
func own(kept *string, text string) {
	if *kept != text {
		*kept = strings.Clone(text)
	}
}

// update changes all bindings of the request or none (RFC 3261 §10.3 step 7).
func (r *registrar) update(in *inquiry, line store.Line, h hop, contacts []wanted, star bool) (answer reply, kept, fresh bool) {
	now := time.Now()
	callID, seq := in.callID, in.seq
	r.mu.Lock()
	defer r.mu.Unlock()
	reg := r.lines[line.ID]
	var old []*store.Binding
	if reg != nil {
		old = slices.Clone(reg.bindings)
		reg.line = line
	}
	if star {
		for _, b := range old {
			contacts = append(contacts, wanted{uri: b.Contact, inst: b.Instance, regID: b.RegID})
		}
	}
	match := make([]*store.Binding, len(contacts))
	live := len(old)
	for i := range contacts {
		c := &contacts[i]
		for _, b := range old {
			if !c.means(b) {
				continue
			}
			match[i] = b
			if b.CallID == callID && b.CSeq >= seq { // RFC 3261 §10.3 step 7: out of order
				return refusal(500, "Out Of Order"), false, false
			}
		}
		switch {
		case match[i] == nil && c.expires > 0:
			live++
		case match[i] != nil && c.expires == 0:
			live--
		}
	}
	for ; live > maxBindings; live-- {
		// A phone that took a new port each time it started must not lock itself out.
		r.remove(reg, stalest(old, match, r.drop))
	}
	for i, c := range contacts {
		b := match[i]
		switch {
		case c.expires == 0:
			if b != nil {
				r.remove(r.lines[line.ID], b)
			}
			continue
		case b == nil:
			b = &store.Binding{
				ID: store.NewID(store.PrefixBinding), RegisteredAt: now, Contact: strings.Clone(c.uri), Path: in.list("Path"),
				Source: h.remote.String(), Local: h.local.String(), Transport: h.transport,
			}
			r.insert(line, b)
			fresh = true
		case b.Source != h.remote.String() || b.CallID != callID:
			fresh = true // the phone started anew
		}
		b.AccountID, b.LineID, b.DeviceID, b.UserID = line.AccountID, line.ID, line.DeviceID, line.UserID
		own(&b.Contact, c.uri)
		own(&b.Instance, c.inst)
		own(&b.Features, c.features)
		b.RegID, b.Q = c.regID, c.q
		if h != wayOf(b) {
			r.s.health.dropped(b)
			defer r.s.health.registered(b, true)
		} else {
			defer r.s.health.registered(b, false)
		}
		if source := h.remote.String(); b.Source != source {
			r.s.guard.know(b.Source, -1)
			r.s.guard.know(source, +1)
			b.Source = source
		}
		b.Local, b.Transport = unique.Make(h.local.String()).Value(), h.transport
		if agent := clip(in.value("User-Agent"), 200); b.UserAgent != agent {
			b.UserAgent = unique.Make(strings.Clone(agent)).Value() // an office has many of a kind
		}
		own(&b.CallID, callID)
		b.CSeq = seq
		b.Path = in.list("Path") // RFC 3327 §5.3
		b.ExpiresAt = now.Add(c.expires)
		delete(r.drop, b.ID)
		r.put[b.ID] = *b
	}
	if len(contacts) > 0 {
		signal(r.dirty)
		signal(r.wake)
		r.changed(line, len(old) > 0)
	}
	if reg = r.lines[line.ID]; reg == nil {
		return r.listing(in, nil, now), false, fresh
	}
	if in.print != 0 {
		reg.served = [2]served{{in.print, now}, reg.served[0]}
	}
	return r.listing(in, reg.bindings, now), in.print != 0, fresh
}

// stalest returns the binding that was refreshed longest ago, of those that are
// neither kept nor dropped already. The limits of a request leave at least one.
func stalest(all, kept []*store.Binding, dropped map[store.ID]struct{}) *store.Binding {
	var found *store.Binding
	for _, b := range all {
		if _, gone := dropped[b.ID]; gone || slices.Contains(kept, b) {
			continue
		}
		if found == nil || b.ExpiresAt.Before(found.ExpiresAt) {
			found = b
		}
	}
	return found
}

// changed publishes when a line came or went; mu is held, so that the news keep the order of events.
func (r *registrar) changed(line store.Line, before bool) {
	reg := r.lines[line.ID]
	if online := reg != nil; online == before {
		return
	}
	n := event.Registration{DeviceID: line.DeviceID, LineID: line.ID, UserID: line.UserID, Online: reg != nil}
	if reg != nil {
		n.UserAgent, n.Source = reg.bindings[0].UserAgent, reg.bindings[0].Source
	}
	r.s.log.Info("registration changed", "line", line.ID, "device", line.DeviceID, "online", n.Online, "source", n.Source)
	r.s.bus.Publish(event.News{Kind: event.RegistrationChanged, Account: line.AccountID, Users: []store.ID{line.UserID}, Data: n})
}

// listing is the answer that lists every binding of a line (RFC 3261 §10.3 step 8), as of now. mu is held.
func (r *registrar) listing(in *inquiry, bindings []*store.Binding, now time.Time) reply {
	fields := make([]field, 0, len(bindings)+4)
	for _, b := range bindings {
		var buf [256]byte
		c := append(append(append(buf[:0], '<'), b.Contact...), ">;expires="...)
		c = strconv.AppendInt(c, int64(max(0, b.ExpiresAt.Sub(now)).Round(time.Second)/time.Second), 10)
		if b.Instance != "" {
			c = append(append(c, ";+sip.instance="...), quote(b.Instance)...)
		}
		if b.RegID != 0 {
			c = strconv.AppendInt(append(c, ";reg-id="...), int64(b.RegID), 10)
		}
		if b.Q != 1000 {
			c = append(append(c, ";q="...), qText(b.Q)...)
		}
		c = append(c, b.Features...) // RFC 3840 §6
		fields = append(fields, field{"Contact", string(c)})
	}
	if in.supports("path") {
		for _, p := range in.list("Path") {
			fields = append(fields, field{"Path", p}) // RFC 3327 §5.3
		}
	}
	if in.supports("outbound") && asksForFlow(in.list("Contact")) {
		fields = append(fields, field{"Require", "outbound"}, field{"Flow-Timer", flowTimer}) // RFC 5626 §6
	}
	var date [len(dateForm)]byte
	fields = append(fields, field{"Date", string(now.UTC().AppendFormat(date[:0], dateForm))})
	return reply{code: 200, reason: "OK", fields: fields}
}

// asksForFlow reports whether a Contact names a flow: by reg-id, of an instance.
func asksForFlow(contacts []string) bool {
	all, _, ok := readContacts(contacts, defaultExpires)
	return ok && slices.ContainsFunc(all, func(c wanted) bool { return c.regID > 0 })
}

// flowTimer is how often, in seconds, a phone shall show that its flow lives (RFC 5626 §4.4).
const flowTimer = "120"

// dateForm is RFC 3261 §20.17.
const dateForm = "Mon, 02 Jan 2006 15:04:05 GMT"

// readContacts reads the Contact items of a REGISTER.
func readContacts(items []string, asked time.Duration) (all []wanted, star, ok bool) {
	for _, item := range items {
		if item == "*" {
			star = true
			continue
		}
		a, ok := parseAddress(item)
		if !ok {
			return nil, false, false
		}
		u, ok := parseURI(a.uri)
		if !ok || len(a.uri) > 1024 || u.Headers != nil {
			return nil, false, false
		}
		w := wanted{uri: a.uri, expires: asked, q: qOf(a.params), features: featuresOf(a.params)}
		if text, has := a.params.get("expires"); has {
			w.expires = seconds(text, defaultExpires)
		}
		if text, has := a.params.get("+sip.instance"); has {
			w.inst, _ = unquote(text)
			w.inst = clip(w.inst, 200)
		}
		if text, has := a.params.get("reg-id"); has && w.inst != "" {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil || n == 0 { // RFC 5626 §4.2
				return nil, false, false
			}
			w.regID = int(n)
		}
		if slices.ContainsFunc(all, func(o wanted) bool { return sameContact(o.uri, w.uri, o.inst, w.inst, o.regID, w.regID) }) {
			continue
		}
		all = append(all, w)
	}
	return all, star, true
}

// means reports whether a contact is that of a binding.
func (c *wanted) means(b *store.Binding) bool {
	return sameContact(c.uri, b.Contact, c.inst, b.Instance, c.regID, b.RegID)
}

func sameContact(uri1, uri2, inst1, inst2 string, reg1, reg2 int) bool {
	if uri1 == uri2 && inst1 == inst2 && reg1 == reg2 {
		return true
	}
	return contactKey(uri1, inst1, reg1) == contactKey(uri2, inst2, reg2)
}

// contactKey is equal for contacts that are the same binding: RFC 5626 §6 for
// flows, else RFC 3261 §19.1.4 without the parameters that phones change at will.
func contactKey(uri, instance string, regID int) string {
	if instance != "" && regID > 0 {
		return instance + "\x00" + strconv.Itoa(regID)
	}
	u, ok := parseURI(uri)
	if !ok {
		return uri
	}
	transport := ""
	for _, kv := range u.UriParams {
		if strings.EqualFold(kv.K, "transport") {
			transport = strings.ToLower(kv.V)
		}
	}
	return u.Scheme + "\x00" + unescape(u.User) + "\x00" + u.Password + "\x00" + strings.ToLower(u.Host) + "\x00" + strconv.Itoa(u.Port) + "\x00" + transport
}

// seconds reads a delta-seconds; what cannot be read counts as the default (RFC 3261 §10.2.1.1).
func seconds(s string, otherwise time.Duration) time.Duration {
	n, err := strconv.ParseUint(trim(s), 10, 32)
	if err != nil {
		return otherwise
	}
	return time.Duration(n) * time.Second
}

// forget drops the bindings that which says yes to, and publishes what that changed.
func (r *registrar) forget(why string, which func(reg *registered, b *store.Binding) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reg := range r.lines {
		if !slices.ContainsFunc(reg.bindings, func(b *store.Binding) bool { return which(reg, b) }) {
			continue
		}
		before := len(reg.bindings)
		for _, b := range slices.Clone(reg.bindings) {
			if which(reg, b) {
				r.s.log.Debug("binding dropped", "line", reg.line.ID, "source", b.Source, "why", why)
				r.remove(reg, b)
			}
		}
		if len(reg.bindings) != before {
			r.changed(reg.line, true)
			signal(r.dirty)
		}
	}
}

// flowGone drops what was registered over a connection that is closed (RFC 5626 §4.2).
func (r *registrar) flowGone(h hop) {
	local, source := h.local.String(), h.remote.String()
	r.forget("connection closed", func(_ *registered, b *store.Binding) bool {
		return b.Transport == h.transport && b.Source == source && b.Local == local
	})
}

// flowFailed drops a binding whose flow is said to have failed by who is between (RFC 5626 §7).
func (r *registrar) flowFailed(id store.ID) {
	r.forget("flow failed", func(_ *registered, b *store.Binding) bool { return b.ID == id })
}

// deviceChanged checks the lines of a device against the directory.
func (r *registrar) deviceChanged(device store.ID, deleted bool) {
	r.forget("device changed", func(reg *registered, b *store.Binding) bool {
		if b.DeviceID != device {
			return false
		}
		if deleted || reg.line.Username == "" {
			return true
		}
		now, ok := r.s.dir.Line(reg.line.Username)
		return !ok || now.ID != reg.line.ID || now.Password != reg.line.Password || now.UserID != reg.line.UserID
	})
}

// sweep drops bindings as they expire, until the server stops.
func (r *registrar) sweep() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		r.forget("expired", func(_ *registered, b *store.Binding) bool { return !b.ExpiresAt.After(now) })
		next := time.Hour
		r.mu.Lock()
		for _, reg := range r.lines {
			for _, b := range reg.bindings {
				next = min(next, b.ExpiresAt.Sub(now))
			}
		}
		r.mu.Unlock()
		timer.Reset(max(next, time.Second)) // at most one look a second, however many there are
		select {
		case <-timer.C:
		case <-r.wake:
			// A nearer expiry than the one waited for: look again, but not for each of a thousand.
			if !r.s.pause(time.Second) {
				return
			}
		case <-r.s.ctx.Done():
			return
		}
	}
}

// write carries changes to the database until the server stops.
func (r *registrar) write(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // a write that has begun is finished
	for {
		select {
		case <-r.dirty:
			if !r.s.pause(writeBehind) {
				continue // the server stops: the last flush below takes it
			}
			if err := r.flush(ctx); err != nil {
				r.s.log.Error("bindings not saved", "error", err)
				if r.s.pause(5 * time.Second) {
					signal(r.dirty)
				}
			}
		case <-r.s.ctx.Done():
			if err := r.flush(ctx); err != nil {
				r.s.log.Error("bindings not saved", "error", err)
			}
			return
		}
	}
}

// flush writes what changed; on an error that stays to be written.
func (r *registrar) flush(ctx context.Context) error {
	r.mu.Lock()
	put := make([]store.Binding, 0, len(r.put))
	for _, b := range r.put {
		put = append(put, b)
	}
	drop := make([]store.ID, 0, len(r.drop))
	for id := range r.drop {
		drop = append(drop, id)
	}
	clear(r.put)
	clear(r.drop)
	r.mu.Unlock()
	if len(put)+len(drop) == 0 {
		return nil
	}
	err := r.store.SaveBindings(ctx, put, drop)
	if err == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range put {
		_, newer := r.put[b.ID]
		_, gone := r.drop[b.ID]
		if !newer && !gone {
			r.put[b.ID] = b
		}
	}
	for _, id := range drop {
		if _, back := r.put[id]; !back {
			r.drop[id] = struct{}{}
		}
	}
	return fmt.Errorf("save bindings: %w", err)
}
