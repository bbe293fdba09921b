package provisioning

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pbx/provisioning/provtest"
	"pbx/store"
)

const (
	t54w      = "805ec0000001"
	t54wAgent = "Yealink SIP-T54W 96.86.0.23 80:5e:c0:00:00:01"
	w52p      = "00156544b37c"
	w52pAgent = "W52P 25.30.0.2 00:15:65:44:b3:7c"
)

// listen serves the firm over real HTTP.
func listen(t *testing.T, f *firm) (*Server, *memory, *httptest.Server) {
	t.Helper()
	s, m := f.server()
	ts := httptest.NewServer(s)
	t.Cleanup(ts.Close)
	t.Cleanup(ts.Client().CloseIdleConnections)
	return s, m, ts
}

func office() *firm {
	f := newFirm()
	f.add(store.Device{Kind: store.Deskphone, Model: "T54W", MAC: t54w}, 1, 2)
	f.add(store.Device{Kind: store.DECTBase, Model: "W52P", MAC: w52p}, 3)
	return f
}

func statuses(all []provtest.Request) string {
	var b strings.Builder
	for _, r := range all {
		fmt.Fprintf(&b, "%s %d\n", r.File, r.Status)
	}
	return b.String()
}

// TestBoot replays the request sequences recorded from phones.
func TestBoot(t *testing.T) {
	f := office()
	_, m, ts := listen(t, f)
	for _, c := range []struct{ mac, agent, common string }{
		{w52p, w52pAgent, "y000000000025.cfg"},
		{t54w, t54wAgent, "y000000000096.cfg"},
	} {
		before := len(m.recorded())
		phone := provtest.Phone{Client: ts.Client(), Base: ts.URL + "/p/" + testToken + "/", MAC: c.mac, UserAgent: c.agent, Common: c.common}
		all, err := phone.Boot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%s.boot 404\ny000000000000.boot 404\n%s 200\n%s.cfg 200\n", c.mac, c.common, c.mac)
		if got := statuses(all); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
		for _, r := range all {
			if r.Header.Get("Content-Type") != "text/plain" || r.Header.Get("Cache-Control") != "no-store" ||
				r.Header.Get("Content-Length") != fmt.Sprint(len(r.Body)) {
				t.Errorf("%s: headers %v", r.File, r.Header)
			}
		}
		local, err := phone.Fetch(t.Context(), http.MethodGet, c.mac+"-local.cfg", nil)
		if err != nil || local.Status != http.StatusNotFound {
			t.Errorf("local settings: %d, %v", local.Status, err)
		}
		fetches := m.recorded()[before:]
		if len(fetches) != 5 {
			t.Fatalf("%d fetches recorded", len(fetches))
		}
		last := fetches[3]
		d, _ := m.DeviceByMAC(f.account.ID, c.mac)
		if last.DeviceID != d.ID || last.AccountID != f.account.ID || last.File != c.mac+".cfg" || last.Status != 200 || last.ID == "" ||
			last.Bytes != int64(len(all[3].Body)) || last.UserAgent != c.agent || last.Source != "127.0.0.1" || last.At.IsZero() {
			t.Errorf("recorded %+v", last)
		}
		if fetches[0].Status != http.StatusNotFound {
			t.Errorf("recorded %+v", fetches[0])
		}
		accounts, err := phone.Accounts(t.Context())
		if err != nil || len(accounts) != len(d.Lines) || accounts[0].User != d.Lines[0].Username || accounts[0].Password != string(d.Lines[0].Password) {
			t.Errorf("accounts %+v, %v", accounts, err)
		}
	}
}

func TestSpellingsOfOneFile(t *testing.T) {
	_, _, ts := listen(t, office())
	phone := provtest.Phone{Client: ts.Client(), Base: ts.URL + "/p/" + testToken + "/", UserAgent: t54wAgent}
	first, err := phone.Fetch(t.Context(), http.MethodGet, t54w+".cfg", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"805EC0000001.cfg", "805EC0000001.CFG", "80:5e:c0:00:00:01.cfg", "80-5E-C0-00-00-01.cfg", "/805ec0000001.cfg", t54w + ".cfg?mac=80:5E:C0:00:00:01"} {
		r, err := phone.Fetch(t.Context(), http.MethodGet, file, nil)
		if err != nil || r.Status != http.StatusOK || !bytes.Equal(r.Body, first.Body) || r.Header.Get("ETag") != first.Header.Get("ETag") {
			t.Errorf("%s: status %d, %v", file, r.Status, err)
		}
	}
}

// TestNothingHere asks for all that is not there, and expects one and the same answer.
func TestNothingHere(t *testing.T) {
	f := office()
	s, m, ts := listen(t, f)
	other := newFirm()
	other.account.ID, other.account.ProvisioningToken = "acc_2", "other-token-of-acc-2"
	other.add(store.Device{Kind: store.Deskphone, Model: "T54W", MAC: "805ec0000077"}, 1)
	m.set(other.account, other.users, other.devices)
	before := len(m.recorded())

	token := "/p/" + testToken + "/"
	paths := map[string]string{ // what it is → where
		"unknown phone":         token + "805ec0000009.cfg",
		"phone of another firm": token + "805ec0000077.cfg",
		"phone of no maker":     token + "aabbcc000001.cfg",
		"wrong token":           "/p/wrong/" + t54w + ".cfg",
		"longer token":          "/p/" + testToken + "x/" + t54w + ".cfg",
		"shorter token":         "/p/" + testToken[:10] + "/" + t54w + ".cfg",
		"token in other case":   "/p/" + strings.ToUpper(testToken) + "/" + t54w + ".cfg",
		"no token":              "/p//" + t54w + ".cfg",
		"no file":               token,
		"no slash":              "/p/" + testToken,
		"folder":                token + "a/" + t54w + ".cfg",
		"escaped folder":        token + "..%2F" + t54w + ".cfg",
		"unknown common file":   token + "y000000000999.cfg",
		"other file":            token + "config.xml",
		"file of another maker": token + "SEP805ec0000009.cnf.xml",
		"MAC in query differs":  token + t54w + ".cfg?mac=805ec0000077",
		"boot file":             token + "y000000000000.boot",
	}
	var want string
	for what, path := range paths {
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		got := fmt.Sprint(rec.Code, rec.Header(), rec.Body)
		if want == "" {
			want = got
		}
		if rec.Code != http.StatusNotFound || got != want || rec.Body.Len() > 20 {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	if n := len(m.recorded()) - before; n != 0 {
		t.Errorf("%d fetches of strangers recorded", n)
	}

	// The User-Agent of one phone with the file of another.
	phone := provtest.Phone{Client: ts.Client(), Base: ts.URL + token, UserAgent: w52pAgent}
	if r, err := phone.Fetch(t.Context(), http.MethodGet, t54w+".cfg", nil); err != nil || r.Status != http.StatusNotFound {
		t.Errorf("foreign User-Agent: %d, %v", r.Status, err)
	}
}

func TestUploadsAreRefused(t *testing.T) {
	s, m := office().server()
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodPatch, "PROPFIND"} {
		for _, file := range []string{t54w + "-local.cfg", t54w + ".cfg", "805ec0000009-local.cfg"} {
			rec := httptest.NewRecorder()
			s.ServeHTTP(rec, httptest.NewRequest(method, "/p/"+testToken+"/"+file, strings.NewReader("account.1.enable = 1")))
			if rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d %v", method, file, rec.Code, rec.Header())
			}
		}
	}
	if len(m.recorded()) != 0 {
		t.Error("an upload was taken for a fetch")
	}
}

func TestConditionalAndPartial(t *testing.T) {
	f := office()
	_, m, ts := listen(t, f)
	phone := provtest.Phone{Client: ts.Client(), Base: ts.URL + "/p/" + testToken + "/", UserAgent: t54wAgent}
	file := t54w + ".cfg"
	fetch := func(method string, kv ...string) provtest.Request {
		t.Helper()
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		r, err := phone.Fetch(t.Context(), method, file, h)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	full := fetch(http.MethodGet)
	tag, modified := full.Header.Get("ETag"), full.Header.Get("Last-Modified")
	if full.Status != http.StatusOK || tag == "" || modified == "" {
		t.Fatalf("status %d, tag %q, modified %q", full.Status, tag, modified)
	}
	again := fetch(http.MethodGet)
	if !bytes.Equal(again.Body, full.Body) || again.Header.Get("ETag") != tag || again.Header.Get("Last-Modified") != modified {
		t.Error("the file is not the same twice")
	}
	head := fetch(http.MethodHead)
	if head.Status != http.StatusOK || len(head.Body) != 0 || head.Header.Get("Content-Length") != fmt.Sprint(len(full.Body)) {
		t.Errorf("HEAD: %d, %v", head.Status, head.Header)
	}
	if last := m.recorded()[len(m.recorded())-1]; last.Bytes != 0 || last.Status != http.StatusOK {
		t.Errorf("HEAD recorded as %+v", last)
	}
	if r := fetch(http.MethodGet, "If-None-Match", tag); r.Status != http.StatusNotModified || len(r.Body) != 0 {
		t.Errorf("If-None-Match: %d", r.Status)
	}
	if r := fetch(http.MethodGet, "If-Modified-Since", modified); r.Status != http.StatusNotModified {
		t.Errorf("If-Modified-Since: %d", r.Status)
	}
	if r := fetch(http.MethodGet, "Range", "bytes=0-17"); r.Status != http.StatusPartialContent || string(r.Body) != "#!version:1.0.0.1\n" ||
		r.Header.Get("Content-Range") != fmt.Sprintf("bytes 0-17/%d", len(full.Body)) {
		t.Errorf("Range: %d %q %v", r.Status, r.Body, r.Header)
	}
	if r := fetch(http.MethodGet, "Range", "bytes=999999-"); r.Status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("Range beyond the end: %d", r.Status)
	}

	f.devices[0].Lines[0].Password = "changed"
	f.devices = slices.Clone(f.devices)
	m.set(f.account, f.users, f.devices)
	if r := fetch(http.MethodGet, "If-None-Match", tag, "If-Modified-Since", modified); r.Status != http.StatusOK || r.Header.Get("ETag") == tag {
		t.Errorf("after a change: %d", r.Status)
	}
	if r := fetch(http.MethodGet, "If-Modified-Since", modified); r.Status != http.StatusOK {
		t.Errorf("after a change in the same second: %d", r.Status)
	}
}

// TestHTTP10 speaks as the oldest phones do.
func TestHTTP10(t *testing.T) {
	_, _, ts := listen(t, office())
	for path, want := range map[string]string{t54w + ".cfg": "HTTP/1.0 200 OK", t54w + ".boot": "HTTP/1.0 404 Not Found"} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", ts.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /p/%s/%s HTTP/1.0\r\nUser-Agent: %s\r\n\r\n", testToken, path, t54wAgent)
		raw, err := io.ReadAll(conn) // the server closes
		conn.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(raw, []byte(want)) || bytes.Contains(raw, []byte("chunked")) {
			t.Errorf("%s: %.200s", path, raw)
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.ContentLength != int64(len(body)) || len(body) == 0 {
			t.Errorf("%s: length %d, body %d, %v", path, res.ContentLength, len(body), err)
		}
	}
}

func TestRotationKillsTheOldAddress(t *testing.T) {
	f := office()
	s, m := f.server()
	get := func(token string) int {
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/p/"+token+"/"+t54w+".cfg", nil))
		return rec.Code
	}
	if got := get(testToken); got != http.StatusOK {
		t.Fatalf("status %d", got)
	}
	f.account.ProvisioningToken = "fresh-token"
	m.set(f.account, f.users, f.devices)
	if got := get(testToken); got != http.StatusNotFound {
		t.Errorf("old address: %d", got)
	}
	if got := get("fresh-token"); got != http.StatusOK {
		t.Errorf("new address: %d", got)
	}
	f.account.ProvisioningToken = ""
	m.set(f.account, f.users, f.devices)
	if got := get(""); got != http.StatusNotFound {
		t.Errorf("no address: %d", got)
	}
}

func TestSeen(t *testing.T) {
	f := office()
	s, m := f.server()
	ask := func(path, agent string) {
		r := httptest.NewRequest(http.MethodGet, "/p/"+testToken+"/"+path, nil)
		r.Header.Set("User-Agent", agent)
		r.RemoteAddr = "192.0.2.77:1234"
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
	ask("805ec00000aa.cfg", "Yealink SIP-T46S 66.86.0.15 80:5e:c0:00:00:aa")
	ask("805ec00000bb.boot", "")
	ask("805ec00000aa.cfg", "")           // says less than before
	ask("805ec00000cc.cfg", t54wAgent)    // contradicts itself
	ask("aabbccddeeff.cfg", "curl/8")     // nobody's phone
	ask("805ec00000dd-wallpaper.png", "") // no file that phones ask for
	ask(t54w+".cfg", t54wAgent)           // one of ours
	ask("y000000000066.cfg", "Yealink SIP-T46S 66.86.0.15 80:5e:c0:00:00:ee")

	seen := s.Seen(f.account.ID)
	var got []string
	for _, p := range seen {
		got = append(got, p.MAC+" "+p.Vendor+" "+p.Model+" "+p.Firmware+" "+p.Source)
		if p.At.IsZero() {
			t.Error("no time")
		}
	}
	want := []string{
		"805ec00000ee yealink T46S 66.86.0.15 192.0.2.77",
		"805ec00000aa yealink T46S 66.86.0.15 192.0.2.77",
		"805ec00000bb yealink   192.0.2.77",
	}
	if !slices.Equal(got, want) {
		t.Errorf("seen\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	f.add(store.Device{Kind: store.Deskphone, Model: "T46S", MAC: "805ec00000aa"}, 1)
	m.set(f.account, f.users, f.devices)
	if got := s.Seen(f.account.ID); len(got) != 2 {
		t.Errorf("an adopted phone is still a stranger: %+v", got)
	}
	if got := s.Seen("acc_other"); got != nil {
		t.Errorf("another account sees %+v", got)
	}
	for i := range 3 * maxSeen {
		ask(fmt.Sprintf("805ec01%05x.cfg", i), "")
	}
	if got := s.Seen(f.account.ID); len(got) != maxSeen {
		t.Errorf("%d phones remembered", len(got))
	}
}

// TestRateLimit lets a fleet boot at once behind one address, and slows down one that never stops.
func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := office().server()
		ask := func(token, from string) int {
			r := httptest.NewRequest(http.MethodGet, "/p/"+token+"/y000000000000.boot", nil)
			r.RemoteAddr = from
			rec := httptest.NewRecorder()
			s.ServeHTTP(rec, r)
			return rec.Code
		}
		for i := range requestBurst {
			if got := ask(testToken, "192.0.2.1:1000"); got != http.StatusNotFound {
				t.Fatalf("request %d of the fleet: %d", i, got)
			}
		}
		if got := ask(testToken, "192.0.2.1:1001"); got != http.StatusTooManyRequests {
			t.Errorf("one too many: %d", got)
		}
		if got := ask(testToken, "192.0.2.2:1000"); got != http.StatusNotFound {
			t.Errorf("another source: %d", got)
		}
		if got := ask("other", "192.0.2.1:1000"); got != http.StatusNotFound {
			t.Errorf("another token: %d", got)
		}
		time.Sleep(time.Second)
		for i := range requestsPerSecond {
			if got := ask(testToken, "192.0.2.1:1002"); got != http.StatusNotFound {
				t.Errorf("request %d after a second: %d", i, got)
			}
		}
		// The neighbours in one IPv6 network count as one.
		for range requestBurst {
			ask("six", "[2001:db8::1]:1000")
		}
		if got := ask("six", "[2001:db8::2]:1000"); got != http.StatusTooManyRequests {
			t.Errorf("IPv6 neighbour: %d", got)
		}
		if got := ask("six", "[2001:db8:0:1::2]:1000"); got != http.StatusNotFound {
			t.Errorf("another IPv6 network: %d", got)
		}
	})
}

func TestLimiterIsBounded(t *testing.T) {
	l := newLimiter()
	for i := range maxLimiters + 100 {
		l.allow(netip.MustParseAddr("192.0.2.1"), fmt.Sprint(i))
	}
	if n := len(l.buckets.items); n != maxLimiters || l.buckets.order.Len() != n {
		t.Errorf("%d buckets", n)
	}
}

func TestLogsHoldNoSecret(t *testing.T) {
	f := office()
	m := new(memory)
	m.set(f.account, f.users, f.devices)
	var out bytes.Buffer
	c := testConfig(m)
	c.Log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := New(c)
	for _, path := range []string{testToken + "/" + t54w + ".cfg", testToken + "/805ec0000009.cfg", testToken + "x/" + t54w + ".cfg", testToken + "/" + t54w + ".cfg?mac=1"} {
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/p/"+path, nil))
	}
	if out.Len() == 0 || !strings.Contains(out.String(), testToken[:4]) {
		t.Errorf("log: %s", out.String())
	}
	for _, secret := range []string{testToken[:5], "pass-0001", testAdmin} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("log holds %q:\n%s", secret, out.String())
		}
	}
}

// TestNoTransport checks that a phone is told to come back rather than given a file that cannot work.
func TestNoTransport(t *testing.T) {
	f := office()
	f.devices[0].Transport = "tcp"
	m := new(memory)
	m.set(f.account, f.users, f.devices)
	c := testConfig(m)
	c.SIP = func(netip.Addr) (string, map[string]int) { return "192.0.2.10", map[string]int{"udp": 5060, "tcp": 0} }
	rec := httptest.NewRecorder()
	New(c).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/p/"+testToken+"/"+t54w+".cfg", nil))
	if rec.Code != http.StatusServiceUnavailable || m.recorded()[0].Status != http.StatusServiceUnavailable {
		t.Errorf("status %d, recorded %+v", rec.Code, m.recorded())
	}
}

// TestPlaceIsWhereThePhoneIs checks that the house is asked with the address that the phone reached.
func TestPlaceIsWhereThePhoneIs(t *testing.T) {
	f := office()
	m := new(memory)
	m.set(f.account, f.users, f.devices)
	c := testConfig(m)
	c.SIP = func(local netip.Addr) (string, map[string]int) {
		return local.String(), map[string]int{"udp": 5060, "tcp": 5060}
	}
	c.HTTPBase = func(r *http.Request) string { return "http://" + r.Host + "/" }
	ts := httptest.NewServer(New(c))
	defer ts.Close()
	defer ts.Client().CloseIdleConnections()
	phone := provtest.Phone{Client: ts.Client(), Base: ts.URL + "/p/" + testToken + "/", MAC: t54w, UserAgent: t54wAgent}
	accounts, err := phone.Accounts(t.Context())
	if err != nil || accounts[0].Host != "127.0.0.1" {
		t.Errorf("accounts %+v, %v", accounts, err)
	}
	r, err := phone.Fetch(t.Context(), http.MethodGet, t54w+".cfg", nil)
	if err != nil || !bytes.Contains(r.Body, []byte("server.url = "+phone.Base+"\n")) {
		t.Errorf("own address is not in the file: %v", err)
	}
}

// TestStrangersCannotFillTheLog asks for many addresses that do not exist, each another one.
func TestStrangersCannotFillTheLog(t *testing.T) {
	var log bytes.Buffer
	s := New(Config{Store: &memory{}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for i := range 500 {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, fmt.Sprintf("/p/guess%d/y.cfg", i), nil))
		if w.Code != http.StatusNotFound {
			t.Fatal(w.Code)
		}
	}
	if n := strings.Count(log.String(), "\n"); n < 1 || n > 30 {
		t.Errorf("%d lines of log", n)
	}
}
