package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"pbx/event"
	"pbx/store"
	"pbx/store/sqlite"
)

// listener is a browser that listens.
type listener struct {
	t     *testing.T
	house *house
	conn  *websocket.Conn
}

// stream serves the house on loopback, so that sockets are real.
func (h *house) stream(t *testing.T) *httptest.Server {
	ts := httptest.NewServer(h.server)
	t.Cleanup(ts.Close)
	return ts
}

func (c *client) dial(ts *httptest.Server, query string) (*listener, *http.Response, error) {
	header := c.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if c.cookie != "" {
		header.Set("Cookie", cookieName+"="+c.cookie)
	}
	if c.key != "" {
		header.Set("Authorization", "Bearer "+c.key)
	}
	conn, response, err := websocket.DefaultDialer.DialContext(c.t.Context(), "ws"+strings.TrimPrefix(ts.URL, "http")+basePath+"/accounts/default/events"+query, header)
	if err != nil {
		return nil, response, err
	}
	answered.Lock()
	answered.ids["streamEvents"] = true
	answered.Unlock()
	c.t.Cleanup(func() { conn.Close() })
	return &listener{c.house.T, c.house, conn}, response, nil
}

func (c *client) listen(ts *httptest.Server, query string) *listener {
	c.t.Helper()
	l, _, err := c.dial(ts, query)
	if err != nil {
		c.t.Fatal(err)
	}
	return l
}

// heard is one message.
type heard struct {
	Seq  uint64
	Type string
	Data map[string]any
}

// next waits for the next message that is not about the log: entries are written when there is time.
func (l *listener) next() heard {
	l.t.Helper()
	for {
		if m := l.any(); m.Type != event.ActivityAdded {
			return m
		}
	}
}

// any waits for the next message and proves it against the contract.
func (l *listener) any() (m heard) {
	l.t.Helper()
	l.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, text, err := l.conn.ReadMessage()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		l.t.Fatal(err)
	}
	value, err := decodeJSON(text)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.house.server.doc.Components.Schemas["Event"].Value.VisitJSON(value); err != nil {
		l.t.Errorf("%s: %v", text, err)
	}
	return m
}

// closed waits for the end and returns its code.
func (l *listener) closed() int {
	l.t.Helper()
	l.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		_, _, err := l.conn.ReadMessage()
		if end := (*websocket.CloseError)(nil); errors.As(err, &end) {
			return end.Code
		} else if err != nil {
			l.t.Fatal(err)
		}
	}
}

func (h *house) news(kind string, users ...store.ID) event.News {
	return event.News{Kind: kind, Account: h.account, Users: users, Data: event.Registration{DeviceID: h.desk.ID, LineID: h.desk.Lines[0].ID, UserID: h.ada.ID, Online: true}}
}

func TestLiveNewsByRole(t *testing.T) {
	h := newHouse(t)
	ts := h.stream(t)
	admin, member, foreign := h.admin.listen(ts, ""), h.member.listen(ts, ""), h.foreign.listen(ts, "")
	for _, l := range []*listener{admin, member, foreign} {
		if m := l.next(); m.Type != liveHello || m.Seq == 0 || m.Seq > h.bus.Seq() {
			t.Fatalf("%+v", m)
		}
	}
	call := event.Call{ID: "cal_1", State: "ringing", Direction: "internal", StartedAt: time.Now()}
	h.bus.Publish(
		h.news(event.RegistrationChanged, h.ada.ID),
		event.News{Kind: event.CallStarted, Account: h.account, Users: []store.ID{h.ada.ID, h.bob.ID}, Data: call},
		event.News{Kind: event.ObjectChanged, Account: h.other, Data: event.Object{Type: "user", ID: h.zed.ID, Version: 2, Actor: "zed"}},
		event.News{Kind: event.VoicemailReceived, Account: h.account, Users: []store.ID{h.bob.ID}, Data: event.Voicemail{Mailbox: h.bob.ID, MessageID: "msg_1", New: 1}},
	)
	got := func(l *listener, n int) string {
		var kinds []string
		for range n {
			kinds = append(kinds, l.next().Type)
		}
		return strings.Join(kinds, " ")
	}
	if g := got(admin, 3); g != "registration.changed call.started voicemail.received" {
		t.Errorf("an admin heard %s", g)
	}
	if g := got(member, 2); g != "call.started voicemail.received" {
		t.Errorf("a member heard %s", g)
	}
	if g := got(foreign, 1); g != "object.changed" {
		t.Errorf("another account heard %s", g)
	}
}

func TestLiveRoleIsTheOneOfNow(t *testing.T) {
	h := newHouse(t)
	ts := h.stream(t)
	l := h.member.listen(ts, "")
	l.next()
	h.bus.Publish(h.news(event.RegistrationChanged, h.ada.ID)) // not for a member
	h.update(t, h.account, func(tx *sqlite.Tx) error {
		u, err := tx.User(h.bob.ID)
		if err != nil {
			return err
		}
		u.Role = store.Admin
		return tx.SaveUser(&u, 0)
	})
	if m := l.next(); m.Type != event.ObjectChanged {
		t.Errorf("%+v", m)
	}
	h.bus.Publish(h.news(event.RegistrationChanged, h.ada.ID))
	for m := l.next(); m.Type != event.RegistrationChanged; m = l.next() {
	}
}

func TestLiveResume(t *testing.T) {
	h := newHouse(t)
	ts := h.stream(t)
	if err := h.db.Flush(t.Context()); err != nil { // nothing else is on its way
		t.Fatal(err)
	}
	at := h.bus.Seq()
	for range 3 {
		h.bus.Publish(h.news(event.RegistrationChanged))
	}
	l := h.admin.listen(ts, fmt.Sprintf("?after=%d", at+1))
	if m := l.next(); m.Type != liveHello || m.Seq != at+1 {
		t.Errorf("%+v", m)
	}
	last := at + 1
	for range 2 {
		m := l.next()
		if m.Seq <= last || m.Type != event.RegistrationChanged {
			t.Errorf("%+v after %d", m, last)
		}
		last = m.Seq
	}
}

func TestLiveTooOldOrFromAnotherLife(t *testing.T) {
	h := newHouse(t)
	ts := h.stream(t)
	at := h.bus.Seq()
	burst := make([]event.News, 1100)
	for i := range burst {
		burst[i] = h.news(event.RegistrationChanged)
	}
	h.bus.Publish(burst...)
	for _, after := range []uint64{at, h.bus.Seq() + 1000} {
		l := h.admin.listen(ts, fmt.Sprintf("?after=%d", after))
		l.next()
		if m := l.next(); m.Type != liveLagged || m.Seq < at+1100 {
			t.Errorf("after %d: %+v", after, m)
		}
	}
}

func TestLiveSlowReaderIsDropped(t *testing.T) {
	h := newHouse(t)
	ts := h.stream(t)
	l := h.admin.listen(ts, "")
	l.next()
	burst := make([]event.News, 1100) // more than the ring holds: whoever waits has lost some
	for i := range burst {
		burst[i] = event.News{Kind: event.RegistrationChanged, Account: "acc_somebody", Data: event.Registration{}}
	}
	for range lagsAllowed {
		h.bus.Publish(burst...)
		if m := l.next(); m.Type != liveLagged {
			t.Fatalf("%+v", m)
		}
	}
	h.bus.Publish(burst...)
	if code := l.closed(); code != websocket.CloseTryAgainLater {
		t.Errorf("closed with %d", code)
	}
}

func TestLiveBrowserThatTakesNothing(t *testing.T) {
	h := newHouse(t)
	h.server.timing = timing{ping: time.Minute, pong: time.Minute, write: 20 * time.Millisecond}
	ts := h.stream(t)
	l := h.admin.listen(ts, "")
	big := event.News{Kind: event.RegistrationChanged, Account: h.account, Data: event.Registration{UserAgent: strings.Repeat("x", 100_000)}}
	for range 500 { // 50 MB: more than sockets buffer
		h.bus.Publish(big)
	}
	closed := make(chan struct{})
	go func() { h.server.live.Wait(); close(closed) }()
	h.server.stop() // ends the follower of news; the socket must end by its own deadline or this
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("a browser that reads nothing holds the server")
	}
	l.conn.Close()
}

func TestLiveEndsWithTheSession(t *testing.T) {
	h := newHouse(t)
	ts := h.stream(t)
	l := h.member.listen(ts, "")
	l.next()
	h.member.remove("/session").want(204)
	if code := l.closed(); code != closeSignedOut {
		t.Errorf("closed with %d", code)
	}
	key := h.member2(t).post("/me/api-keys", map[string]any{"name": "k"}).want(201)
	door := &client{house: h, t: t, key: key.text("key")}
	l = door.listen(ts, "")
	l.next()
	h.member2(t).remove("/me/api-keys/" + key.text("id")).want(204)
	if code := l.closed(); code != closeSignedOut {
		t.Errorf("closed with %d", code)
	}
}

// member2 is the member in another browser.
func (h *house) member2(t *testing.T) *client { return h.signedIn(t, &h.bob) }

func TestLivePings(t *testing.T) {
	h := newHouse(t)
	h.server.timing = timing{ping: 10 * time.Millisecond, pong: 200 * time.Millisecond, write: time.Second}
	ts := h.stream(t)
	l := h.admin.listen(ts, "")
	pinged := 0
	l.conn.SetPingHandler(func(string) error {
		if pinged++; pinged > 3 { // no more pongs: the server must let go
			return nil
		}
		return l.conn.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second))
	})
	l.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		if _, _, err := l.conn.ReadMessage(); err != nil {
			break
		}
	}
	if pinged <= 3 {
		t.Errorf("%d pings", pinged)
	}
}

func TestLiveOriginAndHandshake(t *testing.T) {
	h := newHouse(t)
	ts := h.stream(t)
	for _, origin := range []string{"https://evil.example", "null", "http://" + strings.TrimPrefix(ts.URL, "http://") + ".evil.example"} {
		if _, response, err := h.admin.with("Origin", origin).dial(ts, ""); err == nil || response.StatusCode != http.StatusForbidden {
			t.Errorf("origin %s: %v %v", origin, response, err)
		}
	}
	if _, _, err := h.admin.with("Origin", ts.URL).dial(ts, ""); err != nil {
		t.Errorf("our own origin: %v", err)
	}
	if _, response, err := h.nobody.dial(ts, ""); err == nil || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("nobody: %v", err)
	}
	if _, response, err := h.admin.dial(ts, "?after=x"); err == nil || response.StatusCode != http.StatusBadRequest {
		t.Errorf("bad number: %v", err)
	}
	h.admin.get("/accounts/default/events").want(http.StatusUpgradeRequired)
}

func TestCloseEndsSockets(t *testing.T) {
	h := newHouse(t)
	ts := h.stream(t)
	l := h.admin.listen(ts, "")
	l.next()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- h.server.Close(ctx) }()
	if code := l.closed(); code != websocket.CloseGoingAway {
		t.Errorf("closed with %d", code)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, response, err := h.admin.dial(ts, ""); err == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after the end: %v", err)
	}
}

func TestLiveSocketsAreBounded(t *testing.T) {
	h := newHouse(t)
	ts := h.stream(t)
	for range maxSockets {
		h.member.listen(ts, "").next()
	}
	if _, response, err := h.member.dial(ts, ""); err == nil || response.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more: %v", err)
	}
	h.admin.listen(ts, "").next()
}
