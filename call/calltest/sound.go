package calltest

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"pbx/media"
)

// sound is a session whose descriptions are those of a particular phone.
type sound struct {
	*media.Session
	codecs []string
	tones  bool

	mu   sync.Mutex
	edit func(sdp string) string // of our offers
}

func (s *sound) setEdit(edit func(string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.edit = edit
}

// Offer makes the phone's offer.
func (s *sound) Offer() ([]byte, error) {
	sdp, err := s.Session.Offer()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.known(string(sdp))
	if s.edit != nil {
		text = s.edit(text)
	}
	return []byte(text), nil
}

// Answer answers an offer, blind to codecs that the phone does not speak.
func (s *sound) Answer(offer []byte) ([]byte, error) {
	return s.Session.Answer([]byte(s.known(string(offer))))
}

// known is a description without what the phone does not know.
func (s *sound) known(sdp string) string {
	sdp = only(sdp, s.codecs)
	if s.tones {
		sdp = eventLine.ReplaceAllString(sdp, "")
	}
	return sdp
}

// The payload numbers of an offer: RFC 3551 §6, and the one that the house gives to Opus.
var payloads = map[string]string{"PCMU": "0", "PCMA": "8", "G722": "9", "opus": "107"}

var (
	audioLine     = regexp.MustCompile(`(?m)^(m=audio \d+ RTP/AVP)((?: \d+)+)`)
	eventLine     = regexp.MustCompile(`(?m)^a=rtpmap:\d+ telephone-event/\d+\r?\n`)
	connection    = regexp.MustCompile(`(?m)^c=IN IP4 \S+`)
	directionLine = regexp.MustCompile(`(?m)^a=(sendrecv|sendonly|recvonly|inactive)\r?\n`)
)

// only strikes what is not among codecs from a description.
func only(sdp string, codecs []string) string {
	if len(codecs) == 0 {
		return sdp
	}
	var struck []string
	for name, number := range payloads {
		if !slices.Contains(codecs, name) {
			struck = append(struck, number)
		}
	}
	return audioLine.ReplaceAllStringFunc(sdp, func(line string) string {
		m := audioLine.FindStringSubmatch(line)
		numbers := slices.DeleteFunc(strings.Fields(m[2]), func(n string) bool { return slices.Contains(struck, n) })
		return m[1] + " " + strings.Join(numbers, " ")
	})
}

func inactive(sdp string) string {
	return directionLine.ReplaceAllString(sdp, "") + "a=inactive\r\n"
}

func nowhere(sdp string) string {
	return connection.ReplaceAllString(sdp, "c=IN IP4 0.0.0.0")
}
