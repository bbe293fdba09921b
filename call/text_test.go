package call

import (
	"fmt"
	"testing"

	"pbx/dialplan"
	"pbx/store"
)

// A text to the outside has the rights, the number and the spelling of a call.
func TestRouteText(t *testing.T) {
	account := store.Account{ID: "acc_1", Country: "DE", ExtensionLength: 3, DefaultOutboundNumberID: "num_1", OutboundCountries: []string{"FR"}}
	users := []store.User{{ID: "usr_a", AccountID: "acc_1", Name: "Alice", Extension: "201"}}
	trunks := []store.Trunk{
		{ID: "trk_1", AccountID: "acc_1", Name: "First", Enabled: true, Format: "00", Prefixes: []string{"+49"}},
		{ID: "trk_2", AccountID: "acc_1", Name: "Second", Enabled: true, Format: "e164"},
	}
	numbers := []store.Number{{ID: "num_1", AccountID: "acc_1", Number: "+4930123456", Kind: "managed", Status: "active", Destination: store.Destination{Type: "hangup"}}}
	engine := func(a store.Account) *Engine {
		rows := store.NewSnapshot(a, users, nil).WithTrunks(trunks, numbers)
		plan, err := dialplan.Compile(rows)
		if err != nil {
			t.Fatal(err)
		}
		return NewEngine(Config{Plan: func(id store.ID) (*dialplan.Plan, *store.Snapshot) {
			if id != a.ID {
				return nil, nil
			}
			return plan, rows
		}})
	}
	nameless := account
	nameless.DefaultOutboundNumberID = ""
	for _, tc := range []struct {
		account store.Account
		to      string
		want    string
	}{
		{account, "040 777777", "[{trk_1 004940777777 004930123456} {trk_2 +4940777777 +4930123456}] <nil>"},
		{account, "+33140000000", "[{trk_2 +33140000000 +4930123456}] <nil>"},
		{account, "+12125550123", "[] refused: 403 Not permitted"},
		{account, "112", "[] refused: 404 No Texts To Emergency Numbers"},
		{account, "*67040777777", "[] refused: 403 No Number To Send From"},
		{account, "*97", "[] refused: 404 Not Found"},
		{account, "xyz", "[] refused: 404 Not in service"},
		{nameless, "040777777", "[] refused: 403 No Number To Send From"},
	} {
		routes, refused := engine(tc.account).RouteText("acc_1", "usr_a", tc.to)
		got := fmt.Sprint(routes, " ", refused)
		if refused == nil {
			got = fmt.Sprint(routes, " <nil>")
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.to, got, tc.want)
		}
	}
	if _, refused := engine(account).RouteText("acc_2", "usr_a", "040777777"); refused == nil || refused.Code != 403 {
		t.Errorf("another account: %v", refused)
	}
}
