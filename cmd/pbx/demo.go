package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"pbx/call/calltest"
	"pbx/media"
	"pbx/sip"
	"pbx/store"
	"pbx/store/sqlite"
)

const demoLogin = "demo@branchline.example"

// colleagues are the people of the sample office, with the pitch of their voices in hertz.
var colleagues = []struct {
	name  string
	voice float64
}{
	{"Ada Lovelace", 494},
	{"Grace Hopper", 440},
	{"Alan Turing", 330},
	{"Katherine Johnson", 520},
	{"Edsger Dijkstra", 294},
	{"Radia Perlman", 587},
	{"Claude Shannon", 392},
}

// demo runs the house with a sample office whose simulated phones register, call each other, hold and leave messages.
func demo(ctx context.Context, cfg *config, stdout, stderr io.Writer) (err error) {
	if cfg.data == "" {
		if cfg.data, err = os.MkdirTemp("", "pbx-demo-*"); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(cfg.data)) }()
	}
	var raw [6]byte
	rand.Read(raw[:])
	cfg.adminEmail, cfg.adminPassword = demoLogin, "demo-"+hex.EncodeToString(raw[:])
	cfg.drain = 0
	h, err := open(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	lines, err := furnish(ctx, h.db)
	if err != nil {
		return errors.Join(fmt.Errorf("demo: %w", err), h.close())
	}
	h.welcome(stdout)
	fmt.Fprintf(stdout, "Sample office with %d simulated phones. Sign in as %s", len(lines), cfg.adminEmail)
	if lines[0].fresh {
		fmt.Fprintf(stdout, " with the password %s", cfg.adminPassword)
	}
	fmt.Fprintf(stdout, "\nYour own phone can join: add a softphone under Devices. Ctrl-C ends it all.\n")
	office := &office{library: media.NewLibrary(""), network: sip.HostNetwork()}
	for _, l := range h.sip.Listeners() {
		if l.Transport == "udp" && (!office.server.IsValid() || l.Addr.Addr().IsLoopback()) {
			office.server = l.Addr
		}
	}
	if !office.server.IsValid() {
		return errors.Join(errors.New("demo: the simulated phones need an address in --sip-udp"), h.close())
	}
	// The phones outlive the house: it says goodbye to each, and they answer.
	living, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	over := make(chan error, 1)
	go func() { over <- office.live(living, lines) }()
	select {
	case <-ctx.Done():
		err = h.close()
		end()
		return errors.Join(err, <-over)
	case err = <-over:
		return errors.Join(err, h.close())
	}
}

// seat is a person's line in the sample office.
type seat struct {
	line      store.Line
	name      string
	extension string
	voice     float64
	fresh     bool // made in this run
}

// furnish creates the people and their phones, or finds those of an earlier run in the same directory.
func furnish(ctx context.Context, db *sqlite.DB) ([]seat, error) {
	account := db.Accounts()[0]
	actor := store.Actor{Kind: "system", Name: "demo"}
	snapshot := db.Snapshot(account)
	if _, err := db.UserByLogin(ctx, demoLogin); err != nil { // of a real office we change nothing
		return nil, errors.New("this data directory is no sample office; leave --data out")
	}
	fresh := len(snapshot.Devices) == 0
	if fresh {
		err := db.Update(ctx, actor, account, func(tx *sqlite.Tx) error {
			a := tx.Account()
			a.Name = "Sample Office"
			if err := tx.SaveAccount(&a, 0); err != nil {
				return err
			}
			for i, c := range colleagues {
				if i == 0 { // whoever signs in takes part
					u := tx.Users()[0]
					u.Name, u.RingTimeout = c.name, 12*time.Second
					if err := tx.SaveUser(&u, 0); err != nil {
						return err
					}
					if err := seatPhone(tx, &u); err != nil {
						return err
					}
					continue
				}
				u := store.User{
					Name: c.name, Username: "demo" + strconv.Itoa(i), Role: store.Member,
					Extension: firstExtension(a.ExtensionLength, i+1), RingTimeout: 12 * time.Second, Voicemail: store.Voicemail{Enabled: true},
				}
				if err := tx.CreateUser(&u); err != nil {
					return err
				}
				if err := seatPhone(tx, &u); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		snapshot = db.Snapshot(account)
	}
	var seats []seat
	for _, d := range snapshot.Devices {
		for _, l := range d.Lines {
			u := snapshot.User(l.UserID)
			for _, c := range colleagues {
				if u != nil && u.Name == c.name {
					seats = append(seats, seat{l, u.Name, u.Extension, c.voice, fresh})
				}
			}
		}
	}
	if len(seats) < 2 {
		return nil, errors.New("this data directory is no sample office; leave --data out")
	}
	return seats, nil
}

// seatPhone gives a person a softphone.
func seatPhone(tx *sqlite.Tx, u *store.User) error {
	return tx.CreateDevice(&store.Device{
		Kind: store.Softphone, Name: u.Name + "'s phone", Transport: "udp", SRTP: "off",
		Lines: []store.Line{{UserID: u.ID, Label: u.Name}},
	})
}

// firstExtension is 1 followed by n in the given number of digits: 110, 1010.
func firstExtension(length, n int) string {
	return "1" + fmt.Sprintf("%0*d", length-1, n)
}

// office is the life of the simulated phones.
type office struct {
	library *media.Library
	network sip.Network
	server  netip.AddrPort
	seats   []seat
}

// live runs all phones until ctx ends.
func (o *office) live(ctx context.Context, seats []seat) error {
	o.seats = seats
	var running sync.WaitGroup
	defer running.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for i, s := range seats {
		phone, err := calltest.NewPhone(ctx, calltest.PhoneConfig{
			Name: "Simulated phone", Network: o.network, Local: netip.AddrPortFrom(o.server.Addr(), 0), Server: o.server,
			Username: s.line.Username, Password: string(s.line.Password), Display: s.name, Voice: s.voice,
		})
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		running.Add(1)
		go func() {
			defer running.Done()
			<-ctx.Done()
			phone.Close()
		}()
		if err := phone.Register(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("demo: %s: %w", s.name, err)
		}
		running.Add(2)
		go func() {
			defer running.Done()
			o.answer(ctx, phone)
		}()
		go func() {
			defer running.Done()
			o.work(ctx, phone, i)
		}()
	}
	<-ctx.Done()
	return nil
}

// answer takes calls as people do: most soon, some too late, few not at all.
func (o *office) answer(ctx context.Context, phone *calltest.Phone) {
	for ctx.Err() == nil {
		c, err := phone.Next(ctx)
		if err != nil {
			return
		}
		if c.Ring(false) != nil {
			continue
		}
		switch n := mathrand.IntN(10); {
		case n == 0:
			if wait(ctx, seconds(1, 3)) {
				_ = c.Refuse(486) // the caller may have gone meanwhile
			}
		case n <= 2: // not at the desk
		default:
			if waitOr(ctx, seconds(1, 5), c.Done()) && c.Answer(ctx) == nil {
				waitOr(ctx, time.Hour, c.Done())
			}
			continue
		}
		waitOr(ctx, time.Hour, c.Done())
	}
}

// work calls a colleague now and then.
func (o *office) work(ctx context.Context, phone *calltest.Phone, self int) {
	for wait(ctx, seconds(2, 25)) {
		other := o.seats[(self+1+mathrand.IntN(len(o.seats)-1))%len(o.seats)]
		c, err := phone.Call(ctx, other.extension)
		if err != nil {
			continue
		}
		o.talk(ctx, c)
		c.HangUp()
		waitOr(ctx, 5*time.Second, c.Done())
	}
}

// talk lives the caller's side of one call: speech, sometimes a hold, and a message when the mailbox answers.
func (o *office) talk(ctx context.Context, c *calltest.Call) {
	select {
	case <-c.Answered():
	case <-c.Done():
		return
	case <-ctx.Done():
		return
	}
	c.Say(o.library.Prompt("echo-intro", "leave-message", "message-menu"))
	if !waitOr(ctx, seconds(8, 20), c.Done()) {
		return
	}
	if mathrand.IntN(3) == 0 && c.Hold(ctx) == nil {
		if !waitOr(ctx, seconds(3, 9), c.Done()) {
			return
		}
		if c.Resume(ctx) != nil {
			return
		}
	}
	waitOr(ctx, seconds(5, 25), c.Done())
}

// seconds is a random time between a and b seconds.
func seconds(a, b int) time.Duration {
	return time.Duration(a)*time.Second + mathrand.N(time.Duration(b-a)*time.Second)
}

// wait is false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool { return waitOr(ctx, d, nil) }

// waitOr is false when ctx or done ended first.
func waitOr(ctx context.Context, d time.Duration, done <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
	case <-ctx.Done():
	}
	return false
}
