package admin

import (
	"context"
	"strings"
	"time"

	"pbx/admin/contract"
	"pbx/store"
)

func (s *Server) listDevices(ctx context.Context, q *request) (reply, error) {
	filter := store.DeviceFilter{User: store.ID(q.param("user_id")), Kind: store.DeviceKind(q.param("kind"))}
	devices, next, err := s.DB.Devices(ctx, q.who.account, filter, q.page())
	if err != nil {
		return reply{}, err
	}
	snap := s.DB.Snapshot(q.who.account)
	list := contract.DeviceList{Items: make([]contract.Device, 0, len(devices)), NextCursor: optional(next)}
	for i := range devices {
		seen, err := s.lastSeen(ctx, &devices[i])
		if err != nil {
			return reply{}, err
		}
		list.Items = append(list.Items, s.deviceView(snap, &devices[i], seen))
	}
	return ok(list)
}

func (s *Server) getDevice(ctx context.Context, q *request) (reply, error) {
	d, err := s.DB.Device(ctx, q.who.account, q.id("device"))
	if err != nil {
		return reply{}, err
	}
	seen, err := s.lastSeen(ctx, &d)
	if err != nil {
		return reply{}, err
	}
	return ok(s.deviceView(s.DB.Snapshot(q.who.account), &d, seen))
}

func (s *Server) createDevice(ctx context.Context, q *request) (reply, error) {
	var in contract.DeviceCreate
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	if in.UserIds != nil && in.Lines != nil {
		return reply{}, bothLines()
	}
	d := store.Device{
		Kind: store.DeviceKind(in.Kind), Name: strings.TrimSpace(in.Name), Vendor: strings.ToLower(value(in.Vendor)), Model: value(in.Model),
		MAC: normalMAC(value(in.Mac)), IPEI: value(in.Ipei), BaseID: store.ID(value(in.BaseID)),
		Transport: string(valueOr(in.Transport, contract.Transport("udp"))), SRTP: string(valueOr(in.Srtp, contract.SRTP("off"))),
		Digest: string(valueOr(in.Digest, contract.Digest(store.DigestAny))),
	}
	for _, user := range value(in.UserIds) {
		d.Lines = append(d.Lines, store.Line{UserID: store.ID(user)})
	}
	for _, l := range value(in.Lines) {
		d.Lines = append(d.Lines, store.Line{UserID: store.ID(l.UserID), Label: value(l.Label)})
	}
	err := s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error {
		if err := knownUsers(tx, &d); err != nil {
			return err
		}
		return tx.CreateDevice(&d)
	})
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return created("/accounts/"+string(d.AccountID)+"/devices/"+string(d.ID), s.createdDevice(q, &d))
}

func bothLines() error {
	return store.FieldErrors{{Field: "lines", Problem: "Send either user_ids or lines, not both."}}
}

// normalMAC brings a MAC address into the store's form; what is none stays as it is and is refused there.
func normalMAC(s string) string {
	if mac, ok := store.NormalizeMAC(s); ok {
		return mac
	}
	return s
}

// knownUsers names the field when a line is for somebody who is not there.
func knownUsers(tx Changes, d *store.Device) error {
	for i := range d.Lines {
		if _, err := tx.User(d.Lines[i].UserID); err != nil {
			return store.FieldErrors{{Field: "user_ids", Problem: "There is no such user in this account."}}
		}
	}
	return nil
}

func (s *Server) createdDevice(q *request, d *store.Device) contract.DeviceCreated {
	v := s.deviceView(s.DB.Snapshot(q.who.account), d, time.Time{})
	c := contract.DeviceCreated{
		ID: v.ID, Version: v.Version, Kind: v.Kind, Name: v.Name, Vendor: v.Vendor, Model: v.Model, Mac: v.Mac, Ipei: v.Ipei, BaseID: v.BaseID,
		UserIds: v.UserIds, Lines: []contract.CreatedLine{}, Transport: v.Transport, Srtp: v.Srtp, Digest: v.Digest, Registrations: v.Registrations,
		Online: v.Online, LastSeen: v.LastSeen, CreatedAt: v.CreatedAt, UpdatedAt: v.UpdatedAt,
	}
	credentials := s.credentials(q, d)
	for i, l := range v.Lines {
		k := credentials.Lines[i]
		c.Lines = append(c.Lines, contract.CreatedLine{
			ID: l.ID, Index: l.Index, UserID: l.UserID, UserName: l.UserName, Extension: l.Extension, Label: l.Label, Username: l.Username, Online: l.Online,
			LineID: k.LineID, Server: k.Server, Port: k.Port, Transport: k.Transport, Domain: k.Domain, Password: k.Password,
		})
	}
	c.SIP = credentials.SIP
	return c
}

func (s *Server) updateDevice(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	var d store.Device
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error {
		if d, err = tx.Device(q.id("device")); err != nil {
			return err
		}
		if err := applyDevice(&d, q.body); err != nil {
			return err
		}
		if err := knownUsers(tx, &d); err != nil {
			return err
		}
		return tx.SaveDevice(&d, version)
	})
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	seen, err := s.lastSeen(ctx, &d)
	if err != nil {
		return reply{}, err
	}
	return ok(s.deviceView(s.DB.Snapshot(q.who.account), &d, seen))
}

func applyDevice(d *store.Device, patch []byte) error {
	transport, srtp, digest := contract.Transport(d.Transport), contract.SRTP(d.SRTP), contract.Digest(d.Digest)
	in, err := patched(contract.DevicePatch{
		Name: &d.Name, Vendor: &d.Vendor, Model: &d.Model, Mac: optional(d.MAC), Ipei: optional(d.IPEI), BaseID: optional(string(d.BaseID)),
		Transport: &transport, Srtp: &srtp, Digest: &digest,
	}, patch)
	if err != nil {
		return err
	}
	d.Name, d.Vendor, d.Model = strings.TrimSpace(value(in.Name)), strings.ToLower(value(in.Vendor)), value(in.Model)
	d.MAC, d.IPEI, d.BaseID = normalMAC(value(in.Mac)), value(in.Ipei), store.ID(value(in.BaseID))
	d.Transport, d.SRTP, d.Digest = string(value(in.Transport)), string(value(in.Srtp)), string(value(in.Digest))
	switch {
	case in.UserIds != nil && in.Lines != nil:
		return bothLines()
	case in.UserIds != nil:
		d.Lines = linesFor(d.Lines, *in.UserIds)
	case in.Lines != nil:
		d.Lines, err = linesAs(d.Lines, *in.Lines)
	}
	return err
}

// linesFor keeps the lines of users who stay, in the order in which the users are named.
func linesFor(old []store.Line, users []string) []store.Line {
	lines := make([]store.Line, 0, len(users))
	for _, user := range users {
		kept := false
		for _, l := range old {
			if string(l.UserID) == user {
				lines, kept = append(lines, l), true
			}
		}
		if !kept {
			lines = append(lines, store.Line{UserID: store.ID(user)})
		}
	}
	return lines
}

// linesAs makes the lines as told; a line with an id keeps its credentials.
func linesAs(old []store.Line, told []contract.LinePatch) ([]store.Line, error) {
	lines := make([]store.Line, 0, len(told))
	named := make(map[string]bool, len(told))
	for _, t := range told {
		id := value(t.ID)
		if id == "" {
			lines = append(lines, store.Line{UserID: store.ID(t.UserID), Label: value(t.Label)})
			continue
		}
		found := false
		for _, l := range old {
			if string(l.ID) != id || named[id] {
				continue
			}
			found, named[id] = true, true
			l.UserID, l.Label = store.ID(t.UserID), valueOr(t.Label, l.Label)
			lines = append(lines, l)
		}
		if !found {
			return nil, store.FieldErrors{{Field: "lines", Problem: "There is no such line in this device."}}
		}
	}
	return lines, nil
}

func (s *Server) deleteDevice(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.DeleteDevice(q.id("device"), version) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return noContent()
}
