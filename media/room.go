package media

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// RoomConfig is what a room needs to know. Zero values are the usual ones.
type RoomConfig struct {
	Speakers int  // how many are heard at once, the loudest; default 8
	Tones    bool // all hear when somebody comes or goes
}

// Role is what somebody in a room hears and who hears them.
type Role int

// The roles.
const (
	Speaks   Role = iota // hears all others, and all others hear them
	Muted                // hears all others
	Whispers             // hears all others; only one hears them: RoomMember.To
)

// RoomMember is how somebody sits in a room. Who listens to others unnoticed is Muted and Quiet.
type RoomMember struct {
	Role  Role
	To    *Seat // of who whispers
	Quiet bool  // no tone tells that they come and go
}

// Room mixes the sound of those who sit in it: each hears all but themselves. One ticker drives it.
type Room struct {
	speakers int
	tones    bool
	stop     context.CancelFunc
	done     chan struct{}

	mu     sync.Mutex
	seats  []*Seat
	played []Source // to all
	active []*Seat  // who is heard, of the present tick
	all    [frameSamples]int32
}

// MaxSeats is how many may sit in a room.
const MaxSeats = 200

const (
	usualSpeakers = 8
	roomDelay     = 40 * time.Millisecond
	gateLevel     = 104 // -50 dBFS: below it there is only the noise of an office,
	gateHold      = 15  // frames for which the gate stays open after a word
)

// ErrRoomFull says that nobody else fits into a room.
var ErrRoomFull = errors.New("the room is full")

// Seat is somebody in a room.
type Seat struct {
	room    *Room
	session *Session
	heard   *hearing
	speaker player

	// What follows is guarded by the room.
	member  RoomMember
	in      Frame
	level   float64 // of now and a little before
	open    int     // frames for which the gate stays open
	public  bool    // is heard by all, in the present tick
	pending []int16 // mixed but not sent: packets may be longer than a tick
}

// NewRoom opens a room. It must be closed.
func NewRoom(c RoomConfig) *Room {
	ctx, stop := context.WithCancel(context.Background())
	r := &Room{speakers: c.Speakers, tones: c.Tones, stop: stop, done: make(chan struct{})}
	if r.speakers <= 0 {
		r.speakers = usualSpeakers
	}
	go r.run(ctx)
	return r
}

// Close lets all leave and waits for the ticker.
func (r *Room) Close() {
	r.stop()
	<-r.done
	r.mu.Lock()
	seats := slices.Clone(r.seats)
	r.tones = false
	r.mu.Unlock()
	for _, s := range seats {
		s.Leave()
	}
}

// Join gives s a seat. Until it leaves, its peer hears the room, and whatever is played to it besides.
func (r *Room) Join(s *Session, m RoomMember) (*Seat, error) {
	seat := &Seat{room: r, session: s, member: m}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seats) >= MaxSeats {
		return nil, fmt.Errorf("join room: %w", ErrRoomFull)
	}
	seat.heard = hear(s, roomDelay, 0)
	s.out.enter(&seat.speaker)
	r.seats = append(r.seats, seat)
	r.announce(m, true)
	return seat, nil
}

// Leave gives the seat up. It may be called twice.
func (s *Seat) Leave() {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.seats, s)
	if i < 0 {
		return
	}
	r.seats = slices.Delete(r.seats, i, i+1)
	s.session.out.leave(&s.speaker)
	s.heard.end()
	r.announce(s.member, false)
}

// announce lets all hear that somebody comes, by a tone that rises, or goes, by one that falls.
func (r *Room) announce(m RoomMember, comes bool) {
	if !r.tones || m.Quiet {
		return
	}
	low, high := Tone(440, 120*time.Millisecond), Tone(660, 120*time.Millisecond)
	if comes {
		r.played = append(r.played, Sequence(low, high))
	} else {
		r.played = append(r.played, Sequence(high, low))
	}
}

// Sequence is sources one after another.
func Sequence(sources ...Source) Source { return (*sequence)(&sources) }

type sequence []Source

func (q *sequence) ReadFrame(f *Frame) error {
	for {
		err := (*q)[0].ReadFrame(f)
		if err == nil || len(*q) == 1 {
			return err
		}
		*q = (*q)[1:]
	}
}

// Set changes how somebody sits: mutes them, lets a listener whisper to one or speak to all.
func (s *Seat) Set(m RoomMember) {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.member = m
}

// Speaking reports whether all hear the seat at this moment.
func (s *Seat) Speaking() bool {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	return s.public
}

// Seats is how many sit in the room.
func (r *Room) Seats() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seats)
}

// Play lets all hear src from now on, until it ends.
func (r *Room) Play(src Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.played = append(r.played, src)
}

func (r *Room) run(ctx context.Context) {
	defer close(r.done)
	pace := newPacer(frameTime)
	defer pace.stop()
	for pace.wait(ctx, nil) == nil {
		r.tick()
	}
}

// tick hears all, mixes, and speaks to all.
func (r *Room) tick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listen()
	var tone Frame
	r.played = mixInto(&tone, r.played, false)
	for i, v := range tone {
		r.all[i] = int32(v)
	}
	for _, s := range r.active {
		for i, v := range s.in {
			r.all[i] += int32(v)
		}
	}
	var out Frame
	for _, s := range r.seats {
		for i, v := range r.all {
			if s.public {
				v -= int32(s.in[i])
			}
			out[i] = clip16(v)
		}
		for _, w := range r.seats {
			if w.member.Role == Whispers && w.member.To == s && w != s && w.open > 0 {
				for i, v := range w.in {
					out[i] = clip16(int32(out[i]) + int32(v))
				}
			}
		}
		s.speak(&out)
	}
}

// listen takes the next 20 ms of each and finds who is heard by all: those whose gate is open, the loudest first.
func (r *Room) listen() {
	r.active = r.active[:0]
	for _, s := range r.seats {
		s.heard.next(&s.in)
		level := s.in.Level()
		s.level = max(level, 0.9*s.level) // a breath is no reason to lose one's turn
		switch {
		case level >= gateLevel:
			s.open = gateHold
		case s.open > 0:
			s.open--
		}
		s.public = false
		if s.member.Role == Speaks && s.open > 0 {
			r.active = append(r.active, s)
		}
	}
	if len(r.active) > r.speakers {
		slices.SortStableFunc(r.active, func(a, b *Seat) int {
			switch {
			case a.level > b.level:
				return -1
			case a.level < b.level:
				return 1
			}
			return 0
		})
		r.active = r.active[:r.speakers]
	}
	for _, s := range r.active {
		s.public = true
	}
}

// speak sends what is mixed, in packets of the length that was agreed.
func (s *Seat) speak(f *Frame) {
	ptime := defaultPtime
	if t := s.session.terms.Load(); t != nil {
		ptime = t.ptime
	}
	want := ptime * SampleRate / 1000
	s.pending = append(s.pending, f[:]...)
	for len(s.pending) >= want {
		if !s.session.isDone() {
			s.session.out.speak(&s.speaker, s.pending[:want])
		}
		s.pending = s.pending[:copy(s.pending, s.pending[want:])]
	}
}

func clip16(v int32) int16 { return int16(max(-1<<15, min(1<<15-1, v))) }
