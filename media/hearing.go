package media

import "time"

// hearing is what one session says, for those who ask for it frame by frame: a recorder, a mixer. It lags a delay behind,
// so that packets that come late or in disorder find their place. Of a session that is closed one hears silence.
type hearing struct {
	session *Session
	tap     tap
	line    timeline
	twice   doubler
	start   time.Time
	delay   time.Duration
}

// hear begins to listen to s. Whoever begins must end.
func hear(s *Session, delay time.Duration) *hearing {
	h := &hearing{session: s, start: time.Now(), delay: delay}
	s.addTap(&h.tap)
	return h
}

func (h *hearing) end() { h.session.removeTap(&h.tap) }

// next is the next 20 ms. The caller asks at the pace of time.
func (h *hearing) next(f *Frame) {
	h.tap.drain(func(p *heard) { h.line.place(p, ticksIn(p.at.Add(h.delay).Sub(h.start))) })
	var narrow [narrowFrame]int16
	h.line.next(&narrow)
	h.twice.double(f[:], narrow[:])
}
