package sip_test

import (
	"strings"
	"testing"
	"time"

	"pbx/sip"
	"pbx/sip/siptest"
	"pbx/store"
)

// wordy has much to say about its sound.
type wordy struct{ *siptest.Silence }

func (w wordy) Offer() ([]byte, error) {
	sdp, err := w.Silence.Offer()
	return append(sdp, strings.Repeat("a=x-word:"+strings.Repeat("w", 60)+"\r\n", 20)...), err
}

// RFC 3261 §18.1.1: a request over 1300 octets goes to a carrier by TCP, with what
// belongs to that in Via and Contact; in fragments where TCP is refused or the
// trunk is set to UDP; small ones go by UDP.
func TestLargeRequests(t *testing.T) {
	for _, c := range []struct {
		name, want string
		large      bool
		row        func(*store.Trunk)
		refuse     bool
	}{
		{"large", "TCP", true, nil, false},
		{"small", "UDP", false, nil, false},
		{"refused", "UDP", true, nil, true},
		{"set to UDP", "UDP", true, func(t *store.Trunk) { t.Transport = "udp" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			trunkBubble(t, []store.Trunk{trunkRow(c.row)}, func(w *trunkWorld) {
				if c.refuse {
					w.one.CloseTCP()
				}
				l := w.mustDial(func(o *sip.Outgoing) {
					if c.large {
						o.Sound = wordy{sound()}
					}
				})
				for {
					r := within(t, 10*time.Second, w.one.News(), "INVITE")
					if r.Method != "INVITE" {
						continue
					}
					contact := r.Header("Contact")
					if via := r.Header("Via"); !strings.HasPrefix(via, "SIP/2.0/"+c.want+" 10.0.0.1:5060;") || strings.Contains(contact, ";transport=tcp") != (c.want == "TCP") {
						t.Errorf("went with Via %q, Contact %q", via, contact)
					}
					break
				}
				within(t, 10*time.Second, l.Answered(), "answer")
				l.HangUp(sip.Cause{})
				within(t, 10*time.Second, l.Done(), "end")
			})
		})
	}
}
