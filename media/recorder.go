package media

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// RecordOptions limit a recording. Zero means no limit.
type RecordOptions struct {
	Max     time.Duration // the longest recording
	Silence time.Duration // ends after so much silence in a row
}

// Why a recording ended.
const (
	ReasonEnded   = "ended"   // its context did
	ReasonMax     = "max"     // it reached its greatest length
	ReasonSilence = "silence" // nobody spoke any more
	ReasonClosed  = "closed"  // its session was closed
)

// Recorded tells what became of a recording.
type Recorded struct {
	Duration time.Duration // of the file
	Voice    time.Duration // how much of it was louder than silence
	Reason   string
}

// silenceLevel is the loudness below which nobody speaks: -45 dBFS, between the noise of
// a quiet room and a soft voice.
const silenceLevel = 184

var (
	errMax     = errors.New("recording is full")
	errSilence = errors.New("recording fell silent")
)

// recording is the sink of a Record.
type recording struct {
	w     *WAVWriter
	o     RecordOptions
	voice time.Duration
	quiet time.Duration
}

func (r *recording) WriteFrame(f *Frame) error {
	if err := r.w.WriteFrame(f); err != nil {
		return err
	}
	if f.Level() < silenceLevel {
		r.quiet += frameTime
	} else {
		r.quiet = 0
		r.voice += frameTime
	}
	switch {
	case r.o.Max > 0 && r.w.Duration() >= r.o.Max:
		return errMax
	case r.o.Silence > 0 && r.quiet >= r.o.Silence:
		return errSilence
	}
	return nil
}

// Level is how loud the frame is: the root of the mean square, of 32768.
func (f *Frame) Level() float64 {
	sum := 0.0
	for _, v := range f {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / frameSamples)
}

// Record writes all that the peer says to w, in the caller's goroutine, until ctx ends or
// a limit is reached. Lost sound becomes silence, so the file is as long as the time
// was. The caller closes w.
func (s *Session) Record(ctx context.Context, w *WAVWriter, o RecordOptions) (Recorded, error) {
	r := &recording{w: w, o: o}
	err := s.listen(ctx, r, recordDelay)
	done := Recorded{Duration: w.Duration(), Voice: r.voice}
	switch {
	case errors.Is(err, errMax):
		done.Reason = ReasonMax
	case errors.Is(err, errSilence):
		done.Reason = ReasonSilence
	case errors.Is(err, ErrClosed):
		done.Reason = ReasonClosed
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		done.Reason = ReasonEnded
	default:
		return done, fmt.Errorf("record: %w", err)
	}
	return done, nil
}
