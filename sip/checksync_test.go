package sip

import "testing"

// What each maker's phones are told.
func TestResyncWords(t *testing.T) {
	for _, tc := range []struct{ vendor, model, read, reboot string }{
		{"yealink", "T54W", "check-sync;reboot=false", "check-sync;reboot=true"},
		{"Polycom", "VVX 411", "check-sync", "check-sync"},
		{"snom", "D785", "check-sync;reboot=false", "check-sync;reboot=true"},
		{"snom", "M700", "check-sync;reboot=true", "check-sync;reboot=true"},
		{"cisco", "SPA504G", "resync", "reboot_now"},
		{"cisco", "8841", "check-sync", "reboot_now"},
		{"grandstream", "GRP2614", "check-sync", "check-sync;reboot=true"},
		{"htek", "UC926", "resync", "check-sync;reboot=true"},
		{"gigaset", "N870", "check-sync;reboot=false", "check-sync;reboot=true"},
		{"", "", "check-sync;reboot=false", "check-sync;reboot=true"},
		{"nobody", "X1", "check-sync;reboot=false", "check-sync;reboot=true"},
	} {
		if read, reboot := resyncEvent(tc.vendor, tc.model, false), resyncEvent(tc.vendor, tc.model, true); read != tc.read || reboot != tc.reboot {
			t.Errorf("%s %s is told %q and %q, want %q and %q", tc.vendor, tc.model, read, reboot, tc.read, tc.reboot)
		}
	}
}
