// Package calltest makes scripted phones with sound: they register, call, answer, hold, press keys,
// say a tone and recognise what they hear. The scenarios of testdata/calls run on them in memory,
// and the demonstration office runs on them over real sockets.
package calltest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
	"pbx/sip"
	"pbx/sip/siptest"
)

// PhoneConfig is what a Phone must know.
type PhoneConfig struct {
	Name      string
	Network   sip.Network // where all its sockets come from
	Local     netip.AddrPort
	Server    netip.AddrPort
	Transport string // "udp", the default, or "tcp"

	Username, Password string
	Display            string // what it claims to be
	// Binding is what stands behind the Contact of its registrations, as ";q=0.5".
	Binding string
	// Voice is the frequency of the tone it says, in hertz; 0: it is silent.
	Voice float64
	// Allow is the methods that it says it knows; empty: all that it does.
	Allow string
	// Codecs limits what it speaks: "PCMU", "PCMA", "G722", "opus"; empty: everything.
	Codecs []string
	// Tones says that it knows no telephone-event: its keys are tones in the sound.
	Tones bool
	// Security is what it does with encrypted sound; empty: it knows nothing of it.
	Security media.Security
	// SRTP is what the house is told of that; empty: off.
	SRTP string
}

// Phone is a scripted phone with one line.
type Phone struct {
	cfg   PhoneConfig
	sip   *siptest.Phone
	media *media.Engine
	calls sync.WaitGroup

	ctx  context.Context
	stop context.CancelFunc
}

// NewPhone opens a phone; Register makes it reachable.
func NewPhone(ctx context.Context, c PhoneConfig) (*Phone, error) {
	p := &Phone{cfg: c}
	// A phone that hears nothing for a while does not hang up: only the house does.
	p.media = media.NewEngine(media.Config{Network: c.Network, Timeout: 24 * time.Hour})
	var err error
	p.sip, err = siptest.NewPhone(ctx, siptest.PhoneConfig{
		Name: c.Name, Network: c.Network, Local: c.Local, Server: c.Server, Transport: c.Transport,
		Username: c.Username, Password: c.Password, Display: c.Display,
		Binding: c.Binding, Allow: c.Allow, Sound: p.newSound, AutoRing: false,
	})
	if err != nil {
		return nil, errors.Join(err, p.media.Close())
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p, nil
}

// Name returns the phone's name.
func (p *Phone) Name() string { return p.cfg.Name }

// Voice returns the frequency of the tone that the phone says.
func (p *Phone) Voice() float64 { return p.cfg.Voice }

// SIP returns the signalling half of the phone.
func (p *Phone) SIP() *siptest.Phone { return p.sip }

// Register makes the phone reachable for an hour.
func (p *Phone) Register(ctx context.Context) error { return p.sip.Register(ctx, time.Hour) }

// Close switches the phone off without a word and waits for its goroutines.
func (p *Phone) Close() error {
	p.stop()
	p.sip.Close()
	p.calls.Wait()
	return p.media.Close()
}

// newSound makes the sound side of one call. One that cannot be opened refuses to negotiate.
func (p *Phone) newSound() sip.Negotiator {
	s, err := p.media.Open(p.cfg.Local.Addr())
	if err != nil {
		return broken{err}
	}
	s.Expect(p.cfg.Server.Addr())
	s.Secure(p.cfg.Security)
	return &sound{Session: s, codecs: p.cfg.Codecs, tones: p.cfg.Tones}
}

// broken is the sound of a phone that found no socket for it.
type broken struct{ err error }

func (b broken) Offer() ([]byte, error)        { return nil, b.err }
func (b broken) Answer([]byte) ([]byte, error) { return nil, b.err }
func (b broken) Accept([]byte) error           { return b.err }

// Call dials a number. It returns once the INVITE was sent.
func (p *Phone) Call(ctx context.Context, number string) (*Call, error) {
	line, err := p.sip.Call(ctx, number)
	if err != nil {
		return nil, fmt.Errorf("%s calls %s: %w", p.cfg.Name, number, err)
	}
	return p.take(line), nil
}

// CallWith dials a number with more headers in the INVITE, as "Name: value".
func (p *Phone) CallWith(ctx context.Context, number string, headers ...string) (*Call, error) {
	line, err := p.sip.CallWith(ctx, number, headers...)
	if err != nil {
		return nil, fmt.Errorf("%s calls %s: %w", p.cfg.Name, number, err)
	}
	return p.take(line), nil
}

// Next waits for the next incoming call and lets it ring.
func (p *Phone) Next(ctx context.Context) (*Call, error) {
	select {
	case line := <-p.sip.Incoming():
		return p.take(line), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s waits for a call: %w", p.cfg.Name, ctx.Err())
	}
}

// take gives a line ears, and a voice once it is answered.
func (p *Phone) take(line *siptest.Line) *Call {
	c := &Call{Line: line, phone: p, ear: mediatest.NewEar(), early: make(chan struct{})}
	c.sound, _ = line.Sound().(*sound)
	if c.sound == nil {
		return c
	}
	ctx, stop := context.WithCancel(p.ctx)
	p.calls.Go(func() {
		defer stop()
		select {
		case <-line.Done():
		case <-p.ctx.Done():
		}
		c.sound.Session.Close()
	})
	p.calls.Go(func() { _ = c.sound.Listen(ctx, c.ear) })
	p.calls.Go(func() {
		select {
		case <-line.Answered():
			c.sound.Established()
		case <-c.early:
		case <-ctx.Done():
			return
		}
		c.talk(ctx)
	})
	return c
}

// Vanish cuts the phone off as if its cable was pulled, in the middle of whatever it does.
func (p *Phone) Vanish(calls ...*Call) {
	p.sip.Vanish()
	for _, c := range calls {
		c.sound.Session.Close()
	}
}
