package sip_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// RFC 5626 §6: a phone has a binding for each reg-id, the newest flow of each; the
// answer says that the extension is in use, and how often a flow shall show that it lives.
func TestSeveralFlows(t *testing.T) {
	bubble(t, func(w *world) {
		first, second := w.peer(5060), w.peer(5062)
		defer first.close()
		defer second.close()
		flow := func(p *peer, call, regID int) string {
			t.Helper()
			code, answer := registration{
				callID: fmt.Sprint("flow", call), cseq: 1, headers: []string{"Supported: path, outbound"},
				contacts: []string{fmt.Sprintf(`<sip:u-alice@192.168.1.2:%d>;reg-id=%d;+sip.instance="<urn:uuid:7>"`, p.local.Port(), regID)},
			}.ask(p)
			if code != 200 || !strings.Contains(answer, "Require: outbound\r\n") || !strings.Contains(answer, "Flow-Timer: 120\r\n") {
				t.Fatalf("flow %d: %d\n%s", regID, code, answer)
			}
			return answer
		}
		flow(first, 1, 1)
		time.Sleep(time.Second)
		if all := contactsOf(flow(second, 2, 2)); len(all) != 2 {
			t.Errorf("two flows: %q", all)
		}
		time.Sleep(time.Second)
		if all := contactsOf(flow(second, 3, 1)); len(all) != 2 {
			t.Errorf("the first flow anew: %q", all)
		}
		for _, b := range w.server.BindingsOfUser("usr_alice") {
			if b.Source != second.local.String() {
				t.Errorf("flow %d is looked for at %s", b.RegID, b.Source)
			}
		}
		// Without the extension in Supported, or without an instance, nothing is promised.
		code, answer := registration{callID: "plain", cseq: 1, contacts: []string{"<sip:u-alice@10.0.0.99:5060>;reg-id=3"}, headers: []string{"Supported: outbound"}}.ask(first)
		if code != 200 || strings.Contains(answer, "Require: outbound") {
			t.Errorf("a reg-id without an instance: %d\n%s", code, answer)
		}
	})
}
