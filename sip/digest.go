package sip

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
	"sync"
	"time"

	"pbx/store"
)

const (
	nonceLife = 5 * time.Minute
	maxNonces = 65536 // in use at one time; 10,000 phones use as many
)

// digest is the server side of RFC 7616 as SIP uses it (RFC 3261 §22, RFC 8760).
type digest struct {
	realm string
	dir   Directory
	dummy string // a password that nobody has

	mu    sync.Mutex
	mac   hash.Hash // keyed
	born  time.Time // nonces carry the time since then, so that clock jumps do not age them
	used  map[uint64]use
	order []uint64 // of first use
	floor uint64   // nonces with a serial up to this one were forgotten
	next  uint64
}

// use is how far a nonce was used.
type use struct {
	count   uint32
	expires time.Duration // since born
}

func newDigest(realm string, dir Directory) *digest {
	var key [32]byte
	rand.Read(key[:])
	return &digest{realm: realm, dir: dir, dummy: rand.Text(), mac: hmac.New(sha256.New, key[:]), born: time.Now(), used: make(map[uint64]use)}
}

// nonce makes a value that only this server can have made: when, which is also
// its serial since no two are made at one time, and a signature of that.
func (d *digest) nonce() string {
	var raw [18]byte
	d.mu.Lock()
	d.next = max(d.next+1, uint64(time.Since(d.born)))
	binary.BigEndian.PutUint64(raw[:], d.next)
	d.sign(raw[:8], raw[8:])
	d.mu.Unlock()
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// sign writes the first octets of the signature of b to sig; mu is held.
func (d *digest) sign(b, sig []byte) {
	var sum [sha256.Size]byte
	d.mac.Reset()
	d.mac.Write(b)
	copy(sig, d.mac.Sum(sum[:0]))
}

// opened reads a nonce; ok says that it is ours. mu is held.
func (d *digest) opened(nonce string) (serial uint64, ok bool) {
	var raw, sig [18]byte
	if len(nonce) != base64.RawURLEncoding.EncodedLen(len(raw)) {
		return 0, false
	}
	if _, err := base64.RawURLEncoding.Decode(raw[:], []byte(nonce)); err != nil {
		return 0, false
	}
	d.sign(raw[:8], sig[8:])
	return binary.BigEndian.Uint64(raw[:]), hmac.Equal(raw[8:], sig[8:])
}

// challenges returns the values of WWW-Authenticate, the preferred algorithm
// first (RFC 8760 §2.3). MD5 is offered below for phones that know nothing else,
// and alone to those that cannot even read of another; see store.Line.Digest.
func (d *digest) challenges(stale bool, choice string) []string {
	nonce := d.nonce()
	algorithms := []string{"SHA-256", "MD5"}
	switch choice {
	case store.DigestMD5:
		algorithms = algorithms[1:]
	case store.DigestSHA256:
		algorithms = algorithms[:1]
	}
	var all []string
	for _, algorithm := range algorithms {
		c := `Digest realm=` + quote(d.realm) + `, qop="auth", nonce="` + nonce + `", algorithm=` + algorithm
		if stale {
			c += ", stale=true"
		}
		all = append(all, c)
	}
	return all
}

// outcome of a look at credentials.
type outcome int

const (
	absent outcome = iota // no credentials that we understand
	wrong                 // unknown user or wrong password: nobody learns which
	weak                  // right, but by an algorithm that the device must not use
	stale                 // right, but for a nonce that is too old or was used so far already
	granted
)

// check looks at the credentials of a request.
func (d *digest) check(method, uri string, all []credentials) (store.Line, outcome) {
	result := absent
	for i := range all {
		if all[i].realm != d.realm {
			continue
		}
		line, r := d.verify(&all[i], method, uri)
		if r == granted {
			return line, r
		}
		result = max(result, r)
	}
	return store.Line{}, result
}

// credentials are the parameters of an Authorization that we use.
type credentials struct {
	username, realm, nonce, uri, response, algorithm, cnonce, qop, nc string
}

// place returns where the parameter of that name belongs, nil for those without use.
func (c *credentials) place(name string) *string {
	switch name {
	case "username":
		return &c.username
	case "realm":
		return &c.realm
	case "nonce":
		return &c.nonce
	case "uri":
		return &c.uri
	case "response":
		return &c.response
	case "algorithm":
		return &c.algorithm
	case "cnonce":
		return &c.cnonce
	case "qop":
		return &c.qop
	case "nc":
		return &c.nc
	}
	return nil
}

// parseCredentials reads a Digest value. Other schemes are as no credentials.
func parseCredentials(s string) (credentials, bool) {
	var c credentials
	scheme, rest, ok := strings.Cut(s, " ")
	if !ok || !strings.EqualFold(scheme, "Digest") || len(rest) > 4096 {
		return c, false
	}
	for more := true; more; {
		var item string
		item, rest, more = cutOutside(rest, ',')
		name, value, found := strings.Cut(item, "=")
		name, value = strings.ToLower(trim(name)), trim(value)
		if !found || name == "" {
			return c, false
		}
		if strings.HasPrefix(value, `"`) {
			if value, ok = unquote(value); !ok {
				return c, false
			}
		}
		place := c.place(name)
		if place == nil {
			continue
		}
		if *place != "" { // twice
			return c, false
		}
		*place = value
	}
	return c, c.username != "" && c.nonce != "" && c.response != ""
}

// verify computes what the phone must have computed. An unknown user costs the
// same time as a wrong password.
func (d *digest) verify(c *credentials, method, uri string) (store.Line, outcome) {
	line, known := d.dir.Line(c.username)
	password := string(line.Password)
	if !known {
		password = d.dummy
	}
	var hash func(...string) string
	switch {
	case c.algorithm == "", strings.EqualFold(c.algorithm, "MD5"):
		hash = hashMD5
	case strings.EqualFold(c.algorithm, "SHA-256"):
		hash = hashSHA256
	default:
		return store.Line{}, absent
	}
	ha1 := hash(c.username, d.realm, password)
	ha2 := hash(method, c.uri)
	var want string
	switch c.qop {
	case "auth":
		want = hash(ha1, c.nonce, c.nc, c.cnonce, "auth", ha2)
	case "": // RFC 3261 §22.4: phones from before qop
		want = hash(ha1, c.nonce, ha2)
	default:
		return store.Line{}, absent
	}
	right := subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(c.response))) == 1
	if !right || !known || password == "" || !sameURI(c.uri, uri) {
		return store.Line{}, wrong
	}
	if line.Digest == store.DigestSHA256 && !strings.EqualFold(c.algorithm, "SHA-256") {
		return store.Line{}, weak
	}
	if !d.fresh(c) {
		return store.Line{}, stale
	}
	return line, granted
}

// fresh reports whether the nonce is ours, young, and used with a rising count (RFC 7616 §3.4.5).
func (d *digest) fresh(c *credentials) bool {
	count := uint64(1)
	if c.qop != "" {
		var err error
		if count, err = strconv.ParseUint(c.nc, 16, 32); err != nil || len(c.nc) != 8 || count == 0 {
			return false
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	serial, ok := d.opened(c.nonce)
	made, now := time.Duration(serial), time.Since(d.born)
	if !ok || now-made > nonceLife || serial <= d.floor {
		return false
	}
	u, seen := d.used[serial]
	if seen && uint32(count) <= u.count {
		return false
	}
	if !seen {
		d.forget(now)
		d.order = append(d.order, serial)
	}
	d.used[serial] = use{uint32(count), made + nonceLife}
	return true
}

// forget drops uses whose nonce is too old anyway, and the oldest when there are
// too many; what was dropped early counts as stale.
func (d *digest) forget(now time.Duration) {
	for len(d.order) > 0 {
		oldest := d.order[0]
		if d.used[oldest].expires > now {
			if len(d.order) < maxNonces {
				return
			}
			d.floor = max(d.floor, oldest)
		}
		delete(d.used, oldest)
		d.order = d.order[1:]
	}
}

// sameURI compares the digest-uri with the Request-URI. Phones leave out the user,
// parameters or the port there, and RFC 3261 §22.4 item 8 calls another user no
// failure, so scheme and host decide. A replay is stopped by the nonce count.
func sameURI(a, b string) bool {
	if a == b {
		return true
	}
	ua, ok1 := parseURI(a)
	ub, ok2 := parseURI(b)
	return ok1 && ok2 && ua.Scheme == ub.Scheme && strings.EqualFold(ua.Host, ub.Host)
}

// hashMD5 hashes parts joined by colons, as hexadecimal digits.
func hashMD5(parts ...string) string {
	var buf [512]byte
	sum := md5.Sum(joined(buf[:0], parts))
	return hexOf(sum[:])
}

func hashSHA256(parts ...string) string {
	var buf [512]byte
	sum := sha256.Sum256(joined(buf[:0], parts))
	return hexOf(sum[:])
}

func hexOf(sum []byte) string {
	var buf [64]byte
	return string(hex.AppendEncode(buf[:0], sum))
}

func joined(b []byte, parts []string) []byte {
	for i, p := range parts {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, p...)
	}
	return b
}
