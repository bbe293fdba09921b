package media

import "time"

// hearing is what one session says, for those who ask for it frame by frame: a recorder, a mixer. It lags a delay behind,
// so that packets that come late or in disorder find their place. Of a session that is closed one hears silence.
type hearing struct {
	session *Session
	tap     tap
	from    receiver
	start   time.Time // when the first frame is asked for
}

// hear begins to listen to s, for somebody who asks for the first frame after wait, and then at the pace of time.
// Whoever begins must end.
func hear(s *Session, delay, wait time.Duration) *hearing {
	h := &hearing{session: s, start: time.Now().Add(wait), from: receiver{delay: samplesIn(delay), guard: frameSamples}}
	s.addTap(&h.tap)
	return h
}

func (h *hearing) end() { h.session.removeTap(&h.tap) }

// next is the next 20 ms.
func (h *hearing) next(f *Frame) {
	h.tap.drain(func(p *heard) { h.from.place(p, samplesIn(p.at.Sub(h.start))) })
	h.from.next(f)
}
