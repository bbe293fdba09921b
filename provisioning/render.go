package provisioning

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pbx/store"
)

// File is one file as a phone gets it.
type File struct {
	Name        string
	ContentType string
	Body        []byte
	// Warnings are what the phone cannot do of what it was assigned, in whole sentences.
	Warnings []string
}

const (
	contentType = "text/plain"
	// voicemailNumber is what the message key dials.
	voicemailNumber = "*97"
	// registerExpires is how long a registration holds, in seconds: a phone that vanished is missed after this time.
	registerExpires = 600
	mask            = "********"
)

// authorityPath is where the house hands out the certificate of its authority.
const authorityPath = "/ca.pem"

// errNoServer says that we listen nowhere on the transport that a device is to use.
var errNoServer = errors.New("no SIP address for this transport")

// place is how a phone reaches us.
type place struct {
	host  string
	ports map[string]int // by transport
	base  string         // of our HTTP address, without the path
}

// phone is what templates see of a device.
type phone struct {
	DECT, OldKeys, Templated bool

	URL                         store.Secret // holds the token
	CA                          string       // where to fetch whom to trust; empty: nobody need be trusted
	AdminPassword, UserPassword store.Secret
	Server                      server
	NTP1, NTP2                  string
	Zone                        zone
	Accounts                    []account
	Handsets                    []handset
}

type server struct {
	Host      string
	Port      int
	Transport string
	Expires   int
}

// account is one SIP account of a phone. Those that are not Used are taken back.
type account struct {
	N                  int
	Used               bool
	Label, Name, User  string
	Password           store.Secret
	Voicemail          string
	Server             server
	SRTP               int // as Yealink counts: 0 off, 1 optional, 2 required
	OldKeys, Templated bool
}

// handset is one place for a handset at a DECT base.
type handset struct {
	N      int
	Name   string
	Lines  []int // numbers of accounts
	Mapped bool  // the base lets us choose the lines
}

// First is the line that the handset dials out on.
func (h handset) First() []int { return h.Lines[:min(1, len(h.Lines))] }

// Render returns the files that a device would get now, for a preview. Masked, they hold no password and no token.
// A DECT handset has no file of its own: it is in that of its base. A phone of a maker we do not know has none.
func (s *Server) Render(account, device store.ID, masked bool) ([]File, error) {
	snap := s.config.Store.Snapshot(account)
	if snap == nil {
		return nil, fmt.Errorf("render account %s: %w", account, store.ErrNotFound)
	}
	d := snap.Device(device)
	if d == nil {
		return nil, fmt.Errorf("render device %s: %w", device, store.ErrNotFound)
	}
	if d.Kind == store.DECTHandset {
		base := snap.Device(d.BaseID)
		if base == nil {
			return nil, fmt.Errorf("render base of device %s: %w", device, store.ErrNotFound)
		}
		d = base
	}
	v := vendorOf(d)
	if v == nil || d.MAC == "" {
		return nil, nil
	}
	model := v.modelOf(d)
	var files []File
	for _, rule := range v.Files {
		name := strings.NewReplacer(formMAC, d.MAC, formCommon, model.commonFile).Replace(rule.Form)
		if rule.template == "" || name == "" {
			continue
		}
		f, err := s.render(v, rule, name, model, snap, d, s.place(nil, netip.Addr{}), masked)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// vendorOf returns the maker of a device, or nil.
func vendorOf(d *store.Device) *Vendor {
	if d.Vendor != "" {
		return vendorNamed(strings.ToLower(d.Vendor))
	}
	all := vendors()
	for i := range all {
		if all[i].owns(d.MAC) {
			return &all[i]
		}
	}
	return nil
}

// modelOf returns what we know about the product; of an unknown one only that it takes the lines it was given.
func (v *Vendor) modelOf(d *store.Device) Model {
	if m, ok := v.model(d.Model); ok {
		return m
	}
	m := Model{Vendor: v.Name, Model: d.Model, Kind: d.Kind, Lines: max(1, len(d.Lines)), oldKeys: true}
	if d.Kind == store.DECTBase {
		m.Lines, m.handsets = store.MaxLines, linesPerHandset
	}
	return m
}

// render makes one file. d is nil for a common file that was asked for by a phone we do not know.
func (s *Server) render(v *Vendor, rule FileRule, name string, m Model, snap *store.Snapshot, d *store.Device, at place, masked bool) (File, error) {
	p := phone{
		DECT: m.Kind == store.DECTBase, OldKeys: m.oldKeys, Templated: m.templated,
		NTP1: s.config.NTP[0], Zone: s.zone(snap.Account.Timezone),
	}
	if len(s.config.NTP) > 1 {
		p.NTP2 = s.config.NTP[1]
	}
	f := File{Name: name, ContentType: contentType}
	if rule.Secret {
		var err error
		if f.Warnings, err = p.fill(m, snap, d, at, masked); err != nil {
			return File{}, fmt.Errorf("render %s: %w", name, err)
		}
	}
	var b bytes.Buffer
	if err := v.templates.ExecuteTemplate(&b, rule.template, p); err != nil {
		return File{}, fmt.Errorf("render %s: %w", name, err)
	}
	f.Body = b.Bytes()
	return f, nil
}

// fill adds what belongs to one device.
func (p *phone) fill(m Model, snap *store.Snapshot, d *store.Device, at place, masked bool) ([]string, error) {
	p.Server = server{Host: at.host, Port: at.ports[d.Transport], Transport: d.Transport, Expires: registerExpires}
	if p.Server.Host == "" || p.Server.Port == 0 {
		return nil, errNoServer
	}
	hide := func(s store.Secret) store.Secret {
		if masked && s != "" {
			return mask
		}
		return s
	}
	p.URL = store.Secret(at.base + pathPrefix + string(hide(snap.Account.ProvisioningToken)) + "/")
	if d.Transport == "tls" {
		p.CA = at.base + authorityPath
	}
	p.AdminPassword = hide(snap.Account.PhoneAdminPassword)
	p.UserPassword = hide(userPassword(snap.Account.PhoneAdminPassword, d.MAC))

	slots, warnings := slotsOf(m, snap, d)
	p.Accounts = make([]account, m.Lines)
	for i := range p.Accounts {
		a := account{N: i + 1, Server: p.Server, OldKeys: p.OldKeys, Templated: p.Templated}
		if i < len(slots.lines) && slots.lines[i] != nil {
			a.fill(snap, slots.lines[i])
			a.Password = hide(a.Password)
		}
		p.Accounts[i] = a
	}
	p.Handsets = slots.handsets
	return warnings, nil
}

// fill names the person behind a line.
func (a *account) fill(snap *store.Snapshot, l *store.Line) {
	a.Used, a.User, a.Password, a.Voicemail = true, l.Username, l.Password, voicemailNumber
	a.Label, a.Name = l.Label, l.Label
	if d := snap.Device(l.DeviceID); d != nil {
		a.SRTP = max(slices.Index([]string{"off", "optional", "required"}, d.SRTP), 0)
	}
	if u := snap.User(l.UserID); u != nil {
		a.Name = u.Name
		if a.Label == "" {
			a.Label = u.Extension
		}
		if a.Label == "" {
			a.Label = u.Name
		}
	}
}

// userPassword is the web password of the phone's lesser user: random to all who do not know the admin password, and
// the same each time, so that the file does not change by itself.
func userPassword(admin store.Secret, mac string) store.Secret {
	if admin == "" {
		return ""
	}
	h := hmac.New(sha256.New, []byte(admin))
	h.Write([]byte("web user of " + mac))
	return store.Secret(strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)))[:16])
}

// zone describes an account's time zone; one that cannot be loaded is UTC, which store.Account.Validate rules out.
func (s *Server) zone(name string) zone {
	loc, err := time.LoadLocation(name)
	if err != nil {
		loc = time.UTC
	}
	return zoneOf(loc, time.Now())
}
