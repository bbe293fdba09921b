package sip

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/event"
	"pbx/store"
)

// allow names the methods that are served.
const allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REGISTER, SUBSCRIBE, NOTIFY, REFER, PRACK, PUBLISH, MESSAGE"

// extensions are understood within calls; supported names all.
const (
	extensions = "timer, from-change, replaces, norefersub, 100rel"
	supported  = "path, outbound, eventlist, " + extensions
)

// closeGrace is how long requests have to get from the socket to their handler.
const closeGrace = 50 * time.Millisecond

// closePatience is how long phones have to answer our last BYE: it was sent four times by then.
const closePatience = 5 * time.Second

// maxHandlers bounds the requests being served at one time, waiting calls included.
const maxHandlers = 20000

// Server is the signalling of the house.
type Server struct {
	cfg        Config
	log        *slog.Logger
	dir        Directory
	boxes      Mailboxes
	bus        *event.Bus
	handler    Handler
	lamps      Lamps
	textRoutes TextRoutes

	tpl       *sipmsg.TransportLayer
	txl       *sipmsg.TransactionLayer
	front     *front
	seed      maphash.Seed // of prints and tags
	repeats   repeats
	finished  finished
	guard     *guard
	digest    *digest
	registrar *registrar
	events    *events
	lane      *lane
	health    *health
	names     *names
	trunks    *trunks
	trace     *trace
	texts     *texts
	load      load
	flows     *flows
	sockets   sockets

	ctx      context.Context // until Close
	stop     context.CancelFunc
	tasks    tasks          // goroutines of ours, and those that serve requests
	readers  sync.WaitGroup // goroutines that read sockets
	draining atomic.Bool
	started  atomic.Bool
	handlers atomic.Int64
	stats    counters

	mu      sync.Mutex
	legs    map[string]*Leg     // by Call-ID and local tag
	pickups map[string]*Leg     // outgoing: by Call-ID and the tag that those are told who may pick up
	invites map[string]*Leg     // incoming: by transaction of the INVITE
	calls   map[string]struct{} // incoming: by Call-ID, remote tag and CSeq of the INVITE
	// unanswered counts the calls that are alike: see admit.
	unanswered map[string]int
	idle       chan struct{} // closed when the last leg of a closing server is gone
	past       past          // dialogs that ended lately
}

type counters struct {
	received, malformed, throttled             atomic.Uint64
	registers, registered, invites, authFailed atomic.Uint64
	legs                                       atomic.Uint64
	texts, shed, lampsShed                     atomic.Uint64
	qualityReports                             atomic.Uint64
}

var errClosed = errors.New("server closed")

// prepareSipgo sets what sipgo keeps in package variables.
//
// Its default limit refuses datagrams over 1300 octets, answers included, and
// does not take another way. What phones sent us by UDP we answer by UDP, in
// fragments if need be (RFC 3261 §18.2.2). And some of its parts log to the
// logger of the process, on behalf of strangers.
var prepareSipgo = sync.OnceFunc(func() {
	sipmsg.UDPMTUSize = 1 << 16
	sipmsg.SetDefaultLogger(slog.New(slog.DiscardHandler))
})

// New returns a server that listens once started.
func New(cfg Config, dir Directory, b Bindings, m Mailboxes, bus *event.Bus) (*Server, error) {
	if cfg.Network == nil {
		cfg.Network = HostNetwork()
	}
	if cfg.Realm == "" {
		cfg.Realm = "pbx"
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "pbx"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if bus == nil {
		bus = event.NewBus()
	}
	if strings.ContainsAny(cfg.Advertise, " \t\r\n<>@;") {
		return nil, fmt.Errorf("advertised host %q: not a host name or address", cfg.Advertise)
	}
	if len(cfg.UDP)+len(cfg.TCP)+len(cfg.TLS)+len(cfg.OldTLS) == 0 {
		return nil, errors.New("no address to listen on")
	}
	if len(cfg.TLS)+len(cfg.OldTLS) > 0 && cfg.Certificate == nil {
		return nil, errors.New("TLS without a certificate")
	}
	prepareSipgo()
	s := &Server{
		cfg: cfg, log: cfg.Log, dir: dir, boxes: m, bus: bus, lamps: noLamps{},
		front:  &front{mark: strings.ToLower(rand.Text()[:12])},
		seed:   maphash.MakeSeed(),
		guard:  newGuard(),
		digest: newDigest(cfg.Realm, callers{dir, cfg.Trunks}),
		legs:   make(map[string]*Leg), pickups: make(map[string]*Leg), invites: make(map[string]*Leg), calls: make(map[string]struct{}), unanswered: make(map[string]int),
	}
	s.health = newHealth(s)
	s.registrar = newRegistrar(s, b)
	s.events = newEvents(s)
	s.lane = newLane(s)
	s.trace = newTrace(s)
	s.texts = newTexts(s)
	s.load.born = time.Now()
	s.flows = newFlows(s)
	s.names, s.trunks = newNames(s), newTrunks(s)
	s.sockets.tried = make(map[string]bool)
	s.ctx, s.stop = context.WithCancel(context.Background())

	quiet := slog.New(quietHandler{cfg.Log.Handler()})
	s.tpl = sipmsg.NewTransportLayer(net.DefaultResolver, sipmsg.NewParser(sipmsg.WithHeadersParsers(parsed())), nil,
		sipmsg.WithTransportLayerLogger(quiet),
		sipmsg.WithTransportLayerTransports(sipmsg.TransportsConfig{TCP: &sipmsg.TransportTCP{DialerCreate: noDialer}}))
	s.txl = sipmsg.NewTransactionLayer(s.tpl,
		sipmsg.WithTransactionLayerLogger(quiet),
		sipmsg.WithTransactionLayerTerminateOnConnClose(),
		sipmsg.WithTransactionLayerUnhandledResponseHandler(func(*sipmsg.Response) {})) // nobody waits for it
	s.txl.OnRequest(s.onRequest)
	return s, nil
}

// parsed picks the headers that sipgo parses: those its transactions need.
// Others stay text, and a strange Contact cannot make a message unreadable.
func parsed() map[string]sipmsg.HeaderParser {
	all, few := sipmsg.DefaultHeadersParser(), make(map[string]sipmsg.HeaderParser)
	for _, name := range []string{"via", "from", "to", "call-id", "cseq", "max-forwards", "content-length"} {
		few[name] = all[name]
	}
	return few
}

var errNoDial = errors.New("the connection of the phone is gone")

// noDialer keeps sipgo from dialing phones: they sit behind NAT, and only the
// connection they opened leads to them.
func noDialer(net.Addr) net.Dialer {
	return net.Dialer{ControlContext: func(context.Context, string, string, syscall.RawConn) error { return errNoDial }}
}

// quietHandler makes every record of sipgo a debug one of bounded size: strangers cause them.
type quietHandler struct{ next slog.Handler }

func (h quietHandler) Enabled(ctx context.Context, _ slog.Level) bool {
	return h.next.Enabled(ctx, slog.LevelDebug)
}

func (h quietHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return nil // one for each step of each message
	}
	q := slog.NewRecord(r.Time, slog.LevelDebug, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		q.AddAttrs(slog.String(a.Key, clip(a.Value.String(), 200)))
		return true
	})
	return h.next.Handle(ctx, q)
}

func (h quietHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h quietHandler) WithGroup(string) slog.Handler      { return h }

// Start binds all listeners, loads the bindings, and serves until Close.
func (s *Server) Start(ctx context.Context, h Handler) error {
	if s.started.Swap(true) {
		return errors.New("server was started before")
	}
	s.handler = h
	serve, err := s.listen(ctx)
	if err != nil {
		s.closeSockets()
		return fmt.Errorf("sip: %w", err)
	}
	if err := s.loadBans(ctx); err != nil {
		s.closeSockets()
		return fmt.Errorf("sip: load bans: %w", err)
	}
	if err := s.texts.load(ctx); err != nil {
		s.closeSockets()
		return fmt.Errorf("sip: load texts: %w", err)
	}
	if err := s.registrar.load(ctx); err != nil {
		s.closeSockets()
		return fmt.Errorf("sip: %w", err)
	}
	s.tasks.Go(s.registrar.sweep)
	s.tasks.Go(func() { s.health.run(s.ctx) })
	s.tasks.Go(s.events.sweep)
	for range laneWorkers() {
		s.tasks.Go(s.lane.work)
	}
	s.tasks.Go(s.lane.hear)
	s.tasks.Go(func() { s.registrar.write(s.ctx) })
	s.tasks.Go(s.trace.write)
	s.tasks.Go(s.keepGuard)
	reader := s.bus.Reader()
	s.tasks.Go(func() { s.follow(reader) })
	for _, start := range serve {
		start()
	}
	s.trunks.reload()
	s.tasks.Go(s.watchAddresses)
	s.readers.Go(func() { s.tpl.ServeTCP(s.flows) }) // ends with an error when flows is closed
	return nil
}

// follow acts on the news of the house.
func (s *Server) follow(r *event.Reader) {
	for {
		n, err := r.Next(s.ctx)
		switch {
		case errors.Is(err, event.ErrLagged):
			s.catchUp()
			continue
		case err != nil:
			return
		}
		switch d := n.Data.(type) {
		case event.Object:
			if d.Type == "trunk" {
				s.trunks.reload()
			}
			if d.Type == "device" {
				s.registrar.deviceChanged(d.ID, d.Deleted)
				s.events.dropUnregistered()
			}
			if d.Type == "user" {
				s.events.peopleChanged(n.Account)
			}
			if d.Type == "mailbox" { // somebody may share it now, or no more
				for _, user := range n.Users {
					s.events.mailboxChanged(n.Account, user)
				}
			}
		case event.Voicemail:
			for _, user := range n.Users { // who hear the mailbox
				s.events.mailboxChanged(n.Account, user)
			}
		case event.Call:
			s.events.usersChanged(n.Account, d.Watched)
		case event.Lamps:
			s.events.usersChanged(n.Account, d.Users)
		case event.Registration:
			s.events.userChanged(n.Account, d.UserID)
		}
	}
}

// catchUp does, once news was missed, what any of it could have asked for: lines that are gone or have another password
// lose their bindings, and all lamps are set anew.
func (s *Server) catchUp() {
	s.registrar.forget("news missed", func(reg *registered, _ *store.Binding) bool {
		now, ok := s.dir.Line(reg.line.Username)
		return reg.line.Username != "" && (!ok || now.ID != reg.line.ID || now.Password != reg.line.Password || now.UserID != reg.line.UserID)
	})
	s.events.dropUnregistered()
	s.trunks.reload()
	type mailbox struct{ account, user store.ID }
	boxes := make(map[mailbox]struct{})
	s.registrar.mu.Lock()
	for _, reg := range s.registrar.lines {
		boxes[mailbox{reg.line.AccountID, reg.line.UserID}] = struct{}{}
	}
	s.registrar.mu.Unlock()
	for box := range boxes {
		s.events.mailboxChanged(box.account, box.user)
	}
	s.events.allChanged()
}

// pause waits; it reports false when the server stops meanwhile.
func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// Drain refuses new calls from now on; those that are up go on.
func (s *Server) Drain() { s.draining.Store(true) }

// Close hangs up what is left, stops listening, and waits for every goroutine.
// Phones that do not answer are waited for until ctx ends, and no longer than a few seconds.
func (s *Server) Close(ctx context.Context) error {
	s.Drain()
	s.mu.Lock()
	for _, l := range s.legs {
		l.HangUp(Cause{Code: 503, Reason: "Service Unavailable"})
	}
	idle := make(chan struct{})
	s.idle = idle
	if len(s.legs) == 0 {
		close(idle)
		s.idle = nil
	}
	s.mu.Unlock()
	patience, enough := context.WithTimeout(ctx, closePatience)
	defer enough()
	select {
	case <-idle:
	case <-patience.Done():
	}
	s.trunks.close()
	s.stop() // from here on what arrives is not looked at
	// A request that sipgo serves when its listener is gone makes it open a socket
	// of its own, which nobody would close: let those in flight arrive first.
	settle := time.NewTimer(closeGrace)
	defer settle.Stop()
	<-settle.C
	s.txl.Close()
	s.tasks.wait()
	s.trace.finish(ctx)
	s.closeSockets()
	s.tpl.Close()
	s.readers.Wait()
	return nil
}

// BindingsOfUser returns where a user can be reached now: phones that are known
// not to answer are left out. It never waits.
func (s *Server) BindingsOfUser(user store.ID) []store.Binding { return s.registrar.ofUser(user) }

// BindingsOfDevice returns where a device is registered, be it reachable now or not. It never waits.
func (s *Server) BindingsOfDevice(device store.ID) []store.Binding {
	return s.registrar.ofDevice(device)
}

// ForgetDevice drops the bindings of a device, as somebody asked for; it says how many there were. The phone is told
// nothing: its next registration brings it back.
func (s *Server) ForgetDevice(device store.ID) int {
	n := len(s.registrar.ofDevice(device))
	s.registrar.forget("unregistered", func(_ *registered, b *store.Binding) bool { return b.DeviceID == device })
	s.events.dropUnregistered()
	return n
}

// ForgetLine drops the bindings of a line, since its credentials changed or it is gone.
func (s *Server) ForgetLine(line store.ID) {
	s.registrar.forget("line forgotten", func(reg *registered, _ *store.Binding) bool { return reg.line.ID == line })
	s.events.dropUnregistered()
}

// Stats returns what the server did and holds.
func (s *Server) Stats() Stats {
	st := Stats{
		Received: s.stats.received.Load(), Malformed: s.stats.malformed.Load(), Throttled: s.stats.throttled.Load(),
		Registers: s.stats.registers.Load(), Registered: s.stats.registered.Load(), Invites: s.stats.invites.Load(),
		AuthFail: s.stats.authFailed.Load(), LegsTotal: s.stats.legs.Load(),
		Connections: s.flows.count(), Subscriptions: s.events.count(), Unreachable: s.health.count(), LampRepairs: s.events.repairs.Load(), QualityReports: s.stats.qualityReports.Load(),
	}
	s.mu.Lock()
	st.Legs = len(s.legs)
	s.mu.Unlock()
	st.TextsSent, st.Shed, st.LampsShed = s.stats.texts.Load(), s.stats.shed.Load(), s.stats.lampsShed.Load()
	st.Bans, st.Banned, st.Ignored = s.guard.counts()
	s.registrar.mu.Lock()
	st.Bindings, st.LinesOnline = s.registrar.count, len(s.registrar.lines)
	s.registrar.mu.Unlock()
	return st
}

// refused counts and, within bounds, logs a message that had no use.
func (s *Server) refused(why string, data []byte, from netip.AddrPort, transport string) {
	s.stats.malformed.Add(1)
	s.guard.junk(data, hop{transport: transport, remote: from})
	if s.guard.mayLog() {
		s.log.Info("message refused", "why", why, "source", from, "transport", transport, "start", clip(string(data), 80))
	}
}
