package admin

import (
	"encoding/json"
	"slices"
	"time"

	"pbx/admin/contract"
	"pbx/event"
	"pbx/store"
)

// optional is nil for empty text.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// optionalTime is nil for the zero time.
func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// accountView shows an account; members need not know who pays where.
func accountView(a *store.Account, role store.Role) contract.Account {
	v := contract.Account{
		ID: string(a.ID), Version: a.Version,
		Name: a.Name, Email: a.Email, Timezone: a.Timezone, Country: a.Country, BillingAddress: a.BillingAddress,
		ExtensionLength: a.ExtensionLength, HoldMusicClipID: optional(string(a.HoldMusicClipID)),
		DefaultOutboundNumberID: optional(string(a.DefaultOutboundNumberID)), OutboundCountries: stringList(a.OutboundCountries),
		TranscriptionEnabled: a.TranscriptionEnabled, RecordingEnabled: a.RecordingEnabled,
		Recording:       policyView(&a.Recording),
		ParkingTimeoutS: int(a.ParkingTimeout / time.Second),
		InboundFaxLimit: a.InboundFaxLimit, OutboundFaxLimit: a.OutboundFaxLimit, TraceDays: a.TraceDays,
		FeatureCodes: a.FeatureCodes, SpeedDials: dialViews(a.SpeedDials), VoicemailDays: a.VoicemailDays, VoicemailMax: a.VoicemailMax,
		Role: contract.Role(role), CreatedAt: a.CreatedAt.UTC(), UpdatedAt: a.UpdatedAt.UTC(),
	}
	if v.FeatureCodes == nil {
		v.FeatureCodes = map[string]string{}
	}
	if role != store.Admin {
		v.Email, v.BillingAddress = "", ""
	}
	return v
}

// userView shows a user with the devices; snap may be nil.
func (s *Server) userView(snap *store.Snapshot, u *store.User) contract.User {
	v := contract.User{
		ID: string(u.ID), Version: u.Version,
		Name: u.Name, Email: optional(u.Email), Username: optional(u.Username), Role: contract.Role(u.Role), Extension: optional(u.Extension),
		OutboundNumberID: optional(string(u.OutboundNumberID)), OutboundCountries: optionalList(u.OutboundCountries),
		HoldMusicClipID: optional(string(u.HoldMusicClipID)), Recording: ruleView(u.Recording),
		DoNotDisturb: u.DoNotDisturb, RingTimeoutS: int(u.RingTimeout / time.Second),
		Voicemail: voicemailView(&u.Voicemail), FindMe: findMeView(u.FindMe), Forward: forwardView(u.Forward), CallWaiting: !u.OneCall,
		RejectAnonymous: u.RejectAnonymous, PickupGroups: stringList(u.PickupGroups), SpeedDials: dialViews(u.SpeedDials),
		HasPassword: u.PasswordHash != "", Devices: []contract.UserDevice{},
		CreatedAt: u.CreatedAt.UTC(), UpdatedAt: u.UpdatedAt.UTC(),
	}
	bindings := s.Phones.BindingsOfUser(u.ID)
	v.Online = len(bindings) > 0
	if snap == nil {
		return v
	}
	at := make(map[store.ID]int) // places in v.Devices
	for _, l := range snap.LinesOf(u.ID) {
		d := snap.Device(l.DeviceID)
		if d == nil {
			continue
		}
		i, known := at[d.ID]
		if !known {
			i = len(v.Devices)
			at[d.ID] = i
			v.Devices = append(v.Devices, contract.UserDevice{
				ID: string(d.ID), Name: d.Name, Kind: contract.DeviceKind(d.Kind), Vendor: d.Vendor, Model: d.Model,
			})
		}
		v.Devices[i].Online = v.Devices[i].Online || registered(bindings, l.ID)
	}
	return v
}

func settingsView(u *store.User) contract.Settings {
	return contract.Settings{
		Version: u.Version, DoNotDisturb: u.DoNotDisturb, RingTimeoutS: int(u.RingTimeout / time.Second),
		Voicemail: voicemailView(&u.Voicemail), FindMe: findMeView(u.FindMe), Forward: forwardView(u.Forward), CallWaiting: !u.OneCall,
		RejectAnonymous: u.RejectAnonymous, SpeedDials: dialViews(u.SpeedDials),
	}
}

func registered(bindings []store.Binding, line store.ID) bool {
	for i := range bindings {
		if bindings[i].LineID == line && !bindings[i].Unreachable {
			return true
		}
	}
	return false
}

// deviceView shows a device; snap may be nil.
func (s *Server) deviceView(snap *store.Snapshot, d *store.Device, seen time.Time) contract.Device {
	bindings := s.Phones.BindingsOfDevice(d.ID)
	v := contract.Device{
		ID: string(d.ID), Version: d.Version, Kind: contract.DeviceKind(d.Kind),
		Name: d.Name, Vendor: d.Vendor, Model: d.Model, Mac: optional(d.MAC), Ipei: optional(d.IPEI), BaseID: optional(string(d.BaseID)),
		Transport: contract.Transport(d.Transport), Srtp: contract.SRTP(d.SRTP), Digest: contract.Digest(d.Digest),
		UserIds: []string{}, Lines: []contract.Line{}, Registrations: []contract.Registration{},
		Online: slices.ContainsFunc(bindings, func(b store.Binding) bool { return !b.Unreachable }), CreatedAt: d.CreatedAt.UTC(), UpdatedAt: d.UpdatedAt.UTC(),
	}
	users := make(map[store.ID]bool, len(d.Lines))
	for i := range d.Lines {
		l := &d.Lines[i]
		if !users[l.UserID] {
			users[l.UserID] = true
			v.UserIds = append(v.UserIds, string(l.UserID))
		}
		v.Lines = append(v.Lines, lineView(snap, l, registered(bindings, l.ID)))
	}
	for i := range bindings {
		v.Registrations = append(v.Registrations, registrationView(&bindings[i]))
		if bindings[i].RegisteredAt.After(seen) {
			seen = bindings[i].RegisteredAt
		}
	}
	v.LastSeen = optionalTime(seen)
	return v
}

func lineView(snap *store.Snapshot, l *store.Line, online bool) contract.Line {
	v := contract.Line{
		ID: string(l.ID), Index: l.Index, UserID: string(l.UserID), Label: l.Label, Username: l.Username, Online: online,
	}
	if snap != nil {
		if u := snap.User(l.UserID); u != nil {
			v.UserName, v.Extension = u.Name, optional(u.Extension)
		}
	}
	return v
}

func registrationView(b *store.Binding) contract.Registration {
	return contract.Registration{
		DeviceID: string(b.DeviceID), LineID: string(b.LineID), UserID: string(b.UserID),
		Contact: b.Contact, Source: b.Source, Transport: contract.Transport(b.Transport), UserAgent: b.UserAgent,
		RegisteredAt: b.RegisteredAt.UTC(), ExpiresAt: b.ExpiresAt.UTC(), RttMs: milliseconds(b.RTT), Reachable: !b.Unreachable,
	}
}

// milliseconds rounds up what was measured; nil stands for nothing.
func milliseconds(d time.Duration) *int {
	if d <= 0 {
		return nil
	}
	ms := int((d + time.Millisecond - 1) / time.Millisecond)
	return &ms
}

func keyView(k *store.APIKey) contract.APIKey {
	return contract.APIKey{
		ID: string(k.ID), Name: k.Name, Prefix: k.Prefix, CreatedAt: k.CreatedAt.UTC(), UsedAt: optionalTime(k.UsedAt), UsedIP: k.UsedIP,
	}
}

func messageView(m *store.Message) contract.VoicemailMessage {
	return contract.VoicemailMessage{
		ID: string(m.ID), Version: m.Version, Mailbox: string(m.Mailbox), CallID: optional(string(m.CallID)),
		Caller:     contract.Caller{Name: m.CallerName, Number: m.CallerNumber},
		ReceivedAt: m.ReceivedAt.UTC(), DurationS: m.Duration.Seconds(), Read: m.Read, Urgent: m.Urgent, ForwardedBy: optional(string(m.ForwardedBy)),
	}
}

func recordView(r *store.CallRecord) contract.CallRecord {
	v := contract.CallRecord{
		ID: string(r.ID), StartedAt: r.StartedAt.UTC(), AnsweredAt: optionalTime(r.AnsweredAt), EndedAt: optionalTime(r.EndedAt),
		Direction: contract.CallDirection(r.Direction), Caller: partyView(&r.Caller), Callee: partyView(&r.Callee), Dialed: r.Dialed,
		Outcome: contract.CallOutcome(r.Outcome), HangupBy: r.HangupBy, HangupCause: r.HangupCause, Legs: []contract.CallLeg{},
		RecordingID: optional(string(r.RecordingID)),
	}
	if !r.EndedAt.IsZero() {
		d := r.EndedAt.Sub(r.StartedAt).Seconds()
		v.DurationS = &d
		if !r.AnsweredAt.IsZero() {
			t := r.EndedAt.Sub(r.AnsweredAt).Seconds()
			v.TalkS = &t
		}
	}
	for i := range r.Segments {
		g := &r.Segments[i]
		v.Legs = append(v.Legs, contract.CallLeg{Step: g.Step, Detail: g.Detail, StartedAt: g.StartedAt.UTC(), EndedAt: optionalTime(g.EndedAt)})
	}
	if q := r.Quality; q != nil {
		v.Quality = &contract.CallQuality{Mos: known(q.MOS), LossPct: rounded(q.LossPct), JitterMs: rounded(q.JitterMS), Faults: len(q.Faults)}
	}
	return v
}

func partyView(p *store.CallParty) contract.CallParty {
	v := contract.CallParty{
		UserID: optional(string(p.UserID)), DeviceID: optional(string(p.DeviceID)), Name: p.Name, Extension: p.Extension, Number: p.Number, Encrypted: p.Encrypted,
	}
	if p.Verstat != "" {
		v.Verstat = new(contract.Verstat(p.Verstat))
	}
	if p.Attestation != "" {
		v.Attestation = new(contract.Attestation(p.Attestation))
	}
	return v
}

func callView(c *event.Call) contract.Call {
	v := contract.Call{
		ID: string(c.ID), State: c.State, Direction: contract.CallDirection(c.Direction),
		Caller: livePartyView(&c.Caller), Callee: livePartyView(&c.Callee), Dialed: c.Dialed, StartedAt: c.StartedAt.UTC(),
	}
	if c.AnsweredAt != nil {
		v.AnsweredAt = optionalTime(*c.AnsweredAt)
	}
	v.Recording = optional(c.Recording)
	if c.Outcome != "" {
		o := contract.CallOutcome(c.Outcome)
		v.Outcome = &o
	}
	v.Mos, v.Faults = rounded(c.MOS), []contract.AudioFault{}
	for i := range c.Faults {
		f := &c.Faults[i]
		v.Faults = append(v.Faults, contract.AudioFault{
			Side: contract.AudioFaultSide(f.Side), Direction: contract.AudioFaultDirection(f.Direction), Class: contract.AudioFaultClass(f.Class),
			BeganAt: f.BeganAt.UTC(), Repaired: f.Repaired,
		})
	}
	return v
}

func livePartyView(p *event.Party) contract.LiveParty {
	return contract.LiveParty{
		UserID: string(p.UserID), DeviceID: string(p.DeviceID), Name: p.Name, Extension: p.Extension, Number: p.Number, Held: p.Held, Codec: p.Codec, Encrypted: p.Encrypted,
	}
}

func activityView(a *store.Activity) contract.Activity {
	v := contract.Activity{
		ID: string(a.ID), Time: a.At.UTC(), Event: a.Event, Resource: a.Resource, IP: a.Actor.IP, Count: max(a.Count, 1),
		Actor:   contract.Actor{Kind: contract.ActorKind(a.Actor.Kind), ID: string(a.Actor.ID), Name: a.Actor.Name},
		Outcome: contract.ActivityOutcome(a.Outcome),
	}
	var detail map[string]any
	if len(a.Detail) > 0 && json.Unmarshal(a.Detail, &detail) == nil {
		v.Detail = &detail
	}
	return v
}
