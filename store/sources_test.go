package store_test

import (
	"errors"
	"strings"
	"testing"

	"pbx/store"
)

// A network of a carrier is one whose every host may call without a password: a wide one is refused, with the reason.
func TestTrunkSourcesAreNarrow(t *testing.T) {
	for source, want := range map[string]string{
		"192.0.2.0/24": "", "198.18.0.0/16": "", "192.0.2.7": "", "2001:db8::/32": "", "2001:db8::1": "",
		"198.18.0.0/15": "too wide", "10.0.0.0/8": "too wide", "2001::/31": "too wide", "0.0.0.0/0": "must be an IP address",
	} {
		row := store.Trunk{Sources: []string{source}}
		var all store.FieldErrors
		errors.As(row.Validate(), &all)
		got := ""
		for _, e := range all {
			if e.Field == "sources" {
				got = e.Problem
			}
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}
