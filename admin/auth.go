package admin

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"pbx/store"
)

// cookieName is the session cookie.
const cookieName = "pbx_session"

// How long a session lasts without use, at most, and how often its use is noted.
const (
	sessionIdle  = 14 * 24 * time.Hour
	sessionMost  = 90 * 24 * time.Hour
	sessionTouch = 5 * time.Minute
)

// caller is who sent a request.
type caller struct {
	account store.ID
	user    store.User
	session store.Session // zero for an API key
	key     store.APIKey  // zero for a session
	actor   store.Actor
}

func (c *caller) admin() bool { return c.user.Role == store.Admin }

// authenticate finds out who is calling.
func (s *Server) authenticate(q *request) error {
	ctx, r := q.http.Context(), q.http
	ip := clientIP(r)
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			return errUnauthorized
		}
		key, err := s.DB.APIKeyByToken(ctx, token)
		if err != nil {
			return unknownCaller(err)
		}
		user, ok := s.userNow(key.AccountID, key.UserID)
		if !ok {
			return errUnauthorized
		}
		q.who = caller{account: key.AccountID, user: user, key: key, actor: store.Actor{Kind: "api_key", ID: key.ID, Name: key.Name, IP: ip}}
		if time.Since(key.UsedAt) > time.Minute || key.UsedIP != ip {
			return s.DB.TouchAPIKey(ctx, key.AccountID, key.ID, ip)
		}
		return nil
	}
	cookie, err := r.Cookie(cookieName)
	if err != nil || cookie.Value == "" {
		return errUnauthorized
	}
	session, err := s.DB.SessionByToken(ctx, cookie.Value)
	if err != nil {
		return unknownCaller(err)
	}
	user, ok := s.userNow(session.AccountID, session.UserID)
	if !ok {
		return errUnauthorized
	}
	q.who = caller{account: session.AccountID, user: user, session: session, actor: store.Actor{Kind: "user", ID: user.ID, Name: user.Login(), IP: ip}}
	return s.touch(ctx, q, cookie.Value)
}

// touch moves the end of a session that is in use, and of its cookie.
func (s *Server) touch(ctx context.Context, q *request, token string) error {
	now := time.Now()
	if now.Sub(q.who.session.SeenAt) < sessionTouch {
		return nil
	}
	ends := now.Add(sessionIdle)
	if most := q.who.session.CreatedAt.Add(sessionMost); ends.After(most) {
		ends = most
	}
	q.who.session.ExpiresAt = ends
	http.SetCookie(q.w, s.cookie(q.http, token, ends))
	return s.DB.TouchSession(ctx, q.who.account, q.who.session.ID, now, ends)
}

func unknownCaller(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return errUnauthorized
	}
	return err
}

// userNow returns a user as of the last commit: a role that was taken away is gone at once.
func (s *Server) userNow(account, id store.ID) (store.User, bool) {
	snap := s.DB.Snapshot(account)
	if snap == nil {
		return store.User{}, false
	}
	u := snap.User(id)
	if u == nil {
		return store.User{}, false
	}
	return *u, true
}

// cookie carries a session. It is for HTTPS only when the browser uses that; a proxy in which TLS ends may be believed,
// because whoever forges its word gets a cookie that travels less.
func (s *Server) cookie(r *http.Request, token string, expires time.Time) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: token, Path: "/", Expires: expires,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
}

// noCookie takes the session cookie away.
func (s *Server) noCookie(r *http.Request) *http.Cookie {
	c := s.cookie(r, "", time.Unix(0, 0))
	c.MaxAge = -1
	return c
}

// newToken returns 256 random bits as text.
func newToken() string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// clientIP is the address that the request came from. Headers of proxies are not believed: anybody can send them.
func clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	return ip.Unmap().WithZone("").String()
}

// FromThisMachine reports whether the request was surely sent by somebody on this machine: from loopback,
// to a loopback name (a page of another site could have pointed its own name at us), and not by a proxy.
func FromThisMachine(r *http.Request) bool {
	ip, err := netip.ParseAddr(clientIP(r))
	if err != nil || !ip.IsLoopback() || proxied(r) {
		return false
	}
	host := (&url.URL{Host: r.Host}).Hostname()
	if strings.EqualFold(host, "localhost") {
		return true
	}
	named, err := netip.ParseAddr(host)
	return err == nil && named.Unmap().IsLoopback()
}

// proxied reports whether a proxy passed the request on. One that was told nothing else may add no header and give
// our own address as the host; nginx then speaks HTTP/1.0, which no browser does.
func proxied(r *http.Request) bool {
	if !r.ProtoAtLeast(1, 1) {
		return true
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Forwarded-") || name == "Forwarded" || name == "X-Real-Ip" || name == "Via" {
			return true
		}
	}
	return false
}

// sameOrigin reports whether a handshake comes from our own pages. Programs send no Origin.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}
