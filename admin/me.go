package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"pbx/admin/contract"
	"pbx/store"
)

func (s *Server) getMe(_ context.Context, q *request) (reply, error) {
	return ok(s.userView(s.DB.Snapshot(q.who.account), &q.who.user))
}

func (s *Server) updateMe(ctx context.Context, q *request) (reply, error) {
	u, err := s.changeUser(ctx, q, q.who.user.ID, func(u *store.User) error {
		in, err := patched(contract.MePatch{Name: &u.Name, Username: optional(u.Username)}, q.body)
		if err != nil {
			return err
		}
		u.Name, u.Username = strings.TrimSpace(value(in.Name)), value(in.Username)
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	return ok(s.userView(s.DB.Snapshot(q.who.account), &u))
}

func (s *Server) getMySettings(_ context.Context, q *request) (reply, error) {
	return ok(settingsView(&q.who.user))
}

func (s *Server) updateMySettings(ctx context.Context, q *request) (reply, error) {
	pin, err := s.pinOf(q)
	if err != nil {
		return reply{}, err
	}
	plan, _ := s.Plan(q.who.account)
	u, err := s.changeUser(ctx, q, q.who.user.ID, func(u *store.User) error {
		seconds := int(u.RingTimeout / time.Second)
		find, away, waiting, dials := findMeView(u.FindMe), forwardView(u.Forward), !u.OneCall, dialViews(u.SpeedDials)
		in, err := patched(contract.SettingsPatch{
			DoNotDisturb: &u.DoNotDisturb, RingTimeoutS: &seconds, Voicemail: voicemailSettings(&u.Voicemail),
			FindMe: &find, Forward: &away, CallWaiting: &waiting, RejectAnonymous: &u.RejectAnonymous, SpeedDials: &dials,
		}, q.body)
		if err != nil {
			return err
		}
		u.DoNotDisturb, u.RingTimeout = value(in.DoNotDisturb), time.Duration(value(in.RingTimeoutS))*time.Second
		u.FindMe, u.Forward, u.OneCall = findMe(in.FindMe, plan), forward(in.Forward), !value(in.CallWaiting)
		u.RejectAnonymous, u.SpeedDials = value(in.RejectAnonymous), speedDials(value(in.SpeedDials))
		return applyVoicemail(u, in.Voicemail, pin)
	})
	if err != nil {
		return reply{}, err
	}
	return ok(settingsView(&u))
}

func (s *Server) changePassword(ctx context.Context, q *request) (reply, error) {
	var in contract.PasswordChange
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	key := "password " + string(q.who.user.ID)
	if wait := s.guard.enter(time.Now(), limit{key, freePerLogin}); wait > 0 {
		return reply{}, tooManyTries(wait)
	}
	if !store.VerifyPassword(q.who.user.PasswordHash, in.CurrentPassword) {
		return reply{}, store.FieldErrors{{Field: "current_password", Problem: "The current password is incorrect."}}
	}
	s.guard.leave(key)
	if err := store.ValidatePassword("new_password", in.NewPassword); err != nil {
		return reply{}, err
	}
	hash, err := store.HashPassword(in.NewPassword)
	if err != nil {
		return reply{}, err
	}
	err = s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error {
		u, err := tx.User(q.who.user.ID)
		if err != nil {
			return err
		}
		u.PasswordHash = hash
		if err := tx.SaveUser(&u, 0); err != nil {
			return err
		}
		return tx.DeleteSessionsOf(u.ID, q.who.session.ID)
	})
	if err != nil {
		return reply{}, err
	}
	return noContent()
}

func (s *Server) listAPIKeys(ctx context.Context, q *request) (reply, error) {
	keys, err := s.DB.APIKeys(ctx, q.who.account, q.who.user.ID)
	if err != nil {
		return reply{}, err
	}
	list := contract.APIKeyList{Items: []contract.APIKey{}}
	for i := range keys {
		list.Items = append(list.Items, keyView(&keys[i]))
	}
	return ok(list)
}

func (s *Server) createAPIKey(ctx context.Context, q *request) (reply, error) {
	var in contract.APIKeyCreate
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	text := "pbx_" + newToken()
	k := store.APIKey{UserID: q.who.user.ID, Name: in.Name, Prefix: text[:8], KeyHash: store.HashToken(text)}
	err := s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.CreateAPIKey(&k) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	v := keyView(&k)
	return created("/me/api-keys/"+v.ID, contract.APIKeyCreated{
		ID: v.ID, Name: v.Name, Prefix: v.Prefix, CreatedAt: v.CreatedAt, UsedAt: v.UsedAt, UsedIP: v.UsedIP, Key: text,
	})
}

func (s *Server) deleteAPIKey(ctx context.Context, q *request) (reply, error) {
	keys, err := s.DB.APIKeys(ctx, q.who.account, q.who.user.ID)
	if err != nil {
		return reply{}, err
	}
	for i := range keys {
		if keys[i].ID != q.id("key") {
			continue
		}
		err := s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.DeleteAPIKey(keys[i].ID) })
		if err != nil {
			return reply{}, err
		}
		q.logged = true
		return reply{status: http.StatusNoContent}, nil
	}
	return reply{}, errNotFound // also for the key of somebody else
}
