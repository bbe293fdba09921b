package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	"pbx/event"
	"pbx/store"
)

// timing is how patient live sockets are.
type timing struct {
	ping  time.Duration // between pings, and between looks whether the session still exists
	pong  time.Duration // within which the browser must have answered
	write time.Duration // within which the browser must take a message
}

var usualTiming = timing{ping: 25 * time.Second, pong: 60 * time.Second, write: 10 * time.Second}

const (
	// lagsAllowed is how often a reader may lag within lagWindow of the lag before it is dropped.
	lagsAllowed = 3
	lagWindow   = time.Minute
	// maxInbound bounds a message from the browser, in octets; none is expected.
	maxInbound = 4096
)

// closeSignedOut is our close code for a session that ended.
const closeSignedOut = 4401

// Types of messages that are no news of the house.
const (
	liveHello  = "hello"
	liveLagged = "lagged"
)

// liveMessage is one message of the stream.
type liveMessage struct {
	Seq  uint64    `json:"seq"`
	Type string    `json:"type"`
	Time time.Time `json:"time"`
	Data any       `json:"data"`
}

// socket is one browser that listens.
type socket struct {
	server *Server
	conn   *websocket.Conn
	who    caller
	token  string // of the session; empty for an API key
	news   *event.Reader
	lags   int
	lagged time.Time // the last time
}

func (s *Server) streamEvents(_ context.Context, q *request) (reply, error) {
	if !websocket.IsWebSocketUpgrade(q.http) {
		q.w.Header().Set("Upgrade", "websocket") // RFC 9110 §15.5.22
		return reply{}, &problem{status: http.StatusUpgradeRequired, detail: "This address speaks WebSocket only."}
	}
	if !sameOrigin(q.http) {
		return reply{}, &problem{status: http.StatusForbidden, detail: "The request comes from another site."}
	}
	after, resume := s.Bus.Seq(), false
	if text := q.param("after"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return reply{}, badRequest("After must be a sequence number.")
		}
		after, resume = n, true
	}
	if err := s.admit(q.who.user.ID); err != nil {
		return reply{}, err
	}
	defer s.dismiss(q.who.user.ID)
	conn, err := s.upgrader.Upgrade(q.w, q.http, nil)
	if err != nil { // the upgrader has answered
		q.outcome = string(store.Failure)
		return reply{}, nil
	}
	k := &socket{server: s, conn: conn, who: q.who, news: s.Bus.ReaderAfter(after)}
	if cookie, err := q.http.Cookie(cookieName); err == nil && q.who.session.ID != "" {
		k.token = cookie.Value
	}
	if resume && after > s.Bus.Seq() { // from another life of the process; the reader will say lagged
		after = s.Bus.Seq()
	}
	s.log(q.http.Context(), q, http.StatusSwitchingProtocols) // now: a stream may last for days
	q.logged = true
	k.run(s.root, after)
	return reply{}, nil
}

// refuseUpgrade answers a handshake that is none.
func refuseUpgrade(w http.ResponseWriter, status int, _ error) {
	(&problem{status: status, detail: "This is no valid WebSocket handshake."}).write(w)
}

// run writes news until the browser leaves, is too slow, or the server stops. It waits for its reading goroutine.
func (k *socket) run(root context.Context, at uint64) {
	ctx, cancel := context.WithCancel(root)
	gone := make(chan struct{})
	go func() { // ends when the connection is closed below
		defer close(gone)
		defer cancel()
		k.read()
	}()
	code, reason := k.write(ctx, at)
	if root.Err() != nil {
		code, reason = websocket.CloseGoingAway, "the server is stopping"
	}
	if code != 0 {
		// A browser that reads nothing gets no farewell either; the deadline keeps us from waiting for it.
		k.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
	}
	cancel()
	k.conn.Close()
	<-gone
}

// read takes pongs and the browser's farewell; everything else it says is ignored.
func (k *socket) read() {
	k.conn.SetReadLimit(maxInbound)
	k.conn.SetReadDeadline(time.Now().Add(k.server.timing.pong))
	k.conn.SetPongHandler(func(string) error { return k.conn.SetReadDeadline(time.Now().Add(k.server.timing.pong)) })
	for {
		if _, _, err := k.conn.NextReader(); err != nil {
			return
		}
	}
}

// write sends what concerns the reader. It returns the close code, 0 when the connection is lost.
func (k *socket) write(ctx context.Context, at uint64) (code int, reason string) {
	if !k.send(liveMessage{Seq: at, Type: liveHello, Time: time.Now(), Data: struct{}{}}) {
		return 0, ""
	}
	ping := time.Now().Add(k.server.timing.ping)
	for {
		wait, cancel := context.WithDeadline(ctx, ping)
		n, err := k.news.Next(wait)
		cancel()
		switch {
		case err == nil:
			if code, reason := k.tell(n); code >= 0 {
				return code, reason
			}
		case errors.Is(err, event.ErrLagged):
			if k.tooSlow(time.Now()) {
				return websocket.CloseTryAgainLater, "reading too slowly"
			}
			if !k.send(liveMessage{Seq: k.server.Bus.Seq(), Type: liveLagged, Time: time.Now(), Data: struct{}{}}) {
				return 0, ""
			}
		case errors.Is(err, event.ErrClosed):
			return websocket.CloseGoingAway, "the server is stopping"
		case ctx.Err() != nil:
			return 0, ""
		default: // time to ask whether both are still there
			if !k.signedIn(ctx) {
				return closeSignedOut, "signed out"
			}
			if k.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(k.server.timing.write)) != nil {
				return 0, ""
			}
			ping = time.Now().Add(k.server.timing.ping)
		}
	}
}

// tooSlow counts a lag and reports whether it is one too many.
func (k *socket) tooSlow(now time.Time) bool {
	if now.Sub(k.lagged) > lagWindow {
		k.lags = 0
	}
	k.lags, k.lagged = k.lags+1, now
	return k.lags > lagsAllowed
}

// tell sends one item if it concerns the reader. A code of -1 means go on.
func (k *socket) tell(n event.News) (code int, reason string) {
	if n.Account != k.who.account && n.Account != "" || n.Kind == event.LampsChanged {
		return -1, ""
	}
	user, known := k.server.userNow(k.who.account, k.who.user.ID)
	if o, is := n.Data.(event.Object); !known || is && o.Deleted && (o.ID == k.who.session.ID || o.ID == k.who.key.ID) && o.ID != "" {
		return closeSignedOut, "signed out"
	}
	if user.Role != store.Admin && n.Kind != event.ParkingChanged && !slices.Contains(n.Users, user.ID) { // whoever is in the office may take a parked call
		return -1, ""
	}
	if !k.send(liveMessage{Seq: n.Seq, Type: n.Kind, Time: n.Time.UTC(), Data: n.Data}) {
		return 0, ""
	}
	return -1, ""
}

func (k *socket) send(m liveMessage) bool {
	text, err := json.Marshal(m)
	if err != nil {
		k.server.Log.Error("news not sendable", "kind", m.Type, "err", err)
		return true
	}
	k.conn.SetWriteDeadline(time.Now().Add(k.server.timing.write))
	return k.conn.WriteMessage(websocket.TextMessage, text) == nil
}

// signedIn reports whether the session or key still exists.
func (k *socket) signedIn(ctx context.Context) bool {
	if _, known := k.server.userNow(k.who.account, k.who.user.ID); !known {
		return false
	}
	if k.token == "" {
		return true // a key that is revoked is news
	}
	_, err := k.server.DB.SessionByToken(ctx, k.token)
	return !errors.Is(err, store.ErrNotFound)
}
