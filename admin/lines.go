package admin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"pbx/admin/contract"
	"pbx/store"
)

// credentials are what somebody types into a phone.
func (s *Server) credentials(q *request, d *store.Device) contract.SIPCredentials {
	c := contract.SIPCredentials{Lines: []contract.LineCredentials{}}
	for i := range d.Lines {
		c.Lines = append(c.Lines, s.lineCredentials(q, d.Transport, &d.Lines[i]))
	}
	if len(c.Lines) > 0 {
		c.SIP = &c.Lines[0]
	}
	return c
}

func (s *Server) lineCredentials(q *request, transport string, l *store.Line) contract.LineCredentials {
	host, ports := s.Places.SIP(localAddr(q.http))
	port := ports[transport]
	if transport == "wss" && port == 0 {
		port = ports["ws"] // a proxy with a certificate stands before us
	}
	return contract.LineCredentials{
		LineID: string(l.ID), Index: l.Index, UserID: string(l.UserID),
		Server: host, Port: port, Transport: contract.Transport(transport), Domain: host,
		Username: l.Username, Password: string(l.Password),
	}
}

// localAddr is our address that the request reached: phones beside the browser reach us there too.
func localAddr(r *http.Request) netip.Addr {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return netip.Addr{}
	}
	at, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

func (s *Server) getSIPCredentials(ctx context.Context, q *request) (reply, error) {
	d, err := s.DB.Device(ctx, q.who.account, q.id("device"))
	if err != nil {
		return reply{}, err
	}
	return ok(s.credentials(q, &d))
}

func (s *Server) rotateLine(ctx context.Context, q *request) (reply, error) {
	var l store.Line
	var transport string
	err := s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error {
		d, err := tx.Device(q.id("device"))
		if err != nil {
			return err
		}
		transport = d.Transport
		l, err = tx.RotateLine(d.ID, q.id("line"))
		return err
	})
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return ok(s.lineCredentials(q, transport, &l))
}

func (s *Server) resyncDevice(ctx context.Context, q *request) (reply, error) {
	return s.checkSync(ctx, q, false)
}

func (s *Server) rebootDevice(ctx context.Context, q *request) (reply, error) {
	return s.checkSync(ctx, q, true)
}

// unregisterDevice forgets where a device can be reached, until it registers again.
func (s *Server) unregisterDevice(ctx context.Context, q *request) (reply, error) {
	d, err := s.DB.Device(ctx, q.who.account, q.id("device"))
	if err != nil {
		return reply{}, err
	}
	n := s.Phones.ForgetDevice(d.ID)
	if n == 0 {
		return reply{}, conflict("The device is not registered.")
	}
	q.detail = map[string]any{"registrations": n}
	return ok(contract.Asked{Registrations: n})
}

// notifyTime is how long one phone may take to answer a NOTIFY.
const notifyTime = 5 * time.Second

// checkSync asks each phone behind a device once, however many lines it registered.
func (s *Server) checkSync(ctx context.Context, q *request, reboot bool) (reply, error) {
	d, err := s.DB.Device(ctx, q.who.account, q.id("device"))
	if err != nil {
		return reply{}, err
	}
	asked := make(map[string]bool)
	var failures []error
	for _, b := range s.Phones.BindingsOfDevice(d.ID) {
		if asked[b.Source] {
			continue
		}
		asked[b.Source] = true
		one, cancel := context.WithTimeout(ctx, notifyTime)
		if err := s.Phones.CheckSync(one, b, d.Vendor, d.Model, reboot); err != nil {
			failures = append(failures, err)
		}
		cancel()
	}
	switch {
	case len(asked) == 0:
		return reply{}, conflict("The device is not registered, so it cannot be asked.")
	case len(failures) == len(asked):
		s.Log.Info("phone did not obey", "device", d.ID, "err", errors.Join(failures...))
		return reply{}, &problem{status: http.StatusBadGateway, detail: "The phone did not answer, or does not know this request."}
	}
	return reply{status: http.StatusAccepted, body: contract.Asked{Registrations: len(asked) - len(failures)}}, nil
}
