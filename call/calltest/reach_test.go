package calltest_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pbx/store"
	"pbx/store/sqlite"
)

// reachVerbs are what scripts say of how people are reached.
var reachVerbs = []verb{
	{pattern(`group (\w+) (\d+) (\w+) (\S+): (.*?)(?: else (\S+))?`), (*scenario).addGroup},
	{pattern(`box (\w+) (\d+)(?: pin (\d+))?: (.*)`), (*scenario).addBox},
	{pattern(`codes (\S+) (\S+)`), (*scenario).setCode},
	{pattern(`(\w+) forwards (always|busy|no_answer|unreachable) to (\S+)`), (*scenario).forwards},
	{pattern(`(\w+) is looked for: (.*?)(?: else (\S+))?`), (*scenario).lookedFor},
	{pattern(`(\w+) takes one call at a time`), (*scenario).oneCall},
	{pattern(`(\w+) refuses the nameless`), (*scenario).refusesNameless},
	{pattern(`(\w+) has (\S+) under (\d+)`), (*scenario).speedDial},
	{pattern(`(\w+) picks up in (\w+)`), (*scenario).pickupGroup},

	{pattern(`portal parks`), (*scenario).portalParks},
	{pattern(`it is time to wake (somebody|nobody)`), func(s *scenario, ctx context.Context, w []string) error {
		if w[0] == "somebody" {
			s.dialed++
		}
		return s.h.engine.WakeUp(ctx, time.Now())
	}},
	{pattern(`one more call is recorded`), func(s *scenario, _ context.Context, _ []string) error { s.dialed++; return nil }},
	{pattern(`slot (\d+) holds (\S+)`), (*scenario).slotHolds},
	{pattern(`(\w+) (forwards nothing|is not disturbed|may be disturbed)`), (*scenario).isSet},
	{pattern(`(\w+) sends (always|busy|no_answer|unreachable) to (\S+)`), (*scenario).sends},
}

// changeUser changes the settings of a user.
func (s *scenario) changeUser(name string, change func(u *store.User)) error {
	u := s.users[s.number(name)]
	if u == nil {
		return fmt.Errorf("no user %s", name)
	}
	return s.h.db.ChangeUser(s.t.Context(), store.System, s.h.account, u.ID, change)
}

// target reads "bob" or "+12125550123/press_1".
func (s *scenario) target(word string) (store.Target, error) {
	if strings.HasPrefix(word, "+") {
		number, screening, _ := strings.Cut(word, "/")
		if screening == "" {
			screening = "none"
		}
		return store.Target{Type: "external", Number: number, Screening: screening}, nil
	}
	u := s.users[s.number(word)]
	if u == nil {
		return store.Target{}, fmt.Errorf("no user %s", word)
	}
	return store.Target{Type: "user", ID: u.ID}, nil
}

// place reads where calls go: "hangup", "parking", "bob", "300", "mailbox/bob", "+12125550123".
func (s *scenario) place(word string) store.Destination {
	rows := s.h.db.Snapshot(s.h.account)
	kind, name, found := strings.Cut(word, "/")
	if !found {
		name, kind = word, ""
	}
	switch u := s.users[s.number(name)]; {
	case word == "" || word == "hangup":
		return store.Destination{Type: "hangup"}
	case word == "parking":
		return store.Destination{Type: "parking"}
	case strings.HasPrefix(word, "+"):
		return store.Destination{Type: "external", Number: word}
	case kind == "mailbox" && u != nil:
		return store.Destination{Type: "mailbox", ID: u.ID}
	case u != nil:
		return store.Destination{Type: "user", ID: u.ID}
	}
	for i := range rows.Groups {
		if g := &rows.Groups[i]; g.Name == name {
			return store.Destination{Type: "ring_group", ID: g.ID}
		}
	}
	for i := range rows.Mailboxes {
		if m := &rows.Mailboxes[i]; m.Name == name {
			return store.Destination{Type: "mailbox", ID: m.ID}
		}
	}
	return store.Destination{Type: "user", ID: "usr_" + store.ID(name)}
}

func (s *scenario) addGroup(ctx context.Context, w []string) error {
	g := store.RingGroup{Name: w[0], Extension: w[1], Strategy: w[2], Prefix: w[0] + ": ", Fallback: s.place(w[5])}
	var err error
	if g.Timeout, err = time.ParseDuration(w[3]); err != nil {
		return err
	}
	for _, word := range strings.Fields(w[4]) {
		t, err := s.target(word)
		if err != nil {
			return err
		}
		g.Members = append(g.Members, t)
	}
	return s.h.db.Update(ctx, store.System, s.h.account, func(tx *sqlite.Tx) error { return tx.CreateRingGroup(&g) })
}

func (s *scenario) addBox(ctx context.Context, w []string) error {
	m := store.Mailbox{Name: w[0], Extension: w[1]}
	if w[2] != "" {
		var err error
		if m.PINHash, err = store.HashPassword(w[2]); err != nil {
			return err
		}
	}
	for _, word := range strings.Fields(w[3]) {
		t, err := s.target(word)
		if err != nil {
			return err
		}
		m.MemberIDs = append(m.MemberIDs, t.ID)
	}
	return s.h.db.Update(ctx, store.System, s.h.account, func(tx *sqlite.Tx) error { return tx.CreateMailbox(&m) })
}

func (s *scenario) setCode(ctx context.Context, w []string) error {
	return s.h.db.Update(ctx, store.System, s.h.account, func(tx *sqlite.Tx) error {
		a := tx.Account()
		a.FeatureCodes = map[string]string{w[0]: w[1]}
		return tx.SaveAccount(&a, 0)
	})
}

func (s *scenario) forwards(_ context.Context, w []string) error {
	to := s.number(w[2])
	return s.changeUser(w[0], func(u *store.User) { *forwarding(u, w[1]) = to })
}

func forwarding(u *store.User, when string) *string {
	switch when {
	case "always":
		return &u.Forward.Always
	case "busy":
		return &u.Forward.Busy
	case "no_answer":
		return &u.Forward.NoAnswer
	}
	return &u.Forward.Unreachable
}

// lookedFor reads "10s bob carol, 15s +12125550123/press_1".
func (s *scenario) lookedFor(_ context.Context, w []string) error {
	f := store.FindMe{Enabled: true, Fallback: store.Fallback{Action: "voicemail"}}
	for _, step := range strings.Split(w[1], ", ") {
		words := strings.Fields(step)
		d, err := time.ParseDuration(words[0])
		if err != nil {
			return err
		}
		st := store.FindStep{Timeout: d}
		for _, word := range words[1:] {
			t, err := s.target(word)
			if err != nil {
				return err
			}
			st.Targets = append(st.Targets, t)
		}
		f.Steps = append(f.Steps, st)
	}
	switch {
	case w[2] == "hangup":
		f.Fallback.Action = "hangup"
	case w[2] != "" && w[2] != "voicemail":
		f.Fallback = store.Fallback{Action: "route", Destination: s.place(w[2])}
	}
	return s.changeUser(w[0], func(u *store.User) { u.FindMe = f })
}

func (s *scenario) oneCall(_ context.Context, w []string) error {
	return s.changeUser(w[0], func(u *store.User) { u.OneCall = true })
}

func (s *scenario) refusesNameless(_ context.Context, w []string) error {
	return s.changeUser(w[0], func(u *store.User) { u.RejectAnonymous = true })
}

func (s *scenario) speedDial(_ context.Context, w []string) error {
	index, err := strconv.Atoi(w[2])
	if err != nil {
		return err
	}
	return s.changeUser(w[0], func(u *store.User) {
		u.SpeedDials = append(slices.Clone(u.SpeedDials), store.SpeedDial{Index: index, Number: s.number(w[1])})
	})
}

func (s *scenario) pickupGroup(_ context.Context, w []string) error {
	return s.changeUser(w[0], func(u *store.User) { u.PickupGroups = []string{w[1]} })
}

func (s *scenario) portalParks(context.Context, []string) error {
	for _, c := range s.h.engine.Calls(s.h.account) {
		if err := s.h.engine.Park(s.h.account, c.ID, ""); err != nil {
			return err
		}
	}
	return nil
}

func (s *scenario) slotHolds(_ context.Context, w []string) error {
	return until(5*time.Second, func() error {
		for _, p := range s.h.engine.Parked(s.h.account) {
			if p.Slot == w[0] {
				if w[1] != "nobody" && p.Caller.Name != w[1] && p.Caller.Number != w[1] {
					return fmt.Errorf("it holds %+v", p.Caller)
				}
				if w[1] == "nobody" {
					return fmt.Errorf("it holds %+v", p.Caller)
				}
				return nil
			}
		}
		if w[1] == "nobody" {
			return nil
		}
		return fmt.Errorf("it is empty")
	})
}

func (s *scenario) now(name string) *store.User {
	return s.h.db.Snapshot(s.h.account).UserByExtension(s.number(name))
}

func (s *scenario) isSet(_ context.Context, w []string) error {
	return until(2*time.Second, func() error {
		u := s.now(w[0])
		ok := false
		switch w[1] {
		case "forwards nothing":
			ok = u.Forward == (store.Forward{})
		case "is not disturbed":
			ok = u.DoNotDisturb
		case "may be disturbed":
			ok = !u.DoNotDisturb
		}
		if !ok {
			return fmt.Errorf("it is set otherwise: %+v", u)
		}
		return nil
	})
}

func (s *scenario) sends(_ context.Context, w []string) error {
	return until(2*time.Second, func() error {
		if got := *forwarding(s.now(w[0]), w[1]); got != s.number(w[2]) {
			return fmt.Errorf("to %q", got)
		}
		return nil
	})
}
