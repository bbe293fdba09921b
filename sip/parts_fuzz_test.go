package sip

import (
	"bytes"
	"testing"
)

// FuzzParts: whatever stands in a body of several parts, what is found is a piece of it.
func FuzzParts(f *testing.F) {
	f.Add("multipart/mixed;boundary=b", []byte("--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--b--\r\n"))
	f.Add(`multipart/mixed;boundary="a b"`, []byte("--a b\nContent-Type: multipart/mixed;boundary=c\n\n--c\nContent-Type: application/sdp\n\nv=0\n--c--\n\n--a b--\n"))
	f.Add("multipart/", []byte("--\r\n"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		parts := maxParts
		sdp, err := sessionPart(kind, body, maxNested, &parts)
		if err == nil && (len(sdp) == 0 || len(sdp) > len(body)) || parts < 0 {
			t.Errorf("%d octets of %d, %d parts left", len(sdp), len(body), parts)
		}
		if err == nil && !bytes.Contains(body, sdp) {
			t.Errorf("%q is no piece of %q", sdp, body)
		}
	})
}
