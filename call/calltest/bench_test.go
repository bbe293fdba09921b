package calltest_test

import (
	"fmt"
	"sync"
	"testing"

	"pbx/call/calltest"
)

// BenchmarkCallSetup places calls through the whole house in memory: INVITE with digest, routing,
// the record in the database, ringing, answer, sound joined, BYE. Forty pairs of phones call at once.
func BenchmarkCallSetup(b *testing.B) {
	h := newHouse(b)
	ctx := b.Context()
	const pairs = 40
	work := make(chan struct{})
	var people sync.WaitGroup
	var phones []*calltest.Phone
	for i := range pairs {
		x, y := h.user(fmt.Sprintf("x%d", i), fmt.Sprint(200+2*i), nil), h.user(fmt.Sprintf("y%d", i), fmt.Sprint(201+2*i), nil)
		caller, callee := h.phone(x.Name, &x, calltest.PhoneConfig{}, false), h.phone(y.Name, &y, calltest.PhoneConfig{}, false)
		phones = append(phones, caller, callee)
		people.Go(func() {
			for range work {
				out, err := caller.Call(ctx, y.Extension)
				if err != nil {
					b.Error(err)
					return
				}
				in, err := callee.Next(ctx)
				if err == nil {
					err = in.Answer(ctx)
				}
				if err != nil {
					b.Error(err)
					return
				}
				<-out.Answered()
				if err := out.Bye(ctx); err != nil {
					b.Error(err)
				}
				<-in.Done()
			}
		})
	}
	for b.Loop() {
		work <- struct{}{}
	}
	close(work)
	people.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	for _, p := range phones {
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	}
	h.close()
}
