package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// portalPolicy lets the pages run our own scripts and talk to us, and nothing else. Styles may be inline: the
// components of the portal set them on elements.
const portalPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; " +
	"media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// portal serves the built web pages from memory.
type portal struct {
	files map[string]*asset
}

// asset is one file, as it is and compressed.
type asset struct {
	kind     string // media type
	tag      string // of the plain bytes, without quotes
	forever  bool   // its name changes with its content
	plain    []byte
	br, gzip []byte // nil when the build made none
}

// newPortal reads a built portal; index.html must be there.
func newPortal(files fs.FS) (*portal, error) {
	p := &portal{files: make(map[string]*asset)}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".br") || strings.HasSuffix(name, ".gz") {
			return err
		}
		a := &asset{kind: kindOf(name), forever: strings.HasPrefix(name, "assets/")}
		if a.plain, err = fs.ReadFile(files, name); err != nil {
			return err
		}
		sum := sha256.Sum256(a.plain)
		a.tag = base64.RawURLEncoding.EncodeToString(sum[:12])
		for suffix, packed := range map[string]*[]byte{".br": &a.br, ".gz": &a.gzip} {
			if *packed, err = fs.ReadFile(files, name+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		p.files["/"+name] = a
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read portal: %w", err)
	}
	if p.files["/index.html"] == nil {
		return nil, errors.New("read portal: there is no index.html")
	}
	return p, nil
}

// kindOf is the media type of a file, the same on every machine.
func kindOf(name string) string {
	switch ext := path.Ext(name); ext {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json", ".map":
		return "application/json"
	case ".webmanifest":
		return "application/manifest+json"
	case ".woff2":
		return "font/woff2"
	case ".ico":
		return "image/x-icon"
	case ".png":
		return "image/png"
	case ".wav":
		return "audio/wav"
	default:
		if kind := mime.TypeByExtension(ext); kind != "" {
			return kind
		}
		return "application/octet-stream"
	}
}

func (p *portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", portalPolicy)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	a := p.files[r.URL.Path]
	if a == nil {
		if strings.HasPrefix(r.URL.Path, "/assets/") { // of an older build, perhaps: a page in its place would be no script
			h.Set("Cache-Control", "no-store")
			http.NotFound(w, r)
			return
		}
		a = p.files["/index.html"] // every address of the portal is the one page
	}
	a.serve(w, r)
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	body, encoding := a.plain, ""
	switch accepted := r.Header.Get("Accept-Encoding"); {
	case a.br != nil && accepts(accepted, "br"):
		body, encoding = a.br, "br"
	case a.gzip != nil && accepts(accepted, "gzip"):
		body, encoding = a.gzip, "gzip"
	}
	tag := `"` + a.tag + `"`
	if encoding != "" {
		tag = `"` + a.tag + "-" + encoding + `"` // RFC 9110 §8.8.3.3: another encoding, another tag
		h.Set("Content-Encoding", encoding)
	}
	if a.br != nil || a.gzip != nil {
		h.Set("Vary", "Accept-Encoding")
	}
	h.Set("ETag", tag)
	h.Set("Cache-Control", "no-cache")
	if a.forever {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if matches(r.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", a.kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// accepts reports whether an Accept-Encoding names a coding without refusing it (RFC 9110 §12.5.3).
func accepts(header, coding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), coding) {
			continue
		}
		q, found := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		return !found || err == nil && weight > 0
	}
	return false
}

// matches reports whether an If-None-Match names the tag (RFC 9110 §13.1.2: weak comparison).
func matches(header, tag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		if part = strings.TrimSpace(part); part == "*" || strings.TrimPrefix(part, "W/") == tag {
			return true
		}
	}
	return false
}
