package media

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// sealedPair is one direction: who seals and who opens.
func sealedPair(t testing.TB, k suite) (*sealer, *opener) {
	t.Helper()
	key := newMasterKey(k)
	seal, err := newSealer(key)
	if err != nil {
		t.Fatal(err)
	}
	open, err := newOpener([]peerKey{{key: key}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return seal, open
}

// sealOne is packet n of a stream, sealed.
func sealOne(t testing.TB, s *sealer, n int) []byte {
	t.Helper()
	h := header{number: 0, seq: uint16(n), ts: uint32(n) * 160, ssrc: 7}
	b := make([]byte, headerSize+160, headerSize+160+sealRoom)
	h.write(b)
	for i := range b[headerSize:] {
		b[headerSize+i] = byte(n)
	}
	return s.sealRTP(b, &h)
}

// opens reports whether b is opened to packet n.
func opens(o *opener, b []byte, n int) bool {
	p := packet{buf: bytes.Clone(b), at: time.Now()}
	if !o.openRTP(&p) {
		return false
	}
	return p.parse() && p.seq == uint16(n) && p.end-p.start == 160 && p.payload()[159] == byte(n)
}

func TestSealAndOpen(t *testing.T) {
	for k := suiteCM80; int(k) < len(suiteFacts); k++ {
		seal, open := sealedPair(t, k)
		b := sealOne(t, seal, 1)
		if b == nil || len(b) > headerSize+160+sealRoom || bytes.Contains(b, bytes.Repeat([]byte{1}, 16)) {
			t.Fatalf("%s: %x", k, b)
		}
		bad := bytes.Clone(b)
		bad[len(bad)-1] ^= 1
		if opens(open, bad, 1) {
			t.Errorf("%s: a forged packet is opened", k)
		}
		if !opens(open, b, 1) {
			t.Errorf("%s: not opened", k)
		}
		if opens(open, b, 1) {
			t.Errorf("%s: opened twice", k)
		}
		for _, short := range [][]byte{nil, b[:1], b[:headerSize], b[:headerSize+5]} {
			if opens(open, short, 1) {
				t.Errorf("%s: %d octets opened", k, len(short))
			}
		}
		report := append([]byte{0x80, 200, 0, 6, 0, 0, 0, 7}, make([]byte, 20)...)
		sealed, err := seal.sealRTCP(report)
		if err != nil || bytes.Contains(sealed, make([]byte, 12)) {
			t.Fatalf("%s: %v, %x", k, err, sealed)
		}
		twice := bytes.Clone(sealed)
		if plain, ok := open.openRTCP(sealed); !ok || !bytes.Equal(plain, report) {
			t.Errorf("%s: report not opened", k)
		}
		if _, ok := open.openRTCP(twice); ok {
			t.Errorf("%s: report opened twice", k)
		}
	}
}

// TestRollover: numbers come round twice, in order, with losses across the seam, and with latecomers from before it.
func TestRollover(t *testing.T) {
	const start, packets = 65_000, 2<<16 + 2000
	for name, lost := range map[string]func(int) bool{
		"none":          func(int) bool { return false },
		"at the seam":   func(n int) bool { return n&0xffff >= 65_530 || n&0xffff < 5 },
		"a minute":      func(n int) bool { return n > 1<<17-1500 && n < 1<<17+1500 },
		"every seventh": func(n int) bool { return n%7 == 0 },
	} {
		seal, open := sealedPair(t, suiteGCM)
		var late []byte
		for n := start; n < start+packets; n++ {
			b := sealOne(t, seal, n)
			switch {
			case n&0xffff == 65_529 && !lost(n):
				late = b
			case n&0xffff == 6 && !lost(n) && !lost(n-13):
				if !opens(open, b, n) || !opens(open, late, n-13) {
					t.Fatalf("%s: packet %d and one from before the seam", name, n)
				}
			case !lost(n) && !opens(open, b, n):
				t.Fatalf("%s: packet %d is not opened", name, n)
			}
		}
		if rounds, _ := open.ctx.ROC(7); rounds != (start+packets-1)>>16 {
			t.Errorf("%s: %d rounds", name, rounds)
		}
		if !seal.wrapped() {
			t.Errorf("%s: not wrapped", name)
		}
	}
}

// TestNumberOnce: no number is sealed twice, whatever order a bridge asks for.
func TestNumberOnce(t *testing.T) {
	seal, _ := sealedPair(t, suiteCM80)
	for i, c := range []struct {
		n  int
		ok bool
	}{{100, true}, {100, false}, {99, false}, {103, true}, {101, true}, {101, false}, {103, false}, {200, true}, {136, false}, {137, true}, {110, false}, {65_636, false}, {1000, true}} {
		if got := sealOne(t, seal, c.n) != nil; got != c.ok {
			t.Errorf("step %d, number %d: sealed %t", i, c.n, got)
		}
	}
}

// TestNewKey: a peer that changes its key is opened with both until the new one is heard, then only with that, whether it
// counts the rounds of its numbers on or anew.
func TestNewKey(t *testing.T) {
	for _, onward := range []bool{false, true} {
		for k := suiteCM80; k <= suiteCM32; k++ {
			seal, open := sealedPair(t, k)
			n := 65_000
			for ; n < 66_000; n++ {
				if !opens(open, sealOne(t, seal, n), n) {
					t.Fatal("not opened")
				}
			}
			key := newMasterKey(k)
			next, err := newOpener([]peerKey{{key: key}}, open)
			if err != nil {
				t.Fatal(err)
			}
			if !opens(next, sealOne(t, seal, n), n) {
				t.Errorf("%s: the former key is not good any more", k)
			}
			fresh, _ := newSealer(key)
			if onward {
				fresh.rtp.SetROC(7, 1)
			}
			for i := range 10 {
				if !opens(next, sealOne(t, fresh, n+i), n+i) {
					t.Errorf("%s: packet %d with the new key is not opened, onward %t", k, i, onward)
				}
			}
			if opens(next, sealOne(t, seal, n+1), n+1) {
				t.Errorf("%s: the former key opens for ever", k)
			}
		}
	}
	_, open := sealedPair(t, suiteGCM)
	if next, _ := newOpener([]peerKey{{key: newMasterKey(suiteGCM)}}, open); next.former != nil {
		t.Error("a key that was never used is kept")
	}
}

// TestManyStreams bounds what a peer may make us remember.
func TestManyStreams(t *testing.T) {
	seal, open := sealedPair(t, suiteGCM)
	opened := 0
	for i := range 2 * manySources {
		h := header{seq: 1, ssrc: uint32(i)}
		b := make([]byte, headerSize+20, headerSize+20+sealRoom)
		h.write(b)
		if open.openRTP(&packet{buf: seal.sealRTP(b, &h)}) {
			opened++
		}
	}
	if opened != manySources {
		t.Errorf("%d streams", opened)
	}
}

func TestKeysDoNotShow(t *testing.T) {
	key := newMasterKey(suiteCM80)
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "key", key, "offer", &statement{crypto: []ourCrypto{{"1", &sealer{key: key}}}}, "said", description{crypto: []cryptoLine{{keys: []peerKey{{key: key}}}}}, "peer", peerKey{key: key}, "line", cryptoLine{keys: []peerKey{{key: key}}})
	fmt.Fprintf(&b, "%v %+v %#v %s %x %q %d %+v %#v", key, key, key, key, key, key, &key, peerKey{key: key}, peerKey{key: key})
	for _, form := range []string{fmt.Sprint(key.secret[:16]), fmt.Sprintf("%x", key.secret[:4]), fmt.Sprintf("%#v", key.secret[:2])} {
		if strings.Contains(b.String(), strings.Trim(form, "[]")) {
			t.Errorf("the key shows: %s", b.String())
		}
	}
}

// locked makes both sides of a bridge encrypted, and gives what its first peer would send.
func locked(t testing.TB, a *Session, k suite) *sealer {
	t.Helper()
	b := a.sink.Load().to
	var first *sealer
	for _, s := range []*Session{b, a} {
		seal, open := sealedPair(t, k)
		out, err := newSealer(newMasterKey(k))
		if err != nil {
			t.Fatal(err)
		}
		next := *s.terms.Load()
		next.secured, next.seal, next.open = true, out, open
		s.agree(&next)
		first = seal
	}
	return first
}

func relaySealed(t testing.TB, a *Session, seal *sealer, p *packet, raw []byte, i int) {
	h := header{number: 0, seq: uint16(i), ts: uint32(i * 160), ssrc: 7}
	b := raw[:headerSize+160]
	h.write(b)
	p.buf, p.from, p.at = seal.sealRTP(b, &h), benchPeer, p.at.Add(frameTime)
	a.take(p)
}

// TestSealedRelayAllocatesNothing, and seals every packet.
func TestSealedRelayAllocatesNothing(t *testing.T) {
	for _, k := range ourSuites {
		a, out := bridged(kindPCMU, kindPCMU)
		seal := locked(t, a, k)
		raw, p, i := make([]byte, headerSize+160, packetSize+sealRoom), &packet{at: time.Now()}, 1
		allocs := testing.AllocsPerRun(2000, func() {
			relaySealed(t, a, seal, p, raw, i)
			i++
		})
		if Raced {
			allocs = 0 // the race detector lets pools forget, also those of the library
		}
		if allocs != 0 || out.n < 1900 {
			t.Errorf("%s: %.2f allocations a packet, %d sent", k, allocs, out.n)
		}
	}
}

// BenchmarkSealedRelay is all that happens to a packet between two sockets of an encrypted call, and the sealing by the peer.
func BenchmarkSealedRelay(b *testing.B) {
	for _, k := range ourSuites {
		b.Run(k.String(), func(b *testing.B) {
			a, _ := bridged(kindPCMU, kindPCMU)
			seal := locked(b, a, k)
			raw, p, i := make([]byte, headerSize+160, packetSize+sealRoom), &packet{at: time.Now()}, 1
			b.ReportAllocs()
			for b.Loop() {
				relaySealed(b, a, seal, p, raw, i)
				i++
			}
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, k := range ourSuites {
		b.Run(k.String(), func(b *testing.B) {
			seal, _ := sealedPair(b, k)
			raw, i := make([]byte, headerSize+160, packetSize+sealRoom), 1
			b.ReportAllocs()
			for b.Loop() {
				h := header{seq: uint16(i), ssrc: 7}
				h.write(raw)
				if seal.sealRTP(raw, &h) == nil {
					b.Fatal("not sealed")
				}
				i++
			}
		})
	}
}

func FuzzCrypto(f *testing.F) {
	for _, s := range []string{
		"1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4",
		"2 AEAD_AES_128_GCM inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJQ==|1:1;inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJQ==|2:1 WSH=64",
		"999999999 aes_cm_128_hmac_sha1_32 INLINE:|;|: -X",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c, ok := parseCrypto(value)
		if !ok {
			return
		}
		open, err := newOpener(c.keys, nil)
		if err != nil || c.tag == "" || !open.same(c.keys) {
			t.Fatalf("%q: %v", value, err)
		}
		seal, err := newSealer(c.keys[0].key)
		if err != nil {
			t.Fatal(err)
		}
		again, ok := parseCrypto(ourCrypto{c.tag, seal}.attribute())
		if !ok || !again.keys[0].key.is(c.keys[0].key) || again.suite != c.suite {
			t.Fatalf("%q is written wrongly", value)
		}
	})
}

func FuzzOpen(f *testing.F) {
	seal, _ := sealedPair(f, suiteGCM)
	f.Add(sealOne(f, seal, 1))
	f.Add([]byte{0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0xbe, 0xde, 0xff, 0xff})
	f.Add([]byte{0x80, 200, 0, 6, 0, 0, 0, 7, 0x80, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, k := range ourSuites {
			_, open := sealedPair(t, k)
			if p := (packet{buf: append(make([]byte, 0, len(b)+sealRoom), b...)}); open.openRTP(&p) {
				t.Fatal("opened without the key")
			}
			if _, ok := open.openRTCP(bytes.Clone(b)); ok {
				t.Fatal("report opened without the key")
			}
		}
	})
}
