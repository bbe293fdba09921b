package media

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// keys are the events 0 to 15 of RFC 4733 §3.2.
const keys = "0123456789*#ABCD"

// finger feels key presses in telephone-event packets. It belongs to the read loop.
type finger struct {
	pressed  bool // one event was seen in this stream
	stream   uint32
	code     uint8
	ts       uint32
	duration uint16
	ended    bool
}

// eventSlack is how much later than the known end of an event a packet of the same event
// may begin: a lost packet or two.
const eventSlack = time.Second / 20

// feel reports the key when p is the first packet seen of a press. All packets of a press
// carry the timestamp of its beginning (RFC 4733 §2.2.1), so any one of them is enough,
// and the three at its end count once.
func (f *finger) feel(p *packet, clock int) (rune, bool) {
	b := p.payload()
	if len(b) < 4 {
		return 0, false
	}
	code, ended, duration := b[0], b[1]&0x80 != 0, binary.BigEndian.Uint16(b[2:])
	if f.pressed && f.stream == p.stream {
		since := int32(p.ts - f.ts)
		switch {
		case since < 0:
			return 0, false // a latecomer of an earlier press
		case since == 0:
			f.duration, f.ended = max(f.duration, duration), f.ended || ended
			return 0, false
		case code == f.code && !f.ended && !p.marker && since <= int32(f.duration)+int32(ticksIn(eventSlack, clock)):
			// RFC 4733 §2.5.1.3: a long press goes on in a new segment. Some phones also
			// let the timestamp run while a key is down.
			f.ts, f.duration, f.ended = p.ts, duration, ended
			return 0, false
		}
	}
	*f = finger{pressed: true, stream: p.stream, code: code, ts: p.ts, duration: duration, ended: ended}
	if int(code) >= len(keys) {
		return 0, false // flash and the tones of modems
	}
	return rune(keys[code]), true
}

// ErrNoEvents says that nothing was agreed with the peer yet.
var ErrNoEvents = errors.New("nothing agreed with the peer")

const (
	keyDown   = 5 // packets of 20 ms while a key is down
	keyUp     = 4 // frames of silence between two keys
	endRepeat = 3 // RFC 4733 §2.5.1.4
	keyVolume = 10
)

// Press presses keys, one after another, in the caller's goroutine. Meanwhile nothing else
// is sent. A peer that takes no events hears tones.
func (s *Session) Press(ctx context.Context, digits string) error {
	t := s.terms.Load()
	if t == nil {
		return ErrNoEvents
	}
	if !t.events {
		tones, err := KeyTones(digits)
		if err != nil {
			return err
		}
		return s.Play(ctx, tones)
	}
	p := &player{}
	s.out.enter(p)
	s.userSpace()
	defer s.out.leave(p)
	pace := newPacer(frameTime)
	defer pace.stop()
	for _, d := range strings.ToUpper(digits) {
		code := strings.IndexRune(keys, d)
		if code < 0 {
			return fmt.Errorf("press %q: no such key", d)
		}
		for i := 1; i <= keyDown+endRepeat-1+keyUp; i++ {
			if i <= keyDown+endRepeat-1 {
				s.out.key(p, uint8(code), i)
			}
			if err := pace.wait(ctx, s.done); err != nil {
				return err
			}
		}
	}
	return nil
}

// key sends the i-th packet of a press, counted from 1.
func (o *outlet) key(p *player, code uint8, i int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ready() || !o.terms.events || o.players[len(o.players)-1] != p {
		return
	}
	if i == 1 {
		o.begin(p, time.Now())
	}
	b := o.buf[:headerSize+4]
	b[headerSize], b[headerSize+1] = code, keyVolume
	if i >= keyDown {
		b[headerSize+1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[headerSize+2:], uint16(min(i, keyDown)*o.terms.keys.clock()/50)) // RFC 4733 §2.1: in the clock that was agreed for keys
	h := header{marker: i == 1, number: o.terms.event, seq: o.seq, ts: o.ts, ssrc: o.ssrc}
	o.seq++
	o.send(&h, b)
}
