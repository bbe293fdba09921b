package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gorilla/mux"
	"github.com/gorilla/websocket"

	"pbx/admin/ui"
	"pbx/event"
	"pbx/store"
)

// Config is what a Server is made of.
type Config struct {
	DB           Database
	Bus          *event.Bus
	Calls        Calls
	Phones       Phones
	Trunks       Trunks // nil: nothing is known of them
	Provisioning Provisioning
	Watch        Watch
	Sounds       Sounds
	Plan         Planner
	Places       Places
	// SetupToken must be sent with set-up that does not come from this machine; empty: only this machine may set up.
	SetupToken string
	// Version is the program's.
	Version string
	// Portal holds the web pages; nil: the embedded ones.
	Portal fs.FS
	Log    *slog.Logger
}

// Server answers everything below / but provisioning, health and metrics.
type Server struct {
	Config

	begin      func() error // reads the contract, when the first request comes; fills the next three
	doc        *openapi3.T
	operations []*operation
	router     *mux.Router

	crossSite  http.CrossOriginProtection
	converting chan struct{} // the place of the one upload that is being converted
	guard      *guard        // failed sign-ins
	signingIn  chan struct{} // places for people whose password is being computed
	strangers  *guard        // refusals written to the log for callers that nobody knows
	portal     *portal
	docs       func() ([]byte, error) // made when somebody looks
	upgrader   websocket.Upgrader
	timing     timing

	setup sync.Mutex // one set-up at a time
	seen  *lastSeen

	root  context.Context
	stop  context.CancelFunc
	live  sync.WaitGroup   // sockets and the follower of news
	doors sync.Mutex       // between a socket that comes in and Close
	open  map[store.ID]int // sockets of each user, guarded by doors
}

// handlerTime is how long a handler may take.
const handlerTime = 30 * time.Second

// New returns a server. It reads the contract when it is first asked: that contract and handlers fit is proven by a
// test, and a house whose portal nobody has opened needs neither the time nor the memory, a good part of all that it takes.
func New(c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Portal == nil {
		c.Portal = ui.Dist()
	}
	s := &Server{Config: c, converting: make(chan struct{}, 1), guard: newGuard(), signingIn: make(chan struct{}, maxSigningIn), strangers: newGuard(), seen: newLastSeen(), timing: usualTiming, open: make(map[store.ID]int)}
	var err error
	if s.portal, err = newPortal(c.Portal); err != nil {
		return nil, err
	}
	s.docs = sync.OnceValues(func() ([]byte, error) { return renderDocs(s.doc, s.operations) })
	s.begin = sync.OnceValue(func() (err error) {
		if s.doc, s.operations, err = loadContract(); err != nil {
			return err
		}
		return s.route()
	})
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second,
		ReadBufferSize:   1024, WriteBufferSize: 4096,
		CheckOrigin: sameOrigin,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			refuseUpgrade(w, status, reason)
		},
	}
	s.root, s.stop = context.WithCancel(context.Background())
	s.live.Go(func() { s.seen.follow(s.root, s.Bus.Reader()) })
	return s, nil
}

// Close ends all live sockets and waits for them. The caller stops sending requests first.
func (s *Server) Close(ctx context.Context) error {
	s.doors.Lock()
	s.stop()
	s.doors.Unlock()
	ended := make(chan struct{})
	go func() { // ends with the sockets, whose writes have deadlines
		s.live.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close portal: %w", ctx.Err())
	}
}

// maxSockets is how many live sockets one person may have open.
const maxSockets = 50

// admit counts one more live socket of a user, unless there are too many or the server is closing.
func (s *Server) admit(user store.ID) error {
	s.doors.Lock()
	defer s.doors.Unlock()
	if s.root.Err() != nil {
		return &problem{status: http.StatusServiceUnavailable, detail: "The server is stopping."}
	}
	if s.open[user] >= maxSockets {
		return &problem{status: http.StatusTooManyRequests, detail: "Too many pages are open.", wait: time.Minute}
	}
	s.open[user]++
	s.live.Add(1)
	return nil
}

// dismiss is the end of a socket that admit let in.
func (s *Server) dismiss(user store.ID) {
	s.doors.Lock()
	defer s.doors.Unlock()
	if s.open[user]--; s.open[user] == 0 {
		delete(s.open, user)
	}
	s.live.Done()
}

// answerTime is how long a client may take to read an answer, and soundTime a recording.
const (
	answerTime = 2 * time.Minute
	soundTime  = 15 * time.Minute
)

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Nobody holds a connection by reading slowly. The deadline must not outlive the answer: others use the connection next.
	if control := http.NewResponseController(w); control.SetWriteDeadline(time.Now().Add(answerTime)) == nil {
		defer control.SetWriteDeadline(time.Time{})
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	if !strings.HasPrefix(r.URL.Path, "/api/") {
		s.portal.ServeHTTP(w, r)
		return
	}
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	if err := s.begin(); err != nil {
		s.Log.Error("contract not read", "err", err)
		p, _ := problemOf(err)
		p.write(w)
		return
	}
	s.router.ServeHTTP(w, r)
}

// route ties every operation of the contract to its handler.
func (s *Server) route() error {
	handlers := s.handlers()
	s.router = mux.NewRouter().SkipClean(true) // a path that needs cleaning is nobody's
	s.router.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { errNotFound.write(w) })
	s.router.MethodNotAllowedHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		(&problem{status: http.StatusMethodNotAllowed, detail: "This method is not possible here."}).write(w)
	})
	s.router.HandleFunc("/api/docs", s.serveDocs).Methods(http.MethodGet)
	s.router.HandleFunc("/api/openapi.yaml", serveContract).Methods(http.MethodGet)
	slices.SortFunc(s.operations, func(a, b *operation) int { // "users/next-extension" before "users/{user}"
		return strings.Compare(a.path+" "+a.method, b.path+" "+b.method)
	})
	for _, o := range s.operations {
		h, ok := handlers[o.id]
		if !ok {
			return fmt.Errorf("operation %s of the contract has no handler", o.id)
		}
		delete(handlers, o.id)
		s.router.Handle(basePath+o.path, s.serve(o, h)).Methods(o.method)
	}
	for id := range handlers {
		return fmt.Errorf("handler %s is not in the contract", id)
	}
	return nil
}

// handler answers an operation. A reply with status 0 says that it wrote to the client by itself.
type handler func(ctx context.Context, q *request) (reply, error)

// request is what a handler is given.
type request struct {
	op   *operation
	w    http.ResponseWriter
	http *http.Request
	vars map[string]string
	body []byte
	who  caller

	// For the activity log:
	event    string   // other than the operation's
	resource string   // other than the path tells
	outcome  string   // other than the status tells
	account  store.ID // of a caller that is not signed in
	actor    string   // what a caller that is not signed in says they are
	logged   bool     // the transaction has written the entry
	detail   any      // more about it
}

// reply is what a handler answers.
type reply struct {
	status   int
	body     any
	location string
	cookie   *http.Cookie
}

func ok(body any) (reply, error) { return reply{status: http.StatusOK, body: body}, nil }

func created(location string, body any) (reply, error) {
	return reply{status: http.StatusCreated, body: body, location: basePath + location}, nil
}

func noContent() (reply, error) { return reply{status: http.StatusNoContent}, nil }

// serve wraps a handler with everything that all operations have in common.
func (s *Server) serve(o *operation, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := &request{op: o, w: w, http: r, vars: mux.Vars(r)}
		status := http.StatusInternalServerError
		defer func() {
			if failure := recover(); failure != nil {
				s.log(r.Context(), q, http.StatusInternalServerError)
				s.Log.Error("handler panicked", "operation", o.id, "panic", failure)
				panic(http.ErrAbortHandler) // the answer may be half written
			}
			s.log(r.Context(), q, status)
		}()
		answer, err := s.answer(q, h)
		if err != nil {
			p, known := problemOf(err)
			if !known && r.Context().Err() == nil {
				s.Log.Error("operation failed", "operation", o.id, "err", err)
			}
			status = p.status
			p.write(w)
			return
		}
		if status = answer.status; status == 0 { // written already
			status = http.StatusOK
			return
		}
		if err := answer.write(w); err != nil {
			s.Log.Debug("answer not delivered", "operation", o.id, "err", err)
		}
	})
}

// answer checks a request in the order in which callers may learn: origin, caller, role, account, input.
func (s *Server) answer(q *request, h handler) (reply, error) {
	if err := s.crossSite.Check(q.http); err != nil {
		return reply{}, &problem{status: http.StatusForbidden, detail: "The request comes from another site."}
	}
	if q.op.access != public {
		if err := s.authenticate(q); err != nil {
			return reply{}, err
		}
		if q.op.access == adminOnly && !q.who.admin() {
			return reply{}, errForbidden
		}
	}
	if id, has := q.vars["account"]; has && id != "default" && store.ID(id) != q.who.account {
		return reply{}, errNotFound
	}
	if err := q.op.checkParams(q.http, q.vars); err != nil {
		return reply{}, err
	}
	var err error
	if q.op.spec.RequestBody != nil && !q.op.upload() {
		// A body must come soon; the deadline must not outlive it, because the connection is used again.
		control := http.NewResponseController(q.w)
		limited := control.SetReadDeadline(time.Now().Add(handlerTime)) == nil
		q.body, err = q.op.readBody(q.w, q.http)
		if limited {
			control.SetReadDeadline(time.Time{})
		}
		if err != nil {
			return reply{}, err
		}
	}
	ctx := q.http.Context()
	if q.op.id != "streamEvents" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.op.patience())
		defer cancel()
	}
	answer, err := h(ctx, q)
	if errors.Is(err, context.DeadlineExceeded) {
		err = &problem{status: http.StatusGatewayTimeout, detail: "It took too long. Try again."}
	}
	return answer, err
}

func (a reply) write(w http.ResponseWriter) error {
	if a.location != "" {
		w.Header().Set("Location", a.location)
	}
	if a.cookie != nil {
		http.SetCookie(w, a.cookie)
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	return json.NewEncoder(w).Encode(a.body)
}
