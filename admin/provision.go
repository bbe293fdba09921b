package admin

import (
	"context"
	"strings"

	"pbx/admin/contract"
	"pbx/provisioning"
	"pbx/store"
)

const maskedToken = "••••••••"

func (s *Server) getProvisioning(ctx context.Context, q *request) (reply, error) {
	a, err := s.DB.Account(ctx, q.who.account)
	if err != nil {
		return reply{}, err
	}
	v := contract.Provisioning{TokenSet: a.ProvisioningToken != "", PhoneAdminPasswordSet: a.PhoneAdminPassword != ""}
	token := maskedToken
	if q.param("reveal") == "true" {
		q.event = "provisioning.reveal"
		token = string(a.ProvisioningToken)
		v.PhoneAdminPassword = optional(string(a.PhoneAdminPassword))
	}
	if v.TokenSet {
		v.URL = optional(s.provisioningURL(q, token))
	}
	return ok(v)
}

func (s *Server) provisioningURL(q *request, token string) string {
	return s.Places.HTTPBase(q.http) + "/p/" + token + "/"
}

func (s *Server) rotateProvisioning(ctx context.Context, q *request) (reply, error) {
	var a store.Account
	err := s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error {
		a = tx.Account()
		a.ProvisioningToken = store.Secret(store.NewToken())
		if a.PhoneAdminPassword == "" {
			a.PhoneAdminPassword = store.NewLinePassword()
		}
		if err := tx.SaveAccount(&a, 0); err != nil {
			return err
		}
		tx.Note("provisioning.rotate", "account/"+string(a.ID), nil)
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return ok(contract.ProvisioningRotated{
		Token: string(a.ProvisioningToken), URL: s.provisioningURL(q, string(a.ProvisioningToken)), PhoneAdminPassword: string(a.PhoneAdminPassword),
	})
}

func (s *Server) listSeenPhones(_ context.Context, q *request) (reply, error) {
	list := contract.SeenPhoneList{Items: []contract.SeenPhone{}}
	for _, p := range s.Provisioning.Seen(q.who.account) {
		list.Items = append(list.Items, contract.SeenPhone{
			Mac: p.MAC, Vendor: p.Vendor, Model: p.Model, Firmware: p.Firmware, Source: p.Source, At: p.At.UTC(),
		})
	}
	return ok(list)
}

func (s *Server) listProvisioningLog(ctx context.Context, q *request) (reply, error) {
	if _, err := s.DB.Device(ctx, q.who.account, q.id("device")); err != nil {
		return reply{}, err
	}
	fetches, next, err := s.DB.ProvisionFetches(ctx, q.who.account, q.id("device"), q.page())
	if err != nil {
		return reply{}, err
	}
	list := contract.ProvisioningFetchList{Items: []contract.ProvisioningFetch{}, NextCursor: optional(next)}
	for _, f := range fetches {
		list.Items = append(list.Items, contract.ProvisioningFetch{
			ID: string(f.ID), At: f.At.UTC(), File: f.File, Source: f.Source, UserAgent: f.UserAgent, Status: f.Status, Bytes: f.Bytes,
		})
	}
	return ok(list)
}

func (s *Server) listProvisioningFiles(_ context.Context, q *request) (reply, error) {
	files, err := s.Provisioning.Render(q.who.account, q.id("device"), true)
	if err != nil {
		return reply{}, err
	}
	list := contract.ProvisioningFileList{Items: []contract.ProvisioningFile{}}
	for _, f := range files {
		v := contract.ProvisioningFile{Name: f.Name, ContentType: f.ContentType, Content: strings.ToValidUTF8(string(f.Body), "�"), Warnings: []string{}}
		list.Items = append(list.Items, withWarnings(v, f.Warnings))
	}
	return ok(list)
}

func withWarnings(v contract.ProvisioningFile, warnings []string) contract.ProvisioningFile {
	v.Warnings = append(v.Warnings, warnings...)
	return v
}

func (s *Server) listDeviceModels(_ context.Context, q *request) (reply, error) {
	only := q.param("vendor")
	titles := make(map[string]string)
	for _, v := range provisioning.Vendors() {
		titles[v.Name] = v.Title
	}
	list := contract.DeviceModelList{Items: []contract.DeviceModel{}}
	for _, m := range provisioning.Models() {
		if only != "" && m.Vendor != only {
			continue
		}
		list.Items = append(list.Items, contract.DeviceModel{
			Vendor: m.Vendor, VendorName: titles[m.Vendor], Model: m.Model, Kind: contract.DeviceKind(m.Kind), Lines: m.Lines, Keys: m.Keys,
		})
	}
	return ok(list)
}

func (s *Server) listRegistrations(_ context.Context, q *request) (reply, error) {
	list := contract.RegistrationList{Items: []contract.Registration{}}
	snap := s.DB.Snapshot(q.who.account)
	if snap == nil {
		return ok(list)
	}
	for i := range snap.Devices {
		bindings := s.Phones.BindingsOfDevice(snap.Devices[i].ID)
		for j := range bindings {
			list.Items = append(list.Items, registrationView(&bindings[j]))
		}
	}
	return ok(list)
}
