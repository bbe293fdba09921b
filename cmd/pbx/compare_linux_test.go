package main

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCompare puts the program beside Kamailio and beside a loop that only
// sends datagrams back. Each does the same with the same sender, on the first core;
// the sender has the second. What they computed is read from /proc.
//
// Kamailio runs as one process, keeps bindings in memory alone and relays calls as a
// stateful proxy; the program also writes bindings, call records and traces to its
// database, and is an end of both sides of each call, with sound ports on both.
func BenchmarkCompare(b *testing.B) {
	if _, err := exec.LookPath("kamailio"); err != nil {
		b.Skip(err)
	}
	pin(b, strconv.Itoa(os.Getpid()), "1")
	b.Cleanup(func() { pin(b, strconv.Itoa(os.Getpid()), "0-"+strconv.Itoa(runtime.NumCPU()-1)) })
	for _, s := range []struct {
		name  string
		start func(b *testing.B, users int) *rival
	}{{"pbx", selfRival}, {"kamailio", proxyRival}, {"echo", echoRival}} {
		b.Run("register/"+s.name, func(b *testing.B) { compareRegister(b, s.start(b, 10_000)) })
		b.Run("call/"+s.name, func(b *testing.B) { compareCalls(b, s.start(b, 2*callers)) })
	}
}

// callers is how many calls are placed at one time.
const callers = 40

// rival is a server that is measured.
type rival struct {
	at     netip.AddrPort
	users  []credential
	number func(i int) string // what to dial for the i-th user
	bare   bool               // it only sends back what it gets
	pid    int
}

type credential struct{ name, password string }

// cpu is what the process and its children have computed.
func (r *rival) cpu(b *testing.B) time.Duration {
	b.Helper()
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", r.pid, r.pid))
	if err != nil {
		b.Fatal(err)
	}
	ticks := 0
	for _, pid := range append(strings.Fields(string(children)), strconv.Itoa(r.pid)) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			b.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		user, err1 := strconv.Atoi(fields[11])
		system, err2 := strconv.Atoi(fields[12])
		if err := errors.Join(err1, err2); err != nil {
			b.Fatal(err)
		}
		ticks += user + system
	}
	return time.Duration(ticks) * (time.Second / 100)
}

// settle waits until the server computes next to nothing.
func (r *rival) settle(b *testing.B) {
	for range 60 {
		before := r.cpu(b)
		time.Sleep(time.Second)
		if r.cpu(b)-before <= 10*time.Millisecond {
			return
		}
	}
}

// pin keeps a process and all its threads on some cores.
func pin(b *testing.B, pid, cores string) {
	b.Helper()
	if runtime.NumCPU() == 1 {
		return
	}
	if out, err := exec.Command("taskset", "-a", "-c", "-p", cores, pid).CombinedOutput(); err != nil {
		b.Fatalf("taskset: %v\n%s", err, out)
	}
}

// onFirstCore starts a program and ends it with the benchmark.
func onFirstCore(b *testing.B, command ...string) (*exec.Cmd, *bufio.Scanner) {
	b.Helper()
	cmd := exec.Command("taskset", append([]string{"-c", "0"}, command...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	var logs bytes.Buffer
	cmd.Stderr = &logs
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil && b.Failed() {
			b.Logf("%s: %v\n%s", command[0], err, &logs)
		}
	})
	return cmd, bufio.NewScanner(out)
}

func selfRival(b *testing.B, users int) *rival {
	dir, lines := furnished(b, users)
	cmd, out := onFirstCore(b, append([]string{stripped(b), "serve", "--data", dir}, onFreePorts...)...)
	r := &rival{pid: cmd.Process.Pid, number: func(i int) string { return strconv.Itoa(20000 + i) }}
	for _, l := range lines {
		r.users = append(r.users, credential{l.Username, string(l.Password)})
	}
	for out.Scan() {
		if m := udpLine.FindStringSubmatch(out.Text()); m != nil {
			r.at = netip.MustParseAddrPort(m[1])
		}
		if strings.HasPrefix(out.Text(), "  data ") {
			return r
		}
	}
	b.Fatal("the program ended while starting")
	return nil
}

const proxyConfig = `
debug=0
log_stderror=yes
children=1
tcp_children=1
disable_tcp=yes
auto_aliases=no
dns=no
rev_dns=no
listen=udp:%s
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "auth.so"
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "hash_size", 14)
request_route {
	if (!mf_process_maxfwd_header("10")) {
		sl_send_reply("483", "Too Many Hops");
		exit;
	}
	if (is_method("REGISTER")) {
		if (!pv_www_authenticate("bench", "secret", "0")) {
			www_challenge("bench", "1");
			exit;
		}
		save("location");
		exit;
	}
	if (has_totag()) {
		if (loose_route()) {
			t_relay();
			exit;
		}
		exit;
	}
	if (is_method("ACK")) {
		exit;
	}
	if (is_method("INVITE")) {
		if (!pv_proxy_authenticate("bench", "secret", "0")) {
			proxy_challenge("bench", "1");
			exit;
		}
		consume_credentials();
		record_route();
		if (!lookup("location")) {
			sl_send_reply("404", "Not Found");
			exit;
		}
		t_relay();
		exit;
	}
	sl_send_reply("200", "OK");
}
`

func proxyRival(b *testing.B, users int) *rival {
	free, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	at := free.LocalAddr().String()
	if err := free.Close(); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "kamailio.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, proxyConfig, at), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd, _ := onFirstCore(b, "kamailio", "-DD", "-E", "-m", "256", "-M", "16", "-Y", b.TempDir(), "-f", file)
	r := &rival{at: netip.MustParseAddrPort(at), pid: cmd.Process.Pid, number: func(i int) string { return fmt.Sprint("user", i) }}
	for i := range users {
		r.users = append(r.users, credential{fmt.Sprint("user", i), "secret"})
	}
	s, err := newSender(199, r.at)
	if err != nil {
		b.Fatal(err)
	}
	defer s.conn.Close()
	for range 100 { // until it listens
		if _, err := s.ask(func() []byte { return s.register(r.users[0], "probe", "") }); err == nil {
			return r
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.Fatal("kamailio does not listen")
	return nil
}

func echoRival(b *testing.B, users int) *rival {
	path := filepath.Join(b.TempDir(), "echo")
	if out, err := exec.Command("go", "build", "-o", path, filepath.Join("testdata", "echo", "main.go")).CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	cmd, out := onFirstCore(b, path)
	out.Scan()
	return &rival{at: netip.MustParseAddrPort(out.Text()), pid: cmd.Process.Pid, users: make([]credential, users), number: strconv.Itoa, bare: true}
}

// sender is one socket, at an address of its own: limits of one source are not what is measured.
type sender struct {
	conn *net.UDPConn
	host string
	to   string
	buf  []byte
	out  []byte
	sent int
	lost int
	cseq int
}

func newSender(i int, server netip.AddrPort) (*sender, error) {
	local := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, byte(2 + i/200), byte(1 + i%200)}), 0)
	conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(server))
	if err != nil {
		return nil, err
	}
	return &sender{conn: conn, host: conn.LocalAddr().String(), to: server.String(), buf: make([]byte, 8192)}, nil
}

// read returns the next datagram, nil if none comes in time.
func (s *sender) read(wait time.Duration) []byte {
	s.conn.SetReadDeadline(time.Now().Add(wait))
	n, err := s.conn.Read(s.buf)
	if err != nil {
		return nil
	}
	return s.buf[:n]
}

// ask sends a request until its final answer is there (RFC 3261 §17.1.2.2), and agrees to what is asked meanwhile.
func (s *sender) ask(build func() []byte) ([]byte, error) {
	s.sent++
	request := build()
	branch := fmt.Appendf(nil, "-%d;", s.sent)
	for wait := 500 * time.Millisecond; wait < 20*time.Second; wait *= 2 {
		if _, err := s.conn.Write(request); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, err
		}
		for end := time.Now().Add(wait); ; {
			answer := s.read(time.Until(end))
			if answer == nil {
				s.lost++
				break
			}
			if !bytes.HasPrefix(answer, []byte("SIP/2.0 ")) && !bytes.HasPrefix(answer, request[:10]) {
				s.agree(answer)
				continue
			}
			if bytes.Contains(answer, branch) && !bytes.HasPrefix(answer, []byte("SIP/2.0 1")) {
				return answer, nil
			}
		}
	}
	return nil, fmt.Errorf("no answer to %.40q", request)
}

// agree answers 200 to a request, as one who is called: INVITE rings first.
func (s *sender) agree(request []byte) {
	method, _, _ := bytes.Cut(request, []byte(" "))
	if string(method) == "ACK" {
		return
	}
	var head []byte
	for line := range bytes.Lines(request) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "Via", "From", "Call-ID", "CSeq", "Record-Route":
			head = append(head, line...)
		case "To":
			head = append(head, bytes.TrimRight(line, "\r\n")...)
			if !bytes.Contains(line, []byte("tag=")) {
				head = append(head, ";tag=b"...)
			}
			head = append(head, "\r\n"...)
		}
	}
	if string(method) != "INVITE" {
		s.conn.Write(append(append([]byte("SIP/2.0 200 OK\r\n"), head...), "Content-Length: 0\r\n\r\n"...))
		return
	}
	head = fmt.Appendf(head, "Contact: <sip:b@%s>\r\n", s.host)
	s.conn.Write(append(append([]byte("SIP/2.0 180 Ringing\r\n"), head...), "Content-Length: 0\r\n\r\n"...))
	s.conn.Write(fmt.Appendf(append([]byte("SIP/2.0 200 OK\r\n"), head...), "Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(sound), sound))
}

const sound = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"

// request writes a request.
func (s *sender) request(method, uri, from, to, callID string, cseq int, more, body string) []byte {
	s.out = fmt.Appendf(s.out[:0], "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s-%d;x\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n%sUser-Agent: Yealink SIP-T54W 96.86.0.100\r\nContent-Length: %d\r\n\r\n%s",
		method, uri, s.host, callID, s.sent, from, to, callID, cseq, method, more, len(body), body)
	return s.out
}

func (s *sender) register(c credential, id, authorization string) []byte {
	s.cseq++
	aor := "<sip:" + c.name + "@bench>"
	return s.request("REGISTER", "sip:bench", aor+";tag=1", aor, id, s.cseq, "Contact: <sip:"+c.name+"@"+s.host+">;expires=3600\r\n"+authorization, "")
}

var challengeParams = regexp.MustCompile(`(?:realm|nonce)="([^"]*)"`)

// credentials answers a challenge by MD5, which both servers know.
func (s *sender) credentials(answer []byte, c credential, method, uri string) string {
	name := "Authorization"
	at := bytes.LastIndex(answer, []byte("WWW-Authenticate: "))
	if at < 0 {
		name = "Proxy-Authorization"
		at = bytes.LastIndex(answer, []byte("Proxy-Authenticate: "))
	}
	if at < 0 {
		return "X: no challenge\r\n"
	}
	m := challengeParams.FindAllSubmatch(answer[at:], 2)
	realm, nonce := string(m[0][1]), string(m[1][1])
	if bytes.HasPrefix(m[0][0], []byte("nonce")) {
		realm, nonce = nonce, realm
	}
	response := md5Of(md5Of(c.name+":"+realm+":"+c.password) + ":" + nonce + ":00000001:c:auth:" + md5Of(method+":"+uri))
	return name + `: Digest username="` + c.name + `", realm="` + realm + `", nonce="` + nonce + `", uri="` + uri + `", response="` + response + `", algorithm=MD5, qop=auth, nc=00000001, cnonce="c"` + "\r\n"
}

func md5Of(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// enrol registers one user: 401, then 200.
func (r *rival) enrol(s *sender, c credential, id string) error {
	answer, err := s.ask(func() []byte { return s.register(c, id, "") })
	if err != nil {
		return err
	}
	proof := s.credentials(answer, c, "REGISTER", "sip:bench")
	answer, err = s.ask(func() []byte { return s.register(c, id, proof) })
	if err == nil && !r.bare && !bytes.HasPrefix(answer, []byte("SIP/2.0 200 ")) {
		return fmt.Errorf("refused: %s", answer)
	}
	return err
}

// compareRegister registers users with a new nonce each time, from 200 sockets at once.
func compareRegister(b *testing.B, r *rival) {
	const sockets = 200
	var all []*sender
	for i := range sockets {
		s, err := newSender(i, r.at)
		if err != nil {
			b.Fatal(err)
		}
		defer s.conn.Close()
		all = append(all, s)
	}
	share := len(r.users) / sockets
	round := func(n int) {
		var left atomic.Int64
		left.Store(int64(n))
		var wg sync.WaitGroup
		for i, s := range all {
			wg.Go(func() {
				for j := 0; left.Add(-1) >= 0; j++ {
					u := i*share + j%share
					if err := r.enrol(s, r.users[u], fmt.Sprint("r", u)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	before := resident(b, r.pid)
	round(len(r.users))
	r.settle(b) // what the first registrations caused is not what is measured
	grown := resident(b, r.pid) - before
	used := r.cpu(b)
	b.ResetTimer()
	round(b.N)
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "registers/s")
	b.ReportMetric((r.cpu(b)-used).Seconds()/float64(b.N)*10_000, "cpu-s/10k")
	b.ReportMetric(float64(grown)/float64(len(r.users)), "rss-B/binding")
	b.ReportMetric(float64(losses(all)), "lost")
}

func losses(all []*sender) (n int) {
	for _, s := range all {
		n += s.lost
	}
	return n
}

// resident is the memory of a process and its children.
func resident(b *testing.B, pid int) int {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// compareCalls places calls: INVITE, challenge, INVITE, ringing, answer, ACK, BYE.
func compareCalls(b *testing.B, r *rival) {
	type pair struct {
		a, b   *sender
		caller credential
		number string
	}
	var pairs []*pair
	var callees sync.WaitGroup
	var over atomic.Bool
	for i := range callers {
		a, err1 := newSender(2*i, r.at)
		c, err2 := newSender(2*i+1, r.at)
		if err := errors.Join(err1, err2); err != nil {
			b.Fatal(err)
		}
		defer a.conn.Close()
		defer c.conn.Close()
		for j, s := range []*sender{a, c} {
			if err := r.enrol(s, r.users[2*i+j], fmt.Sprint("r", 2*i+j)); err != nil {
				b.Fatal(err)
			}
		}
		callees.Go(func() {
			for !over.Load() {
				if request := c.read(100 * time.Millisecond); request != nil && !bytes.HasPrefix(request, []byte("SIP/2.0 ")) {
					c.agree(request)
				}
			}
		})
		pairs = append(pairs, &pair{a, c, r.users[2*i], r.number(2*i + 1)})
	}
	defer callees.Wait()
	defer over.Store(true)
	r.settle(b)
	var left atomic.Int64
	left.Store(int64(b.N))
	used := r.cpu(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, p := range pairs {
		wg.Go(func() {
			for j := 0; left.Add(-1) >= 0; j++ {
				if err := r.callOnce(p.a, p.caller, p.number, fmt.Sprintf("c%d-%d", i, j)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric((r.cpu(b)-used).Seconds()/float64(b.N)*1000, "cpu-s/1k")
	var all []*sender
	for _, p := range pairs {
		all = append(all, p.a)
	}
	b.ReportMetric(float64(losses(all)), "lost")
}

var (
	toLine      = regexp.MustCompile(`(?m)^To: (.*?)\r?$`)
	contactURI  = regexp.MustCompile(`(?m)^Contact: <([^>]*)>`)
	recordRoute = regexp.MustCompile(`(?m)^Record-Route: (.*?)\r?$`)
)

// callOnce places one call and ends it at once.
func (r *rival) callOnce(s *sender, c credential, number, id string) error {
	if r.bare { // three exchanges of the sizes that a caller sends
		for range 2 {
			if _, err := s.ask(func() []byte {
				return s.request("INVITE", "sip:x@bench", "<sip:a@bench>;tag=1", "<sip:b@bench>", id, 1, "", sound)
			}); err != nil {
				return err
			}
		}
		_, err := s.ask(func() []byte {
			return s.request("BYE", "sip:x@bench", "<sip:a@bench>;tag=1", "<sip:b@bench>", id, 1, "", "")
		})
		return err
	}
	uri := "sip:" + number + "@bench"
	from, to := "<sip:"+c.name+"@bench>;tag=1", "<"+uri+">"
	contact := "Contact: <sip:" + c.name + "@" + s.host + ">\r\nContent-Type: application/sdp\r\n"
	answer, err := s.ask(func() []byte { return s.request("INVITE", uri, from, to, id, 1, contact, sound) })
	if err != nil {
		return err
	}
	proof := s.credentials(answer, c, "INVITE", uri)
	s.conn.Write(slices.Clone(s.request("ACK", uri, from, to, id, 1, "", ""))) // the branch is that of the INVITE
	answer, err = s.ask(func() []byte { return s.request("INVITE", uri, from, to, id, 2, contact+proof, sound) })
	if err != nil {
		return err
	}
	m, target := toLine.FindSubmatch(answer), contactURI.FindSubmatch(answer)
	if !bytes.HasPrefix(answer, []byte("SIP/2.0 200 ")) || m == nil || target == nil {
		return fmt.Errorf("call refused: %s", answer)
	}
	tagged, remote, route := string(m[1]), string(target[1]), ""
	if m := recordRoute.FindSubmatch(answer); m != nil {
		route = "Route: " + string(m[1]) + "\r\n"
	}
	s.sent++
	s.conn.Write(s.request("ACK", remote, from, tagged, id, 2, route, ""))
	answer, err = s.ask(func() []byte { return s.request("BYE", remote, from, tagged, id, 3, route, "") })
	if err == nil && !bytes.HasPrefix(answer, []byte("SIP/2.0 200 ")) {
		return fmt.Errorf("BYE refused: %s", answer)
	}
	return err
}
