package sip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/store"
)

const (
	defaultExpiry  = 10 * time.Minute // asked for in registrations
	maxExpiry      = 24 * time.Hour   // that a carrier may impose by 423
	backoffFirst   = 30 * time.Second
	backoffLast    = 30 * time.Minute
	optionsPeriod  = 30 * time.Second // also keeps the binding of a NAT
	optionsFailing = 10 * time.Second // while nothing answers
	pingPeriod     = 25 * time.Second // RFC 5626 §4.4.2 has 24 to 29 s for UDP
)

// errSilent says that a place gave no answer in time.
var errSilent = errors.New("no answer")

// keeper looks after one trunk: it registers, asks for signs of life, and keeps
// NATs open. It works with the settings it was born with; others make another one.
type keeper struct {
	s       *Server
	t       *trunk
	row     store.Trunk
	contact string
	callID  string
	tag     string
	seq     uint32

	expiry     time.Duration // to ask for
	registered time.Time     // until when
	at         target        // that keeps our registration
	failures   int
	rtt        time.Duration // of the latest exchange
	way        hop           // of the latest answer
	pongs      uint32        // that had come over that way when it was pinged

	nextRegister, nextOptions, nextPing time.Time // zero: never
}

func newKeeper(t *trunk, row store.Trunk, contact string) *keeper {
	k := &keeper{s: t.s, t: t, row: row, contact: contact, callID: token() + token(), tag: token(), expiry: row.Expiry}
	if k.expiry == 0 {
		k.expiry = defaultExpiry
	}
	return k
}

// run looks after the trunk until ctx ends.
func (k *keeper) run(ctx context.Context) {
	now := time.Now()
	switch {
	case k.row.Register:
		k.nextRegister = now
	case k.row.Options:
		k.nextOptions = now
	default:
		// Where its calls come from must be known before the first one goes there.
		k.nextPing = now
	}
	for {
		wait := time.NewTimer(time.Until(k.next()))
		select {
		case <-wait.C:
			k.work(ctx)
		case <-ctx.Done():
			wait.Stop()
			k.leave()
			return
		}
	}
}

// next is when there is something to do.
func (k *keeper) next() time.Time {
	next := time.Now().Add(time.Hour)
	for _, at := range []time.Time{k.nextRegister, k.nextOptions, k.nextPing} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

func due(at time.Time) bool { return !at.IsZero() && !at.After(time.Now()) }

func (k *keeper) work(ctx context.Context) {
	if due(k.nextRegister) {
		k.register(ctx)
		if k.row.Options && k.nextOptions.IsZero() {
			k.nextOptions = time.Now().Add(optionsPeriod)
		}
	}
	if due(k.nextOptions) && ctx.Err() == nil {
		k.probe(ctx)
	}
	if due(k.nextPing) && ctx.Err() == nil {
		k.ping(ctx)
	}
}

// register registers, or refreshes the registration, and plans the next time.
func (k *keeper) register(ctx context.Context) {
	res, to, err := k.ask(ctx, func(h hop) *sipmsg.Request { return k.registration(h, k.expiry) })
	if ctx.Err() != nil {
		return
	}
	if err == nil && res.StatusCode == 423 { // RFC 3261 §10.2.8
		if least := seconds(header(res, "Min-Expires"), 0); least > k.expiry && least <= maxExpiry {
			k.expiry = least
			res, to, err = k.ask(ctx, func(h hop) *sipmsg.Request { return k.registration(h, k.expiry) })
		}
	}
	now := time.Now()
	switch {
	case err != nil:
		k.refused(ctx, err.Error(), false, to, 0)
	case res.StatusCode >= 300:
		k.refused(ctx, fmt.Sprintf("%d %s", res.StatusCode, clip(res.Reason, 60)), true, to, retryAfterOf(res))
	default:
		granted := k.granted(res)
		k.failures = 0
		k.at, k.registered = to, now.Add(granted)
		k.nextRegister = now.Add(granted - margin(granted))
		if !k.row.Options || to.transport != "udp" {
			k.nextPing = now.Add(pingPeriod)
		}
		k.change(ctx, func(st *store.TrunkStatus) {
			st.Registered, st.Reachable, st.Reason, st.Target = true, true, "registered", to.String()
			st.RTT, st.NextTry = k.rtt, k.nextRegister
		})
	}
}

// change changes the status, unless the trunk has other settings by now.
func (k *keeper) change(ctx context.Context, f func(*store.TrunkStatus)) {
	k.t.mu.Lock()
	defer k.t.mu.Unlock()
	if ctx.Err() == nil {
		k.t.tell(f)
	}
}

// margin is how long before its end a registration is refreshed: enough for some places that do not answer.
func margin(d time.Duration) time.Duration {
	return min(max(d/5, 10*time.Second), time.Minute, d/2)
}

// refused plans another try after a registration that failed.
func (k *keeper) refused(ctx context.Context, reason string, reached bool, to target, after time.Duration) {
	now := time.Now()
	wait := max(backoff(k.failures), min(after, backoffLast))
	k.failures++
	k.nextRegister = now.Add(wait)
	still := now.Before(k.registered)
	k.change(ctx, func(st *store.TrunkStatus) {
		// Until it expires a registration stands, unless the carrier has said otherwise.
		st.Registered, st.Reachable, st.Reason, st.NextTry = still && !reached, reached, reason, k.nextRegister
		if to.transport != "" {
			st.Target = to.String()
		}
	})
	if reached {
		k.registered = time.Time{}
	}
}

// backoff is the time to wait after the n-th failure in a row: from 30 seconds
// to 30 minutes, and never the same for all, so that a carrier that comes back
// is not met by everybody at once.
func backoff(n int) time.Duration {
	d := min(backoffFirst<<min(n, 10), backoffLast*3/4)
	return d + rand.N(d/3)
}

// granted is the lifetime that the carrier gave our Contact (RFC 3261 §10.2.4).
func (k *keeper) granted(res *sipmsg.Response) time.Duration {
	d := seconds(header(res, "Expires"), k.expiry)
	for _, item := range headerList(res, "Contact") {
		a, ok := parseAddress(item)
		if !ok {
			continue
		}
		if u, ok := parseURI(a.uri); ok && u.User == k.contact {
			if v, has := a.params.get("expires"); has {
				d = seconds(v, d)
			}
		}
	}
	return min(max(d, 20*time.Second), 7*24*time.Hour)
}

// registration drafts a REGISTER.
func (k *keeper) registration(h hop, expiry time.Duration) *sipmsg.Request {
	registrar := sipmsg.Uri{Scheme: "sip", Host: bracketed(k.row.Host), Port: k.row.Port}
	req := k.draft(sipmsg.REGISTER, registrar)
	self := "<sip:" + escapeUser(k.row.Username) + "@" + bracketed(domainOf(k.row)) + ">"
	req.AppendHeader(sipmsg.NewHeader("From", self+";tag="+k.tag))
	req.AppendHeader(sipmsg.NewHeader("To", self))
	k.number(req)
	req.AppendHeader(sipmsg.NewHeader("Contact", k.s.contact(h, k.contact)))
	req.AppendHeader(sipmsg.NewHeader("Expires", secondsText(expiry)))
	req.AppendHeader(sipmsg.NewHeader("Supported", "path"))
	req.AppendHeader(sipmsg.NewHeader("Allow", allow))
	req.SetBody(nil)
	return req
}

// question drafts an OPTIONS.
func (k *keeper) question(h hop) *sipmsg.Request {
	req := k.draft(sipmsg.OPTIONS, sipmsg.Uri{Scheme: "sip", Host: bracketed(k.row.Host), Port: k.row.Port})
	user := k.row.Username
	if user == "" {
		user = "ping"
	}
	req.AppendHeader(sipmsg.NewHeader("From", "<sip:"+escapeUser(user)+"@"+bracketed(domainOf(k.row))+">;tag="+token()))
	req.AppendHeader(sipmsg.NewHeader("To", "<sip:"+bracketed(k.row.Host)+">"))
	callID := sipmsg.CallIDHeader(token() + token())
	req.AppendHeader(&callID)
	req.AppendHeader(&sipmsg.CSeqHeader{SeqNo: 1, MethodName: sipmsg.OPTIONS})
	req.AppendHeader(sipmsg.NewHeader("Contact", k.s.contact(h, k.contact)))
	req.AppendHeader(sipmsg.NewHeader("Accept", "application/sdp"))
	req.SetBody(nil)
	return req
}

func (k *keeper) draft(method sipmsg.RequestMethod, uri sipmsg.Uri) *sipmsg.Request {
	req := sipmsg.NewRequest(method, uri)
	for _, r := range preloaded(k.row) {
		req.AppendHeader(sipmsg.NewHeader("Route", r))
	}
	maxForwards := sipmsg.MaxForwardsHeader(70)
	req.AppendHeader(&maxForwards)
	return req
}

// preloaded is the route set of requests of a trunk with an outbound proxy (RFC 3261 §8.1.2).
func preloaded(row store.Trunk) []string {
	if row.OutboundProxy == "" {
		return nil
	}
	host, port := splitHostPort(row.OutboundProxy)
	hostPort := bracketed(host)
	if port > 0 {
		hostPort += ":" + strconv.Itoa(port)
	}
	if row.Transport == "tcp" || row.Transport == "tls" {
		hostPort += ";transport=" + row.Transport
	}
	return []string{"<sip:" + hostPort + ";lr>"}
}

// number gives a REGISTER its place in the order of ours (RFC 3261 §10.2: one Call-ID, rising CSeq).
func (k *keeper) number(req *sipmsg.Request) {
	k.seq++
	callID := sipmsg.CallIDHeader(k.callID)
	req.AppendHeader(&callID)
	req.AppendHeader(&sipmsg.CSeqHeader{SeqNo: k.seq, MethodName: req.Method})
}

// ask sends a request to the trunk's places, one after another, until one gives
// an answer of its own (RFC 3263 §4.3): silence, a broken transport and 503 are none.
func (k *keeper) ask(ctx context.Context, draft func(hop) *sipmsg.Request) (*sipmsg.Response, target, error) {
	targets, err := k.t.targets(ctx, k.row)
	if err != nil {
		return nil, target{}, errors.New(rootOf(err))
	}
	var res *sipmsg.Response
	var to target
	for _, to = range targets {
		if res, err = k.askAt(ctx, to, draft); ctx.Err() != nil {
			return nil, to, ctx.Err()
		}
		if err == nil && res.StatusCode != 503 {
			k.t.worked(to)
			return res, to, nil
		}
		k.t.failed(to, downFor(res))
	}
	return res, to, err
}

// rootOf is the innermost message of an error: administrators read it in the portal.
func rootOf(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return clip(err.Error(), 120)
		}
		err = inner
	}
}

// downFor is how long a place is avoided after a failure: as it asks itself, within bounds.
func downFor(res *sipmsg.Response) time.Duration {
	if res == nil {
		return downTime
	}
	return min(max(retryAfterOf(res), downTime/2), 5*time.Minute)
}

// retryAfterOf returns what a Retry-After asks for, or 0.
func retryAfterOf(res *sipmsg.Response) time.Duration {
	text := header(res, "Retry-After")
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' { // a comment or parameters follow
			text = text[:i]
			break
		}
	}
	return seconds(text, 0)
}

// askAt sends a request to one place and answers its challenges.
func (k *keeper) askAt(ctx context.Context, to target, draft func(hop) *sipmsg.Request) (*sipmsg.Response, error) {
	h, err := k.s.reach(ctx, to)
	if err != nil {
		return nil, err
	}
	req := draft(h)
	k.s.request(req, h, newBranch())
	for refusals := 0; ; refusals++ {
		sent := time.Now()
		res, err := k.s.exchange(ctx, req, targetTime)
		k.rtt = time.Since(sent)
		if err != nil {
			return nil, err
		}
		k.way = h
		again, ok := k.s.answered(req, res, k.row, refusals)
		if !ok {
			return res, nil
		}
		if req.Method == sipmsg.REGISTER {
			k.seq++
			again.CSeq().SeqNo = k.seq
		} else {
			again.CSeq().SeqNo++
		}
		req = k.s.resent(again, h)
	}
}

// resent makes a changed copy of a request ready to be sent: it is another transaction.
func (s *Server) resent(req *sipmsg.Request, h hop) *sipmsg.Request {
	req.Via().Params.Add("branch", newBranch())
	s.steer(req, h)
	return req
}

// exchange sends a request other than INVITE and returns the final answer. A peer
// that says nothing within limit is given up.
func (s *Server) exchange(ctx context.Context, req *sipmsg.Request, limit time.Duration) (*sipmsg.Response, error) {
	tx, err := s.send(ctx, req)
	if err != nil {
		return nil, err
	}
	patience := time.NewTimer(limit)
	defer patience.Stop()
	for {
		select {
		case res := <-tx.Responses():
			if res.StatusCode >= 200 {
				letGo(tx)
				return res, nil
			}
			patience.Reset(64 * t1) // it is there
		case <-tx.Done():
			return nil, errSilent
		case <-patience.C:
			tx.Terminate()
			return nil, errSilent
		case <-ctx.Done():
			tx.Terminate()
			return nil, ctx.Err()
		}
	}
}

// probe asks for a sign of life: any answer but 408 and 503 is one. Places are
// asked in their proper order, so that one that came back is found.
func (k *keeper) probe(ctx context.Context) {
	targets, err := k.t.look(ctx, k.row)
	reason := ""
	if err != nil {
		reason = rootOf(err)
	}
	for _, to := range targets {
		res, err := k.askAt(ctx, to, k.question)
		if ctx.Err() != nil {
			return
		}
		if err == nil && res.StatusCode != 503 && res.StatusCode != 408 {
			k.t.worked(to)
			k.nextOptions = time.Now().Add(optionsPeriod)
			k.change(ctx, func(st *store.TrunkStatus) {
				st.RTT = k.rtt
				if !k.row.Register {
					st.Reachable, st.Reason, st.Target = true, "answers", to.String()
				} else if !st.Reachable && st.Registered {
					st.Reachable, st.Reason = true, "registered"
				}
			})
			return
		}
		k.t.failed(to, downFor(res))
		if reason = errSilent.Error(); err == nil {
			reason = fmt.Sprintf("%d %s", res.StatusCode, clip(res.Reason, 60))
		} else if !errors.Is(err, errSilent) {
			reason = rootOf(err)
		}
	}
	k.nextOptions = time.Now().Add(optionsFailing)
	k.change(ctx, func(st *store.TrunkStatus) { st.Reachable, st.Reason = false, reason })
}

// ping keeps the way of calls to us open: through a NAT, and over a connection.
// Nobody must answer it (RFC 3261 §7.5: empty lines are ignored).
func (k *keeper) ping(ctx context.Context) {
	if !k.row.Register {
		k.look(ctx)
		return
	}
	k.nextPing = time.Now().Add(pingPeriod)
	if k.way.transport != "udp" && !k.connected() {
		// RFC 5626 §4.5: without its connection a registration is worth nothing.
		k.nextRegister = time.Now()
		return
	}
	k.s.keepOpen(k.way)
}

// connected reports whether the connection that carries the registration is up.
// One whose peer answered pings before and does so no more is closed.
func (k *keeper) connected() bool {
	f := k.s.flows.find(k.way)
	if f == nil {
		return false
	}
	pongs := f.pongs.Load()
	if pongs > 0 && pongs == k.pongs {
		f.Close()
		k.pongs = 0
		return false
	}
	k.pongs = pongs
	return true
}

// look finds out where calls of a trunk come from that we never ask anything.
func (k *keeper) look(ctx context.Context) {
	k.nextPing = time.Now().Add(doubtTime)
	_, err := k.t.look(ctx, k.row)
	k.change(ctx, func(st *store.TrunkStatus) {
		switch {
		case err != nil:
			st.Reachable, st.Reason = false, rootOf(err)
		case st.Reason == notTried || !st.Reachable && st.Target == "":
			st.Reachable, st.Reason = true, "nothing speaks against it"
		}
	})
}

// leave ends the registration.
func (k *keeper) leave() {
	if time.Now().After(k.registered) || k.s.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithTimeout(k.s.ctx, partingTime)
	defer stop()
	if _, err := k.askAt(ctx, k.at, func(h hop) *sipmsg.Request { return k.registration(h, 0) }); err != nil {
		k.s.log.Debug("registration not ended", "trunk", k.t.id, "error", err)
	}
}
