package admin

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"pbx/event"
)

// TestContractWhenAsked proves that a house whose portal nobody opens does not read the contract, and that many who come
// at once all get their answer.
func TestContractWhenAsked(t *testing.T) {
	s, err := New(Config{Bus: event.NewBus()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	if s.doc != nil || s.router != nil {
		t.Error("the contract was read although nobody asked")
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/openapi.yaml", nil))
			if w.Code != http.StatusOK || w.Body.Len() == 0 {
				t.Errorf("status %d, %d octets", w.Code, w.Body.Len())
			}
		})
	}
	all.Wait()
	if len(s.operations) == 0 {
		t.Error("no operations were read")
	}
}
