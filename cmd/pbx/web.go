package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"pbx/admin"
)

// webServer is the HTTP side of the house on all its addresses.
type webServer struct {
	server    *http.Server
	listeners []webListener
	serving   sync.WaitGroup
	failed    chan error // the first listener that broke
}

type webListener struct {
	net.Listener
	scheme string
}

// startWeb binds all addresses, then serves them.
func startWeb(cfg *config, certs *certificates, handler http.Handler, log *slog.Logger) (*webServer, error) {
	w := &webServer{
		failed: make(chan error, 1),
		server: &http.Server{
			Handler: handler,
			// nobody holds a connection by speaking slowly. The live socket and sound files set their own limits.
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       60 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    32 << 10,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}
	err := w.bind(cfg, certs)
	if err != nil {
		for _, l := range w.listeners {
			err = errors.Join(err, l.Close())
		}
		return nil, err
	}
	for _, l := range w.listeners {
		w.serving.Add(1)
		go func() {
			defer w.serving.Done()
			if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				select {
				case w.failed <- fmt.Errorf("serve %s: %w", l.Addr(), err):
				default:
				}
			}
		}()
	}
	return w, nil
}

func (w *webServer) bind(cfg *config, certs *certificates) error {
	listen := func(scheme, flag string, addr netip.AddrPort) (net.Listener, error) {
		network := "tcp4"
		if addr.Addr().Is6() {
			network = "tcp6"
		}
		l, err := net.Listen(network, addr.String())
		if err != nil {
			return nil, fmt.Errorf("--%s: %w (another program may use the port; choose another one or 0)", flag, err)
		}
		return l, nil
	}
	for _, addr := range cfg.http {
		l, err := listen("http", "http", addr)
		if err != nil {
			return err
		}
		w.listeners = append(w.listeners, webListener{l, "http"})
	}
	for _, addr := range cfg.https {
		l, err := listen("https", "https", addr)
		if err != nil {
			return err
		}
		t := tls.NewListener(l, &tls.Config{GetCertificate: certs.get, MinVersion: tls.VersionTLS12})
		w.listeners = append(w.listeners, webListener{t, "https"})
	}
	return nil
}

// close stops serving and waits for the handlers, as long as ctx allows. A client that is still busy then is cut off,
// which is no failure of ours.
func (w *webServer) close(ctx context.Context) error {
	err := w.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = w.server.Close()
	}
	w.serving.Wait()
	return err
}

// urls lists the addresses to type into a browser; a wildcard stands for each address of this machine.
func (w *webServer) urls() []string {
	var urls []string
	for _, l := range w.listeners {
		bound := l.Addr().(*net.TCPAddr).AddrPort()
		if !bound.Addr().IsUnspecified() {
			urls = append(urls, fmt.Sprintf("%s://%s/", l.scheme, bound))
			continue
		}
		for _, a := range localAddrs(bound.Addr().Is4()) {
			urls = append(urls, fmt.Sprintf("%s://%s/", l.scheme, netip.AddrPortFrom(a, bound.Port())))
		}
	}
	return urls
}

// localAddrs returns this machine's usable addresses, loopback last.
func localAddrs(v4 bool) []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var usable, loopback []netip.Addr
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().Is4() != v4 || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if p.Addr().IsLoopback() {
			loopback = append(loopback, p.Addr())
		} else {
			usable = append(usable, p.Addr())
		}
	}
	return append(usable, loopback...)
}

// routes puts the rooms that speak HTTP behind one door.
func (h *house) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/p/", h.prov)
	mux.Handle("/sip", h.sip.WebSocket())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if err := h.db.Ping(r.Context()); err != nil {
			http.Error(w, "database does not answer", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /readyz", h.ready)
	mux.Handle("GET /metrics", h.onlyLoopback(h.metrics()))
	if h.certs != nil {
		mux.HandleFunc("GET /ca.pem", h.serveCA)
	}
	mux.Handle("/", h.admin)
	return mux
}

// serveCA hands out what phones and browsers must trust to trust us.
func (h *house) serveCA(w http.ResponseWriter, r *http.Request) {
	ca := h.certs.ca()
	if ca == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	w.Header().Set("Content-Disposition", `attachment; filename="ca.pem"`)
	w.Write(ca)
}

// onlyLoopback hides a page from other machines unless the operator opened it.
func (h *house) onlyLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.cfg.metrics != "all" && !admin.FromThisMachine(r) {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
