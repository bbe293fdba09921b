package call

import (
	"slices"
	"testing"
	"time"

	"pbx/dialplan"
	"pbx/sip"
	"pbx/store"
)

// lampRow is a dialog as a table can say it.
func lampRow(d sip.DialogState) string {
	s := d.State + " " + d.Direction + " " + d.Remote.User
	if d.Leg != nil {
		s += " pickup"
	}
	return s
}

// A call as those see it who watch its people, from the first ring to the end.
func TestLampsOfACall(t *testing.T) {
	users := []store.User{
		{ID: "usr_a", Name: "Alice", Extension: "201", Role: store.Admin},
		{ID: "usr_b", Name: "Bob", Extension: "202"},
		{ID: "usr_c", Name: "Carol", Extension: "203"},
		{ID: "usr_x", Name: "No number"},
	}
	rows := store.NewSnapshot(store.Account{ID: "acc_1"}, users, nil)
	e := NewEngine(Config{Plan: func(a store.ID) (*dialplan.Plan, *store.Snapshot) {
		if a != "acc_1" {
			return nil, nil
		}
		return nil, rows
	}})
	c := e.newCall("acc_1", nil, rows)
	e.board.add(c)
	alice := &Party{Who: identify(rows, "usr_a", "")}
	desk, soft := &Party{Leg: new(sip.Leg), Who: identify(rows, "usr_b", "")}, &Party{Leg: new(sip.Leg), Who: identify(rows, "usr_b", "")}
	carol := &Party{Leg: new(sip.Leg), Who: identify(rows, "usr_c", "")}
	c.caller, c.record.Caller, c.state = alice, alice.Who, "routing"
	e.board.settle(c, []*Party{alice})
	want := func(when string, user store.ID, rows ...string) {
		t.Helper()
		var got []string
		for _, d := range e.Dialogs("acc_1", user) {
			got = append(got, lampRow(d))
		}
		if !slices.Equal(got, rows) {
			t.Errorf("%s: %s is %q, want %q", when, user, got, rows)
		}
		if n := len(e.Dialogs("acc_2", user)); n != 0 {
			t.Errorf("%s: another account sees %d dialogs", when, n)
		}
	}
	c.record.Callee = desk.Who
	want("routing", "usr_a", "trying initiator 202")
	c.state = "ringing"
	want("sent", "usr_a", "early initiator 202")
	want("sent", "usr_b")
	for _, p := range []*Party{desk, soft, carol} {
		if !e.board.ring(c, p) || e.board.ring(c, p) {
			t.Error("a phone rings twice or never")
		}
	}
	want("ringing", "usr_b", "early recipient 201 pickup") // two phones, one dialog
	want("ringing", "usr_c", "early recipient 201 pickup")
	if got := c.watched(); len(got) != 3 {
		t.Errorf("lamps of %v show the call, want three", got)
	}
	id := e.Dialogs("acc_1", "usr_b")[0].ID
	e.board.quiet(desk)
	e.board.quiet(carol)
	e.board.settle(c, []*Party{alice, soft})
	c.callee, c.record.AnsweredAt, c.state = soft, time.Now(), "talking"
	want("talking", "usr_a", "confirmed initiator 202")
	want("talking", "usr_b", "confirmed recipient 201")
	want("talking", "usr_c")
	if got := e.Dialogs("acc_1", "usr_b")[0].ID; got != id {
		t.Errorf("the dialog was %s and is %s", id, got)
	}
	if got := c.watched(); len(got) != 3 { // Carol's goes dark
		t.Errorf("lamps of %v change, want three", got)
	}
	if got := c.watched(); len(got) != 2 {
		t.Errorf("lamps of %v show the call, want two", got)
	}
	other := e.newCall("acc_1", nil, rows)
	e.board.add(other)
	if !e.board.Take(soft, other) {
		t.Fatal("not taken")
	}
	want("moved", "usr_b", "confirmed recipient anonymous")
	e.board.remove(c)
	e.board.remove(other)
	want("over", "usr_a")
	want("over", "usr_b")
	if n := len(e.board.seats) + len(e.board.users) + len(e.board.crews); n != 0 {
		t.Errorf("%d seats left", n)
	}

	if p, ok := e.Person("acc_1", "201"); !ok || p != (sip.Person{ID: "usr_a", Extension: "201", Name: "Alice", Admin: true}) {
		t.Errorf("201 is %+v", p)
	}
	if _, ok := e.Person("acc_2", "201"); ok {
		t.Error("another account has 201 too")
	}
	if p, ok := e.PersonOf("acc_1", "usr_x"); !ok || p.Name != "No number" {
		t.Errorf("usr_x is %+v", p)
	}
	if all := e.People("acc_1"); len(all) != 3 || all[0].Extension != "201" {
		t.Errorf("people are %+v", all)
	}
}
