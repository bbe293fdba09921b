package sip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// target is one place to send a request to.
type target struct {
	transport string
	addr      netip.AddrPort
	// name is the domain that the certificate of a TLS peer must be for: the one that was looked up, not the one that SRV led to (RFC 5922 §4).
	name string
}

func (t target) String() string { return t.transport + " " + t.addr.String() }

// maxTargets bounds what one name may lead to.
const maxTargets = 16

var errNoTarget = errors.New("no address found")

// services are the NAPTR services that we can use (RFC 3263 §4.1) and their SRV names.
var services = []struct{ naptr, transport, srv string }{
	{"SIP+D2U", "udp", "_sip._udp."},
	{"SIP+D2T", "tcp", "_sip._tcp."},
	{"SIPS+D2T", "tls", "_sips._tcp."},
}

func defaultPort(transport string) uint16 {
	if transport == "tls" {
		return 5061
	}
	return 5060
}

// locate finds the places of a host in the order in which they are to be tried
// (RFC 3263 §4). Without a port and a transport both are looked up.
func (s *Server) locate(ctx context.Context, host string, port int, transport string) ([]target, error) {
	if addr, err := netip.ParseAddr(host); err == nil { // RFC 3263 §4.1, §4.2: a numeric host is used as it is
		transport = cmp.Or(transport, "udp")
		if port == 0 {
			port = int(defaultPort(transport))
		}
		return []target{{transport, netip.AddrPortFrom(addr.Unmap(), uint16(port)), host}}, nil
	}
	l := &location{s: s, ctx: ctx, domain: host}
	switch {
	case port != 0: // RFC 3263 §4.2: an explicit port means addresses only
		l.addresses(host, cmp.Or(transport, "udp"), uint16(port))
	case transport != "":
		if !l.service(transport, serviceOf(transport)+host) {
			l.addresses(host, transport, defaultPort(transport))
		}
	default:
		l.discover()
	}
	if len(l.all) == 0 {
		return nil, fmt.Errorf("look up %s: %w", host, cmp.Or(l.err, errNoTarget))
	}
	return l.all, nil
}

func serviceOf(transport string) string {
	for _, v := range services {
		if v.transport == transport {
			return v.srv
		}
	}
	return ""
}

// location is one search for the places of a domain.
type location struct {
	s      *Server
	ctx    context.Context
	domain string
	all    []target
	err    error // the first that came up
}

func (l *location) lookup(name string, kind uint16) []dns.RR {
	records, err := l.s.names.lookup(l.ctx, name, kind)
	l.err = cmp.Or(l.err, err)
	return records
}

// discover finds transport and port: by NAPTR, else by the SRV records there are, else UDP at the default port.
func (l *location) discover() {
	var pointers []*dns.NAPTR
	for _, rr := range l.lookup(l.domain, dns.TypeNAPTR) {
		p := rr.(*dns.NAPTR)
		if strings.EqualFold(p.Flags, "s") && p.Regexp == "" && transportOf(p.Service) != "" && l.s.speaks(transportOf(p.Service)) {
			pointers = append(pointers, p)
		}
	}
	slices.SortStableFunc(pointers, func(a, b *dns.NAPTR) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Preference, b.Preference))
	})
	for _, p := range pointers {
		if p.Order != pointers[0].Order { // RFC 3403 §4.1: of the first order that fits, all; of others none
			break
		}
		l.service(transportOf(p.Service), p.Replacement)
	}
	if len(pointers) > 0 && len(l.all) > 0 {
		return
	}
	for _, v := range services { // RFC 3263 §4.1: no NAPTR, so SRV for each transport we have
		if l.s.speaks(v.transport) && l.service(v.transport, v.srv+l.domain) && len(l.all) > 0 {
			return
		}
	}
	l.addresses(l.domain, "udp", defaultPort("udp"))
}

func transportOf(service string) string {
	for _, v := range services {
		if strings.EqualFold(v.naptr, service) {
			return v.transport
		}
	}
	return ""
}

// service adds the places of a SRV name; it reports whether there are such records.
func (l *location) service(transport, name string) bool {
	var records []*dns.SRV
	for _, rr := range l.lookup(name, dns.TypeSRV) {
		records = append(records, rr.(*dns.SRV))
	}
	for _, r := range inOrder(records) {
		if r.Target != "." { // RFC 2782: decidedly not available
			l.addresses(r.Target, transport, r.Port)
		}
	}
	return len(records) > 0
}

// inOrder sorts by priority, and draws lots by weight among equals (RFC 2782).
func inOrder(records []*dns.SRV) []*dns.SRV {
	slices.SortStableFunc(records, func(a, b *dns.SRV) int {
		// Those of weight 0 come first, so that they have a small chance beside others.
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(min(a.Weight, 1), min(b.Weight, 1)))
	})
	ordered := make([]*dns.SRV, 0, len(records))
	for len(records) > 0 {
		same, sum := 0, 0
		for same < len(records) && records[same].Priority == records[0].Priority {
			sum += int(records[same].Weight)
			same++
		}
		drawn, pick := rand.IntN(sum+1), 0
		for running := int(records[0].Weight); running < drawn; running += int(records[pick].Weight) {
			pick++
		}
		ordered = append(ordered, records[pick])
		records = slices.Delete(records, pick, pick+1)
	}
	return ordered
}

// addresses adds the addresses of a host, those of families that we have no address of left out.
func (l *location) addresses(host, transport string, port uint16) {
	add := func(a netip.Addr) {
		t := target{transport, netip.AddrPortFrom(a, port), l.domain}
		if len(l.all) < maxTargets && !slices.Contains(l.all, t) {
			l.all = append(l.all, t)
		}
	}
	if a, err := netip.ParseAddr(strings.TrimSuffix(host, ".")); err == nil {
		add(a.Unmap()) // not allowed, and seen
		return
	}
	if l.s.hasFamily(true) {
		for _, rr := range l.lookup(host, dns.TypeA) {
			if a, ok := netip.AddrFromSlice(rr.(*dns.A).A); ok {
				add(a.Unmap())
			}
		}
	}
	if l.s.hasFamily(false) {
		for _, rr := range l.lookup(host, dns.TypeAAAA) {
			if a, ok := netip.AddrFromSlice(rr.(*dns.AAAA).AAAA); ok && !a.Is4In6() {
				add(a)
			}
		}
	}
}
