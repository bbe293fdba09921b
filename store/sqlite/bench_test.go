package sqlite

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pbx/store"
)

// crowd makes an office of n more users with a telephone each.
func (h *house) crowd(n int) (account store.ID, users []store.ID) {
	h.t.Helper()
	h.update("", func(tx *Tx) error {
		a := newAccount("Crowd")
		a.ExtensionLength = 4
		if err := tx.CreateAccount(a); err != nil {
			return err
		}
		account = a.ID
		for i := range n {
			u := newUser(fmt.Sprint("User ", i), fmt.Sprintf("u%d@example.com", i), fmt.Sprint(1000+i), store.Admin)
			if err := tx.CreateUser(u); err != nil {
				return err
			}
			if err := tx.CreateDevice(newPhone(fmt.Sprint("Phone ", i), fmt.Sprintf("001565%06d", i), u.ID)); err != nil {
				return err
			}
			users = append(users, u.ID)
		}
		return nil
	})
	return account, users
}

func BenchmarkSaveUser(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n, "users"), func(b *testing.B) {
			h := openHouse(b, b.TempDir())
			account, users := h.crowd(n)
			for i := 0; b.Loop(); i++ {
				h.update(account, func(tx *Tx) error {
					u, err := tx.User(users[i%n])
					u.DoNotDisturb = !u.DoNotDisturb
					return errors.Join(err, tx.SaveUser(&u, 0))
				})
			}
		})
	}
}

func BenchmarkCall(b *testing.B) {
	call := func(h *house, account store.ID) error {
		r := &store.CallRecord{ID: store.NewID(store.PrefixCall), AccountID: account, StartedAt: now(), Outcome: store.OutcomeOngoing}
		return errors.Join(h.StartCall(context.Background(), r), h.SaveCall(context.Background(), r))
	}
	b.Run("alone", func(b *testing.B) {
		h := openHouse(b, b.TempDir())
		account, _ := h.crowd(1)
		for b.Loop() {
			must(b, call(h, account))
		}
	})
	b.Run("many", func(b *testing.B) { // they share commits
		h := openHouse(b, b.TempDir())
		account, _ := h.crowd(1)
		b.SetParallelism(50)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := call(h, account); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkSaveBindings100(b *testing.B) {
	h := openHouse(b, b.TempDir())
	account, _ := h.crowd(100)
	var put []store.Binding
	for _, d := range h.Snapshot(account).Devices {
		put = append(put, bindingOf(d.Lines[0]))
	}
	for b.Loop() {
		must(b, h.SaveBindings(context.Background(), put, nil))
	}
}

func BenchmarkOpen1000Users(b *testing.B) {
	dir := b.TempDir()
	h := openHouse(b, dir)
	h.crowd(1000)
	must(b, h.Close())
	for b.Loop() {
		db, err := Open(context.Background(), Options{Dir: dir})
		must(b, err)
		must(b, db.Close())
	}
}

func BenchmarkSnapshotLine(b *testing.B) {
	h := openHouse(b, b.TempDir())
	account, _ := h.crowd(1000)
	name := h.Snapshot(account).Devices[500].Lines[0].Username
	for b.Loop() {
		if _, ok := h.Line(name); !ok {
			b.Fatal("not found")
		}
	}
}
