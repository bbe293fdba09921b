package media_test

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

var originLine = regexp.MustCompile(`(?m)^o=- (\d+) (\d+) `)

// version is the session and the version of an SDP.
func version(t *testing.T, sdp []byte) (session, version string) {
	t.Helper()
	m := originLine.FindStringSubmatch(string(sdp))
	if m == nil {
		t.Fatalf("no o= line in\n%s", sdp)
	}
	return m[1], m[2]
}

func sdpOf(lines ...string) []byte {
	head := []string{"v=0", "o=- 1 1 IN IP4 10.0.0.2", "s=-", "c=IN IP4 10.0.0.2", "t=0 0"}
	return []byte(strings.Join(append(head, lines...), "\r\n") + "\r\n")
}

// TestVersion: RFC 3264 §8: one more for each change, the same for none.
func TestVersion(t *testing.T) {
	bubble(t, func(t *testing.T, _ *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		plain := sdpOf("m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000")
		hold := sdpOf("m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000", "a=sendonly")
		first, err := s.Answer(plain)
		if err != nil {
			t.Fatal(err)
		}
		id, v := version(t, first)
		same, err := s.Answer(plain)
		if err != nil || string(same) != string(first) {
			t.Errorf("unchanged: %v\n%s\n%s", err, first, same)
		}
		held, err := s.Answer(hold)
		if err != nil {
			t.Fatal(err)
		}
		id2, v2 := version(t, held)
		if id2 != id || len(v2) < len(v) || v2 == v {
			t.Errorf("hold: o= %s %s after %s %s", id2, v2, id, v)
		}
		if !s.Held() || !strings.Contains(string(held), "a=recvonly") {
			t.Errorf("held %t, answered\n%s", s.Held(), held)
		}
		select {
		case <-s.Changed():
		default:
			t.Error("no word of the change")
		}
		if _, err := s.Answer(sdpOf("m=audio 4000 RTP/AVP 18")); !errors.Is(err, media.ErrNotAcceptable) {
			t.Errorf("G.729 alone: %v", err)
		}
		if !s.Held() || s.Codec() != "PCMU" {
			t.Error("a refused offer changed something")
		}
		again, err := s.Answer(hold)
		if err != nil || string(again) != string(held) {
			t.Errorf("after the refusal: %v\n%s", err, again)
		}
	})
}

// TestReofferKeepsLines: what was agreed keeps its place and its numbers.
func TestReofferKeepsLines(t *testing.T) {
	bubble(t, func(t *testing.T, _ *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		offer := sdpOf("m=video 5000 RTP/AVP 99", "m=audio 4000 RTP/AVP 8 0 96", "a=rtpmap:96 telephone-event/8000", "a=ptime:30")
		if _, err := s.Answer(offer); err != nil {
			t.Fatal(err)
		}
		again, err := s.Offer()
		if err != nil {
			t.Fatal(err)
		}
		text := string(again)
		for _, want := range []string{"m=video 0 RTP/AVP 99\r\nm=audio ", " RTP/AVP 8 0 96\r\n", "a=ptime:30", "a=sendrecv"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	})
}

// TestFeedbackProfile: softphones offer RTP/AVPF; the answer has the same profile, and so have later offers.
func TestFeedbackProfile(t *testing.T) {
	bubble(t, func(t *testing.T, _ *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		answer, err := s.Answer(sdpOf("m=audio 4000 RTP/AVPF 0", "a=rtcp-fb:* ccm tmmbr"))
		if err != nil || !strings.Contains(string(answer), " RTP/AVPF 0\r\n") || strings.Contains(string(answer), "rtcp-fb") {
			t.Fatalf("%v\n%s", err, answer)
		}
		again, err := s.Offer()
		if err != nil || !strings.Contains(string(again), " RTP/AVPF 0 8 101\r\n") {
			t.Errorf("%v\n%s", err, again)
		}
		for _, secret := range []string{"RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVPF"} {
			if _, err := s.Answer(sdpOf("m=audio 4000 " + secret + " 0")); !errors.Is(err, media.ErrNotAcceptable) {
				t.Errorf("%s: %v", secret, err)
			}
		}
	})
}

func TestPrefer(t *testing.T) {
	bubble(t, func(t *testing.T, _ *mediatest.Net, house *media.Engine) {
		a, b := open(t, house, pbxAddr), open(t, house, pbxAddr)
		if _, err := a.Answer(sdpOf("m=audio 4000 RTP/AVP 8 0", "a=ptime:30")); err != nil {
			t.Fatal(err)
		}
		b.Prefer(open(t, house, pbxAddr)) // nothing agreed there: no change
		b.Prefer(a)
		offer, err := b.Offer()
		if err != nil || !strings.Contains(string(offer), " RTP/AVP 8 0 101\r\n") || !strings.Contains(string(offer), "a=ptime:30") {
			t.Errorf("%v\n%s", err, offer)
		}
		answer, err := b.Answer(sdpOf("m=audio 4000 RTP/AVP 0 8"))
		if err != nil || !strings.Contains(string(answer), " RTP/AVP 8\r\n") || b.Codec() != "PCMA" {
			t.Errorf("%v\n%s", err, answer)
		}
	})
}

func TestAccept(t *testing.T) {
	bubble(t, func(t *testing.T, _ *mediatest.Net, house *media.Engine) {
		s := open(t, house, pbxAddr)
		answer := sdpOf("m=audio 4000 RTP/AVP 8 97", "a=rtpmap:97 telephone-event/8000")
		if err := s.Accept(answer); !errors.Is(err, media.ErrNotAcceptable) {
			t.Errorf("answer without an offer: %v", err)
		}
		if _, err := s.Offer(); err != nil {
			t.Fatal(err)
		}
		for name, bad := range map[string][]byte{
			"refused":   sdpOf("m=audio 0 RTP/AVP 0"),
			"encrypted": sdpOf("m=audio 4000 RTP/SAVP 0"),
			"no codec":  sdpOf("m=audio 4000 RTP/AVP 18"),
			"no line":   []byte("v=0\r\n"),
			"nothing":   nil,
			"huge":      make([]byte, 1<<20),
		} {
			if err := s.Accept(bad); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		if s.Codec() != "" {
			t.Errorf("codec %q after bad answers", s.Codec())
		}
		for range 2 { // with 183 and with 200
			if err := s.Accept(answer); err != nil || s.Codec() != "PCMA" {
				t.Errorf("%v, codec %q", err, s.Codec())
			}
		}
	})
}

func TestAdvertise(t *testing.T) {
	for _, c := range []struct{ local, public, want string }{
		{"10.0.0.1", "203.0.113.9", "c=IN IP4 203.0.113.9"},
		{"2001:db8::1", "203.0.113.9", "c=IN IP6 2001:db8::1"},
		{"10.0.0.1", "", "c=IN IP4 10.0.0.1"},
	} {
		public, _ := netip.ParseAddr(c.public)
		e := media.NewEngine(media.Config{Network: mediatest.NewNet(), Advertise: public})
		offer, err := open(t, e, netip.MustParseAddr(c.local)).Offer()
		if err != nil || !strings.Contains(string(offer), c.want) {
			t.Errorf("want %s: %v\n%s", c.want, err, offer)
		}
		e.Close()
	}
}

// TestPorts: pairs of an even and the next port, from the range; when it is used up an
// error, and room again after a Close.
func TestPorts(t *testing.T) {
	n := &mediatest.Net{}
	e := media.NewEngine(media.Config{Network: n, Low: 20001, High: 20010})
	defer e.Close()
	var sessions []*media.Session
	used := map[uint16]bool{}
	for {
		s, err := e.Open(pbxAddr)
		if err != nil {
			break
		}
		port := s.Local().Port()
		if port%2 != 0 || port < 20002 || port > 20008 || used[port] {
			t.Errorf("port %d", port)
		}
		used[port] = true
		sessions = append(sessions, s)
	}
	if len(sessions) != 4 {
		t.Errorf("%d sessions in the range", len(sessions))
	}
	sessions[2].Close()
	sessions[2].Close() // twice is once
	s, err := e.Open(pbxAddr)
	if err != nil || s.Local() != sessions[2].Local() {
		t.Errorf("after a close: %v", err)
	}
	if st := e.Stats(); st.Sessions != 4 || st.Opened != 5 {
		t.Errorf("%+v", st)
	}
	e.Close()
	if _, err := e.Open(pbxAddr); !errors.Is(err, media.ErrClosed) {
		t.Errorf("open after close: %v", err)
	}
	if n.Open() != 0 {
		t.Errorf("%d sockets open", n.Open())
	}
	empty := media.NewEngine(media.Config{Network: n, Low: 20001, High: 20002})
	defer empty.Close()
	if _, err := empty.Open(pbxAddr); err == nil {
		t.Error("a pair in a range that holds none")
	}
}

// TestHoldAndResume: a held peer is sent nothing, is not missed when it falls silent, and
// talks again after the resume, even if it is behind NAT.
func TestHoldAndResume(t *testing.T) {
	for name, form := range map[string][]string{
		"sendonly": {"a=sendonly"},
		"inactive": {"a=inactive"},
		"zeros":    {"c=IN IP4 0.0.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
				phone := newPeer(t, n, aliceAddr)
				s := open(t, house, pbxAddr)
				// The SDP tells an address that leads nowhere.
				line := []string{"c=IN IP4 192.168.77.7", "m=audio 7777 RTP/AVP 0"}
				offer := func(more ...string) {
					t.Helper()
					if _, err := s.Answer(sdpOf(append([]string{line[1], line[0]}, more...)...)); err != nil {
						t.Fatal(err)
					}
				}
				offer()
				s.Established()
				player := play(s, mediatest.Say(500))
				defer player()
				phone.talk(s.Local(), 10)
				if phone.count() < 6 {
					t.Fatalf("%d packets came to the true address", phone.count())
				}
				if name == "zeros" {
					if _, err := s.Answer(sdpOf(line[1], form[0])); err != nil {
						t.Fatal(err)
					}
				} else {
					offer(form...)
				}
				if !s.Held() {
					t.Fatal("not held")
				}
				time.Sleep(10 * time.Millisecond)
				before := phone.count()
				time.Sleep(5 * time.Minute)
				if got := phone.count() - before; got > 0 {
					t.Errorf("%d packets while held", got)
				}
				select {
				case <-s.Silent():
					t.Error("missed while held")
				default:
				}
				offer()
				if s.Held() {
					t.Fatal("still held")
				}
				phone.talk(s.Local(), 10)
				if got := phone.count() - before; got < 8 {
					t.Errorf("%d packets after the resume", got)
				}
				time.Sleep(32 * time.Second)
				select {
				case <-s.Silent():
				default:
					t.Error("a peer that vanished after a hold is not missed")
				}
			})
		})
	}
}
