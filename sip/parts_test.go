package sip_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"pbx/sip"
)

const isup = "Content-Type: application/ISUP; version=itu-t92+\r\nContent-Disposition: signal; handling=optional\r\n\r\n\x01\x00\x49\x00\r\n"

// TestBodiesOfSeveralParts: RFC 5621 §3: the session description is found wherever it stands among the parts, the answer
// is plain; without one it is 415.
func TestBodiesOfSeveralParts(t *testing.T) {
	sdp := "Content-Type: application/sdp\r\n\r\n" + answerSDP + "\r\n"
	early := "Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n\r\nv=0\r\n\r\n"
	alternative := "Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\nContent-Type: text/plain\r\n\r\nx\r\n--in\r\n" + sdp + "--in--\r\n\r\n"
	body := func(parts ...string) string {
		return "--b\r\n" + strings.Join(parts, "--b\r\n") + "--b--\r\n"
	}
	for _, tc := range []struct {
		name, kind, body string
		want             int
	}{
		{"carrier", "multipart/mixed;boundary=b", body(sdp, isup), 200},
		{"the other way round", "multipart/mixed; boundary=b", body(isup, sdp), 200},
		{"quoted, words before", `Multipart/Mixed; boundary="b : 1"`, "words\r\n" + strings.ReplaceAll(body(isup, sdp), "--b", "--b : 1"), 200},
		{"lines end in LF", "multipart/mixed;boundary=b", strings.ReplaceAll(body(sdp, "Content-Type: text/plain\r\n\r\nhello\r\n"), "\r\n", "\n"), 200},
		{"an early session beside", "multipart/mixed;boundary=b", body(early, sdp), 200},
		{"a disposition", "multipart/related;boundary=b", body(strings.Replace(sdp, "\r\n\r\n", "\r\nContent-Disposition: Session;handling=required\r\n\r\n", 1)), 200},
		{"within another", "multipart/mixed;boundary=b", body(isup, alternative), 200},
		{"no description", "multipart/mixed;boundary=b", body(isup), 415},
		{"an early one alone", "multipart/mixed;boundary=b", body(early), 415},
		{"no boundary", "multipart/mixed", body(sdp), 415},
		{"another boundary", "multipart/mixed;boundary=c", body(sdp), 415},
		{"a boundary too long", "multipart/mixed;boundary=" + strings.Repeat("b", 71), strings.ReplaceAll(body(sdp), "--b", "--"+strings.Repeat("b", 71)), 415},
		{"no end", "multipart/mixed;boundary=b", strings.TrimSuffix(body(sdp), "--b--\r\n"), 415},
		{"encoded", "multipart/mixed;boundary=b", body("Content-Transfer-Encoding: base64\r\n" + sdp), 415},
		{"too many", "multipart/mixed;boundary=b", body(strings.Repeat("\r\n\r\n--b\r\n", 20), sdp), 415},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(w *world) {
				c := &caller{peer: w.peer(5060), cseq: 1}
				defer c.close()
				send := func(branch string, headers ...string) {
					c.send(bytes.Replace(c.request("INVITE", branch, tc.body, headers...), []byte("application/sdp\r\nContent-Length"), []byte(tc.kind+"\r\nContent-Length"), 1))
				}
				send("i1")
				code, answer := c.status(time.Second)
				c.send(c.request("ACK", "i1", ""))
				if tc.want == 415 {
					if code != 415 || !strings.Contains(string(answer), "Accept: application/sdp") {
						t.Errorf("answered %d\n%s", code, answer)
					}
					return
				}
				c.cseq = 2
				send("i2", c.authorize(string(answer), "INVITE", "sip:201@pbx.test"))
				l := within(t, time.Second, w.house, "incoming call")
				l.Attach(sound())
				go l.Answer(w.ctx)
				code, answer = c.status(time.Second)
				if code != 200 || !strings.Contains(string(answer), "Content-Type: application/sdp\r\n") || !strings.Contains(string(answer), "m=audio") {
					t.Fatalf("answered %d\n%s", code, answer)
				}
				c.toTag = regexp.MustCompile(`tag=([^;\r]+)`).FindStringSubmatch(field(string(answer), "To"))[1]
				c.target = strings.Trim(field(string(answer), "Contact"), "<>")
				c.send(c.request("ACK", "ack", ""))
				c.cseq = 3
				c.send(c.request("BYE", "bye", ""))
				if code, _ := c.status(time.Second); code != 200 {
					t.Errorf("BYE is answered %d", code)
				}
				within(t, time.Second, l.Done(), "end")
			})
		})
	}
}

// TestAnswerOfSeveralParts: so may the answer of a callee be.
func TestAnswerOfSeveralParts(t *testing.T) {
	bubble(t, func(w *world) {
		c := w.callee()
		defer c.close()
		l, _ := w.invite("bob")
		c.next("INVITE")
		body := "--b\r\n" + isup + "--b\r\nContent-Type: application/sdp\r\n\r\n" + answerSDP + "\r\n--b--\r\n"
		c.respond(c.invite, "one", 200, "OK", "", "Content-Type: multipart/mixed;boundary=b\r\nContent-Length: "+fmt.Sprint(len(body))+"\r\n\r\n"+body)
		c.next("ACK")
		within(t, time.Second, l.Answered(), "answer")
		l.HangUp(sip.Cause{})
		c.next("BYE")
		c.reply("BYE", "", 200, "OK", "")
		within(t, time.Second, l.Done(), "end")
	})
}
