package audiofile

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/jfreymuth/vorbis"
	"github.com/thesyncim/gopus"
)

// oggReader gives the packets of the first stream of an Ogg file: RFC 3533.
type oggReader struct {
	r       *bufio.Reader
	serial  uint32
	begun   bool
	packets [][]byte // whole ones of the current page
	partial []byte   // the beginning of one that goes on in the next page
}

// maxPacket bounds a packet: setup headers are the largest and have some kilobytes.
const maxPacket = 1 << 20

// next returns the next packet, or io.EOF.
func (o *oggReader) next() ([]byte, error) {
	for len(o.packets) == 0 {
		if err := o.page(); err != nil {
			return nil, err
		}
	}
	p := o.packets[0]
	o.packets = o.packets[1:]
	return p, nil
}

// page reads one page. Its checksum is not looked at: what is damaged is told by the codec.
func (o *oggReader) page() error {
	var h [27]byte
	if _, err := io.ReadFull(o.r, h[:]); err != nil {
		return io.EOF
	}
	if string(h[:4]) != "OggS" || h[4] != 0 {
		return ErrBroken
	}
	lacing := make([]byte, h[26])
	if _, err := io.ReadFull(o.r, lacing); err != nil {
		return io.EOF
	}
	total := 0
	for _, n := range lacing {
		total += int(n)
	}
	body := make([]byte, total)
	if _, err := io.ReadFull(o.r, body); err != nil {
		return io.EOF
	}
	serial := binary.LittleEndian.Uint32(h[14:])
	if !o.begun {
		o.serial, o.begun = serial, true
	}
	if serial != o.serial {
		return nil // another stream beside ours
	}
	if h[5]&1 == 0 {
		o.partial = nil // no packet goes on here
	}
	size := 0
	for _, n := range lacing {
		if size += int(n); n == 255 {
			continue
		}
		packet := body[:size]
		if o.partial != nil {
			packet = append(o.partial, packet...)
			o.partial = nil
		}
		o.packets, body, size = append(o.packets, packet), body[size:], 0
	}
	if size > 0 {
		if o.partial = append(o.partial, body...); len(o.partial) > maxPacket {
			return ErrBroken
		}
	}
	return nil
}

// openOgg reads Vorbis and Opus.
func openOgg(r *io.SectionReader) (*stream, error) {
	o := &oggReader{r: bufio.NewReaderSize(r, 1<<16)}
	first, err := o.next()
	if err != nil {
		return nil, ErrBroken
	}
	switch {
	case vorbis.IsHeader(first):
		return openVorbis(o, first)
	case len(first) >= 19 && string(first[:8]) == "OpusHead":
		return openOpus(o, first)
	}
	return nil, ErrFormat
}

// noComments is a comment header without any: the one in the file may claim any number.
var noComments = []byte("\x03vorbis\x00\x00\x00\x00\x00\x00\x00\x00\x01")

func openVorbis(o *oggReader, first []byte) (*stream, error) {
	d := &vorbis.Decoder{}
	if len(first) < 30 {
		return nil, ErrBroken
	}
	if err := d.ReadHeader(first); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if _, err := o.next(); err != nil { // comments
		return nil, ErrBroken
	}
	setup, err := o.next()
	if err != nil || len(setup) < 8 || setup[0] != 5 || !modestSetup(setup[7:]) || d.Channels() < 1 || d.Channels() > 8 {
		return nil, ErrBroken
	}
	for _, header := range [][]byte{noComments, setup} {
		if err := d.ReadHeader(header); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBroken, err)
		}
	}
	channels := d.Channels()
	var out []float32
	return &stream{rate: d.SampleRate(), next: func() ([]float32, error) {
		for {
			p, err := o.next()
			if err != nil {
				return nil, err
			}
			samples, err := d.Decode(p)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrBroken, err)
			}
			if len(samples) > 0 {
				out = mixed(out[:0], samples, channels)
				return out, nil
			}
		}
	}}, nil
}

// mixed appends interleaved samples as one channel.
func mixed(out, samples []float32, channels int) []float32 {
	for i := 0; i+channels <= len(samples); i += channels {
		var sum float32
		for _, v := range samples[i : i+channels] {
			sum += v
		}
		out = append(out, sum/float32(channels))
	}
	return out
}

// opusRate is the rate in which Opus is decoded: RFC 7845 §5.1.
const opusRate = 48000

func openOpus(o *oggReader, head []byte) (*stream, error) {
	channels := int(head[9])
	if head[8]&0xf0 != 0 || head[18] != 0 || channels < 1 || channels > 2 { // RFC 7845 §5.1: family 0 has one or two
		return nil, ErrFormat
	}
	skip := int(binary.LittleEndian.Uint16(head[10:])) // RFC 7845 §4.2: the decoder's beginning
	if _, err := o.next(); err != nil {                // tags
		return nil, ErrBroken
	}
	d, err := gopus.NewDecoder(gopus.DefaultDecoderConfig(opusRate, channels))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	pcm := make([]float32, 5760*channels) // 120 ms, the longest packet
	var out []float32
	return &stream{rate: opusRate, next: func() ([]float32, error) {
		for {
			p, err := o.next()
			if err != nil {
				return nil, err
			}
			n, err := d.Decode(p, pcm)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrBroken, err)
			}
			out = mixed(out[:0], pcm[:n*channels], channels)
			if dropped := min(skip, len(out)); dropped > 0 {
				skip -= dropped
				out = out[dropped:]
			}
			if len(out) > 0 {
				return out, nil
			}
		}
	}}, nil
}

// Bounds of the code books of a Vorbis file: those of the encoders have some thousands of entries.
const (
	maxEntries = 1 << 16
	maxValues  = 1 << 20 // of all books together
)

// modestSetup reports whether the code books of a setup header are whole and ask for no more memory than those of real
// files: Vorbis I §3.2.1. The decoder believes them.
func modestSetup(b []byte) bool {
	r := bits{b: b}
	values := 0
	for range r.read(8) + 1 {
		if r.read(24) != 0x564342 {
			return false
		}
		dimensions, entries := r.read(16), r.read(24)
		if entries < 1 || entries > maxEntries || dimensions > 256 {
			return false
		}
		if values += entries * max(dimensions, 2); values > maxValues {
			return false
		}
		if r.read(1) == 1 {
			r.read(5)
			for at := 0; at < entries; {
				n := r.read(width(entries - at))
				if at += n; at > entries || r.short {
					return false
				}
			}
		} else {
			sparse := r.read(1) == 1
			for range entries {
				if !sparse || r.read(1) == 1 {
					r.read(5)
				}
			}
		}
		switch kind := r.read(4); {
		case kind == 0:
		case kind > 2 || dimensions == 0:
			return false
		default:
			r.read(32)
			r.read(32)
			size := r.read(4) + 1
			r.read(1)
			n := entries * dimensions
			if kind == 1 {
				n = quantized(entries, dimensions)
			}
			r.skip(n * size)
		}
		if r.short {
			return false
		}
	}
	return true
}

// quantized is the greatest number whose power of the dimensions is not more than the entries: Vorbis I §9.2.3.
func quantized(entries, dimensions int) int {
	fits := func(n int) bool {
		power := 1
		for range dimensions {
			if power *= n; power > entries {
				return false
			}
		}
		return true
	}
	n := 1
	for fits(n + 1) {
		n++
	}
	return n
}

func width(n int) (bits int) {
	for ; n > 0; n >>= 1 {
		bits++
	}
	return bits
}

// bits reads numbers from a Vorbis header, the lowest bit first.
type bits struct {
	b     []byte
	at    int // in bits
	short bool
}

func (r *bits) read(n int) (v int) {
	for i := range n {
		at := r.at + i
		if at/8 >= len(r.b) {
			r.short = true
			break
		}
		v |= int(r.b[at/8]>>(at%8)&1) << i
	}
	r.at += n
	return v
}

func (r *bits) skip(n int) {
	if r.at += n; r.at > 8*len(r.b) {
		r.short = true
	}
}
