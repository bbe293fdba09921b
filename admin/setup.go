package admin

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pbx/admin/contract"
	"pbx/store"
)

// What a new account and user begin with.
const (
	defaultParking = 2 * time.Minute
	defaultRing    = 25 * time.Second
)

func (s *Server) getSetup(ctx context.Context, q *request) (reply, error) {
	has, err := s.DB.HasUsers(ctx)
	if err != nil {
		return reply{}, err
	}
	return ok(contract.Setup{Needed: !has, TokenNeeded: !has && !FromThisMachine(q.http)})
}

func (s *Server) createSetup(ctx context.Context, q *request) (reply, error) {
	var in contract.SetupCreate
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	s.setup.Lock()
	defer s.setup.Unlock()
	has, err := s.DB.HasUsers(ctx)
	if err != nil {
		return reply{}, err
	}
	if has {
		return reply{}, conflict("This system is set up already.")
	}
	if err := s.checkSetupToken(q, value(in.SetupToken)); err != nil {
		return reply{}, err
	}
	a := newAccount(strings.TrimSpace(in.AccountName), in.Timezone, strings.ToUpper(valueOr(in.Country, "US")), valueOr(in.ExtensionLength, 3))
	u := store.User{
		Name: strings.TrimSpace(in.AdminName), Email: strings.TrimSpace(in.AdminEmail), Role: store.Admin, RingTimeout: defaultRing,
		Extension: valueOr(in.AdminExtension, firstExtension(a.ExtensionLength)), Voicemail: store.Voicemail{Enabled: true},
	}
	if err := mergedFaults(
		renamed(a.Validate(), map[string]string{"name": "account_name"}),
		renamed(u.Validate(a.ExtensionLength), map[string]string{"name": "admin_name", "email": "admin_email", "extension": "admin_extension"}),
		store.ValidatePassword("admin_password", in.AdminPassword),
	); err != nil {
		return reply{}, err
	}
	if u.PasswordHash, err = store.HashPassword(in.AdminPassword); err != nil {
		return reply{}, err
	}
	who := store.Actor{Kind: "system", Name: u.Email, IP: clientIP(q.http)}
	token, session := s.newSession(q.http, "")
	err = s.DB.Update(ctx, who, "", func(tx Changes) error {
		if err := tx.CreateAccount(&a); err != nil {
			return err
		}
		if err := tx.CreateUser(&u); err != nil {
			return err
		}
		session.UserID = u.ID
		return tx.CreateSession(&session)
	})
	if err != nil {
		return reply{}, err
	}
	q.who = caller{account: a.ID, user: u, session: session, actor: store.Actor{Kind: "user", ID: u.ID, Name: u.Login(), IP: who.IP}}
	q.resource = "account/" + string(a.ID)
	s.Log.Info("system set up", "account", a.ID, "admin", u.ID)
	answer, err := s.sessionReply(ctx, q, http.StatusCreated)
	answer.location, answer.cookie = basePath+"/session", s.cookie(q.http, token, session.ExpiresAt)
	return answer, err
}

// checkSetupToken lets nobody take over a fresh system from another machine.
func (s *Server) checkSetupToken(q *request, token string) error {
	if FromThisMachine(q.http) {
		return nil
	}
	key := "setup " + network(clientIP(q.http))
	if wait := s.guard.enter(time.Now(), limit{key, 5}); wait > 0 {
		return tooManyTries(wait)
	}
	if s.SetupToken == "" || subtle.ConstantTimeCompare([]byte(plainCode(token)), []byte(plainCode(s.SetupToken))) != 1 {
		return &problem{
			status: http.StatusForbidden, detail: "The set-up code is missing or wrong. The server printed it on its console.",
			fields: []contract.ProblemField{{Field: "setup_token", Message: "The set-up code is missing or wrong. The server printed it on its console."}},
		}
	}
	s.guard.leave(key)
	return nil
}

// plainCode is a set-up code as it counts: people copy it from a console with and without its hyphens.
func plainCode(code string) string {
	return strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(code))
}

// renamed gives the fields of an error the names that the form has.
func renamed(err error, names map[string]string) error {
	fields, is := err.(store.FieldErrors)
	if !is {
		return err
	}
	for i, f := range fields {
		if name, other := names[f.Field]; other {
			fields[i].Field = name
		}
	}
	return fields
}

func newAccount(name, timezone, country string, extensionLength int) store.Account {
	return store.Account{
		Name: name, Timezone: timezone, Country: country, ExtensionLength: extensionLength, ParkingTimeout: defaultParking,
		InboundFaxLimit: 100, OutboundFaxLimit: 100, TraceDays: store.DefaultTraceDays,
	}
}

// Bootstrap makes the account "Default" and its administrator for an unattended first start.
// It reports false, and does nothing, when there are users already.
func Bootstrap(ctx context.Context, db Database, email, password string) (done bool, err error) {
	has, err := db.HasUsers(ctx)
	if err != nil || has {
		return false, err
	}
	a := newAccount("Default", "UTC", "US", 3)
	u := store.User{
		Name: "Administrator", Email: email, Role: store.Admin, RingTimeout: defaultRing,
		Extension: firstExtension(a.ExtensionLength), Voicemail: store.Voicemail{Enabled: true},
	}
	if err := mergedFaults(u.Validate(a.ExtensionLength), store.ValidatePassword("password", password)); err != nil {
		return false, fmt.Errorf("create first administrator: %w", err)
	}
	if u.PasswordHash, err = store.HashPassword(password); err != nil {
		return false, fmt.Errorf("create first administrator: %w", err)
	}
	err = db.Update(ctx, store.System, "", func(tx Changes) error {
		if err := tx.CreateAccount(&a); err != nil {
			return err
		}
		return tx.CreateUser(&u)
	})
	if err != nil {
		return false, fmt.Errorf("create first administrator: %w", err)
	}
	return true, nil
}
