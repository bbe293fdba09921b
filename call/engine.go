package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"pbx/dialplan"
	"pbx/event"
	"pbx/media"
	"pbx/sip"
	"pbx/store"
)

// Signalling is what the house needs of a *sip.Server.
type Signalling interface {
	Invite(ctx context.Context, o sip.Outgoing) (*sip.Leg, error)
	BindingsOfUser(user store.ID) []store.Binding
	Find(id sip.DialogID) *sip.Leg
	// TrunkLocal returns our address towards a trunk; false: it is unknown or switched off.
	TrunkLocal(trunk store.ID) (netip.Addr, bool)
	// EndTrace says that nothing is added to the trace of a call any more.
	EndTrace(account, call store.ID)
}

// Store keeps call records and messages.
type Store interface {
	StartCall(ctx context.Context, r *store.CallRecord) error
	SaveCall(ctx context.Context, r *store.CallRecord) error
	// KeepCall is SaveCall that does not wait.
	KeepCall(r *store.CallRecord) error

	BeginMessage(ctx context.Context, m *store.Message) error
	FinishMessage(ctx context.Context, id store.ID, d time.Duration) error
	// UrgeMessage says whether a message that is still being made is urgent.
	UrgeMessage(ctx context.Context, id store.ID, urgent bool) error
	DropMessage(ctx context.Context, id store.ID) error
	Unfinished(ctx context.Context) ([]store.Message, error)
	MessagePath(id store.ID) string
	// ForwardMessage puts a copy of a message, whose sound was staged, into another mailbox.
	ForwardMessage(ctx context.Context, who store.Actor, original store.Message, to, by store.ID, staged string, d time.Duration) error
	// StagedPath is where a sound can be made that may become a clip or a message. Whoever made it removes it.
	StagedPath() string
	// SaveGreeting makes a staged sound a greeting of a user ("unavailable", "busy", "temporary"); nil takes the greeting away.
	SaveGreeting(ctx context.Context, who store.Actor, account, user store.ID, which string, c *store.AudioClip, staged string) error
	ClipPath(id store.ID) string

	BeginRecording(ctx context.Context, r *store.Recording) error
	FinishRecording(ctx context.Context, r *store.Recording) error
	DropRecording(ctx context.Context, id store.ID) error
	UnfinishedRecordings(ctx context.Context) ([]store.Recording, error)
	RecordingPath(id store.ID) string
	RecordingFree() (octets int64, err error)

	Messages(ctx context.Context, account store.ID, mailbox []store.ID, page store.Page) ([]store.Message, string, error)
	MailboxCounts(account, user store.ID) store.MailboxCounts
	MarkRead(ctx context.Context, who store.Actor, account, id store.ID, read bool) error
	// ChangeUser changes settings that a user makes by telephone.
	ChangeUser(ctx context.Context, who store.Actor, account, user store.ID, change func(u *store.User)) error
	// LastCaller is the number or extension of the latest call to a user other than except; empty: nobody called who showed one.
	LastCaller(ctx context.Context, account, user, except store.ID) (string, error)
	// Record queues an entry of the activity log; it does not wait.
	Record(ctx context.Context, account store.ID, a store.Activity) error
	// SetWakeUp keeps the one wake-up call of a user; at no time it forgets it.
	SetWakeUp(ctx context.Context, who store.Actor, w store.WakeUp) error
	// DueWakeUps returns the wake-up calls whose time has come.
	DueWakeUps(ctx context.Context, now time.Time) ([]store.WakeUp, error)

	RemoveMessage(ctx context.Context, who store.Actor, account, id store.ID) error
}

// Config is what an Engine is built from.
type Config struct {
	SIP     Signalling
	Media   *media.Engine
	Library *media.Library
	// Plan returns what is valid now for an account; nil for an unknown one.
	Plan  func(account store.ID) (*dialplan.Plan, *store.Snapshot)
	Store Store
	Bus   *event.Bus
	Log   *slog.Logger
}

// maxCalls bounds how many calls are up at once; what comes beyond is told to try later.
const maxCalls = 2000

var (
	// ErrNoPhone says that the user has no phone on line to start a call from.
	ErrNoPhone = errors.New("no phone on line")
	// ErrClosing says that the house takes no new calls.
	ErrClosing = errors.New("taking no new calls")

	errEndedByRequest = errors.New("ended on request")
	errStopping       = errors.New("the system stopped")
)

// Engine owns all running calls. It is the sip.Handler of the house.
type Engine struct {
	Config
	board *Board
	pins  guard
	rota  rota
	lot   lot
	camps camps

	root context.Context // ends when calls must
	stop context.CancelCauseFunc

	mu      sync.Mutex
	closing bool
	calls   sync.WaitGroup
}

// NewEngine returns an engine without calls.
func NewEngine(c Config) *Engine {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{Config: c, board: newBoard()}
	e.root, e.stop = context.WithCancelCause(context.Background())
	return e
}

// Incoming takes over a new leg and returns at once.
func (e *Engine) Incoming(l *sip.Leg) {
	account, line := l.Account(), l.Line()
	plan, rows := e.Plan(account)
	if plan == nil {
		l.HangUp(sip.Cause{Code: 403, Reason: "Forbidden"})
		return
	}
	who := identify(rows, line.UserID, line.DeviceID)
	trunk := rows.Trunk(l.Trunk())
	if l.Trunk() != "" {
		who = stranger(plan, l)
	}
	p, err := e.incomingParty(l, who)
	if err != nil {
		e.Log.Error("no sound for a call", "err", err)
		l.HangUp(sip.Cause{Code: 503, Reason: "No Sound"})
		return
	}
	c := e.newCall(account, plan, rows)
	c.caller = p
	owner := "device " + string(line.DeviceID)
	p.secure(securityOfDevice(rows, line.DeviceID))
	if trunk != nil {
		p.Sound.Restrict(trunk.Codecs)
		p.secure(securityOfTrunk(trunk))
		owner = "trunk " + string(trunk.ID)
		c.record.Direction = "inbound"
	}
	c.record.Caller, c.record.Dialed = who, l.Dialed()
	c.record.Callee.Number = dialplan.Normalize(l.Dialed())
	first, refused := c.unsecured(p, owner)
	if !refused {
		first = e.first(c, p)
	}
	if err := e.start(c, first); err != nil {
		p.drop(sip.Cause{Code: 503, Reason: "Service Unavailable"})
	}
}

// Originate rings the phones of a user and, when one is answered, dials to for them.
func (e *Engine) Originate(ctx context.Context, account, fromUser store.ID, to string) (store.ID, error) {
	plan, rows := e.Plan(account)
	if plan == nil || rows.User(fromUser) == nil {
		return "", fmt.Errorf("originate for %s: %w", fromUser, store.ErrNotFound)
	}
	if len(e.SIP.BindingsOfUser(fromUser)) == 0 {
		return "", fmt.Errorf("originate for %s: %w", fromUser, ErrNoPhone)
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	u := rows.User(fromUser)
	c := e.newCall(account, plan, rows)
	c.record.Caller, c.record.Dialed = identify(rows, u.ID, ""), to
	if err := e.start(c, calling{u, to}); err != nil {
		return "", fmt.Errorf("originate for %s: %w", fromUser, err)
	}
	return c.id, nil
}

// start runs a new call in a goroutine of its own, unless the house is full or closing. It is never too full for an emergency call.
func (e *Engine) start(c *Call, first Step) error {
	emergency := c.record.Direction != "inbound" && c.plan.IsEmergency(c.record.Dialed)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing || e.board.count() >= maxCalls && !emergency {
		return ErrClosing
	}
	e.board.add(c)
	e.calls.Go(func() { c.run(c.ctx, first) })
	return nil
}

// Calls lists the running calls of an account, oldest first.
func (e *Engine) Calls(account store.ID) []event.Call {
	calls := e.board.of(account)
	views := make([]event.Call, len(calls))
	for i, c := range calls {
		views[i] = c.view()
	}
	return views
}

// Count returns how many calls are up.
func (e *Engine) Count() int { return e.board.count() }

// HangUp ends a call for all its parties.
func (e *Engine) HangUp(account, call store.ID) error {
	c := e.board.call(call)
	if c == nil || c.account != account {
		return fmt.Errorf("hang up %s: %w", call, store.ErrNotFound)
	}
	c.cancel(errEndedByRequest)
	return nil
}

// Close takes no new calls, lets those that are up finish until ctx ends, then ends them and waits.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closing = true
	e.mu.Unlock()

	finished := make(chan struct{})
	go func() {
		e.calls.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-ctx.Done():
		e.stop(errStopping)
		<-finished
	}
	e.stop(errStopping)
	return nil
}

// minMessage is the least sound that makes a message: less is somebody who thought better of it.
const minMessage = time.Second

// Recover finishes or drops the messages that were being recorded when a former life of the
// process ended. Call it before the first call comes in.
func (e *Engine) Recover(ctx context.Context) error {
	unfinished, err := e.Store.Unfinished(ctx)
	if err != nil {
		return fmt.Errorf("recover messages: %w", err)
	}
	for _, m := range unfinished {
		d, broken := media.RepairWAV(e.Store.MessagePath(m.ID))
		if broken != nil || d < minMessage {
			err = e.Store.DropMessage(ctx, m.ID)
		} else {
			err = e.Store.FinishMessage(ctx, m.ID, d)
		}
		if err != nil {
			return fmt.Errorf("recover message %s: %w", m.ID, err)
		}
		e.Log.Info("message of a former life recovered", "message", m.ID, "duration", d, "kept", broken == nil && d >= minMessage)
	}
	return e.recoverRecordings(ctx)
}
