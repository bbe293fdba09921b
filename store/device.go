package store

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// DeviceKind is what sort of phone a device is.
type DeviceKind string

// The kinds of device.
const (
	Deskphone   DeviceKind = "deskphone"
	DECTBase    DeviceKind = "dect_base"
	DECTHandset DeviceKind = "dect_handset"
	Softphone   DeviceKind = "softphone"
)

// Device is a phone. It registers once per line.
type Device struct {
	ID        ID
	AccountID ID
	Version   int64

	Kind   DeviceKind
	Name   string
	Vendor string // "yealink", lower case; empty for a softphone
	Model  string // "T54W"
	MAC    string // 12 lower-case hex digits, or empty
	IPEI   string // of a DECT handset
	BaseID ID     // of a DECT handset: the base it belongs to

	Transport string // "udp", "tcp", "tls", "wss"
	SRTP      string // "off", "optional", "required"
	Digest    string // DigestAny, DigestMD5 or DigestSHA256; empty is DigestAny

	Lines []Line // in order of Index

	CreatedAt time.Time
	UpdatedAt time.Time
}

// Line is one SIP registration of a device, for one user. Its SIP user name is random and never an extension.
type Line struct {
	ID        ID
	AccountID ID
	DeviceID  ID
	UserID    ID
	Index     int // 1-based
	Label     string
	Username  string // SIP and digest user name
	Password  Secret
	Digest    string // that of the device
}

// How a phone may prove that it knows its password. Many phones give up when they
// are offered anything but MD5; those that can do better may be held to it.
const (
	DigestAny    = "any"    // both are offered, the better one first
	DigestMD5    = "md5"    // only MD5 is offered
	DigestSHA256 = "sha256" // only SHA-256 is offered, and MD5 is refused
)

// MaxLines is the most lines a device may have.
const MaxLines = 32

// Validate returns FieldErrors, or nil.
func (d *Device) Validate() error {
	var e FieldErrors
	checkName(&e, "name", d.Name)
	switch d.Kind {
	case Deskphone, DECTBase, DECTHandset, Softphone:
	default:
		e.Add("kind", "Kind must be deskphone, dect_base, dect_handset or softphone.")
	}
	if d.MAC != "" {
		if m, ok := NormalizeMAC(d.MAC); !ok || m != d.MAC {
			e.Add("mac", "MAC address must have 12 hexadecimal digits.")
		}
	}
	if d.Kind == DECTHandset && d.BaseID == "" {
		e.Add("base_id", "A DECT handset belongs to a base.")
	}
	if d.Kind != DECTHandset && (d.BaseID != "" || d.IPEI != "") {
		e.Add("base_id", "Only a DECT handset has a base and an IPEI.")
	}
	if len(d.IPEI) > 20 || strings.Trim(strings.ToLower(d.IPEI), "0123456789abcdef*") != "" {
		e.Add("ipei", "IPEI must be the digits printed on the handset.")
	}
	switch d.Transport {
	case "udp", "tcp", "tls":
	case "wss":
		if d.Kind != Softphone {
			e.Add("transport", "Only a softphone can register over WebSocket.")
		}
	default:
		e.Add("transport", "Transport must be udp, tcp, tls or wss.")
	}
	oneOf(&e, "srtp", "SRTP", d.SRTP, securities)
	switch d.Digest {
	case "", DigestAny, DigestMD5, DigestSHA256:
	default:
		e.Add("digest", "Digest must be any, md5 or sha256.")
	}
	if len(d.Lines) > MaxLines {
		e.Add("user_ids", "A device has at most 32 lines.")
	}
	if !plainText(d.Vendor, 40) || !plainText(d.Model, 40) {
		e.Add("model", "Vendor and model must have at most 40 characters and no control characters.")
	}
	for _, l := range d.Lines {
		if !plainText(l.Label, 80) {
			e.Add("lines", "Label must have at most 80 characters and no control characters.")
			break
		}
	}
	return e.Err()
}

// plainText reports whether s may stand in a configuration file: short, valid and on one line.
func plainText(s string, most int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= most && !strings.ContainsFunc(s, unicode.IsControl)
}

// NormalizeMAC reduces a MAC address in any usual spelling to 12 lower-case hex digits.
func NormalizeMAC(s string) (mac string, ok bool) {
	s = strings.ToLower(strings.NewReplacer(":", "", "-", "", ".", "", " ", "").Replace(s))
	if len(s) != 12 || strings.Trim(s, "0123456789abcdef") != "" || s == "000000000000" || s == "ffffffffffff" {
		return "", false
	}
	return s, true
}

// Binding is where a line can be reached now (RFC 3261 §10).
type Binding struct {
	ID        ID
	AccountID ID
	LineID    ID
	DeviceID  ID
	UserID    ID

	Contact   string // URI with parameters, as registered
	Source    string // "192.0.2.7:5060": where its requests come from and ours go to
	Local     string // our listening address it registered at
	Transport string // "udp", "tcp", "tls", "ws", "wss"
	UserAgent string
	CallID    string
	CSeq      uint32
	Path      []string // RFC 3327
	Instance  string   // +sip.instance, RFC 5626
	RegID     int      // reg-id, RFC 5626
	Q         int      // how much it is wanted among those of its line, in thousandths (RFC 3261 §20.10)
	Features  string   // ";name=value…": what the phone says that it is and can (RFC 3840)

	RegisteredAt time.Time
	ExpiresAt    time.Time

	// What is known of it now; this is not kept.
	RTT         time.Duration // round trip, 0 while not measured
	Unreachable bool          // it was asked and did not answer
}

// ProvisionFetch is one request of a phone for a file.
type ProvisionFetch struct {
	ID        ID
	AccountID ID
	DeviceID  ID
	At        time.Time
	File      string
	Source    string // IP address
	UserAgent string
	Status    int // HTTP status of the answer
	Bytes     int64
}
