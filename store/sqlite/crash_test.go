package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"pbx/store"
)

// crashDir names the environment variable that makes the test binary the child of TestKill.
const crashDir = "PBX_TEST_CRASH_DIR"

// writeUntilKilled writes settings, calls, messages and bindings at once, and
// prints each thing after it was acknowledged. It never ends by itself.
func writeUntilKilled(dir string) {
	ctx := context.Background()
	die := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	db, err := Open(ctx, Options{Dir: dir})
	die(err)
	_, err = db.CloseInterruptedCalls(ctx)
	die(err)
	for _, m := range must2(db.Unfinished(ctx)) {
		die(db.DropMessage(ctx, m.ID))
	}
	account := db.Accounts()[0]
	users := db.Snapshot(account).Users
	line := db.Snapshot(account).Devices[0].Lines[0]
	life := store.NewToken()
	acknowledge := func(kind string, id store.ID, value any) { fmt.Printf("%s %s %v\n", kind, id, value) } // one write: lines do not mix
	fmt.Println("ready - -")

	go func() { // settings
		for i := 0; ; i++ {
			name := fmt.Sprint("name-", life, "-", i)
			var version int64
			die(db.Update(ctx, store.System, account, func(tx *Tx) error {
				u, err := tx.User(users[i%len(users)].ID)
				die(err)
				u.Name = name
				err = tx.SaveUser(&u, 0)
				version = u.Version
				return err
			}))
			acknowledge("user", users[i%len(users)].ID, fmt.Sprint(version, ":", name))
		}
	}()
	go func() { // trunks and numbers, always both or neither
		for i := 0; ; i++ {
			n := newNumber(fmt.Sprintf("+%d", 49_000_000_000+time.Now().UnixMicro()%1_000_000_000), "hangup", "")
			die(db.Update(ctx, store.System, account, func(tx *Tx) error {
				trunk := newTrunk(fmt.Sprint("trunk-", life, "-", i))
				if err := tx.CreateTrunk(trunk); err != nil {
					return err
				}
				n.TrunkID = trunk.ID
				return tx.CreateNumber(n)
			}))
			acknowledge("number", n.ID, n.TrunkID)
		}
	}()
	go func() { // messages
		for {
			m := &store.Message{AccountID: account, Mailbox: users[0].ID}
			die(db.BeginMessage(ctx, m))
			acknowledge("begun", m.ID, "-")
			die(os.WriteFile(db.MessagePath(m.ID), []byte(m.ID), 0o600))
			die(db.FinishMessage(ctx, m.ID, time.Second))
			acknowledge("message", m.ID, "-")
		}
	}()
	go func() { // texts: those that wait are few, so old ones go, which is said beforehand
		to := users[0].ID
		for {
			waiting := must2(db.Texts(ctx, to))
			if len(waiting) >= store.MaxTextsOfUser/2 {
				acknowledge("taken", waiting[0].ID, "-")
				die(db.DropText(ctx, waiting[0].ID))
			}
			text := &store.Text{AccountID: account, To: to, FromUser: users[0].ID, Body: []byte(life), ReceivedAt: now(), ExpiresAt: now().Add(time.Hour)}
			die(db.AddText(ctx, text))
			acknowledge("text", text.ID, "-")
		}
	}()
	go func() { // bindings
		for i := uint32(1); ; i++ {
			b := bindingOf(line)
			b.ID, b.CSeq = "bnd_"+store.ID(life), i
			die(db.SaveBindings(ctx, []store.Binding{b}, nil))
			acknowledge("binding", b.ID, i)
		}
	}()
	for { // calls
		r := &store.CallRecord{ID: store.NewID(store.PrefixCall), AccountID: account, StartedAt: now(), Outcome: store.OutcomeOngoing}
		die(db.StartCall(ctx, r))
		acknowledge("started", r.ID, "-")
		r.EndedAt, r.Outcome = now(), store.OutcomeAnswered
		die(db.SaveCall(ctx, r))
		acknowledge("ended", r.ID, "-")
	}
}

func must2[T any](v T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return v
}

// TestKill kills a writing process at random moments of a fixed seed and looks for everything that it had acknowledged.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	account, _, _ := h.office("one")
	must(t, h.Close())
	random := rand.New(rand.NewPCG(1, 2))
	said := make(map[string]string) // kind and id: the last acknowledged value
	rounds := 10
	for round := range rounds {
		runAndKill(t, dir, time.Duration(random.IntN(150))*time.Millisecond, said)
		h := openHouse(t, dir)
		must(t, h.CheckIntegrity(t.Context()))
		interrupted, err := h.CloseInterruptedCalls(t.Context())
		must(t, err)
		if interrupted > 1 {
			t.Errorf("round %d: %d calls were open, the child had one at a time", round, interrupted)
		}
		checkAcknowledged(t, h, account, said)
		must(t, h.Close())
	}
	t.Logf("%d acknowledged things survived %d kills", len(said), rounds)
	if len(said) < rounds {
		t.Error("the child hardly wrote anything: this test proves nothing")
	}
}

// runAndKill lets the child write for a while after it is ready, kills it, and notes what it said.
func runAndKill(t *testing.T, dir string, after time.Duration, said map[string]string) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashDir+"="+dir)
	var complaints strings.Builder
	child.Stderr = &complaints
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	var killer *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		kind, rest, ok1 := strings.Cut(lines.Text(), " ")
		id, value, ok2 := strings.Cut(rest, " ")
		switch {
		case !ok1 || !ok2: // cut off by the kill
		case kind == "ready":
			killer = time.AfterFunc(after, func() { _ = child.Process.Kill() })
		default:
			said[kind+" "+id] = value
		}
	}
	err = child.Wait()
	if killer == nil {
		t.Fatalf("the child did not start: %v\n%s", err, complaints.String())
	}
	killer.Stop()
	if complaints.Len() > 0 {
		t.Fatalf("the child complained: %s", complaints.String())
	}
}

func checkAcknowledged(t *testing.T, h *house, account store.ID, said map[string]string) {
	t.Helper()
	ctx := t.Context()
	bindings, err := h.LoadBindings(ctx)
	must(t, err)
	at := make(map[store.ID]uint32)
	for _, b := range bindings {
		at[b.ID] = b.CSeq
	}
	messages := 0
	texts, err := h.Texts(ctx, h.Snapshot(account).Users[0].ID)
	must(t, err)
	for key, value := range said {
		kind, id, _ := strings.Cut(key, " ")
		switch kind {
		case "user":
			u, err := h.User(ctx, account, store.ID(id))
			must(t, err)
			var version int64
			var name string
			if _, err := fmt.Sscanf(strings.Replace(value, ":", " ", 1), "%d %s", &version, &name); err != nil {
				t.Fatal(err)
			}
			if u.Version < version || u.Version == version && u.Name != name {
				t.Errorf("user %s: acknowledged %s, found %d:%s", id, value, u.Version, u.Name)
			}
		case "started":
			_, err := h.CallRecord(ctx, account, store.ID(id))
			must(t, err)
		case "ended":
			r, err := h.CallRecord(ctx, account, store.ID(id))
			must(t, err)
			equal(t, "outcome of "+id, r.Outcome, store.OutcomeAnswered)
		case "number":
			n, err := h.Number(ctx, account, store.ID(id))
			must(t, err)
			equal(t, "trunk of "+id, string(n.TrunkID), value)
			trunk, err := h.Trunk(ctx, account, n.TrunkID)
			must(t, err)
			equal(t, "password of the trunk", string(trunk.Password), "trunk-secret")
		case "text":
			_, taken := said["taken "+id]
			if there := slices.ContainsFunc(texts, func(x store.Text) bool { return string(x.ID) == id }); !there && !taken {
				t.Errorf("text %s was acknowledged and is gone", id)
			}
		case "message":
			messages++
			_, err := h.Message(ctx, account, store.ID(id))
			must(t, err)
			sound, err := os.ReadFile(h.MessagePath(store.ID(id)))
			must(t, err)
			equal(t, "sound", string(sound), id)
		case "binding":
			var cseq uint32
			if _, err := fmt.Sscan(value, &cseq); err != nil {
				t.Fatal(err)
			}
			if at[store.ID(id)] < cseq {
				t.Errorf("binding %s: acknowledged %d, found %d", id, cseq, at[store.ID(id)])
			}
		}
	}
	box := h.Snapshot(account).Users[0].ID
	if n := h.MailboxCounts(account, box); n.New < messages {
		t.Errorf("counts %+v, acknowledged messages %d", n, messages)
	}
}
