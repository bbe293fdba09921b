package media

import (
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// suite is a way to protect packets, as a=crypto names it.
type suite uint8

const (
	noSuite suite = iota
	suiteCM80
	suiteGCM
	suiteCM32
	suiteCM256
	suiteGCM256
)

// suiteFacts of RFC 4568 §6.2, RFC 6188 and RFC 7714.
var suiteFacts = [...]struct {
	name      string
	profile   srtp.ProtectionProfile
	key, salt int // octets
}{
	suiteCM80:   {"AES_CM_128_HMAC_SHA1_80", srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14},
	suiteGCM:    {"AEAD_AES_128_GCM", srtp.ProtectionProfileAeadAes128Gcm, 16, 12},
	suiteCM32:   {"AES_CM_128_HMAC_SHA1_32", srtp.ProtectionProfileAes128CmHmacSha1_32, 16, 14},
	suiteCM256:  {"AES_256_CM_HMAC_SHA1_80", srtp.ProtectionProfileAes256CmHmacSha1_80, 32, 14},
	suiteGCM256: {"AEAD_AES_256_GCM", srtp.ProtectionProfileAeadAes256Gcm, 32, 12},
}

// ourSuites are offered in this order: what every phone knows comes first, for some look at one line only.
var ourSuites = []suite{suiteCM80, suiteGCM, suiteCM32}

func (s suite) String() string { return suiteFacts[s].name }

func (s suite) keyLen() int  { return suiteFacts[s].key }
func (s suite) saltLen() int { return suiteFacts[s].salt }

// sealRoom is how many octets a protected packet may be longer than the plain one.
const sealRoom = 32

// masterKey is key and salt of one direction. It shows itself to nobody.
type masterKey struct {
	suite  suite
	secret *[46]byte // key, then salt; behind a pointer, which keeps it out of logs and errors wherever it is part of
}

// newMasterKey makes a key that nobody knows. RFC 4568 §6.1: each is used for one direction of one call only.
func newMasterKey(s suite) masterKey {
	k := masterKey{s, new([46]byte)}
	rand.Read(k.whole())
	return k
}

// Format says nothing, whatever the verb.
func (masterKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("***")) }

func (k masterKey) is(other masterKey) bool {
	return k.suite == other.suite && *k.secret == *other.secret
}

func (k masterKey) whole() []byte { return k.secret[:k.suite.keyLen()+k.suite.saltLen()] }
func (k masterKey) key() []byte   { return k.secret[:k.suite.keyLen()] }
func (k masterKey) salt() []byte  { return k.whole()[k.suite.keyLen():] }

// replayWindow is how many packets back one may still come: RFC 3711 §3.3.2 asks for 64 at least.
const replayWindow = 128

func (k masterKey) context(o ...srtp.ContextOption) (*srtp.Context, error) {
	return srtp.CreateContext(k.key(), k.salt(), suiteFacts[k.suite].profile, o...)
}

// sealer protects what is sent. RTP is sealed under the lock of its outlet.
type sealer struct {
	key  masterKey
	rtp  *srtp.Context
	head rtp.Header // read anew for each packet, kept for its memory

	begun bool
	ssrc  uint32
	top   uint16 // highest number sealed
	used  uint64 // bit i: top-i was sealed, or must not be any more

	mu      sync.Mutex // guards rtcp
	rtcp    *srtp.Context
	reports rtcp.Header
}

func newSealer(k masterKey) (*sealer, error) {
	s := &sealer{key: k}
	var err error
	if s.rtp, err = k.context(); err != nil {
		return nil, err
	}
	s.rtcp, err = k.context()
	return s, err
}

// sealRTP protects the packet b in place and returns it, longer by up to sealRoom, or nil when that cannot be done.
func (s *sealer) sealRTP(b []byte, h *header) []byte {
	if cap(b)-len(b) < sealRoom || !s.fresh(h) {
		return nil
	}
	b, err := s.rtp.EncryptRTP(b, b, &s.head)
	if err != nil {
		return nil // the key is worn out: 2^48 packets
	}
	return b
}

// fresh reports whether this number was never sealed. Two packets under one number would give both away: RFC 3711 §9.1.
func (s *sealer) fresh(h *header) bool {
	if !s.begun || h.ssrc != s.ssrc {
		s.begun, s.ssrc, s.top, s.used = true, h.ssrc, h.seq, ^uint64(0)
		return true
	}
	ahead := int16(h.seq - s.top)
	switch {
	case ahead > 0:
		s.top, s.used = h.seq, s.used<<ahead|1 // a shift of 64 and more is 0 in Go
	case ahead <= -64 || s.used>>-ahead&1 != 0:
		return false
	default:
		s.used |= 1 << -ahead
	}
	return true
}

// wrapped reports whether the numbers of the stream came round since its beginning.
func (s *sealer) wrapped() bool {
	rounds, _ := s.rtp.ROC(s.ssrc)
	return rounds > 0
}

// sealRTCP is the report b, protected: RFC 3711 §3.4.
func (s *sealer) sealRTCP(b []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rtcp.EncryptRTCP(nil, b, &s.reports)
}

// peerKey is one key of the peer and the identifier that its packets carry, if any: RFC 4568 §6.1.
type peerKey struct {
	key masterKey
	mki string
}

// manySources is how many streams a peer may begin under one key.
const manySources = 256

// rekeyTime is how long a peer may go on with its former key once a new one was agreed.
const rekeyTime = 2 * time.Second

// opener checks and opens what arrives. It belongs to the read loop.
type opener struct {
	keys    []peerKey
	ctx     *srtp.Context
	head    rtp.Header
	ssrc    uint32
	known   bool // a packet of ssrc was opened
	used    atomic.Bool
	sources int

	// A peer that changes its key may still send with the former one, and may count the rounds of its numbers
	// from zero or, as RFC 3711 §3.3.1 wants it, on. While that is open, trials are made on a copy.
	former *opener
	until  time.Time
	onward *srtp.Context // ctx with the rounds counted on
	copied []byte

	mu      sync.Mutex // guards rtcp
	rtcp    *srtp.Context
	reports rtcp.Header
	talkers int
}

// newOpener opens with keys, and for a while with those of former.
func newOpener(keys []peerKey, former *opener) (*opener, error) {
	o := &opener{keys: keys}
	if former != nil && former.used.Load() {
		o.former, o.until, o.copied = former, time.Now().Add(rekeyTime), make([]byte, packetSize)
	}
	var err error
	if o.ctx, err = openContext(keys); err != nil {
		return nil, err
	}
	o.rtcp, err = openContext(keys)
	return o, err
}

func openContext(keys []peerKey) (*srtp.Context, error) {
	options := []srtp.ContextOption{srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow)}
	if keys[0].mki != "" {
		options = append(options, srtp.MasterKeyIndicator([]byte(keys[0].mki)))
	}
	c, err := keys[0].key.context(options...)
	if err != nil {
		return nil, err
	}
	for _, k := range keys[1:] {
		if err := c.AddCipherForMKI([]byte(k.mki), k.key.key(), k.key.salt()); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// same reports whether o opens with just these keys.
func (o *opener) same(keys []peerKey) bool {
	if o == nil || len(o.keys) != len(keys) {
		return false
	}
	for i, k := range keys {
		if o.keys[i].mki != k.mki || !o.keys[i].key.is(k.key) {
			return false
		}
	}
	return true
}

// openRTP opens p in place and reports whether its sender has the key.
func (o *opener) openRTP(p *packet) bool {
	if len(p.buf) < headerSize || p.buf[0]>>6 != 2 {
		return false
	}
	if o.former != nil || o.onward != nil {
		return o.openChanging(p)
	}
	return o.open(o.ctx, p)
}

// open leaves p.buf spoilt when it fails.
func (o *opener) open(c *srtp.Context, p *packet) bool {
	ssrc := be32(p.buf[8:])
	begins := false
	if !o.known || ssrc != o.ssrc {
		_, met := c.ROC(ssrc)
		if begins = !met; begins && o.sources >= manySources {
			return false
		}
	}
	b, err := c.DecryptRTP(p.buf, p.buf, &o.head)
	if err != nil {
		return false
	}
	if begins {
		o.sources++
	}
	if !o.known {
		o.known = true
		o.used.Store(true)
	}
	p.buf, o.ssrc = b, ssrc
	return true
}

// openChanging tries the new key, then the former one.
func (o *opener) openChanging(p *packet) bool {
	former := o.former
	if former != nil && o.onward == nil && former.known {
		// The read loop alone may look into former, so this is not done when the key is agreed.
		if rounds, _ := former.ctx.ROC(former.ssrc); rounds > 0 {
			if c, err := openContext(o.keys); err == nil {
				c.SetROC(former.ssrc, rounds)
				o.onward = c
			}
		}
	}
	whole := p.buf
	kept := o.copied[:copy(o.copied, whole)]
	attempt := func(f func() bool) bool {
		if f() {
			return true
		}
		p.buf = whole
		copy(p.buf, kept)
		return false
	}
	switch {
	case attempt(func() bool { return o.open(o.ctx, p) }):
	case o.onward != nil && attempt(func() bool { return o.open(o.onward, p) }):
		o.ctx = o.onward
	case former != nil && p.at.Before(o.until):
		return former.openRTP(p)
	default:
		if former != nil && !p.at.Before(o.until) {
			o.former = nil
		}
		return false
	}
	o.former, o.onward = nil, nil // the peer has changed over
	return true
}

// openRTCP is the plain report in b, opened in place.
func (o *opener) openRTCP(b []byte) ([]byte, bool) {
	if len(b) < 8 {
		return nil, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_, met := o.rtcp.Index(be32(b[4:]))
	if !met && o.talkers >= manySources {
		return nil, false
	}
	plain, err := o.rtcp.DecryptRTCP(b, b, &o.reports)
	if err != nil {
		return nil, false
	}
	if !met {
		o.talkers++
	}
	return plain, true
}
