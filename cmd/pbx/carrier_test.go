//go:build phones

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// kamailio is a carrier with one customer.
type kamailio struct {
	t      *testing.T
	cmd    *exec.Cmd
	waited chan error
	ip     string
	port   int
}

// startKamailio starts a carrier at an address. Calls of its customer go to peer, and peer's calls to its customer.
func startKamailio(t *testing.T, ip, peerIP string, peerPort int, algorithm string) *kamailio {
	t.Helper()
	k := &kamailio{t: t, ip: ip, port: freePort(t, ip), waited: make(chan error, 1)}
	file, err := filepath.Abs(filepath.Join(root, "testdata/kamailio/carrier.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := net.JoinHostPort(ip, strconv.Itoa(k.port))
	k.cmd = exec.Command("kamailio", "-f", file, "-DD", "-E", "-w", dir, "-Y", dir, "-P", filepath.Join(dir, "pid"), "-m", "16", "-M", "2",
		"-A", "LISTEN_UDP=udp:"+at, "-A", "LISTEN_TCP=tcp:"+at, "-A", fmt.Sprintf(`PEER="sip:%s:%d"`, peerIP, peerPort), "-A", `PEER_IP="`+peerIP+`"`,
		"-A", `USER="user1"`, "-A", `PASSWORD="secret1"`, "-A", `ALGORITHM="`+algorithm+`"`)
	log, err := os.Create(filepath.Join(artifacts(t), "kamailio-"+ip+".log"))
	if err != nil {
		t.Fatal(err)
	}
	k.cmd.Stdout, k.cmd.Stderr = log, log
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		k.waited <- k.cmd.Wait()
		log.Close()
	}()
	t.Cleanup(k.stop)
	eventually(t, 10*time.Second, "Kamailio answers at "+at, func() bool {
		return exec.Command("sipsak", "-s", "sip:"+at).Run() == nil
	})
	return k
}

// stop ends the carrier; it is out of its customers' reach from then on.
func (k *kamailio) stop() {
	if k.waited == nil {
		return
	}
	k.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-k.waited:
	case <-time.After(10 * time.Second):
		k.cmd.Process.Kill()
		<-k.waited
		k.t.Error("Kamailio did not stop")
	}
	k.waited = nil
}

// trunk creates a trunk that registers at a carrier.
func (p *pbx) trunk(k *kamailio, name, transport string, priority int) string {
	p.t.Helper()
	return p.api("POST", "/accounts/default/trunks", map[string]any{
		"name": name, "host": k.ip, "port": k.port, "transport": transport, "register": true, "expiry_s": 60, "priority": priority,
		"auth": map[string]any{"username": "user1", "password": "secret1"},
	}).at("id")
}

// trunkIs waits until the status of a trunk has a reason.
func (p *pbx) trunkIs(id, reason string) {
	p.t.Helper()
	last := object{}
	defer func() {
		if p.t.Failed() {
			p.t.Logf("the trunk: %v", last)
		}
	}()
	eventually(p.t, 15*time.Second, "trunk "+reason, func() bool {
		last = p.api("GET", "/accounts/default/trunks/"+id, nil)
		return last.at("status.reason") == reason
	})
}

// sippAt runs a scenario at an address of the carrier's network.
func sippAt(t *testing.T, scenario, ip string, port int, remote string, fields string) *exec.Cmd {
	t.Helper()
	dir := artifacts(t)
	csv := filepath.Join(dir, scenario+".csv")
	if err := os.WriteFile(csv, []byte("SEQUENTIAL\n"+fields+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := filepath.Abs(filepath.Join(root, "testdata/sipp", scenario+".xml"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "sipp", remote, "-sf", file, "-inf", csv, "-i", ip, "-mi", ip, "-p", strconv.Itoa(port), "-t", "u1", "-m", "1", "-aa",
		"-timeout", "40", "-nostdin", "-trace_err", "-error_file", filepath.Join(dir, scenario+"-errors.log"),
		"-trace_msg", "-message_file", filepath.Join(dir, scenario+"-messages.log"))
	log, err := os.Create(filepath.Join(dir, scenario+".log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// listens waits until somebody has the port.
func listens(t *testing.T, ip string, port int) {
	t.Helper()
	eventually(t, 5*time.Second, "SIPp listens", func() bool {
		c, err := net.ListenPacket("udp", net.JoinHostPort(ip, strconv.Itoa(port)))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

// TestPhonesKamailio: we are the customer of two Kamailios. Calls go out and come in by the registration; when the first
// carrier dies the call goes over the second within seconds, and a wrong password is told.
func TestPhonesKamailio(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			p, ada, bob, _ := acme(t)
			const network = "127.0.0.73"
			peerPort := freePort(t, network)
			one := startKamailio(t, "127.0.0.71", network, peerPort, "MD5")
			two := startKamailio(t, "127.0.0.72", network, peerPort, "SHA-256")
			first, second := p.trunk(one, "One", transport, 0), p.trunk(two, "Two", transport, 1)
			p.trunkIs(first, "registered")
			p.trunkIs(second, "registered")
			number := p.api("POST", "/accounts/default/numbers", map[string]any{
				"number": "+4930555123", "trunk_id": first, "destination": map[string]any{"type": "user", "user_id": bob.id},
			}).at("id")
			p.api("PATCH", "/accounts/default", map[string]any{"default_outbound_number_id": number})
			a := phoneOf(t, p, ada, 5, adaTone, "PCMA", "udp", false)
			phoneOf(t, p, bob, 6, bobTone, "PCMA", "udp", true)

			call := func(within time.Duration) {
				t.Helper()
				callee := sippAt(t, "callee", network, peerPort, "127.0.0.71:5060", "x;y;z")
				listens(t, network, peerPort)
				seen := a.seen()
				a.do("dial", "0301234567")
				a.expect("CALL_ESTABLISHED", seen, within)
				pause(time.Second)
				a.do("hangup", "")
				if err := callee.Wait(); err != nil {
					t.Errorf("the callee behind the carrier: %v", err)
				}
				p.lastCall("answered")
			}
			call(5 * time.Second)

			caller := sippAt(t, "trunk-caller", network, peerPort, net.JoinHostPort(one.ip, strconv.Itoa(one.port)), "+4989777;y;+4930555123")
			if err := caller.Wait(); err != nil {
				t.Errorf("the caller behind the carrier: %v", err)
			}
			if r := p.lastCall("answered"); !strings.HasSuffix(r.at("caller.number"), "4989777") {
				t.Errorf("the record of the call that came in: %v", r)
			}

			one.stop()
			call(15 * time.Second)

			p.api("PATCH", "/accounts/default/trunks/"+second, map[string]any{"auth": map[string]any{"password": "wrong"}})
			p.trunkIs(second, "401 Unauthorized")
			p.api("PATCH", "/accounts/default/trunks/"+second, map[string]any{"auth": map[string]any{"password": "secret1"}})
			p.trunkIs(second, "registered")
		})
	}
}
