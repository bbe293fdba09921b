package sip

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// What is too much: then new calls are turned away (RFC 7339 §5.10), while calls
// that are up, their ends, and phones that register anew are served as ever.
const (
	maxSetups = 500         // calls that the house has not rung, answered or refused yet
	maxLag    = time.Second // until a goroutine that is ready runs
	lagMemory = 2 * time.Second
)

// load is how busy the house is.
type load struct {
	setups   atomic.Int64
	probing  atomic.Bool
	lag      atomic.Int64 // nanoseconds, of the latest probe
	lagSince atomic.Int64 // when that was, since born
	born     time.Time
}

// probe measures, when an INVITE comes, how long work waits for its turn.
func (s *Server) probe(data []byte) {
	l := &s.load
	if !bytes.HasPrefix(data, []byte("INVITE ")) || !l.probing.CompareAndSwap(false, true) {
		return
	}
	start := time.Now()
	s.tasks.Go(func() {
		l.lag.Store(int64(time.Since(start)))
		l.lagSince.Store(int64(time.Since(l.born)))
		l.probing.Store(false)
	})
}

// crowded reports whether new calls must be turned away.
func (l *load) crowded() bool {
	if l.setups.Load() >= maxSetups {
		return true
	}
	return time.Duration(l.lag.Load()) > maxLag && time.Since(l.born)-time.Duration(l.lagSince.Load()) < lagMemory
}

// shed turns a new call away. When they come back is spread, or they would all come at once.
func (s *Server) shed(req *sipmsg.Request, tx *sipmsg.ServerTx) {
	s.stats.shed.Add(1)
	s.replyOnce(req, tx, 503, "Service Unavailable", field{"Retry-After", strconv.Itoa(5 + rand.IntN(10))})
}

// begun counts an incoming leg that the house has to do something about; false:
// there are too many. looked says that the house did.
func (l *Leg) begun() bool {
	if l.s.load.setups.Add(1) > maxSetups {
		l.s.load.setups.Add(-1)
		return false
	}
	l.setup.Store(true)
	return true
}

func (l *Leg) looked() {
	if l.setup.CompareAndSwap(true, false) {
		l.s.load.setups.Add(-1)
	}
}
