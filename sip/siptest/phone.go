package siptest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

	"pbx/sip"
)

// RFC 3261 §17: the timers of a phone.
const (
	t1 = 500 * time.Millisecond
	t2 = 4 * time.Second
)

// ErrNoAnswer says that nobody answered a request in time.
var ErrNoAnswer = errors.New("no answer")

// ErrOver says that the call has ended.
var ErrOver = errors.New("call is over")

// PhoneConfig is what a Phone must know.
type PhoneConfig struct {
	Name    string      // User-Agent
	Network sip.Network // where its sockets come from
	// Local is the address to listen on; port 0 is a free port. Over TCP only its address counts.
	Local  netip.AddrPort
	Server netip.AddrPort
	// Transport is "udp", the default, "tcp", or another one that Dial opens.
	Transport string
	// Dial opens the phone's connection; nil: by Network.
	Dial               func(ctx context.Context) (net.Conn, error)
	Username, Password string
	Display            string
	// Domain stands in the address of record; empty: the server's address.
	Domain string
	// Sound makes the sound side of one call; nil: a description without sound behind it.
	Sound func() sip.Negotiator
	// Allow is what it says it can; empty: all that it can.
	Allow string
	// Binding is what stands behind the Contact of its registrations, as ";q=0.5".
	Binding string
	// AutoRing answers 180 to each call at once.
	AutoRing bool
	// ChallengeNotify asks for credentials for each NOTIFY outside of dialogs: the phone's own.
	ChallengeNotify bool
}

// Notice is a NOTIFY that the phone received.
type Notice struct{ Event, State, ContentType, Body string }

// Phone is a scripted user agent with one line.
type Phone struct {
	cfg      PhoneConfig
	packets  net.PacketConn // over UDP
	local    netip.AddrPort // of UDP, and of the first connection
	tag      string         // of its registration
	callID   string
	incoming chan *Line
	notices  chan Notice
	words    chan Words
	lampNews chan struct{}
	vanished atomic.Bool
	// wordsCode answers texts; 0 takes them.
	wordsCode atomic.Int32
	wg        sync.WaitGroup
	ctx       context.Context
	stop      context.CancelFunc

	mu        sync.Mutex
	stream    net.Conn                         // over TCP
	waiting   map[string]chan *sipmsg.Response // by branch and method
	acks      map[string][]byte                // for repeated final answers to INVITE
	served    map[string][]byte                // last answer by transaction; nil while there is none
	lines     map[string]*Line                 // by Call-ID
	cseq      uint32                           // of registrations
	subscribe *subscription
	lampNew   int
	lampOld   int
	lampCount int
	watches   map[string]*Watch // by Call-ID
}

type subscription struct {
	callID, tag, remoteTag string
	cseq                   uint32
}

// NewPhone opens the phone's socket and starts to listen on it.
func NewPhone(ctx context.Context, c PhoneConfig) (*Phone, error) {
	if c.Transport == "" {
		c.Transport = "udp"
	}
	if c.Allow == "" {
		c.Allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY"
	}
	if c.Domain == "" {
		c.Domain = c.Server.Addr().String()
		if c.Server.Addr().Is6() {
			c.Domain = "[" + c.Domain + "]" // RFC 3261 §25.1: an IPv6reference
		}
	}
	if c.Sound == nil {
		c.Sound = func() sip.Negotiator { return &Silence{Host: c.Local.Addr()} }
	}
	p := &Phone{
		cfg:      c,
		incoming: make(chan *Line, 16),
		notices:  make(chan Notice, 64),
		words:    make(chan Words, 256),
		lampNews: make(chan struct{}, 1),
		waiting:  make(map[string]chan *sipmsg.Response),
		acks:     make(map[string][]byte),
		served:   make(map[string][]byte),
		lines:    make(map[string]*Line),
		callID:   token(),
		tag:      token(),
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	switch c.Transport {
	case "udp":
		conn, err := c.Network.ListenPacket(ctx, c.Local)
		if err != nil {
			return nil, fmt.Errorf("phone %s: %w", c.Name, err)
		}
		p.packets = conn
		p.local = conn.LocalAddr().(*net.UDPAddr).AddrPort()
		p.wg.Go(p.readPackets)
	default:
		if c.Dial == nil && c.Transport != "tcp" {
			return nil, fmt.Errorf("phone %s: transport %q", c.Name, c.Transport)
		}
		if err := p.connect(ctx); err != nil {
			return nil, err
		}
		p.local = p.stream.LocalAddr().(*net.TCPAddr).AddrPort()
	}
	return p, nil
}

// Close switches the phone off without a word and waits for its goroutines.
func (p *Phone) Close() {
	p.Vanish()
	p.stop()
	if p.packets != nil {
		p.packets.Close()
	}
	p.mu.Lock()
	if p.stream != nil {
		p.stream.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// connect opens the connection of a TCP phone.
func (p *Phone) connect(ctx context.Context) error {
	dial := p.cfg.Dial
	if dial == nil {
		dial = func(ctx context.Context) (net.Conn, error) {
			return p.cfg.Network.Dial(ctx, p.cfg.Local.Addr(), p.cfg.Server)
		}
	}
	conn, err := dial(ctx)
	if err != nil {
		return fmt.Errorf("phone %s: %w", p.cfg.Name, err)
	}
	p.mu.Lock()
	p.stream = conn
	p.mu.Unlock()
	p.wg.Go(func() { p.readStream(conn) })
	return nil
}

// Reconnect closes the phone's TCP connection and opens another one.
func (p *Phone) Reconnect(ctx context.Context) error {
	p.mu.Lock()
	p.stream.Close()
	p.mu.Unlock()
	return p.connect(ctx)
}

// Vanish cuts the phone off as if its cable was pulled: it neither hears nor speaks any more.
func (p *Phone) Vanish() { p.vanished.Store(true) }

// Return plugs the cable in again.
func (p *Phone) Return() { p.vanished.Store(false) }

// Addr returns where the phone listens.
func (p *Phone) Addr() netip.AddrPort { return p.local }

// Incoming yields the calls that arrive.
func (p *Phone) Incoming() <-chan *Line { return p.incoming }

// Notices yields the NOTIFY requests that arrive, the newest lost when nobody reads.
func (p *Phone) Notices() <-chan Notice { return p.notices }

// Lamp returns what the message lamp shows, and how many NOTIFY requests set it so far.
func (p *Phone) Lamp() (newMessages, oldMessages, notifies int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lampNew, p.lampOld, p.lampCount
}

// LampChanged has an item whenever the lamp was set anew; it holds one.
func (p *Phone) LampChanged() <-chan struct{} { return p.lampNews }

// aor is the address of record of the phone.
func (p *Phone) aor() string { return "sip:" + p.cfg.Username + "@" + p.cfg.Domain }

// contact is where the phone wants its requests.
func (p *Phone) contact() string {
	uri := "sip:" + p.cfg.Username + "@" + p.local.String()
	if p.cfg.Transport != "udp" {
		uri += ";transport=" + p.cfg.Transport
	}
	return "<" + uri + ">"
}

func (p *Phone) registrarURI() string { return "sip:" + p.cfg.Domain }

// Register registers the phone's line for the given time.
func (p *Phone) Register(ctx context.Context, expires time.Duration) error {
	return p.register(ctx, expires)
}

// Unregister ends the registration.
func (p *Phone) Unregister(ctx context.Context) error { return p.register(ctx, 0) }

func (p *Phone) register(ctx context.Context, expires time.Duration) error {
	res, err := p.authenticated(ctx, func() *draft {
		p.mu.Lock()
		p.cseq++
		seq := p.cseq
		p.mu.Unlock()
		d := p.draft("REGISTER", p.registrarURI(), seq)
		d.set("From", "<"+p.aor()+">;tag="+p.tag)
		d.set("To", "<"+p.aor()+">")
		d.set("Call-ID", p.callID)
		d.set("Contact", p.contact()+p.cfg.Binding)
		d.set("Expires", strconv.Itoa(int(expires/time.Second)))
		return d
	})
	if err != nil {
		return fmt.Errorf("register %s: %w", p.cfg.Name, err)
	}
	if res.StatusCode != 200 {
		return fmt.Errorf("register %s: %w", p.cfg.Name, refusal(res))
	}
	return nil
}

// Subscribe asks for the state of the message lamp; expires 0 ends it.
func (p *Phone) Subscribe(ctx context.Context, expires time.Duration) error {
	p.mu.Lock()
	if p.subscribe == nil {
		p.subscribe = &subscription{callID: token(), tag: token()}
	}
	sub := p.subscribe
	p.mu.Unlock()
	res, err := p.authenticated(ctx, func() *draft {
		p.mu.Lock()
		defer p.mu.Unlock()
		sub.cseq++
		d := p.draft("SUBSCRIBE", p.aor(), sub.cseq)
		d.set("From", "<"+p.aor()+">;tag="+sub.tag)
		to := "<" + p.aor() + ">"
		if sub.remoteTag != "" {
			to += ";tag=" + sub.remoteTag
		}
		d.set("To", to)
		d.set("Call-ID", sub.callID)
		d.set("Contact", p.contact())
		d.set("Event", "message-summary")
		d.set("Accept", "application/simple-message-summary")
		d.set("Expires", strconv.Itoa(int(expires/time.Second)))
		return d
	})
	if err != nil {
		return fmt.Errorf("subscribe %s: %w", p.cfg.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if res.StatusCode != 200 {
		p.subscribe = nil // RFC 6665 §4.1.2.2: 481 ends it, the next one is new
		return fmt.Errorf("subscribe %s: %w", p.cfg.Name, refusal(res))
	}
	sub.remoteTag, _ = res.To().Params.Get("tag")
	if expires == 0 {
		p.subscribe = nil
	}
	return nil
}

// authenticated sends the request that build makes, and once more with
// credentials when it is challenged.
func (p *Phone) authenticated(ctx context.Context, build func() *draft) (*sipmsg.Response, error) {
	res, err := p.transact(ctx, build(), nil)
	if err != nil || res.StatusCode != 401 {
		return res, err
	}
	d := build()
	value, err := p.credentials(res, d.method, d.uri)
	if err != nil {
		return nil, err
	}
	d.set("Authorization", value)
	return p.transact(ctx, d, nil)
}

// Options sends an OPTIONS request and returns the status of the answer.
func (p *Phone) Options(ctx context.Context) (int, error) {
	d := p.draft("OPTIONS", p.registrarURI(), 1)
	d.set("From", "<"+p.aor()+">;tag="+token())
	d.set("To", "<"+p.registrarURI()+">")
	d.set("Call-ID", token())
	res, err := p.transact(ctx, d, nil)
	if err != nil {
		return 0, fmt.Errorf("options %s: %w", p.cfg.Name, err)
	}
	return res.StatusCode, nil
}

func refusal(res *sipmsg.Response) error {
	return &sip.Refusal{Code: res.StatusCode, Reason: res.Reason}
}

// transact sends a request and returns its final answer. Provisional answers go to early.
func (p *Phone) transact(ctx context.Context, d *draft, early func(*sipmsg.Response)) (*sipmsg.Response, error) {
	key := d.branch + " " + d.method
	answers := make(chan *sipmsg.Response, 32)
	p.mu.Lock()
	p.waiting[key] = answers
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, key)
		p.mu.Unlock()
	}()
	data := d.bytes()
	if err := p.write(data); err != nil {
		return nil, err
	}
	interval := t1
	again := time.NewTimer(interval)
	defer again.Stop()
	if p.cfg.Transport != "udp" {
		again.Stop()
	}
	giveUp := time.NewTimer(64 * t1)
	defer giveUp.Stop()
	for {
		select {
		case res := <-answers:
			if res.StatusCode >= 200 {
				return res, nil
			}
			if d.method == "INVITE" {
				again.Stop()
				giveUp.Stop()
			}
			if early != nil {
				early(res)
			}
		case <-again.C:
			if err := p.write(data); err != nil {
				return nil, err
			}
			interval *= 2
			if d.method != "INVITE" {
				interval = min(interval, t2)
			}
			again.Reset(interval)
		case <-giveUp.C:
			return nil, ErrNoAnswer
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.ctx.Done():
			return nil, net.ErrClosed
		}
	}
}

func (p *Phone) write(data []byte) error {
	if p.vanished.Load() {
		return nil
	}
	var err error
	if p.packets != nil {
		_, err = p.packets.WriteTo(data, net.UDPAddrFromAddrPort(p.cfg.Server))
	} else {
		p.mu.Lock()
		conn := p.stream
		p.mu.Unlock()
		_, err = conn.Write(data)
	}
	return err
}

func (p *Phone) readPackets() {
	buf := make([]byte, 65536)
	for {
		n, _, err := p.packets.ReadFrom(buf)
		if err != nil {
			return
		}
		p.receive(buf[:n])
	}
}

// readStream cuts the stream into messages by their Content-Length.
func (p *Phone) readStream(conn net.Conn) {
	var pending []byte
	buf := make([]byte, 65536)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		pending = append(pending, buf[:n]...)
		for {
			for len(pending) >= 2 && pending[0] == '\r' && pending[1] == '\n' {
				pending = pending[2:]
			}
			head := strings.Index(string(pending), "\r\n\r\n")
			if head < 0 {
				break
			}
			length := 0
			for line := range strings.Lines(string(pending[:head])) {
				name, value, _ := strings.Cut(line, ":")
				if strings.EqualFold(strings.TrimSpace(name), "Content-Length") {
					length, _ = strconv.Atoi(strings.TrimSpace(value))
				}
			}
			if len(pending) < head+4+length {
				break
			}
			p.receive(pending[:head+4+length])
			pending = pending[head+4+length:]
		}
	}
}

func (p *Phone) receive(data []byte) {
	if p.vanished.Load() || len(data) < 12 {
		return
	}
	msg, err := sipmsg.ParseMessage(append([]byte(nil), data...))
	if err != nil {
		return
	}
	switch m := msg.(type) {
	case *sipmsg.Response:
		p.answered(m)
	case *sipmsg.Request:
		p.asked(m)
	}
}

func (p *Phone) answered(res *sipmsg.Response) {
	if res.Via() == nil || res.CSeq() == nil {
		return
	}
	branch, _ := res.Via().Params.Get("branch")
	key := branch + " " + string(res.CSeq().MethodName)
	p.mu.Lock()
	waiting, ack := p.waiting[key], p.acks[key]
	p.mu.Unlock()
	switch {
	case ack != nil && res.StatusCode >= 200:
		p.write(ack) // RFC 3261 §13.2.2.4, §17.1.1.2: each repeated final answer is acknowledged again
	case waiting != nil:
		select {
		case waiting <- res:
		default:
		}
	}
}

// asked serves a request. Repeated ones get the last answer again.
func (p *Phone) asked(req *sipmsg.Request) {
	if req.Via() == nil || req.CSeq() == nil || req.CallID() == nil || req.From() == nil || req.To() == nil {
		return
	}
	branch, _ := req.Via().Params.Get("branch")
	key := branch + " " + string(req.Method)
	callID := req.CallID().Value()
	p.mu.Lock()
	line := p.lines[callID]
	last, repeated := p.served[key]
	if !repeated && req.Method != sipmsg.ACK {
		if len(p.served) > 4096 {
			clear(p.served)
		}
		p.served[key] = nil
	}
	p.mu.Unlock()
	if repeated {
		if last != nil {
			p.write(last)
		}
		return
	}
	_, inDialog := req.To().Params.Get("tag")
	switch {
	case line != nil:
		line.asked(req)
	case req.Method == sipmsg.ACK:
	case req.Method == sipmsg.INVITE && !inDialog:
		p.invited(req)
	case req.Method == sipmsg.MESSAGE:
		p.heard(req)
	case req.Method == sipmsg.NOTIFY:
		p.notified(req)
	case req.Method == sipmsg.OPTIONS:
		p.reply(req, 200, "OK", "", nil)
	default:
		p.reply(req, 481, "Call/Transaction Does Not Exist", "", nil)
	}
}

func (p *Phone) notified(req *sipmsg.Request) {
	n := Notice{Body: string(req.Body()), Event: headerValue(req, "Event"), State: headerValue(req, "Subscription-State"), ContentType: headerValue(req, "Content-Type")}
	if p.watched(req, n) || p.challenged(req) {
		return
	}
	event, _, _ := strings.Cut(n.Event, ";")
	if event == "message-summary" {
		p.mu.Lock()
		for line := range strings.Lines(n.Body) {
			name, value, _ := strings.Cut(line, ":")
			if strings.EqualFold(strings.TrimSpace(name), "Voice-Message") {
				fmt.Sscanf(strings.TrimSpace(value), "%d/%d", &p.lampNew, &p.lampOld)
			}
		}
		p.lampCount++
		p.mu.Unlock()
	}
	p.reply(req, 200, "OK", "", nil)
	select {
	case p.notices <- n:
	default:
	}
	if event == "message-summary" {
		select {
		case p.lampNews <- struct{}{}:
		default:
		}
	}
}

// reply answers a request and remembers the answer for its repetitions.
func (p *Phone) reply(req *sipmsg.Request, code int, reason, toTag string, body []byte, headers ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", code, reason)
	for _, h := range req.GetHeaders("Via") {
		fmt.Fprintf(&b, "Via: %s\r\n", h.Value())
	}
	for _, h := range req.GetHeaders("Record-Route") {
		fmt.Fprintf(&b, "Record-Route: %s\r\n", h.Value())
	}
	fmt.Fprintf(&b, "From: %s\r\n", req.From().Value())
	to := req.To().Value()
	if _, has := req.To().Params.Get("tag"); !has && code > 100 {
		if toTag == "" {
			toTag = token()
		}
		to += ";tag=" + toTag
	}
	fmt.Fprintf(&b, "To: %s\r\nCall-ID: %s\r\nCSeq: %s\r\n", to, req.CallID().Value(), req.CSeq().Value())
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	if len(body) > 0 {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	data := []byte(b.String())
	branch, _ := req.Via().Params.Get("branch")
	p.mu.Lock()
	p.served[branch+" "+string(req.Method)] = data
	p.mu.Unlock()
	p.write(data)
	return data
}

// token returns a fresh tag, branch or Call-ID.
func token() string { return strings.ToLower(rand.Text()[:16]) }

func headerValue(m sipmsg.Message, name string) string {
	if h := m.GetHeaders(name); len(h) > 0 {
		return h[0].Value()
	}
	return ""
}
