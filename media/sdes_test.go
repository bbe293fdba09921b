package media_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

const (
	key80  = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
	keyGCM = "a=crypto:7 AEAD_AES_128_GCM inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJQ=="
)

// secured is a session of the house with a policy.
func secured(t *testing.T, e *media.Engine, policy media.Security) *media.Session {
	t.Helper()
	s := open(t, e, pbxAddr)
	s.Secure(policy)
	return s
}

// TestSecurityOfAnswers is the matrix of offers and policies: RFC 4568 §5.1.2, RFC 8643, RFC 5124.
func TestSecurityOfAnswers(t *testing.T) {
	const cm80, cm32, gcm = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM"
	key32 := strings.Replace(key80, "_80", "_32", 1)
	with := func(more string) string { return key80 + more }
	for _, c := range []struct {
		name                    string
		lines                   []string
		off, optional, required string // the suite, "plain", or "488"
	}{
		{"plain", []string{"m=audio 4000 RTP/AVP 0"}, "plain", "plain", "488"},
		{"plain with feedback", []string{"m=audio 4000 RTP/AVPF 0"}, "plain", "plain", "488"},
		{"plain with keys", []string{"m=audio 4000 RTP/AVP 0", key80}, "plain", cm80, cm80},
		{"encrypted", []string{"m=audio 4000 RTP/SAVP 0", key80}, "488", cm80, cm80},
		{"with feedback", []string{"m=audio 4000 RTP/SAVPF 0", keyGCM}, "488", gcm, gcm},
		{"theirs first", []string{"m=audio 4000 RTP/SAVP 0", key32, keyGCM}, "488", cm32, cm32},
		{"unknown suite first", []string{"m=audio 4000 RTP/SAVP 0", "a=crypto:1 F8_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj", keyGCM}, "488", gcm, gcm},
		{"no key", []string{"m=audio 4000 RTP/SAVP 0"}, "488", "488", "488"},
		{"short key", []string{"m=audio 4000 RTP/SAVP 0", key80[:len(key80)-4]}, "488", "488", "488"},
		{"lifetime and identifier", []string{"m=audio 4000 RTP/SAVP 0", with("|2^20|1:4")}, "488", cm80, cm80},
		{"identifier alone", []string{"m=audio 4000 RTP/SAVP 0", with("|1:4")}, "488", cm80, cm80},
		{"decimal lifetime", []string{"m=audio 4000 RTP/SAVP 0", with("|1048576")}, "488", cm80, cm80},
		{"endless", []string{"m=audio 4000 RTP/SAVP 0", with("|2^60")}, "488", "488", "488"},
		{"window", []string{"m=audio 4000 RTP/SAVP 0", with(" WSH=64")}, "488", cm80, cm80},
		{"optional parameter", []string{"m=audio 4000 RTP/SAVP 0", with(" -NEW=1")}, "488", cm80, cm80},
		{"unencrypted", []string{"m=audio 4000 RTP/SAVP 0", with(" UNENCRYPTED_SRTP")}, "488", "488", "488"},
		{"unencrypted reports", []string{"m=audio 4000 RTP/SAVP 0", with(" UNENCRYPTED_SRTCP")}, "488", "488", "488"},
		{"unauthenticated", []string{"m=audio 4000 RTP/SAVP 0", with(" UNAUTHENTICATED_SRTP")}, "488", "488", "488"},
		{"key rate", []string{"m=audio 4000 RTP/SAVP 0", with(" KDR=1")}, "488", "488", "488"},
		{"weak, then good", []string{"m=audio 4000 RTP/SAVP 0", with(" UNENCRYPTED_SRTP"), keyGCM}, "488", gcm, gcm},
		{"weak, plain profile", []string{"m=audio 4000 RTP/AVP 0", with(" KDR=1")}, "plain", "plain", "488"},
		{"both, plain first", []string{"m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/SAVP 0", key80}, "plain", cm80, cm80},
		{"both, encrypted first", []string{"m=audio 4002 RTP/SAVP 0", key80, "m=audio 4000 RTP/AVP 0"}, "plain", cm80, cm80},
	} {
		for policy, want := range map[media.Security]string{media.SecurityOff: c.off, media.SecurityOptional: c.optional, media.SecurityRequired: c.required} {
			bubble(t, func(t *testing.T, _ *mediatest.Net, house *media.Engine) {
				s := secured(t, house, policy)
				answer, err := s.Answer(sdpOf(c.lines...))
				got := s.Encrypted()
				switch {
				case errors.Is(err, media.ErrNotAcceptable):
					got = "488"
				case err != nil:
					t.Errorf("%s, %s: %v", c.name, policy, err)
				case got == "":
					got = "plain"
				}
				if got != want {
					t.Errorf("%s, %s: %s, want %s", c.name, policy, got, want)
				}
				if err != nil {
					return
				}
				text := string(answer)
				if strings.Contains(text, "a=crypto") != (want != "plain") {
					t.Errorf("%s, %s:\n%s", c.name, policy, text)
				}
				if want == gcm && !strings.Contains(text, "a=crypto:7 "+gcm+" inline:") {
					t.Errorf("%s, %s: another tag\n%s", c.name, policy, text)
				}
				if strings.Contains(text, "d0RmdmcmVCsp") {
					t.Errorf("%s, %s: answered with the key of the offer", c.name, policy)
				}
				if n := strings.Count(text, "m=audio "); n != strings.Count(strings.Join(c.lines, "\n"), "m=audio ") || n == 2 && strings.Count(text, "m=audio 0 ") != 1 {
					t.Errorf("%s, %s:\n%s", c.name, policy, text)
				}
			})
		}
	}
}

// TestSecurityOfTwo: two of us, each with each policy.
func TestSecurityOfTwo(t *testing.T) {
	for _, c := range []struct {
		offer, answer media.Security
		want          string
	}{
		{"off", "off", "plain"},
		{"off", "optional", "plain"},
		{"off", "required", "488"},
		{"optional", "off", "plain"},
		{"optional", "optional", "encrypted"},
		{"optional", "required", "encrypted"},
		{"required", "off", "488"},
		{"required", "optional", "encrypted"},
		{"required", "required", "encrypted"},
	} {
		bubble(t, func(t *testing.T, _ *mediatest.Net, house *media.Engine) {
			a, b := secured(t, house, c.offer), secured(t, house, c.answer)
			offer, err := a.Offer()
			if err != nil {
				t.Fatal(err)
			}
			if c.offer == "required" != strings.Contains(string(offer), " RTP/SAVP ") || c.offer == "off" == strings.Contains(string(offer), "a=crypto:") {
				t.Errorf("%s:\n%s", c.offer, offer)
			}
			answer, err := b.Answer(offer)
			if err != nil {
				if c.want != "488" {
					t.Errorf("%s to %s: %v", c.offer, c.answer, err)
				}
				return
			}
			if err := a.Accept(answer); err != nil {
				t.Fatal(err)
			}
			if (a.Encrypted() != "") != (c.want == "encrypted") || a.Encrypted() != b.Encrypted() || c.want == "488" {
				t.Errorf("%s to %s: %q and %q, want %s", c.offer, c.answer, a.Encrypted(), b.Encrypted(), c.want)
			}
		})
	}
}

// TestForgedAnswers: an answer takes one of the keys that were offered, or it is none; never is a required key given up.
func TestForgedAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		policy media.Security
		lines  []string
	}{
		"plain":                   {"required", []string{"m=audio 4000 RTP/AVP 0"}},
		"encrypted without a key": {"required", []string{"m=audio 4000 RTP/SAVP 0"}},
		"another tag":             {"required", []string{"m=audio 4000 RTP/SAVP 0", strings.Replace(key80, ":1", ":9", 1)}},
		"another suite":           {"required", []string{"m=audio 4000 RTP/SAVP 0", strings.Replace(key80, ":1", ":2", 1)}},
		"two keys":                {"required", []string{"m=audio 4000 RTP/SAVP 0", key80, strings.Replace(keyGCM, ":7", ":2", 1)}},
		"weak":                    {"optional", []string{"m=audio 4000 RTP/AVP 0", key80 + " UNENCRYPTED_SRTP"}},
		"not offered":             {"off", []string{"m=audio 4000 RTP/SAVP 0", key80}},
	} {
		bubble(t, func(t *testing.T, _ *mediatest.Net, house *media.Engine) {
			s := secured(t, house, c.policy)
			if _, err := s.Offer(); err != nil {
				t.Fatal(err)
			}
			if err := s.Accept(sdpOf(c.lines...)); !errors.Is(err, media.ErrNotAcceptable) || s.Codec() != "" {
				t.Errorf("%s: %v, codec %q", name, err, s.Codec())
			}
		})
	}
}

// TestEncryptedCall: two phones with keys, and one without, hear each other through the house; nothing that they say is
// seen on the way, and nothing that others say is heard.
func TestEncryptedCall(t *testing.T) {
	for _, c := range []struct{ alice, bob media.Security }{{"required", "required"}, {"required", "off"}, {"off", "optional"}} {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			alice, bob := newPhone(t, n, aliceAddr), newPhone(t, n, bobAddr)
			defer alice.hangUp()
			defer bob.hangUp()
			a, b := secured(t, house, c.alice), secured(t, house, c.bob)
			alice.Secure(c.alice)
			bob.Secure(c.bob)
			connect(t, alice.Session, a)
			connect(t, b, bob.Session)
			media.Join(a, b)
			alice.say(mediatest.Say(500))
			bob.say(mediatest.Say(900))
			alice.mustHear(t, 900)
			bob.mustHear(t, 500)
			if (a.Encrypted() != "") != (c.alice != "off") || (b.Encrypted() != "") != (c.bob != "off") {
				t.Errorf("%q and %q", a.Encrypted(), b.Encrypted())
			}
			time.Sleep(30 * time.Second)
			for _, s := range []*media.Session{a, b, alice.Session, bob.Session} {
				st := s.Stats()
				if st.Lost > 0 || st.Unopened > 0 || st.RoundTrip == 0 || st.RemoteLost > 0 {
					t.Errorf("%+v", st)
				}
			}
		})
	}
}

// TestPlainIsRefused: of an encrypted session nothing plain is taken, before its answer and after it, and all that it
// sends is sealed.
func TestPlainIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		phone := newPeer(t, n, aliceAddr)
		s, other := secured(t, house, "required"), open(t, house, pbxAddr)
		listener := newPeer(t, n, bobAddr)
		listener.agree(t, other)
		media.Join(s, other)
		defer play(s, mediatest.Say(500))()
		if _, err := s.Offer(); err != nil {
			t.Fatal(err)
		}
		phone.talk(s.Local(), 20)
		if err := s.Accept(sdpOf("m=audio 6000 RTP/SAVP 0", "c=IN IP4 10.0.0.2", key80)); err != nil {
			t.Fatal(err)
		}
		s.Established()
		phone.talk(s.Local(), 50)
		if got := listener.count(); got > 0 {
			t.Errorf("%d plain packets passed", got)
		}
		if st := s.Stats(); st.Unopened != 70 || st.Received != 0 {
			t.Errorf("%+v", st)
		}
		sent := phone.take()
		if len(sent) < 40 {
			t.Fatalf("%d packets", len(sent))
		}
		seen := map[string]bool{}
		for _, r := range sent {
			if len(r.packet) != 12+160+10 || seen[string(r.payload()[:16])] {
				t.Fatalf("%d octets, or twice the same", len(r.packet))
			}
			seen[string(r.payload()[:16])] = true
		}
	})
}

var inline = regexp.MustCompile(`inline:(\S+)`)

// TestKeysOverACall: a re-INVITE, a hold, a resume keep the keys; a suite that is changed has a new one; a peer that
// changes its own does not change ours; no two calls and no two directions share one.
func TestKeysOverACall(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := secured(t, house, "optional")
		answer := func(lines ...string) string {
			t.Helper()
			b, err := s.Answer(sdpOf(lines...))
			if err != nil {
				t.Fatal(err)
			}
			return inline.FindString(string(b))
		}
		const savp = "m=audio 4000 RTP/SAVP 0"
		first := answer(savp, key80)
		if got := answer(savp, key80, "a=sendonly"); got != first {
			t.Error("a hold changed the key")
		}
		if got := answer(savp, keyGCM, key80); got != first {
			t.Error("a suite was changed without a reason")
		}
		if got := answer(savp, strings.Replace(key80, "d0Rm", "AAAA", 1)); got != first {
			t.Error("a new key of the peer changed ours")
		}
		offer, err := s.Offer()
		if err != nil || !strings.Contains(string(offer), "a=crypto:1 AES_CM_128_HMAC_SHA1_80 "+first+"\r\n") || !strings.Contains(string(offer), " RTP/SAVP ") {
			t.Errorf("%v\n%s", err, offer)
		}
		all := inline.FindAllString(string(offer), -1)
		gcm := answer(savp, keyGCM)
		if s.Encrypted() != "AEAD_AES_128_GCM" || gcm == first || len(all) != 3 || all[1] != gcm {
			t.Errorf("%s: %s of %s", s.Encrypted(), gcm, all)
		}
		if back := answer(savp, key80); back == first {
			t.Error("a key that was given up is back")
		}
		if plain := answer("m=audio 4000 RTP/AVP 0"); plain != "" || s.Encrypted() != "" {
			t.Errorf("%q, %q", plain, s.Encrypted())
		}
		if other := inline.FindString(string(mustAnswer(t, secured(t, house, "optional"), savp, key80))); other == first {
			t.Error("two calls share a key")
		}
	})
}

func mustAnswer(t *testing.T, s *media.Session, lines ...string) []byte {
	t.Helper()
	b, err := s.Answer(sdpOf(lines...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRekeyedCall: the peer takes a new key in the middle of a call, and is heard all along.
func TestRekeyedCall(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		bob := newPhone(t, n, bobAddr)
		defer bob.hangUp()
		s := secured(t, house, "required")
		bob.Secure("required")
		connect(t, s, bob.Session)
		defer media.Echo(s).Close()
		bob.say(mediatest.Say(700))
		bob.mustHear(t, 700)
		before := s.Stats()
		for range 3 {
			// Another suite is another key in both directions.
			offer, err := bob.Offer()
			if err != nil {
				t.Fatal(err)
			}
			lines := bytes.Split(offer, []byte("\r\n"))
			kept := lines[:0]
			for _, l := range lines {
				if !bytes.HasPrefix(l, []byte("a=crypto:1 ")) {
					kept = append(kept, l)
				}
			}
			answer, err := s.Answer(bytes.Join(kept, []byte("\r\n")))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(60 * time.Millisecond) // on its way
			if err := bob.Accept(answer); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			bob.mustHear(t, 700)
		}
		after := s.Stats()
		if got := after.Received - before.Received; got < 150 || after.Lost > 0 || after.Unopened > 0 {
			t.Errorf("%d more packets, %+v", got, after)
		}
	})
}
