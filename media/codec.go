package media

import "github.com/zaf/g711"

// kind is what a payload number stands for on one leg.
type kind uint8

const (
	kindNone  kind = iota
	kindPCMU       // RFC 3551 §4.5.14
	kindPCMA       // RFC 3551 §4.5.14
	kindEvent      // telephone-event: RFC 4733
	kindNoise      // comfort noise, RFC 3389: welcome but not needed
)

func (k kind) audio() bool { return k == kindPCMU || k == kindPCMA }

// name is the encoding name in SDP.
func (k kind) name() string {
	switch k {
	case kindPCMU:
		return "PCMU"
	case kindPCMA:
		return "PCMA"
	case kindEvent:
		return "telephone-event"
	case kindNoise:
		return "CN"
	}
	return ""
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
	// encode fills dst with the code of sound and tells how many octets that were.
	encode(dst []byte, sound []int16) int
}

// newEncoder makes an encoder of an audio kind.
func newEncoder(k kind) encoder { return &lawEncoder{law: k} }

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
