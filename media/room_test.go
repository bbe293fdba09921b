package media_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"pbx/media"
	"pbx/media/mediatest"
)

// guest is somebody in a room: a phone, and their seat.
type guest struct {
	*phone
	house *media.Session
	seat  *media.Seat
}

// invite brings n phones into a room.
func invite(t *testing.T, n *mediatest.Net, house *media.Engine, room *media.Room, count int, m media.RoomMember) []*guest {
	t.Helper()
	var all []*guest
	for i := range count {
		g := &guest{phone: newPhone(t, n, netip.AddrFrom4([4]byte{10, 0, 1, byte(10 + i + 20*room.Seats())})), house: open(t, house, pbxAddr)}
		connect(t, g.Session, g.house)
		seat, err := room.Join(g.house, m)
		if err != nil {
			t.Fatal(err)
		}
		g.seat = seat
		all = append(all, g)
	}
	return all
}

func (g *guest) hears(freq float64) bool { return mediatest.Hears(g.ear.Samples(), freq) }

// TestRoom: a tone said by one is heard by all but themselves; a mute is heard by nobody; who left neither.
func TestRoom(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		room := media.NewRoom(media.RoomConfig{})
		defer room.Close()
		all := invite(t, n, house, room, 5, media.RoomMember{})
		freqs := []float64{400, 700, 1000, 1300, 1600}
		for i, g := range all {
			g.say(mediatest.Say(freqs[i]))
		}
		expect := func(what string, heard func(listener, speaker int) bool) {
			t.Helper()
			time.Sleep(2 * time.Second)
			for i, g := range all {
				for j, f := range freqs {
					if got := g.hears(f); got != heard(i, j) {
						t.Errorf("%s: %d hears %d: %v", what, i, j, got)
					}
				}
			}
		}
		all[3].hush()
		all[4].hush()
		expect("three talk", func(l, s int) bool { return s < 3 && l != s })
		if !all[0].seat.Speaking() || all[4].seat.Speaking() {
			t.Error("who speaks is not known")
		}
		all[1].seat.Set(media.RoomMember{Role: media.Muted})
		expect("one is muted", func(l, s int) bool { return (s == 0 || s == 2) && l != s })
		all[2].seat.Set(media.RoomMember{Role: media.Whispers, To: all[4].seat})
		expect("one whispers", func(l, s int) bool { return l != s && (s == 0 || s == 2 && l == 4) })
		all[2].seat.Set(media.RoomMember{}) // barges in
		all[0].seat.Leave()
		all[0].seat.Leave()
		expect("one left", func(l, s int) bool { return s == 2 && l != 2 && l != 0 })
		for _, g := range all {
			g.hangUp()
		}
	})
}

// TestRoomIsBounded: no more speakers than allowed are mixed, the loudest; noise opens no gate; nobody fits into a full room.
func TestRoomIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		room := media.NewRoom(media.RoomConfig{Speakers: 2})
		defer room.Close()
		all := invite(t, n, house, room, 4, media.RoomMember{})
		for i, g := range all[:3] {
			g.say(quieter{mediatest.Say(400 + 300*float64(i)), []int16{2, 4, 8}[i]})
		}
		time.Sleep(2 * time.Second)
		if listener := all[3]; !listener.hears(400) || listener.hears(1000) {
			t.Error("not the two loudest are heard")
		}
		all[0].hush()
		all[1].hush()
		all[2].say(quieter{mediatest.Say(1000), 1000})
		time.Sleep(2 * time.Second)
		if all[2].seat.Speaking() {
			t.Error("noise opens the gate")
		}
		var err error
		for err == nil {
			s := open(t, house, pbxAddr)
			_, err = room.Join(s, media.RoomMember{Role: media.Muted})
		}
		if !errors.Is(err, media.ErrRoomFull) || room.Seats() != media.MaxSeats {
			t.Errorf("%d seats, %v", room.Seats(), err)
		}
		for _, g := range all {
			g.hangUp()
		}
	})
}

// quieter divides a source.
type quieter struct {
	media.Source
	by int16
}

func (q quieter) ReadFrame(f *media.Frame) error {
	err := q.Source.ReadFrame(f)
	for i := range f {
		f[i] /= q.by
	}
	return err
}

// TestRoomTones: all hear when somebody comes, unless they come unnoticed.
func TestRoomTones(t *testing.T) {
	bubble(t, func(t *testing.T, n *mediatest.Net, house *media.Engine) {
		room := media.NewRoom(media.RoomConfig{Tones: true})
		defer room.Close()
		first := invite(t, n, house, room, 1, media.RoomMember{Quiet: true})[0]
		time.Sleep(time.Second)
		if mediatest.Level(first.ear.Samples()) > -60 {
			t.Error("who comes unnoticed is heard")
		}
		second := invite(t, n, house, room, 1, media.RoomMember{})[0]
		time.Sleep(350 * time.Millisecond)
		if !first.hears(660) {
			t.Error("nobody hears who comes")
		}
		time.Sleep(time.Second)
		second.seat.Leave()
		time.Sleep(350 * time.Millisecond)
		if !first.hears(440) {
			t.Error("nobody hears who goes")
		}
		first.hangUp()
		second.hangUp()
	})
}
