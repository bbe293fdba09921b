package calltest_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pbx/call"
	"pbx/call/calltest"
	"pbx/media"
	"pbx/sip"
	"pbx/store"
	"pbx/store/sqlite"
)

// troubled is a store with a fault.
type troubled struct {
	*sqlite.DB
	startDelay time.Duration
	startError error
	beginError error
	countPanic bool
}

func (s *troubled) StartCall(ctx context.Context, r *store.CallRecord) error {
	<-time.After(s.startDelay)
	if s.startError != nil {
		return s.startError
	}
	return s.DB.StartCall(ctx, r)
}

func (s *troubled) BeginMessage(ctx context.Context, m *store.Message) error {
	if s.beginError != nil {
		return s.beginError
	}
	return s.DB.BeginMessage(ctx, m)
}

func (s *troubled) MailboxCounts(account, user store.ID) store.MailboxCounts {
	if s.countPanic {
		panic("a bug in one step")
	}
	return s.DB.MailboxCounts(account, user)
}

// trouble plays a script in a house with a faulty store, whose complaints are expected.
func trouble(t *testing.T, fault troubled, script string) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t, func(h *house, c *call.Config) {
			h.complaints = true
			fault.DB = h.db
			c.Store = &fault
		})
		s.play(script)
		s.finish()
	})
}

// TestAnswerWaitsForTheRecordButNotLong: R-05, people come before the disk.
func TestAnswerWaitsForTheRecordButNotLong(t *testing.T) {
	for _, c := range []struct {
		disk, want time.Duration
	}{{100 * time.Millisecond, 100 * time.Millisecond}, {3 * time.Second, 250 * time.Millisecond}} {
		t.Run(c.disk.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newScenario(t, func(h *house, cfg *call.Config) {
					cfg.Store = &troubled{DB: h.db, startDelay: c.disk}
				})
				s.play("phones alice 201")
				start := time.Now()
				s.play("alice calls *43;  alice is told answered")
				if took := time.Since(start); took < c.want || took > c.want+20*time.Millisecond {
					t.Errorf("a disk that takes %s let the caller wait for %s", c.disk, took)
				}
				s.play("wait 4s;  alice hangs up;  record: answered, alice → Echo test")
				s.finish()
			})
		})
	}
}

// TestRecordThatCouldNotBegin is still written at the end.
func TestRecordThatCouldNotBegin(t *testing.T) {
	trouble(t, troubled{startError: errors.New("disk full")}, `
		phones alice 201 bob 202
		alice calls bob;  bob answers after 1s;  alice hears bob
		alice hangs up;  bob has no calls
		record: answered, alice → bob`)
}

// TestMessageThatCannotBeRecorded says so.
func TestMessageThatCannotBeRecorded(t *testing.T) {
	trouble(t, troubled{beginError: errors.New("disk full")}, `
		user bob 202 voicemail
		phones alice 201
		alice calls bob;  alice is told answered;  alice hears speech;  alice presses #
		wait 1s;  alice hears speech
		alice has no calls
		mailbox bob: 0 new, 0 saved
		record: unreachable, alice → bob`)
}

// TestVoicemailFolderGone is the same for a file that cannot be made.
func TestVoicemailFolderGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t, func(h *house, _ *call.Config) {
			h.complaints = true
			if err := os.Remove(filepath.Dir(h.db.MessagePath("msg_x"))); err != nil {
				t.Fatal(err)
			}
		})
		s.play(`user bob 202 voicemail
			phones alice 201
			alice calls bob;  alice is told answered;  alice hears speech;  alice presses #
			wait 1s;  alice hears speech
			alice has no calls
			mailbox bob: 0 new, 0 saved`)
		if left, err := s.h.db.Unfinished(t.Context()); err != nil || len(left) != 0 {
			t.Errorf("unfinished messages left: %v, %v", left, err)
		}
		s.finish()
	})
}

// TestPanicEndsOneCall: a bug in one step costs that call, not the house.
func TestPanicEndsOneCall(t *testing.T) {
	trouble(t, troubled{countPanic: true}, `
		user carol 203 voicemail
		phones alice 201 bob 202 dave 204
		alice calls bob;  bob answers after 1s;  alice hears bob
		dave calls carol;  dave is told answered
		dave has no calls
		alice hears bob;  bob hears alice
		alice hangs up;  bob has no calls
		record: answered, alice → bob
		record: unreachable, dave → carol, 0s, system: internal error`)
}

// TestRecover finishes or drops what a former life left half recorded.
func TestRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		u := h.user("bob", "202", nil)
		leave := func(sound time.Duration, file bool) store.ID {
			m := store.Message{ID: store.NewID(store.PrefixMessage), AccountID: h.account, Mailbox: u.ID, CallerName: "alice"}
			if err := h.db.BeginMessage(t.Context(), &m); err != nil {
				t.Fatal(err)
			}
			if !file {
				return m.ID
			}
			w, err := media.CreateWAV(h.db.MessagePath(m.ID), 8000)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(make([]int16, sound/time.Second*8000+4000)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			// As a kill leaves it: the header knows nothing of the last samples.
			f, err := os.OpenFile(h.db.MessagePath(m.ID), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte{0, 0, 0, 0}, 40); err != nil {
				t.Fatal(err)
			}
			return m.ID
		}
		long, short, none := leave(4*time.Second, true), leave(0, true), leave(0, false)
		if err := h.engine.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		messages, _, err := h.db.Messages(t.Context(), h.account, nil, store.Page{})
		if err != nil || len(messages) != 1 || messages[0].ID != long || messages[0].Duration != 4500*time.Millisecond {
			t.Errorf("recovered %+v, %v", messages, err)
		}
		for _, id := range []store.ID{short, none} {
			if _, err := os.Stat(h.db.MessagePath(id)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("sound of a dropped message: %v", err)
			}
		}
		if left, err := h.db.Unfinished(t.Context()); err != nil || len(left) != 0 {
			t.Errorf("still unfinished: %v, %v", left, err)
		}
		h.close()
	})
}

// TestEngineRefuses what it cannot do.
func TestEngineRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		u := h.user("alice", "201", nil)
		ctx := t.Context()
		if err := h.engine.HangUp(h.account, "cal_none"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("hanging up no call: %v", err)
		}
		if _, err := h.engine.Originate(ctx, h.account, u.ID, "202"); !errors.Is(err, call.ErrNoPhone) {
			t.Errorf("calling for somebody without a phone: %v", err)
		}
		if _, err := h.engine.Originate(ctx, h.account, "usr_none", "202"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("calling for nobody: %v", err)
		}
		if _, err := h.engine.Originate(ctx, "acc_none", u.ID, "202"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("calling in no account: %v", err)
		}
		p := h.phone("alice", &u, calltest.PhoneConfig{}, false)
		id, err := h.engine.Originate(ctx, h.account, u.ID, "*43")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.engine.HangUp("acc_other", id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("hanging up a call of another account: %v", err)
		}
		if err := h.engine.HangUp(h.account, id); err != nil {
			t.Error(err)
		}
		now, cancel := context.WithCancel(ctx)
		cancel()
		if err := h.engine.Close(now); err != nil {
			t.Error(err)
		}
		if _, err := h.engine.Originate(ctx, h.account, u.ID, "*43"); !errors.Is(err, call.ErrClosing) {
			t.Errorf("calling in a closing house: %v", err)
		}
		c, err := p.Call(ctx, "*43")
		if err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		if c.Code() != 503 {
			t.Errorf("a closing house refused a call with %d", c.Code())
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		h.close()
	})
}

// TestMaxForwards: a call that may not hop once more is refused (RFC 3261 §16.3), and the next leg may hop once less.
func TestMaxForwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScenario(t)
		s.play("phones alice 201 bob 202\nalice calls bob;  bob rings")
		c, err := s.current("bob")
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Header("Max-Forwards"); got != "69" {
			t.Errorf("the called phone may hop %s times", got)
		}
		s.play("alice hangs up")
		s.finish()
	})
}

// TestRealSockets: the phones of the demonstration office talk over the machine's own network.
func TestRealSockets(t *testing.T) {
	home := netip.MustParseAddrPort("127.0.0.1:0")
	h := newHouseAt(t, nil, sip.HostNetwork(), []netip.AddrPort{home})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	x, y := h.user("alice", "201", nil), h.user("bob", "202", nil)
	var port [2]netip.AddrPort
	for _, l := range h.sip.Listeners() {
		port[map[string]int{"udp": 0, "tcp": 1}[l.Transport]] = l.Addr
	}
	alice := h.phoneAt("alice", &x, calltest.PhoneConfig{Network: sip.HostNetwork(), Local: home, Server: port[0], Voice: 500})
	bob := h.phoneAt("bob", &y, calltest.PhoneConfig{Network: sip.HostNetwork(), Local: home, Server: port[1], Voice: 700, Transport: "tcp"})
	out, err := alice.Call(ctx, "202")
	if err != nil {
		t.Fatal(err)
	}
	in, err := bob.Next(ctx)
	if err == nil {
		err = in.Answer(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(out.Hear(ctx, 700), in.Hear(ctx, 500)); err != nil {
		t.Error(err)
	}
	if err := out.Hold(ctx); err != nil {
		t.Error(err)
	}
	if err := in.HearSound(ctx); err != nil {
		t.Error(err)
	}
	in.HangUp()
	select {
	case <-out.Done():
	case <-ctx.Done():
		t.Error("the caller's phone still has the call")
	}
	for _, p := range []*calltest.Phone{alice, bob} {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	h.close()
	if len(h.last) != 1 || !strings.HasPrefix(inShort(h.last[0]), "answered, alice → bob") {
		t.Errorf("left the records %v", h.last)
	}
}
