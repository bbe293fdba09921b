package siptest

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"sync"
)

// Silence is a sound side without sound: it makes valid descriptions and keeps
// those of the peer.
type Silence struct {
	Host netip.Addr
	Port int // 0: 4000
	// Refuse makes Answer and Accept fail.
	Refuse bool

	mu      sync.Mutex
	version int
	offers  [][]byte // of the peer
	answers [][]byte // of the peer
}

var errRefused = errors.New("no common codec")

// Offer makes our description.
func (s *Silence) Offer() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.describe("sendrecv"), nil
}

// Answer takes the peer's offer, mirroring its direction.
func (s *Silence) Answer(offer []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Refuse || !bytes.Contains(offer, []byte("m=audio ")) {
		return nil, errRefused
	}
	s.offers = append(s.offers, bytes.Clone(offer))
	switch {
	case bytes.Contains(offer, []byte("a=sendonly")):
		return s.describe("recvonly"), nil
	case bytes.Contains(offer, []byte("a=recvonly")):
		return s.describe("sendonly"), nil
	case bytes.Contains(offer, []byte("a=inactive")):
		return s.describe("inactive"), nil
	}
	return s.describe("sendrecv"), nil
}

// Accept takes the peer's answer.
func (s *Silence) Accept(answer []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Refuse || !bytes.Contains(answer, []byte("m=audio ")) {
		return errRefused
	}
	s.answers = append(s.answers, bytes.Clone(answer))
	return nil
}

// Heard returns how many offers and answers of the peer came.
func (s *Silence) Heard() (offers, answers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.offers), len(s.answers)
}

// Last returns the peer's newest offer or answer.
func (s *Silence) LastOffer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.offers) == 0 {
		return ""
	}
	return string(s.offers[len(s.offers)-1])
}

func (s *Silence) describe(direction string) []byte {
	s.version++
	host, port, family := s.Host, s.Port, "IP4"
	if !host.IsValid() {
		host = netip.IPv4Unspecified()
	}
	if host.Is6() {
		family = "IP6"
	}
	if port == 0 {
		port = 4000
	}
	return fmt.Appendf(nil, "v=0\r\no=- 1 %d IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=%s\r\n",
		s.version, family, host, family, host, port, direction)
}
