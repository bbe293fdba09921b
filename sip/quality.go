package sip

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

const (
	qualityType = "application/vq-rtcpxr"
	maxQuality  = 8 << 10
)

// onNotify serves a NOTIFY outside of dialogs: we subscribe to nothing, but phones report the quality of calls so too
// (RFC 6035 §3.1).
func (s *Server) onNotify(req *sipmsg.Request, tx *sipmsg.ServerTx, h hop) {
	name, _, _ := strings.Cut(header(req, "Event"), ";")
	if !strings.EqualFold(trim(name), "vq-rtcpxr") {
		s.replyOnce(req, tx, 481, "Subscription Does Not Exist")
		return
	}
	if line, ok := s.authenticated(req, tx, h); ok {
		code, reason := s.reported(req, line)
		s.respond(req, tx, code, reason)
	}
}

// reported takes what a phone measured of a call (RFC 6035). There is no place for it in the record of a call yet: it is
// one line in the log, with the Call-ID of the leg that it is about.
func (s *Server) reported(req *sipmsg.Request, line store.Line) (int, string) {
	kind, _, _ := strings.Cut(header(req, "Content-Type"), ";")
	switch {
	case !strings.EqualFold(trim(kind), qualityType):
		return 415, "Unsupported Media Type"
	case len(req.Body()) > maxQuality:
		return 413, "Request Entity Too Large"
	}
	q, ok := readQuality(req.Body())
	if !ok {
		return 400, "Bad Quality Report"
	}
	s.stats.qualityReports.Add(1)
	s.log.Info("call quality reported", "line", line.ID, "call_id", q.callID, "mos", q.mos, "loss_pct", q.loss, "jitter_ms", q.jitter, "round_trip_ms", q.roundTrip)
	return 200, "OK"
}

// quality is what is understood of a report; -1 stands for what it does not say.
type quality struct {
	callID                       string
	mos, loss, jitter, roundTrip float64
}

// readQuality reads RFC 6035 §4.6: lines of a name and values "NLR=5.0". Of an interval and the whole session the
// metrics of the local side come first, and count.
func readQuality(body []byte) (quality, bool) {
	q := quality{mos: -1, loss: -1, jitter: -1, roundTrip: -1}
	lines := bufio.NewScanner(bytes.NewReader(body))
	remote, first := false, true
	for lines.Scan() {
		name, rest, found := strings.Cut(lines.Text(), ":")
		name = strings.ToLower(trim(name))
		if !found {
			continue
		}
		if first {
			if !strings.HasPrefix(name, "vq") {
				return q, false
			}
			first = false
		}
		switch name {
		case "callid":
			q.callID = clip(trim(rest), 128)
		case "remotemetrics":
			remote = true
		}
		if remote {
			continue
		}
		for _, item := range strings.Fields(rest) {
			key, value, _ := strings.Cut(item, "=")
			n, err := strconv.ParseFloat(value, 64)
			if err != nil || n < 0 || n > 1e6 {
				continue
			}
			switch strings.ToUpper(key) {
			case "MOSCQ":
				q.mos = n
			case "NLR":
				q.loss = n
			case "IAJ":
				q.jitter = n
			case "RTD":
				q.roundTrip = n
			}
		}
	}
	return q, !first && q.callID != ""
}
