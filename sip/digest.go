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
	"strconv"
	"strings"
	"sync"
	"time"

	sipmsg "github.com/emiago/sipgo/sip"

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
	key   [32]byte
	dummy string // a password that nobody has

	mu    sync.Mutex
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
	d := &digest{realm: realm, dir: dir, dummy: rand.Text(), born: time.Now(), used: make(map[uint64]use)}
	rand.Read(d.key[:])
	return d
}

// nonce makes a value that only this server can have made: age and serial, signed.
func (d *digest) nonce() string {
	var raw [32]byte
	d.mu.Lock()
	d.next++
	binary.BigEndian.PutUint64(raw[0:], uint64(time.Since(d.born)))
	binary.BigEndian.PutUint64(raw[8:], d.next)
	d.mu.Unlock()
	copy(raw[16:], d.sign(raw[:16]))
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

func (d *digest) sign(b []byte) []byte {
	h := hmac.New(sha256.New, d.key[:])
	h.Write(b)
	return h.Sum(nil)[:16]
}

// opened reads a nonce; ok says that it is ours.
func (d *digest) opened(nonce string) (made time.Duration, serial uint64, ok bool) {
	raw, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(raw) != 32 || !hmac.Equal(raw[16:], d.sign(raw[:16])) {
		return 0, 0, false
	}
	return time.Duration(binary.BigEndian.Uint64(raw)), binary.BigEndian.Uint64(raw[8:]), true
}

// challenges returns the values of WWW-Authenticate, the preferred algorithm
// first (RFC 8760 §2.3). MD5 is offered below for phones that know nothing else,
// and alone to those that cannot even read of another.
func (d *digest) challenges(stale, md5Only bool) []string {
	nonce := d.nonce()
	algorithms := []string{"SHA-256", "MD5"}
	if md5Only {
		algorithms = algorithms[1:]
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
	stale                 // right, but for a nonce that is too old or was used so far already
	granted
)

// check looks at the Authorization of a request.
func (d *digest) check(req *sipmsg.Request) (store.Line, outcome) {
	result := absent
	for _, h := range req.GetHeaders("Authorization") {
		c, ok := parseCredentials(h.Value())
		if !ok || c["realm"] != d.realm {
			continue
		}
		line, r := d.verify(c, string(req.Method), req.Recipient.String())
		if r == granted {
			return line, r
		}
		result = max(result, r)
	}
	return store.Line{}, result
}

// parseCredentials reads a Digest value. Other schemes are as no credentials.
func parseCredentials(s string) (map[string]string, bool) {
	scheme, rest, ok := strings.Cut(s, " ")
	if !ok || !strings.EqualFold(scheme, "Digest") || len(rest) > 4096 {
		return nil, false
	}
	c := make(map[string]string, 10)
	for _, item := range splitList(rest) {
		name, value, found := strings.Cut(item, "=")
		name, value = strings.ToLower(trim(name)), trim(value)
		if !found || name == "" {
			return nil, false
		}
		if _, twice := c[name]; twice {
			return nil, false
		}
		if strings.HasPrefix(value, `"`) {
			if value, ok = unquote(value); !ok {
				return nil, false
			}
		}
		c[name] = value
	}
	return c, c["username"] != "" && c["nonce"] != "" && c["response"] != ""
}

// verify computes what the phone must have computed. An unknown user costs the
// same time as a wrong password.
func (d *digest) verify(c map[string]string, method, uri string) (store.Line, outcome) {
	line, known := d.dir.Line(c["username"])
	password := string(line.Password)
	if !known {
		password = d.dummy
	}
	var hash func(string) string
	switch strings.ToUpper(c["algorithm"]) {
	case "", "MD5":
		hash = hashMD5
	case "SHA-256":
		hash = hashSHA256
	default:
		return store.Line{}, absent
	}
	ha1 := hash(c["username"] + ":" + d.realm + ":" + password)
	ha2 := hash(method + ":" + c["uri"])
	var want string
	switch c["qop"] {
	case "auth":
		want = hash(ha1 + ":" + c["nonce"] + ":" + c["nc"] + ":" + c["cnonce"] + ":auth:" + ha2)
	case "": // RFC 3261 §22.4: phones from before qop
		want = hash(ha1 + ":" + c["nonce"] + ":" + ha2)
	default:
		return store.Line{}, absent
	}
	right := subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(c["response"]))) == 1
	if !right || !known || password == "" || !sameURI(c["uri"], uri) {
		return store.Line{}, wrong
	}
	if !d.fresh(c) {
		return store.Line{}, stale
	}
	return line, granted
}

// fresh reports whether the nonce is ours, young, and used with a rising count (RFC 7616 §3.4.5).
func (d *digest) fresh(c map[string]string) bool {
	made, serial, ok := d.opened(c["nonce"])
	if !ok {
		return false
	}
	count := uint64(1)
	if c["qop"] != "" {
		var err error
		if count, err = strconv.ParseUint(c["nc"], 16, 32); err != nil || len(c["nc"]) != 8 || count == 0 {
			return false
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Since(d.born)
	if now-made > nonceLife || serial <= d.floor {
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

func hashMD5(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func hashSHA256(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
