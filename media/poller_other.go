//go:build !linux

package media

import (
	"errors"
	"net/netip"
)

// poller exists on Linux; elsewhere each socket has a goroutine.
type poller struct{}

type socket struct {
	conn
	local netip.AddrPort
}

func newPoller() (*poller, error)                         { return nil, errors.ErrUnsupported }
func (*poller) listen(netip.AddrPort) (*socket, error)    { return nil, errors.ErrUnsupported }
func (*poller) close()                                    {}
func (*socket) watch(func(b []byte, from netip.AddrPort)) {}
