package provisioning

import (
	"sync"
	"time"

	"pbx/store"
)

// SeenPhone is a phone that asked for its files with the account's address but is no device of the account.
// Everything about it is what it claimed.
type SeenPhone struct {
	MAC      string
	Vendor   string // empty when neither its User-Agent nor its MAC address tells
	Model    string // empty when its User-Agent does not tell
	Firmware string
	Source   string // IP address
	At       time.Time
}

const (
	maxSeen         = 200 // phones of one account
	maxSeenAccounts = 1000
)

// seenPhones remembers strangers, the newest of each account, until a restart.
type seenPhones struct {
	mu       sync.Mutex
	accounts *lru[store.ID, *lru[string, SeenPhone]]
}

func (s *seenPhones) add(account store.ID, p SeenPhone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	phones, ok := s.accounts.get(account)
	if !ok {
		phones = newLRU[string, SeenPhone](maxSeen)
		s.accounts.put(account, phones)
	}
	if old, ok := phones.get(p.MAC); ok && p.Model == "" {
		p.Vendor, p.Model, p.Firmware = old.Vendor, old.Model, old.Firmware // a later request may say less
	}
	phones.put(p.MAC, p)
}

func (s *seenPhones) of(account store.ID) []SeenPhone {
	s.mu.Lock()
	defer s.mu.Unlock()
	phones, ok := s.accounts.get(account)
	if !ok {
		return nil
	}
	return phones.newestFirst()
}

// Seen lists the phones that asked for files with the account's address and are not among its devices, newest first.
func (s *Server) Seen(account store.ID) []SeenPhone {
	var strangers []SeenPhone
	for _, p := range s.seen.of(account) {
		if _, known := s.config.Store.DeviceByMAC(account, p.MAC); !known {
			strangers = append(strangers, p)
		}
	}
	return strangers
}

// maxFetched bounds the devices whose last fetch we remember.
const maxFetched = 50_000

// lastFetches remembers when each device last asked for a file, until a restart.
type lastFetches struct {
	mu      sync.Mutex
	devices *lru[store.ID, time.Time]
}

func (l *lastFetches) note(device store.ID, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.devices.put(device, at)
}

// LastFetch returns when a device last asked for a file since we started; zero for never.
func (s *Server) LastFetch(device store.ID) time.Time {
	s.fetched.mu.Lock()
	defer s.fetched.mu.Unlock()
	at, _ := s.fetched.devices.get(device)
	return at
}
