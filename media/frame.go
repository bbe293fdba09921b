package media

import "time"

const (
	clockRate    = 8000                  // Hz of every codec and timestamp here
	frameTime    = 20 * time.Millisecond // what phones send in one packet by default: RFC 3551 §4.5
	frameSamples = 160
)

// Frame is 20 ms of linear sound at 8 kHz.
type Frame [frameSamples]int16

// Source gives sound, 20 ms at a time, and io.EOF at its end. A source is read by
// one goroutine only.
type Source interface{ ReadFrame(f *Frame) error }

// Sink takes sound, 20 ms at a time. It must not keep f.
type Sink interface{ WriteFrame(f *Frame) error }

// sampleTime is how long one sample lasts.
const sampleTime = time.Second / clockRate

// samplesIn is how many samples last d.
func samplesIn(d time.Duration) int64 { return int64(d / sampleTime) }

// timeOf is how long n samples last.
func timeOf(n int64) time.Duration { return time.Duration(n) * sampleTime }
