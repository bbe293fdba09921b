package call

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"pbx/event"
	"pbx/media"
	"pbx/store"
)

const (
	// maxHeard bounds whose sound a call remembers.
	maxHeard = 8
	// watchLease is how long a call is measured for somebody who looks at it, after they last asked.
	watchLease  = 30 * time.Second
	sampleEvery = 5 * time.Second
)

// heard is somebody whose sound belongs to the call, and which side they were when they came.
type heard struct {
	*Party
	side string
}

// hear notes whose sound belongs to the call.
func (c *Call) hear(parties []*Party) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range parties {
		known := slices.ContainsFunc(c.heard, func(h heard) bool { return h.Party == p })
		if p.Sound != nil && len(c.heard) < maxHeard && !known {
			c.heard = append(c.heard, heard{p, c.role(p)})
		}
	}
}

// troubled tells that a direction of the sound of p fell silent, or is heard again.
func (c *Call) troubled(p *Party) {
	faults := p.Sound.Faults()
	if len(faults) == 0 {
		return
	}
	last := slices.MaxFunc(faults, func(a, b media.Fault) int { return cmp.Compare(changedAt(a).UnixNano(), changedAt(b).UnixNano()) })
	side := c.role(p)
	if last.Ended.IsZero() {
		c.log.Info("no sound", "side", side, "from_phone", last.FromPeer, "class", last.Class, "address", last.Address)
	} else {
		c.log.Info("sound again", "side", side, "from_phone", last.FromPeer, "after", last.Ended.Sub(last.Began).Round(time.Millisecond), "repaired", last.Repaired)
	}
	c.publish(event.CallTrouble)
}

func changedAt(f media.Fault) time.Time {
	if f.Ended.IsZero() {
		return f.Began
	}
	return f.Ended
}

// faults are the open ones, for the live view; c.mu is held.
func (c *Call) faults() []event.Fault {
	open := []event.Fault{}
	for _, p := range c.heard {
		for _, f := range p.Sound.Faults() {
			if f.Ended.IsZero() && c.ends(p.Party) {
				open = append(open, event.Fault{
					Side: p.side, Direction: direction(f), Class: string(f.Class), BeganAt: f.Began.UTC(),
				})
			}
		}
	}
	return open
}

// ends reports whether p still is one end of the call; c.mu is held.
func (c *Call) ends(p *Party) bool { return p == c.caller || p == c.callee }

func direction(f media.Fault) string {
	if f.FromPeer {
		return "from"
	}
	return "to"
}

func address(f media.Fault) string {
	if !f.Address.IsValid() {
		return ""
	}
	return f.Address.String()
}

// mos is how the call sounds now; c.mu is held.
func (c *Call) mos() (score float64) {
	for _, p := range c.heard {
		if q := p.Sound.Quality(); c.ends(p.Party) && q.MOS > 0 && (score == 0 || q.MOS < score) {
			score = q.MOS
		}
	}
	return score
}

// measured is how the call sounded up to now; nil when nothing was heard.
func (c *Call) measured() *store.CallQuality {
	c.mu.Lock()
	defer c.mu.Unlock()
	var q store.CallQuality
	for _, p := range c.heard {
		sum := p.Sound.QualitySummary()
		if sum.Received+sum.Sent == 0 {
			continue
		}
		l := legQuality(sum, p.side, cmp.Or(p.Who.Name, p.Who.Number, p.Who.Extension), p.Sound.Stats().Remote.String())
		if m := sum.Mean.Flow; m.MOS > 0 && (q.MOS == 0 || m.MOS < q.MOS) {
			q.MOS = m.MOS
		}
		q.LossPct, q.JitterMS = max(q.LossPct, sum.Mean.Loss), max(q.JitterMS, inMS(sum.Mean.Jitter))
		q.Legs = append(q.Legs, l)
		for _, f := range p.Sound.Faults() {
			q.Faults = append(q.Faults, store.AudioFault{
				Side: l.Side, Direction: direction(f), Class: string(f.Class), Address: address(f), BeganAt: f.Began, EndedAt: f.Ended, Repaired: f.Repaired,
			})
		}
	}
	if len(q.Legs) == 0 && len(q.Faults) == 0 {
		return nil
	}
	slices.SortStableFunc(q.Faults, func(a, b store.AudioFault) int { return a.BeganAt.Compare(b.BeganAt) })
	return &q
}

func inMS(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func legQuality(sum media.QualitySummary, side, name, remote string) store.LegQuality {
	flow := func(mean, worst media.Flow, packets, missed uint64) store.FlowQuality {
		return store.FlowQuality{
			MOS: mean.MOS, WorstMOS: worst.MOS, LossPct: mean.Loss, JitterMS: inMS(mean.Jitter),
			WorstLossPct: worst.Loss, WorstJitterMS: inMS(worst.Jitter), Packets: packets, Missed: missed,
		}
	}
	l := store.LegQuality{
		Side: side, Name: name, Codec: sum.Codec, Remote: remote, RoundTripMS: inMS(sum.Mean.RoundTrip),
		From:      flow(sum.Mean.From, sum.Worst.From, sum.Received, sum.LostFrom),
		To:        flow(sum.Mean.To, sum.Worst.To, sum.Sent, sum.LostTo),
		StartedAt: sum.Opened, StepS: sum.Step.Seconds(),
	}
	whole := func(v float64) int { return int(v + 0.5) }
	for _, s := range sum.Samples {
		l.Points = append(l.Points, store.QualityPoint{
			whole(100 * s.From.MOS), whole(100 * s.From.Loss), whole(10 * inMS(s.From.Jitter)),
			whole(100 * s.To.MOS), whole(100 * s.To.Loss), whole(10 * inMS(s.To.Jitter)), whole(inMS(s.RoundTrip)),
		})
	}
	return l
}

// Quality returns how a running call sounded up to now. For a while from then on it is news every few seconds.
func (e *Engine) Quality(account, id store.ID) (*store.CallQuality, error) {
	c := e.board.call(id)
	if c == nil || c.account != account {
		return nil, fmt.Errorf("quality of %s: %w", id, store.ErrNotFound)
	}
	c.watchSound()
	if q := c.measured(); q != nil {
		return q, nil
	}
	return &store.CallQuality{}, nil
}

// watchSound begins or prolongs the news of how the call sounds.
func (c *Call) watchSound() {
	c.mu.Lock()
	running := time.Now().Before(c.watchedTill)
	c.watchedTill = time.Now().Add(watchLease)
	c.mu.Unlock()
	e := c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if running || e.closing {
		return
	}
	e.calls.Go(c.guarded(c.tellSound))
}

// tellSound publishes samples until nobody looks any more.
func (c *Call) tellSound() {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case now := <-tick.C:
			c.mu.Lock()
			watched := now.Before(c.watchedTill)
			c.mu.Unlock()
			if !watched {
				return
			}
			c.publishSound(now)
		}
	}
}

func (c *Call) publishSound(now time.Time) {
	if c.engine.Bus == nil {
		return
	}
	news := event.Quality{CallID: c.id, At: now.UTC(), Legs: []event.LegQuality{}}
	c.mu.Lock()
	for _, p := range c.heard {
		if !c.ends(p.Party) {
			continue
		}
		q := p.Sound.Quality()
		news.Legs = append(news.Legs, event.LegQuality{
			Side: p.side, Name: cmp.Or(p.Who.Name, p.Who.Number, p.Who.Extension), Codec: p.Sound.Codec(), RoundTripMS: inMS(q.RoundTrip),
			From: flowNews(q.From), To: flowNews(q.To),
		})
	}
	c.mu.Unlock()
	c.engine.Bus.Publish(event.News{Kind: event.CallQuality, Account: c.account, Users: c.members(), Data: news})
}

func flowNews(f media.Flow) event.Flow {
	return event.Flow{MOS: f.MOS, LossPct: f.Loss, JitterMS: inMS(f.Jitter)}
}
