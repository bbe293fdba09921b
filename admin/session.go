package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"pbx/admin/contract"
	"pbx/store"
)

// How many wrong tries are free, by whom.
const (
	freePerLogin   = 5  // one address trying one login
	freePerAddress = 20 // one address trying many
	freePerTarget  = 50 // many addresses trying one login
)

// maxSigningIn is how many passwords wait to be computed; two are at a time, each costs memory and time on purpose.
const maxSigningIn = 20

func (s *Server) createSession(ctx context.Context, q *request) (reply, error) {
	var in contract.SessionCreate
	if err := decode(q.body, &in); err != nil {
		return reply{}, err
	}
	login := strings.ToLower(strings.TrimSpace(in.Login))
	from := network(clientIP(q.http))
	pair, address, target := "login "+from+" "+login, "address "+from, "target "+login
	q.actor, q.resource = login, "session"
	select {
	case s.signingIn <- struct{}{}:
		defer func() { <-s.signingIn }()
	default:
		return reply{}, &problem{status: http.StatusServiceUnavailable, detail: "Too many people are signing in. Try again.", wait: 2 * time.Second}
	}
	if wait := s.guard.enter(time.Now(), limit{pair, freePerLogin}, limit{address, freePerAddress}, limit{target, freePerTarget}); wait > 0 {
		return reply{}, tooManyTries(wait)
	}
	user, err := s.DB.UserByLogin(ctx, login)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.guard.forgive(pair, address, target)
		return reply{}, err
	}
	q.account = user.AccountID
	// An unknown login costs as much as a wrong password, so that the clock tells nobody who exists.
	if !store.VerifyPassword(user.PasswordHash, in.Password) {
		q.outcome = string(store.Failure)
		return reply{}, &problem{status: http.StatusUnauthorized, detail: "Email or password is incorrect."}
	}
	s.guard.leave(pair)
	s.guard.forgive(address, target)
	q.who = caller{account: user.AccountID, user: user, actor: store.Actor{Kind: "user", ID: user.ID, Name: user.Login(), IP: clientIP(q.http)}}
	token, session := s.newSession(q.http, user.ID)
	old := s.presentedSession(ctx, q)
	err = s.DB.Update(ctx, q.who.actor, user.AccountID, func(tx Changes) error {
		if old != "" { // a new sign-in never continues an old session
			if err := tx.DeleteSession(old); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		return tx.CreateSession(&session)
	})
	if err != nil {
		return reply{}, err
	}
	q.who.session, q.logged = session, true
	answer, err := s.sessionReply(ctx, q, http.StatusCreated)
	answer.location, answer.cookie = basePath+"/session", s.cookie(q.http, token, session.ExpiresAt)
	return answer, err
}

// presentedSession returns the session that the browser had before, if it is of the same account.
func (s *Server) presentedSession(ctx context.Context, q *request) store.ID {
	cookie, err := q.http.Cookie(cookieName)
	if err != nil {
		return ""
	}
	old, err := s.DB.SessionByToken(ctx, cookie.Value)
	if err != nil || old.AccountID != q.who.account {
		return ""
	}
	return old.ID
}

// newSession makes a session for a user; its token is known to the browser alone.
func (s *Server) newSession(r *http.Request, user store.ID) (token string, session store.Session) {
	token = newToken()
	return token, store.Session{
		UserID: user, TokenHash: store.HashToken(token), IP: clientIP(r),
		UserAgent: strings.ToValidUTF8(r.UserAgent(), ""), ExpiresAt: time.Now().Add(sessionIdle),
	}
}

func (s *Server) getSession(ctx context.Context, q *request) (reply, error) {
	return s.sessionReply(ctx, q, http.StatusOK)
}

func (s *Server) sessionReply(ctx context.Context, q *request, status int) (reply, error) {
	a, err := s.DB.Account(ctx, q.who.account)
	if err != nil {
		return reply{}, err
	}
	return reply{status: status, body: contract.Session{
		User:    s.userView(s.DB.Snapshot(q.who.account), &q.who.user),
		Account: accountView(&a, q.who.user.Role), ExpiresAt: optionalTime(q.who.session.ExpiresAt), Version: s.Version,
	}}, nil
}

func (s *Server) deleteSession(ctx context.Context, q *request) (reply, error) {
	if q.who.session.ID == "" {
		return reply{}, conflict("An API key has no session to end. Revoke the key instead.")
	}
	err := s.DB.Update(ctx, q.who.actor, q.who.account, func(tx Changes) error { return tx.DeleteSession(q.who.session.ID) })
	if err != nil {
		return reply{}, err
	}
	q.logged = true
	answer, err := noContent()
	answer.cookie = s.noCookie(q.http)
	return answer, err
}
