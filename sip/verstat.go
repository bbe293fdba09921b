package sip

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	sipmsg "github.com/emiago/sipgo/sip"
)

// Verification is what a carrier says that it found when it checked who calls (RFC 8224, RFC 8588). No certificate is
// fetched by us: the carrier has done that, and a setting of its trunk says whether it is believed.
type Verification struct {
	Result string // VerifiedPassed, VerifiedFailed or VerifiedNot; empty: nothing was said, or nobody is believed
	// Level is how well the caller's carrier knows the caller, "A" to "C": A that the number is theirs, B that they are
	// its customer, C that it only let the call in. Empty: it was not told.
	Level string
}

// The results of a verification.
const (
	VerifiedPassed = "passed"
	VerifiedFailed = "failed"
	VerifiedNot    = "none" // the carrier could not check
)

const (
	maxIdentities = 4    // of one call that are read and passed on
	maxIdentity   = 4096 // octets of one
)

// verstats are the results in the words of telephone networks (3GPP TS 24.229 §7.2A.20).
var verstats = []verstat{
	{"TN-Validation-Passed", VerifiedPassed},
	{"TN-Validation-Failed", VerifiedFailed},
	{"No-TN-Validation", VerifiedNot},
}

type verstat struct{ word, result string }

// verifiedBy reads the result from the INVITE of a carrier that is believed: from P-Asserted-Identity, else From.
func verifiedBy(req *sipmsg.Request) Verification {
	var v Verification
	for _, value := range append(headerList(req, "P-Asserted-Identity"), req.From().Value()) {
		if a, ok := parseAddress(value); ok && v.Result == "" {
			v = verstatOf(a)
		}
	}
	if v.Result != VerifiedPassed {
		return Verification{Result: v.Result} // there is no level of what is not so
	}
	if v.Level == "" {
		v.Level = levelOf(header(req, "P-Attestation-Indicator"))
	}
	for _, value := range identitiesOf(req) {
		if v.Level == "" {
			v.Level = attestOf(value)
		}
	}
	return v
}

// verstatOf finds the parameter, which some write into the user part, some behind the host, and some behind the address.
func verstatOf(a address) Verification {
	uri, _, _ := strings.Cut(a.uri, "?")
	said, _ := a.params.get("verstat")
	for part := range strings.FieldsFuncSeq(uri, func(r rune) bool { return r == ';' || r == '@' }) {
		if name, value, _ := strings.Cut(part, "="); strings.EqualFold(name, "verstat") && said == "" {
			said = value
		}
	}
	for _, w := range verstats {
		if strings.EqualFold(said, w.word) {
			return Verification{Result: w.result}
		}
		n := len(w.word) + 1
		if w.result == VerifiedPassed && len(said) > n && strings.EqualFold(said[:n], w.word+"-") {
			return Verification{Result: w.result, Level: levelOf(said[n:])}
		}
	}
	return Verification{}
}

// levelOf reads an attestation level (RFC 8588 §4).
func levelOf(s string) string {
	if s = strings.ToUpper(trim(s)); s == "A" || s == "B" || s == "C" {
		return s
	}
	return ""
}

// attestOf reads the level from a PASSporT that the carrier has checked (RFC 8225, RFC 8588 §4).
func attestOf(identity string) string {
	token, _, _ := strings.Cut(identity, ";")
	parts := strings.Split(trim(token), ".")
	if len(parts) != 3 {
		return "" // the compact form leaves header and claims out (RFC 8225 §7)
	}
	var head struct{ Ppt string }
	var claims struct{ Attest string }
	if !readPart(parts[0], &head) || head.Ppt != "shaken" || !readPart(parts[1], &claims) {
		return ""
	}
	return levelOf(claims.Attest)
}

func readPart(text string, into any) bool {
	b, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && json.Unmarshal(b, into) == nil
}

// identitiesOf are the Identity fields of a request: signed by carriers, of use to carriers (RFC 8224 §4).
func identitiesOf(req *sipmsg.Request) []string {
	var all []string
	for _, value := range headerList(req, "Identity") {
		if len(all) < maxIdentities && len(value) <= maxIdentity && isText(value) {
			all = append(all, value)
		}
	}
	return all
}

// shownWith adds the result to an address of a caller, for phones that show it.
func (v Verification) shownWith(address string) string {
	i := slices.IndexFunc(verstats, func(w verstat) bool { return w.result == v.Result })
	if i < 0 {
		return address
	}
	return strings.Replace(address, ">", ";verstat="+verstats[i].word+">", 1)
}

// Verified returns what the carrier found when it checked who calls on an incoming leg.
func (l *Leg) Verified() Verification { return l.verified }
