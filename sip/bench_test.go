package sip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/event"
	"pbx/store"
)

// sink is a network whose sockets take what is written; requests are put in by hand.
type sink struct {
	in  chan []byte
	out chan []byte
}

func (n *sink) ListenPacket(context.Context, netip.AddrPort) (net.PacketConn, error) {
	return &sinkConn{sink: n, closed: make(chan struct{})}, nil
}

func (n *sink) Listen(context.Context, netip.AddrPort) (net.Listener, error) {
	return nil, net.ErrClosed
}

func (n *sink) Dial(context.Context, netip.Addr, netip.AddrPort) (net.Conn, error) {
	return nil, net.ErrClosed
}
func (n *sink) Addrs() ([]netip.Addr, error)          { return nil, nil }
func (n *sink) Source(netip.Addr) (netip.Addr, error) { return netip.Addr{}, nil }

type sinkConn struct {
	net.PacketConn
	*sink
	closed chan struct{}
}

func (c *sinkConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case data := <-c.in:
		return copy(b, data), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5060}, nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *sinkConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, _, err := c.ReadFrom(b)
	return n, netip.MustParseAddrPort("192.0.2.1:5060"), err
}

func (c *sinkConn) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) {
	return c.WriteTo(b, nil)
}

func (c *sinkConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	select {
	case c.out <- append([]byte(nil), b...):
	default:
	}
	return len(b), nil
}

func (c *sinkConn) Close() error {
	close(c.closed)
	return nil
}

func (c *sinkConn) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 5060} }

type keepNothing struct{}

func (keepNothing) LoadBindings(context.Context) ([]store.Binding, error) { return nil, nil }
func (keepNothing) SaveBindings(context.Context, []store.Binding, []store.ID) error {
	return nil
}

type noMail struct{}

func (noMail) LampCounts(store.ID, store.ID) store.MailboxCounts { return store.MailboxCounts{} }

// anyLine knows every user.
type anyLine struct{}

func (anyLine) Line(username string) (store.Line, bool) {
	return store.Line{ID: store.ID("lin_" + username), AccountID: "acc", DeviceID: store.ID("dev_" + username), UserID: store.ID("usr_" + username), Username: username, Password: "p"}, true
}

// answering takes every call and hangs up again.
type answering struct{}

type still struct{}

func (still) Offer() ([]byte, error)        { return []byte("v=0\r\n"), nil }
func (still) Answer([]byte) ([]byte, error) { return []byte("v=0\r\n"), nil }
func (still) Accept([]byte) error           { return nil }

func (answering) Incoming(l *Leg) {
	l.Attach(still{})
	l.s.tasks.Go(func() { l.Answer(l.s.ctx) })
}

func (answering) Asked(*Leg, Ask) {}

func benchServer(b *testing.B) (*Server, *sink) {
	b.Helper()
	n := &sink{in: make(chan []byte), out: make(chan []byte, 1024)}
	s, err := New(Config{UDP: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.9:5060")}, Network: n}, anyLine{}, keepNothing{}, noMail{}, event.NewBus())
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(b.Context(), answering{}); err != nil {
		b.Fatal(err)
	}
	return s, n
}

// authorization answers a challenge that the server itself has made.
func (s *Server) authorization(method, user, uri string) string {
	nonce := s.digest.nonce()
	ha1, ha2 := hashSHA256(user+":"+s.cfg.Realm+":p"), hashSHA256(method+":"+uri)
	response := hashSHA256(ha1 + ":" + nonce + ":00000001:c:auth:" + ha2)
	return fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c"`, user, s.cfg.Realm, nonce, uri, response)
}

func (s *Server) registerRequest(i, phones int) []byte {
	user := fmt.Sprintf("u%05d", i%phones)
	return fmt.Appendf(nil, "REGISTER sip:pbx SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKr%d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%s@pbx>;tag=1\r\nTo: <sip:%s@pbx>\r\nCall-ID: r%s\r\nCSeq: %d REGISTER\r\nContact: <sip:%s@192.0.2.1:5060>;expires=3600\r\nUser-Agent: Yealink SIP-T54W 96.86.0.100\r\nAuthorization: %s\r\nContent-Length: 0\r\n\r\n",
		i, user, user, user, i+1, user, s.authorization("REGISTER", user, "sip:pbx"))
}

// BenchmarkRegister is a whole REGISTER: front reader, parser, transaction, digest, binding, answer.
func BenchmarkRegister(b *testing.B) {
	s, n := benchServer(b)
	s.guard = unlimited()
	requests := make([][]byte, b.N)
	for i := range requests {
		requests[i] = s.registerRequest(i, 1000)
	}
	b.ReportAllocs()
	used := cpuTime()
	b.ResetTimer()
	for _, r := range requests {
		n.in <- r
		<-n.out
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "registers/s")
	b.ReportMetric((cpuTime()-used).Seconds()/float64(b.N)*10_000, "cpu-s/10k")
	s.Close(context.Background())
}

// cpuTime is what this process has computed.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// unlimited is a guard without limits, for a source that stands for thousands.
func unlimited() *guard {
	g := newGuard()
	g.unlimited = true
	return g
}

// BenchmarkInvite is an authenticated INVITE up to the 200, its ACK, and BYE.
func BenchmarkInvite(b *testing.B) {
	s, n := benchServer(b)
	s.guard = unlimited()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		request := func(method string, seq int, tag, extra string) []byte {
			return fmt.Appendf(nil, "%s sip:201@pbx SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKi%d%s%d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:u1@pbx>;tag=1\r\nTo: <sip:201@pbx>%s\r\nCall-ID: i%d\r\nCSeq: %d %s\r\nContact: <sip:u1@192.0.2.1:5060>\r\n%sContent-Length: 0\r\n\r\n",
				method, i, method, seq, tag, i, seq, method, extra)
		}
		n.in <- request("INVITE", 1, "", "Authorization: "+s.authorization("INVITE", "u1", "sip:201@pbx")+"\r\n")
		tag := ""
		for tag == "" {
			msg, err := sipmsg.ParseMessage(<-n.out)
			if err != nil {
				b.Fatal(err)
			}
			if res, ok := msg.(*sipmsg.Response); ok && res.StatusCode == 200 {
				tag = ";tag=" + tagOf(res.To().Params)
			}
		}
		n.in <- request("ACK", 1, tag, "Content-Type: application/sdp\r\n")
		n.in <- request("BYE", 2, tag, "")
		for {
			msg, err := sipmsg.ParseMessage(<-n.out)
			if err != nil {
				b.Fatal(err)
			}
			if res, ok := msg.(*sipmsg.Response); ok && res.CSeq().MethodName == "BYE" {
				break
			}
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	s.Close(context.Background())
}

// BenchmarkFront is the reading of one REGISTER before sipgo sees it.
func BenchmarkFront(b *testing.B) {
	s, _ := benchServer(b)
	data := s.registerRequest(1, 1000)
	from := netip.MustParseAddrPort("192.0.2.1:5060")
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if s.front.read(data, from, "udp").ask == nil {
			b.Fatal("refused")
		}
	}
	s.Close(context.Background())
}

// BenchmarkBindings reports the memory that 10,000 registered lines take.
func BenchmarkBindings(b *testing.B) {
	s, _ := benchServer(b)
	defer s.Close(context.Background())
	const lines = 10_000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		r := newRegistrar(s, keepNothing{})
		before := heap()
		for i := range lines {
			user := fmt.Sprintf("u%05d", i)
			line, _ := anyLine{}.Line(user)
			in := &inquiry{rawMessage: &rawMessage{fields: []field{{"User-Agent", "Yealink SIP-T54W 96.86.0.100"}}}, callID: "call-id-of-" + user + "@192.0.2.1", seq: 1}
			contact := "sip:" + user + "@192.0.2.1:5060"
			h := hop{"udp", netip.MustParseAddrPort("192.0.2.9:5060"), netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1024+i))}
			if answer, _, _ := r.update(in, line, h, []wanted{{uri: contact, expires: maxExpires}}, false); answer.code != 200 {
				b.Fatal(answer)
			}
		}
		clear(r.put)
		b.ReportMetric(float64(heap()-before)/lines, "B/line")
		runtime.KeepAlive(r)
	}
}
