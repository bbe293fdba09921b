//go:build phones

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pbx/call/calltest"
	"pbx/media"
	"pbx/sip"
)

// TestJourney: a person sets the system up in a real browser, two phones turn green, a call shows live, its record
// appears, and a voicemail plays. Screenshots are kept. The browser is steered by admin/ui/e2e/journey.mjs, which asks
// for what phones do by lines on its standard output: @@ {"do":"call","from":"101","to":"102"}.
func TestJourney(t *testing.T) {
	p := startPBX(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "journey.mjs")
	cmd.Dir = root + "/admin/ui/e2e"
	cmd.Env = append(os.Environ(), "PBX_URL="+p.portal, "SHOTS="+artifacts(t), "ADMIN_EMAIL="+adminEmail, "ADMIN_PASSWORD="+adminPassword)
	cmd.Stderr = testWriter{t}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stage := &stage{t: t, pbx: p, phones: map[string]*calltest.Phone{}, calls: map[string]*calltest.Call{}}
	defer stage.close()
	for sc := bufio.NewScanner(out); sc.Scan(); {
		line, asked := strings.CutPrefix(sc.Text(), "@@ ")
		if !asked {
			t.Log(sc.Text())
			continue
		}
		answer := "ok"
		if err := stage.act(ctx, line); err != nil {
			answer = "error: " + err.Error()
		}
		fmt.Fprintln(in, answer)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the journey failed: %v", err)
	}
	in.Close()
}

// stage is the phones of the journey.
type stage struct {
	t      *testing.T
	pbx    *pbx
	phones map[string]*calltest.Phone // by extension
	calls  map[string]*calltest.Call  // by the extension that called
	signed bool
}

func (s *stage) close() {
	for _, phone := range s.phones {
		phone.Close()
	}
}

// act does what one line asks for.
func (s *stage) act(ctx context.Context, line string) error {
	var ask struct{ Do, Extension, From, To string }
	if err := json.Unmarshal([]byte(line), &ask); err != nil {
		return err
	}
	switch ask.Do {
	case "register":
		return s.register(ctx, ask.Extension)
	case "call": // answered at once, or by the mailbox
		return s.call(ctx, ask.From, ask.To)
	case "hangup":
		c := s.calls[ask.From]
		if c == nil {
			return fmt.Errorf("%s has no call", ask.From)
		}
		return c.Bye(ctx)
	case "unregister":
		return s.phones[ask.Extension].SIP().Unregister(ctx)
	}
	return fmt.Errorf("cannot %q", ask.Do)
}

// register takes the credentials of the extension's first phone from the API and registers with them.
func (s *stage) register(ctx context.Context, extension string) error {
	if !s.signed {
		s.pbx.api("POST", "/session", map[string]any{"login": adminEmail, "password": adminPassword})
		s.signed = true
	}
	for _, d := range s.pbx.api("GET", "/accounts/default/devices", nil).items() {
		lines, _ := d["lines"].([]any)
		for _, l := range lines {
			if m, ok := l.(map[string]any); !ok || object(m).at("extension") != extension {
				continue
			}
			secret := s.pbx.api("GET", "/accounts/default/devices/"+d.at("id")+"/sip-credentials", nil)
			phone, err := calltest.NewPhone(ctx, calltest.PhoneConfig{
				Name: "Simulated phone", Network: sip.HostNetwork(), Local: netip.AddrPortFrom(s.pbx.udp.Addr(), 0), Server: s.pbx.udp,
				Username: secret.at("sip.username"), Password: secret.at("sip.password"), Voice: 440,
			})
			if err != nil {
				return err
			}
			s.phones[extension] = phone
			go func() {
				for {
					c, err := phone.Next(ctx)
					if err != nil || c.Ring(false) != nil {
						return
					}
					pause(time.Second)
					_ = c.Answer(ctx) // a caller who gave up meanwhile is no failure
				}
			}()
			return phone.Register(ctx)
		}
	}
	return fmt.Errorf("nobody has extension %s", extension)
}

func (s *stage) call(ctx context.Context, from, to string) error {
	phone := s.phones[from]
	if phone == nil {
		return fmt.Errorf("%s has no phone", from)
	}
	c, err := phone.Call(ctx, to)
	if err != nil {
		return err
	}
	s.calls[from] = c
	select {
	case <-c.Answered():
		c.Say(media.NewLibrary("").Prompt("echo-intro", "main-menu", "message-menu"))
		return nil
	case <-c.Done():
		return fmt.Errorf("call ended with %d", c.Code())
	case <-time.After(30 * time.Second):
		return io.ErrNoProgress
	}
}
