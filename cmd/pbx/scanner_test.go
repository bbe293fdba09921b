//go:build phones

package main

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// SIPVicious looks for us, for our users, and for the password of one of them. It
// finds nothing and is banned; the phone at another address never notices; the ban
// is in the portal, and is lifted there.
func TestSIPVicious(t *testing.T) {
	p := startPBX(t, t.TempDir())
	p.setUp()
	me := p.api("GET", "/me", nil)
	ada := p.equip(person{id: me.at("id"), name: "Ada Lovelace", extension: "101"}, "udp")
	phone := phoneOf(t, p, ada, 1, adaTone, "PCMU", "udp", true)
	port := strconv.Itoa(int(p.udp.Port()))
	run := func(tool string, args ...string) string {
		t.Helper()
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Skip("no " + tool + " here")
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		out, _ := exec.CommandContext(ctx, path, append(args, "-p", port, "127.0.0.1")...).CombinedOutput() // finding nothing is an error of theirs
		return string(out)
	}
	for range 3 { // one datagram each
		if out := run("svmap", "-b", "127.0.0.66"); !strings.Contains(out, "found nothing") {
			t.Errorf("svmap finds us:\n%s", out)
		}
	}
	if out := run("svwar", "--force", "-m", "REGISTER", "-e", "100-160", "--maximumtime", "5", "-b", "127.0.0.67"); !strings.Contains(out, "found nothing") {
		t.Errorf("svwar finds users:\n%s", out)
	}
	if out := run("svcrack", "-u", ada.username, "-r", "1000-1050", "--maximumtime", "5", "-b", "127.0.0.68"); !strings.Contains(out, "found nothing") {
		t.Errorf("svcrack:\n%s", out)
	}
	var bans []object
	eventually(t, 5*time.Second, "the scanner's ban", func() bool {
		bans = p.api("GET", "/accounts/default/bans", nil).items()
		return len(bans) > 0
	})
	for _, b := range bans {
		if b.at("ip") == "127.0.0.41" || b.at("ip") == "127.0.0.1" {
			t.Errorf("a phone is banned: %v", b)
		}
		if !strings.Contains(b.at("reason"), "scanner") {
			t.Errorf("ban is %v", b)
		}
		p.api("DELETE", "/accounts/default/bans/"+b.at("ip"), nil)
	}
	if left := p.api("GET", "/accounts/default/bans", nil).items(); len(left) != 0 {
		t.Errorf("bans that were lifted: %v", left)
	}
	phone.do("dial", "*43")
	eventually(t, 15*time.Second, "the phone's call", func() bool {
		calls := p.api("GET", "/accounts/default/calls", nil).items()
		return len(calls) == 1 && calls[0].at("state") == "echo"
	})
	phone.do("hangup", "")
}
