package sip

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"
)

// maxFinished bounds the requests that are remembered after their transaction.
const maxFinished = 1 << 16

// finished remembers requests by datagram whose transaction is over for us, for as long as they may come again:
// each gets the answer it got, in octets. The stack would keep whole messages, timers and all that hangs on them.
type finished struct {
	mu    sync.Mutex
	at    map[string]pastRequest
	order []string // the oldest first
}

// pastRequest is a server transaction after its end (RFC 3261 §17.2.2, RFC 6026 §7.1).
type pastRequest struct {
	answer []byte // nil: repetitions are taken without a word
	until  time.Time
}

// find returns the answer to a request that came before.
func (f *finished) find(key string) (answer []byte, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, known := f.at[key]
	if !known || time.Now().After(e.until) {
		return nil, false
	}
	return e.answer, true
}

// keep remembers the answer to a request.
func (f *finished) keep(key string, answer []byte) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == nil {
		f.at = make(map[string]pastRequest)
	}
	for len(f.order) > 0 && (len(f.order) >= maxFinished || now.After(f.at[f.order[0]].until)) {
		delete(f.at, f.order[0])
		f.order = f.order[1:]
	}
	if _, known := f.at[key]; !known {
		f.order = append(f.order, key)
	}
	f.at[key] = pastRequest{answer, now.Add(repeatTime)}
}

// pastKey names a server transaction: RFC 3261 §17.2.3.
func pastKey(method, branch, host string, port int) string {
	return method + " " + branch + " " + net.JoinHostPort(host, strconv.Itoa(port))
}

func pastKeyOf(req *sipmsg.Request) string {
	v := req.Via()
	branch, _ := v.Params.Get("branch")
	return pastKey(string(req.Method), branch, v.Host, v.Port)
}

// packetsOf returns the socket that a transaction answers from; nil for a stream.
func packetsOf(tx *sipmsg.ServerTx) *packetListener {
	if c, ok := tx.Connection().(*sipmsg.UDPConnection); ok {
		if f, ok := c.PacketConn.(*packetFront); ok {
			return f.l
		}
	}
	return nil
}

// finish gives a request that came by datagram its final answer and ends its transaction; false: it is for the
// transaction to do.
func (s *Server) finish(req *sipmsg.Request, tx *sipmsg.ServerTx, res *sipmsg.Response) bool {
	l := packetsOf(tx)
	from, err := netip.ParseAddrPort(req.Source())
	if l == nil || err != nil || res.StatusCode < 200 {
		return false
	}
	data, to := []byte(res.String()), listensAt(req, from)
	s.finished.keep(pastKeyOf(req), data)
	s.trace.sent(data, hop{"udp", l.local, to})
	if err := l.reply(data, to); err != nil {
		s.log.Debug("answer not sent", "code", res.StatusCode, "error", err)
	}
	tx.Terminate()
	return true
}

// absorb ends the transaction of an INVITE whose 2xx was acknowledged: RFC 6026 §7.1, repetitions are taken without a word.
func (s *Server) absorb(tx *sipmsg.ServerTx) {
	if packetsOf(tx) == nil {
		return
	}
	s.finished.keep(pastKeyOf(tx.Origin()), nil)
	tx.Terminate()
}
