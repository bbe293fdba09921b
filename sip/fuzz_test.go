package sip

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

// noBindings is an empty database.
type noBindings struct{ Bindings }

// FuzzFront sends anything to the front reader, and what it lets through to
// sipgo's parser, the matching of dialogs and transactions, and the readers of
// headers. Nothing may panic, and what is let through must be understood the
// same way when it is read again.
func FuzzFront(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("..", "testdata", "torture", "rfc4475", "*.dat"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("REGISTER sip:a SIP/2.0\r\nv: SIP/2.0/UDP [2001:db8::1]:5060;rport;branch=z9hG4bKx\r\nf: \"A \\\"B\" <sip:a@b>;tag=1\r\nt: sip:a@b\r\ni: 1\r\nCSeq: 1 REGISTER\r\nm: *, <sip:a@b;transport=tcp>;q=0.1;expires=0;+sip.instance=\"<urn:x>\";reg-id=1\r\nAuthorization: Digest username=\"a\",realm=\"pbx\",nonce=\"n\",uri=\"sip:a\",response=\"0\",qop=auth,nc=00000001,cnonce=\"c\"\r\nl: 0\r\n\r\n"))
	s, err := New(Config{UDP: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}, oneLine(store.Line{Username: "a", Password: "b"}), noBindings{}, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	from := netip.MustParseAddrPort("192.0.2.1:5060")
	parser := sipmsg.NewParser(sipmsg.WithHeadersParsers(parsed()))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, transport := range []string{"udp", "tcp"} {
			v := s.front.read(data, from, transport)
			if v.ask != nil {
				h := hop{transport, netip.MustParseAddrPort("192.0.2.9:5060"), from}
				answer := s.inquire(v.ask, h)
				if w := (&front{mark: "other"}).read(answer, from, transport); answer != nil && w.data == nil && len(v.ask.hops) == 1 {
					t.Fatalf("our own answer is not understood: %s\n%s", w.why, answer)
				}
				if transport == "udp" && bytes.HasPrefix(answer, []byte("SIP/2.0 401 ")) && len(answer) > 2*len(data) {
					t.Fatalf("%d octets answered with %d", len(data), len(answer))
				}
				readContacts(v.ask.list("Contact"), maxExpires)
			}
			if v.data == nil {
				continue
			}
			if v.reply != nil {
				t.Fatal("both passed on and answered")
			}
			msg, err := parser.ParseSIP(v.data)
			if err != nil {
				t.Fatalf("sipgo cannot read what was let through: %v\n%q", err, v.data)
			}
			if msg.Via() == nil || msg.From() == nil || msg.To() == nil || msg.CallID() == nil || msg.CSeq() == nil {
				t.Fatalf("sipgo misses a header in\n%q", v.data)
			}
			req, ok := msg.(*sipmsg.Request)
			if !ok {
				continue
			}
			if req.Method != req.CSeq().MethodName {
				t.Fatalf("method %s, CSeq %s", req.Method, req.CSeq().MethodName)
			}
			s.front.transactionKey(req)
			s.legOf(req)
			callKey(req)
			contactOf(req)
			recordedRoutes(req, true)
			newClaim("INVITE", "sip:a", "", "", "", []string{header(req, "Authorization")})
			unsupported(req)
			reasonText(req)
			userOf(&req.Recipient)
			res := s.answer(req, 200, "OK", nil)
			if bytes.Contains([]byte(res.String()), []byte(s.front.mark)) {
				t.Fatalf("a mark left the house:\n%s", res)
			}
			if w := (&front{mark: "other"}).read([]byte(res.String()), from, transport); w.data == nil && len(req.GetHeaders("Via")) == 1 {
				t.Fatalf("our own answer is not understood: %s\n%s", w.why, res)
			}
		}
	})
}
