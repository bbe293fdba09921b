//go:build phones

package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	junkRate  = 20000 // datagrams a second
	junkPorts = 64
	junkFor   = 4 * time.Second
	junkHeld  = 256 << 20 // what the program may hold under it
	junkLines = 400       // what it may write about it
)

// TestPhonesBesideJunk: strangers send about 20,000 datagrams a second, from one port and from many, without sense and without a
// password. The call that is up stays up, a phone can still call and is answered, the program stays as small as it
// was and writes next to nothing about it.
func TestPhonesBesideJunk(t *testing.T) {
	p := startPBX(t, t.TempDir())
	p.setUp()
	me := p.api("GET", "/me", nil)
	ada, bob := p.equip(person{id: me.at("id"), name: "Ada Lovelace", extension: "101"}, "udp"), p.hire("Bob Cho", "102", "tcp")
	a := phoneOf(t, p, ada, 71, adaTone, "PCMU", "udp", false)
	b := phoneOf(t, p, bob, 72, bobTone, "PCMU", "tcp", true)
	a.do("dial", "102")
	a.expect("CALL_ESTABLISHED", 0, 15*time.Second)

	before, logged := p.resident(), p.lines()
	ctx, stop := context.WithTimeout(t.Context(), junkFor)
	defer stop()
	var sent atomic.Int64
	var senders sync.WaitGroup
	for _, s := range []struct {
		from  string
		ports int
	}{{"127.0.0.81", 1}, {"127.0.0.82", junkPorts}} {
		senders.Go(func() { p.pester(ctx, s.from, s.ports, junkRate/2, &sent) })
	}
	// Another of Bob's calls, in the middle of it.
	seen := b.seen()
	b.do("dial", "*43")
	eventually(t, 30*time.Second, "the call beside the junk", func() bool {
		for _, c := range p.api("GET", "/accounts/default/calls", nil).items() {
			if c.at("state") == "echo" {
				return true
			}
		}
		return false
	})
	b.expect("CALL_ESTABLISHED", seen-1, 30*time.Second)
	senders.Wait()
	if n := sent.Load(); n < junkRate {
		t.Errorf("only %d datagrams were sent", n)
	}
	if calls := p.api("GET", "/accounts/default/calls", nil).items(); len(calls) != 2 {
		t.Errorf("%d calls are up, want 2: %v", len(calls), calls)
	}
	if after := p.resident(); after > before+junkHeld {
		t.Errorf("the program grew from %d to %d octets", before, after)
	}
	if n := p.lines() - logged; n > junkLines {
		t.Errorf("%d lines in the log about %d datagrams", n, sent.Load())
	}
	t.Logf("%d datagrams; %d to %d octets, %d lines", sent.Load(), before, p.resident(), p.lines()-logged)
	b.do("hangupall", "")
	a.do("hangupall", "")
}

// pester sends rate datagrams a second from that many ports until ctx ends: noise, halves of messages, and requests of all
// kinds without a password.
func (p *pbx) pester(ctx context.Context, from string, ports, rate int, sent *atomic.Int64) {
	var sockets []*net.UDPConn
	for range ports {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, net.UDPAddrFromAddrPort(p.udp))
		if err != nil {
			p.t.Error(err)
			return
		}
		defer c.Close()
		sockets = append(sockets, c)
	}
	noise := make([]byte, 600)
	rand.Read(noise)
	methods := []string{"REGISTER", "INVITE", "OPTIONS", "SUBSCRIBE", "MESSAGE", "NOTIFY", "BYE"}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for range rate / 100 {
			n++
			datagram := noise
			if n%3 > 0 {
				id := strconv.Itoa(n)
				datagram = fmt.Appendf(nil, "%s sip:%d@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s:5060;rport;branch=z9hG4bK%s\r\nFrom: <sip:%s@pbx>;tag=%s\r\nTo: <sip:101@pbx>\r\nCall-ID: %s-%s\r\nCSeq: 1 %[1]s\r\nContact: <sip:x@%[4]s>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
					methods[n%len(methods)], 100+n%60, p.udp, from, id, id, id, id, from)
			}
			if n%3 == 2 {
				datagram = datagram[:len(datagram)/2]
			}
			if _, err := sockets[n%len(sockets)].Write(datagram); err == nil {
				sent.Add(1)
			}
		}
	}
}

// resident is how much memory the program holds, in octets.
func (p *pbx) resident() int {
	p.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		p.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// lines is how many lines the program wrote in its log.
func (p *pbx) lines() int {
	p.t.Helper()
	data, err := os.ReadFile(p.stderr.Name())
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.Count(string(data), "\n")
}
