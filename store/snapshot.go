package store

import "slices"

// Snapshot is all that routing and signalling need of an account at one moment. It is immutable: readers share it.
type Snapshot struct {
	Account   Account
	Users     []User      // ordered by extension, then id
	Devices   []Device    // ordered by id
	Trunks    []Trunk     // ordered by id
	Numbers   []Number    // ordered by number
	Groups    []RingGroup // ordered by id
	Mailboxes []Mailbox   // ordered by id

	users     map[ID]*User
	extension map[string]*User
	devices   map[ID]*Device
	lines     map[ID][]*Line
	trunks    map[ID]*Trunk
	numbers   map[ID]*Number
	e164      map[string]*Number
	groups    map[ID]*RingGroup
	mailboxes map[ID]*Mailbox
}

// NewSnapshot indexes the given rows; the caller must not change them afterwards.
func NewSnapshot(account Account, users []User, devices []Device) *Snapshot {
	s := &Snapshot{
		Account: account, Users: users, Devices: devices,
		users:     make(map[ID]*User, len(users)),
		extension: make(map[string]*User, len(users)),
		devices:   make(map[ID]*Device, len(devices)),
		lines:     make(map[ID][]*Line),
	}
	for i := range users {
		u := &users[i]
		s.users[u.ID] = u
		if u.Extension != "" {
			s.extension[u.Extension] = u
		}
	}
	for i := range devices {
		d := &devices[i]
		s.devices[d.ID] = d
		for j := range d.Lines {
			l := &d.Lines[j]
			s.lines[l.UserID] = append(s.lines[l.UserID], l)
		}
	}
	return s
}

// WithTrunks returns the snapshot with trunks and numbers; the caller must not change them afterwards.
func (s *Snapshot) WithTrunks(trunks []Trunk, numbers []Number) *Snapshot {
	with := *s
	with.Trunks, with.Numbers = trunks, numbers
	with.trunks = make(map[ID]*Trunk, len(trunks))
	for i := range trunks {
		with.trunks[trunks[i].ID] = &trunks[i]
	}
	with.numbers = make(map[ID]*Number, len(numbers))
	with.e164 = make(map[string]*Number, len(numbers))
	for i := range numbers {
		with.numbers[numbers[i].ID] = &numbers[i]
		with.e164[numbers[i].Number] = &numbers[i]
	}
	return &with
}

// WithGroups returns the snapshot with ring groups and shared mailboxes; the caller must not change them afterwards.
func (s *Snapshot) WithGroups(groups []RingGroup, mailboxes []Mailbox) *Snapshot {
	with := *s
	with.Groups, with.Mailboxes = groups, mailboxes
	with.groups = make(map[ID]*RingGroup, len(groups))
	for i := range groups {
		with.groups[groups[i].ID] = &groups[i]
	}
	with.mailboxes = make(map[ID]*Mailbox, len(mailboxes))
	for i := range mailboxes {
		with.mailboxes[mailboxes[i].ID] = &mailboxes[i]
	}
	return &with
}

// Group returns the ring group with this id, or nil.
func (s *Snapshot) Group(id ID) *RingGroup { return s.groups[id] }

// Mailbox returns the shared mailbox with this id, or nil.
func (s *Snapshot) Mailbox(id ID) *Mailbox { return s.mailboxes[id] }

// MailboxesOf returns the shared mailboxes that a user hears.
func (s *Snapshot) MailboxesOf(user ID) []*Mailbox {
	var all []*Mailbox
	for i := range s.Mailboxes {
		if slices.Contains(s.Mailboxes[i].MemberIDs, user) {
			all = append(all, &s.Mailboxes[i])
		}
	}
	return all
}

// Trunk returns the trunk with this id, or nil.
func (s *Snapshot) Trunk(id ID) *Trunk { return s.trunks[id] }

// Number returns the number with this id, or nil.
func (s *Snapshot) Number(id ID) *Number { return s.numbers[id] }

// NumberByE164 returns the number with these digits, "+" first, or nil.
func (s *Snapshot) NumberByE164(e164 string) *Number { return s.e164[e164] }

// User returns the user with this id, or nil.
func (s *Snapshot) User(id ID) *User { return s.users[id] }

// UserByExtension returns the user with this extension, or nil.
func (s *Snapshot) UserByExtension(ext string) *User { return s.extension[ext] }

// Device returns the device with this id, or nil.
func (s *Snapshot) Device(id ID) *Device { return s.devices[id] }

// LinesOf returns the lines on which a user can be reached.
func (s *Snapshot) LinesOf(user ID) []*Line { return s.lines[user] }
