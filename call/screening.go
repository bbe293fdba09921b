package call

import (
	"context"
	"time"

	"pbx/media"
	"pbx/sip"
)

const (
	// screenPatience is how long somebody has to accept a call that was sent to their number.
	screenPatience = 15 * time.Second
	screenPause    = 2 * time.Second // before the question is asked once more
)

// screened reports whether who answers has to prove to be a person.
func screened(how string) bool { return how != "" && how != "none" }

// screen finds out whether who answered is a person who wants the call: a mobile's voicemail answers too, and would keep
// it. It returns why not. It runs beside the call, which still rings elsewhere, so it must not touch the call's own loop.
func (c *Call) screen(ctx context.Context, p *Party, how string) *sip.Cause {
	if (how == "amd" || how == "both") && c.machine(ctx, p) {
		return &sip.Cause{Code: 480, Reason: "a machine answered"}
	}
	if (how == "press_1" || how == "both") && !c.accepts(ctx, p) {
		return &sip.Cause{Code: 480, Reason: "the call was not accepted"}
	}
	return nil
}

// machine listens to how the call is answered.
func (c *Call) machine(ctx context.Context, p *Party) bool {
	ctx, enough := context.WithTimeout(ctx, amdLongest)
	defer enough()
	ear := &answerer{enough: enough}
	_ = p.Sound.Listen(ctx, ear) // ends with the verdict, the time, or the call
	return ear.machine()
}

// accepts asks for the key 1.
func (c *Call) accepts(ctx context.Context, p *Party) bool {
	ctx, enough := context.WithTimeout(ctx, screenPatience)
	defer enough()
	asked := c.background(ctx, p, &repeated{of: func() media.Source { return c.engine.Library.Prompt("press-1-to-accept") }})
	defer asked()
	for {
		var key rune
		select {
		case <-ctx.Done():
			return false
		case <-p.Done():
			return false
		case key = <-p.Sound.Digits():
		case key = <-p.Leg.Digits():
		}
		if key == '1' {
			return true
		}
	}
}

// repeated is a source that begins anew after a pause. It does not end.
type repeated struct {
	of    func() media.Source
	now   media.Source
	pause bool
}

func (r *repeated) ReadFrame(f *media.Frame) error {
	for {
		if r.now == nil {
			r.now, r.pause = r.of(), false
		}
		if r.now.ReadFrame(f) == nil {
			return nil
		}
		if r.pause {
			r.now = nil
			continue
		}
		r.now, r.pause = media.SilenceFor(screenPause), true
	}
}
