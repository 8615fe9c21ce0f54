package load

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A receiver that stalls once delays all that were due meanwhile: each must count,
// with the time from when it was due. A closed loop would see one slow answer.
func TestOpenLoopCountsFromWhenDue(t *testing.T) {
	const stall = 300 * time.Millisecond
	var seen atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if seen.Add(1) == 20 {
			time.Sleep(stall)
		}
		_, _ = io.WriteString(w, "taken")
	}))
	defer server.Close()
	spec := Spec{Warm: 10 * time.Millisecond, Measure: 500 * time.Millisecond, Rate: 1000}
	got, err := Post(t.Context(), spec, Target{Addr: strings.TrimPrefix(server.URL, "http://"), Connections: 1, Requests: GitHub(1, 300)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Total != 510 || got.Answered != 500 || seen.Load() != 510 {
		t.Errorf("answered %d of %d, seen %d; want 500 of 510", got.Answered, got.Total, seen.Load())
	}
	// Of the 300 due during the stall, two thirds waited for more than 100 ms.
	if late := got.Percentile(0.7); late < stall/3 {
		t.Errorf("70 %% waited for %v at most, as if only one had met the stall", late)
	}
}
