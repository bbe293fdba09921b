package call

import (
	"sync"
	"testing"

	"pbx/store"
)

func testCall(b *Board, id store.ID) *Call {
	c := &Call{id: id, wishes: make(chan Wish, maxWishes)}
	b.add(c)
	return c
}

func TestBoardTake(t *testing.T) {
	b := newBoard()
	from, to := testCall(b, "cal_1"), testCall(b, "cal_2")
	p := &Party{}
	if b.Take(p, to) {
		t.Fatal("took a party that is in no call")
	}
	b.settle(from, []*Party{p})
	if b.Take(p, from) {
		t.Fatal("took a party from the call it is in to that call")
	}
	if !b.Take(p, to) || b.Home(p) != to {
		t.Fatal("party did not move")
	}
	if w, ok := (<-from.wishes).(left); !ok || w.party != p {
		t.Fatal("the call that lost the party was not told which")
	}
	if b.release(from, p) {
		t.Fatal("the former call may hang up a party that moved on")
	}
	if !b.release(to, p) || b.Home(p) != nil {
		t.Fatal("the present call may not hang up its own party")
	}
}

// TestBoardTakeOnce lets two calls want one party: one gets it, the other is told no.
func TestBoardTakeOnce(t *testing.T) {
	for range 200 {
		b := newBoard()
		from := testCall(b, "cal_0")
		p := &Party{}
		b.settle(from, []*Party{p})
		var took [2]bool
		var both sync.WaitGroup
		takers := []*Call{testCall(b, "cal_1"), testCall(b, "cal_2")}
		for i, c := range takers {
			both.Go(func() { took[i] = b.Take(p, c) })
		}
		both.Wait()
		home := b.Home(p)
		if !took[0] && !took[1] || home != takers[0] && home != takers[1] {
			t.Fatalf("took %v, home is %v", took, home.id)
		}
		// Who took it first may have lost it to the other, and then was told.
		told := 0
		for _, c := range append(takers, from) {
			told += len(c.wishes)
		}
		taken := 0
		for _, ok := range took {
			if ok {
				taken++
			}
		}
		if told != taken {
			t.Fatalf("%d moves, %d calls told", taken, told)
		}
	}
}

func TestBoardTakeFromDeafCall(t *testing.T) {
	b := newBoard()
	from, to := testCall(b, "cal_1"), testCall(b, "cal_2")
	p := &Party{}
	b.settle(from, []*Party{p})
	for range maxWishes {
		from.ask(left{&Party{}})
	}
	if b.Take(p, to) || b.Home(p) != from {
		t.Fatal("took a party from a call that could not be told")
	}
}

func TestBoardOf(t *testing.T) {
	b := newBoard()
	for _, id := range []store.ID{"cal_3", "cal_1", "cal_2"} {
		testCall(b, id).account = "acc_a"
	}
	testCall(b, "cal_0").account = "acc_b"
	calls := b.of("acc_a")
	if len(calls) != 3 || calls[0].id != "cal_1" || calls[2].id != "cal_3" {
		t.Fatalf("board lists %v", calls)
	}
	b.remove(calls[0])
	if b.count() != 3 || b.call("cal_1") != nil {
		t.Fatal("an ended call is still on the board")
	}
}
