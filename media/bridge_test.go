package media_test

import (
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

func TestTwoPhonesTalk(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		alice, bob := newPhone(t, n, aliceAddr), newPhone(t, n, bobAddr)
		defer alice.hangUp()
		defer bob.hangUp()
		a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
		connect(t, alice.Session, a)
		b.Prefer(a)
		connect(t, b, bob.Session)
		bridge := media.Join(a, b)
		alice.say(mediatest.Say(700))
		bob.say(mediatest.Say(1200))
		alice.mustHear(t, 1200)
		bob.mustHear(t, 700)

		time.Sleep(time.Minute)
		alice.mustHear(t, 1200)
		for _, s := range []*media.Session{a, b, alice.Session, bob.Session} {
			st := s.Stats()
			if st.Lost != 0 || st.Duplicates != 0 || st.Stray != 0 || st.Malformed != 0 || st.Received < 2900 {
				t.Errorf("%s: %+v", s.Local(), st)
			}
			if st.Jitter > time.Millisecond {
				t.Errorf("%s: jitter %s", s.Local(), st.Jitter)
			}
			if st.RoundTrip < 1900*time.Microsecond || st.RoundTrip > 3*time.Millisecond {
				t.Errorf("%s: round trip %s, want 2 ms", s.Local(), st.RoundTrip)
			}
		}
		bridge.Close()
		time.Sleep(time.Second)
		if f := alice.ear.Freq(); f != 0 {
			t.Errorf("alice hears %f Hz after the bridge was closed", f)
		}
	})
}
