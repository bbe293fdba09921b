package sqlite

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"slices"
	"strings"
	"sync"

	"pbx/store"
)

// world is all settings of all accounts at one moment. It is immutable: a change makes a new one.
type world struct {
	accounts map[store.ID]*store.Snapshot
	lines    map[string]*store.Line   // by SIP user name
	macs     map[string]*store.Device // by MAC address
	logins   map[string]*store.User   // by email in lower case and by username
	tokens   []tokenOf
	trunks   []store.Trunk            // of all accounts, ordered by id
	numbers  map[string]*store.Number // by E.164
}

// tokenOf is the SHA-256 of an account's provisioning token, so that comparing takes the same time whatever is asked for.
type tokenOf struct {
	account store.ID
	sum     [sha256.Size]byte
}

func newWorld(accounts map[store.ID]*store.Snapshot) *world {
	var users, devices int
	for _, s := range accounts {
		users += len(s.Users)
		devices += len(s.Devices)
	}
	w := &world{
		accounts: accounts,
		lines:    make(map[string]*store.Line, devices),
		macs:     make(map[string]*store.Device, devices),
		logins:   make(map[string]*store.User, users),
		numbers:  make(map[string]*store.Number),
	}
	for id, s := range accounts {
		if t := s.Account.ProvisioningToken; t != "" {
			w.tokens = append(w.tokens, tokenOf{id, sha256.Sum256([]byte(t))})
		}
		for i := range s.Users {
			u := &s.Users[i]
			for _, login := range []string{strings.ToLower(u.Email), u.Username} {
				if login != "" {
					w.logins[login] = u
				}
			}
		}
		for i := range s.Devices {
			d := &s.Devices[i]
			if d.MAC != "" {
				w.macs[d.MAC] = d
			}
			for j := range d.Lines {
				w.lines[d.Lines[j].Username] = &d.Lines[j]
			}
		}
		w.trunks = append(w.trunks, s.Trunks...)
		for i := range s.Numbers {
			w.numbers[s.Numbers[i].Number] = &s.Numbers[i]
		}
	}
	slices.SortFunc(w.trunks, func(a, b store.Trunk) int { return cmp.Compare(a.ID, b.ID) })
	return w
}

// with returns the world in which one account has changed.
func (w *world) with(s *store.Snapshot) *world {
	accounts := maps.Clone(w.accounts)
	accounts[s.Account.ID] = s
	return newWorld(accounts)
}

// load reads all settings and counts into memory.
func (db *DB) load(ctx context.Context) error {
	accounts, err := loadAccounts(ctx, db.read, db.vault)
	if err != nil {
		return err
	}
	users, err := loadUsers(ctx, db.read)
	if err != nil {
		return err
	}
	devices, err := loadDevices(ctx, db.read, db.vault)
	if err != nil {
		return err
	}
	trunks, err := loadTrunks(ctx, db.read, db.vault)
	if err != nil {
		return err
	}
	numbers, err := loadNumbers(ctx, db.read)
	if err != nil {
		return err
	}
	groups, err := loadGroups(ctx, db.read)
	if err != nil {
		return err
	}
	boxes, err := loadMailboxes(ctx, db.read)
	if err != nil {
		return err
	}
	snapshots := make(map[store.ID]*store.Snapshot, len(accounts))
	for _, a := range accounts {
		snapshots[a.ID] = newSnapshot(a, users[a.ID], devices[a.ID], trunks[a.ID], numbers[a.ID]).WithGroups(byID(groups[a.ID], boxes[a.ID]))
	}
	db.world.Store(newWorld(snapshots))
	return db.counts.load(ctx, db.read)
}

// newSnapshot puts the rows into the order that snapshots promise.
func newSnapshot(a store.Account, users []store.User, devices []store.Device, trunks []store.Trunk, numbers []store.Number) *store.Snapshot {
	slices.SortFunc(users, func(a, b store.User) int {
		return cmp.Or(cmp.Compare(a.Extension, b.Extension), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(devices, func(a, b store.Device) int { return cmp.Compare(a.ID, b.ID) })
	trunks, numbers = append([]store.Trunk{}, trunks...), append([]store.Number{}, numbers...)
	slices.SortFunc(trunks, func(a, b store.Trunk) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(numbers, func(a, b store.Number) int { return cmp.Compare(a.Number, b.Number) })
	return store.NewSnapshot(a, users, devices).WithTrunks(trunks, numbers)
}

// byID puts ring groups and mailboxes into the order that snapshots promise.
func byID(groups []store.RingGroup, boxes []store.Mailbox) ([]store.RingGroup, []store.Mailbox) {
	groups, boxes = append([]store.RingGroup{}, groups...), append([]store.Mailbox{}, boxes...)
	slices.SortFunc(groups, func(a, b store.RingGroup) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(boxes, func(a, b store.Mailbox) int { return cmp.Compare(a.ID, b.ID) })
	return groups, boxes
}

// HasUsers reports whether anybody could sign in; while nobody can, the house is set up.
func (db *DB) HasUsers(context.Context) (bool, error) {
	for _, s := range db.world.Load().accounts {
		if len(s.Users) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// Accounts returns the ids of all accounts, oldest first.
func (db *DB) Accounts() []store.ID {
	return slices.Sorted(maps.Keys(db.world.Load().accounts))
}

// Snapshot returns the settings of an account as they are now, or nil. It never waits.
func (db *DB) Snapshot(account store.ID) *store.Snapshot {
	return db.world.Load().accounts[account]
}

// Line finds a line of any account by its SIP user name. It never waits.
func (db *DB) Line(username string) (store.Line, bool) {
	if l, ok := db.world.Load().lines[username]; ok {
		return *l, true
	}
	return store.Line{}, false
}

// DeviceByMAC finds a device of an account by its MAC address in any spelling. The device belongs to a snapshot: do not change it.
func (db *DB) DeviceByMAC(account store.ID, mac string) (*store.Device, bool) {
	mac, ok := store.NormalizeMAC(mac)
	if !ok {
		return nil, false
	}
	d, ok := db.world.Load().macs[mac]
	if !ok || d.AccountID != account {
		return nil, false
	}
	return d, true
}

// AccountByProvisioningToken finds the account that a telephone's address names. All tokens are compared, each in constant time.
func (db *DB) AccountByProvisioningToken(token string) (account store.ID, found bool) {
	sum := sha256.Sum256([]byte(token))
	for _, t := range db.world.Load().tokens {
		if subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1 {
			account, found = t.account, true
		}
	}
	return account, found
}

// Account returns an account.
func (db *DB) Account(_ context.Context, account store.ID) (store.Account, error) {
	s := db.Snapshot(account)
	if s == nil {
		return store.Account{}, store.ErrNotFound
	}
	return s.Account, nil
}

// User returns a user of the account.
func (db *DB) User(_ context.Context, account, id store.ID) (store.User, error) {
	if s := db.Snapshot(account); s != nil {
		if u := s.User(id); u != nil {
			return *u, nil
		}
	}
	return store.User{}, store.ErrNotFound
}

// UserByLogin finds a user of any account by email, in any case, or username.
func (db *DB) UserByLogin(_ context.Context, login string) (store.User, error) {
	if u, ok := db.world.Load().logins[strings.ToLower(strings.TrimSpace(login))]; ok {
		return *u, nil
	}
	return store.User{}, store.ErrNotFound
}

// Users lists the users of an account, newest first. The query looks into name, email, username and extension.
func (db *DB) Users(_ context.Context, account store.ID, p Page) ([]store.User, string, error) {
	s := db.Snapshot(account)
	if s == nil {
		return nil, "", store.ErrNotFound
	}
	q := strings.ToLower(p.Query)
	return pageOf(s.Users, p, func(u *store.User) store.ID { return u.ID }, func(u *store.User) bool {
		return contains(q, u.Name, u.Email, u.Username, u.Extension)
	})
}

// Device returns a device of the account.
func (db *DB) Device(_ context.Context, account, id store.ID) (store.Device, error) {
	if s := db.Snapshot(account); s != nil {
		if d := s.Device(id); d != nil {
			return cloneDevice(*d), nil
		}
	}
	return store.Device{}, store.ErrNotFound
}

// DeviceFilter is store.DeviceFilter: the doors of the rooms above name that one.
type DeviceFilter = store.DeviceFilter

// Devices lists the devices of an account, newest first. The query looks into name, MAC address in any spelling, vendor and model.
func (db *DB) Devices(_ context.Context, account store.ID, f DeviceFilter, p Page) ([]store.Device, string, error) {
	s := db.Snapshot(account)
	if s == nil {
		return nil, "", store.ErrNotFound
	}
	q := strings.ToLower(p.Query)
	mac := strings.NewReplacer(":", "", "-", "", ".", "").Replace(q)
	items, next, err := pageOf(s.Devices, p, func(d *store.Device) store.ID { return d.ID }, func(d *store.Device) bool {
		return (f.Kind == "" || d.Kind == f.Kind) &&
			(f.Base == "" || d.BaseID == f.Base) &&
			(f.User == "" || slices.ContainsFunc(d.Lines, func(l store.Line) bool { return l.UserID == f.User })) &&
			(contains(q, d.Name, d.Vendor, d.Model) || mac != "" && strings.Contains(d.MAC, mac))
	})
	for i := range items {
		items[i] = cloneDevice(items[i])
	}
	return items, next, err
}

func cloneDevice(d store.Device) store.Device {
	d.Lines = slices.Clone(d.Lines)
	return d
}

// contains reports whether one of the texts contains the query, which is in lower case.
func contains(q string, texts ...string) bool {
	if q == "" {
		return true
	}
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(s), q) })
}

// counts holds how many messages each mailbox has, for the lamps of the telephones.
type counts struct {
	mu sync.RWMutex
	of map[mailbox]store.MailboxCounts
}

type mailbox struct{ account, id store.ID }

// set replaces the counts of some mailboxes; an empty mailbox needs no place.
func (c *counts) set(changed map[mailbox]store.MailboxCounts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for m, n := range changed {
		if n == (store.MailboxCounts{}) {
			delete(c.of, m)
		} else {
			c.of[m] = n
		}
	}
}

func (c *counts) load(ctx context.Context, q querier) error {
	c.of = make(map[mailbox]store.MailboxCounts)
	return each(ctx, q, func(scan scanner) error {
		var m mailbox
		var n store.MailboxCounts
		if err := scan(&m.account, &m.id, &n.New, &n.Old, &n.NewUrgent, &n.OldUrgent); err != nil {
			return err
		}
		c.of[m] = n
		return nil
	}, `SELECT account_id, mailbox, sum(read = 0), sum(read = 1), sum(read = 0 AND urgent = 1), sum(read = 1 AND urgent = 1) FROM messages WHERE recording = 0 GROUP BY account_id, mailbox`)
}

// LampCounts returns what the message lamps of a user show: the messages of their own and of the mailboxes they share.
func (db *DB) LampCounts(account, user store.ID) store.MailboxCounts {
	n := db.MailboxCounts(account, user)
	if s := db.Snapshot(account); s != nil {
		for _, m := range s.MailboxesOf(user) {
			n = n.Add(db.MailboxCounts(account, m.ID))
		}
	}
	return n
}

// MailboxCounts returns how many new and old messages a mailbox has. It never waits for the disk.
func (db *DB) MailboxCounts(account, user store.ID) store.MailboxCounts {
	db.counts.mu.RLock()
	defer db.counts.mu.RUnlock()
	return db.counts.of[mailbox{account, user}]
}
