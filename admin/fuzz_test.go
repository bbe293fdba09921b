package admin

import (
	"bytes"
	"net/http/httptest"
	"slices"
	"testing"
	"unicode/utf8"
)

// FuzzBody reads any bytes as the body of any operation: never a panic, and every refusal can be told in JSON.
func FuzzBody(f *testing.F) {
	_, operations, err := loadContract()
	if err != nil {
		f.Fatal(err)
	}
	operations = slices.DeleteFunc(operations, func(o *operation) bool { return o.spec.RequestBody == nil })
	slices.SortFunc(operations, func(a, b *operation) int { return bytes.Compare([]byte(a.id), []byte(b.id)) })
	for i, o := range operations {
		f.Add(i, []byte(bodies[o.id]))
	}
	f.Add(0, []byte(`{"voicemail":{"pin":null,"\u0000":[{}]}}`))
	f.Add(1, []byte(`{"lines":[{"user_id":1},null,"x"],"user_ids":["a","a"]}`))
	f.Fuzz(func(t *testing.T, i int, body []byte) {
		o := operations[uint(i)%uint(len(operations))]
		r := httptest.NewRequest(o.method, "/", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		_, err := o.readBody(httptest.NewRecorder(), r)
		if err == nil {
			return
		}
		p, known := problemOf(err)
		if !known || p.status < 400 || p.status >= 500 {
			t.Errorf("%q: %v", body, err)
		}
		w := httptest.NewRecorder()
		p.write(w)
		if w.Code != p.status || !utf8.Valid(w.Body.Bytes()) {
			t.Errorf("%q: %d %q", body, w.Code, w.Body)
		}
	})
}

// FuzzPeaks reads any bytes as a WAV file.
func FuzzPeaks(f *testing.F) {
	f.Add(wav(100), 10)
	f.Add(wav(3), 200)
	f.Add(wav(0), 1)
	f.Fuzz(func(t *testing.T, file []byte, points int) {
		points = 1 + int(uint(points)%2000) // as the contract allows
		peaks, err := wavPeaks(bytes.NewReader(file), points)
		if err == nil && (len(peaks) > points || slices.ContainsFunc(peaks, func(p float64) bool { return p < 0 || p > 1 })) {
			t.Errorf("%v", peaks)
		}
	})
}
