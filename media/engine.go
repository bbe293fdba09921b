package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what an Engine needs to know.
type Config struct {
	Network   Network       // nil: this machine's. Packets move through ReadFromUDPAddrPort and WriteToUDPAddrPort where its sockets have them
	Low, High uint16        // range of ports for RTP and RTCP; 0, 0: free ports of the system
	Advertise netip.Addr    // the address in SDP, where it differs from the local one
	Timeout   time.Duration // how long no RTP may come while some is due; default 30 s
	Kernel    Kernel        // nil: every packet passes through this process
	Log       *slog.Logger  // nil: silent
}

const (
	defaultTimeout = 30 * time.Second
	sweepTime      = time.Second
)

// ErrClosed says that the session or the engine was closed.
var ErrClosed = errors.New("media: closed")

// Engine owns the sessions and the ports they use.
type Engine struct {
	cfg  Config
	turn atomic.Int64 // where in the range of ports to look next
	stop chan struct{}
	wg   sync.WaitGroup

	first  sync.Once // the first session is opened
	poller *poller   // of the sockets of this machine; nil: each has a goroutine

	used   rest // ports of late
	kernel kernelSide

	mu       sync.Mutex
	closed   bool
	sessions map[*Session]struct{}
	opened   uint64
	past     Stats // of sessions that are closed
}

// Stats are the numbers of an engine since its start.
type Stats struct {
	Sessions       int    // open now
	Opened         uint64 // ever
	Received, Sent uint64 // RTP packets taken and sent
	Lost           uint64
	Stray          uint64 // packets from sources that were not believed
	Malformed      uint64 // datagrams that were no RTP
	Unknown        uint64 // packets in a codec that was not agreed
	Unopened       uint64 // packets that were not encrypted as agreed
	Duplicates     uint64
	Late           uint64 // packets out of order
	BadReports     uint64 // RTCP that was none, or not the peer's
	Faults         uint64 // times without sound in one direction
	InKernel       int    // sessions whose packets the kernel relays now
}

// NewEngine makes an engine. It must be closed.
func NewEngine(c Config) *Engine {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{cfg: c, stop: make(chan struct{}), sessions: make(map[*Session]struct{})}
	e.turn.Store(rand.Int64N(1 << 16))
	e.wg.Go(e.sweep)
	return e
}

// Open makes a session that sends from and listens at local.
func (e *Engine) Open(local netip.Addr) (*Session, error) {
	e.mu.Lock()
	closed := e.closed
	e.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	p, err := openPair(context.Background(), e.network(), local, e.cfg.Low, e.cfg.High, int(e.turn.Add(1)), &e.used)
	if err != nil {
		return nil, fmt.Errorf("open session at %s: %w", local, err)
	}
	s := newSession(e, p)
	if s.public.Addr().IsUnspecified() {
		p.close()
		return nil, fmt.Errorf("open session at %s: no address to tell a peer", local) // it would read as hold
	}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		p.close()
		return nil, ErrClosed
	}
	e.sessions[s] = struct{}{}
	e.opened++
	s.start()
	e.mu.Unlock()
	return s, nil
}

// network is where sockets come from. The threads that read those of this machine are made when there is a first one.
func (e *Engine) network() Network {
	if e.cfg.Network != nil {
		return e.cfg.Network
	}
	e.first.Do(func() {
		p, err := newPoller()
		if err != nil {
			e.cfg.Log.Info("each socket of a call is read by itself", "reason", err)
			return
		}
		e.poller = p
	})
	return machine{e.poller}
}

// Close closes all sessions and waits for every goroutine of the engine.
func (e *Engine) Close() error {
	e.mu.Lock()
	already := e.closed
	e.closed = true
	e.mu.Unlock()
	if !already {
		close(e.stop)
	}
	for _, s := range e.all() {
		s.Close()
	}
	e.first.Do(func() {}) // nobody makes threads any more
	if !already && e.poller != nil {
		e.poller.close()
	}
	e.wg.Wait()
	return nil
}

// Stats counts.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	st := e.past
	st.Sessions, st.Opened = len(e.sessions), e.opened
	e.mu.Unlock()
	e.kernel.mu.Lock()
	st.InKernel = e.kernel.handed
	e.kernel.mu.Unlock()
	for _, s := range e.all() {
		st.add(s.Stats())
	}
	return st
}

func (st *Stats) add(s SessionStats) {
	st.Received += s.Received
	st.Sent += s.Sent
	st.Lost += s.Lost
	st.Stray += s.Stray
	st.Malformed += s.Malformed
	st.Unknown += s.Unknown
	st.Unopened += s.Unopened
	st.Duplicates += s.Duplicates
	st.Late += s.Late
	st.BadReports += s.BadReports
	st.Faults += s.Faults
}

func (e *Engine) all() []*Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]*Session, 0, len(e.sessions))
	for s := range e.sessions {
		list = append(list, s)
	}
	return list
}

func (e *Engine) forget(s *Session) {
	st := s.Stats()
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.sessions[s]; ok {
		delete(e.sessions, s)
		e.past.add(st)
		e.used.put(s.local.Port(), time.Now())
	}
}

// sweep is the slow clock of all sessions: reports and time-outs.
func (e *Engine) sweep() {
	tick := time.NewTicker(sweepTime)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case now := <-tick.C:
			e.used.sweep(now)
			for _, s := range e.all() {
				e.shift(s, now)
				s.sweep(now)
			}
		}
	}
}
