package sip_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"pbx/sip"
)

var dnsAddr = netip.MustParseAddrPort("10.0.0.53:53")

// nameserver is a DNS server on the in-memory network.
type nameserver struct {
	w    *world
	conn net.PacketConn
	wg   sync.WaitGroup

	mu      sync.Mutex
	records []dns.RR
	mode    string // "", "silent", "servfail", "truncate"
	asked   []string
}

// nameserver opens one that knows these records.
func (w *world) nameserver(records ...string) *nameserver {
	w.t.Helper()
	conn, err := w.net.Host(dnsAddr.Addr()).ListenPacket(w.ctx, dnsAddr)
	if err != nil {
		w.t.Fatal(err)
	}
	n := &nameserver{w: w, conn: conn}
	n.set(records...)
	n.wg.Go(n.serve)
	return n
}

func (n *nameserver) close() {
	n.conn.Close()
	n.wg.Wait()
}

func (n *nameserver) set(records ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records = nil
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			n.w.t.Fatal(err)
		}
		n.records = append(n.records, rr)
	}
}

func (n *nameserver) is(mode string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mode = mode
}

// questions returns what was asked since the last time.
func (n *nameserver) questions() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.asked
	n.asked = nil
	return all
}

func (n *nameserver) serve() {
	buf := make([]byte, 4096)
	for {
		size, from, err := n.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		m := new(dns.Msg)
		if m.Unpack(buf[:size]) != nil || len(m.Question) != 1 {
			continue
		}
		if answer := n.answer(m); answer != nil {
			packed, err := answer.Pack()
			if err != nil {
				n.w.t.Error(err)
				return
			}
			n.conn.WriteTo(packed, from)
		}
	}
}

func (n *nameserver) answer(m *dns.Msg) *dns.Msg {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := m.Question[0]
	n.asked = append(n.asked, dns.TypeToString[q.Qtype]+" "+q.Name)
	r := new(dns.Msg)
	r.SetReply(m)
	switch n.mode {
	case "silent":
		return nil
	case "servfail":
		r.Rcode = dns.RcodeServerFailure
		return r
	}
	for _, rr := range n.records {
		if h := rr.Header(); strings.EqualFold(h.Name, q.Name) && (h.Rrtype == q.Qtype || h.Rrtype == dns.TypeCNAME) {
			r.Answer = append(r.Answer, rr)
			if c, ok := rr.(*dns.CNAME); ok {
				for _, other := range n.records {
					if strings.EqualFold(other.Header().Name, c.Target) && other.Header().Rrtype == q.Qtype {
						r.Answer = append(r.Answer, other)
					}
				}
			}
		}
	}
	return r
}

// dnsWorld is a world whose server asks a name server with these records.
func dnsWorld(t *testing.T, records []string, f func(w *world, n *nameserver)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *sip.Config) { c.Nameservers = []netip.AddrPort{dnsAddr} })
		n := w.nameserver(records...)
		defer n.close()
		defer w.close()
		f(w, n)
	})
}

// TestLocate is RFC 3263 §4.
func TestLocate(t *testing.T) {
	zone := []string{
		`naptr.test. 300 IN NAPTR 50 50 "s" "SIPS+D2X" "" _sips._tcp.naptr.test.`, // a service nobody has
		`naptr.test. 300 IN NAPTR 90 50 "s" "SIP+D2T" "" _sip._tcp.naptr.test.`,
		`naptr.test. 300 IN NAPTR 100 50 "s" "SIP+D2U" "" _sip._udp.naptr.test.`,
		`_sip._tcp.naptr.test. 300 IN SRV 0 1 5070 a.naptr.test.`,
		`_sip._udp.naptr.test. 300 IN SRV 0 1 5080 a.naptr.test.`,
		`a.naptr.test. 300 IN A 192.0.2.1`,

		`_sip._udp.srv.test. 300 IN SRV 20 0 5062 c.srv.test.`,
		`_sip._udp.srv.test. 300 IN SRV 10 0 5061 a.srv.test.`,
		`_sip._tcp.srv.test. 300 IN SRV 0 0 5066 b.srv.test.`,
		`a.srv.test. 300 IN A 192.0.2.11`,
		`a.srv.test. 300 IN A 192.0.2.12`,
		`b.srv.test. 300 IN A 192.0.2.13`,
		`c.srv.test. 300 IN CNAME alias.test.`,
		`alias.test. 300 IN A 192.0.2.14`,
		`srv.test. 300 IN A 192.0.2.99`,

		`plain.test. 300 IN A 192.0.2.21`,
		`plain.test. 300 IN AAAA 2001:db8::21`,

		`_sip._udp.none.test. 300 IN SRV 0 0 5060 .`,
	}
	for _, tc := range []struct {
		name, host string
		port       int
		transport  string
		want       string
	}{
		{"a numeric host is used as it is", "192.0.2.7", 0, "", "udp 192.0.2.7:5060"},
		{"with its port", "192.0.2.7", 5099, "tcp", "tcp 192.0.2.7:5099"},
		{"TLS has a port of its own", "192.0.2.7", 0, "tls", "tls 192.0.2.7:5061"},
		{"NAPTR chooses the transport, the lowest order that we can", "naptr.test", 0, "", "tcp 192.0.2.1:5070"},
		{"a set transport needs no NAPTR", "naptr.test", 0, "udp", "udp 192.0.2.1:5080"},
		{"SRV by priority, each with all addresses, aliases followed", "srv.test", 0, "", "udp 192.0.2.11:5061, udp 192.0.2.12:5061, udp 192.0.2.14:5062"},
		{"SRV of the set transport", "srv.test", 0, "tcp", "tcp 192.0.2.13:5066"},
		{"an explicit port skips NAPTR and SRV", "srv.test", 5099, "", "udp 192.0.2.99:5099"},
		{"no SRV: addresses at the default port, of our family", "plain.test", 0, "", "udp 192.0.2.21:5060"},
		{"the same for a set transport", "plain.test", 0, "tls", "tls 192.0.2.21:5061"},
		{"a service that is decidedly not there", "none.test", 0, "udp", "look up none.test: no address found"},
		{"a name that does not exist", "nowhere.test", 0, "", "look up nowhere.test: no address found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dnsWorld(t, zone, func(w *world, n *nameserver) {
				got, err := w.server.Locate(w.ctx, tc.host, tc.port, tc.transport)
				text := strings.Join(got, ", ")
				if err != nil {
					text = err.Error()
				}
				if text != tc.want {
					t.Errorf("got %s\nwant %s\nasked %q", text, tc.want, n.questions())
				}
			})
		})
	}
}

// TestLocateWeights draws lots as RFC 2782 has it: of two places of equal priority the one with three times the weight is first three times as often.
func TestLocateWeights(t *testing.T) {
	dnsWorld(t, []string{
		`_sip._udp.w.test. 3600 IN SRV 1 10 5060 light.test.`,
		`_sip._udp.w.test. 3600 IN SRV 1 30 5060 heavy.test.`,
		`_sip._udp.w.test. 3600 IN SRV 2 99 5060 last.test.`,
		`light.test. 3600 IN A 192.0.2.1`, `heavy.test. 3600 IN A 192.0.2.2`, `last.test. 3600 IN A 192.0.2.3`,
	}, func(w *world, n *nameserver) {
		const times = 2000
		heavy := 0
		for range times {
			got, err := w.server.Locate(w.ctx, "w.test", 0, "udp")
			if err != nil || len(got) != 3 || got[2] != "udp 192.0.2.3:5060" {
				t.Fatalf("got %v, %v", got, err)
			}
			if got[0] == "udp 192.0.2.2:5060" {
				heavy++
			}
		}
		if heavy < times*70/100 || heavy > times*80/100 {
			t.Errorf("the heavier place came first %d of %d times, want about three quarters", heavy, times)
		}
		if asked := n.questions(); len(asked) != 4 {
			t.Errorf("asked %d questions for %d calls: %v", len(asked), times, asked)
		}
	})
}

// TestNamesAreKept: answers live as long as their TTL, also those that say no; when name servers fail, old answers go on.
func TestNamesAreKept(t *testing.T) {
	dnsWorld(t, []string{`kept.test. 60 IN A 192.0.2.1`}, func(w *world, n *nameserver) {
		locate := func() string {
			start := time.Now()
			got, err := w.server.Locate(w.ctx, "kept.test", 5060, "udp")
			if err != nil {
				return fmt.Sprint(time.Since(start).Round(10*time.Millisecond), " ", err)
			}
			return fmt.Sprint(time.Since(start).Round(10*time.Millisecond), " ", got)
		}
		expect := func(what, want string, asked int) {
			t.Helper()
			if got := locate(); got != want {
				t.Errorf("%s: got %s, want %s", what, got, want)
			}
			if all := n.questions(); len(all) != asked {
				t.Errorf("%s: asked %q, want %d questions", what, all, asked)
			}
		}
		expect("first", "0s [udp 192.0.2.1:5060]", 1)
		time.Sleep(59 * time.Second)
		expect("within its time", "0s [udp 192.0.2.1:5060]", 0)
		n.set(`kept.test. 60 IN A 192.0.2.2`)
		time.Sleep(2 * time.Second)
		expect("after its time", "0s [udp 192.0.2.2:5060]", 1)

		n.is("silent")
		time.Sleep(61 * time.Second)
		expect("name servers dead: the old answer after a short wait", "400ms [udp 192.0.2.2:5060]", 1)
		time.Sleep(3 * time.Second) // the search has failed
		n.questions()
		expect("and then at once", "0s [udp 192.0.2.2:5060]", 0)
		n.is("")
		time.Sleep(31 * time.Second)
		expect("they are back", "0s [udp 192.0.2.2:5060]", 1)

		n.set()
		time.Sleep(61 * time.Second)
		expect("the name is gone", "0s look up kept.test: no address found", 1)
		expect("and that is kept too", "0s look up kept.test: no address found", 0)
	})
}

// TestNamesFail: a name that cannot be looked up costs its own call three seconds once, and none to others.
func TestNamesFail(t *testing.T) {
	dnsWorld(t, nil, func(w *world, n *nameserver) {
		n.is("silent")
		start := time.Now()
		errs := make(chan error, 20)
		for range cap(errs) {
			go func() {
				_, err := w.server.Locate(w.ctx, "dead.test", 5060, "udp")
				errs <- err
			}()
		}
		for range cap(errs) {
			if err := <-errs; err == nil {
				t.Error("found without a name server")
			}
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("took %v, want two tries of a second", d)
		}
		if asked := n.questions(); len(asked) != 2 {
			t.Errorf("20 calls asked %d times: %v", len(asked), asked)
		}
		start = time.Now()
		if _, err := w.server.Locate(w.ctx, "dead.test", 5060, "udp"); err == nil || time.Since(start) != 0 {
			t.Errorf("a failure is remembered for a while: %v after %v", err, time.Since(start))
		}
		n.is("servfail")
		time.Sleep(6 * time.Second)
		if _, err := w.server.Locate(w.ctx, "dead.test", 5060, "udp"); err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
			t.Errorf("got %v", err)
		}
	})
}

// TestNamesAreBounded: names that come by the thousand push each other out.
func TestNamesAreBounded(t *testing.T) {
	dnsWorld(t, nil, func(w *world, n *nameserver) {
		for i := range 1500 {
			w.server.Locate(w.ctx, fmt.Sprintf("h%d.test", i), 5060, "udp")
		}
		if got := w.server.Names(); got > 1024 {
			t.Errorf("%d names are kept", got)
		}
	})
}

// TestNamesNotFooled: answers of others, to other questions or from other places are not heard.
func TestNamesNotFooled(t *testing.T) {
	dnsWorld(t, []string{`true.test. 60 IN A 192.0.2.1`, `other.test. 60 IN A 192.0.2.66`}, func(w *world, n *nameserver) {
		n.is("silent")
		liar, err := w.net.Host(carolAddr).ListenPacket(w.ctx, netip.AddrPortFrom(carolAddr, 53))
		if err != nil {
			t.Fatal(err)
		}
		defer liar.Close()
		go func() {
			for port := uint16(32768); port < 32800; port++ {
				m := new(dns.Msg)
				m.SetQuestion("true.test.", dns.TypeA)
				m.Response = true
				rr, _ := dns.NewRR("true.test. 60 IN A 192.0.2.66")
				m.Answer = []dns.RR{rr}
				packed, _ := m.Pack()
				liar.WriteTo(packed, net.UDPAddrFromAddrPort(netip.AddrPortFrom(pbxAddr, port)))
			}
		}()
		if got, err := w.server.Locate(w.ctx, "true.test", 5060, "udp"); err == nil || slices.Contains(got, "udp 192.0.2.66:5060") {
			t.Errorf("a stranger's answer was taken: %v, %v", got, err)
		}
		synctest.Wait()
	})
}
