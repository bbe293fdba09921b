package sip

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"pbx/store"
)

// Config is what a Server must know before it starts.
type Config struct {
	// UDP and TCP are the addresses to listen on. A wildcard address stands for
	// every address of this host, port 0 for a free port.
	UDP, TCP, TLS []netip.AddrPort
	// OldTLS are listeners that also speak TLS 1.0 and 1.1 and the ciphers of their
	// time, for old phones.
	OldTLS []netip.AddrPort
	// Certificate chooses the certificate that a TLS client is shown. It is asked for
	// each connection, so a renewed one needs no restart.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// CarrierCAs are trusted for the certificates of carriers; nil: those of the machine.
	CarrierCAs *x509.CertPool
	// Advertise is the host or IP that Contact and Via show to phones. Empty: the
	// local address that the phone's packets reach.
	Advertise string
	// Realm is the digest realm; empty means "pbx".
	Realm string
	// UserAgent is sent in Server and User-Agent.
	UserAgent string
	// Network is where sockets come from; nil: the machine's.
	Network Network
	// Trunks are the lines to carriers; nil: none.
	Trunks Trunks
	// Bans keeps banned addresses; nil: they are forgotten at the end.
	Bans Bans
	// Texts keeps texts for phones that are off; nil: MESSAGE is not served.
	Texts Texts
	// Traces keeps the messages of calls that have ended; nil: none are remembered.
	Traces Traces
	// Nameservers are asked for carriers; nil: those of the machine.
	Nameservers []netip.AddrPort
	// UserToUser lets the data of RFC 7433 go with a call from one peer to the other.
	UserToUser bool
	// Log receives what happens; nil discards it.
	Log *slog.Logger
}

// Network opens sockets. The machine's and the in-memory one of siptest fit.
type Network interface {
	ListenPacket(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error)
	Listen(ctx context.Context, addr netip.AddrPort) (net.Listener, error)
	Dial(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error)
	// Addrs returns the addresses of this host.
	Addrs() ([]netip.Addr, error)
	// Source returns the address that packets to remote leave from.
	Source(remote netip.Addr) (netip.Addr, error)
}

// Directory is where the server looks up who may register. It must not wait.
type Directory interface {
	Line(username string) (store.Line, bool)
}

// Trunks are the lines to carriers. It must not wait. Changes are told by
// event.Object of the type "trunk".
type Trunks interface {
	Trunks() []store.Trunk // of all accounts, enabled or not
}

// Bindings keeps registrations across restarts.
type Bindings interface {
	LoadBindings(ctx context.Context) ([]store.Binding, error)
	SaveBindings(ctx context.Context, put []store.Binding, drop []store.ID) error
}

// Mailboxes tells what the message lamps of a user show: their own mailbox and those they share. It must not wait.
type Mailboxes interface {
	LampCounts(account, user store.ID) store.MailboxCounts
}

// Handler is what signalling asks of the house.
type Handler interface {
	// Incoming hands over a new, authenticated INVITE. It must return at once;
	// sooner or later the leg must be answered, refused or hung up.
	Incoming(l *Leg)
	// Asked hands over what the peer of a leg wants. It must return at once and
	// may be called before Incoming has returned.
	Asked(l *Leg, a Ask)
}

// Negotiator is the sound side of a leg. Its methods are called by the leg, one
// at a time.
type Negotiator interface {
	// Offer makes our offer, for an INVITE, a re-INVITE, or the answer to an
	// INVITE without a session description.
	Offer() (sdp []byte, err error)
	// Answer takes the peer's offer; an error means 488 and must change nothing.
	Answer(offer []byte) (sdp []byte, err error)
	// Accept takes the peer's answer to our offer. It may come more than once for
	// one offer: early sound first, then the phone that really answered.
	Accept(answer []byte) error
}

// Identity is a party as shown to the other side.
type Identity struct{ Display, User string }

// Outgoing is a call to be placed to one binding, or to a number over a trunk.
type Outgoing struct {
	To store.Binding
	// Trunk is the trunk to use instead of To, and Number what is called there, in the trunk's format.
	Trunk  store.ID
	Number string
	// Presented is told to the trunk's carrier, and Diverted also to phones.
	Presented Presentation
	Diverted  []Diversion
	// Emergency calls are let out however many calls the trunk carries.
	Emergency bool

	From Identity // the caller as the callee sees it
	// Referrer is who transferred the call to a phone (RFC 3892); empty: nobody did.
	Referrer Identity
	Called   Identity
	Sound    Negotiator
	// Verified is what a carrier found when it checked From; told to phones.
	Verified Verification
	// Carried is what goes with the call from the leg it came by: see Leg.Carried.
	Carried Carried
	// Alert is the Alert-Info that makes phones ring another way; empty: none.
	Alert string
	// AutoAnswer asks the phone to answer by itself, in every way that makers have for it.
	AutoAnswer bool
	// Late leaves the offer to the callee: the INVITE describes no session.
	Late bool
	// MaxForwards is that of the incoming leg minus one; 0 means 70.
	MaxForwards int
	Call        store.ID // for logs
}

// Presentation is how the caller is shown to a carrier beyond From.
type Presentation struct {
	// Anonymous withholds the caller from the callee (RFC 3323).
	Anonymous bool
	// Asserted is who really calls; told where the trunk is set so. Its User is a number in the trunk's format.
	Asserted Identity
}

// Diversion is one forwarding of a call, the latest first.
type Diversion struct {
	User, Display string // who forwarded
	Reason        string // "unconditional", "user-busy", "no-answer", "unavailable", "deflection", "unknown", …
	Code          int    // SIP cause of RFC 4458: 302, 486, 408, 503, …; 0: as Reason says
}

// ErrNoTrunk says that a trunk is unknown or switched off.
var ErrNoTrunk = errors.New("no such trunk")

// ErrTrunkFull says that a trunk carries as many calls as it may.
var ErrTrunkFull = errors.New("trunk is full")

// Progress is one provisional answer of a callee.
type Progress struct {
	Code   int
	Reason string
	Sound  bool // it carried a session description, already given to Sound.Accept
}

// Cause is why a leg ended.
type Cause struct {
	Code      int // SIP status that ended or refused it; 0 for BYE
	Reason    string
	Remote    bool // the peer ended it
	Elsewhere bool // somebody else answered: CANCEL says so, and phones log no missed call
	Q850      int  // the cause as telephone networks know it; 0: none was told, and that of Code is sent
	// Moved is where a phone sends the call instead; nil: nowhere.
	Moved *Redirection
}

// Refusal is an answer of 300 and above to a request of ours.
type Refusal struct {
	Code   int
	Reason string
}

func (r *Refusal) Error() string { return fmt.Sprintf("refused: %d %s", r.Code, r.Reason) }

// Listener is one bound socket.
type Listener struct {
	Transport string // "udp", "tcp", "tls"
	Addr      netip.AddrPort
}

// Stats counts what the server did since it started, and what it holds now.
type Stats struct {
	Received, Malformed, Throttled           uint64 // messages: all, unusable ones, those over a limit
	Registers, Registered, Invites, AuthFail uint64
	LegsTotal                                uint64
	Banned, Ignored, TextsSent, Shed         uint64 // bans made, messages of banned sources, texts delivered, calls refused in overload
	LampsShed                                uint64 // requests for lamps that were asked to come back later
	Unreachable                              int    // phones that are registered and do not answer
	Legs, Bindings, LinesOnline              int
	Subscriptions, Connections, Bans         int
	LampRepairs                              uint64 // NOTIFY requests that had to be sent again
	QualityReports                           uint64 // of calls, sent by phones
}
