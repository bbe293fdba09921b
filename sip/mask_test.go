package sip

import (
	"strings"
	"testing"
)

// head is a request with fields; its body follows an empty line.
func head(fields string) string {
	return "INFO sip:201@pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nCall-ID: c@1\r\n" + fields
}

// What a trace keeps of a field or a body, octet by octet.
func TestMask(t *testing.T) {
	const s, m = "aSECRETb", "********"
	for _, tc := range []struct{ in, want string }{
		// Answers to challenges and challenges.
		{`Authorization: Digest username="u", realm="r", nonce="` + s + `", uri="sip:a;x=1", response="` + s + `", cnonce="` + s + `", qop=auth, nc=00000001, algorithm=MD5`, `Authorization: Digest username="u", realm="r", nonce="` + m + `", uri="sip:a;x=1", response="` + m + `", cnonce="` + m + `", qop=auth, nc=00000001, algorithm=MD5`},
		{"PROXY-AUTHORIZATION : dIGEST NONCE=" + s + ",RESPONSE = \"" + s + `",ReAlm="r"`, "PROXY-AUTHORIZATION : dIGEST NONCE=" + m + ",RESPONSE = \"" + m + `",ReAlm="r"`},
		{"Authorization:\r\n Digest username=\"u\",\r\n\tresponse=\r\n  \"" + s + "\"\r\nTo: <sip:b@c>", "Authorization:\r\n Digest username=\"u\",\r\n\tresponse=\r\n  \"" + m + "\"\r\nTo: <sip:b@c>"},
		{"Authorization: Digest nonce=\"a,\r\n realm=" + s + "\"", "Authorization: Digest nonce=\"**\r\n***************\""},
		{`WWW-Authenticate: Digest realm="r", nonce="` + s + `", Digest realm="r2", nonce="` + s + `", opaque=""`, `WWW-Authenticate: Digest realm="r", nonce="` + m + `", Digest realm="r2", nonce="` + m + `", opaque=""`},
		{`Authentication-Info: nextnonce="` + s + `",rspauth="` + s + `",qop=auth`, `Authentication-Info: nextnonce="` + m + `",rspauth="` + m + `",qop=auth`},
		{`Authorization: Basic ` + s + `==`, `Authorization: ****************`},
		{`Authorization: Digest realm="r", Basic ` + s + `==`, `Authorization: Digest realm="r", ****************`},
		{`Authorization: Negotiate a=` + s, `Authorization: ********************`},
		{`Authorization: ` + s + `=`, `Authorization: *********`},
		{`Authorization Digest uri="sip:a", response="` + s + `"`, `Authorization Digest uri="sip:a", response="` + m + `"`},
		{`X-Phone-Password: realm=` + s, `X-Phone-Password: **************`},
		{"X-Api-Key: a\r\n " + s, "X-Api-Key: *\r\n*********"},
		// Broken: a missing quote, another separator, an escape.
		{`Authorization: Digest username="u, response="` + s + `"`, `Authorization: Digest username=***********************`},
		{`Authorization: Digest username="u, response=` + s, `Authorization: Digest username=*********************`},
		{`Authorization: Digest username=u; response=` + s, `Authorization: Digest username=********************`},
		{`Authorization: Digest username="u"; response=` + s, `Authorization: Digest username=**********************`},
		{`Authorization: Digest username="a\", response="` + s + `", realm="r"`, `Authorization: Digest username=************************************`},
		// Addresses.
		{"To: <SIP:bob:" + s + "@c>, <sips:x:1@" + s + "@d:5061>", "To: <SIP:bob:" + m + "@c>, <sips:x:**********@d:5061>"},
		{"Refer-To: <sip:b@c:5060?Authorization=" + s + "&Replaces=x>", "Refer-To: <sip:b@c:5060?Authorization=" + m + "&Replaces=x>"},
		{"Call-Info: <http://me:" + s + "@h:80/x@y>", "Call-Info: <http://me:" + m + "@h:80/x@y>"},
		{"i: 1@10.0.0.1:5060\r\nm: <sip:u@10.0.0.1:5060;transport=tcp>;q=1", "i: 1@10.0.0.1:5060\r\nm: <sip:u@10.0.0.1:5060;transport=tcp>;q=1"},
		// Sound.
		{"\r\n\r\nv=0\r\nk=base64:" + s + "\r\nm=audio 1 RTP/SAVP 0\r\nK=" + s, "\r\n\r\nv=0\r\nk=***************\r\nm=audio 1 RTP/SAVP 0\r\nK=" + m},
		{"\r\n\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + s + "|2^20|1:4;inline:" + s + "/+= KDR=1 UNENCRYPTED_SRTP", "\r\n\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + m + "|2^20|1:4;inline:" + m + "*** KDR=1 UNENCRYPTED_SRTP"},
		{"\n\nv=0\na=CRYPTO : 1 INLINE : " + s + "\na=acap:1 crypto:2 A_B INLINE:" + s, "\n\nv=0\na=CRYPTO : 1 ****** * " + m + "\na=acap:1 crypto:2 A_B INLINE:" + m},
		{"\r\n\r\na=crypto:1 A_B uri:" + s + "|" + s, "\r\n\r\na=crypto:1 A_B ************|" + m},
		{"\r\n\r\na=key-mgmt:mikey " + s + "\r\na=acap:1 Key-Mgmt:" + s, "\r\n\r\na=key-mgmt:mikey " + m + "\r\na=acap:1 Key-Mgmt:" + m},
		{"\r\n\r\na=ice-ufrag:x\r\na=ice-pwd:" + s, "\r\n\r\na=ice-ufrag:x\r\na=ice-pwd:" + m},
		{"\r\nv=0\r\nk=" + s, "\r\nv=0\r\nk=" + m}, // the empty line is missing
		{"\r\n\r\nv=0\r\ns=spin\r\nc=IN IP4 10.0.0.1\r\na=fmtp:101 0-15\r\na=fingerprint:sha-256 AB:CD", "\r\n\r\nv=0\r\ns=spin\r\nc=IN IP4 10.0.0.1\r\na=fmtp:101 0-15\r\na=fingerprint:sha-256 AB:CD"},
		// Pressed keys.
		{"\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=5\r\nDuration=160\r\n", "\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=*\r\nDuration=160\r\n"},
		{"\nc: application/dtmf-relay\n\nsIGNAL : #\nDuration: 1", "\nc: application/dtmf-relay\n\nsIGNAL : *\nDuration: 1"},
		{"\r\nc: application/dtmf\r\n\r\n 12*d#\r\n", "\r\nc: application/dtmf\r\n\r\n *****\r\n"},
		{"\r\n\r\nABCD", "\r\n\r\n****"},
		{"\r\n\r\n--x\r\nContent-Type: application/dtmf\r\n\r\n7\r\n--x--", "\r\n\r\n--x\r\nContent-Type: application/dtmf\r\n\r\n*\r\n--x--"},
		{"\r\n\r\n<kpml-response code=\"200\" digits=\"4711\"/>", "\r\n\r\n<kpml-response code=\"200\" digits=\"****\"/>"},
		// Passwords in bodies.
		{"\r\n\r\nuser=a&password=" + s + "&x=1", "\r\n\r\nuser=a&password=" + m + "&x=1"},
		{"\r\n\r\npassword=a&" + s, "\r\n\r\npassword=**" + m},
		{"\r\n\r\n{\"userPassword\" :\r\n \"x\\\"" + s + "\", \"pin\": 4711, \"a\": 1}", "\r\n\r\n{\"userPassword\" :\r\n \"***" + m + "\", \"pin\": ****, \"a\": 1}"},
		{"\r\n\r\n<sip:authPassword type=\"x\">" + s + "&amp;</sip:authPassword> <b>c</b>", "\r\n\r\n<sip:authPassword type=\"x\">" + m + "*****</sip:authPassword> <b>c</b>"},
		{"\r\n\r\n<password><![CDATA[" + s + "]]></password>", "\r\n\r\n<password><![CDATA[" + m + "]]></password>"},
		{"\r\n\r\nvoicemail PIN: 47 " + s + "\r\nnext", "\r\n\r\nvoicemail PIN: ***********\r\nnext"},
		{"\r\n\r\n1 < 2, Password_2 = it's " + s, "\r\n\r\n1 < 2, Password_2 = *************"},
		{"\r\n\r\nREFER sip:x SIP/2.0\r\nAuthorization: Digest username=\"u\",\r\n response=\"" + s + "\"", "\r\n\r\nREFER sip:x SIP/2.0\r\nAuthorization: Digest username=\"u\",\r\n response=\"" + m + "\""},
		{"\r\n\r\nA bad day, \xfc\xff \u0130 add\r\nbad\r\n", "\r\n\r\nA bad day, \xfc\xff \u0130 add\r\nbad\r\n"},
	} {
		got := string(maskSecrets([]byte(head(tc.in))))
		if want := head(tc.want); got != want {
			t.Errorf("of\n%q is left\n%q, want\n%q", tc.in, strings.TrimPrefix(got, head("")), tc.want)
		}
	}
}

// FuzzMask puts a secret where secrets are, among anything, in any case, folding and line end. It never survives, and
// nothing but octets becoming asterisks changes.
func FuzzMask(f *testing.F) {
	const secret = "5Ecr3tVALUE"
	places := []struct{ before, after string }{ // in the head; # is where a line may be folded
		{"Authorization:#Digest username=\"u\",#response=#\"", "\",#nc=1"},
		{"Proxy-Authorization: Digest JUNK,#nonce=\"", "\",#JUNK"},
		{"WWW-Authenticate: Digest realm=\"r\",#JUNK, nonce=", ",#qop=auth"},
		{"Authorization: Digest JUNK, cnonce=\"", "\", response=\"JUNK\""},
		{"Authentication-Info: nextnonce=\"", "\""},
		{"Authorization:#Basic#", "=="},
		{"X-Password:#", "JUNK"},
		{"To: <sip:bob:", "@pbx.test>"},
		{"\n\nJUNK\nk=", "\nJUNK"}, // in a body
		{"\n\nJUNK\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:", "|2^20\nJUNK"},
		{"\n\nJUNK\na=key-mgmt:mikey ", " JUNK"},
		{"\n\nJUNK\npassword=", "\nJUNK"},
		{"\n\nJUNK\n{\"secret\": \"", "\", \"JUNK\": 1}"},
		{"\n\nJUNK\n<password JUNK>", "</password>"},
		{"\n\nJUNK\nSignal=", "\nDuration=160\nJUNK"},
	}
	f.Add(uint8(0), uint8(0), "realm=\"x", "k=1")
	f.Add(uint8(1), uint8(7), "username=\"u", "v=0")
	f.Add(uint8(8), uint8(1), "password: \"", "password=\"")
	f.Add(uint8(13), uint8(4), "a", "</password>")
	f.Fuzz(func(t *testing.T, place, style uint8, junk, line string) {
		p := places[int(place)%len(places)]
		junk = strings.NewReplacer("\r", "", "\n", "", "<", "", ">", "").Replace(junk)
		end, fold := "\r\n", " "
		if style&1 != 0 {
			end = "\n"
		}
		if style&2 != 0 {
			fold = end + "\t"
		}
		line = strings.Trim(strings.ReplaceAll(line, "\n", " "), " \t\r")
		text := p.before + secret + p.after
		if strings.HasPrefix(p.before, "\n") {
			text = "\nContent-Type: application/x" + text
		}
		text = strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(text, "JUNK", junk), "\n", end), "#", fold)
		switch {
		case style&4 != 0:
			text = strings.ReplaceAll(strings.ToUpper(text), strings.ToUpper(secret), secret)
		case style&8 != 0:
			text = strings.ReplaceAll(strings.ToLower(text), strings.ToLower(secret), secret)
		}
		in := "INFO sip:a SIP/2.0" + end + "Subject: " + line + end + text + end
		if strings.Count(in, secret) != 1 {
			return // it stands in what surrounds it, where it is none
		}
		out := string(maskSecrets([]byte(in)))
		if strings.Contains(out, secret) {
			t.Fatalf("it is left:\n%q\n%q", in, out)
		}
		if len(out) != len(in) {
			t.Fatalf("%d octets became %d", len(in), len(out))
		}
		for i := range len(in) {
			if out[i] != in[i] && (out[i] != '*' || in[i] == '\r' || in[i] == '\n') {
				t.Fatalf("octet %d, %q, became %q", i, in[i], out[i])
			}
		}
		if !strings.HasPrefix(out, "INFO sip:a SIP/2.0"+end+"Subject: ") {
			t.Fatalf("the start is gone:\n%q", out)
		}
	})
}
