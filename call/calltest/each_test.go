package calltest_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pbx/sip/siptest"
)

// disturbance does something to the message with that number, and counts.
type disturbance struct {
	mu     sync.Mutex
	target int
	seen   int
	first  string // the message that was disturbed
}

func (d *disturbance) match(m siptest.Message) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen++
	if d.seen-1 != d.target {
		return false
	}
	d.first = fmt.Sprintf("%s -> %s %s %d", m.From.Addr(), m.To.Addr(), m.Method, m.Status)
	return true
}

const (
	basicSetup = "phones alice 201   bob 202"
	basicCall  = `
alice calls bob;  bob answers after 1s
alice hears bob within 20s;  bob hears alice within 20s
alice holds bob;  bob holds alice
alice resumes bob;  bob resumes alice;  bob hears alice within 20s
%s hangs up;  %s has no calls
record: answered, alice → bob`
	cancelledCall = `
alice calls bob;  bob rings
wait 1s
%s hangs up;  %s has no calls
record: cancelled`
)

// TestEachMessage plays a basic call with hold once for each of its messages, and loses that one,
// or lets it come after those that follow it: after the next one where they do not depend on each
// other, and after the first repetition where they do. The people notice nothing but time.
func TestEachMessage(t *testing.T) {
	for _, call := range []struct{ name, script string }{
		{"caller hangs up", fmt.Sprintf(basicCall, "alice", "bob")},
		{"caller gives up", fmt.Sprintf(cancelledCall, "alice", "bob")},
	} {
		for _, way := range []struct {
			name    string
			disturb func(n *siptest.Net, d *disturbance)
		}{
			{"lost", func(n *siptest.Net, d *disturbance) { n.Drop(d.match) }},
			{"crossed", func(n *siptest.Net, d *disturbance) { n.Delay(3*time.Millisecond, d.match) }},
			{"late", func(n *siptest.Net, d *disturbance) { n.Delay(700*time.Millisecond, d.match) }},
		} {
			t.Run(call.name+", "+way.name, func(t *testing.T) {
				t.Parallel()
				n := 1
				step := 1
				if raced {
					step = 4
				}
				for i := -1; i < n; i += step {
					d := &disturbance{target: i}
					synctest.Test(t, func(t *testing.T) {
						s := newScenario(t)
						s.play(basicSetup)
						way.disturb(s.h.net, d)
						s.play(call.script)
						s.finish()
					})
					if i < 0 {
						n = d.seen
						t.Logf("%d messages", n)
					}
					if t.Failed() {
						t.Fatalf("message %d: %s", i, d.first)
					}
				}
			})
		}
	}
}

// TestTopologyHidden: nothing in the messages to one phone tells of the other one but its name and
// extension (conformance section 4, rule 5).
func TestTopologyHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t)
		s.play(basicSetup)
		var mu sync.Mutex
		secrets := map[string]map[string]bool{"alice": {}, "bob": {}} // of each phone
		told := map[string][]string{}                                 // what each phone heard
		s.h.net.Drop(func(m siptest.Message) bool {
			mu.Lock()
			defer mu.Unlock()
			text := string(m.Data)
			if from := s.h.names[m.From.Addr()]; from != "pbx" {
				if m.Status == 0 {
					secrets[from][headerOf(text, "Call-ID")] = true
					if agent := headerOf(text, "User-Agent"); agent != "" {
						secrets[from]["User-Agent: "+agent] = true
					}
				}
				secrets[from][m.From.Addr().String()] = true
				_, branch, _ := strings.Cut(headerOf(text, "Via"), "branch=")
				secrets[from][branch] = m.Status == 0 && branch != ""
				_, tag, _ := strings.Cut(headerOf(text, "From"), "tag=")
				secrets[from][tag] = m.Status == 0 && tag != ""
			}
			if to := s.h.names[m.To.Addr()]; to != "pbx" {
				told[to] = append(told[to], text)
			}
			return false
		})
		s.play(fmt.Sprintf(basicCall, "alice", "bob"))
		s.finish()
		for phone, other := range map[string]string{"alice": "bob", "bob": "alice"} {
			if len(secrets[phone]) < 4 || len(told[other]) < 4 {
				t.Errorf("%d secrets of %s, %d messages to %s", len(secrets[phone]), phone, len(told[other]), other)
			}
			for secret, is := range secrets[phone] {
				for _, text := range told[other] {
					if is && secret != "" && strings.Contains(text, secret) {
						t.Errorf("%q of %s is in what %s heard:\n%s", secret, phone, other, text)
					}
				}
			}
		}
	})
}

// headerOf returns a header field of a message.
func headerOf(text, name string) string {
	for line := range strings.SplitSeq(text, "\r\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// TestRefreshChangesNothing: a session refresh by re-INVITE has the same description as before, the
// same version in o= above all (RFC 4028 §7.4, RFC 3264 §8); one by UPDATE has none.
func TestRefreshChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t)
		s.play("phone alice 201\nphone bob 202 old")
		var mu sync.Mutex
		said := map[string][]string{} // to each phone, by the method
		s.h.net.Drop(func(m siptest.Message) bool {
			mu.Lock()
			defer mu.Unlock()
			to := s.h.names[m.To.Addr()]
			if to != "pbx" && m.Status == 0 && (m.Method == "INVITE" || m.Method == "UPDATE") {
				_, body, _ := strings.Cut(string(m.Data), "\r\n\r\n")
				said[to+" "+m.Method] = append(said[to+" "+m.Method], body)
			}
			return false
		})
		s.play(`
alice calls bob;  bob answers after 1s;  bob hears alice;  alice hears bob
alice holds bob inactive;  bob holds alice inactive
wait 31m
alice hangs up;  bob has no calls`)
		s.finish()
		if got := said["bob INVITE"]; len(got) < 3 {
			t.Errorf("bob, who knows no UPDATE, got %d INVITEs", len(got))
		} else {
			for _, sdp := range got[2:] { // the first one offers all codecs, those after it the one in use
				if sdp != got[1] || !strings.Contains(sdp, "o=") {
					t.Errorf("refresh says\n%s, before that\n%s", sdp, got[1])
				}
			}
		}
		if got := said["alice UPDATE"]; len(got) < 2 || strings.Join(got, "") != "" {
			t.Errorf("alice got %d UPDATEs that say %q", len(got), got)
		}
	})
}

// TestForwardersLoop: two phones forward all their calls to each other, and keep nothing of the calls
// as they do it. The loop ends within a second, and its remains a moment later (RFC 5393 §4, RFC 7332).
func TestForwardersLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t)
		s.play("phones alice 201   bob 202   carol 203")
		ctx, enough := context.WithCancel(t.Context())
		codes := make(chan int, 1000)
		var forwarders sync.WaitGroup
		forward := func(from, to string) {
			p := s.phones[from]
			forwarders.Go(func() {
				for {
					in, err := p.Next(ctx)
					if err != nil {
						return
					}
					_ = in.Ring(false)
					out, err := p.Call(ctx, to)
					if err != nil {
						return
					}
					forwarders.Go(func() {
						select {
						case <-out.Done():
							codes <- out.Code()
							_ = in.Refuse(480)
						case <-in.Done():
							out.HangUp()
							<-out.Done()
						}
					})
				}
			})
		}
		forward("bob", "203")
		forward("carol", "202")
		start := time.Now()
		s.play("alice calls bob")
		if code := <-codes; code != 482 && code != 483 {
			t.Errorf("the loop ended with %d", code)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("the loop ended after %v", d)
		}
		s.play("alice has no calls")
		t.Logf("alice was told after %v", time.Since(start))
		enough()
		s.dialed += len(s.h.records()) - 1 // those of the forwarders
		s.finish()
		forwarders.Wait()
	})
}
