package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestIDsSortByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []ID
		for range 200 {
			ids = append(ids, NewID(PrefixUser))
			time.Sleep(time.Millisecond) // fake
		}
		if !slices.IsSorted(ids) {
			t.Error("a later id sorts before an earlier one")
		}
		for _, id := range ids {
			if len(id) != 30 || !strings.HasPrefix(string(id), "usr_") || strings.Trim(string(id[4:]), idAlphabet) != "" {
				t.Fatalf("id %q", id)
			}
		}
	})
}

func TestIDsDiffer(t *testing.T) {
	seen := make(map[ID]bool)
	for range 10_000 {
		seen[NewID(PrefixCall)] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("%d different ids of 10000", len(seen))
	}
}

func TestTokens(t *testing.T) {
	for what, c := range map[string]struct {
		a, b string
		size int
	}{
		"token":    {NewToken(), NewToken(), 32},
		"username": {NewLineUsername(), NewLineUsername(), 14},
		"password": {string(NewLinePassword()), string(NewLinePassword()), 20},
	} {
		if len(c.a) != c.size || c.a == c.b || strings.Trim(c.a, idAlphabet+"l") != "" {
			t.Errorf("%s: %q, %q", what, c.a, c.b)
		}
	}
	if bytes.Equal(HashToken("a"), HashToken("b")) || len(HashToken("")) != 32 {
		t.Error("hashes of tokens")
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	const secret = "hunter2"
	line := Line{Username: "ln1", Password: secret}
	account := Account{Name: "A", ProvisioningToken: secret, PhoneAdminPassword: secret}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("printed", "secret", Secret(secret), "line", line, "account", &account, "list", []Line{line})
	}
	text, err := json.Marshal(map[string]any{"line": line, "account": account})
	if err != nil {
		t.Fatal(err)
	}
	log.Write(text)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&log, verb+verb+verb, Secret(secret), line, account)
	}
	if strings.Contains(log.String(), secret) {
		t.Errorf("printed: %s", log.String())
	}
	if string(line.Password) != secret {
		t.Error("the secret cannot be used")
	}
}

// fields returns the fields that an error names.
func fields(err error) string {
	var all FieldErrors
	errors.As(err, &all)
	var names []string
	for _, f := range all {
		names = append(names, f.Field)
	}
	return strings.Join(names, " ")
}

func TestUserValidation(t *testing.T) {
	good := User{Name: "Ada Lovelace", Email: "ada@example.com", Role: Admin, Extension: "101", RingTimeout: 20 * time.Second}
	for _, c := range []struct {
		name   string
		change func(*User)
		want   string
	}{
		{"good", func(*User) {}, ""},
		{"no extension", func(u *User) { u.Extension = "" }, ""},
		{"username only", func(u *User) { u.Email, u.Username = "", "ada.l_1-2" }, ""},
		{"name in another script", func(u *User) { u.Name = "김철수" }, ""},
		{"80 characters", func(u *User) { u.Name = strings.Repeat("é", 80) }, ""},
		{"81 characters", func(u *User) { u.Name = strings.Repeat("é", 81) }, "name"},
		{"no name", func(u *User) { u.Name = "" }, "name"},
		{"blank name", func(u *User) { u.Name = " \t" }, "name"},
		{"line break in the name", func(u *User) { u.Name = "Ada\nLovelace" }, "name"},
		{"broken UTF-8", func(u *User) { u.Name = "Ada\xff" }, "name"},
		{"neither email nor username", func(u *User) { u.Email = "" }, "email"},
		{"no at sign", func(u *User) { u.Email = "ada" }, "email"},
		{"email with a name", func(u *User) { u.Email = "Ada <ada@example.com>" }, "email"},
		{"email with a line break", func(u *User) { u.Email = "ada@example.com\r\nBcc: x@example.com" }, "email"},
		{"two emails", func(u *User) { u.Email = "a@example.com, b@example.com" }, "email"},
		{"long email", func(u *User) { u.Email = strings.Repeat("a", 250) + "@b.cc" }, "email"},
		{"short username", func(u *User) { u.Username = "ab" }, "username"},
		{"upper case username", func(u *User) { u.Username = "Ada" }, "username"},
		{"username with an at sign", func(u *User) { u.Username = "ada@home" }, "username"},
		{"long username", func(u *User) { u.Username = strings.Repeat("a", 33) }, "username"},
		{"role", func(u *User) { u.Role = "owner" }, "role"},
		{"short extension", func(u *User) { u.Extension = "10" }, "extension"},
		{"letters", func(u *User) { u.Extension = "1a1" }, "extension"},
		{"digits of another script", func(u *User) { u.Extension = "١" + "1" }, "extension"},
		{"star", func(u *User) { u.Extension = "*97" }, "extension"},
		{"emergency number", func(u *User) { u.Extension = "911" }, "extension"},
		{"impatient", func(u *User) { u.RingTimeout = 4 * time.Second }, "ring_timeout_s"},
		{"all at once", func(u *User) { *u = User{Extension: "1"} }, "name email role extension ring_timeout_s"},
	} {
		u := good
		c.change(&u)
		if got := fields(u.Validate(3)); got != c.want {
			t.Errorf("%s: fields %q, want %q", c.name, got, c.want)
		}
	}
	if (&User{Username: "u"}).Login() != "u" || good.Login() != "ada@example.com" {
		t.Error("login")
	}
}

func TestPINs(t *testing.T) {
	for pin, good := range map[string]bool{
		"": true, "2580": true, "90210": true, "1357924680": true,
		"123": false, "12345678901": false, "12a4": false, "١٢٣٤": false, " 2580": false,
		"1111": false, "1234": false, "4321": false, "7890": false, "0987654321": false, "3210": false,
		"4711": false, "1174": false, "47114711": false, // extension 4711
	} {
		if err := ValidatePIN("voicemail.pin", pin, "4711"); (err == nil) != good {
			t.Errorf("PIN %q: %v", pin, err)
		}
	}
	if err := ValidatePIN("voicemail.pin", "4711", ""); err != nil {
		t.Errorf("without an extension: %v", err)
	}
}

func TestAccountValidation(t *testing.T) {
	good := Account{Name: "Office", Timezone: "America/New_York", Country: "US", ExtensionLength: 3, ParkingTimeout: time.Minute}
	for _, c := range []struct {
		name   string
		change func(*Account)
		want   string
	}{
		{"good", func(*Account) {}, ""},
		{"email", func(a *Account) { a.Email = "x" }, "email"},
		{"no zone", func(a *Account) { a.Timezone = "" }, "timezone"},
		{"local zone", func(a *Account) { a.Timezone = "Local" }, "timezone"},
		{"unknown zone", func(a *Account) { a.Timezone = "Moon/Base" }, "timezone"},
		{"path for a zone", func(a *Account) { a.Timezone = "../../etc/passwd" }, "timezone"},
		{"country", func(a *Account) { a.Country = "us" }, "country"},
		{"extension length 2", func(a *Account) { a.ExtensionLength = 2 }, "extension_length"},
		{"extension length 7", func(a *Account) { a.ExtensionLength = 7 }, "extension_length"},
		{"parking 9 s", func(a *Account) { a.ParkingTimeout = 9 * time.Second }, "parking_timeout_s"},
		{"parking 3601 s", func(a *Account) { a.ParkingTimeout = 3601 * time.Second }, "parking_timeout_s"},
		{"fax", func(a *Account) { a.InboundFaxLimit, a.OutboundFaxLimit = -1, 10_001 }, "inbound_fax_limit outbound_fax_limit"},
		{"address", func(a *Account) { a.BillingAddress = strings.Repeat("x", 501) }, "billing_address"},
	} {
		a := good
		c.change(&a)
		if got := fields(a.Validate()); got != c.want {
			t.Errorf("%s: fields %q, want %q", c.name, got, c.want)
		}
	}
}

func TestDeviceValidation(t *testing.T) {
	good := Device{Kind: Deskphone, Name: "Desk", Vendor: "yealink", Model: "T54W", MAC: "001565aabbcc", Transport: "udp", SRTP: "off"}
	for _, c := range []struct {
		name   string
		change func(*Device)
		want   string
	}{
		{"good", func(*Device) {}, ""},
		{"handset", func(d *Device) { d.Kind, d.BaseID, d.IPEI = DECTHandset, "dev_1", "03586ABC12" }, ""},
		{"kind", func(d *Device) { d.Kind = "toaster" }, "kind"},
		{"MAC not normal", func(d *Device) { d.MAC = "00:15:65:aa:bb:cc" }, "mac"},
		{"handset without base", func(d *Device) { d.Kind = DECTHandset }, "base_id"},
		{"desk phone with base", func(d *Device) { d.BaseID = "dev_1" }, "base_id"},
		{"IPEI", func(d *Device) { d.Kind, d.BaseID, d.IPEI = DECTHandset, "dev_1", "hello" }, "ipei"},
		{"transport", func(d *Device) { d.Transport = "pigeon" }, "transport"},
		{"transport of proxies", func(d *Device) { d.Transport = "ws" }, "transport"},
		{"browsers are no desk phones", func(d *Device) { d.Transport = "wss" }, "transport"},
		{"SRTP", func(d *Device) { d.SRTP = "maybe" }, "srtp"},
		{"lines", func(d *Device) { d.Lines = make([]Line, MaxLines+1) }, "user_ids"},
		{"model with a line break", func(d *Device) { d.Model = "T54W\naccount.1.enable = 0" }, "model"},
		{"label with a line break", func(d *Device) { d.Lines = []Line{{Label: "Ada\r\nx=y"}} }, "lines"},
	} {
		d := good
		c.change(&d)
		if got := fields(d.Validate()); got != c.want {
			t.Errorf("%s: fields %q, want %q", c.name, got, c.want)
		}
	}
}

func TestNormalizeMAC(t *testing.T) {
	for in, want := range map[string]string{
		"00:15:65:AA:bb:CC": "001565aabbcc", "00-15-65-aa-bb-cc": "001565aabbcc", "0015.65aa.bbcc": "001565aabbcc", " 001565AABBCC ": "001565aabbcc",
		"": "", "00:15:65:AA:BB": "", "00:15:65:AA:BB:CG": "", "000000000000": "", "ff:ff:ff:ff:ff:ff": "", "001565aabbccdd": "",
	} {
		got, ok := NormalizeMAC(in)
		if got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %t", in, got, ok)
		}
	}
}

func TestPasswordRules(t *testing.T) {
	for password, good := range map[string]bool{
		"correct horse": true, "elevenchars": false, "": false, strings.Repeat("é", 12): true, strings.Repeat("x", 201): false,
	} {
		if err := ValidatePassword("password", password); (err == nil) != good {
			t.Errorf("%q: %v", password, err)
		}
	}
	if fields(ValidateName("name", "")) != "name" {
		t.Error("an empty name is valid")
	}
}

func TestErrors(t *testing.T) {
	var none FieldErrors
	if none.Err() != nil {
		t.Error("no errors are an error")
	}
	none.Add("email", "Enter a valid email address.")
	if none.Err().Error() != "email: Enter a valid email address." {
		t.Error(none.Err())
	}
	err := error(ConflictError{Field: "extension", Problem: "Extension 101 is already used by Ada Lovelace."})
	if !errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
		t.Error("a conflict is no ErrConflict")
	}
}

func TestSnapshot(t *testing.T) {
	s := NewSnapshot(Account{ID: "acc_1"},
		[]User{{ID: "usr_1", Extension: "101"}, {ID: "usr_2"}},
		[]Device{{ID: "dev_1", Lines: []Line{{ID: "lin_1", UserID: "usr_1"}, {ID: "lin_2", UserID: "usr_2"}}}, {ID: "dev_2", Lines: []Line{{ID: "lin_3", UserID: "usr_1"}}}})
	if s.User("usr_2") != &s.Users[1] || s.User("usr_3") != nil || s.UserByExtension("101") != &s.Users[0] || s.UserByExtension("") != nil || s.Device("dev_2") != &s.Devices[1] {
		t.Error("look-ups")
	}
	lines := s.LinesOf("usr_1")
	if len(lines) != 2 || lines[0].ID != "lin_1" || lines[1].ID != "lin_3" || s.LinesOf("usr_3") != nil {
		t.Errorf("lines %v", lines)
	}
}
