package sip_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// textBook keeps texts as the database would.
type textBook struct {
	trunks []store.Trunk // of the account, which has the number +49309 of bob
	mu     sync.Mutex
	rows   []store.Text
	fail   error
}

func (b *textBook) AddText(_ context.Context, t *store.Text) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, r := range b.rows {
		if r.To == t.To {
			n++
		}
	}
	switch {
	case b.fail != nil:
		return b.fail
	case n >= store.MaxTextsOfUser:
		return store.ErrTooMany
	}
	b.rows = append(b.rows, *t)
	return nil
}

func (b *textBook) Texts(_ context.Context, user store.ID) (all []store.Text, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		if r.To == user && r.ExpiresAt.After(time.Now()) {
			all = append(all, r)
		}
	}
	return all, nil
}

func (b *textBook) Waiting(context.Context) (users []store.ID, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		users = append(users, r.To)
	}
	return users, nil
}

func (b *textBook) DropText(_ context.Context, id store.ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = slices.DeleteFunc(b.rows, func(r store.Text) bool { return r.ID == id })
	return nil
}

func (b *textBook) kept() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.rows)
}

func (b *textBook) Snapshot(account store.ID) *store.Snapshot {
	if account != "acc_1" {
		return nil
	}
	return store.NewSnapshot(store.Account{ID: account, DefaultOutboundNumberID: "num_1"}, []store.User{
		{ID: "usr_alice", AccountID: account, Name: "Alice A", Extension: "201"},
		{ID: "usr_bob", AccountID: account, Name: "Bob B", Extension: "202"},
		{ID: "usr_carol", AccountID: account, Name: "Carol C", Extension: "203"},
	}, nil).WithTrunks(b.trunks, []store.Number{
		{ID: "num_1", AccountID: account, Number: "+49309", Status: "active", Destination: store.Destination{Type: "user", ID: "usr_bob"}},
	})
}

// ways lead texts for whatever begins with a plus sign over two trunks, of which the first does not exist.
type ways struct{}

func (ways) RouteText(account, user store.ID, dialed string) ([]sip.TextRoute, *sip.Refusal) {
	if account != "acc_1" || user == "" || !strings.HasPrefix(dialed, "+") {
		return nil, &sip.Refusal{Code: 404, Reason: "Not in service"}
	}
	return []sip.TextRoute{{Trunk: "trk_0"}, {Trunk: "trk_1", Number: dialed, Caller: "+49309"}}, nil
}

func texting(b *textBook) func(*sip.Config) { return func(c *sip.Config) { c.Texts = b } }

func (w *world) say(p *siptest.Phone, to, body string, want int) {
	w.t.Helper()
	if code, err := p.Say(w.ctx, to, "text/plain", body); err != nil || code != want {
		w.t.Errorf("%q to %s: %d %v, want %d", clipped(body[:min(len(body), 20)]), to, code, err, want)
	}
}

// RFC 3428: a text reaches every phone of its recipient, from who the sender really is.
func TestTextBetweenPhones(t *testing.T) {
	book := &textBook{}
	bubble(t, func(w *world) {
		alice, bob, tcp := w.registered("alice"), w.registered("bob"), w.registered("bob", overTCP)
		w.say(alice, "202", "hello", 200)
		for _, p := range []*siptest.Phone{bob, tcp} {
			got := within(t, time.Second, p.Words(), "text")
			if got.Body != "hello" || got.ContentType != "text/plain" || !strings.HasPrefix(got.From, `"Alice A" <sip:201@10.0.0.1>`) {
				t.Errorf("bob got %+v", got)
			}
		}
		w.say(alice, "999", "x", 404)
		w.say(alice, "202", strings.Repeat("x", 4097), 513)
		w.say(alice, "202", strings.Repeat("y", 2000), 200) // the phone with a connection takes it, the other cannot
		if got := within(t, time.Second, tcp.Words(), "long text"); len(got.Body) != 2000 {
			t.Errorf("%d octets came", len(got.Body))
		}
		w.say(bob, "201", strings.Repeat("z", 2000), 513) // RFC 3428 §8: not by UDP
		if code, err := alice.Say(w.ctx, "202", "application/x-drawing", "\x00\x01"); err != nil || code != 200 {
			t.Errorf("a drawing: %d %v", code, err)
		}
		if code, err := alice.Say(w.ctx, "202", "multipart/mixed; boundary=x", "x"); err != nil || code != 415 {
			t.Errorf("many parts: %d %v", code, err)
		}
		if n := book.kept(); n != 0 {
			t.Errorf("%d texts are kept", n)
		}
		if got := w.server.Stats().TextsSent; got < 4 {
			t.Errorf("%d texts counted", got)
		}
	}, texting(book))
}

func TestTextFromNobody(t *testing.T) {
	bubble(t, func(w *world) {
		bob := w.registered("bob")
		x := w.stranger("203.0.113.5:5060")
		defer x.conn.Close()
		if code := x.says("MESSAGE", "sip:202@10.0.0.1"); code != 401 {
			t.Errorf("a stranger got %d", code)
		}
		time.Sleep(time.Second)
		if len(bob.Words()) != 0 {
			t.Error("a stranger's text was delivered")
		}
	}, texting(&textBook{}))
	bubble(t, func(w *world) {
		w.say(w.registered("alice"), "202", "hello", 405)
	})
}

// A phone that is off gets its texts when it comes, in order and once; a restart in between loses none.
func TestTextsWaitForPhone(t *testing.T) {
	book := &textBook{}
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		for i := range 5 {
			w.say(alice, "202", fmt.Sprint(i), 202)
		}
		if n := book.kept(); n != 5 {
			t.Fatalf("%d texts are kept", n)
		}
		if err := w.server.Close(w.ctx); err != nil {
			t.Fatal(err)
		}
		w.server = w.start()
		bob := w.registered("bob")
		for i := range 5 {
			if got := within(t, time.Second, bob.Words(), "text that waited"); got.Body != fmt.Sprint(i) {
				t.Errorf("text %d is %q", i, got.Body)
			}
		}
		time.Sleep(time.Second)
		if n := book.kept(); n != 0 {
			t.Errorf("%d delivered texts are kept", n)
		}
		if err := bob.Register(w.ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if len(bob.Words()) != 0 {
			t.Error("a text came twice")
		}
		w.say(alice, "202", "now", 200)
	}, texting(book))
}

// A phone that is registered and says nothing does not cost the text, nor the order.
func TestTextToSilentPhone(t *testing.T) {
	book := &textBook{}
	bubble(t, func(w *world) {
		alice, bob := w.registered("alice"), w.registered("bob")
		bob.Vanish()
		start := time.Now()
		w.say(alice, "202", "one", 202)
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("the sender waited %v", d)
		}
		w.say(alice, "202", "two", 202)
		time.Sleep(2 * time.Minute) // every transaction has ended
		bob.Return()
		if err := bob.Register(w.ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"one", "two"} {
			if got := within(t, 5*time.Second, bob.Words(), want); got.Body != want {
				t.Errorf("got %q, want %q", got.Body, want)
			}
		}
		time.Sleep(time.Minute)
		if n := book.kept(); n != 0 || len(bob.Words()) != 0 {
			t.Errorf("%d texts are kept, %d came twice", n, len(bob.Words()))
		}
	}, texting(book))
}

// A phone that takes its time has the text once, though it was kept meanwhile.
func TestTextThatIsTakenLate(t *testing.T) {
	book := &textBook{}
	bubble(t, func(w *world) {
		alice, bob := w.registered("alice"), w.registered("bob")
		w.net.Delay(6*time.Second, func(m siptest.Message) bool { return m.Method == "MESSAGE" && m.From.Addr() == bobAddr })
		w.say(alice, "202", "slow", 202)
		time.Sleep(time.Minute)
		if got := len(bob.Words()); got != 1 || book.kept() != 0 {
			t.Errorf("it came %d times, %d are kept", got, book.kept())
		}
	}, texting(book))
}

// A phone that takes no texts says so to the sender; a full box and a full disk are said so too.
func TestTextRefused(t *testing.T) {
	book := &textBook{}
	bubble(t, func(w *world) {
		alice, bob := w.registered("alice"), w.registered("bob")
		bob.AnswerWords(415)
		w.say(alice, "202", "hello", 415)
		if n := book.kept(); n != 0 {
			t.Errorf("%d texts wait that no phone will take", n)
		}
		// What was accepted is not lost because the first phone that comes takes none.
		bob.AnswerWords(480)
		w.say(alice, "202", "one", 202)
		w.say(alice, "202", "two", 202)
		bob.AnswerWords(405)
		if err := bob.Register(w.ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		bob.AnswerWords(0)
		if err := bob.Register(w.ctx, time.Hour); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"one", "two"} {
			if got := within(t, 5*time.Second, bob.Words(), want); got.Body != want {
				t.Errorf("got %q, want %q", got.Body, want)
			}
		}
		for range store.MaxTextsOfUser {
			w.say(alice, "203", "x", 202)
		}
		w.say(alice, "203", "one too many", 480)
		book.mu.Lock()
		book.fail = store.ErrFull
		book.mu.Unlock()
		w.say(alice, "203", "x", 503)
	}, texting(book))
}

// A phone that comes while a text is on its way to another one of its user, which is silent, gets it as soon as that is
// given up, and not only when it registers the next time.
func TestTextWhilePhoneComes(t *testing.T) {
	book := &textBook{}
	bubble(t, func(w *world) {
		alice := w.registered("alice")
		w.say(alice, "202", "hello", 202)
		w.net.Drop(func(m siptest.Message) bool {
			return m.Method == "MESSAGE" && m.To.Addr() == bobAddr && m.To.Port() == 5060
		})
		w.registered("bob") // the text is on its way there for 32 s
		time.Sleep(5 * time.Second)
		bob := w.registered("bob", overTCP)
		if got := within(t, time.Minute, bob.Words(), "text that waited"); got.Body != "hello" {
			t.Errorf("got %q", got.Body)
		}
		time.Sleep(time.Minute)
		if n := book.kept(); n != 0 || len(bob.Words()) != 0 {
			t.Errorf("%d texts are kept, %d came twice", n, len(bob.Words()))
		}
	}, texting(book))
}

// RFC 3428 over carriers: texts come from and go to those that exchange them, and to no other.
func TestTextOverCarrier(t *testing.T) {
	for _, exchanged := range []bool{true, false} {
		row := trunkRow(func(r *store.Trunk) { r.Messages = exchanged })
		book := &textBook{trunks: []store.Trunk{row}}
		trunkBubble(t, book.trunks, func(w *trunkWorld) {
			time.Sleep(time.Second)
			w.one.Oblige()
			bob := w.registered("bob")
			in := w.one.Ask(pbxPort, "MESSAGE", "sip:+49309@10.0.0.1", "From: <sip:+49301@carrier.test>;tag=x")
			w.say(bob, "201", "inside", 202)
			out := 404 // nobody carries it
			if exchanged {
				out = 200
			}
			w.say(bob, "+4930777", "hello, world", out)
			w.say(bob, "0777", "no country", 404)
			sent := w.one.Got("MESSAGE")
			if !exchanged {
				if !strings.HasPrefix(in, "SIP/2.0 403 ") || len(sent) != 0 || len(bob.Words()) != 0 {
					t.Errorf("a carrier without texts: %q, %d sent, %d came", in, len(sent), len(bob.Words()))
				}
				return
			}
			if !strings.HasPrefix(in, "SIP/2.0 200 ") {
				t.Errorf("from outside: %s", in)
			}
			if got := within(t, time.Second, bob.Words(), "text"); got.Body != "a word from outside" || !strings.Contains(got.From, "sip:+49301@") {
				t.Errorf("bob got %+v", got)
			}
			if text := w.one.Ask(pbxPort, "MESSAGE", "sip:+49308@10.0.0.1"); !strings.HasPrefix(text, "SIP/2.0 404 ") {
				t.Errorf("to a number that nobody has: %s", text)
			}
			// Once without credentials, once with them.
			if len(sent) != 2 || !strings.Contains(sent[1].Text, "hello, world") || !strings.Contains(sent[1].Header("From"), "sip:+49309@") {
				t.Errorf("the carrier got %+v", sent)
			}
			w.say(bob, "+4930777", strings.Repeat("x", 900), 513) // RFC 3428 §8: not by UDP
		}, texting(book))
	}
}
