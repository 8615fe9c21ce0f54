// Package health knows whether the app is healthy, by probing it.
//
// It owns the probing and what a result means: a refused connection is an outage,
// one slow answer of a busy app is not, and a connection that failed elsewhere
// overrules a probe that began before it. It must never decide what happens to a
// webhook: it calls Up and Down, which tell the gate. supervise runs it and passes
// its answers to replay, ingress and the platform's probes.
package health

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/upstream"
)

// App answers probes. upstream.Prober is one.
type App interface {
	// Probe returns nil when the app answers that it is healthy, an error that wraps
	// upstream.ErrDial when it can't be reached, and another error when it answers
	// otherwise or too late.
	Probe(context.Context) error
}

// Config are the settings of a Health and the functions it calls.
type Config struct {
	App       App
	Addr      string        // of the app, for the log
	Every     time.Duration // between probes while the app is healthy
	EveryDown time.Duration // between probes while it is away
	Up        func()        // called after each successful probe, not only the first: a resume needs the next one
	Down      func()        // called after each sign that the app is away
	Metrics   *metrics.Metrics
	Log       *slog.Logger
}

// Health is the health of one app.
type Health struct {
	Config
	probeNow chan struct{}

	mu      sync.Mutex
	healthy bool
	ever    bool // it has been healthy at least once
	probed  bool
	misses  int // failed probes in a row
	falls   int // how often it was found away; a success of a probe that began before the last time does not count
}

// New returns a Health that knows nothing yet.
func New(c Config) *Health { return &Health{Config: c, probeNow: make(chan struct{}, 1)} }

// OK reports whether the app is healthy.
func (h *Health) OK() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.healthy
}

// Ever reports whether the app has been healthy at least once.
func (h *Health) Ever() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ever
}

// Name returns "healthy", "unhealthy", or "unknown" before the first probe has ended.
func (h *Health) Name() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.healthy:
		return "healthy"
	case h.probed:
		return "unhealthy"
	}
	return "unknown"
}

// Run probes until ctx ends.
func (h *Health) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.probeNow:
		case <-timer.C:
		}
		h.Check(ctx)
		wait := h.Every
		if !h.OK() {
			wait = h.EveryDown
		}
		timer.Reset(wait)
	}
}

// Check probes once. A probe that is cut off by the end of ctx does not count.
func (h *Health) Check(ctx context.Context) {
	falls := h.asked()
	err := h.App.Probe(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		h.Metrics.Probes.WithLabelValues("failed").Inc()
		if h.missed(err) {
			h.down(err)
		}
		return
	}
	counts, first := h.passed(falls)
	if !counts {
		return
	}
	h.Metrics.Probes.WithLabelValues("ok").Inc()
	if first {
		h.Log.Info("App is healthy", "app", h.Addr)
	}
	h.Up()
}

// Lost must be called when a connection to the app failed: the app then counts as
// away at once, not only after the next probe.
func (h *Health) Lost(err error) {
	h.down(err)
	select {
	case h.probeNow <- struct{}{}:
	default:
	}
}

func (h *Health) down(err error) {
	was := h.fall()
	h.Down()
	if was {
		h.Log.Warn("App is away", "err", err)
	}
}

// asked must be called before a probe; its result is for passed.
func (h *Health) asked() (falls int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.falls
}

// passed records a successful probe. It does not count when the app was found away
// since the probe began. first is true when the app was not healthy before.
func (h *Health) passed(falls int) (counts, first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probed = true
	if h.falls != falls {
		return false, false
	}
	first = !h.healthy
	h.healthy, h.ever, h.misses = true, true, 0
	return true, first
}

// missed records a failed probe, and reports whether it is an outage: one slow answer
// of a busy app is not, a refused connection is.
func (h *Health) missed(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probed = true
	h.misses++
	return !h.healthy || h.misses >= 2 || !isTimeout(err)
}

// fall records that the app is away, and reports whether it was healthy before.
func (h *Health) fall() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.healthy
	h.healthy = false
	h.falls++
	return was
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return !errors.Is(err, upstream.ErrDial) && errors.As(err, &t) && t.Timeout()
}
