package senders_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"sluice/infra/rehearsal/sender"
	"sluice/sidecar/senders"
)

// The rehearsal signs its webhooks with code of its own, written from the
// vendors' rules. What it sends is verified and recognised here.
func TestRehearsalIsVerified(t *testing.T) {
	secrets := sender.Secrets{GitHub: "It's a Secret to Everybody", Slack: "slack-secret"}
	keys := map[string]string{"github": secrets.GitHub, "slack": secrets.Slack}
	paths := map[string]string{"/webhooks/github": "github", "/webhooks/slack/events": "slack", "/hooks/rehearsal": "generic"}
	var mu sync.Mutex
	requests := map[string]int{} // by delivery id
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		source := paths[req.URL.Path]
		kind, err := senders.Lookup(source)
		if err != nil {
			t.Errorf("%s: %v", req.URL.Path, err)
			return
		}
		signed := senders.Request{Method: req.Method, URL: req.URL.String(), Header: req.Header, Body: body}
		if key := keys[source]; key != "" {
			if err := kind.Verify(signed, []string{key}, time.Now()); err != nil {
				t.Errorf("%s: %v", source, err)
			}
		}
		id := kind.Identify(signed)
		mu.Lock()
		defer mu.Unlock()
		n := requests[id.DeliveryID]
		requests[id.DeliveryID]++
		if id.DeliveryID == "" || id.Retry != (source == "slack" && n > 0) {
			t.Errorf("%s: request %d has delivery id %q, retry=%v", source, n, id.DeliveryID, id.Retry)
		}
		w.Header().Set("Retry-After", "0")
		if n == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer app.Close()
	const count = 60
	fleet := sender.New(sender.Options{URL: app.URL, Secrets: secrets, Rate: 600, Count: count, PerLane: 2, Lanes: 2, Bytes: 2048, MaxTries: 3, Retry: true})
	defer fleet.Close()
	fleet.Run(t.Context())
	if len(requests) != count {
		t.Errorf("%d webhooks have a delivery id of their own, want %d", len(requests), count)
	}
}
