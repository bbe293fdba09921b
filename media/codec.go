package media

import (
	"strings"

	"github.com/gotranspile/g722"
	"github.com/zaf/g711"
)

// kind is what a payload number stands for on one leg.
type kind uint8

const (
	kindNone    kind = iota
	kindPCMU         // RFC 3551 §4.5.14
	kindPCMA         // RFC 3551 §4.5.14
	kindG722         // RFC 3551 §4.5.2
	kindOpus         // RFC 7587
	kindOther        // a codec that is only passed on, with a clock of 8000 Hz: G.729, GSM, iLBC …
	kindOther16      // the same with 16000 Hz: AMR-WB, EVS …
	kindEvent        // telephone-event: RFC 4733
	kindEvent48      // the same beside Opus: its clock is that of the sound, RFC 4733 §2.1
	kindNoise        // comfort noise: RFC 3389
)

// audio reports whether k is sound.
func (k kind) audio() bool { return k >= kindPCMU && k <= kindOther16 }

// known reports whether we can make and understand the sound.
func (k kind) known() bool { return k >= kindPCMU && k <= kindOpus }

// law reports whether k is G.711.
func (k kind) law() bool { return k == kindPCMU || k == kindPCMA }

// even reports whether k has one octet for each tick of its clock, so that packets can be cut anew anywhere.
func (k kind) even() bool { return k >= kindPCMU && k <= kindG722 }

// event reports whether k is keys.
func (k kind) event() bool { return k == kindEvent || k == kindEvent48 }

// clock is the rate of the RTP timestamps in Hz. That of G.722 is 8000 by an old mistake: RFC 3551 §4.5.2.
func (k kind) clock() int {
	switch k {
	case kindOpus, kindEvent48:
		return 48000 // RFC 7587 §4.1, whatever the sound has
	case kindOther16:
		return 16000
	}
	return clockRate
}

// encodings are the names of the kinds in SDP, with clock and channels.
var encodings = map[kind]string{
	kindPCMU: "PCMU/8000", kindPCMA: "PCMA/8000", kindG722: "G722/8000",
	kindOpus:  "opus/48000/2", // RFC 7587 §7: always two, even for one
	kindEvent: "telephone-event/8000", kindEvent48: "telephone-event/48000", kindNoise: "CN/8000",
}

// name is the encoding name in SDP, without its clock.
func (k kind) name() string {
	name, _, _ := strings.Cut(encodings[k], "/")
	return name
}

// The codecs as tables, computed once from a library that the ITU vectors prove:
// a look-up is several times faster than the arithmetic.
var (
	ulawDecode = decodeTable(g711.DecodeUlawFrame)
	alawDecode = decodeTable(g711.DecodeAlawFrame)
	ulawEncode = encodeTable(g711.EncodeUlawFrame)
	alawEncode = encodeTable(g711.EncodeAlawFrame)
	ulawToAlaw = convertTable(ulawDecode, g711.EncodeAlawFrame)
	alawToUlaw = convertTable(alawDecode, g711.EncodeUlawFrame)
)

func decodeTable(decode func(uint8) int16) *[256]int16 {
	var t [256]int16
	for i := range t {
		t[i] = decode(uint8(i))
	}
	return &t
}

func encodeTable(encode func(int16) uint8) *[1 << 16]uint8 {
	var t [1 << 16]uint8
	for i := range t {
		t[i] = encode(int16(i))
	}
	return &t
}

func convertTable(decode *[256]int16, encode func(int16) uint8) *[256]uint8 {
	var t [256]uint8
	for i := range t {
		t[i] = encode(decode[i])
	}
	return &t
}

// encoder makes the payloads of one stream of linear sound. It keeps the state of its codec, so each stream has
// its own.
type encoder interface {
	// encode fills dst with the code of sound, at most maxPtime of it, and tells how many octets that were.
	encode(dst []byte, sound []int16) int
}

// decoder makes linear sound of the payloads of one stream, in their order.
type decoder interface {
	// decode fills dst with the sound of a payload and tells how many samples that were: 0 for one that is broken.
	decode(dst []int16, payload []byte) int
}

// newEncoder makes an encoder of what was agreed, or nil for a codec that we only pass on.
func newEncoder(t *terms) encoder {
	switch {
	case t.audio.law():
		return &lawEncoder{law: t.audio}
	case t.audio == kindG722:
		return &g722Encoder{g722.NewEncoder(g722.Rate64000, 0)}
	case t.audio == kindOpus:
		return newOpusEncoder(t.opus)
	}
	return nil
}

// newDecoder makes a decoder of a kind that is known.
func newDecoder(k kind) decoder {
	switch k {
	case kindG722:
		return &g722Decoder{g722.NewDecoder(g722.Rate64000, 0)}
	case kindOpus:
		return newOpusDecoder()
	}
	return &lawDecoder{law: k}
}

// maxDecoded is the sound of the longest packet that any codec may send: 120 ms, RFC 6716 §3.2.5.
const maxDecoded = SampleRate * 120 / 1000

// lawEncoder is G.711 of wide sound.
type lawEncoder struct {
	law    kind
	half   halver
	narrow [narrowRate * maxPtime / 1000]int16
}

func (e *lawEncoder) encode(dst []byte, sound []int16) int {
	narrow := e.narrow[:min(len(sound)/2, len(e.narrow))]
	e.half.halve(narrow, sound[:2*len(narrow)])
	return e.law.encode(dst, narrow)
}

// lawDecoder is G.711 that becomes wide sound.
type lawDecoder struct {
	law    kind
	twice  doubler
	narrow [maxDecoded / 2]int16
}

func (d *lawDecoder) decode(dst []int16, payload []byte) int {
	n := d.law.decode(d.narrow[:len(dst)/2], payload)
	d.twice.double(dst, d.narrow[:n])
	return 2 * n
}

type g722Encoder struct{ *g722.Encoder }

func (e *g722Encoder) encode(dst []byte, sound []int16) int { return e.Encode(dst, sound) }

type g722Decoder struct{ *g722.Decoder }

func (d *g722Decoder) decode(dst []int16, payload []byte) int {
	return d.Decode(dst, payload[:min(len(payload), len(dst)/2)])
}

// decode fills dst with the narrow sound of a payload of G.711 and tells how many samples that were.
func (k kind) decode(dst []int16, payload []byte) int {
	table := ulawDecode
	if k == kindPCMA {
		table = alawDecode
	}
	n := min(len(dst), len(payload))
	for i, b := range payload[:n] {
		dst[i] = table[b]
	}
	return n
}

// encode fills dst with the code of narrow sound and tells how many octets that were.
func (k kind) encode(dst []byte, samples []int16) int {
	table := ulawEncode
	if k == kindPCMA {
		table = alawEncode
	}
	n := min(len(dst), len(samples))
	for i, s := range samples[:n] {
		dst[i] = table[uint16(s)]
	}
	return n
}

// convert turns payload from one law into the other, in place.
func convert(payload []byte, from, to kind) {
	if from == to {
		return
	}
	table := ulawToAlaw
	if from == kindPCMA {
		table = alawToUlaw
	}
	for i, b := range payload {
		payload[i] = table[b]
	}
}
