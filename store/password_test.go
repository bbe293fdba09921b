package store

import (
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestPasswords(t *testing.T) {
	hash, err := HashPassword("correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash %s", hash)
	}
	again, err := HashPassword("correct horse battery")
	if err != nil || again == hash {
		t.Errorf("the same salt twice, or %v", err)
	}
	for plain, want := range map[string]bool{"correct horse battery": true, "correct horse batterz": false} {
		if VerifyPassword(hash, plain) != want {
			t.Errorf("%q: want %t", plain, want)
		}
	}
	long := strings.Repeat("x", maxPassword+1)
	if _, err := HashPassword(long); err == nil || VerifyPassword(hash, long) {
		t.Error("a password without end was taken")
	}
}

// TestKnownHash verifies a hash that the argon2 reference program made, so that ours stay readable elsewhere:
// echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 4 -l 32 -e
func TestKnownHash(t *testing.T) {
	const hash = "$argon2id$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$GpZ3sK/oH9p7VIiV56G/64Zo/8GaUw434IimaPqxwCo"
	if !VerifyPassword(hash, "password") {
		t.Error("the reference hash is not understood")
	}
}

func TestSenselessHashes(t *testing.T) {
	const key = "c29tZXNhbHQ$GpZ3sK/oH9p7VIiV56G/64Zo/8GaUw434IimaPqxwCo"
	for _, hash := range []string{
		"", "x", "$argon2id$", "$argon2i$v=19$m=65536,t=2,p=4$" + key, "$argon2id$v=16$m=65536,t=2,p=4$" + key,
		"$argon2id$v=19$m=4294967295,t=2,p=1$" + key, "$argon2id$v=19$m=65536,t=4000000,p=1$" + key, "$argon2id$v=19$m=65536,t=0,p=1$" + key,
		"$argon2id$v=19$m=65536,t=2,p=0$" + key, "$argon2id$v=19$m=65536,t=2,p=4$!$!", "$argon2id$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$",
	} {
		if _, ok := parseHash(hash); ok {
			t.Errorf("%q was understood", hash)
		}
	}
}

// TestNobodysPassword tries the key that the computation for an unknown user compares with.
func TestNobodysPassword(t *testing.T) {
	if VerifyPassword("", "") || VerifyPassword("$argon2id$", "password") {
		t.Error("somebody got in without a password")
	}
}

// TestDummyCostsAsMuch makes sure that the answer for an unknown user is computed like any other.
func TestDummyCostsAsMuch(t *testing.T) {
	hash, err := HashPassword("a password of somebody")
	if err != nil {
		t.Fatal(err)
	}
	memory := func(hash string) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		VerifyPassword(hash, "guess")
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	known, unknown := memory(hash), memory("")
	if unknown < known*9/10 || known < argonMemory*1024 {
		t.Errorf("known user: %d octets, unknown: %d", known, unknown)
	}
}

func TestAtMostTwoAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if VerifyPassword("", "x") {
				t.Error("nobody's password fits")
			}
		})
	}
	most := 0
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for {
		most = max(most, len(hashing))
		select {
		case <-done:
			if most > 2 || cap(hashing) != 2 {
				t.Errorf("%d at once", most)
			}
			return
		default:
		}
	}
}
