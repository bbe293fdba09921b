package main

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"pbx/admin"
	"pbx/sip"
)

// sipAddress tells where a phone that reached us at our address local registers: the advertised name, or that address,
// with the ports of the listeners that it reaches there. For a preview local is the zero Addr and any of our addresses
// will do. A browser on this machine, or a proxy, reaches us over loopback, where no phone does: then as for a preview.
// Ports are by transport; SIP over WebSocket is at that of the portal.
func (h *house) sipAddress(local netip.Addr) (host string, ports map[string]int) {
	listeners := h.sip.Listeners()
	for _, l := range h.web.listeners {
		transport := map[string]string{"http": "ws", "https": "wss"}[l.scheme]
		bound := l.Addr().(*net.TCPAddr).AddrPort()
		listeners = append(listeners, sip.Listener{Transport: transport, Addr: netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())})
	}
	return sipAddress(h.cfg.advertise, listeners, local.Unmap())
}

func sipAddress(advertise string, listeners []sip.Listener, local netip.Addr) (host string, ports map[string]int) {
	if !local.IsValid() || local.IsLoopback() {
		for _, l := range listeners {
			if !l.Addr.Addr().IsUnspecified() && (!local.IsValid() || local.IsLoopback() && !l.Addr.Addr().IsLoopback()) {
				local = l.Addr.Addr()
			}
		}
	}
	ports = map[string]int{}
	for _, exact := range []bool{false, true} { // a listener on this very address beats one elsewhere
		for _, l := range listeners {
			if (l.Addr.Addr() == local) == exact && (exact || ports[l.Transport] == 0) {
				ports[l.Transport] = int(l.Addr.Port())
			}
		}
	}
	host = advertise
	if host == "" {
		host = local.String()
	}
	return host, ports
}

// httpBase is the address by which this client reached us, for links that phones store. Without a request, for a
// preview, it is the first of our addresses; so it is for a browser on this machine that knows us as localhost.
func (h *house) httpBase(r *http.Request) string { return httpBase(h.web.urls(), r) }

func httpBase(urls []string, r *http.Request) string {
	if r == nil || admin.FromThisMachine(r) {
		if len(urls) > 0 { // loopback comes last
			return strings.TrimSuffix(urls[0], "/")
		}
		return ""
	}
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func (h *house) adminConfig() admin.Config {
	return admin.Config{
		DB: admin.Open(h.db), Bus: h.bus, Calls: h.calls, Phones: h.sip, Trunks: h.sip, Watch: h.sip, Provisioning: h.prov, Plan: h.plans.plan,
		Sounds:     sounds{},
		Places:     admin.Places{SIP: h.sipAddress, HTTPBase: h.httpBase},
		SetupToken: h.setupToken, Version: buildVersion(), Log: h.log.With("room", "admin"),
	}
}
