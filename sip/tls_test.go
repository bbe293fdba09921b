package sip_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pbx/event"
	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
}

// issue makes a certificate for a name, valid until then.
func (a *authority) issue(t *testing.T, name string, until time.Time) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secure is a server on real sockets of all kinds.
type secure struct {
	*sip.Server
	t     *testing.T
	ctx   context.Context
	ca    *authority
	cert  atomic.Pointer[tls.Certificate]
	house legs
	at    map[string]netip.AddrPort
}

func newSecure(t *testing.T, change ...func(*sip.Config)) *secure {
	t.Helper()
	w := &secure{t: t, ca: newAuthority(t), house: make(legs, 16), at: make(map[string]netip.AddrPort)}
	w.cert.Store(w.ca.issue(t, "pbx.test", time.Now().Add(time.Hour)))
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	dir := &directory{lines: map[string]store.Line{"u-alice": line("alice"), "u-bob": line("bob")}}
	any := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	c := sip.Config{
		UDP: any, TCP: any, TLS: any, Realm: "pbx.test", CarrierCAs: w.ca.pool,
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return w.cert.Load(), nil },
	}
	for _, f := range change {
		f(&c)
	}
	s, err := sip.New(c, dir, &bindings{rows: make(map[store.ID]store.Binding)}, &mailboxes{}, event.NewBus())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(w.ctx, w.house); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.WithoutCancel(w.ctx)) })
	w.Server = s
	for _, l := range s.Listeners() {
		w.at[l.Transport] = l.Addr
	}
	return w
}

func (w *secure) client() *tls.Config {
	return &tls.Config{RootCAs: w.ca.pool, ServerName: "pbx.test"}
}

func (w *secure) dialTLS(ctx context.Context) (net.Conn, error) {
	d := tls.Dialer{Config: w.client()}
	return d.DialContext(ctx, "tcp", w.at["tls"].String())
}

func (w *secure) phone(user, transport string, dial func(context.Context) (net.Conn, error)) *siptest.Phone {
	w.t.Helper()
	server, listened := w.at[transport]
	if !listened {
		server = w.at["udp"] // a name for the domain: Dial knows the way
	}
	p, err := siptest.NewPhone(w.ctx, siptest.PhoneConfig{
		Name: user, Network: sip.HostNetwork(), Local: netip.MustParseAddrPort("127.0.0.1:0"), Server: server, Transport: transport, Dial: dial,
		Username: "u-" + user, Password: "secret of " + user,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Close)
	if err := p.Register(w.ctx, time.Hour); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// callThrough has alice call bob through the house.
func (w *secure) callThrough(alice, bob *siptest.Phone) {
	t := w.t
	t.Helper()
	line, err := alice.Call(w.ctx, "201")
	if err != nil {
		t.Fatal(err)
	}
	in := within(t, 5*time.Second, w.house, "incoming call")
	in.Attach(sound())
	all := w.BindingsOfUser("usr_bob")
	if len(all) != 1 {
		t.Fatalf("%d bindings of bob", len(all))
	}
	out, err := w.Invite(w.ctx, sip.Outgoing{To: all[0], Sound: sound()})
	if err != nil {
		t.Fatal(err)
	}
	ring := within(t, 5*time.Second, bob.Incoming(), "call at bob")
	if err := ring.Answer(w.ctx); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, out.Answered(), "answer of bob")
	if err := in.Answer(w.ctx); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, line.Answered(), "answer at alice")
	if err := line.Bye(w.ctx); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, in.Done(), "end")
	out.HangUp(sip.Cause{})
	within(t, 5*time.Second, ring.Done(), "BYE at bob")
}

// Phones register over TLS and call each other, in both directions of each pair.
func TestTLSPhones(t *testing.T) {
	w := newSecure(t)
	for _, ways := range [][2]string{{"tls", "udp"}, {"tcp", "tls"}, {"tls", "tls"}} {
		dial := map[string]func(context.Context) (net.Conn, error){"tls": w.dialTLS}
		alice, bob := w.phone("alice", ways[0], dial[ways[0]]), w.phone("bob", ways[1], dial[ways[1]])
		if b := w.BindingsOfUser("usr_bob"); len(b) != 1 || b[0].Transport != ways[1] {
			t.Errorf("bob over %s is bound as %+v", ways[1], b)
		}
		w.callThrough(alice, bob)
		for _, p := range []*siptest.Phone{alice, bob} {
			if err := p.Unregister(w.ctx); err != nil {
				t.Error(err)
			}
			p.Close()
		}
	}
}

// ask sends an OPTIONS request by hand and returns the answer.
func ask(t *testing.T, conn net.Conn, transport string) string {
	t.Helper()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "OPTIONS sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1:9;branch=z9hG4bK%d;rport\r\nFrom: <sip:a@pbx.test>;tag=1\r\nTo: <sip:pbx.test>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", transport, time.Now().UnixNano(), time.Now().UnixNano())
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.HasSuffix(got, []byte("\r\n\r\n")) { // TLS 1.0 sends the first octet apart
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		got = append(got, buf[:n]...)
	}
	return string(got)
}

// A certificate is changed while a connection is up: that one goes on, the next one sees the new.
func TestCertificateChange(t *testing.T) {
	w := newSecure(t)
	first, err := w.dialTLS(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if got := ask(t, first, "TLS"); !strings.HasPrefix(got, "SIP/2.0 200 ") {
		t.Fatalf("answered %q", got)
	}
	w.cert.Store(w.ca.issue(t, "new.test", time.Now().Add(time.Hour)))
	if got := ask(t, first, "TLS"); !strings.HasPrefix(got, "SIP/2.0 200 ") || !strings.Contains(got, "Via: SIP/2.0/TLS 127.0.0.1:9;") {
		t.Errorf("after the change answered %q", got)
	}
	if _, err := w.dialTLS(w.ctx); err == nil {
		t.Error("the old certificate is still shown")
	}
	d := tls.Dialer{Config: &tls.Config{RootCAs: w.ca.pool, ServerName: "new.test"}}
	second, err := d.DialContext(w.ctx, "tcp", w.at["tls"].String())
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}

// Versions before 1.2 only where the house was told so. Renegotiation is refused.
func TestTLSVersions(t *testing.T) {
	w := newSecure(t, func(c *sip.Config) { c.OldTLS = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.2:0")} })
	old := w.at["tls"]
	for _, l := range w.Listeners() {
		if l.Transport == "tls" && l.Addr.Addr() == netip.MustParseAddr("127.0.0.1") {
			w.at["tls"] = l.Addr
		}
	}
	for _, c := range []struct {
		at      netip.AddrPort
		version uint16
		ok      bool
	}{
		{w.at["tls"], tls.VersionTLS13, true},
		{w.at["tls"], tls.VersionTLS12, true},
		{w.at["tls"], tls.VersionTLS11, false},
		{w.at["tls"], tls.VersionTLS10, false},
		{old, tls.VersionTLS13, true},
		{old, tls.VersionTLS11, true},
		{old, tls.VersionTLS10, true},
	} {
		cfg := w.client()
		cfg.MinVersion, cfg.MaxVersion = c.version, c.version
		conn, err := (&tls.Dialer{Config: cfg}).DialContext(w.ctx, "tcp", c.at.String())
		if (err == nil) != c.ok {
			t.Errorf("%s at %s: %v", tls.VersionName(c.version), c.at, err)
		}
		if err == nil {
			if got := ask(t, conn, "TLS"); !strings.HasPrefix(got, "SIP/2.0 200 ") {
				t.Errorf("answered %q", got)
			}
			conn.Close()
		}
	}
}

// openssl shows what it sees: versions, and that a renegotiation is refused.
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	w := newSecure(t)
	run := func(input string, args ...string) string {
		cmd := exec.CommandContext(w.ctx, "openssl", append([]string{"s_client", "-connect", w.at["tls"].String(), "-servername", "pbx.test"}, args...)...)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out lockedBuffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out.wait(t, "---\nread R BLOCK", "Verify return code", "errno", "alert", "no peer certificate")
		io.WriteString(in, input)
		if input != "" {
			out.wait(t, "SSL alert", "SIP/2.0", "no renegotiation")
		}
		in.Close()
		cmd.Wait()
		return out.String()
	}
	if got := run("", "-tls1_2"); !strings.Contains(got, "Protocol  : TLSv1.2") && !strings.Contains(got, "TLSv1.2, Cipher is") {
		t.Errorf("TLS 1.2: %s", got)
	}
	if got := run("", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"); strings.Contains(got, "Cipher is ECDHE") {
		t.Errorf("TLS 1.1 was accepted: %s", got)
	}
	if got := run("R\n", "-tls1_2"); !strings.Contains(got, "RENEGOTIATING") || !strings.Contains(got, "SSL alert number") {
		t.Errorf("renegotiation: %s", got)
	}
	if n := w.Stats().Malformed; n != 0 {
		t.Errorf("%d messages were refused", n)
	}
}

// lockedBuffer is what a program wrote so far.
type lockedBuffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	news chan struct{}
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.news != nil {
		close(b.news)
		b.news = nil
	}
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// wait waits until one of the texts was written.
func (b *lockedBuffer) wait(t *testing.T, texts ...string) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		b.mu.Lock()
		for _, text := range texts {
			if bytes.Contains(b.b.Bytes(), []byte(text)) {
				b.mu.Unlock()
				return
			}
		}
		news := make(chan struct{})
		b.news = news
		b.mu.Unlock()
		select {
		case <-news:
		case <-timeout:
			t.Fatalf("none of %q in %s", texts, b)
		}
	}
}

// A carrier is met by TLS only if its certificate is for its name, valid, and of somebody we trust.
func TestConnectTLS(t *testing.T) {
	w := newSecure(t)
	other := newAuthority(t)
	for name, c := range map[string]struct {
		cert *tls.Certificate
		ok   bool
	}{
		"right":   {w.ca.issue(t, "sip.carrier.test", time.Now().Add(time.Hour)), true},
		"name":    {w.ca.issue(t, "sip.other.test", time.Now().Add(time.Hour)), false},
		"expired": {w.ca.issue(t, "sip.carrier.test", time.Now().Add(-time.Hour)), false},
		"unknown": {other.issue(t, "sip.carrier.test", time.Now().Add(time.Hour)), false},
	} {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*c.cert}})
		if err != nil {
			t.Fatal(err)
		}
		carrier := serveCarrier(l)
		at := l.Addr().(*net.TCPAddr).AddrPort()
		status, _, err := w.Ask(w.ctx, "tls", at, "sip.carrier.test")
		if (err == nil) != c.ok || c.ok && status != 200 {
			t.Errorf("%s: status %d, %v", name, status, err)
		}
		if !c.ok {
			var verify *tls.CertificateVerificationError
			if !errors.As(err, &verify) {
				t.Errorf("%s: failed with %v", name, err)
			}
		}
		if _, requests := carrier.seen(); c.ok && (len(requests) != 1 || !strings.Contains(requests[0], "Via: SIP/2.0/TLS "+w.at["tls"].String()) || !strings.Contains(requests[0], ";transport=tls>")) {
			t.Errorf("%s: the carrier saw %q", name, requests)
		}
		carrier.close()
	}
}

// 2,000 idle connections, half of them TLS, some in the middle of a handshake or a message: phones are not affected,
// and what strangers hold is bounded.
func TestIdleFlood(t *testing.T) {
	w := newSecure(t)
	alice, bob := w.phone("alice", "tls", w.dialTLS), w.phone("bob", "tcp", nil)
	var idle []net.Conn
	for i := range 2000 {
		transport := []string{"tcp", "tls"}[i%2]
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(100+i%20))}}
		conn, err := d.DialContext(w.ctx, "tcp", w.at[transport].String())
		if err != nil {
			t.Fatal(err)
		}
		switch i % 4 {
		case 0:
			io.WriteString(conn, "OPTIONS sip:pbx.test SIP/2.0\r\nVia: ")
		case 1:
			conn.Write([]byte{22, 3, 1, 0})
		}
		idle = append(idle, conn)
	}
	w.callThrough(alice, bob)
	if code, err := alice.Options(w.ctx); err != nil || code != 200 {
		t.Errorf("options of a phone: %d, %v", code, err)
	}
	if n := w.Stats().Connections; n < 2 || n > 2002 {
		t.Errorf("%d connections", n)
	}
	for _, conn := range idle {
		conn.Close()
	}
	w.eventually("connections that were closed are gone", func() bool { return w.Stats().Connections == 2 })
}

// eventually waits for what happens behind sockets.
func (w *secure) eventually(what string, ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			w.t.Fatalf("did not happen: %s (%+v)", what, w.Stats())
		}
	}
}

// A flood of handshakes from one address is cut short; a phone that is registered from there gets through.
func TestHandshakeFlood(t *testing.T) {
	w := newSecure(t)
	for range 300 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 50)}}
		conn, err := d.DialContext(w.ctx, "tcp", w.at["tls"].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	w.eventually("half handshakes of one address refused", func() bool { return w.Stats().Throttled == 300-128 })
	alice := w.phone("alice", "tls", w.dialTLS)
	if code, err := alice.Options(w.ctx); err != nil || code != 200 {
		t.Errorf("options of a phone: %d, %v", code, err)
	}
}

// SIPp as a phone, over UDP and TCP (Debian's has no TLS): one socket for all calls, or one for each.
func TestSIPpTransports(t *testing.T) {
	if _, err := exec.LookPath("sipp"); err != nil {
		t.Skip("sipp is not installed")
	}
	w := newSecure(t)
	dir := t.TempDir()
	scenario := filepath.Join(dir, "options.xml")
	if err := os.WriteFile(scenario, []byte(optionsScenario), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, transport := range map[string]string{"u1": "udp", "un": "udp", "t1": "tcp", "tn": "tcp"} {
		t.Run(mode, func(t *testing.T) {
			cmd := exec.CommandContext(w.ctx, "sipp", w.at[transport].String(), "-sf", scenario, "-t", mode,
				"-m", "20", "-r", "50", "-i", "127.0.0.1", "-timeout", "20s", "-timeout_error", "-nostdin", "-max_socket", "50")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("sipp: %v\n%.3000s", err, out)
			}
		})
	}
}

const optionsScenario = `<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="options">
  <send retrans="500"><![CDATA[
OPTIONS sip:pbx.test SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
From: <sip:sipp@pbx.test>;tag=[call_number]
To: <sip:pbx.test>
Call-ID: [call_id]
CSeq: 1 OPTIONS
Max-Forwards: 70
Content-Length: 0

]]></send>
  <recv response="200"></recv>
</scenario>
`

// insecure trusts everybody: for servers whose certificate is not what is tested.
func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
