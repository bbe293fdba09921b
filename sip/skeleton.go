package sip

import (
	"context"
	"net/netip"

	"pbx/event"
	"pbx/store"
)

// Server is the signalling of the house.
type Server struct{}

// New returns a server that listens once started.
func New(cfg Config, dir Directory, b Bindings, m Mailboxes, bus *event.Bus) (*Server, error) {
	return &Server{}, nil
}

func (s *Server) Start(ctx context.Context, h Handler) error           { return nil }
func (s *Server) Listeners() []Listener                                { return nil }
func (s *Server) Drain()                                               {}
func (s *Server) Close(ctx context.Context) error                      { return nil }
func (s *Server) BindingsOfUser(user store.ID) []store.Binding         { return nil }
func (s *Server) BindingsOfDevice(device store.ID) []store.Binding     { return nil }
func (s *Server) ForgetLine(line store.ID)                             {}
func (s *Server) Invite(ctx context.Context, o Outgoing) (*Leg, error) { return &Leg{}, nil }
func (s *Server) Stats() Stats                                         { return Stats{} }
func (s *Server) Notify(ctx context.Context, b store.Binding, eventHeader, contentType string, body []byte) error {
	return nil
}

// Leg is one dialog with one endpoint. All methods are safe for concurrent use.
type Leg struct{}

func (l *Leg) ID() string                            { return "" }
func (l *Leg) Line() store.Line                      { return store.Line{} }
func (l *Leg) Binding() store.Binding                { return store.Binding{} }
func (l *Leg) Dialed() string                        { return "" }
func (l *Leg) Caller() Identity                      { return Identity{} }
func (l *Leg) MaxForwards() int                      { return 70 }
func (l *Leg) UserAgent() string                     { return "" }
func (l *Leg) Local() netip.Addr                     { return netip.Addr{} }
func (l *Leg) Peer() netip.Addr                      { return netip.Addr{} }
func (l *Leg) Attach(n Negotiator)                   {}
func (l *Leg) Ring(early bool) error                 { return nil }
func (l *Leg) Answer(ctx context.Context) error      { return nil }
func (l *Leg) Refuse(code int, reason string) error  { return nil }
func (l *Leg) HangUp(c Cause)                        {}
func (l *Leg) Renegotiate(ctx context.Context) error { return nil }
func (l *Leg) Progress() <-chan Progress             { return nil }
func (l *Leg) Answered() <-chan struct{}             { return nil }
func (l *Leg) Digits() <-chan rune                   { return nil }
func (l *Leg) Done() <-chan struct{}                 { return nil }
func (l *Leg) Cause() Cause                          { return Cause{} }
