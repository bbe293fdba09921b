package media

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// format is one payload number and what it stands for.
type format struct {
	number uint8
	kind   kind
	other  string // the encoding of a codec that we only pass on: "G729/8000"
	params string // fmtp
}

// same reports whether f and g are the same codec.
func (f format) same(g format) bool { return f.kind == g.kind && f.other == g.other }

// encoding is the name in SDP, with clock and channels.
func (f format) encoding() string {
	if f.other != "" {
		return f.other
	}
	return encodings[f.kind]
}

const (
	encodingLimit = 40  // octets of a codec's name that is passed on
	paramsLimit   = 200 // octets of its parameters
)

// static are the payload numbers that need no rtpmap: RFC 3551 §6.
var static = map[uint8]string{
	0: "PCMU/8000", 3: "GSM/8000", 4: "G723/8000", 8: "PCMA/8000", 9: "G722/8000", 13: "CN/8000", 15: "G728/8000", 18: "G729/8000",
}

// noCodecs are names in rtpmap that are no sound by themselves.
var noCodecs = []string{"telephone-event", "cn", "red", "rtx", "ulpfec", "flexfec-03", "tone"}

// readEncoding reads "PCMU/8000/1". Other clocks are other formats: a phone with Opus lists telephone-event twice.
func readEncoding(encoding string) format {
	name, rest, _ := strings.Cut(strings.TrimSpace(encoding), "/")
	clock, channels, _ := strings.Cut(rest, "/")
	for k, known := range encodings {
		ours, _, _ := strings.Cut(known, "/")
		if !strings.EqualFold(name, ours) {
			continue
		}
		switch {
		case k == kindOpus && clock == "48000", // RFC 7587 §7 asks for two channels; some forget them
			k == kindG722 && clock == "16000", // an honest mistake
			clock == strconv.Itoa(k.clock()) && (channels == "" || channels == "1"):
			return format{kind: k}
		}
	}
	if _, known := kinds[strings.ToLower(name)]; known || slices.Contains(noCodecs, strings.ToLower(name)) || !token(name) || len(encoding) > encodingLimit {
		return format{}
	}
	other := strings.ToUpper(name) + "/" + clock
	switch {
	case channels != "" && channels != "1":
	case clock == "8000":
		return format{kind: kindOther, other: other}
	case clock == "16000":
		return format{kind: kindOther16, other: other}
	}
	return format{}
}

// kinds are the kinds of sound by their names in small letters.
var kinds = map[string]kind{"pcmu": kindPCMU, "pcma": kindPCMA, "g722": kindG722, "opus": kindOpus}

// token reports whether s is a name that may be passed on: RFC 8866 §9.
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("-._+", r)
	})
}

// readFormats lists the payload numbers of the m= line that mean something to us, in its order.
func readFormats(m *sdp.MediaDescription) []format {
	mapped, params := make(map[uint8]string), make(map[uint8]string)
	for _, a := range m.Attributes {
		number, value, ok := strings.Cut(strings.TrimSpace(a.Value), " ")
		n, err := strconv.ParseUint(number, 10, 7)
		if !ok || err != nil {
			continue
		}
		switch strings.ToLower(a.Key) {
		case "rtpmap":
			mapped[uint8(n)] = value
		case "fmtp":
			params[uint8(n)] = strings.TrimSpace(value)
		}
	}
	var list []format
	for _, s := range m.MediaName.Formats {
		n, err := strconv.ParseUint(s, 10, 7)
		if err != nil {
			continue
		}
		number := uint8(n)
		encoding, ok := mapped[number]
		if !ok {
			encoding = static[number]
		}
		f := readEncoding(encoding)
		f.number, f.params = number, passable(params[number])
		if f.kind != kindNone && !slices.ContainsFunc(list, func(g format) bool { return g.number == number }) {
			list = append(list, f)
		}
	}
	return list
}

// passable is a peer's parameters if they may be told to another.
func passable(params string) string {
	if len(params) > paramsLimit || strings.ContainsFunc(params, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return params
}

// choose is the codec of the description that comes first in prefer, else the one that comes first in the description.
// One that we only pass on is taken when it is preferred and not otherwise.
func (d *description) choose(prefer, allowed []format) (format, bool) {
	for _, p := range prefer {
		for _, f := range d.formats {
			if f.same(p) && f.kind.audio() && (!f.kind.known() || holds(allowed, f)) {
				return f, true
			}
		}
	}
	for _, f := range d.formats {
		if f.kind.audio() && holds(allowed, f) {
			return f, true
		}
	}
	return format{}, false
}

func holds(list []format, f format) bool { return slices.ContainsFunc(list, f.same) }

// event is the format of keys beside sound with that clock: RFC 4733 §2.1 wants the same, and some phones have
// only 8000.
func (d *description) event(clock int) (format, bool) {
	found := format{}
	for _, f := range d.formats {
		if f.kind.event() && f.kind.clock() == clock {
			return f, true
		}
		if f.kind == kindEvent && found.kind == kindNone {
			found = f
		}
	}
	return found, found.kind != kindNone
}

// ourFormats are the codecs that we understand, in the order of an offer to somebody of whom nothing is known.
var ourFormats = []format{{kind: kindPCMU}, {kind: kindPCMA}, {kind: kindG722}, {kind: kindOpus}}

var (
	everybody = ourFormats[:2]                                                 // understands these
	wide      = []format{{kind: kindG722}, {kind: kindPCMU}, {kind: kindPCMA}} // for who has to be translated anyhow
)

// lineUp is the codecs of an offer: first what the other party of the call has, so that nothing need be converted,
// then what everybody has. policy, if any, allows no others and has the last word about their order.
func lineUp(theirs, policy []format) []format {
	if len(theirs) == 0 {
		if policy != nil {
			return policy
		}
		return ourFormats
	}
	rest := everybody
	var list []format
	if policy != nil {
		rest = policy
		for _, p := range policy {
			if holds(theirs, p) {
				list = append(list, theirs[slices.IndexFunc(theirs, p.same)])
			}
		}
	} else {
		list = slices.Clone(theirs)
		switch {
		case !slices.ContainsFunc(theirs, func(f format) bool { return f.kind.known() }):
			return list // who can only be passed on cannot be converted
		case !slices.ContainsFunc(theirs, func(f format) bool { return f.kind.law() }):
			rest = wide
		}
	}
	for _, f := range rest {
		if !holds(list, f) {
			list = append(list, f)
		}
	}
	return list
}

// numbering remembers which payload number stands for what in a session: RFC 3264 §8.3.2 forbids that it ever changes.
type numbering map[string]uint8

// learn notes the numbers of a description.
func (n numbering) learn(formats []format) {
	for _, f := range formats {
		if _, known := n[f.encoding()]; !known && len(n) < formatsLimit {
			n[f.encoding()] = f.number
		}
	}
}

// number gives f its number: the one it had, or that of the standard, or that which the other party of the call uses for
// it, or a free one.
func (n numbering) number(f format) format {
	encoding := f.encoding()
	if have, ok := n[encoding]; ok {
		f.number = have
		return f
	}
	for number, fixed := range static {
		if fixed == encoding {
			n[encoding], f.number = number, number
			return f
		}
	}
	wish := f.number
	if wish < 96 {
		wish = usual[f.kind]
	}
	for n.taken(wish) || wish < 96 || wish > 127 {
		if wish++; wish > 127 || wish < 96 {
			wish = 96
		}
	}
	n[encoding], f.number = wish, wish
	return f
}

// usual are the numbers that most phones give.
var usual = map[kind]uint8{kindOpus: 107, kindEvent: 101, kindEvent48: 100}

func (n numbering) taken(number uint8) bool {
	for _, have := range n {
		if have == number {
			return true
		}
	}
	return false
}
