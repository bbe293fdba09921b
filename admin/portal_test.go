package admin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func page(h http.Handler, method, path string, header map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for name, v := range header {
		r.Header.Set(name, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPortalFiles(t *testing.T) {
	p, err := newPortal(fstest.MapFS{
		"index.html": {Data: []byte("<p>index")}, "index.html.br": {Data: []byte("br index")}, "index.html.gz": {Data: []byte("gz index")},
		"assets/app-1a2b.js": {Data: []byte("let a")}, "assets/app-1a2b.js.br": {Data: []byte("br app")}, "favicon.svg": {Data: []byte("<svg/>")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ path, accept, body, encoding, cache, kind string }{
		{"/", "", "<p>index", "", "no-cache", "text/html; charset=utf-8"},
		{"/users/usr_1", "gzip, deflate, br", "br index", "br", "no-cache", "text/html; charset=utf-8"},
		{"/login", "gzip", "gz index", "gzip", "no-cache", "text/html; charset=utf-8"},
		{"/login", "br;q=0, gzip;q=0.5", "gz index", "gzip", "no-cache", "text/html; charset=utf-8"},
		{"/assets/app-1a2b.js", "br", "br app", "br", "public, max-age=31536000, immutable", "text/javascript; charset=utf-8"},
		{"/assets/app-1a2b.js", "gzip", "let a", "", "public, max-age=31536000, immutable", "text/javascript; charset=utf-8"},
		{"/favicon.svg", "br", "<svg/>", "", "no-cache", "image/svg+xml"},
	} {
		w := page(p, "GET", test.path, map[string]string{"Accept-Encoding": test.accept})
		h := w.Header()
		if w.Code != 200 || w.Body.String() != test.body || h.Get("Content-Encoding") != test.encoding || h.Get("Cache-Control") != test.cache || h.Get("Content-Type") != test.kind {
			t.Errorf("%s %q: %d %q %v", test.path, test.accept, w.Code, w.Body, h)
		}
		again := page(p, "GET", test.path, map[string]string{"Accept-Encoding": test.accept, "If-None-Match": `"other", W/` + h.Get("ETag")})
		if again.Code != 304 || again.Body.Len() != 0 {
			t.Errorf("%s again: %d", test.path, again.Code)
		}
		if head := page(p, "HEAD", test.path, nil); head.Code != 200 || head.Body.Len() != 0 {
			t.Errorf("HEAD %s: %d", test.path, head.Code)
		}
	}
	plain, packed := page(p, "GET", "/", nil).Header(), page(p, "GET", "/", map[string]string{"Accept-Encoding": "br"}).Header()
	if plain.Get("ETag") == packed.Get("ETag") || plain.Get("Vary") != "Accept-Encoding" {
		t.Errorf("%v\n%v", plain, packed)
	}
	if w := page(p, "GET", "/assets/app-old.js", nil); w.Code != 404 {
		t.Errorf("an old asset: %d", w.Code)
	}
	if w := page(p, "POST", "/", nil); w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
	if _, err := newPortal(fstest.MapFS{"x": {}}); err == nil {
		t.Error("a portal without index.html")
	}
}

func TestPortalHeaders(t *testing.T) {
	h := emptyHouse(t)
	for _, path := range []string{"/", "/users", "/api/docs", "/api/v1/setup", "/api/nothing"} {
		w := page(h.server, "GET", path, nil)
		policy := w.Header().Get("Content-Security-Policy")
		script, _, _ := strings.Cut(policy[strings.Index(policy+"script-src", "script-src"):]+";", ";")
		if strings.Contains(script, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") || !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("%s: %s", path, policy)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: %v", path, w.Header())
		}
	}
	if w := page(h.server, "GET", "/", nil); w.Code != 200 || !strings.Contains(w.Body.String(), "<html") {
		t.Errorf("the embedded portal: %d", w.Code)
	}
	if w := page(h.server, "GET", "/api/v1/setup", nil); w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%v", w.Header())
	}
}

func TestDocs(t *testing.T) {
	h := emptyHouse(t)
	w := page(h.server, "GET", "/api/docs", nil)
	body := w.Body.String()
	if w.Code != 200 || strings.Contains(body, "<script") || strings.Contains(body, "src=") || strings.Contains(body, `href="http`) || strings.Contains(body, "url(") {
		t.Errorf("%d, %d octets", w.Code, len(body))
	}
	for _, o := range h.server.operations {
		if !strings.Contains(body, `id="op-`+o.id+`"`) {
			t.Errorf("%s is not described", o.id)
		}
	}
	for name := range h.server.doc.Components.Schemas {
		if !strings.Contains(body, `id="schema-`+name+`"`) {
			t.Errorf("%s is not described", name)
		}
	}
	if w := page(h.server, "GET", "/api/openapi.yaml", nil); w.Code != 200 || w.Body.String() != string(contractYAML) {
		t.Errorf("%d", w.Code)
	}
}
