package calltest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pbx/event"
	"pbx/store"
)

// TestCallQuality: a call that somebody looks at tells every five seconds how it sounds, one that nobody looks at does
// not, and the record keeps the figures of both legs.
func TestCallQuality(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t)
		s.play("phones alice 201 bob 202\nalice calls bob;  bob answers after 1s;  alice hears bob")
		id := s.h.engine.Calls(s.h.account)[0].ID
		if _, err := s.h.engine.Quality("acc_other", id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("of another account: %v", err)
		}
		samples := func() (n int, last event.Quality) {
			for r := s.h.bus.ReaderAfter(0); r != nil; {
				news, err := r.Next(done())
				if err != nil {
					return n, last
				}
				if q, is := news.Data.(event.Quality); is && news.Kind == event.CallQuality {
					n, last = n+1, q
					if len(news.Users) != 2 {
						t.Errorf("told to %v", news.Users)
					}
				}
			}
			return n, last
		}
		s.play("wait 11s")
		if n, _ := samples(); n != 0 {
			t.Errorf("%d samples though nobody looks", n)
		}
		for range 2 { // asking twice is no reason to tell twice
			if _, err := s.h.engine.Quality(s.h.account, id); err != nil {
				t.Fatal(err)
			}
		}
		s.play("wait 21s")
		n, last := samples()
		if n != 4 || len(last.Legs) != 2 || last.CallID != id {
			t.Errorf("%d samples, the last %+v", n, last)
		}
		for i, side := range []string{"caller", "callee"} {
			if l := last.Legs[i]; l.Side != side || l.From.MOS < 4.3 || l.To.MOS != 0 && l.To.MOS < 4.3 || l.Codec == "" { // phones report when chance says so (RFC 3550 §6.3.1): 0 before the first report
				t.Errorf("%+v", l)
			}
		}
		s.play("wait 60s")
		if again, _ := samples(); again > 7 {
			t.Errorf("%d samples, long after anybody looked", again)
		}
		if live := s.h.engine.Calls(s.h.account)[0]; live.MOS < 4.3 || len(live.Faults) != 0 {
			t.Errorf("live: score %.2f, faults %v", live.MOS, live.Faults)
		}
		s.play("alice hangs up;  bob has no calls;  record: answered, alice → bob")
		r, err := s.h.db.CallRecord(t.Context(), s.h.account, id)
		if err != nil || r.Quality == nil {
			t.Fatalf("record %+v, %v", r, err)
		}
		q := r.Quality
		if q.MOS < 4.3 || q.LossPct > 0.5 || len(q.Legs) != 2 || len(q.Faults) != 0 {
			t.Errorf("record: %+v", q)
		}
		for i, l := range q.Legs {
			if l.Side != []string{"caller", "callee"}[i] || l.From.Packets < 4000 || len(l.Points) < 15 || l.Points[5][0] < 430 {
				t.Errorf("leg %+v", l)
			}
		}
		s.finish()
	})
}

// TestCallTrouble: a phone that falls silent marks the call within 3 s, for those who look and in the record.
func TestCallTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t)
		s.play("phones alice 201 bob 202\nalice calls bob;  bob answers after 1s;  alice hears bob;  wait 3s;  bob vanishes")
		before, news := time.Now(), s.h.bus.Reader()
		for {
			n, err := news.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n.Kind != event.CallTrouble {
				continue
			}
			faults := n.Data.(event.Call).Faults
			if len(faults) != 1 || faults[0].Side != "callee" || faults[0].Direction != "from" || faults[0].Class != "nothing" {
				t.Errorf("%+v", faults)
			}
			break
		}
		if took := time.Since(before); took > 3100*time.Millisecond {
			t.Errorf("found after %v", took)
		}
		id := s.h.engine.Calls(s.h.account)[0].ID
		s.play("alice hangs up;  alice has no calls;  wait 40s")
		r, err := s.h.db.CallRecord(t.Context(), s.h.account, id)
		if err != nil || r.Quality == nil || len(r.Quality.Faults) != 1 {
			t.Fatalf("record %+v, %v", r, err)
		}
		if f := r.Quality.Faults[0]; f.Side != "callee" || f.Class != "nothing" || !f.EndedAt.IsZero() {
			t.Errorf("%+v", f)
		}
		s.finish()
	})
}

// done is a context that has ended: what is read with it must be there already.
func done() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
