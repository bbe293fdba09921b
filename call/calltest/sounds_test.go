package calltest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"pbx/media"
	"pbx/store"
	"pbx/store/sqlite"
)

// soundVerbs are about music and recordings.
var soundVerbs = []verb{
	{pattern(`hold music of (the account|\S+) is (\d+) Hz`), (*scenario).holdMusic},
	{pattern(`hold music of (the account|\S+) is as usual`), (*scenario).holdMusic},
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
