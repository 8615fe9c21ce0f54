// Package health is what is known of the app: whether it is there, by its own
// word.
//
// It owns the app's probe and what a probe's result means: a refused connection
// is an outage, one slow answer of a busy app is none, and a dial that failed
// elsewhere is newer than a probe that began before it. It must never decide
// what becomes of a webhook: it tells its owner, who tells the gate. supervise
// runs it; replay, ingress and the probes of the platform ask it.
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
	// Probe returns nil when the app says that it is well, an error that wraps
	// upstream.ErrDial when it can't be reached, and any other error when it
	// answers wrongly or late.
	Probe(context.Context) error
}

// Config are the settings of a Health and whom it tells.
type Config struct {
	App       App
	Addr      string        // of the app, for the log
	Every     time.Duration // between probes while the app is there
	EveryDown time.Duration // while it is away
	Up        func()        // after each probe that went well: after a resume the state still has to move
	Down      func()        // after each sign that the app is away
	Metrics   *metrics.Metrics
	Log       *slog.Logger
}

// Health is what is known of one app.
type Health struct {
	Config
	probeNow chan struct{}

	mu      sync.Mutex
	healthy bool
	ever    bool // it has been healthy once
	probed  bool
	misses  int // probes in a row that went wrong without a refusal
	falls   int // how often it was found away: an older probe's success counts no more
}

// New returns a Health that knows nothing yet.
func New(c Config) *Health { return &Health{Config: c, probeNow: make(chan struct{}, 1)} }

// OK reports whether the app is there.
func (h *Health) OK() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.healthy
}

// Ever reports whether the app has been there once.
func (h *Health) Ever() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ever
}

// Name is "healthy", "unhealthy", or "unknown" before the first probe has ended.
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

// Check probes once. A probe that the end of ctx cuts off says nothing.
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

// Lost is called by whoever could not reach the app: it is away at once, not at
// the next probe.
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

// asked is called before a probe; passed wants what it returns.
func (h *Health) asked() (falls int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.falls
}

// passed notes a probe that went well. It does not count when the app was found
// away since the probe began. first says that the app was not healthy before.
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

// missed notes a probe that went wrong, and reports whether that is an outage:
// one slow answer of a busy app is none, a refusal is.
func (h *Health) missed(err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.probed = true
	h.misses++
	return !h.healthy || h.misses >= 2 || !isTimeout(err)
}

// fall notes that the app is away, and reports whether that is new.
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
