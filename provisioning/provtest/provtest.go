// Package provtest behaves like the boot loader of a phone: it fetches files in
// the order in which phones do and reads them as phones do. It shares no code
// with the templates it checks.
package provtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Config is a parsed file of "key = value" lines.
type Config struct {
	// Values has the last value of each key, %NULL% turned into "".
	Values map[string]string
	// Counts tells how often each key stands in the file.
	Counts map[string]int
	// Pairs are all lines in order.
	Pairs [][2]string
}

// Account is one SIP account as a phone would register it.
type Account struct {
	N           int
	Label       string
	DisplayName string
	User        string
	AuthUser    string
	Password    string
	Host        string
	Port        int
	Transport   string // "udp", "tcp", "tls"
	Expires     int
	Voicemail   string
	SRTP        int
	MWI         bool
}

const header = "#!version:1.0.0.1"

var (
	pair       = regexp.MustCompile(`^([A-Za-z0-9_.]+) = (.*)$`)
	accountKey = regexp.MustCompile(`^account\.(\d+)\.enable$`)
)

// ParseYealink reads a Yealink configuration file, and fails on all that a phone might stumble over.
func ParseYealink(body []byte) (*Config, error) {
	text := string(body)
	if !utf8.ValidString(text) {
		return nil, errors.New("not UTF-8")
	}
	lines := strings.Split(text, "\n")
	if lines[0] != header {
		return nil, fmt.Errorf("first line is %q, not %q", lines[0], header)
	}
	if lines[len(lines)-1] != "" {
		return nil, errors.New("last line is not ended")
	}
	c := &Config{Values: make(map[string]string), Counts: make(map[string]int)}
	for i, line := range lines[1 : len(lines)-1] {
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		m := pair.FindStringSubmatch(line)
		if m == nil || strings.ContainsFunc(line, unicode.IsControl) {
			return nil, fmt.Errorf("line %d is no setting: %q", i+2, line)
		}
		value := m[2]
		switch {
		case value == "%NULL%":
			value = ""
		case value == "", strings.TrimSpace(value) != value, strings.Contains(value, "%NULL%"):
			return nil, fmt.Errorf("line %d has a doubtful value: %q", i+2, line)
		}
		c.Values[m[1]] = value
		c.Counts[m[1]]++
		c.Pairs = append(c.Pairs, [2]string{m[1], value})
	}
	return c, nil
}

// Accounts returns the accounts that are switched on, in the order of the file.
func (c *Config) Accounts() ([]Account, error) {
	var accounts []Account
	for _, p := range c.Pairs {
		m := accountKey.FindStringSubmatch(p[0])
		if m == nil || p[1] != "1" {
			continue
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, err
		}
		a, err := c.account(n)
		if err != nil {
			return nil, fmt.Errorf("account %d: %w", n, err)
		}
		accounts = append(accounts, a)
	}
	return accounts, nil
}

func (c *Config) account(n int) (Account, error) {
	key := fmt.Sprintf("account.%d.", n)
	a := Account{
		N: n, Label: c.Values[key+"label"], DisplayName: c.Values[key+"display_name"],
		User: c.Values[key+"user_name"], AuthUser: c.Values[key+"auth_name"], Password: c.Values[key+"password"],
		Voicemail: c.Values[fmt.Sprintf("voice_mail.number.%d", n)], MWI: c.Values[key+"subscribe_mwi"] == "1",
	}
	where := key + "sip_server.1."
	if t := c.Values[key+"sip_server.template"]; t != "" {
		where = "template." + t + ".sip_server.1."
	}
	a.Host = c.Values[where+"address"]
	var err1, err2, err3 error
	a.Port, err1 = strconv.Atoi(c.Values[where+"port"])
	a.Expires, err2 = strconv.Atoi(c.Values[where+"expires"])
	a.SRTP, err3 = strconv.Atoi(c.Values[key+"srtp_encryption"])
	if err := errors.Join(err1, err2, err3); err != nil {
		return Account{}, err
	}
	switch t := c.Values[where+"transport_type"]; t {
	case "0":
		a.Transport = "udp"
	case "1":
		a.Transport = "tcp"
	case "2":
		a.Transport = "tls"
	default:
		return Account{}, fmt.Errorf("transport type %q", t)
	}
	for name, v := range map[string]string{"user": a.User, "auth user": a.AuthUser, "password": a.Password, "host": a.Host} {
		if v == "" {
			return Account{}, fmt.Errorf("no %s", name)
		}
	}
	return a, nil
}

// Phone is a phone that boots.
type Phone struct {
	Client    *http.Client // nil: http.DefaultClient
	Base      string       // the address it was given, with the token, ending in a slash
	MAC       string       // 12 lower-case hexadecimal digits
	UserAgent string
	Common    string // the common file of its model: "y000000000096.cfg"
}

// Request is one file that a phone asked for, and the answer.
type Request struct {
	File   string
	Status int
	Body   []byte
	Header http.Header
}

// Boot asks for the files in the order of a Yealink phone and returns what it was answered. A boot file that exists
// would end the sequence; one that does not, is passed over.
func (p Phone) Boot(ctx context.Context) ([]Request, error) {
	var all []Request
	for _, file := range []string{p.MAC + ".boot", "y000000000000.boot", p.Common, p.MAC + ".cfg"} {
		if file == "" {
			continue
		}
		r, err := p.Fetch(ctx, http.MethodGet, file, nil)
		if err != nil {
			return all, err
		}
		all = append(all, r)
		if r.Status == http.StatusOK && strings.HasSuffix(file, ".boot") {
			break
		}
	}
	return all, nil
}

// Accounts boots the phone and returns the accounts that it would register.
func (p Phone) Accounts(ctx context.Context) ([]Account, error) {
	all, err := p.Boot(ctx)
	if err != nil {
		return nil, err
	}
	last := all[len(all)-1]
	if last.Status != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", last.File, last.Status)
	}
	c, err := ParseYealink(last.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", last.File, err)
	}
	return c.Accounts()
}

// Fetch asks for one file.
func (p Phone) Fetch(ctx context.Context, method, file string, header http.Header) (Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.Base+file, nil)
	if err != nil {
		return Request{}, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", p.UserAgent)
	client := p.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return Request{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return Request{}, err
	}
	return Request{File: file, Status: res.StatusCode, Body: body, Header: res.Header}, nil
}
