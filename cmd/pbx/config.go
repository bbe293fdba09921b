package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// config is what must be known before the database opens. All else is in the database and changed in the portal.
type config struct {
	data      string
	http      []netip.AddrPort
	https     []netip.AddrPort
	sipUDP    []netip.AddrPort
	sipTCP    []netip.AddrPort
	sipTLS    []netip.AddrPort
	sipOldTLS []netip.AddrPort
	tlsCert   string // files; empty: those in the data directory
	tlsKey    string
	carrierCA string // a file
	rtpLow    uint16
	rtpHigh   uint16
	advertise string
	kernel    string // "off", "auto" or names of network cards
	logLevel  slog.Level
	logFormat string
	drain     time.Duration
	metrics   string // "loopback" or "all"

	adminEmail    string // PBX_ADMIN_EMAIL
	adminPassword string // PBX_ADMIN_PASSWORD
}

// parseConfig reads flags and, for those not given, PBX_* variables. It returns the arguments behind the flags.
func parseConfig(command string, args, environ []string, stderr io.Writer) (*config, []string, error) {
	c := &config{}
	fs := flag.NewFlagSet("pbx "+command, flag.ContinueOnError)
	fs.SetOutput(stderr)
	var http, https, sipUDP, sipTCP, sipTLS, sipOldTLS, rtp, level string
	data, sipDefault, tlsDefault, rtpDefault := "./pbx-data", "0.0.0.0:5060", "0.0.0.0:5061", "20000-29999"
	if command == "demo" { // beside a real system: free ports, and a directory that goes away
		data, sipDefault, tlsDefault, rtpDefault = "", "127.0.0.1:0", "127.0.0.1:0", "0"
	}
	fs.StringVar(&c.data, "data", data, "`directory` of the database, voicemail and keys")
	fs.StringVar(&http, "http", "0.0.0.0:8080", "portal, API and provisioning, `addresses` separated by commas")
	fs.StringVar(&https, "https", "", "the same over TLS; the certificate is tls/cert.pem and tls/key.pem in the data directory, made there when absent")
	fs.StringVar(&sipUDP, "sip-udp", sipDefault, "SIP over UDP, `addresses`")
	fs.StringVar(&sipTCP, "sip-tcp", sipDefault, "SIP over TCP, `addresses`")
	fs.StringVar(&sipTLS, "sip-tls", tlsDefault, "SIP over TLS 1.2 and 1.3, `addresses`")
	fs.StringVar(&sipOldTLS, "sip-tls-old", "", "SIP over TLS from 1.0 on, with the ciphers of its time, `addresses` for phones that know no better")
	fs.StringVar(&c.tlsCert, "tls-cert", "", "certificate `file` (PEM, with its chain) for portal and SIP instead of that in the data directory; read again when it changes")
	fs.StringVar(&c.tlsKey, "tls-key", "", "its key `file`")
	fs.StringVar(&c.carrierCA, "carrier-ca", "", "`file` of certificates (PEM) to trust for carriers besides those that this machine trusts")
	fs.StringVar(&rtp, "rtp-ports", rtpDefault, "UDP port `range` for sound, 0 for any free port")
	fs.StringVar(&c.kernel, "kernel-relay", "off", "relay the sound of plain calls in the kernel (XDP): off, auto (all network cards that have an address) or `cards` separated by commas")
	fs.StringVar(&c.advertise, "advertise", "", "`address` to tell phones when it differs from the one they reach")
	fs.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&c.logFormat, "log-format", "text", "text or json")
	fs.DurationVar(&c.drain, "drain", 30*time.Second, "how long running calls may finish when stopping")
	fs.StringVar(&c.metrics, "metrics", "loopback", "who may read /metrics: loopback or all")
	if err := fs.Parse(args); err != nil {
		return nil, nil, err
	}
	env := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, "PBX_") {
			env[k] = v
		}
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var err error
	fs.VisitAll(func(f *flag.Flag) {
		key := "PBX_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v, ok := env[key]; ok && !given[f.Name] && err == nil {
			if e := fs.Set(f.Name, v); e != nil {
				err = fmt.Errorf("%s=%q: %w", key, v, e)
			}
		}
	})
	if err != nil {
		return nil, nil, err
	}
	c.adminEmail, c.adminPassword = env["PBX_ADMIN_EMAIL"], env["PBX_ADMIN_PASSWORD"]
	if (c.adminEmail == "") != (c.adminPassword == "") {
		return nil, nil, fmt.Errorf("PBX_ADMIN_EMAIL and PBX_ADMIN_PASSWORD go together; only one of them is set")
	}
	if (c.tlsCert == "") != (c.tlsKey == "") {
		return nil, nil, fmt.Errorf("--tls-cert and --tls-key go together; only one of them is set")
	}
	for _, l := range []struct {
		name, value string
		into        *[]netip.AddrPort
	}{{"http", http, &c.http}, {"https", https, &c.https}, {"sip-udp", sipUDP, &c.sipUDP}, {"sip-tcp", sipTCP, &c.sipTCP}, {"sip-tls", sipTLS, &c.sipTLS}, {"sip-tls-old", sipOldTLS, &c.sipOldTLS}} {
		if *l.into, err = parseAddrs(l.value); err != nil {
			return nil, nil, fmt.Errorf("--%s: %w", l.name, err)
		}
	}
	if len(c.http)+len(c.https) == 0 {
		return nil, nil, fmt.Errorf("--http and --https are both empty: the portal needs an address")
	}
	if len(c.sipUDP)+len(c.sipTCP)+len(c.sipTLS)+len(c.sipOldTLS) == 0 {
		return nil, nil, fmt.Errorf("--sip-udp, --sip-tcp and --sip-tls are all empty: phones need an address")
	}
	if c.rtpLow, c.rtpHigh, err = parsePorts(rtp); err != nil {
		return nil, nil, fmt.Errorf("--rtp-ports: %w", err)
	}
	if err := c.logLevel.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, fmt.Errorf("--log-level: %q is none of debug, info, warn, error", level)
	}
	if c.logFormat != "text" && c.logFormat != "json" {
		return nil, nil, fmt.Errorf("--log-format: %q is neither text nor json", c.logFormat)
	}
	if c.metrics != "loopback" && c.metrics != "all" {
		return nil, nil, fmt.Errorf("--metrics: %q is neither loopback nor all", c.metrics)
	}
	if strings.ContainsAny(c.kernel, " /") || c.kernel == "" {
		return nil, nil, fmt.Errorf("--kernel-relay: %q is neither off nor auto nor names of network cards such as eth0,eth1", c.kernel)
	}
	if c.drain < 0 {
		return nil, nil, fmt.Errorf("--drain: %s is negative", c.drain)
	}
	if strings.ContainsAny(c.advertise, " /<>\"\r\n") {
		return nil, nil, fmt.Errorf("--advertise: %q is neither an address nor a host name", c.advertise)
	}
	return c, fs.Args(), nil
}

// parseAddrs reads "0.0.0.0:5060,[::]:5060"; empty is none.
func parseAddrs(s string) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for _, part := range strings.Split(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		a, err := netip.ParseAddrPort(part)
		if err != nil {
			return nil, fmt.Errorf("%q is not an address and port such as 0.0.0.0:5060 or [::]:5060", part)
		}
		all = append(all, a)
	}
	return all, nil
}

// parsePorts reads "20000-29999"; "0" means any port and gives 0, 0.
func parsePorts(s string) (low, high uint16, err error) {
	if s == "0" {
		return 0, 0, nil
	}
	a, b, _ := strings.Cut(s, "-")
	l, err1 := strconv.ParseUint(a, 10, 16)
	h, err2 := strconv.ParseUint(b, 10, 16)
	if err1 != nil || err2 != nil || l < 1024 || h < l+3 {
		return 0, 0, fmt.Errorf("%q is not a range such as 20000-29999 (from 1024, at least 4 ports)", s)
	}
	return uint16(l), uint16(h), nil
}
