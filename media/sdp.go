package media

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// ErrNotAcceptable says that a description holds no audio stream that we can take
// part in: the answer to the offer is 488.
var ErrNotAcceptable = errors.New("no usable audio stream")

// direction is whose sound flows, as the sender of a description sees it.
type direction uint8

const (
	dirSend direction = 1 << iota
	dirReceive

	inactive direction = 0
	both               = dirSend | dirReceive
)

// mirror is the same direction as the other side sees it: RFC 3264 §6.1.
func (d direction) mirror() direction {
	return d&dirSend<<1 | d&dirReceive>>1
}

func (d direction) String() string {
	switch d {
	case dirSend:
		return "sendonly"
	case dirReceive:
		return "recvonly"
	case both:
		return "sendrecv"
	}
	return "inactive"
}

// mediaLine is an m= line as it was written.
type mediaLine struct {
	media, port, proto string
	formats            []string
}

// description is what we need to know of a peer's SDP.
type description struct {
	lines     []mediaLine
	audio     int // which of lines is ours
	formats   []format
	remote    netip.AddrPort // where it wants RTP; not valid when it gave none
	rtcp      netip.AddrPort
	direction direction
	crypto    []cryptoLine // those of the audio line that we may use
	cryptic   bool         // it has some, and none of use
	ptime     int          // ms, 0 when not said
	maxptime  int
	mux       bool // RTCP may come on the port of RTP: RFC 5761
}

// held reports whether the peer listens no more.
func (d *description) held() bool { return d.direction&dirReceive == 0 }

const (
	sdpSize      = 16 << 10
	sdpLines     = 400
	mediaLines   = 16
	formatsLimit = 64
)

// describe reads a peer's SDP. It is generous with order and form, for phones are not.
func describe(body []byte, policy Security) (*description, error) {
	session, media, err := sections(body)
	if err != nil {
		return nil, err
	}
	d := &description{audio: -1}
	for _, section := range media {
		line, ok := parseMediaLine(section[0])
		if !ok {
			return nil, fmt.Errorf("bad line %q", clip(section[0]))
		}
		d.lines = append(d.lines, line)
	}
	if d.audio = d.pick(media, policy); d.audio < 0 {
		return d, ErrNotAcceptable
	}
	return d, d.readAudio(session, media[d.audio])
}

// sections splits the body into the session part and one part for each m= line.
// RFC 8866 §5 ends lines with CRLF; we also take a bare LF or CR.
func sections(body []byte) (session []string, media [][]string, err error) {
	if len(body) > sdpSize {
		return nil, nil, fmt.Errorf("description of %d octets", len(body))
	}
	count := 0
	for line := range strings.FieldsFuncSeq(string(body), func(r rune) bool { return r == '\r' || r == '\n' || r == 0 }) {
		line = strings.TrimSpace(line)
		if len(line) < 2 || line[1] != '=' {
			continue // unknown matter is no reason to refuse a call
		}
		if count++; count > sdpLines {
			return nil, nil, errors.New("too many lines")
		}
		switch {
		case line[0] == 'm':
			media = append(media, []string{line})
		case len(media) == 0:
			session = append(session, line)
		default:
			media[len(media)-1] = append(media[len(media)-1], line)
		}
	}
	if len(media) == 0 || len(media) > mediaLines {
		return nil, nil, fmt.Errorf("%d media lines: %w", len(media), ErrNotAcceptable)
	}
	return session, media, nil
}

func parseMediaLine(line string) (mediaLine, bool) {
	f := strings.Fields(line[2:])
	if len(f) < 4 || len(f) > 3+formatsLimit {
		return mediaLine{}, false
	}
	return mediaLine{media: strings.ToLower(f[0]), port: f[1], proto: f[2], formats: f[3:]}, true
}

// readAudio parses the session part and our section. The strict parser sees only
// what we use, in the order it insists on, with the lines that it cannot do without.
func (d *description) readAudio(session, audio []string) error {
	var b strings.Builder
	b.WriteString("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\n")
	put(&b, session, 'c', 1)
	b.WriteString("t=0 0\r\n")
	put(&b, session, 'a', sdpLines)
	line := d.lines[d.audio]
	port, _, _ := strings.Cut(line.port, "/")
	fmt.Fprintf(&b, "m=audio %s RTP/AVP %s\r\n", port, strings.Join(line.formats, " "))
	put(&b, audio, 'c', 1)
	put(&b, audio, 'a', sdpLines)

	var parsed sdp.SessionDescription
	if err := parsed.UnmarshalString(b.String()); err != nil {
		return fmt.Errorf("parse: %w", err)
	}
	return d.fill(&parsed, parsed.MediaDescriptions[0])
}

func (d *description) fill(s *sdp.SessionDescription, m *sdp.MediaDescription) error {
	d.direction = both
	for _, a := range slices.Concat(s.Attributes, m.Attributes) {
		d.attribute(strings.ToLower(a.Key), strings.TrimSpace(a.Value))
	}
	d.formats = readFormats(m)

	c := m.ConnectionInformation
	if c == nil {
		c = s.ConnectionInformation
	}
	if c == nil || c.Address == nil {
		return fmt.Errorf("no connection address: %w", ErrNotAcceptable)
	}
	host, _, _ := strings.Cut(c.Address.Address, "/")
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		// A host name. We look up nothing while a call waits: its packets will show us the way.
	case addr.IsUnspecified():
		// RFC 3264 §8.4: the way to hold before there was sendonly.
		d.direction &^= dirReceive
	case addr.IsMulticast():
	default:
		d.remote = netip.AddrPortFrom(addr.Unmap(), uint16(m.MediaName.Port.Value))
	}
	d.readRTCP(m)
	return nil
}

func (d *description) attribute(key, value string) {
	switch key {
	case "sendrecv":
		d.direction = both
	case "sendonly":
		d.direction = dirSend
	case "recvonly":
		d.direction = dirReceive
	case "inactive":
		d.direction = inactive
	case "ptime":
		d.ptime = milliseconds(value)
	case "maxptime":
		d.maxptime = milliseconds(value)
	case "rtcp-mux":
		d.mux = true
	}
}

// milliseconds is 0 for what makes no sense.
func milliseconds(s string) int {
	s, _, _ = strings.Cut(s, ".") // "a=ptime:20.0" exists
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1000 {
		return 0
	}
	return n
}

// readRTCP finds where reports go: the next port up, unless RFC 3605 says otherwise.
func (d *description) readRTCP(m *sdp.MediaDescription) {
	if !d.remote.IsValid() || d.remote.Port() == 0xffff {
		return
	}
	d.rtcp = netip.AddrPortFrom(d.remote.Addr(), d.remote.Port()+1)
	value, ok := m.Attribute("rtcp")
	if !ok {
		return
	}
	f := strings.Fields(value)
	if len(f) == 0 {
		return
	}
	port, err := strconv.ParseUint(f[0], 10, 16)
	if err != nil || port == 0 {
		return
	}
	addr := d.remote.Addr()
	if len(f) == 4 {
		if a, err := netip.ParseAddr(f[3]); err == nil && !a.IsUnspecified() && !a.IsMulticast() {
			addr = a.Unmap()
		}
	}
	d.rtcp = netip.AddrPortFrom(addr, uint16(port))
}

func put(b *strings.Builder, lines []string, letter byte, limit int) {
	for _, l := range lines {
		if l[0] == letter && limit > 0 && wellFormed(l) {
			b.WriteString(l + "\r\n")
			limit--
		}
	}
}

// wellFormed spares the strict parser a c= line that would make it give up.
func wellFormed(l string) bool {
	if l[0] != 'c' {
		return len(l) > 2
	}
	f := strings.Fields(l[2:])
	return len(f) == 3 && f[0] == "IN" && (f[1] == "IP4" || f[1] == "IP6")
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// statement is our side of an offer or answer, before it gets its version.
type statement struct {
	addr      netip.AddrPort
	session   uint64
	lines     []mediaLine // empty: one audio line
	audio     int
	formats   []format
	direction direction
	profile   string // of our own first offer, where it is not plain
	crypto    []ourCrypto
	ptime     int
	mux       bool
}

// marshal writes the statement. The order of lines and the CRLF are those of RFC 8866 §5.
func (s *statement) marshal(version uint64) ([]byte, error) {
	addressType := "IP4"
	if s.addr.Addr().Is6() {
		addressType = "IP6"
	}
	host := s.addr.Addr().WithZone("").String()
	d := sdp.SessionDescription{
		Origin: sdp.Origin{
			Username: "-", SessionID: s.session, SessionVersion: version,
			NetworkType: "IN", AddressType: addressType, UnicastAddress: host,
		},
		SessionName:           "-",
		ConnectionInformation: &sdp.ConnectionInformation{NetworkType: "IN", AddressType: addressType, Address: &sdp.Address{Address: host}},
		TimeDescriptions:      []sdp.TimeDescription{{}},
	}
	for i, l := range s.lines {
		if i == s.audio {
			d.MediaDescriptions = append(d.MediaDescriptions, s.audioLine())
			continue
		}
		// RFC 3264 §6: a refused stream keeps its place and has port 0.
		d.MediaDescriptions = append(d.MediaDescriptions, &sdp.MediaDescription{
			MediaName: sdp.MediaName{Media: l.media, Protos: []string{l.proto}, Formats: l.formats},
		})
	}
	if len(s.lines) == 0 {
		d.MediaDescriptions = append(d.MediaDescriptions, s.audioLine())
	}
	return d.Marshal()
}

// audioLine is our stream. It says nothing of ICE or DTLS, which is how their offers are declined.
func (s *statement) audioLine() *sdp.MediaDescription {
	profile := "RTP/AVP"
	if s.profile != "" {
		profile = s.profile
	}
	if len(s.lines) > 0 {
		profile = strings.ToUpper(s.lines[s.audio].proto) // RFC 3264 §6: that of the offer
	}
	m := &sdp.MediaDescription{MediaName: sdp.MediaName{
		Media: "audio", Port: sdp.RangedPort{Value: int(s.addr.Port())}, Protos: strings.Split(profile, "/"),
	}}
	for _, f := range s.formats {
		number := strconv.Itoa(int(f.number))
		m.MediaName.Formats = append(m.MediaName.Formats, number)
		m.Attributes = append(m.Attributes, sdp.NewAttribute("rtpmap", number+" "+f.encoding()))
		if f.params != "" {
			m.Attributes = append(m.Attributes, sdp.NewAttribute("fmtp", number+" "+f.params))
		}
	}
	for _, c := range s.crypto {
		m.Attributes = append(m.Attributes, sdp.NewAttribute("crypto", c.attribute()))
	}
	m.Attributes = append(m.Attributes,
		sdp.NewAttribute("ptime", strconv.Itoa(s.ptime)),
		sdp.NewPropertyAttribute(s.direction.String()))
	if s.mux {
		m.Attributes = append(m.Attributes, sdp.NewPropertyAttribute("rtcp-mux"))
	}
	return m
}
