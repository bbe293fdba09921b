package store

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Trunk is a line to a carrier, or to another telephone system.
type Trunk struct {
	ID        ID
	AccountID ID
	Version   int64

	Name    string
	Enabled bool

	// Host is the name or address of the carrier. A name without a port is looked up by NAPTR and SRV (RFC 3263).
	Host      string
	Port      int    // 0: looked up, or the default of the transport
	Transport string // "udp", "tcp", "tls"; empty: what NAPTR says, else udp
	// OutboundProxy is where requests are sent instead of Host, "host" or "host:port"; empty: to Host.
	OutboundProxy string

	// Register says that we register at the carrier; else it knows us by our address.
	Register bool
	Username string // of the registration and of digest challenges
	Password Secret
	// AuthUsername is the user name in answers to digest challenges when it differs from Username.
	AuthUsername string
	// FromDomain is the host of our From; empty: Host.
	FromDomain string
	Expiry     time.Duration // asked for when registering; 0: 10 minutes

	// Sources are addresses or networks ("192.0.2.0/24") that calls of this trunk may come from, beside those that Host resolves to.
	Sources []string
	// Options says that the trunk is watched by OPTIONS.
	Options bool

	// Identity is how the caller is told to the carrier: "from", "pai" (P-Asserted-Identity, RFC 3325) or "rpid" (Remote-Party-ID).
	Identity string
	// TrustIdentity says that P-Asserted-Identity, Remote-Party-ID and Privacy of this carrier are believed, and that ours may be told to it when the caller withholds the number.
	TrustIdentity bool
	// TrustVerstat says that what this carrier found when it checked callers is believed (RFC 8588).
	TrustVerstat bool
	// Diversion is how forwarded calls say who forwarded them: "none", "diversion" (RFC 5806) or "history-info" (RFC 7044).
	Diversion string
	// Format is how numbers are written to the carrier: "e164" (+4930…), "digits" (4930…), "national" (030…) or "00" (004930…).
	Format string

	// Prefixes are the beginnings of E.164 numbers that this trunk serves, "+49"; empty: all numbers.
	Prefixes []string
	// Priority orders trunks that serve a number equally well: lower first.
	Priority int
	// Rates are prices for least-cost order; numbers without one come last among those of equal priority.
	Rates []Rate
	// Codecs are the codecs offered to this carrier in order, "PCMU", "PCMA", "G722", "opus"; empty: all that we have.
	Codecs []string
	// SRTP is how sound is protected: "off", "optional" (as the carrier likes) or "required"; empty is "off". The keys travel in
	// the signalling, so that is worth something over TLS only.
	SRTP string
	// MaxCalls is how many calls may be up at once, both directions together; 0: no limit. MaxIn and MaxOut limit one direction.
	MaxCalls, MaxIn, MaxOut int
	// EmergencyReserve is how many of MaxCalls other calls leave free for emergency calls.
	EmergencyReserve int
	// Messages says that MESSAGE requests are exchanged with this carrier.
	Messages bool

	CreatedAt time.Time
	UpdatedAt time.Time
}

// Rate is what a minute to numbers of a prefix costs on a trunk.
type Rate struct {
	Prefix string // "+4930"
	// PerMinute is in ten-thousandths of the account's currency.
	PerMinute int
}

// TrunkStatus is what we know of a trunk now.
type TrunkStatus struct {
	TrunkID    ID
	Registered bool   // it registers, and the last registration was accepted
	Reachable  bool   // it answered lately, or nothing speaks against it
	Reason     string // in words: "registered", "403 Forbidden", "no answer"
	Since      time.Time
	RTT        time.Duration // of the last OPTIONS or REGISTER; 0: unknown
	Target     string        // "udp 192.0.2.7:5060", the one in use
	NextTry    time.Time     // of the registration
	Calls      int           // up now
}

// Number is a telephone number that carriers deliver to us.
type Number struct {
	ID        ID
	AccountID ID
	Version   int64

	Number  string // E.164 with "+"
	Label   string
	Kind    string // "managed", "unmanaged"
	Status  string // "active", "pending_verification"
	TrunkID ID     // that it is delivered by, and that calls from it prefer; empty: any

	Destination Destination

	HoldMusicClipID ID     // what those hear who called the number; empty: as the account says
	Recording       string // "always", "never"; empty: as the users and the account say

	CreatedAt time.Time
	UpdatedAt time.Time
}

// Destination is where a call goes.
type Destination struct {
	Type   string // "user", "ring_group", "mailbox", "external", "parking", "hangup"
	ID     ID     // of a user, a ring group or a mailbox; for "mailbox" also of the user whose it is
	Number string // for "external" in E.164, for "parking" the slot
}

// The values of trunk fields.
var (
	trunkTransports = []string{"", "udp", "tcp", "tls"}
	trunkIdentities = []string{"from", "pai", "rpid"}
	trunkDiversions = []string{"none", "diversion", "history-info"}
	trunkFormats    = []string{"e164", "digits", "national", "00"}
	securities      = []string{"off", "optional", "required"}
	trunkCodecs     = []string{"PCMU", "PCMA", "G722", "opus"}
)

// Validate returns FieldErrors, or nil.
func (t *Trunk) Validate() error {
	var e FieldErrors
	checkName(&e, "name", t.Name)
	checkHost(&e, "host", t.Host)
	if t.Port < 0 || t.Port > 65535 {
		e.Add("port", "Port must be 1 to 65535, or empty to look it up.")
	}
	oneOf(&e, "transport", "Transport", t.Transport, trunkTransports)
	oneOf(&e, "identity", "Identity", t.Identity, trunkIdentities)
	oneOf(&e, "diversion", "Diversion", t.Diversion, trunkDiversions)
	oneOf(&e, "format", "Format", t.Format, trunkFormats)
	if t.SRTP == "" {
		t.SRTP = "off"
	}
	oneOf(&e, "srtp", "SRTP", t.SRTP, securities)
	if t.OutboundProxy != "" {
		host, port, found := strings.Cut(t.OutboundProxy, ":")
		if strings.Count(t.OutboundProxy, ":") > 1 { // IPv6, with or without a port
			host, port, found = t.OutboundProxy, "", false
			if ap, err := netip.ParseAddrPort(t.OutboundProxy); err == nil {
				host = ap.Addr().String()
			}
		}
		checkHost(&e, "outbound_proxy", host)
		if found && !validPort(port) {
			e.Add("outbound_proxy", "The port of the outbound proxy must be 1 to 65535.")
		}
	}
	if t.FromDomain != "" {
		checkHost(&e, "from_domain", t.FromDomain)
	}
	if t.Register && t.Username == "" {
		e.Add("auth.username", "A trunk that registers needs a user name.")
	}
	for _, f := range []struct{ name, value string }{{"auth.username", t.Username}, {"auth.auth_username", t.AuthUsername}, {"auth.password", string(t.Password)}} {
		if !plainText(f.value, 128) {
			e.Add(f.name, "Must have at most 128 characters and no control characters.")
		}
	}
	if s := t.Expiry / time.Second; t.Expiry != 0 && (s < 60 || s > 86400) {
		e.Add("expiry_s", "Expiry must be 60 to 86400 seconds.")
	}
	if len(t.Sources) > 64 {
		e.Add("sources", "A trunk has at most 64 source addresses.")
	}
	for _, s := range t.Sources {
		p, ok := ParseSource(s)
		if !ok {
			e.Add("sources", "Each source must be an IP address or a network such as 192.0.2.0/24 or 2001:db8::/48.")
			break
		}
		if p.Addr().Is4() && p.Bits() < 16 || p.Addr().Is6() && p.Bits() < 32 {
			// Whoever calls from there is taken for the carrier, without a password.
			e.Add("sources", "The network "+p.String()+" is too wide, since all who live in it could call as the carrier: /16 or smaller of IPv4, /32 or smaller of IPv6.")
			break
		}
	}
	if len(t.Prefixes) > 1000 || slices.ContainsFunc(t.Prefixes, func(p string) bool { return !validPrefix(p) }) {
		e.Add("prefixes", "Each prefix must be a plus sign and 1 to 15 digits, at most 1000 of them.")
	}
	if len(t.Rates) > 5000 || slices.ContainsFunc(t.Rates, func(r Rate) bool { return !validPrefix(r.Prefix) || r.PerMinute < 0 }) {
		e.Add("rates", "Each rate needs a prefix (a plus sign and 1 to 15 digits) and a price of 0 or more, at most 5000 of them.")
	}
	if t.Priority < 0 || t.Priority > 1000 {
		e.Add("priority", "Priority must be 0 to 1000.")
	}
	for _, c := range t.Codecs {
		if !slices.Contains(trunkCodecs, c) {
			e.Add("codecs", "Codecs must be PCMU, PCMA, G722 or opus.")
			break
		}
	}
	for _, f := range []struct {
		name string
		n    int
	}{{"max_calls", t.MaxCalls}, {"max_in", t.MaxIn}, {"max_out", t.MaxOut}} {
		if f.n < 0 || f.n > 10_000 {
			e.Add(f.name, "Must be 0 (no limit) to 10000 calls.")
		}
	}
	switch {
	case t.EmergencyReserve < 0 || t.EmergencyReserve > 100:
		e.Add("emergency_reserve", "Must be 0 to 100 calls.")
	case t.MaxCalls > 0 && t.EmergencyReserve >= t.MaxCalls:
		e.Add("emergency_reserve", "Must be less than the limit of calls, or nobody could call.")
	}
	return e.Err()
}

// ParseSource reads an address or a network.
func ParseSource(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil && p.Bits() > 0 {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), true
}

func oneOf(e *FieldErrors, field, label, value string, allowed []string) {
	if !slices.Contains(allowed, value) {
		e.Add(field, label+" must be one of: "+strings.Join(slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "" }), ", ")+".")
	}
}

// checkHost reports what is neither a host name nor an address.
func checkHost(e *FieldErrors, field, host string) {
	if a, err := netip.ParseAddr(host); err == nil && a.Zone() == "" {
		return
	}
	if host == "" || len(host) > 253 || strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" ||
		strings.HasPrefix(host, ".") || strings.HasPrefix(host, "-") || strings.Contains(host, "..") {
		e.Add(field, "Must be a host name or an IP address.")
	}
}

func validPort(s string) bool {
	n := 0
	for _, r := range s {
		if r < '0' || r > '9' || len(s) > 5 {
			return false
		}
		n = n*10 + int(r-'0')
	}
	return n > 0 && n < 65536
}

func validPrefix(p string) bool {
	return len(p) >= 2 && len(p) <= 16 && p[0] == '+' && strings.Trim(p[1:], "0123456789") == ""
}

// Validate returns FieldErrors, or nil.
func (n *Number) Validate() error {
	var e FieldErrors
	if !validPrefix(n.Number) || len(n.Number) < 5 {
		e.Add("number", "Number must be in international form: a plus sign and 4 to 15 digits.")
	}
	if !plainText(n.Label, 80) {
		e.Add("label", "Label must have at most 80 characters and no control characters.")
	}
	oneOf(&e, "kind", "Kind", n.Kind, []string{"managed", "unmanaged"})
	oneOf(&e, "status", "Status", n.Status, []string{"active", "pending_verification"})
	n.Destination.check(&e, "destination")
	oneOf(&e, "recording", "Recording", n.Recording, recordingRules)
	return e.Err()
}

func (d Destination) check(e *FieldErrors, field string) {
	switch d.Type {
	case "user", "ring_group", "mailbox":
		if d.ID == "" {
			e.Add(field, map[string]string{"user": "Choose the user.", "ring_group": "Choose the ring group.", "mailbox": "Choose the mailbox."}[d.Type])
		}
	case "external":
		if !validPrefix(d.Number) || len(d.Number) < 5 {
			e.Add(field, "An external number must be in international form: a plus sign and 4 to 15 digits.")
		}
	case "parking":
		if d.Number != "" && (len(d.Number) > 6 || strings.Trim(d.Number, "0123456789") != "") {
			e.Add(field, "A parking slot has at most 6 digits.")
		}
	case "hangup":
	default:
		e.Add(field, "Destination type must be user, ring_group, mailbox, external, parking or hangup.")
	}
}
