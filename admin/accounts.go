package admin

import (
	"context"
	"slices"
	"strings"
	"time"

	"pbx/admin/contract"
	"pbx/store"
)

func (s *Server) listAccounts(ctx context.Context, q *request) (reply, error) {
	a, err := s.DB.Account(ctx, q.who.account)
	if err != nil {
		return reply{}, err
	}
	return ok(contract.AccountList{Items: []contract.Account{accountView(&a, q.who.user.Role)}})
}

func (s *Server) getAccount(ctx context.Context, q *request) (reply, error) {
	a, err := s.DB.Account(ctx, q.who.account)
	if err != nil {
		return reply{}, err
	}
	return ok(accountView(&a, q.who.user.Role))
}

func (s *Server) updateAccount(ctx context.Context, q *request) (reply, error) {
	version, err := q.ifVersion()
	if err != nil {
		return reply{}, err
	}
	var a store.Account
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error {
		a = tx.Account()
		if err := applyAccount(&a, q.body); err != nil {
			return err
		}
		return tx.SaveAccount(&a, version)
	})
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	return ok(accountView(&a, q.who.user.Role))
}

func applyAccount(a *store.Account, patch []byte) error {
	parking := int(a.ParkingTimeout / time.Second)
	policy := policyPatch(&a.Recording)
	countries, dials := stringList(a.OutboundCountries), dialViews(a.SpeedDials)
	codes := make(map[string]*string, len(a.FeatureCodes))
	for key, number := range a.FeatureCodes {
		codes[key] = &number
	}
	in, err := patched(contract.AccountPatch{
		Name: &a.Name, Email: optional(a.Email), Timezone: &a.Timezone, Country: &a.Country, BillingAddress: optional(a.BillingAddress),
		ExtensionLength: &a.ExtensionLength, DefaultOutboundNumberID: optional(string(a.DefaultOutboundNumberID)), OutboundCountries: &countries,
		TranscriptionEnabled: &a.TranscriptionEnabled, RecordingEnabled: &a.RecordingEnabled,
		HoldMusicClipID: optional(string(a.HoldMusicClipID)), Recording: &policy,
		ParkingTimeoutS: &parking, InboundFaxLimit: &a.InboundFaxLimit, OutboundFaxLimit: &a.OutboundFaxLimit, TraceDays: &a.TraceDays,
		FeatureCodes: &codes, SpeedDials: &dials, VoicemailDays: &a.VoicemailDays, VoicemailMax: &a.VoicemailMax,
	}, patch)
	if err != nil {
		return err
	}
	a.Name, a.Email = strings.TrimSpace(value(in.Name)), strings.TrimSpace(value(in.Email))
	a.Timezone, a.Country = value(in.Timezone), strings.ToUpper(value(in.Country))
	a.BillingAddress, a.ExtensionLength = value(in.BillingAddress), value(in.ExtensionLength)
	a.DefaultOutboundNumberID, a.OutboundCountries = store.ID(value(in.DefaultOutboundNumberID)), upper(value(in.OutboundCountries))
	a.TranscriptionEnabled, a.RecordingEnabled = value(in.TranscriptionEnabled), value(in.RecordingEnabled)
	a.HoldMusicClipID = store.ID(value(in.HoldMusicClipID))
	applyPolicy(&a.Recording, in.Recording)
	a.ParkingTimeout = time.Duration(value(in.ParkingTimeoutS)) * time.Second
	a.InboundFaxLimit, a.OutboundFaxLimit, a.TraceDays = value(in.InboundFaxLimit), value(in.OutboundFaxLimit), value(in.TraceDays)
	a.SpeedDials, a.VoicemailDays, a.VoicemailMax = speedDials(value(in.SpeedDials)), value(in.VoicemailDays), value(in.VoicemailMax)
	a.FeatureCodes = nil
	for key, number := range value(in.FeatureCodes) {
		if number != nil {
			if a.FeatureCodes == nil {
				a.FeatureCodes = make(map[string]string)
			}
			a.FeatureCodes[key] = *number
		}
	}
	return nil
}

// upper is a list of country codes as they are kept; nil stays nil.
func upper(countries []string) []string {
	countries = slices.Clone(countries)
	for i := range countries {
		countries[i] = strings.ToUpper(countries[i])
	}
	return countries
}
