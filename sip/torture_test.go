package sip_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// peer is a bare socket that speaks raw messages over UDP or TCP.
type peer struct {
	w       *world
	packets net.PacketConn
	stream  net.Conn
	local   netip.AddrPort
}

var peerAddr = netip.MustParseAddr("10.0.0.99")

func (w *world) peer(port uint16) *peer {
	w.t.Helper()
	c, err := w.net.Host(peerAddr).ListenPacket(w.ctx, netip.AddrPortFrom(peerAddr, port))
	if err != nil {
		w.t.Fatal(err)
	}
	return &peer{w: w, packets: c, local: c.LocalAddr().(*net.UDPAddr).AddrPort()}
}

func (w *world) streamPeer() *peer {
	w.t.Helper()
	c, err := w.net.Host(peerAddr).Dial(w.ctx, peerAddr, netip.AddrPortFrom(pbxAddr, 5060))
	if err != nil {
		w.t.Fatal(err)
	}
	return &peer{w: w, stream: c, local: c.LocalAddr().(*net.TCPAddr).AddrPort()}
}

func (p *peer) close() {
	if p.packets != nil {
		p.packets.Close()
	} else {
		p.stream.Close()
	}
}

func (p *peer) send(data []byte) {
	p.w.t.Helper()
	var err error
	if p.packets != nil {
		_, err = p.packets.WriteTo(data, &net.UDPAddr{IP: pbxAddr.AsSlice(), Port: 5060})
	} else {
		_, err = p.stream.Write(data)
	}
	if err != nil {
		p.w.t.Fatal(err)
	}
}

// read returns what comes within d, one datagram or read; nil if nothing does.
// The house asks registered phones now and then whether they are there: that is
// no part of what tests read.
func (p *peer) read(d time.Duration) []byte {
	end := time.Now().Add(d)
	for {
		data := p.readAny(time.Until(end))
		if data == nil || !bytes.HasPrefix(data, []byte("OPTIONS ")) || !bytes.Contains(data, []byte("\r\nCall-ID: probe-")) {
			return data
		}
	}
}

func (p *peer) readAny(d time.Duration) []byte {
	buf := make([]byte, 65536)
	var n int
	var err error
	if p.packets != nil {
		p.packets.SetReadDeadline(time.Now().Add(d))
		n, _, err = p.packets.ReadFrom(buf)
	} else {
		p.stream.SetReadDeadline(time.Now().Add(d))
		n, err = p.stream.Read(buf)
	}
	if err != nil {
		return nil
	}
	return buf[:n]
}

// status returns the final status that comes within d, 0 if none does.
func (p *peer) status(d time.Duration) (int, []byte) {
	end := time.Now().Add(d)
	for {
		data := p.read(time.Until(end))
		if data == nil {
			return 0, nil
		}
		if code := statusOf(data); code >= 200 {
			return code, data
		}
	}
}

func statusOf(data []byte) int {
	f := strings.Fields(string(data))
	if len(f) < 2 || f[0] != "SIP/2.0" {
		return -1
	}
	code, _ := strconv.Atoi(f[1])
	return code
}

// options is a well-formed request that anybody may send.
func (p *peer) options(branch string) []byte {
	transport := "UDP"
	if p.stream != nil {
		transport = "TCP"
	}
	return fmt.Appendf(nil, "OPTIONS sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/%s %s;rport;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:pbx.test>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
		transport, p.local, branch, branch)
}

type expectation struct {
	file, transport string
	codes           []int
	accept, none    bool
}

var numbers = regexp.MustCompile(`\b[1-6][0-9][0-9]\b`)

func expectations(t *testing.T, dir string) []expectation {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "expect.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var all []expectation
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		f := strings.Split(line, "\t")
		if i == 0 {
			continue
		}
		e := expectation{file: f[0], transport: "udp"}
		if strings.HasPrefix(f[2], "tcp") {
			e.transport = "tcp"
		}
		e.accept = strings.Contains(f[3], "accept")
		e.none = strings.Contains(f[3], "none")
		for _, n := range numbers.FindAllString(f[3], -1) {
			code, _ := strconv.Atoi(n)
			e.codes = append(e.codes, code)
		}
		all = append(all, e)
	}
	return all
}

func (e expectation) right(code int) bool {
	switch {
	case code == 0:
		return e.none
	case e.accept && code != 400 && code < 500:
		return true
	case code == 401 && !slices.ContainsFunc(e.codes, func(c int) bool {
		return c == 400 || c == 416 || c == 420 || c == 501 || c == 505
	}):
		return len(e.codes) > 0
	}
	return slices.Contains(e.codes, code)
}

// TestTorture sends the messages of RFC 4475; the house must answer each as it
// should, and then go on as if nothing had happened.
func TestTorture(t *testing.T) {
	dir := filepath.Join("..", "testdata", "torture", "rfc4475")
	all := expectations(t, dir)
	if len(all) != 22 {
		t.Fatalf("%d expectations, want 22", len(all))
	}
	for _, e := range all {
		t.Run(e.file, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, e.file))
			if err != nil {
				t.Fatal(err)
			}
			bubble(t, func(w *world) {
				var p *peer
				switch {
				case e.transport == "tcp":
					p = w.streamPeer()
				case e.file == "quotbal.dat":
					p = w.peer(5050)
				default:
					p = w.peer(5060)
				}
				p.send(data)
				code, answer := p.status(5 * time.Second)
				if !e.right(code) {
					t.Errorf("answered %d, want %+v\n%s", code, e, answer)
				}
				if e.file == "bext01.dat" && !bytes.Contains(answer, []byte("Unsupported: ")) {
					t.Errorf("420 without Unsupported:\n%s", answer)
				}
				if e.file == "dblreq.dat" && !bytes.Contains(answer, []byte(" REGISTER\r\n")) {
					t.Errorf("answer to another request:\n%s", answer)
				}
				if extra, _ := p.status(30 * time.Second); extra != 0 && e.file != "inv2543.dat" {
					t.Errorf("one more final answer: %d", extra)
				}
				p.close()
				q := w.peer(5070)
				q.send(q.options("after"))
				if code, _ := q.status(100 * time.Millisecond); code != 200 {
					t.Errorf("OPTIONS afterwards answered %d, want 200", code)
				}
				q.close()
			})
		})
	}
}

// TestClippedStream waits for the rest of a message and then gives it up.
func TestClippedStream(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "testdata", "torture", "rfc4475", "clerr.dat"))
	if err != nil {
		t.Fatal(err)
	}
	bubble(t, func(w *world) {
		p := w.streamPeer()
		start := time.Now()
		p.send(data)
		if got := p.read(time.Minute); got != nil {
			t.Errorf("answered %q", got)
		}
		if d := time.Since(start); d < 5*time.Second || d > 15*time.Second {
			t.Errorf("closed after %v, want about 10s", d)
		}
		p.close()
	})
}
