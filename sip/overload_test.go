package sip_test

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// slowHouse lets calls wait.
type slowHouse struct {
	mu   sync.Mutex
	legs []*sip.Leg
}

func (h *slowHouse) Incoming(l *sip.Leg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.legs = append(h.legs, l)
}

func (h *slowHouse) Asked(*sip.Leg, sip.Ask) {}

func (h *slowHouse) take() []*sip.Leg {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.legs
	h.legs = nil
	return all
}

// three times the calls that can be set up come at once. The first are
// admitted, the rest hear 503 and when to come back; calls that are up and phones
// that register anew do not notice; five seconds later all is as before.
func TestCallsOverPeak(t *testing.T) {
	bubble(t, func(w *world) {
		if err := w.server.Close(w.ctx); err != nil {
			t.Fatal(err)
		}
		house := &slowHouse{}
		w.server = w.startWith(house)
		alice := w.registered("alice")
		first, err := alice.Call(w.ctx, "201")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		up := house.take()[0]
		up.Attach(sound())
		if err := up.Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		const peak = 500
		var lines []*siptest.Line
		for i := range 3 * peak {
			line, err := alice.Call(w.ctx, fmt.Sprint(1000+i))
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		time.Sleep(20 * time.Second) // one phone may send so many messages a second, and repeats the others
		waiting := house.take()
		shed := 0
		for _, l := range lines {
			if l.Code() == 503 {
				shed++
			}
		}
		if len(waiting) != peak || shed != 2*peak || w.server.Stats().Shed != 2*peak {
			t.Errorf("%d admitted, %d got 503, %d counted", len(waiting), shed, w.server.Stats().Shed)
		}
		if err := alice.Register(w.ctx, time.Hour); err != nil {
			t.Errorf("in overload nobody can register anew: %v", err)
		}
		if err := first.Bye(w.ctx); err != nil {
			t.Errorf("in overload no call can end: %v", err)
		}
		for _, l := range waiting {
			if err := l.Refuse(486, "Busy Here"); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(5 * time.Second)
		again, err := alice.Call(w.ctx, "202")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := house.take(); len(got) != 1 {
			t.Fatalf("afterwards a call got %d", again.Code())
		} else if err := got[0].Refuse(486, "Busy Here"); err != nil {
			t.Error(err)
		}
	})
}

// flood are requests and junk without credentials.
func flood(i int, as netip.AddrPort) []byte {
	method := []string{"OPTIONS", "REGISTER", "INVITE", "JUNK"}[i%4]
	if method == "JUNK" {
		return []byte(strings.Repeat("\x00\xff junk", 20))
	}
	return fmt.Appendf(nil, "%s sip:%d@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%d\r\nFrom: <sip:x@y>;tag=%d\r\nTo: <sip:%d@10.0.0.1>\r\nCall-ID: %d\r\nCSeq: 1 %s\r\nContact: <sip:x@%s>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
		method, i, as, i, i, i, i, method, as)
}

// 20,000 messages without credentials a second, of one address, of many
// spoofed ones, and in the name of the phones. The phones call as ever.
func TestFloodBesideACall(t *testing.T) {
	bans := &banBook{rows: make(map[netip.Addr]store.Ban)}
	bubble(t, func(w *world) {
		alice, _ := w.registered("alice"), w.registered("bob", autoRing)
		w.settled()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		x := w.stranger("203.0.113.5:5060")
		spoofed := netip.MustParseAddr("198.18.0.0")
		conns := []net.PacketConn{x.conn, w.stranger(netip.AddrPortFrom(aliceAddr, 9999).String()).conn, w.stranger(netip.AddrPortFrom(bobAddr, 9999).String()).conn}
		for range 64 {
			spoofed = spoofed.Next()
			conns = append(conns, w.stranger(netip.AddrPortFrom(spoofed, 5060).String()).conn)
		}
		defer func() {
			for _, c := range conns {
				c.Close()
			}
		}()
		to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(pbxAddr, 5060))
		storm := func(seconds int) { // in steps of 5 ms
			for step := range seconds * 200 {
				for i := range 100 {
					c := conns[(step*100+i)%len(conns)]
					if i%2 == 0 {
						c = x.conn // half of it from one
					}
					c.WriteTo(flood(step*100+i, c.LocalAddr().(*net.UDPAddr).AddrPort()), to)
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
		storm(1)
		done := make(chan struct{})
		go func() {
			defer close(done)
			storm(2)
		}()
		start := time.Now()
		line, l := w.call(alice, "201")
		if err := l.Ring(false); err != nil {
			t.Fatal(err)
		}
		within(t, time.Second, line.Ringing(), "ringing in the flood")
		if d := time.Since(start); d > time.Second {
			t.Errorf("post-dial delay %v", d)
		}
		if err := l.Answer(w.ctx); err != nil {
			t.Fatal(err)
		}
		if err := alice.Register(w.ctx, time.Hour); err != nil {
			t.Errorf("no phone can register: %v", err)
		}
		if err := line.Bye(w.ctx); err != nil {
			t.Fatal(err)
		}
		<-done
		if _, banned := w.bannedFor("203.0.113.5"); !banned {
			t.Error("the flooder is not banned")
		}
		for _, own := range []netip.Addr{aliceAddr, bobAddr} {
			if _, banned := w.bannedFor(own.String()); banned {
				t.Errorf("%s, where a phone lives, is banned", own)
			}
		}
		for _, c := range conns { // what they were answered is theirs
			c.Close()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
			t.Errorf("60,000 messages left %d MB", grown>>20)
		}
		if st := w.server.Stats(); st.Ignored < 20000 {
			t.Errorf("stats %+v", st)
		}
	}, book(bans))
}
