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
		limit := time.Minute
		if c.want {
			limit = time.Second // the dial is not what shall be slow
		}
		if err := client.NewProber(limit).Probe(t.Context()); err == nil || isTimeout(err) != c.want {
			t.Errorf("%s: %v, timeout=%v, want %v", name, err, isTimeout(err), c.want)
		}
	}
}

// app is probed by a function.
type app func() error

func (a app) Probe(context.Context) error { return a() }

// watched returns a Health of an app, and what it has told: "up" and "down".
func watched(a app) (h *Health, told *[]string, log *bytes.Buffer) {
	told, log = &[]string{}, &bytes.Buffer{}
	h = New(Config{
		App: a, Up: func() { *told = append(*told, "up") }, Down: func() { *told = append(*told, "down") },
		Metrics: metrics.New(), Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	return h, told, log
}

// A dial that fails while a probe is under way is the newer news.
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

// A probe that the end of the replica cuts off says nothing about the app.
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

// Run probes at once, then as often as the app's health asks for, and at a fall.
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

// answering returns the address of an app that answers so.
func answering(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
