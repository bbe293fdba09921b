//go:build phones

package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pbx/provisioning/provtest"
)

// acme starts the product with Ada (101), Bob (102) and Carol (103).
func acme(t *testing.T, args ...string) (p *pbx, ada, bob, carol person) {
	t.Helper()
	p = startPBX(t, t.TempDir(), args...)
	p.setUp()
	me := p.api("GET", "/me", nil)
	ada = p.equip(person{id: me.at("id"), name: "Ada Lovelace", extension: "101"}, "udp")
	return p, ada, p.hire("Bob Cho", "102", "tcp"), p.hire("Carol Diaz", "103", "udp")
}

// phoneOf starts a baresip for a person.
func phoneOf(t *testing.T, p *pbx, who person, n int, tone float64, codec, transport string, auto bool) *baresip {
	t.Helper()
	server := p.udp
	if transport == "tcp" {
		server = p.tcp
	}
	name, _, _ := strings.Cut(who.name, " ")
	b := startBaresip(t, baresipConfig{
		name: name, ip: fmt.Sprintf("127.0.0.%d", 40+n), user: who.username, pass: who.password,
		server: server.String(), transport: transport, auto: auto, tone: tone, codec: codec, rtpLow: 40000 + 200*n,
	})
	p.online(who)
	return b
}

// securePhoneOf starts a baresip over UDP that encrypts its sound and answers at once.
func securePhoneOf(t *testing.T, p *pbx, who person, n int, tone float64, encrypt string) *baresip {
	t.Helper()
	b := startBaresip(t, baresipConfig{
		name: who.username, ip: fmt.Sprintf("127.0.0.%d", 40+n), user: who.username, pass: who.password,
		server: p.udp.String(), transport: "udp", auto: true, tone: tone, codec: "PCMU", rtpLow: 40000 + 200*n, encrypt: encrypt,
	})
	p.online(who)
	return b
}

const (
	adaTone = 440.0
	bobTone = 660.0
)

// lastCall returns the newest finished call record.
func (p *pbx) lastCall(outcome string) object {
	p.t.Helper()
	var last object
	eventually(p.t, 5*time.Second, "a finished call record with outcome "+outcome, func() bool {
		items := p.api("GET", "/accounts/default/call-records?limit=1", nil).items()
		if len(items) == 1 && items[0].at("outcome") == outcome && items[0].at("ended_at") != "" {
			last = items[0]
			return true
		}
		return false
	})
	return last
}

// TestPhonesTalk: a UDP phone with µ-law and a TCP phone with A-law hear each other, and music while held.
func TestPhonesTalk(t *testing.T) {
	p, ada, bob, _ := acme(t)
	a := phoneOf(t, p, ada, 1, adaTone, "PCMU", "udp", false)
	b := phoneOf(t, p, bob, 2, bobTone, "PCMA", "tcp", true)

	a.do("dial", "102")
	a.expect("CALL_ESTABLISHED", 0, 5*time.Second)
	pause(3 * time.Second)
	live := p.api("GET", "/accounts/default/calls", nil).items()
	if len(live) != 1 || live[0].at("caller.name") != "Ada Lovelace" || live[0].at("callee.name") != "Bob Cho" {
		t.Errorf("live calls: %v", live)
	}
	beforeHold := len(b.heard())
	a.do("hold", "")
	pause(3 * time.Second)
	a.do("resume", "")
	pause(2 * time.Second)
	seen := b.seen()
	a.do("hangup", "")
	b.expect("CALL_CLOSED", seen-1, 5*time.Second)
	r := p.lastCall("answered")
	if r.at("hangup_by") != "caller" || r.at("dialed") != "102" {
		t.Errorf("record: %v", r)
	}
	a.stop()
	b.stop()
	if s := secondsOf(a.heard(), bobTone); s < 1.5 {
		t.Errorf("Ada heard Bob's tone for %.2f s", s)
	}
	all := b.heard()
	if s := secondsOf(all, adaTone); s < 1.5 {
		t.Errorf("Bob heard Ada's tone for %.2f s", s)
	}
	if s := musicSeconds(all[min(beforeHold, len(all)):]); s < 1.5 {
		t.Errorf("Bob, held, heard music for %.2f s", s)
	}
	keep(t, b, "bob-heard.wav")
	keep(t, a, "ada-heard.wav")
}

// TestPhonesVoicemail: a message left for Bob lights his lamp, and he hears the caller's tone through *97.
func TestPhonesVoicemail(t *testing.T) {
	p, ada, bob, _ := acme(t)
	p.api("PATCH", "/accounts/default/users/"+bob.id, map[string]any{"voicemail": map[string]any{"enabled": true, "pin": "4711"}})
	a := phoneOf(t, p, ada, 3, adaTone, "PCMU", "udp", false)

	a.do("dial", "102") // Bob's phone is off
	a.expect("CALL_ESTABLISHED", 0, 5*time.Second)
	pause(18 * time.Second) // greeting, tone, and a few seconds of message
	a.do("hangup", "")
	p.lastCall("voicemail")
	var message object
	eventually(t, 5*time.Second, "the message is listed", func() bool {
		items := p.api("GET", "/accounts/default/voicemail-messages?mailbox="+bob.id, nil).items()
		if len(items) == 1 {
			message = items[0]
		}
		return len(items) == 1
	})
	if message.at("caller.number") != "101" && message.at("caller.extension") != "101" {
		t.Errorf("message: %v", message)
	}

	b := phoneOf(t, p, bob, 4, bobTone, "PCMA", "udp", false)
	b.expect("MWI_NOTIFY", 0, 10*time.Second)
	b.do("dial", "*97")
	b.expect("CALL_ESTABLISHED", 0, 5*time.Second)
	pause(4 * time.Second)
	for _, digit := range "4711#" {
		b.do("sndcode", string(digit))
		pause(300 * time.Millisecond)
	}
	pause(22 * time.Second) // counts, then the message
	b.do("hangup", "")
	b.expect("CALL_CLOSED", 0, 5*time.Second)
	b.stop()
	if s := secondsOf(b.heard(), adaTone); s < 1.5 {
		t.Errorf("Bob heard Ada's message for %.2f s", s)
	}
	keep(t, b, "bob-heard-mailbox.wav")
}

// TestPhonesProvisioned: a desk phone and a DECT base fetch their files from the address in the portal, and the accounts in them register.
func TestPhonesProvisioned(t *testing.T) {
	p, _, bob, carol := acme(t)
	url := p.api("POST", "/accounts/default/provisioning/rotate", map[string]any{}).at("url")
	desk := p.api("POST", "/accounts/default/devices", map[string]any{
		"kind": "deskphone", "name": "Desk", "vendor": "yealink", "model": "T54W", "mac": "80:5E:C0:12:34:56", "user_ids": []string{bob.id}, "transport": "udp",
	})
	base := p.api("POST", "/accounts/default/devices", map[string]any{
		"kind": "dect_base", "name": "Base", "vendor": "yealink", "model": "W70B", "mac": "805e0c1d654e", "user_ids": []string{}, "transport": "tcp",
	})
	handset := p.api("POST", "/accounts/default/devices", map[string]any{
		"kind": "dect_handset", "name": "Handset", "vendor": "yealink", "model": "W73H", "base_id": base.at("id"), "user_ids": []string{carol.id}, "transport": "tcp",
	})
	for i, phone := range []struct {
		mac, agent, common string
		device             object
	}{
		{"805ec0123456", "Yealink SIP-T54W 96.86.0.100 80:5e:c0:12:34:56", "y000000000096.cfg", desk},
		{"805e0c1d654e", "Yealink W70B 146.87.0.15 80:5e:0c:1d:65:4e", "y000000000146.cfg", handset},
	} {
		boot := provtest.Phone{Client: p.http, Base: url, MAC: phone.mac, UserAgent: phone.agent, Common: phone.common}
		accounts, err := boot.Accounts(t.Context())
		if err != nil || len(accounts) != 1 {
			t.Fatalf("%s: %+v, %v", phone.mac, accounts, err)
		}
		a := accounts[0]
		startBaresip(t, baresipConfig{
			name: phone.device.at("name"), ip: fmt.Sprintf("127.0.0.%d", 50+i), user: a.User, pass: a.Password,
			server: net.JoinHostPort(a.Host, strconv.Itoa(a.Port)), transport: a.Transport, auto: true, tone: adaTone, codec: "PCMU", rtpLow: 45000 + 200*i,
		})
		p.online(person{device: phone.device.at("id"), name: phone.device.at("name")})
	}
	if files := p.api("GET", "/accounts/default/devices/"+desk.at("id")+"/provisioning-log", nil).items(); len(files) < 3 {
		t.Errorf("the log of the desk phone has %d entries: %v", len(files), files)
	}
}

// TestPhonesSIPp: a second implementation calls and is called, over UDP and TCP.
func TestPhonesSIPp(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			p, ada, bob, _ := acme(t)
			callerPort, calleePort := freePort(t, "127.0.0.60"), freePort(t, "127.0.0.61")
			sipp(t, p, "register", transport, "127.0.0.60", callerPort, ada, "")
			// SIPp takes its connection with it when it ends, and the flow with that: the callee stays on UDP.
			sipp(t, p, "register", "udp", "127.0.0.61", calleePort, bob, "")
			callee := startSIPp(t, p, "callee", "udp", "127.0.0.61", calleePort, bob, "")
			eventually(t, 5*time.Second, "SIPp listens", func() bool {
				c, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.61", strconv.Itoa(calleePort)))
				if err == nil {
					c.Close()
				}
				return err != nil
			})
			sipp(t, p, "caller", transport, "127.0.0.60", callerPort, ada, "102")
			if err := callee.Wait(); err != nil {
				t.Errorf("callee: %v", err)
			}
			p.lastCall("answered")
		})
	}
}

func startSIPp(t *testing.T, p *pbx, scenario, transport, ip string, port int, who person, dial string) *exec.Cmd {
	t.Helper()
	dir := artifacts(t)
	csv := filepath.Join(dir, scenario+"-"+who.extension+".csv")
	line := fmt.Sprintf("SEQUENTIAL\n%s;[authentication username=%s password=%s];%s\n", who.username, who.username, who.password, dial)
	if err := os.WriteFile(csv, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := filepath.Abs(filepath.Join(root, "testdata/sipp", scenario+".xml"))
	if err != nil {
		t.Fatal(err)
	}
	server, mode := p.udp, "u1"
	if transport == "tcp" {
		server, mode = p.tcp, "t1"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "sipp", server.String(), "-sf", file, "-inf", csv, "-i", ip, "-mi", ip, "-p", strconv.Itoa(port),
		"-t", mode, "-m", "1", "-aa", "-timeout", "20", "-nostdin", "-trace_err", "-error_file", filepath.Join(dir, scenario+"-errors.log"),
		"-trace_msg", "-message_file", filepath.Join(dir, scenario+"-"+who.extension+"-messages.log"))
	log, err := os.Create(filepath.Join(dir, scenario+"-"+who.extension+".log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func sipp(t *testing.T, p *pbx, scenario, transport, ip string, port int, who person, dial string) {
	t.Helper()
	if err := startSIPp(t, p, scenario, transport, ip, port, who, dial).Wait(); err != nil {
		t.Fatalf("sipp %s: %v; see %s", scenario, err, artifacts(t))
	}
}

// TestPhonesDemo: the sample office lives by itself: all phones register, somebody calls, and sound flows.
func TestPhonesDemo(t *testing.T) {
	p := startPBX(t, filepath.Join(t.TempDir(), "office"), "demo")
	metric := func(name string) float64 {
		resp, err := p.http.Get(p.portal + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
			if value, ok := strings.CutPrefix(sc.Text(), name+" "); ok {
				v, err := strconv.ParseFloat(value, 64)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
		t.Fatalf("there is no metric %s", name)
		return 0
	}
	eventually(t, 20*time.Second, "all phones register", func() bool { return metric("pbx_lines_online") == float64(len(colleagues)) })
	eventually(t, 60*time.Second, "somebody calls", func() bool { return metric("pbx_calls") > 0 })
	eventually(t, 30*time.Second, "sound flows", func() bool { return metric("pbx_rtp_packets_sent_total") > 500 })
}

// musicSeconds counts the quarter seconds that are loud and are neither of the tones.
func musicSeconds(s []int16) float64 {
	n := 0
	for ; len(s) >= 2000; s = s[2000:] {
		q := s[:2000]
		var energy float64
		for _, v := range q {
			energy += float64(v) * float64(v)
		}
		if energy/2000 > 100*100 && toneShare(q, adaTone) < 0.5 && toneShare(q, bobTone) < 0.5 {
			n++
		}
	}
	return float64(n) / 4
}

// keep copies what the phone heard to the artefacts.
func keep(t *testing.T, b *baresip, name string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(b.dir, "*dec.wav"))
	for i, f := range files {
		data, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(artifacts(t), fmt.Sprintf("%d-%s", i, name)), data, 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// pause lets real phones speak: their sound takes real time.
func pause(d time.Duration) { <-time.After(d) }
