package provisioning

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pbx/provisioning/provtest"
	"pbx/store"
)

// deviceFile renders the secret file of the first device.
func deviceFile(t *testing.T, f *firm) (*provtest.Config, File) {
	t.Helper()
	s, _ := f.server()
	files, err := s.Render(f.account.ID, "dev_0001", false)
	if err != nil {
		t.Fatal(err)
	}
	file := files[len(files)-1]
	c, err := provtest.ParseYealink(file.Body)
	if err != nil {
		t.Fatal(err)
	}
	return c, file
}

// TestHandsets checks which handset rings for which account, and what is left out.
func TestHandsets(t *testing.T) {
	for _, c := range []struct {
		model    string
		handsets [][]int // users of each handset device
		own      []int   // users of the base's own lines
		want     []string
		warnings int
	}{
		{"W60B", nil, []int{1, 2, 3}, []string{"1", "2", "3", ""}, 0},
		{"W60B", [][]int{{1}, {2, 3}}, []int{3}, []string{"1", "2,3", "4", ""}, 0},
		{"W60B", [][]int{{}, {1}}, nil, []string{"", "1", ""}, 0},
		{"W52P", [][]int{{1, 2, 3}, {1, 2, 3}}, nil, []string{"1,2,3", "4,5", ""}, 1},
		{"W52P", [][]int{{1}, {1}, {1}, {1}, {1}, {2}}, nil, []string{"1", "2", "3", "4", "5"}, 2},
	} {
		f := newFirm()
		f.add(store.Device{Kind: store.DECTBase, Model: c.model, MAC: "805ec0000001"}, c.own...)
		for _, users := range c.handsets {
			f.add(store.Device{Kind: store.DECTHandset, BaseID: "dev_0001"}, users...)
		}
		f.add(store.Device{Kind: store.DECTHandset, BaseID: "dev_none"}, 1) // at another base
		cfg, file := deviceFile(t, f)
		var got []string
		for n := range c.want {
			lines := cfg.Values[fmt.Sprintf("handset.%d.incoming_lines", n+1)]
			first, _, _ := strings.Cut(lines, ",")
			if cfg.Values[fmt.Sprintf("handset.%d.dial_out_lines", n+1)] != lines || cfg.Values[fmt.Sprintf("handset.%d.dial_out_default_line", n+1)] != first {
				t.Errorf("%+v: handset %d does not call out as it rings", c, n+1)
			}
			got = append(got, lines)
		}
		if !slices.Equal(got, c.want) || len(file.Warnings) != c.warnings {
			t.Errorf("%+v: got %q, warnings %q", c, got, file.Warnings)
		}
	}
}

// TestOneLinePerHandset checks the large systems, where account i belongs to handset i.
func TestOneLinePerHandset(t *testing.T) {
	f := newFirm()
	f.add(store.Device{Kind: store.DECTBase, Model: "W90DM", MAC: "805ec0000001"}, 3)
	f.add(store.Device{Kind: store.DECTHandset, BaseID: "dev_0001", Name: "Empty"})
	f.add(store.Device{Kind: store.DECTHandset, BaseID: "dev_0001", Name: "Two"}, 1, 2)
	cfg, file := deviceFile(t, f)
	accounts, err := cfg.Accounts()
	if err != nil || len(accounts) != 2 || accounts[0].N != 2 || accounts[0].User != "sip0003x1" || accounts[1].N != 3 || accounts[1].User != "sip0001x1" {
		t.Errorf("accounts %+v, %v", accounts, err)
	}
	if cfg.Values["handset.1.name"] != "Empty" || cfg.Values["handset.2.name"] != "Two" || cfg.Values["handset.3.name"] != "Zoë Œuvre" {
		t.Errorf("handsets %v", cfg.Values)
	}
	if len(file.Warnings) != 1 || strings.Contains(string(file.Body), "pass-0003-2") {
		t.Errorf("warnings %q", file.Warnings)
	}
}

func TestBaseOfManager(t *testing.T) {
	f := newFirm()
	f.add(store.Device{Kind: store.DECTBase, Model: "W90B", MAC: "805ec0000001"}, 1)
	cfg, file := deviceFile(t, f)
	if accounts, err := cfg.Accounts(); err != nil || len(accounts) != 0 || len(file.Warnings) != 1 {
		t.Errorf("accounts %+v, %v, warnings %q", accounts, err, file.Warnings)
	}
}

func TestWebPasswords(t *testing.T) {
	f := newFirm()
	f.add(store.Device{Kind: store.Deskphone, Model: "T54W", MAC: "805ec0000001"}, 1)
	cfg, _ := deviceFile(t, f)
	var got []string
	for _, p := range cfg.Pairs {
		if p[0] == "static.security.user_password" {
			got = append(got, p[1])
		}
	}
	if len(got) != 2 || got[0] != "admin:"+testAdmin || got[1] != "user:"+string(userPassword(testAdmin, "805ec0000001")) {
		t.Errorf("passwords %q", got)
	}
	if userPassword(testAdmin, "805ec0000001") == userPassword(testAdmin, "805ec0000002") {
		t.Error("two phones share a password")
	}
	f.account.PhoneAdminPassword = ""
	if cfg, _ := deviceFile(t, f); cfg.Counts["static.security.user_password"] != 0 {
		t.Error("an empty password is set")
	}
}
