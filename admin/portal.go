package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
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

// portal serves the built web pages. They stay in the program file until somebody asks: most of the time nobody does.
type portal struct {
	files  fs.FS
	assets map[string]*asset // by path
}

// asset is one file, as it is and compressed.
type asset struct {
	name     string
	kind     string // media type
	tag      string // of the plain bytes, without quotes
	forever  bool   // its name changes with its content
	br, gzip bool   // whether the build made them
}

// newPortal reads a built portal; index.html must be there.
func newPortal(files fs.FS) (*portal, error) {
	p := &portal{files: files, assets: make(map[string]*asset)}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".br") || strings.HasSuffix(name, ".gz") {
			return err
		}
		a := &asset{name: name, kind: kindOf(name), forever: strings.HasPrefix(name, "assets/")}
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			return err
		}
		a.tag = base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:12])
		for suffix, made := range map[string]*bool{".br": &a.br, ".gz": &a.gzip} {
			_, err := fs.Stat(files, name+suffix)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			*made = err == nil
		}
		p.assets["/"+name] = a
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read portal: %w", err)
	}
	if p.assets["/index.html"] == nil {
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
	a := p.assets[r.URL.Path]
	if a == nil {
		if strings.HasPrefix(r.URL.Path, "/assets/") { // of an older build, perhaps: a page in its place would be no script
			h.Set("Cache-Control", "no-store")
			http.NotFound(w, r)
			return
		}
		a = p.assets["/index.html"] // every address of the portal is the one page
	}
	p.serve(w, r, a)
}

func (p *portal) serve(w http.ResponseWriter, r *http.Request, a *asset) {
	h := w.Header()
	name, encoding := a.name, ""
	switch accepted := r.Header.Get("Accept-Encoding"); {
	case a.br && accepts(accepted, "br"):
		name, encoding = a.name+".br", "br"
	case a.gzip && accepts(accepted, "gzip"):
		name, encoding = a.name+".gz", "gzip"
	}
	tag := `"` + a.tag + `"`
	if encoding != "" {
		tag = `"` + a.tag + "-" + encoding + `"` // RFC 9110 §8.8.3.3: another encoding, another tag
		h.Set("Content-Encoding", encoding)
	}
	if a.br || a.gzip {
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
	f, err := p.files.Open(name)
	if err != nil { // it was there at the start
		http.Error(w, "this page cannot be read", http.StatusInternalServerError)
		return
	}
	defer f.Close()
	h.Set("Content-Type", a.kind)
	if info, err := f.Stat(); err == nil {
		h.Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	}
	if r.Method != http.MethodHead {
		io.Copy(w, f)
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
