package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"pbx/admin/contract"
	"pbx/sip"
	"pbx/store"
)

// Trunks is what signalling knows of carriers; *sip.Server fits.
type Trunks interface {
	TrunkStatus(id store.ID) (store.TrunkStatus, bool)
	TestTrunk(ctx context.Context, t store.Trunk) sip.TrunkTest
}

// defaultExpiry is how long a registration is asked for where nothing is said.
const defaultExpiry = 10 * time.Minute

func (s *Server) listTrunks(ctx context.Context, q *request) (reply, error) {
	trunks, next, err := s.DB.TrunksOf(ctx, q.who.account, q.page())
	if err != nil {
		return reply{}, err
	}
	list := contract.TrunkList{Items: make([]contract.Trunk, 0, len(trunks)), NextCursor: optional(next)}
	for i := range trunks {
		list.Items = append(list.Items, s.trunkView(&trunks[i]))
	}
	return ok(list)
}

func (s *Server) getTrunk(ctx context.Context, q *request) (reply, error) {
	t, err := s.DB.Trunk(ctx, q.who.account, q.id("trunk"))
	if err != nil {
		return reply{}, err
	}
	return ok(s.trunkView(&t))
}

func (s *Server) createTrunk(ctx context.Context, q *request) (reply, error) {
	t := store.Trunk{Enabled: true, Options: true, Identity: "from", Diversion: "none", Format: "e164", SRTP: "off", Expiry: defaultExpiry}
	if err := applyTrunk(&t, q.body); err != nil {
		return reply{}, err
	}
	err := s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.CreateTrunk(&t) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return created("/accounts/"+string(t.AccountID)+"/trunks/"+string(t.ID), s.trunkView(&t))
}

func (s *Server) updateTrunk(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	var t store.Trunk
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error {
		if t, err = tx.Trunk(q.id("trunk")); err != nil {
			return err
		}
		if err := applyTrunk(&t, q.body); err != nil {
			return err
		}
		return tx.SaveTrunk(&t, version)
	})
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return ok(s.trunkView(&t))
}

// applyTrunk changes a trunk as a patch says. The password is not among what can be read, so one that is not sent stays.
func applyTrunk(t *store.Trunk, patch []byte) error {
	var (
		identity, diversion = contract.TrunkIdentity(t.Identity), contract.TrunkDiversion(t.Diversion)
		format, expiry      = contract.NumberFormat(t.Format), int(t.Expiry / time.Second)
		codecs, rates       = codecsView(t.Codecs), ratesView(t.Rates)
		sources, prefixes   = stringList(t.Sources), stringList(t.Prefixes)
		srtp                = contract.SRTP(t.SRTP)
	)
	now := contract.TrunkPatch{
		Name: &t.Name, Enabled: &t.Enabled, Host: &t.Host, OutboundProxy: optional(t.OutboundProxy), Register: &t.Register,
		Auth:       &contract.TrunkAuthInput{Username: &t.Username, AuthUsername: optional(t.AuthUsername)},
		FromDomain: optional(t.FromDomain), ExpiryS: &expiry, Sources: &sources, Options: &t.Options, Identity: &identity,
		TrustIdentity: &t.TrustIdentity, TrustVerstat: &t.TrustVerstat, Diversion: &diversion, Format: &format, Prefixes: &prefixes, Priority: &t.Priority, Rates: &rates,
		Codecs: &codecs, MaxCalls: &t.MaxCalls, MaxIn: &t.MaxIn, MaxOut: &t.MaxOut, EmergencyReserve: &t.EmergencyReserve, Messages: &t.Messages, Srtp: &srtp,
	}
	if t.Port > 0 {
		now.Port = &t.Port
	}
	if t.Transport != "" {
		now.Transport = (*contract.TrunkTransport)(&t.Transport)
	}
	in, err := patched(now, patch)
	if err != nil {
		return err
	}
	t.Name, t.Enabled, t.Host, t.Port = strings.TrimSpace(value(in.Name)), value(in.Enabled), strings.TrimSpace(value(in.Host)), value(in.Port)
	t.Transport, t.OutboundProxy, t.Register = string(value(in.Transport)), value(in.OutboundProxy), value(in.Register)
	auth := value(in.Auth)
	t.Username, t.AuthUsername = value(auth.Username), value(auth.AuthUsername)
	if auth.Password != nil {
		t.Password = store.Secret(*auth.Password)
	}
	t.FromDomain, t.Expiry = value(in.FromDomain), time.Duration(value(in.ExpiryS))*time.Second
	t.Sources, t.Options = value(in.Sources), value(in.Options)
	t.Identity, t.TrustIdentity, t.TrustVerstat = string(value(in.Identity)), value(in.TrustIdentity), value(in.TrustVerstat)
	t.Diversion, t.Format = string(value(in.Diversion)), string(value(in.Format))
	t.Prefixes, t.Priority = value(in.Prefixes), value(in.Priority)
	t.Rates = nil
	for _, r := range value(in.Rates) {
		t.Rates = append(t.Rates, store.Rate{Prefix: r.Prefix, PerMinute: r.PerMinute})
	}
	t.Codecs = nil
	for _, c := range value(in.Codecs) {
		t.Codecs = append(t.Codecs, string(c))
	}
	t.MaxCalls, t.MaxIn, t.MaxOut = value(in.MaxCalls), value(in.MaxIn), value(in.MaxOut)
	t.EmergencyReserve, t.Messages, t.SRTP = value(in.EmergencyReserve), value(in.Messages), string(value(in.Srtp))
	return nil
}

func (s *Server) deleteTrunk(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.DeleteTrunk(q.id("trunk"), version) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return noContent()
}

// testTrunk asks the carrier now, and shows how a number would be written to it.
func (s *Server) testTrunk(ctx context.Context, q *request) (reply, error) {
	var in contract.TrunkTestRequest
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	t, err := s.DB.Trunk(ctx, q.who.account, q.id("trunk"))
	if err != nil {
		return reply{}, err
	}
	if s.Trunks == nil {
		return reply{}, &problem{status: http.StatusServiceUnavailable, detail: "Signalling is not running."}
	}
	found := s.Trunks.TestTrunk(ctx, t)
	v := contract.TrunkTest{Targets: stringList(found.Targets), Reachable: found.Reachable, Reason: found.Reason, RttMs: millis(found.RTT)}
	if found.Code > 0 {
		v.Code = &found.Code
	}
	if plan, _ := s.Plan(q.who.account); plan != nil && value(in.Number) != "" {
		w := plan.Written(t.ID, *in.Number)
		v.Number = &contract.WrittenNumber{E164: w.Number, Written: w.Written, Served: w.Served, Caller: optional(w.Caller)}
	}
	return ok(v)
}

func (s *Server) trunkView(t *store.Trunk) contract.Trunk {
	v := contract.Trunk{
		ID: string(t.ID), Version: t.Version, Name: t.Name, Enabled: t.Enabled, Host: t.Host, OutboundProxy: optional(t.OutboundProxy), Register: t.Register,
		Auth:       contract.TrunkAuth{Username: t.Username, HasPassword: t.Password != "", AuthUsername: optional(t.AuthUsername)},
		FromDomain: optional(t.FromDomain), ExpiryS: int(t.Expiry / time.Second), Sources: stringList(t.Sources), Options: t.Options,
		Identity: contract.TrunkIdentity(t.Identity), TrustIdentity: t.TrustIdentity, TrustVerstat: t.TrustVerstat, Diversion: contract.TrunkDiversion(t.Diversion),
		Format: contract.NumberFormat(t.Format), Prefixes: stringList(t.Prefixes), Priority: t.Priority, Rates: ratesView(t.Rates),
		Codecs: codecsView(t.Codecs), MaxCalls: t.MaxCalls, MaxIn: t.MaxIn, MaxOut: t.MaxOut, EmergencyReserve: t.EmergencyReserve,
		Messages: t.Messages, Srtp: contract.SRTP(t.SRTP), Status: s.trunkStatus(t), CreatedAt: t.CreatedAt.UTC(), UpdatedAt: t.UpdatedAt.UTC(),
	}
	if t.Expiry == 0 {
		v.ExpiryS = int(defaultExpiry / time.Second)
	}
	if t.Port > 0 {
		v.Port = &t.Port
	}
	if t.Transport != "" {
		v.Transport = (*contract.TrunkTransport)(&t.Transport)
	}
	return v
}

// trunkStatus is what signalling knows; of a trunk that is switched off, or that it has not looked at yet, nothing.
func (s *Server) trunkStatus(t *store.Trunk) contract.TrunkStatus {
	if !t.Enabled {
		return contract.TrunkStatus{Reason: "switched off"}
	}
	if s.Trunks != nil {
		if st, known := s.Trunks.TrunkStatus(t.ID); known {
			return contract.TrunkStatus{
				Registered: st.Registered, Reachable: st.Reachable, Reason: st.Reason, Since: optionalTime(st.Since), RttMs: millis(st.RTT),
				Target: st.Target, NextTry: optionalTime(st.NextTry), Calls: st.Calls,
			}
		}
	}
	return contract.TrunkStatus{Reason: "not known yet"}
}

func millis(d time.Duration) *float64 {
	if d <= 0 {
		return nil
	}
	ms := float64(d.Microseconds()) / 1000
	return &ms
}

// stringList is a list for JSON: never null.
func stringList(items []string) []string {
	if items == nil {
		return []string{}
	}
	return items
}

func codecsView(names []string) []contract.Codec {
	all := make([]contract.Codec, len(names))
	for i, n := range names {
		all[i] = contract.Codec(n)
	}
	return all
}

func ratesView(rates []store.Rate) []contract.Rate {
	all := make([]contract.Rate, len(rates))
	for i, r := range rates {
		all[i] = contract.Rate{Prefix: r.Prefix, PerMinute: r.PerMinute}
	}
	return all
}
