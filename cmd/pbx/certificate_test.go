package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func opened(t *testing.T, cfg *config) *certificates {
	t.Helper()
	c, err := openCertificates(cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// shown returns the certificate that a client with these abilities is shown.
func shown(t *testing.T, c *certificates, schemes ...tls.SignatureScheme) *x509.Certificate {
	t.Helper()
	cert, err := c.get(&tls.ClientHelloInfo{
		SupportedVersions: []uint16{tls.VersionTLS12, tls.VersionTLS13}, SignatureSchemes: schemes,
		CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256}, SupportedPoints: []uint8{0},
	})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// Our own authority vouches for this machine under each of its names, by a key of each kind; it outlives its leaves.
func TestOwnAuthority(t *testing.T) {
	dir := t.TempDir()
	c := opened(t, &config{data: dir, advertise: "pbx.example.com"})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.ca()) {
		t.Fatalf("authority is %q", c.ca())
	}
	first := shown(t, c, tls.ECDSAWithP256AndSHA256)
	old := shown(t, c, tls.PSSWithSHA256)
	if first.PublicKeyAlgorithm != x509.ECDSA || old.PublicKeyAlgorithm != x509.RSA {
		t.Errorf("clients are shown %s and %s", first.PublicKeyAlgorithm, old.PublicKeyAlgorithm)
	}
	for _, leaf := range []*x509.Certificate{first, old} {
		for _, name := range []string{"pbx.example.com", "localhost", "127.0.0.1"} {
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
				t.Errorf("%s %s: %v", leaf.PublicKeyAlgorithm, name, err)
			}
		}
	}
	for _, file := range []string{caKeyFile, keyFile, oldKeyFile} {
		if info, err := os.Stat(filepath.Join(dir, "tls", file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	c.look(time.Now())
	if shown(t, c, tls.ECDSAWithP256AndSHA256).SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("the certificate changes without need")
	}
	c.look(first.NotAfter.Add(-leafSpare + time.Hour))
	second := shown(t, c, tls.ECDSAWithP256AndSHA256)
	if second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("the certificate was not renewed in time")
	}
	if _, err := second.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost", CurrentTime: first.NotAfter}); err != nil {
		t.Errorf("phones lose their trust: %v", err)
	}
}

// The certificate of somebody is used as it is, is not replaced, and is read again when it changes.
func TestCertificateOfSomebodyStays(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "tls", certFile), "bought")
	if _, err := openCertificates(&config{data: dir}, nil); err == nil || !strings.Contains(err.Error(), "key.pem") {
		t.Errorf("a certificate without its key: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "tls", certFile)); err != nil || string(got) != "bought" {
		t.Errorf("the certificate is now %q, %v", got, err)
	}
	bought := t.TempDir()
	cert, key := filepath.Join(bought, "a.pem"), filepath.Join(bought, "a.key")
	buy(t, cert, key, "one.example.com")
	c := opened(t, &config{data: dir, tlsCert: cert, tlsKey: key})
	if got := shown(t, c, tls.ECDSAWithP256AndSHA256).Subject.CommonName; got != "one.example.com" {
		t.Errorf("shown is %s", got)
	}
	if !strings.Contains(string(c.ca()), "BEGIN CERTIFICATE") {
		t.Error("a certificate that vouches for itself cannot be fetched")
	}
	put(t, cert, "half")
	c.look(time.Now())
	if got := shown(t, c, tls.ECDSAWithP256AndSHA256).Subject.CommonName; got != "one.example.com" {
		t.Errorf("after a broken file shown is %s", got)
	}
	buy(t, cert, key, "two.example.com")
	c.look(time.Now())
	if got := shown(t, c, tls.ECDSAWithP256AndSHA256).Subject.CommonName; got != "two.example.com" {
		t.Errorf("after the change shown is %s", got)
	}
}

// buy writes a certificate that vouches for itself.
func buy(t *testing.T, cert, key, name string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	if err := writePair(cert, key, der, k); err != nil {
		t.Fatal(err)
	}
}

func TestCarrierCAs(t *testing.T) {
	dir := t.TempDir()
	if pool, err := carrierCAs(""); pool != nil || err != nil {
		t.Errorf("none: %v, %v", pool, err)
	}
	put(t, filepath.Join(dir, "no.pem"), "nothing")
	for _, file := range []string{filepath.Join(dir, "missing.pem"), filepath.Join(dir, "no.pem")} {
		if _, err := carrierCAs(file); err == nil || !strings.Contains(err.Error(), "--carrier-ca") {
			t.Errorf("%s: %v", file, err)
		}
	}
	buy(t, filepath.Join(dir, "a.pem"), filepath.Join(dir, "a.key"), "carrier")
	if pool, err := carrierCAs(filepath.Join(dir, "a.pem")); pool == nil || err != nil {
		t.Errorf("a file: %v, %v", pool, err)
	}
}
