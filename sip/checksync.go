package sip

import (
	"context"
	"strings"

	"pbx/store"
)

// resync is how the phones of a maker are asked to read their configuration again: there is no RFC for it, only the
// words that each of them listens to.
type resync struct {
	vendor string // of the device, lower case
	model  string // how the model begins; empty: any
	read   string // Event to read it again
	reboot string // Event to start anew
}

// resyncs are what the makers' phones understand; the first row that fits counts.
var resyncs = []resync{
	{"yealink", "", "check-sync;reboot=false", "check-sync;reboot=true"}, // with sip.notify_reboot_enable = 0
	{"polycom", "", "check-sync", "check-sync"},                          // they start anew if they find a change
	{"poly", "", "check-sync", "check-sync"},
	{"grandstream", "", "check-sync", "check-sync;reboot=true"},
	{"snom", "M", "check-sync;reboot=true", "check-sync;reboot=true"}, // DECT bases know this form only
	{"snom", "", "check-sync;reboot=false", "check-sync;reboot=true"},
	{"cisco", "SPA", "resync", "reboot_now"}, // they challenge if Auth_Resync-Reboot says so
	{"linksys", "", "resync", "reboot_now"},
	{"sipura", "", "resync", "reboot_now"},
	{"cisco", "", "check-sync", "reboot_now"}, // multiplatform phones, when they are idle
	{"fanvil", "", "check-sync", "check-sync;reboot=true"},
	{"gigaset", "", "check-sync;reboot=false", "check-sync;reboot=true"},
	{"panasonic", "", "check-sync", "check-sync;reboot=true"}, // as CFG_RESYNC_FROM_SIP says
	{"htek", "", "resync", "check-sync;reboot=true"},
	{"mitel", "", "check-sync", "check-sync;reboot=true"},
	{"aastra", "", "check-sync", "check-sync;reboot=true"},
	{"alcatel", "", "check-sync", "check-sync"},
	{"algo", "", "check-sync", "check-sync;reboot=true"},
	{"", "", "check-sync;reboot=false", "check-sync;reboot=true"},
}

// resyncEvent returns what to say to a phone.
func resyncEvent(vendor, model string, reboot bool) string {
	for _, r := range resyncs {
		if r.vendor != "" && r.vendor != strings.ToLower(vendor) || !strings.HasPrefix(strings.ToUpper(model), r.model) {
			continue
		}
		if reboot {
			return r.reboot
		}
		return r.read
	}
	return ""
}

// CheckSync asks the phone at a binding to read its configuration again, or to start anew, in the words of its maker. A
// phone that challenges gets its line's own credentials.
func (s *Server) CheckSync(ctx context.Context, b store.Binding, vendor, model string, reboot bool) error {
	return s.Notify(ctx, b, resyncEvent(vendor, model, reboot), "", nil)
}
