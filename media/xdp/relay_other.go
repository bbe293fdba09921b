//go:build !linux

package xdp

import (
	"errors"
	"log/slog"
	"net/netip"

	"pbx/media"
)

// Options say where to relay.
type Options struct {
	Low, High uint16   // range of RTP and RTCP ports; 0, 0: all ports
	Cards     []string // network cards; empty: all that are up and have an address, but not the loopback
	Log       *slog.Logger
}

// Relay exists on Linux only.
type Relay struct{}

// Open says that it cannot.
func Open(Options) (*Relay, error) { return nil, errors.ErrUnsupported }

func (*Relay) Cards() []string                      { return nil }
func (*Relay) Native() bool                         { return false }
func (*Relay) Close() error                         { return nil }
func (*Relay) Port(netip.AddrPort) media.KernelPort { return nil }
