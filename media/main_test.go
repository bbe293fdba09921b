package media_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pbx/media"
	"pbx/media/mediatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	pbxAddr   = netip.MustParseAddr("10.0.0.1")
	aliceAddr = netip.MustParseAddr("10.0.0.2")
	bobAddr   = netip.MustParseAddr("10.0.0.3")
)

// bubble runs f in a synctest bubble with a network and the engine of the house.
func bubble(t *testing.T, f func(t *testing.T, n *mediatest.Net, house *media.Engine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := mediatest.NewNet()
		house := media.NewEngine(media.Config{Network: n})
		t.Cleanup(func() { // after all others
			if open := n.Open(); open != 0 {
				t.Errorf("%d sockets left open", open)
			}
		})
		defer house.Close()
		f(t, n, house)
	})
}

func open(t *testing.T, e *media.Engine, at netip.Addr) *media.Session {
	t.Helper()
	s, err := e.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// connect lets caller offer and callee answer.
func connect(t *testing.T, caller, callee *media.Session) {
	t.Helper()
	offer, err := caller.Offer()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := callee.Answer(offer)
	if err != nil {
		t.Fatal(err)
	}
	if err := caller.Accept(answer); err != nil {
		t.Fatal(err)
	}
	caller.Established()
	callee.Established()
}

// phone is a telephone: a session of its own engine, an ear, and a mouth.
type phone struct {
	*media.Session
	ear    *mediatest.Ear
	cancel context.CancelFunc
	engine *media.Engine
	ended  chan struct{}
	quiet  context.CancelFunc
	silent chan struct{}
}

func newPhone(t *testing.T, n media.Network, at netip.Addr) *phone {
	t.Helper()
	e := media.NewEngine(media.Config{Network: n})
	ctx, cancel := context.WithCancel(context.Background())
	p := &phone{Session: open(t, e, at), ear: mediatest.NewEar(), cancel: cancel, engine: e, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = p.Listen(ctx, p.ear)
	}()
	return p
}

// say makes the phone say a tone until it is hung up or says something else.
func (p *phone) say(src media.Source) {
	p.hush()
	ctx, cancel := context.WithCancel(context.Background())
	p.quiet, p.silent = cancel, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		_ = p.Play(ctx, src)
	}(p.silent)
}

func (p *phone) hush() {
	if p.quiet != nil {
		p.quiet()
		<-p.silent
		p.quiet = nil
	}
}

func (p *phone) hangUp() {
	p.hush()
	p.cancel()
	<-p.ended
	p.engine.Close()
}

func (p *phone) mustHear(t *testing.T, freq float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := p.ear.Wait(ctx, freq); err != nil {
		t.Fatal(err)
	}
}
