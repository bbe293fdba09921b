package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"pbx/admin/contract"
	"pbx/sip"
	"pbx/store"
)

// Watch is what signalling keeps an eye on; *sip.Server fits.
type Watch interface {
	Bans() []store.Ban
	Ban(addr netip.Addr, d time.Duration, reason, by string) (store.Ban, error)
	Unban(addr netip.Addr) bool
	// Trace returns the messages of a call that is up.
	Trace(call store.ID) (store.Trace, bool)
}

// TraceReads are reads of what went over the wire for calls that have ended.
type TraceReads interface {
	Trace(ctx context.Context, account, call store.ID) (store.Trace, error)
}

func (s *Server) listBans(context.Context, *request) (reply, error) {
	list := contract.BanList{Items: []contract.Ban{}}
	for _, b := range s.Watch.Bans() {
		list.Items = append(list.Items, banView(&b))
	}
	return ok(list)
}

func banView(b *store.Ban) contract.Ban {
	v := contract.Ban{
		IP: b.Addr.String(), Reason: b.Reason, By: b.By, Since: b.Since.UTC(), Until: b.Until.UTC(),
		Hits: int64(min(b.Hits, 1<<62)), Times: b.Times, Evidence: b.Evidence,
	}
	if v.Evidence == nil {
		v.Evidence = []string{}
	}
	return v
}

// usualBan is how long an administrator bans who names no time.
const usualBan = 24 * time.Hour

func (s *Server) createBan(_ context.Context, q *request) (reply, error) {
	var in contract.BanCreate
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	addr, err := netip.ParseAddr(strings.TrimSpace(in.IP))
	wrong := func(text string) (reply, error) {
		return reply{}, store.FieldErrors{{Field: "ip", Problem: text}}
	}
	switch {
	case err != nil || addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast():
		return wrong("Must be the IP address of one host.")
	case addr.Unmap().IsLoopback():
		return wrong("This machine itself cannot be banned.")
	case addr.Unmap().String() == clientIP(q.http):
		return wrong("This is the address that you come from.")
	}
	d := usualBan
	if in.DurationS != nil {
		d = time.Duration(*in.DurationS) * time.Second
	}
	reason := strings.TrimSpace(value(in.Reason))
	if reason == "" {
		reason = "Banned by " + q.who.user.Name + "."
	}
	q.detail = map[string]any{"ip": addr.String(), "reason": reason, "duration_s": int(d / time.Second)}
	b, err := s.Watch.Ban(addr.Unmap(), d, reason, q.who.user.Name)
	if errors.Is(err, sip.ErrOwnAddress) {
		return wrong("Phones or carriers of this system live at this address.")
	}
	if err != nil {
		return reply{}, err
	}
	q.resource = "ban/" + b.Addr.String()
	return created("/accounts/"+string(q.who.account)+"/bans/"+b.Addr.String(), banView(&b))
}

func (s *Server) deleteBan(_ context.Context, q *request) (reply, error) {
	addr, err := netip.ParseAddr(q.vars["ip"])
	if err != nil || !s.Watch.Unban(addr.Unmap()) {
		return reply{}, errNotFound
	}
	q.resource = "ban/" + addr.Unmap().String()
	return noContent()
}

// callTrace returns the trace of a call that the caller may see; running says that the call is up.
func (s *Server) callTrace(ctx context.Context, q *request) (t store.Trace, running bool, err error) {
	r, err := s.callRecord(ctx, q)
	if err != nil {
		return t, false, err
	}
	t, up := s.Watch.Trace(r.ID)
	if !up {
		if t, err = s.DB.Trace(ctx, q.who.account, r.ID); errors.Is(err, store.ErrNotFound) {
			t, err = store.Trace{CallID: r.ID}, nil
		}
	}
	if !q.who.admin() {
		t = legsOf(&t, q.who.user.ID)
	}
	return t, up && r.EndedAt.IsZero(), err
}

// legsOf is what of a trace went to and from the phones of a user. The legs of others tell who withheld a number, and
// what names their dialogs and our registration at a carrier: who knows that can speak in their name.
func legsOf(t *store.Trace, user store.ID) store.Trace {
	own := store.Trace{CallID: t.CallID, AccountID: t.AccountID}
	at := make(map[int]int)
	for i, l := range t.Legs {
		if l.UserID == user && user != "" {
			at[i] = len(own.Legs)
			own.Legs = append(own.Legs, l)
		}
	}
	for _, m := range t.Messages {
		if i, is := at[m.Leg]; is {
			m.Leg = i
			own.Messages = append(own.Messages, m)
		}
	}
	return own
}

func (s *Server) getCallTrace(ctx context.Context, q *request) (reply, error) {
	t, running, err := s.callTrace(ctx, q)
	if err != nil {
		return reply{}, err
	}
	return ok(traceView(&t, s.DB.Snapshot(q.who.account), running))
}

func traceView(t *store.Trace, snap *store.Snapshot, running bool) contract.CallTrace {
	v := contract.CallTrace{Items: []contract.TraceMessage{}, Legs: []contract.TraceLeg{}, Dropped: t.Dropped, Running: running}
	for i, l := range t.Legs {
		v.Legs = append(v.Legs, contract.TraceLeg{Leg: i + 1, CallID: valid(l.SIPCallID), UserID: string(l.UserID), DeviceID: string(l.DeviceID), TrunkID: string(l.TrunkID)})
	}
	for i := range t.Messages {
		m := &t.Messages[i]
		h := sip.HeadlineOf(m.Raw)
		item := contract.TraceMessage{
			At: m.At.UTC(), Leg: m.Leg + 1, Direction: contract.Received, Transport: m.Transport, Local: m.Local.String(), Remote: m.Remote.String(),
			Method: h.Method, Summary: h.Text, Cseq: h.CSeq, Retransmission: m.Again, Raw: valid(string(m.Raw)),
		}
		if m.Sent {
			item.Direction = contract.Sent
		}
		if h.Status != 0 {
			item.Status = &h.Status
		}
		v.Items = append(v.Items, item)
		if m.Leg < len(v.Legs) {
			v.Legs[m.Leg].Remote = item.Remote
		}
	}
	for i := range v.Legs {
		v.Legs[i].Name = legName(snap, &t.Legs[i], v.Legs[i].Remote)
	}
	return v
}

// legName heads the column of a leg.
func legName(snap *store.Snapshot, l *store.TraceLeg, remote string) string {
	if snap != nil {
		if u := snap.User(l.UserID); u != nil {
			return u.Name
		}
		for i := range snap.Trunks {
			if snap.Trunks[i].ID == l.TrunkID {
				return snap.Trunks[i].Name
			}
		}
	}
	return remote
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func (s *Server) getCallTracePcap(ctx context.Context, q *request) (reply, error) {
	t, _, err := s.callTrace(ctx, q)
	if err != nil {
		return reply{}, err
	}
	if len(t.Messages) == 0 {
		return reply{}, errNotFound
	}
	h := q.w.Header()
	h.Set("Content-Type", "application/vnd.tcpdump.pcap")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s.pcap"`, t.CallID))
	q.w.WriteHeader(http.StatusOK)
	if err := sip.WritePCAP(q.w, &t); err != nil {
		s.Log.Debug("capture not delivered", "err", err)
	}
	return reply{}, nil
}
