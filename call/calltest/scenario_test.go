package calltest_test

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pbx/call"
	"pbx/call/calltest"
	"pbx/sip/siptest"
	"pbx/store"
)

var update = flag.Bool("update", false, "rewrite the golden trails and ladders of testdata/calls")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScenarios plays testdata/calls/*.txt, each in a bubble of its own, and compares the trail and
// the ladder of messages with the golden file beside it.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("../../testdata/calls/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				s := newScenario(t)
				s.play(string(text))
				s.finish()
				if !s.free && !t.Failed() {
					s.compare(strings.TrimSuffix(file, ".txt") + ".golden")
				}
			})
		})
	}
}

// scenario is one script being played.
type scenario struct {
	t         *testing.T
	h         *house
	users     map[string]*store.User // by extension
	phones    map[string]*calltest.Phone
	calls     map[string][]*calltest.Call  // of each phone, oldest first
	referrals map[string]*siptest.Referral // the latest of each phone
	dialed    int                          // calls that must have a record
	lamps     watches
	checks    int            // records looked at so far
	free      bool           // chance decides times: no golden file
	start     time.Time      // of the ladder
	hands     sync.WaitGroup // picking up
	ladder    string         // what was sent
	trail     string         // what was recorded
}

func newScenario(t *testing.T, tweaks ...func(*house, *call.Config)) *scenario {
	return &scenario{
		t: t, h: newHouse(t, tweaks...), users: make(map[string]*store.User),
		phones: make(map[string]*calltest.Phone), calls: make(map[string][]*calltest.Call), referrals: make(map[string]*siptest.Referral),
	}
}

// setupVerb is what comes before the clock of the ladder starts.
var setupVerb = regexp.MustCompile(`^(user|phones?|carrier|number|account|group|box|codes) |^\w+ (forwards|is looked for|takes one|refuses the|has \S+ under|picks up in)`)

// play does what the script says, line by line.
func (s *scenario) play(script string) {
	first := true
	for n, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "# ")
		for _, statement := range strings.Split(line, ";") {
			statement = strings.Join(strings.Fields(statement), " ")
			if statement == "" || strings.HasPrefix(statement, "#") {
				continue
			}
			setup := setupVerb.MatchString(statement)
			if first && !setup {
				first = false
				synctest.Wait()
				s.h.net.Restart()
				s.start = time.Now()
			}
			synctest.Wait()
			if err := s.do(statement); err != nil {
				s.t.Errorf("line %d: %s: %v\n%s", n+1, statement, err, s.h.net.Ladder(s.h.names))
				return // to the end of the scenario: what runs in a bubble must be stopped
			}
		}
	}
}

func (s *scenario) do(statement string) error {
	for _, v := range slices.Concat(voicemailVerbs, deedVerbs, soundVerbs, divertVerbs, reachVerbs, transferVerbs, verbs) {
		if m := v.pattern.FindStringSubmatch(statement); m != nil {
			ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
			defer cancel()
			return v.do(s, ctx, m[1:])
		}
	}
	return fmt.Errorf("nobody knows how to do that")
}

// finish lets everybody hang up and proves that nothing is left of their calls.
func (s *scenario) finish() {
	for _, calls := range s.calls {
		for _, c := range calls {
			c.HangUp()
		}
	}
	s.hands.Wait()
	// 64·T1: the longest that a dialog waits for somebody who is not there.
	err := until(2*time.Minute, func() error {
		switch legs := s.h.sip.Stats().Legs; {
		case s.h.engine.Count() != 0:
			return fmt.Errorf("%d calls left", s.h.engine.Count())
		case legs != 0:
			return fmt.Errorf("%d legs left", legs)
		case s.h.media.Stats().Sessions != 0:
			return fmt.Errorf("%d sounds left", s.h.media.Stats().Sessions)
		}
		return nil
	})
	if err != nil {
		s.t.Error(err)
	}
	if err := until(time.Minute, s.dark); err != nil {
		s.t.Error(err)
	}
	if calls := s.h.engine.Calls(s.h.account); len(calls) != 0 {
		s.t.Errorf("the board still shows %v", calls)
	}
	records := s.h.records()
	if s.free { // which of two was first decides whether the other gets as far as the house
		s.dialed = int(s.h.incoming.Load())
	}
	if len(records) != s.dialed {
		s.t.Errorf("%d calls left %d records", s.dialed, len(records))
	}
	for _, r := range records {
		if r.EndedAt.IsZero() || r.Outcome == store.OutcomeOngoing || r.HangupBy == "" || r.HangupCause == "" {
			s.t.Errorf("record without an end: %s", inShort(r))
		}
	}
	for _, p := range s.phones {
		if err := p.Close(); err != nil {
			s.t.Error(err)
		}
	}
	s.ladder, s.trail = s.h.net.Ladder(s.h.names), trail(records)
	s.h.close()
	synctest.Wait()
}

// compare holds the trail and the ladder against the golden file.
func (s *scenario) compare(file string) {
	got := s.trail + "\n" + s.ladder
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatalf("%v; run the test with -update", err)
	}
	if got != string(want) {
		s.t.Errorf("%s says\n%s\nbut this was said\n%s", file, want, got)
	}
}

// trail prints records as people read them.
func trail(records []store.CallRecord) string {
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "%s dials %s: %s\n", called(r.Caller), r.Dialed, inShort(r))
		for _, reason := range r.Route {
			fmt.Fprintf(&b, "    because  %s\n", reason.Detail)
		}
		for _, g := range r.Segments {
			line := fmt.Sprintf("%11s  %-9s  %s", g.StartedAt.Sub(r.StartedAt).Round(time.Millisecond), g.Step, g.Detail)
			fmt.Fprintln(&b, strings.TrimRight(line, " "))
		}
	}
	return b.String()
}

// inShort is a record in one line, as the scripts expect it.
func inShort(r store.CallRecord) string {
	talk := 0
	if !r.AnsweredAt.IsZero() {
		talk = int(r.EndedAt.Sub(r.AnsweredAt).Round(time.Second) / time.Second)
	}
	return fmt.Sprintf("%s, %s → %s, %ds, %s: %s", r.Outcome, called(r.Caller), called(r.Callee), talk, r.HangupBy, r.HangupCause)
}

// called is what people call a party.
func called(p store.CallParty) string {
	switch {
	case p.Name != "":
		return p.Name
	case p.Number != "":
		return p.Number
	}
	return "nobody"
}

// until waits for a condition in the bubble's own time.
func until(patience time.Duration, unmet func() error) error {
	return untilEach(5*time.Millisecond, patience, unmet)
}

// untilEach is until that looks less often, for what is dear to look at.
func untilEach(interval, patience time.Duration, unmet func() error) error {
	for end := time.Now().Add(patience); ; {
		err := unmet()
		if err == nil || !time.Now().Before(end) {
			return err
		}
		<-time.After(interval)
		synctest.Wait() // everybody else has done what this instant brought
	}
}

// current is the call that a phone is busy with: the latest that is not over, else the latest.
func (s *scenario) current(name string) (*calltest.Call, error) {
	calls := s.calls[name]
	for i := len(calls) - 1; i >= 0; i-- {
		if !over(calls[i]) {
			return calls[i], nil
		}
	}
	if len(calls) == 0 {
		return nil, fmt.Errorf("%s has no call", name)
	}
	return calls[len(calls)-1], nil
}

func over(c *calltest.Call) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// rings waits until the phone is called and lets it ring.
func (s *scenario) rings(ctx context.Context, name string) (*calltest.Call, error) {
	if c, err := s.current(name); err == nil && !over(c) {
		return c, nil
	}
	c, err := s.next(ctx, name)
	if err != nil {
		return nil, err
	}
	err = c.Ring(false)
	<-time.After(reaction)
	return c, err
}

// reaction is what people take to do something about a phone that rings: what a phone does in one
// instant may arrive in either order.
const reaction = 100 * time.Millisecond

// next waits until the phone is called, and no longer than people would.
func (s *scenario) next(ctx context.Context, name string) (*calltest.Call, error) {
	p := s.phones[name]
	if p == nil {
		return nil, fmt.Errorf("no phone %s", name)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := p.Next(ctx)
	if err != nil {
		return nil, err
	}
	s.calls[name] = append(s.calls[name], c)
	return c, nil
}

// number is what is dialled to reach somebody.
func (s *scenario) number(name string) string {
	for _, u := range s.users {
		if u.Name == name {
			return u.Extension
		}
	}
	return name
}

// hears waits until a phone hears something.
func (s *scenario) hears(name, what string, within time.Duration) error {
	c, err := s.current(name)
	if err != nil {
		return err
	}
	return untilEach(20*time.Millisecond, within, func() error {
		freq, level := c.Hears()
		voice := ""
		for n, p := range s.phones {
			if p.Voice() > 0 && math.Abs(freq-p.Voice()) < 8 {
				voice = n
			}
		}
		heard := fmt.Errorf("heard %.0f Hz at %.0f dB, which is %q", freq, level, voice)
		var ok bool
		switch what {
		case "nothing":
			ok = level < -60
		case "music", "speech", "something":
			ok = voice == "" && level > -40
		case "a voice":
			ok = voice != ""
		default:
			ok = voice == what
		}
		if ok {
			return nil
		}
		return heard
	})
}

func pattern(p string) *regexp.Regexp { return regexp.MustCompile("^(?:" + p + ")$") }
