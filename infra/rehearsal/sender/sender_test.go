package sender

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"sluice/infra/leaks"
)

var testSecrets = Secrets{GitHub: "It's a Secret to Everybody", Slack: "slack-secret"}

func TestSignIsGitHubs(t *testing.T) {
	// The vector of GitHub's own documentation.
	const want = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	if got := sign(testSecrets.GitHub, []byte("Hello, "), []byte("World!")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// receiver counts what it gets. That its signatures are right is tested where
// the code that verifies them is (sidecar/senders).
type receiver struct {
	t      *testing.T
	answer func(source string, n int) int

	mu     sync.Mutex
	bodies map[uint64]int // requests by the hash of their body
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Error(err)
	}
	source := map[string]string{
		"/webhooks/github": "github", "/webhooks/slack/events": "slack", "/hooks/rehearsal": "generic",
	}[req.URL.Path]
	hash := fnv.New64a()
	hash.Write(body)
	r.mu.Lock()
	n := r.bodies[hash.Sum64()]
	r.bodies[hash.Sum64()]++
	r.mu.Unlock()
	w.Header().Set("Retry-After", "0")
	w.Header().Set("Sluice-Id", fmt.Sprint("s", n))
	w.WriteHeader(r.answer(source, n))
}

func run(t *testing.T, o Options, answer func(source string, n int) int) (*receiver, []Webhook) {
	t.Helper()
	r := &receiver{t: t, answer: answer, bodies: map[uint64]int{}}
	server := httptest.NewServer(r)
	defer server.Close()
	o.URL, o.Secrets = server.URL, testSecrets
	f := New(o)
	defer f.Close()
	f.Run(t.Context())
	return r, f.Ledger.Webhooks()
}

func TestFleetSendsWhatItsLedgerSays(t *testing.T) {
	defer func() {
		if err := leaks.Find(); err != nil {
			t.Error(err)
		}
	}()
	o := Options{Rate: 600, Count: 100, PerLane: 2, Lanes: 2, Bytes: 2048, MaxTries: 3}
	r, webhooks := run(t, o, func(string, int) int { return http.StatusAccepted })
	if len(webhooks) != o.Count || len(r.bodies) != o.Count {
		t.Fatalf("ledger has %d, receiver %d, want %d", len(webhooks), len(r.bodies), o.Count)
	}
	lanes := map[string]int{}
	for _, w := range webhooks {
		lanes[w.Lane]++
		if w.Acknowledged() == nil || len(w.Tries) != 1 || w.Tries[0].SluiceID != "s0" {
			t.Errorf("tries %+v", w.Tries)
		}
		if w.Bytes != o.Bytes || r.bodies[w.Hash] != 1 {
			t.Errorf("%d bytes, hash seen %d times", w.Bytes, r.bodies[w.Hash])
		}
	}
	if len(lanes) != 6 {
		t.Errorf("lanes %v, want 6", lanes)
	}
}

func TestRefusedWebhooks(t *testing.T) {
	refuse := func(_ string, n int) int {
		if n == 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusAccepted
	}
	for _, retry := range []bool{true, false} {
		_, webhooks := run(t, Options{Rate: 600, Count: 30, PerLane: 1, Lanes: 1, Bytes: 1024, MaxTries: 3, Retry: retry}, refuse)
		for _, w := range webhooks {
			repeats := retry && w.Source != "github" // GitHub never does
			if repeats != (w.Acknowledged() != nil) || repeats != (len(w.Tries) == 2) {
				t.Errorf("retry %v: %s has tries %+v", retry, w.Source, w.Tries)
			}
		}
	}
}

func TestSendersAreSequential(t *testing.T) {
	_, webhooks := run(t, Options{Rate: 2000, Count: 60, PerLane: 1, Lanes: 1, Bytes: 1024, MaxTries: 1},
		func(string, int) int { return http.StatusAccepted })
	last := map[string]time.Time{}
	for _, w := range webhooks {
		try := w.Tries[0]
		if try.Sent.Before(last[w.Source]) {
			t.Errorf("%s was sent before the last one was answered", w.ID)
		}
		last[w.Source] = try.Done
	}
}

func TestPostUntilEndsWithItsContext(t *testing.T) {
	f := New(Options{PerLane: 1, Lanes: 1, Bytes: 1024})
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := f.PostUntil(ctx, "r1", "http://127.0.0.1:1", Try.Acknowledged); err == nil {
		t.Error("a post to a closed port succeeded")
	}
	if n := len(f.Ledger.Webhooks()); n != 0 {
		t.Errorf("%d webhooks in the ledger, though nothing listened", n)
	}
}

// One seed makes the same webhooks, another one others.
func TestSeed(t *testing.T) {
	body := func(seed uint64, n int) string {
		_, body := compose(kinds[0], ids(seed, 1, n), 0, 1, n, 1024, 0)
		return string(body)
	}
	if body(7, 3) != body(7, 3) {
		t.Error("the same seed makes another webhook")
	}
	if body(7, 3) == body(8, 3) || body(7, 3) == body(7, 4) || body(0, 3) == body(0, 3) {
		t.Error("two webhooks are one")
	}
}
