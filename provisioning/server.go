package provisioning

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"pbx/store"
)

// Store is what provisioning needs of the database. All but SaveProvisionFetch answer from memory.
type Store interface {
	AccountByProvisioningToken(token string) (store.ID, bool) // compares in constant time
	Snapshot(account store.ID) *store.Snapshot
	DeviceByMAC(account store.ID, mac string) (*store.Device, bool)
	SaveProvisionFetch(ctx context.Context, f store.ProvisionFetch) error
}

// Config is what a Server is made of.
type Config struct {
	Store Store
	// SIP tells where phones register, as seen by a phone that reached us at our address local. For a preview,
	// which no phone asked for, local is the zero Addr. A transport without port is one that we do not speak.
	SIP func(local netip.Addr) (host string, ports map[string]int)
	// HTTPBase tells our address for phones, "http://192.0.2.1:8080", without a slash at the end. For a preview r is nil.
	HTTPBase func(r *http.Request) string
	// NTP are one or two time servers; none means pool.ntp.org.
	NTP []string
	Log *slog.Logger
}

// Server answers phones at /p/{token}/{file}. It is an http.Handler and owns no goroutine.
type Server struct {
	config   Config
	limit    *limiter
	seen     seenPhones
	fetched  lastFetches
	versions versions
	// strange bounds what those without a valid address can write into the log.
	strange *rate.Limiter
}

const pathPrefix = "/p/"

// New returns a server.
func New(c Config) *Server {
	if len(c.NTP) == 0 {
		c.NTP = []string{"pool.ntp.org"}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	vendors() // a mistake in the embedded data shows at the start, not at the first phone
	return &Server{
		config:   c,
		limit:    newLimiter(),
		seen:     seenPhones{accounts: newLRU[store.ID, *lru[string, SeenPhone]](maxSeenAccounts)},
		fetched:  lastFetches{devices: newLRU[store.ID, time.Time](maxFetched)},
		versions: versions{files: newLRU[string, version](maxVersions)},
		strange:  rate.NewLimiter(1, 20),
	}
}

// ServeHTTP answers one request of a phone. Whatever is not a file for a device of the account that the token names
// gets the same answer, so that nobody learns which tokens, accounts or devices exist.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		// Phones may try to upload logs and local settings. We keep none: they would be a stranger's input.
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, pathPrefix)
	token, file, ok2 := strings.Cut(path, "/")
	if !ok || !ok2 || token == "" {
		refuse(w, http.StatusNotFound)
		return
	}
	source := remoteAddr(r)
	log := s.config.Log.With("token", tokenPrefix(token), "source", source.String())
	if !s.limit.allow(source, token) {
		if s.strange.Allow() {
			log.Warn("phone asked too often")
		}
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusTooManyRequests)
		return
	}
	account, ok := s.config.Store.AccountByProvisioningToken(token)
	if !ok {
		if s.strange.Allow() {
			log.Info("provisioning address not known")
		}
		refuse(w, http.StatusNotFound)
		return
	}
	file = strings.TrimLeft(file, "/") // a phone may add a slash to an address that ends in one
	agent := strings.ToValidUTF8(r.UserAgent(), "")
	req, ok := identify(file, agent, r.URL.Query())
	if !ok {
		log.Warn("phone contradicted itself", "account", account)
		refuse(w, http.StatusNotFound)
		return
	}
	s.answer(w, r, account, req, source, log.With("account", account))
}

// answer serves a request whose account is known.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, account store.ID, req request, source netip.Addr, log *slog.Logger) {
	snap := s.config.Store.Snapshot(account)
	d, known := (*store.Device)(nil), false
	if req.mac != "" {
		d, known = s.config.Store.DeviceByMAC(account, req.mac)
	}
	if known {
		counted := &countingWriter{ResponseWriter: w}
		s.serve(counted, r, snap, d, req, log.With("device", d.ID))
		s.record(r, account, d.ID, req.file, source, counted)
		return
	}
	if req.mac != "" && req.vendor != nil {
		if _, _, asks := req.rule(req.vendor); asks {
			s.seen.add(account, SeenPhone{
				MAC: req.mac, Vendor: req.vendor.Name, Model: req.model.Model, Firmware: req.firmware,
				Source: source.String(), At: time.Now(),
			})
			log.Info("unknown phone asked for a file", "mac", req.mac, "model", req.model.Model)
		}
	}
	s.serve(w, r, snap, nil, req, log)
}

// serve finds the rule for the file and sends what it says. d is nil when the phone is not known.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, snap *store.Snapshot, d *store.Device, req request, log *slog.Logger) {
	v, rule, model, ok := req.find(d)
	if !ok || snap == nil || rule.template == "" || rule.Secret && d == nil {
		refuse(w, http.StatusNotFound)
		return
	}
	if rule.Secret {
		model = v.modelOf(d)
	}
	f, err := s.render(v, rule, req.file, model, snap, d, s.place(r, localAddr(r)), false)
	if err != nil {
		log.Error("file not rendered", "file", req.file, "error", err)
		status := http.StatusInternalServerError
		if errors.Is(err, errNoServer) {
			status = http.StatusServiceUnavailable
		}
		refuse(w, status)
		return
	}
	owner := "account " + string(snap.Account.ID)
	if rule.Secret {
		owner = "device " + string(d.ID)
	}
	modified, tag := s.versions.of(owner+" "+req.form, f.Body, time.Now())
	h := w.Header()
	h.Set("Content-Type", f.ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("ETag", tag)
	// RFC 9110 §13: conditional requests and ranges; the body is in memory, so Content-Length is always sent.
	http.ServeContent(w, r, "", modified, bytes.NewReader(f.Body))
	log.Info("file served", "file", req.file, "bytes", len(f.Body))
}

// find returns the rule for what was asked: of the device's maker, else of the one that the phone claims, else of
// whoever has such a file.
func (r *request) find(d *store.Device) (*Vendor, FileRule, Model, bool) {
	if d != nil {
		v := vendorOf(d)
		if v == nil {
			return nil, FileRule{}, Model{}, false
		}
		rule, m, ok := r.rule(v)
		return v, rule, m, ok
	}
	all := vendors()
	for i := range all {
		if r.vendor != nil && r.vendor != &all[i] {
			continue
		}
		if rule, m, ok := r.rule(&all[i]); ok {
			return &all[i], rule, m, true
		}
	}
	return nil, FileRule{}, Model{}, false
}

// place asks the house how a phone that sent r reaches us.
func (s *Server) place(r *http.Request, local netip.Addr) place {
	p := place{base: strings.TrimRight(s.config.HTTPBase(r), "/")}
	p.host, p.ports = s.config.SIP(local)
	return p
}

// record notes what a known device asked for and got.
func (s *Server) record(r *http.Request, account, device store.ID, file string, source netip.Addr, w *countingWriter) {
	now := time.Now()
	s.fetched.note(device, now)
	if r.Method == http.MethodHead {
		w.bytes = 0 // counted as written, but net/http sends no body
	}
	err := s.config.Store.SaveProvisionFetch(context.WithoutCancel(r.Context()), store.ProvisionFetch{
		ID: store.NewID(store.PrefixProvisionLog), AccountID: account, DeviceID: device, At: now,
		File: cleanText(file), Source: source.String(), UserAgent: cleanText(r.UserAgent()), Status: w.status, Bytes: w.bytes,
	})
	if err != nil {
		s.config.Log.Error("fetch of a phone not recorded", "device", device, "error", err)
	}
}

// refuse sends the same few bytes whatever the reason. A page would be parsed by the phone, and a hint read by others.
func refuse(w http.ResponseWriter, status int) {
	body := strings.ToLower(http.StatusText(status)) + "\n"
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the phone is gone, or it is not
}

// tokenPrefix is as much of a token as a log may hold.
func tokenPrefix(token string) string {
	return cleanText(token[:min(4, len(token))]) + "…"
}

func remoteAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// localAddr is our address that the request arrived at.
func localAddr(r *http.Request) netip.Addr {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// countingWriter remembers the answer for the log of fetches.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *countingWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// maxVersions bounds the files whose age we remember.
const maxVersions = 20_000

// versions remembers since when each file has its content. After a restart all files are new, which costs a phone
// one needless download; the tag stays the same.
type versions struct {
	mu    sync.Mutex
	files *lru[string, version]
}

type version struct {
	tag   string
	since time.Time
}

// of returns the age and the entity tag of a file.
func (v *versions) of(file string, body []byte, now time.Time) (since time.Time, tag string) {
	sum := sha256.Sum256(body)
	tag = `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	v.mu.Lock()
	defer v.mu.Unlock()
	old, ok := v.files.get(file)
	if ok && old.tag == tag {
		return old.since, tag
	}
	since = now.UTC().Truncate(time.Second)
	if !since.After(old.since) {
		since = old.since.Add(time.Second) // RFC 9110 §8.8.2.2: dates have seconds, two contents must not share one
	}
	v.files.put(file, version{tag, since})
	return since, tag
}
