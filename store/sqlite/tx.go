package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"time"

	"pbx/event"
	"pbx/store"
)

// Tx is one change of an account's settings, seen and made as a whole. It is valid inside the function given to [DB.Update].
type Tx struct {
	db  *DB
	ctx context.Context // of the transaction
	sql *sql.Tx
	who store.Actor
	at  time.Time

	id      store.ID
	account store.Account
	users   map[store.ID]*store.User // pointers into the snapshot, or to the changed copy
	devices map[store.ID]*store.Device
	trunks  map[store.ID]*store.Trunk
	numbers map[store.ID]*store.Number
	groups  map[store.ID]*store.RingGroup
	boxes   map[store.ID]*store.Mailbox
	changed bool // the snapshot must be made anew

	entries   []store.Activity
	news      []event.News
	voicemail []voicemailChange
	mailboxes map[mailbox]store.MailboxCounts // touched ones
	files     []store.ID                      // messages whose sound goes after the commit
	gone      []string                        // other files that go after it
	placed    []string                        // files that go unless it comes
}

type voicemailChange struct {
	kind    string
	mailbox mailbox
	message store.ID
}

// Update is the one write path of settings. fn changes what it wants through
// tx; each change is validated, counts a version up and leaves an activity
// entry. Then the new snapshot is checked, everything is committed at once, and
// only after that readers see it and the news are told. If anything fails,
// nothing has happened.
//
// fn must not call methods of db that write: they would wait for it.
func (db *DB) Update(ctx context.Context, who store.Actor, account store.ID, fn func(tx *Tx) error) error {
	if err := db.acquire(ctx); err != nil {
		return err
	}
	defer db.yield()
	tx := &Tx{db: db, who: who, at: now(), mailboxes: make(map[mailbox]store.MailboxCounts)}
	if account != "" {
		s := db.Snapshot(account)
		if s == nil {
			return store.ErrNotFound
		}
		tx.use(s)
	}
	// From here on the change runs to its end: cutting it off in the middle of the commit would leave the caller in doubt.
	tx.ctx = context.WithoutCancel(ctx)
	var err error
	if tx.sql, err = db.write.BeginTx(tx.ctx, nil); err != nil {
		return fmt.Errorf("begin change: %w", failure(err))
	}
	defer tx.sql.Rollback() // does nothing after the commit
	defer func() { db.removeFiles(tx.placed) }()
	if err := fn(tx); err != nil {
		return failure(err)
	}
	var next *store.Snapshot
	if tx.changed {
		next = tx.snapshot()
		if db.check != nil {
			if err := db.check(next); err != nil {
				return err
			}
		}
	}
	if err := tx.finish(); err != nil {
		return fmt.Errorf("save change: %w", failure(err))
	}
	if err := tx.sql.Commit(); err != nil {
		return fmt.Errorf("save change: %w", failure(err))
	}
	tx.placed = nil
	tx.show(next)
	return nil
}

// use begins with the rows of a snapshot.
func (tx *Tx) use(s *store.Snapshot) {
	tx.id, tx.account = s.Account.ID, s.Account
	tx.users = make(map[store.ID]*store.User, len(s.Users))
	for i := range s.Users {
		tx.users[s.Users[i].ID] = &s.Users[i]
	}
	tx.devices = make(map[store.ID]*store.Device, len(s.Devices))
	for i := range s.Devices {
		tx.devices[s.Devices[i].ID] = &s.Devices[i]
	}
	tx.trunks = make(map[store.ID]*store.Trunk, len(s.Trunks))
	for i := range s.Trunks {
		tx.trunks[s.Trunks[i].ID] = &s.Trunks[i]
	}
	tx.numbers = make(map[store.ID]*store.Number, len(s.Numbers))
	for i := range s.Numbers {
		tx.numbers[s.Numbers[i].ID] = &s.Numbers[i]
	}
	tx.groups = make(map[store.ID]*store.RingGroup, len(s.Groups))
	for i := range s.Groups {
		tx.groups[s.Groups[i].ID] = &s.Groups[i]
	}
	tx.boxes = make(map[store.ID]*store.Mailbox, len(s.Mailboxes))
	for i := range s.Mailboxes {
		tx.boxes[s.Mailboxes[i].ID] = &s.Mailboxes[i]
	}
}

// snapshot is the account as it will be after the commit.
func (tx *Tx) snapshot() *store.Snapshot {
	users := make([]store.User, 0, len(tx.users))
	for _, u := range tx.users {
		users = append(users, *u)
	}
	devices := make([]store.Device, 0, len(tx.devices))
	for _, d := range tx.devices {
		devices = append(devices, *d)
	}
	trunks := make([]store.Trunk, 0, len(tx.trunks))
	for _, t := range tx.trunks {
		trunks = append(trunks, *t)
	}
	numbers := make([]store.Number, 0, len(tx.numbers))
	for _, n := range tx.numbers {
		numbers = append(numbers, *n)
	}
	groups := make([]store.RingGroup, 0, len(tx.groups))
	for _, g := range tx.groups {
		groups = append(groups, *g)
	}
	boxes := make([]store.Mailbox, 0, len(tx.boxes))
	for _, m := range tx.boxes {
		boxes = append(boxes, *m)
	}
	return newSnapshot(tx.account, users, devices, trunks, numbers).WithGroups(byID(groups, boxes))
}

// finish writes the activity and counts the mailboxes that were touched.
func (tx *Tx) finish() error {
	for i := range tx.entries {
		if err := insertActivity(tx.ctx, tx.sql, &tx.entries[i]); err != nil {
			return err
		}
	}
	for m := range tx.mailboxes {
		n, err := countMailbox(tx.ctx, tx.sql, m)
		if err != nil {
			return err
		}
		tx.mailboxes[m] = n
	}
	return nil
}

// show lets the rest of the house see what was committed.
func (tx *Tx) show(next *store.Snapshot) {
	db := tx.db
	if next != nil {
		db.world.Store(db.world.Load().with(next))
	}
	db.counts.set(tx.mailboxes)
	for _, id := range tx.files {
		db.removeSound(id)
	}
	db.removeFiles(tx.gone)
	for _, v := range tx.voicemail {
		tx.news = append(tx.news, db.voicemailNews(v, tx.mailboxes[v.mailbox]))
	}
	for i := range tx.entries {
		tx.news = append(tx.news, activityNews(&tx.entries[i]))
	}
	db.publish(tx.news)
}

// Account returns the account as this transaction sees it.
func (tx *Tx) Account() store.Account { return tx.account }

// User returns a user as this transaction sees it.
func (tx *Tx) User(id store.ID) (store.User, error) {
	if u, ok := tx.users[id]; ok {
		return *u, nil
	}
	return store.User{}, store.ErrNotFound
}

// Users returns all users as this transaction sees them, oldest first.
func (tx *Tx) Users() []store.User {
	users := make([]store.User, 0, len(tx.users))
	for _, id := range slices.Sorted(maps.Keys(tx.users)) {
		users = append(users, *tx.users[id])
	}
	return users
}

// Device returns a device as this transaction sees it.
func (tx *Tx) Device(id store.ID) (store.Device, error) {
	if d, ok := tx.devices[id]; ok {
		return cloneDevice(*d), nil
	}
	return store.Device{}, store.ErrNotFound
}

// Devices returns all devices as this transaction sees them, oldest first.
func (tx *Tx) Devices() []store.Device {
	devices := make([]store.Device, 0, len(tx.devices))
	for _, id := range slices.Sorted(maps.Keys(tx.devices)) {
		devices = append(devices, cloneDevice(*tx.devices[id]))
	}
	return devices
}

// Note adds an activity entry beyond those that each change leaves by itself. Detail becomes JSON; it must hold no secret.
func (tx *Tx) Note(event, resource string, detail any) {
	tx.entries = append(tx.entries, store.Activity{
		ID: store.NewID(store.PrefixActivity), AccountID: tx.id, At: tx.at, Count: 1,
		Event: event, Resource: resource, Actor: tx.who, Outcome: store.Success, Detail: encode(detail),
	})
}

// changedObject leaves the entry and the news of one changed record.
func (tx *Tx) changedObject(kind, verb string, id store.ID, version int64, users []store.ID, detail any) {
	tx.Note(kind+"."+verb, kind+"/"+string(id), detail)
	tx.news = append(tx.news, event.News{
		Kind: event.ObjectChanged, Account: tx.id, Users: users,
		Data: event.Object{Type: kind, ID: id, Version: version, Deleted: verb == "delete", Actor: tx.who.Name},
	})
}

// need returns ErrNotFound outside of an account: only CreateAccount works there.
func (tx *Tx) need() error {
	if tx.id == "" {
		return store.ErrNotFound
	}
	return nil
}

// stale refuses a change that was made on an older version than the present one.
func stale(ifVersion, version int64) error {
	if ifVersion != 0 && ifVersion != version {
		return store.ErrStale
	}
	return nil
}

// exec runs a statement of the change.
func (tx *Tx) exec(what, query string, args ...any) error {
	if _, err := tx.sql.ExecContext(tx.ctx, query, args...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// field is one value of a record in the spelling of the API, for the activity.
type field struct {
	name   string
	value  any
	secret bool // only whether it is set, and that it changed, is told
}

const redacted = "[redacted]"

// change is the detail of an activity entry.
type change struct {
	Before map[string]any `json:"before,omitempty"`
	After  map[string]any `json:"after,omitempty"`
}

// difference keeps the fields that changed. Either side may be nil: created, deleted.
func difference(before, after []field) change {
	var c change
	for i, b := range before {
		if after == nil || !reflect.DeepEqual(b.value, after[i].value) {
			c.Before = note(c.Before, b)
		}
	}
	for i, a := range after {
		if before == nil || !reflect.DeepEqual(a.value, before[i].value) {
			c.After = note(c.After, a)
		}
	}
	return c
}

func note(m map[string]any, f field) map[string]any {
	if m == nil {
		m = make(map[string]any)
	}
	m[f.name] = f.value
	if f.secret {
		m[f.name] = ""
		if !reflect.ValueOf(f.value).IsZero() {
			m[f.name] = redacted
		}
	}
	return m
}

// encode makes the JSON that is kept. What cannot be encoded is a mistake in the caller and is shown as such.
func encode(v any) []byte {
	if v == nil {
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		text, _ = json.Marshal(err.Error()) // a string always encodes
	}
	return text
}

// removeSound deletes a message's file. If that fails it is tried again at the next start.
func (db *DB) removeSound(id store.ID) {
	if err := os.Remove(db.MessagePath(id)); err != nil && !os.IsNotExist(err) {
		db.log.Warn("voicemail file not removed", "message", id, "err", err)
	}
}
