package sip

import (
	"context"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// maxDatagram is how large a request over UDP may be where the way is not known
// (RFC 3261 §18.1.1); larger ones go over TCP if the peer takes that.
const maxDatagram = 1300

// roomForVia is what a request gains on its last steps: Via and User-Agent.
const roomForVia = 200

// widerTime is how long a carrier may take to accept a connection for one large request.
const widerTime = 500 * time.Millisecond

// fit returns the way for a request of ours: for a large one to a carrier TCP in place of UDP. If
// that is not to be had, or the trunk is set to UDP, it goes in fragments as it
// would to a phone: those are reached only by the way they registered.
func (l *Leg) fit(ctx context.Context, req *sipmsg.Request) hop {
	h := l.hop
	if l.trunk.ID == "" || l.trunk.Transport != "" || h.transport != "udp" || len(req.String())+roomForVia <= maxDatagram {
		return h
	}
	ctx, cancel := context.WithTimeout(ctx, widerTime)
	defer cancel()
	wider, err := l.s.connect(ctx, "tcp", h.remote, "")
	if err != nil {
		l.log.Debug("large request goes in fragments", "octets", len(req.String()), "peer", h.remote, "error", err)
		return h
	}
	return wider
}
