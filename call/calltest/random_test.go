package calltest_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pbx/call/calltest"
	"pbx/sip/siptest"
	"pbx/store"
)

var (
	seed        = flag.Uint64("seed", 1, "of the random calls")
	randomCalls = flag.Int("calls", 200, "how many random calls; R-17 wants 10000, which take minutes")
)

// TestRandomCalls lets phones do whatever comes to mind while one message in twenty is lost:
// in the end no call, leg or sound is left, and each call has one record with an end and a reason.
func TestRandomCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		var phones []*calltest.Phone
		for i := range 12 {
			u := h.user(fmt.Sprintf("user%d", i), fmt.Sprint(201+i), func(u *store.User) {
				u.Voicemail.Enabled = i%3 == 0
				u.RingTimeout = 10 * time.Second
			})
			for n := range 1 + i%2 {
				c := calltest.PhoneConfig{Voice: 300 + 50*float64(len(phones))}
				if len(phones)%4 == 3 {
					c.Transport = "tcp"
				}
				phones = append(phones, h.phone(fmt.Sprintf("phone%d-%d", i, n), &u, c, len(phones)%5 == 4))
			}
		}
		chance := rand.New(rand.NewPCG(*seed, 0))
		var mu sync.Mutex
		h.net.Drop(func(m siptest.Message) bool {
			mu.Lock()
			defer mu.Unlock()
			return m.From.Port() == 5060 && m.To.Port() == 5060 && chance.Float64() < 0.05 // TCP loses nothing
		})

		var placed atomic.Int64
		ctx, quit := context.WithCancel(t.Context())
		var people, callers sync.WaitGroup
		var crowd crowd
		for i, p := range phones {
			people.Go(func() { crowd.receive(ctx, p, rand.New(rand.NewPCG(*seed, uint64(1000+i)))) })
			callers.Go(func() {
				r := rand.New(rand.NewPCG(*seed, uint64(i+1)))
				for placed.Add(1) <= int64(*randomCalls) {
					crowd.place(ctx, p, r)
				}
			})
		}
		var originated int64
		people.Go(func() { originated = administer(ctx, h, rand.New(rand.NewPCG(*seed, 5000))) })
		callers.Wait()
		quit()
		people.Wait()

		err := until(5*time.Minute, func() error {
			if n, legs, sounds := h.engine.Count(), h.sip.Stats().Legs, h.media.Stats().Sessions; n+legs+sounds > 0 {
				return fmt.Errorf("left: %d calls, %d legs, %d sounds", n, legs, sounds)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		outcomes, moves := make(map[store.Outcome]int), make(map[string]int)
		records := h.records()
		for _, r := range records {
			outcomes[r.Outcome]++
			for _, cause := range []string{"transferred", "took the call"} {
				if strings.HasPrefix(r.HangupCause, cause) {
					moves[cause]++
				}
			}
			for _, reason := range r.Route {
				if reason.Rule == "transfer" {
					moves["sent on"]++
				}
			}
			if r.EndedAt.IsZero() || r.Outcome == store.OutcomeOngoing || r.HangupCause == "" {
				t.Errorf("record without an end: %s", inShort(r))
			}
		}
		if got := h.incoming.Load() + originated; int64(len(records)) != got {
			t.Errorf("%d calls left %d records", got, len(records))
		}
		if len(records) < *randomCalls*9/10 {
			t.Errorf("of %d calls only %d arrived", *randomCalls, len(records))
		}
		if outcomes[store.OutcomeAnswered] == 0 || outcomes[store.OutcomeCancelled] == 0 || outcomes[store.OutcomeNoAnswer] == 0 {
			t.Errorf("not random enough: %v", outcomes)
		}
		if len(moves) != 3 {
			t.Errorf("too little was moved: %v", moves)
		}
		t.Logf("%d calls: %v, %v", len(records), outcomes, moves)
		for _, p := range phones {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		h.close()
	})
}

// pause waits up to so many seconds.
func pause(r *rand.Rand, seconds float64) {
	<-time.After(time.Duration(r.Float64() * seconds * float64(time.Second)))
}

// place makes one call and ends it somehow.
func (o *crowd) place(ctx context.Context, p *calltest.Phone, r *rand.Rand) {
	pause(r, 5)
	number := fmt.Sprint(201 + r.IntN(13)) // one of them nobody has
	switch r.IntN(12) {
	case 0:
		number = "*43"
	case 1:
		number = "*97"
	}
	c, err := p.Call(ctx, number)
	if r.IntN(4) == 0 { // what rings elsewhere is picked up, or too late for that
		if of := o.any(r); of != nil {
			c.HangUp()
			c, err = p.CallWith(ctx, number, "Replaces: "+of.Replaces())
		}
	}
	if err != nil {
		return
	}
	o.fiddle(ctx, p, c, r)
	c.HangUp()
	select {
	case <-c.Done():
	case <-time.After(70 * time.Second):
		// The phone's own last words were lost too; the house must cope without them.
	}
}

// administer ends calls and starts some from the portal until ctx ends. It returns how many it started.
func administer(ctx context.Context, h *house, r *rand.Rand) (started int64) {
	users := h.db.Snapshot(h.account).Users
	for ctx.Err() == nil {
		pause(r, 20)
		if calls := h.engine.Calls(h.account); len(calls) > 0 && r.IntN(2) == 0 {
			_ = h.engine.HangUp(h.account, calls[r.IntN(len(calls))].ID) // it may have ended meanwhile
			continue
		}
		if _, err := h.engine.Originate(ctx, h.account, users[r.IntN(len(users))].ID, fmt.Sprint(201+r.IntN(13))); err == nil {
			started++
		}
	}
	return started
}

// fiddle holds, resumes, transfers and presses keys for a while, if the call is up.
func (o *crowd) fiddle(ctx context.Context, p *calltest.Phone, c *calltest.Call, r *rand.Rand) {
	for range r.IntN(4) {
		pause(r, 8)
		if over(c) {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		switch r.IntN(8) {
		case 0:
			_ = c.Hold(ctx)
		case 1:
			_ = c.HoldOld(ctx)
		case 2:
			_ = c.Resume(ctx)
		case 3:
			_ = c.Press(ctx, "12#")
		case 4:
			_ = c.SendInfo(ctx, '5')
		case 5:
			_, _ = c.Refer(ctx, fmt.Sprint(201+r.IntN(13)))
		case 6, 7:
			o.consult(ctx, p, c, r)
		}
		cancel()
	}
	pause(r, 8)
}

// consult calls somebody else and transfers the call to them, before or after they answer; or not at all.
func (o *crowd) consult(ctx context.Context, p *calltest.Phone, c *calltest.Call, r *rand.Rand) {
	other, err := p.Call(ctx, fmt.Sprint(201+r.IntN(13)))
	if err != nil {
		return
	}
	pause(r, 6)
	if r.IntN(5) > 0 {
		_, _ = c.ReferInto(ctx, other.Line)
		pause(r, 3)
	}
	other.HangUp()
}

// crowd is what the phones know of each other: which calls rang lately.
type crowd struct {
	mu   sync.Mutex
	rang []*calltest.Call
}

func (o *crowd) rings(c *calltest.Call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rang = append(o.rang, c)
}

// any returns one of the latest calls that rang; it may be answered or over by now.
func (o *crowd) any(r *rand.Rand) *calltest.Call {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.rang); n > 0 {
		return o.rang[n-1-r.IntN(min(n, 4))]
	}
	return nil
}

// receive answers, refuses or ignores what comes in until ctx ends.
func (o *crowd) receive(ctx context.Context, p *calltest.Phone, r *rand.Rand) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		c, err := p.Next(ctx)
		if err != nil {
			return
		}
		r := rand.New(rand.NewPCG(r.Uint64(), 0))
		calls.Go(func() {
			_ = c.Ring(false)
			o.rings(c)
			pause(r, 4)
			switch r.IntN(8) {
			case 0:
				_ = c.Refuse(486)
			case 1:
				_ = c.Refuse(603)
			case 2, 3: // not at home
				select {
				case <-c.Done():
				case <-time.After(time.Minute):
				}
			default:
				answering, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
				defer cancel()
				if c.Answer(answering) == nil {
					o.fiddle(answering, p, c, r)
				}
				c.HangUp()
			}
		})
	}
}
