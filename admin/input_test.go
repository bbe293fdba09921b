package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// TestBadBodies sends every operation that takes a body what no body should be.
func TestBadBodies(t *testing.T) {
	h := newHouse(t)
	m := h.message(t, h.account, h.ada.ID)
	for _, o := range h.server.operations {
		if o.spec.RequestBody == nil || o.upload() {
			continue
		}
		path := o.fill("default", h.bob.ID, h.desk.ID, h.desk.Lines[0].ID, m.ID, "cal_x")
		send := func(t *testing.T, body string) *answer { c := *h.admin; c.t = t; return c.do(o.method, path, body) }
		t.Run(o.id, func(t *testing.T) {
			for name, test := range map[string]struct {
				body   string
				status int
			}{
				"empty":       {"", 400},
				"cut":         {`{"name":`, 400},
				"two":         {`{} {}`, 400},
				"text":        {`"x"`, 422},
				"list":        {`[]`, 422},
				"null":        {`null`, 422},
				"number":      {`1e999`, 400},
				"not utf-8":   {"{\"name\":\"\xff\"}", 400},
				"deep":        {strings.Repeat("[", 20_000), 400},
				"deep object": {strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), 400},
				"many fields": {`{"name":"x"` + manyFields(20_000) + `}`, 400},
				"huge":        {`{"name":"` + strings.Repeat("a", maxBody) + `"}`, 413},
			} {
				if got := send(t, test.body); got.status != test.status {
					t.Errorf("%s: status %d, want %d: %.200s", name, got.status, test.status, got.body)
				}
			}
			c := *h.admin
			c.t = t
			for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "", "application/json;charset"} {
				if got := c.with("Content-Type", kind).do(o.method, path, "{}"); got.status != http.StatusUnsupportedMediaType {
					t.Errorf("%q: status %d", kind, got.status)
				}
			}
			everyField(t, o, send)
		})
	}
	h.admin.get("/me").want(200) // still serving
}

// manyFields are n fields that no operation has, with a comma before each.
func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":1`, i)
	}
	return b.String()
}

// TestRefusingIsCheap proves that a body which is allowed to be large is refused within moments: strangers may send one.
func TestRefusingIsCheap(t *testing.T) {
	h := newHouse(t)
	for name, body := range map[string]string{
		"many fields":   `{"login":"x"` + manyFields(9_000) + `}`,
		"deep lists":    `{"login":[` + strings.Repeat(strings.Repeat("[", 9_000)+`"x"`+strings.Repeat("]", 9_000)+",", 40) + `1]}`,
		"bad text":      `{"login":[` + strings.Repeat(`"\u0001",`, 9_000) + `1]}`,
		"long bad name": `{"` + strings.Repeat("n", maxBody/2) + `":[` + strings.Repeat(`"\u0001",`, 9_000) + `1]}`,
	} {
		start := time.Now()
		a := h.nobody.do(http.MethodPost, "/session", body)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: %v", name, took)
		}
		if a.status != 422 && a.status != 400 || len(a.body) > 20_000 {
			t.Errorf("%s: status %d, %d octets", name, a.status, len(a.body))
		}
	}
}

// TestMadeUpNames sends control characters under names that the caller made up.
func TestMadeUpNames(t *testing.T) {
	h := newHouse(t)
	for _, name := range []string{"", " ", " s", "_s", "_", ".", "a.", "é", "\U0001F600"} {
		body, err := json.Marshal(map[string]any{name: "\x01"})
		if err != nil {
			t.Fatal(err)
		}
		a := h.nobody.do(http.MethodPost, "/session", string(body)).want(422)
		if !slices.Contains(a.fields(), name) {
			t.Errorf("%q: %s", name, a.body)
		}
	}
}

// everyField sends each field of a body in wrong types and sizes. The answer must name the field and never be our fault.
func everyField(t *testing.T, o *operation, send func(*testing.T, string) *answer) {
	schema := o.spec.RequestBody.Value.Content["application/json"].Schema.Value
	for field, ref := range schema.Properties {
		for _, v := range []string{`12345`, `-1`, `1.5`, `true`, `"x"`, `""`, `"\u0000"`, `"\ud800"`, `[]`, `[1]`, `{}`, `{"a":1}`, `null`, `1e308`, `9007199254740993`, `"` + strings.Repeat("é", 5000) + `"`} {
			a := send(t, `{"`+field+`":`+v+`}`)
			if a.status >= 500 {
				t.Errorf("%s = %.40s: status %d: %s", field, v, a.status, a.body)
			}
			if !fits(ref.Value, v) {
				named := a.status == 422 && slices.ContainsFunc(a.fields(), func(f string) bool { return f == field || strings.HasPrefix(f, field+".") })
				if !named {
					t.Errorf("%s = %.40s: status %d does not name the field: %s", field, v, a.status, a.body)
				}
			}
		}
	}
}

// fits reports whether a JSON value has a type that the schema allows.
func fits(s *openapi3.Schema, v string) bool {
	is := map[byte]string{'"': openapi3.TypeString, '[': openapi3.TypeArray, '{': openapi3.TypeObject, 't': openapi3.TypeBoolean, 'n': openapi3.TypeNull}[v[0]]
	if is == "" {
		return s.Type.Includes(openapi3.TypeInteger) || s.Type.Includes(openapi3.TypeNumber)
	}
	return s.Type.Includes(is)
}

func TestBadPaths(t *testing.T) {
	h := newHouse(t)
	for _, path := range []string{
		"/accounts/default/users/%00", "/accounts/default/users/..%2f..%2fetc", "/accounts/default/users/" + strings.Repeat("a", 65), "/accounts/default/users/usr'--",
		"/accounts/%3Cscript%3E/users", "/nothing", "/accounts/default/nothing", "/accounts/default/users/x/y/z",
	} {
		if a := h.admin.get(path); a.status != 404 || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: status %d %s", path, a.status, a.header)
		}
	}
	h.admin.do(http.MethodPut, "/me", "{}").want(405)
}

func TestMergePatch(t *testing.T) { // RFC 7396, appendix A
	for _, test := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		got, err := patched(rawJSON(test[0]), []byte(test[1]))
		if err != nil || string(got) != test[2] {
			t.Errorf("%s + %s = %s, %v, want %s", test[0], test[1], got, err, test[2])
		}
	}
}

// rawJSON is JSON as it is.
type rawJSON []byte

func (r rawJSON) MarshalJSON() ([]byte, error)     { return r, nil }
func (r *rawJSON) UnmarshalJSON(text []byte) error { *r = append((*r)[:0], text...); return nil }

// clock records the deadlines that a connection is given.
type clock struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (c *clock) SetReadDeadline(t time.Time) error  { c.read = append(c.read, t); return nil }
func (c *clock) SetWriteDeadline(t time.Time) error { c.write = append(c.write, t); return nil }

// TestDeadlines proves that slow clients are let go, and that no deadline outlives its request on a connection that is used again.
func TestDeadlines(t *testing.T) {
	h := newHouse(t)
	m := h.message(t, h.account, h.ada.ID)
	for _, test := range []struct {
		method, path, body string
		read, write        time.Duration
	}{
		{"GET", "/me", "", 0, answerTime},
		{"PATCH", "/me", "{}", handlerTime, answerTime},
		{"PATCH", "/me", "{", handlerTime, answerTime},
		{"GET", "/accounts/default/voicemail-messages/" + string(m.ID) + "/audio", "", 0, soundTime},
	} {
		var body io.Reader
		if test.body != "" {
			body = strings.NewReader(test.body)
		}
		c := &clock{ResponseRecorder: httptest.NewRecorder()}
		before := time.Now()
		h.server.ServeHTTP(c, h.admin.request(test.method, test.path, body))
		for name, d := range map[string]struct {
			set  []time.Time
			want time.Duration
		}{"read": {c.read, test.read}, "write": {c.write, test.write}} {
			if d.want == 0 {
				if len(d.set) != 0 {
					t.Errorf("%s %s: %s deadlines %v", test.method, test.path, name, d.set)
				}
				continue
			}
			if len(d.set) < 2 || !d.set[len(d.set)-1].IsZero() || d.set[len(d.set)-2].Sub(before) < d.want {
				t.Errorf("%s %s: %s deadlines %v", test.method, test.path, name, d.set)
			}
		}
	}
}
