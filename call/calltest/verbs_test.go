package calltest_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"pbx/call/calltest"
	"pbx/event"
	"pbx/media"
	"pbx/sip/siptest"
	"pbx/store"
)

// A verb is one thing that a script can say. Names are single words.
type verb struct {
	pattern *regexp.Regexp
	do      func(s *scenario, ctx context.Context, w []string) error
}

// verbs is the language of the scenarios.
var verbs = []verb{
	// Setting the scene.
	{pattern(`user (\w+) (\d+)(.*)`), (*scenario).addUser},
	{pattern(`phones (.*)`), (*scenario).addPhones},
	{pattern(`phone (\w+) (\d+)(.*)`), (*scenario).addPhone},
	{pattern(`chance decides`), func(s *scenario, _ context.Context, _ []string) error { s.free = true; return nil }},
	{pattern(`(lose|delay) (\S+) from (\w+)(?: to (\w+))? (once|twice|always|by \S+)`), (*scenario).disturb},

	{pattern(`account shows (\S+)`), (*scenario).accountShows},
	{pattern(`carrier (\w+)(.*)`), (*scenario).addCarrier},
	{pattern(`number (\S+) leads to (\S+)`), (*scenario).addNumber},

	// What the house is asked to do.
	{pattern(`portal hangs up`), (*scenario).portalHangsUp},
	{pattern(`portal calls (\S+) for (\w+)`), (*scenario).originate},
	{pattern(`pbx stops within (\S+)`), (*scenario).stop},

	// What people do.
	{pattern(`(\w+) watches (\w+)`), (*scenario).watch},
	{pattern(`(\w+)'s lamp for (\w+) is (off|calling|ringing|busy|held)`), (*scenario).lampShows},
	{pattern(`(\w+) calls (\S+)`), (*scenario).call},
	{pattern(`(\w+) brings a call from (\S+) to (\S+?)( in vain)?`), (*scenario).bring},
	{pattern(`(\w+) is told that (\S+) is (.*)`), (*scenario).isToldThat},
	{pattern(`(\w+) rings`), func(s *scenario, ctx context.Context, w []string) error { _, err := s.rings(ctx, w[0]); return err }},
	{pattern(`(\w+) rings again`), func(s *scenario, ctx context.Context, w []string) error {
		c, err := s.next(ctx, w[0])
		if err == nil {
			err = c.Ring(false)
		}
		return err
	}},
	{pattern(`(\w+) rings with sound`), (*scenario).ringEarly},
	{pattern(`(\w+) picks up`), (*scenario).pickUp},
	{pattern(`(\w+) answers(?: after (\S+))?`), (*scenario).answer},
	{pattern(`(\w+) and (\w+) answer together`), (*scenario).answerTogether},
	{pattern(`(\w+) refuses with (\d+)`), (*scenario).refuse},
	{pattern(`(\w+) hangs up`), (*scenario).hangUp},
	{pattern(`(\w+) lets go`), (*scenario).letGo},
	{pattern(`(\w+) and (\w+) hang up together`), (*scenario).hangUpTogether},
	{pattern(`(\w+) holds (\w+)(?: (by 0\.0\.0\.0|inactive))?`), (*scenario).hold},
	{pattern(`(\w+) resumes (\w+)`), (*scenario).resume},
	{pattern(`(\w+) and (\w+) hold together`), (*scenario).holdTogether},
	{pattern(`(\w+) presses (\S+)( by INFO| both ways)?`), (*scenario).press},
	{pattern(`(\w+) says nothing`), func(s *scenario, _ context.Context, w []string) error {
		c, err := s.current(w[0])
		if err == nil {
			c.Mute()
		}
		return err
	}},
	{pattern(`(\w+) talks`), func(s *scenario, _ context.Context, w []string) error {
		c, err := s.current(w[0])
		if err == nil {
			c.Say(nil)
		}
		return err
	}},
	{pattern(`(\w+) vanishes`), func(s *scenario, _ context.Context, w []string) error {
		s.phones[w[0]].Vanish(s.calls[w[0]]...)
		return nil
	}},
	{pattern(`(\w+) unregisters`), func(s *scenario, ctx context.Context, w []string) error { return s.phones[w[0]].SIP().Unregister(ctx) }},
	{pattern(`(\w+) watches the mailbox`), func(s *scenario, ctx context.Context, w []string) error {
		return s.phones[w[0]].SIP().Subscribe(ctx, time.Hour)
	}},
	{pattern(`wait (\S+)`), func(_ *scenario, _ context.Context, w []string) error {
		d, err := time.ParseDuration(w[0])
		<-time.After(d)
		return err
	}},

	{pattern(`at (\S+)`), func(s *scenario, _ context.Context, w []string) error { // on the clock of the ladder
		d, err := time.ParseDuration(w[0])
		<-time.After(d - time.Since(s.start))
		return err
	}},

	// What must be seen and heard.
	{pattern(`(\w+) hears (a voice|\w+)(?: within (\S+))?`), (*scenario).mustHear},
	{pattern(`(\w+) sees (\S+) (\S+)`), (*scenario).sees},
	{pattern(`(\w+) is shown (\w+) (\S+)`), (*scenario).isShown},
	{pattern(`(\w+) is told (ringing|answered)`), (*scenario).isTold},
	{pattern(`(\w+) is refused with (\d+)`), (*scenario).isRefused},
	{pattern(`(\w+) is cancelled( elsewhere)?`), (*scenario).isCancelled},
	{pattern(`(\w+) has no calls?`), (*scenario).hasNoCall},
	{pattern(`(\w+) speaks (\w+)`), (*scenario).speaks},
	{pattern(`(\w+) is (encrypted|plain)`), (*scenario).encrypted},
	{pattern(`(\w+) has (\d+|no) new messages?`), (*scenario).lamp},
	{pattern(`mailbox (\w+): (\d+) new, (\d+) saved`), (*scenario).mailbox},
	{pattern(`one of (\w+), (\w+) talks`), (*scenario).oneTalks},
	{pattern(`portal shows (\w+)`), (*scenario).portalShows},
	{pattern(`record: (.*)`), (*scenario).record},
}

func (s *scenario) addUser(_ context.Context, w []string) error {
	var problem error
	u := s.h.user(w[0], w[1], func(u *store.User) {
		words := strings.Fields(w[2])
		for i := 0; i < len(words); i++ {
			next := func() string {
				if i++; i < len(words) {
					return words[i]
				}
				return ""
			}
			switch words[i] {
			case "voicemail":
				u.Voicemail.Enabled = true
			case "pin":
				u.Voicemail.PINHash, problem = store.HashPassword(next())
			case "rings":
				u.RingTimeout, problem = time.ParseDuration(next())
			case "dnd":
				u.DoNotDisturb = true
			default:
				problem = fmt.Errorf("what is %q?", words[i])
			}
		}
	})
	s.users[u.Extension] = &u
	return problem
}

func (s *scenario) addPhones(ctx context.Context, w []string) error {
	words := strings.Fields(w[0])
	for i := 0; i+1 < len(words); i += 2 {
		if err := s.addPhone(ctx, []string{words[i], words[i+1], ""}); err != nil {
			return err
		}
	}
	return nil
}

func (s *scenario) addPhone(ctx context.Context, w []string) error {
	name, extension := w[0], w[1]
	if s.users[extension] == nil {
		if err := s.addUser(ctx, []string{name, extension, ""}); err != nil {
			return err
		}
	}
	c := calltest.PhoneConfig{Voice: 400 + 130*float64(len(s.phones))}
	v6 := false
	for _, option := range strings.Fields(w[2]) {
		switch option {
		case "tcp":
			c.Transport = option
		case "ipv6":
			v6 = true
		case "old": // knows no UPDATE
			c.Allow = "INVITE, ACK, CANCEL, BYE"
		case "tones":
			c.Tones = true
		case "PCMU", "PCMA", "G722", "opus":
			c.Codecs = append(c.Codecs, option)
		case "encrypts": // or does not talk
			c.Security = media.SecurityRequired
		case "may-encrypt":
			c.Security = media.SecurityOptional
		case "srtp=optional", "srtp=required": // what its settings in the portal say
			c.SRTP = strings.TrimPrefix(option, "srtp=")
		default:
			return fmt.Errorf("what is %q?", option)
		}
	}
	s.phones[name] = s.h.phone(name, s.users[extension], c, v6)
	return nil
}

// disturb loses or delays messages: “lose 200 from bob once”, “delay CANCEL from pbx to bob by 20ms”.
// A number means that answer to an INVITE.
func (s *scenario) disturb(_ context.Context, w []string) error {
	what, from, to, how := w[1], w[2], w[3], w[4]
	left := map[string]int{"once": 1, "twice": 2}[how]
	if left == 0 {
		left = 1 << 20
	}
	var mu sync.Mutex
	match := func(m siptest.Message) bool {
		right := m.Status == 0 && m.Method == what || m.Method == "INVITE" && strconv.Itoa(m.Status) == what
		if !right || s.h.names[m.From.Addr()] != from || to != "" && s.h.names[m.To.Addr()] != to {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		left--
		return left >= 0
	}
	if w[0] == "lose" {
		s.h.net.Drop(match)
		return nil
	}
	d, err := time.ParseDuration(strings.TrimPrefix(how, "by "))
	s.h.net.Delay(d, match)
	return err
}

func (s *scenario) call(ctx context.Context, w []string) error {
	p := s.phones[w[0]]
	if p == nil {
		return fmt.Errorf("no phone %s", w[0])
	}
	c, err := p.Call(ctx, s.number(w[1]))
	if err != nil {
		return err
	}
	s.dialed++
	s.calls[w[0]] = append(s.calls[w[0]], c)
	return nil
}

func (s *scenario) ringEarly(ctx context.Context, w []string) error {
	c, err := s.next(ctx, w[0])
	if err != nil {
		return err
	}
	return c.RingWithSound()
}

func (s *scenario) answer(ctx context.Context, w []string) error {
	c, err := s.rings(ctx, w[0])
	if err != nil {
		return err
	}
	if w[1] != "" {
		d, err := time.ParseDuration(w[1])
		if err != nil {
			return err
		}
		<-time.After(d)
	}
	return c.Answer(ctx)
}

// pickUp answers and waits for nothing.
func (s *scenario) pickUp(_ context.Context, w []string) error {
	c, err := s.rings(s.t.Context(), w[0])
	if err == nil {
		s.hands.Go(func() { _ = c.Answer(s.t.Context()) })
	}
	return err
}

// together does the same for two phones at one instant and waits for both; their errors are theirs.
func (s *scenario) together(w []string, do func(c *calltest.Call) error) error {
	a, errA := s.current(w[0])
	b, errB := s.current(w[1])
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	var both sync.WaitGroup
	for _, c := range []*calltest.Call{a, b} {
		both.Go(func() { _ = do(c) })
	}
	both.Wait()
	return nil
}

func (s *scenario) answerTogether(ctx context.Context, w []string) error {
	return s.together(w, func(c *calltest.Call) error { return c.Answer(ctx) })
}

func (s *scenario) hangUpTogether(ctx context.Context, w []string) error {
	return s.together(w, func(c *calltest.Call) error { return c.Bye(ctx) })
}

func (s *scenario) holdTogether(ctx context.Context, w []string) error {
	return s.together(w, func(c *calltest.Call) error {
		for {
			// RFC 3261 §14.1: 491 is tried again after a while, here until it works.
			if err := c.Hold(ctx); err == nil || ctx.Err() != nil {
				return err
			}
			<-time.After(1500 * time.Millisecond)
		}
	})
}

func (s *scenario) refuse(ctx context.Context, w []string) error {
	c, err := s.rings(ctx, w[0])
	if err != nil {
		return err
	}
	code, err := strconv.Atoi(w[1])
	if err != nil {
		return err
	}
	return c.Refuse(code)
}

// hangUp puts the handset down and waits until that is known on both sides of the wire.
func (s *scenario) hangUp(ctx context.Context, w []string) error {
	if err := s.letGo(ctx, w); err != nil {
		return err
	}
	return s.hasNoCall(ctx, w)
}

// letGo puts the handset down and waits for nothing.
func (s *scenario) letGo(_ context.Context, w []string) error {
	c, err := s.current(w[0])
	if err == nil {
		c.HangUp()
	}
	return err
}

func (s *scenario) hold(ctx context.Context, w []string) error {
	c, err := s.with(w[0], w[1])
	if err != nil {
		return err
	}
	switch w[2] {
	case "inactive":
		return c.HoldInactive(ctx)
	case "by 0.0.0.0":
		return c.HoldOld(ctx)
	}
	return c.Hold(ctx)
}

func (s *scenario) resume(ctx context.Context, w []string) error {
	c, err := s.with(w[0], w[1])
	if err != nil {
		return err
	}
	return c.Resume(ctx)
}

func (s *scenario) press(ctx context.Context, w []string) error {
	c, err := s.current(w[0])
	if err != nil {
		return err
	}
	switch w[2] {
	case " by INFO":
		return c.PressInfo(ctx, w[1])
	case " both ways":
		for _, key := range w[1] {
			if err := errors.Join(c.PressInfo(ctx, string(key)), c.Press(ctx, string(key))); err != nil {
				return err
			}
		}
		return nil
	}
	return c.Press(ctx, w[1])
}

func (s *scenario) portalHangsUp(context.Context, []string) error {
	for _, c := range s.h.engine.Calls(s.h.account) {
		if err := s.h.engine.HangUp(s.h.account, c.ID); err != nil {
			return err
		}
	}
	return nil
}

func (s *scenario) originate(ctx context.Context, w []string) error {
	u := s.users[s.number(w[1])]
	if u == nil {
		return fmt.Errorf("no user %s", w[1])
	}
	_, err := s.h.engine.Originate(ctx, s.h.account, u.ID, s.number(w[0]))
	s.dialed++
	return err
}

func (s *scenario) stop(ctx context.Context, w []string) error {
	d, err := time.ParseDuration(w[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return s.h.engine.Close(ctx)
}

func (s *scenario) mustHear(_ context.Context, w []string) error {
	within := 2 * time.Second
	if w[2] != "" {
		var err error
		if within, err = time.ParseDuration(w[2]); err != nil {
			return err
		}
	}
	if err := s.hears(w[0], w[1], within); err != nil {
		return err
	}
	// Which of two things of one instant is first, a frame or the ear, is chance; ladders must not show it.
	<-time.After(beat - time.Since(s.start)%beat)
	return nil
}

// beat is what people who heard something wait for before they do the next thing.
const beat = 500 * time.Millisecond

func (s *scenario) sees(ctx context.Context, w []string) error {
	c, err := s.rings(ctx, w[0])
	if err != nil {
		return err
	}
	if got := c.Remote(); strings.ReplaceAll(got.Display, " ", "_") != w[1] || got.User != w[2] {
		return fmt.Errorf("sees %q %s", got.Display, got.User)
	}
	return nil
}

// isShown looks at the display of a call that is ringing or up.
func (s *scenario) isShown(_ context.Context, w []string) error {
	c, err := s.current(w[0])
	if err != nil {
		return err
	}
	return until(2*time.Second, func() error {
		if got := c.Remote(); got.Display != w[1] || got.User != w[2] {
			return fmt.Errorf("is shown %q %s", got.Display, got.User)
		}
		return nil
	})
}

func (s *scenario) isTold(_ context.Context, w []string) error {
	c, err := s.current(w[0])
	if err != nil {
		return err
	}
	told := c.Ringing()
	if w[1] == "answered" {
		told = c.Answered()
	}
	select {
	case <-told:
		return nil
	case <-c.Done():
		return fmt.Errorf("was refused with %d", c.Code())
	case <-time.After(10 * time.Second):
		return errors.New("was not")
	}
}

func (s *scenario) isRefused(ctx context.Context, w []string) error {
	if err := s.hasNoCall(ctx, w); err != nil {
		return err
	}
	c, err := s.current(w[0])
	if err != nil {
		return err
	}
	if got := strconv.Itoa(c.Code()); got != w[1] {
		return fmt.Errorf("was refused with %s", got)
	}
	return nil
}

func (s *scenario) isCancelled(ctx context.Context, w []string) error {
	if err := s.hasNoCall(ctx, w); err != nil {
		return err
	}
	c, err := s.current(w[0])
	if err != nil {
		return err
	}
	elsewhere := strings.Contains(c.Reason(), "Call completed elsewhere")
	if elsewhere != (w[1] != "") {
		return fmt.Errorf("was told %q", c.Reason())
	}
	return nil
}

func (s *scenario) hasNoCall(_ context.Context, w []string) error {
	for _, c := range s.calls[w[0]] {
		select {
		case <-c.Done():
		case <-time.After(70 * time.Second):
			return errors.New("still has")
		}
	}
	return nil
}

func (s *scenario) speaks(_ context.Context, w []string) error {
	c, err := s.current(w[0])
	if err != nil {
		return err
	}
	if got := c.Codec(); got != w[1] {
		return fmt.Errorf("speaks %s", got)
	}
	return nil
}

// encrypted looks at the sound of a phone, and at what the portal and the record show of it.
func (s *scenario) encrypted(_ context.Context, w []string) error {
	c, err := s.current(w[0])
	if err != nil {
		return err
	}
	want := ""
	if w[1] == "encrypted" {
		want = "AES_CM_128_HMAC_SHA1_80"
	}
	shown := "no call"
	for _, v := range s.h.engine.Calls(s.h.account) {
		for _, p := range []event.Party{v.Caller, v.Callee} {
			if p.Name == w[0] {
				shown = p.Encrypted
			}
		}
	}
	if got := c.Encrypted(); got != want || shown != want {
		return fmt.Errorf("protected by %q, shown as %q", got, shown)
	}
	return nil
}

func (s *scenario) lamp(_ context.Context, w []string) error {
	want, _ := strconv.Atoi(strings.Replace(w[1], "no", "0", 1))
	return until(2*time.Second, func() error { // P-VM-01: within 2 s
		if got, _, notices := s.phones[w[0]].SIP().Lamp(); got != want || notices == 0 {
			return fmt.Errorf("lamp shows %d after %d notices", got, notices)
		}
		return nil
	})
}

func (s *scenario) mailbox(_ context.Context, w []string) error {
	want := w[1] + "/" + w[2]
	return until(5*time.Second, func() error {
		n := s.h.db.MailboxCounts(s.h.account, s.users[s.number(w[0])].ID)
		if got := fmt.Sprintf("%d/%d", n.New, n.Old); got != want {
			return fmt.Errorf("holds %s", got)
		}
		return nil
	})
}

func (s *scenario) oneTalks(_ context.Context, w []string) error {
	return until(2*time.Second, func() error {
		up := 0
		for _, name := range w {
			if c, err := s.current(name); err == nil && !over(c) {
				up++
			}
		}
		if up != 1 {
			return fmt.Errorf("%d do", up)
		}
		return nil
	})
}

func (s *scenario) portalShows(_ context.Context, w []string) error {
	return until(2*time.Second, func() error {
		calls := s.h.engine.Calls(s.h.account)
		if len(calls) != 1 || calls[0].State != w[0] {
			return fmt.Errorf("shows %+v", calls)
		}
		return nil
	})
}

// record looks at the next record; what is not said does not matter.
func (s *scenario) record(_ context.Context, w []string) error {
	i := s.checks
	s.checks++
	return until(70*time.Second, func() error {
		records := s.h.records()
		if i >= len(records) {
			return fmt.Errorf("there are %d records", len(records))
		}
		if got := inShort(records[i]); !strings.HasPrefix(got, w[0]) || records[i].EndedAt.IsZero() {
			return fmt.Errorf("it says: %s", got)
		}
		return nil
	})
}
