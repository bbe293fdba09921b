package dialplan

import (
	"slices"
	"strings"
)

// The number of digits of an international number (ITU-T E.164 §6.2.1); shorter ones exist nowhere.
const (
	minE164 = 7
	maxE164 = 15
)

// home is where an account dials from.
type home struct {
	country
	iso  string
	area string // of local numbers, in North America
}

// homeOf returns the rules of a country; area completes local numbers, if the country has such.
func homeOf(iso, area string) home {
	c, known := countries[iso]
	if !known {
		c = elsewhere
	}
	return home{country: c, iso: iso, area: area}
}

// e164 brings what was dialled into the one form that is used inside: "+", country code, national number.
// Anything but a full number of some country's plan is refused.
func (h home) e164(dialed string) (string, bool) {
	switch {
	case strings.Trim(dialed, "+0123456789") != "" || strings.LastIndexByte(dialed, '+') > 0:
		return "", false
	case strings.HasPrefix(dialed, "+"):
		return valid(dialed)
	case h.abroad != "" && strings.HasPrefix(dialed, h.abroad):
		return valid("+" + dialed[len(h.abroad):])
	case h.code == "":
		return "", false
	case h.national != "" && strings.HasPrefix(dialed, h.national):
		return valid("+" + h.code + dialed[len(h.national):])
	case h.national == "", slices.ContainsFunc(h.plain, func(p string) bool { return strings.HasPrefix(dialed, p) }):
		if h.code == "1" && len(dialed) == 7 && h.area != "" {
			dialed = h.area + dialed
		}
		return valid("+" + h.code + dialed)
	}
	return "", false
}

// valid checks an international number against what is known of its country.
func valid(number string) (string, bool) {
	if n := len(number) - 1; n < minE164 || n > maxE164 {
		return "", false
	}
	code, iso := split(number)
	if code == "" {
		return "", false
	}
	c, known := countries[iso]
	if code == "1" {
		c, known = northAmerica, true
	}
	if !known {
		return number, true
	}
	rest := number[1+len(code):]
	if c.national == "0" {
		rest = strings.TrimPrefix(rest, "0") // people write +49 (0)30
	}
	if len(code)+len(rest) < minE164 || len(rest) < c.min || len(rest) > c.max || c.national == "0" && rest[0] == '0' {
		return "", false
	}
	// Area code and exchange begin with 2 to 9 where code 1 is dialled.
	if code == "1" && (rest[0] < '2' || rest[3] < '2') {
		return "", false
	}
	return "+" + code + rest, true
}

// split finds the country code of an international number, and the country, if it belongs to one.
func split(number string) (code, iso string) {
	if !strings.HasPrefix(number, "+") {
		return "", ""
	}
	digits := number[1:]
	if strings.HasPrefix(digits, "1") {
		if len(digits) >= 4 {
			if iso, known := areas164[digits[1:4]]; known {
				return "1", iso
			}
		}
		return "1", "US"
	}
	for n := min(3, len(digits)); n > 0; n-- {
		iso, known := codes164[digits[:n]]
		if !known {
			continue
		}
		if iso == "KZ" {
			return "7", iso
		}
		return digits[:n], iso
	}
	return "", ""
}

// Country returns the ISO code of the country that an international number belongs to; empty: to none, or to a service without a country.
func Country(e164 string) string {
	_, iso := split(e164)
	return iso
}

// spell writes an international number as a carrier wants it: "e164", "digits", "national" or "00".
// What is no international number, such as an emergency number, stays as it is.
func (h home) spell(number, format string) string {
	if !strings.HasPrefix(number, "+") {
		return number
	}
	digits := number[1:]
	switch format {
	case "digits":
		return digits
	case "00":
		return "00" + digits
	case "national":
		rest, domestic := strings.CutPrefix(digits, h.code)
		switch {
		case h.code == "" || !domestic:
			return h.abroad + digits
		case h.code == "1": // the 1 is dialled between people; carriers want ten digits
			return rest
		}
		return h.national + rest
	}
	return number
}

// readings are the numbers that a carrier may mean by what it writes, likeliest first.
func (h home) readings(called string) []string {
	var all []string
	add := func(n string) {
		if len(n) > minE164-3 && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	if n, ok := h.e164(called); ok {
		add(n)
	}
	digits := strings.TrimPrefix(called, "+")
	if strings.Trim(digits, "0123456789") != "" {
		return all
	}
	add("+" + digits)
	for _, prefix := range []string{"00", h.abroad} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok && prefix != "" {
			add("+" + rest)
		}
	}
	if h.code != "" {
		if rest, ok := strings.CutPrefix(digits, h.national); ok {
			add("+" + h.code + rest)
		}
		add("+" + h.code + digits)
	}
	return all
}
