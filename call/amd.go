package call

import (
	"context"
	"time"

	"pbx/media"
)

// How people and machines answer: a person says a word or two and waits; a machine talks on, or makes one wait for it.
// docs/answering-machines.md has the table of what is taken for what.
const (
	amdLongest = 6 * time.Second // then it is taken for a person: people first
	amdHello   = 1800 * time.Millisecond
	amdWaits   = 700 * time.Millisecond
	amdNothing = 3 * time.Second
	amdFrame   = 20 * time.Millisecond
	amdVoice   = 260 // level of a voice on the line, of 32768: -42 dBFS
	amdBlip    = 60 * time.Millisecond
)

// answerer hears how a call is answered.
type answerer struct {
	enough  context.CancelFunc // called with the verdict
	decided bool
	is      bool

	heard   time.Duration // all of it
	speech  time.Duration // since the first word, pauses within it included
	silence time.Duration // in a row
	voiced  time.Duration // in a row
}

func (a *answerer) machine() bool { return a.is }

func (a *answerer) decide(machine bool) {
	a.decided, a.is = true, machine
	if a.enough != nil {
		a.enough()
	}
}

// WriteFrame hears 20 ms.
func (a *answerer) WriteFrame(f *media.Frame) error {
	if a.decided {
		return nil
	}
	a.heard += amdFrame
	if f.Level() >= amdVoice {
		a.voiced += amdFrame
		if a.voiced >= amdBlip { // shorter is a click on the line
			if a.speech > 0 {
				a.speech += a.silence
			}
			a.silence = 0
		}
		if a.speech > 0 || a.voiced >= amdBlip {
			a.speech += amdFrame
		}
	} else {
		a.voiced = 0
		a.silence += amdFrame
	}
	switch {
	case a.speech > amdHello:
		a.decide(true)
	case a.speech > 0 && a.silence >= amdWaits:
		a.decide(false)
	case a.speech == 0 && a.heard >= amdNothing:
		a.decide(true)
	}
	return nil
}
