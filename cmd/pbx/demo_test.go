package main

import (
	"testing"

	"pbx/admin"
	"pbx/store/sqlite"
)

// TestDemoLeavesRealOfficesAlone starts the demo over the data of somebody who has no phones yet.
func TestDemoLeavesRealOfficesAlone(t *testing.T) {
	db, err := sqlite.Open(t.Context(), sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := admin.Bootstrap(t.Context(), admin.Open(db), "ada@acme.test", "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	if _, err := furnish(t.Context(), db); err == nil {
		t.Error("the sample office moved in")
	}
	if s := db.Snapshot(db.Accounts()[0]); len(s.Users) != 1 || s.Account.Name != "Default" {
		t.Errorf("now %d people in %s", len(s.Users), s.Account.Name)
	}
}
