package provtest

import (
	"strings"
	"testing"
)

const good = "#!version:1.0.0.1\n# a remark\n\n" +
	"account.1.enable = 1\naccount.1.label = 101\naccount.1.display_name = Ada\naccount.1.user_name = u1\naccount.1.auth_name = a1\n" +
	"account.1.password = p = 1 # not a remark\naccount.1.sip_server.1.address = 192.0.2.1\naccount.1.sip_server.1.port = 5060\n" +
	"account.1.sip_server.1.transport_type = 1\naccount.1.sip_server.1.expires = 600\naccount.1.srtp_encryption = 0\n" +
	"account.2.enable = 0\naccount.2.password = %NULL%\n"

func TestParse(t *testing.T) {
	c, err := ParseYealink([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := c.Accounts()
	want := Account{
		N: 1, Label: "101", DisplayName: "Ada", User: "u1", AuthUser: "a1", Password: "p = 1 # not a remark",
		Host: "192.0.2.1", Port: 5060, Transport: "tcp", Expires: 600,
	}
	if err != nil || len(accounts) != 1 || accounts[0] != want {
		t.Errorf("accounts %+v, %v", accounts, err)
	}
	if v, ok := c.Values["account.2.password"]; !ok || v != "" {
		t.Errorf("a reset key is %q, %v", v, ok)
	}
}

func TestParseTemplate(t *testing.T) {
	text := strings.ReplaceAll(good, "account.1.sip_server.1.", "template.3.sip_server.1.") + "account.1.sip_server.template = 3\n"
	c, err := ParseYealink([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := c.Accounts()
	if err != nil || len(accounts) != 1 || accounts[0].Host != "192.0.2.1" || accounts[0].Port != 5060 {
		t.Errorf("accounts %+v, %v", accounts, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for what, text := range map[string]string{
		"no header":      strings.TrimPrefix(good, "#!version:1.0.0.1\n"),
		"remark first":   "# remark\n" + good,
		"byte order":     "\uFEFF" + good,
		"carriage":       strings.ReplaceAll(good, "\n", "\r\n"),
		"no last break":  strings.TrimSuffix(good, "\n"),
		"no setting":     good + "hello\n",
		"no value":       good + "key = \n",
		"trailing space": good + "key = value \n",
		"control":        good + "key = va\x1blue\n",
		"half a reset":   good + "key = x%NULL%\n",
		"not UTF-8":      good + "key = \xff\n",
	} {
		if _, err := ParseYealink([]byte(text)); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
}

func TestAccountsRefuse(t *testing.T) {
	for _, broken := range []string{
		strings.Replace(good, "account.1.password = p = 1 # not a remark\n", "", 1),
		strings.Replace(good, "5060", "none", 1),
		strings.Replace(good, "transport_type = 1", "transport_type = 9", 1),
		strings.Replace(good, "account.1.sip_server.1.address = 192.0.2.1", "account.1.sip_server.1.address = %NULL%", 1),
	} {
		c, err := ParseYealink([]byte(broken))
		if err != nil {
			t.Fatal(err)
		}
		if accounts, err := c.Accounts(); err == nil {
			t.Errorf("accepted %+v", accounts)
		}
	}
}
