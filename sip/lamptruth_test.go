package sip_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"pbx/event"
	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// crowd adds users with extensions from 300 and returns their names.
func (w *world) crowd(n int) []string {
	var all []string
	for i := range n {
		name := fmt.Sprintf("user%d", i)
		w.dir.set(line(name))
		w.lamps.mu.Lock()
		w.lamps.people = append(w.lamps.people, sip.Person{ID: store.ID("usr_" + name), Extension: fmt.Sprint(300 + i), Name: name})
		w.lamps.mu.Unlock()
		all = append(all, name)
	}
	return all
}

// shownBy is the state that a document shows, in the words of LampView.
func shownBy(d dialogDoc) string {
	for _, x := range d.Dialogs {
		switch {
		case x.State == "early":
			return "ringing"
		case x.State == "confirmed":
			return "busy"
		}
	}
	return "idle"
}

// N-10: one NOTIFY of twenty is lost for ten minutes, with a hundred lamps. No lamp differs for longer than five
// seconds, and each repair is counted.
func TestLampsUnderLoss(t *testing.T) {
	bubble(t, func(w *world) {
		const lamps, watchers = 100, 4
		users := w.crowd(lamps)
		type lamp struct {
			watch *siptest.Watch
			user  int
			wrong time.Time // since when it shows something else
			seen  int
			shows string
		}
		var all []*lamp
		for i := range watchers {
			p := w.phone("alice", func(c *siptest.PhoneConfig) { c.Local = addrPort(aliceAddr, 5060+uint16(i)) })
			if err := p.Register(w.ctx, time.Hour); err != nil {
				t.Fatal(err)
			}
			for u := i; u < lamps; u += watchers {
				watch, _ := w.watch(p, fmt.Sprint(300+u))
				all = append(all, &lamp{watch: watch, user: u})
			}
		}
		w.settled()
		chance, luck := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(3, 4)) // luck is the network's
		var lossy atomic.Bool
		var lost atomic.Int64
		lossy.Store(true)
		w.net.Drop(func(m siptest.Message) bool {
			if lossy.Load() && m.Method == "NOTIFY" && m.Status == 0 && luck.IntN(20) == 0 {
				lost.Add(1)
				return true
			}
			return false
		})
		want := make([]string, lamps)
		for i := range want {
			want[i] = "idle"
		}
		longest, changes := time.Duration(0), 0
		look := func() {
			for _, l := range all {
				if n, _, count := l.watch.Last(); count != l.seen {
					l.seen, l.shows = count, shownBy(readDialogs(t, n))
				}
				if l.shows == want[l.user] {
					l.wrong = time.Time{}
				} else if l.wrong.IsZero() {
					l.wrong = time.Now()
				} else {
					longest = max(longest, time.Since(l.wrong))
				}
			}
		}
		before := w.server.Stats().LampRepairs
		for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); {
			u := chance.IntN(lamps)
			states := map[string][]sip.DialogState{"idle": nil, "busy": {confirmed("c")}, "ringing": {{ID: "c", Direction: "recipient", State: "early"}}}
			for name, s := range states {
				if name != want[u] {
					want[u] = name
					w.busy(users[u], s...)
					break
				}
			}
			changes++
			time.Sleep(150 * time.Millisecond)
			look()
		}
		lossy.Store(false)
		time.Sleep(5 * time.Second)
		look()
		repairs := int(w.server.Stats().LampRepairs - before)
		t.Logf("%d changes, %d of their NOTIFY lost, %d repairs, no lamp wrong for longer than %v", changes, lost.Load(), repairs, longest)
		if longest > 5*time.Second {
			t.Errorf("a lamp was wrong for %v", longest)
		}
		if int64(repairs) != lost.Load() || repairs < 150 {
			t.Errorf("%d NOTIFY lost, %d repairs counted", lost.Load(), repairs)
		}
		sum := 0
		views := w.server.LampTruth("acc_1")
		for _, v := range views {
			if v.Package == "dialog" {
				sum += v.Repairs
				if !v.Right() || v.SentAt.IsZero() || v.Since.Before(v.SentAt) {
					t.Errorf("lamp is not right: %+v", v)
				}
			}
		}
		if sum != repairs || len(views) != lamps {
			t.Errorf("%d lamps count %d repairs, want %d and %d", len(views), sum, lamps, repairs)
		}
	})
}

// A phone that is registered but hears nothing for a while gets its lamps right when it is back; it is not flooded
// meanwhile; and the truth is told all the time.
func TestLampsOfASilentPhone(t *testing.T) {
	bubble(t, func(w *world) {
		users := w.crowd(30)
		alice := w.registered("alice")
		var watches []*siptest.Watch
		for i := range users {
			watch, _ := w.watch(alice, fmt.Sprint(300+i))
			watches = append(watches, watch)
		}
		w.settled()
		alice.Vanish()
		var sent atomic.Int64
		w.net.Drop(func(m siptest.Message) bool {
			if m.Method == "NOTIFY" && m.Status == 0 {
				sent.Add(1)
			}
			return false
		})
		for _, u := range users {
			w.busy(u, confirmed("c"))
		}
		time.Sleep(10 * time.Minute)
		if n := sent.Load(); n > 120 {
			t.Errorf("%d NOTIFY to a phone that answers nothing", n)
		}
		for _, v := range w.server.LampTruth("acc_1") {
			if v.Package == "dialog" && (v.Right() || v.Believed != "busy" || v.Acknowledged && v.Sent != "idle") {
				t.Errorf("the phone heard nothing, yet: %+v", v)
			}
		}
		alice.Return()
		time.Sleep(time.Minute)
		for i, watch := range watches {
			if n, _, _ := watch.Last(); shownBy(readDialogs(t, n)) != "busy" {
				t.Errorf("lamp %d shows %s", i, n.Body)
			}
		}
		for _, v := range w.server.LampTruth("acc_1") {
			if v.Package == "dialog" && (!v.Right() || v.Repairs > 80) {
				t.Errorf("the phone is back, yet: %+v", v)
			}
		}
		if w.server.RepairLamp("acc_2", w.server.LampTruth("acc_1")[0].ID) || w.server.RepairLamp("acc_1", "nothing") {
			t.Error("repaired what is not there")
		}
		_, _, before := watches[0].Last()
		for _, v := range w.server.LampTruth("acc_1") {
			if v.Watched == "sip:300@pbx.test" && !w.server.RepairLamp("acc_1", v.ID) {
				t.Error("not repaired")
			}
		}
		w.settled()
		if _, _, after := watches[0].Last(); after != before+1 {
			t.Errorf("%d notices after a repair, want one more than %d", after, before)
		}
	})
}

// A phone that came up at another address is told there, and one that is not registered any more is given up.
func TestLampsOfAPhoneThatMoves(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		w.watch(alice, "202")
		w.settled()
		alice.Vanish()
		moved := w.phone("alice", func(c *siptest.PhoneConfig) { c.Local = addrPort(aliceAddr, 5070) })
		if err := moved.Register(w.ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		heard := make(chan netip.AddrPort, 100)
		w.net.Drop(func(m siptest.Message) bool {
			if m.Method == "NOTIFY" && m.Status == 0 {
				heard <- m.To
			}
			return false
		})
		w.busy("bob", confirmed("c"))
		for to := range heard {
			if to == moved.Addr() {
				break
			}
		}
		if err := moved.Unregister(w.ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// News that were missed are caught up with.
func TestLampsAfterLag(t *testing.T) {
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		watch, _ := w.watch(alice, "202")
		w.settled()
		w.lamps.mu.Lock()
		w.lamps.dialogs["usr_bob"] = []sip.DialogState{confirmed("c")}
		w.lamps.mu.Unlock()
		news := make([]event.News, 2000)
		for i := range news {
			news[i] = event.News{Kind: event.ActivityAdded, Account: "acc_1", Data: event.Object{Type: "x"}}
		}
		w.bus.Publish(news...)
		if d := readDialogs(t, within(t, time.Second, watch.Notices(), "news")); shownBy(d) != "busy" {
			t.Errorf("shown is %+v", d)
		}
	})
}
