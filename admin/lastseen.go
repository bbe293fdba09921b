package admin

import (
	"context"
	"errors"
	"sync"
	"time"

	"pbx/event"
	"pbx/store"
)

// lastSeen remembers when each device last came or went, or before that fetched a file, so that lists need no query a device.
type lastSeen struct {
	mu sync.Mutex
	at map[store.ID]time.Time
}

// maxSeen bounds the memory of it; when it is full, it begins anew.
const maxSeen = 50_000

func newLastSeen() *lastSeen { return &lastSeen{at: make(map[store.ID]time.Time)} }

func (l *lastSeen) find(device store.ID) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.at[device]
	return at, ok
}

func (l *lastSeen) note(device store.ID, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.at) >= maxSeen {
		clear(l.at)
	}
	if old, known := l.at[device]; !known || at.After(old) {
		l.at[device] = at
	}
}

// follow notes what the news tell, until ctx or the news end.
func (l *lastSeen) follow(ctx context.Context, news *event.Reader) {
	for {
		n, err := news.Next(ctx)
		switch {
		case errors.Is(err, event.ErrLagged):
			continue
		case err != nil:
			return
		}
		switch d := n.Data.(type) {
		case event.Registration:
			l.note(d.DeviceID, n.Time)
		case event.Object:
			if d.Type == "device" && d.Deleted {
				l.mu.Lock()
				delete(l.at, d.ID)
				l.mu.Unlock()
			}
		}
	}
}

// lastSeen tells when a device was last heard of: what registered or fetched in this life of the process, else its last
// fetch in an earlier one.
func (s *Server) lastSeen(ctx context.Context, d *store.Device) (time.Time, error) {
	at, known := s.seen.find(d.ID)
	if !known {
		fetches, _, err := s.DB.ProvisionFetches(ctx, d.AccountID, d.ID, store.Page{Limit: 1})
		if err != nil {
			return time.Time{}, err
		}
		if len(fetches) > 0 {
			at = fetches[0].At
		}
		s.seen.note(d.ID, at)
	}
	if fetched := s.Provisioning.LastFetch(d.ID); fetched.After(at) {
		at = fetched
	}
	return at, nil
}
