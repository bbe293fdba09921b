package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics renders what the rooms count, in the format of Prometheus.
func (h *house) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gauge := func(name, help string, f func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "pbx", Name: name, Help: help}, f))
	}
	counter := func(name, help string, f func() float64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "pbx", Name: name, Help: help}, f))
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "pbx", Name: "build_info", Help: "1, with the version as label.", ConstLabels: prometheus.Labels{"version": buildVersion()},
	}, func() float64 { return 1 }))

	gauge("calls", "Calls that are up now.", func() float64 { return float64(h.calls.Count()) })
	gauge("legs", "SIP dialogs that are up now.", func() float64 { return float64(h.sip.Stats().Legs) })
	gauge("bindings", "Registered contacts.", func() float64 { return float64(h.sip.Stats().Bindings) })
	gauge("lines_online", "Lines with at least one registered contact.", func() float64 { return float64(h.sip.Stats().LinesOnline) })
	gauge("subscriptions", "SIP subscriptions.", func() float64 { return float64(h.sip.Stats().Subscriptions) })
	gauge("sip_connections", "SIP connections over TCP.", func() float64 { return float64(h.sip.Stats().Connections) })
	gauge("rtp_sessions", "RTP sessions that are open.", func() float64 { return float64(h.media.Stats().Sessions) })

	gauge("rtp_sessions_in_kernel", "RTP sessions whose packets the kernel relays.", func() float64 { return float64(h.media.Stats().InKernel) })
	gauge("rtp_kernel_relay_cards", "Network cards that have the relay of the kernel; 0 when it is off.", func() float64 { return float64(len(h.kernelCards())) })

	counter("sip_messages_received_total", "SIP messages received.", func() float64 { return float64(h.sip.Stats().Received) })
	counter("sip_messages_malformed_total", "SIP messages that could not be used.", func() float64 { return float64(h.sip.Stats().Malformed) })
	counter("sip_messages_throttled_total", "SIP messages dropped for being over a limit.", func() float64 { return float64(h.sip.Stats().Throttled) })
	counter("sip_datagrams_dropped_total", "SIP datagrams that the system dropped because its receive buffer was full.", func() float64 { return float64(h.sip.Dropped()) })
	gauge("sip_bans", "Source addresses that are banned now.", func() float64 { return float64(h.sip.Stats().Bans) })
	counter("sip_bans_total", "Source addresses that were banned.", func() float64 { return float64(h.sip.Stats().Banned) })
	counter("sip_messages_ignored_total", "SIP messages of banned addresses.", func() float64 { return float64(h.sip.Stats().Ignored) })
	counter("sip_calls_shed_total", "Calls refused in overload.", func() float64 { return float64(h.sip.Stats().Shed) })
	counter("sip_texts_total", "Texts that phones and carriers took.", func() float64 { return float64(h.sip.Stats().TextsSent) })
	counter("sip_registers_total", "REGISTER requests.", func() float64 { return float64(h.sip.Stats().Registers) })
	counter("sip_auth_failures_total", "Requests with wrong credentials.", func() float64 { return float64(h.sip.Stats().AuthFail) })
	counter("sip_invites_total", "INVITE requests that opened a call.", func() float64 { return float64(h.sip.Stats().Invites) })
	counter("rtp_packets_received_total", "RTP packets received.", func() float64 { return float64(h.media.Stats().Received) })
	counter("rtp_packets_sent_total", "RTP packets sent.", func() float64 { return float64(h.media.Stats().Sent) })
	counter("rtp_packets_lost_total", "RTP packets that never arrived.", func() float64 { return float64(h.media.Stats().Lost) })
	counter("rtp_packets_stray_total", "RTP packets from sources that were not believed.", func() float64 { return float64(h.media.Stats().Stray) })
	counter("rtp_packets_malformed_total", "Datagrams on RTP ports that were no RTP.", func() float64 { return float64(h.media.Stats().Malformed) })
	counter("rtp_packets_unknown_total", "RTP packets in a codec that was not agreed.", func() float64 { return float64(h.media.Stats().Unknown) })
	counter("rtp_packets_unopened_total", "RTP packets that were not encrypted as agreed.", func() float64 { return float64(h.media.Stats().Unopened) })
	counter("rtp_packets_duplicate_total", "RTP packets that came twice.", func() float64 { return float64(h.media.Stats().Duplicates) })
	counter("rtp_packets_late_total", "RTP packets that came out of order.", func() float64 { return float64(h.media.Stats().Late) })
	counter("rtcp_bad_total", "RTCP datagrams that were none, or not the peer's.", func() float64 { return float64(h.media.Stats().BadReports) })
	counter("rtp_faults_total", "Times without sound in one direction of a leg.", func() float64 { return float64(h.media.Stats().Faults) })
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// kernelCards are the cards that the relay of the kernel is on.
func (h *house) kernelCards() []string {
	if h.kernel == nil {
		return nil
	}
	return h.kernel.Cards()
}
