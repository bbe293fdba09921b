package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// base is the address of the portal that the console shows.
func base(out *console) string { return regexp.MustCompile(`http://[^/\s]+`).FindString(out.String()) }

// TestStopWithSlowClient stops the house while a browser holds a connection that it says nothing on. The stop takes
// its time from nobody and is a success: nothing of ours went wrong.
func TestStopWithSlowClient(t *testing.T) {
	out, logs, stop := serving(t, t.TempDir())
	host := strings.TrimPrefix(base(out), "http://")
	slow, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	// A body that never comes keeps a handler busy.
	fmt.Fprintf(slow, "POST /api/v1/session HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", host)
	if line, err := bufio.NewReader(slow).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
		t.Fatalf("%q, %v", line, err)
	}
	start := time.Now()
	if err := stop(); err != nil {
		t.Errorf("stopped with %v\n%s", err, logs)
	}
	if took := time.Since(start); took > 2*roomTime {
		t.Errorf("it took %v", took)
	}
}

// TestMetricsBehindProxy proves that a proxy on this machine does not open the numbers to everybody.
func TestMetricsBehindProxy(t *testing.T) {
	out, _, _ := serving(t, t.TempDir())
	for header, want := range map[string]int{"X-Unrelated": http.StatusOK, "X-Forwarded-For": http.StatusNotFound} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base(out)+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(header, "203.0.113.9")
		r.Close = true
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: status %d, want %d", header, answer.StatusCode, want)
		}
	}
}
