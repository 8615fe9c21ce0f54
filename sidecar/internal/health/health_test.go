package health

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/upstream"
)

// Each step is the result of a probe, or a connection that failed elsewhere ("fall"),
// or the success of a probe that began before the first step ("stale").
func TestHealth(t *testing.T) {
	for steps, want := range map[string]string{
		"":                             "unknown",
		"ok":                           "healthy",
		"refused":                      "unhealthy",
		"slow":                         "unhealthy", // a slow answer is tolerated only after a success
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
		h := New(Config{})
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
		if got := h.Name(); got != want || h.OK() != (want == "healthy") {
			t.Errorf("%q: %s, ok=%v, want %s", steps, got, h.OK(), want)
		}
	}
}

// Only a timeout is tolerated once, so real errors must be told apart.
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
		limit := time.Minute
		if c.want {
			limit = time.Second // connecting must not time out
		}
		if err := client.NewProber(limit).Probe(t.Context()); err == nil || isTimeout(err) != c.want {
			t.Errorf("%s: %v, timeout=%v, want %v", name, err, isTimeout(err), c.want)
		}
	}
}

// app is probed by a function.
type app func() error

func (a app) Probe(context.Context) error { return a() }

// watched returns a Health of an app, and the list of its calls: "up" and "down".
func watched(a app) (h *Health, told *[]string, log *bytes.Buffer) {
	told, log = &[]string{}, &bytes.Buffer{}
	h = New(Config{
		App: a, Up: func() { *told = append(*told, "up") }, Down: func() { *told = append(*told, "down") },
		Metrics: metrics.New(), Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	return h, told, log
}

// A connection that fails while a probe is under way overrules that probe.
func TestAFallOutlastsAnOlderProbe(t *testing.T) {
	var h *Health
	falls := true
	h, told, log := watched(func() error {
		if falls {
			h.Lost(upstream.ErrDial)
		}
		return nil
	})
	h.Check(t.Context())
	if h.OK() || !slices.Equal(*told, []string{"down"}) {
		t.Errorf("healthy=%v after an outdated success, told %v", h.OK(), *told)
	}
	falls = false
	h.Check(t.Context())
	if !h.OK() || !slices.Equal(*told, []string{"down", "up"}) {
		t.Errorf("healthy=%v after a success, told %v", h.OK(), *told)
	}
	falls = true
	h.Check(t.Context())
	if h.OK() || !slices.Equal(*told, []string{"down", "up", "down"}) {
		t.Errorf("healthy=%v after another outdated success, told %v", h.OK(), *told)
	}
	if up, away := strings.Count(log.String(), "App is healthy"), strings.Count(log.String(), "App is away"); up != 1 || away != 1 {
		t.Errorf("told %d times that the app is up and %d times that it is away, want once each", up, away)
	}
	select {
	case <-h.probeNow:
	default:
		t.Error("no probe was asked for after a fall")
	}
}

// A probe that is cut off by the end of the replica says nothing about the app.
func TestACancelledProbeIsNoMiss(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	probes := 0
	h, told, _ := watched(func() error {
		if probes++; probes > 1 {
			cancel()
			return ctx.Err()
		}
		return nil
	})
	h.Check(ctx)
	h.Check(ctx)
	if !h.OK() || !slices.Equal(*told, []string{"up"}) {
		t.Errorf("healthy=%v, told %v", h.OK(), *told)
	}
}

// Run probes at once, then at the interval for the app's health, and when the app is
// lost.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var probes []time.Duration
		var well atomic.Bool
		h, _, _ := watched(func() error {
			probes = append(probes, time.Since(began))
			if !well.Load() {
				return upstream.ErrDial
			}
			return nil
		})
		h.Every, h.EveryDown = time.Second, 250*time.Millisecond
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { h.Run(ctx) })
		<-time.After(300 * time.Millisecond)
		well.Store(true)
		<-time.After(1300 * time.Millisecond)
		h.Lost(upstream.ErrDial)
		<-time.After(100 * time.Millisecond)
		cancel()
		running.Wait()
		if want := []time.Duration{0, 250, 500, 1500, 1600}; !slices.EqualFunc(probes, want, func(got, want time.Duration) bool { return got == want*time.Millisecond }) {
			t.Errorf("probed after %v, want %v ms", probes, want)
		}
	})
}

// answering returns the URL of an app with this handler.
func answering(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
