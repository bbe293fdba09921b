package sip

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Reliable provisional answers, RFC 3262: those of ours that wait for their
// PRACK, and the PRACKs for those of the peer.

// reliable is an 18x of ours that is repeated until its PRACK comes.
type reliable struct {
	res      *sipmsg.Response
	seq      uint32
	sdp      bool // it describes the session
	offer    bool // as an offer: the PRACK has the answer
	interval time.Duration
	again    *time.Timer
	giveUp   *time.Timer
}

func (r *reliable) stop() {
	if r != nil {
		r.again.Stop()
		r.giveUp.Stop()
	}
}

// mayRely says whether an 18x to this caller can be reliable, and whether it must be.
func (l *Leg) mayRely() (can, must bool) {
	must = hasOption(l.invite, "Require", "100rel")
	return must || hasOption(l.invite, "Supported", "100rel"), must
}

// rely sends an 18x that must arrive: T1 doubling until its PRACK, for 64·T1.
func (l *Leg) rely(res *sipmsg.Response, sdp, offer bool) error {
	if l.rseq == 0 {
		l.rseq = 1 + uint32(rand.IntN(1<<31-1)) // RFC 3262 §3: 1 to 2**31-1, then one more each
	} else {
		l.rseq++
	}
	res.AppendHeader(sipmsg.NewHeader("Require", "100rel"))
	res.AppendHeader(sipmsg.NewHeader("RSeq", strconv.FormatUint(uint64(l.rseq), 10)))
	r := &reliable{res: res, seq: l.rseq, sdp: sdp, offer: offer, interval: t1}
	l.unproven = r
	r.again = l.after(t1, func() { l.relyAgain(r) })
	r.giveUp = l.after(64*t1, func() {
		if l.unproven != r || l.state != ringing {
			return
		}
		l.refuse(504, "No PRACK") // RFC 3262 §3: 5xx
		l.end(Cause{Code: 504, Reason: "No PRACK"})
	})
	return l.inviteTx.Respond(res)
}

func (l *Leg) relyAgain(r *reliable) {
	if l.unproven != r || l.state != ringing {
		return
	}
	if err := l.inviteTx.Respond(r.res); err != nil {
		l.log.Debug("answer not repeated", "code", r.res.StatusCode, "error", err)
	}
	r.interval *= 2 // RFC 3262 §3: without the bound T2
	r.again.Reset(r.interval)
}

// pracked serves a PRACK.
func (l *Leg) pracked(req *sipmsg.Request, tx *sipmsg.ServerTx, respond func(int, string, ...field), served func()) {
	r := l.unproven
	if r == nil || !l.acknowledges(req, r) {
		respond(481, "Call/Transaction Does Not Exist") // RFC 3262 §3
		return
	}
	if len(req.Body()) > 0 && !isSDP(req) {
		respond(415, "Unsupported Media Type", field{"Accept", "application/sdp"})
		return
	}
	var answer []byte
	var err error
	if l.state == ringing {
		answer, err = l.pracksSound(req, r)
	}
	if err != nil && r.offer {
		respond(488, "Not Acceptable Here")
		l.refuse(488, "Not Acceptable Here")
		l.end(Cause{Code: 488, Reason: "Not Acceptable Here"})
		return
	}
	r.stop()
	l.unproven = nil
	if err != nil {
		respond(488, "Not Acceptable Here") // the session stays as the 18x had it
	} else {
		res := l.s.answer(req, 200, "OK", nil)
		if answer != nil {
			describe(res, answer)
		} else {
			res.SetBody(nil)
		}
		if err := tx.Respond(res); err != nil {
			l.log.Debug("answer not sent", "code", 200, "error", err)
		}
		served()
	}
	l.proven()
}

// acknowledges reports whether a PRACK is about r (RFC 3262 §7.2).
func (l *Leg) acknowledges(req *sipmsg.Request, r *reliable) bool {
	f := strings.Fields(header(req, "RAck"))
	return len(f) == 3 && f[0] == strconv.FormatUint(uint64(r.seq), 10) &&
		f[1] == strconv.FormatUint(uint64(l.invite.CSeq().SeqNo), 10) && f[2] == "INVITE"
}

// pracksSound takes what a PRACK says of the sound: the answer to the offer of
// the 18x, or, once that is settled, an offer of its own (RFC 3262 §5).
func (l *Leg) pracksSound(req *sipmsg.Request, r *reliable) (answer []byte, err error) {
	sound := l.negotiator()
	switch {
	case r.offer && !isSDP(req):
		return nil, errors.New("no answer in the PRACK")
	case r.offer:
		if err := sound.Accept(req.Body()); err != nil {
			return nil, err
		}
	case isSDP(req) && !r.sdp && !l.agreed:
		return nil, errors.New("an offer while another is open")
	case isSDP(req):
		answer, err = sound.Answer(req.Body())
	}
	l.agreed = l.agreed || r.sdp
	return answer, err
}

// proven goes on with what waited for a PRACK.
func (l *Leg) proven() {
	if l.state != ringing {
		return
	}
	for l.unproven == nil && len(l.rings) > 0 {
		early := l.rings[0]
		l.rings = l.rings[1:]
		if err := l.ring(early); err != nil {
			return
		}
	}
	if l.unproven == nil && l.taking != nil {
		acked := l.taking
		l.taking = nil
		if err := l.take(acked); err != nil {
			acked <- err
		}
	}
}

// fork is one of the dialogs that the phones behind one INVITE of ours made.
type fork struct {
	dialog
	rseq    uint32   // of its newest reliable answer
	body    []byte   // its newest description
	agreed  bool     // that came reliably
	updates bool     // it takes UPDATE
	shown   Identity // what it was told since the INVITE; zero: nothing
	made    bool     // it has its route set
}

// maxForks bounds the early dialogs of one INVITE.
const maxForks = 16

// forkOf returns the dialog of a callee, nil for one too many (RFC 3261 §13.2.2.1).
func (l *Leg) forkOf(tag string) *fork {
	for _, f := range l.forks {
		if f.remoteTag == tag {
			return f
		}
	}
	if len(l.forks) >= maxForks {
		return nil
	}
	f := &fork{dialog: l.dialog}
	f.remoteTag, f.heard = tag, false
	l.forks = append(l.forks, f)
	return f
}

// learn takes from an answer what belongs to the dialog of its sender. The route
// set is that of the first, and that of the 2xx (RFC 3261 §12.1.2, §13.2.2.4).
func (f *fork) learn(res *sipmsg.Response) {
	if !f.made || res.StatusCode >= 200 {
		f.made = true
		f.routes = recordedRoutes(res, true)
	}
	f.refresh(res)
	f.updates = allows(res, "UPDATE") || f.updates
}

// reliably reports whether an 18x is to be looked at: those that want a PRACK
// come one after another, and one that was missed comes again (RFC 3262 §4).
func (f *fork) reliably(res *sipmsg.Response) (prack, ok bool) {
	if !hasOption(res, "Require", "100rel") {
		return false, true
	}
	seq, err := strconv.ParseUint(header(res, "RSeq"), 10, 32)
	if err != nil || seq == 0 || f.rseq != 0 && uint32(seq) != f.rseq+1 {
		return false, false
	}
	f.rseq = uint32(seq)
	return true, true
}

// prack acknowledges a reliable 18x, with the answer if that made the offer.
func (l *Leg) prack(f *fork, res *sipmsg.Response, sdp []byte) {
	req := l.draft(&f.dialog, sipmsg.PRACK, l.seq.Add(1))
	req.AppendHeader(sipmsg.NewHeader("RAck", header(res, "RSeq")+" "+strconv.FormatUint(uint64(res.CSeq().SeqNo), 10)+" INVITE"))
	if sdp != nil {
		describe(req, sdp)
	} else {
		req.SetBody(nil)
	}
	l.s.request(req, l.hop, newBranch())
	tx, err := l.s.send(l.s.ctx, req)
	if err != nil {
		l.log.Debug("prack not sent", "error", err)
		return
	}
	l.watch(tx, func(*sipmsg.Response) {}) // one that is lost is asked for again by the next 18x
}
