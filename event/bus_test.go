package event

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pbx/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func item(i int) News { return News{Kind: CallStarted, Account: "acc_1", Data: i} }

// next reads one item that must be there already.
func next(t *testing.T, r *Reader) News {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n, err := r.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNewsInOrder(t *testing.T) {
	b := NewBus()
	b.Publish(item(0))
	r, from := b.Reader(), b.ReaderAfter(0)
	b.Publish()
	b.Publish(item(1), item(2))
	if got := b.Seq(); got != 3 {
		t.Errorf("sequence %d, want 3", got)
	}
	for i := 1; i <= 2; i++ {
		if n := next(t, r); n.Data != i || n.Seq != uint64(i+1) || n.Time.IsZero() {
			t.Errorf("got %+v, want item %d", n, i)
		}
	}
	for i := range 3 {
		if n := next(t, from); n.Data != i {
			t.Errorf("resumed: got %+v, want item %d", n, i)
		}
	}
	when := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b.Publish(News{Time: when})
	if n := next(t, r); !n.Time.Equal(when) {
		t.Errorf("the time of the publisher was changed to %v", n.Time)
	}
}

func TestReaderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus()
		r := b.Reader()
		go func() {
			time.Sleep(time.Hour)
			b.Publish(item(1))
		}()
		start := time.Now()
		n, err := r.Next(t.Context())
		if err != nil || n.Data != 1 || time.Since(start) != time.Hour {
			t.Errorf("got %+v, %v after %v", n, err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestLag(t *testing.T) {
	b := NewBus()
	r := b.Reader()
	for i := range ringSize {
		b.Publish(item(i))
	}
	if n := next(t, r); n.Data != 0 {
		t.Errorf("the oldest item in the ring was lost: %+v", n)
	}
	b.Publish(item(ringSize)) // the reader is at 1, which is still there
	if n := next(t, r); n.Data != 1 {
		t.Errorf("got %+v", n)
	}
	for i := range 2 * ringSize {
		b.Publish(item(i))
	}
	if _, err := r.Next(t.Context()); !errors.Is(err, ErrLagged) {
		t.Errorf("got %v, want lagged", err)
	}
	b.Publish(item(-1))
	if n := next(t, r); n.Data != -1 {
		t.Errorf("after the lag: %+v", n)
	}
	future := b.ReaderAfter(b.Seq() + 10) // a browser that remembers another life of the process
	if _, err := future.Next(t.Context()); !errors.Is(err, ErrLagged) {
		t.Errorf("future: got %v, want lagged", err)
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus()
		late, waiting := b.Reader(), b.Reader()
		b.Publish(item(1))
		next(t, waiting)
		ended := make(chan error)
		go func() {
			_, err := waiting.Next(t.Context())
			ended <- err
		}()
		synctest.Wait()
		b.Close()
		b.Close()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("a waiting reader: %v", err)
		}
		if n := next(t, late); n.Data != 1 {
			t.Errorf("what was published before the end: %+v", n)
		}
		if _, err := late.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("a reader at the end: %v", err)
		}
		b.Publish(item(2))
		if b.Seq() != 1 {
			t.Error("published after the end")
		}
	})
}

// TestManyReadersAndWriters lets all of them run at once: every reader sees every item once, and each writer's in order.
func TestManyReadersAndWriters(t *testing.T) {
	const writers, each, readers = 4, ringSize / 4, 8
	b := NewBus()
	var wg sync.WaitGroup
	for range readers {
		r := b.Reader()
		wg.Go(func() {
			last := make(map[store.ID]int)
			for seq := uint64(1); ; seq++ {
				n, err := r.Next(context.Background())
				if errors.Is(err, ErrClosed) {
					if seq != writers*each+1 {
						t.Errorf("a reader saw %d items", seq-1)
					}
					return
				}
				if err != nil || n.Seq != seq || n.Data != last[n.Account] {
					t.Errorf("item %d: %+v, %v", seq, n, err)
					return
				}
				last[n.Account]++
			}
		})
	}
	var publishing sync.WaitGroup
	for w := range writers {
		publishing.Go(func() {
			for i := range each {
				b.Publish(News{Kind: CallChanged, Account: store.ID(fmt.Sprint(w)), Data: i})
			}
		})
	}
	publishing.Wait()
	b.Close()
	wg.Wait()
}

func BenchmarkPublish(b *testing.B) {
	bus := NewBus()
	for b.Loop() {
		bus.Publish(item(1))
	}
}
