package sip_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pbx/sip"
)

// brokenNet is a network that takes no INVITE, and tells its sender of each.
type brokenNet struct {
	sip.Network
	tried func(invite string)
}

// udpSocket is what the server needs of one.
type udpSocket interface {
	net.PacketConn
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

type brokenSocket struct {
	udpSocket
	n *brokenNet
}

func (n *brokenNet) ListenPacket(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error) {
	conn, err := n.Network.ListenPacket(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &brokenSocket{conn.(udpSocket), n}, nil
}

func (c *brokenSocket) WriteTo(p []byte, to net.Addr) (int, error) {
	return c.WriteToUDPAddrPort(p, to.(*net.UDPAddr).AddrPort())
}

func (c *brokenSocket) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	if strings.HasPrefix(string(p), "INVITE ") {
		c.n.tried(string(p))
		return 0, errors.New("network is unreachable")
	}
	return c.udpSocket.WriteToUDPAddrPort(p, to)
}

// A leg whose INVITE cannot be sent keeps nobody waiting who found it in that moment.
func TestHangUpOfUnsentCall(t *testing.T) {
	n := &brokenNet{}
	bubble(t, func(w *world) {
		w.registered("bob")
		found := false
		n.tried = func(invite string) {
			_, id, _ := strings.Cut(invite, "\r\nCall-ID: ")
			id, _, _ = strings.Cut(id, "\r\n")
			_, tag, _ := strings.Cut(invite, ";tag=")
			tag, _, _ = strings.Cut(tag, "\r\n")
			if l := w.server.Find(sip.DialogID{CallID: id, LocalTag: tag}); l != nil {
				found = true
				l.HangUp(sip.Cause{})
			}
		}
		if _, err := w.server.Invite(w.ctx, sip.Outgoing{To: w.binding("bob"), Sound: sound()}); err == nil {
			t.Error("an INVITE was sent")
		}
		if !found {
			t.Error("the leg was not found")
		}
		closed := make(chan error, 1)
		go func() { closed <- w.server.Close(w.ctx) }()
		if err := within(t, time.Minute, closed, "end of the server"); err != nil {
			t.Error(err)
		}
	}, func(c *sip.Config) { n.Network = c.Network; c.Network = n })
}
