package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pbx/call/calltest"
	"pbx/sip"
	"pbx/store"
	"pbx/store/sqlite"
)

// These are measurements of docs/performance.md.

var onFreePorts = []string{"--http", "127.0.0.1:0", "--sip-udp", "127.0.0.1:0", "--sip-tcp", "127.0.0.1:0", "--sip-tls=", "--rtp-ports", "0", "--drain", "0s"}

// furnished makes a data directory with an administrator and n users, who have a telephone each, and returns their lines.
func furnished(b *testing.B, n int) (dir string, lines []store.Line) {
	b.Helper()
	dir = b.TempDir()
	env := []string{"PBX_ADMIN_EMAIL=root@acme.test", "PBX_ADMIN_PASSWORD=correct horse battery"}
	cfg, _, err := parseConfig("serve", append([]string{"--data", dir}, onFreePorts...), env, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	h, err := open(b.Context(), cfg, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	account := h.db.Accounts()[0]
	admin := h.db.Snapshot(account).Users[0]
	err = h.db.Update(b.Context(), store.Actor{Kind: "system", Name: "benchmark"}, account, func(tx *sqlite.Tx) error {
		admin.Extension = "" // it has three digits
		if err := tx.SaveUser(&admin, 0); err != nil {
			return err
		}
		a := tx.Account()
		a.ExtensionLength = 5
		if err := tx.SaveAccount(&a, 0); err != nil {
			return err
		}
		for i := range n {
			u := store.User{
				Name: fmt.Sprint("Person ", i), Username: fmt.Sprint("person", i), Role: store.Member,
				Extension: fmt.Sprint(20000 + i), RingTimeout: 20 * time.Second, Voicemail: store.Voicemail{Enabled: true},
			}
			if err := tx.CreateUser(&u); err != nil {
				return err
			}
			d := store.Device{Kind: store.Softphone, Name: u.Name, Transport: "udp", SRTP: "off", Lines: []store.Line{{UserID: u.ID}}}
			if err := tx.CreateDevice(&d); err != nil {
				return err
			}
			lines = append(lines, d.Lines[0])
		}
		return nil
	})
	if err := errors.Join(err, h.close()); err != nil {
		b.Fatal(err)
	}
	return dir, lines
}

// BenchmarkStart is the time from the command to the last listener, on an existing database, in this process.
func BenchmarkStart(b *testing.B) {
	for _, users := range []int{10, 1000} {
		b.Run(fmt.Sprint(users, "users"), func(b *testing.B) {
			dir, _ := furnished(b, users)
			cfg, _, err := parseConfig("serve", append([]string{"--data", dir}, onFreePorts...), nil, io.Discard)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				h, err := open(b.Context(), cfg, io.Discard)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := h.close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkProgram runs the program as it is delivered, in a process of its own, and tells what that process alone
// needed; the phones are in ours.
func BenchmarkProgram(b *testing.B) {
	binary := stripped(b)
	for _, users := range []int{10, 1000} {
		b.Run(fmt.Sprintf("start/%dusers", users), func(b *testing.B) { measureStart(b, binary, users) })
	}
	b.Run("register", func(b *testing.B) { measureRegister(b, binary) })
	b.Run("call", func(b *testing.B) { measureCalls(b, binary) })
}

// measureStart measures the time from exec to the last listener, and the memory that the program then takes.
func measureStart(b *testing.B, binary string, users int) {
	size, err := os.Stat(binary)
	if err != nil {
		b.Fatal(err)
	}
	dir, _ := furnished(b, users)
	var resident, starts float64
	for b.Loop() {
		p := execute(b, binary, dir)
		b.StopTimer()
		resident += float64(p.settled())
		starts++
		p.stop()
		b.StartTimer()
	}
	b.ReportMetric(resident/starts/1000, "rss-kB")
	b.ReportMetric(float64(size.Size())/1000, "binary-kB")
}

// measureRegister registers 10,000 phones over UDP, which get their NOTIFY of the mailbox, then goes on
// registering them.
func measureRegister(b *testing.B, binary string) {
	const phones, sockets = 10_000, 100
	dir, lines := furnished(b, phones)
	p := execute(b, binary, dir)
	defer p.stop()
	idle := make(chan *desk, sockets)
	for i := range sockets {
		d, err := newDesk(i, p.udp, lines[i*phones/sockets:(i+1)*phones/sockets])
		if err != nil {
			b.Fatal(err)
		}
		defer d.close()
		idle <- d
	}
	before := p.settled()
	for range sockets {
		d := <-idle
		for range d.phones {
			if err := d.register(true); err != nil {
				b.Fatalf("%v\n%s", err, &p.logs)
			}
		}
		idle <- d
	}
	grown := float64(p.settled()) - float64(before)
	for name, anew := range map[string]bool{"known nonce": false, "new nonce": true} {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(sockets / 2 / runtime.GOMAXPROCS(0))
			used := p.cpu()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				d := <-idle
				defer func() { idle <- d }()
				for pb.Next() {
					if err := d.register(anew); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "registers/s")
			b.ReportMetric((p.cpu()-used).Seconds()/float64(b.N)*10_000, "cpu-s/10k")
			b.ReportMetric(grown/phones, "rss-B/binding")
		})
	}
}

// measureCalls places calls over loopback: INVITE with digest, ringing, answer, sound joined, BYE. Twenty
// pairs of phones call at once.
func measureCalls(b *testing.B, binary string) {
	const pairs = 20
	dir, lines := furnished(b, 2*pairs)
	p := execute(b, binary, dir)
	defer p.stop()
	phone := func(i int) *calltest.Phone {
		f, err := calltest.NewPhone(b.Context(), calltest.PhoneConfig{
			Name: fmt.Sprint("phone ", i), Network: sip.HostNetwork(), Local: netip.MustParseAddrPort("127.0.0.1:0"), Server: p.udp,
			Username: lines[i].Username, Password: string(lines[i].Password),
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := f.Close(); err != nil {
				b.Error(err)
			}
		})
		if err := f.Register(b.Context()); err != nil {
			b.Fatal(err)
		}
		return f
	}
	type pair struct {
		caller, callee *calltest.Phone
		number         string
	}
	idle := make(chan pair, pairs)
	for i := range pairs {
		idle <- pair{phone(2 * i), phone(2*i + 1), fmt.Sprint(20000 + 2*i + 1)}
	}
	b.SetParallelism(pairs / runtime.GOMAXPROCS(0))
	used := p.cpu()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c := <-idle
			if err := setUp(b.Context(), c.caller, c.callee, c.number); err != nil {
				b.Error(err)
			}
			idle <- c
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64((p.cpu()-used).Microseconds())/float64(b.N), "cpu-µs/call")
}

// setUp places one call and ends it.
func setUp(ctx context.Context, caller, callee *calltest.Phone, number string) error {
	out, err := caller.Call(ctx, number)
	if err != nil {
		return err
	}
	in, err := callee.Next(ctx)
	if err != nil {
		return err
	}
	if err := in.Answer(ctx); err != nil {
		return err
	}
	<-out.Answered()
	if err := out.Bye(ctx); err != nil {
		return err
	}
	<-in.Done()
	return nil
}

// stripped builds the program as it is delivered.
func stripped(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "pbx")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// process is the program, seen from outside.
type process struct {
	b    *testing.B
	cmd  *exec.Cmd
	out  io.ReadCloser
	logs bytes.Buffer
	udp  netip.AddrPort
}

var udpLine = regexp.MustCompile(`sip\s+udp (\S+)`)

// execute starts the program and returns when all its listeners are open.
func execute(b *testing.B, binary, dir string) *process {
	b.Helper()
	p := &process{b: b, cmd: exec.Command(binary, append([]string{"serve", "--data", dir}, onFreePorts...)...)}
	var err error
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		b.Fatal(err)
	}
	p.cmd.Stderr = &p.logs
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for sc := bufio.NewScanner(p.out); sc.Scan(); {
		if m := udpLine.FindStringSubmatch(sc.Text()); m != nil {
			p.udp = netip.MustParseAddrPort(m[1])
		}
		if strings.HasPrefix(sc.Text(), "  data ") {
			return p
		}
	}
	b.Fatalf("the program ended while starting: %v\n%s", p.cmd.Wait(), &p.logs)
	return nil
}

func (p *process) stop() {
	p.b.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.b.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.b.Fatalf("stopping: %v\n%s", err, &p.logs)
	}
}

// proc returns the fields of a file about the process.
func (p *process) proc(file string) []string {
	p.b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	if err != nil {
		p.b.Fatal(err)
	}
	return strings.Fields(string(data))
}

// cpu is the time that the process has computed, in steps of 10 ms.
func (p *process) cpu() time.Duration {
	p.b.Helper()
	fields := p.proc("stat") // the name, field 2, is one word
	user, err1 := strconv.Atoi(fields[13])
	system, err2 := strconv.Atoi(fields[14])
	if err := errors.Join(err1, err2); err != nil {
		p.b.Fatal(err)
	}
	return time.Duration(user+system) * (time.Second / 100) // USER_HZ is 100 everywhere
}

// settled waits until the process has computed nothing for half a second, and returns its resident memory.
func (p *process) settled() (bytes int) {
	p.b.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for last := time.Duration(-1); last != p.cpu(); <-tick.C {
		last = p.cpu()
	}
	pages, err := strconv.Atoi(p.proc("statm")[1])
	if err != nil {
		p.b.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// desk is a socket with many phones behind it, which speak one at a time.
type desk struct {
	conn   *net.UDPConn
	host   netip.AddrPort // our own
	phones []*plainPhone
	turn   int
	sent   int

	answers chan []byte
	read    chan struct{} // closed at the end
}

// plainPhone can do no more than register.
type plainPhone struct {
	line         store.Line
	id           string
	cseq, count  int
	ha1, ha2     string
	realm, nonce string
}

// newDesk opens a socket on a loopback address of its own: the limits of one source are not what is measured.
func newDesk(i int, server netip.AddrPort, lines []store.Line) (*desk, error) {
	local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + i)}), 0)
	conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(server))
	if err != nil {
		return nil, err
	}
	d := &desk{conn: conn, host: conn.LocalAddr().(*net.UDPAddr).AddrPort(), answers: make(chan []byte, 16), read: make(chan struct{})}
	for j, l := range lines {
		d.phones = append(d.phones, &plainPhone{line: l, id: fmt.Sprintf("p%d-%d", i, j)})
	}
	go d.listen()
	return d, nil
}

func (d *desk) close() {
	d.conn.Close()
	<-d.read
}

// listen answers NOTIFYs and hands on answers.
func (d *desk) listen() {
	defer close(d.read)
	buf := make([]byte, 4096)
	for {
		n, err := d.conn.Read(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // the program has gone
		case bytes.HasPrefix(buf[:n], []byte("NOTIFY ")):
			d.agree(buf[:n])
		default:
			select {
			case d.answers <- bytes.Clone(buf[:n]):
			default: // nobody asked
			}
		}
	}
}

// register lets the next phone register, with the nonce that it knows or with a new one.
func (d *desk) register(anew bool) error {
	f := d.phones[d.turn%len(d.phones)]
	d.turn++
	if anew || f.nonce == "" {
		answer, err := d.ask(f, "")
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(answer, []byte("SIP/2.0 401 ")) {
			return fmt.Errorf("no challenge: %s", answer)
		}
		f.challenged(answer)
	}
	f.count++
	response := digestOf(fmt.Sprintf("%s:%s:%08x:c:auth:%s", f.ha1, f.nonce, f.count, f.ha2))
	answer, err := d.ask(f, fmt.Sprintf("Authorization: Digest username=\"%s\", realm=\"%s\", nonce=\"%s\", uri=\"sip:pbx\", response=\"%s\", algorithm=SHA-256, qop=auth, nc=%08x, cnonce=\"c\"\r\n",
		f.line.Username, f.realm, f.nonce, response, f.count))
	if err != nil {
		return err
	}
	if bytes.HasPrefix(answer, []byte("SIP/2.0 401 ")) && bytes.Contains(answer, []byte("stale=true")) {
		f.nonce = "" // five minutes old
		d.turn--
		return d.register(true)
	}
	if !bytes.HasPrefix(answer, []byte("SIP/2.0 200 ")) {
		return fmt.Errorf("refused: %s", answer)
	}
	return nil
}

var challengeParam = regexp.MustCompile(`(realm|nonce)="([^"]*)"`)

func (f *plainPhone) challenged(answer []byte) {
	for _, m := range challengeParam.FindAllSubmatch(answer, 2) {
		if string(m[1]) == "realm" {
			f.realm = string(m[2])
		} else {
			f.nonce = string(m[2])
		}
	}
	f.count = 0
	f.ha1, f.ha2 = digestOf(f.line.Username+":"+f.realm+":"+string(f.line.Password)), digestOf("REGISTER:sip:pbx")
}

func digestOf(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

// ask sends a REGISTER, again until it is answered (RFC 3261 §17.1.2.2), and returns the answer.
func (d *desk) ask(f *plainPhone, authorization string) ([]byte, error) {
	f.cseq++
	d.sent++
	branch := fmt.Sprintf(";branch=z9hG4bK%s-%d;", f.id, d.sent)
	request := fmt.Appendf(nil, "REGISTER sip:pbx SIP/2.0\r\nVia: SIP/2.0/UDP %s%srport\r\nMax-Forwards: 70\r\nFrom: <sip:%s@pbx>;tag=1\r\nTo: <sip:%s@pbx>\r\nCall-ID: %s@%s\r\nCSeq: %d REGISTER\r\nContact: <sip:%s@%s>;expires=3600\r\nUser-Agent: Yealink SIP-T54W 96.86.0.100\r\n%sContent-Length: 0\r\n\r\n",
		d.host, branch, f.line.Username, f.line.Username, f.id, d.host.Addr(), f.cseq, f.id, d.host, authorization)
	again := time.NewTimer(0)
	defer again.Stop()
	for wait := 500 * time.Millisecond; ; {
		select {
		case answer := <-d.answers:
			if bytes.Contains(answer, []byte(branch)) {
				return answer, nil
			}
		case <-again.C:
			if wait > 16*time.Second {
				return nil, errors.New("no answer")
			}
			if _, err := d.conn.Write(request); err != nil {
				return nil, err
			}
			again.Reset(wait)
			wait *= 2
		}
	}
}

// agree answers a request with 200.
func (d *desk) agree(request []byte) {
	answer := []byte("SIP/2.0 200 OK\r\n")
	for line := range bytes.Lines(request) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch strings.ToLower(string(name)) {
		case "via", "from", "call-id", "cseq":
			answer = append(answer, line...)
		case "to":
			answer = append(answer, bytes.TrimRight(line, "\r\n")...)
			if !bytes.Contains(line, []byte("tag=")) {
				answer = append(answer, ";tag=2"...)
			}
			answer = append(answer, "\r\n"...)
		}
	}
	d.conn.Write(append(answer, "Content-Length: 0\r\n\r\n"...)) // what is lost will be asked again
}
