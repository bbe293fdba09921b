package calltest_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pbx/call"
	"pbx/call/calltest"
	"pbx/sip/siptest"
	"pbx/store"
)

// transferVerbs are what scripts can say of moving calls.
var transferVerbs = []verb{
	{pattern(`portal joins (\w+)'s call with (\w+)'s(?:: (.*))?`), (*scenario).portalJoins},
	{pattern(`portal transfers (caller|callee) to (\S+)`), (*scenario).portalTransfers},
	{pattern(`(\w+) refers (\w+) to (\S+?)( silently)?`), (*scenario).refer},
	{pattern(`(\w+) is not let transfer (\w+) to the call that ended`), (*scenario).transferToNothing},
	{pattern(`(\w+) hangs up one`), (*scenario).letGo},
	{pattern(`(\w+) transfers its first call to the second`), (*scenario).transferFirst},
	{pattern(`(\w+) is not let refer (\w+) to (\S+): (\d+)`), (*scenario).referInVain},
	{pattern(`(\w+) transfers (\w+) to (\w+)`), (*scenario).transfer},
	{pattern(`(\w+) transfers (\w+) to (\w+) as (\w+) transfers (\w+) to (\w+)`), (*scenario).transferBoth},
	{pattern(`(\w+) learns ([\d ]+)`), (*scenario).learns},
	{pattern(`(\w+) takes the call of (\w+)( early only)?( in vain)?`), (*scenario).takeCall},
}

// with is the call that a phone has with somebody: the latest that is not over; else whatever it is busy with.
func (s *scenario) with(name, peer string) (*calltest.Call, error) {
	calls := s.calls[name]
	number := s.number(peer)
	if p := s.phones[peer]; p != nil {
		number = s.extension(peer)
	}
	for i := len(calls) - 1; i >= 0; i-- {
		if c := calls[i]; !over(c) && (c.Number() == number || c.Remote().User == number) {
			return c, nil
		}
	}
	return s.current(name)
}

// extension is whose phone it is.
func (s *scenario) extension(phone string) string {
	for ext, u := range s.users {
		if u.Name == phone || strings.HasPrefix(phone, u.Name) {
			return ext
		}
	}
	return phone
}

func (s *scenario) asked(name string, r *siptest.Referral, err error) error {
	switch {
	case err != nil:
		return err
	case r.Code/100 != 2:
		return fmt.Errorf("was answered %d", r.Code)
	}
	s.referrals[name] = r
	return nil
}

func (s *scenario) refer(ctx context.Context, w []string) error {
	c, err := s.with(w[0], w[1])
	if err != nil {
		return err
	}
	if w[3] != "" {
		r, err := c.ReferTo(ctx, "<sip:"+s.number(w[2])+"@pbx>", "Refer-Sub: false", "Supported: norefersub")
		if err == nil && !r.Unsubscribed {
			return errors.New("Refer-Sub was not confirmed")
		}
		return s.asked(w[0], r, err)
	}
	r, err := c.Refer(ctx, s.number(w[2]))
	return s.asked(w[0], r, err)
}

// referInVain is answered as said.
func (s *scenario) referInVain(ctx context.Context, w []string) error {
	c, err := s.with(w[0], w[1])
	if err != nil {
		return err
	}
	r, err := c.Refer(ctx, s.number(w[2]))
	if err == nil && strconv.Itoa(r.Code) != w[3] {
		err = fmt.Errorf("was answered %d", r.Code)
	}
	return err
}

// transferToNothing asks for an attended transfer to the latest call, which is over.
func (s *scenario) transferToNothing(ctx context.Context, w []string) error {
	c, err := s.with(w[0], w[1])
	if err != nil {
		return err
	}
	calls := s.calls[w[0]]
	r, err := c.ReferInto(ctx, calls[len(calls)-1].Line)
	if err := s.asked(w[0], r, err); err != nil {
		return err
	}
	return s.learns(ctx, []string{w[0], "100 481"})
}

// transferFirst joins the two calls of a phone, whoever they are with.
func (s *scenario) transferFirst(ctx context.Context, w []string) error {
	calls := s.calls[w[0]]
	if len(calls) < 2 {
		return fmt.Errorf("has %d calls", len(calls))
	}
	r, err := calls[0].ReferInto(ctx, calls[1].Line)
	return s.asked(w[0], r, err)
}

func (s *scenario) transfer(ctx context.Context, w []string) error {
	c, err := s.with(w[0], w[1])
	if err != nil {
		return err
	}
	other, err := s.with(w[0], w[2])
	if err != nil {
		return err
	}
	r, err := c.ReferInto(ctx, other.Line)
	return s.asked(w[0], r, err)
}

// transferBoth has two phones ask at one instant; what becomes of it is chance.
func (s *scenario) transferBoth(ctx context.Context, w []string) error {
	a, errA := s.with(w[0], w[1])
	intoA, errB := s.with(w[0], w[2])
	b, errC := s.with(w[3], w[4])
	intoB, errD := s.with(w[3], w[5])
	if err := errors.Join(errA, errB, errC, errD); err != nil {
		return err
	}
	done := make(chan struct{})
	s.hands.Go(func() {
		defer close(done)
		_, _ = b.ReferInto(ctx, intoB.Line)
	})
	_, _ = a.ReferInto(ctx, intoA.Line)
	<-done
	return nil
}

// learns waits for the outcome of a transfer and looks at all that was told of it.
func (s *scenario) learns(_ context.Context, w []string) error {
	r := s.referrals[w[0]]
	if r == nil {
		return errors.New("asked for nothing")
	}
	var failed error
	select {
	case <-r.Done():
	case <-time.After(2 * time.Minute):
		failed = errors.New("no outcome")
	}
	var codes []string
	for _, line := range r.News() {
		codes = append(codes, strings.Fields(line)[1])
	}
	if got := strings.Join(codes, " "); got != w[1] || failed != nil {
		return errors.Join(fmt.Errorf("learned %s", got), failed)
	}
	states := r.States()
	if last := states[len(states)-1]; last != "terminated;reason=noresource" {
		return fmt.Errorf("the subscription ended with %q", last)
	}
	return nil
}

// takeCall sends an INVITE with Replaces for the call of another phone, which it knows from a lamp. In vain:
// signalling refuses it, and no call is recorded.
func (s *scenario) takeCall(ctx context.Context, w []string) error {
	of, err := s.current(w[1])
	if err != nil {
		of, err = s.rings(ctx, w[1])
	}
	if err != nil {
		return err
	}
	replaces := of.Replaces()
	if w[2] != "" {
		replaces += ";early-only"
	}
	c, err := s.phones[w[0]].CallWith(ctx, s.extension(w[1]), "Replaces: "+replaces, "Require: replaces")
	if err != nil {
		return err
	}
	if w[3] == "" {
		s.dialed++
	}
	s.calls[w[0]] = append(s.calls[w[0]], c)
	return nil
}

// portalJoins joins the calls of two people, whoever is in both; it may be said why that is not possible.
func (s *scenario) portalJoins(_ context.Context, w []string) error {
	var ids []store.ID
	for _, name := range w[:2] {
		for _, c := range s.h.engine.Calls(s.h.account) {
			if c.Caller.Extension == s.number(name) || c.Callee.Extension == s.number(name) {
				ids = append(ids, c.ID)
			}
		}
	}
	if len(ids) != 2 {
		return fmt.Errorf("%d calls", len(ids))
	}
	err := s.h.engine.Join(s.h.account, ids[0], ids[1], "")
	if w[2] != "" && err != nil && strings.HasSuffix(err.Error(), ": "+w[2]) {
		return nil
	}
	return err
}

func (s *scenario) portalTransfers(_ context.Context, w []string) error {
	calls := s.h.engine.Calls(s.h.account)
	if len(calls) != 1 {
		return fmt.Errorf("%d calls", len(calls))
	}
	return s.h.engine.Transfer(s.h.account, calls[0].ID, "", call.Side(w[0]), s.number(w[1]))
}
