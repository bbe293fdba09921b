package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pbx/store"
)

func traceOf(account store.ID, n int) store.Trace {
	t := store.Trace{
		CallID: store.NewID(store.PrefixCall), AccountID: account,
		Legs: []store.TraceLeg{{SIPCallID: "a@x", UserID: "usr_1", DeviceID: "dev_1"}, {SIPCallID: "b", TrunkID: "trk_1"}},
	}
	for i := range n {
		t.Messages = append(t.Messages, store.TraceMessage{
			At: time.Date(2026, 1, 2, 3, 4, 5, i*1000, time.UTC), Sent: i%2 == 0, Transport: "udp", Leg: i % 2, Again: i == 3,
			Local: netip.MustParseAddrPort("192.0.2.1:5060"), Remote: netip.MustParseAddrPort("[2001:db8::7]:5062"),
			Raw: []byte(fmt.Sprintf("INVITE sip:%d@x SIP/2.0\r\n\r\n\x00\xff body", i)),
		})
	}
	return t
}

func TestTracesAreKept(t *testing.T) {
	h := openHouse(t, t.TempDir())
	account, _, _ := h.office("one")
	other, _, _ := h.office("two")
	one, two := traceOf(account, 12), traceOf(account, 0)
	nobody := traceOf("acc_gone", 1)
	must(t, h.SaveTraces(t.Context(), []store.Trace{one, two, nobody}))
	got, err := h.Trace(t.Context(), account, one.CallID)
	must(t, err)
	if !reflect.DeepEqual(got, one) {
		t.Errorf("trace is\n%+v\nwant\n%+v", got, one)
	}
	if _, err := h.Trace(t.Context(), other, one.CallID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("trace of another account: %v", err)
	}
	if _, err := h.Trace(t.Context(), "acc_gone", nobody.CallID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("trace of an account that is gone: %v", err)
	}
}

func TestDamagedTraceIsAnError(t *testing.T) {
	tr := traceOf("acc_1", 4)
	packed, err := packTrace(&tr)
	must(t, err)
	for n := range packed {
		if got, err := unpackTrace(packed[:n]); err == nil && len(got.Messages) > 0 {
			t.Fatalf("%d of %d octets are read without an error", n, len(packed))
		}
	}
}

func TestOldTracesGo(t *testing.T) {
	h := openHouse(t, t.TempDir())
	account, _, _ := h.office("one")
	var all []store.Trace
	for range 10 {
		all = append(all, traceOf(account, 50))
	}
	must(t, h.SaveTraces(t.Context(), all))
	left := func() (ids []store.ID) {
		for i := range all {
			if _, err := h.Trace(t.Context(), account, all[i].CallID); err == nil {
				ids = append(ids, all[i].CallID)
			}
		}
		return ids
	}
	run := func(f func(ctx context.Context, tx *sql.Tx) error) {
		t.Helper()
		must(t, h.queue.do(t.Context(), "test", f, nil))
	}
	run(func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE traces SET saved_at = ? WHERE call_id IN (?, ?)`, micros(time.Now().AddDate(0, 0, -31)), all[4].CallID, all[5].CallID)
		return errors.Join(err, h.dropOldTraces(ctx, tx, 1<<40))
	})
	if got := left(); len(got) != 8 || slices.Contains(got, all[4].CallID) || slices.Contains(got, all[5].CallID) {
		t.Errorf("after 31 days %d of 10 are left", len(got))
	}
	packed, err := packTrace(&all[0])
	must(t, err)
	run(func(ctx context.Context, tx *sql.Tx) error {
		return h.dropOldTraces(ctx, tx, int64(len(packed))*3+20)
	})
	if got := left(); !slices.Equal(got, []store.ID{all[7].CallID, all[8].CallID, all[9].CallID}) {
		t.Errorf("the bound keeps %v", got)
	}
}

func TestBansSurvive(t *testing.T) {
	dir := t.TempDir()
	h := openHouse(t, dir)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	one := store.Ban{Addr: netip.MustParseAddr("198.51.100.7"), Reason: "scanner", Since: at, Until: at.Add(time.Hour), Times: 2, Hits: 99, Evidence: []string{"OPTIONS sip:100@x SIP/2.0"}}
	two := store.Ban{Addr: netip.MustParseAddr("2001:db8::"), Reason: "nuisance", By: "Ada", Since: at.Add(1000), Until: at.Add(time.Minute), Times: 1, Evidence: []string{}}
	must(t, h.SaveBans(t.Context(), []store.Ban{one, two}, nil))
	two.Hits = 7
	must(t, h.SaveBans(t.Context(), []store.Ban{two}, []netip.Addr{netip.MustParseAddr("192.0.2.1")}))
	got, err := h.LoadBans(t.Context())
	must(t, err)
	if want := []store.Ban{one, two}; !reflect.DeepEqual(got, want) {
		t.Errorf("bans are\n%+v\nwant\n%+v", got, want)
	}
	must(t, h.SaveBans(t.Context(), nil, []netip.Addr{one.Addr}))
	if got, err = h.LoadBans(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("after one was lifted: %v %v", got, err)
	}
}

func TestTextsWait(t *testing.T) {
	h := openHouse(t, t.TempDir())
	account, ada, bob := h.office("one")
	at := time.Now().UTC().Truncate(time.Microsecond)
	var want []store.Text
	for i := range store.MaxTextsOfUser {
		x := store.Text{AccountID: account, To: bob, FromUser: ada, FromNumber: "101", FromName: "Ada", ContentType: "text/plain", Body: []byte{byte(i), 0xff}, ReceivedAt: at, ExpiresAt: at.Add(time.Hour)}
		must(t, h.AddText(t.Context(), &x))
		want = append(want, x)
	}
	more := want[0]
	more.ID = ""
	if err := h.AddText(t.Context(), &more); !errors.Is(err, store.ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
	more.To = "usr_unknown"
	if err := h.AddText(t.Context(), &more); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("for nobody: %v", err)
	}
	must(t, h.DropText(t.Context(), want[1].ID))
	want = slices.Delete(want, 1, 2)
	got, err := h.Texts(t.Context(), bob)
	must(t, err)
	if !slices.EqualFunc(got, want, func(a, b store.Text) bool {
		return a.ID == b.ID && bytes.Equal(a.Body, b.Body) && a.ExpiresAt.Equal(b.ExpiresAt)
	}) {
		t.Errorf("%d texts wait, want %d in order", len(got), len(want))
	}
	late := want[0]
	late.ID, late.To, late.ExpiresAt = "", ada, at.Add(-time.Second)
	must(t, h.AddText(t.Context(), &late))
	if got, err := h.Texts(t.Context(), ada); err != nil || len(got) != 0 {
		t.Errorf("what is too old: %v %v", got, err)
	}
	if got, err := h.Waiting(t.Context()); err != nil || !slices.Equal(got, []store.ID{bob}) {
		t.Errorf("texts wait for %v %v", got, err)
	}
}
