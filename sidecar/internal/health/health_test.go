package health

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/infra/testkit"
	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/upstream"
)

// Each step is a probe's end, or a dial that has failed elsewhere ("fall"), or a
// probe that went well but began before the last of those ("stale").
func TestHealth(t *testing.T) {
	for steps, want := range map[string]string{
		"":                             "unknown",
		"ok":                           "healthy",
		"refused":                      "unhealthy",
		"slow":                         "unhealthy", // nothing is forgiven before the first success
		"fall":                         "unknown",
		"ok slow":                      "healthy",
		"ok slow slow":                 "unhealthy",
		"ok slow ok slow":              "healthy",
		"ok refused":                   "unhealthy",
		"ok slow refused":              "unhealthy",
		"ok wrong":                     "unhealthy",
		"ok fall":                      "unhealthy",
		"ok fall stale":                "unhealthy",
		"ok fall stale ok":             "healthy",
		"ok fall ok slow":              "healthy",
		"stale":                        "healthy", // nothing fell since
		"ok refused slow slow ok slow": "healthy",
	} {
		h := &Health{}
		before := h.asked()
		for step := range strings.FieldsSeq(steps) {
			var failed error
			switch step {
			case "ok":
				h.passed(h.asked())
			case "stale":
				h.passed(before)
			case "fall":
				h.fall()
			case "slow":
				failed = context.DeadlineExceeded
			case "refused":
				failed = upstream.ErrDial
			case "wrong":
				failed = errors.New("answered 500")
			default:
				t.Fatalf("unknown step %q", step)
			}
			if failed != nil && h.missed(failed) {
				h.fall()
			}
		}
		if got := h.String(); got != want || h.Healthy() != (want == "healthy") {
			t.Errorf("%q: %s, ok=%v, want %s", steps, got, h.Healthy(), want)
		}
	}
}

// What a probe's end is called decides whether it is forgiven: real ones.
func TestOnlyASlowAnswerIsATimeout(t *testing.T) {
	release := make(chan struct{})
	silent := answering(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	for name, c := range map[string]struct {
		app  string
		want bool
	}{
		"silent": {silent, true},
		"gone":   {"http://127.0.0.1:1", false},
		"broken": {answering(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), false},
		"503":    {answering(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }), false},
	} {
		client, err := upstream.New(upstream.Config{URL: c.app, HealthPath: "/healthz"})
		if err != nil {
			t.Fatal(err)
		}
		limit := testkit.Patience
		if c.want {
			limit = time.Second // the dial is not what shall be slow
		}
		if err := client.NewProber(limit).Probe(t.Context()); err == nil || isTimeout(err) != c.want {
			t.Errorf("%s: %v, timeout=%v, want %v", name, err, isTimeout(err), c.want)
		}
	}
}

// answering returns the address of an app that answers so.
func answering(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// watched returns the health of an app that is probed so, and its gate.
func watched(probe func(context.Context) error) (*Health, *gate.Gate, *testkit.Output) {
	log := &testkit.Output{}
	g := gate.New(gate.Config{Order: gate.PerLane, Changed: func(_, _ lifecycle.State) {}})
	return New(Config{Probe: probe, Fire: func(e lifecycle.Event) { g.Fire(e) }, Metrics: metrics.New(),
		Log: slog.New(slog.NewTextHandler(log, nil))}), g, log
}

// A dial that fails while a probe is under way is the newer news.
func TestAFallOutlastsAnOlderProbe(t *testing.T) {
	var h *Health
	falls := true
	h, g, log := watched(func(context.Context) error {
		if falls {
			h.AppDown(upstream.ErrDial)
		}
		return nil
	})
	h.probe(t.Context())
	if state := g.State(); state != lifecycle.Starting || h.Healthy() {
		t.Errorf("%s, healthy=%v after an outdated success", state, h.Healthy())
	}
	falls = false
	h.probe(t.Context())
	if state := g.State(); state != lifecycle.Replaying || !h.Healthy() {
		t.Errorf("%s, healthy=%v after a success", state, h.Healthy())
	}
	falls = true
	h.probe(t.Context())
	if state := g.State(); state != lifecycle.Holding || h.Healthy() {
		t.Errorf("%s, healthy=%v after another outdated success", state, h.Healthy())
	}
	if up, away := log.Count("App is healthy"), log.Count("App is away"); up != 1 || away != 1 {
		t.Errorf("told %d times that the app is up and %d times that it is away, want once each", up, away)
	}
	select {
	case <-h.probeNow:
	default:
		t.Error("no probe was asked for after a fall")
	}
}

// A probe that the end of the replica cuts off says nothing about the app.
func TestACancelledProbeIsNoMiss(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	probes := 0
	h, g, _ := watched(func(ctx context.Context) error {
		if probes++; probes > 1 {
			cancel()
			<-ctx.Done()
		}
		return ctx.Err()
	})
	h.probe(ctx)
	h.probe(ctx)
	if !h.Healthy() || g.State() != lifecycle.Replaying {
		t.Errorf("healthy=%v, %s", h.Healthy(), g.State())
	}
}
