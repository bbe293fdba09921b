package media

import (
	"sync"
	"time"
)

// sampleEvery is how often the quality of a session is measured.
const sampleEvery = 5 * time.Second

// Flow is how the sound of one direction fares.
type Flow struct {
	MOS    float64 // 1 to 4.5, by the E-model; 0: not known
	Loss   float64 // per cent
	Jitter time.Duration
}

// Quality is how a session sounds.
type Quality struct {
	Flow                    // the worse of the two directions
	RoundTrip time.Duration // 0: the peer sends no reports
	From      Flow          // what comes from the peer, as we measure it
	To        Flow          // what goes to it, as it reports
}

// QualitySample is one measurement.
type QualitySample struct {
	At        time.Duration // its end, since the session was opened
	RoundTrip time.Duration
	From, To  Flow
}

// QualitySummary is how a session sounded from its beginning.
type QualitySummary struct {
	Codec             string
	Mean, Worst       Quality // of the samples; Worst has the lowest score and the highest figures
	Received, Sent    uint64
	LostFrom, LostTo  uint64
	Opened            time.Time
	Step              time.Duration // between two samples
	Samples           []QualitySample
	DuplicatesAndLate uint64
}

// worse is of each figure the worse one. A score of 0 is not known.
func worse(a, b Flow) Flow {
	f := Flow{MOS: a.MOS, Loss: max(a.Loss, b.Loss), Jitter: max(a.Jitter, b.Jitter)}
	if a.MOS == 0 || b.MOS != 0 && b.MOS < a.MOS {
		f.MOS = b.MOS
	}
	return f
}

// seriesLength is how many samples of a session are kept; when there would be more, two become one.
const seriesLength = 60

// point is a sample in few octets.
type point struct {
	round uint16 // ms
	flow  [2]struct {
		mos, loss, jitter uint16 // hundredths; hundredths of a per cent; tenths of ms
	}
}

// gauge measures a session over time.
type gauge struct {
	mu     sync.Mutex
	opened time.Time
	due    time.Time

	received, lost uint64 // at the latest sample
	reported       uint64 // reports of the peer then
	last           Quality

	merge   int // samples to a point
	pending []Quality
	points  []point

	sum   [2]struct{ mos, jitter float64 }
	n     [2]int // samples with a score
	worst Quality
	round struct {
		sum time.Duration
		n   int
	}
}

func (g *gauge) init(now time.Time) {
	g.opened, g.due, g.merge = now, now.Add(sampleEvery), 1
}

// measure takes a sample when it is time.
func (s *Session) measure(now time.Time) {
	g := &s.gauge
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Before(g.due) {
		return
	}
	for !g.due.After(now) {
		g.due = g.due.Add(sampleEvery)
	}
	g.add(s.sample(true))
}

// sample measures what went on since the latest one. g.mu is held.
func (s *Session) sample(fresh bool) Quality {
	g := &s.gauge
	codec, packet := s.Codec(), defaultPtime*time.Millisecond
	if t := s.terms.Load(); t != nil {
		packet = time.Duration(t.ptime) * time.Millisecond
	}
	heard, round := s.reports.heard()

	s.in.mu.Lock()
	received, lost := s.in.stats.received, uint64(s.in.lostBefore+s.in.lost())
	jitter := s.in.jittered()
	s.in.mu.Unlock()

	q := Quality{RoundTrip: round}
	if got, missing := received-g.received, int64(lost-g.lost); got > 0 {
		q.From = Flow{Loss: percent(max(missing, 0), int64(got)+max(missing, 0)), Jitter: jitter}
		q.From.MOS = opinion(rating(codec, q.From.Loss, mouthToEar(round, packet, jitter)))
	}
	if heard.count != g.reported && heard.count > 0 {
		q.To = Flow{Loss: heard.loss, Jitter: heard.jitter}
		q.To.MOS = opinion(rating(codec, heard.loss, mouthToEar(round, packet, heard.jitter)))
	}
	q.Flow = worse(q.From, q.To)
	if fresh {
		g.received, g.lost, g.reported = received, lost, heard.count
	}
	return q
}

func percent(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// add counts a sample and keeps it in the series.
func (g *gauge) add(q Quality) {
	g.last = q
	for i, f := range []Flow{q.From, q.To} {
		if f.MOS > 0 {
			g.sum[i].mos += f.MOS
			g.sum[i].jitter += float64(f.Jitter)
			g.n[i]++
		}
	}
	if q.RoundTrip > 0 {
		g.round.sum += q.RoundTrip
		g.round.n++
	}
	g.worst = Quality{
		Flow: worse(g.worst.Flow, q.Flow), RoundTrip: max(g.worst.RoundTrip, q.RoundTrip),
		From: worse(g.worst.From, q.From), To: worse(g.worst.To, q.To),
	}
	if g.pending = append(g.pending, q); len(g.pending) < g.merge {
		return
	}
	g.points = append(g.points, pointOf(g.pending))
	g.pending = g.pending[:0]
	if len(g.points) == seriesLength {
		g.thin()
	}
}

// thin makes one point of each two.
func (g *gauge) thin() {
	for i := range seriesLength / 2 {
		a, b := g.points[2*i], g.points[2*i+1]
		p := &g.points[i]
		p.round = max(a.round, b.round)
		for j := range p.flow {
			x, y := a.flow[j], b.flow[j]
			p.flow[j].mos = x.mos
			if x.mos == 0 || y.mos != 0 && y.mos < x.mos {
				p.flow[j].mos = y.mos
			}
			p.flow[j].loss, p.flow[j].jitter = max(x.loss, y.loss), max(x.jitter, y.jitter)
		}
	}
	g.points = g.points[:seriesLength/2]
	g.merge *= 2
}

// pointOf keeps the worst of some samples: people look for what went wrong.
func pointOf(all []Quality) point {
	var w Quality
	for _, q := range all {
		w.RoundTrip, w.From, w.To = max(w.RoundTrip, q.RoundTrip), worse(w.From, q.From), worse(w.To, q.To)
	}
	p := point{round: small(float64(w.RoundTrip) / float64(time.Millisecond))}
	for i, f := range []Flow{w.From, w.To} {
		p.flow[i].mos, p.flow[i].loss = small(100*f.MOS), small(100*f.Loss)
		p.flow[i].jitter = small(10 * float64(f.Jitter) / float64(time.Millisecond))
	}
	return p
}

func small(v float64) uint16 { return uint16(min(max(v+0.5, 0), 1<<16-1)) }

func (p point) sample(at time.Duration) QualitySample {
	flow := func(i int) Flow {
		f := p.flow[i]
		return Flow{MOS: float64(f.mos) / 100, Loss: float64(f.loss) / 100, Jitter: time.Duration(f.jitter) * time.Millisecond / 10}
	}
	return QualitySample{At: at, RoundTrip: time.Duration(p.round) * time.Millisecond, From: flow(0), To: flow(1)}
}

// Quality is how the session sounds now: its latest sample, or what there is since it began.
func (s *Session) Quality() Quality {
	s.gauge.mu.Lock()
	defer s.gauge.mu.Unlock()
	if len(s.gauge.points) == 0 && len(s.gauge.pending) == 0 {
		return s.sample(false)
	}
	return s.gauge.last
}

// leastRest is how many packets the end of a call must have to count as a sample of its own.
const leastRest = 25

// QualitySummary tells how the session sounded up to now.
func (s *Session) QualitySummary() QualitySummary {
	st := s.Stats()
	g := &s.gauge
	g.mu.Lock()
	defer g.mu.Unlock()
	if st.Received >= g.received+leastRest && s.isDone() {
		g.add(s.sample(true))
	}
	sum := QualitySummary{
		Codec: st.Codec, Worst: g.worst, Received: st.Received, Sent: st.Sent, LostFrom: st.Lost, LostTo: st.RemoteLost,
		DuplicatesAndLate: st.Duplicates + st.Late, Opened: g.opened, Step: time.Duration(g.merge) * sampleEvery,
	}
	mean := func(i int, loss float64) Flow {
		if g.n[i] == 0 {
			return Flow{}
		}
		n := float64(g.n[i])
		return Flow{MOS: g.sum[i].mos / n, Jitter: time.Duration(g.sum[i].jitter / n), Loss: loss}
	}
	sum.Mean.From = mean(0, percent(int64(st.Lost), int64(st.Lost+st.Received)))
	sum.Mean.To = mean(1, percent(int64(st.RemoteLost), int64(max(st.Sent, st.RemoteLost))))
	sum.Mean.Flow = worse(sum.Mean.From, sum.Mean.To)
	if g.round.n > 0 {
		sum.Mean.RoundTrip = g.round.sum / time.Duration(g.round.n)
	}
	points := g.points
	if len(g.pending) > 0 {
		points = append(points[:len(points):len(points)], pointOf(g.pending))
	}
	for i, p := range points {
		sum.Samples = append(sum.Samples, p.sample(time.Duration(i+1)*sum.Step))
	}
	return sum
}
