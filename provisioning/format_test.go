package provisioning

import (
	"fmt"
	"strings"
	"testing"
	"text/template/parse"

	"pbx/provisioning/provtest"
	"pbx/store"
)

func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{
		`Ada "The Count" O'Neill <a&b> #1; x`: `Ada "The Count" O'Neill <a&b> #1; x`,
		"two\nlines\r\nand\ttab":              "two lines and tab",
		"x\naccount.1.password = evil":        "x account.1.password = evil",
		"nul\x00esc\x1b[2J\u0085end":          "nul esc [2J end",
		"line\u2028para\u2029end":             "line para end",
		"%NULL%":                              "NULL",
		"%NU%NULL%LL%":                        "%NUNULLLL%",
		"%%NULL%NULL%":                        "%NULLNULL%",
		"Zoë Œuvre 山田":                        "Zoë Œuvre 山田",
		"שלום \u202Egnp.exe\u202C":            "שלום gnp.exe",
		"bad\xff\xfeutf":                      "bad\uFFFDutf",
		"  spaces  ":                          "spaces",
		strings.Repeat("é", 200):              strings.Repeat("é", maxText),
		"\n\r\x00":                            "",
	} {
		got := cleanText(in)
		if got != want {
			t.Errorf("cleanText(%q) = %q, want %q", in, got, want)
		}
		if _, err := keyValue(got); err != nil {
			t.Errorf("cleaned %q is refused: %v", in, err)
		}
	}
}

func TestKeyValueRefuses(t *testing.T) {
	for _, s := range []string{"a\nb", "a\r", "\x00", "a\x7f", "\u2028", "a\xff", " a", "a ", "%NULL%", "x%NULL%y"} {
		if got, err := keyValue(s); err == nil {
			t.Errorf("keyValue(%q) = %q, want an error", s, got)
		}
	}
	for in, want := range map[string]string{"": "%NULL%", "a=b # c;d": "a=b # c;d", "192.0.2.1": "192.0.2.1"} {
		if got, err := keyValue(in); err != nil || got != want {
			t.Errorf("keyValue(%q) = %q, %v", in, got, err)
		}
	}
}

// TestHostileNames puts all that could break a file into each place that people type into.
func TestHostileNames(t *testing.T) {
	hostile := []string{
		`"`, `'`, `<`, `&`, `#`, `;`, "\n", "\r\n", "%NULL%", "ü山", "\u202Ertl", "\x00\x1b", "a\naccount.1.sip_server.1.address = evil",
		"#!version:1.0.0.1", "x\u2028account.1.password = evil", "= = =",
	}
	for _, model := range []string{"T46S", "W60B", "W90DM"} {
		for _, s := range hostile {
			f := newFirm()
			d := f.add(store.Device{Kind: store.Deskphone, Model: model, MAC: "805ec0000001", Name: s}, 1)
			if model != "T46S" {
				d.Kind = store.DECTBase
				f.add(store.Device{Kind: store.DECTHandset, BaseID: "dev_0001", Name: s}, 1)
			}
			f.users[0].Name = s
			f.devices[0].Lines[0].Label = s
			server, _ := f.server()
			files, err := server.Render(f.account.ID, "dev_0001", false)
			if err != nil {
				t.Fatalf("%q: %v", s, err)
			}
			body := files[len(files)-1].Body
			c, err := provtest.ParseYealink(body)
			if err != nil {
				t.Fatalf("%q: %v", s, err)
			}
			accounts, err := c.Accounts()
			if err != nil || len(accounts) != len(f.devices) {
				t.Fatalf("%q: %d accounts, %v", s, len(accounts), err)
			}
			for _, a := range accounts {
				if a.Host != "192.0.2.10" || !strings.HasPrefix(a.Password, "pass-") {
					t.Errorf("%q changed the account: %+v", s, a)
				}
			}
			for key, n := range c.Counts {
				if n > 1 && !strings.HasSuffix(key, "user_password") {
					t.Errorf("%q: %s stands %d times", s, key, n)
				}
			}
		}
	}
}

// TestUnsafeSecretIsRefused checks that a technical value which cannot be written stops the file rather than changing it.
func TestUnsafeSecretIsRefused(t *testing.T) {
	for _, spoil := range []func(f *firm){
		func(f *firm) { f.devices[0].Lines[0].Password = "a\nb = c" },
		func(f *firm) { f.devices[0].Lines[0].Username = "a\rb" },
		func(f *firm) { f.account.PhoneAdminPassword = "x\ny" },
		func(f *firm) { f.account.ProvisioningToken = "x\ny" },
		func(f *firm) { f.devices[0].Transport = "wss" },
	} {
		f := newFirm()
		f.add(store.Device{Kind: store.Deskphone, Model: "T46S", MAC: "805ec0000001"}, 1)
		spoil(f)
		s, _ := f.server()
		if files, err := s.Render(f.account.ID, "dev_0001", false); err == nil {
			t.Errorf("rendered %s", files[1].Body)
		}
	}
}

// TestTemplatesEscapeEverything walks the templates: each value is a number, or goes through a function of the format.
func TestTemplatesEscapeEverything(t *testing.T) {
	numbers := map[string]bool{".N": true, ".Server.Port": true, ".Server.Expires": true, ".Minutes": true, ".SRTP": true}
	funcs := keyValueFuncs()
	actions := 0
	var walk func(where string, n parse.Node)
	list := func(where string, l *parse.ListNode) {
		if l != nil {
			for _, n := range l.Nodes {
				walk(where, n)
			}
		}
	}
	walk = func(where string, n parse.Node) {
		switch n := n.(type) {
		case *parse.ListNode:
			list(where, n)
		case *parse.ActionNode:
			actions++
			last := n.Pipe.Cmds[len(n.Pipe.Cmds)-1]
			id, ok := last.Args[0].(*parse.IdentifierNode)
			if !(ok && funcs[id.Ident] != nil) && !numbers[n.Pipe.String()] {
				t.Errorf("%s: {{%s}} is written as it is", where, n.Pipe)
			}
		case *parse.IfNode:
			list(where, n.List)
			list(where, n.ElseList)
		case *parse.RangeNode:
			list(where, n.List)
			list(where, n.ElseList)
		case *parse.WithNode:
			list(where, n.List)
			list(where, n.ElseList)
		}
	}
	for _, v := range Vendors() {
		for _, tmpl := range v.templates.Templates() {
			if tmpl.Tree != nil {
				walk(fmt.Sprintf("%s/%s", v.Name, tmpl.Name()), tmpl.Root)
			}
		}
	}
	if actions < 30 {
		t.Errorf("found %d values only: the walk misses some", actions)
	}
}
