//go:build phones

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
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
	secure int // its port of TLS
}

// authority signs the certificates of carriers.
type authority struct {
	file string // with its own certificate
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem")}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Carriers of the tests"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	der, a.key = a.sign(t, a.cert)
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// sign makes a key and a certificate for it.
func (a *authority) sign(t *testing.T, c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	by := a.key
	if by == nil {
		by = key // its own
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// certify writes key and certificate of a carrier at an address.
func (a *authority) certify(t *testing.T, dir, ip string) (keyFile, certFile string) {
	t.Helper()
	der, key := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: ip}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(ip)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	keyFile, certFile = filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	writePEM(t, keyFile, "PRIVATE KEY", raw)
	writePEM(t, certFile, "CERTIFICATE", der)
	return keyFile, certFile
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// startKamailio starts a carrier at an address. Calls of its customer go to peer, and peer's calls to its customer.
func startKamailio(t *testing.T, ca *authority, ip, peerIP string, peerPort int, algorithm string) *kamailio {
	t.Helper()
	k := &kamailio{t: t, ip: ip, port: freePort(t, ip), waited: make(chan error, 1)}
	for k.secure = freePort(t, ip); k.secure == k.port; {
		k.secure = freePort(t, ip)
	}
	file, err := filepath.Abs(filepath.Join(root, "testdata/kamailio/carrier.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key, cert := ca.certify(t, dir, ip)
	at := net.JoinHostPort(ip, strconv.Itoa(k.port))
	k.cmd = exec.Command("kamailio", "-f", file, "-DD", "-E", "-w", dir, "-Y", dir, "-P", filepath.Join(dir, "pid"), "-m", "16", "-M", "2",
		"-A", "TLS", "-A", `KEY="`+key+`"`, "-A", `CERTIFICATE="`+cert+`"`, "-A", fmt.Sprintf("LISTEN_TLS=tls:%s:%d", ip, k.secure),
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
	port := k.port
	if transport == "tls" {
		port = k.secure
	}
	return p.api("POST", "/accounts/default/trunks", map[string]any{
		"name": name, "host": k.ip, "port": port, "transport": transport, "register": true, "expiry_s": 60, "priority": priority,
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
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			ca := newAuthority(t)
			p, ada, bob, _ := acme(t, "--carrier-ca", ca.file)
			const network = "127.0.0.73"
			peerPort := freePort(t, network)
			one := startKamailio(t, ca, "127.0.0.71", network, peerPort, "MD5")
			two := startKamailio(t, ca, "127.0.0.72", network, peerPort, "SHA-256")
			first, second := p.trunk(one, "One", transport, 0), p.trunk(two, "Two", transport, 1)
			p.trunkIs(first, "registered")
			p.trunkIs(second, "registered")
			number := p.api("POST", "/accounts/default/numbers", map[string]any{
				"number": "+4930555123", "trunk_id": first, "destination": map[string]any{"type": "user", "id": bob.id},
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

// TestPhonesSIPpCarrier: SIPp is a carrier that knows us by our address, and we it by its.
func TestPhonesSIPpCarrier(t *testing.T) {
	p, ada, bob, _ := acme(t)
	const ip = "127.0.0.74"
	port, other := freePort(t, ip), freePort(t, "127.0.0.75")
	trunk := p.api("POST", "/accounts/default/trunks", map[string]any{
		"name": "SIPp", "host": ip, "port": port, "register": false, "options": false, "identity": "pai", "format": "00",
	}).at("id")
	number := p.api("POST", "/accounts/default/numbers", map[string]any{
		"number": "+4930555123", "trunk_id": trunk, "destination": map[string]any{"type": "user", "id": bob.id},
	}).at("id")
	p.api("PATCH", "/accounts/default", map[string]any{"default_outbound_number_id": number})
	a := phoneOf(t, p, ada, 7, adaTone, "PCMA", "udp", false)
	phoneOf(t, p, bob, 8, bobTone, "PCMA", "udp", true)

	callee := sippAt(t, "callee", ip, port, p.udp.String(), "x;y;z")
	listens(t, ip, port)
	a.do("dial", "0301234567")
	a.expect("CALL_ESTABLISHED", 0, 5*time.Second)
	pause(time.Second)
	a.do("hangup", "")
	if err := callee.Wait(); err != nil {
		t.Errorf("the callee at the carrier: %v", err)
	}
	p.lastCall("answered")
	sent, err := os.ReadFile(filepath.Join(artifacts(t), "callee-messages.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"INVITE sip:0049301234567@" + ip, "P-Asserted-Identity: <sip:004930555123@" + ip + ">", "From: <sip:004930555123@" + ip + ">"} {
		if !strings.Contains(string(sent), want) {
			t.Errorf("the carrier did not get %q", want)
		}
	}

	if err := sippAt(t, "trunk-caller", ip, port, p.udp.String(), "+4989777;y;+4930555123").Wait(); err != nil {
		t.Errorf("the caller at the carrier: %v", err)
	}
	p.lastCall("answered")
	if err := sippAt(t, "trunk-caller", "127.0.0.75", other, p.udp.String(), "+4989777;y;+4930555123").Wait(); err == nil {
		t.Error("a stranger could call")
	}
}
