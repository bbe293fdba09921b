package media_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// TestTapeFails: a disk that refuses ends the tape and not the call, and the file stays whole; a file that was cut off is
// mended, with both sides.
func TestTapeFails(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		alice, bob := newPhone(t, n, aliceAddr), newPhone(t, n, bobAddr)
		defer alice.hangUp()
		defer bob.hangUp()
		a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
		connect(t, alice.Session, a)
		connect(t, bob.Session, b)
		defer media.Join(a, b).Close()
		alice.say(mediatest.Say(440))
		path := filepath.Join(t.TempDir(), "call.wav")
		w, err := media.CreateStereoWAV(path, 8000)
		if err != nil {
			t.Fatal(err)
		}
		tape := media.NewTape()
		tape.Follow(a, b)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if err := tape.Run(ctx, w); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if d := w.Duration(); !near(d, 4*time.Second, 40*time.Millisecond) || d != tape.Duration() {
			t.Errorf("a tape of %s, told to be %s", d, tape.Duration())
		}
		if err := media.NewTape().Run(t.Context(), w); err == nil { // every write fails from now on
			t.Error("a closed file was written to")
		}
		bob.mustHear(t, 440)

		// As after kill -9: the header is older than the sound, and the last block is half.
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		clear(whole[40:44])
		if err := os.WriteFile(path, whole[:len(whole)-8001], 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := media.RepairWAV(path)
		if err != nil || !near(d, 3750*time.Millisecond, 40*time.Millisecond) {
			t.Errorf("mended to %s: %v", d, err)
		}
		if info, err := os.Stat(path); err != nil || (info.Size()-44)%4 != 0 {
			t.Errorf("a file of %d octets: %v", info.Size(), err)
		}
		if sound, length := wavOf(t, path); length != d || len(sound) == 0 {
			t.Errorf("plays for %s", length)
		}
	})
}
