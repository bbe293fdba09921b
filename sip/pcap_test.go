package sip_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pbx/sip"
	"pbx/store"
)

func captured() *store.Trace {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	v4, v6 := netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("[2001:db8::1]:5060")
	return &store.Trace{Messages: []store.TraceMessage{
		{At: at, Transport: "udp", Local: v4, Remote: netip.MustParseAddrPort("198.51.100.7:5062"), Raw: []byte("INVITE sip:201@pbx.test SIP/2.0\r\nContent-Length: 0\r\n\r\n")},
		{At: at.Add(time.Millisecond), Sent: true, Transport: "udp", Local: v6, Remote: netip.MustParseAddrPort("[2001:db8::7]:5060"), Raw: []byte("SIP/2.0 100 Trying!\r\nContent-Length: 0\r\n\r\n")},
		{At: at.Add(2 * time.Millisecond), Sent: true, Transport: "tls", Local: v4, Remote: netip.MustParseAddrPort("198.51.100.8:5060"), Raw: bytes.Repeat([]byte("BYE sip:x SIP/2.0\r\n"), 4000)},
		{At: at.Add(3 * time.Millisecond), Transport: "tls", Local: v4, Remote: netip.MustParseAddrPort("198.51.100.8:5060"), Raw: []byte("SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n")},
	}}
}

// readBack takes a capture apart and proves every length and checksum.
func readBack(t *testing.T, file []byte) *store.Trace {
	t.Helper()
	le, be := binary.LittleEndian, binary.BigEndian
	if le.Uint32(file) != 0xa1b2c3d4 || le.Uint16(file[4:]) != 2 || le.Uint16(file[6:]) != 4 || le.Uint32(file[20:]) != 101 {
		t.Fatalf("file header % x", file[:24])
	}
	checksum := func(parts ...[]byte) uint16 {
		n := uint32(0)
		all := bytes.Join(parts, nil)
		for i, b := range all {
			n += uint32(b) << (8 * (1 - i%2))
			n = n&0xffff + n>>16
		}
		return uint16(n)
	}
	var got store.Trace
	for rest := file[24:]; len(rest) > 0; {
		at := time.Unix(int64(le.Uint32(rest)), int64(le.Uint32(rest[4:]))*1000).UTC()
		n := int(le.Uint32(rest[8:]))
		p := rest[16 : 16+n]
		rest = rest[16+n:]
		var src, dst netip.Addr
		var proto byte
		var payload []byte
		switch p[0] >> 4 {
		case 4:
			if checksum(p[:20]) != 0xffff || int(be.Uint16(p[2:])) != n {
				t.Error("IPv4 header is wrong")
			}
			src, _ = netip.AddrFromSlice(p[12:16])
			dst, _ = netip.AddrFromSlice(p[16:20])
			proto, payload = p[9], p[20:]
		case 6:
			if int(be.Uint16(p[4:])) != n-40 {
				t.Error("IPv6 header is wrong")
			}
			src, _ = netip.AddrFromSlice(p[8:24])
			dst, _ = netip.AddrFromSlice(p[24:40])
			proto, payload = p[6], p[40:]
		}
		pseudo := be.AppendUint32(append(src.AsSlice(), dst.AsSlice()...), uint32(len(payload)))
		pseudo = append(pseudo, 0, 0, 0, proto)
		if checksum(pseudo, payload) != 0xffff {
			t.Errorf("checksum of protocol %d is wrong", proto)
		}
		m := store.TraceMessage{At: at, Transport: "udp", Remote: netip.AddrPortFrom(src, be.Uint16(payload)), Local: netip.AddrPortFrom(dst, be.Uint16(payload[2:])), Raw: payload[8:]}
		if proto == 6 {
			m.Transport, m.Raw = "tcp", payload[20:]
		} else if int(be.Uint16(payload[4:])) != len(payload) {
			t.Error("UDP length is wrong")
		}
		got.Messages = append(got.Messages, m)
	}
	return &got
}

func TestPCAP(t *testing.T) {
	want := captured()
	var b bytes.Buffer
	if err := sip.WritePCAP(&b, want); err != nil {
		t.Fatal(err)
	}
	got := readBack(t, b.Bytes())
	if len(got.Messages) != 5 { // the long one takes two segments
		t.Fatalf("%d packets", len(got.Messages))
	}
	long := append(bytes.Clone(got.Messages[2].Raw), got.Messages[3].Raw...)
	if !bytes.Equal(long, want.Messages[2].Raw) || got.Messages[2].Transport != "tcp" {
		t.Error("the long message is broken")
	}
	for i, j := range map[int]int{0: 0, 1: 1, 4: 3} {
		g, w := got.Messages[i], want.Messages[j]
		from, to := w.Remote, w.Local
		if w.Sent {
			from, to = to, from
		}
		if !bytes.Equal(g.Raw, w.Raw) || g.Remote != from || g.Local != to || !g.At.Equal(w.At) {
			t.Errorf("packet %d is %+v", i, g)
		}
	}
	file := filepath.Join(t.TempDir(), "trace.pcap")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tool := range [][]string{
		{"tcpdump", "-n", "-v", "-r", file},
		{"tshark", "-n", "-r", file, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-V"},
	} {
		path, err := exec.LookPath(tool[0])
		if err != nil {
			continue // this test has read it back by itself
		}
		out, err := exec.Command(path, tool[1:]...).CombinedOutput()
		text := string(out)
		if err != nil || strings.Contains(text, "incorrect") || strings.Contains(text, "[Status: Bad]") || !strings.Contains(text, "192.0.2.1") || !strings.Contains(text, "INVITE sip:201@pbx.test") {
			t.Errorf("%s: %v\n%s", tool[0], err, clipped(text))
		}
	}
}

func clipped(s string) string { return s[:min(len(s), 4000)] }
