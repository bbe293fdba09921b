package media

// Bridge lets two sessions hear each other. Packets go from one read loop straight to
// the other's socket; between the two laws of G.711 they pass through a table on the way, and between other codecs
// through a receive buffer, a decoder and an encoder.
type Bridge struct {
	a, b   *Session
	la, lb *link // what a hears, what b hears
}

// Join makes a and b hear each other. It takes the place of what either was joined to
// before.
func Join(a, b *Session) *Bridge {
	j := &Bridge{a: a, b: b, la: &link{from: a, to: b}, lb: &link{from: b, to: a}}
	a.lead(j.la)
	b.lead(j.lb)
	a.userSpace()
	b.userSpace()
	return j
}

// Echo sends back to s what it hears.
func Echo(s *Session) *Bridge {
	j := &Bridge{a: s, la: &link{from: s, to: s}}
	s.lead(j.la)
	s.userSpace()
	return j
}

// lead makes l the way of what s hears.
func (s *Session) lead(l *link) {
	if old := s.sink.Swap(l); old != nil {
		old.over.Store(true)
	}
}

// Close parts the two. A newer bridge of either is left alone.
func (j *Bridge) Close() {
	j.la.over.Store(true)
	j.a.sink.CompareAndSwap(j.la, nil)
	if j.b != nil {
		j.lb.over.Store(true)
		j.b.sink.CompareAndSwap(j.lb, nil)
		j.b.userSpace()
	}
	j.a.userSpace()
}
