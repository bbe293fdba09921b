package calltest

import (
	"context"
	"fmt"
	"sync"

	"pbx/media"
	"pbx/media/mediatest"
	"pbx/sip/siptest"
)

// Call is one call of a phone, with sound.
type Call struct {
	*siptest.Line
	phone *Phone
	sound *sound
	ear   *mediatest.Ear
	early chan struct{} // closed when it speaks before it is answered

	mu     sync.Mutex
	voice  media.Source // nil: the phone's own tone
	muted  bool
	change func() // ends what is being said
}

// talk says the voice until the call ends, again whenever it changes.
func (c *Call) talk(ctx context.Context) {
	for ctx.Err() == nil {
		saying, change := context.WithCancel(ctx)
		c.mu.Lock()
		c.change = change
		src := c.voice
		if src == nil && c.phone.cfg.Voice > 0 {
			src = mediatest.Say(c.phone.cfg.Voice)
		}
		if c.muted || src == nil {
			src = endless{}
		}
		c.mu.Unlock()
		err := c.sound.Play(saying, src)
		changed := saying.Err() != nil
		change()
		switch {
		case changed:
		case err != nil:
			return // the session was closed
		default:
			c.Say(nil) // src ended by itself
		}
	}
}

// endless is silence: phones send it as packets.
type endless struct{}

// ReadFrame fills a frame with silence.
func (endless) ReadFrame(f *media.Frame) error {
	*f = media.Frame{}
	return nil
}

// Say makes the phone say src instead of what it says now; nil is its own tone.
func (c *Call) Say(src media.Source) { c.say(src, false) }

// Mute makes the phone send silence.
func (c *Call) Mute() { c.say(nil, true) }

func (c *Call) say(src media.Source, muted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.voice, c.muted = src, muted
	if c.change != nil {
		c.change()
	}
}

// Hears returns the frequency of the tone that is heard, or 0, and how loud the sound is in dBFS.
func (c *Call) Hears() (freq, level float64) { return c.ear.Freq(), c.ear.Level() }

// Hear waits until the tone is heard.
func (c *Call) Hear(ctx context.Context, freq float64) error {
	if err := c.ear.Wait(ctx, freq); err != nil {
		return fmt.Errorf("%s: %w", c.phone.cfg.Name, err)
	}
	return nil
}

// HearSound waits until speech or music is heard.
func (c *Call) HearSound(ctx context.Context) error {
	if err := c.ear.WaitSound(ctx); err != nil {
		return fmt.Errorf("%s: %w", c.phone.cfg.Name, err)
	}
	return nil
}

// Encrypted says what protects the sound of the call; "": nothing.
func (c *Call) Encrypted() string { return c.sound.Encrypted() }

// Codec returns what the phone speaks.
func (c *Call) Codec() string { return c.sound.Codec() }

// Press sends keys in the sound, as RFC 4733 events.
func (c *Call) Press(ctx context.Context, keys string) error {
	if err := c.sound.Press(ctx, keys); err != nil {
		return fmt.Errorf("%s presses keys: %w", c.phone.cfg.Name, err)
	}
	return nil
}

// PressInfo sends keys by SIP INFO.
func (c *Call) PressInfo(ctx context.Context, keys string) error {
	for _, k := range keys {
		if err := c.SendInfo(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// HoldInactive puts the peer on hold with a=inactive.
func (c *Call) HoldInactive(ctx context.Context) error { return c.renegotiate(ctx, inactive) }

// HoldOld puts the peer on hold as phones of RFC 2543 do: with the address 0.0.0.0.
func (c *Call) HoldOld(ctx context.Context) error { return c.renegotiate(ctx, nowhere) }

// Resume takes the peer off any hold.
func (c *Call) Resume(ctx context.Context) error { return c.renegotiate(ctx, nil) }

func (c *Call) renegotiate(ctx context.Context, edit func(sdp string) string) error {
	c.sound.setEdit(edit)
	return c.Line.Resume(ctx) // an ordinary re-INVITE; the offer says the rest
}

// RingWithSound answers 183 and speaks before the call is answered.
func (c *Call) RingWithSound() error {
	if err := c.Ring(true); err != nil {
		return fmt.Errorf("%s rings with sound: %w", c.phone.cfg.Name, err)
	}
	close(c.early)
	return nil
}

// Keys returns the keys that were heard in the sound since the last time.
func (c *Call) Keys() (keys string) {
	for {
		select {
		case key := <-c.sound.Digits():
			keys += string(key)
		default:
			return keys
		}
	}
}
