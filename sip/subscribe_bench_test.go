package sip

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// BenchmarkSubscriptions reports the memory that 20,000 lamps of 1,000 phones take, once each was told and has answered.
func BenchmarkSubscriptions(b *testing.B) {
	const phones, each = 1000, 20
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		s, n := benchServer(b)
		s.guard = unlimited()
		before := heap()
		for i := range phones * each {
			user, uri := fmt.Sprintf("u%05d", i%phones), fmt.Sprintf("sip:u%05d@pbx", i%997)
			n.in <- fmt.Appendf(nil, "SUBSCRIBE %s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKs%d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%s@pbx>;tag=%d\r\nTo: <%s>\r\nCall-ID: %s-%d@192.0.2.1\r\nCSeq: 1 SUBSCRIBE\r\nContact: <sip:%s@192.0.2.1:5060>\r\nEvent: dialog\r\nAccept: application/dialog-info+xml\r\nExpires: 3600\r\nUser-Agent: Yealink SIP-T54W 96.86.0.100\r\nAuthorization: %s\r\nContent-Length: 0\r\n\r\n",
				uri, i, user, i, uri, user, i, user, s.authorization("SUBSCRIBE", user, uri))
			for told := false; !told; {
				text := string(<-n.out)
				if !strings.HasPrefix(text, "NOTIFY ") {
					continue
				}
				told = true
				head, _, _ := strings.Cut(text, "\r\n\r\n")
				answer := "SIP/2.0 200 OK\r\n"
				for line := range strings.Lines(head) {
					switch name, _, _ := strings.Cut(line, ":"); name {
					case "Via", "From", "To", "Call-ID", "CSeq":
						answer += strings.TrimRight(line, "\r\n") + "\r\n"
					}
				}
				n.in <- []byte(answer + "Content-Length: 0\r\n\r\n")
			}
		}
		s.events.mu.Lock()
		for len(s.events.flights) > 0 {
			s.events.mu.Unlock()
			runtime.Gosched()
			s.events.mu.Lock()
		}
		if got := len(s.events.subs); got != phones*each {
			b.Fatalf("%d subscriptions, want %d", got, phones*each)
		}
		s.events.mu.Unlock()
		b.ReportMetric(float64(heap()-before)/(phones*each), "B/lamp")
		s.Close(context.Background())
	}
}
