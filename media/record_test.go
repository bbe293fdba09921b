package media_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// soundOf reads a whole source.
func soundOf(t *testing.T, src media.Source) []int16 {
	t.Helper()
	var all []int16
	var f media.Frame
	for {
		switch err := src.ReadFrame(&f); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, f[:]...)
	}
}

func wavOf(t *testing.T, path string) ([]int16, time.Duration) {
	t.Helper()
	src, length, err := media.OpenWAV(path)
	if err != nil {
		t.Fatal(err)
	}
	sound := soundOf(t, src)
	return sound[:min(len(sound), int(length*16000/time.Second))], length // without the filling of the last frame
}

// record records what happens during f.
func record(t *testing.T, s *media.Session, o media.RecordOptions, f func()) (media.Recorded, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "message.wav")
	w, err := media.CreateWAV(path, 16000)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
		cancel()
	}()
	got, err := s.Record(ctx, w, o)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-done
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error("closed twice: ", err)
	}
	return got, path
}

func near(a, b, slack time.Duration) bool { return (a - b).Abs() <= slack }

// TestRecord: what is said is in the file, as long as it was, however much of it is lost.
func TestRecord(t *testing.T) {
	for _, percent := range []int{0, 1, 5, 10, 20} {
		bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
			dice := rand.New(rand.NewPCG(3, uint64(percent)))
			s := open(t, house, pbxAddr)
			n.Judge = func(_, to netip.AddrPort, _ []byte) mediatest.Fate {
				if to != s.Local() || dice.IntN(100) >= percent {
					return mediatest.Fate{Delay: time.Duration(dice.IntN(15)) * time.Millisecond}
				}
				return mediatest.Fate{Drop: dice.IntN(2) == 0, Copies: dice.IntN(2), Delay: time.Duration(dice.IntN(100)) * time.Millisecond}
			}
			alice := newPhone(t, n, aliceAddr)
			defer alice.hangUp()
			connect(t, alice.Session, s)
			got, path := record(t, s, media.RecordOptions{}, func() {
				time.Sleep(2 * time.Second) // she says nothing, sends nothing
				alice.say(mediatest.Say(440))
				time.Sleep(10 * time.Second)
				alice.hush()
				time.Sleep(3 * time.Second)
			})
			if got.Reason != media.ReasonEnded || !near(got.Duration, 15*time.Second, 40*time.Millisecond) || !near(got.Voice, 10*time.Second, time.Second) {
				t.Errorf("%d %%: %+v", percent, got)
			}
			sound, length := wavOf(t, path)
			if length != got.Duration {
				t.Errorf("%d %%: file of %s, recorded %s", percent, length, got.Duration)
			}
			second := func(from, to float64) []int16 { return sound[int(from*16000):int(to*16000)] }
			if l := mediatest.Level(second(0, 1.9)); !math.IsInf(l, -1) {
				t.Errorf("%d %%: before the voice %.0f dBFS", percent, l)
			}
			for at := 2.2; at < 11.5; at++ {
				if f := mediatest.Hear(second(at, at+0.25)); percent <= 5 && math.Abs(f-440) > 3 {
					t.Errorf("%d %%: at %.1f s %.0f Hz", percent, at, f)
				}
			}
			if l := mediatest.Level(second(12.4, 14.9)); !math.IsInf(l, -1) {
				t.Errorf("%d %%: after the voice %.0f dBFS", percent, l)
			}
		})
	}
}

// TestRecordEnds: by length, by silence, and with the session.
func TestRecordEnds(t *testing.T) {
	for name, c := range map[string]struct {
		o      media.RecordOptions
		speaks time.Duration
		closes bool
		length time.Duration
	}{
		media.ReasonMax:     {o: media.RecordOptions{Max: 4 * time.Second, Silence: 3 * time.Second}, speaks: time.Minute, length: 4 * time.Second},
		media.ReasonSilence: {o: media.RecordOptions{Max: time.Minute, Silence: 3 * time.Second}, speaks: 5 * time.Second, length: 8 * time.Second},
		media.ReasonClosed:  {speaks: 5 * time.Second, closes: true, length: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
				alice := newPhone(t, n, aliceAddr)
				defer alice.hangUp()
				s := open(t, house, pbxAddr)
				connect(t, alice.Session, s)
				got, _ := record(t, s, c.o, func() {
					alice.say(mediatest.Say(440))
					time.Sleep(c.speaks)
					alice.hush()
					if c.closes {
						s.Close()
					}
					time.Sleep(time.Minute)
				})
				if got.Reason != name || !near(got.Duration, c.length, 300*time.Millisecond) {
					t.Errorf("%+v, want %s", got, c.length)
				}
			})
		})
	}
}

// TestRecordFails: a full disk is an error, and the file stays whole.
func TestRecordFails(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		path := filepath.Join(t.TempDir(), "message.wav")
		w, err := media.CreateWAV(path, 16000)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil { // every write fails from now on
			t.Fatal(err)
		}
		got, err := s.Record(t.Context(), w, media.RecordOptions{Max: time.Minute})
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%+v, %v", got, err)
		}
		if sound, _ := wavOf(t, path); len(sound) != 0 {
			t.Errorf("%d samples", len(sound))
		}
		if _, err := media.CreateWAV(path, 16000); !errors.Is(err, os.ErrExist) {
			t.Errorf("over an old recording: %v", err)
		}
	})
}

// TestTalkingToTheDead: players, listeners and recorders end when the session is closed.
func TestTalkingToTheDead(t *testing.T) {
	bubble(t, func(t *testing.T, _ *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		ended := make(chan error, 3)
		go func() { ended <- s.Play(t.Context(), mediatest.Say(400)) }()
		go func() { ended <- s.Listen(t.Context(), mediatest.NewEar()) }()
		go func() { ended <- s.Play(t.Context(), media.SilenceFor(time.Hour)) }()
		time.Sleep(time.Second)
		house.Close()
		for range 3 {
			if err := <-ended; !errors.Is(err, media.ErrClosed) {
				t.Error(err)
			}
		}
		synctest.Wait()
	})
}

// TestRecordingSurvivesKill kills a process in the middle of a recording, ten times. What was
// written is there but for the last second, with a true header, and the repair finds the rest.
func TestRecordingSurvivesKill(t *testing.T) {
	if path := os.Getenv("MEDIA_TEST_RECORD"); path != "" {
		recordUntilKilled(path)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dice := rand.New(rand.NewPCG(11, 13))
	for i := range 10 {
		path := filepath.Join(t.TempDir(), "message.wav")
		cmd := exec.Command(self, "-test.run=^TestRecordingSurvivesKill$")
		cmd.Env = append(os.Environ(), "MEDIA_TEST_RECORD="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The child says after each frame how much it was given; it is killed at some moment.
		lines := bufio.NewScanner(out)
		given, stop := 0, 1+dice.IntN(2000)
		for given < stop && lines.Scan() {
			if _, err := fmt.Sscanf(lines.Text(), "frame %d", &given); err != nil {
				t.Fatalf("child said %q", lines.Text())
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			_, _ = fmt.Sscanf(lines.Text(), "frame %d", &given)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		sound, length := wavOf(t, path)
		if missing := time.Duration(given)*20*time.Millisecond - length; missing > time.Second || missing < -time.Second {
			t.Errorf("run %d: %s missing of %d frames", i, missing, given)
		}
		ramp(t, "as it was left", sound)
		repaired, err := media.RepairWAV(path)
		if err != nil || repaired < length {
			t.Errorf("run %d: repaired to %s from %s: %v", i, repaired, length, err)
		}
		sound, length = wavOf(t, path)
		if length != repaired {
			t.Errorf("run %d: repaired %s, file says %s", i, repaired, length)
		}
		ramp(t, "repaired", sound)
	}
}

func ramp(t *testing.T, what string, sound []int16) {
	t.Helper()
	for i, v := range sound {
		if v != int16(i) {
			t.Fatalf("%s: sample %d of %d is %d", what, i, len(sound), v)
		}
	}
}

// TestFullDisk: when the disk is full the recorder says so, and the file is whole as far as it goes.
// The child process is allowed files of 100,000 octets only.
func TestFullDisk(t *testing.T) {
	const limit = 100_000
	if path := os.Getenv("MEDIA_TEST_FULL"); path != "" {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			t.Fatal(err)
		}
		w, err := media.CreateWAV(path, 16000)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for err == nil {
			var f media.Frame
			for i := range f {
				f[i] = int16(n)
				n++
			}
			err = w.Write(f[:])
		}
		if !errors.Is(err, syscall.EFBIG) {
			t.Errorf("full disk: %v", err)
		}
		if err := w.Close(); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("close: %v", err)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "message.wav")
	cmd := exec.Command(self, "-test.run=^TestFullDisk$")
	cmd.Env = append(os.Environ(), "MEDIA_TEST_FULL="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sound, _ := wavOf(t, path)
	if most := (limit - 44) / 2; len(sound) > most || len(sound) < most-2000 {
		t.Errorf("%d samples, want %d but for a quarter of a second", len(sound), most)
	}
	ramp(t, "full", sound)
}

func recordUntilKilled(path string) {
	w, err := media.CreateWAV(path, 16000)
	if err != nil {
		panic(err)
	}
	var f media.Frame
	for frame, n := 1, 0; ; frame++ {
		for i := range f {
			f[i] = int16(n)
			n++
		}
		if err := w.Write(f[:]); err != nil {
			panic(err)
		}
		fmt.Printf("frame %d\n", frame)
	}
}
