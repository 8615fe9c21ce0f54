// Package health is the app's probe and what it means.
//
// It owns what is known of the app: whether it is healthy, whether it has ever
// been, and when a failed probe is an outage. It tells the gate by lifecycle
// events. It must never decide about a webhook, and it starts no goroutine:
// supervise runs Run, and whoever could not reach the app calls AppDown.
package health

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sluice/sidecar/internal/lifecycle"
	"sluice/sidecar/internal/metrics"
	"sluice/sidecar/internal/upstream"
	"sluice/sidecar/internal/wake"
)

// Config is what New needs.
type Config struct {
	App          string // URL, for the log
	Interval     time.Duration
	IntervalDown time.Duration // while the app is not healthy
	Probe        func(context.Context) error
	Fire         func(lifecycle.Event) // tells the gate
	Metrics      *metrics.Metrics
	Log          *slog.Logger
}

// Health is what is known of one app.
type Health struct {
	Config
	probeNow chan struct{}

	mu      sync.Mutex
	healthy bool
	ever    bool // it has been healthy once
	probed  bool
	misses  int // probes in a row that failed without a refusal
	falls   int // how often it was found away: an older probe's success no longer counts
}

// New returns the health of an app that has not been probed.
func New(c Config) *Health { return &Health{Config: c, probeNow: make(chan struct{}, 1)} }

// Run probes the app until ctx ends.
func (h *Health) Run(ctx context.Context) {
	for wait := time.Duration(0); wake.Wait(ctx, wait, h.probeNow); {
		h.probe(ctx)
		wait = h.Interval
		if !h.Healthy() {
			wait = h.IntervalDown
		}
	}
}

func (h *Health) probe(ctx context.Context) {
	falls := h.asked()
	err := h.Probe(ctx)
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
		h.Log.Info("App is healthy", "app", h.App)
	}
	// Fired on every success: after a resume the state still has to move.
	h.Fire(lifecycle.AppUp)
}

// AppDown is called by whoever could not reach the app: holding starts at once,
// not at the next probe.
func (h *Health) AppDown(err error) {
	h.down(err)
	wake.Poke(h.probeNow)
}

func (h *Health) down(err error) {
	was := h.fall()
	h.Fire(lifecycle.AppDown)
	if was {
		h.Log.Warn("App is away", "err", err)
	}
}

// isTimeout reports whether a probe ended because the app was slow.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return !errors.Is(err, upstream.ErrDial) && errors.As(err, &t) && t.Timeout()
}
