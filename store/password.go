package store

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The cost of a password: 19 MiB, two passes, one lane, as OWASP's password storage sheet advises.
const (
	argonMemory = 19 * 1024 // KiB
	argonPasses = 2
	argonLanes  = 1
	argonSalt   = 16
	argonKey    = 32
)

// maxPassword is the most octets that are hashed: longer input is refused before it costs anything.
const maxPassword = 1024

// hashing bounds memory: at most two passwords are computed at once in the
// whole process, the others queue. It is a table of free places, not state.
var hashing = make(chan struct{}, 2)

var base64Raw = base64.RawStdEncoding.Strict()

// HashPassword returns the argon2id string of a password or PIN.
func HashPassword(plain string) (string, error) {
	if len(plain) > maxPassword {
		return "", fmt.Errorf("hash password: longer than %d octets", maxPassword)
	}
	salt := make([]byte, argonSalt)
	rand.Read(salt) // never fails
	key := argonID(plain, salt, argonPasses, argonMemory, argonLanes, argonKey)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonPasses, argonLanes,
		base64Raw.EncodeToString(salt), base64Raw.EncodeToString(key)), nil
}

// VerifyPassword reports whether plain is the password of hash. A hash that
// is empty or malformed takes as long as a real one, so that the answer for an
// unknown user cannot be told from a wrong password by the clock.
func VerifyPassword(hash, plain string) bool {
	if len(plain) > maxPassword {
		return false
	}
	p, ok := parseHash(hash)
	if !ok {
		p = argonParams{memory: argonMemory, passes: argonPasses, lanes: argonLanes, salt: make([]byte, argonSalt), key: make([]byte, argonKey)}
	}
	key := argonID(plain, p.salt, p.passes, p.memory, p.lanes, uint32(len(p.key)))
	return subtle.ConstantTimeCompare(key, p.key) == 1 && ok
}

func argonID(plain string, salt []byte, passes, memory uint32, lanes uint8, size uint32) []byte {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	return argon2.IDKey([]byte(plain), salt, passes, memory, lanes, size)
}

type argonParams struct {
	memory, passes uint32
	lanes          uint8
	salt, key      []byte
}

// parseHash reads the PHC string of an argon2id hash and refuses costs that could stop the machine.
func parseHash(hash string) (p argonParams, ok bool) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, false
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.lanes); err != nil || n != 3 {
		return p, false
	}
	if p.memory < 8 || p.memory > 256*1024 || p.passes < 1 || p.passes > 16 || p.lanes < 1 || p.lanes > 16 {
		return p, false
	}
	var err error
	if p.salt, err = base64Raw.DecodeString(parts[4]); err != nil || len(p.salt) < 8 || len(p.salt) > 64 {
		return p, false
	}
	if p.key, err = base64Raw.DecodeString(parts[5]); err != nil || len(p.key) < 16 || len(p.key) > 64 {
		return p, false
	}
	return p, true
}
