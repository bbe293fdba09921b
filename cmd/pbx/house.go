package main

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"pbx/admin"
	"pbx/call"
	"pbx/dialplan"
	"pbx/event"
	"pbx/media"
	"pbx/media/xdp"
	"pbx/provisioning"
	"pbx/sip"
	"pbx/store"
	"pbx/store/sqlite"
)

// house is every room, built in order and closed in reverse.
type house struct {
	cfg    *config
	log    *slog.Logger
	bus    *event.Bus
	db     *sqlite.DB
	plans  *planShelf
	media  *media.Engine
	kernel *xdp.Relay // nil: all packets of sound pass through this program
	sip    *sip.Server
	calls  *call.Engine
	prov   *provisioning.Server
	admin  *admin.Server
	web    *webServer
	certs  *certificates // nil when nobody speaks TLS

	setupToken string // shown on the console while nobody can sign in
	ready      *readiness
	preload    sync.WaitGroup     // of sounds, behind the start, and who minds the memory
	rest       func()             // ends the latter; nil before that
	done       context.CancelFunc // ends the chores
}

// serve runs the house until ctx ends, then lets running calls finish.
func serve(ctx context.Context, cfg *config, stdout, stderr io.Writer) error {
	h, err := open(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	h.welcome(stdout)
	select {
	case <-ctx.Done():
	case err = <-h.web.failed:
		h.log.Error("web server stopped", "err", err)
	}
	return errors.Join(err, h.close())
}

// open builds every room in order. On error what was built is closed again.
func open(ctx context.Context, cfg *config, logs io.Writer) (_ *house, err error) {
	h := &house{cfg: cfg, log: newLogger(cfg, logs), bus: event.NewBus(), ready: &readiness{}}
	defer func() {
		if err != nil {
			cfg.drain = 0
			err = errors.Join(err, h.close())
		}
	}()
	if err := os.MkdirAll(cfg.data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", withAdvice(err, cfg))
	}
	h.db, err = sqlite.Open(ctx, sqlite.Options{Dir: cfg.data, Bus: h.bus, Log: h.log.With("room", "store"), Check: func(s *store.Snapshot) error {
		_, err := dialplan.Compile(s)
		return err
	}})
	if err != nil {
		return nil, withAdvice(err, cfg)
	}
	h.plans = &planShelf{snapshot: h.db.Snapshot, shelf: map[store.ID]shelved{}}
	if _, err := h.db.CloseInterruptedCalls(ctx); err != nil {
		return nil, err
	}
	if h.setupToken, err = firstStart(ctx, h.db, cfg); err != nil {
		return nil, err
	}

	advertised, err := advertisedAddr(ctx, cfg.advertise)
	if err != nil {
		return nil, err
	}
	sound := media.Config{Low: cfg.rtpLow, High: cfg.rtpHigh, Advertise: advertised, Log: h.log.With("room", "media")}
	if h.kernel = openKernel(cfg, sound.Log); h.kernel != nil {
		sound.Kernel = h.kernel
	}
	h.media = media.NewEngine(sound)
	if len(cfg.https)+len(cfg.sipTLS)+len(cfg.sipOldTLS) > 0 {
		if h.certs, err = openCertificates(cfg, h.log.With("room", "tls")); err != nil {
			return nil, withAdvice(err, cfg)
		}
	}
	carriers, err := carrierCAs(cfg.carrierCA)
	if err != nil {
		return nil, err
	}
	h.sip, err = sip.New(sip.Config{
		UDP: cfg.sipUDP, TCP: cfg.sipTCP, TLS: cfg.sipTLS, OldTLS: cfg.sipOldTLS, Certificate: h.certs.get, CarrierCAs: carriers, Advertise: cfg.advertise,
		Realm: "branchline", UserAgent: "Branchline " + buildVersion(), Trunks: h.db, Log: h.log.With("room", "sip"),
		Bans: h.db, Traces: h.db, Texts: h.db,
	}, h.db, h.db, h.db, h.bus)
	if err != nil {
		return nil, err
	}
	library := media.NewLibrary(filepath.Join(cfg.data, "prompts"))
	h.preload.Add(1)
	go func() {
		defer h.preload.Done()
		if err := library.Preload(); err != nil {
			h.log.Error("sounds not loaded", "err", err)
		}
	}()
	h.calls = call.NewEngine(call.Config{
		SIP: h.sip, Media: h.media, Library: library,
		Plan: h.plans.plan, Store: h.db, Bus: h.bus, Log: h.log.With("room", "call"),
	})
	if err := h.calls.Recover(ctx); err != nil {
		return nil, err
	}
	h.sip.Show(h.calls)
	h.sip.RouteTexts(h.calls)
	// Calls outlive the signal that asks the house to stop; close ends them.
	if err := h.sip.Start(context.WithoutCancel(ctx), h.calls); err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w (another program uses the port; choose another one with --sip-udp, --sip-tcp and --sip-tls, or 0)", err)
		}
		return nil, err
	}
	h.prov = provisioning.New(provisioning.Config{Store: h.db, SIP: h.sipAddress, HTTPBase: h.httpBase, Log: h.log.With("room", "provisioning")})
	if h.admin, err = admin.New(h.adminConfig()); err != nil {
		return nil, err
	}
	if h.web, err = startWeb(cfg, h.certs, h.routes(), h.log.With("room", "web")); err != nil {
		return nil, err
	}
	h.ready.set(true)
	minding, rest := context.WithCancel(context.WithoutCancel(ctx))
	h.rest = rest
	h.preload.Add(1)
	go func() {
		defer h.preload.Done()
		mindMemory(minding)
	}()
	doing, done := context.WithCancel(context.WithoutCancel(ctx))
	h.done = done
	h.preload.Add(1)
	go func() {
		defer h.preload.Done()
		h.doChores(doing)
	}()
	h.preload.Add(1)
	go func() {
		defer h.preload.Done()
		h.sweepRecordings(minding)
	}()
	return h, nil
}

// openKernel puts the relay into the kernel if that is wanted and this machine lets us. Without it nothing is missing but speed.
func openKernel(cfg *config, log *slog.Logger) *xdp.Relay {
	if cfg.kernel == "off" {
		return nil
	}
	var cards []string
	if cfg.kernel != "auto" {
		cards = strings.Split(cfg.kernel, ",")
	}
	r, err := xdp.Open(xdp.Options{Low: cfg.rtpLow, High: cfg.rtpHigh, Cards: cards, Log: log})
	if err != nil {
		log.Warn("sound is not relayed in the kernel but by this program", "reason", err)
		return nil
	}
	return r
}

// withAdvice adds what to do about a data directory that cannot be used.
func withAdvice(err error, cfg *config) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (user %d runs pbx and must be able to write to %s; give it to that user, or choose another with --data)", err, os.Getuid(), cfg.data)
	case errors.Is(err, store.ErrFull):
		return fmt.Errorf("%w (free some space where %s is, then start again)", err, cfg.data)
	}
	return err
}

// close stops the house in the order of the design: no new calls, running calls may finish, transports, store.
// A second signal skips the waiting.
func (h *house) close() error {
	h.ready.set(false)
	if h.done != nil {
		h.done() // what comes due now is done after the next start
	}
	var errs []error
	again, stop := secondSignal()
	defer stop()
	if h.sip != nil {
		h.sip.Drain()
	}
	if h.calls != nil {
		if n := h.calls.Count(); n > 0 && h.cfg.drain > 0 {
			h.log.Info("waiting for running calls", "calls", n, "at_most", h.cfg.drain)
		}
		ctx, cancel := context.WithTimeout(again, h.cfg.drain)
		errs = append(errs, h.calls.Close(ctx))
		cancel()
	}
	if h.web != nil {
		errs = append(errs, inTime(h.web.close))
	}
	if h.admin != nil {
		errs = append(errs, inTime(h.admin.Close))
	}
	h.certs.close()
	if h.sip != nil {
		errs = append(errs, inTime(h.sip.Close))
	}
	if h.media != nil {
		errs = append(errs, h.media.Close())
	}
	if h.kernel != nil {
		errs = append(errs, h.kernel.Close())
	}
	if h.rest != nil {
		h.rest()
	}
	h.preload.Wait()
	h.bus.Close()
	if h.db != nil {
		errs = append(errs, h.db.Close())
	}
	h.log.Info("stopped")
	return errors.Join(errs...)
}

// roomTime is how long one room may take to close. Each has its own: a browser that reads slowly must not take the
// time in which phones are told that their calls are over.
const roomTime = 3 * time.Second

func inTime(closeRoom func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), roomTime)
	defer cancel()
	return closeRoom(ctx)
}

// planShelf keeps the compiled plan of each account's current snapshot.
type planShelf struct {
	snapshot func(store.ID) *store.Snapshot
	mu       sync.Mutex
	shelf    map[store.ID]shelved
}

type shelved struct {
	snapshot *store.Snapshot
	plan     *dialplan.Plan
}

// plan returns the account's plan and the snapshot it was compiled from; nil for an unknown account.
func (p *planShelf) plan(account store.ID) (*dialplan.Plan, *store.Snapshot) {
	now := p.snapshot(account)
	if now == nil {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.shelf[account]; s.snapshot == now {
		return s.plan, now
	}
	plan, err := dialplan.Compile(now)
	if err != nil { // cannot be: what does not compile was refused when it was saved
		panic(fmt.Sprintf("saved plan of %s does not compile: %v", account, err))
	}
	p.shelf[account] = shelved{now, plan}
	return plan, now
}

// firstStart makes the admin named in the environment, or returns the token that set-up asks for.
func firstStart(ctx context.Context, db *sqlite.DB, cfg *config) (setupToken string, err error) {
	has, err := db.HasUsers(ctx)
	if err != nil || has {
		return "", err
	}
	if cfg.adminEmail != "" {
		_, err := admin.Bootstrap(ctx, admin.Open(db), cfg.adminEmail, cfg.adminPassword)
		return "", err
	}
	var raw [10]byte
	rand.Read(raw[:])
	code := base32.NewEncoding("ABCDEFGHJKLMNPQRSTUVWXYZ23456789").WithPadding(base32.NoPadding).EncodeToString(raw[:])
	return code[:4] + "-" + code[4:8] + "-" + code[8:12] + "-" + code[12:], nil
}

// advertisedAddr resolves --advertise for SDP, where only addresses are of use.
func advertisedAddr(ctx context.Context, advertise string) (netip.Addr, error) {
	if advertise == "" {
		return netip.Addr{}, nil
	}
	if a, err := netip.ParseAddr(advertise); err == nil {
		return a, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", advertise)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("--advertise: %w", err)
	}
	return all[0].Unmap(), nil
}

func newLogger(cfg *config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.logLevel}
	if cfg.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// welcome tells the person at the console where everything is.
func (h *house) welcome(w io.Writer) {
	fmt.Fprintf(w, "Branchline %s is up.\n\n", buildVersion())
	for _, url := range h.web.urls() {
		fmt.Fprintf(w, "  portal   %s\n", url)
	}
	for _, l := range h.sip.Listeners() {
		fmt.Fprintf(w, "  sip      %s %s\n", l.Transport, l.Addr)
	}
	if h.cfg.rtpHigh > 0 {
		fmt.Fprintf(w, "  sound    udp ports %d-%d\n", h.cfg.rtpLow, h.cfg.rtpHigh)
	}
	dir, err := filepath.Abs(h.cfg.data)
	if err != nil {
		dir = h.cfg.data
	}
	fmt.Fprintf(w, "  data     %s\n\n", dir)
	if h.setupToken != "" {
		fmt.Fprintf(w, "Open the portal to set up. From another machine it asks for this code: %s\n\n", h.setupToken)
	}
}

// secondSignal returns a context that ends when the person at the console insists.
func secondSignal() (context.Context, func()) {
	return notifyContext(context.Background())
}

// readiness is what /readyz tells.
type readiness struct {
	mu sync.Mutex
	ok bool
}

func (r *readiness) set(ok bool) {
	r.mu.Lock()
	r.ok = ok
	r.mu.Unlock()
}

func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	ok := r.ok
	r.mu.Unlock()
	if !ok {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}
