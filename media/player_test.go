package media_test

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// TestPace: a player sends a packet each 20 ms, no more and no less, and ends when its last one has
// had its time.
func TestPace(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		p := newPeer(t, n, aliceAddr)
		p.agree(t, s)
		start := time.Now()
		if err := s.Play(t.Context(), media.Tone(400, time.Minute)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("a minute took %s", took)
		}
		got := p.take()
		if len(got) != 3000 {
			t.Errorf("%d packets", len(got))
		}
		for i, r := range got {
			if want := start.Add(time.Duration(i)*20*time.Millisecond + time.Millisecond); !r.at.Equal(want) {
				t.Fatalf("packet %d came at %s", i, r.at.Sub(start))
			}
		}
		steady(t, got)
	})
}

// TestPlayEnds with its context, and a source that fails is told.
func TestPlayEnds(t *testing.T) {
	bubble(t, func(t *testing.T, _ *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr) // nothing agreed: played to nobody, in real time all the same
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Play(ctx, media.Ringback()); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		if err := s.Play(t.Context(), media.NewLibrary("").Prompt("no-such-phrase")); err == nil {
			t.Error("played nothing")
		}
		if err := s.Play(t.Context(), media.SilenceFor(0)); err != nil {
			t.Error(err)
		}
	})
}

// TestNewestPlayerIsHeard, and when it ends the one before is heard again.
func TestNewestPlayerIsHeard(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		alice := newPhone(t, n, aliceAddr)
		defer alice.hangUp()
		s := open(t, house, pbxAddr)
		connect(t, alice.Session, s)
		first := play(s, mediatest.Say(500))
		alice.mustHear(t, 500)
		second := play(s, mediatest.Say(800))
		time.Sleep(time.Second)
		alice.mustHear(t, 800)
		second()
		time.Sleep(time.Second)
		alice.mustHear(t, 500)
		first()
	})
}

// TestWideVoiceIsHeardNarrow: a file of 16 kHz plays at its right pitch.
func TestWideVoiceIsHeardNarrow(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		alice := newPhone(t, n, aliceAddr)
		defer alice.hangUp()
		s := open(t, house, pbxAddr)
		connect(t, alice.Session, s)
		src, length, err := media.OpenWAV("prompts/en/leave-message.wav")
		if err != nil || length < 3*time.Second {
			t.Fatal(length, err)
		}
		start := time.Now()
		if err := s.Play(t.Context(), src); err != nil || math.Abs(float64(time.Since(start)-length)) > float64(40*time.Millisecond) {
			t.Errorf("%v after %s, want %s", err, time.Since(start), length)
		}
	})
}

// TestNoAddress: a session that could only tell 0.0.0.0 is not opened.
func TestNoAddress(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		if s, err := house.Open(netip.IPv4Unspecified()); err == nil {
			t.Errorf("opened %s", s.Local())
		}
		public := media.NewEngine(media.Config{Network: n, Advertise: pbxAddr})
		defer public.Close()
		offer, err := open(t, public, netip.IPv4Unspecified()).Offer()
		if err != nil || !strings.Contains(string(offer), "c=IN IP4 10.0.0.1") {
			t.Errorf("%v\n%s", err, offer)
		}
	})
}
