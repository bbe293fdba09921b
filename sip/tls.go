package sip

import (
	"context"
	"crypto/tls"
	"net/netip"
	"time"
)

// The limits of TLS handshakes: each costs a signature, and strangers can ask for
// it. The phones of an office come back together after a power cut.
const (
	handshakeTime     = 10 * time.Second
	maxShaking        = 1024 // at one time
	maxShakePerSource = 128
	handshakeRate     = 20 // a second, of one source
	handshakeBurst    = 500
)

// serverTLS is how phones are met: by TLS 1.2 and 1.3, or also by what came before
// where the house was told to. A certificate of the phone is asked for, kept, and
// not needed. Renegotiation is refused by the library.
func (s *Server) serverTLS(old bool) *tls.Config {
	c := &tls.Config{GetCertificate: s.cfg.Certificate, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}
	if old {
		c.MinVersion = tls.VersionTLS10
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			if suite.ID != tls.TLS_RSA_WITH_RC4_128_SHA && suite.ID != tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA && suite.ID != tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA {
				c.CipherSuites = append(c.CipherSuites, suite.ID)
			}
		}
	}
	return c
}

// clientTLS is how carriers are met. Their certificate must be for name.
func (s *Server) clientTLS(name string) *tls.Config {
	return &tls.Config{ServerName: name, RootCAs: s.cfg.CarrierCAs, MinVersion: tls.VersionTLS12}
}

// mayShake reports whether one more handshake of a source may begin, and counts it; mu is held.
func (fs *flows) mayShake(source netip.Addr, friend bool) bool {
	if fs.shaking >= maxShaking {
		return false
	}
	if !friend && (fs.shakers[source] >= maxShakePerSource || !bucketOf(fs.shakes, source).take(time.Now(), handshakeRate, handshakeBurst)) {
		return false
	}
	fs.shaking++
	fs.shakers[source]++
	return true
}

// secure makes the handshake of a flow.
func (fs *flows) secure(f *flow, conn *tls.Conn) bool {
	ctx, cancel := context.WithTimeout(fs.s.ctx, handshakeTime)
	err := conn.HandshakeContext(ctx)
	cancel()
	source := network(f.remote.Addr())
	fs.mu.Lock()
	fs.shaking--
	if fs.shakers[source]--; fs.shakers[source] <= 0 {
		delete(fs.shakers, source)
	}
	fs.mu.Unlock()
	if err != nil {
		fs.s.log.Debug("handshake failed", "peer", f.remote, "error", err)
	}
	return err == nil
}
