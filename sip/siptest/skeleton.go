// Package siptest holds an in-memory network, a recorder of SIP messages that
// prints ladders, and a scripted phone.
package siptest

import (
	"context"
	"net/netip"
	"time"

	"pbx/sip"
)

// Net is an in-memory network for UDP and TCP with a latency of one millisecond.
type Net struct{}

// NewNet returns an empty network.
func NewNet() *Net { return &Net{} }

// Host is the view of one host of the network: a sip.Network, and usable for RTP too.
func (n *Net) Host(addr netip.Addr) sip.Network { return nil }

// Message is one SIP message on its way.
type Message struct {
	From, To netip.AddrPort
	Method   string // for answers that of the request
	Status   int    // 0 for requests
	Data     []byte
}

// Drop loses the messages that match says yes to.
func (n *Net) Drop(match func(m Message) bool) {}

// Delay holds back the messages that match says yes to.
func (n *Net) Delay(d time.Duration, match func(m Message) bool) {}

// Ladder prints the recorded messages between the named hosts.
func (n *Net) Ladder(names map[netip.Addr]string) string { return "" }

// PhoneConfig is what a Phone must know.
type PhoneConfig struct {
	Name               string
	Network            sip.Network
	Local, Server      netip.AddrPort
	Transport          string // "udp" or "tcp"
	Username, Password string
	Display            string
	Sound              func() sip.Negotiator // one per call; nil: a canned description
}

// Phone is a scripted user agent.
type Phone struct{}

func NewPhone(ctx context.Context, c PhoneConfig) (*Phone, error)           { return &Phone{}, nil }
func (p *Phone) Register(ctx context.Context, expires time.Duration) error  { return nil }
func (p *Phone) Unregister(ctx context.Context) error                       { return nil }
func (p *Phone) Subscribe(ctx context.Context, expires time.Duration) error { return nil }          // message-summary
func (p *Phone) Call(ctx context.Context, number string) (*Line, error)     { return &Line{}, nil } // returns at the first answer above 100, or the refusal
func (p *Phone) Incoming() <-chan *Line                                     { return nil }
func (p *Phone) Lamp() (newMessages, oldMessages, notifies int)             { return }
func (p *Phone) LampChanged() <-chan struct{}                               { return nil } // cap 1
func (p *Phone) Vanish()                                                    {}             // as if the cable was pulled
func (p *Phone) Close()                                                     {}

// Line is one call of a phone.
type Line struct{}

func (l *Line) Sound() sip.Negotiator                          { return nil }
func (l *Line) Remote() sip.Identity                           { return sip.Identity{} } // what the display shows
func (l *Line) Ringing() <-chan struct{}                       { return nil }            // 180 or 183 came
func (l *Line) Answered() <-chan struct{}                      { return nil }
func (l *Line) Done() <-chan struct{}                          { return nil }
func (l *Line) Code() int                                      { return 0 }  // after Done: final status of a refused call; 0 after BYE
func (l *Line) CancelReason() string                           { return "" } // Reason header of the CANCEL or BYE that ended it
func (l *Line) Ring(early bool) error                          { return nil }
func (l *Line) Answer(ctx context.Context) error               { return nil } // returns at ACK
func (l *Line) Refuse(code int) error                          { return nil }
func (l *Line) Cancel() error                                  { return nil }
func (l *Line) Hold(ctx context.Context) error                 { return nil }
func (l *Line) Resume(ctx context.Context) error               { return nil }
func (l *Line) Bye(ctx context.Context) error                  { return nil }
func (l *Line) HangUp()                                        {}             // CANCEL, refusal or BYE, whichever fits
func (l *Line) SendInfo(ctx context.Context, digit rune) error { return nil } // application/dtmf-relay
