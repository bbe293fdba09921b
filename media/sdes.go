package media

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Security is how a session may be protected.
type Security string

// The values of Security.
const (
	SecurityOff      Security = "off"      // plain sound only
	SecurityOptional Security = "optional" // encrypted where the peer takes part, shown as what it is
	SecurityRequired Security = "required" // encrypted, or no call
)

// Secure says what the coming offers and answers may agree on. Without a word it is SecurityOff.
func (s *Session) Secure(policy Security) {
	s.neg.Lock()
	defer s.neg.Unlock()
	s.security = policy
}

// Acceptable reports whether an offer holds a stream that the policy lets us take part in. It changes nothing.
func (s *Session) Acceptable(offer []byte) bool {
	s.neg.Lock()
	defer s.neg.Unlock()
	_, err := describe(offer, s.security)
	return err == nil
}

// Encrypted names what protects the sound of the session, as a=crypto does; "" is plain.
func (s *Session) Encrypted() string {
	t := s.terms.Load()
	if t == nil || t.seal == nil {
		return ""
	}
	return t.seal.key.suite.String()
}

// cryptoLine is one a=crypto of a peer.
type cryptoLine struct {
	tag   string
	suite suite
	keys  []peerKey
}

const (
	cryptoLines = 16 // of one stream that we look at
	peerKeys    = 8  // of one line
	mkiLimit    = 16 // octets
)

// parseCrypto reads "1 AES_CM_128_HMAC_SHA1_80 inline:…|2^20|1:4 WSH=64", RFC 4568 §9.1. A line that we cannot keep
// to the letter is none.
func parseCrypto(value string) (cryptoLine, bool) {
	f := strings.Fields(value)
	if len(f) < 3 || len(f[0]) > 9 || strings.Trim(f[0], "0123456789") != "" {
		return cryptoLine{}, false
	}
	c := cryptoLine{tag: f[0]}
	for s := suiteCM80; int(s) < len(suiteFacts); s++ {
		if strings.EqualFold(f[1], s.String()) {
			c.suite = s
		}
	}
	if c.suite == noSuite {
		return cryptoLine{}, false
	}
	for text := range strings.SplitSeq(f[2], ";") {
		k, ok := parseInline(c.suite, text)
		if !ok || len(c.keys) == peerKeys {
			return cryptoLine{}, false
		}
		c.keys = append(c.keys, k)
	}
	for i, k := range c.keys {
		// RFC 4568 §6.1: several keys are told apart by identifiers, all of one length.
		if len(c.keys) > 1 && k.mki == "" || len(k.mki) != len(c.keys[0].mki) ||
			slices.ContainsFunc(c.keys[:i], func(other peerKey) bool { return other.mki == k.mki }) {
			return cryptoLine{}, false
		}
	}
	return c, !slices.ContainsFunc(f[3:], refusedParameter)
}

// refusedParameter finds session parameters that weaken the protection, or that we do not do: RFC 4568 §6.3. Those that
// begin with a hyphen may be passed over, and the hint on the size of the window asks for no more than we have.
func refusedParameter(p string) bool {
	name, value, _ := strings.Cut(strings.ToUpper(p), "=")
	if name == "WSH" {
		n, err := strconv.Atoi(value)
		return err != nil || n > replayWindow
	}
	return !strings.HasPrefix(name, "-")
}

// parseInline reads "inline:KEY|LIFETIME|MKI:LENGTH", of which all but the key may be missing.
func parseInline(s suite, text string) (peerKey, bool) {
	method, text, ok := strings.Cut(text, ":")
	if !ok || !strings.EqualFold(method, "inline") {
		return peerKey{}, false
	}
	parts := strings.Split(text, "|")
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[0], "="))
	if err != nil || len(raw) != s.keyLen()+s.saltLen() {
		return peerKey{}, false
	}
	k := peerKey{key: masterKey{s, new([46]byte)}}
	copy(k.key.secret[:], raw)
	rest := parts[1:]
	if len(rest) > 0 && !strings.Contains(rest[0], ":") {
		if !lifetime(rest[0]) {
			return peerKey{}, false
		}
		rest = rest[1:]
	}
	if len(rest) > 0 {
		if k.mki, ok = parseMKI(rest[0]); !ok {
			return peerKey{}, false
		}
		rest = rest[1:]
	}
	return k, len(rest) == 0
}

// lifetime reports whether a number of packets makes sense. Who sends has to mind it: RFC 3711 §9.2 allows 2^48.
func lifetime(text string) bool {
	if power, ok := strings.CutPrefix(text, "2^"); ok {
		n, err := strconv.ParseUint(power, 10, 8)
		return err == nil && n <= 48
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return err == nil && n > 0 && n <= 1<<48
}

// parseMKI reads "1:4": the identifier 1 in four octets.
func parseMKI(text string) (string, bool) {
	value, length, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(value, 10, 64)
	size, err2 := strconv.ParseUint(length, 10, 8)
	if err != nil || err2 != nil || size == 0 || size > mkiLimit || size < 8 && n>>(8*size) != 0 {
		return "", false
	}
	mki := make([]byte, size)
	for i := len(mki) - 1; i >= 0; i-- {
		mki[i] = byte(n)
		n >>= 8
	}
	return string(mki), true
}

// parseCryptos reads those of one stream that are usable, and says whether there were any at all.
func parseCryptos(section []string) (lines []cryptoLine, seen int) {
	for _, l := range section {
		name, value, ok := strings.Cut(l, ":")
		if !ok || !strings.EqualFold(name, "a=crypto") || seen == cryptoLines {
			continue
		}
		seen++
		if c, ok := parseCrypto(value); ok {
			lines = append(lines, c)
		}
	}
	return lines, seen
}

// ourCrypto is one a=crypto of ours.
type ourCrypto struct {
	tag  string
	seal *sealer
}

// attribute is the value of a=crypto. It holds the key and goes nowhere but into a description.
func (c ourCrypto) attribute() string {
	k := c.seal.key
	return fmt.Sprintf("%s %s inline:%s", c.tag, k.suite, base64.StdEncoding.EncodeToString(k.whole()))
}

// pick chooses the stream that we take part in: of the audio lines that the policy allows, the first that is
// protected, else the first. RFC 4568 §5.1.2: an encrypted profile is never answered without its keys.
func (d *description) pick(media [][]string, policy Security) int {
	best := -1
	for i, l := range d.lines {
		if l.media != "audio" || l.port == "0" {
			continue
		}
		lines, seen := parseCryptos(media[i])
		locked := len(lines) > 0 && policy != SecurityOff && policy != ""
		switch {
		case locked && (l.is("RTP/SAVP", "RTP/SAVPF") || l.is("RTP/AVP", "RTP/AVPF")): // RFC 8643: encrypted if both like
			d.crypto, d.cryptic = lines, false
			return i
		case best < 0 && policy != SecurityRequired && l.is("RTP/AVP", "RTP/AVPF"):
			best, d.cryptic = i, seen > 0
		}
	}
	return best
}

// is compares the profile. Feedback may be offered; nobody is obliged to send any (RFC 4585 §4.2, RFC 5124 §3.1).
func (l mediaLine) is(profiles ...string) bool {
	return slices.ContainsFunc(profiles, func(p string) bool { return strings.EqualFold(l.proto, p) })
}

// sealerFor is our key for a suite, the same as long as the session stays with the suite.
func (s *Session) sealerFor(k suite) (*sealer, error) {
	if have := s.keys[k]; have != nil {
		return have, nil
	}
	made, err := newSealer(newMasterKey(k))
	if err != nil {
		return nil, fmt.Errorf("keys for %s: %w", k, err)
	}
	if s.keys == nil {
		s.keys = make(map[suite]*sealer)
	}
	s.keys[k] = made
	return made, nil
}

// lockOffer puts our keys into an offer. Once agreed, protection stays, with the key that it has.
func (s *Session) lockOffer(st *statement) error {
	order := ourSuites
	switch t := s.terms.Load(); {
	case t == nil && s.security == SecurityRequired:
		st.profile = "RTP/SAVP"
	case t == nil && s.security == SecurityOptional:
		// RFC 8643 §3.1: offered in the plain profile, which those who know nothing of it answer as ever.
	case t != nil && t.seal != nil:
		now := t.seal.key.suite
		order = append([]suite{now}, slices.DeleteFunc(slices.Clone(ourSuites), func(k suite) bool { return k == now })...)
	default:
		return nil
	}
	for i, k := range order {
		seal, err := s.sealerFor(k)
		if err != nil {
			return err
		}
		st.crypto = append(st.crypto, ourCrypto{strconv.Itoa(i + 1), seal})
	}
	if s.terms.Load() == nil {
		s.gate.Store(&gate{}) // what comes before the answer cannot be told from noise
	}
	return nil
}

// lockAnswer takes a key of the offer and answers with ours under the same tag: RFC 4568 §5.1.2.
func (s *Session) lockAnswer(d *description, st *statement, t *terms) error {
	if len(d.crypto) == 0 {
		return nil
	}
	chosen := d.crypto[0] // RFC 4568 §5.1.2: the first that we can do
	if now := s.terms.Load(); now != nil && now.seal != nil {
		for _, c := range d.crypto {
			if c.suite == now.seal.key.suite {
				chosen = c // no change without a reason
				break
			}
		}
	}
	seal, err := s.sealerFor(chosen.suite)
	if err != nil {
		return err
	}
	st.crypto = []ourCrypto{{chosen.tag, seal}}
	return s.lock(t, seal, chosen.keys)
}

// lockAccept finds in an answer which of our keys was taken: RFC 4568 §5.1.3. An answer that took none is plain, and
// only good when plain was offered.
func (s *Session) lockAccept(d *description, t *terms) error {
	if len(d.crypto) == 0 && (!d.cryptic || len(s.offered.crypto) == 0) {
		return nil
	}
	if len(d.crypto) == 1 {
		for _, c := range s.offered.crypto {
			if c.tag == d.crypto[0].tag && c.seal.key.suite == d.crypto[0].suite {
				return s.lock(t, c.seal, d.crypto[0].keys)
			}
		}
	}
	return fmt.Errorf("keys that were not offered: %w", ErrNotAcceptable)
}

// lock makes t protected. A key that the peer had before stays in use as it is, with all that it knows of the stream.
func (s *Session) lock(t *terms, seal *sealer, keys []peerKey) error {
	var former *opener
	if now := s.terms.Load(); now != nil {
		former = now.open
	}
	t.secured, t.seal = true, seal
	if former.same(keys) {
		t.open = former
		return nil
	}
	var err error
	t.rekeyed = former != nil
	if t.open, err = newOpener(keys, former); err != nil {
		return fmt.Errorf("keys of the peer: %w", err)
	}
	return nil
}

// dropKeys forgets the key that t does not use any more: back in use, it might seal two packets alike.
func (s *Session) dropKeys(t *terms) {
	if s.sealed != nil && s.sealed != t.seal && s.keys[s.sealed.key.suite] == s.sealed {
		delete(s.keys, s.sealed.key.suite)
	}
	s.sealed = t.seal
}

// policy is what an answer to the statement may be: never less than was offered, nor than the session wants.
func (s *statement) policy(wanted Security) Security {
	profile := s.profile
	if len(s.lines) > 0 {
		profile = s.lines[s.audio].proto
	}
	switch {
	case len(s.crypto) == 0:
		return SecurityOff
	case wanted == SecurityRequired:
		return SecurityRequired
	case strings.HasPrefix(strings.ToUpper(profile), "RTP/SAVP"):
		return SecurityRequired
	}
	return SecurityOptional
}
