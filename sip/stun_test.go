package sip

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

func octets(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The addresses, transactions and results of RFC 5769 §2.2 and §2.3.
func TestSTUNAnswer(t *testing.T) {
	request := octets(t, "0001 0000 2112a442 b7e7a701 bc34d686 fa87dfae")
	for _, c := range []struct{ name, from, want string }{
		{"IPv4", "192.0.2.1:32853", "0101 000c 2112a442 b7e7a701bc34d686fa87dfae 0020 0008 0001 a147 e112a643"},
		{"IPv6", "[2001:db8:1234:5678:11:2233:4455:6677]:32853", "0101 0018 2112a442 b7e7a701bc34d686fa87dfae 0020 0014 0002 a147 0113a9faa5d3f179bc25f4b5bed2b9d9"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:32853", "0101 000c 2112a442 b7e7a701bc34d686fa87dfae 0020 0008 0001 a147 e112a643"},
	} {
		if got := stunAnswer(request, netip.MustParseAddrPort(c.from)); hex.EncodeToString(got) != hex.EncodeToString(octets(t, c.want)) {
			t.Errorf("%s: %x, want %s", c.name, got, c.want)
		}
	}
	from := netip.MustParseAddrPort("192.0.2.1:32853")
	for name, attributes := range map[string]string{"SOFTWARE": "8022 0004 61626364", "FINGERPRINT": "8028 0004 e57a3bcf"} {
		b := append(octets(t, "0001 0008 2112a442 b7e7a701 bc34d686 fa87dfae"), octets(t, attributes)...)
		if got := stunAnswer(b, from); len(got) < 2 || binary.BigEndian.Uint16(got) != stunSuccess {
			t.Errorf("with %s: %x", name, got)
		}
	}
	// CHANGE-REQUEST would send the answer elsewhere: it must be understood, and is not.
	change := append(octets(t, "0001 0008 2112a442 b7e7a701 bc34d686 fa87dfae"), octets(t, "0003 0004 00000006")...)
	if got, want := stunAnswer(change, from), octets(t, "0111 0010 2112a442 b7e7a701bc34d686fa87dfae 0009 0004 00000414 000a 0002 0003 0000"); hex.EncodeToString(got) != hex.EncodeToString(want) {
		t.Errorf("with CHANGE-REQUEST: %x", got)
	}
	for name, b := range map[string]string{
		"indication": "0011 0000 2112a442 b7e7a701 bc34d686 fa87dfae", "answer": "0101 0000 2112a442 b7e7a701 bc34d686 fa87dfae",
		"wrong length": "0001 0004 2112a442 b7e7a701 bc34d686 fa87dfae", "no cookie": "0001 0000 2112a443 b7e7a701 bc34d686 fa87dfae",
		"cut attribute": "0001 0004 2112a442 b7e7a701 bc34d686 fa87dfae 80220004",
	} {
		if got := stunAnswer(octets(t, b), from); got != nil {
			t.Errorf("%s: answered %x", name, got)
		}
	}
}
