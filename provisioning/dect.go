package provisioning

import (
	"fmt"

	"pbx/store"
)

// slots is which line is which account of a phone, and which handset of a DECT base has which accounts.
type slots struct {
	lines    []*store.Line // account i+1; nil where a handset has none
	handsets []handset
}

// slotsOf deals out the accounts of a phone.
//
// A deskphone has its lines in order. A DECT base has first its handsets, in the order in which they were created:
// handset device h is the base's handset h, with all its lines (or its first, where the base ties account i to
// handset i). After them come the base's own lines, each for one more handset that has no device of its own. So a base
// with three lines and no handset devices simply serves three handsets.
func slotsOf(m Model, snap *store.Snapshot, d *store.Device) (slots, []string) {
	var s slots
	var warnings []string
	if m.handsets == noHandsets {
		for i := range d.Lines {
			s.lines = append(s.lines, &d.Lines[i])
		}
	} else {
		warnings = s.deal(m, snap, d)
	}
	if m.handsets != noHandsets && m.Lines == 0 {
		s.handsets = nil
		if len(s.lines) > 0 {
			warnings = append(warnings, "This base takes its accounts from its DECT manager; assign the lines there.")
		}
		return s, warnings
	}
	if extra := len(s.lines) - m.Lines; extra > 0 {
		warnings = append(warnings, fmt.Sprintf("The %s can register %d lines; the last %d are left out.", m.Model, m.Lines, extra))
	}
	return s, warnings
}

// deal fills the slots of a DECT base.
func (s *slots) deal(m Model, snap *store.Snapshot, base *store.Device) []string {
	var warnings []string
	add := func(name string, lines []*store.Line) {
		h := handset{N: len(s.handsets) + 1, Name: name, Mapped: m.handsets == linesPerHandset}
		if m.handsets == singlePerHandset {
			if len(lines) > 1 {
				warnings = append(warnings, fmt.Sprintf("A handset at a %s has one line; %s keeps its first.", m.Model, name))
				lines = lines[:1]
			}
			if len(lines) == 0 {
				lines = []*store.Line{nil} // the account of this handset stays empty
			}
		}
		for _, l := range lines {
			s.lines = append(s.lines, l)
			if n := len(s.lines); l != nil && n <= m.Lines {
				h.Lines = append(h.Lines, n)
			}
		}
		s.handsets = append(s.handsets, h)
	}
	for i := range snap.Devices { // ordered by id, which is the order of creation
		d := &snap.Devices[i]
		if d.Kind != store.DECTHandset || d.BaseID != base.ID {
			continue
		}
		lines := make([]*store.Line, len(d.Lines))
		for j := range d.Lines {
			lines[j] = &d.Lines[j]
		}
		add(d.Name, lines)
	}
	for i := range base.Lines {
		l := &base.Lines[i]
		var a account
		a.fill(snap, l)
		add(a.Name, []*store.Line{l})
	}
	for len(s.handsets) < m.Lines { // the rest is taken back
		s.handsets = append(s.handsets, handset{N: len(s.handsets) + 1, Mapped: m.handsets == linesPerHandset})
	}
	if extra := len(s.handsets) - m.Lines; extra > 0 && m.Lines > 0 {
		warnings = append(warnings, fmt.Sprintf("The %s serves %d handsets; the last %d are left out.", m.Model, m.Lines, extra))
		s.handsets = s.handsets[:m.Lines]
	}
	return warnings
}
