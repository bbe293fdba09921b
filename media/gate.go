package media

import (
	"encoding/binary"
	"net/netip"
	"time"
)

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// gate stands before a session whose packets are not plain RTP. A plain session has none.
type gate struct {
	open *opener // nil: no key is agreed yet, and nothing comes in
}

// admit opens p in place and reports whether it is RTP that the session may look at.
func (g *gate) admit(p *packet) bool { return g.open != nil && g.open.openRTP(p) }

// admitRTCP opens a report.
func (g *gate) admitRTCP(b []byte) ([]byte, bool) {
	if g.open == nil {
		return nil, false
	}
	return g.open.openRTCP(b)
}

// guard puts up the gate that t asks for, or takes it away.
func (s *Session) guard(t *terms) {
	if !t.secured {
		s.gate.Store(nil)
		return
	}
	s.gate.Store(&gate{open: t.open})
}

// takeReport takes a compound packet, opened first where that was agreed.
func (s *Session) takeReport(b []byte, from netip.AddrPort, at time.Time) {
	if g := s.gate.Load(); g != nil {
		var ok bool
		if b, ok = g.admitRTCP(b); !ok {
			s.in.refuse(at)
			return
		}
	}
	s.reports.take(b, from, at)
}

// sealReport protects a report where that was agreed; nil: it must not go.
func (s *Session) sealReport(b []byte) []byte {
	switch t := s.terms.Load(); {
	case t == nil || !t.secured:
		return b
	case t.seal == nil:
		return nil
	default:
		sealed, err := t.seal.sealRTCP(b)
		if err != nil {
			s.log.Debug("report not sealed", "error", err)
			return nil
		}
		return sealed
	}
}
