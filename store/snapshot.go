package store

// Snapshot is all that routing and signalling need of an account at one moment. It is immutable: readers share it.
type Snapshot struct {
	Account Account
	Users   []User   // ordered by extension, then id
	Devices []Device // ordered by id

	users     map[ID]*User
	extension map[string]*User
	devices   map[ID]*Device
	lines     map[ID][]*Line
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

// User returns the user with this id, or nil.
func (s *Snapshot) User(id ID) *User { return s.users[id] }

// UserByExtension returns the user with this extension, or nil.
func (s *Snapshot) UserByExtension(ext string) *User { return s.extension[ext] }

// Device returns the device with this id, or nil.
func (s *Snapshot) Device(id ID) *Device { return s.devices[id] }

// LinesOf returns the lines on which a user can be reached.
func (s *Snapshot) LinesOf(user ID) []*Line { return s.lines[user] }
