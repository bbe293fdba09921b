package sip

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

const (
	maxParts    = 16
	maxNested   = 3  // multipart within multipart
	maxBoundary = 70 // RFC 2046 §5.1.1
)

var errNoSDP = errors.New("no session description among the parts")

// unpack leaves of a body in several parts the session description: carriers put what older networks have to say beside
// it (ISUP, RFC 3204), and others a place or a picture. A body without one stays as it is, and is refused where one is needed.
func unpack(m interface {
	sipmsg.Message
	ReplaceHeader(sipmsg.Header)
},
) {
	kind := header(m, "Content-Type")
	if len(m.Body()) == 0 || len(kind) < 10 || !strings.EqualFold(kind[:10], "multipart/") {
		return
	}
	parts := maxParts
	sdp, err := sessionPart(kind, m.Body(), maxNested, &parts)
	if err != nil {
		return
	}
	plain := sipmsg.ContentTypeHeader("application/sdp")
	m.ReplaceHeader(&plain)
	m.SetBody(sdp)
}

// sessionPart finds the session description in a body of several parts: RFC 5621 §3. Parts counts down those that are
// looked at, in all levels.
func sessionPart(kind string, body []byte, levels int, parts *int) ([]byte, error) {
	main, params, err := mime.ParseMediaType(kind)
	if err != nil {
		return nil, err
	}
	boundary := params["boundary"]
	if !strings.HasPrefix(main, "multipart/") || boundary == "" || len(boundary) > maxBoundary || levels == 0 {
		return nil, errNoSDP
	}
	for r := multipart.NewReader(bytes.NewReader(body), boundary); *parts > 0; {
		part, err := r.NextRawPart()
		if err != nil {
			return nil, err
		}
		*parts--
		inner := part.Header.Get("Content-Type")
		main, _, err := mime.ParseMediaType(inner)
		if err != nil || !ofSession(part.Header) {
			continue
		}
		nested := strings.HasPrefix(main, "multipart/")
		if !nested && main != "application/sdp" {
			continue
		}
		data, err := io.ReadAll(part) // no longer than the message
		if err != nil {
			return nil, err
		}
		if nested {
			data, err = sessionPart(inner, data, levels-1, parts)
		}
		if err == nil && len(data) > 0 {
			return data, nil
		}
	}
	return nil, errNoSDP
}

// ofSession reports whether a part may describe the session, as it stands: RFC 3261 §20.11, session is what a description
// is for when nothing is said; that of an early one (RFC 3959) is not asked for.
func ofSession(h textproto.MIMEHeader) bool {
	switch strings.ToLower(trim(h.Get("Content-Transfer-Encoding"))) {
	case "", "binary", "7bit", "8bit":
	default:
		return false
	}
	disposition, _, _ := strings.Cut(h.Get("Content-Disposition"), ";")
	disposition = trim(disposition)
	return disposition == "" || strings.EqualFold(disposition, "session")
}
