package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"pbx/store/sqlite"
)

// finding is one line of "pbx check": what was looked at, what was seen, and what to mend.
type finding struct {
	ok   bool
	what string
	seen string
	mend string // empty when ok
}

// check tests this machine and says what to mend.
func check(ctx context.Context, cfg *config, w io.Writer) error {
	var all []finding
	all = append(all, checkPorts(cfg)...)
	all = append(all, checkClock(), checkNames(ctx, cfg.advertise))
	all = append(all, checkDisk(cfg.data)...)
	all = append(all, checkDatabase(ctx, cfg), checkFiles())
	bad := 0
	for _, f := range all {
		mark := "ok  "
		if !f.ok {
			mark = "MEND"
			bad++
		}
		fmt.Fprintf(w, "%s  %-22s %s\n", mark, f.what, f.seen)
		if !f.ok {
			fmt.Fprintf(w, "      -> %s\n", f.mend)
		}
	}
	if bad > 0 {
		fmt.Fprintf(w, "\n%d of %d checks need attention.\n", bad, len(all))
		return errReported
	}
	fmt.Fprintf(w, "\nAll %d checks passed.\n", len(all))
	return nil
}

func checkPorts(cfg *config) []finding {
	var all []finding
	try := func(what, flag string, addr netip.AddrPort, listen func() (io.Closer, error)) {
		f := finding{ok: true, what: what, seen: addr.String() + " is free"}
		c, err := listen()
		if err != nil {
			f.ok, f.seen = false, err.Error()
			f.mend = "stop the program that uses the port (a running pbx does), or choose another with --" + flag
		} else if err := c.Close(); err != nil {
			f.ok, f.seen, f.mend = false, err.Error(), "try again"
		}
		all = append(all, f)
	}
	tcp := func(a netip.AddrPort) func() (io.Closer, error) {
		return func() (io.Closer, error) { return net.ListenTCP("tcp", net.TCPAddrFromAddrPort(a)) }
	}
	udp := func(a netip.AddrPort) func() (io.Closer, error) {
		return func() (io.Closer, error) { return net.ListenUDP("udp", net.UDPAddrFromAddrPort(a)) }
	}
	for _, a := range cfg.http {
		try("portal port", "http", a, tcp(a))
	}
	for _, a := range cfg.https {
		try("portal port (TLS)", "https", a, tcp(a))
	}
	for _, a := range cfg.sipUDP {
		try("SIP port (UDP)", "sip-udp", a, udp(a))
	}
	for _, a := range cfg.sipTCP {
		try("SIP port (TCP)", "sip-tcp", a, tcp(a))
	}
	for _, a := range cfg.sipTLS {
		try("SIP port (TLS)", "sip-tls", a, tcp(a))
	}
	for _, a := range cfg.sipOldTLS {
		try("SIP port (old TLS)", "sip-tls-old", a, tcp(a))
	}
	if cfg.rtpHigh == 0 {
		return all
	}
	f := finding{ok: true, what: "sound ports"}
	taken := 0
	for p := int(cfg.rtpLow); p <= int(cfg.rtpHigh); p++ {
		c, err := net.ListenUDP("udp", &net.UDPAddr{Port: p})
		if err != nil {
			taken++
			continue
		}
		c.Close()
	}
	f.seen = fmt.Sprintf("%d of %d UDP ports are free", int(cfg.rtpHigh)-int(cfg.rtpLow)+1-taken, int(cfg.rtpHigh)-int(cfg.rtpLow)+1)
	if taken > (int(cfg.rtpHigh)-int(cfg.rtpLow)+1)/10 {
		f.ok, f.mend = false, "another program uses this range; choose another with --rtp-ports"
	}
	return append(all, f)
}

// checkClock asks the kernel whether something disciplines the clock.
func checkClock() finding {
	f := finding{what: "clock", seen: time.Now().Format(time.RFC1123Z)}
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	switch {
	case time.Now().Year() < 2026:
		f.mend = "the clock is far behind: set it, and install chrony or systemd-timesyncd"
	case err != nil:
		f.ok, f.seen = true, f.seen+" (the kernel does not tell whether it is synchronised)"
	case state == unix.TIME_ERROR || tx.Status&unix.STA_UNSYNC != 0:
		f.seen += ", not synchronised"
		f.mend = "install chrony or systemd-timesyncd: call records and phones rely on the right time"
	default:
		f.ok, f.seen = true, f.seen+", synchronised"
	}
	return f
}

// checkNames looks up the advertised name; without one it is enough that a resolver is configured.
func checkNames(ctx context.Context, advertise string) finding {
	f := finding{ok: true, what: "names (DNS)"}
	if _, err := netip.ParseAddr(advertise); advertise != "" && err != nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		addrs, err := net.DefaultResolver.LookupHost(ctx, advertise)
		if err != nil {
			return finding{what: f.what, seen: err.Error(), mend: "phones cannot find --advertise " + advertise + ": create the name or give an address"}
		}
		f.seen = fmt.Sprintf("%s is %v", advertise, addrs)
		return f
	}
	if b, err := os.ReadFile("/etc/resolv.conf"); err != nil || len(b) == 0 {
		return finding{what: f.what, seen: "no resolver is configured", mend: "write one into /etc/resolv.conf; trunks and mail need names"}
	}
	f.seen = "a resolver is configured"
	return f
}

// minFree is the free space below which voicemail is at risk.
const minFree = 1 << 30

func checkDisk(dir string) []finding {
	space := finding{ok: true, what: "disk space"}
	existing := dir
	for {
		if _, err := os.Stat(existing); err == nil || existing == "/" || existing == "." {
			break
		}
		existing = filepath.Dir(existing)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(existing, &st); err != nil {
		return []finding{{what: "disk space", seen: err.Error(), mend: "choose another directory with --data"}}
	}
	free := st.Bavail * uint64(st.Bsize)
	space.seen = fmt.Sprintf("%.1f GB free for %s", float64(free)/1e9, dir)
	if free < minFree {
		space.ok, space.mend = false, "free at least 1 GB: an hour of voicemail takes about 58 MB"
	}
	speed := finding{ok: true, what: "disk writes"}
	f, err := os.CreateTemp(existing, ".pbx-check-*")
	if err != nil {
		return []finding{space, {what: speed.what, seen: err.Error(), mend: "let this user write to the data directory, or choose another with --data"}}
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const rounds = 20
	begin := time.Now()
	for range rounds {
		if _, err = f.Write(make([]byte, 4096)); err == nil {
			err = f.Sync()
		}
		if err != nil {
			return []finding{space, {what: speed.what, seen: err.Error(), mend: "the disk refuses writes: look at dmesg"}}
		}
	}
	each := time.Since(begin) / rounds
	speed.seen = fmt.Sprintf("a synced write takes %s", each.Round(10*time.Microsecond))
	if each > 200*time.Millisecond {
		speed.ok, speed.mend = false, "the disk is very slow: settings and voicemail will feel it; prefer an SSD or another SD card"
	}
	return []finding{space, speed}
}

func checkDatabase(ctx context.Context, cfg *config) finding {
	f := finding{ok: true, what: "database"}
	if _, err := os.Stat(filepath.Join(cfg.data, "pbx.db")); err != nil {
		f.seen = "none yet; the first start makes it"
		return f
	}
	if err := sqlite.Inspect(ctx, cfg.data); err != nil {
		return finding{what: f.what, seen: err.Error(), mend: "restore the newest backup into an empty directory (pbx restore), or ask for help with this message"}
	}
	f.seen = "integrity is good"
	return f
}

// checkFiles looks at how many files and sockets this process may open: each call needs four.
func checkFiles() finding {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return finding{what: "open files", seen: err.Error(), mend: "look at ulimit -n"}
	}
	f := finding{ok: limit.Cur >= 4096, what: "open files", seen: fmt.Sprintf("at most %d", limit.Cur)}
	if !f.ok {
		f.mend = "raise the limit to 4096 or more (ulimit -n, or LimitNOFILE= of the service): each call needs four"
	}
	return f
}
