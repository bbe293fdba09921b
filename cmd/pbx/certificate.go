package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	caFile, caKeyFile   = "ca.pem", "ca-key.pem"
	certFile, keyFile   = "cert.pem", "key.pem"         // what everybody today reads, or what somebody put there
	oldFile, oldKeyFile = "cert-rsa.pem", "key-rsa.pem" // for phones that know RSA alone

	caLife    = 20 * 365 * 24 * time.Hour
	leafLife  = 730 * 24 * time.Hour
	leafSpare = 60 * 24 * time.Hour // before the end a leaf is made anew

	certificateLook = 10 * time.Second // how often changed files are looked for
)

// certificates are what TLS clients are shown, by the portal and by SIP alike. They are read again when their files
// change; connections that are up go on.
//
// Without files of somebody else they come from an authority of our own, whose certificate phones can fetch.
type certificates struct {
	dir           string
	cert, key     string // files that somebody named; empty: those in dir
	advertise     string
	log           *slog.Logger
	stop          context.CancelFunc
	watching      sync.WaitGroup
	mu            sync.Mutex
	current       []tls.Certificate
	authority     []byte // PEM
	stamp, failed string // of the files that were read, and of those that could not be
}

// openCertificates reads the certificates, making what is missing.
func openCertificates(cfg *config, log *slog.Logger) (*certificates, error) {
	c := &certificates{dir: filepath.Join(cfg.data, "tls"), cert: cfg.tlsCert, key: cfg.tlsKey, advertise: cfg.advertise, log: log}
	if c.cert == "" {
		if err := c.make(time.Now()); err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
	}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	var ctx context.Context
	ctx, c.stop = context.WithCancel(context.Background())
	c.watching.Add(1)
	go func() {
		defer c.watching.Done()
		c.watch(ctx)
	}()
	return c, nil
}

// close ends the watch.
func (c *certificates) close() {
	if c != nil {
		c.stop()
		c.watching.Wait()
	}
}

// get chooses the certificate for one client: the first that it can use.
func (c *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	all := c.current
	c.mu.Unlock()
	for i := range all {
		if hello.SupportsCertificate(&all[i]) == nil {
			return &all[i], nil
		}
	}
	return &all[0], nil
}

// ca is what a client must trust to trust us, or nil if an authority of the world vouches for us.
func (c *certificates) ca() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.authority
}

// watch follows the files until ctx ends, and renews what is ours in time.
func (c *certificates) watch(ctx context.Context) {
	tick := time.NewTicker(certificateLook)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.look(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// look renews and reads again what needs it. What cannot be read is told once, and what was read before goes on.
func (c *certificates) look(now time.Time) {
	if c.cert == "" && c.ours() {
		if err := c.make(now); err != nil {
			c.log.Error("certificate not renewed", "error", err)
		}
	}
	stamp := c.stampOf()
	if stamp == c.stamp || stamp == c.failed {
		return
	}
	if err := c.read(); err != nil {
		c.failed = stamp
		c.log.Error("changed certificate not used", "error", err)
		return
	}
	c.log.Info("certificate read anew")
}

// pairs are the files of the certificates: the first must be there.
func (c *certificates) pairs() [][2]string {
	if c.cert != "" {
		return [][2]string{{c.cert, c.key}}
	}
	all := [][2]string{{filepath.Join(c.dir, certFile), filepath.Join(c.dir, keyFile)}}
	if c.ours() {
		all = append(all, [2]string{filepath.Join(c.dir, oldFile), filepath.Join(c.dir, oldKeyFile)})
	}
	return all
}

// stampOf tells one state of the files from another.
func (c *certificates) stampOf() string {
	var b bytes.Buffer
	for _, pair := range c.pairs() {
		for _, file := range pair {
			if info, err := os.Stat(file); err == nil {
				fmt.Fprintln(&b, file, info.ModTime().UnixNano(), info.Size())
			}
		}
	}
	return b.String()
}

func (c *certificates) read() error {
	stamp := c.stampOf()
	var all []tls.Certificate
	for _, pair := range c.pairs() {
		cert, err := tls.LoadX509KeyPair(pair[0], pair[1])
		if err != nil {
			return fmt.Errorf("%w; put both files there, or remove both to have a pair made", err)
		}
		all = append(all, cert)
	}
	authority, err := os.ReadFile(filepath.Join(c.dir, caFile))
	if !c.ours() || err != nil {
		authority = nil
		if leaf := all[0].Leaf; leaf.CheckSignatureFrom(leaf) == nil || bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
			authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}) // it vouches for itself
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.authority, c.stamp = all, authority, stamp
	return nil
}

// ours reports whether the certificate in dir comes from the authority in dir: then it is ours to renew.
func (c *certificates) ours() bool {
	ca, err1 := readCertificate(filepath.Join(c.dir, caFile))
	leaf, err2 := readCertificate(filepath.Join(c.dir, certFile))
	return err1 == nil && err2 == nil && leaf.CheckSignatureFrom(ca) == nil
}

// make makes what is missing or ends soon. What somebody else put there stays.
func (c *certificates) make(now time.Time) error {
	if there(filepath.Join(c.dir, certFile)) || there(filepath.Join(c.dir, keyFile)) {
		if !c.ours() {
			return nil // one of the two alone is somebody's too
		}
		leaf, err := readCertificate(filepath.Join(c.dir, certFile))
		if err == nil && now.Add(leafSpare).Before(leaf.NotAfter) && c.named(leaf) && there(filepath.Join(c.dir, oldFile)) {
			return nil
		}
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	ca, caKey, err := c.openAuthority(now)
	if err != nil {
		return err
	}
	// RSA keys take a while; the other leaf is written last, for it decides whether all is there.
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	if err := c.issue(ca, caKey, old, now, oldFile, oldKeyFile); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return c.issue(ca, caKey, key, now, certFile, keyFile)
}

// openAuthority reads our authority, or founds it. Its key is RSA: phones of all ages can check that.
func (c *certificates) openAuthority(now time.Time) (*x509.Certificate, crypto.Signer, error) {
	cert, key := filepath.Join(c.dir, caFile), filepath.Join(c.dir, caKeyFile)
	if there(cert) || there(key) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, nil, err
		}
		signer, ok := pair.PrivateKey.(crypto.Signer)
		if !ok {
			return nil, nil, fmt.Errorf("%s: cannot sign", key)
		}
		return pair.Leaf, signer, nil
	}
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	template, err := c.template(now, caLife)
	if err != nil {
		return nil, nil, err
	}
	template.Subject.CommonName = "Branchline CA of " + template.Subject.CommonName
	template.DNSNames, template.IPAddresses = nil, nil
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	if err := writePair(cert, key, der, signer); err != nil {
		return nil, nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	return parsed, signer, err
}

// issue signs a certificate for this machine.
func (c *certificates) issue(ca *x509.Certificate, caKey, key crypto.Signer, now time.Time, certName, keyName string) error {
	template, err := c.template(now, leafLife)
	if err != nil {
		return err
	}
	if _, ok := key.(*rsa.PrivateKey); ok {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment // old phones send us the secret under our key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	return writePair(filepath.Join(c.dir, certName), filepath.Join(c.dir, keyName), der, key)
}

// template describes this machine.
func (c *certificates) template(now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.Add(life),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	names, addrs := c.names(true)
	t.Subject = pkix.Name{CommonName: names[0], Organization: []string{"Branchline"}}
	t.DNSNames = names
	for _, a := range addrs {
		t.IPAddresses = append(t.IPAddresses, net.IP(a.AsSlice()))
	}
	return t, nil
}

// names are what clients may know us by.
func (c *certificates) names(v6 bool) (names []string, addrs []netip.Addr) {
	name, err := os.Hostname()
	if err != nil {
		name = "pbx"
	}
	names = []string{name, "localhost"}
	if a, err := netip.ParseAddr(c.advertise); err == nil {
		addrs = append(addrs, a)
	} else if c.advertise != "" {
		names = slices.Insert(names, 0, c.advertise)
	}
	addrs = append(addrs, localAddrs(true)...)
	if v6 {
		addrs = append(addrs, localAddrs(false)...)
	}
	return names, addrs
}

// named reports whether a certificate has what clients may know us by. IPv6 addresses come and go by the day.
func (c *certificates) named(leaf *x509.Certificate) bool {
	names, addrs := c.names(false)
	for _, n := range names {
		if !slices.Contains(leaf.DNSNames, n) {
			return false
		}
	}
	for _, a := range addrs {
		if !slices.ContainsFunc(leaf.IPAddresses, func(ip net.IP) bool { return ip.Equal(net.IP(a.AsSlice())) }) {
			return false
		}
	}
	return true
}

// carrierCAs are who may vouch for carriers: nil means whom this machine trusts.
func carrierCAs(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	more, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--carrier-ca: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without any: those of the file will do
	}
	if !pool.AppendCertsFromPEM(more) {
		return nil, fmt.Errorf("--carrier-ca: %s holds no certificate", file)
	}
	return pool, nil
}

func readCertificate(file string) (*x509.Certificate, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: no certificate", file)
	}
	return x509.ParseCertificate(block.Bytes)
}

// writePair writes a key, then its certificate.
func writePair(certName, keyName string, der []byte, key crypto.Signer) error {
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writeWhole(keyName, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})); err != nil {
		return err
	}
	return writeWhole(certName, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// writeWhole replaces a file at once, for whoever reads it meanwhile.
func writeWhole(name string, data []byte) error {
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// there reports whether a name is taken, be it by a link that leads nowhere.
func there(file string) bool {
	_, err := os.Lstat(file)
	return !errors.Is(err, fs.ErrNotExist)
}
