package calltest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pbx/media"
	"pbx/store"
	"pbx/store/sqlite"
)

// soundVerbs are about music and recordings.
var soundVerbs = []verb{
	{pattern(`hold music of (the account|\S+) is (\d+) Hz`), (*scenario).holdMusic},
	{pattern(`hold music of (the account|\S+) is as usual`), (*scenario).holdMusic},
	{pattern(`(the account|\S+) is (always|never) recorded(?: with a (tone|announcement))?`), (*scenario).ruleRecording},
	{pattern(`portal (records|pauses|stops) the call`), (*scenario).portalRecords},
	{pattern(`recording: (\S+) left, (\S+) right, (\d+) gaps?(, begins with words)?(, tones)?(, about \S+)?`), (*scenario).recorded},
	{pattern(`nothing was recorded`), (*scenario).nothingRecorded},
	{pattern(`(\w+) hears (\d+) Hz(?: within (\S+))?`), (*scenario).hearsTone},
}

// holdMusic uploads a clip of one tone and makes it the music of the account, a user or a number.
func (s *scenario) holdMusic(ctx context.Context, w []string) error {
	return s.h.db.Update(ctx, store.System, s.h.account, func(tx *sqlite.Tx) error {
		var clip store.AudioClip
		if len(w) > 1 {
			freq, _ := strconv.Atoi(w[1])
			path, err := s.toneFile(float64(freq))
			if err != nil {
				return err
			}
			clip = store.AudioClip{Name: w[1] + " Hz", Duration: time.Second, Rate: media.SampleRate, Peaks: []byte{255}}
			if err := tx.CreateClip(&clip, path); err != nil {
				return err
			}
		}
		if w[0] == "the account" {
			a := tx.Account()
			a.HoldMusicClipID = clip.ID
			return tx.SaveAccount(&a, 0)
		}
		if u := s.users[w[0]]; u != nil || s.named(w[0]) != nil {
			if u == nil {
				u = s.named(w[0])
			}
			now, err := tx.User(u.ID)
			now.HoldMusicClipID = clip.ID
			return errors.Join(err, tx.SaveUser(&now, 0))
		}
		for _, n := range tx.Numbers() {
			if n.Number == w[0] {
				n.HoldMusicClipID = clip.ID
				return tx.SaveNumber(&n, 0)
			}
		}
		return fmt.Errorf("nobody is called %s", w[0])
	})
}

// named finds a user by name.
func (s *scenario) named(name string) *store.User {
	for _, u := range s.users {
		if u.Name == name {
			return u
		}
	}
	return nil
}

// toneFile makes a staged clip of one second.
func (s *scenario) toneFile(freq float64) (string, error) {
	f, err := s.h.db.StageSound()
	if err != nil {
		return "", err
	}
	path := f.Name()
	if err := errors.Join(f.Close(), os.Remove(path)); err != nil {
		return "", err
	}
	w, err := media.CreateWAV(path, media.SampleRate)
	if err != nil {
		return "", err
	}
	tone := media.Tone(freq, 0)
	var frame media.Frame
	for range 50 {
		if err := errors.Join(tone.ReadFrame(&frame), w.WriteFrame(&frame)); err != nil {
			return "", err
		}
	}
	return path, w.Close()
}

// hearsTone waits until a phone hears one tone.
func (s *scenario) hearsTone(_ context.Context, w []string) error {
	c, err := s.current(w[0])
	if err != nil {
		return err
	}
	within := 5 * time.Second
	if w[2] != "" {
		if within, err = time.ParseDuration(w[2]); err != nil {
			return err
		}
	}
	want, _ := strconv.ParseFloat(w[1], 64)
	return untilEach(20*time.Millisecond, within, func() error {
		if freq, level := c.Hears(); math.Abs(freq-want) > 8 || level < -40 {
			return fmt.Errorf("heard %.0f Hz at %.0f dB", freq, level)
		}
		return nil
	})
}

// ruleRecording says whose calls are recorded.
func (s *scenario) ruleRecording(ctx context.Context, w []string) error {
	return s.h.db.Update(ctx, store.System, s.h.account, func(tx *sqlite.Tx) error {
		if w[0] == "the account" {
			a := tx.Account()
			a.RecordingEnabled, a.Recording.Notice = w[1] == "always", w[2]
			return tx.SaveAccount(&a, 0)
		}
		if u := s.named(w[0]); u != nil {
			now, err := tx.User(u.ID)
			now.Recording = w[1]
			return errors.Join(err, tx.SaveUser(&now, 0))
		}
		for _, n := range tx.Numbers() {
			if n.Number == w[0] {
				n.Recording = w[1]
				return tx.SaveNumber(&n, 0)
			}
		}
		return fmt.Errorf("nobody is called %s", w[0])
	})
}

func (s *scenario) portalRecords(_ context.Context, w []string) error {
	calls := s.h.engine.Calls(s.h.account)
	if len(calls) == 0 {
		return errors.New("there is no call")
	}
	state := map[string]string{"records": "recording", "pauses": "paused", "stops": "stopped"}[w[0]]
	if err := s.h.engine.Record(s.h.account, calls[0].ID, "Ada", state); err != nil {
		return err
	}
	return until(time.Second, func() error {
		got := s.h.engine.Calls(s.h.account)[0].Recording
		if got != state && !(state == "stopped" && got == "") {
			return fmt.Errorf("the call is %q", got)
		}
		return nil
	})
}

// recordings waits until no recording is running and returns all.
func (s *scenario) recordings(ctx context.Context) (items []store.Recording, err error) {
	err = until(10*time.Second, func() error {
		open, err := s.h.db.UnfinishedRecordings(ctx)
		if err == nil && (len(open) > 0 || s.h.engine.Count() > 0) {
			err = fmt.Errorf("%d recordings run, %d calls", len(open), s.h.engine.Count())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	items, _, err = s.h.db.Recordings(ctx, s.h.account, store.RecordingFilter{}, store.Page{})
	return items, err
}

func (s *scenario) nothingRecorded(ctx context.Context, _ []string) error {
	items, err := s.recordings(ctx)
	if err == nil && len(items) > 0 {
		err = fmt.Errorf("%d recordings", len(items))
	}
	return err
}

// recorded looks into the latest recording: each voice is on its side and on no other.
func (s *scenario) recorded(ctx context.Context, w []string) error {
	items, err := s.recordings(ctx)
	if err != nil || len(items) == 0 {
		return fmt.Errorf("no recording: %w", err)
	}
	r := items[0]
	if got := fmt.Sprint(called(r.Left), ", ", called(r.Right), ", ", len(r.Gaps)); got != fmt.Sprintf("%s, %s, %s", w[0], w[1], w[2]) {
		return fmt.Errorf("the recording is of %s gaps", got)
	}
	call, err := s.h.db.CallRecord(ctx, s.h.account, r.CallID)
	if err != nil || call.RecordingID != r.ID {
		return fmt.Errorf("the record of the call knows %q: %w", call.RecordingID, err)
	}
	sides, rate, err := sidesOf(s.h.db.RecordingPath(r.ID))
	if err != nil {
		return err
	}
	if length := time.Duration(len(sides[0])) * time.Second / time.Duration(rate); length != r.Duration {
		return fmt.Errorf("a file of %s, told to be %s", length, r.Duration)
	}
	if about, ok := strings.CutPrefix(w[5], ", about "); ok {
		if want, err := time.ParseDuration(about); err != nil || (r.Duration-want).Abs() > 500*time.Millisecond {
			return fmt.Errorf("a recording of %s: %w", r.Duration, err)
		}
	}
	voice := [2]float64{s.voiceOf(w[0]), s.voiceOf(w[1])}
	heard, tones := [2][2]int{}, 0
	for at := 0; at+rate/4 <= len(sides[0]); at += rate / 4 {
		for i := range sides {
			window := sides[i][at : at+rate/4]
			for j, freq := range voice {
				if freq > 0 && share(window, freq, rate) > 0.2 {
					heard[i][j]++
				}
			}
			if share(window, 1400, rate) > 0.2 {
				tones++
			}
		}
	}
	switch {
	case voice[0] > 0 && heard[0][0] == 0, voice[1] > 0 && heard[1][1] == 0:
		return fmt.Errorf("voices on the sides: %v", heard)
	case heard[0][1] > 0 || heard[1][0] > 0:
		return fmt.Errorf("voices on the wrong sides: %v", heard)
	case (w[4] != "") != (tones > 0), w[4] != "" && r.Notice != "tone":
		return fmt.Errorf("%d tones, notice %s", tones, r.Notice)
	case w[3] != "" && r.Notice != "announcement":
		return fmt.Errorf("notice %s", r.Notice)
	}
	if w[3] != "" {
		first := sides[0][rate/10 : rate/2]
		if level(first) < -45 || share(first, voice[0], rate) > 0.2 || share(sides[1][:rate/2], voice[1], rate) > 0.2 {
			return fmt.Errorf("it does not begin with words, %.0f dBFS", level(first))
		}
	}
	for _, g := range r.Gaps {
		from, to := int((g.From+300*time.Millisecond)*time.Duration(rate)/time.Second), int(g.To*time.Duration(rate)/time.Second)-rate/2
		for i := range sides {
			if to = min(to, len(sides[i])); to > from && level(sides[i][from:to]) > -90 {
				return fmt.Errorf("side %d at %.0f dBFS in the gap %v", i, level(sides[i][from:to]), g)
			}
		}
	}
	return nil
}

func (s *scenario) voiceOf(name string) float64 {
	for n, p := range s.phones {
		if n == name {
			return p.Voice()
		}
	}
	return 0
}

// sidesOf reads a file of two sides.
func sidesOf(path string) (sides [2][]int16, rate int, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return sides, 0, err
	}
	if len(b) < 44 || binary.LittleEndian.Uint16(b[22:]) != 2 || int(binary.LittleEndian.Uint32(b[40:])) != len(b)-44 {
		return sides, 0, fmt.Errorf("%s is no whole file of two sides: %d octets, % x", path, len(b), b[:min(44, len(b))])
	}
	for i := 44; i+4 <= len(b); i += 4 {
		sides[0] = append(sides[0], int16(binary.LittleEndian.Uint16(b[i:])))
		sides[1] = append(sides[1], int16(binary.LittleEndian.Uint16(b[i+2:])))
	}
	return sides, int(binary.LittleEndian.Uint32(b[24:])), nil
}

// share is how much of the energy of samples is at freq.
func share(samples []int16, freq float64, rate int) float64 {
	var re, im, sum float64
	for i, v := range samples {
		a := 2 * math.Pi * freq * float64(i) / float64(rate)
		re += float64(v) * math.Cos(a)
		im += float64(v) * math.Sin(a)
		sum += float64(v) * float64(v)
	}
	if sum < 1e6 {
		return 0
	}
	return (re*re + im*im) * 2 / float64(len(samples)) / sum
}

// level is the loudness of samples in dBFS.
func level(samples []int16) float64 {
	sum := 0.0
	for _, v := range samples {
		sum += float64(v) * float64(v)
	}
	return 10 * math.Log10(sum/float64(max(len(samples), 1))/(1<<30)+1e-12)
}

// TestRecordingsOfAFormerLife: what was being recorded when the house died is finished at the next start.
func TestRecordingsOfAFormerLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ctx := t.Context()
		begin := func(octets int) store.Recording {
			r := store.Recording{AccountID: h.account, CallID: store.NewID(store.PrefixCall), StartedAt: time.Now(), Left: store.CallParty{Name: "alice"}}
			if err := h.db.BeginRecording(ctx, &r); err != nil {
				t.Fatal(err)
			}
			w, err := media.CreateStereoWAV(h.db.RecordingPath(r.ID), 8000)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(w.Write(make([]int16, octets/2)), w.Close()); err != nil {
				t.Fatal(err)
			}
			return r
		}
		kept, empty := begin(64000), begin(0)
		gone := begin(64000)
		if err := os.Remove(h.db.RecordingPath(gone.ID)); err != nil {
			t.Fatal(err)
		}
		if err := h.engine.Recover(ctx); err != nil {
			t.Fatal(err)
		}
		items, _, err := h.db.Recordings(ctx, h.account, store.RecordingFilter{}, store.Page{})
		if err != nil || len(items) != 1 || items[0].ID != kept.ID || items[0].Duration != 2*time.Second {
			t.Errorf("%+v, %v", items, err)
		}
		if _, err := os.Stat(h.db.RecordingPath(empty.ID)); !os.IsNotExist(err) {
			t.Errorf("an empty recording stays: %v", err)
		}
		h.close()
	})
}
