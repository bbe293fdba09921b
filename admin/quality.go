package admin

import (
	"context"
	"errors"
	"math"
	"time"

	"pbx/admin/contract"
	"pbx/store"
)

// getCallQuality returns how a call sounds or sounded.
func (s *Server) getCallQuality(ctx context.Context, q *request) (reply, error) {
	r, err := s.callRecord(ctx, q)
	if err != nil {
		return reply{}, err
	}
	v := contract.CallQualityDetail{Legs: []contract.LegQuality{}, Faults: []contract.AudioFault{}}
	measured := r.Quality
	if r.EndedAt.IsZero() {
		switch now, err := s.Calls.Quality(q.who.account, r.ID); {
		case err == nil:
			measured, v.Running = now, true
		case !errors.Is(err, store.ErrNotFound):
			return reply{}, err
		}
	}
	if measured == nil {
		return ok(v)
	}
	v.Mos, v.LossPct, v.JitterMs = known(measured.MOS), rounded(measured.LossPct), rounded(measured.JitterMS)
	for i := range measured.Legs {
		v.Legs = append(v.Legs, legQualityView(&measured.Legs[i]))
	}
	for i := range measured.Faults {
		v.Faults = append(v.Faults, faultView(&measured.Faults[i]))
	}
	if !q.who.admin() { // where the phones of others are is nothing that members are told
		for i := range v.Legs {
			v.Legs[i].Remote = ""
		}
		for i := range v.Faults {
			v.Faults[i].Address = nil
		}
	}
	return ok(v)
}

func legQualityView(l *store.LegQuality) contract.LegQuality {
	v := contract.LegQuality{
		Side: contract.LegQualitySide(l.Side), Name: l.Name, Codec: l.Codec, Remote: l.Remote, RoundTripMs: known(l.RoundTripMS),
		From: flowView(&l.From), To: flowView(&l.To), Samples: []contract.QualitySample{},
	}
	step := time.Duration(l.StepS * float64(time.Second))
	for i, p := range l.Points {
		flow := func(at int) contract.FlowSample {
			return contract.FlowSample{Mos: known(float64(p[at]) / 100), LossPct: rounded(float64(p[at+1]) / 100), JitterMs: rounded(float64(p[at+2]) / 10)}
		}
		v.Samples = append(v.Samples, contract.QualitySample{
			At: l.StartedAt.Add(time.Duration(i+1) * step).UTC(), RoundTripMs: known(float64(p[6])), From: flow(0), To: flow(3),
		})
	}
	return v
}

func flowView(f *store.FlowQuality) contract.FlowQuality {
	return contract.FlowQuality{
		Mos: known(f.MOS), WorstMos: known(f.WorstMOS), LossPct: rounded(f.LossPct), WorstLossPct: rounded(f.WorstLossPct),
		JitterMs: rounded(f.JitterMS), WorstJitterMs: rounded(f.WorstJitterMS), Packets: int64(f.Packets), Missed: int64(f.Missed),
	}
}

func faultView(f *store.AudioFault) contract.AudioFault {
	return contract.AudioFault{
		Side: contract.AudioFaultSide(f.Side), Direction: contract.AudioFaultDirection(f.Direction), Class: contract.AudioFaultClass(f.Class),
		Address: &f.Address, BeganAt: f.BeganAt.UTC(), EndedAt: optionalTime(f.EndedAt), Repaired: f.Repaired,
	}
}

// rounded keeps two digits behind the point: more is not measured.
func rounded(v float64) float64 { return math.Round(v*100) / 100 }

// known is nil for 0, which stands for what was not measured.
func known(v float64) *float64 {
	if v <= 0 {
		return nil
	}
	v = rounded(v)
	return &v
}
