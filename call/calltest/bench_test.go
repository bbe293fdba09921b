package calltest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"pbx/call/calltest"
)

// BenchmarkCallSetup places calls through the whole house in memory: INVITE with digest, routing,
// the record in the database, ringing, answer, sound joined, BYE. A hundred and twenty pairs of phones call at once.
func BenchmarkCallSetup(b *testing.B) {
	h := newHouse(b)
	ctx := b.Context()
	const pairs = 120
	type pair struct {
		caller, callee *calltest.Phone
		number         string
	}
	idle := make(chan pair, pairs)
	for i := range pairs {
		x, y := h.user(fmt.Sprintf("x%d", i), fmt.Sprint(200+2*i), nil), h.user(fmt.Sprintf("y%d", i), fmt.Sprint(201+2*i), nil)
		idle <- pair{h.phone(x.Name, &x, calltest.PhoneConfig{}, false), h.phone(y.Name, &y, calltest.PhoneConfig{}, false), y.Extension}
	}
	b.SetParallelism(max(pairs/runtime.GOMAXPROCS(0), 1))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p := <-idle
			if err := setUp(ctx, p.caller, p.callee, p.number); err != nil {
				b.Error(err)
			}
			idle <- p
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.StopTimer()
	close(idle)
	for p := range idle {
		if err := errors.Join(p.caller.Close(), p.callee.Close()); err != nil {
			b.Error(err)
		}
	}
	h.close()
}

// setUp places one call and ends it.
func setUp(ctx context.Context, caller, callee *calltest.Phone, number string) error {
	out, err := caller.Call(ctx, number)
	if err != nil {
		return err
	}
	in, err := callee.Next(ctx)
	if err != nil {
		return err
	}
	if err := in.Answer(ctx); err != nil {
		return err
	}
	<-out.Answered()
	if err := out.Bye(ctx); err != nil {
		return err
	}
	<-in.Done()
	return nil
}
