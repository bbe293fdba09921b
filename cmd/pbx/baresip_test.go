//go:build phones

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// baresip is one real phone: a process with its own address, ports and tone, steered over its control port.
type baresip struct {
	t      *testing.T
	name   string
	dir    string
	cmd    *exec.Cmd
	ctrl   net.Conn
	waited chan error

	mu     sync.Mutex
	events []string // types, in order
	more   chan struct{}
}

// baresipConfig says who the phone is and how it behaves.
type baresipConfig struct {
	name       string
	ip         string // of its own, in 127.0.0.0/8
	user, pass string
	server     string // "127.0.0.1:5060"
	transport  string // "udp", "tcp" or "tls"
	trust      string // over TLS: the file of the authority that the server must be of
	auto       bool   // answers at once
	tone       float64
	codec      string // "PCMU" or "PCMA"
	rtpLow     int
	encrypt    string // "srtp", "srtp-mand", "dtls_srtp"; empty: plain
	nat        string // "ice"; empty: none
}

// startBaresip starts the phone; it registers by itself and is ended with the test.
func startBaresip(t *testing.T, c baresipConfig) *baresip {
	t.Helper()
	dir := t.TempDir()
	writeTone(t, filepath.Join(dir, "say.wav"), c.tone, 60*time.Second)
	mode := "manual"
	if c.auto {
		mode = "auto"
	}
	sipPort, ctrlPort := freePort(t, c.ip), freePort(t, c.ip)
	account := fmt.Sprintf("\"%s\" <sip:%s@%s;transport=%s>;auth_user=%s;auth_pass=%s;regint=60;mwi=yes;answermode=%s;audio_codecs=%s/8000/1",
		c.name, c.user, c.server, c.transport, c.user, c.pass, mode, c.codec)
	modules := ""
	if c.encrypt != "" {
		account += ";mediaenc=" + c.encrypt
		modules = "module srtp.so\nmodule dtls_srtp.so\n"
	}
	if c.nat != "" {
		account += ";medianat=" + c.nat
		modules += "module " + c.nat + ".so\n"
	}
	config := fmt.Sprintf(`poll_method epoll
sip_listen %s:%d
net_interface %s
call_local_timeout 120
call_max_calls 4
audio_path /nonexistent
audio_player aubridge,nil
audio_source aufile,%s/say.wav
audio_alert aubridge,nil
ausrc_srate 8000
auplay_srate 8000
audio_level no
audio_buffer 20-160
rtp_ports %d-%d
rtcp_mux no
rtp_timeout 0
rtp_stats no
jitter_buffer_type fixed
jitter_buffer_delay 1-5
module_path /usr/lib/baresip/modules
module g711.so
module sndfile.so
module aubridge.so
module aufile.so
%smodule_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app mwi.so
module_app ctrl_tcp.so
ctrl_tcp_listen %s:%d
snd_path %s
ringback_disabled yes
statmode_default off
`, c.ip, sipPort, c.ip, dir, c.rtpLow, c.rtpLow+99, modules, c.ip, ctrlPort, dir)
	if c.trust != "" {
		config += "sip_cafile " + c.trust + "\n"
	}
	for file, text := range map[string]string{"accounts": "", "config": config, "contacts": ""} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(artifacts(t), c.name+"-baresip.log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &baresip{t: t, name: c.name, dir: dir, waited: make(chan error, 1), more: make(chan struct{})}
	p.cmd = exec.Command("baresip", "-4", "-f", dir, "-s")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.waited <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.stop()
		log.Close()
	})
	eventually(t, 10*time.Second, c.name+" opens its control port", func() bool {
		p.ctrl, err = net.Dial("tcp", net.JoinHostPort(c.ip, strconv.Itoa(ctrlPort)))
		return err == nil
	})
	go p.read(bufio.NewReader(p.ctrl))
	// The account comes once the phone is up: its lamp module turns in circles for ever when a registration succeeds
	// within its first millisecond, and the control port misses what happens before it is open.
	p.do("uanew", account)
	return p
}

// stop ends the process by its pid and waits for it.
func (p *baresip) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.waited:
	case <-time.After(5 * time.Second):
		p.cmd.Process.Kill()
		<-p.waited
	}
	if p.ctrl != nil {
		p.ctrl.Close()
	}
}

// read takes netstrings from the control port: "123:{json},".
func (p *baresip) read(r *bufio.Reader) {
	for {
		size, err := r.ReadString(':')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
		if err != nil {
			return
		}
		body := make([]byte, n+1)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		var e struct {
			Event bool
			Type  string
			Param string
		}
		if json.Unmarshal(body[:n], &e) == nil && e.Event {
			p.mu.Lock()
			p.events = append(p.events, e.Type+" "+e.Param)
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
	}
}

// do gives a command, such as "dial" with "102".
func (p *baresip) do(command, params string) {
	p.t.Helper()
	b, _ := json.Marshal(map[string]string{"command": command, "params": params, "token": "t"})
	if _, err := fmt.Fprintf(p.ctrl, "%d:%s,", len(b), b); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// expect waits for an event whose text begins with want, among those after the first skip ones; it returns how many were seen.
func (p *baresip) expect(want string, skip int, within time.Duration) int {
	p.t.Helper()
	deadline := time.After(within)
	for {
		p.mu.Lock()
		more := p.more
		for i := skip; i < len(p.events); i++ {
			if strings.HasPrefix(p.events[i], want) {
				p.mu.Unlock()
				return i + 1
			}
		}
		seen := append([]string(nil), p.events...)
		p.mu.Unlock()
		select {
		case <-more:
		case <-deadline:
			p.t.Fatalf("%s: no %q within %s; events: %q", p.name, want, within, seen)
		}
	}
}

// seen counts the events so far.
func (p *baresip) seen() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.events)
}

// heard returns the samples of the newest recording of what the phone heard.
func (p *baresip) heard() []int16 {
	p.t.Helper()
	files, _ := filepath.Glob(filepath.Join(p.dir, "*dec.wav"))
	if len(files) == 0 {
		all, _ := filepath.Glob(filepath.Join(p.dir, "*"))
		p.t.Fatalf("%s recorded nothing; it has %q", p.name, all)
	}
	newest := files[0]
	for _, f := range files {
		a, err1 := os.Stat(f)
		b, err2 := os.Stat(newest)
		if err1 == nil && err2 == nil && a.ModTime().After(b.ModTime()) {
			newest = f
		}
	}
	return readWAV(p.t, newest)
}

// writeTone makes a mono 16-bit 8 kHz file of a sine at half scale.
func writeTone(t *testing.T, file string, freq float64, d time.Duration) {
	t.Helper()
	n := int(d.Seconds() * 8000)
	b := append([]byte("RIFF"), le32(36+2*n)...)
	b = append(b, "WAVEfmt "...)
	b = append(b, le32(16)...)
	b = append(b, 1, 0, 1, 0)
	b = append(b, le32(8000)...)
	b = append(b, le32(16000)...)
	b = append(b, 2, 0, 16, 0)
	b = append(b, "data"...)
	b = append(b, le32(2*n)...)
	for i := range n {
		v := int16(8000 * math.Sin(2*math.Pi*freq*float64(i)/8000))
		b = append(b, byte(v), byte(v>>8))
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func le32(n int) []byte { return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)} }

// readWAV returns the samples of a 16-bit file; a header that promises more than there is counts as what there is.
func readWAV(t *testing.T, file string) []int16 {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	i := strings.Index(string(b), "data")
	if i < 0 || !strings.HasPrefix(string(b), "RIFF") {
		t.Fatalf("%s is no WAV file", file)
	}
	b = b[i+8:]
	s := make([]int16, len(b)/2)
	for i := range s {
		s[i] = int16(uint16(b[2*i]) | uint16(b[2*i+1])<<8)
	}
	return s
}

// toneShare is how much of the energy of the samples lies at freq: 1 for the pure tone, near 0 for others and for silence.
func toneShare(s []int16, freq float64) float64 {
	if len(s) == 0 {
		return 0
	}
	w := 2 * math.Pi * freq / 8000
	var re, im, energy float64
	for i, v := range s {
		x := float64(v)
		re += x * math.Cos(w*float64(i))
		im += x * math.Sin(w*float64(i))
		energy += x * x
	}
	if energy/float64(len(s)) < 100*100 { // quieter than any speech
		return 0
	}
	return 2 * (re*re + im*im) / (float64(len(s)) * energy)
}

// secondsOf counts the whole quarter seconds in which the tone dominates, in seconds.
func secondsOf(s []int16, freq float64) float64 {
	n := 0
	for ; len(s) >= 2000; s = s[2000:] {
		if toneShare(s[:2000], freq) > 0.7 {
			n++
		}
	}
	return float64(n) / 4
}

func freePort(t *testing.T, ip string) int {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
