package store

import (
	"crypto/rand"
	"crypto/sha256"
)

// NewToken returns a fresh random token of 160 bits, safe in URLs and cookies, without a separator: one double click selects it.
func NewToken() string { return randomText(32) }

// HashToken is what is kept of a session token or an API key: its SHA-256. A
// token has 160 bits of chance, so a slow hash would add nothing.
func HashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// NewLineUsername returns a random SIP user name. It is never an extension, so knowing extensions helps no attacker.
func NewLineUsername() string { return "ln" + randomText(12) }

// NewLinePassword returns a random SIP password of 100 bits in letters and digits that every phone's keypad can type.
func NewLinePassword() Secret { return Secret(randomText(20)) }

// randomText returns n random characters of five bits each.
func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	for i := range b {
		b[i] = idAlphabet[b[i]&31]
	}
	return string(b)
}
