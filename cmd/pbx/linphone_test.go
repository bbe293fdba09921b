//go:build phones

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// linphone is linphonec, a phone of another family, steered by what is typed into it.
type linphone struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	keys   io.WriteCloser
	out    *os.File
	waited chan error
}

// startLinphone starts the phone of a person; it registers over TCP by itself and is ended with the test.
func startLinphone(t *testing.T, p *pbx, who person, ip string, rtp int, tone float64) *linphone {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{".local/share/linphone", ".config/linphone", ".cache"} { // it makes none of them
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeTone(t, filepath.Join(dir, "say.wav"), tone, 60*time.Second)
	rc := fmt.Sprintf(`[sip]
bind_address=%[1]s
sip_port=-1
sip_tcp_port=%[2]d
guess_hostname=0
default_proxy=0
[net]
firewall_policy=0
[rtp]
audio_rtp_port=%[3]d
[video]
enabled=0
capture=0
display=0
[sound]
echocancellation=0
[proxy_0]
reg_proxy=<sip:%[4]s;transport=tcp>
reg_route=<sip:%[4]s;transport=tcp;lr>
reg_identity="%[5]s" <sip:%[6]s@%[4]s>
reg_expires=120
reg_sendregister=1
publish=0
[auth_info_0]
username=%[6]s
passwd=%[7]s
[audio_codec_0]
mime=PCMU
rate=8000
channels=1
enabled=1
`, ip, freePort(t, ip), rtp, p.tcp, who.name, who.username, who.password)
	if err := os.WriteFile(filepath.Join(dir, "rc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(artifacts(t), "linphone.out"))
	if err != nil {
		t.Fatal(err)
	}
	l := &linphone{t: t, dir: dir, out: out, waited: make(chan error, 1)}
	l.cmd = exec.Command("linphonec", "-c", filepath.Join(dir, "rc"), "-d", "6", "-l", filepath.Join(artifacts(t), "linphone.log"))
	l.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C", "HOME=" + dir}
	l.cmd.Stdout, l.cmd.Stderr = out, out
	if l.keys, err = l.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { l.waited <- l.cmd.Wait() }()
	t.Cleanup(func() {
		l.stop()
		out.Close()
	})
	p.online(who)
	l.do("soundcard use files")
	l.do("play " + filepath.Join(dir, "say.wav"))
	return l
}

// do types a command.
func (l *linphone) do(command string) {
	l.t.Helper()
	if _, err := fmt.Fprintln(l.keys, command); err != nil {
		l.t.Fatalf("linphone: %s: %v", command, err)
	}
}

// expect waits until the phone has written the text so many times.
func (l *linphone) expect(text string, times int) {
	l.t.Helper()
	eventually(l.t, 10*time.Second, fmt.Sprintf("linphone says %q, %d times", text, times), func() bool {
		b, err := os.ReadFile(l.out.Name())
		return err == nil && strings.Count(string(b), text) >= times
	})
}

// stop ends the process by its pid and waits for it.
func (l *linphone) stop() {
	if l.cmd.ProcessState != nil {
		return
	}
	fmt.Fprintln(l.keys, "quit")
	select {
	case <-l.waited:
		return
	case <-time.After(5 * time.Second):
	}
	l.cmd.Process.Signal(syscall.SIGKILL)
	<-l.waited
}

// TestPhonesLinphone: a linphone on TCP calls a baresip on UDP, each hears the other's tone, also after a hold; and a mailbox
// takes its call to somebody without a phone.
func TestPhonesLinphone(t *testing.T) {
	p, _, bob, carol := acme(t)
	c := phoneOf(t, p, carol, 5, adaTone, "PCMU", "udp", true)
	l := startLinphone(t, p, bob, "127.0.0.70", 47000, bobTone)
	file := filepath.Join(artifacts(t), "linphone-heard.wav")
	os.Remove(file)

	l.do("call 103")
	l.expect("Media streams established", 1)
	l.do("record " + file)
	pause(4 * time.Second)
	l.do("pause")
	pause(2 * time.Second)
	l.do("resume")
	pause(3 * time.Second)
	l.do("terminate")
	if r := p.lastCall("answered"); r.at("hangup_by") != "caller" {
		t.Errorf("record: %v", r)
	}

	l.do("call 101") // Ada has no phone here, and her mailbox answers
	l.expect(" connected.", 2)
	l.do("terminate")
	l.stop()
	c.stop()
	if s := secondsOf(readWAV(t, file), adaTone); s < 1.5 {
		t.Errorf("linphone heard baresip's tone for %.2f s", s)
	}
	if s := secondsOf(c.heard(), bobTone); s < 1.5 {
		t.Errorf("baresip heard linphone's tone for %.2f s", s)
	}
}
