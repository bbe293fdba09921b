package media

import (
	"fmt"
	"net/netip"
	"slices"
)

const (
	defaultPtime = 20 // ms
	maxPtime     = 60
)

// terms is what was agreed with the peer. They are never changed, only replaced.
type terms struct {
	audio     kind // what we send
	opus      opusParams
	number    uint8 // its payload number
	event     uint8 // payload number of the events we send
	events    bool  // the peer takes events
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

var ourCodecs = []kind{kindPCMU, kindPCMA}

// answerOffer is the pure part of Answer: our statement about an offer, and the terms
// that hold once it is sent.
func answerOffer(d *description, prefer []kind) (*statement, *terms, error) {
	codec, ok := d.choose(prefer, ourCodecs)
	if !ok {
		return nil, nil, fmt.Errorf("no codec in common: %w", ErrNotAcceptable)
	}
	st := &statement{
		lines: d.lines, audio: d.audio,
		formats:   []format{codec}, // one codec: a peer that may switch at will makes each bridge convert
		direction: d.direction.mirror(),
		ptime:     clampPtime(d.ptime, d.maxptime),
		mux:       d.mux, // RFC 5761 §5.1.1: only when it was offered
	}
	t := newTerms(d, codec)
	t.share(d.mux)
	t.recv[codec.number] = codec.kind
	// RFC 3264 §6.1: the numbers of the offer, and nothing that was not offered.
	if e, ok := d.event(); ok {
		st.formats = append(st.formats, e)
	}
	return st, t, nil
}

// acceptAnswer is the pure part of Accept: what the peer made of our offer.
func acceptAnswer(offer *statement, d *description) (*terms, error) {
	allowed := []kind{}
	for _, f := range offer.formats {
		if f.kind.audio() {
			allowed = append(allowed, f.kind)
		}
	}
	codec, ok := d.choose(nil, allowed)
	if !ok {
		return nil, fmt.Errorf("no codec in common: %w", ErrNotAcceptable)
	}
	t := newTerms(d, codec)
	t.share(offer.mux && d.mux) // RFC 5761 §5.1.1: both must have said it
	for _, f := range offer.formats {
		t.recv[f.number] = f.kind // what we offered is what we may get: RFC 3264 §5.1
	}
	return t, nil
}

func newTerms(d *description, codec format) *terms {
	t := &terms{
		audio: codec.kind, number: codec.number,
		remote: d.remote, rtcp: d.rtcp,
		direction: d.direction.mirror(), held: d.held(),
		ptime: clampPtime(d.ptime, d.maxptime), maxptime: d.maxptime,
	}
	if e, ok := d.event(); ok {
		t.event, t.events = e.number, true
	}
	// Peers also send with their own numbers, or with a codec that the answer left out.
	t.recv[0], t.recv[8], t.recv[13] = kindPCMU, kindPCMA, kindNoise
	for _, f := range d.formats {
		t.recv[f.number] = f.kind
	}
	return t
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
func offerStatement(before *statement, prefer, all []kind, event uint8, ptime int) *statement {
	st := &statement{audio: 0, direction: both, ptime: clampPtime(ptime, 0)}
	if before != nil {
		// RFC 3264 §8: an m= line once agreed keeps its place.
		st.lines, st.audio, st.mux, st.profile = before.lines, before.audio, before.mux, before.profile
	}
	order := slices.DeleteFunc(slices.Clone(prefer), func(k kind) bool { return !slices.Contains(all, k) })
	for _, k := range all {
		if !slices.Contains(order, k) {
			order = append(order, k)
		}
	}
	for _, k := range order {
		st.formats = append(st.formats, format{staticNumber(k), k})
	}
	st.formats = append(st.formats, format{event, kindEvent})
	return st
}

func staticNumber(k kind) uint8 {
	if k == kindPCMA {
		return 8
	}
	return 0
}

const defaultEvent = 101

// Offer is our offer to the peer: for an INVITE, a re-INVITE or the answer to an
// INVITE without SDP.
func (s *Session) Offer() ([]byte, error) {
	s.neg.Lock()
	defer s.neg.Unlock()
	event := uint8(defaultEvent)
	if t := s.terms.Load(); t != nil && t.events {
		event = t.event // RFC 3264 §8.3.2: a number never changes its meaning in a session
	}
	prefer, ptime := s.preferred()
	if t := s.terms.Load(); t != nil && prefer == nil {
		prefer, ptime = []kind{t.audio}, t.ptime // no change without a reason
	}
	all := ourCodecs
	if policy := s.policy.Load(); policy != nil {
		all = *policy
	}
	st := offerStatement(s.said, prefer, all, event, ptime)
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
	prefer, _ := s.preferred()
	st, t, err := answerOffer(d, prefer)
	if err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if err := s.lockAnswer(d, st, t); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
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

// Prefer makes the coming offers and answers begin with the codec that other agreed
// on, so that a bridge between the two need not convert.
func (s *Session) Prefer(other *Session) {
	t := other.terms.Load()
	if t == nil {
		return
	}
	s.wish.Store(&wish{codecs: []kind{t.audio}, ptime: t.ptime})
}

// Restrict makes the coming offers hold these codecs in this order and no others, "PCMU" and "PCMA". What is not
// among ours is passed over; when nothing is left, all are offered. Answers take what the peer has, these first.
func (s *Session) Restrict(codecs []string) {
	var policy []kind
	for _, name := range codecs {
		for _, k := range ourCodecs {
			if k.name() == name {
				policy = append(policy, k)
			}
		}
	}
	if len(policy) > 0 {
		s.policy.Store(&policy)
	}
}

type wish struct {
	codecs []kind
	ptime  int
}

func (s *Session) preferred() ([]kind, int) {
	w, policy := s.wish.Load(), s.policy.Load()
	switch {
	case policy != nil && s.terms.Load() == nil && w == nil:
		return *policy, defaultPtime
	case policy != nil && s.terms.Load() == nil:
		return *policy, w.ptime
	case w != nil:
		return w.codecs, w.ptime
	}
	return nil, defaultPtime
}
