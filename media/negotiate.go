package media

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

const (
	defaultPtime = 20 // ms
	maxPtime     = 60
)

// terms is what was agreed with the peer. They are never changed, only replaced.
type terms struct {
	audio     kind       // what we send
	other     string     // its name, when we only pass it on
	params    string     // what the peer says of it
	opus      opusParams // the same of Opus
	number    uint8      // its payload number
	event     uint8      // payload number of the events we send
	keys      kind       // and their kind
	events    bool       // the peer takes events
	recv      [128]kind
	remote    netip.AddrPort // where the peer wants RTP; not valid when it did not say
	rtcp      netip.AddrPort
	direction direction // ours
	held      bool
	ptime     int     // ms of sound in the packets we send
	maxptime  int     // ms, 0 when there is no limit
	mux       bool    // RTCP shares the port of RTP
	secured   bool    // nothing may be sent or taken in the clear
	seal      *sealer // of what we send; nil: plain, or no key yet
	open      *opener // of what the peer sends
	rekeyed   bool    // the peer has another key than before
}

func (t *terms) sends() bool { return t.direction&dirSend != 0 }

// answerOffer is the pure part of Answer: our statement about an offer, and the terms
// that hold once it is sent.
func answerOffer(d *description, prefer []format) (*statement, *terms, error) {
	codec, ok := d.choose(prefer, ourFormats)
	if !ok {
		return nil, nil, fmt.Errorf("no codec in common: %w", ErrNotAcceptable)
	}
	t := newTerms(d, codec)
	t.share(d.mux)
	st := &statement{
		lines: d.lines, audio: d.audio,
		formats:   []format{said(codec, prefer)}, // one codec: a peer that may switch at will makes each bridge convert
		direction: d.direction.mirror(),
		ptime:     t.ptime,
		mux:       d.mux, // RFC 5761 §5.1.1: only when it was offered
	}
	// RFC 3264 §6.1: the numbers of the offer, and nothing that was not offered.
	if e, ok := d.event(codec.kind.clock()); ok {
		st.formats = append(st.formats, said(e, nil))
	}
	return st, t, nil
}

// said is f with the parameters that we tell: those of the other party of the call where it is only passed on.
func said(f format, theirs []format) format {
	f.params = ""
	if i := slices.IndexFunc(theirs, f.same); i >= 0 {
		f.params = theirs[i].params
	}
	switch {
	case f.kind.event():
		f.params = "0-15" // RFC 4733 §2.4.1: the keys of a telephone and no more
	case f.kind == kindOpus && f.params != "":
		f.params = readOpusParams(f.params).String()
	case f.kind == kindOpus:
		f.params = opusParams{fec: true}.String()
	case f.kind.known():
		f.params = ""
	}
	return f
}

// acceptAnswer is the pure part of Accept: what the peer made of our offer.
func acceptAnswer(offer *statement, d *description) (*terms, error) {
	codec, ok := d.choose(nil, offer.formats)
	if !ok {
		return nil, fmt.Errorf("no codec in common: %w", ErrNotAcceptable)
	}
	t := newTerms(d, codec)
	t.share(offer.mux && d.mux) // RFC 5761 §5.1.1: both must have said it
	t.expect(offer.formats)     // what we offered is what we may get: RFC 3264 §5.1
	return t, nil
}

func newTerms(d *description, codec format) *terms {
	t := &terms{
		audio: codec.kind, other: codec.other, params: codec.params, number: codec.number,
		remote: d.remote, rtcp: d.rtcp,
		direction: d.direction.mirror(), held: d.held(),
		ptime: clampPtime(d.ptime, d.maxptime), maxptime: d.maxptime,
	}
	if codec.kind == kindOpus {
		t.opus, t.ptime = readOpusParams(codec.params), opusPtime(t.ptime)
	}
	if e, ok := d.event(codec.kind.clock()); ok {
		t.event, t.keys, t.events = e.number, e.kind, true
	}
	// Peers also send with their own numbers, or with a codec that the answer left out.
	t.recv[0], t.recv[8], t.recv[9], t.recv[13] = kindPCMU, kindPCMA, kindG722, kindNoise
	t.expect(d.formats)
	return t
}

// expect notes what the peer may send. Of the codecs that we only pass on it may send the agreed one.
func (t *terms) expect(formats []format) {
	for _, f := range formats {
		if !f.kind.audio() || f.kind.known() || f.kind == t.audio && f.other == t.other {
			t.recv[f.number] = f.kind
		} else {
			t.recv[f.number] = kindNone
		}
	}
}

// agreed is the codec of the terms.
func (t *terms) agreed() format {
	return format{number: t.number, kind: t.audio, other: t.other, params: t.params}
}

// share notes whether RTCP goes over the port of RTP.
func (t *terms) share(mux bool) {
	if t.mux = mux; mux {
		t.rtcp = t.remote
	}
}

// clampPtime makes a wish for packet length into one that we can keep.
func clampPtime(ptime, maxptime int) int {
	if ptime == 0 {
		ptime = defaultPtime
	}
	if maxptime > 0 {
		ptime = min(ptime, maxptime)
	}
	return min(max(ptime/10*10, 10), maxPtime)
}

// offerStatement is the pure part of Offer. before is our last statement to this
// peer, or nil.
func offerStatement(before *statement, formats, theirs []format, numbers numbering, ptime int) *statement {
	st := &statement{audio: 0, direction: both, ptime: clampPtime(ptime, 0)}
	if before != nil {
		// RFC 3264 §8: an m= line once agreed keeps its place.
		st.lines, st.audio, st.mux, st.profile = before.lines, before.audio, before.mux, before.profile
	}
	keys := []format{{kind: kindEvent}}
	for _, f := range formats {
		st.formats = append(st.formats, said(numbers.number(f), theirs))
		if f.kind == kindOpus {
			keys = append(keys, format{kind: kindEvent48})
		}
	}
	for _, f := range keys {
		st.formats = append(st.formats, said(numbers.number(f), nil))
	}
	return st
}

// Offer is our offer to the peer: for an INVITE, a re-INVITE or the answer to an
// INVITE without SDP.
func (s *Session) Offer() ([]byte, error) {
	s.neg.Lock()
	defer s.neg.Unlock()
	theirs, ptime := s.preferred()
	if t := s.terms.Load(); t != nil && theirs == nil {
		theirs, ptime = []format{t.agreed()}, t.ptime // no change without a reason
	}
	var policy []format
	if p := s.policy.Load(); p != nil {
		policy = *p
	}
	st := offerStatement(s.said, lineUp(theirs, policy), theirs, s.numbers, ptime)
	if err := s.lockOffer(st); err != nil {
		return nil, fmt.Errorf("offer: %w", err)
	}
	body, err := s.say(st)
	if err != nil {
		return nil, fmt.Errorf("offer: %w", err)
	}
	s.offered = st
	return body, nil
}

// Answer takes the peer's offer and is our answer to it. An error changes nothing
// and means 488.
func (s *Session) Answer(offer []byte) ([]byte, error) {
	s.neg.Lock()
	defer s.neg.Unlock()
	d, err := describe(offer, s.security)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	st, t, err := answerOffer(d, s.liked())
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if err := s.lockAnswer(d, st, t); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	s.numbers.learn(d.formats)
	body, err := s.say(st)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	s.agree(t)
	return body, nil
}

// Accept takes the peer's answer to our last offer. It may come more than once: with
// a provisional response and with the final one.
func (s *Session) Accept(answer []byte) error {
	s.neg.Lock()
	defer s.neg.Unlock()
	if s.offered == nil {
		return fmt.Errorf("accept: nothing was offered: %w", ErrNotAcceptable)
	}
	d, err := describe(answer, s.offered.policy(s.security))
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	t, err := acceptAnswer(s.offered, d)
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	if err := s.lockAccept(d, t); err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	s.agree(t)
	return nil
}

// say writes our statement with the right version: one more than before when anything
// changed, the same when nothing did. RFC 3264 §8.
func (s *Session) say(st *statement) ([]byte, error) {
	st.addr, st.session = s.public, s.id
	plain, err := st.marshal(0)
	if err != nil {
		return nil, err
	}
	if s.plain != nil && string(plain) != string(s.plain) {
		s.version++
	}
	s.plain, s.said = plain, st
	return st.marshal(s.version)
}

// agree puts the terms into force.
func (s *Session) agree(t *terms) {
	s.guard(t)
	s.dropKeys(t)
	s.terms.Store(t)
	// Hold by 0.0.0.0 moves nothing, nor does the resume after it.
	moved := t.remote.IsValid() && t.remote != s.claimed
	if moved {
		s.claimed = t.remote
	}
	s.in.renew(t, moved)
	s.out.renew(t, moved)
	s.userSpace()
	if moved {
		s.reports.forget()
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Consider looks at the peer's offer before it is answered, so that another session may prefer what is in it. The
// offer may be bad: that is told when it is answered.
func (s *Session) Consider(offer []byte) {
	s.neg.Lock()
	defer s.neg.Unlock()
	d, err := describe(offer, s.security)
	if err != nil {
		return
	}
	var sound []format
	for _, f := range d.formats {
		if f.kind.audio() {
			sound = append(sound, f)
		}
	}
	s.considered.Store(&wish{formats: sound, ptime: clampPtime(d.ptime, d.maxptime)})
}

// Prefer makes the coming offers and answers begin with the codec that other agreed
// on, or with those that its peer offers, so that a bridge between the two need not convert.
func (s *Session) Prefer(other *Session) {
	w := other.considered.Load()
	if t := other.terms.Load(); t != nil {
		w = &wish{formats: []format{t.agreed()}, ptime: t.ptime}
	}
	if w != nil {
		s.wish.Store(w)
	}
}

// Restrict makes the coming offers hold these codecs in this order and no others: "PCMU", "PCMA", "G722", "opus". What is
// not among ours is passed over; when nothing is left, all are offered. Answers take what the peer has, these first.
func (s *Session) Restrict(codecs []string) {
	var policy []format
	for _, name := range codecs {
		if k, ok := kinds[strings.ToLower(name)]; ok {
			policy = append(policy, format{kind: k})
		}
	}
	if len(policy) > 0 {
		s.policy.Store(&policy)
	}
}

// wish is what the other party of a call has.
type wish struct {
	formats []format
	ptime   int
}

// preferred is what the other party has, and its packet time.
func (s *Session) preferred() ([]format, int) {
	if w := s.wish.Load(); w != nil {
		return w.formats, w.ptime
	}
	return nil, defaultPtime
}

// liked is the order in which codecs of the peer's offer are taken.
func (s *Session) liked() []format {
	theirs, _ := s.preferred()
	policy := s.policy.Load()
	switch {
	case policy == nil:
		return theirs
	case s.terms.Load() != nil && theirs != nil:
		return theirs
	}
	return lineUp(theirs, *policy)
}
