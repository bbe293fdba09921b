package sip_test

import (
	"bytes"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"pbx/store"
)

// A REGISTER whose answer was lost comes again with the same octets: it gets the
// same answer, and neither the nonce nor a binding notices (RFC 3261 §17.2.2).
func TestRepeatedRegister(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.peer(5060)
		defer p.close()
		for _, r := range []registration{
			{callID: "1", cseq: 1, contacts: []string{"<sip:u-alice@10.0.0.99:5060>"}},
			{callID: "1", cseq: 2, contacts: []string{"<sip:u-alice@10.0.0.99:5060>;expires=10"}}, // 423
			{callID: "1", cseq: 3, contacts: []string{"*"}, headers: []string{"Expires: 0"}},
		} {
			var last []byte
			q := &peer{w: w, packets: &noting{PacketConn: p.packets, last: &last}, local: p.local}
			code, first := r.ask(q)
			before := fmt.Sprint(w.server.BindingsOfUser("usr_alice"))
			for _, wait := range []time.Duration{500 * time.Millisecond, time.Second, 25 * time.Second} {
				time.Sleep(wait)
				p.send(last)
				if again, answer := p.status(time.Second); again != code || string(answer) != first {
					t.Errorf("CSeq %d: %v later answered\n%s\nfirst it was\n%s", r.cseq, wait, answer, first)
				}
			}
			if after := fmt.Sprint(w.server.BindingsOfUser("usr_alice")); after != before {
				t.Errorf("CSeq %d: bindings were %s and are %s", r.cseq, before, after)
			}
			// From another place the same octets are a replay.
			o := w.peer(5099)
			o.send(last)
			if code, answer := o.status(time.Second); code != 0 && (code != 401 || !bytes.Contains(answer, []byte("stale=true"))) {
				t.Errorf("CSeq %d: a replay was answered\n%s", r.cseq, answer)
			}
			o.close()
		}
	})
}

// TestAmplification sends short requests of every method from an address that
// could be false: what comes back is one answer, at most twice as long, or none.
func TestAmplification(t *testing.T) {
	bubble(t, func(w *world) {
		answered := 0
		for i, method := range []string{"REGISTER", "OPTIONS", "INVITE", "ACK", "BYE", "CANCEL", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "REFER", "INFO", "UPDATE", "PRACK", "FOO", "invite"} {
			for j, shape := range []string{
				"%s sip:a SIP/2.0\r\nv:SIP/2.0/UDP b;branch=z9hG4bK%d\r\nf:sip:a@b;tag=1\r\nt:sip:a\r\ni:1\r\nCSeq:1 %[1]s\r\n\r\n",
				"%s sip:a SIP/2.0\r\nv:SIP/2.0/UDP b;rport;branch=z9hG4bK%d\r\nf:sip:a@b;tag=1\r\nt:sip:a\r\ni:1\r\nCSeq:1 %[1]s\r\nm:sip:a@b\r\no:dialog\r\n\r\n",
				"%s sip:u-alice@pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.99:5070;rport;branch=z9hG4bK%d\r\nFrom: <sip:u-alice@pbx.test>;tag=1\r\nTo: <sip:u-alice@pbx.test>\r\nCall-ID: 1@10.0.0.99\r\nCSeq: 1 %[1]s\r\nContact: <sip:u-alice@10.0.0.99>\r\nEvent: message-summary\r\nMax-Forwards: 70\r\nUser-Agent: x\r\nContent-Length: 0\r\n\r\n",
				"%s sip:a SIP/2.0\r\nv:SIP/2.0/UDP b;branch=z9hG4bK%d\r\nf:sip:a@b;tag=1\r\nt:sip:a\r\ni:1\r\nCSeq:1 %[1]s\r\nRequire:x\r\n\r\n",
				"%s sip:a SIP/2.0\r\nv:SIP/2.0/UDP b;branch=z9hG4bK%d\r\nf:sip:a@b;tag=1\r\nt:sip:a;tag=2\r\ni:1\r\nCSeq:1 %[1]s\r\no:dialog\r\n\r\n",
				"%s sip:a SIP/3.0\r\nv:SIP/2.0/UDP b\r\n\r\n%[2]d",
				"%s tel:1 SIP/2.0\r\nv:SIP/2.0/UDP b;branch=z9hG4bK%d\r\nf:sip:a@b;tag=1\r\nt:sip:a\r\ni:1\r\nCSeq:1 %[1]s\r\n\r\n",
			} {
				p := w.peer(uint16(6000 + 100*i + j))
				request := fmt.Appendf(nil, shape, method, i*100+j)
				p.send(request)
				octets, answers := 0, 0
				for data := p.read(40 * time.Second); data != nil; data = p.read(40 * time.Second) {
					octets, answers = octets+len(data), answers+1
				}
				p.close()
				if octets > 2*len(request) || answers > 1 {
					t.Errorf("%d octets were answered with %d in %d answers:\n%s", len(request), octets, answers, request)
				}
				answered += answers
			}
		}
		if answered < 40 {
			t.Errorf("only %d requests were answered at all", answered)
		}
	})
}

var algorithmsOf = regexp.MustCompile(`algorithm=([A-Z0-9-]+)`)

// A device is offered what it is set to; MD5 is refused where it is forbidden (P-REG-02).
func TestDigestOfDevice(t *testing.T) {
	bubble(t, func(w *world) {
		p := w.peer(5060)
		defer p.close()
		for i, c := range []struct {
			digest, offered string
			md5, sha        int
		}{
			{"", "SHA-256 MD5", 200, 200}, {store.DigestAny, "SHA-256 MD5", 200, 200}, {store.DigestMD5, "MD5", 200, 200}, {store.DigestSHA256, "SHA-256", 401, 200},
		} {
			l := line("alice")
			l.Digest = c.digest
			w.dir.set(l)
			p.send(fmt.Appendf(nil, "REGISTER sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKd%d\r\nMax-Forwards: 70\r\nFrom: <sip:u-alice@pbx.test>;tag=f\r\nTo: <sip:u-alice@pbx.test>\r\nCall-ID: d%[2]d@10.0.0.99\r\nCSeq: 1 REGISTER\r\nContact: <sip:u-alice@10.0.0.99:5060>\r\nUser-Agent: phone of many words/1.0\r\nContent-Length: 0\r\n\r\n", p.local, i))
			_, answer := p.status(time.Second)
			var offered []string
			for _, m := range algorithmsOf.FindAllSubmatch(answer, -1) {
				offered = append(offered, string(m[1]))
			}
			if got := strings.Join(offered, " "); got != c.offered {
				t.Errorf("%q: offered %q, want %q", c.digest, got, c.offered)
			}
			contact := []string{"<sip:u-alice@10.0.0.99:5060>"}
			for j, md5 := range []bool{true, false} {
				code, answer := registration{callID: fmt.Sprintf("c%d.%d", i, j), cseq: 1, contacts: contact, md5: md5}.ask(p)
				if want := map[bool]int{true: c.md5, false: c.sha}[md5]; code != want {
					t.Errorf("%q: MD5 %v answered %d, want %d\n%s", c.digest, md5, code, want, answer)
				}
			}
		}
		if n := w.server.Stats().AuthFail; n != 0 {
			t.Errorf("%d failures counted, a right password by a forbidden algorithm is none", n)
		}
	})
}

// noting remembers what was written last.
type noting struct {
	net.PacketConn
	last *[]byte
}

func (c *noting) WriteTo(b []byte, to net.Addr) (int, error) {
	*c.last = bytes.Clone(b)
	return c.PacketConn.WriteTo(b, to)
}
