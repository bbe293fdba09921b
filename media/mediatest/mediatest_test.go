package mediatest_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pbx/media"
	"pbx/media/mediatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func samples(t *testing.T, src media.Source, frames int) []int16 {
	t.Helper()
	var all []int16
	var f media.Frame
	for range frames {
		if err := src.ReadFrame(&f); err != nil {
			t.Fatal(err)
		}
		all = append(all, f[:]...)
	}
	return all
}

func TestHear(t *testing.T) {
	for freq := 200.0; freq <= 7300; freq += 71 {
		said := samples(t, mediatest.Say(freq), 13)
		if got := mediatest.Hear(said); math.Abs(got-freq) > 1 {
			t.Errorf("said %.0f, heard %.0f", freq, got)
		}
		noisy := append([]int16(nil), said...)
		for i := range noisy {
			noisy[i] += int16(rand.IntN(1600) - 800)
		}
		if got := mediatest.Hear(noisy); math.Abs(got-freq) > 5 {
			t.Errorf("said %.0f in noise, heard %.0f", freq, got)
		}
		if mediatest.Hears(said, freq+150) {
			t.Errorf("said %.0f, heard %.0f too", freq, freq+150)
		}
	}
	noise := make([]int16, 4000)
	for i := range noise {
		noise[i] = int16(rand.IntN(20000) - 10000)
	}
	l := media.NewLibrary("")
	for name, s := range map[string][]int16{
		"nothing":  nil,
		"silence":  make([]int16, 4000),
		"whisper":  {1, -1, 1, -1, 1, -1},
		"noise":    noise,
		"two":      samples(t, media.Busy(), 13),
		"speech":   samples(t, l.Prompt("leave-message"), 40)[8000:12000],
		"constant": constant(5000, 4000),
	} {
		if got := mediatest.Hear(s); got != 0 {
			t.Errorf("%s: heard %.0f Hz", name, got)
		}
	}
	if v := mediatest.Level(samples(t, mediatest.Say(1000), 10)); v < -18 || v > -16 {
		t.Errorf("a tone of %.1f dBFS", v)
	}
}

func constant(v int16, n int) []int16 {
	s := make([]int16, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func TestEar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := mediatest.NewEar()
		feed := func(src media.Source, n int) {
			var f media.Frame
			for range n {
				time.Sleep(20 * time.Millisecond)
				if err := errors.Join(src.ReadFrame(&f), ear.WriteFrame(&f)); err != nil {
					t.Error(err)
				}
			}
		}
		go func() {
			feed(mediatest.Say(700), 50)
			feed(media.SilenceFor(time.Minute), 50)
			feed(media.NewLibrary("").Music(), 50)
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := ear.Wait(ctx, 700); err != nil || math.Abs(ear.Freq()-700) > 1 {
			t.Errorf("%v, %.0f Hz", err, ear.Freq())
		}
		if err := ear.WaitSilence(ctx); err != nil {
			t.Error(err)
		}
		if err := ear.WaitSound(ctx); err != nil || ear.Level() < -40 {
			t.Errorf("%v, %.0f dBFS", err, ear.Level())
		}
		if err := ear.Wait(ctx, 123); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("heard what nobody said: %v", err)
		}
		synctest.Wait()
	})
}

// TestNet: packets arrive in order and on time; fates are obeyed; a closed socket is closed.
func TestNet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := mediatest.NewNet()
		n.Judge = func(_, _ netip.AddrPort, b []byte) mediatest.Fate {
			switch b[0] {
			case 3:
				return mediatest.Fate{Drop: true}
			case 4:
				return mediatest.Fate{Copies: 1, Delay: 50 * time.Millisecond}
			}
			return mediatest.Fate{}
		}
		at := netip.MustParseAddrPort("10.1.1.1:0")
		one, err := n.ListenPacket(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		two, err := n.ListenPacket(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		taken := two.LocalAddr().(*net.UDPAddr).AddrPort()
		if _, err := n.ListenPacket(t.Context(), taken); err == nil {
			t.Error("bound twice")
		}
		start := time.Now()
		for i := range byte(6) {
			if _, err := one.WriteTo([]byte{i}, two.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		buf := make([]byte, 10)
		for _, want := range []byte{0, 1, 2, 5, 4, 4} {
			k, from, err := two.ReadFrom(buf)
			if err != nil || k != 1 || buf[0] != want || from.String() != one.LocalAddr().String() {
				t.Errorf("% x from %s, %v; want %d", buf[:k], from, err, want)
			}
		}
		if took := time.Since(start); took != 51*time.Millisecond {
			t.Errorf("took %s", took)
		}
		go func() {
			time.Sleep(time.Second)
			two.Close()
		}()
		if _, _, err := two.ReadFrom(buf); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := two.WriteTo([]byte{1}, one.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		one.Close()
		if n.Open() != 0 {
			t.Errorf("%d open", n.Open())
		}
	})
}
