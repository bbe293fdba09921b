package media

import "time"

// SampleRate is the rate of all linear sound inside the house, in Hz: wide enough for the telephones of today, and
// a codec that carries less fills the upper half with nothing.
const SampleRate = 16000

const (
	frameTime    = 20 * time.Millisecond // what phones send in one packet by default: RFC 3551 §4.5
	frameSamples = SampleRate / 50
	narrowRate   = 8000            // Hz of the sound of G.711
	narrowFrame  = narrowRate / 50 // samples
	clockRate    = 8000            // Hz of the RTP clock of G.711
)

// Frame is 20 ms of linear sound at 16 kHz.
type Frame [frameSamples]int16

// Source gives sound, 20 ms at a time, and io.EOF at its end. A source is read by
// one goroutine only.
type Source interface{ ReadFrame(f *Frame) error }

// Sink takes sound, 20 ms at a time. It must not keep f.
type Sink interface{ WriteFrame(f *Frame) error }

// samplesIn is how many samples of linear sound last d.
func samplesIn(d time.Duration) int64 { return int64(d / (time.Second / SampleRate)) }

// timeOf is how long n samples of linear sound last.
func timeOf(n int64) time.Duration { return time.Duration(n) * (time.Second / SampleRate) }

// ticksIn is how far an RTP clock of rate Hz goes in d.
func ticksIn(d time.Duration, rate int) int64 { return d.Microseconds() * int64(rate) / 1e6 }

// timeOfTicks is how long n ticks of an RTP clock of rate Hz last.
func timeOfTicks(n int64, rate int) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(rate)
}
