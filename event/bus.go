// Package event is the news of the house: a ring of the last items that
// anyone may read at their own pace. Publishers never wait for readers.
package event

import (
	"context"
	"errors"
	"sync"
	"time"

	"pbx/store"
)

// ErrLagged says that a reader was so slow that news fell out of the ring; it must look at the state anew.
var ErrLagged = errors.New("reader lagged behind the news")

// ErrClosed says that no more news will come.
var ErrClosed = errors.New("news closed")

// Kinds of news, as named in the API.
const (
	RegistrationChanged = "registration.changed" // Data: Registration
	CallStarted         = "call.started"         // Data: Call
	CallChanged         = "call.changed"         // Data: Call
	CallEnded           = "call.ended"           // Data: Call
	ParkingChanged      = "parking.changed"      // Data: Parked
	LampsChanged        = "lamps.changed"        // Data: Lamps; for the house, no browser sees it
	VoicemailReceived   = "voicemail.received"   // Data: Voicemail
	VoicemailChanged    = "voicemail.changed"    // Data: Voicemail
	TrunkChanged        = "trunk.changed"        // Data: Trunk
	EmergencyCalled     = "emergency.called"     // Data: Call
	BanAdded            = "ban.added"            // Data: Ban; of every account
	BanLifted           = "ban.lifted"           // Data: Ban; of every account
	ObjectChanged       = "object.changed"       // Data: Object
	ActivityAdded       = "activity.added"       // Data: Object
)

// News is one item.
type News struct {
	Seq     uint64
	Kind    string
	Account store.ID
	// Users are the members whom it concerns; admins of the account may see all news.
	Users []store.ID
	Time  time.Time
	// Data is one of the types of this package; its JSON form is what the API sends.
	Data any
}

// ringSize is how many items a slow reader may lag behind.
const ringSize = 1024

// Bus is the ring. The zero value is not usable; see NewBus.
type Bus struct {
	mu     sync.Mutex
	ring   [ringSize]News
	seq    uint64        // of the newest item; the first has 1
	more   chan struct{} // closed and replaced at each publication
	closed bool
}

// NewBus returns an empty ring.
func NewBus() *Bus { return &Bus{more: make(chan struct{})} }

// Publish adds items in order, giving them their sequence numbers and, where it is zero, their time. It never blocks.
func (b *Bus) Publish(items ...News) {
	if len(items) == 0 {
		return
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	for _, n := range items {
		b.seq++
		n.Seq = b.seq
		if n.Time.IsZero() {
			n.Time = now
		}
		b.ring[b.seq%ringSize] = n
	}
	close(b.more)
	b.more = make(chan struct{})
}

// Close ends all readers once they have read what is there.
func (b *Bus) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.more)
	}
}

// Seq returns the sequence number of the newest item.
func (b *Bus) Seq() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seq
}

// Reader returns a cursor that yields what is published from now on.
func (b *Bus) Reader() *Reader { return b.ReaderAfter(b.Seq()) }

// ReaderAfter returns a cursor that continues after item seq.
func (b *Bus) ReaderAfter(seq uint64) *Reader { return &Reader{bus: b, seq: seq} }

// Reader is a cursor on a Bus, for one goroutine.
type Reader struct {
	bus *Bus
	seq uint64
}

// Next waits for the next item. It returns ErrLagged once after items were lost and then
// continues with what comes, ErrClosed at the end, or the context's error.
func (r *Reader) Next(ctx context.Context) (News, error) {
	b := r.bus
	for {
		b.mu.Lock()
		switch {
		case r.seq > b.seq || r.seq+ringSize < b.seq: // from another life of the process, or too slow
			r.seq = b.seq
			b.mu.Unlock()
			return News{}, ErrLagged
		case r.seq < b.seq:
			r.seq++
			n := b.ring[r.seq%ringSize]
			b.mu.Unlock()
			return n, nil
		case b.closed:
			b.mu.Unlock()
			return News{}, ErrClosed
		}
		more := b.more
		b.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return News{}, ctx.Err()
		}
	}
}
