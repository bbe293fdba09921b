package provisioning

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pbx/provisioning/provtest"
	"pbx/store"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const goldenDir = "../testdata/provisioning/yealink"

// sample returns the firm with one device of a model and, at a DECT base, two handsets and a line of its own.
func sample(m Model) (*firm, store.ID) {
	f := newFirm()
	d := store.Device{Kind: m.Kind, Model: m.Model, MAC: "805ec0000001"}
	if m.Kind != store.DECTBase {
		lines := []int{1, 2}
		return f, f.add(d, lines[:min(len(lines), m.Lines)]...).ID
	}
	base := f.add(d, 3).ID
	f.add(store.Device{Kind: store.DECTHandset, Name: "Warehouse", Model: "W73H", BaseID: base, IPEI: "0123456789"}, 1)
	f.add(store.Device{Kind: store.DECTHandset, Name: "Reception", Model: "W73H", BaseID: base, IPEI: "0123456790"}, 2, 1)
	return f, base
}

// provisioned lists the models that ask for files themselves.
func provisioned() []Model {
	var models []Model
	for _, m := range Models() {
		if m.Kind != store.DECTHandset {
			models = append(models, m)
		}
	}
	return models
}

func TestGolden(t *testing.T) {
	for _, m := range provisioned() {
		t.Run(m.Model, func(t *testing.T) {
			f, device := sample(m)
			// A stranger's secrets must never turn up.
			f.add(store.Device{Kind: store.Deskphone, Model: "T46S", MAC: "805ec00000ff"}, 1, 2, 3)
			s, _ := f.server()
			files, err := s.Render(f.account.ID, device, false)
			if err != nil {
				t.Fatal(err)
			}
			want := 2
			if m.commonFile == "" {
				want = 1
			}
			if len(files) != want {
				t.Fatalf("%d files, want %d", len(files), want)
			}
			for _, file := range files {
				name := m.Model + ".cfg"
				if file.Name == m.commonFile {
					name = m.Model + ".common.cfg"
				}
				compareGolden(t, filepath.Join(goldenDir, name), file.Body)
				checkFile(t, f, device, file)
			}
		})
	}
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run go test -update and look at the difference", path)
	}
}

// checkFile reads a file as a phone would: well-formed, no key of an account twice, no secret of anybody else.
func checkFile(t *testing.T, f *firm, device store.ID, file File) {
	t.Helper()
	c, err := provtest.ParseYealink(file.Body)
	if err != nil {
		t.Fatalf("%s: %v", file.Name, err)
	}
	for key, n := range c.Counts {
		if n != 1 && !strings.HasSuffix(key, "security.user_password") {
			t.Errorf("%s: %s stands %d times", file.Name, key, n)
		}
	}
	common := strings.HasPrefix(file.Name, "y")
	secrets := map[string]bool{testToken: common, testAdmin: common} // text → must not be there
	for _, d := range f.devices {
		mine := !common && (d.ID == device || d.BaseID == device)
		for _, l := range d.Lines {
			secrets[string(l.Password)] = !mine
			secrets[l.Username] = !mine
		}
	}
	for text, forbidden := range secrets {
		if forbidden && bytes.Contains(file.Body, []byte(text)) {
			t.Errorf("%s holds %q of somebody else", file.Name, text)
		}
	}
}

// TestEveryKeyOfAnAccountIsTakenBack checks that a phone which loses all of its lines is told so, key by key.
func TestEveryLineIsTakenBack(t *testing.T) {
	secretKey := regexp.MustCompile(`^account\.(\d+)\.(user_name|auth_name|password|label|display_name|sip_server_host)$`)
	for _, m := range provisioned() {
		f := newFirm()
		d := f.add(store.Device{Kind: m.Kind, Model: m.Model, MAC: "805ec0000001"})
		s, _ := f.server()
		files, err := s.Render(f.account.ID, d.ID, false)
		if err != nil {
			t.Fatal(err)
		}
		c, err := provtest.ParseYealink(files[len(files)-1].Body)
		if err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= m.Lines; n++ {
			if got, ok := c.Values[fmt.Sprintf("account.%d.enable", n)]; !ok || got != "0" {
				t.Errorf("%s: account %d is not disabled", m.Model, n)
			}
			if got, ok := c.Values[fmt.Sprintf("account.%d.password", n)]; !ok || got != "" {
				t.Errorf("%s: password of account %d is not taken back", m.Model, n)
			}
		}
		for key, value := range c.Values {
			if secretKey.MatchString(key) && value != "" {
				t.Errorf("%s: %s = %q", m.Model, key, value)
			}
		}
		if accounts, err := c.Accounts(); err != nil || len(accounts) != 0 {
			t.Errorf("%s: accounts %v, %v", m.Model, accounts, err)
		}
	}
}

func TestAccountsArriveAtThePhone(t *testing.T) {
	for transport, port := range map[string]int{"udp": 5060, "tcp": 5061, "tls": 5062} {
		for _, model := range []string{"T19P", "T54W", "W52P", "W60B", "W70B"} {
			f := newFirm()
			d := f.add(store.Device{Kind: store.Deskphone, Model: model, MAC: "805ec0000001", Transport: transport, SRTP: "off"}, 1)
			if strings.HasPrefix(model, "W") {
				d.Kind = store.DECTBase
			}
			d.Lines[0].Label = "Front desk"
			s, _ := f.server()
			files, err := s.Render(f.account.ID, d.ID, false)
			if err != nil {
				t.Fatal(err)
			}
			c, err := provtest.ParseYealink(files[1].Body)
			if err != nil {
				t.Fatal(err)
			}
			if transport == "tls" {
				compareGolden(t, filepath.Join(goldenDir, model+".tls.cfg"), files[1].Body)
			}
			accounts, err := c.Accounts()
			if err != nil || len(accounts) != 1 {
				t.Fatalf("%s: %v, %v", model, accounts, err)
			}
			want := provtest.Account{
				N: 1, Label: "Front desk", DisplayName: "Ada Lovelace", User: "sip0001x1", AuthUser: "sip0001x1",
				Password: "pass-0001-1", Host: "192.0.2.10", Port: port, Transport: transport, Expires: registerExpires,
				Voicemail: "*97", MWI: true,
			}
			if accounts[0] != want {
				t.Errorf("%s %s:\n got %+v\nwant %+v", model, transport, accounts[0], want)
			}
			for want, policy := range []string{"off", "optional", "required"} {
				d.SRTP = policy
				again, _ := f.server()
				if files, err = again.Render(f.account.ID, d.ID, false); err != nil {
					t.Fatal(err)
				}
				if c, err = provtest.ParseYealink(files[1].Body); err != nil {
					t.Fatal(err)
				}
				if got := c.Values["account.1.srtp_encryption"]; got != strconv.Itoa(want) {
					t.Errorf("%s: srtp %s is written %s", model, policy, got)
				}
			}
			if got := c.Values["static.auto_provision.server.url"]; got != "http://192.0.2.10:8080/p/"+testToken+"/" {
				t.Errorf("%s: own address %q", model, got)
			}
			if got := c.Values["static.trusted_certificates.url"]; (got == "http://192.0.2.10:8080/ca.pem") != (transport == "tls") {
				t.Errorf("%s %s: authority at %q", model, transport, got)
			}
			if got := c.Values["static.security.user_password"]; !strings.HasPrefix(got, "user:") || len(got) != len("user:")+16 {
				t.Errorf("%s: user password %q", model, got)
			}
		}
	}
}

func TestPreviewIsMasked(t *testing.T) {
	for _, m := range provisioned() {
		f, device := sample(m)
		s, _ := f.server()
		files, err := s.Render(f.account.ID, device, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if _, err := provtest.ParseYealink(file.Body); err != nil {
				t.Error(err)
			}
			for _, secret := range []string{testToken, testAdmin, "pass-", string(userPassword(testAdmin, "805ec0000001"))} {
				if bytes.Contains(file.Body, []byte(secret)) {
					t.Errorf("%s: preview of %s shows %q", m.Model, file.Name, secret)
				}
			}
		}
	}
}

func TestRenderOfOtherDevices(t *testing.T) {
	f := newFirm()
	base := f.add(store.Device{Kind: store.DECTBase, Model: "W60B", MAC: "805ec0000001"}).ID
	handset := f.add(store.Device{Kind: store.DECTHandset, BaseID: base}, 1).ID
	soft := f.add(store.Device{Kind: store.Softphone, Vendor: "other"}, 1).ID
	f.devices[2].Vendor = ""
	s, _ := f.server()
	files, err := s.Render(f.account.ID, handset, false)
	if err != nil || len(files) != 2 || !bytes.Contains(files[1].Body, []byte("pass-0002-1")) {
		t.Errorf("handset: %d files, %v", len(files), err)
	}
	if files, err := s.Render(f.account.ID, soft, false); err != nil || files != nil {
		t.Errorf("softphone: %v, %v", files, err)
	}
	if _, err := s.Render(f.account.ID, "dev_none", false); err == nil {
		t.Error("a device that is not there was rendered")
	}
	if _, err := s.Render("acc_none", soft, false); err == nil {
		t.Error("an account that is not there was rendered")
	}
}

func TestTooManyLines(t *testing.T) {
	f := newFirm()
	d := f.add(store.Device{Kind: store.Deskphone, Model: "T19P", MAC: "805ec0000001"}, 1, 2, 3)
	s, _ := f.server()
	files, err := s.Render(f.account.ID, d.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := files[1].Warnings; len(got) != 1 || got[0] != "The T19P can register 1 lines; the last 2 are left out." {
		t.Errorf("warnings %q", got)
	}
	if bytes.Contains(files[1].Body, []byte("pass-0001-2")) {
		t.Error("a line that the phone cannot have is in its file")
	}
}

func TestUnknownModelGetsItsLines(t *testing.T) {
	f := newFirm()
	d := f.add(store.Device{Kind: store.Deskphone, Model: "T99X", MAC: "805ec0000001"}, 1, 2)
	s, _ := f.server()
	files, err := s.Render(f.account.ID, d.ID, false)
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	c, err := provtest.ParseYealink(files[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	if accounts, err := c.Accounts(); err != nil || len(accounts) != 2 {
		t.Errorf("accounts %v, %v", accounts, err)
	}
}

func BenchmarkRender(b *testing.B) {
	m, _ := vendorNamed("yealink").model("T54W")
	f, device := sample(m)
	s, _ := f.server()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Render(f.account.ID, device, false); err != nil {
			b.Fatal(err)
		}
	}
}
