package supervise

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/sidecar/internal/gate"
	"sluice/sidecar/internal/lifecycle"
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
		h := &health{}
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
		if got := h.name(); got != want || h.ok() != (want == "healthy") {
			t.Errorf("%q: %s, ok=%v, want %s", steps, got, h.ok(), want)
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
		"gone":   {nobody, false},
		"broken": {answering(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), false},
		"503":    {answering(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }), false},
	} {
		client, err := upstream.New(upstream.Config{URL: c.app, HealthPath: "/healthz"})
		if err != nil {
			t.Fatal(err)
		}
		limit := patience
		if c.want {
			limit = time.Second // the dial is not what shall be slow
		}
		if err := client.NewProber(limit).Probe(t.Context()); err == nil || isTimeout(err) != c.want {
			t.Errorf("%s: %v, timeout=%v, want %v", name, err, isTimeout(err), c.want)
		}
	}
}

// A dial that fails while a probe is under way is the newer news.
func TestAFallOutlastsAnOlderProbe(t *testing.T) {
	var r *Replica
	falls := true
	r, log := replica(t, answering(t, func(http.ResponseWriter, *http.Request) {
		if falls {
			r.appDown(upstream.ErrDial)
		}
	}), gate.PerLane)
	r.probe(t.Context())
	if state := r.gate.State(); state != lifecycle.Starting || r.health.ok() {
		t.Errorf("%s, healthy=%v after an outdated success", state, r.health.ok())
	}
	falls = false
	r.probe(t.Context())
	if state := r.gate.State(); state != lifecycle.Replaying || !r.health.ok() {
		t.Errorf("%s, healthy=%v after a success", state, r.health.ok())
	}
	falls = true
	r.probe(t.Context())
	if state := r.gate.State(); state != lifecycle.Holding || r.health.ok() {
		t.Errorf("%s, healthy=%v after another outdated success", state, r.health.ok())
	}
	if up, away := log.Count("App is healthy"), log.Count("App is away"); up != 1 || away != 1 {
		t.Errorf("told %d times that the app is up and %d times that it is away, want once each", up, away)
	}
	select {
	case <-r.health.probeNow:
	default:
		t.Error("no probe was asked for after a fall")
	}
}

// A probe that the end of the replica cuts off says nothing about the app.
func TestACancelledProbeIsNoMiss(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	defer close(ended)
	probes := 0
	r, _ := replica(t, answering(t, func(http.ResponseWriter, *http.Request) {
		if probes++; probes > 1 {
			cancel()
			<-ended
		}
	}), gate.PerLane)
	r.probe(ctx)
	r.probe(ctx)
	if !r.health.ok() || r.gate.State() != lifecycle.Replaying {
		t.Errorf("healthy=%v, %s", r.health.ok(), r.gate.State())
	}
}
