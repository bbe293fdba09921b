package media

import (
	"strconv"
	"strings"

	"github.com/thesyncim/gopus"
)

// opusParams is what a peer says of Opus in its fmtp line, as far as it means something to who sends to it:
// RFC 7587 §6.1.
type opusParams struct {
	rate     int  // maxplaybackrate: what is above half of it is not heard; 0: 48000
	bitrate  int  // maxaveragebitrate; 0: no limit
	stereo   bool // stereo: it would rather have two channels
	constant bool // cbr
	fec      bool // useinbandfec: it can repair a lost packet with the next one
	silence  bool // usedtx: nothing need be sent in pauses
}

// readOpusParams reads a fmtp line. What makes no sense is left out.
func readOpusParams(fmtp string) opusParams {
	var p opusParams
	for field := range strings.SplitSeq(fmtp, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil {
			continue
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "maxplaybackrate":
			if n >= 8000 && n <= 48000 {
				p.rate = n
			}
		case "maxaveragebitrate":
			if n >= 6000 && n <= 510000 {
				p.bitrate = n
			}
		case "stereo":
			p.stereo = n == 1
		case "cbr":
			p.constant = n == 1
		case "useinbandfec":
			p.fec = n == 1
		case "usedtx":
			p.silence = n == 1
		}
	}
	return p
}

// String is the fmtp line.
func (p opusParams) String() string {
	var fields []string
	for _, f := range []struct {
		name string
		n    int
	}{{"maxplaybackrate", p.rate}, {"maxaveragebitrate", p.bitrate}} {
		if f.n > 0 {
			fields = append(fields, f.name+"="+strconv.Itoa(f.n))
		}
	}
	for _, f := range []struct {
		name string
		on   bool
	}{{"stereo", p.stereo}, {"cbr", p.constant}, {"useinbandfec", p.fec}, {"usedtx", p.silence}} {
		if f.on {
			fields = append(fields, f.name+"=1")
		}
	}
	return strings.Join(fields, ";")
}

const (
	opusBitrate    = 32000 // of our voice: RFC 7587 §3.1.1 has 16 to 20 kbit/s for wide speech, music wants more
	opusComplexity = 5     // of 10: the rest costs much and is hardly heard
	opusPacket     = 1275  // octets of the largest packet we send: RFC 6716 §3.2.1
)

// opusEncoder makes Opus of 16 kHz sound as it is: the codec itself brings it to the rate on the line.
type opusEncoder struct{ e *gopus.Encoder }

// newOpusEncoder makes an encoder for a peer that wants p. Of what it may refuse, nothing is needed.
func newOpusEncoder(p opusParams) encoder {
	e, err := gopus.NewEncoder(gopus.EncoderConfig{SampleRate: SampleRate, Channels: 1, Application: gopus.ApplicationVoIP})
	if err != nil {
		return nil
	}
	bitrate := opusBitrate
	if p.bitrate > 0 {
		bitrate = min(bitrate, p.bitrate)
	}
	_ = e.SetBitrate(bitrate)
	_ = e.SetComplexity(opusComplexity)
	e.SetVBR(!p.constant)
	if p.fec {
		e.SetFEC(true)
		_ = e.SetPacketLoss(opusLoss)
	}
	if p.rate > 0 && p.rate < SampleRate {
		_ = e.SetMaxBandwidth(gopus.BandwidthNarrowband)
		if p.rate >= 12000 {
			_ = e.SetMaxBandwidth(gopus.BandwidthMediumband)
		}
	}
	return &opusEncoder{e}
}

// opusLoss is the loss in percent that packets are made ready for when the peer can repair them.
const opusLoss = 5

func (o *opusEncoder) encode(dst []byte, sound []int16) int {
	if o.e.FrameSize() != len(sound) && o.e.SetFrameSize(len(sound)) != nil {
		return 0
	}
	n, err := o.e.EncodeInt16(sound, dst[:min(len(dst), opusPacket)])
	if err != nil {
		return 0
	}
	return n
}

// opusPtime is the next shorter length of packets that Opus has: RFC 7587 §4.2.
func opusPtime(ptime int) int {
	switch {
	case ptime >= 60:
		return 60
	case ptime >= 40:
		return 40
	case ptime >= 20:
		return 20
	}
	return 10
}

// opusDecoder makes 16 kHz sound, of one channel whatever is sent.
type opusDecoder struct{ d *gopus.Decoder }

func newOpusDecoder() decoder {
	d, err := gopus.NewDecoder(gopus.DecoderConfig{SampleRate: SampleRate, Channels: 1, MaxPacketSamples: maxDecoded, MaxPacketBytes: packetSize})
	if err != nil {
		return nil
	}
	return &opusDecoder{d}
}

func (o *opusDecoder) decode(dst []int16, payload []byte) int {
	if len(payload) == 0 {
		return 0
	}
	n, err := o.d.DecodeInt16(payload, dst)
	if err != nil {
		return 0
	}
	return n
}
