package media_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// eager is a kernel that would relay everything at once, and counts what it is given.
type eager struct{ watched, handed atomic.Int32 }

func (k *eager) Port(netip.AddrPort) media.KernelPort { return &eagerPort{kernel: k} }

type eagerPort struct {
	kernel *eager
	state  media.KernelState
}

func (p *eagerPort) Watch(media.KernelStream) { p.kernel.watched.Add(1) }
func (p *eagerPort) Watched() bool            { return true }
func (p *eagerPort) Relay(_ media.KernelPort, _ media.KernelTarget, st media.KernelState) {
	p.state = st
	p.kernel.handed.Add(1)
}
func (p *eagerPort) State() media.KernelState { return p.state }
func (p *eagerPort) Stop() media.KernelState  { return p.state }
func (p *eagerPort) Close()                   {}

// party is one end of a call with one codec.
type party struct {
	peer    *peer
	session *media.Session
	number  uint8
}

const keys = "a=rtpmap:101 telephone-event/8000" // without them we would listen for tones

// codecLines are offers of one codec by its payload number.
var codecLines = map[uint8][]string{
	0:  {"m=audio 6000 RTP/AVP 0 101", keys},
	8:  {"m=audio 6000 RTP/AVP 8 101", keys},
	9:  {"m=audio 6000 RTP/AVP 9 101", keys},
	3:  {"m=audio 6000 RTP/AVP 3 101", keys},
	18: {"m=audio 6000 RTP/AVP 18 101", keys},
	96: {"m=audio 6000 RTP/AVP 96 101", "a=rtpmap:96 opus/48000/2", keys},
}

// take makes the party agree on the codec of that number, even on one that is only passed on.
func (p *party) take(t *testing.T, house *media.Engine, number uint8) {
	t.Helper()
	wish := open(t, house, pbxAddr)
	defer wish.Close()
	wish.Consider(sdpOf(codecLines[number]...))
	p.session.Prefer(wish)
	p.peer.agree(t, p.session, codecLines[number]...)
	p.number = number
}

// talk lets both say something for so long.
func talk(length time.Duration, both ...*party) {
	for range length / (20 * time.Millisecond) {
		for _, p := range both {
			payload, ticks := pattern(160), uint32(160)
			if p.number == 96 {
				payload, ticks = []byte{0xf8, 0xff, 0xfe}, 960 // a frame of 20 ms of silence
			}
			p.peer.send(p.session.Local(), p.number, payload)
			p.peer.ts += ticks
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestKernelTakesAlike: a call goes to the kernel when both parties have one codec with the clock that it counts by. Where
// sound has to be turned it stays, and also where it had to before one of them changed its mind.
func TestKernelTakesAlike(t *testing.T) {
	for name, c := range map[string]struct {
		one, other uint8
		then       uint8 // what the other has after a while
		want       bool
	}{
		"PCMU":                  {one: 0, other: 0, then: 0, want: true},
		"PCMA":                  {one: 8, other: 8, then: 8, want: true},
		"G722":                  {one: 9, other: 9, then: 9, want: true},
		"G729, passed on":       {one: 18, other: 18, then: 18, want: true},
		"opus":                  {one: 96, other: 96, then: 96},
		"two laws":              {one: 0, other: 8, then: 8},
		"PCMU and G722":         {one: 0, other: 9, then: 9},
		"PCMA and opus":         {one: 8, other: 96, then: 96},
		"G722 and opus":         {one: 9, other: 96, then: 96},
		"G729 and GSM":          {one: 18, other: 3, then: 3},
		"two laws, then one":    {one: 0, other: 8, then: 0, want: true},
		"G722 and PCMU, turned": {one: 0, other: 9, then: 0},
		"opus and PCMU, turned": {one: 0, other: 96, then: 0},
		"PCMU and G722, turned": {one: 9, other: 0, then: 9},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, kernel := mediatest.NewNet(), &eager{}
				house := media.NewEngine(media.Config{Network: n, Kernel: kernel})
				defer house.Close()
				alice := &party{peer: newPeer(t, n, aliceAddr), session: open(t, house, pbxAddr)}
				bob := &party{peer: newPeer(t, n, bobAddr), session: open(t, house, pbxAddr)}
				alice.take(t, house, c.one)
				bob.take(t, house, c.other)
				bridge := media.Join(alice.session, bob.session)
				defer bridge.Close()
				if c.then != c.other {
					talk(10*time.Second, alice, bob)
					if handed := kernel.handed.Load() > 0; handed != (c.one == c.other) {
						t.Fatalf("handed over at first: %t", handed)
					}
					bob.take(t, house, c.then)
					kernel.handed.Store(0)
				}
				talk(30*time.Second, alice, bob) // longer than the wait after the kernel left packets to us
				if handed := kernel.handed.Load() > 0; handed != c.want {
					t.Errorf("handed over: %t, want %t; watched %d", handed, c.want, kernel.watched.Load())
				}
			})
		})
	}
}
