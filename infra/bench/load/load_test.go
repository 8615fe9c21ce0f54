package load

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/infra/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// receiver records the delivery ids and checks signatures.
type receiver struct {
	mu     sync.Mutex
	seen   map[string]int
	forged int
	status int
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	mac := hmac.New(sha256.New, []byte(Secret))
	mac.Write(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || req.Header.Get("X-Hub-Signature-256") != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
		r.forged++
	}
	r.seen[req.Header.Get("X-GitHub-Delivery")]++
	w.WriteHeader(r.status)
	_, _ = io.WriteString(w, "taken")
}

func receive(t *testing.T, status int) (*receiver, string) {
	t.Helper()
	r := &receiver{seen: map[string]int{}, status: status}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return r, strings.TrimPrefix(server.URL, "http://")
}

func TestPostCount(t *testing.T) {
	r, addr := receive(t, http.StatusAccepted)
	got, err := Post(t.Context(), Spec{Count: 100}, Target{Addr: addr, Connections: 7, Requests: GitHub(3, 2048)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Answered != 100 || got.Total != 100 || len(r.seen) != 100 {
		t.Errorf("answered %d of %d, seen %d different, want 100 each", got.Answered, got.Total, len(r.seen))
	}
	if r.forged > 0 {
		t.Errorf("%d signatures were wrong", r.forged)
	}
	if p50, p99 := got.Percentile(0.5), got.Percentile(0.99); p50 <= 0 || p99 < p50 {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
}

// A request that is larger than the socket's buffer goes out in pieces.
func TestPostLarge(t *testing.T) {
	r, addr := receive(t, http.StatusOK)
	got, err := Post(t.Context(), Spec{Count: 6}, Target{Addr: addr, Connections: 2, Requests: GitHub(2, 8<<20)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Total != 6 || len(r.seen) != 6 || r.forged > 0 {
		t.Errorf("answered %d, seen %d, forged %d", got.Total, len(r.seen), r.forged)
	}
}

func TestPostMeasuresItsTime(t *testing.T) {
	r, addr := receive(t, http.StatusOK)
	var reads time.Duration
	meter := func() (time.Duration, error) { reads++; return reads, nil }
	got, err := Post(t.Context(), Spec{Warm: 300 * time.Millisecond, Measure: 700 * time.Millisecond, Meters: []Meter{meter}},
		Target{Addr: addr, Connections: 2, Requests: GitHub(1, 300)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Answered == 0 || got.Answered >= got.Total || got.Total != len(r.seen) {
		t.Errorf("answered %d of %d, seen %d", got.Answered, got.Total, len(r.seen))
	}
	if got.Own <= 0 {
		t.Errorf("own CPU time %v", got.Own)
	}
	if got.Elapsed < 700*time.Millisecond || got.Used[0] != 1 || reads != 2 {
		t.Errorf("elapsed %v, used %v, meter read %d times", got.Elapsed, got.Used, reads)
	}
}

func TestPostRefused(t *testing.T) {
	_, addr := receive(t, http.StatusServiceUnavailable)
	_, err := Post(t.Context(), Spec{Count: 10}, Target{Addr: addr, Connections: 2, Requests: GitHub(1, 300)})
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("error is %v, want one that names 503", err)
	}
}
