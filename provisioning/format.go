package provisioning

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"

	"pbx/store"
)

// errUnsafe says that a value would break out of its place in a file.
var errUnsafe = errors.New("value cannot be written in this format")

// maxText is how much of a name or label goes to a phone.
const maxText = 80

// reset is how a "key = value" file takes a value back.
const reset = "%NULL%"

// keyValueFuncs are the functions for files of "key = value" lines.
//
// Each value a template writes goes through one of them: text for what people
// typed, value for what must arrive unchanged or not at all, secret for
// passwords. A line break in any of them would let a name set other keys.
func keyValueFuncs() template.FuncMap {
	return template.FuncMap{
		"text":      keyValueText,
		"value":     keyValue,
		"secret":    func(s store.Secret) (string, error) { return keyValue(string(s)) },
		"join":      func(n []int) (string, error) { return keyValue(joinNumbers(n)) },
		"transport": transportNumber,
	}
}

// keyValue passes s on unchanged, or refuses it.
func keyValue(s string) (string, error) {
	switch {
	case s == "":
		return reset, nil
	case !utf8.ValidString(s), strings.ContainsFunc(s, breaksLine), strings.TrimSpace(s) != s, strings.Contains(s, reset):
		return "", errUnsafe
	}
	return s, nil
}

// keyValueText makes what people typed fit for one line of a phone's display, losing as little as possible.
func keyValueText(s string) (string, error) { return keyValue(cleanText(s)) }

// cleanText replaces what cannot be shown in one line, drops marks that turn the direction of the text around
// them, and disarms the word that resets a key.
func cleanText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Bidi_Control, r), r == '\uFEFF':
			return -1
		case breaksLine(r):
			return ' '
		}
		return r
	}, s)
	for strings.Contains(s, reset) { // what is left after one replacement may form the word anew
		s = strings.ReplaceAll(s, reset, "NULL")
	}
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) > maxText {
		s = strings.TrimSpace(string([]rune(s)[:maxText]))
	}
	return s
}

// breaksLine reports control characters and line separators.
func breaksLine(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
}

func joinNumbers(n []int) string {
	words := make([]string, len(n))
	for i, v := range n {
		words[i] = strconv.Itoa(v)
	}
	return strings.Join(words, ",")
}

// transportNumber is how Yealink counts transports.
func transportNumber(name string) (string, error) {
	switch name {
	case "udp":
		return "0", nil
	case "tcp":
		return "1", nil
	case "tls":
		return "2", nil
	}
	return "", fmt.Errorf("transport %q: %w", name, errUnsafe)
}
