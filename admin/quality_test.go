package admin

import (
	"context"
	"net/http"
	"testing"
	"time"

	"pbx/store"
)

// TestCallQualityAPI: figures and faults of a call that has ended come from its record, those of one that is up from the call.
func TestCallQualityAPI(t *testing.T) {
	h := newHouse(t)
	r := h.call(t, h.account, h.ada, h.bob)
	path := "/accounts/default/call-records/" + string(r.ID)
	if a := h.admin.do("GET", path+"/quality", nil).want(http.StatusOK); a.text("legs") != "[]" || a.text("mos") != "<nil>" {
		t.Errorf("not measured: %s", a.body)
	}
	if a := h.admin.do("GET", path, nil).want(http.StatusOK); a.text("quality") != "<nil>" {
		t.Errorf("not measured: %s", a.body)
	}
	q := store.CallQuality{
		MOS: 3.912, LossPct: 1.249, JitterMS: 4,
		Legs: []store.LegQuality{{
			Side: "caller", Name: "Ada", Codec: "PCMU", Remote: "192.0.2.7:4000", RoundTripMS: 21, StartedAt: r.StartedAt, StepS: 10,
			From:   store.FlowQuality{MOS: 3.912, WorstMOS: 2, LossPct: 1.249, Packets: 500, Missed: 6},
			Points: []store.QualityPoint{{391, 125, 40, 0, 0, 0, 21}, {200, 900, 200, 0, 0, 0, 0}},
		}},
		Faults: []store.AudioFault{{Side: "caller", Direction: "to", Class: "codec", Address: "192.0.2.7:4000", BeganAt: r.StartedAt, EndedAt: r.StartedAt.Add(time.Second)}},
	}
	r.Quality = &q
	if err := h.db.SaveCall(context.Background(), &r); err != nil {
		t.Fatal(err)
	}
	a := h.admin.do("GET", path+"/quality", nil).want(http.StatusOK)
	for p, want := range map[string]string{
		"running": "false", "mos": "3.91", "loss_pct": "1.25", "legs.0.codec": "PCMU", "legs.0.remote": "192.0.2.7:4000", "legs.0.from.mos": "3.91",
		"legs.0.to.mos": "<nil>", "legs.0.from.missed": "6", "legs.0.samples.0.from.mos": "3.91", "legs.0.samples.1.from.loss_pct": "9", "legs.0.samples.1.to.mos": "<nil>",
		"legs.0.samples.1.at": r.StartedAt.Add(20 * time.Second).UTC().Format(time.RFC3339Nano), "faults.0.class": "codec", "faults.0.direction": "to",
		"faults.0.address": "192.0.2.7:4000",
	} {
		if got := a.text(p); got != want {
			t.Errorf("%s is %q, want %q", p, got, want)
		}
	}
	if a := h.admin.do("GET", path, nil).want(http.StatusOK); a.text("quality.mos") != "3.91" || a.text("quality.faults") != "1" {
		t.Errorf("record: %s", a.body)
	}

	// Of their own calls members see all but where the phones are; of others' calls nothing.
	a = h.member.do("GET", path+"/quality", nil).want(http.StatusOK)
	if a.text("legs.0.remote") != "" || a.text("faults.0.address") != "<nil>" || a.text("legs.0.from.mos") != "3.91" {
		t.Errorf("for a member: %s", a.body)
	}
	other := h.call(t, h.account, h.ada, h.ada)
	h.member.do("GET", "/accounts/default/call-records/"+string(other.ID)+"/quality", nil).want(http.StatusNotFound)

	up := store.CallRecord{ID: store.NewID(store.PrefixCall), AccountID: h.account, StartedAt: time.Now(), Direction: "internal", Outcome: store.OutcomeOngoing}
	if err := h.db.StartCall(context.Background(), &up); err != nil {
		t.Fatal(err)
	}
	h.calls.sound = map[store.ID]*store.CallQuality{up.ID: {MOS: 4.4}}
	if a := h.admin.do("GET", "/accounts/default/call-records/"+string(up.ID)+"/quality", nil).want(http.StatusOK); a.text("running") != "true" || a.text("mos") != "4.4" {
		t.Errorf("while it is up: %s", a.body)
	}
}
