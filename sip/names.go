package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	nameTry    = time.Second            // one question to one server
	nameLimit  = 3 * time.Second        // one question to all of them
	maxNames   = 1024                   // answers kept
	maxTTL     = 24 * time.Hour         // of answers
	maxNegTTL  = 5 * time.Minute        // of "there is none"
	negTTL     = 30 * time.Second       // of "there is none" without a SOA
	failTTL    = 5 * time.Second        // until a failed question is asked again
	staleTTL   = 30 * time.Second       // the same while an old answer stands in (RFC 8767 §5)
	staleLife  = 3 * 24 * time.Hour     // old answers stand in for so long
	staleDelay = 400 * time.Millisecond // a new answer is waited for before an old one is used
	resolvConf = "/etc/resolv.conf"
	confCheck  = 10 * time.Second // how often that file is read at most
)

var errNames = errors.New("name servers do not answer")

// names asks name servers. Each question is asked once at a time, however many
// calls wait for it, and none waits longer than its context allows.
type names struct {
	s *Server

	mu     sync.Mutex
	cache  map[question]*found
	asking map[question]*search

	conf     []netip.AddrPort // of resolvConf
	confRead time.Time
}

type question struct {
	name string // with the dot at its end, in lower case
	kind uint16
}

// found is what is known of a question: no records and no error means that there are none.
type found struct {
	records []dns.RR
	err     error
	fresh   time.Time // until then nothing is asked
	expired time.Time // when the records had to be asked for again
}

// search is a question under way.
type search struct {
	done  chan struct{}
	found *found // set once done is closed
}

func newNames(s *Server) *names {
	return &names{s: s, cache: make(map[question]*found), asking: make(map[question]*search)}
}

// lookup returns the records of a name, none if it has none, or an error when that cannot be known.
func (n *names) lookup(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	q := question{dns.CanonicalName(name), kind}
	n.mu.Lock()
	old := n.cache[q]
	if old != nil && time.Now().Before(old.fresh) {
		n.mu.Unlock()
		return old.records, old.err
	}
	asked := n.asking[q]
	if asked == nil {
		asked = &search{done: make(chan struct{})}
		n.asking[q] = asked
		n.s.tasks.Go(func() { n.search(q, asked) })
	}
	n.mu.Unlock()
	var enough <-chan time.Time
	if old != nil && old.err == nil && time.Since(old.expired) < staleLife {
		t := time.NewTimer(staleDelay)
		defer t.Stop()
		enough = t.C
	}
	select {
	case <-asked.done:
		return asked.found.records, asked.found.err
	case <-enough: // RFC 8767: better an old answer than none
		return old.records, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("look up %s: %w", name, ctx.Err())
	case <-n.s.ctx.Done():
		return nil, errClosed
	}
}

// search asks a question and keeps the answer.
func (n *names) search(q question, asked *search) {
	ctx, stop := context.WithTimeout(n.s.ctx, nameLimit)
	defer stop()
	f, err := n.ask(ctx, q)
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		f = &found{err: fmt.Errorf("look up %s: %w", q.name, err), fresh: now.Add(failTTL)}
		if old := n.cache[q]; old != nil && old.err == nil && now.Sub(old.expired) < staleLife {
			f = &found{records: old.records, expired: old.expired, fresh: now.Add(staleTTL)}
		}
	}
	n.keep(q, f, now)
	delete(n.asking, q)
	asked.found = f
	close(asked.done)
}

// keep stores an answer and lets others go when there are too many.
func (n *names) keep(q question, f *found, now time.Time) {
	if len(n.cache) >= maxNames && n.cache[q] == nil {
		for k, old := range n.cache {
			if old.fresh.Before(now) {
				delete(n.cache, k)
			}
		}
		for k := range n.cache {
			if len(n.cache) < maxNames {
				break
			}
			delete(n.cache, k)
		}
	}
	n.cache[q] = f
}

// ask goes through the name servers, twice.
func (n *names) ask(ctx context.Context, q question) (*found, error) {
	servers := n.servers()
	err := errNames
	for range 2 {
		for _, server := range servers {
			if ctx.Err() != nil {
				return nil, err
			}
			answer, e := n.exchange(ctx, server, q)
			if e != nil {
				err = fmt.Errorf("%s: %w", server, e)
				continue
			}
			return understand(q, answer), nil
		}
	}
	return nil, err
}

// servers returns the name servers.
func (n *names) servers() []netip.AddrPort {
	if len(n.s.cfg.Nameservers) > 0 {
		return n.s.cfg.Nameservers
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.confRead.IsZero() && time.Since(n.confRead) < confCheck {
		return n.conf
	}
	n.confRead = time.Now()
	c, err := dns.ClientConfigFromFile(resolvConf)
	if err != nil {
		return n.conf
	}
	n.conf = nil
	for _, host := range c.Servers {
		addr, err1 := netip.ParseAddr(host)
		port, err2 := strconv.ParseUint(c.Port, 10, 16)
		if err1 == nil && err2 == nil && len(n.conf) < 3 {
			n.conf = append(n.conf, netip.AddrPortFrom(addr, uint16(port)))
		}
	}
	return n.conf
}

// exchange asks one server: by UDP from a port of its own, and by TCP what does not fit there.
func (n *names) exchange(ctx context.Context, server netip.AddrPort, q question) (*dns.Msg, error) {
	ctx, stop := context.WithTimeout(ctx, nameTry)
	defer stop()
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.kind)
	m.SetEdns0(1232, false)
	source, err := n.s.cfg.Network.Source(server.Addr())
	if err != nil {
		return nil, err
	}
	conn, err := n.s.cfg.Network.ListenPacket(ctx, netip.AddrPortFrom(source, 0))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	until, _ := ctx.Deadline()
	conn.SetDeadline(until)
	packed, err := m.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := conn.WriteTo(packed, net.UDPAddrFromAddrPort(server)); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return nil, err
		}
		answer := new(dns.Msg)
		if peer, ok := from.(*net.UDPAddr); !ok || unmapped(peer.AddrPort()) != unmapped(server) || answer.Unpack(buf[:size]) != nil || !answers(answer, m) {
			continue // somebody guesses
		}
		if answer.Truncated {
			return n.byStream(ctx, server, m)
		}
		return answer, usable(answer)
	}
}

func (n *names) byStream(ctx context.Context, server netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
	conn, err := n.s.cfg.Network.Dial(ctx, netip.Addr{}, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	until, _ := ctx.Deadline()
	conn.SetDeadline(until)
	framed := dns.Conn{Conn: conn}
	if err := framed.WriteMsg(m); err != nil {
		return nil, err
	}
	answer, err := framed.ReadMsg()
	if err != nil {
		return nil, err
	}
	if !answers(answer, m) {
		return nil, errNames
	}
	return answer, usable(answer)
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// answers reports whether a message is the answer to the question that was asked.
func answers(answer, asked *dns.Msg) bool {
	return answer.Response && answer.Id == asked.Id && len(answer.Question) == 1 &&
		dns.CanonicalName(answer.Question[0].Name) == asked.Question[0].Name && answer.Question[0].Qtype == asked.Question[0].Qtype
}

// usable tells answers from excuses.
func usable(answer *dns.Msg) error {
	if answer.Rcode == dns.RcodeSuccess || answer.Rcode == dns.RcodeNameError {
		return nil
	}
	return errors.New(dns.RcodeToString[answer.Rcode])
}

// understand takes the records of the name that was asked for, through its aliases.
func understand(q question, answer *dns.Msg) *found {
	now, ttl, name := time.Now(), maxTTL, q.name
	for range 8 {
		alias := ""
		for _, rr := range answer.Answer {
			h := rr.Header()
			if c, ok := rr.(*dns.CNAME); ok && dns.CanonicalName(h.Name) == name {
				alias, ttl = dns.CanonicalName(c.Target), min(ttl, time.Duration(h.Ttl)*time.Second)
			}
		}
		if alias == "" {
			break
		}
		name = alias
	}
	f := &found{}
	for _, rr := range answer.Answer {
		if h := rr.Header(); h.Rrtype == q.kind && dns.CanonicalName(h.Name) == name && len(f.records) < 64 {
			f.records, ttl = append(f.records, rr), min(ttl, time.Duration(h.Ttl)*time.Second)
		}
	}
	if len(f.records) == 0 {
		ttl = negTTL
		for _, rr := range answer.Ns {
			if soa, ok := rr.(*dns.SOA); ok { // RFC 2308 §5
				ttl = min(time.Duration(min(soa.Minttl, soa.Hdr.Ttl))*time.Second, maxNegTTL)
			}
		}
	}
	f.fresh = now.Add(max(ttl, time.Second))
	f.expired = f.fresh
	return f
}
