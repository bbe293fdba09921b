package media

// Bridge lets two sessions hear each other. Packets go from one read loop straight to
// the other's socket; where the codecs differ they pass through a table on the way.
type Bridge struct {
	a, b   *Session
	la, lb *link // what a hears, what b hears
}

// Join makes a and b hear each other. It takes the place of what either was joined to
// before.
func Join(a, b *Session) *Bridge {
	j := &Bridge{a: a, b: b, la: &link{to: b}, lb: &link{to: a}}
	a.sink.Store(j.la)
	b.sink.Store(j.lb)
	a.userSpace()
	b.userSpace()
	return j
}

// Echo sends back to s what it hears.
func Echo(s *Session) *Bridge {
	j := &Bridge{a: s, la: &link{to: s}}
	s.sink.Store(j.la)
	s.userSpace()
	return j
}

// Close parts the two. A newer bridge of either is left alone.
func (j *Bridge) Close() {
	j.a.sink.CompareAndSwap(j.la, nil)
	if j.b != nil {
		j.b.sink.CompareAndSwap(j.lb, nil)
		j.b.userSpace()
	}
	j.a.userSpace()
}
