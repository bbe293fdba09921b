package sip

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pbx/event"
	"pbx/store"
)

// Bans keeps bans across restarts, and knows addresses that are good. Its methods may wait.
type Bans interface {
	LoadBans(ctx context.Context) ([]store.Ban, error)
	SaveBans(ctx context.Context, put []store.Ban, drop []netip.Addr) error
	// KnownAddresses returns addresses that phones of ours used lately: those
	// that fetched their configuration, and those that were registered.
	KnownAddresses(ctx context.Context) ([]netip.Addr, error)
}

// What leads to a ban, within suspectTime.
const (
	maxScans        = 3  // datagrams that name a known scanner; by a connection one is enough
	maxUnknown      = 8  // users asked for that do not exist
	maxProvedWrong  = 20 // wrong passwords from an address that answers challenges
	maxSpoofedWrong = 60 // wrong passwords that anybody may have sent in its name
	maxJunk         = 300
	suspectTime     = 10 * time.Minute
)

const (
	firstBan      = 10 * time.Minute // each further one is four times as long
	longestBan    = 7 * 24 * time.Hour
	banMemory     = 7 * 24 * time.Hour // how long a former ban counts
	knownTime     = 7 * 24 * time.Hour
	banRate       = 2 // bans a second that datagrams may cause, for their sources may be invented
	banBurst      = 100
	maxBans       = 10000
	maxSuspects   = 4096
	maxKnown      = 16384
	guardInterval = time.Minute
)

// The guesses at one user's password from one address. They are few, so that a
// neighbour's typing does not lock out an office, nor an office its neighbour.
const (
	guessRate  = 1.0 / 60
	guessBurst = 10
	// A user who is registered from that address is listened to all the same, now and then.
	insiderRate  = 1
	insiderBurst = 5
)

// suspect is what an address did that nobody knows.
type suspect struct {
	since    time.Time
	scans    int
	proved   int
	spoofed  int
	junk     int
	unknown  map[string]struct{} // users that do not exist
	nonces   []string            // sent there, the last few
	evidence []string
}

type guess struct {
	addr netip.Addr
	user string
}

// scanners are what tools that look for open doors call themselves, in lower case.
var scanners = []string{
	"friendly-scanner", "friendly-request", "sipvicious", "sipvicous", "sip-scan", "sipscan", "sundayddr", "vaxsipuseragent", "vaxipuseragent", "pplsip",
	"sipcli", "sipsak", "sivus", "smap ", "iwar", "siparmyknife", "sipptk", "mr.sip", "sip-ptk", "nmap", "masscan", "zgrab", "shodan", "censys", "stretchoid",
	"voipaudit", "enumiax", "svmap", "svwar", "svcrack", "exosip-scan", "gulp",
}

// listens reports whether a message is looked at: its source is neither banned
// nor over its limits, and it is not a scanner's.
func (s *Server) listens(data []byte, h hop) bool {
	known, ok := s.guard.enter(h)
	if !ok {
		return false
	}
	s.probe(data)
	if known {
		return true
	}
	p := probeOf(data)
	if p.request && p.user != "" {
		if _, exists := s.dir.Line(p.user); exists {
			p.user = ""
		}
	}
	if !p.scanner && p.user == "" {
		return true
	}
	s.guard.suspect(h, func(x *suspect) string {
		x.note(p.first, p.agent)
		if p.scanner {
			if x.scans++; x.scans >= maxScans || h.transport != "udp" {
				return "It calls itself " + clip(p.agent, 60) + ", which is a scanner."
			}
			return ""
		}
		if x.unknown == nil {
			x.unknown = make(map[string]struct{})
		}
		if len(x.unknown) < maxUnknown {
			x.unknown[p.user] = struct{}{}
		}
		if len(x.unknown) >= maxUnknown {
			return "It tried many users and numbers without being known."
		}
		return ""
	})
	return !p.scanner
}

// enter counts a message of a source; known says that the source is one of ours.
//
// What datagrams said may be false, source included: a ban for that keeps out datagrams only. Who speaks by a connection is
// where it comes from, so an offence there, or the word of an administrator, closes all doors.
func (g *guard) enter(h hop) (known, ok bool) {
	from := h.remote
	addr := network(from.Addr())
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if b := g.bans[addr]; b != nil && now.Before(b.Until) && (h.transport == "udp" || b.By != "" || g.sure[addr]) {
		b.Hits++
		g.ignored++
		return false, false
	}
	if g.unlimited {
		return true, true
	}
	if p := g.phones[from]; p != nil {
		return true, p.take(now, messageRate, messageBurst)
	}
	return g.isKnown(addr, now), bucketOf(g.messages, addr).take(now, messageRate, messageBurst)
}

// isKnown reports whether phones or carriers of ours live at an address; mu is held.
func (g *guard) isKnown(addr netip.Addr, now time.Time) bool {
	if g.homes[addr] > 0 {
		return true
	}
	if at, ok := g.known[addr]; ok && now.Sub(at) < knownTime {
		return true
	}
	return g.isFriend(addr)
}

// isFriend reports whether a carrier lives at an address, or, of IPv6, next to it; mu is held.
func (g *guard) isFriend(addr netip.Addr) bool {
	return slices.ContainsFunc(g.friends, func(p netip.Prefix) bool { return p.Contains(addr) || p.Addr().Is6() && addr == network(p.Addr()) })
}

// trust notes that an address proved to be of ours: credentials that came from it were right.
func (g *guard) trust(a netip.Addr) {
	a = network(a)
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.suspects, a)
	g.remember(a)
}

// remember notes when phones of ours were at an address; mu is held.
func (g *guard) remember(a netip.Addr) {
	if _, known := g.known[a]; !known && len(g.known) >= maxKnown {
		for k := range g.known {
			delete(g.known, k)
			break
		}
	}
	g.known[a] = time.Now()
}

// suspect lets judge add to what is held against an address; a reason bans it.
// Addresses of ours are never banned: in a datagram anybody can claim to be there,
// and behind one address not everybody is a thief.
func (g *guard) suspect(h hop, judge func(x *suspect) (reason string)) {
	addr := network(h.remote.Addr())
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.isKnown(addr, now) {
		return
	}
	x := g.suspects[addr]
	if x == nil || now.Sub(x.since) > suspectTime {
		if x == nil && len(g.suspects) >= maxSuspects { // spoofed sources: any of them may go
			for k := range g.suspects {
				delete(g.suspects, k)
				break
			}
		}
		x = &suspect{since: now}
		g.suspects[addr] = x
	}
	if reason := judge(x); reason != "" && (h.transport != "udp" || g.banning.take(now, banRate, banBurst)) {
		delete(g.suspects, addr)
		g.ban(addr, reason, "", 0, x.evidence)
		if h.transport != "udp" {
			g.sure[addr] = true
		} else {
			delete(g.sure, addr) // of a former ban
		}
	}
}

// note keeps the first line of a message as evidence.
func (x *suspect) note(first, agent string) {
	line := clip(first, 120)
	if agent != "" {
		line += " (User-Agent: " + clip(agent, 60) + ")"
	}
	if len(x.evidence) < store.MaxEvidence && !slices.Contains(x.evidence, line) {
		x.evidence = append(x.evidence, line)
	}
}

// ban silences an address; a duration of 0 grows with each time. mu is held.
func (g *guard) ban(addr netip.Addr, reason, by string, d time.Duration, evidence []string) store.Ban {
	now := time.Now().Round(0)
	b := &store.Ban{Addr: addr, Reason: reason, By: by, Since: now, Times: 1, Evidence: evidence}
	if former := g.bans[addr]; former != nil {
		b.Times = former.Times + 1
		if now.Before(former.Until) {
			b.Since, b.Hits = former.Since, former.Hits
		}
	}
	if d == 0 {
		d = firstBan
		for i := 1; i < b.Times && d < longestBan; i++ {
			d *= 4
		}
		d = min(d, longestBan)
	}
	b.Until = now.Add(d)
	if g.bans[addr] == nil && len(g.bans) >= maxBans {
		var first *store.Ban
		for _, o := range g.bans {
			if first == nil || o.Until.Before(first.Until) {
				first = o
			}
		}
		g.forget(first)
	}
	g.bans[addr] = b
	g.put[addr] = struct{}{}
	delete(g.drop, addr)
	g.banned++
	signal(g.dirty)
	g.told(event.BanAdded, b)
	return *b
}

// forget takes a ban away for good; mu is held.
func (g *guard) forget(b *store.Ban) {
	delete(g.bans, b.Addr)
	delete(g.sure, b.Addr)
	delete(g.put, b.Addr)
	g.drop[b.Addr] = struct{}{}
	signal(g.dirty)
}

// guessed counts wrong credentials.
func (s *Server) guessed(all []credentials, h hop, method string) {
	g := s.guard
	for i := range all {
		if all[i].realm == s.digest.realm {
			g.guessed(h, &all[i], method)
			return // one guess a request, however many it carries
		}
	}
}

func (g *guard) guessed(h hop, c *credentials, method string) {
	addr, username := network(h.remote.Addr()), clip(c.username, 64)
	g.mu.Lock()
	key := guess{addr, username}
	b := g.guesses[key]
	if b == nil {
		if len(g.guesses) >= maxBuckets {
			for k := range g.guesses {
				delete(g.guesses, k)
				break
			}
		}
		b = &bucket{}
		g.guesses[key] = b
	}
	b.take(time.Now(), guessRate, guessBurst)
	g.mu.Unlock()
	g.blame(h, c, method)
}

// blame holds wrong credentials, or ones that came too often, against an address.
func (g *guard) blame(h hop, c *credentials, method string) {
	g.suspect(h, func(x *suspect) string {
		x.note(method+" with a wrong password for "+strings.ToValidUTF8(clip(c.username, 40), "?"), "")
		// Who echoes a nonce that was sent to an address is there; in a datagram
		// with any other one anybody may have put that address.
		if h.transport != "udp" || slices.Contains(x.nonces, c.nonce) {
			x.proved++
		} else {
			x.spoofed++
		}
		if x.proved >= maxProvedWrong || x.spoofed >= maxSpoofedWrong {
			return "It sent wrong passwords, again and again."
		}
		return ""
	})
}

// challenged notes a challenge that is sent to an address under suspicion.
func (g *guard) challenged(h hop, challenge string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	x := g.suspects[network(h.remote.Addr())]
	if x == nil {
		return
	}
	_, nonce, _ := strings.Cut(challenge, `nonce="`)
	nonce, _, _ = strings.Cut(nonce, `"`)
	if len(x.nonces) >= 32 {
		x.nonces = x.nonces[1:]
	}
	x.nonces = append(x.nonces, nonce)
}

// mayGuess reports whether credentials are looked at.
func (s *Server) mayGuess(all []credentials, h hop) bool {
	from := h.remote.Addr()
	for i := range all {
		if all[i].realm != s.digest.realm {
			continue
		}
		line, known := s.dir.Line(all[i].username)
		insider := known && s.registrar.hasSource(line.ID, from)
		if !s.guard.mayGuess(h.remote, clip(all[i].username, 64), insider) {
			s.guard.blame(h, &all[i], "request")
			return false
		}
	}
	return true
}

// mayGuess reports whether credentials of a user from an address are looked at.
// An insider, a user who is registered from there, is heard now and then even
// while somebody else guesses.
func (g *guard) mayGuess(from netip.AddrPort, username string, insider bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := guess{network(from.Addr()), username}
	b := g.guesses[key]
	if b == nil || g.phones[from] != nil && insider {
		return true
	}
	now := time.Now()
	left := b.tokens + guessRate*now.Sub(b.at).Seconds()
	if left >= guessBurst {
		delete(g.guesses, key) // forgiven
		return true
	}
	if left >= 1 {
		return true
	}
	return insider && b.inside(now)
}

// junk counts messages of a source that were no SIP.
func (g *guard) junk(data []byte, h hop) {
	g.suspect(h, func(x *suspect) string {
		first, _, _ := bytes.Cut(data[:min(len(data), 120)], []byte("\n"))
		x.note(strings.ToValidUTF8(strings.TrimSpace(string(first)), "?"), "")
		if x.junk++; x.junk >= maxJunk {
			return "It sent hundreds of messages that are no SIP."
		}
		return ""
	})
}

// told publishes and logs a ban that was made or lifted; mu is held.
func (g *guard) told(kind string, b *store.Ban) {
	if g.tell != nil {
		g.tell(kind, *b)
	}
}

func (s *Server) tellBan(kind string, b store.Ban) {
	if s.guard.logs.take(time.Now(), logRate, logBurst) {
		s.log.Warn(strings.ReplaceAll(kind, ".", " "), "source", b.Addr, "reason", b.Reason, "by", b.By, "until", b.Until, "times", b.Times)
	}
	// Of every account: there is one door for all.
	s.bus.Publish(event.News{Kind: kind, Data: event.Ban{IP: b.Addr.String(), Reason: b.Reason, Since: b.Since, Until: b.Until}})
}

// ErrOwnAddress says that phones or carriers of ours live at an address.
var ErrOwnAddress = errors.New("phones or carriers of ours live there")

// Bans returns the bans that are valid now, the youngest first.
func (s *Server) Bans() []store.Ban {
	g := s.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	all := make([]store.Ban, 0, len(g.bans))
	for _, b := range g.bans {
		if now.Before(b.Until) {
			all = append(all, *b)
		}
	}
	slices.SortFunc(all, func(a, b store.Ban) int {
		if n := b.Since.Compare(a.Since); n != 0 {
			return n
		}
		return a.Addr.Compare(b.Addr)
	})
	return all
}

// Ban silences an address for some time; by says who wants that. It fails with
// ErrOwnAddress where phones or carriers of ours live.
func (s *Server) Ban(addr netip.Addr, d time.Duration, reason, by string) (store.Ban, error) {
	g := s.guard
	addr = network(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.homes[addr] > 0 || g.isFriend(addr) {
		return store.Ban{}, ErrOwnAddress
	}
	delete(g.known, addr)
	return g.ban(addr, reason, by, d, []string{}), nil
}

// Unban lifts the ban of an address and forgets that it was banned; it reports whether there was one.
func (s *Server) Unban(addr netip.Addr) bool {
	g := s.guard
	addr = network(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.bans[addr]
	if b == nil || !time.Now().Before(b.Until) {
		return false
	}
	g.forget(b)
	g.told(event.BanLifted, b)
	return true
}

// counts returns how many bans are valid, how many were made, and how many messages they kept out.
func (g *guard) counts() (valid int, made, ignored uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for _, b := range g.bans {
		if now.Before(b.Until) {
			valid++
		}
	}
	return valid, g.banned, g.ignored
}

// loadBans takes over the bans of a former life.
func (s *Server) loadBans(ctx context.Context) error {
	g := s.guard
	g.tell = s.tellBan
	s.findFriends(ctx)
	if s.cfg.Bans == nil {
		return nil
	}
	all, err := s.cfg.Bans.LoadBans(ctx)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range all[:min(len(all), maxBans)] {
		g.bans[all[i].Addr] = &all[i]
	}
	return nil
}

// findFriends learns the addresses of carriers and of phones that were here lately.
func (s *Server) findFriends(ctx context.Context) {
	var friends []netip.Prefix
	if s.cfg.Trunks != nil {
		for _, t := range s.cfg.Trunks.Trunks() {
			for _, source := range append(slices.Clone(t.Sources), t.Host) {
				if p, ok := store.ParseSource(source); ok {
					friends = append(friends, p)
				}
			}
		}
	}
	friends = append(friends, s.trunks.friends()...)
	var known []netip.Addr
	if s.cfg.Bans != nil {
		var err error
		if known, err = s.cfg.Bans.KnownAddresses(ctx); err != nil {
			s.log.Warn("addresses of phones not read", "error", err)
		}
	}
	g := s.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	g.friends = friends
	now := time.Now()
	for _, a := range known[:min(len(known), maxKnown/2)] {
		g.known[network(a)] = now
	}
	g.pardon(now)
}

// pardon lifts the bans that we made ourselves of addresses that turn out to be of ours: what was held against them
// anybody may have sent in their name. mu is held.
func (g *guard) pardon(now time.Time) {
	for addr, b := range g.bans {
		if b.By == "" && now.Before(b.Until) && g.isKnown(addr, now) {
			g.forget(b)
			g.told(event.BanLifted, b)
		}
	}
}

// keepGuard forgets what is old, and writes bans, until the server stops.
func (s *Server) keepGuard() {
	tick := time.NewTicker(guardInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.findFriends(s.ctx)
			s.guard.sweep()
		case <-s.guard.dirty:
			if !s.pause(writeBehind) {
				continue // the last flush below takes it
			}
		case <-s.ctx.Done():
			s.guard.mu.Lock()
			for addr := range s.guard.bans {
				s.guard.put[addr] = struct{}{} // with the hits until now
			}
			s.guard.mu.Unlock()
			s.flushBans()
			return
		}
		s.flushBans()
	}
}

// sweep forgets what is old.
func (g *guard) sweep() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for _, b := range g.bans {
		switch {
		case now.Sub(b.Until) > banMemory:
			g.forget(b)
		case now.After(b.Until) && now.Sub(b.Until) <= guardInterval:
			g.told(event.BanLifted, b)
		}
	}
	for a, x := range g.suspects {
		if now.Sub(x.since) > suspectTime {
			delete(g.suspects, a)
		}
	}
	for a, at := range g.known {
		if now.Sub(at) > knownTime {
			delete(g.known, a)
		}
	}
	for k, b := range g.guesses {
		if b.tokens+guessRate*now.Sub(b.at).Seconds() >= guessBurst {
			delete(g.guesses, k)
		}
	}
	for a, b := range g.messages {
		if now.Sub(b.at) > time.Minute {
			delete(g.messages, a)
		}
	}
}

// flushBans writes what changed; on an error that stays to be written.
func (s *Server) flushBans() {
	g := s.guard
	g.mu.Lock()
	var put []store.Ban
	for a := range g.put {
		if b := g.bans[a]; b != nil {
			put = append(put, *b)
		}
	}
	var drop []netip.Addr
	for a := range g.drop {
		drop = append(drop, a)
	}
	clear(g.put)
	clear(g.drop)
	g.mu.Unlock()
	if len(put)+len(drop) == 0 || s.cfg.Bans == nil {
		return
	}
	if err := s.cfg.Bans.SaveBans(context.WithoutCancel(s.ctx), put, drop); err != nil {
		s.log.Error("bans not saved", "error", err)
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, b := range put {
			if g.bans[b.Addr] != nil {
				g.put[b.Addr] = struct{}{}
			}
		}
		for _, a := range drop {
			if g.bans[a] == nil && len(g.drop) < maxBans {
				g.drop[a] = struct{}{}
			}
		}
	}
}

// probe is what a message of an unknown source says at first sight.
type probe struct {
	request bool
	scanner bool
	first   string // line
	agent   string
	user    string // asked for: that of To for REGISTER and SUBSCRIBE, else of the Request-URI
}

// probeOf looks at a message that nobody has parsed.
func probeOf(data []byte) probe {
	const sight = 4096
	text := string(data[:min(len(data), sight)])
	first, rest, _ := strings.Cut(text, "\n")
	p := probe{first: strings.ToValidUTF8(strings.TrimSpace(first), "?")}
	method, uri, _ := strings.Cut(p.first, " ")
	p.request = !strings.HasPrefix(method, "SIP/") && isToken(method)
	var suspicious string
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		name, value, found := strings.Cut(line, ":")
		if !found {
			if strings.TrimSpace(line) == "" {
				break
			}
			continue
		}
		switch strings.ToLower(trim(name)) {
		case "user-agent":
			p.agent = strings.ToValidUTF8(trim(value), "?")
			suspicious += p.agent + "\n"
		case "from", "f":
			suspicious += trim(value) + "\n"
		case "to", "t":
			if method == "REGISTER" || method == "SUBSCRIBE" {
				uri = value
			}
		}
	}
	suspicious = strings.ToLower(suspicious)
	for _, name := range scanners {
		if p.request && strings.Contains(suspicious, name) {
			p.scanner = true
			if p.agent == "" {
				p.agent = name
			}
		}
	}
	switch method {
	case "REGISTER", "INVITE", "OPTIONS", "SUBSCRIBE", "MESSAGE":
		if _, after, found := strings.Cut(uri, "sip:"); found {
			if user, _, found := strings.Cut(after, "@"); found && !strings.ContainsAny(user, " <>") {
				p.user = clip(unescape(user), 64)
			}
		}
	}
	return p
}
